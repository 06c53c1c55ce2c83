package core

import (
	"context"
	"maps"
	"slices"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// SmallReplicaRows makes rows of uploaded numbers so short that a test of few numbers has many.
func (h *Hub) SmallReplicaRows(n int) { h.replicas.row = n }

// CompactReplica puts a party's rows together, all or those of its second half.
func (h *Hub) CompactReplica(ctx context.Context, party huanxin.PartyNo, half bool) error {
	var from int64
	if half {
		var heads []store.ReplicaRow
		if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
			heads, err = tx.ReplicaHeads(party)
			return err
		}); err != nil || len(heads) == 0 {
			return err
		}
		if mid := heads[len(heads)/2]; mid.ID != heads[0].ID {
			from = mid.ID
		}
	}
	_, err := h.compactReplica(ctx, party, from)
	return err
}

// ManySmallRows is how many rows that are not full are put together.
const ManySmallRows = manySmallRows

// AnswerFrom puts an index in the place of the hub's own. The caller closes it.
func (h *Hub) AnswerFrom(x *index.Index) (back func()) {
	old := h.checking.index.Swap(&numberIndex{Index: x})
	return func() { h.checking.index.Store(old) }
}

// IndexDamaged reports whether there is no index, or one that is damaged.
func (h *Hub) IndexDamaged() bool {
	x := h.checking.index.Load()
	return x == nil || x.Damaged()
}

// Entries gives all entries of a block.
func (b *FeedBlock) Entries() []*FeedEntry { return b.entries }

// MakeFeedBlock makes a block of entries, given what streams' receivers said last of numbers.
func MakeFeedBlock(from, to int64, entries []*FeedEntry, said map[huanxin.Number][]store.FeedSubject) *FeedBlock {
	b := newFeedBlock(from)
	b.To = to
	for _, e := range entries {
		b.add(e, said[e.Number])
	}
	return b
}

// JoinFeedBlocks makes one block of several.
func JoinFeedBlocks(blocks ...*FeedBlock) *FeedBlock { return join(blocks) }

// FeedWindow is how many positions a window of the feed log has.
const FeedWindow = feedWindow

// KeptFeedWindows gives which windows of the feed log are kept in memory of some that were used one after the other and hold so much, where
// they may hold so much together. The last one is being read.
func KeptFeedWindows(most int, held ...int) (kept []int64) {
	f := feedLog{windows: map[int64]*window{}, most: most}
	for i, n := range held {
		f.uses++
		f.windows[int64(i)] = &window{blocks: []*FeedBlock{{held: n}}, used: f.uses}
	}
	f.windows[int64(len(held)-1)].reading = &feedRead{}
	f.evict()
	return slices.Sorted(maps.Keys(f.windows))
}

// Held is what a block weighs in memory.
func (b *FeedBlock) Held() int { return b.held }
