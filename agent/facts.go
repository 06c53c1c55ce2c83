package agent

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Facts are what a company knows of one binding: what find gives.
type Facts struct {
	ID      string // the binding's, in the company's own terms
	Account string
	// FirstBound is B and LastProof V of DOMAIN.md §6.
	FirstBound, LastProof When
	// SamePerson says whether the owner was verified, in this tenure, to be the present holder or someone else.
	SamePerson huanxin.Tri
	// Class of the account; empty: the app's.
	Class string
	// HoldBack is why the company does not unbind at once what the table would: a reason of in_review or kept. It can also be
	// moved_to_other_contact, which says how it is unbound. 0: nothing.
	HoldBack huanxin.Reason
}

// Finding is what a person found out about a binding in review. It weighs more than what the database says, and never more than rule 1.
type Finding struct {
	// Outcome is unbound or kept, with Reason.
	Outcome huanxin.Outcome
	Reason  huanxin.Reason
	// FirstBound and SamePerson are what was found out; unknown ones leave what the database says.
	FirstBound When
	SamePerson huanxin.Tri
	By         string
	At         time.Time
}

// decision is what is to be done about one binding, and by which row of the table.
type decision struct {
	huanxin.Verdict
	row int
}

// claimOf is what a task says of the tenure. With an unknown origin the start is "the day at which it had begun at latest".
func claimOf(started time.Time, origin string, zone *time.Location) huanxin.Claim {
	o, err := huanxin.ParseTenureOrigin(origin)
	if err != nil || o == huanxin.OriginUnknown {
		if started.Before(huanxin.EarliestEvent) {
			return huanxin.Claim{}
		}
		return huanxin.Claim{Start: huanxin.OnDay(huanxin.DateOf(started, huanxin.China), huanxin.China)}
	}
	return huanxin.Claim{Start: huanxin.Exactly(started), Known: true}
}

// binding gives what the table is asked about, with what a person found out.
func (f *Facts) binding(found *Finding, zone *time.Location) huanxin.Binding {
	b := huanxin.Binding{FirstBound: f.FirstBound.Moment(zone), LastProof: f.LastProof.Moment(zone), SamePerson: f.SamePerson}
	if found != nil {
		if found.FirstBound != (When{}) {
			b.FirstBound = found.FirstBound.Moment(zone)
		}
		if found.SamePerson != huanxin.NotKnown {
			b.SamePerson = found.SamePerson
		}
	}
	return b
}

// decide is the table of DOMAIN.md §6 for one binding, then what the company holds back, and what a person found. A person may have
// kept what the table would unbind, and may end row 4: B is known to lie before A, and the owner is known to be someone else.
// Nothing ends row 1.
func (w *want) decide(f *Facts, found *Finding) decision {
	if w.kind != huanxin.Unbind {
		return w.decideMark(f, found)
	}
	claim := claimOf(w.started, w.origin, w.zone)
	b := f.binding(found, w.zone)
	outcome, reason, row := huanxin.Decide(claim, b)
	d := decision{huanxin.Verdict{Outcome: outcome, Reason: reason}, row}
	if row == 1 {
		return d
	}
	if found != nil && found.Outcome == huanxin.Kept {
		d.Outcome, d.Reason = huanxin.Kept, found.Reason
		return d
	}
	unbindsAfterReview := found != nil && found.Outcome == huanxin.Unbound
	if unbindsAfterReview && row == 4 && claim.Known && b.SamePerson == huanxin.No {
		at := f.FirstBound
		if found.FirstBound != (When{}) {
			at = found.FirstBound
		}
		if at.Exact() && at.certainlyBefore(w.started, w.zone) {
			d.Verdict = huanxin.Verdict{Outcome: huanxin.Unbound, Reason: huanxin.Removed}
		}
	}
	if d.Outcome != huanxin.Unbound {
		return d
	}
	if unbindsAfterReview {
		d.Reason = found.Reason
	} else if f.HoldBack != 0 {
		d.Verdict = heldBack(f.HoldBack)
	}
	return d
}

// heldBack gives the verdict that a hold_back column stands for.
func heldBack(r huanxin.Reason) huanxin.Verdict {
	for _, o := range []huanxin.Outcome{huanxin.Unbound, huanxin.Kept, huanxin.InReview} {
		if o.Fits(r) {
			return huanxin.Verdict{Outcome: o, Reason: r}
		}
	}
	return huanxin.Verdict{Outcome: huanxin.InReview, Reason: huanxin.AmbiguousDates}
}

// decideMark says what is to be done about something kept on the number itself: the table does not apply, rule 1 does. What was put
// there in the present tenure is the present holder's own; where the tenure's start is unknown, it may be.
func (w *want) decideMark(f *Facts, found *Finding) decision {
	claim := claimOf(w.started, w.origin, w.zone)
	b := f.binding(found, w.zone)
	at := f.FirstBound
	if found != nil && found.FirstBound != (When{}) {
		at = found.FirstBound
	}
	verdict := func(o huanxin.Outcome, r huanxin.Reason) decision {
		return decision{Verdict: huanxin.Verdict{Outcome: o, Reason: r}}
	}
	switch _, _, row := huanxin.Decide(claim, b); {
	case row == 1:
		return verdict(huanxin.NotBound, huanxin.NoneFound)
	case found != nil && found.Outcome == huanxin.Kept:
		return verdict(huanxin.Kept, found.Reason)
	case !b.FirstBound.Known():
		return verdict(huanxin.InReview, huanxin.BoundAtUnknown)
	case !claim.Known:
		return verdict(huanxin.ActionRequired, huanxin.EvidenceNeeded)
	case !at.certainlyBefore(w.started, w.zone):
		return verdict(huanxin.InReview, huanxin.AmbiguousDates)
	case f.HoldBack != 0 && found == nil:
		return decision{Verdict: heldBack(f.HoldBack)}
	}
	return verdict(huanxin.Unbound, huanxin.Removed)
}
