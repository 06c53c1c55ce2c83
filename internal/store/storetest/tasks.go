package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var taskTests = []sentence{
	{"tasks of any number come back as they were made", tasksOfAnyNumber},
	{"the database refuses a second open task for one tenure, app and kind", oneOpenTask},
	{"an app pages through its own open tasks in the order of their ids", openTasksPage},
	{"tasks are found by id, once each", tasksByID},
	{"answers come back in their order, with all they said", answersRoundTrip},
	{"an answer's place is taken once", answerPlaces},
}

var stateTests = []sentence{
	{"only what is queued is delivered", deliverQueued},
	{"an update writes all that answers and the clock change", updates},
	{"an update of a task that is not there fails", updateOfNothing},
	{"ending requests ends what is open and marks the rest", endTasks},
}

// makeTasks makes a request of tenure with a task at each of n apps, from app 1 on.
func makeTasks(t testing.TB, tx *store.Tx, n int, tenure huanxin.TenureID) []huanxin.Task {
	t.Helper()
	r := request(tenure)
	id, err := tx.InsertRequest(nil, r, n, func(id huanxin.RequestID) []byte { return fmt.Appendf(nil, "sealed %d", id) })
	must(t, err)
	tasks := make([]huanxin.Task, n)
	for i := range tasks {
		tasks[i] = task(id, tenure, huanxin.PartyNo(i+1))
	}
	must(t, tx.InsertTasks(tasks))
	return tasks
}

func request(tenure huanxin.TenureID) huanxin.Request {
	return huanxin.Request{Lookup: []byte(fmt.Sprint("lookup ", tenure)), Tenure: tenure, StartedAt: start.Add(-time.Hour),
		Origin: huanxin.OriginReassigned, Carrier: 7, AskedBy: 8, SubmittedAt: start,
		Proof: huanxin.Proof{Control: huanxin.ControlSIM, Identity: huanxin.IdentityFace, VerifiedAt: start.Add(-time.Minute)}}
}

func task(r huanxin.RequestID, tenure huanxin.TenureID, app huanxin.PartyNo) huanxin.Task {
	return huanxin.Task{Request: r, App: app, Kind: huanxin.Unbind, Tenure: tenure, State: huanxin.TaskQueued, CreatedAt: start,
		Release: start.Add(6 * time.Hour), DueAt: start.Add(120 * time.Hour), StepAt: start.Add(15 * time.Minute)}
}

func taskIDs(tasks []huanxin.Task) []huanxin.TaskID {
	out := make([]huanxin.TaskID, len(tasks))
	for i := range tasks {
		out[i] = tasks[i].ID
	}
	return out
}

func rowsOf(t testing.TB, s *store.Store, ids []huanxin.TaskID) map[huanxin.TaskID]store.TaskRow {
	t.Helper()
	var rows map[huanxin.TaskID]store.TaskRow
	write(t, s, func(tx *store.Tx) (err error) {
		rows, err = tx.TasksByID(ids)
		return err
	})
	return rows
}

func tasksOfAnyNumber(t *testing.T, s *store.Store) {
	for i, n := range batchSizes {
		var tasks []huanxin.Task
		write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, n, huanxin.TenureID(i+1)); return nil })
		rows := rowsOf(t, s, taskIDs(tasks))
		equal(t, "found by id", len(rows), n)
		read(t, s, func(tx *store.Tx) error {
			all, err := tx.TasksOfRequest(tasks[0].Request)
			equal(t, "of the request", len(all), n)
			for j := range all {
				equal(t, "a task", all[j].Task, tasks[j])
				equal(t, "a task by id", rows[tasks[j].ID], all[j])
				if t.Failed() {
					return err
				}
			}
			row := all[0]
			equal(t, "sealed", string(row.Sealed), fmt.Sprintf("sealed %d", tasks[0].Request))
			equal(t, "start, origin, answers", []any{row.StartedAt, row.Origin, row.Answers}, []any{start.Add(-time.Hour), huanxin.OriginReassigned, 0})
			return err
		})
		write(t, s, func(tx *store.Tx) error { return tx.Deliver(taskIDs(tasks)) })
		answers := make([]store.AnswerRow, n)
		var update []store.TaskRow
		for j := range tasks {
			answers[j] = store.AnswerRow{Task: tasks[j].ID, N: 1, Client: "c",
				Answer: huanxin.Answer{Outcome: huanxin.Unbound, Reason: huanxin.Removed, At: start}}
			row := rows[tasks[j].ID]
			row.State, row.Answers = huanxin.TaskAnswered, 1
			update = append(update, row)
		}
		write(t, s, func(tx *store.Tx) error {
			must(t, tx.InsertAnswers(answers))
			return tx.UpdateTasks(update)
		})
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.AnswersOfRequest(tasks[0].Request)
			equal(t, "answered", len(got), n)
			open, err2 := tx.OpenTasks(1, 0, 0, 10)
			equal(t, "open", len(open), 0)
			must(t, err2)
			return err
		})
	}
	write(t, s, func(tx *store.Tx) error { // none is harmless
		must(t, tx.InsertTasks(nil))
		must(t, tx.Deliver(nil))
		must(t, tx.UpdateTasks(nil))
		must(t, tx.InsertAnswers(nil))
		rows, err := tx.TasksByID(nil)
		equal(t, "none asked", len(rows), 0)
		return err
	})
}

