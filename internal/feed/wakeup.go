package feed

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/outbound"
)

// A wake-up tells a receiver that there is something to poll, when nobody polls: a signed webhook with the stream's id and nothing
// else. It is a hint. It is tried a few times, and what it tells of waits whether it comes or not.
const (
	wakeUpTick  = time.Second // how late it is noticed that a receiver wants to be woken
	wakeUpTries = 4
	wakeUpRetry = 2 * time.Second // before the second try; then twice as long each time
	wakeUpsOut  = 64              // at once

	// wakeUpAfter is for how long news is collected. Meanwhile a receiver that waits here has fetched it.
	wakeUpAfter = 100 * time.Millisecond
)

// wakeUps wakes receivers up. Everything of it but news belongs to the goroutine of run.
type wakeUps struct {
	f    *Feed
	of   map[huanxin.StreamID]*wakeUp
	out  chan struct{} // has a place for each that is sent
	done chan wokenUp
	wg   sync.WaitGroup

	lock sync.Mutex
	news map[huanxin.StreamID]bool
	hint chan struct{}
}

// wakeUp is one receiver that wants to be woken.
type wakeUp struct {
	core.WakeUp
	waiter *waiter
	due    bool // there may be something
	flying bool
	next   time.Time // no earlier it is looked at
}

// wokenUp says that a look at a receiver is over, and whether it was sent something.
type wokenUp struct {
	*wakeUp
	sent bool
}

func newWakeUps(f *Feed) *wakeUps {
	return &wakeUps{f: f, of: map[huanxin.StreamID]*wakeUp{}, out: make(chan struct{}, wakeUpsOut), done: make(chan wokenUp, wakeUpsOut),
		news: map[huanxin.StreamID]bool{}, hint: make(chan struct{}, 1)}
}

func (w *wakeUps) run(ctx context.Context) {
	tick := time.NewTicker(wakeUpTick)
	defer tick.Stop()
	defer func() {
		w.wg.Wait()
		for _, one := range w.of {
			w.f.waiting.remove(one.waiter)
		}
	}()
	again := true
	for {
		if again {
			if err := w.keep(ctx); err != nil && ctx.Err() == nil {
				w.f.Log.Error("the receivers that want to be woken could not be read", "error", err)
			}
		}
		w.send(ctx)
		timer := time.NewTimer(w.next())
		again = false
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-tick.C:
			again = true
		case <-w.f.renewed:
			again = true
		case <-w.hint:
		case one := <-w.done:
			if one.flying = false; one.sent {
				one.next = time.Now().Add(w.f.Times.WakeUp)
			}
		case <-timer.C:
		}
		timer.Stop()
		w.collect()
	}
}

// keep learns who wants to be woken.
func (w *wakeUps) keep(ctx context.Context) error {
	all, err := w.f.Hub.WakeUps(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[huanxin.StreamID]bool, len(all))
	for _, one := range all {
		wanted[one.Stream] = true
		if known := w.of[one.Stream]; known != nil {
			known.URL = one.URL
			continue
		}
		id := one.Stream
		x := &wakeUp{WakeUp: one, due: true, waiter: &waiter{listener: core.FeedListener{Stream: id}, wake: func(bool) { w.tell(id) }}}
		for !w.f.waiting.add(x.waiter, w.f.waiting.count()) {
		}
		w.of[id] = x
	}
	for id, one := range w.of {
		if !wanted[id] && !one.flying {
			w.f.waiting.remove(one.waiter)
			delete(w.of, id)
		}
	}
	return nil
}

// tell says that a stream may have something. It is called by others.
func (w *wakeUps) tell(id huanxin.StreamID) {
	w.lock.Lock()
	w.news[id] = true
	w.lock.Unlock()
	hint(w.hint)
}

func (w *wakeUps) collect() {
	w.lock.Lock()
	defer w.lock.Unlock()
	for id := range w.news {
		if one := w.of[id]; one != nil && !one.due {
			one.due, one.next = true, later(one.next, time.Now().Add(wakeUpAfter))
		}
	}
	clear(w.news)
}

// next is how long nothing is to be sent, unless there is news.
func (w *wakeUps) next() time.Duration {
	wait := wakeUpTick
	for _, one := range w.of {
		if one.due && !one.flying {
			wait = min(wait, max(time.Until(one.next), 20*time.Millisecond))
		}
	}
	return wait
}

// send wakes those up who have something and do not wait for it.
func (w *wakeUps) send(ctx context.Context) {
	now := time.Now()
	for id, one := range w.of {
		if !one.due || one.flying || now.Before(one.next) {
			continue
		}
		select {
		case w.out <- struct{}{}:
		default:
			return
		}
		one.due, one.flying = false, true
		url := one.URL
		w.wg.Go(func() {
			defer func() { <-w.out }()
			sent, err := w.wake(ctx, one.waiter, id, url)
			if err != nil && ctx.Err() == nil {
				w.f.Log.Debug("a receiver could not be woken", "stream", w.f.Hub.StreamName(id), "error", err)
			}
			select {
			case w.done <- wokenUp{one, sent}:
			case <-ctx.Done():
			}
		})
	}
}

// wake tries to wake a receiver, unless there is nothing for it or it polls by itself.
func (w *wakeUps) wake(ctx context.Context, x *waiter, id huanxin.StreamID, url string) (sent bool, err error) {
	message := outbound.Webhook{Issuer: w.f.Issuer, URL: url, ID: rand.Text(), Claims: map[string]any{"stream_id": w.f.Hub.StreamName(id)}}
	for try := range wakeUpTries {
		listener, told, something, err := w.f.Hub.PeekStream(ctx, id)
		if err != nil {
			w.tell(id) // it is looked at again
			return sent, err
		}
		w.f.waiting.change(x, listener, told)
		if !something || w.f.waiting.polled(id) {
			return sent, nil
		}
		sent = true
		a, err := message.Send(ctx, w.f.Client, w.f.Ring, time.Now())
		if err == nil && (a.Status < 200 || a.Status > 299) {
			err = fmt.Errorf("the receiver answered %d", a.Status)
		}
		if err == nil {
			w.f.metrics.wakeUps.WithLabelValues("accepted").Inc()
			return sent, nil
		}
		w.f.metrics.wakeUps.WithLabelValues("failed").Inc()
		if try == wakeUpTries-1 {
			return sent, err
		}
		select {
		case <-time.After(wakeUpRetry << try):
		case <-ctx.Done():
			return sent, ctx.Err()
		}
	}
	return sent, nil
}
