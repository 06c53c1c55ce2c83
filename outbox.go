package huanxin

import (
	"cmp"
	"slices"
	"time"
)

// Outbox is how far one stream was told of the feed: the SETs of every position below Next were taken, and those that its receiver
// has not settled yet (acknowledged or refused) are pending. It holds places in the feed and no content.
//
// What is pending is handed out again and again until it is settled. Of the SETs with one tag, which are those about one number, at
// most one is out at any time, and they go out in the order of the feed: whatever has to be sent again, a receiver never gets a
// later one before it has settled an earlier one.
type Outbox struct {
	Next    int64
	Pending []Unsettled // signals first, by id; then by place
	// FailingSince is since when nothing could be brought to the receiver; zero: the last that was tried could be, or nothing was.
	FailingSince time.Time
}

// Unsettled is a SET that was taken.
type Unsettled struct {
	No       FeedNo
	Tag      uint32 // of its number; 0: it keeps no order with others
	Attempts int    // how often it was handed out; 0: not yet
	// First is when it was handed out first, and Again from when on it may be handed out again, both to the millisecond.
	First, Again time.Time
}

// out reports whether the receiver may have it.
func (u *Unsettled) out() bool { return u.Attempts > 0 }

// due reports whether its time has come; its tag may still keep it back.
func (u *Unsettled) due(now time.Time) bool { return !u.out() || !now.Before(u.Again) }

// FeedItem is a SET that a stream is to be told.
type FeedItem struct {
	No  FeedNo
	Tag uint32
}

// FeedItems are those of a stretch of the feed.
type FeedItems struct {
	From, To int64 // all positions from From on and below To were looked at
	Items    []FeedItem
	Signals  []FeedItem // the stream's, by id
}

// OutboxLimits bound what is handed out at once.
type OutboxLimits struct {
	Max int
	// Reserve is how many of them may be ones that come again while there are new ones. Else those come last: a receiver that
	// cannot digest one SET still gets the others.
	Reserve int
	Pending int           // more of the feed is taken only while fewer than so many are pending
	Again   time.Duration // after this, what is handed out now may be so again
	// OnlySignals holds back all that is not about the stream itself: it does not transmit.
	OnlySignals bool
}

// Judgement says whether a SET may be handed out.
type Judgement uint8

// The judgements.
const (
	SendNow   Judgement = iota
	SendLater           // not this time
	SendNever           // it is not wanted any more, and settled
)

