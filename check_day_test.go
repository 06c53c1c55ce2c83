package huanxin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// "A value known only to the day is the whole of that day, in its own zone": whoever held the number at an instant of that day
// is not known, and unknown is never no.
func TestACheckOnTheDayOfAStartThatIsKnownOnlyToTheDay(t *testing.T) {
	n := number(t, "+8613800000001")
	for _, c := range []struct {
		origin huanxin.TenureOrigin
		ts     string
		want   string
	}{
		{huanxin.OriginReassigned, "399 399@23:59", "CHANGED reassigned"},
		{huanxin.OriginTransferred, "399 399@23:59", "CHANGED transferred"},
		{huanxin.OriginUnknown, "399 399@23:59", "UNKNOWN before_coverage"},
		{huanxin.OriginReassigned, "400@00:00 400@10:00 400@23:59", "UNKNOWN before_coverage"},
		{huanxin.OriginTransferred, "400@00:00 400@10:00 400@23:59", "UNKNOWN before_coverage"},
		{huanxin.OriginUnknown, "400@00:00 400@10:00 400@23:59", "UNKNOWN before_coverage"},
		{huanxin.OriginFirst, "401@00:00 401 1000", "UNCHANGED"},
		{huanxin.OriginTransferred, "401@00:00 401 1000", "UNCHANGED"},
	} {
		s := huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: 1, StartedAt: day(400, "00:00"), StartedOnDay: true, Origin: c.origin}
		for ts := range strings.FieldsSeq(c.ts) {
			outcome, reason := s.Answer(n, since(t, ts), today)
			if got := strings.TrimSpace(outcome.String() + " " + reason); got != c.want {
				t.Errorf("%s, T %s: %s, want %s", c.origin, ts, got, c.want)
			}
		}
		// A date is the day's last instant, to the microsecond that the store keeps; today's is now.
		if outcome, _ := s.Answer(n, day(401, "00:00").Add(-time.Microsecond), today); outcome != huanxin.Unchanged {
			t.Errorf("%s, the date: %s", c.origin, outcome)
		}
		s.StartedAt = day(1000, "00:00")
		if outcome, _ := s.Answer(n, today, today); outcome != huanxin.Unchanged {
			t.Errorf("%s, today's date: %s", c.origin, outcome)
		}
		if outcome, _ := s.Answer(n, today.Add(-time.Second), today); outcome != huanxin.Unknown {
			t.Errorf("%s, an instant of today: %s", c.origin, outcome)
		}
	}
}
