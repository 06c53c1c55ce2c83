package core

import (
	"context"
	"math"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// DeadSET is a dead letter as the operator sees it.
type DeadSET struct {
	JTI  string
	Type huanxin.EventType // 0: it was about the stream itself, and is gone
	store.DeadLetter
}

const (
	// MaxDeadLetters bounds a page of them.
	MaxDeadLetters = 1000
	// FirstFeedNo is before all places.
	FirstFeedNo huanxin.FeedNo = math.MinInt64
)

// operatorStream refuses who is not the operator, and gives the inner number of a stream.
func (h *Hub) operatorStream(ctx context.Context, who huanxin.Caller, action, id string) (huanxin.StreamID, error) {
	if err := mayAdmin(who); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, action), err)
		return 0, err
	}
	no, ok := h.keys.ParseID(seal.StreamID, id)
	if !ok {
		return 0, notFound("stream")
	}
	return huanxin.StreamID(no), nil
}

// DeadLetters gives at most MaxDeadLetters of a stream's dead letters from a place on, in the order of the feed.
func (h *Hub) DeadLetters(ctx context.Context, who huanxin.Caller, id string, from huanxin.FeedNo) (out []DeadSET, err error) {
	stream, err := h.operatorStream(ctx, who, "stream.dead_letters", id)
	if err != nil {
		return nil, err
	}
	var letters []store.DeadLetter
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		letters, err = tx.DeadLetters(stream, from, MaxDeadLetters)
		return err
	}); err != nil {
		return nil, err
	}
	entries, err := h.feedEntries(ctx, nosOf(letters))
	if err != nil {
		return nil, err
	}
	for _, l := range letters {
		d := DeadSET{JTI: h.JTI(stream, l.No), DeadLetter: l}
		if e := entries[l.No]; e != nil {
			d.Type = e.Type
		}
		out = append(out, d)
	}
	return out, nil
}

func nosOf(letters []store.DeadLetter) []huanxin.FeedNo {
	nos := make([]huanxin.FeedNo, len(letters))
	for i, l := range letters {
		nos[i] = l.No
	}
	return nos
}

// feedEntries finds the entries at places of the feed log; nil: there is nothing at a place. Those of signals are not found.
func (h *Hub) feedEntries(ctx context.Context, nos []huanxin.FeedNo) (map[huanxin.FeedNo]*FeedEntry, error) {
	x := exchanging{h: h, entries: map[huanxin.FeedNo]*FeedEntry{}}
	err := x.load(ctx, nos)
	return x.entries, err
}

// Replayed is what a replay did.
type Replayed struct {
	Again int // dead letters that are handed out again
	Left  int // dead letters for which there was no room: ask again when these are settled
	From  int64
}

// ReplayDead hands a stream's dead letters out again, each with the jti that it had. What was about the stream itself is dropped.
func (h *Hub) ReplayDead(ctx context.Context, who huanxin.Caller, id string) (out Replayed, err error) {
	stream, err := h.operatorStream(ctx, who, "stream.replay", id)
	if err != nil {
		return out, err
	}
	var letters []store.DeadLetter
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		letters, err = tx.DeadLetters(stream, FirstFeedNo, maxPending+MaxDeadLetters)
		return err
	}); err != nil {
		return out, err
	}
	entries, err := h.feedEntries(ctx, nosOf(letters))
	if err != nil {
		return out, err
	}
	err = h.replay(ctx, who, id, stream, func(tx *store.Tx, s *store.StreamState, box *huanxin.Outbox, entry *store.AuditEntry) error {
		out = Replayed{}
		var gone []huanxin.FeedNo
		for _, l := range letters {
			e := entries[l.No]
			if e != nil && len(box.Pending) >= maxPending {
				out.Left++
				continue
			}
			if e != nil {
				box.Repeat(huanxin.FeedItem{No: l.No, Tag: h.keys.Tag(e.Number)})
				out.Again++
			}
			gone = append(gone, l.No)
		}
		entry.Detail = detail(map[string]any{"dead": out.Again})
		if err := tx.DeleteDeadLetters(stream, gone); err != nil {
			return err
		}
		return tx.SaveOutbox(stream, box.Encode())
	})
	return out, err
}

// ReplayFrom has a stream told once more of all that the hub learned from a time on and that is still kept for it, each with the jti that
// it had; of tasks, of those that are open.
func (h *Hub) ReplayFrom(ctx context.Context, who huanxin.Caller, id string, from time.Time) (out Replayed, err error) {
	stream, err := h.operatorStream(ctx, who, "stream.replay", id)
	if err != nil {
		return out, err
	}
	if err := h.FollowFeed(ctx); err != nil {
		return out, err
	}
	// What was learned at a time has its position a moment later, and not quite in order.
	if out.From, err = h.feedPositionAt(ctx, from.Add(-replayMargin)); err != nil {
		return out, err
	}
	err = h.replay(ctx, who, id, stream, func(tx *store.Tx, s *store.StreamState, box *huanxin.Outbox, entry *store.AuditEntry) error {
		to := max(out.From, s.Start+1)
		box.Rewind(to)
		entry.Detail = detail(map[string]any{"from": from.UTC().Format(time.RFC3339)})
		return tx.RewindStream(stream, box.Encode(), to)
	})
	return out, err
}

const replayMargin = time.Minute

// replay changes a stream's outbox as the operator.
func (h *Hub) replay(ctx context.Context, who huanxin.Caller, id string, stream huanxin.StreamID,
	change func(tx *store.Tx, s *store.StreamState, box *huanxin.Outbox, entry *store.AuditEntry) error) error {
	err := h.act(ctx, who, "stream.replay", nil, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry) error {
		entry.Subject = id
		s, found, err := tx.LockStreamState(stream)
		if err == nil && !found {
			err = notFound("stream")
		}
		if err != nil {
			return err
		}
		box, err := outboxOf(&s)
		if err != nil {
			return err
		}
		return change(tx, &s, box, entry)
	})
	if err == nil {
		h.streamMoved(stream)
	}
	return err
}

// feedPositionAt gives the first position of the feed at which something stands that was learned at a time or later.
func (h *Hub) feedPositionAt(ctx context.Context, t time.Time) (int64, error) {
	low, high := int64(1), h.FeedHead()+1
	for low < high {
		mid := low + (high-low)/2
		e, err := h.firstEntry(ctx, mid, high)
		if err != nil {
			return 0, err
		}
		if e == nil || !e.RecordedAt.Before(t) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}

// firstEntry gives the first entry at positions of [from, to); nil: there is none.
func (h *Hub) firstEntry(ctx context.Context, from, to int64) (*FeedEntry, error) {
	for from < to {
		b, err := h.FeedBlock(ctx, from)
		if err != nil || b.To <= from {
			return nil, err
		}
		if e := b.first(from); e != nil {
			return e, nil
		}
		from = b.To
	}
	return nil, nil
}
