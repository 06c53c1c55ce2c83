package huanxin

import "time"

// Moment is when something happened, as far as it is known: exactly, to the day, never, or not at all. The zero Moment
// is unknown.
type Moment struct {
	// Any instant from the first to the last is possible; the last itself only if both are the same.
	from, to time.Time
	never    bool
}

// Exactly is a known instant. A time before EarliestEvent is what databases keep instead of nothing (0001-01-01,
// 1900-01-01, 1970-01-01) and gives an unknown Moment.
func Exactly(t time.Time) Moment {
	if t.Before(EarliestEvent) {
		return Moment{}
	}
	return Moment{from: t, to: t}
}

// OnDay is an instant known only to the day: "the whole of that day, in its own zone" (DOMAIN.md §6). A date that is no
// day, or before EarliestEvent, gives an unknown Moment.
func OnDay(d Date, zone *time.Location) Moment {
	if !d.real() || d.Before(DateOf(EarliestEvent, time.UTC)) {
		return Moment{}
	}
	from, to := d.In(zone)
	return Moment{from: from, to: to}
}

// Never says for certain that it did not happen: an app that records every proof of control and has none.
func Never() Moment { return Moment{never: true} }

// Known reports whether m is an instant, exactly or to the day.
func (m Moment) Known() bool { return !m.from.IsZero() }

// certainlySince reports m ≥ start whatever the two are exactly.
func (m Moment) certainlySince(start Moment) bool {
	return m.Known() && start.Known() && !m.from.Before(start.to)
}

// maybeSince reports that m ≥ start cannot be ruled out.
func (m Moment) maybeSince(start Moment) bool {
	if !m.Known() || !start.Known() {
		return !m.never
	}
	return m.to.After(start.from) || m.from.Equal(start.from)
}

// maybeAfter reports that m > start - before cannot be ruled out, of two known moments.
func (m Moment) maybeAfter(start Moment, before time.Duration) bool {
	return m.to.After(start.from.Add(-before))
}

// Tri is the answer to a question that may be open. The zero Tri is not known.
type Tri uint8

// The answers. Not known is not no.
const (
	NotKnown Tri = iota
	Yes
	No
)

// Claim is what a task or a lot says of the number's present tenure.
type Claim struct {
	// Start is A of DOMAIN.md §6: the tenure's start, or where Known is false the day at which it had begun at latest.
	// For a lot it is disconnected_at.
	Start Moment
	// Known is false where the tenure's start or its origin is unknown. For a lot it has no meaning.
	Known bool
	// Lot is a number about to be sold again, which has no present holder: rows 2, 5 and 6 do not apply.
	Lot bool
}

// Binding is what an app knows of one account that is tied to the number.
type Binding struct {
	// FirstBound is B: the first time ever that this number was attached to this account, even if detached between.
	FirstBound Moment
	// LastProof is V: the last proof of control of the account by anything but a code or call to this number. Unknown is
	// not Never: it may have been after the tenure's start.
	LastProof Moment
	// SamePerson says whether the account's owner was verified to be the present holder (Yes) or someone else (No).
	SamePerson Tri
}

// ambiguousBefore is how close before the tenure's start a binding is too close to call. It is compared with dates in
// data, so that no speed divides it.
const ambiguousBefore = 24 * time.Hour

// Decide says what an app does with one binding: the table "What an app does with one binding" of DOMAIN.md §6, whose
// first matching row decides and is given too, from 1. What is known only to the day, or not at all, is taken in the way
// that does not unbind: it unbinds only what for every possible instant was bound 24 hours or more before the start.
func Decide(a Claim, b Binding) (outcome Outcome, reason Reason, row int) {
	switch {
	case b.FirstBound.certainlySince(a.Start):
		return Kept, BoundByCurrentHolder, 1
	case !a.Lot && b.SamePerson == Yes:
		return Kept, SamePerson, 2
	case !b.FirstBound.Known():
		return InReview, BoundAtUnknown, 3
	// Days that overlap are less than 24 hours apart at worst, so this is both halves of row 4.
	case a.Start.Known() && b.FirstBound.maybeAfter(a.Start, ambiguousBefore),
		a.Lot && !a.Start.Known(): // rule 7: a missing date stops at review; row 5 is not there to stop it
		return InReview, AmbiguousDates, 4
	case !a.Lot && !(a.Known && a.Start.Known()):
		return ActionRequired, ConfirmOwnAccount, 5
	case !a.Lot && b.SamePerson == NotKnown && b.LastProof.maybeSince(a.Start):
		return ActionRequired, ConfirmOwnAccount, 6
	default:
		return Unbound, Removed, 7
	}
}

// Verdict is what was decided or done about one binding.
type Verdict struct {
	Outcome Outcome
	Reason  Reason
}

// Combine gives the one answer for all bindings of a number: the first outcome in the order action_required, in_review,
// failed, unbound, kept, not_bound (DOMAIN.md §6), and of several reasons for it the first in the order of the contract,
// whatever the order of the bindings; bound_by_current_holder comes after every other reason to keep, because the others
// tell of something left. Without bindings it is not_bound none_found; a verdict without an outcome counts as failed
// temporary, never as nothing.
func Combine(verdicts []Verdict) (Outcome, Reason) {
	if len(verdicts) == 0 {
		return NotBound, NoneFound
	}
	first := verdicts[0].counted()
	for _, v := range verdicts[1:] {
		if v = v.counted(); v.rank() < first.rank() {
			first = v
		}
	}
	return first.Outcome, first.Reason
}

// counted gives v as Combine counts it.
func (v Verdict) counted() Verdict {
	if v.Outcome < ActionRequired || v.Outcome > NotBound {
		return Verdict{Failed, Temporary}
	}
	return v
}

// rank orders verdicts: the least speaks for all.
func (v Verdict) rank() int {
	r := int(v.Outcome)<<9 | int(v.Reason)
	if v.Reason == BoundByCurrentHolder {
		r |= 1 << 8
	}
	return r
}

// Restoration is what is known when an app asks whether it may restore a binding that it had unbound.
type Restoration struct {
	TenureVoided bool // the tenure for which it was unbound was corrected away
	LotUndone    bool // its number in a lot was withdrawn or reinstated
	// OwnerVerified says that the present holder, freshly verified, owns the account.
	OwnerVerified bool
	// BoundElsewhere says whether the number is bound to another account of the app now.
	BoundElsewhere Tri
	// Holder is today's tenure, nil where nobody holds the number.
	Holder  *Claim
	Binding Binding
}

// MayRestore is rule 15: a binding is restored only for one of its three reasons, "never while the number is bound to
// another account there, and never what the table of §6, with today's tenure, would unbind".
func MayRestore(r Restoration) bool {
	if r.BoundElsewhere != No {
		return false
	}
	if r.Holder == nil {
		return r.TenureVoided || r.LotUndone
	}
	if r.OwnerVerified {
		r.Binding.SamePerson = Yes
	}
	outcome, _, _ := Decide(*r.Holder, r.Binding)
	return (r.TenureVoided || r.LotUndone || r.OwnerVerified) && outcome != Unbound
}
