package core

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// exchanging is one look at a stream and what is made of it.
type exchanging struct {
	h   *Hub
	in  *Exchange
	own func(*huanxin.Stream) error
	out *Exchanged

	row      store.StreamRow
	state    store.StreamState
	signals  []store.Signal
	box      *huanxin.Outbox
	limits   huanxin.OutboxLimits
	listener FeedListener
	told     EventTypes // of event that the stream is told of
	now      time.Time

	entries  map[huanxin.FeedNo]*FeedEntry // what is known of the places in question; nil: there is nothing at that place
	items    huanxin.FeedItems
	due      []huanxin.FeedNo
	acked    bool // something of what is pending is settled now
	scanning bool // the feed goes on where gathering stopped
	settled  int  // before this look
	buried   []string
}

// look reads how the stream stands.
func (x *exchanging) look(ctx context.Context, id huanxin.StreamID) error {
	err := x.h.store.Read(ctx, func(tx *store.Tx) error { return x.read(tx, id, tx.StreamState) })
	if err != nil {
		return err
	}
	client, err := x.h.Client(ctx, x.row.Client)
	if err != nil {
		return err
	}
	if client == nil {
		return notFound("stream")
	}
	x.listener = FeedListener{Stream: id, App: client.Party.No, Narrow: !x.h.hearsOfAll(client.ID), Start: x.state.Start}
	header, err := x.h.streamHeader(&x.row)
	if err != nil {
		return err
	}
	x.out.Stream, x.out.Client, x.out.Listener, x.out.Told = x.row.Stream, client, x.listener, x.told
	x.out.Stream.Header = header
	return nil
}

// read reads the stream and its state, in the order in which they are locked.
func (x *exchanging) read(tx *store.Tx, id huanxin.StreamID, state func(huanxin.StreamID) (store.StreamState, bool, error)) (err error) {
	var found, foundState bool
	if x.row, found, err = tx.Stream(id); err != nil {
		return err
	}
	if !found {
		return notFound("stream")
	}
	if err := x.own(&x.row.Stream); err != nil {
		return err
	}
	if x.state, foundState, err = state(id); err != nil {
		return err
	}
	if !foundState {
		return notFound("stream")
	}
	if x.signals, err = tx.Signals(id); err != nil {
		return err
	}
	x.now = now()
	x.limits = huanxin.OutboxLimits{Max: x.in.Max, Reserve: x.in.Reserve, Pending: maxPending, Again: x.in.Again,
		OnlySignals: x.row.Status != huanxin.StreamEnabled}
	x.told = EventTypes(0).With(huanxin.StreamVerification).With(huanxin.StreamUpdated)
	for _, t := range x.row.Delivered() {
		x.told = x.told.With(t)
	}
	if x.box, err = outboxOf(&x.state); err == nil && x.in.Recall {
		x.box.Recall(x.now, x.in.Again)
	}
	return err
}

// outboxOf opens a stream's outbox. What came while the stream was disabled is left out.
func outboxOf(s *store.StreamState) (*huanxin.Outbox, error) {
	o, err := huanxin.DecodeOutbox(s.Outbox, s.Start+1)
	if err == nil && o.Next < s.TellFrom {
		o.Skip(s.TellFrom)
	}
	return o, err
}

// work reports whether there is anything to write.
func (x *exchanging) work() bool {
	if x.acked || len(x.in.Failed) > 0 || x.items.To-x.items.From >= savedLead || x.limits.OnlySignals && !x.box.FailingSince.IsZero() {
		return true
	}
	return x.in.Max > 0 && x.something()
}

// something reports whether there is something to hand out.
func (x *exchanging) something() bool {
	return len(x.due) > 0 || len(x.items.Items) > 0 || slices.ContainsFunc(x.signals, func(s store.Signal) bool {
		_, pending := x.box.Find(huanxin.SignalNo(s.ID))
		return !pending
	})
}

// savedLead is how far the cursor may be ahead of what was saved of it, over positions that hold nothing for the stream.
const savedLead = 1 << 16

// gather finds what belongs to the places in question, and what joins to the cursor.
func (x *exchanging) gather(ctx context.Context) error {
	var nos []huanxin.FeedNo
	ask := func(no huanxin.FeedNo) {
		if _, pending := x.box.Find(no); pending {
			x.acked = true
			nos = append(nos, no)
		}
	}
	for _, no := range x.in.Acks {
		ask(no)
	}
	for _, r := range x.in.Refused {
		ask(r.No)
	}
	peek := x.limits
	peek.Max = max(peek.Max, 1) // of which it is told at least that there is some
	x.due = x.box.Due(x.now, peek)
	nos = append(nos, x.due...)
	if err := x.load(ctx, nos); err != nil {
		return err
	}
	return x.gatherNew(ctx)
}

