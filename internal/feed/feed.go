package feed

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// Options is what a Feed needs. All of it is needed but Times, Registry, without which there are no metrics, and Stopping.
type Options struct {
	Hub    *core.Hub
	Ring   *auth.KeyRing
	Issuer string
	Client *http.Client // for pushes and wake-ups: one of internal/outbound
	// Alone says that no other hub is on the database; see due.Options.
	Alone    bool
	Log      *slog.Logger
	Registry prometheus.Registerer
	Times    Times
	// Stopping is closed when the hub stops: polls that wait are answered then.
	Stopping <-chan struct{}
}

// Times is how long things take. Zero ones have their default.
type Times struct {
	// Redelivery is after how long a SET that was handed out comes again unless it is settled.
	Redelivery time.Duration
	// Wait is how long a poll waits for something to tell, and MaxWait how long it may ask to.
	Wait, MaxWait time.Duration
	// WakeUp is the least time between two wake-ups of one receiver.
	WakeUp time.Duration
}

const (
	defaultRedelivery = time.Minute
	defaultWait       = 30 * time.Second
	defaultMaxWait    = time.Minute // proxies cut off what is silent for longer
	defaultWakeUp     = time.Second
)

func (t Times) orDefaults() Times {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.Redelivery, defaultRedelivery)
	set(&t.Wait, defaultWait)
	set(&t.MaxWait, defaultMaxWait)
	set(&t.WakeUp, defaultWakeUp)
	return t
}

// Feed brings streams what they are told, by poll and by push. It is safe for concurrent use.
type Feed struct {
	Options
	writer  *Writer
	waiting *waiters
	metrics *metrics
	moved   chan struct{} // receives soon after streams were changed: for pushing
	renewed chan struct{} // the same, for wake-ups

	holder string
	until  atomic.Int64 // the lease is ours until then, in nanoseconds of Unix time
}

// New makes a feed. Polls are answered at once; pushes and wake-ups go out while it runs.
func New(o Options) *Feed {
	o.Times = o.Times.orDefaults()
	f := &Feed{Options: o, writer: NewWriter(o.Hub, o.Ring, o.Issuer), waiting: newWaiters(o.Hub), holder: rand.Text(),
		moved: make(chan struct{}, 1), renewed: make(chan struct{}, 1)}
	f.metrics = newMetrics(o.Registry, o.Hub)
	return f
}

const (
	leaseName  = "push"
	leaseTTL   = 3 * time.Second
	leaseRenew = time.Second
)

// Run tells those who wait of what is new, and pushes where this hub has the lease, until ctx is done. It returns when the last push has
// ended and what became of it is saved.
func (f *Feed) Run(ctx context.Context) {
	if f.Alone {
		if err := f.Hub.DropLease(ctx, leaseName); err != nil && ctx.Err() == nil {
			f.Log.Error("a lease that was left behind could not be dropped", "error", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { f.follow(ctx) })
	wg.Go(func() { f.lead(ctx) })
	wg.Wait()
}

// lead has pushes and wake-ups sent while the lease is ours.
func (f *Feed) lead(ctx context.Context) {
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	var stop func()
	for ctx.Err() == nil {
		if held := f.renew(ctx); held && stop == nil {
			stop = f.start(ctx)
		} else if !held && stop != nil && time.Now().UnixNano() >= f.until.Load() {
			stop()
			stop = nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if stop == nil {
		return
	}
	stop()
	if _, err := f.Hub.Lease(context.WithoutCancel(ctx), leaseName, f.holder, 0); err != nil {
		f.Log.Warn("the lease could not be given back", "error", err)
	}
}

// renew reports whether the lease is ours.
func (f *Feed) renew(ctx context.Context) bool {
	asked := time.Now()
	mine, err := f.Hub.Lease(ctx, leaseName, f.holder, leaseTTL)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			f.Log.Error("the lease of pushes could not be renewed", "error", err)
		}
		return false // until it has run out, it may still be ours
	case mine:
		f.until.Store(asked.Add(leaseTTL).UnixNano())
	default:
		f.until.Store(0)
	}
	return mine
}

// start begins to push and to wake up. stop ends that, and returns when all has ended.
func (f *Feed) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { newPushing(f).run(ctx) })
	wg.Go(func() { newWakeUps(f).run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
