package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var deliveryTests = []sentence{
	{"a page that is delivered is delivered, and what comes later is queued", pagesDelivered},
	{"a page with a gap before it delivers nothing but itself", gapBeforeAPage},
	{"the mark follows pages on which nothing is queued", markFollows},
	{"a task that is queued again is delivered by the next page", deliveredAgain},
	{"a task that the clock moved while its app listed it is delivered all the same", deliveredWhileChanged},
	{"of requests' tasks the open ones come with what their app sees", openTaskSeen},
}

// page lists an app's open tasks and has them delivered.
func page(t testing.TB, s *store.Store, app huanxin.PartyNo, state huanxin.TaskState, after huanxin.TaskID, limit int) []store.OpenTask {
	t.Helper()
	var out []store.OpenTask
	write(t, s, func(tx *store.Tx) (err error) {
		if out, err = tx.OpenTasks(app, state, after, limit); err != nil {
			return err
		}
		return tx.DeliverPage(store.Page{App: app, State: state, After: after, Tasks: out})
	})
	return out
}

// states gives how each of an app's tasks, in the order of their ids, is seen: listed, by itself and among others.
func states(t testing.TB, s *store.Store, app huanxin.PartyNo) string {
	t.Helper()
	out := ""
	read(t, s, func(tx *store.Tx) error {
		all, err := tx.OpenTasks(app, 0, 0, 100)
		must(t, err)
		for _, k := range all {
			one, found, err := tx.Task(k.ID)
			must(t, err)
			equal(t, "by itself", []any{one.State, found}, []any{k.State, true})
			of, err := tx.TasksOfRequest(k.Request)
			must(t, err)
			for _, o := range of {
				if o.ID == k.ID {
					equal(t, "among others", o.State, k.State)
				}
			}
			filtered, err := tx.OpenTasks(app, k.State, k.ID-1, 1)
			must(t, err)
			equal(t, "asked for by its state", []any{len(filtered), filtered[0].ID}, []any{1, k.ID})
			out += k.State.String()[:1]
		}
		return nil
	})
	return out
}

// queue makes n tasks for each of apps 1 and 2.
func queue(t testing.TB, s *store.Store, from, n int) (ids []huanxin.TaskID) {
	t.Helper()
	for i := range n {
		write(t, s, func(tx *store.Tx) error {
			ids = append(ids, makeTasks(t, tx, 2, huanxin.TenureID(from+i+1))[0].ID)
			return nil
		})
	}
	return ids
}

func pagesDelivered(t *testing.T, s *store.Store) {
	queue(t, s, 0, 5)
	equal(t, "at first", states(t, s, 1), "qqqqq")
	first := page(t, s, 1, 0, 0, 2)
	equal(t, "one page", states(t, s, 1), "ddqqq")
	equal(t, "another app's", states(t, s, 2), "qqqqq")
	second := page(t, s, 1, huanxin.TaskQueued, first[1].ID, 2)
	equal(t, "a page of queued ones", states(t, s, 1), "ddddq")
	page(t, s, 1, 0, 0, 2)
	equal(t, "the first page again", states(t, s, 1), "ddddq")
	page(t, s, 1, huanxin.TaskDelivered, second[1].ID-1, 100)
	equal(t, "a page of delivered ones", states(t, s, 1), "ddddq")
	queue(t, s, 5, 2)
	equal(t, "new ones", states(t, s, 1), "ddddqqq")
	page(t, s, 1, 0, second[1].ID, 100)
	equal(t, "the rest", states(t, s, 1), "ddddddd")
}

func gapBeforeAPage(t *testing.T, s *store.Store) {
	ids := queue(t, s, 0, 5)
	page(t, s, 1, 0, ids[2], 1)
	equal(t, "one in the middle, of an app that never listed", states(t, s, 1), "qqqdq")
	page(t, s, 1, 0, 0, 1)
	equal(t, "the first", states(t, s, 1), "dqqdq")
	page(t, s, 1, 0, ids[1], 1)
	equal(t, "one with a gap before it", states(t, s, 1), "dqddq")
	page(t, s, 1, 0, ids[0], 1)
	equal(t, "the gap", states(t, s, 1), "ddddq")
	write(t, s, func(tx *store.Tx) error { return tx.Deliver(ids[4:]) })
	equal(t, "by itself", states(t, s, 1), "ddddd")
}

