package appsim

import (
	"hash/fnv"
	"log/slog"
	"net/http"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Options are where an app finds the hub, how fast it and its people work, and what they can find out.
type Options struct {
	// URL is the hub's, Secret the app's there; HTTP sends requests, and may be shared; nil: the standard library's.
	URL, Secret string
	HTTP        *http.Client
	// Speed divides the durations of the service: the hold, and the time to restore. 0: 1.
	Speed float64
	// Day is how long a day is to the app and its people. Zero: 24 hours divided by the speed.
	Day time.Duration
	// PushTo is the URL at which the app's ServeHTTP answers: the app's SETs are pushed there. Empty: it polls for them.
	PushTo string
	// Down reports whether the app is down at a time: nothing of it runs then, and its endpoint answers nothing. nil: it never is.
	Down func(time.Time) bool
	// Relist is how often, in real time, the app looks at its task list, to be sure that its stream told it all; zero: 10 minutes.
	// NonsenseRelist is how often the app of nonsense does, which has no better way; zero: 1 s.
	Relist, NonsenseRelist time.Duration
	// Holder is the truth of who held a number at a time: what a person at the company finds out, and who opens a link.
	// "" or a nil func: it cannot be found out.
	Holder func(n huanxin.Number, at time.Time) (person string)
	// Log may be nil. It is never given a number.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	set(&o.Day, time.Duration(float64(24*time.Hour)/o.Speed))
	set(&o.Relist, 10*time.Minute)
	set(&o.NonsenseRelist, time.Second)
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// days gives so many days of the service, real.
func (o *Options) days(n float64) time.Duration { return time.Duration(n * float64(o.Day)) }

// ready says when an app gets to a task that it saw at a time and that is due then. The latest of the slow leaves time for a review and
// the hold before day 5 ends; the latest of the late is long before expiry on day 15.
func (o *Options) ready(b catalogue.Behaviour, id string, seen, due time.Time) time.Time {
	f := part("ready", id)
	switch b {
	case catalogue.Steady:
		return seen.Add(o.days(0.2 + 1.3*f))
	case catalogue.Slow:
		return seen.Add(o.days(2.4 + 0.9*f))
	case catalogue.Late:
		if due.Before(seen) {
			due = seen
		}
		return due.Add(o.days(0.5 + 2.5*f))
	case catalogue.Nonsense:
		if f < rightInTheEnd {
			return seen.Add(o.days(1 + 2*f))
		}
		return seen.AddDate(never, 0, 0)
	default:
		return seen
	}
}

const (
	// rightInTheEnd is the part of its tasks that the app of nonsense answers rightly at last.
	rightInTheEnd = 0.5
	never         = 100 // years
)

// looks is when people will have done what a standing task waits for: a review, or the holder with a link.
func (o *Options) looks(id string, what huanxin.Outcome, now time.Time) time.Time {
	f := part("looks", id)
	if what == huanxin.ActionRequired {
		return now.Add(o.days(0.5 + f))
	}
	return now.Add(o.days(0.3 + 0.4*f))
}

// part is a fraction from 0 up to 1, always the same for the same words.
func part(words ...string) float64 {
	h := fnv.New64a()
	for _, w := range words {
		_, _ = h.Write([]byte(w))
		_, _ = h.Write([]byte{0})
	}
	v := h.Sum64()
	v ^= v >> 33 // FNV's high bits hardly depend on the last bytes
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return float64(v>>11) / (1 << 53)
}
