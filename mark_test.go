package huanxin_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// decided is what a standing's mark answers, and whether it can.
func decided(s *huanxin.Standing, n huanxin.Number, t huanxin.Since, p *huanxin.Present) (string, bool) {
	outcome, reason, ok := s.Mark(huanxin.China).Answer(n, t, p)
	return outcome.String() + " " + reason, ok
}

func TestAMarkAnswersAsTheStandingDoesOrLeavesItToTheStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 2, rapid.IntRange(0, 23).Draw(t, "hour"), 30, 0, 0, time.UTC)
		p := huanxin.PresentAt(now, huanxin.China)
		hours := rapid.OneOf(rapid.IntRange(-72, 0), rapid.IntRange(-300_000, 0), rapid.IntRange(0, 200_000))
		began := now.Add(time.Duration(hours.Draw(t, "began")) * time.Hour)
		if rapid.Bool().Draw(t, "soon") {
			began = now.Add(time.Duration(rapid.IntRange(-10, 5).Draw(t, "minutes")) * time.Minute)
		}
		s := huanxin.Standing{
			Phase:     rapid.SampledFrom([]huanxin.Phase{huanxin.PhaseUnseen, huanxin.PhaseInUse, huanxin.PhaseSuspended, huanxin.PhaseDisconnected}).Draw(t, "phase"),
			Origin:    rapid.SampledFrom([]huanxin.TenureOrigin{1, 2, 3, 4}).Draw(t, "origin"),
			StartedAt: began,
		}
		if s.StartedOnDay = rapid.Bool().Draw(t, "on day"); s.StartedOnDay {
			s.StartedAt = huanxin.DayOf(began, huanxin.China).Date(huanxin.China)
			began = s.StartedAt
		}
		if s.Phase == huanxin.PhaseUnseen {
			s = huanxin.Standing{}
		}
		n := huanxin.NumberOf(rapid.SampledFrom([]uint64{8613800000001, 8613490000001, 861410123456789, 8619400000001, 447700900123}).Draw(t, "number"))
		at := began.Add(time.Duration(rapid.IntRange(-3*24*60, 3*24*60).Draw(t, "T minutes")) * time.Minute)
		since := huanxin.SinceInstant(at)
		if rapid.Bool().Draw(t, "date") {
			since = huanxin.SinceDay(huanxin.DayOf(at, huanxin.China))
		}
		got, ok := decided(&s, n, since, &p)
		outcome, reason := s.Answer(n, since.At(&p), now)
		if want := outcome.String() + " " + reason; ok && got != want {
			t.Fatalf("the mark says %s, the standing %s", got, want)
		}
		// A day decides everything but its own: "What a day cannot decide (same-day changes, date-times) falls through".
		day := huanxin.DayOf(at, huanxin.China)
		sameDay := day == huanxin.DayOf(began, huanxin.China) && (since.Exact() || day == huanxin.DayOf(now, huanxin.China))
		outside := huanxin.DayOf(began, huanxin.China) > huanxin.MarkEpoch+16382 || day <= huanxin.MarkEpoch
		if !ok && s.Held() && !sameDay && !outside {
			t.Fatalf("the mark leaves %s to the store", outcome)
		}
		if !ok && !s.Held() {
			t.Fatal("a number that nobody holds is always decided")
		}
	})
}

func TestAMarkTellsADateFromADateTimeOnTheDayOfTheChange(t *testing.T) {
	p := huanxin.PresentAt(today, huanxin.China)
	s := told(t, "1 activated/first; 400@10:00 transferred").now
	n := number(t, "+8613800000001")
	for _, c := range []struct {
		t    huanxin.Since
		want string
	}{
		{huanxin.SinceDay(huanxin.DayOf(day(399, "12:00"), huanxin.China)), "CHANGED transferred"},
		{huanxin.SinceDay(huanxin.DayOf(day(400, "12:00"), huanxin.China)), "UNCHANGED "},
		{huanxin.SinceInstant(day(400, "09:00")), "left to the store"},
		{huanxin.SinceInstant(day(400, "11:00")), "left to the store"},
		{huanxin.SinceInstant(day(399, "23:59")), "CHANGED transferred"},
		{huanxin.SinceInstant(day(401, "00:00")), "UNCHANGED "},
		{huanxin.SinceDay(huanxin.DayOf(today, huanxin.China) + 1), "UNKNOWN future"},
	} {
		got, ok := decided(&s, n, c.t, &p)
		if !ok {
			got = "left to the store"
		}
		if got != c.want {
			t.Errorf("T %v: %s, want %s", c.t.At(&p), got, c.want)
		}
	}
}

