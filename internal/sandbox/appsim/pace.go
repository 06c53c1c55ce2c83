package appsim

import (
	"log/slog"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Pace is how fast an app and its people work.
type Pace struct {
	// Day is how long a day of the service lasts: 24 hours divided by the demo's speed. It must be set.
	Day time.Duration
	// Poll is the time from one poll to the next while there is work, Idle while there is none; both in real time.
	// Zero: 1 s and 1.5 s, because a task is to be delivered within 2 s at any speed.
	Poll, Idle time.Duration
	// Timeout bounds one call of the hub. Zero: 15 s.
	Timeout time.Duration
	// Holder is the truth of who held a number at a time: what a person at the company finds out, and who opens a link.
	// "" or a nil func: it cannot be found out.
	Holder func(n huanxin.Number, at time.Time) (person string)
	// URL is the hub's, for the bytes that the client would not send: the app of nonsense alone uses it. Empty: it sends none.
	URL string
	// Log may be nil. It is never given a number.
	Log *slog.Logger
}

func (p Pace) withDefaults() Pace {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&p.Day, 24*time.Hour)
	set(&p.Poll, time.Second)
	set(&p.Idle, 1500*time.Millisecond)
	set(&p.Timeout, 15*time.Second)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	return p
}

// days gives so many days of the service, real.
func (p *Pace) days(n float64) time.Duration { return time.Duration(n * float64(p.Day)) }

// ready says when an app gets to a task that it saw now and that is due then; zero: never. The latest of the slow leaves time
// for a review and the hold before day 5 ends; the latest of the late is long before expiry on day 15.
func (p *Pace) ready(b catalogue.Behaviour, id string, now, due time.Time) time.Time {
	f := part("ready", id)
	switch b {
	case catalogue.Steady:
		return now.Add(p.days(0.2 + 1.3*f))
	case catalogue.Slow:
		return now.Add(p.days(2.4 + 0.9*f))
	case catalogue.Late:
		if due.Before(now) {
			due = now
		}
		return due.Add(p.days(0.5 + 2.5*f))
	case catalogue.Nonsense:
		if f < rightInTheEnd {
			return now.Add(p.days(1 + 2*f))
		}
		return time.Time{}
	default:
		return now
	}
}

// rightInTheEnd is the part of its tasks that the app of nonsense answers rightly at last.
const rightInTheEnd = 0.5

// looks is when people will have done what a standing task waits for: a review, or the holder with a link.
func (p *Pace) looks(id string, o huanxin.Outcome, now time.Time) time.Time {
	f := part("looks", id)
	if o == huanxin.ActionRequired {
		return now.Add(p.days(0.5 + f))
	}
	return now.Add(p.days(0.3 + 0.4*f))
}
