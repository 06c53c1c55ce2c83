package huanxin_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

func TestTIsWrittenAsItIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := huanxin.SinceDay(huanxin.Day(rapid.IntRange(-719162, 2932896).Draw(t, "day"))) // the years 1 to 9999
		if rapid.Bool().Draw(t, "exact") {
			s = huanxin.SinceInstant(time.UnixMicro(rapid.Int64Range(-62135596800000000, 253402300799999999).Draw(t, "micros")))
		}
		text := s.Append([]byte("T="))[2:]
		again, err := huanxin.ParseSince(text)
		if err != nil || again != s {
			t.Fatalf("%s is read as %s: %v", text, again.Append(nil), err)
		}
	})
}

func TestAnExactTLiesOnTheDayThatTheZoneHadThen(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]*time.Location{huanxin.China, berlin, time.UTC, time.FixedZone("", -5*3600)}).Draw(t, "zone")
		now := time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(t, "month")), 15, 12, 0, 0, 0, zone)
		p := huanxin.PresentAt(now, zone)
		began := now.AddDate(0, 0, -rapid.IntRange(1, 9000).Draw(t, "days"))
		s := huanxin.Standing{Phase: huanxin.PhaseInUse, Origin: huanxin.OriginReassigned, StartedAt: began}
		// Midnight of the day before and of the day after are decided, and rightly so, whatever the zone's clocks do.
		day := huanxin.DayOf(began, zone)
		for _, c := range []struct {
			t    time.Time
			want huanxin.CheckOutcome
		}{
			{day.Date(zone).Add(-time.Microsecond), huanxin.Changed},
			{(day + 1).Date(zone), huanxin.Unchanged},
		} {
			got, _, decided := s.Mark(zone).Answer(huanxin.NumberOf(8613800000001), huanxin.SinceInstant(c.t), &p)
			if early := day <= huanxin.MarkEpoch; !early && (!decided || got != c.want) {
				t.Fatalf("T %v, start %v: %v, want %v", c.t, began, got, c.want)
			}
		}
	})
}
