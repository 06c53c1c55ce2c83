package core_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// feedModel is what the feed log must tell, worked out the slow way: by comparing everything before and after each act.
type feedModel struct {
	numbers map[huanxin.Number][]string
	tasks   map[huanxin.TaskID][]string
	made    map[huanxin.TaskID]store.TaskRow // as they were made
	rows    map[huanxin.TaskID]store.TaskRow // as they are after what was done last
	events  map[huanxin.Number][]huanxin.Event
	act     int               // counts what was done
	acts    map[any][]int     // of a number or task: what led to what is told of it
	heard   []*core.FeedEntry // by a reader that follows
	next    int64
}

// stand gives the notices that stand after some events of a number, and the tenures that they began, in the order in
// which that happened: by replaying ever longer parts of the timeline.
func stand(events []huanxin.Event) (notices []huanxin.Notice, tenures []huanxin.TenureID) {
	line := slices.DeleteFunc(slices.Clone(events), func(e huanxin.Event) bool {
		return e.Kind == huanxin.Corrected || slices.ContainsFunc(events, func(c huanxin.Event) bool { return c.Corrects == e.No })
	})
	slices.SortStableFunc(line, func(a, b huanxin.Event) int { return a.At.Compare(b.At) })
	for i, e := range line {
		s, _ := huanxin.Replay(line[:i+1], 0, func(huanxin.PartyNo) time.Duration { return 0 })
		began := s.Tenure == huanxin.TenureID(e.No)
		if began {
			tenures = append(tenures, s.Tenure)
		}
		switch {
		case began && (s.Origin == huanxin.OriginReassigned || s.Origin == huanxin.OriginTransferred):
			notices = append(notices, huanxin.Notice{Type: huanxin.IdentifierRecycled, About: e.No})
		case e.Kind == huanxin.Disconnected && (i+1 == len(line) || line[i+1].Kind != huanxin.Reinstated):
			notices = append(notices, huanxin.Notice{Type: huanxin.NumberReleased, About: e.No})
		}
	}
	return notices, tenures
}

// missing gives what is in one list and not in the other.
func missing[T comparable](in, from []T) []T {
	return slices.DeleteFunc(slices.Clone(in), func(v T) bool { return slices.Contains(from, v) })
}

// watch does something and works out what the feed log must tell of it.
func (x *machine) watch(act func()) {
	waited := time.Now()
	x.feed.act++
	act()
	requeued := time.Now().After(waited) // nothing else takes time, and nothing is answered then
	var gone []huanxin.TenureID
	for i := range x.numbers {
		gone = append(gone, x.told(number(i))...)
	}
	before := x.feed.rows
	x.feed.rows = map[huanxin.TaskID]store.TaskRow{}
	for _, r := range x.rows() {
		x.feed.rows[r.ID] = r
		was, known := before[r.ID]
		if !known {
			x.feed.made[r.ID] = r
		}
		asked := !known || r.AskedAt != was.AskedAt || requeued && !was.RetryAt.IsZero() && r.RetryAt.IsZero()
		switch {
		case asked && r.State.Open():
			x.noteTask(r.ID, "requested")
		case was.State.Open() && (r.State == huanxin.TaskCancelled || r.State == huanxin.TaskAborted):
			x.noteTask(r.ID, r.State.String())
		}
		acted := r.State == huanxin.TaskExpired || r.Answers > 0 && r.Outcome != huanxin.Kept && r.Outcome != huanxin.NotBound
		if slices.Contains(gone, r.Tenure) && acted {
			x.noteTask(r.ID, "retracted")
		}
	}
}

func (x *machine) noteTask(id huanxin.TaskID, what string) {
	x.feed.tasks[id] = append(x.feed.tasks[id], what)
	x.feed.acts[id] = append(x.feed.acts[id], x.feed.act)
}

func (x *machine) noteNumber(n huanxin.Number, what string, about huanxin.EventNo) {
	x.feed.numbers[n] = append(x.feed.numbers[n], fmt.Sprint(what, " ", about))
	x.feed.acts[n] = append(x.feed.acts[n], x.feed.act)
}

// told works out what streams are told of a number because of its new events, and which tenures are gone.
func (x *machine) told(number huanxin.Number) (gone []huanxin.TenureID) {
	events := x.w.history(number)
	slices.SortFunc(events, func(a, b huanxin.Event) int { return int(a.No - b.No) })
	known := len(x.feed.events[number])
	x.feed.events[number] = events
	for i := known; i < len(events); i++ {
		was, began := stand(events[:i])
		is, begin := stand(events[:i+1])
		for _, v := range missing(was, is) {
			x.noteNumber(number, "retracted", v.About)
		}
		for _, v := range missing(is, was) {
			what := "released"
			if v.Type == huanxin.IdentifierRecycled {
				what = "recycled"
			}
			x.noteNumber(number, what, v.About)
		}
		gone = append(gone, missing(began, begin)...)
	}
	return gone
}

// readFeed reads the feed log from a position on to its end.
func (x *machine) readFeed(h *core.Hub, from int64) (out []*core.FeedEntry, next int64) {
	for {
		b, err := h.FeedBlock(context.Background(), from)
		x.ok(err)
		if b.From == b.To {
			return out, b.To
		}
		if b.From > from || b.To <= from {
			x.fail("a block [%d, %d) has nothing of position %d", b.From, b.To, from)
		}
		at, _ := slices.BinarySearchFunc(b.Entries(), huanxin.FeedNoAt(from, 0), func(e *core.FeedEntry, no huanxin.FeedNo) int { return int(e.No - no) })
		out = append(out, b.Entries()[at:]...)
		from = b.To
	}
}

