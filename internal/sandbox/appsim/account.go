package appsim

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// When is a time as an app knows it: exactly, to the day, never, or, the zero When, not at all.
type When struct {
	at    time.Time
	day   huanxin.Date
	never bool
}

// At is known exactly.
func At(t time.Time) When { return When{at: t.UTC().Truncate(time.Microsecond)} }

// OnDay is known to the day, in the national zone.
func OnDay(d huanxin.Date) When { return When{day: d} }

// Never says for certain that it did not happen: for LastProof, an app that records every proof and has none.
func Never() When { return When{never: true} }

// Moment gives w as the rules take it.
func (w When) Moment() huanxin.Moment {
	switch {
	case w.never:
		return huanxin.Never()
	case !w.at.IsZero():
		return huanxin.Exactly(w.at)
	case w.day != huanxin.Date{}:
		return huanxin.OnDay(w.day, huanxin.China)
	}
	return huanxin.Moment{}
}

// Account is an account as it is seeded, with its binding to a number.
type Account struct {
	ID       string
	Owner    string // the truth: the person it belongs to
	Nickname string
	// BalanceFen is what lies in the account, in fen; in a lending app what is owed.
	BalanceFen int64

	Number huanxin.Number // zero: bound to none
	// TrueBound is the truth: when the number was first bound. Zero: nobody can find out any more.
	TrueBound time.Time
	// FirstBound is B as the app knows it: the first time ever, even if detached between.
	FirstBound When
	// LastBound is when it was attached again after it had been detached. Zero: never detached. It decides nothing.
	LastBound time.Time
	// LastProof is V as the app knows it: by anything but the number.
	LastProof When
	// Verified says whether the app verified, at VerifiedAt, that the owner was the number's holder (Yes) or was not (No).
	// It tells of the holder at that time: for a tenure that began later it is not known.
	Verified   huanxin.Tri
	VerifiedAt time.Time
	// Sessions are when sessions that are still open were opened through the number.
	Sessions []time.Time

	HasOtherContact bool // the owner can be told by something other than the phone
	LegalHold       bool // frozen by a court: what the table would unbind is kept
	Business        bool // a company's account: what the table would unbind goes to review
	Owed            bool // money is owed: what the table would unbind goes to review, at payment and lending apps
}

// Mark is something that an app keeps on a number itself: an entry of a call list (StopContact), a label (ClearLabel), a ban
// (LiftRestriction). It is meant for whoever held the number at Since.
type Mark struct {
	ID     string
	Kind   huanxin.TaskKind
	Number huanxin.Number
	Since  time.Time
	Grave  bool // a ban that only a person lifts: in_review restricted_number first
}

// Seed puts accounts into the database. An account whose id is there already stays as it is, its binding too.
func (a *App) Seed(ctx context.Context, accounts []Account) error { return nil }

// SeedMarks puts marks into the database. A mark whose id is there already stays as it is.
func (a *App) SeedMarks(ctx context.Context, marks []Mark) error { return nil }
