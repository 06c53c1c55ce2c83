package guard

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// forgotten are numbers of which there was news that a replica from before does not know. They are sealed, as in the cache.
type forgotten struct {
	some atomic.Int64 // how many, for who has no time to wait
	seal sealer

	mu sync.RWMutex
	at map[sealed]time.Time
}

// mostForgotten bounds them. With more, the replica as a whole is not relied on until a newer one comes.
const mostForgotten = 1 << 16

// add notes that there was news of a number; false: there are too many.
func (f *forgotten) add(n huanxin.Number, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.at) >= mostForgotten {
		return false
	}
	if f.at == nil {
		f.at = map[sealed]time.Time{}
	}
	f.at[f.seal.seal(n)] = now
	f.some.Store(int64(len(f.at)))
	return true
}

// newer reports whether there was news of a number that a replica of this time may not know.
func (f *forgotten) newer(n huanxin.Number, issued time.Time) bool {
	if f.some.Load() == 0 {
		return false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	at, known := f.at[f.seal.seal(n)]
	return known && !at.Before(issued.Add(-clockSkew))
}

// settle drops what a replica of this time knows.
func (f *forgotten) settle(issued time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, at := range f.at {
		if at.Before(issued.Add(-clockSkew)) {
			delete(f.at, n)
		}
	}
	f.some.Store(int64(len(f.at)))
}
