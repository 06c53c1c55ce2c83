// Package due runs what happens by time and not by request: the clock of tasks, positions in the logs, messages to
// contacts, and housekeeping. Its loops are idempotent and run under a lease, so that of several hubs on one database one
// does the work and another takes over when it is gone.
package due

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	leaseTTL   = 3 * time.Second // after a crash nobody sequences for so long
	leaseRenew = time.Second

	clockTick     = time.Second
	sequenceTick  = 250 * time.Millisecond
	followTick    = 250 * time.Millisecond // other hubs give positions, too
	usageTick     = 5 * time.Second        // for so long a quota is blind to what other hubs take from it
	snapshotTick  = 10 * time.Minute
	messageTick   = time.Second
	refreshTick   = time.Second
	housekeepTick = 10 * time.Minute

	keysAge = 10 * time.Minute // keys that run out are dropped this late at most
)

// Options is what the loops need. All of it is needed but Registry, without which there are no metrics.
type Options struct {
	Hub    *core.Hub
	Ring   *auth.KeyRing // kept up to date from the store
	Client *http.Client  // for contacts' webhooks: one of internal/outbound
	Issuer string
	// Alone says that no other hub is on the database, so that a lease which one left behind when it was killed is nobody's:
	// what was acknowledged then would else show in checks only when it runs out.
	Alone    bool
	Log      *slog.Logger
	Registry prometheus.Registerer
}

// Loops are the loops of one hub.
type Loops struct {
	Options
	holder  string
	until   atomic.Int64 // the lease is ours until then, in nanoseconds of Unix time
	metrics metrics

	// Of the loop "registry" alone: which version of the registry the ring's keys were read with, and when.
	version  int64
	keysRead time.Time
}

// New makes the loops.
func New(o Options) *Loops {
	return &Loops{Options: o, holder: rand.Text(), metrics: newMetrics(o.Registry, o.Hub)}
}

// Run runs all loops until ctx is done, and returns when the last has stopped.
func (l *Loops) Run(ctx context.Context) {
	if l.Alone {
		if err := l.Hub.DropLease(ctx, "due"); err != nil && ctx.Err() == nil {
			l.Log.Error("a lease that was left behind could not be dropped", "error", err)
		}
	}
	var wg sync.WaitGroup
	for _, loop := range []struct {
		name   string
		every  time.Duration
		hints  <-chan struct{}
		leased bool
		step   func(context.Context) error
	}{
		{"lease", leaseRenew, nil, false, l.renew},
		{"registry", refreshTick, nil, false, l.refresh},
		{"sequence", sequenceTick, l.Hub.Hints(), true, l.sequence},
		{"follow", followTick, l.Hub.Sequenced(), false, l.Hub.Follow},
		{"feed", followTick, nil, false, l.Hub.FollowFeed},
		{"clock", l.clockTick(), nil, true, l.clock},
		{"usage", usageTick, nil, false, l.Hub.ExchangeUsage},
		{"snapshot", snapshotTick, nil, false, l.Hub.SaveIndex},
		{"messages", messageTick, nil, true, l.messages},
		{"housekeeping", housekeepTick, nil, true, l.housekeep},
	} {
		wg.Go(func() { l.loop(ctx, loop.name, loop.every, loop.hints, loop.leased, loop.step) })
	}
	wg.Wait()
	for name, last := range map[string]func(context.Context) error{"usage": l.Hub.ExchangeUsage, "snapshot": l.Hub.SaveIndex} {
		if err := last(context.WithoutCancel(ctx)); err != nil {
			l.Log.Warn("a loop's last step failed", "loop", name, "error", err)
		}
	}
	if l.held() { // so that another hub, or this one started again, need not wait for the lease to run out
		if _, err := l.Hub.Lease(context.WithoutCancel(ctx), "due", l.holder, 0); err != nil {
			l.Log.Warn("the lease could not be given back", "error", err)
		}
	}
}

// clockTick is a second, or in a faster world a hundredth of its day.
func (l *Loops) clockTick() time.Duration {
	return max(min(clockTick, l.Hub.Durations().Day()/100), 20*time.Millisecond)
}

// loop runs step at once, then at every tick and hint. A step that fails is logged and tried again: nothing here may stop.
func (l *Loops) loop(ctx context.Context, name string, every time.Duration, hints <-chan struct{}, leased bool, step func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if !leased || l.held() {
			if err := step(ctx); err != nil && ctx.Err() == nil {
				l.metrics.failures.WithLabelValues(name).Inc()
				l.Log.Error("a loop failed and will try again", "loop", name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-hints:
		}
	}
}

// held reports whether the lease is surely ours.
func (l *Loops) held() bool { return time.Now().UnixNano() < l.until.Load() }

func (l *Loops) renew(ctx context.Context) error {
	asked := time.Now()
	mine, err := l.Hub.Lease(ctx, "due", l.holder, leaseTTL)
	if err != nil {
		return err
	}
	if mine {
		l.until.Store(asked.Add(leaseTTL).UnixNano())
	} else {
		l.until.Store(0)
	}
	return nil
}

// refresh keeps the registry and the keys of this hub up to date.
func (l *Loops) refresh(ctx context.Context) error {
	if err := l.Hub.Refresh(ctx); err != nil {
		return err
	}
	version := l.Hub.RegistryVersion()
	if version == l.version && time.Since(l.keysRead) < keysAge {
		return nil
	}
	keys, err := l.Hub.SigningKeys(ctx)
	if err != nil {
		return err
	}
	if err := l.Ring.Replace(keys); err != nil {
		return err
	}
	l.version, l.keysRead = version, time.Now()
	return nil
}

const sequenceBatch = 2000

func (l *Loops) sequence(ctx context.Context) error {
	for l.held() {
		waiting, err := l.Hub.Unsequenced(ctx)
		l.metrics.lag.Set(float64(waiting))
		if err != nil || waiting == 0 {
			return err
		}
		if _, err := l.Hub.Sequence(ctx, sequenceBatch); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loops) clock(ctx context.Context) error {
	l.metrics.calendar.Set(l.missingYears())
	for _, move := range []func(context.Context) (int, error){l.Hub.TakeSteps, l.Hub.Requeue} {
		for l.held() {
			n, err := move(ctx)
			if err != nil {
				return err
			}
			l.metrics.moved.Add(float64(n))
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// missingYears counts the years of the next two months that the calendar does not know: they count Monday to Friday.
func (l *Loops) missingYears() float64 {
	now := time.Now().In(l.Hub.Calendar().Zone())
	missing := 0.0
	for year := now.Year(); year <= now.AddDate(0, 2, 0).Year(); year++ {
		if !l.Hub.Calendar().Knows(year) {
			missing++
		}
	}
	return missing
}

func (l *Loops) housekeep(ctx context.Context) error {
	for l.held() {
		n, err := l.Hub.Forget(ctx, 1000)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if l.held() {
		if _, err := l.Hub.PauseIdleStreams(ctx); err != nil {
			return err
		}
	}
	for l.held() {
		if more, err := l.Hub.ClearStreams(ctx, 1000); err != nil || !more {
			return err
		}
	}
	return nil
}
