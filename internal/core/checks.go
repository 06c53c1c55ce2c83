package core

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Check is one question: has the holder of Number changed since Since?
type Check struct {
	Number huanxin.Number
	Since  huanxin.Since
}

// Checked is the answer to a Check.
type Checked struct {
	Outcome huanxin.CheckOutcome // 0: there is none, Err says why
	Reason  string
	// FreshAt is until when the carrier that serves the number has told everything; zero: it never said, or nobody asked.
	FreshAt time.Time
	Err     *huanxin.Error
}

// numberIndex is the index and how far it has followed the number log: everything up to position is in it.
type numberIndex struct {
	*index.Index
	position atomic.Int64
	holds    int64         // a batch without a position that may be known already: until that has one, the index does not serve
	verified chan struct{} // closed when the snapshot that it was opened from has been verified, or found damaged; nil: it was built
	gone     bool          // its memory is given back; guarded by checking.use
}

// covered is what the carriers have told, as far as the index holds it.
type covered map[huanxin.PartyNo]store.Coverage

// checking is the read side of the hub: the index, who follows the log with it, and what the carriers have told.
type checking struct {
	use      sync.RWMutex                // read-held while the index is looked into, so that nobody takes it away
	follow   sync.Mutex                  // held by the one who follows the log
	index    atomic.Pointer[numberIndex] // nil while it is being built: the store answers then
	covered  atomic.Pointer[covered]
	building *numberIndex // that does not serve yet; guarded by follow
	waiting  *waiting     // guarded by follow
	told     bool         // covered was stored once; guarded by follow
	saving   sync.Mutex   // held by the one who writes a snapshot
	saved    atomic.Int64 // position of the last snapshot

	behind sync.WaitGroup // what goes on behind, until the hub is closed
}

// waiting is coverage that holds only when the batches accepted before it was read are in the index.
type waiting struct {
	covered covered
	batch   int64
}

// Checks answers the checks of one call, of any number. It is for one goroutine.
type Checks struct {
	h       *Hub
	who     huanxin.Caller
	index   *numberIndex
	asOf    int64
	present huanxin.Present
	covered covered
	// Fresh asks for FreshAt.
	Fresh bool

	scope  huanxin.Scope
	client *huanxin.Client // nil: nothing is known of it, and the defaults hold

	digits   []uint64
	marks    []uint16
	carriers []uint16
	open     []int // checks that only the store can answer
	metered  metered

	one struct { // room for a single check, as most calls have
		digits    [1]uint64
		marks     [1]uint16
		times     [1]int64
		refused   [1]bool
		outcomes  [1]huanxin.CheckOutcome
		neverSeen [1]bool
	}
}

// idleChecks is calls that have ended: a call is most of what a single check allocates.
var idleChecks = sync.Pool{New: func() any { return new(Checks) }}

// End ends the call, which is used no more.
func (c *Checks) End() {
	*c = Checks{}
	idleChecks.Put(c)
}

// BeginChecks lets a caller with a scope ask. A check may be asked with numbers.check, or on CAMARA's path with its own scope. The
// call is given back by End.
func (h *Hub) BeginChecks(ctx context.Context, who huanxin.Caller, scope huanxin.Scope) (*Checks, error) {
	if err := who.May(huanxin.AppParty, scope); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "checks"), err)
		return nil, err
	}
	if err := h.stillBound(ctx, who.Bound); err != nil {
		return nil, err
	}
	c := idleChecks.Get().(*Checks)
	*c = Checks{h: h, who: who, scope: scope, client: h.snapshot().clients[who.Client]}
	c.digits, c.marks = c.one.digits[:0], c.one.marks[:0]
	c.metered = metered{times: c.one.times[:0], refused: c.one.refused[:0], outcomes: c.one.outcomes[:0], neverSeen: c.one.neverSeen[:0]}
	return c, c.Renew(ctx)
}

// Renew brings a call that goes on for long to the present. It is refused when its client was disabled, lost its scope, or got other
// credentials: who has the old ones may be why.
func (c *Checks) Renew(ctx context.Context) error {
	if c.client != nil {
		began := c.client
		c.client = c.h.snapshot().clients[c.who.Client]
		if c.client == nil || c.client.Disabled || c.client.Party.Disabled || !c.client.Scopes.Has(c.scope) {
			return huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "the client may no longer ask")
		}
		if !bytes.Equal(began.SecretHash, c.client.SecretHash) || !bytes.Equal(began.JWKS, c.client.JWKS) {
			return huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "the client has other credentials now")
		}
	}
	c.present = huanxin.PresentAt(now(), c.h.calendar.Zone())
	c.covered = *c.h.checking.covered.Load()
	if c.index = c.h.checking.index.Load(); c.index != nil {
		c.asOf = c.index.position.Load()
		return nil
	}
	return c.h.store.Read(ctx, func(tx *store.Tx) (err error) {
		if c.asOf, err = tx.LogHead(); err == nil {
			c.covered, err = readCoverage(tx)
		}
		return err
	})
}

// AsOf gives the position in the number log that the answers are true for: all events up to it are in them.
func (c *Checks) AsOf() int64 { return c.asOf }