// compareNos orders places: signals first, whose places count down.
func compareNos(a, b FeedNo) int {
	if a < 0 && b < 0 {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

func (o *Outbox) find(no FeedNo) (int, bool) {
	return slices.BinarySearchFunc(o.Pending, no, func(u Unsettled, no FeedNo) int { return compareNos(u.No, no) })
}

// Find gives what is pending at a place.
func (o *Outbox) Find(no FeedNo) (Unsettled, bool) {
	i, ok := o.find(no)
	if !ok {
		return Unsettled{}, false
	}
	return o.Pending[i], true
}

// Settle takes out what was acknowledged or refused, and gives those that were pending. Settling again does nothing.
func (o *Outbox) Settle(nos []FeedNo) (settled []Unsettled) {
	var at []int
	for _, no := range nos {
		if i, ok := o.find(no); ok {
			at = append(at, i)
		}
	}
	if at == nil {
		return nil
	}
	slices.Sort(at)
	kept := o.Pending[:0]
	for i, u := range o.Pending {
		if len(at) == 0 || at[0] != i {
			kept = append(kept, u)
			continue
		}
		settled = append(settled, u)
		for len(at) > 0 && at[0] == i { // it may have been named twice
			at = at[1:]
		}
	}
	o.Pending = kept
	return settled
}

// Postpone says when a SET that is out and could not be brought may be handed out again.
func (o *Outbox) Postpone(no FeedNo, again time.Time) {
	if i, ok := o.find(no); ok && o.Pending[i].out() {
		o.Pending[i].Again = again.Truncate(time.Millisecond)
	}
}

// Brought notes that something could be brought to the receiver, or that it could not.
func (o *Outbox) Brought(ok bool, now time.Time) {
	switch {
	case ok:
		o.FailingSince = time.Time{}
	case o.FailingSince.IsZero():
		o.FailingSince = now.Truncate(time.Millisecond)
	}
}

// Recall lets what is out, and would come again within a time, come again now: whoever had it to bring is gone.
func (o *Outbox) Recall(now time.Time, within time.Duration) {
	for i := range o.Pending {
		if u := &o.Pending[i]; u.out() && now.Before(u.Again) && !now.Add(within).Before(u.Again) {
			u.Again = now.Truncate(time.Millisecond)
		}
	}
}

// Repeat makes a SET pending that was settled. One that is pending stays as it is, and one that the cursor has yet to come to (it was
// set back) is left to it: taken twice it would be pending twice.
func (o *Outbox) Repeat(it FeedItem) {
	if position, ok := it.No.Position(); ok && position >= o.Next {
		return
	}
	if i, pending := o.find(it.No); !pending {
		o.Pending = slices.Insert(o.Pending, i, Unsettled{No: it.No, Tag: it.Tag})
	}
}

// Rewind sets the cursor back to a position: what comes from there on is taken once more, whether it was settled or not.
func (o *Outbox) Rewind(to int64) {
	if to >= o.Next {
		return
	}
	i, _ := o.find(FeedNoAt(to, 0))
	o.Pending, o.Next = o.Pending[:i], to
}

// Skip sets the cursor forward: what comes before is not handed out, unless it is out already.
func (o *Outbox) Skip(to int64) {
	o.Next = max(o.Next, to)
	o.Pending = slices.DeleteFunc(o.Pending, func(u Unsettled) bool { return u.No > 0 && !u.out() })
}

// signals counts those that are pending.
func (o *Outbox) signals() int {
	i, _ := o.find(0)
	return i
}

// Out counts what was handed out and is not settled, and gives when the oldest of it was handed out first.
func (o *Outbox) Out() (n int, oldest time.Time) {
	for i := range o.Pending {
		if u := &o.Pending[i]; u.out() {
			if n++; n == 1 || u.First.Before(oldest) {
				oldest = u.First
			}
		}
	}
	return n, oldest
}

// Due gives the pending SETs that Take may hand out now, for its caller to judge.
func (o *Outbox) Due(now time.Time, l OutboxLimits) (nos []FeedNo) {
	busy := o.busy()
	signals, again, fresh := o.split(now)
	if l.OnlySignals {
		again, fresh = nil, nil
	}
	for _, u := range signals {
		nos = append(nos, u.No)
	}
	for _, u := range again[:min(len(again), l.Max)] {
		nos = append(nos, u.No)
	}
	left := l.Max
	for _, u := range fresh {
		if left == 0 {
			break
		}
		if busy[u.Tag] {
			continue
		}
		busy[u.Tag] = u.Tag != 0
		nos = append(nos, u.No)
		left--
	}
	return nos
}

// split gives what is pending and due: signals; what was out before, the most overdue first; and what was not, by place.
func (o *Outbox) split(now time.Time) (signals, again, fresh []*Unsettled) {
	for i := range o.Pending {
		switch u := &o.Pending[i]; {
		case !u.due(now):
		case u.No < 0:
			signals = append(signals, u)
		case u.out():
			again = append(again, u)
		default:
			fresh = append(fresh, u)
		}
	}
	slices.SortStableFunc(again, func(a, b *Unsettled) int { return a.Again.Compare(b.Again) })
	return signals, again, fresh
}

// Wake gives the first moment at which something that is pending can be handed out; false: there is none.
func (o *Outbox) Wake(onlySignals bool) (at time.Time, ok bool) {
	pending := o.Pending
	if onlySignals {
		pending = pending[:o.signals()]
	}
	busy := o.busy()
	for i := range pending {
		u := &pending[i]
		if !u.out() && busy[u.Tag] {
			continue
		}
		if !ok || u.Again.Before(at) { // zero where it is not out: at once
			at, ok = u.Again, true
		}
	}
	return at, ok
}

// busy gives the tags of which one is out.
func (o *Outbox) busy() map[uint32]bool {
	busy := make(map[uint32]bool, len(o.Pending))
	for i := range o.Pending {
		if u := &o.Pending[i]; u.out() && u.Tag != 0 {
			busy[u.Tag] = true
		}
	}
	return busy
}
