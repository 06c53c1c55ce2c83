package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var feedTests = []sentence{
	{"the feed log is gapless and holds what streams are told of, causes first", feedLog},
	{"notices come with the event that they are about and what they take back", feedNotices},
	{"what a request began with stays the same, whatever becomes of its tasks", feedOfRequests},
	{"notes of any number come back with their tasks", feedOfNotes},
	{"ending tasks notes each that was open, once", endingNotes},
	{"a task that is taken back names where its app was first asked", feedRetracted},
	{"the tasks of tenures that never were are taken back where an app may have acted", retractTasks},
	{"causes come first in the feed log, whoever sequences while many write", feedUnderLoad},
}

// feed gives the feed log in words: what each row stands for and how many items it has.
func feed(t testing.TB, s *store.Store, from, to int64) (words []string) {
	t.Helper()
	read(t, s, func(tx *store.Tx) error {
		rows, err := tx.FeedRows(from, to)
		for _, r := range rows {
			words = append(words, fmt.Sprintf("%d: %d of %s", r.First, r.Items, [...]string{"", "events", "request", "notes"}[r.Kind]))
		}
		return err
	})
	return words
}

// told appends a batch of events each of which is told as what it is.
func told(t testing.TB, tx *store.Tx, kinds ...huanxin.EventKind) []store.Accepted {
	t.Helper()
	first, err := tx.BeginBatch()
	must(t, err)
	events := make([]store.Accepted, len(kinds))
	for i, kind := range kinds {
		e := huanxin.Event{No: first + huanxin.EventNo(i), Carrier: 1, ID: sprint(int64(first) + int64(i)), Number: number(i), Kind: kind, At: start.Add(time.Duration(i) * time.Hour)}
		events[i] = store.Accepted{Event: e}
		switch kind {
		case huanxin.Transferred, huanxin.Activated:
			events[i].Notices = []huanxin.Notice{{Type: huanxin.IdentifierRecycled, About: e.No}}
		case huanxin.Disconnected:
			events[i].Notices = []huanxin.Notice{{Type: huanxin.NumberReleased, About: e.No}}
		}
	}
	must(t, tx.AppendBatch(1, start.Add(24*time.Hour), events, nil))
	return events
}

func feedLog(t *testing.T, s *store.Store) {
	read(t, s, func(tx *store.Tx) error {
		head, err := tx.FeedHead()
		equal(t, "the head of an empty log", head, 0)
		return err
	})
	equal(t, "an empty log", feed(t, s, 1, 100), []string(nil))
	write(t, s, func(tx *store.Tx) error {
		tasks := makeTasks(t, tx, 4, 1)
		must(t, tx.InsertNotes(huanxin.NoteRequested, taskIDs(tasks[:2]), start))
		must(t, tx.Audit(store.AuditEntry{At: start, Action: "a", Detail: "{}"}))
		told(t, tx, huanxin.Suspended, huanxin.Disconnected)
		return nil
	})
	write(t, s, func(tx *store.Tx) error { told(t, tx, huanxin.Suspended, huanxin.Resumed); return nil }) // nothing to tell
	want := []string{"1: 4 of request", "5: 2 of notes", "7: 2 of events"}
	sequence(t, s, 2)
	equal(t, "the log", feed(t, s, 1, 100), want)
	write(t, s, func(tx *store.Tx) error {
		told(t, tx, huanxin.Transferred)
		must(t, tx.InsertNotes(huanxin.NoteCancelled, nil, start)) // none is no batch
		return nil
	})
	sequence(t, s, 1)
	want = append(want, "9: 1 of events")
	for _, c := range []struct{ from, to, first, last int }{{0, 100, 0, 4}, {1, 10, 0, 4}, {2, 3, 0, 1}, {4, 6, 0, 2}, {5, 7, 1, 2}, {6, 8, 1, 3}, {9, 10, 3, 4}, {10, 20, 4, 4}} {
		equal(t, fmt.Sprint("the log from ", c.from, " to ", c.to), feed(t, s, int64(c.from), int64(c.to)), slices.Clip(want[c.first:c.last]))
	}
	read(t, s, func(tx *store.Tx) error {
		head, err := tx.FeedHead()
		must(t, err)
		numbers, err := tx.LogHead()
		equal(t, "the heads of feed log and number log", []int64{head, numbers}, []int64{9, 5})
		return err
	})
}

