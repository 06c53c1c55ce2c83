package huanxin

import (
	"slices"
	"time"
)

// Take takes what joins to the cursor, and gives what is to be handed out now: signals first, then what is new, then what was handed
// out before and was not settled in time. more says that something is left that could have been. What was not gathered from the
// cursor on (another poll has moved it) is not taken, and what was taken already is not taken twice.
//
// The outbox must be saved before anything of it is sent: what is lost in between comes again.
func (o *Outbox) Take(g FeedItems, now time.Time, l OutboxLimits, judge func(FeedNo) Judgement) (out []FeedNo, more bool) {
	o.Pending = slices.DeleteFunc(o.Pending, func(u Unsettled) bool { return u.due(now) && judge(u.No) == SendNever })
	for _, it := range g.Signals {
		if judge(it.No) != SendNever {
			o.Repeat(it)
		}
	}
	t := taking{limits: l, now: now.Truncate(time.Millisecond), judge: judge, busy: o.busy()}
	signals, again, fresh := o.split(now)
	t.offer(signals)
	if l.OnlySignals {
		return t.handed, t.more
	}
	reserve := min(l.Reserve, len(again))
	t.offer(again[:reserve])
	t.offer(fresh)
	taken := t.take(o, g)
	t.offer(again[reserve:])
	o.Pending = append(o.Pending, taken...) // here, because it may move what is pending
	return t.handed, t.more
}

// taking is one call of Take.
type taking struct {
	limits OutboxLimits
	now    time.Time
	judge  func(FeedNo) Judgement
	busy   map[uint32]bool // the tags of which one is out, or kept back
	handed []FeedNo
	more   bool
}

func (t *taking) full() bool { return len(t.handed) >= t.limits.Max }

func (t *taking) offer(all []*Unsettled) {
	for _, u := range all {
		t.offerOne(u)
	}
}

// offerOne hands a SET out unless something keeps it back; then it keeps back those with its tag.
func (t *taking) offerOne(u *Unsettled) {
	if u.Tag != 0 {
		if !u.out() && t.busy[u.Tag] {
			return
		}
		t.busy[u.Tag] = true
	}
	if t.full() || t.judge(u.No) != SendNow {
		t.more = true
		return
	}
	if u.Attempts++; u.Attempts == 1 {
		u.First = t.now
	}
	u.Again = t.now.Add(t.limits.Again)
	t.handed = append(t.handed, u.No)
}

// take moves the cursor over what was gathered, as far as there is room, and gives what it takes. A position is taken wholly or not.
func (t *taking) take(o *Outbox, g FeedItems) (taken []Unsettled) {
	if g.From > o.Next {
		return nil
	}
	pending, last := len(o.Pending)-o.signals(), int64(0)
	for _, it := range g.Items {
		position, _ := it.No.Position()
		if position < o.Next || t.judge(it.No) == SendNever {
			continue
		}
		if position != last {
			room := pending+len(taken) < t.limits.Pending
			if !room || t.full() {
				t.more = t.more || room
				o.Next = position
				return taken
			}
			last = position
		}
		u := Unsettled{No: it.No, Tag: it.Tag}
		t.offerOne(&u)
		taken = append(taken, u)
	}
	o.Next = max(o.Next, g.To)
	return taken
}
