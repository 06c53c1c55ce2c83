package core

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// replicas is the pulls that are under way.
type replicas struct {
	use     sync.RWMutex  // read-held by every pull, so that nobody takes the index away
	most    int64         // how many numbers an app may upload
	row     int           // how many numbers a full row holds
	looking chan struct{} // held by the one who reads a whole list of uploaded numbers, for it may be long

	mu    sync.Mutex
	pulls map[huanxin.PartyNo]bool // an app pulls once at a time
}

func newReplicas(most int64) *replicas {
	if most <= 0 {
		most = defaultReplicaNumbers
	}
	return &replicas{most: most, row: replicaRow, looking: make(chan struct{}, 1), pulls: map[huanxin.PartyNo]bool{}}
}

// maxPulls is how many pulls a hub serves at once: each may hold an index of its own in memory.
const maxPulls = 4

// Pull is a replica on its way to an app. It is for one goroutine, which must End it.
type Pull struct {
	// Manifest is what is known of the replica, and after WriteTo all of it.
	Manifest replica.Manifest

	h     *Hub
	who   huanxin.Caller
	id    string // ties its entries in the audit log together
	index *index.Index
	own   bool // the index is of this pull alone
}

// BeginPull makes a replica ready for an app, as its contract grants one, and records that it is pulled (DOMAIN.md §7 rule 5).
// issuer is the hub's URL. Every event up to Manifest.AsOf is in every number; later ones may be. The error is no_contract, or
// overloaded while there is no whole index to make one from.
func (h *Hub) BeginPull(ctx context.Context, who huanxin.Caller, issuer string) (*Pull, error) {
	if err := mayReplicate(who); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "replica.pull.begin"), err)
		return nil, err
	}
	if err := h.enterPull(who.Party.No); err != nil {
		return nil, err
	}
	p := &Pull{h: h, who: who, id: rand.Text(), Manifest: replica.Manifest{Issuer: issuer, Audience: who.Client,
		IssuedAt: now().Unix(), Zone: h.calendar.Zone().String(), Fresh: map[string]time.Time{}}}
	err := p.prepare(ctx)
	if err == nil {
		err = h.act(ctx, who, "replica.pull.begin", nil, func(_ *store.Tx, _ time.Time, entry *store.AuditEntry) error {
			entry.Subject = p.id
			entry.Detail = detail(map[string]any{"grant": p.Manifest.Scope, "numbers": p.Manifest.Numbers, "as_of": p.Manifest.AsOf})
			return nil
		})
	}
	if err != nil {
		p.leave()
		return nil, err
	}
	return p, nil
}

// MayPull reports whether BeginPull would be refused for want of a contract.
func (h *Hub) MayPull(ctx context.Context, who huanxin.Caller) error {
	if err := mayReplicate(who); err != nil {
		return err
	}
	return who.Party.Replica.MayReplicate()
}

func (h *Hub) enterPull(party huanxin.PartyNo) error {
	h.replicas.use.RLock()
	h.replicas.mu.Lock()
	defer h.replicas.mu.Unlock()
	var err error
	switch {
	case h.closing.Err() != nil:
		err = notNow("the hub is stopping", time.Second)
	case h.replicas.pulls[party]:
		err = notNow("another pull of this app is under way", 30*time.Second)
	case len(h.replicas.pulls) >= maxPulls:
		err = notNow("too many replicas are pulled at once; try again", 30*time.Second)
	}
	if err != nil {
		h.replicas.use.RUnlock()
		return err
	}
	h.replicas.pulls[party] = true
	return nil
}

func notNow(why string, wait time.Duration) error {
	return &huanxin.Error{Kind: huanxin.Unavailable, Code: "overloaded", Detail: why, RetryAfter: wait}
}

// leave gives back what enterPull and prepare took.
func (p *Pull) leave() {
	if p.own {
		if err := p.index.Close(); err != nil {
			p.h.log.Error("the memory of a replica could not be given back", "error", err)
		}
	}
	p.h.replicas.mu.Lock()
	delete(p.h.replicas.pulls, p.who.Party.No)
	p.h.replicas.mu.Unlock()
	p.h.replicas.use.RUnlock()
}