// everyCut reads the feed log as a whole and in every two parts: they must say the same.
func everyCut[T any](t testing.TB, s *store.Store, head int64, get func(tx *store.Tx, rows []store.FeedRow, from, to int64) ([]T, error)) (whole []T) {
	t.Helper()
	read(t, s, func(tx *store.Tx) error {
		part := func(from, to int64) []T {
			rows, err := tx.FeedRows(from, to)
			must(t, err)
			out, err := get(tx, rows, from, to)
			must(t, err)
			return out
		}
		whole = part(1, head+1)
		for cut := int64(1); cut <= head+1; cut++ {
			equal(t, fmt.Sprint("cut at ", cut), append(part(1, cut), part(cut, head+1)...), whole)
		}
		return nil
	})
	return whole
}

func feedNotices(t *testing.T, s *store.Store) {
	retract := func(about huanxin.EventNo) huanxin.Notice {
		return huanxin.Notice{Type: huanxin.RecycleRetracted, About: about}
	}
	release := func(about huanxin.EventNo) huanxin.Notice {
		return huanxin.Notice{Type: huanxin.NumberReleased, About: about}
	}
	var first, before []store.Accepted
	write(t, s, func(tx *store.Tx) error {
		before = appendTo(t, tx, 1, report{number: 9, id: "before there was a feed log"})
		first = told(t, tx, huanxin.Activated, huanxin.Suspended, huanxin.Disconnected)
		return nil
	})
	x := first[2].No
	later := func(about ...huanxin.Notice) huanxin.EventNo {
		var e huanxin.Event
		write(t, s, func(tx *store.Tx) error {
			no, err := tx.BeginBatch()
			must(t, err)
			e = huanxin.Event{No: no, Carrier: 1, ID: sprint(int64(no)), Number: number(2), Kind: huanxin.Reinstated, At: start.Add(72 * time.Hour)}
			return tx.AppendBatch(1, start.Add(96*time.Hour), []store.Accepted{{Event: e, Notices: about}}, nil)
		})
		return e.No
	}
	undone := later(retract(x))
	again := later(release(x))
	both := later(retract(x), release(x), retract(before[0].No))
	last := later(retract(x))
	sequence(t, s, 100)
	type line struct {
		No         huanxin.FeedNo
		Number     huanxin.Number
		Notice     huanxin.Notice
		Kind       huanxin.EventKind
		AboutAt    time.Time
		At         time.Time
		RecordedAt time.Time
		Retracts   huanxin.FeedNo
	}
	var got []line
	for _, n := range everyCut(t, s, 7, (*store.Tx).FeedNotices) {
		got = append(got, line{n.No, n.Number, n.Notice, n.Kind, n.AboutAt, n.At, n.RecordedAt, n.Retracts})
	}
	day, end, late, told := start.Add(24*time.Hour), start.Add(2*time.Hour), start.Add(72*time.Hour), start.Add(96*time.Hour)
	at := huanxin.FeedNoAt
	equal(t, "the notices", got, []line{
		{at(1, 0), number(0), first[0].Notices[0], huanxin.Activated, start, start, day, 0},
		{at(3, 0), number(2), release(x), huanxin.Disconnected, end, end, day, 0},
		{at(4, 0), number(2), retract(x), huanxin.Disconnected, end, late, told, at(3, 0)},
		{at(5, 0), number(2), release(x), huanxin.Disconnected, end, late, told, 0},
		{at(6, 0), number(2), retract(x), huanxin.Disconnected, end, late, told, at(5, 0)},
		{at(6, 1), number(2), release(x), huanxin.Disconnected, end, late, told, 0},
		{at(6, 2), number(2), retract(before[0].No), huanxin.Suspended, start, late, told, 0},
		{at(7, 0), number(2), retract(x), huanxin.Disconnected, end, late, told, at(6, 1)},
	})
	equal(t, "in the order of acceptance", slices.IsSorted([]huanxin.EventNo{x, undone, again, both, last}), true)
	// The index reads the same column and sees nothing of it.
	read(t, s, func(tx *store.Tx) error {
		batches, err := tx.LogBatches(1, 100)
		must(t, err)
		for _, b := range batches {
			marked, err := tx.MarkedEvents(b, nil)
			must(t, err)
			for _, e := range marked {
				equal(t, "what an event led to", e, store.MarkedEvent{Number: e.Number})
			}
		}
		return nil
	})
}

