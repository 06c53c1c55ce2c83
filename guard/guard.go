package guard

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// Options say whom a Guard asks. The zero value of everything but Hub and Replica is a good one.
type Options struct {
	// Hub is asked, and where a replica is pulled from. nil: nobody is asked, and the replica is brought by somebody else.
	Hub *client.Client
	// Replica, unless nil, is asked first.
	Replica *Replica
	// Deadline is how long Decide waits for the hub. 0: 500 ms.
	Deadline time.Duration
	// CacheFor is how long an answer of the hub is used again for the same number and times. 0: a minute; negative: never. Up to a few
	// minutes are safe: a number that is given to somebody else was frozen for 90 days before, for which the hub says NO_HOLDER; only
	// one that is handed over meanwhile would be let through. At most 10 minutes are taken.
	CacheFor time.Duration
	// CacheSize bounds how many numbers the cache holds, at some 250 bytes each. 0: 65,536.
	CacheSize int
	// MaxLag is how old the word of the carrier that serves the number may be: UNCHANGED is not relied on beyond it. 0: that is
	// left to the hub.
	MaxLag time.Duration
	// Registerer, unless nil, takes the metrics.
	Registerer prometheus.Registerer
	// Log takes what an operator should know. nil: nothing is logged.
	Log *slog.Logger
}

// Source says where an answer came from.
type Source uint8

// The sources.
const (
	FromNobody Source = iota
	FromReplica
	FromCache
	FromHub
)

var sources = [...]string{"none", "replica", "cache", "hub"}

// String gives the source's word.
func (s Source) String() string { return sources[s] }

// Decision is what to do, and why. The zero Decision is StepUp.
type Decision struct {
	Access huanxin.Access
	Reason huanxin.GuardReason
	Source Source
	// AsOf is the position in the number log that the answer is true for, and Age how old it is: since the hub was asked, or began to
	// write the replica. Without an answer (FromNobody) both mean nothing.
	AsOf int64
	Age  time.Duration
}

// Guard decides. It is safe for concurrent use.
type Guard struct {
	hub     *hub      // nil: there is none
	replica *follower // nil: there is none
	counts  *counts
	closed  func() bool
	stop    func()
}

// Open makes a Guard and starts following the hub, if it is to keep a replica. It does not wait for the hub. Close it.
//
// ctx bounds the start alone.
func Open(ctx context.Context, o Options) (*Guard, error) {
	if o.Hub == nil && o.Replica == nil {
		return nil, errors.New("guard: neither a hub nor a replica to ask")
	}
	o.fill()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g := &Guard{counts: newCounts(), closed: func() bool { return base.Err() != nil }}
	water := &highWater{}
	if o.Hub != nil {
		g.hub = newHub(base, o, water)
	}
	if o.Replica != nil {
		f, err := newFollower(o, water)
		if err != nil {
			cancel()
			return nil, err
		}
		g.replica = f
	}
	m := newMetrics(g)
	if o.Registerer != nil {
		if err := o.Registerer.Register(m); err != nil {
			cancel()
			return nil, err
		}
	}
	if g.replica != nil {
		g.replica.start(base)
	}
	g.stop = sync.OnceFunc(func() {
		cancel()
		if g.hub != nil {
			g.hub.wait()
		}
		if g.replica != nil {
			g.replica.wait()
		}
		if o.Registerer != nil {
			o.Registerer.Unregister(m)
		}
	})
	return g, nil
}

const (
	defaultDeadline  = 500 * time.Millisecond
	defaultCacheFor  = time.Minute
	defaultCacheSize = 1 << 16
	mostCacheFor     = 10 * time.Minute
)

func (o *Options) fill() {
	if o.Deadline <= 0 {
		o.Deadline = defaultDeadline
	}
	if o.CacheFor == 0 {
		o.CacheFor = defaultCacheFor
	}
	o.CacheFor = min(o.CacheFor, mostCacheFor)
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Close ends what runs in the background and gives the replica's memory back. When it returns no goroutine of the Guard is left, and every
// Decide from then on is StepUp.
func (g *Guard) Close() { g.stop() }

// Decide says whether a code alone may open the account. It never waits longer than Options.Deadline, nor than ctx allows: what is not
// known for certain by then is StepUp.
func (g *Guard) Decide(ctx context.Context, q Question) Decision {
	place := here()
	d := g.decide(ctx, &q, place)
	g.counts.add(place, &d)
	return d
}

func (g *Guard) decide(ctx context.Context, q *Question, place int) Decision {
	now := time.Now()
	first, last, ok := huanxin.GuardTimes(q.BoundAt, q.ConfirmedAt, now)
	switch {
	case g.closed():
		return Decision{Reason: huanxin.GuardClosed}
	case q.Number.IsZero():
		return Decision{Reason: huanxin.GuardNumberMalformed}
	case !q.Number.Kind().Served():
		return Decision{Reason: huanxin.GuardUnsupported}
	case !ok:
		return Decision{Reason: huanxin.GuardBoundAtUnknown}
	case first.After(now.Add(huanxin.MaxAhead)):
		return Decision{Reason: huanxin.GuardFuture}
	}
	ask := asked{number: q.Number, first: first, last: last, open: last.Equal(now) && first.Before(now)}
	ask.proof, ask.proved = huanxin.ProofTime(q.LastProof, first, now)
	local := Decision{Reason: huanxin.GuardNoAnswer}
	if g.replica != nil {
		if local, ok = g.replica.decide(&ask, place, now); ok {
			return local
		}
	}
	if g.hub == nil {
		return local
	}
	d := g.hub.decide(ctx, &ask)
	if d.Source == FromNobody && local.Source == FromReplica {
		return local // it may be old or incomplete, and it is StepUp
	}
	return d
}

// asked is a question as it is put to a source.
type asked struct {
	number      huanxin.Number
	first, last time.Time // the first and the last instant that T may be
	open        bool      // last is now, because the day is not over
	proof       time.Time // of the last proof, the last instant that it may be
	proved      bool      // whether there is one that may be later than T
}

// Forget makes the guard ask the hub again about a number: call it when an event about the number arrives (identifier-recycled,
// number-released). An answer that is under way is not used for who asks from now on, and the replica says nothing certain of the number until one
// is there that was made afterwards.
func (g *Guard) Forget(number huanxin.Number) {
	if number.IsZero() {
		return
	}
	if g.replica != nil {
		g.replica.forget(number)
	}
	if g.hub != nil {
		g.hub.forget(number)
	}
}

// Status is how a Guard is.
type Status struct {
	// HubKnown says that there is a hub to ask, HubDown that it failed last and is not asked for a moment.
	HubKnown, HubDown bool
	// Replica says that there is one in memory, Vouches that it is relied on. The rest is about it.
	Replica, Vouches bool
	AsOf, Numbers    int64
	Age              time.Duration
}

// Status says how the Guard is now.
func (g *Guard) Status() (s Status) {
	if g.hub != nil {
		s.HubKnown, s.HubDown = true, g.hub.breaker.open(time.Now())
	}
	if g.replica != nil {
		g.replica.status(&s)
	}
	return s
}

// Refresh brings a newer replica now, or gives the reason why there is none. It waits for a pull that is under way.
func (g *Guard) Refresh(ctx context.Context) error {
	if g.replica == nil {
		return errors.New("guard: there is no replica to refresh")
	}
	return g.replica.refresh(ctx, true)
}
