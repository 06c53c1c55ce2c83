package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// FeedNotice is a notice of a number in the feed log.
type FeedNotice struct {
	No         huanxin.FeedNo
	Number     huanxin.Number
	At         time.Time // when that happened that it came from
	RecordedAt time.Time
	huanxin.Notice
	// Of the event that it is about: its kind, and when that happened.
	Kind    huanxin.EventKind
	AboutAt time.Time
	// Retracts is the notice that it takes back. It is 0 where that was accepted before there was a feed log.
	Retracts huanxin.FeedNo

	event huanxin.EventNo // which it came from
}

// FeedNotices gives, in the order of the feed log, the notices at positions of [from, to) of rows that stand for batches of
// number events; other rows are left out.
func (t *Tx) FeedNotices(rows []FeedRow, from, to int64) ([]FeedNotice, error) {
	first, low, high := spans(rows, FeedOfEvents, batchBits, from, to)
	if first == nil {
		return nil, nil
	}
	var out, more []FeedNotice
	err := t.queryEach(`SELECT r.first + e.id % 1048576, e.id, e.number, e.kind, e.at, e.led_to, b.reported_at
		FROM {rows} {join} events e ON e.id >= r.low AND e.id < r.high {join} event_batches b ON b.id = e.id / 1048576
		WHERE e.led_to >= $1`, []any{int64(1) << toldShift}, func(r scanner) error {
		var n FeedNotice
		var position, number, at, led, recorded int64
		err := r.Scan(&position, &n.event, &number, &n.Kind, &at, &led, &recorded)
		n.No, n.Number = huanxin.FeedNoAt(position, 0), huanxin.NumberOf(uint64(number))
		n.At, n.AboutAt, n.RecordedAt = fromMicros(at), fromMicros(at), fromMicros(recorded)
		n.About = n.event
		switch led >> toldShift << toldShift {
		case toldRecycled:
			n.Type = huanxin.IdentifierRecycled
		case toldReleased:
			n.Type = huanxin.NumberReleased
		default:
			more = append(more, n)
			return err
		}
		out = append(out, n)
		return err
	}, ints("first", first), ints("low", low), ints("high", high))
	if err == nil && len(more) > 0 {
		out, err = t.moreNotices(more, out)
	}
	slices.SortFunc(out, func(a, b FeedNotice) int { return cmp.Compare(a.No, b.No) })
	return out, err
}

// moreNotices appends the notices of events that led_to cannot say.
func (t *Tx) moreNotices(events, to []FeedNotice) ([]FeedNotice, error) {
	of := map[huanxin.EventNo]FeedNotice{}
	ids := make([]int64, len(events))
	for i, e := range events {
		of[e.event], ids[i] = e, int64(e.event)
	}
	begin := len(to)
	err := t.queryEach(`SELECT n.event, n.n, n.type, n.about, a.kind, a.at
		FROM {rows} {join} notices n ON n.event = r.id {join} events a ON a.id = n.about`, nil, func(r scanner) error {
		var event huanxin.EventNo
		var nth int
		var about huanxin.Notice
		var kind huanxin.EventKind
		var at int64
		err := r.Scan(&event, &nth, &about.Type, &about.About, &kind, &at)
		n := of[event]
		position, _ := n.No.Position()
		n.No, n.Notice, n.Kind, n.AboutAt = huanxin.FeedNoAt(position, nth), about, kind, fromMicros(at)
		to = append(to, n)
		return err
	}, ints("id", ids))
	if err != nil {
		return nil, err
	}
	return to, t.findRetracted(to[begin:])
}

// findRetracted finds for notices that take others back which these are: the last ones before them about the same event.
func (t *Tx) findRetracted(all []FeedNotice) error {
	type said struct {
		event huanxin.EventNo
		nth   int
	}
	last := map[int]said{}
	var index, about, before []int64
	for i, n := range all {
		if n.Type == huanxin.RecycleRetracted {
			last[i] = said{event: n.About} // itself, unless it was told again
			index, about, before = append(index, int64(i)), append(about, int64(n.About)), append(before, int64(n.event))
		}
	}
	if index == nil {
		return nil
	}
	if err := t.queryEach(`SELECT r.i, n.event, n.n FROM {rows} {join} notices n ON n.about = r.about AND n.event < r.event WHERE n.type <> 5`,
		nil, func(r scanner) error {
			var i int
			var s said
			err := r.Scan(&i, &s.event, &s.nth)
			if s.event > last[i].event {
				last[i] = s
			}
			return err
		}, ints("i", index), ints("about", about), ints("event", before)); err != nil {
		return err
	}
	var batches []int64
	for _, s := range last {
		batches = append(batches, int64(s.event)>>batchBits)
	}
	firsts, err := t.feedFirsts(FeedOfEvents, batches)
	if err != nil {
		return err
	}
	for i, s := range last {
		if first, ok := firsts[int64(s.event)>>batchBits]; ok {
			all[i].Retracts = huanxin.FeedNoAt(first+int64(s.event)%MaxBatch, s.nth)
		}
	}
	return nil
}
