package agent

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

// TestEachBindingIsTreatedByItsRow is the table of DOMAIN.md §6 on a database.
func TestEachBindingIsTreatedByItsRow(t *testing.T) {
	for name, e := range engines {
		t.Run(name, func(t *testing.T) { rowByRow(t, newOffice(t, withEngine(e(t)))) })
	}
}

func rowByRow(t *testing.T, o *office) {
	noon := tenure
	for _, c := range []struct {
		story           string
		facts           []func(*seed)
		outcome, reason string
	}{
		{"row 1: B after A", []func(*seed){bound(noon.Add(day))}, "kept", "bound_by_current_holder"},
		{"row 1: B = A", []func(*seed){bound(noon)}, "kept", "bound_by_current_holder"},
		{"row 1 goes before all others", []func(*seed){bound(noon.Add(time.Hour)), same("no")}, "kept", "bound_by_current_holder"},
		{"row 1: the day after, known to the day", []func(*seed){boundOn(noon.Add(day), noon.Add(day))}, "kept", "bound_by_current_holder"},
		{"row 2: the same person", []func(*seed){same("yes")}, "kept", "same_person"},
		{"row 3: B unknown", []func(*seed){unknownBound(noon.Add(-day * 9))}, "in_review", "bound_at_unknown"},
		{"row 3: 1970", []func(*seed){bound(time.Unix(0, 0))}, "in_review", "bound_at_unknown"},
		{"row 4: the same day", []func(*seed){boundOn(noon, noon.Add(time.Hour))}, "in_review", "ambiguous_dates"},
		{"row 4: 23 hours before", []func(*seed){bound(noon.Add(-23 * time.Hour))}, "in_review", "ambiguous_dates"},
		{"row 6: V after A", []func(*seed){proof(noon.Add(time.Hour))}, "action_required", "confirm_own_account"},
		{"row 6: V unknown", []func(*seed){unknownProof}, "action_required", "confirm_own_account"},
		{"row 7", nil, "unbound", "removed"},
		{"row 7: 24 hours before", []func(*seed){bound(noon.Add(-24 * time.Hour))}, "unbound", "removed"},
		{"row 7: two days before, known to the day", []func(*seed){boundOn(noon.Add(-2*day), noon.Add(-2*day))}, "unbound", "removed"},
		{"row 7: V before A", []func(*seed){proof(noon.Add(-time.Hour))}, "unbound", "removed"},
		{"row 7: V after A, by someone else", []func(*seed){proof(noon.Add(time.Hour)), same("no")}, "unbound", "removed"},
		{"the company holds back", []func(*seed){heldBackFor("assets_held")}, "in_review", "assets_held"},
		{"a court holds back", []func(*seed){heldBackFor("legal_hold")}, "kept", "legal_hold"},
	} {
		t.Run(c.story, func(t *testing.T) {
			o := *o
			o.TB = t
			n := o.number()
			id := o.bind(n, c.facts...)
			task := o.ask(n)
			o.work()
			o.answered(task, c.outcome, c.reason)
			if o.bound(id) == (c.outcome == "unbound") {
				t.Errorf("bound: %v", o.bound(id))
			}
			o.clean()
		})
		o.ids++
	}
}

func TestATenureOfUnknownStartIsAskedAbout(t *testing.T) {
	o := newOffice(t)
	n := o.numberOf(client.Event{Kind: "activated", At: tenure, Origin: "unknown"})
	id := o.bind(n)
	task := o.askOf(n, tenure, "unknown")
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	if !o.bound(id) {
		t.Error("it was unbound")
	}
}

func TestATransferIsATenureLikeAnother(t *testing.T) {
	o := newOffice(t)
	n := o.numberOf(client.Event{Kind: "activated", At: former, Origin: "first"}, client.Event{Kind: "transferred", At: tenure})
	id, own := o.bind(n), o.bind(n, bound(tenure.Add(time.Minute)))
	task := o.askOf(n, tenure, "transferred")
	o.work()
	o.answered(task, "unbound", "removed")
	if o.bound(id) || !o.bound(own) {
		t.Error("the former holder's is bound, or the present one's is not")
	}
	o.clean()
}

func TestSeveralBindingsGiveOneAnswerAndAreTreatedEachByItsRow(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	gone, own, doubt := o.bind(n, session(tenure.Add(day)), session(tenure.Add(-day))), o.bind(n, bound(tenure.Add(day))), o.bind(n, unknownBound(former))
	task := o.ask(n)
	none := o.ask(o.number())
	o.work()
	o.answered(task, "in_review", "bound_at_unknown")
	o.answered(none, "not_bound", "none_found")
	if o.bound(gone) || !o.bound(own) || !o.bound(doubt) {
		t.Errorf("bound: %v %v %v", o.bound(gone), o.bound(own), o.bound(doubt))
	}
	if n := o.one(`SELECT count(*) FROM sessions WHERE ended_by IS NOT NULL`); n != 1 {
		t.Errorf("%d sessions ended, want the one that was opened in the tenure", n)
	}
	if n := o.one(`SELECT count(*) FROM notices`); n != 1 {
		t.Errorf("%d were told", n)
	}
	o.clean()
}
