package metering

import (
	"math"
	"sync"
	"time"
)

// Rate is how fast a client may check. The zero Rate is no limit.
type Rate struct {
	PerSecond float64 // checks a second in the long run; not above zero: no limit
	Burst     int     // checks at once after a pause, at least 1
}

func (r Rate) limited() bool { return r.PerSecond > 0 && !math.IsInf(r.PerSecond, 1) }

func (r Rate) burst() float64 { return float64(max(r.Burst, 1)) }

// Chunk is how many checks of a stream are best paced at once, at most most (which is at least 1): an eighth of the burst,
// so that a chunk leaves room for calls.
func (r Rate) Chunk(most int) int {
	if !r.limited() {
		return most
	}
	return min(max(r.Burst/8, 1), most)
}

// streamShare is the part of the burst that streams may fill. The rest is for calls: a login must not wait for the nightly
// run of the same client.
const streamShare = 0.5

// bucket is the continuous-state leaky bucket of the generic cell rate algorithm (ITU-T I.371, Annex A, where it is shown
// to be the same as virtual scheduling): content leaks at the rate, and what would bring it above the burst does not
// conform. It is kept in checks and not in time, so a changed rate holds at once for what is still owed.
type bucket struct {
	content   float64 // checks, at the time at
	perSecond float64 // as last told
	at        time.Time
}

// clockStep is how far a time may be behind an earlier one because calls overtake each other. More is a clock that was set.
const clockStep = time.Minute

// leak brings the content to now.
func (b *bucket) leak(perSecond float64, now time.Time) {
	b.perSecond = perSecond
	switch passed := now.Sub(b.at); {
	case passed > 0:
		b.content = max(0, b.content-passed.Seconds()*perSecond)
		b.at = now
	case passed < -clockStep:
		b.at = now
	}
}

// until is how long it takes until the content is no more than level. Zero: it is. Rounding is allowed for, so that who
// waits that long is let in.
func (b *bucket) until(level float64) time.Duration {
	over := b.content - level
	if over <= 1e-9*max(1, b.content) {
		return 0
	}
	ns := math.Ceil(over / b.perSecond * 1e9)
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return max(time.Duration(ns), 1)
}

// sweepEvery is how often clients that owe nothing are dropped.
const sweepEvery = time.Minute

type rates struct {
	mu      sync.Mutex
	most    int
	buckets map[string]*bucket
	swept   time.Time
}

func (r *rates) init(most int) { r.most, r.buckets = most, map[string]*bucket{} }

// of gives the client's bucket at now. r.mu is held.
func (r *rates) of(client string, rate Rate, now time.Time) *bucket {
	if d := now.Sub(r.swept); d >= sweepEvery || d < -clockStep {
		r.sweep(now)
	}
	b, ok := r.buckets[client]
	if !ok {
		if len(r.buckets) >= r.most {
			r.makeRoom(now)
		}
		b = &bucket{at: now}
		r.buckets[client] = b
	}
	b.leak(rate.PerSecond, now)
	return b
}

// sweep drops empty buckets: a client without one is treated the same.
func (r *rates) sweep(now time.Time) {
	r.swept = now
	for client, b := range r.buckets {
		if b.leak(b.perSecond, now); b.content <= 0 {
			delete(r.buckets, client)
		}
	}
}

// makeRoom drops the client that would owe nothing soonest, of a few taken at random.
func (r *rates) makeRoom(now time.Time) {
	const few = 8
	seen, victim, soonest := 0, "", time.Duration(math.MaxInt64)
	for client, b := range r.buckets {
		b.leak(b.perSecond, now)
		if d := b.until(0); d <= soonest {
			victim, soonest = client, d
		}
		if seen++; seen == few {
			break
		}
	}
	delete(r.buckets, victim)
}

func (r *rates) count(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	return len(r.buckets)
}

// Allow asks for a call of cost checks. It conforms if it fits into what the client's rate and burst leave; one that costs
// more than the burst conforms if the client owes nothing, and is paid off afterwards, so no call is impossible for ever.
// What does not conform costs nothing; it would conform after retryAfter, if nothing else came. A cost of zero or less is free.
func (m *Meter) Allow(client string, rate Rate, cost int64, now time.Time) (retryAfter time.Duration, ok bool) {
	if !rate.limited() || cost <= 0 {
		return 0, true
	}
	m.rates.mu.Lock()
	defer m.rates.mu.Unlock()
	b := m.rates.of(client, rate, now)
	if wait := b.until(max(rate.burst()-float64(cost), 0)); wait > 0 {
		m.counted.rateRefused.Add(1)
		return wait, false
	}
	b.content += float64(cost)
	return 0, true
}

// Pace asks for the next n checks of a stream, which is slowed and never refused. At zero they are charged and go ahead;
// otherwise nothing is charged, and the stream asks again after wait. A stream gets its turn whenever the client owes no
// more than half of the burst, whatever n is, so streams share the rate with each other and leave to calls what calls need:
// only a client whose calls alone use up its rate brings its streams to a stop. Rate.Chunk gives a good n.
func (m *Meter) Pace(client string, rate Rate, n int, now time.Time) (wait time.Duration) {
	if !rate.limited() || n <= 0 {
		return 0
	}
	m.rates.mu.Lock()
	defer m.rates.mu.Unlock()
	b := m.rates.of(client, rate, now)
	if wait = b.until(rate.burst() * streamShare); wait > 0 {
		m.counted.paced.Add(1)
		return wait
	}
	b.content += float64(n)
	return 0
}
