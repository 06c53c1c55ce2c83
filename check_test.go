package huanxin_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// today is day 1000 of the stories, at noon.
var today = day(1000, "12:00")

// since reads the T of a check: "300" is a date, "400@09:00" a date-time. "A date means its last instant in the national
// time zone, today's date the present instant; a date-time is exact."
func since(t testing.TB, s string) time.Time {
	t.Helper()
	d, clock, exact := strings.Cut(s, "@")
	n, err := strconv.Atoi(d)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case exact:
		return day(n, clock)
	case n == 1000:
		return today
	default:
		return day(n+1, "00:00").Add(-1)
	}
}

func TestTheAwkwardCasesOfACheck(t *testing.T) {
	const (
		aThenB  = "1 activated/first; 300 disconnected; 400 activated/reassigned by2"
		back    = "1 activated/first; 300 disconnected; 320 reinstated"
		moved   = "1 activated/first; 400@10:00 transferred"
		twice   = "1 activated/first; 300 disconnected; 400 activated/reassigned; 600 disconnected; 700 activated/reassigned"
		gone    = "1 activated/first; 300 disconnected"
		came    = "500 activated/ported_in"
		voided  = "1 activated/first; 400 transferred; 450 corrected/2"
		carried = "1 activated/first; 100 ported by2; 200 ported by3"
	)
	for _, c := range []struct{ story, ts, want string }{
		// | A from day 1 | day 1, any later | `UNCHANGED` |
		{"1 activated/first", "1 2 500 999 1000 1@10:00", "UNCHANGED"},
		// | A from 1, ported on 100 and 200 | 50 | `UNCHANGED` |
		{carried, "50 150 250", "UNCHANGED"},
		// | A 1–300, B from 400 | 50; 300 (a date); 350 | `CHANGED` |
		{aThenB, "50 300 350", "CHANGED reassigned"},
		// | | 400 (a date); 500 | `UNCHANGED` |
		{aThenB, "400 500", "UNCHANGED"},
		// | A 1–300, reinstated 320 | 50; 310 | `UNCHANGED` |
		{back, "50 310 300 320 999", "UNCHANGED"},
		// | A from 1, transferred to B on 400 at 10:00 | date 399; date-time 400 09:00 | `CHANGED` `transferred` |
		{moved, "399 400@09:00 400@09:59 50", "CHANGED transferred"},
		// | | date 400; date-time 400 11:00 | `UNCHANGED` |
		{moved, "400 400@11:00 400@10:00", "UNCHANGED"},
		// | A 1–300, B 400–600, A from 700 | 50; 650 | `CHANGED` |
		{twice, "50 650 500", "CHANGED reassigned"},
		// | A 1–300, nobody since | 50; 300; 999 | `NO_HOLDER` |
		{gone, "50 300 999 1000", "NO_HOLDER"},
		// | ported in on 500, nothing known before | 499 | `UNKNOWN` `before_coverage` |
		{came, "499 1", "UNKNOWN before_coverage"},
		// | | 501 | `UNCHANGED` |
		{came, "500 501", "UNCHANGED"},
		// | A from 1, `transferred` to B on 400, voided by `corrected` on 450 | 50 | `UNCHANGED` |
		{voided, "50 420 500", "UNCHANGED"},
		// "Leaving and returning, other than by `reinstated`, is a change."
		{"1 activated/first; 300 disconnected; 400 activated/unknown", "50 350", "UNKNOWN before_coverage"},
		{"1 activated/first; 300 disconnected; 400 activated/unknown", "400", "UNCHANGED"},
		// Nobody held it before the first: "someone else, or nobody, held it at T"
		{"100 activated/first", "99", "CHANGED reassigned"},
		// Suspended is held.
		{"1 activated/first; 5 suspended", "3 900", "UNCHANGED"},
	} {
		r := told(t, c.story)
		for ts := range strings.FieldsSeq(c.ts) {
			outcome, reason := r.now.Answer(number(t, "+8613800000001"), since(t, ts), today)
			if got := strings.TrimSpace(outcome.String() + " " + reason); got != c.want {
				t.Errorf("%s, T %s: %s, want %s", c.story, ts, got, c.want)
			}
		}
	}
}