// followFeed has the reader that follows read on.
func (x *machine) followFeed() {
	var heard []*core.FeedEntry
	heard, x.feed.next = x.readFeed(x.w.Hub, max(x.feed.next, 1))
	x.feed.heard = append(x.feed.heard, heard...)
}

// checkFeed compares the feed log with what it must tell. What a reader heard while it grew is what one hears who comes now.
func (x *machine) checkFeed() {
	x.w.sequence()
	x.followFeed()
	all, next := x.readFeed(x.w.again(core.CheckOptions{}).Hub, 1)
	if next != x.w.FeedHead()+1 || !reflect.DeepEqual(all, x.feed.heard) {
		x.fail("who followed heard %d entries up to %d, who comes now %d up to %d", len(x.feed.heard), x.feed.next, len(all), next)
	}
	numbers, tasks := map[huanxin.Number][]string{}, map[huanxin.TaskID][]string{}
	byNo := map[huanxin.FeedNo]*core.FeedEntry{}
	var last huanxin.FeedNo
	act := 0
	for _, e := range all {
		if e.No <= last || e.RecordedAt.IsZero() || e.At.IsZero() || e.Number.IsZero() {
			x.fail("entry %d after %d is %+v", e.No, last, e)
		}
		last, byNo[e.No] = e.No, e
		var of any = e.Task.ID
		if e.App == 0 {
			of = e.Number
			numbers[e.Number] = append(numbers[e.Number], x.inWords(e, byNo))
		} else {
			tasks[e.Task.ID] = append(tasks[e.Task.ID], x.taskInWords(e, byNo))
		}
		if acts := x.feed.acts[of]; len(acts) > 0 {
			if acts[0] < act {
				x.fail("entry %d came of act %d, and the one before it of act %d", e.No, acts[0], act)
			}
			act, x.feed.acts[of] = acts[0], acts[1:]
		}
	}
	x.same("numbers", fmt.Sprint(x.inOrder(numbers)), fmt.Sprint(x.inOrder(x.feed.numbers)))
	x.same("tasks", fmt.Sprint(tasks), fmt.Sprint(x.feed.tasks))
}

func (x *machine) inOrder(of map[huanxin.Number][]string) (out [][]string) {
	for i := range x.numbers {
		out = append(out, of[number(i)])
	}
	return out
}

func (x *machine) same(what, got, want string) {
	if got != want {
		x.fail("the feed tells of %s\n%s\nand should tell\n%s", what, got, want)
	}
}

func (x *machine) inWords(e *core.FeedEntry, before map[huanxin.FeedNo]*core.FeedEntry) string {
	events := x.feed.events[e.Number]
	i := slices.IndexFunc(events, func(o huanxin.Event) bool { return o.No == e.Cause })
	about := events[i]
	switch e.Type {
	case huanxin.IdentifierRecycled:
		want := "reassigned"
		if about.Kind == huanxin.Transferred {
			want = "transferred"
		}
		if e.Reason != want || !e.StartedAt.Equal(about.At) || !e.At.Equal(about.At) {
			x.fail("a tenure that began by %s at %v is told as %+v", want, about.At, e)
		}
		return fmt.Sprint("recycled ", e.Cause)
	case huanxin.NumberReleased:
		if about.Kind != huanxin.Disconnected || !e.At.Equal(about.At) {
			x.fail("a disconnection at %v is told as %+v", about.At, e)
		}
		return fmt.Sprint("released ", e.Cause)
	}
	if o := before[e.Retracts]; o == nil || o.Cause != e.Cause || o.Number != e.Number || o.App != 0 || o.Type == huanxin.RecycleRetracted {
		x.fail("%+v takes back %+v", e, o)
	}
	before[e.Retracts] = nil // only once
	return fmt.Sprint("retracted ", e.Cause)
}

func (x *machine) taskInWords(e *core.FeedEntry, before map[huanxin.FeedNo]*core.FeedEntry) string {
	k := x.feed.made[e.Task.ID]
	if e.App != k.App || e.Cause != huanxin.EventNo(k.Tenure) || e.Task != (core.FeedTask{ID: k.ID, Kind: k.Kind, Origin: k.Origin, DueAt: k.DueAt}) {
		x.fail("a task %+v is told as %+v", k, e)
	}
	switch e.Type {
	case huanxin.UnbindRequested:
		if !e.StartedAt.Equal(k.StartedAt) {
			x.fail("a task of %v is told as of %v", k.StartedAt, e.StartedAt)
		}
		return "requested"
	case huanxin.UnbindCancelled:
		return e.Reason
	}
	for no, o := range before {
		if o != nil && o.Task.ID == e.Task.ID && no < e.Retracts {
			x.fail("what is taken back at %d was asked at %d", e.Retracts, no)
		}
	}
	if o := before[e.Retracts]; e.Type != huanxin.RecycleRetracted || o == nil || o.Type != huanxin.UnbindRequested || o.Task.ID != e.Task.ID {
		x.fail("%+v takes back %+v", e, o)
	}
	return "retracted"
}
