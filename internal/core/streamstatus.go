package core

import (
	"context"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// SetStreamStatus sets the status that a receiver asks for, and gives the stream as it is then. No signal tells of it: the receiver
// knows (SSF 1.0 §8.1.2).
func (h *Hub) SetStreamStatus(ctx context.Context, who huanxin.Caller, id string, to huanxin.StreamStatus, reason string) (out Stream, err error) {
	err = h.changeStream(ctx, who, "stream.status", id, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry, row *store.StreamRow) error {
		entry.Detail = statusDetail(to)
		if err := saveStatus(tx, row, to, reason, false); err != nil {
			return err
		}
		out, err = h.shown(who, "", row)
		return err
	})
	return out, err
}

func statusDetail(to huanxin.StreamStatus) string {
	return detail(map[string]any{"status": to.String()})
}

func saveStatus(tx *store.Tx, row *store.StreamRow, to huanxin.StreamStatus, reason string, byHub bool) error {
	anew := row.SetStatus(to, reason, byHub)
	if err := tx.SaveStream(*row); err != nil || !anew {
		return err
	}
	return tx.SkipFeed(row.ID)
}

// setByHub sets a status that the receiver did not ask for, and tells it so by a signal, which goes out whatever the status (SSF 1.0
// §8.1.5). The caller has locked the stream.
func setByHub(tx *store.Tx, row *store.StreamRow, to huanxin.StreamStatus, reason string, now time.Time) error {
	if row.Status == to {
		return nil
	}
	if err := saveStatus(tx, row, to, reason, true); err != nil {
		return err
	}
	return tx.InsertSignal(store.Signal{Stream: row.ID, Kind: store.SignalUpdated, State: to.String(), Reason: row.Reason, At: now})
}

// VerifyStream has a stream tell its receiver a verification event that echoes state, soon. The first one may be asked for at once.
func (h *Hub) VerifyStream(ctx context.Context, who huanxin.Caller, id, state string) error {
	return h.changeStream(ctx, who, "stream.verify", id, func(tx *store.Tx, now time.Time, _ *store.AuditEntry, row *store.StreamRow) error {
		if err := row.AskVerification(state, now); err != nil {
			return err
		}
		if err := tx.SaveStream(*row); err != nil {
			return err
		}
		return tx.InsertSignal(store.Signal{Stream: row.ID, Kind: store.SignalVerification, State: state, At: now})
	})
}

// touchEvery is how exactly it is known when a receiver was heard of: a poll is not to cost a write.
const touchEvery = time.Hour

// maxTouched bounds the memory of who was heard of.
const maxTouched = 100_000

// touched remembers when streams were last noted as heard of.
type touched struct {
	sync.Mutex
	last map[huanxin.StreamID]time.Time
}

// due reports whether it is to be written down that a stream's receiver was heard of.
func (t *touched) due(id huanxin.StreamID, now time.Time) bool {
	t.Lock()
	defer t.Unlock()
	if last, ok := t.last[id]; ok && now.Sub(last) < touchEvery {
		return false
	}
	if t.last == nil || len(t.last) >= maxTouched {
		t.last = map[huanxin.StreamID]time.Time{}
	}
	t.last[id] = now
	return true
}

func (t *touched) forget(id huanxin.StreamID) {
	t.Lock()
	defer t.Unlock()
	delete(t.last, id)
}

// TouchStream notes that a stream's receiver was heard of: it asked about the stream, polled it or took a push. Only the first time in an
// hour is written down.
func (h *Hub) TouchStream(ctx context.Context, id huanxin.StreamID) error {
	if !h.touched.due(id, now()) {
		return nil
	}
	err := h.store.Write(ctx, func(tx *store.Tx) error { return tx.TouchStream(id, now()) })
	if err != nil {
		h.touched.forget(id)
	}
	return err
}

// touch is TouchStream where what was asked for is done already.
func (h *Hub) touch(ctx context.Context, id huanxin.StreamID) {
	if err := h.TouchStream(context.WithoutCancel(ctx), id); err != nil {
		h.log.Error("it could not be noted that a stream's receiver was heard of", "error", err)
	}
}

