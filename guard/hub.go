package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// hub asks a hub: each question once at a time, for at most the deadline, and not while the hub fails.
type hub struct {
	client   *client.Client
	deadline time.Duration
	maxLag   time.Duration
	log      *slog.Logger
	water    *highWater
	seal     sealer
	cache    *cache // nil: nothing is kept
	breaker  breaker
	took     prometheus.Histogram
	failures *prometheus.CounterVec

	base  context.Context
	mu    sync.Mutex
	asks  map[flightKey]*flight
	ended bool           // no question goes out any more
	busy  sync.WaitGroup // the goroutines of asks
}

// mostAsks is how many questions may be on their way at once.
const mostAsks = 512

type flightKey struct {
	number sealed
	times  times
}

// flight is a question on its way. done is closed when its verdict is there.
type flight struct {
	done chan struct{}
	verdict
	ok bool // the hub answered
}

func newHub(base context.Context, o Options, water *highWater) *hub {
	h := &hub{client: o.Hub, deadline: o.Deadline, maxLag: o.MaxLag, log: o.Log, water: water, seal: newSealer(), base: base, asks: map[flightKey]*flight{}}
	h.cache = newCache(o.CacheFor, o.CacheSize, h.seal)
	h.took = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "huanxin_guard_hub_seconds",
		Help: "How long the hub took to answer a question of the guard.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}})
	h.failures = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_guard_hub_failures_total",
		Help: "Questions of the guard that the hub did not answer, by reason."}, []string{"reason"})
	return h
}

// decide asks, unless the answer is known.
func (h *hub) decide(ctx context.Context, ask *asked) Decision {
	key := flightKey{h.seal.seal(ask.number), ask.key()}
	now := time.Now()
	if h.cache != nil {
		if v, ok := h.cache.get(key.number, key.times, now); ok {
			return Decision{Access: v.access, Reason: v.reason, Source: FromCache, AsOf: v.asOf, Age: elapsed(now, v.at)}
		}
	}
	f, why := h.join(key, ask, now)
	if f == nil {
		return Decision{Reason: why}
	}
	patience := time.NewTimer(h.deadline)
	defer patience.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
		return Decision{Reason: huanxin.GuardHubSilent}
	case <-patience.C:
		return Decision{Reason: huanxin.GuardHubSilent}
	}
	if !f.ok {
		return Decision{Reason: f.reason}
	}
	return Decision{Access: f.access, Reason: f.reason, Source: FromHub, AsOf: f.asOf, Age: elapsed(time.Now(), f.at)}
}

// key gives the times of a question as they are compared. Where the last instant of a day is now, it is another one at each call.
func (a *asked) key() times {
	t := times{first: a.first.UnixMicro(), last: a.last.UnixMicro()}
	if a.open {
		t.last = math.MaxInt64
	}
	if a.proved {
		t.proof = a.proof.UnixMicro()
	}
	return t
}

// join gives the question that is on its way already, or sends it; nil and why where it may not be.
func (h *hub) join(key flightKey, ask *asked, now time.Time) (*flight, huanxin.GuardReason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.asks[key]; f != nil {
		return f, 0
	}
	switch {
	case h.ended:
		return nil, huanxin.GuardClosed
	case len(h.asks) >= mostAsks:
		return nil, huanxin.GuardHubBusy
	case !h.breaker.enter(now):
		return nil, huanxin.GuardHubDown
	}
	f := &flight{done: make(chan struct{})}
	h.asks[key] = f
	question := *ask
	h.busy.Go(func() { h.fly(f, key, &question) })
	return f, 0
}

// fly asks for a flight, whoever still waits for it.
func (h *hub) fly(f *flight, key flightKey, ask *asked) {
	ctx, cancel := context.WithTimeout(h.base, h.deadline)
	defer cancel()
	var era uint64
	if h.cache != nil {
		era = h.cache.begin()
	}
	began := time.Now()
	v, failed := h.ask(ctx, ask)
	v.at = began
	f.verdict, f.ok = v, failed == nil
	if f.ok {
		h.took.Observe(time.Since(began).Seconds())
		if h.cache != nil {
			h.cache.put(key.number, key.times, v, era)
		}
	} else {
		h.failures.WithLabelValues(v.reason.String()).Inc()
	}
	h.settle(failed)
	h.mu.Lock()
	if h.asks[key] == f {
		delete(h.asks, key)
	}
	h.mu.Unlock()
	close(f.done)
}

// forget has what is known of a number, or on its way, serve nobody who asks from now on.
func (h *hub) forget(number huanxin.Number) {
	if h.cache != nil {
		h.cache.forget(number)
	}
	n := h.seal.seal(number)
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.asks, func(k flightKey, _ *flight) bool { return k.number == n })
}

