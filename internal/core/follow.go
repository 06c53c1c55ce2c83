package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// followBatches is how many batches of the log are read in one look.
const followBatches = 64

// Sequenced gives a channel that receives soon after batches of the number log got their positions here.
func (h *Hub) Sequenced() <-chan struct{} { return h.sequenced }

// Follow brings the number index to the end of the number log, and builds it first where there is none: from the snapshot if
// that is whole and of this log, else from the standings that the log adds up to. Every hub follows for itself.
func (h *Hub) Follow(ctx context.Context) error {
	h.checking.follow.Lock()
	defer h.checking.follow.Unlock()
	x := h.checking.index.Load()
	if x != nil && x.Damaged() {
		h.log.Error("the snapshot of the number index is damaged: it is built again from the log")
		h.checking.index.Store(nil) // the store answers; look-ups that are under way still use the old one
		x = nil
	}
	if x == nil {
		var err error
		if x, err = h.openIndex(ctx); err != nil {
			return err
		}
	}
	if err := h.catchUp(ctx, x); err != nil {
		return err
	}
	h.checking.index.Store(x)
	return nil
}

// catchUp applies everything that has a position.
func (h *Hub) catchUp(ctx context.Context, x *numberIndex) error {
	var events []store.MarkedEvent
	var changes []index.Change
	for {
		var batches []store.LogBatch
		var told waiting
		var first int64
		events = events[:0]
		err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
			if batches, err = tx.LogBatches(x.position.Load()+1, followBatches); err != nil {
				return err
			}
			for _, b := range batches {
				if events, err = tx.MarkedEvents(b, events); err != nil {
					return err
				}
			}
			if err := fillUnmarked(tx, events, h.calendar.Zone()); err != nil {
				return err
			}
			if first, told.batch, err = tx.WaitingBatches(); err != nil {
				return err
			}
			told.covered, err = readCoverage(tx)
			return err
		})
		if err != nil {
			return err
		}
		changes = changes[:0]
		for _, e := range events {
			changes = append(changes, index.Change{Digits: e.Number.Digits(), Value: uint16(e.Mark), Carrier: slot(e.Carrier)})
		}
		x.Apply(changes)
		if n := len(batches); n > 0 {
			x.position.Store(batches[n-1].Next() - 1)
		}
		if len(batches) == followBatches {
			continue
		}
		h.publishCoverage(told, first)
		return nil
	}
}

// publishCoverage lets coverage be seen when all that the carrier told before it stands in the index: first is the first batch that
// still waits for its position.
func (h *Hub) publishCoverage(told waiting, first int64) {
	if first == 0 { // nothing waits: what was read now holds
		h.checking.covered.Store(&told.covered)
		h.checking.waiting = nil
		return
	}
	if w := h.checking.waiting; w != nil && w.batch < first {
		h.checking.covered.Store(&w.covered)
		h.checking.waiting = nil
	}
	if h.checking.waiting == nil {
		h.checking.waiting = &told
	}
}

func readCoverage(tx *store.Tx) (covered, error) {
	rows, err := tx.Coverage()
	out := covered{}
	for _, c := range rows {
		out[c.Carrier] = c
	}
	return out, err
}

