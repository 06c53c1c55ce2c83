package guard

import (
	"sync"
	"time"
)

// elapsed gives how long ago an instant of this process was, by the clock on the wall or by the one that nobody sets, whichever says more: a
// clock that is put back makes nothing younger, and neither does a machine that slept.
func elapsed(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)), 0)
}

// highWater knows how far the number log has been. Hubs of one service follow it side by side, each a moment behind: only one that
// is behind what was known half a minute ago has gone back.
type highWater struct {
	mu                     sync.Mutex
	recent, older, settled int64
	turned                 time.Time
}

const settleAfter = 30 * time.Second

// observe takes a position and reports whether it is one of a hub that has not gone back.
func (h *highWater) observe(asOf int64, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turned.IsZero() {
		h.turned = now
	}
	if elapsed(now, h.turned) >= settleAfter {
		h.settled, h.older, h.turned = h.older, h.recent, now
	}
	h.recent = max(h.recent, asOf)
	return asOf >= h.settled
}