// Answer decides checks by the table of DOMAIN.md §5. out is as long as in. A check with too many different T for its number
// has no answer but an error; an error of the whole is a fault of ours. The checks were taken (Take, Pace) before.
func (c *Checks) Answer(ctx context.Context, in []Check, out []Checked) error {
	if len(in) == 0 {
		return nil
	}
	if err := c.ownNumberOnly(in); err != nil {
		return err
	}
	c.digits = c.digits[:0]
	for i := range in {
		c.digits = append(c.digits, in[i].Number.Digits())
	}
	c.guard(in)
	if err := c.decide(ctx, in, out); err != nil {
		return err
	}
	c.observe(out)
	return nil
}

func (c *Checks) decide(ctx context.Context, in []Check, out []Checked) error {
	c.open = c.open[:0]
	if c.index == nil {
		for i := range in {
			c.open = append(c.open, i)
		}
		return c.ask(ctx, in, out)
	}
	if there, err := c.lookup(in); err != nil {
		return err
	} else if !there {
		c.index = nil
		return c.decide(ctx, in, out)
	}
	for i := range in {
		var decided bool
		out[i] = Checked{}
		if m := c.marks[i]; m != index.Damaged {
			out[i].Outcome, out[i].Reason, decided = huanxin.Mark(m).Answer(in[i].Number, in[i].Since, &c.present)
		}
		switch {
		case !decided:
			c.open = append(c.open, i)
		case c.carriers != nil:
			c.freshen(&out[i], huanxin.PartyNo(c.carriers[i]))
		}
	}
	if len(c.open) == 0 {
		return nil
	}
	return c.ask(ctx, in, out)
}

// lookup fills marks and, where they are needed, carriers, unless the index was taken away meanwhile.
func (c *Checks) lookup(in []Check) (there bool, err error) {
	if cap(c.marks) < len(in) {
		c.marks = make([]uint16, len(in))
	}
	c.marks = c.marks[:len(in)]
	wantCarriers := c.Fresh || c.h.lateAfter > 0
	if c.carriers = nil; wantCarriers {
		c.carriers = make([]uint16, len(in))
	}
	c.h.checking.use.RLock()
	defer c.h.checking.use.RUnlock()
	if c.h.closing.Err() != nil {
		return false, huanxin.Errorf(huanxin.Unavailable, "overloaded", "the hub is stopping")
	}
	if c.index.gone {
		return false, nil
	}
	c.index.Lookup(c.digits, c.marks)
	if wantCarriers {
		c.index.Carriers(c.digits, c.carriers)
	}
	return true, nil
}

// ask answers the open checks from the store.
func (c *Checks) ask(ctx context.Context, in []Check, out []Checked) error {
	numbers := make([]huanxin.Number, len(c.open))
	for i, at := range c.open {
		numbers[i] = in[at].Number
	}
	var rows map[huanxin.Number]store.NumberRow
	if err := c.h.store.Read(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.Standings(numbers)
		return err
	}); err != nil {
		return err
	}
	for _, at := range c.open {
		row := rows[in[at].Number]
		out[at] = Checked{}
		out[at].Outcome, out[at].Reason = row.Answer(in[at].Number, in[at].Since.At(&c.present), c.present.Now())
		c.freshen(&out[at], row.Carrier)
	}
	return nil
}

// freshen says until when the carrier has told everything, and gives no answer where that is too long ago.
func (c *Checks) freshen(a *Checked, carrier huanxin.PartyNo) {
	if a.Reason == huanxin.CheckFuture || a.Reason == huanxin.CheckUnsupported || a.Reason == huanxin.CheckNeverSeen {
		return
	}
	a.FreshAt = c.covered[carrier].CompleteUntil
	if late := c.h.lateAfter; late > 0 && a.FreshAt.Before(c.present.Now().Add(-late)) {
		a.Outcome, a.Reason = huanxin.Unknown, huanxin.CheckCarrierLate
	}
}

// CarrierCoverage is what a carrier has told so far.
type CarrierCoverage struct {
	Carrier *huanxin.Party
	// CoveredSince is since when its changes of holder are known, FreshAt until when it has told everything; zero: it never said.
	CoveredSince, FreshAt time.Time
}

// Coverage gives what each enabled carrier has told, and the position in the number log that this is true for.
func (h *Hub) Coverage(ctx context.Context, who huanxin.Caller) (asOf int64, out []CarrierCoverage, err error) {
	if err := who.May(huanxin.AppParty, huanxin.ScopeNumbersCheck); err != nil {
		return 0, nil, err
	}
	c := *h.checking.covered.Load()
	if i := h.checking.index.Load(); i != nil {
		asOf = i.position.Load()
	} else if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		if asOf, err = tx.LogHead(); err == nil {
			c, err = readCoverage(tx)
		}
		return err
	}); err != nil {
		return 0, nil, err
	}
	for _, p := range h.Parties() {
		if p.Kind == huanxin.CarrierParty && !p.Disabled {
			out = append(out, CarrierCoverage{Carrier: p, CoveredSince: c[p.No].CoveredSince, FreshAt: c[p.No].CompleteUntil})
		}
	}
	return asOf, out, nil
}
