package feed

import (
	"context"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// waiters are those who wait until a stream has something to tell. One that waits costs its place here and nothing else.
type waiters struct {
	hub *core.Hub

	lock sync.Mutex
	news uint64 // counts what might have woken somebody
	of   map[huanxin.StreamID][]*waiter
	size int

	// Of follow alone.
	seen    int64              // how far the feed was followed
	signals map[int64]struct{} // those that were seen lately
	highest int64
}

// waiter is one who waits.
type waiter struct {
	listener core.FeedListener
	told     core.EventTypes
	polls    bool // it is a receiver itself
	// wake is called when there may be something; changed says that it is about the stream itself: a signal, or another configuration.
	wake func(changed bool)
}

func newWaiters(hub *core.Hub) *waiters {
	return &waiters{hub: hub, of: map[huanxin.StreamID][]*waiter{}, seen: hub.FeedHead(), signals: map[int64]struct{}{}}
}

// count gives what add compares: taken before a look, it tells whether there was news since.
func (w *waiters) count() uint64 {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.news
}

// add has somebody woken from now on. It is false, and nobody is added, if there was news since the count: who waits looks again.
func (w *waiters) add(x *waiter, since uint64) bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.news != since {
		return false
	}
	w.of[x.listener.Stream] = append(w.of[x.listener.Stream], x)
	w.size++
	return true
}

// change has somebody who is there already woken by something else.
func (w *waiters) change(x *waiter, listener core.FeedListener, told core.EventTypes) {
	w.lock.Lock()
	defer w.lock.Unlock()
	x.listener, x.told = listener, told
}

func (w *waiters) remove(x *waiter) {
	w.lock.Lock()
	defer w.lock.Unlock()
	all := w.of[x.listener.Stream]
	for i := range all {
		if all[i] != x {
			continue
		}
		w.size--
		if len(all) == 1 {
			delete(w.of, x.listener.Stream)
			return
		}
		all[i] = all[len(all)-1]
		all[len(all)-1] = nil
		w.of[x.listener.Stream] = all[:len(all)-1]
		return
	}
}

// polled reports whether a receiver waits for a stream here.
func (w *waiters) polled(id huanxin.StreamID) bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, x := range w.of[id] {
		if x.polls {
			return true
		}
	}
	return false
}

// wakeStreams wakes who waits for some streams.
func (w *waiters) wakeStreams(ids []huanxin.StreamID) {
	if len(ids) == 0 {
		return
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.news++
	for _, id := range ids {
		for _, x := range w.of[id] {
			x.wake(true)
		}
	}
}

// wakeAudience wakes whom something in the feed may concern; nil: everybody.
func (w *waiters) wakeAudience(a *core.Audience) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.news++
	for _, all := range w.of {
		for _, x := range all {
			if a == nil || a.Concerns(x.listener, x.told) {
				x.wake(false)
			}
		}
	}
}

func (w *waiters) empty() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.size == 0
}

const (
	// signalTick is how late a signal is seen that came by another hub, or by a command.
	signalTick = 250 * time.Millisecond
	// lateSignals is by how many a signal's id may be lower than that of one committed before it.
	lateSignals = 256
)

// follow wakes who waits, until ctx is done.
func (f *Feed) follow(ctx context.Context) {
	tick := time.NewTicker(signalTick)
	defer tick.Stop()
	for {
		head, moved := f.Hub.FeedMoved()
		f.waiting.followTo(ctx, head)
		select {
		case <-ctx.Done():
			return
		case <-moved:
		case <-f.Hub.StreamsMoved():
			f.waiting.wakeStreams(f.Hub.MovedStreams())
			hint(f.moved)
			hint(f.renewed)
		case <-tick.C:
			if err := f.waiting.followSignals(ctx); err != nil && ctx.Err() == nil {
				f.Log.Error("signals of streams could not be followed", "error", err)
			}
		}
	}
}

// hint lets who waits for a channel of one place go on, now or when it comes to wait.
func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// followTo wakes whom the feed concerns up to a position.
func (w *waiters) followTo(ctx context.Context, head int64) {
	if head <= w.seen {
		return
	}
	if w.empty() {
		w.wakeAudience(&core.Audience{}) // who is about to wait looks again
	} else if a, err := w.hub.FeedAudience(ctx, w.seen+1, head+1); err != nil {
		w.wakeAudience(nil)
	} else {
		w.wakeAudience(&a)
	}
	w.seen = head
}

// followSignals wakes whom new signals concern.
func (w *waiters) followSignals(ctx context.Context) error {
	found, err := w.hub.NewSignals(ctx, w.highest-lateSignals)
	if err != nil {
		return err
	}
	var ids []huanxin.StreamID
	for id, stream := range found {
		if _, seen := w.signals[id]; !seen {
			ids = append(ids, stream)
			w.signals[id] = struct{}{}
		}
		w.highest = max(w.highest, id)
	}
	for id := range w.signals {
		if _, there := found[id]; !there {
			delete(w.signals, id)
		}
	}
	w.wakeStreams(ids)
	return nil
}
