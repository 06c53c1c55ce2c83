package huanxin

import (
	"math"
	"time"
)

// Step is something the clock of a task does (DOMAIN.md §6). Step 0 is before the first.
type Step uint8

// The steps of a task's clock, in the order in which they come.
const (
	StepDelivery  Step = iota + 1 // should be delivered by now
	StepWarning                   // the app is warned
	StepOverdue                   // the answer was due until now
	StepCompany                   // to the company's named contact
	StepRegulator                 // to the regulator
	StepExpired                   // no longer awaited
)

var clockSteps = enum[Step]{what: "step", names: []string{
	1: "delivery", 2: "warning", 3: "overdue", 4: "escalated_company", 5: "escalated_regulator", 6: "expired"}}

// String gives the word of the contract.
func (s Step) String() string { return clockSteps.name(s) }

// ParseStep reads a step's word.
func ParseStep(s string) (Step, error) { return clockSteps.parse(s) }

// Durations are the service's own times. What is compared with dates in data (the 90 days of cooling, the 24 hours of
// Decide) is not among them. Read divided values through the methods: the fields are as if Speed were 1.
type Durations struct {
	// The clock of a task (DOMAIN.md §6): a duration from submission, then working days of a Calendar, from 1.
	DeliverWithin time.Duration
	WarnDay       int // at its start
	DueDay        int // at its end
	CompanyDay    int // at its start
	RegulatorDay  int // at its start
	ExpireDay     int // at its end
	// MaxPause is how long action_required stops a task's clock, all times together. It is counted in calendar time: of the two readings of
	// "at most 7 days" the shorter harms no holder.
	MaxPause time.Duration

	// When results are shown (DOMAIN.md §7 rule 4).
	Slot          time.Duration // from one release slot to the next
	ReleaseDelay  time.Duration // from the first slot after submission, for apps not of high value
	HighValueHold time.Duration // for apps of high value: until an unbinding is final, and with a slot the least delay

	Restore time.Duration // how long an app keeps the means to undo an unbinding

	// Rule 13: so many accepted requests per tenure in each of two windows.
	RequestDay       time.Duration
	RequestMonth     time.Duration
	RequestsPerDay   int
	RequestsPerMonth int

	// Speed divides every duration above and the working days: 14400 makes a day 6 seconds long. Instants stay real.
	Speed float64
}

// DefaultDurations gives the durations of DOMAIN.md.
func DefaultDurations() Durations {
	const day = 24 * time.Hour
	return Durations{
		DeliverWithin: 15 * time.Minute,
		WarnDay:       3,
		DueDay:        5,
		CompanyDay:    7,
		RegulatorDay:  10,
		ExpireDay:     15,
		MaxPause:      7 * day,

		Slot:          6 * time.Hour,
		ReleaseDelay:  6 * time.Hour,
		HighValueHold: day,

		Restore: 3 * day,

		RequestDay:       day,
		RequestMonth:     30 * day,
		RequestsPerDay:   1,
		RequestsPerMonth: 3,

		Speed: 1,
	}
}

// Validate refuses durations that would put the steps out of order or break a rule of DOMAIN.md, naming each field.
func (d Durations) Validate() error {
	const day = 24 * time.Hour
	refusal := &Error{Kind: Invalid, Code: "invalid", Detail: "durations of the service"}
	must := func(ok bool, field, detail string) {
		if !ok {
			refusal.Fields = append(refusal.Fields, FieldError{Field: field, Code: "out_of_range", Detail: detail})
		}
	}
	// Day 2 begins more than a day after submission, so that a delivery within a day comes before any warning.
	must(d.DeliverWithin > 0 && d.DeliverWithin <= day, "deliver_within", "must be more than 0 and at most 24h")
	must(d.WarnDay >= 2, "warn_day", "must be at least 2")
	must(d.DueDay >= d.WarnDay, "due_day", "must not be before warn_day")
	must(d.CompanyDay > d.DueDay, "company_day", "must be after due_day")
	must(d.RegulatorDay > d.CompanyDay, "regulator_day", "must be after company_day")
	must(d.ExpireDay >= d.RegulatorDay && d.ExpireDay <= 250, "expire_day", "must not be before regulator_day, and be at most 250")
	must(d.MaxPause >= 0 && d.MaxPause <= 7*day, "max_pause", "must be 0 to 168h: the clock stops for at most 7 days")
	must(d.Slot >= time.Minute && d.Slot <= day, "slot", "must be 1m to 24h")
	must(d.ReleaseDelay >= 0 && d.ReleaseDelay <= 30*day, "release_delay", "must be 0 to 720h")
	must(d.HighValueHold >= day && d.HighValueHold <= 30*day, "high_value_hold", "must be 24h (rule 4) to 720h")
	must(d.Restore >= 3*day, "restore", "must be at least 72h")
	must(d.RequestDay > 0, "request_day", "must be more than 0")
	must(d.RequestMonth >= d.RequestDay, "request_month", "must not be shorter than request_day")
	must(d.RequestsPerDay >= 1, "requests_per_day", "must be at least 1")
	must(d.RequestsPerMonth >= d.RequestsPerDay, "requests_per_month", "must not be less than requests_per_day")
	must(d.Speed >= 1 && d.Speed <= 1e6, "speed", "must be 1 to 1000000")
	if refusal.Fields != nil {
		return refusal
	}
	return nil
}

