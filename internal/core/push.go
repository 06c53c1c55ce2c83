package core

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// PushStreams gives the streams that something may be pushed to.
func (h *Hub) PushStreams(ctx context.Context) (ids []huanxin.StreamID, err error) {
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.PushStreams()
		ids = ids[:0]
		for _, r := range rows {
			if h.clientEnabled(r.Client) {
				ids = append(ids, r.ID)
			}
		}
		return err
	})
	return ids, err
}

// clientEnabled reports whether a client and its party take part.
func (h *Hub) clientEnabled(id string) bool {
	c := h.snapshot().clients[id]
	return c != nil && !c.Disabled && !c.Party.Disabled
}

// ExchangePushes saves what became of pushes to a stream, and hands out what is to be pushed next. The error is of kind NotFound where
// nothing is to be pushed to the stream any more.
func (h *Hub) ExchangePushes(ctx context.Context, id huanxin.StreamID, in Exchange) (Exchanged, error) {
	out, err := h.exchange(ctx, id, in, func(s *huanxin.Stream) error {
		if s.Method != huanxin.DeliverByPush || !h.clientEnabled(s.Client) {
			return notFound("stream that is pushed")
		}
		return nil
	})
	if err == nil && len(in.Acks) > 0 {
		h.touch(ctx, id)
	}
	return out, err
}

// WakeUp is a stream that is polled, and whose receiver wants to be told when there is something to poll.
type WakeUp struct {
	Stream huanxin.StreamID
	URL    string
}

// WakeUps gives the streams whose receivers want to be told.
func (h *Hub) WakeUps(ctx context.Context) (out []WakeUp, err error) {
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.WakeUpStreams()
		out = out[:0]
		for _, r := range rows {
			if h.clientEnabled(r.Client) {
				out = append(out, WakeUp{r.ID, r.WakeUp})
			}
		}
		return err
	})
	return out, err
}

// PeekStream reports whether a stream has something to hand out, and gives what news may concern it by. It changes nothing.
func (h *Hub) PeekStream(ctx context.Context, id huanxin.StreamID) (listener FeedListener, told EventTypes, something bool, err error) {
	x := exchanging{h: h, in: &Exchange{Max: 1}, own: func(*huanxin.Stream) error { return nil }, out: &Exchanged{}, entries: map[huanxin.FeedNo]*FeedEntry{}}
	if err := x.look(ctx, id); err != nil {
		return listener, told, false, err
	}
	if err := x.gather(ctx); err != nil {
		return listener, told, false, err
	}
	return x.listener, x.told, x.something(), nil
}

// StreamFigures is how far behind a stream's receiver is.
type StreamFigures struct {
	Stream  huanxin.StreamID
	Method  huanxin.DeliveryMethod
	Behind  int64     // positions of the feed that were not taken, whether they are for the stream or not
	Pending int       // SETs that were taken and not settled
	Out     int       // of these were handed out
	Oldest  time.Time // when the oldest of them was handed out first; zero: nothing is out
}

// FeedFigures gives how far behind the receivers of all streams are.
func (h *Hub) FeedFigures(ctx context.Context) (all []StreamFigures, err error) {
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		all = all[:0]
		head, err := tx.FeedHead()
		if err != nil {
			return err
		}
		return tx.EachStreamState(func(s store.StreamState, method huanxin.DeliveryMethod) error {
			o, err := outboxOf(&s)
			if err != nil {
				return err
			}
			f := StreamFigures{Stream: s.Stream, Method: method, Pending: len(o.Pending)}
			f.Behind = max(head+1-h.scans.ahead(s.Stream, o.Next), 0)
			f.Out, f.Oldest = o.Out()
			all = append(all, f)
			return nil
		})
	})
	return all, err
}
