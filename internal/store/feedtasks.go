package store

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// FeedTask is a task as the feed log tells of it.
type FeedTask struct {
	Position  int64
	Note      huanxin.TaskNote // 0: it was made with its request
	At        time.Time        // when that was
	ID        huanxin.TaskID
	Request   huanxin.RequestID
	App       huanxin.PartyNo
	Kind      huanxin.TaskKind
	Tenure    huanxin.TenureID
	CreatedAt time.Time
	DueAt     time.Time // zero where its clock has stood still since: then the first one is not written anywhere
	Sealed    []byte    // the number
	StartedAt time.Time
	Origin    huanxin.TenureOrigin
	// Retracts is the first position at which the app was asked, of a note that takes the task back. It is 0 where that was
	// before there was a feed log.
	Retracts int64
}

const feedTaskColumns = "t.id, t.request, t.app, t.kind, t.tenure, t.created_at, t.due_at, t.pauses, q.sealed, q.started_at, q.origin"

func (k *FeedTask) scan(r scanner, more ...any) error {
	var created, due, started int64
	var pauses string
	err := r.Scan(append([]any{&k.ID, &k.Request, &k.App, &k.Kind, &k.Tenure, &created, &due, &pauses, &k.Sealed, &started, &k.Origin}, more...)...)
	k.CreatedAt, k.StartedAt = fromMicros(created), fromMicros(started)
	if pauses == "" {
		k.DueAt = fromMicros(due)
	}
	return err
}

// FeedTasks gives, in the order of the feed log, what it tells of tasks at positions of [from, to): the items of rows that
// stand for requests and for notes; other rows are left out.
func (t *Tx) FeedTasks(rows []FeedRow, from, to int64) ([]FeedTask, error) {
	out, err := t.feedOfRequests(rows, from, to)
	if err != nil {
		return nil, err
	}
	notes, err := t.feedOfNotes(rows, from, to)
	if err != nil {
		return nil, err
	}
	out = append(out, notes...)
	slices.SortFunc(out, func(a, b FeedTask) int { return cmp.Compare(a.Position, b.Position) })
	return out, nil
}

// feedOfRequests gives the tasks that requests began with: those that were made with them, in the order of their ids.
func (t *Tx) feedOfRequests(rows []FeedRow, from, to int64) (out []FeedTask, err error) {
	var requests []int64
	for _, r := range rows {
		if r.Kind == FeedOfRequest {
			requests = append(requests, r.Ref)
		}
	}
	if requests == nil {
		return nil, nil
	}
	of := map[huanxin.RequestID][]FeedTask{}
	if err := t.queryEach("SELECT "+feedTaskColumns+` FROM {rows} {join} requests q ON q.id = r.request {join} tasks t ON t.request = q.id
		WHERE t.created_at = q.submitted_at`, nil, func(r scanner) error {
		var k FeedTask
		err := k.scan(r)
		k.At = k.CreatedAt
		of[k.Request] = append(of[k.Request], k)
		return err
	}, ints("request", requests)); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Kind != FeedOfRequest {
			continue
		}
		tasks := of[huanxin.RequestID(r.Ref)]
		slices.SortFunc(tasks, func(a, b FeedTask) int { return cmp.Compare(a.ID, b.ID) })
		for i := range tasks {
			tasks[i].Position = r.First + int64(i)
			if from <= tasks[i].Position && tasks[i].Position < to {
				out = append(out, tasks[i])
			}
		}
	}
	return out, nil
}

func (t *Tx) feedOfNotes(rows []FeedRow, from, to int64) (out []FeedTask, err error) {
	first, low, high := spans(rows, FeedOfTaskNotes, noteBits, from, to)
	if first == nil {
		return nil, nil
	}
	var retracted []FeedTask
	if err := t.queryEach("SELECT "+feedTaskColumns+`, r.first + n.id % 1048576, n.kind, n.at FROM {rows} {join} task_notes n ON n.id >= r.low AND n.id < r.high
		{join} tasks t ON t.id = n.task {join} requests q ON q.id = t.request`, nil, func(r scanner) error {
		var k FeedTask
		var at int64
		err := k.scan(r, &k.Position, &k.Note, &at)
		k.At = fromMicros(at)
		if k.Note == huanxin.NoteRetracted {
			retracted = append(retracted, k)
		}
		out = append(out, k)
		return err
	}, ints("first", first), ints("low", low), ints("high", high)); err != nil || retracted == nil {
		return out, err
	}
	asked, err := t.firstAsked(retracted)
	for i := range out {
		if out[i].Note == huanxin.NoteRetracted {
			out[i].Retracts = asked[out[i].ID]
		}
	}
	return out, err
}

// firstAsked gives the positions of the feed log at which apps were first asked for tasks: with the request, or by a note.
func (t *Tx) firstAsked(tasks []FeedTask) (map[huanxin.TaskID]int64, error) {
	out := map[huanxin.TaskID]int64{}
	if err := t.askedWithRequest(tasks, out); err != nil {
		return nil, err
	}
	var ids, batches []int64
	for _, k := range tasks {
		if out[k.ID] == 0 {
			ids = append(ids, int64(k.ID))
		}
	}
	if ids == nil {
		return out, nil
	}
	notes := map[huanxin.TaskID]int64{}
	slices.Sort(ids)
	if err := t.queryEach("SELECT n.task, n.id FROM {rows} {join} task_notes n ON n.task = r.id WHERE n.kind = 1", nil, func(r scanner) error {
		var id huanxin.TaskID
		var note int64
		err := r.Scan(&id, &note)
		if was, ok := notes[id]; !ok || note < was {
			notes[id] = note
		}
		return err
	}, ints("id", slices.Compact(ids))); err != nil {
		return nil, err
	}
	for _, note := range notes {
		batches = append(batches, note>>noteBits)
	}
	firsts, err := t.feedFirsts(FeedOfTaskNotes, batches)
	for id, note := range notes {
		if first, ok := firsts[note>>noteBits]; ok {
			out[id] = first + note%(1<<noteBits)
		}
	}
	return out, err
}

// askedWithRequest finds the positions of all tasks that the requests of these began with.
func (t *Tx) askedWithRequest(tasks []FeedTask, to map[huanxin.TaskID]int64) error {
	requests := make([]int64, len(tasks))
	for i, k := range tasks {
		requests[i] = int64(k.Request)
	}
	firsts, err := t.feedFirsts(FeedOfRequest, requests)
	if err != nil {
		return err
	}
	var rows []FeedRow
	for request, first := range firsts {
		rows = append(rows, FeedRow{First: first, Kind: FeedOfRequest, Ref: request})
	}
	began, err := t.feedOfRequests(rows, 0, math.MaxInt64)
	for _, k := range began {
		to[k.ID] = k.Position
	}
	return err
}
