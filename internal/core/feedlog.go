package core

import (
	"context"
	"sync/atomic"
)

// feedHead is how far the feed log goes, as far as this hub knows. It is replaced when it moves.
type feedHead struct {
	at    int64
	moved chan struct{} // closed when it has moved
}

// feedLog is what a hub knows of the feed log.
type feedLog struct {
	head atomic.Pointer[feedHead]
}

// FeedHead gives the last position of the feed log that this hub knows of; 0: it is empty.
func (h *Hub) FeedHead() int64 {
	head, _ := h.FeedMoved()
	return head
}

// FeedMoved gives the last position of the feed log that this hub knows of, and a channel that is closed once it knows a later
// one. Any number may wait for it.
func (h *Hub) FeedMoved() (head int64, moved <-chan struct{}) {
	f := h.feed.head.Load()
	return f.at, f.moved
}

// feedMovedTo takes note of the feed's head.
func (h *Hub) feedMovedTo(at int64) {
	for {
		old := h.feed.head.Load()
		if old.at >= at {
			return
		}
		if h.feed.head.CompareAndSwap(old, &feedHead{at, make(chan struct{})}) {
			close(old.moved)
			return
		}
	}
}

// FollowFeed learns how far the feed log goes: other hubs make it longer, too.
func (h *Hub) FollowFeed(ctx context.Context) error {
	return nil
}

// FeedBlock gives a block of the feed log that a position lies in; it may begin before that, and ends at the head at the
// latest. Behind the head it is empty (From is To).
func (h *Hub) FeedBlock(ctx context.Context, from int64) (*FeedBlock, error) {
	return newFeedBlock(from), nil
}
