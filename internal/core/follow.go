package core

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
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
	c := &h.checking
	c.follow.Lock()
	defer c.follow.Unlock()
	x := c.index.Load()
	if x == nil {
		x = c.building
	}
	if x != nil && x.Damaged() {
		h.dropDamaged(x)
		x = nil
	}
	if x == nil {
		var err error
		if x, err = h.openIndex(ctx); err != nil {
			return err
		}
		c.building = x
	}
	firstWaiting, err := h.catchUp(ctx, x)
	if err != nil || 0 < firstWaiting && firstWaiting <= x.holds || !c.told {
		return err
	}
	c.index.Store(x)
	c.building = nil
	return nil
}

// dropDamaged takes an index away whose snapshot was found damaged, and the snapshot too: the next one is built from the log, and
// meanwhile the store answers. follow is held.
func (h *Hub) dropDamaged(x *numberIndex) {
	c := &h.checking
	h.log.Error("the snapshot of the number index is damaged: the index is built again from the log, without it")
	c.index.Store(nil)
	c.building = nil
	if err := os.Remove(h.snapshotPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.log.Error("the damaged snapshot could not be removed", "error", err)
	}
	c.saved.Store(0)
	// Whoever still looks into it is waited for, and finds it gone afterwards.
	c.behind.Go(func() {
		<-x.verified
		h.replicas.use.Lock()
		defer h.replicas.use.Unlock()
		c.saving.Lock()
		defer c.saving.Unlock()
		c.use.Lock()
		defer c.use.Unlock()
		x.gone = true
		if err := x.Close(); err != nil {
			h.log.Error("the memory of a damaged index could not be given back", "error", err)
		}
	})
}

// catchUp applies everything that has a position, and gives the first batch that still waits for one; 0: none does.
func (h *Hub) catchUp(ctx context.Context, x *numberIndex) (firstWaiting int64, err error) {
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
			return 0, err
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
		return first, nil
	}
}

// publishCoverage lets coverage be seen when all that the carrier told before it stands in the index: first is the first batch that
// still waits for its position.
func (h *Hub) publishCoverage(told waiting, first int64) {
	c := &h.checking
	if first == 0 { // nothing waits: what was read now holds
		c.covered.Store(&told.covered)
		c.waiting, c.told = nil, true
		return
	}
	if w := c.waiting; w != nil && w.batch < first {
		c.covered.Store(&w.covered)
		c.waiting, c.told = nil, true
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

// buildIndex makes an index of all standings. Those may hold events that have no position yet; it serves when these have.
func (h *Hub) buildIndex(ctx context.Context) (*numberIndex, error) {
	x := &numberIndex{Index: index.New()}
	zone := h.calendar.Zone()
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		if err != nil {
			return err
		}
		x.position.Store(head)
		if _, x.holds, err = tx.WaitingBatches(); err != nil {
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
	return x, nil
}