func feedOfRequests(t *testing.T, s *store.Store) {
	var mine []huanxin.Task
	write(t, s, func(tx *store.Tx) error {
		mine = append(makeTasks(t, tx, 5, 1), makeTasks(t, tx, 300, 2)...)
		return nil
	})
	sequence(t, s, 100)
	whole := func() []store.FeedTask {
		var out []store.FeedTask
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.FeedRows(1, 306)
			must(t, err)
			out, err = tx.FeedTasks(rows, 1, 306)
			return err
		})
		return out
	}
	before := whole()
	equal(t, "tasks", len(before), len(mine))
	for i, k := range before {
		m := mine[i]
		equal(t, "a task", k, store.FeedTask{Position: int64(i + 1), At: start, ID: m.ID, Request: m.Request, App: m.App, Kind: m.Kind, Tenure: m.Tenure,
			CreatedAt: start, DueAt: m.DueAt, Sealed: fmt.Appendf(nil, "sealed %d", m.Request), StartedAt: start.Add(-time.Hour), Origin: huanxin.OriginReassigned})
	}
	write(t, s, func(tx *store.Tx) error { // one ends, its app is asked again, another's clock stands still
		rows, err := tx.TasksByID(taskIDs(mine[:2]))
		must(t, err)
		ended, paused := rows[mine[0].ID], rows[mine[1].ID]
		ended.State, paused.State = huanxin.TaskAnswered, huanxin.TaskActionRequired
		paused.Pauses, paused.DueAt = []huanxin.Pause{{From: start.Add(time.Hour)}}, paused.DueAt.Add(time.Hour)
		must(t, tx.UpdateTasks([]store.TaskRow{ended, paused}))
		k := task(mine[0].Request, 1, mine[0].App)
		k.CreatedAt = start.Add(24 * time.Hour)
		return tx.InsertTasks([]huanxin.Task{k})
	})
	after := whole()
	before[1].DueAt = time.Time{}
	equal(t, "afterwards", after, before)
	for cut := int64(1); cut <= 306; cut += 61 {
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.FeedRows(cut, min(cut+61, 306))
			must(t, err)
			part, err := tx.FeedTasks(rows, cut, min(cut+61, 306))
			equal(t, fmt.Sprint("from ", cut), part, slices.Clip(before[cut-1:min(cut+60, 305)]))
			return err
		})
	}
}

func feedOfNotes(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 3, 1); return nil })
	sequence(t, s, 100)
	position := int64(4)
	for i, n := range []int{1, 257, 10_001} {
		ids := make([]huanxin.TaskID, n)
		for j := range ids {
			ids[j] = tasks[j%3].ID
		}
		at := start.Add(time.Duration(i) * time.Hour)
		write(t, s, func(tx *store.Tx) error { return tx.InsertNotes(huanxin.NoteAborted, ids, at) })
		sequence(t, s, 100)
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.FeedRows(position, position+int64(n))
			must(t, err)
			all, err := tx.FeedTasks(rows, position, position+int64(n))
			equal(t, "notes", len(all), n)
			for j, k := range all {
				got := []any{k.Position, k.ID, k.App, k.Note, k.At, string(k.Sealed), k.Retracts}
				equal(t, "a note", got, []any{position + int64(j), ids[j], tasks[j%3].App, huanxin.NoteAborted, at, fmt.Sprint("sealed ", tasks[0].Request), 0})
				if t.Failed() {
					break
				}
			}
			return err
		})
		position += int64(n)
	}
	everyCut(t, s, 20, (*store.Tx).FeedTasks)
}