func TestASinceIsADateOrADateTimeWithAnOffset(t *testing.T) {
	p := huanxin.PresentAt(today, huanxin.China)
	for text, want := range map[string]string{
		"2024-01-31":                       "2024-01-31T15:59:59.999999Z",
		"2024-02-29":                       "2024-02-29T15:59:59.999999Z",
		"0001-01-01":                       "0001-01-01T15:59:59.999999Z",
		"2024-01-31T10:00:00+08:00":        "2024-01-31T02:00:00Z",
		"2024-01-31T10:00:00Z":             "2024-01-31T10:00:00Z",
		"2024-01-31t10:00:00z":             "2024-01-31T10:00:00Z",
		"2024-01-31T10:00:00.5-01:30":      "2024-01-31T11:30:00.5Z",
		"2024-01-31T10:00:00.123456789Z":   "2024-01-31T10:00:00.123456Z",
		"1969-12-31T23:59:59Z":             "1969-12-31T23:59:59Z",
		"2023-02-29":                       "",
		"2024-13-01":                       "",
		"2024-00-10":                       "",
		"2024-04-31":                       "",
		"0000-01-01":                       "",
		"2024-1-31":                        "",
		"20240131":                         "",
		"2024/01/31":                       "",
		"2024-01-31 10:00:00":              "",
		"2024-01-31T10:00:00":              "",
		"2024-01-31T24:00:00Z":             "",
		"2024-01-31T10:60:00Z":             "",
		"2024-01-31T10:00:00+24:00":        "",
		"2024-01-31T10:00:00+08:60":        "",
		"2024-01-31T10:00:00 08:00":        "",
		"2024-01-31T9:00:00Z":              "",
		"2024-01-31T9:00:00+08:00":         "",
		"2024-01-31T10:00:00,5Z":           "",
		"":                                 "",
		"yesterday":                        "",
		"1706666400":                       "",
		"+8613800000001":                   "",
		"2024-01-31T10:00:00.0000000000Zx": "",
	} {
		s, err := huanxin.ParseSince(text)
		same, err2 := huanxin.ParseSince([]byte(text))
		if s != same || (err == nil) != (err2 == nil) {
			t.Errorf("%q: bytes are read as %v, %v", text, same, err2)
		}
		got := ""
		if err == nil {
			got = s.At(&p).UTC().Format(time.RFC3339Nano)
		} else if codeOf(err) != "malformed_time" {
			t.Errorf("%q: code %s", text, codeOf(err))
		}
		if got != want {
			t.Errorf("%q: %s, want %q", text, got, want)
		}
	}
	for _, text := range []string{"2024-01-31", "2024-01-31T10:00:00Z", "1969-12-31"} {
		if s, _ := huanxin.ParseSince(text); s.Micros(&p) != s.At(&p).UnixMicro() {
			t.Errorf("%s: %d, want %d", text, s.Micros(&p), s.At(&p).UnixMicro())
		}
	}
}

func FuzzASinceIsReadAsTheStandardLibraryReadsIt(f *testing.F) {
	for _, s := range []string{"2024-01-31", "2024-01-31T10:00:00+08:00", "2024-01-31T10:00:00.5Z", "2024-02-30", "x"} {
		f.Add(s)
	}
	p := huanxin.PresentAt(today, huanxin.China)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := huanxin.ParseSince(text)
		if err != nil {
			return
		}
		if !s.Exact() {
			d, err := time.ParseInLocation(time.DateOnly, text, huanxin.China)
			if err != nil || huanxin.SinceDay(huanxin.DayOf(d, huanxin.China)) != s {
				t.Fatalf("%q: %v, %v", text, d, err)
			}
			return
		}
		want, err := time.Parse(time.RFC3339, text)
		if err == nil && want.Truncate(time.Microsecond) != s.At(&p) && want.UnixMicro() != s.At(&p).UnixMicro() {
			t.Fatalf("%q: %v, want %v", text, s.At(&p), want)
		}
	})
}

func BenchmarkAMarkAnswers(b *testing.B) {
	p := huanxin.PresentAt(today, huanxin.China)
	s := told(b, "1 activated/first; 400@10:00 transferred").now
	m, n := s.Mark(huanxin.China), number(b, "+8613800000001")
	since, _ := huanxin.ParseSince("2024-01-31")
	for b.Loop() {
		m.Answer(n, since, &p)
	}
}

func BenchmarkADateIsRead(b *testing.B) {
	text := []byte("2024-01-31")
	for b.Loop() {
		if _, err := huanxin.ParseSince(text); err != nil {
			b.Fatal(err)
		}
	}
}
