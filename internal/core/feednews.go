package core

import (
	"context"
	"slices"
	"sync"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Audience is whom a stretch of the feed may concern.
type Audience struct {
	Apps     map[huanxin.PartyNo]EventTypes  // whose streams hear of their tasks
	Streams  map[huanxin.StreamID]EventTypes // that said something about one of the numbers
	Everyone EventTypes                      // what those hear who hear of all numbers
}

// EventTypes is a set of types of event.
type EventTypes uint16

// With gives the set with one more type.
func (s EventTypes) With(t huanxin.EventType) EventTypes { return s | 1<<t }

// Has reports whether a type is in the set.
func (s EventTypes) Has(t huanxin.EventType) bool { return s&(1<<t) != 0 }

// first gives the first entry of the block from a position on; nil: there is none.
func (b *FeedBlock) first(from int64) *FeedEntry {
	at, _ := slices.BinarySearchFunc(b.entries, huanxin.FeedNoAt(from, 0), byNo)
	if at == len(b.entries) {
		return nil
	}
	return b.entries[at]
}

// addAudience adds whom the block concerns from a position on.
func (b *FeedBlock) addAudience(from int64, to *Audience) {
	no := huanxin.FeedNoAt(from, 0)
	for app, entries := range b.byApp {
		at, _ := slices.BinarySearchFunc(entries, no, byNo)
		for _, e := range entries[at:] {
			to.Apps[app] = to.Apps[app].With(e.Type)
		}
	}
	for stream, rows := range b.interest {
		for _, r := range rows {
			if r.hears && r.No >= no {
				to.Streams[stream] = to.Streams[stream].With(r.Type)
			}
		}
	}
	at, _ := slices.BinarySearchFunc(b.numbers, no, byNo)
	for _, e := range b.numbers[at:] {
		to.Everyone = to.Everyone.With(e.Type)
	}
}

// FeedAudience gives whom the positions of [from, to) may concern.
func (h *Hub) FeedAudience(ctx context.Context, from, to int64) (Audience, error) {
	a := Audience{Apps: map[huanxin.PartyNo]EventTypes{}, Streams: map[huanxin.StreamID]EventTypes{}}
	for from < to {
		b, err := h.FeedBlock(ctx, from)
		if err != nil || b.To <= from {
			return a, err
		}
		b.addAudience(from, &a)
		from = b.To
	}
	return a, nil
}

// Concerns reports whether a stream may hear of something, by what it hears and which types of event it is told of.
func (a *Audience) Concerns(s FeedListener, told EventTypes) bool {
	return told&(a.Apps[s.App]|a.Streams[s.Stream]) != 0 || !s.Narrow && told&a.Everyone != 0
}

// news is which streams have something that does not come from the feed: a signal, or another status.
type news struct {
	sync.Mutex
	streams map[huanxin.StreamID]bool
	hint    chan struct{}
}

// streamMoved says that something was changed about a stream here.
func (h *Hub) streamMoved(id huanxin.StreamID) {
	h.news.Lock()
	h.news.streams[id] = true
	h.news.Unlock()
	select {
	case h.news.hint <- struct{}{}:
	default:
	}
}

// StreamsMoved gives a channel that receives soon after something was changed about streams here, and MovedStreams which.
func (h *Hub) StreamsMoved() <-chan struct{} { return h.news.hint }

// MovedStreams gives the streams that were changed here since it was asked last.
func (h *Hub) MovedStreams() []huanxin.StreamID {
	h.news.Lock()
	defer h.news.Unlock()
	ids := make([]huanxin.StreamID, 0, len(h.news.streams))
	for id := range h.news.streams {
		ids = append(ids, id)
	}
	clear(h.news.streams)
	return ids
}

// NewSignals gives the streams of signals with ids from one on, and the highest id: signals are committed nearly in the order of their
// ids.
func (h *Hub) NewSignals(ctx context.Context, from int64) (signals map[int64]huanxin.StreamID, err error) {
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		signals = map[int64]huanxin.StreamID{}
		all, err := tx.SignalsAfter(from-1, 1000)
		for _, s := range all {
			signals[s.ID] = s.Stream
		}
		return err
	})
	return signals, err
}