// noted gives all notes of the feed log in words, the tasks by their app.
func noted(t testing.TB, s *store.Store) (words []string) {
	t.Helper()
	sequence(t, s, 100)
	read(t, s, func(tx *store.Tx) error {
		head, err := tx.FeedHead()
		must(t, err)
		rows, err := tx.FeedRows(1, head+1)
		must(t, err)
		all, err := tx.FeedTasks(rows, 1, head+1)
		for _, k := range all {
			if k.Note != 0 {
				words = append(words, fmt.Sprint(k.App, " ", [...]string{"", "requested", "cancelled", "aborted", "retracted"}[k.Note]))
			}
		}
		return err
	})
	return words
}

// inStates makes a request of tenure with a task in each state, answered with an outcome if that is not 0.
func inStates(t testing.TB, s *store.Store, tenure huanxin.TenureID, outcomes ...huanxin.Outcome) (tasks []huanxin.Task) {
	t.Helper()
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, len(outcomes), tenure); return nil })
	rows := rowsOf(t, s, taskIDs(tasks))
	var update []store.TaskRow
	for i, k := range tasks {
		row := rows[k.ID]
		row.State = huanxin.TaskState(i + 1)
		if row.Outcome = outcomes[i]; row.Outcome != 0 {
			row.Answers = 1
		}
		update = append(update, row)
	}
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks(update) })
	return tasks
}

func endingNotes(t *testing.T, s *store.Store) {
	cancelled := inStates(t, s, 1, make([]huanxin.Outcome, 11)...)
	inStates(t, s, 2, make([]huanxin.Outcome, 9)...)
	for range 2 { // again notes nothing
		write(t, s, func(tx *store.Tx) error {
			must(t, tx.EndTasks([]int64{int64(cancelled[0].Request), 999}, huanxin.TaskCancelled, start))
			_, err := tx.AbortTenures([]huanxin.TenureID{2}, start)
			return err
		})
	}
	var want []string
	for _, what := range []string{"cancelled", "aborted"} {
		for app := 1; app <= 7; app++ {
			want = append(want, fmt.Sprint(app, " ", what))
		}
	}
	equal(t, "notes", noted(t, s), want)
}

func retractTasks(t *testing.T, s *store.Store) {
	const none = huanxin.Outcome(0)
	earlier := inStates(t, s, 1, huanxin.InReview, none, none, none, none, none, none, huanxin.NotBound, huanxin.Kept, none, huanxin.Unbound)
	write(t, s, func(tx *store.Tx) error {
		return tx.EndTasks([]int64{int64(earlier[0].Request)}, huanxin.TaskCancelled, start)
	})
	mine := []huanxin.Outcome{none, none, huanxin.InReview, huanxin.ActionRequired, huanxin.Failed, none, none, none, huanxin.Unbound}
	inStates(t, s, 1, mine...)
	inStates(t, s, 2, mine...)
	ended := noted(t, s)
	write(t, s, func(tx *store.Tx) error {
		must(t, tx.RetractTasks(nil, start))
		return tx.RetractTasks([]huanxin.TenureID{1, 1, 77}, start)
	})
	got := noted(t, s)[len(ended):]
	slices.Sort(got)
	// Of the request that was cancelled: what was in review; what had expired, though it was answered late that there was
	// nothing; what was answered though it had been aborted. Of the other one all that were answered, and what had expired.
	equal(t, "notes", got, []string{"1 retracted", "11 retracted", "3 retracted", "4 retracted", "5 retracted", "8 retracted", "8 retracted", "9 retracted"})
}

