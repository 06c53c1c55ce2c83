package appsim

import (
	"log/slog"
	"time"

	"github.com/huanxin-platform/huanxin"
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