func TestALateEndThatArrivesAfterItWasNeeded(t *testing.T) {
	// | `disconnected` 300 arrives on 450; B's `activated` 400, refused before, is sent again | 50 | `CHANGED` |
	r := told(t, "1 activated/first")
	if code := codeOf(r.report("400 activated/reassigned by2")); code != "out_of_order" {
		t.Fatalf("B's activation came too early: %q", code)
	}
	for _, line := range []string{"300 disconnected", "400 activated/reassigned by2"} {
		if err := r.report(line); err != nil {
			t.Fatal(err)
		}
	}
	if outcome, reason := r.now.Answer(number(t, "+8613800000001"), since(t, "50"), today); outcome != huanxin.Changed || reason != "reassigned" {
		t.Errorf("%v %s", outcome, reason)
	}
}

func TestTheFirstRowThatMatchesDecidesACheck(t *testing.T) {
	never, unknown := told(t, ""), told(t, "500 activated/ported_in")
	gone, goneUnknown := told(t, "1 activated/first; 300 disconnected"), told(t, "100 activated/unknown; 300 disconnected")
	held := told(t, "1 activated/first; 400 transferred")
	mobile, iot := "+8613800000001", "+861410123456789"
	ahead := today.Add(5*time.Minute + 1)
	for _, c := range []struct {
		row    string
		r      *record
		number string
		t      time.Time
		want   string
	}{
		{"1: T more than 5 minutes ahead, whatever else", held, mobile, ahead, "UNKNOWN future"},
		{"1 before 2", held, iot, ahead, "UNKNOWN future"},
		{"1 before 3", never, mobile, ahead, "UNKNOWN future"},
		{"1 before 4", gone, mobile, ahead, "UNKNOWN future"},
		{"5 minutes ahead is now", held, mobile, today.Add(5 * time.Minute), "UNCHANGED"},
		{"2: a kind that is not served", never, iot, today, "UNKNOWN number_kind_unsupported"},
		{"2: privacy", never, "+86700123456789012", today, "UNKNOWN number_kind_unsupported"},
		{"2: satellite", never, "+8613490000001", today, "UNKNOWN number_kind_unsupported"},
		{"2: emergency", never, "+8617412000001", today, "UNKNOWN number_kind_unsupported"},
		{"2 before 4", gone, iot, day(5, "10:00"), "UNKNOWN number_kind_unsupported"},
		{"3: number never seen", never, mobile, day(5, "10:00"), "UNKNOWN never_seen"},
		{"3: an unknown segment is no unsupported kind", never, "+8619400000001", today, "UNKNOWN never_seen"},
		{"3: voided away is never seen", told(t, "1 activated/first; 2 corrected/1"), mobile, today, "UNKNOWN never_seen"},
		{"4: nobody holds it now, whatever T", gone, mobile, day(5, "10:00"), "NO_HOLDER"},
		{"4: T now", gone, mobile, today, "NO_HOLDER"},
		{"4 before 5", goneUnknown, mobile, day(5, "10:00"), "NO_HOLDER"},
		{"5: no known start and T before the earliest proven day", unknown, mobile, day(499, "23:59"), "UNKNOWN before_coverage"},
		{"6: T in the tenure, whose start is unknown", unknown, mobile, day(500, "10:00"), "UNCHANGED"},
		{"6: T is its first instant", held, mobile, day(400, "10:00"), "UNCHANGED"},
		{"7: a moment before", held, mobile, day(400, "10:00").Add(-1), "CHANGED transferred"},
		{"7: T before anything was known", held, mobile, day(-5000, "10:00"), "CHANGED transferred"},
		{"7: no time is before everything", held, mobile, time.Time{}, "CHANGED transferred"},
		{"7: a port does not hide it", told(t, "1 activated/first; 400 transferred; 500 ported by2"), mobile, day(399, "10:00"), "CHANGED transferred"},
		{"7: a reinstatement does not either", told(t, "1 activated/first; 400 transferred; 500 disconnected; 510 reinstated"), mobile, day(399, "10:00"), "CHANGED transferred"},
		{"7: how today's tenure began", told(t, "1 activated/first; 100 transferred; 300 disconnected; 400 activated/reassigned"), mobile, day(50, "10:00"), "CHANGED reassigned"},
	} {
		outcome, reason := c.r.now.Answer(number(t, c.number), c.t, today)
		if got := strings.TrimSpace(outcome.String() + " " + reason); got != c.want {
			t.Errorf("%s: %s, want %s", c.row, got, c.want)
		}
	}
}
