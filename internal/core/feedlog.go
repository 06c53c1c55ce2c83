package core

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/huanxin-platform/huanxin/internal/store"
)

// Blocks of the feed log lie in windows of so many positions, so that streams which read from anywhere share them, and so many
// windows are kept in memory: those that were used last.
const (
	feedWindow  = 2048
	feedWindows = 64

	// feedHeld bounds what the windows hold together: where hundreds of streams named the same numbers, each event is of interest to hundreds.
	// The window that was used last is kept whatever it holds.
	feedHeld = 4 << 20

	// A window in which the log grows is read bit by bit. So many bits are made one block.
	feedBits = 16
)

// feedLog is what a hub keeps of the feed log in memory, for all streams.
type feedLog struct {
	head atomic.Pointer[feedHead]

	use     sync.Mutex // of what follows
	windows map[int64]*window
	uses    int64
	most    int // see feedHeld
}

// feedHead is how far the feed log goes, as far as this hub knows. It is replaced when it moves.
type feedHead struct {
	at    int64
	moved chan struct{} // closed when it has moved
}

// window is what was read of a window of the feed log.
type window struct {
	blocks  []*FeedBlock // one after the other, from the window's begin on
	reading *feedRead    // what somebody reads right now; nil: nobody does
	used    int64
}

// feedRead is a read that others wait for, too.
type feedRead struct {
	done chan struct{} // closed when it is over
	err  error         // read after done
}

func (w *window) held() (n int) {
	for _, b := range w.blocks {
		n += b.held
	}
	return n
}

// FeedHead gives the last position of the feed log that this hub knows of; 0: it is empty.
func (h *Hub) FeedHead() int64 { return h.feed.head.Load().at }

// FeedMoved gives what FeedHead gives, and a channel that is closed once this hub knows a later position. Any number may wait
// for it.
func (h *Hub) FeedMoved() (head int64, moved <-chan struct{}) {
	f := h.feed.head.Load()
	return f.at, f.moved
}

// feedMovedTo takes note of the feed's head.
func (h *Hub) feedMovedTo(at int64) {
	for {
		old := h.feed.head.Load()
		if old.at >= at {
			return
		}
		if h.feed.head.CompareAndSwap(old, &feedHead{at, make(chan struct{})}) {
			close(old.moved)
			return
		}
	}
}

// FollowFeed learns how far the feed log goes: other hubs make it longer, too.
func (h *Hub) FollowFeed(ctx context.Context) error {
	var head int64
	err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		head, err = tx.FeedHead()
		return err
	})
	if err == nil {
		h.feedMovedTo(head)
	}
	return err
}

// FeedBlock gives a block of the feed log that a position lies in. It may begin before that, and ends at the head at the latest,
// or much earlier: the next one begins where it ends. Behind the head it is empty: From is To.
func (h *Hub) FeedBlock(ctx context.Context, from int64) (*FeedBlock, error) {
	for {
		head := h.FeedHead()
		if from > head {
			return newFeedBlock(from), nil
		}
		found, read, mine := h.feed.find(from)
		switch {
		case found != nil:
			return found, nil
		case mine:
			h.readWindow(from/feedWindow, head, read)
		}
		select {
		case <-read.done:
			if read.err != nil {
				return nil, read.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// find gives the block that a position lies in, or a read that may bring it: one that is under way, or the caller's own.
func (f *feedLog) find(from int64) (found *FeedBlock, read *feedRead, mine bool) {
	f.use.Lock()
	defer f.use.Unlock()
	w := f.windows[from/feedWindow]
	if w == nil {
		w = &window{}
		f.windows[from/feedWindow] = w
	}
	f.uses++
	w.used = f.uses
	if at := slices.IndexFunc(w.blocks, func(b *FeedBlock) bool { return from < b.To }); at >= 0 {
		return w.blocks[at], nil, false
	}
	if w.reading != nil {
		return nil, w.reading, false
	}
	w.reading = &feedRead{done: make(chan struct{})}
	return nil, w.reading, true
}

// readWindow reads on in a window, up to the head at most. Others wait for it: it does not end with who began it.
func (h *Hub) readWindow(number, head int64, read *feedRead) {
	f := &h.feed
	f.use.Lock()
	w := f.windows[number]
	from, to := number*feedWindow, min((number+1)*feedWindow, head+1)
	if n := len(w.blocks); n > 0 {
		from = w.blocks[n-1].To
	}
	f.use.Unlock()

	read.err = context.Canceled // if it panics
	defer func() {
		f.use.Lock()
		w.reading = nil
		f.use.Unlock()
		close(read.done)
	}()
	var b *FeedBlock
	if b, read.err = h.readFeed(h.closing, from, to); read.err != nil {
		return
	}
	f.use.Lock()
	defer f.use.Unlock()
	if w.blocks = append(slices.Clip(w.blocks), b); len(w.blocks) > 1 && (len(w.blocks) == feedBits || b.To == (number+1)*feedWindow) {
		w.blocks = []*FeedBlock{join(w.blocks)}
	}
	f.evict()
}

// evict forgets windows that were not used for the longest time. The caller holds use.
func (f *feedLog) evict() {
	held := 0
	for _, w := range f.windows {
		held += w.held()
	}
	for len(f.windows) > feedWindows || held > f.most && len(f.windows) > 1 {
		oldest, used := int64(-1), f.uses+1
		for number, w := range f.windows {
			if w.reading == nil && w.used < used {
				oldest, used = number, w.used
			}
		}
		if oldest < 0 {
			return
		}
		held -= f.windows[oldest].held()
		delete(f.windows, oldest)
	}
}
