package core_test

import (
	"slices"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
	"pgregory.net/rapid"
)

// hears is what the rules say of one entry and one stream, read entry by entry.
func hears(e *core.FeedEntry, s core.FeedListener, said []store.FeedSubject) bool {
	if e.Type == huanxin.RecycleRetracted {
		if p, _ := e.Retracts.Position(); p <= s.Start {
			return false // it cannot have heard what is taken back
		}
	}
	if e.App != 0 {
		return e.App == s.App
	}
	i := slices.IndexFunc(said, func(r store.FeedSubject) bool { return r.Stream == s.Stream })
	if e.Type == huanxin.RecycleRetracted {
		return !s.Narrow || i >= 0 // it may have heard it
	}
	if i < 0 {
		return !s.Narrow
	}
	p, _ := e.No.Position()
	if p >= said[i].Since {
		return said[i].Added
	}
	return !said[i].Added
}

func TestAStreamHearsOfItsTasksAndItsNumbersInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := map[huanxin.Number][]store.FeedSubject{}
		for n := range 4 {
			for stream := range huanxin.StreamID(3) {
				if rapid.Bool().Draw(t, "said") {
					said[number(n)] = append(said[number(n)], store.FeedSubject{Stream: stream, Added: rapid.Bool().Draw(t, "added"), Since: rapid.Int64Range(1, 30).Draw(t, "since")})
				}
			}
		}
		var entries []*core.FeedEntry
		to := int64(1)
		for ; to < 30; to++ {
			for n := range rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(t, "of a position") {
				e := &core.FeedEntry{No: huanxin.FeedNoAt(to, n), Type: huanxin.EventType(rapid.IntRange(1, 5).Draw(t, "type")),
					App: huanxin.PartyNo(rapid.IntRange(0, 2).Draw(t, "app")), Number: number(rapid.IntRange(0, 3).Draw(t, "number"))}
				if e.Type == huanxin.RecycleRetracted {
					e.Retracts = huanxin.FeedNoAt(rapid.Int64Range(1, to).Draw(t, "retracts"), 0)
				}
				entries = append(entries, e)
			}
		}
		b := core.MakeFeedBlock(1, to, entries, said)
		if cut := rapid.Int64Range(1, to).Draw(t, "cut"); rapid.Bool().Draw(t, "joined") {
			at := slices.IndexFunc(append(entries, &core.FeedEntry{No: 1 << 40}), func(e *core.FeedEntry) bool { return e.No >= huanxin.FeedNoAt(cut, 0) })
			b = core.JoinFeedBlocks(core.MakeFeedBlock(1, cut, entries[:at], said), core.MakeFeedBlock(cut, to, entries[at:], said))
		}
		if b.From != 1 || b.To != to {
			t.Fatalf("the block is [%d, %d)", b.From, b.To)
		}
		s := core.FeedListener{Stream: huanxin.StreamID(rapid.IntRange(0, 3).Draw(t, "stream")), App: huanxin.PartyNo(rapid.IntRange(1, 3).Draw(t, "its app")),
			Narrow: rapid.Bool().Draw(t, "narrow"), Start: rapid.Int64Range(0, 30).Draw(t, "start")}
		from := rapid.Int64Range(0, 31).Draw(t, "from")
		want := []*core.FeedEntry{nil} // what is there stays
		for _, e := range entries {
			p, _ := e.No.Position()
			if p >= from && hears(e, s, said[e.Number]) {
				want = append(want, e)
			}
			if b.Entry(e.No) != e || b.Entry(huanxin.FeedNoAt(p, 5)) != nil {
				t.Fatalf("entry %d is not found, or one that is not there is", e.No)
			}
		}
		if got := b.Of(s, from, []*core.FeedEntry{nil}); !slices.Equal(got, want) {
			t.Fatalf("%+v hears %d entries from %d on, and should hear %d", s, len(got)-1, from, len(want)-1)
		}
	})
}

func TestWindowsOfTheFeedAreKeptAsFarAsThereIsRoomForWhatTheyHold(t *testing.T) {
	for _, c := range []struct {
		held []int
		kept []int64
	}{
		{[]int{3, 3, 3}, []int64{0, 1, 2}},
		{[]int{9, 3, 3}, []int64{1, 2}},
		{[]int{1, 1, 10}, []int64{2}},
		{[]int{1, 99}, []int64{1}}, // the one that is read, whatever it holds
	} {
		if kept := core.KeptFeedWindows(10, c.held...); !slices.Equal(kept, c.kept) {
			t.Errorf("of %v kept are %v, not %v", c.held, kept, c.kept)
		}
	}
	said := map[huanxin.Number][]store.FeedSubject{number(1): make([]store.FeedSubject, 239)}
	entries := []*core.FeedEntry{{No: huanxin.FeedNoAt(1, 0), Number: number(1)}, {No: huanxin.FeedNoAt(2, 0), Number: number(2)},
		{No: huanxin.FeedNoAt(3, 0), Number: number(1), App: 1}}
	b := core.MakeFeedBlock(1, 4, entries, said)
	if b.Held() != 3+239 || core.JoinFeedBlocks(b, core.MakeFeedBlock(4, 5, nil, nil)).Held() != 3+239 {
		t.Errorf("a block in which 239 streams are interested once holds %d", b.Held())
	}
}
