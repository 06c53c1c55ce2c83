package conformance

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

const maxHold = 30 * time.Second

// hold keeps what is told of a number back until it is released.
type hold struct {
	caught   chan struct{} // closed when something was kept back
	released chan struct{}
	once     sync.Once
}

// holdBack begins to keep back what is told of a number. release lets it through.
func (f *front) holdBack(n huanxin.Number) (h *hold, release func()) {
	h = &hold{caught: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	f.held[n.E164()] = h
	f.mu.Unlock()
	return h, sync.OnceFunc(func() {
		f.mu.Lock()
		delete(f.held, n.E164())
		f.mu.Unlock()
		close(h.released)
	})
}

// wait waits while anything in a text is about a number that is held back.
func (f *front) wait(ctx context.Context, text []byte) {
	f.mu.Lock()
	var waiting []*hold
	for number, h := range f.held {
		if bytes.Contains(text, []byte(number)) {
			waiting = append(waiting, h)
		}
	}
	f.mu.Unlock()
	for _, h := range waiting {
		h.wait(ctx)
	}
}

func (h *hold) wait(ctx context.Context) {
	h.once.Do(func() { close(h.caught) })
	select {
	case <-h.released:
	case <-ctx.Done():
	case <-time.After(maxHold):
	}
}

// loseAnswer has the first answer to a task reach the hub, and the company told that it failed.
func (f *front) loseAnswer(task string) {
	f.mu.Lock()
	f.lose[task] = true
	f.mu.Unlock()
}

// holdReads begins to keep back what is asked about a task: the hub is not asked before release is called.
func (f *front) holdReads(task string) (h *hold, release func()) {
	h = &hold{caught: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	f.unread[task] = h
	f.mu.Unlock()
	return h, sync.OnceFunc(func() {
		f.mu.Lock()
		delete(f.unread, task)
		f.mu.Unlock()
		close(h.released)
	})
}

// waitToRead waits while reading one of these tasks is kept back.
func (f *front) waitToRead(ctx context.Context, tasks ...string) {
	for _, t := range tasks {
		f.mu.Lock()
		h := f.unread[t]
		f.mu.Unlock()
		if h != nil {
			h.once.Do(func() { close(h.caught) })
			f.ear.hear(func() {})
			h.wait(ctx)
		}
	}
}

// deafen has neither reading nor answering a task succeed until hear is called: the task can be delivered, and nothing be done about it.
func (f *front) deafen(task string) (hear func()) {
	f.mu.Lock()
	f.deaf[task] = true
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		delete(f.deaf, task)
		f.mu.Unlock()
	}
}

// cannot says whether a request about these tasks is to fail, before the hub sees it.
func (f *front) cannot(w http.ResponseWriter, tasks ...string) bool {
	f.mu.Lock()
	deaf := slices.ContainsFunc(tasks, func(t string) bool { return f.deaf[t] })
	f.mu.Unlock()
	if deaf {
		fail(w)
	}
	return deaf
}

// loses says whether the answers to these tasks are to get lost, which each is once.
func (f *front) loses(tasks ...string) (lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tasks {
		lost = lost || f.lose[t]
		delete(f.lose, t)
	}
	return lost
}
