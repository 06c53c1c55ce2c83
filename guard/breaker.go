package guard

import (
	"math/rand/v2"
	"sync"
	"time"
)

// breaker keeps questions from a hub that fails: after some failures in a row it is not asked for a while, then by one question alone.
type breaker struct {
	mu       sync.Mutex
	failures int
	pause    time.Duration
	until    time.Time // with failures: not before
	probing  bool      // one question is on its way to see
}

const (
	failuresToOpen = 5
	firstPause     = time.Second
	longestPause   = 30 * time.Second
)

// enter reports whether a question may go out. done must be called with what came of it, if so.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < failuresToOpen && !now.Before(b.until) {
		return true
	}
	if b.probing || now.Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// done takes the outcome of a question, and how long the hub asked to be left alone. It reports whether the breaker opened or closed.
func (b *breaker) done(ok bool, wait time.Duration, now time.Time) (opened, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.failures >= failuresToOpen
	b.probing = false
	if ok {
		b.failures, b.pause, b.until = 0, 0, time.Time{}
		return false, was
	}
	if b.failures++; b.failures >= failuresToOpen {
		b.pause = min(max(2*b.pause, firstPause), longestPause)
		b.until = now.Add(b.pause/2 + rand.N(b.pause))
	}
	if wait = min(wait, longestPause); wait > 0 && now.Add(wait).After(b.until) {
		b.until = now.Add(wait)
	}
	return b.failures >= failuresToOpen && !was, false
}

// open reports whether the hub is left alone now.
func (b *breaker) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= failuresToOpen || now.Before(b.until)
}