// fillUnmarked gives events from before there were marks what their numbers' standings say now: all that came after them
// is applied after them, too.
func fillUnmarked(tx *store.Tx, events []store.MarkedEvent, zone *time.Location) error {
	var numbers []huanxin.Number
	for i := range events {
		if events[i].Unmarked {
			numbers = append(numbers, events[i].Number)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	rows, err := tx.Standings(numbers)
	if err != nil {
		return err
	}
	for i := range events {
		if e := &events[i]; e.Unmarked {
			row := rows[e.Number]
			e.LedTo = store.LedTo{Mark: row.Mark(zone), Carrier: row.Carrier}
		}
	}
	return nil
}

// slot is a carrier's place in the index; 0 is none. A registry with more parties than that knows no freshness for the last ones.
func slot(no huanxin.PartyNo) uint16 {
	if no < 0 || no > math.MaxUint16 {
		return 0
	}
	return uint16(no)
}

// snapshotMeta ties a snapshot to the log that it was made from.
type snapshotMeta struct {
	Database string `json:"database"`
	Zone     string `json:"zone"`
	// Everything up to From is in the snapshot, and of what came up to Until some may be.
	From  int64 `json:"from"`
	Until int64 `json:"until"`
	// LastReported is when the batch that ends at From was accepted, in microseconds: a database that was restored from a
	// backup and went on differently has another.
	LastReported int64 `json:"last_reported"`
}

// openIndex gives an index from the snapshot, or a new one built from the standings.
func (h *Hub) openIndex(ctx context.Context) (*numberIndex, error) {
	if h.snapshotPath != "" {
		x, err := h.openSnapshot(ctx)
		if err == nil {
			return x, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.Warn("the number index is built from the log, without its snapshot", "why", err)
		}
	}
	return h.buildIndex(ctx)
}

func (h *Hub) openSnapshot(ctx context.Context) (*numberIndex, error) {
	x, meta, err := index.Open(h.snapshotPath)
	if err != nil {
		return nil, err
	}
	m, err := h.checkSnapshot(ctx, meta)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	n := &numberIndex{Index: x}
	n.position.Store(m.From)
	h.checking.saved = m.From
	go h.verifySnapshot(n)
	return n, nil
}

// verifySnapshot reads the rest of the snapshot, so that its pages need not be verified when they are asked for.
func (h *Hub) verifySnapshot(x *numberIndex) {
	if err := x.Verify(h.closing); err != nil && h.closing.Err() == nil {
		h.log.Error("the snapshot of the number index could not be verified", "error", err)
	}
}

func (h *Hub) checkSnapshot(ctx context.Context, meta []byte) (m snapshotMeta, err error) {
	if err := json.Unmarshal(meta, &m); err != nil {
		return m, fmt.Errorf("its description cannot be read: %w", err)
	}
	if m.Database != h.database || m.Zone != h.calendar.Zone().String() {
		return m, errors.New("it is of another database or time zone")
	}
	return m, h.store.Read(ctx, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		if err != nil {
			return err
		}
		if m.From < 0 || m.Until < m.From || m.Until > head {
			return errors.New("it is ahead of the log")
		}
		if m.From == 0 {
			return nil
		}
		b, found, err := tx.LogBatchBefore(m.From + 1)
		if err == nil && (!found || b.ReportedAt.UnixMicro() != m.LastReported) {
			err = errors.New("it was made from another log")
		}
		return err
	})
}

// buildIndex makes an index of all standings. Those may hold events that have no position yet; it serves when these have.
func (h *Hub) buildIndex(ctx context.Context) (*numberIndex, error) {
	x := &numberIndex{Index: index.New()}
	zone := h.calendar.Zone()
	var last int64
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		if err != nil {
			return err
		}
		x.position.Store(head)
		if _, last, err = tx.WaitingBatches(); err != nil {
			return err
		}
		changes := make([]index.Change, 0, 4096)
		if err := tx.EachStanding(func(row store.NumberRow) error {
			changes = append(changes, index.Change{Digits: row.Number.Digits(), Value: uint16(row.Mark(zone)), Carrier: slot(row.Carrier)})
			if len(changes) == cap(changes) {
				x.Apply(changes)
				changes = changes[:0]
			}
			return ctx.Err()
		}); err != nil {
			return err
		}
		x.Apply(changes)
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	if err := h.awaitSequenced(ctx, x, last); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// awaitSequenced follows the log until a batch has its position. Whoever holds the lease gives it within a second.
func (h *Hub) awaitSequenced(ctx context.Context, x *numberIndex, batch int64) error {
	for {
		if err := h.catchUp(ctx, x); err != nil {
			return err
		}
		var first int64
		if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
			first, _, err = tx.WaitingBatches()
			return err
		}); err != nil {
			return err
		}
		if first == 0 || first > batch {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// SaveIndex writes a snapshot of the number index if it has moved since the last one, so that the next start need not build it.
func (h *Hub) SaveIndex(ctx context.Context) error {
	x := h.checking.index.Load()
	if h.snapshotPath == "" || x == nil || x.Damaged() {
		return nil
	}
	from := x.position.Load()
	if from == h.savedPosition() {
		return nil
	}
	m := snapshotMeta{Database: h.database, Zone: h.calendar.Zone().String(), From: from}
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		b, found, err := tx.LogBatchBefore(from + 1)
		if err == nil && !found {
			err = errors.New("the log has no batch that ends where the index is")
		}
		m.LastReported = b.ReportedAt.UnixMicro()
		return err
	})
	if err != nil {
		return err
	}
	if err := x.Save(h.snapshotPath, func() ([]byte, error) {
		m.Until = x.position.Load()
		return json.Marshal(m)
	}); err != nil {
		return err
	}
	h.checking.follow.Lock()
	defer h.checking.follow.Unlock()
	h.checking.saved = from
	return nil
}

func (h *Hub) savedPosition() int64 {
	h.checking.follow.Lock()
	defer h.checking.follow.Unlock()
	return h.checking.saved
}
