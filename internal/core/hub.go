// Package core holds the use cases of the hub, and is the only writer of its state.
//
// Every use case has one shape: a Caller is refused unless it may; a transaction is opened and the time fixed once; a pure
// rule of the root package decides; the result is saved with an audit entry in the same transaction; readers are woken. A
// refusal is recorded too. When a use case returns nil, what it did is on stable storage.
package core

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/metering"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Options is what a Hub is made of. All of it is needed but Checks, ReplicaNumbers and Feed.
type Options struct {
	Store     *store.Store
	Keys      *seal.Keys
	Calendar  *huanxin.Calendar
	Durations huanxin.Durations
	Log       *slog.Logger
	Checks    CheckOptions
	// ReplicaNumbers is how many numbers an app may upload for its replica; 0: 20 million.
	ReplicaNumbers int64
	Feed           FeedOptions
}

// CheckOptions is how checks are answered.
type CheckOptions struct {
	// Snapshot is the file that the number index is kept in from one start to the next; empty: it is built at every start.
	Snapshot string
	// Limits are those of a client whose contract says nothing else.
	Limits CheckLimits
	// HalvingBytes is the memory of the guard against halving; 0: 64 MiB.
	HalvingBytes int
	// Exempt names numbers, by their digits, that are not guarded: the sandbox's. nil: none.
	Exempt func(digits uint64) bool
	// LateAfter is how far a carrier's word may lag behind before its numbers are UNKNOWN, carrier_late; 0: however far.
	LateAfter time.Duration
}

// Hub runs the use cases. It is safe for concurrent use, and any number of hubs may share one PostgreSQL database.
type Hub struct {
	store     *store.Store
	keys      *seal.Keys
	calendar  *huanxin.Calendar
	durations huanxin.Durations
	log       *slog.Logger
	registry  registry
	inFlight  sync.Map // idempotency keys that are being worked on here
	refusals  refusals
	hint      chan struct{}
	hinting   atomic.Bool // a hint is on its way

	checking     checking
	database     string // tells this database from others
	snapshotPath string
	lateAfter    time.Duration
	meter        *metering.Meter
	limits       CheckLimits
	sequenced    chan struct{}
	replicas     *replicas
	feed         feedLog
	feedOptions  FeedOptions
	touched      touched
	scans        scans
	news         news
	closing      context.Context // done when the hub is closed
	close        context.CancelFunc
}

// New gives a hub on a store. It refuses a key file that is not the one the store was written with.
func New(ctx context.Context, o Options) (*Hub, error) {
	if err := o.Durations.Validate(); err != nil {
		return nil, err
	}
	h := &Hub{store: o.Store, keys: o.Keys, calendar: o.Calendar, durations: o.Durations, log: o.Log, hint: make(chan struct{}, 1),
		snapshotPath: o.Checks.Snapshot, lateAfter: o.Checks.LateAfter, sequenced: make(chan struct{}, 1)}
	h.checking.covered.Store(&covered{})
	h.replicas = newReplicas(o.ReplicaNumbers)
	h.news.streams, h.news.hint = map[huanxin.StreamID]bool{}, make(chan struct{}, 1)
	h.feed.windows, h.feed.most = map[int64]*window{}, feedHeld
	h.feed.head.Store(&feedHead{moved: make(chan struct{})})
	if h.feedOptions = o.Feed; h.feedOptions.Subjects <= 0 {
		h.feedOptions.Subjects = defaultSubjects
	}
	h.limits = o.Checks.Limits.orDefaults()
	h.meter = metering.New(metering.Config{Zone: o.Calendar.Zone(), HalvingBytes: o.Checks.HalvingBytes, Exempt: o.Checks.Exempt})
	h.closing, h.close = context.WithCancel(context.Background())
	mine := o.Keys.Fingerprint()
	var theirs string
	err := o.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if theirs, err = tx.Setting("key_file", mine); err != nil {
			return err
		}
		h.database, err = tx.Setting("database", rand.Text())
		return err
	})
	if err != nil {
		return nil, err
	}
	if theirs != mine {
		return nil, errors.New("the key file is not the one that this database was written with: put the right one in its place")
	}
	if err := h.FollowFeed(ctx); err != nil {
		return nil, err
	}
	return h, h.Refresh(ctx)
}

