package core

import (
	"context"
	"errors"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Exchange is what a stream's receiver says, or who pushes to it, and how much is to be handed out in return.
type Exchange struct {
	Acks    []huanxin.FeedNo
	Refused []RefusedSET
	Failed  []FailedSET
	Max     int           // SETs
	Reserve int           // see huanxin.OutboxLimits
	Again   time.Duration // after this, what is handed out now is handed out again unless it is settled
	// Recall says that nobody has what was handed out before, so that it need not wait for its time.
	Recall bool
}

// RefusedSET is one that its receiver does not take, or that was tried for too long. It becomes a dead letter.
type RefusedSET struct {
	No               huanxin.FeedNo
	Err, Description string
	Expired          bool // the receiver said nothing about it: it was tried for too long
}

// FailedSET is one that could not be brought, or was not tried, and when it may be handed out again.
type FailedSET struct {
	No      huanxin.FeedNo
	Again   time.Time
	Untried bool
}

// Exchanged is what is handed out, and how the stream stands.
type Exchanged struct {
	Stream huanxin.Stream
	Client *huanxin.Client
	SETs   []OutgoingSET
	// More says that something is left that could have been handed out.
	More bool
	// Wake is when something that is out comes again; zero: nothing is out.
	Wake time.Time
	// Listener and Told are what news of the feed may concern the stream by; see Audience.
	Listener FeedListener
	Told     EventTypes
	// FailingSince is since when nothing could be brought; see huanxin.Outbox.
	FailingSince time.Time
	// Settled is how many were acknowledged, and Buried the codes of those that became dead letters.
	Settled int
	Buried  []string
}

// OutgoingSET is one that is handed out.
type OutgoingSET struct {
	*FeedEntry
	Attempts int // with this one
	First    time.Time
}

const (
	// maxPending bounds what a stream has taken of the feed and its receiver has not settled.
	maxPending = 4096
	// exchangeRounds bounds how often an exchange looks again: because another one came between, or because nothing of what
	// it gathered was wanted any more.
	exchangeRounds = 16
)

// errLookAgain says that what was gathered does not fit what is found under the lock.
var errLookAgain = errors.New("core: another exchange came between")

// exchange settles what was settled and hands out what may be, in one transaction: what it gives is on stable storage as handed
// out. Where there is nothing to settle and nothing to hand out, nothing is written. own refuses streams that are not the caller's.
func (h *Hub) exchange(ctx context.Context, id huanxin.StreamID, in Exchange, own func(*huanxin.Stream) error) (out Exchanged, err error) {
	for range exchangeRounds {
		x := &exchanging{h: h, in: &in, own: own, out: &out, settled: out.Settled, buried: out.Buried, entries: map[huanxin.FeedNo]*FeedEntry{}}
		if err := x.look(ctx, id); err != nil {
			return out, err
		}
		if err := x.gather(ctx); err != nil {
			return out, err
		}
		if !x.work() {
			out.More = x.scanning || x.something()
			x.tell()
			return out, nil
		}
		switch err := h.store.Write(ctx, x.write); {
		case errors.Is(err, errLookAgain):
			continue
		case err != nil:
			return out, err
		}
		if len(out.SETs) > 0 || !out.More || in.Max == 0 {
			return out, nil
		}
		in.Acks, in.Refused, in.Failed = nil, nil, nil
	}
	out.More = true
	return out, nil
}
