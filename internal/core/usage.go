package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/metering"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// CheckLimits bound the checks of a client. Zero fields are the defaults of DefaultCheckLimits, negative ones are no limit.
type CheckLimits struct {
	PerSecond int64 // in the long run
	Burst     int   // at once after a pause
	PerDay    int64 // of the national time zone
}

// DefaultCheckLimits suit an app that asks at logins and reconciles some millions of accounts at night. One with more has a contract
// that says so: whoever may ask about every number there is learns which ones are worth a thief's while.
var DefaultCheckLimits = CheckLimits{PerSecond: 50_000, Burst: 100_000, PerDay: 10_000_000}

func (l CheckLimits) orDefaults() CheckLimits {
	return CheckLimits{PerSecond: cmp.Or(l.PerSecond, DefaultCheckLimits.PerSecond), Burst: cmp.Or(l.Burst, DefaultCheckLimits.Burst),
		PerDay: cmp.Or(l.PerDay, DefaultCheckLimits.PerDay)}
}

// exchangeRetention is how long a process that counts usage is remembered after its last exchange.
const exchangeRetention = 30 * 24 * time.Hour

// metered is what the meter is told of a batch, kept from one to the next.
type metered struct {
	times     []int64
	refused   []bool
	any       bool // one is refused
	outcomes  []huanxin.CheckOutcome
	neverSeen []bool
}

func (c *Checks) rate() metering.Rate {
	if c.client != nil && c.client.ChecksPerSecond != 0 {
		return metering.Rate{PerSecond: float64(c.client.ChecksPerSecond), Burst: int(max(2*c.client.ChecksPerSecond, 0))}
	}
	return metering.Rate{PerSecond: float64(c.h.limits.PerSecond), Burst: c.h.limits.Burst}
}

func (c *Checks) quota() metering.Quota {
	perDay := c.h.limits.PerDay
	if c.client != nil && c.client.ChecksPerDay != 0 {
		perDay = c.client.ChecksPerDay
	}
	return metering.Quota{PerDay: perDay}
}

// Take asks for n checks at once, all or none. The error is a refusal of kind Limited: rate_limited or quota_exceeded.
func (c *Checks) Take(n int) error {
	at := c.present.Now()
	if wait, ok := c.h.meter.Allow(c.who.Client, c.rate(), int64(n), at); !ok {
		return &huanxin.Error{Kind: huanxin.Limited, Code: "rate_limited", RetryAfter: wait, Detail: "the client asks faster than its contract allows"}
	}
	if _, wait, ok := c.h.meter.Spend(c.who.Client, c.quota(), int64(n), at); !ok {
		return quotaExceeded(wait)
	}
	return nil
}

func quotaExceeded(wait time.Duration) *huanxin.Error {
	return &huanxin.Error{Kind: huanxin.Limited, Code: "quota_exceeded", RetryAfter: wait, Detail: "the client has used up the day's checks"}
}

// PaceChunk is how many checks, at most most, a stream best asks Pace for.
func (c *Checks) PaceChunk(most int) int { return c.rate().Chunk(most) }

// Pace asks for the next n checks of a stream. At zero the client's rate allows them; else the stream asks again after wait.
func (c *Checks) Pace(n int) (wait time.Duration) {
	return c.h.meter.Pace(c.who.Client, c.rate(), n, now())
}

// Spend takes as many of n checks as the day's quota leaves. For the others there is a refusal of kind Limited: quota_exceeded.
func (c *Checks) Spend(n int) (granted int, refused *huanxin.Error) {
	at := now()
	remaining, wait, ok := c.h.meter.Spend(c.who.Client, c.quota(), int64(n), at)
	if ok {
		return n, nil
	}
	granted = int(min(remaining, int64(n)))
	if _, _, ok := c.h.meter.Spend(c.who.Client, c.quota(), int64(granted), at); !ok {
		granted = 0 // another call took it
	}
	return granted, quotaExceeded(wait)
}

var errTooManyTimes = &huanxin.Error{Kind: huanxin.Limited, Code: "too_many_times", RetryAfter: metering.HalvingDays * 24 * time.Hour,
	Detail: "this number was asked about with more than 8 different times in 30 days"}

