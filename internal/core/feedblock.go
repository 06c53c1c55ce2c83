package core

import (
	"cmp"
	"slices"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// FeedBlock is a run of the feed log, decoded once for all streams. It never changes.
type FeedBlock struct {
	From, To int64 // its positions: [From, To)

	entries  []*FeedEntry // of a block, these and those below are in the order of their numbers
	byApp    map[huanxin.PartyNo][]*FeedEntry
	numbers  []*FeedEntry // those that streams hear of by number
	interest map[huanxin.StreamID][]interest
	held     int // entries and interests: what the block weighs in memory
}

// interest is what a stream that has a row for an entry's number makes of the entry.
type interest struct {
	*FeedEntry
	hears bool
}

// FeedListener is a stream as far as it decides what it hears.
type FeedListener struct {
	Stream huanxin.StreamID
	App    huanxin.PartyNo
	Narrow bool  // it hears only of numbers that were added to it
	Start  int64 // the feed's head when it was made
}

// Of appends, in order, the entries from a position on that a stream hears of.
func (b *FeedBlock) Of(s FeedListener, from int64, to []*FeedEntry) []*FeedEntry {
	begin := len(to)
	to = s.appendTold(to, b.byApp[s.App], from)
	tasks := len(to)
	to = b.appendNumbers(s, from, to)
	if tasks > begin && len(to) > tasks {
		slices.SortFunc(to[begin:], func(a, b *FeedEntry) int { return cmp.Compare(a.No, b.No) })
	}
	return to
}

// appendNumbers appends what a stream hears of numbers: of those added to it, or of all but those removed.
func (b *FeedBlock) appendNumbers(s FeedListener, from int64, to []*FeedEntry) []*FeedEntry {
	rows := b.interest[s.Stream]
	if s.Narrow {
		for _, i := range rows {
			if i.hears {
				to = s.appendTold(to, []*FeedEntry{i.FeedEntry}, from)
			}
		}
		return to
	}
	rest := b.numbers
	for _, i := range rows {
		if i.hears || i.Type == huanxin.RecycleRetracted { // before it was removed it may have heard what is taken back
			continue
		}
		at, _ := slices.BinarySearchFunc(rest, i.No, byNo)
		to = s.appendTold(to, rest[:at], from)
		rest = rest[at+1:]
	}
	return s.appendTold(to, rest, from)
}

// appendTold appends the entries from a position on, without those that take back what came before the stream.
func (s FeedListener) appendTold(to, entries []*FeedEntry, from int64) []*FeedEntry {
	at, _ := slices.BinarySearchFunc(entries, huanxin.FeedNoAt(from, 0), byNo)
	for _, e := range entries[at:] {
		if e.Type == huanxin.RecycleRetracted {
			if p, _ := e.Retracts.Position(); p <= s.Start {
				continue
			}
		}
		to = append(to, e)
	}
	return to
}

func byNo(e *FeedEntry, no huanxin.FeedNo) int { return cmp.Compare(e.No, no) }

// Entry gives one entry of the block, whoever hears of it; nil: there is none.
func (b *FeedBlock) Entry(no huanxin.FeedNo) *FeedEntry {
	if at, ok := slices.BinarySearchFunc(b.entries, no, byNo); ok {
		return b.entries[at]
	}
	return nil
}

// add puts an entry behind the others. rows are the streams' own words on its number.
func (b *FeedBlock) add(e *FeedEntry, rows []store.FeedSubject) {
	b.entries = append(b.entries, e)
	b.held++
	if e.App != 0 {
		b.byApp[e.App] = append(b.byApp[e.App], e)
		return
	}
	b.numbers = append(b.numbers, e)
	at, _ := e.No.Position()
	b.held += len(rows)
	for _, r := range rows {
		// From Since on it is as was said last, before that it was the other way round.
		hears := e.Type == huanxin.RecycleRetracted || r.Added == (at >= r.Since)
		b.interest[r.Stream] = append(b.interest[r.Stream], interest{e, hears})
	}
}

func newFeedBlock(from int64) *FeedBlock {
	return &FeedBlock{From: from, To: from, byApp: map[huanxin.PartyNo][]*FeedEntry{}, interest: map[huanxin.StreamID][]interest{}}
}

// join makes one block of blocks that follow one another.
func join(blocks []*FeedBlock) *FeedBlock {
	all := newFeedBlock(blocks[0].From)
	for _, b := range blocks {
		all.To = b.To
		all.held += b.held
		all.entries = append(all.entries, b.entries...)
		all.numbers = append(all.numbers, b.numbers...)
		for app, entries := range b.byApp {
			all.byApp[app] = append(all.byApp[app], entries...)
		}
		for stream, rows := range b.interest {
			all.interest[stream] = append(all.interest[stream], rows...)
		}
	}
	return all
}