// divide gives x divided by Speed, in whole microseconds as the store keeps them; with Speed 1 it is x exactly.
func (d Durations) divide(x time.Duration) time.Duration {
	if d.Speed == 1 {
		return x
	}
	return time.Duration(math.Round(float64(x)/d.Speed/1e3)) * time.Microsecond
}

// leastDelivery bounds Delivery from below where Speed divides it: apps poll in real time.
const leastDelivery = 2 * time.Second

// Delivery is within what time of submission a task is to be delivered. Divided it is at least 2 seconds, or the whole.
func (d Durations) Delivery() time.Duration {
	return max(d.divide(d.DeliverWithin), min(leastDelivery, d.DeliverWithin))
}

// LongestPause is how long action_required stops the clock of a task at most, all times together.
func (d Durations) LongestPause() time.Duration { return d.divide(d.MaxPause) }

// SlotLength is the time from one release slot to the next.
func (d Durations) SlotLength() time.Duration { return max(d.divide(d.Slot), time.Microsecond) }

// Hold is how long after it an unbinding in a high-value app becomes final.
func (d Durations) Hold() time.Duration { return d.divide(d.HighValueHold) }

// RestoreFor is how long an app keeps the means to undo an unbinding.
func (d Durations) RestoreFor() time.Duration { return d.divide(d.Restore) }

// Day is the shorter window of rule 13.
func (d Durations) Day() time.Duration { return d.divide(d.RequestDay) }

// Month is the longer window of rule 13.
func (d Durations) Month() time.Duration { return d.divide(d.RequestMonth) }

// Pause is a time in which a task's clock stands still: from an answer action_required to the next answer. To is zero
// while it lasts.
type Pause struct{ From, To time.Time }

// stops gives when the clock really stands still: all pauses of a task together for budget at most, or an app could stop
// its clock for ever by answering in turns. A pause that lasts is given its latest end. Pauses are given oldest first.
func stops(pauses []Pause, budget time.Duration) []Pause {
	if len(pauses) == 0 {
		return nil
	}
	out := make([]Pause, 0, len(pauses))
	for _, p := range pauses {
		if latest := p.From.Add(budget); p.To.IsZero() || p.To.After(latest) {
			p.To = latest
		}
		budget -= p.To.Sub(p.From)
		out = append(out, p)
	}
	return out
}

// Schedule holds the instants of a task's steps, in the order of the steps. They are real instants whatever the speed.
type Schedule struct {
	at [StepExpired + 1]time.Time
	// Known is false where the calendar did not know a year that had to be looked at.
	Known bool
}

// At gives the instant of a step.
func (s Schedule) At(step Step) time.Time { return s.at[step] }

// Due gives the end of the last working day on which the app's answer is in time.
func (s Schedule) Due() time.Time { return s.at[StepOverdue] }

// Next gives the step that follows another and its instant: the first after step 0, none (ok is false) after the last.
func (s Schedule) Next(after Step) (step Step, at time.Time, ok bool) {
	if after >= StepExpired {
		return 0, time.Time{}, false
	}
	return after + 1, s.at[after+1], true
}