// settle tells the breaker, and the log when the hub begins or ceases to fail.
func (h *hub) settle(failed error) {
	if h.base.Err() != nil {
		return
	}
	var wait time.Duration
	if e, ok := errors.AsType[*huanxin.Error](failed); ok {
		wait = e.RetryAfter
	}
	opened, closed := h.breaker.done(failed == nil || isRefusal(failed), wait, time.Now())
	switch {
	case opened:
		h.log.Warn("the hub does not answer the guard: every login by SMS needs another factor", "cause", describe(failed))
	case closed:
		h.log.Info("the hub answers the guard again")
	}
}

var (
	errBehind  = errors.New("the hub knows less than it knew before")
	errGarbled = errors.New("the hub's answer is not one")
	// errRefused is about one question: the hub is well.
	errRefused = errors.New("the hub refused the question")
)

func isRefusal(err error) bool { return errors.Is(err, errRefused) }

// ask puts the question: T's first and last instant at once and, only if the account is to be blocked, the last proof. A hub counts the
// different times that it is asked with about one number, and proofs are many.
func (h *hub) ask(ctx context.Context, ask *asked) (verdict, error) {
	checks := []time.Time{ask.first}
	if !ask.last.Equal(ask.first) {
		checks = append(checks, ask.last)
	}
	asOf, answers, err := h.checks(ctx, ask.number, checks)
	if err != nil {
		return verdict{reason: reasonOf(err)}, err
	}
	v := verdict{asOf: asOf}
	v.access, v.reason = huanxin.Guard(answers[0], answers[len(answers)-1])
	if v.access != huanxin.Block || !ask.proved {
		return v, nil
	}
	asOf, answers, err = h.checks(ctx, ask.number, []time.Time{ask.proof})
	if err != nil {
		return verdict{reason: reasonOf(err)}, err
	}
	v.asOf = min(v.asOf, asOf)
	v.access, v.reason = huanxin.GuardProved(answers[0])
	return v, nil
}

// checks asks about one number and several times, and believes nothing that is not of the form that was asked for.
func (h *hub) checks(ctx context.Context, n huanxin.Number, times []time.Time) (int64, []huanxin.CheckAnswer, error) {
	questions := make([]client.Check, len(times))
	for i, t := range times {
		questions[i] = client.Check{Number: n.E164(), Since: string(huanxin.SinceInstant(t).Append(nil))}
	}
	now := time.Now()
	asOf, results, err := h.client.Checks(ctx, questions)
	if err != nil {
		return 0, nil, err
	}
	answers := make([]huanxin.CheckAnswer, len(results))
	for i, r := range results {
		if r.Error != nil {
			return 0, nil, errRefused
		}
		outcome, err := huanxin.ParseCheckOutcome(r.Outcome)
		if err != nil {
			return 0, nil, errGarbled
		}
		answers[i] = huanxin.CheckAnswer{Outcome: outcome, Reason: r.Reason}
		if h.maxLag > 0 && outcome == huanxin.Unchanged && (r.FreshAt == nil || now.Sub(*r.FreshAt) > h.maxLag) {
			answers[i] = huanxin.CheckAnswer{Outcome: huanxin.Unknown, Reason: huanxin.CheckCarrierLate}
		}
	}
	if asOf < 0 {
		return 0, nil, errGarbled
	}
	if !h.water.observe(asOf, now) {
		return 0, nil, errBehind
	}
	return asOf, answers, nil
}

// reasonOf gives the reason of a failure.
func reasonOf(err error) huanxin.GuardReason {
	switch e, ok := errors.AsType[*huanxin.Error](err); {
	case errors.Is(err, errBehind):
		return huanxin.GuardHubBehind
	case isRefusal(err), ok && e.Kind != huanxin.Unavailable && e.Kind != huanxin.Internal:
		return huanxin.GuardHubRefused
	case errors.Is(err, errGarbled), ok:
		return huanxin.GuardHubDown
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return huanxin.GuardHubSilent
	}
	return huanxin.GuardHubDown
}

// describe says what went wrong without repeating anything that the other end wrote, for it might be a number.
func describe(err error) string {
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		if strings.Trim(e.Code, "abcdefghijklmnopqrstuvwxyz_") == "" {
			return e.Code
		}
		return "an answer that cannot be read"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Error()
	}
	for _, known := range []error{errBehind, errGarbled, errRefused, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "an answer that cannot be read"
}

// wait lets no question go out any more, and returns when none is on its way. The base context is done by then.
func (h *hub) wait() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.busy.Wait()
}
