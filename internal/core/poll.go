package core

import (
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
)

// Poll is what a receiver says in a poll (RFC 8936 §2.4).
type Poll struct {
	Acks []string            // jti's; those that the stream never had are ignored
	Errs map[string]SETError // by jti
	Max  int
	// Again is when what is handed out now comes again unless it is settled.
	Again time.Duration
}

// SETError is why a receiver does not take a SET (RFC 8935 §2.4).
type SETError struct{ Err, Description string }

// MayPoll refuses who may poll no stream.
func (h *Hub) MayPoll(ctx context.Context, who huanxin.Caller) error {
	err := mayRead(who)
	if err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "stream.poll"), err)
	}
	return err
}

// PollStream takes what the receiver of a stream says, and hands out what may be. The stream is the client's own and is polled.
func (h *Hub) PollStream(ctx context.Context, who huanxin.Caller, id string, in Poll) (out Exchanged, err error) {
	if err := h.MayPoll(ctx, who); err != nil {
		return out, err
	}
	no, ok := h.keys.ParseID(seal.StreamID, id)
	if !ok {
		return out, notFound("stream")
	}
	stream := huanxin.StreamID(no)
	x := Exchange{Max: in.Max, Reserve: max(in.Max/4, min(in.Max, 1)), Again: in.Again}
	for _, jti := range in.Acks {
		if at, ok := h.keys.ParseSETID(stream, jti); ok {
			x.Acks = append(x.Acks, at)
		}
	}
	for jti, e := range in.Errs {
		if at, ok := h.keys.ParseSETID(stream, jti); ok {
			x.Refused = append(x.Refused, RefusedSET{No: at, Err: e.Err, Description: e.Description})
		}
	}
	slices.SortFunc(x.Refused, func(a, b RefusedSET) int { return int(min(max(a.No-b.No, -1), 1)) })
	out, err = h.exchange(ctx, stream, x, func(s *huanxin.Stream) error {
		if s.Client != who.Client || s.Method != huanxin.DeliverByPoll {
			return notFound("stream that is polled")
		}
		return nil
	})
	if err == nil {
		h.touch(ctx, stream)
	}
	return out, err
}
