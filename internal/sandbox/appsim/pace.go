package appsim

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Pace is how fast an app and its people work.
type Pace struct {
	// Day is how long a day of the service lasts: 24 hours divided by the demo's speed. It must be set.
	Day time.Duration
	// PushTo is the URL at which the app's ServeHTTP answers: the app's SETs are pushed there. Empty: it polls for them.
	PushTo string
	// Down reports whether the app is down at a time: it does nothing then, and its endpoint answers nothing. nil: it never is.
	Down func(time.Time) bool
	// Relist is how often, in real time, the app looks at its task list, to be sure that its stream told it all, and Patience how long the
	// feed has then to tell it after all. Zero: 30 s, and 90 s, since what an app that was killed did not acknowledge comes again after a
	// minute. NonsenseRelist is how often the app of nonsense does, which has no better
	// way. Zero: 1 s.
	Relist, Patience, NonsenseRelist time.Duration
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
	set(&p.Relist, 30*time.Second)
	set(&p.Patience, 90*time.Second)
	set(&p.NonsenseRelist, time.Second)
	set(&p.Timeout, 15*time.Second)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	return p
}

// again is how long it is until the task list is looked at again, spread so that 239 apps do not come at once.
func (p *Pace) again(b catalogue.Behaviour) time.Duration {
	d := p.Relist
	if b == catalogue.Nonsense {
		d = p.NonsenseRelist
	}
	return time.Duration((0.8 + 0.2*rand.Float64()) * float64(d))
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