// PauseIdleStreams pauses the streams whose receivers were not heard of for huanxin.StreamInactivity, and says how many.
func (h *Hub) PauseIdleStreams(ctx context.Context) (n int, err error) {
	since := now().Add(-huanxin.StreamInactivity - touchEvery)
	var idle []huanxin.StreamID
	if err := h.store.Read(ctx, func(tx *store.Tx) error {
		idle, err = tx.IdleStreams(since)
		return err
	}); err != nil {
		return 0, err
	}
	for _, id := range idle {
		paused, err := h.pause(ctx, id, "nothing was heard of the receiver for 30 days", func(tx *store.Tx) (bool, error) {
			at, err := tx.StreamActive(id)
			return at.Before(since), err
		})
		if err != nil {
			return n, err
		}
		if paused {
			n++
		}
	}
	return n, nil
}

// SuspendStream pauses an enabled stream because the hub cannot go on with it, for a reason that its receiver and the operator see.
func (h *Hub) SuspendStream(ctx context.Context, id huanxin.StreamID, reason string) error {
	_, err := h.pause(ctx, id, reason, func(*store.Tx) (bool, error) { return true, nil })
	return err
}

// pause pauses an enabled stream on the hub's own account, if that is still right once the stream is locked.
func (h *Hub) pause(ctx context.Context, id huanxin.StreamID, reason string, still func(tx *store.Tx) (bool, error)) (paused bool, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		paused = false
		row, found, err := tx.LockStream(id)
		if err != nil || !found || row.Status != huanxin.StreamEnabled {
			return err
		}
		if ok, err := still(tx); err != nil || !ok {
			return err
		}
		paused = true
		at := now()
		if err := setByHub(tx, &row, huanxin.StreamPaused, reason, at); err != nil {
			return err
		}
		return tx.Audit(store.AuditEntry{At: at, Action: "stream.suspend", Subject: h.keys.ID(seal.StreamID, int64(id)),
			Detail: detail(map[string]any{"reason": row.Reason})})
	})
	if err == nil && paused {
		h.wake()
		h.streamMoved(id)
	}
	return paused, err
}

// OperatorStream is a stream as the operator sees it.
type OperatorStream struct {
	Stream
	Party    string // the app's id
	ActiveAt time.Time
}

// AllStreams gives every stream of the hub.
func (h *Hub) AllStreams(ctx context.Context, who huanxin.Caller) (out []OperatorStream, err error) {
	if err := mayAdmin(who); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "stream.list_all"), err)
		return nil, err
	}
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Streams()
		if err != nil {
			return err
		}
		out = make([]OperatorStream, len(rows))
		for i := range rows {
			if out[i].Stream, err = h.shown(who, "", &rows[i]); err != nil {
				return err
			}
			if c := h.snapshot().clients[rows[i].Client]; c != nil {
				out[i].Party = c.Party.ID
			}
			if out[i].ActiveAt, err = tx.StreamActive(rows[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// PauseStream pauses a stream as the operator, or lets it go on.
func (h *Hub) PauseStream(ctx context.Context, who huanxin.Caller, id, reason string) error {
	return h.setByOperator(ctx, who, "stream.pause", id, huanxin.StreamPaused, reason)
}

// EnableStream lets a stream transmit again as the operator.
func (h *Hub) EnableStream(ctx context.Context, who huanxin.Caller, id, reason string) error {
	return h.setByOperator(ctx, who, "stream.enable", id, huanxin.StreamEnabled, reason)
}

func (h *Hub) setByOperator(ctx context.Context, who huanxin.Caller, action, id string, to huanxin.StreamStatus, reason string) error {
	no, ok := h.keys.ParseID(seal.StreamID, id)
	defer h.streamMoved(huanxin.StreamID(no))
	return h.act(ctx, who, action, mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		if !ok {
			return notFound("stream")
		}
		row, found, err := tx.LockStream(huanxin.StreamID(no))
		if err == nil && !found {
			err = notFound("stream")
		}
		if err != nil {
			return err
		}
		entry.Subject = id
		return setByHub(tx, &row, to, reason, now)
	})
}