// Schedule works out a task's clock (DOMAIN.md §6). Pauses are given oldest first. A working day whose last instant lies
// in a pause does not count, and a step that would come in a pause comes when it is over. With another Speed than 1 the
// calendar runs that much faster from submission on; pauses are real.
func (d Durations) Schedule(cal *Calendar, submitted time.Time, pauses []Pause) Schedule {
	submitted = submitted.Round(0).In(cal.zone)
	c := clock{d: d, submitted: submitted, stops: stops(pauses, d.LongestPause())}
	s := Schedule{Known: true}
	s.at[StepDelivery] = c.outside(submitted.Add(d.Delivery()))
	date := DateOf(submitted, cal.zone)
	for n := 0; n < d.ExpireDay; {
		date = date.AddDays(1)
		works, known := cal.Working(date)
		s.Known = s.Known && known
		if !works {
			continue
		}
		start, end := date.In(cal.zone)
		if c.stoppedAtEnd(c.real(end)) {
			continue
		}
		n++
		if n == d.WarnDay {
			s.at[StepWarning] = c.outside(c.real(start))
		}
		switch n {
		case d.DueDay:
			s.at[StepOverdue] = c.outside(c.real(end))
		case d.CompanyDay:
			s.at[StepCompany] = c.outside(c.real(start))
		case d.RegulatorDay:
			s.at[StepRegulator] = c.outside(c.real(start))
		}
		if n == d.ExpireDay {
			s.at[StepExpired] = c.outside(c.real(end))
		}
	}
	return s
}

// clock is what one Schedule is worked out from.
type clock struct {
	d         Durations
	submitted time.Time
	stops     []Pause
}

// real gives when an instant of the calendar comes, at the clock's speed.
func (c *clock) real(t time.Time) time.Time {
	return c.submitted.Add(c.d.divide(t.Sub(c.submitted)))
}

// stoppedAtEnd reports whether the clock stood still in the last instant before end.
func (c *clock) stoppedAtEnd(end time.Time) bool {
	for _, p := range c.stops {
		if p.From.Before(end) && !end.After(p.To) {
			return true
		}
	}
	return false
}

// outside gives t, or where t lies in a pause the instant at which the clock runs again.
func (c *clock) outside(t time.Time) time.Time {
	for i := 0; i < len(c.stops); i++ {
		p := c.stops[i]
		if !t.Before(p.From) && t.Before(p.To) {
			t, i = p.To.Round(0).In(t.Location()), -1 // pauses may touch: look at all of them again
		}
	}
	return t
}

// slotOrigin shifts the Unix epoch to a midnight in China, so that slots of 6 hours begin at 00:00, 06:00, 12:00 and
// 18:00 there. The boundaries are the same in every zone.
const slotOrigin = 8 * time.Hour

// NextSlot gives the first boundary of release slots after t, never t itself.
func (d Durations) NextSlot(t time.Time) time.Time {
	slot := d.SlotLength().Microseconds()
	since := t.UnixMicro() + slotOrigin.Microseconds()
	into := since % slot
	if into < 0 {
		into += slot
	}
	return time.UnixMicro(t.UnixMicro() - into + slot).In(t.Location())
}

// ReleaseDelayOf gives how long after the first slot an app's results are first shown (rule 4): the app's own delay, but
// not less than ReleaseDelay, and for high value not less than HighValueHold and one slot.
func (d Durations) ReleaseDelayOf(app *Party) time.Duration {
	least := d.ReleaseDelay
	if app.HighValue() {
		least = d.HighValueHold + d.Slot
	}
	return d.divide(max(app.ReleaseDelay, least))
}

// ReleaseAt gives when a task's results are first shown: the first slot after submission plus the delay that
// ReleaseDelayOf gave for the app. It does not depend on the answer.
func (d Durations) ReleaseAt(submitted time.Time, delay time.Duration) time.Time {
	return d.NextSlot(submitted).Add(delay)
}

// commitMargin is for how long an answer may be on its way to stable storage. One whose time lies so shortly before the release
// time may not have been there at that time, and a view that changed after it would tell when it came: it counts as later.
const commitMargin = 5 * time.Second

// ShownAt gives when an answer is shown: at the release time, or if it came later, or only just before it (5 seconds, or an
// eighth of a slot if that is less), at the second slot after it came.
func (d Durations) ShownAt(release, answered time.Time) time.Time {
	if !answered.After(release.Add(-min(commitMargin, d.SlotLength()/8))) {
		return release
	}
	return d.NextSlot(answered).Add(d.SlotLength())
}