func oneOpenTask(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 2, 1); return nil })
	second := func(app huanxin.PartyNo, tenure huanxin.TenureID, kind huanxin.TaskKind) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			k := task(tasks[0].Request, tenure, app)
			k.Kind = kind
			return tx.InsertTasks([]huanxin.Task{k})
		}
	}
	if err := refused(t, s, second(1, 1, huanxin.Unbind)); !errors.Is(err, store.ErrTaskOpen) {
		t.Errorf("the error does not say so: %v", err)
	}
	for _, err := range []error{s.Write(t.Context(), second(1, 1, huanxin.ClearLabel)), s.Write(t.Context(), second(1, 2, huanxin.Unbind)),
		s.Write(t.Context(), second(3, 1, huanxin.Unbind))} {
		must(t, err)
	}
	refused(t, s, func(tx *store.Tx) error { // in one statement
		k := task(tasks[0].Request, 9, 1)
		return tx.InsertTasks([]huanxin.Task{k, k})
	})
	row := rowsOf(t, s, taskIDs(tasks))[tasks[0].ID]
	row.State = huanxin.TaskAnswered
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	write(t, s, second(1, 1, huanxin.Unbind))
	row.State = huanxin.TaskQueued
	refused(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
}

func openTasksPage(t *testing.T, s *store.Store) {
	var mine, others []huanxin.TaskID
	for i := range 50 {
		write(t, s, func(tx *store.Tx) error {
			tasks := makeTasks(t, tx, 3, huanxin.TenureID(i+1))
			mine, others = append(mine, tasks[1].ID), append(others, tasks[0].ID)
			return nil
		})
	}
	write(t, s, func(tx *store.Tx) error { return tx.Deliver(append(mine[10:20:20], others...)) })
	rows := rowsOf(t, s, mine)
	answered := rows[mine[0]]
	answered.State = huanxin.TaskAnswered
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{answered}) })
	for _, c := range []struct {
		state huanxin.TaskState
		want  []huanxin.TaskID
	}{{0, mine[1:]}, {huanxin.TaskDelivered, mine[10:20]}, {huanxin.TaskAnswered, nil}} {
		for _, limit := range []int{1, 7, 1000} {
			var got []huanxin.TaskID
			read(t, s, func(tx *store.Tx) error {
				after := huanxin.TaskID(0)
				for {
					page, err := tx.OpenTasks(2, c.state, after, limit)
					if err != nil || len(page) == 0 {
						return err
					}
					for _, k := range page {
						got = append(got, k.ID)
					}
					after = got[len(got)-1]
				}
			})
			equal(t, fmt.Sprint("state ", c.state, " pages of ", limit), got, c.want)
		}
	}
}

func tasksByID(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 3, 1); return nil })
	rows := rowsOf(t, s, []huanxin.TaskID{tasks[2].ID, tasks[0].ID, tasks[2].ID, 12345, 0, -1})
	equal(t, "found", len(rows), 2)
	read(t, s, func(tx *store.Tx) error {
		one, found, err := tx.Task(tasks[1].ID)
		equal(t, "one", []any{one.Task, found}, []any{tasks[1], true})
		_, found, err2 := tx.Task(12345)
		equal(t, "another", found, false)
		must(t, err2)
		return err
	})
}

func answersRoundTrip(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 2, 1); return nil })
	want := map[huanxin.TaskID][]huanxin.Answer{}
	var rows []store.AnswerRow
	for n := range 12 {
		for _, k := range tasks {
			a := huanxin.Answer{Outcome: huanxin.ActionRequired, Reason: huanxin.EvidenceNeeded, Link: fmt.Sprint("https://app.example/?n=$1&", n),
				Note: "备注 '?1'", At: start.Add(time.Duration(n) * time.Second), Late: n%2 == 0, Void: n%3 == 0}
			want[k.ID] = append(want[k.ID], a)
			rows = append(rows, store.AnswerRow{Task: k.ID, N: n + 1, Client: "c", Answer: a})
			if n%4 == 1 {
				rows[len(rows)-1].SET = fmt.Sprintf("set.%d.%d", k.ID, n+1)
			}
		}
	}
	write(t, s, func(tx *store.Tx) error { return tx.InsertAnswers(rows) })
	read(t, s, func(tx *store.Tx) error {
		got, err := tx.AnswersOfRequest(tasks[0].Request)
		equal(t, "answers", got, want)
		none, err2 := tx.AnswersOfRequest(12345)
		equal(t, "of no request", len(none), 0)
		must(t, err2)
		for _, k := range tasks {
			sets, err := tx.AnswerSETs(k.ID)
			must(t, err)
			want := map[int]string{}
			for _, n := range []int{2, 6, 10} {
				want[n] = fmt.Sprintf("set.%d.%d", k.ID, n)
			}
			equal(t, "the SETs of a task", sets, want)
		}
		sets, err2 := tx.AnswerSETs(12345)
		equal(t, "the SETs of no task", len(sets), 0)
		must(t, err2)
		return err
	})
}

