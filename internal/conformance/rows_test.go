package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// TestTheAccountsOfARowAreOfThatRow by DOMAIN.md §6 as it is written here, and not by what the project's own rules make of it. A is
// noon of the day on which the tenure began; V is "-" where there never was a proof, and "?" where nobody knows.
func TestTheAccountsOfARowAreOfThatRow(t *testing.T) {
	rows := map[string]struct{ facts, answer string }{
		"row-1":               {"B=A+960h V=- same=?", "kept bound_by_current_holder"},
		"row-1-instant":       {"B=A+0h V=- same=?", "kept bound_by_current_holder"},
		"row-1-day":           {"B=day+1 V=- same=?", "kept bound_by_current_holder"},
		"row-1-before-row-2":  {"B=A+24h V=A+48h same=no", "kept bound_by_current_holder"},
		"row-2":               {"B=A-9600h V=- same=yes", "kept same_person"},
		"row-3":               {"B=? V=- same=?", "in_review bound_at_unknown"},
		"row-4-hours":         {"B=A-23h V=- same=?", "in_review ambiguous_dates"},
		"row-4-same-day":      {"B=day+0 V=- same=?", "in_review ambiguous_dates"},
		"row-4-day-before":    {"B=day-1 V=- same=?", "in_review ambiguous_dates"},
		"row-5":               {"A=unknown B=A-9600h V=- same=?", "action_required confirm_own_account"},
		"row-6":               {"B=A-9600h V=A+240h same=?", "action_required confirm_own_account"},
		"row-6-unknown":       {"B=A-9600h V=? same=?", "action_required confirm_own_account"},
		"row-7":               {"B=A-9600h V=- same=?", "unbound removed"},
		"row-7-proved-before": {"B=A-9600h V=A-7200h same=?", "unbound removed"},
		"row-7-other-person":  {"B=A-9600h V=A+240h same=no", "unbound removed"},
		"row-7-24h":           {"B=A-25h V=- same=?", "unbound removed"},
		"row-7-two-days":      {"B=day-2 V=- same=?", "unbound removed"},
		"row-7-transferred":   {"B=A-9600h V=- same=?", "unbound removed"},
	}
	h := &hub{ear: newEar()}
	h.front = newFront(nil, h.ear)
	r := newRun(DefaultOptions(), h)
	for _, s := range rowScenarios(r) {
		want, ok := rows[s.code]
		delete(rows, s.code)
		if !ok || len(s.line.accounts) != 1 {
			t.Errorf("%s: nobody wrote down which facts it has, or it has %d accounts", s.code, len(s.line.accounts))
			continue
		}
		if got := factsOf(s.line, s.line.accounts[0]); got != want.facts {
			t.Errorf("%s: %s, not %s", s.code, got, want.facts)
		}
		if w := r.wanted(s.line); verdictWords(w.Verdict) != want.answer || w.keys[s.line.accounts[0]] == strings.HasPrefix(want.answer, "unbound") {
			t.Errorf("%s: %s, not %s", s.code, verdictWords(w.Verdict), want.answer)
		}
	}
	for code := range rows {
		t.Errorf("%s is not there", code)
	}
}

func factsOf(l *line, a *Account) string {
	hours := func(at time.Time) string { return fmt.Sprintf("A%+dh", int(at.Sub(l.started)/time.Hour)) }
	start, bound, proof := "", "?", "-"
	if l.origin == huanxin.OriginUnknown {
		start = "A=unknown "
	}
	switch {
	case !a.BoundAt.IsZero():
		bound = hours(a.BoundAt)
	case a.BoundDay != huanxin.Date{}:
		noon, _ := a.BoundDay.In(huanxin.China)
		bound = fmt.Sprintf("day%+d", int(noon.Add(12*time.Hour).Sub(l.started)/day))
	}
	switch {
	case a.ProofUnknown:
		proof = "?"
	case !a.LastProof.IsZero():
		proof = hours(a.LastProof)
	}
	same := map[huanxin.Tri]string{huanxin.Yes: "yes", huanxin.No: "no"}[a.SamePerson]
	if same == "" {
		same = "?"
	}
	return start + "B=" + bound + " V=" + proof + " same=" + same
}
