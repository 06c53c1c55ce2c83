package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// snapshotMeta ties a snapshot of the number index to the log that it was made from.
type snapshotMeta struct {
	Database string `json:"database"`
	Zone     string `json:"zone"`
	// Position says that everything up to it is in the snapshot.
	Position int64 `json:"position"`
	// LastReported is when the batch that ends at Position was accepted, in microseconds: a database that was restored from a
	// backup and went on differently has another.
	LastReported int64 `json:"last_reported"`
}

// snapshotReach stands in a file beside the snapshot, written after it: the log went on meanwhile, and of what came until
// Reach something may be in the snapshot. A log that ends before that is older than the snapshot.
type snapshotReach struct {
	Position int64 `json:"position"`
	Reach    int64 `json:"reach"`
}

func (h *Hub) reachPath() string { return h.snapshotPath + ".reach" }

// openIndex gives an index from the snapshot, if that is whole and of this log, or a new one built from the standings that the log
// adds up to.
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
	position, err := h.checkSnapshot(ctx, meta)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	n := &numberIndex{Index: x, verified: make(chan struct{})}
	n.position.Store(position)
	// Until the first Follow the store answered, and knew what has no position yet: the index must not know less.
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		_, n.holds, err = tx.WaitingBatches()
		return err
	}); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	h.checking.saved.Store(position)
	h.checking.behind.Go(func() {
		defer close(n.verified)
		h.verifySnapshot(n)
	})
	return n, nil
}

// verifySnapshot reads the whole snapshot, so that its pages need not be verified one by one when they are asked for. Damage is
// found by the next Follow.
func (h *Hub) verifySnapshot(x *numberIndex) {
	if err := x.Verify(h.closing); err != nil && h.closing.Err() == nil {
		h.log.Error("the snapshot of the number index could not be verified", "error", err)
	}
}

func (h *Hub) checkSnapshot(ctx context.Context, meta []byte) (position int64, err error) {
	var m snapshotMeta
	var reach snapshotReach
	if err := json.Unmarshal(meta, &m); err != nil {
		return 0, fmt.Errorf("its description cannot be read: %w", err)
	}
	text, err := os.ReadFile(h.reachPath())
	if err == nil {
		err = json.Unmarshal(text, &reach)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("what stands beside it cannot be read: %v", err) // not fs.ErrNotExist: that would be no news
	case m.Database != h.database || m.Zone != h.calendar.Zone().String():
		return 0, errors.New("it is of another database or time zone")
	case m.Position < 1 || reach.Position != m.Position || reach.Reach < m.Position:
		return 0, errors.New("it and what stands beside it do not belong together")
	}
	return m.Position, h.store.Read(ctx, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		if err != nil {
			return err
		}
		if reach.Reach > head {
			return errors.New("it is ahead of the log")
		}
		b, found, err := tx.LogBatchBefore(m.Position + 1)
		if err == nil && (!found || b.ReportedAt.UnixMicro() != m.LastReported) {
			err = errors.New("it was made from another log")
		}
		return err
	})
}

// SaveIndex writes a snapshot of the number index if that has moved since the last one, so that the next start need not build it.
// Checks and the follower go on meanwhile.
func (h *Hub) SaveIndex(ctx context.Context) error {
	if h.snapshotPath == "" {
		return nil
	}
	h.checking.saving.Lock()
	defer h.checking.saving.Unlock()
	x := h.checking.index.Load()
	if x == nil || x.Damaged() {
		return nil
	}
	position := x.position.Load()
	if position == 0 || position == h.checking.saved.Load() {
		return nil
	}
	m := snapshotMeta{Database: h.database, Zone: h.calendar.Zone().String(), Position: position}
	if err := h.store.Read(ctx, func(tx *store.Tx) error {
		b, found, err := tx.LogBatchBefore(position + 1)
		if err == nil && !found {
			err = errors.New("the log has no batch that ends where the index stands")
		}
		m.LastReported = b.ReportedAt.UnixMicro()
		return err
	}); err != nil {
		return err
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.Remove(h.reachPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := x.Save(h.snapshotPath, meta); err != nil {
		return err
	}
	reach, err := json.Marshal(snapshotReach{Position: position, Reach: x.position.Load()})
	if err != nil {
		return err
	}
	// A file that a crash leaves torn or missing only makes the next start build the index.
	if err := os.WriteFile(h.reachPath(), reach, 0o600); err != nil {
		return err
	}
	h.checking.saved.Store(position)
	return nil
}