func answerPlaces(t *testing.T, s *store.Store) {
	a := store.AnswerRow{Task: 1, N: 1, Client: "c", Answer: huanxin.Answer{Outcome: huanxin.Kept, Reason: huanxin.LegalHold, At: start}}
	write(t, s, func(tx *store.Tx) error { return tx.InsertAnswers([]store.AnswerRow{a}) })
	refused(t, s, func(tx *store.Tx) error { return tx.InsertAnswers([]store.AnswerRow{a}) })
	a.N, a.SET = 2, "set"
	write(t, s, func(tx *store.Tx) error { return tx.InsertAnswers([]store.AnswerRow{a}) })
	refused(t, s, func(tx *store.Tx) error { return tx.InsertAnswers([]store.AnswerRow{a}) })
}

func deliverQueued(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 11, 1); return nil })
	rows := rowsOf(t, s, taskIDs(tasks))
	var update []store.TaskRow
	for i, k := range tasks {
		row := rows[k.ID]
		row.State = huanxin.TaskState(i + 1)
		update = append(update, row)
	}
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks(update) })
	write(t, s, func(tx *store.Tx) error { return tx.Deliver(taskIDs(tasks)) })
	rows = rowsOf(t, s, taskIDs(tasks))
	for i, k := range tasks {
		want := huanxin.TaskState(i + 1)
		if want == huanxin.TaskQueued {
			want = huanxin.TaskDelivered
		}
		equal(t, "the state", rows[k.ID].State, want)
	}
}

func updates(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 3, 1); return nil })
	rows := rowsOf(t, s, taskIDs(tasks))
	first, second := rows[tasks[0].ID], rows[tasks[1].ID]
	first.State, first.DueAt, first.Last, first.StepAt = huanxin.TaskActionRequired, start.Add(time.Hour), huanxin.StepWarning, start.Add(2*time.Hour)
	first.Pauses = []huanxin.Pause{{From: start, To: start.Add(time.Second)}, {From: start.Add(time.Minute)}}
	first.RetryAt, first.Failures, first.Outcome, first.Reason = start.Add(3*time.Hour), 4, huanxin.ActionRequired, huanxin.EvidenceNeeded
	first.Late, first.EndedAt, first.Answers = true, start.Add(4*time.Hour), 5
	second.State, second.StepAt = huanxin.TaskExpired, time.Time{}
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{second, first}) })
	after := rowsOf(t, s, taskIDs(tasks))
	equal(t, "the first", []any{after[tasks[0].ID].Task, after[tasks[0].ID].Answers}, []any{first.Task, first.Answers})
	equal(t, "the second", []any{after[tasks[1].ID].Task, after[tasks[1].ID].Answers}, []any{second.Task, second.Answers})
	equal(t, "the third", after[tasks[2].ID], rows[tasks[2].ID])
	second.Pauses = nil
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{second}) })
}

func updateOfNothing(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 1, 1); return nil })
	row := rowsOf(t, s, taskIDs(tasks))[tasks[0].ID]
	gone := row
	gone.ID = 12345
	row.Failures = 9
	refused(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row, gone}) })
	equal(t, "the other", rowsOf(t, s, taskIDs(tasks))[row.ID].Failures, 0)
}

func endTasks(t *testing.T, s *store.Store) {
	var mine, others []huanxin.Task
	write(t, s, func(tx *store.Tx) error { mine, others = makeTasks(t, tx, 11, 1), makeTasks(t, tx, 2, 2); return nil })
	rows := rowsOf(t, s, taskIDs(mine))
	var update []store.TaskRow
	for i, k := range mine {
		row := rows[k.ID]
		row.State, row.RetryAt = huanxin.TaskState(i+1), start
		update = append(update, row)
	}
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks(update) })
	end := start.Add(time.Hour)
	for i := range 2 { // again changes nothing
		at := end.Add(time.Duration(i) * time.Hour)
		write(t, s, func(tx *store.Tx) error {
			return tx.EndTasks([]int64{int64(mine[0].Request), 999}, huanxin.TaskCancelled, at)
		})
	}
	rows = rowsOf(t, s, taskIDs(mine))
	for i, k := range mine {
		want, row := huanxin.TaskState(i+1), rows[k.ID]
		if want.Open() {
			want = huanxin.TaskCancelled
		}
		equal(t, "a task", []any{row.State, row.EndedAt, row.StepAt, row.RetryAt}, []any{want, end, time.Time{}, time.Time{}})
	}
	for _, row := range rowsOf(t, s, taskIDs(others)) {
		equal(t, "another's", []any{row.State, row.EndedAt}, []any{huanxin.TaskQueued, time.Time{}})
	}
	must(t, s.Read(context.Background(), func(tx *store.Tx) error {
		open, err := tx.OpenTasks(1, 0, 0, 100)
		equal(t, "open", len(open), 1)
		due, err2 := tx.TasksOfRequest(mine[0].Request)
		equal(t, "kept", len(due), 11)
		must(t, err2)
		return err
	}))
}
