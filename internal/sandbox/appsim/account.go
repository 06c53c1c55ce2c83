package appsim

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
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
func (a *App) Seed(ctx context.Context, accounts []Account) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		for i := range accounts {
			if err := accounts[i].insert(ctx, tx); err != nil {
				return fmt.Errorf("account %s: %w", accounts[i].ID, err)
			}
		}
		return nil
	})
}

func (c *Account) insert(ctx context.Context, tx *sql.Tx) error {
	r, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, nickname, balance_fen, owner_key, other_contact, legal_hold, business, owed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		c.ID, c.Nickname, c.BalanceFen, c.Owner, c.HasOtherContact, c.LegalHold, c.Business, c.Owed)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO truth_accounts (account, sum) VALUES (?, ?)`,
		c.ID, checksum(c.ID, c.Nickname, c.BalanceFen, c.Owner))
	if err != nil || c.Number.IsZero() {
		return err
	}
	return c.insertBinding(ctx, tx)
}

func (c *Account) insertBinding(ctx context.Context, tx *sql.Tx) error {
	boundAt, boundDay := c.FirstBound.columns()
	proofAt, proofDay := c.LastProof.columns()
	r, err := tx.ExecContext(ctx, `INSERT INTO bindings (account, number, bound_at, bound_day, last_bound_at, proof_at, proof_day,
		proof_never, verified, verified_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.ID, int64(c.Number.Digits()), boundAt, boundDay,
		micros(c.LastBound), proofAt, proofDay, c.LastProof.never, triWord(c.Verified), micros(c.VerifiedAt))
	if err != nil {
		return err
	}
	id, err := r.LastInsertId()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO truth_bindings (binding, bound_at) VALUES (?, ?)`, id, micros(c.TrueBound)); err != nil {
		return err
	}
	for _, at := range c.Sessions {
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (account, through_number, started_at) VALUES (?, ?, ?)`,
			c.ID, int64(c.Number.Digits()), micros(at))
		if err != nil {
			return err
		}
	}
	return nil
}

// checksum is over what no task may ever change (rule 2).
func checksum(id, nickname string, balance int64, owner string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %q", id, nickname, balance, owner))
	return hex.EncodeToString(sum[:])
}

// markTables name where marks of a kind are kept.
var markTables = map[huanxin.TaskKind]string{
	huanxin.StopContact: "call_list", huanxin.ClearLabel: "labels", huanxin.LiftRestriction: "bans"}

// SeedMarks puts marks into the database. A mark whose id is there already stays as it is.
func (a *App) SeedMarks(ctx context.Context, marks []Mark) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		for _, m := range marks {
			table := markTables[m.Kind]
			if table == "" {
				return fmt.Errorf("mark %s: no marks of kind %s", m.ID, m.Kind)
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (id, number, since, grave) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				m.ID, int64(m.Number.Digits()), micros(m.Since), m.Grave)
			if err != nil {
				return fmt.Errorf("mark %s: %w", m.ID, err)
			}
		}
		return nil
	})
}

// columns gives w as a database keeps it: the instant or the day, each NULL where it is not known.
func (w When) columns() (at, day any) {
	if w.day != (huanxin.Date{}) {
		day = w.day.String()
	}
	return micros(w.at), day
}

// micros gives a time as the database keeps it; the zero time is NULL.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func instant(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

func triWord(t huanxin.Tri) string { return [...]string{huanxin.Yes: "yes", huanxin.No: "no"}[t] }