// errNoIndex says that there is nothing to make a replica from, for a short time.
func errNoIndex() error {
	return notNow("the number index is being built; try again", 15*time.Second)
}

// prepare fills the manifest and makes the index. The position is read before any number.
func (p *Pull) prepare(ctx context.Context) error {
	x := p.h.checking.index.Load()
	var list replicaList
	var grant huanxin.ReplicaGrant
	err := p.h.store.Read(ctx, func(tx *store.Tx) (err error) {
		if grant, err = tx.ReplicaGranted(p.who.Party.No); err != nil || grant != huanxin.ReplicaUploaded || x == nil {
			return err
		}
		list, _, err = p.h.readReplicaRows(tx, p.who.Party.No, 0)
		return err
	})
	if err == nil {
		err = grant.MayReplicate()
	}
	if err != nil {
		p.h.recordRefusal(ctx, p.h.refusalEntry(p.who, "replica.pull.begin"), err)
		return err
	}
	if x == nil {
		return errNoIndex()
	}
	p.Manifest.Scope = grant.String()
	p.Manifest.AsOf = x.position.Load()
	p.Manifest.LateAfter = int64(p.h.lateAfter / time.Second)
	covered := *p.h.checking.covered.Load()
	for _, carrier := range p.h.Parties() {
		if c := covered[carrier.No]; carrier.Kind == huanxin.CarrierParty && !carrier.Disabled && !c.CompleteUntil.IsZero() {
			p.Manifest.Fresh[carrier.ID] = c.CompleteUntil
		}
	}
	if grant == huanxin.ReplicaUploaded {
		err = p.fill(ctx, x, &list)
	} else if err = x.Verify(ctx); err == nil {
		p.index = x.Index
	}
	if errors.Is(err, index.ErrDamaged) { // whoever follows the log builds another
		return errNoIndex()
	}
	if err == nil {
		p.Manifest.Numbers = p.index.Len()
	}
	return err
}

// fill makes the index of what the app uploaded.
func (p *Pull) fill(ctx context.Context, x *numberIndex, list *replicaList) error {
	numbers, _ := list.sum()
	made, err := replica.Uploaded(numbers, func(digits []uint64, out []uint16) error {
		if err := p.going(ctx); err != nil {
			return err
		}
		x.Lookup(digits, out)
		return nil
	})
	if err != nil {
		return err
	}
	p.index, p.own = made, true
	return nil
}

// going fails when the pull is to end early.
func (p *Pull) going(ctx context.Context) error {
	if p.h.closing.Err() != nil {
		return notNow("the hub is stopping", time.Second)
	}
	return ctx.Err()
}

// WriteTo writes the snapshot. It holds nothing up: the index is followed meanwhile. Nothing is written of an index that is damaged.
func (p *Pull) WriteTo(ctx context.Context, w io.Writer) (err error) {
	p.Manifest.Size, err = p.index.WriteTo(&stoppable{p, ctx, w}, p.Manifest.Meta(), false)
	if errors.Is(err, index.ErrDamaged) {
		return errNoIndex()
	}
	return err
}

// stoppable ends the writing of a snapshot when its pull ends early.
type stoppable struct {
	p   *Pull
	ctx context.Context
	w   io.Writer
}

func (s *stoppable) Write(b []byte) (int, error) {
	if err := s.p.going(s.ctx); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}

// End records how the pull ended: complete says that all of it, with its signed manifest, was handed to the network.
func (p *Pull) End(ctx context.Context, complete bool) error {
	defer p.leave()
	d := map[string]any{"grant": p.Manifest.Scope, "numbers": p.Manifest.Numbers, "as_of": p.Manifest.AsOf, "complete": complete}
	if complete {
		d["size"], d["sha256"] = p.Manifest.Size, p.Manifest.SHA256
	}
	err := p.h.act(context.WithoutCancel(ctx), p.who, "replica.pull.end", nil, func(_ *store.Tx, _ time.Time, entry *store.AuditEntry) error {
		entry.Subject, entry.Detail = p.id, detail(d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("the end of a pull could not be recorded: %w", err)
	}
	return nil
}
