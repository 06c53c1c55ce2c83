package metering

import (
	"crypto/rand"
	"math"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Quota is how many checks a client may make in a day of the national time zone. The zero Quota is no limit.
type Quota struct {
	PerDay int64 // not above zero: no limit
}

// Outcomes counts checks by their outcome. At 0 stand those without one.
type Outcomes [huanxin.Unknown + 1]int64

// Usage is what one client spent here on one day.
type Usage struct {
	Client string
	Day    huanxin.Date
	Checks int64 // spent
	// Outcomes are those that Observe was told. They may come in a later Drained than the checks, and on the next day.
	Outcomes Outcomes
}

// Total is what one client spent on one day at all hubs, as the store adds it up.
type Total struct {
	Client string
	Day    huanxin.Date
	Checks int64
}

// Drained is the usage that one exchange brings to the store. Until Learn is told that it is there, Drain gives the same one
// again, with the same name and content. So nothing is lost when the store fails, and nothing is counted twice if the store
// remembers, in the transaction that adds it up, the highest Seq of each Meter and skips what is not above.
type Drained struct {
	Meter string // random, one of each process
	Seq   int64  // from 1; grows by one. Without usage it is that of the last one
	Usage []Usage
}

// accountKey: a day of its own needs no turn at midnight, and a clock that is set right does no harm.
type accountKey struct {
	client string
	day    huanxin.Date
}

// account is one client's day. What is known to be spent is the sum of the three.
type account struct {
	learned int64 // at all hubs, and in the store
	drained int64 // here, in the Drained that is outstanding
	fresh   int64 // here, in no Drained yet
	// outcomes are in no Drained yet.
	outcomes Outcomes
}

func (a *account) known() int64 { return a.learned + a.drained + a.fresh }

type usage struct {
	mu          sync.Mutex
	accounts    map[accountKey]*account
	meter       string
	seq         int64
	outstanding *Drained
}

func (u *usage) init() { u.meter, u.accounts = rand.Text(), map[accountKey]*account{} }

// of gives a client's day. u.mu is held.
func (u *usage) of(client string, day huanxin.Date) *account {
	k := accountKey{client, day}
	a, ok := u.accounts[k]
	if !ok {
		a = &account{}
		u.accounts[k] = a
	}
	return a
}

// Spend takes n checks from the client's quota of the day on which now falls: all of them, or none and not ok, when retryAfter
// is the time to the next midnight. remaining is what is left of the day either way, math.MaxInt64 where there is no limit.
//
// What other hubs spent since the last exchange is not known here: h hubs that exchange every d together let through at most
// what h-1 of them can spend in d beyond the quota.
func (m *Meter) Spend(client string, q Quota, n int64, now time.Time) (remaining int64, retryAfter time.Duration, ok bool) {
	day := huanxin.DateOf(now, m.zone)
	n = max(n, 0)
	m.usage.mu.Lock()
	defer m.usage.mu.Unlock()
	a := m.usage.of(client, day)
	if q.PerDay <= 0 {
		a.fresh += n
		return math.MaxInt64, 0, true
	}
	if remaining = max(q.PerDay-a.known(), 0); n > remaining {
		m.counted.quotaRefused.Add(1)
		_, next := day.In(m.zone)
		return remaining, next.Sub(now), false
	}
	a.fresh += n
	return remaining - n, 0, true
}

// count adds outcomes to the client's usage.
func (m *Meter) count(client string, o *Outcomes, now time.Time) {
	day := huanxin.DateOf(now, m.zone)
	m.usage.mu.Lock()
	defer m.usage.mu.Unlock()
	a := m.usage.of(client, day)
	for i, n := range o {
		a.outcomes[i] += n
	}
}

// Drain gives the usage that the store does not have: that of the last Drain if Learn was not told of it, else all that came
// since. It may have no usage; it goes to Learn all the same. The caller does not change it.
func (m *Meter) Drain() Drained {
	u := &m.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outstanding != nil {
		return *u.outstanding
	}
	d := Drained{Meter: u.meter}
	for k, a := range u.accounts {
		if a.fresh == 0 && a.outcomes == (Outcomes{}) {
			continue
		}
		d.Usage = append(d.Usage, Usage{Client: k.client, Day: k.day, Checks: a.fresh, Outcomes: a.outcomes})
		a.drained, a.fresh, a.outcomes = a.fresh, 0, Outcomes{}
	}
	if len(d.Usage) > 0 {
		u.seq++
	}
	d.Seq = u.seq
	if len(d.Usage) > 0 {
		u.outstanding = &d
	}
	return d
}

// Learn says that d is in the store for good, and what all hubs have spent, read in the transaction that added d or after it.
// totals name every client with usage on the day of now; of one they do not name, what was known and what d says holds. False
// means that d is not the outstanding Drained: nothing was changed.
func (m *Meter) Learn(d Drained, totals []Total, now time.Time) bool {
	today := huanxin.DateOf(now, m.zone)
	current := func(day huanxin.Date) bool { return !day.Before(today.AddDays(-1)) && !today.AddDays(1).Before(day) }
	u := &m.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if d.Meter != u.meter || d.Seq != u.seq || (len(d.Usage) > 0) != (u.outstanding != nil) {
		return false
	}
	u.outstanding = nil
	for _, k := range d.Usage {
		a := u.of(k.Client, k.Day)
		a.learned, a.drained = a.learned+a.drained, 0
	}
	for _, t := range totals {
		if current(t.Day) {
			a := u.of(t.Client, t.Day)
			a.learned = max(a.learned, t.Checks) // a day's total only grows
		}
	}
	for k, a := range u.accounts {
		if !current(k.day) && a.fresh == 0 && a.outcomes == (Outcomes{}) {
			delete(u.accounts, k)
		}
	}
	return true
}