// markFollows has tasks change before they are listed: of the pages that hold them none leaves a gap.
func markFollows(t *testing.T, s *store.Store) {
	ids := queue(t, s, 0, 8)
	read := func(state huanxin.TaskState, after huanxin.TaskID, limit int) store.Page {
		t.Helper()
		p := store.Page{App: 1, State: state, After: after}
		must(t, s.Read(t.Context(), func(tx *store.Tx) (err error) {
			p.Tasks, err = tx.OpenTasks(1, state, after, limit)
			return err
		}))
		return p
	}
	deliver := func(p store.Page) { write(t, s, func(tx *store.Tx) error { return tx.DeliverPage(p) }) }
	write(t, s, func(tx *store.Tx) error { return tx.Deliver(ids[:5]) }) // each by itself
	equal(t, "by themselves", states(t, s, 1), "dddddqqq")
	equal(t, "news of the delivered ones", read(huanxin.TaskDelivered, 0, 9).News(), false)
	deliver(read(huanxin.TaskDelivered, 0, 9))
	equal(t, "they are no page without a gap", states(t, s, 1), "dddddqqq")
	equal(t, "news of a page with a gap before it", read(0, ids[1], 2).News(), false)
	row := rowsOf(t, s, ids)[ids[1]] // on a page without any that is queued by the mark
	row.State = huanxin.TaskQueued
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	for after, i := huanxin.TaskID(0), 0; i < 6; i += 2 {
		p := read(0, after, 2)
		equal(t, "news of a page", p.News(), true)
		deliver(p)
		after = p.Tasks[1].ID
		equal(t, "no news of it then", read(0, p.After, 2).News(), false)
	}
	equal(t, "three pages", states(t, s, 1), "ddddddqq")
	deliver(read(0, ids[6], 1))
	equal(t, "a page that leaves one out", states(t, s, 1), "ddddddqd")
	deliver(read(huanxin.TaskQueued, ids[5], 2))
	equal(t, "all", states(t, s, 1), "dddddddd")
	equal(t, "the mark is before the last one", read(0, 0, 9).News(), true)
	deliver(read(0, 0, 9))
	equal(t, "nothing more", read(0, 0, 9).News(), false)
}

func deliveredAgain(t *testing.T, s *store.Store) {
	ids := queue(t, s, 0, 3)
	page(t, s, 1, 0, 0, 2)
	row := rowsOf(t, s, ids)[ids[0]]
	row.State = huanxin.TaskFailed
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	equal(t, "failed", states(t, s, 1), "fdq")
	row.State = huanxin.TaskQueued
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	equal(t, "queued again", states(t, s, 1), "qdq")
	page(t, s, 1, 0, 0, 1)
	equal(t, "listed again", states(t, s, 1), "ddq")
	row = rowsOf(t, s, ids)[ids[1]] // delivered by the mark, and then put back
	row.State = huanxin.TaskQueued
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	equal(t, "put back", states(t, s, 1), "dqq")
	page(t, s, 1, huanxin.TaskQueued, 0, 100)
	equal(t, "all", states(t, s, 1), "ddd")
}

// deliveredWhileChanged writes a task back, as the clock does that leaves its state, after its app has listed it.
func deliveredWhileChanged(t *testing.T, s *store.Store) {
	ids := queue(t, s, 0, 2)
	row := rowsOf(t, s, ids)[ids[0]]
	page(t, s, 1, 0, 0, 1)
	row.Last, row.StepAt = huanxin.StepDelivery, start.Add(time.Hour)
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	equal(t, "after the clock", states(t, s, 1), "dq")
	equal(t, "its step", rowsOf(t, s, ids)[ids[0]].Last, huanxin.StepDelivery)
}

func openTaskSeen(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 2, 1); return nil })
	read(t, s, func(tx *store.Tx) error {
		row, _, err := tx.Task(tasks[0].ID)
		must(t, err)
		listed, err := tx.OpenTasks(1, 0, 0, 10)
		must(t, err)
		want := store.OpenTask{ID: tasks[0].ID, Request: tasks[0].Request, Kind: huanxin.Unbind, Tenure: 1, State: huanxin.TaskQueued,
			DueAt: start.Add(120 * time.Hour), Sealed: fmt.Appendf(nil, "sealed %d", tasks[0].Request), StartedAt: start.Add(-time.Hour), Origin: huanxin.OriginReassigned}
		equal(t, "of its row", row.Open(), want)
		equal(t, "how many", len(listed), 1)
		got := listed[0]
		equal(t, "listed", []any{got.ID, got.Request, got.Kind, got.Tenure, got.State, got.DueAt, got.Sealed, got.StartedAt, got.Origin},
			[]any{want.ID, want.Request, want.Kind, want.Tenure, want.State, want.DueAt, want.Sealed, want.StartedAt, want.Origin})
		return nil
	})
}
