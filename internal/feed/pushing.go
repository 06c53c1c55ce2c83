package feed

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// perHost is how many pushes to one host are under way at once, of all streams together.
const perHost = 64

// hosts keep pushes of many streams from falling upon one host.
type hosts struct{ slots sync.Map } // of chan struct{}, by host and port

// enter waits for a place at a URL's host. leave gives it back.
func (h *hosts) enter(ctx context.Context, to string) (leave func(), err error) {
	host := ""
	if u, err := url.Parse(to); err == nil {
		host = u.Host
	}
	all, ok := h.slots.Load(host)
	if !ok {
		all, _ = h.slots.LoadOrStore(host, make(chan struct{}, perHost))
	}
	slots := all.(chan struct{})
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pushTick is how late it is noticed that a stream is pushed from now on, or is not any more.
const pushTick = time.Second

// pushing keeps a pusher for each stream that something may be pushed to.
type pushing struct {
	f     *Feed
	hosts hosts
	of    map[huanxin.StreamID]*running
}

type running struct {
	stop context.CancelFunc
	over chan struct{} // closed when it has ended
}

func newPushing(f *Feed) *pushing { return &pushing{f: f, of: map[huanxin.StreamID]*running{}} }

func (p *pushing) run(ctx context.Context) {
	tick := time.NewTicker(pushTick)
	defer tick.Stop()
	for {
		if err := p.keep(ctx); err != nil && ctx.Err() == nil {
			p.f.Log.Error("the streams that are pushed could not be read", "error", err)
		}
		select {
		case <-ctx.Done():
			for _, r := range p.of {
				<-r.over
			}
			return
		case <-tick.C:
		case <-p.f.moved:
		}
	}
}

// keep starts pushers that are missing and stops those that have nothing to do any more.
func (p *pushing) keep(ctx context.Context) error {
	ids, err := p.f.Hub.PushStreams(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[huanxin.StreamID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for id, r := range p.of {
		select {
		case <-r.over:
			delete(p.of, id)
		default:
			if !wanted[id] {
				r.stop()
			}
		}
	}
	for _, id := range ids {
		if p.of[id] != nil {
			continue
		}
		one, cancel := context.WithCancel(ctx)
		r := &running{stop: cancel, over: make(chan struct{})}
		p.of[id] = r
		go func() {
			defer close(r.over)
			defer cancel()
			newPusher(p.f, &p.hosts, id).run(one)
		}()
	}
	return nil
}