func feedRetracted(t *testing.T, s *store.Store) {
	var before, first, again []huanxin.Task
	write(t, s, func(tx *store.Tx) error {
		first = makeTasks(t, tx, 3, 1)
		id, err := tx.InsertRequest(nil, request(2), 0, func(huanxin.RequestID) []byte { return []byte{1} })
		before = []huanxin.Task{task(id, 2, 1), task(id, 2, 2)} // before there was a feed log
		must(t, tx.InsertTasks(before))
		return err
	})
	for _, at := range []time.Time{start.Add(time.Hour), start.Add(2 * time.Hour)} {
		write(t, s, func(tx *store.Tx) error {
			if again == nil {
				again = []huanxin.Task{task(first[0].Request, 3, 9)}
				again[0].CreatedAt = at
				must(t, tx.InsertTasks(again))
			}
			return tx.InsertNotes(huanxin.NoteRequested, []huanxin.TaskID{first[1].ID, again[0].ID, before[1].ID}, at)
		})
	}
	write(t, s, func(tx *store.Tx) error {
		return tx.InsertNotes(huanxin.NoteRetracted, []huanxin.TaskID{first[0].ID, first[1].ID, first[2].ID, again[0].ID, before[0].ID, before[1].ID}, start)
	})
	sequence(t, s, 100)
	var got []int64
	for _, k := range everyCut(t, s, 15, (*store.Tx).FeedTasks)[9:] {
		got = append(got, k.Retracts)
	}
	equal(t, "first asked at", got, []int64{1, 2, 3, 5, 0, 6})
}

// feedUnderLoad has writers let a number event lead to a request, and a later one end it, while others sequence and read.
func feedUnderLoad(t *testing.T, s *store.Store) {
	const writers, each = 4, 12
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ids := make([][each][3]int64, writers) // of the batch, the request and the last batch
	var writing, background sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				mine := &ids[w][i]
				for step, f := range []func(tx *store.Tx) (int64, error){
					func(tx *store.Tx) (int64, error) { return ended(tx, w) },
					func(tx *store.Tx) (int64, error) {
						tenure := huanxin.TenureID(1 + w*each + i)
						id, err := tx.InsertRequest(nil, request(tenure), 2, func(huanxin.RequestID) []byte { return []byte{1} })
						if err != nil {
							return 0, err
						}
						return int64(id), tx.InsertTasks([]huanxin.Task{task(id, tenure, 1), task(id, tenure, 2)})
					},
					func(tx *store.Tx) (int64, error) {
						no, err := ended(tx, w)
						if err == nil {
							_, err = tx.AbortTenures([]huanxin.TenureID{huanxin.TenureID(1 + w*each + i)}, start)
						}
						return no, err
					},
				} {
					if err := s.Write(ctx, func(tx *store.Tx) (err error) { mine[step], err = f(tx); return err }); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 { // two that think they have the lease: one of them may fail
		background.Go(func() {
			for {
				_ = s.Write(ctx, func(tx *store.Tx) error { _, err := tx.Sequence(5); return err })
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	background.Wait()
	sequence(t, s, 100)
	read(t, s, func(tx *store.Tx) error {
		rows, err := tx.FeedRows(1, 1<<40)
		must(t, err)
		at, next := map[string]int64{}, int64(1)
		for _, r := range rows {
			equal(t, "no gap before", r.First, next)
			next += r.Items
			at[fmt.Sprint(r.Kind, " ", r.Ref)] = r.First
		}
		equal(t, "positions", next-1, writers*each*(2+2+2))
		all, err := tx.FeedTasks(rows, 1, next)
		notes := map[huanxin.RequestID]int64{}
		for _, k := range all {
			if k.Note != 0 {
				notes[k.Request] = k.Position
			}
		}
		for _, of := range ids {
			for _, i := range of {
				began, asked, ended, noted := at[fmt.Sprint("1 ", i[0])], at[fmt.Sprint("2 ", i[1])], at[fmt.Sprint("1 ", i[2])], notes[huanxin.RequestID(i[1])]
				if began == 0 || began >= asked || asked >= ended || ended >= noted {
					t.Errorf("a number event at %d led to a request at %d, which one at %d ended at %d", began, asked, ended, noted)
				}
			}
		}
		return err
	})
}

// ended appends a batch of one disconnection and gives the batch's number.
func ended(tx *store.Tx, n int) (int64, error) {
	first, err := tx.BeginBatch()
	if err != nil {
		return 0, err
	}
	e := huanxin.Event{No: first, Carrier: 1, ID: sprint(int64(first)), Number: number(n), Kind: huanxin.Disconnected, At: start}
	return int64(first) / store.MaxBatch, tx.AppendBatch(1, start, []store.Accepted{{Event: e,
		Notices: []huanxin.Notice{{Type: huanxin.NumberReleased, About: e.No}}}}, nil)
}