// load finds the entries at places of the feed log. A place that is ahead of what this hub knows of the log has been reached by another
// hub.
func (x *exchanging) load(ctx context.Context, nos []huanxin.FeedNo) error {
	slices.Sort(nos)
	var b *FeedBlock
	for _, no := range nos {
		at, ok := no.Position()
		if !ok {
			continue // a signal, which is known or gone
		}
		if b == nil || at < b.From || at >= b.To {
			var err error
			if at > x.h.FeedHead() {
				err = x.h.FollowFeed(ctx)
			}
			if err == nil {
				b, err = x.h.FeedBlock(ctx, at)
			}
			if err != nil {
				return err
			}
		}
		if at < b.To {
			x.entries[no] = b.Entry(no)
		}
	}
	return nil
}

// spareItems is by how much more is gathered than can be handed out: of tasks some may be over.
const spareItems = 64

// gatherFor bounds how long the feed is searched for something that a stream hears of before its receiver is answered.
const gatherFor = 2 * time.Second

func (x *exchanging) gatherNew(ctx context.Context) error {
	g := &x.items
	g.From, g.To = x.box.Next, x.box.Next
	if x.limits.OnlySignals || x.full() {
		return nil
	}
	scan := scanKey{x.listener, x.told}
	at := x.h.scans.resume(scan, g.From)
	began := time.Now()
	var some []*FeedEntry
	for len(g.Items) < x.in.Max+spareItems {
		b, err := x.h.FeedBlock(ctx, at)
		if err != nil {
			return err
		}
		if b.To <= at { // the head
			break
		}
		some = b.Of(x.listener, at, some[:0])
		for _, e := range some {
			if x.wants(e) {
				x.entries[e.No] = e
				g.Items = append(g.Items, huanxin.FeedItem{No: e.No, Tag: x.h.keys.Tag(e.Number)})
			}
		}
		if at = b.To; len(g.Items) == 0 && time.Since(began) > gatherFor {
			break
		}
	}
	g.To = at
	x.scanning = at <= x.h.FeedHead()
	if len(g.Items) == 0 {
		x.h.scans.note(scan, g.From, at)
	}
	return nil
}

func (x *exchanging) full() bool {
	n := 0
	for i := range x.box.Pending {
		if x.box.Pending[i].No > 0 {
			n++
		}
	}
	return n >= maxPending
}

// wants reports whether the stream is told of an entry, but for what depends on its task. Notices are kept for a time only.
func (x *exchanging) wants(e *FeedEntry) bool {
	return x.told.Has(e.Type) && (e.Type == huanxin.UnbindRequested || e.No < 0 || x.now.Sub(e.RecordedAt) < huanxin.FeedRetention)
}

// scans remember how far the feed holds nothing for a stream, so that a cursor which stands still need not be saved nor searched from
// again and again.
type scans struct {
	sync.Mutex
	of map[huanxin.StreamID]scan
}

// scan says that a stream finds nothing in [from, to).
type scan struct {
	scanKey
	from, to int64
}

// scanKey is what it depends on.
type scanKey struct {
	listener FeedListener
	told     EventTypes
}

// maxScans bounds the memory that they take.
const maxScans = 100_000

func (s *scans) resume(k scanKey, from int64) int64 {
	s.Lock()
	defer s.Unlock()
	if was, ok := s.of[k.listener.Stream]; ok && was.scanKey == k && was.from <= from && from < was.to {
		return was.to
	}
	return from
}

func (s *scans) note(k scanKey, from, to int64) {
	s.Lock()
	defer s.Unlock()
	if s.of == nil || len(s.of) >= maxScans {
		s.of = map[huanxin.StreamID]scan{}
	}
	s.of[k.listener.Stream] = scan{k, from, to}
}

// ahead gives how far nothing is found for a stream from a position on.
func (s *scans) ahead(id huanxin.StreamID, from int64) int64 {
	s.Lock()
	defer s.Unlock()
	if was, ok := s.of[id]; ok && was.from <= from {
		return max(from, was.to)
	}
	return from
}
