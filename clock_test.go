package huanxin_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// allSteps is delivery, warning, overdue, company, regulator, expired.
var allSteps = []huanxin.Step{huanxin.StepDelivery, huanxin.StepWarning, huanxin.StepOverdue,
	huanxin.StepCompany, huanxin.StepRegulator, huanxin.StepExpired}

func TestTheClockRunsInWorkingDays(t *testing.T) {
	// "Clock, in working days of a calendar with holidays and 调休, day 1 being the first working day after submission:
	// deliver in minutes, warn on day 3, due at the end of day 5, escalate to the company's named contact on day 7, to
	// the regulator on day 10, expire on day 15."
	for _, c := range []struct {
		story, submitted string
		want             [6]string
	}{
		{"an ordinary Monday", "2026-11-16 10:00", [6]string{"2026-11-16 10:15",
			"2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"the first second of that Monday is the same day", "2026-11-16 00:00", [6]string{"2026-11-16 00:15",
			"2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"and so is 23:59 in Shanghai", "2026-11-16 23:59", [6]string{"2026-11-17 00:14",
			"2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"a minute later it is Tuesday", "2026-11-17 00:00", [6]string{"2026-11-17 00:15",
			"2026-11-20 00:00", "2026-11-25 00:00", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-09 00:00"}},
		{"on Saturday: Monday is day 1", "2026-11-21 15:00", [6]string{"2026-11-21 15:15",
			"2026-11-25 00:00", "2026-11-28 00:00", "2026-12-01 00:00", "2026-12-04 00:00", "2026-12-12 00:00"}},
		{"before National Day 2026 (October 1 to 7; Saturday 10 is worked)", "2026-09-29 10:00", [6]string{"2026-09-29 10:15",
			"2026-10-09 00:00", "2026-10-13 00:00", "2026-10-14 00:00", "2026-10-19 00:00", "2026-10-27 00:00"}},
		{"before Spring Festival 2026 (February 15 to 23; Saturdays 14 and 28 are worked)", "2026-02-13 18:00", [6]string{
			"2026-02-13 18:15", "2026-02-25 00:00", "2026-02-28 00:00", "2026-03-02 00:00", "2026-03-05 00:00", "2026-03-13 00:00"}},
		{"before Spring Festival 2025 (January 28 to February 4; Sunday January 26 and Saturday February 8 are worked)",
			"2025-01-24 09:00", [6]string{"2025-01-24 09:15", "2025-02-05 00:00", "2025-02-08 00:00", "2025-02-10 00:00",
				"2025-02-13 00:00", "2025-02-21 00:00"}},
		{"over the New Year 2026 (January 1 to 3; Sunday 4 is worked)", "2025-12-31 12:00", [6]string{"2025-12-31 12:15",
			"2026-01-06 00:00", "2026-01-09 00:00", "2026-01-12 00:00", "2026-01-15 00:00", "2026-01-23 00:00"}},
	} {
		t.Run(c.story, func(t *testing.T) {
			s := huanxin.DefaultDurations().Schedule(huanxin.ChinaCalendar(), shanghai(t, c.submitted), nil)
			wantSteps(t, s, c.want)
			if !s.Known {
				t.Error("2025 and 2026 are known")
			}
		})
	}
}

func wantSteps(t *testing.T, s huanxin.Schedule, want [6]string) {
	t.Helper()
	for i, step := range allSteps {
		if got := s.At(step); !got.Equal(shanghai(t, want[i])) {
			t.Errorf("%s at %s, want %s", step, got, want[i])
		}
	}
	if !s.Due().Equal(s.At(huanxin.StepOverdue)) {
		t.Error("due at the end of day 5 is when overdue begins")
	}
}

func TestAScheduleSaysWhenTheCalendarDidNotKnow(t *testing.T) {
	cal, d := huanxin.ChinaCalendar(), huanxin.DefaultDurations()
	if s := d.Schedule(cal, shanghai(t, "2026-12-09 10:00"), nil); !s.Known { // day 15 is Wednesday 30
		t.Error("this one ends in 2026")
	}
	if s := d.Schedule(cal, shanghai(t, "2026-12-14 10:00"), nil); s.Known {
		t.Error("2027 is not loaded")
	}
}

func TestActionRequiredStopsTheClockForAtMostSevenDays(t *testing.T) {
	// "in_review does not stop the clock; action_required stops it for at most 7 days."
	type pause struct{ from, to string }
	for _, c := range []struct {
		story  string
		pauses []pause
		want   [6]string
	}{
		{"from Wednesday noon to Friday noon: Wednesday and Thursday end in it", []pause{{"2026-11-18 12:00", "2026-11-20 12:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-23 00:00", "2026-11-26 00:00", "2026-11-27 00:00", "2026-12-02 00:00", "2026-12-10 00:00"}},
		{"within one day: nothing moves", []pause{{"2026-11-18 09:00", "2026-11-18 17:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"over a weekend: nothing moves but Friday", []pause{{"2026-11-20 18:00", "2026-11-23 08:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-19 00:00", "2026-11-25 00:00", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-09 00:00"}},
		{"still running: it counts for 7 days, until Wednesday noon", []pause{{"2026-11-18 12:00", ""}},
			[6]string{"2026-11-16 10:15", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-02 00:00", "2026-12-07 00:00", "2026-12-15 00:00"}},
		{"for three weeks: it counts for 7 days", []pause{{"2026-11-18 12:00", "2026-12-09 12:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-02 00:00", "2026-12-07 00:00", "2026-12-15 00:00"}},
		{"begun before day 3, over at its noon: the warning waits until then", []pause{{"2026-11-18 12:00", "2026-11-19 12:00"}},
			// Wednesday ends in it, so that Thursday is day 2 and Friday day 3.
			[6]string{"2026-11-16 10:15", "2026-11-20 00:00", "2026-11-25 00:00", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-09 00:00"}},
		{"begun at once", []pause{{"2026-11-16 10:05", "2026-11-16 10:30"}},
			[6]string{"2026-11-16 10:30", "2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"after day 5: due stays, what comes later moves", []pause{{"2026-11-24 12:00", "2026-11-26 12:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-19 00:00", "2026-11-24 00:00", "2026-11-27 00:00", "2026-12-02 00:00", "2026-12-10 00:00"}},
		{"two of them, in any order", []pause{{"2026-11-25 12:00", "2026-11-26 12:00"}, {"2026-11-18 12:00", "2026-11-20 12:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-23 00:00", "2026-11-27 00:00", "2026-11-30 00:00", "2026-12-03 00:00", "2026-12-11 00:00"}},
		{"to the end of a day to the second: that day did not run out", []pause{{"2026-11-18 12:00", "2026-11-19 00:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-20 00:00", "2026-11-25 00:00", "2026-11-26 00:00", "2026-12-01 00:00", "2026-12-09 00:00"}},
		{"from the end of day 5 to the second: the day had run out, the step waits", []pause{{"2026-11-24 00:00", "2026-11-24 08:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-19 00:00", "2026-11-24 08:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
		{"ended before it began: nothing", []pause{{"2026-11-20 12:00", "2026-11-18 12:00"}},
			[6]string{"2026-11-16 10:15", "2026-11-19 00:00", "2026-11-24 00:00", "2026-11-25 00:00", "2026-11-30 00:00", "2026-12-08 00:00"}},
	} {
		t.Run(c.story, func(t *testing.T) {
			var pauses []huanxin.Pause
			for _, p := range c.pauses {
				pause := huanxin.Pause{From: shanghai(t, p.from)}
				if p.to != "" {
					pause.To = shanghai(t, p.to)
				}
				pauses = append(pauses, pause)
			}
			wantSteps(t, huanxin.DefaultDurations().Schedule(huanxin.ChinaCalendar(), shanghai(t, "2026-11-16 10:00"), pauses), c.want)
		})
	}
}

func TestTheDemoDividesTheClockAndKeepsInstantsReal(t *testing.T) {
	submitted := shanghai(t, "2026-11-16 10:00")
	for _, c := range []struct {
		speed float64
		want  [6]time.Duration // from submission
	}{
		// 2 seconds, since apps poll in real time; 62, 182, 206, 326 and 518 hours.
		{14400, [6]time.Duration{2 * time.Second, 15500 * time.Millisecond, 45500 * time.Millisecond,
			51500 * time.Millisecond, 81500 * time.Millisecond, 129500 * time.Millisecond}},
		{86400, [6]time.Duration{2 * time.Second, 2583333 * time.Microsecond, 7583333 * time.Microsecond,
			8583333 * time.Microsecond, 13583333 * time.Microsecond, 21583333 * time.Microsecond}},
	} {
		d := huanxin.DefaultDurations()
		d.Speed = c.speed
		s := d.Schedule(huanxin.ChinaCalendar(), submitted, nil)
		for i, step := range allSteps {
			if got := s.At(step).Sub(submitted); got != c.want[i] {
				t.Errorf("at speed %g %s comes after %s, want %s", c.speed, step, got, c.want[i])
			}
		}
	}
}

func TestAPauseInTheDemoCountsForSevenOfItsDays(t *testing.T) {
	submitted := shanghai(t, "2026-11-16 10:00")
	d := huanxin.DefaultDurations()
	d.Speed = 14400 // a day is 6 seconds
	// Wednesday noon comes 50 hours, here 12.5 s, after submission; 7 days are 42 s.
	s := d.Schedule(huanxin.ChinaCalendar(), submitted, []huanxin.Pause{{From: submitted.Add(12500 * time.Millisecond)}})
	// As above: the warning on November 26, due at the end of November 30: 230 and 350 hours.
	if got := s.At(huanxin.StepWarning).Sub(submitted); got != 57500*time.Millisecond {
		t.Errorf("warning after %s", got)
	}
	if got := s.Due().Sub(submitted); got != 87500*time.Millisecond {
		t.Errorf("due after %s", got)
	}
}

// drawPauses gives pauses as a task has them: one after the other, and only the last may still last.
func drawPauses(t *rapid.T, submitted time.Time, unit time.Duration) (pauses []huanxin.Pause) {
	from := submitted
	for n := rapid.IntRange(0, 4).Draw(t, "pauses"); n > 0; n-- {
		p := huanxin.Pause{From: from.Add(time.Duration(rapid.IntRange(0, 10*24*4).Draw(t, "from")) * unit)}
		if n > 1 || rapid.Bool().Draw(t, "over") {
			p.To = p.From.Add(time.Duration(rapid.IntRange(0, 10*24*4).Draw(t, "for")) * unit)
			from = p.To
		}
		pauses = append(pauses, p)
	}
	return pauses
}

// standstill gives when the clock stands still: 7 days of a task's pauses count, the first ones.
func standstill(pauses []huanxin.Pause, d huanxin.Durations) (out []huanxin.Pause) {
	left := d.LongestPause()
	for _, p := range pauses {
		long := left
		if !p.To.IsZero() {
			long = min(long, p.To.Sub(p.From))
		}
		left -= long
		out = append(out, huanxin.Pause{From: p.From, To: p.From.Add(long)})
	}
	return out
}

func TestStepsComeInOrderAndNeverInAPause(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	rapid.Check(t, func(t *rapid.T) {
		d := huanxin.DefaultDurations()
		d.Speed = rapid.SampledFrom([]float64{1, 7, 1000, 14400, 86400}).Draw(t, "speed")
		submitted := shanghai0.Add(time.Duration(rapid.Int64Range(0, 700*86400).Draw(t, "submitted")) * time.Second)
		unit := time.Duration(float64(15*time.Minute)/d.Speed) / time.Microsecond * time.Microsecond
		pauses := drawPauses(t, submitted, unit)
		s := d.Schedule(cal, submitted, pauses)
		last := submitted
		for step, at, ok := s.Next(0); ok; step, at, ok = s.Next(step) {
			if at.Before(last) {
				t.Fatalf("%s at %s, before the step before it, %s", step, at, last)
			}
			last = at
			for _, p := range standstill(pauses, d) {
				if !at.Before(p.From) && at.Before(p.To) {
					t.Fatalf("%s at %s, in the pause %s to %s", step, at, p.From, p.To)
				}
			}
		}
		if bare := d.Schedule(cal, submitted, nil); s.Due().Before(bare.Due()) {
			t.Fatalf("a pause brought the due time forward, from %s to %s", bare.Due(), s.Due())
		}
	})
}

var shanghai0 = time.Date(2025, 1, 1, 0, 0, 0, 0, huanxin.China)

// The model counts, for every step, the working days whose last second is in no pause, one at a time and in another way.
func TestAStepComesAfterSoManyWorkingDaysThatRan(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	rapid.Check(t, func(t *rapid.T) {
		d := huanxin.DefaultDurations()
		submitted := shanghai0.Add(time.Duration(rapid.IntRange(0, 600*24*60).Draw(t, "submitted"))*time.Minute + time.Second)
		pauses := drawPauses(t, submitted, 15*time.Minute)
		s := d.Schedule(cal, submitted, pauses)
		ran := 0
		for date := huanxin.DateOf(submitted, huanxin.China).AddDays(1); !huanxin.DateOf(s.Due(), huanxin.China).Before(date); date = date.AddDays(1) {
			_, next := date.In(huanxin.China)
			works, _ := cal.Working(date)
			for _, p := range standstill(pauses, d) {
				second := next.Add(-time.Second) // pauses begin and end a second after a quarter of an hour
				if second.After(p.From) && second.Before(p.To) {
					works = false
				}
			}
			if works && !next.After(s.Due()) {
				ran++
			}
		}
		if ran != d.DueDay {
			t.Fatalf("%d working days ran until %s", ran, s.Due())
		}
	})
}

func TestAFasterClockIsTheSameClock(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	rapid.Check(t, func(t *rapid.T) {
		slow := huanxin.DefaultDurations()
		fast := slow
		fast.Speed = rapid.SampledFrom([]float64{2, 10, 900, 14400}).Draw(t, "speed") // divides 15 minutes into whole microseconds
		submitted := shanghai0.Add(time.Duration(rapid.IntRange(0, 600*24*60).Draw(t, "submitted"))*time.Minute + time.Second)
		pauses := drawPauses(t, submitted, 15*time.Minute)
		quick := make([]huanxin.Pause, len(pauses))
		shrink := func(at time.Time) time.Time {
			return submitted.Add(time.Duration(math.Round(float64(at.Sub(submitted)) / fast.Speed)))
		}
		for i, p := range pauses {
			quick[i].From = shrink(p.From)
			if !p.To.IsZero() {
				quick[i].To = shrink(p.To)
			}
		}
		want, got := slow.Schedule(cal, submitted, pauses), fast.Schedule(cal, submitted, quick)
		for _, step := range allSteps[1:] { // a fast delivery is 2 seconds
			if off := got.At(step).Sub(shrink(want.At(step))).Abs(); off > time.Microsecond {
				t.Fatalf("at speed %g %s is off by %s", fast.Speed, step, off)
			}
		}
	})
}

func TestNextWalksTheStepsOfTheContract(t *testing.T) {
	s := huanxin.DefaultDurations().Schedule(huanxin.ChinaCalendar(), shanghai(t, "2026-11-16 10:00"), nil)
	var words []string
	for step, at, ok := s.Next(0); ok; step, at, ok = s.Next(step) {
		if !at.Equal(s.At(step)) {
			t.Errorf("%s at %s", step, at)
		}
		back, err := huanxin.ParseStep(step.String())
		if err != nil || back != step {
			t.Errorf("%s reads back as %s, %v", step, back, err)
		}
		words = append(words, step.String())
	}
	if got := strings.Join(words, " "); got != "delivery warning overdue escalated_company escalated_regulator expired" {
		t.Error(got)
	}
	if _, err := huanxin.ParseStep("due"); err == nil {
		t.Error("due is no word of the contract")
	}
}

func TestReleaseSlotsAreSixHoursOfTheChineseDay(t *testing.T) {
	d := huanxin.DefaultDurations()
	for at, want := range map[string]string{
		"2026-11-16 00:00":    "2026-11-16 06:00", // strictly after
		"2026-11-16 00:00:01": "2026-11-16 06:00",
		"2026-11-16 05:59:59": "2026-11-16 06:00",
		"2026-11-16 06:00":    "2026-11-16 12:00",
		"2026-11-16 17:59:59": "2026-11-16 18:00",
		"2026-11-16 18:00":    "2026-11-17 00:00",
		"2026-12-31 23:59:59": "2027-01-01 00:00",
		"1969-07-20 23:00":    "1969-07-21 00:00",
	} {
		if got := d.NextSlot(shanghai(t, at)); !got.Equal(shanghai(t, want)) {
			t.Errorf("after %s comes %s, want %s", at, got, want)
		}
	}
	almost := shanghai(t, "2026-11-16 06:00").Add(-time.Nanosecond)
	if got := d.NextSlot(almost.UTC()); !got.Equal(shanghai(t, "2026-11-16 06:00")) {
		t.Errorf("a nanosecond before: %s", got)
	}
	for speed, want := range map[float64]time.Duration{14400: 1500 * time.Millisecond, 86400: 250 * time.Millisecond} {
		d.Speed = speed
		midnight := shanghai(t, "2026-11-16 00:00")
		if got := d.NextSlot(midnight).Sub(midnight); got != want {
			t.Errorf("at speed %g a slot is %s, want %s", speed, got, want)
		}
	}
}

func TestResultsAreReleasedByAppAndNeverByAnswer(t *testing.T) {
	// "the task's release time, which is the first slot after submission plus a delay fixed per app (high value: at least
	// 24 hours and one slot)"
	d := huanxin.DefaultDurations()
	for _, c := range []struct {
		class string
		delay time.Duration
		want  string
	}{
		{"game", 0, "2026-11-16 18:00"},
		{"game", time.Hour, "2026-11-16 18:00"},
		{"game", 20 * time.Hour, "2026-11-17 08:00"},
		{"payment", 0, "2026-11-17 18:00"},
		{"mail", 24 * time.Hour, "2026-11-17 18:00"},
		{"government", 48 * time.Hour, "2026-11-18 12:00"},
	} {
		app := &huanxin.Party{Kind: huanxin.AppParty, Class: c.class, ReleaseDelay: c.delay}
		if got := d.ReleaseAt(shanghai(t, "2026-11-16 10:00"), d.ReleaseDelayOf(app)); !got.Equal(shanghai(t, c.want)) {
			t.Errorf("%s with a delay of %s: %s, want %s", c.class, c.delay, got, c.want)
		}
	}
	d.Speed = 14400
	if got := d.ReleaseDelayOf(&huanxin.Party{Class: "payment"}); got != 7500*time.Millisecond {
		t.Errorf("30 hours at speed 14400 are %s", got)
	}
	if got := d.ReleaseDelayOf(&huanxin.Party{Class: "payment", ReleaseDelay: 48 * time.Hour}); got != 12*time.Second {
		t.Errorf("48 hours at speed 14400 are %s", got)
	}
}

func TestWhatComesAfterTheReleaseShowsAtTheSecondSlot(t *testing.T) {
	// "never at the time of the answer; what comes after the release time shows at the second slot after it came"
	d := huanxin.DefaultDurations()
	release := shanghai(t, "2026-11-17 08:00")
	for answered, want := range map[string]string{
		"2026-11-16 10:00":    "2026-11-17 08:00",
		"2026-11-17 07:59:54": "2026-11-17 08:00",
		"2026-11-17 07:59:55": "2026-11-17 08:00",
		// It may not have been on stable storage yet when others looked at 08:00.
		"2026-11-17 07:59:56": "2026-11-17 18:00",
		"2026-11-17 08:00":    "2026-11-17 18:00",
		"2026-11-17 08:00:01": "2026-11-17 18:00",
		"2026-11-17 11:59:59": "2026-11-17 18:00",
		"2026-11-17 12:00":    "2026-11-18 00:00",
		"2026-12-24 23:00":    "2026-12-25 06:00",
	} {
		if got := d.ShownAt(release, shanghai(t, answered)); !got.Equal(shanghai(t, want)) {
			t.Errorf("answered %s shows at %s, want %s", answered, got, want)
		}
	}
}

func TestASlotIsTheSameForAllThatCameInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := huanxin.DefaultDurations()
		d.Speed = rapid.Float64Range(1, 1e6).Draw(t, "speed")
		at := time.Unix(0, rapid.Int64Range(-1e18, 4e18).Draw(t, "at"))
		next := d.NextSlot(at)
		if wait := next.Sub(at); wait <= 0 || wait > d.SlotLength() {
			t.Fatalf("after %s comes %s", at, next)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(at))-1).Draw(t, "later")))
		if again := d.NextSlot(between); !again.Equal(next) {
			t.Fatalf("after %s comes %s, after %s %s", at, next, between, again)
		}
		if again := d.NextSlot(next); again.Sub(next) != d.SlotLength() {
			t.Fatalf("after %s comes %s", next, again)
		}
	})
}

func TestSpeedDividesEveryDuration(t *testing.T) {
	d := huanxin.DefaultDurations()
	for speed, want := range map[float64]string{
		1:     "15m0s 168h0m0s 6h0m0s 24h0m0s 72h0m0s 24h0m0s 720h0m0s",
		14400: "2s 42s 1.5s 6s 18s 6s 3m0s",
		86400: "2s 7s 250ms 1s 3s 1s 30s",
	} {
		d.Speed = speed
		got := fmt.Sprint(d.Delivery(), d.LongestPause(), d.SlotLength(), d.Hold(), d.RestoreFor(), d.Day(), d.Month())
		if got != want {
			t.Errorf("at speed %g: %s, want %s", speed, got, want)
		}
	}
}

func TestDurationsThatBreakARuleAreRefusedByName(t *testing.T) {
	if err := huanxin.DefaultDurations().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*huanxin.Durations){
		"deliver_within":     func(d *huanxin.Durations) { d.DeliverWithin = 0 },
		"warn_day":           func(d *huanxin.Durations) { d.WarnDay = 1 },
		"due_day":            func(d *huanxin.Durations) { d.DueDay = 2 },
		"company_day":        func(d *huanxin.Durations) { d.CompanyDay = 5 },
		"regulator_day":      func(d *huanxin.Durations) { d.RegulatorDay = 7 },
		"expire_day":         func(d *huanxin.Durations) { d.ExpireDay = 9 },
		"max_pause":          func(d *huanxin.Durations) { d.MaxPause = 8 * 24 * time.Hour },
		"slot":               func(d *huanxin.Durations) { d.Slot = 0 },
		"release_delay":      func(d *huanxin.Durations) { d.ReleaseDelay = -1 },
		"high_value_hold":    func(d *huanxin.Durations) { d.HighValueHold = 23 * time.Hour },
		"restore":            func(d *huanxin.Durations) { d.Restore = 71 * time.Hour },
		"request_day":        func(d *huanxin.Durations) { d.RequestDay = 0 },
		"request_month":      func(d *huanxin.Durations) { d.RequestMonth = time.Hour },
		"requests_per_day":   func(d *huanxin.Durations) { d.RequestsPerDay = 0 },
		"requests_per_month": func(d *huanxin.Durations) { d.RequestsPerMonth = 0 },
		"speed":              func(d *huanxin.Durations) { d.Speed = math.NaN() },
	} {
		d := huanxin.DefaultDurations()
		change(&d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), "; "+want+" ") {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, speed := range []float64{0, -1, 0.5, math.Inf(1), 2e6} {
		d := huanxin.DefaultDurations()
		d.Speed = speed
		if d.Validate() == nil {
			t.Errorf("speed %g is taken", speed)
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	cal, d := huanxin.ChinaCalendar(), huanxin.DefaultDurations()
	submitted := shanghai(b, "2026-09-29 10:00")
	pauses := []huanxin.Pause{{From: submitted.Add(50 * time.Hour)}}
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.Schedule(cal, submitted, nil)
		}
	})
	b.Run("paused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.Schedule(cal, submitted, pauses)
		}
	})
}
