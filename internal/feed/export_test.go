package feed

import (
	"context"

	"github.com/huanxin-platform/huanxin"
)

// PushOnly pushes one stream, whoever has the lease.
func (f *Feed) PushOnly(ctx context.Context, id huanxin.StreamID) {
	newPusher(f, &hosts{}, id).run(ctx)
}

// FollowOnly tells those who wait of what is new.
func (f *Feed) FollowOnly(ctx context.Context) { f.follow(ctx) }

// The window of pushes.
type Window = window

// NewWindow gives a window as a stream begins with it.
func NewWindow() *Window { return &window{size: firstWindow} }

// Size is how many pushes are under way at once.
func (w *Window) Size() int { return w.size }

// Success and Trouble are what came of a push.
func (w *Window) Success() { w.success() }
func (w *Window) Trouble() { w.trouble() }

// EnterHost waits for a place at a host.
func EnterHost(ctx context.Context, h *Hosts, to string) (func(), error) { return h.enter(ctx, to) }

// Hosts bound how much falls upon one host.
type Hosts = hosts

// PerHost is that bound.
const PerHost = perHost