// guard finds the checks of a batch that ask about a number with too many different T. All clients of a party count as one.
func (c *Checks) guard(in []Check) {
	m := &c.metered
	m.times = m.times[:0]
	for i := range in {
		m.times = append(m.times, in[i].Since.Micros(&c.present))
	}
	if cap(m.refused) < len(in) {
		m.refused = make([]bool, len(in))
	}
	m.refused = m.refused[:len(in)]
	m.any = c.h.meter.Seen(c.who.Party.ID, c.digits, m.times, c.present.Now(), m.refused) > 0
}

// observe takes away the answers that are refused, and counts the others.
func (c *Checks) observe(out []Checked) {
	m := &c.metered
	m.outcomes, m.neverSeen = m.outcomes[:0], m.neverSeen[:0]
	for i := range out {
		if m.any && m.refused[i] {
			out[i] = Checked{Err: errTooManyTimes}
		}
		m.outcomes = append(m.outcomes, out[i].Outcome)
		m.neverSeen = append(m.neverSeen, out[i].Outcome == huanxin.Unknown && out[i].Reason == huanxin.CheckNeverSeen)
	}
	c.h.meter.Observe(c.who.Client, c.digits, m.outcomes, m.neverSeen, c.present.Now())
}

// ExchangeUsage writes down what was asked here, and learns what was asked at the other hubs. Called again after a failure it
// counts nothing twice.
func (h *Hub) ExchangeUsage(ctx context.Context) error {
	d := h.meter.Drain()
	at := now()
	today := huanxin.DateOf(at, h.calendar.Zone())
	rows := make([]store.Usage, len(d.Usage))
	checks := int64(0)
	for i, u := range d.Usage {
		rows[i] = store.Usage{Client: u.Client, Day: u.Day, Checks: u.Checks, Outcomes: u.Outcomes}
		checks += u.Checks
	}
	slices.SortFunc(rows, func(a, b store.Usage) int { // two hubs take rows in one order
		return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.Client, b.Client))
	})
	var totals []metering.Total
	read := func(tx *store.Tx) error {
		totals = totals[:0]
		all, err := tx.UsageOn(today)
		for _, u := range all {
			totals = append(totals, metering.Total{Client: u.Client, Day: u.Day, Checks: u.Checks})
		}
		return err
	}
	var err error
	if len(rows) == 0 {
		err = h.store.Read(ctx, read)
	} else {
		err = h.store.Write(ctx, func(tx *store.Tx) error {
			if err := tx.AddUsage(d.Meter, d.Seq, rows, at); err != nil {
				return err
			}
			if err := tx.Audit(store.AuditEntry{At: at, Action: "checks", Detail: detail(map[string]any{"clients": len(rows), "checks": checks})}); err != nil {
				return err
			}
			return read(tx)
		})
	}
	if err != nil {
		return err
	}
	h.meter.Learn(d, totals, at)
	if len(rows) > 0 {
		h.wake()
	}
	return nil
}

// Suspect is a client whose checks look like a search for numbers (enumeration) or for a tenure's start (halving).
type Suspect struct {
	Client string
	metering.Suspicion
}

// Suspects gives the clients that an operator should look at.
func (h *Hub) Suspects() (out []Suspect) {
	at := now()
	asked := map[string]bool{}
	for id, c := range h.snapshot().clients {
		for _, name := range []string{id, c.Party.ID} { // halving counts by party
			if asked[name] || c.Party.Kind != huanxin.AppParty {
				continue
			}
			asked[name] = true
			if s := h.meter.Suspicion(name, at); s.Enumerating || s.Halving {
				out = append(out, Suspect{name, s})
			}
		}
	}
	return out
}

// CheckFigures gives what the meter of checks did and holds.
func (h *Hub) CheckFigures() metering.Figures { return h.meter.Figures(now()) }

// IndexPosition gives how far the number index has followed the number log; 0: it is being built, or empty.
func (h *Hub) IndexPosition() int64 {
	if x := h.checking.index.Load(); x != nil {
		return x.position.Load()
	}
	return 0
}

// IndexLen gives how many numbers the index knows.
func (h *Hub) IndexLen() int64 {
	if x := h.checking.index.Load(); x != nil {
		return x.Len()
	}
	return 0
}