// Close releases the number index. Checks fail from then on. Closing again does nothing.
func (h *Hub) Close() error {
	h.close()
	h.checking.follow.Lock()
	defer h.checking.follow.Unlock()
	h.checking.behind.Wait()
	h.checking.saving.Lock()
	defer h.checking.saving.Unlock()
	h.replicas.use.Lock() // a pull ends early
	defer h.replicas.use.Unlock()
	h.checking.use.Lock()
	defer h.checking.use.Unlock()
	var errs []error
	for _, x := range []*numberIndex{h.checking.index.Swap(nil), h.checking.building} {
		if x != nil {
			errs = append(errs, x.Close())
		}
	}
	h.checking.building = nil
	return errors.Join(errs...)
}

// Ping reports whether the database answers.
func (h *Hub) Ping(ctx context.Context) error { return h.store.Ping(ctx) }

// Engine gives "sqlite" or "postgres".
func (h *Hub) Engine() string { return h.store.Engine() }

// Durations gives the service's times.
func (h *Hub) Durations() huanxin.Durations { return h.durations }

// Calendar gives the calendar of working days.
func (h *Hub) Calendar() *huanxin.Calendar { return h.calendar }

// Hints gives a channel that receives soon after something was written. It is a hint: the database is the truth.
func (h *Hub) Hints() <-chan struct{} { return h.hint }

// hintAfter collects what is written within so short a time into one hint: a sequencer that ran after every write
// would write as often as everybody else together.
const hintAfter = 20 * time.Millisecond

func (h *Hub) wake() {
	if !h.hinting.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(hintAfter, func() {
		h.hinting.Store(false)
		select {
		case h.hint <- struct{}{}:
		default:
		}
	})
}

// now fixes the time, as exactly as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// act is the shape of every use case that changes something. f fills the entry's subject and detail; its *huanxin.Error is
// a refusal, which is recorded in a transaction of its own after f's is undone.
func (h *Hub) act(ctx context.Context, who huanxin.Caller, action string, may error,
	f func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error) error {
	entry := store.AuditEntry{At: now(), Client: who.Client, Action: action, Detail: "{}"}
	entry.Party = partyOf(who)
	err := may
	if err == nil {
		err = h.store.Write(ctx, func(tx *store.Tx) error {
			e := entry
			e.At = now() // not before its turn came: what waited long would else be older than what was seen meanwhile
			if err := f(tx, e.At, &e); err != nil {
				entry.Subject = e.Subject
				return err
			}
			return tx.Audit(e)
		})
	}
	if err != nil {
		h.recordRefusal(ctx, entry, err)
		return err
	}
	h.wake()
	return nil
}

// partyOf gives the party that stands in the audit log: of a holder the carrier that they came from.
func partyOf(who huanxin.Caller) huanxin.PartyNo {
	switch {
	case who.Party != nil:
		return who.Party.No
	case who.Holder != nil:
		return who.Holder.Carrier
	}
	return 0
}

// recordRefusal writes down that a known caller was refused. Faults of ours are no refusals, and neither is a caller that
// is too fast: it would fill the log.
func (h *Hub) recordRefusal(ctx context.Context, entry store.AuditEntry, err error) {
	var e *huanxin.Error
	if !errors.As(err, &e) || entry.Party == 0 {
		return
	}
	switch e.Kind {
	case huanxin.Internal, huanxin.Unauthenticated, huanxin.Limited, huanxin.Unavailable:
		return
	}
	entry.Refused = e.Code
	entry.Detail = detail(map[string]any{"reason": e.Reason})
	err = h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.Audit(entry) })
	if err != nil {
		h.log.Error("a refusal could not be recorded", "action", entry.Action, "error", err)
		return
	}
	h.wake()
}

// detail writes an audit entry's detail. It is never given a number.
func detail(v map[string]any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}

func notFound(what string) error {
	return huanxin.Errorf(huanxin.NotFound, "not_found", "there is no such "+what)
}

// RecordRefused writes down that a caller was refused before any use case was asked.
func (h *Hub) RecordRefused(ctx context.Context, who huanxin.Caller, action string, err error) {
	h.recordRefusal(ctx, h.refusalEntry(who, action), err)
}

// transientBinding ties what a browser keeps during a sign-in to its purpose.
var transientBinding = []byte("sign-in under way")

// SealTransient seals what a holder's browser keeps while they are at their carrier, OpenTransient opens it again.
func (h *Hub) SealTransient(plain []byte) []byte { return h.keys.SealBytes(plain, transientBinding) }

// OpenTransient opens what SealTransient sealed; the error says only that it was not.
func (h *Hub) OpenTransient(sealed []byte) ([]byte, error) {
	return h.keys.UnsealBytes(sealed, transientBinding)
}
