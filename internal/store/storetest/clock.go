package storetest

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var clockTests = []sentence{
	{"tasks are due when their step is, the most overdue first", tasksDue},
	{"of the requests that are looked at each has all its due tasks taken, but for the last", tasksDueOfMany},
	{"a request's clock never rings later than the step of an open task of it", clocksRing},
	{"a clock is wound by one transaction at a time, and by none that did not see a task", clocksAtOnce},
	{"a clock that rings too early is set right, and without open tasks it is dropped", clocksWound},
	{"failed tasks are due when their back-off is over", tasksToRetry},
	{"a step is recorded once, and listed for its app and for all", steps},
	{"messages are due until they are sent or given up", messages},
}

func tasksDue(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 5, 1); return nil })
	rows := rowsOf(t, s, taskIDs(tasks))
	var update []store.TaskRow
	for i, k := range tasks {
		row := rows[k.ID]
		row.StepAt = start.Add(time.Duration(5-i) * time.Minute)
		if i == 1 {
			row.State = huanxin.TaskAnswered
		}
		if i == 2 {
			row.StepAt = time.Time{}
		}
		update = append(update, row)
	}
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks(update) })
	mine := []huanxin.RequestID{tasks[0].Request}
	for _, c := range []struct {
		now   time.Duration
		limit int
		want  []huanxin.TaskID
	}{
		{59 * time.Second, 9, nil},
		{time.Minute, 9, []huanxin.TaskID{tasks[4].ID}},
		{time.Hour, 9, []huanxin.TaskID{tasks[4].ID, tasks[3].ID, tasks[0].ID}},
		{time.Hour, 2, []huanxin.TaskID{tasks[4].ID, tasks[3].ID}},
	} {
		write(t, s, func(tx *store.Tx) error {
			due, _, err := tx.TasksDue(mine, start.Add(c.now), c.limit)
			var got []huanxin.TaskID
			for _, k := range due {
				got = append(got, k.ID)
			}
			equal(t, "due after "+c.now.String(), got, c.want)
			return err
		})
	}
}

func tasksDueOfMany(t *testing.T, s *store.Store) {
	const requests, each = 40, 3
	var all []huanxin.RequestID
	for i := range requests {
		write(t, s, func(tx *store.Tx) error {
			all = append(all, makeTasks(t, tx, each, huanxin.TenureID(i+1))[0].Request)
			return nil
		})
	}
	at := start.Add(time.Hour)
	for _, c := range []struct{ limit, taken, done int }{
		{1, 1, 0}, {each, each, 1}, {each + 1, each + 1, 1}, {10 * each, 10 * each, 10}, {20*each + 2, 20*each + 2, 20},
		{requests*each - 1, requests*each - 1, requests - 1}, {requests * each, requests * each, requests}, {1000, requests * each, requests},
	} {
		write(t, s, func(tx *store.Tx) error {
			due, done, err := tx.TasksDue(all, at, c.limit)
			of := map[huanxin.RequestID]int{}
			for _, k := range due {
				of[k.Request]++
			}
			for _, id := range done {
				equal(t, "tasks of one that is done", of[id], each)
			}
			equal(t, "taken and done", []int{len(due), len(done)}, []int{c.taken, c.done})
			return err
		})
	}
	for moved := 0; moved < requests*each; { // and taken so, none is forgotten and none is taken twice
		write(t, s, func(tx *store.Tx) error {
			some, err := tx.DueClocks(at, 16)
			must(t, err)
			due, done, err := tx.TasksDue(some, at, 7)
			must(t, err)
			equal(t, "some are due", len(due) > 0, true)
			for i := range due {
				due[i].StepAt = at.Add(time.Minute)
			}
			moved += len(due)
			must(t, tx.UpdateTasks(due))
			still, err := tx.WindClocks(done, at)
			equal(t, "still due of those that are done", still, 0)
			return err
		})
	}
	equal(t, "clocks that ring", len(ring(t, s, time.Hour, 100)), 0)
	equal(t, "a minute later", len(ring(t, s, time.Hour+time.Minute, 100)), requests)
}

// ring gives the requests whose clock rings at a time, and puts all back as it was.
func ring(t testing.TB, s *store.Store, after time.Duration, limit int) (out []huanxin.RequestID) {
	t.Helper()
	write(t, s, func(tx *store.Tx) (err error) {
		out, err = tx.DueClocks(start.Add(after), limit)
		return err
	})
	return out
}

func clocksRing(t *testing.T, s *store.Store) {
	var tasks [3][]huanxin.Task
	for i := range tasks { // all their steps come after 15 minutes
		write(t, s, func(tx *store.Tx) error { tasks[i] = makeTasks(t, tx, 2, huanxin.TenureID(i+1)); return nil })
	}
	step := func(k huanxin.Task, after time.Duration, state huanxin.TaskState) {
		t.Helper()
		row := rowsOf(t, s, []huanxin.TaskID{k.ID})[k.ID]
		row.State, row.StepAt = state, start.Add(after)
		write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	}
	of := func(i int) huanxin.RequestID { return tasks[i][0].Request }
	equal(t, "before", ring(t, s, 15*time.Minute-time.Microsecond, 9), []huanxin.RequestID(nil))
	equal(t, "all at once", len(ring(t, s, 15*time.Minute, 9)), 3)
	equal(t, "at most", len(ring(t, s, 15*time.Minute, 2)), 2)
	step(tasks[1][0], 5*time.Minute, huanxin.TaskInReview) // earlier
	step(tasks[2][1], 3*time.Minute, huanxin.TaskAnswered) // of one that is not open
	step(tasks[0][0], 40*time.Minute, huanxin.TaskInReview)
	equal(t, "the earlier one", ring(t, s, 5*time.Minute, 9), []huanxin.RequestID{of(1)})
	equal(t, "the most overdue first", ring(t, s, time.Hour, 1), []huanxin.RequestID{of(1)})
	write(t, s, func(tx *store.Tx) error { // a new task of an old request
		k := task(of(2), 3, 9)
		k.StepAt = start.Add(time.Minute)
		return tx.InsertTasks([]huanxin.Task{k})
	})
	equal(t, "a new task", ring(t, s, time.Minute, 9), []huanxin.RequestID{of(2)})
	write(t, s, func(tx *store.Tx) error { // none of many, in one statement
		var many []huanxin.Task
		for i := range 70 {
			k := task(huanxin.RequestID(1000+i), huanxin.TenureID(1000+i), 1)
			k.StepAt = start.Add(time.Duration(100+i) * time.Hour)
			many = append(many, k)
		}
		return tx.InsertTasks(many)
	})
	equal(t, "many", len(ring(t, s, 169*time.Hour, 100)), 73)
	if s.Engine() == "sqlite" { // there is one writer
		return
	}
	write(t, s, func(tx *store.Tx) error {
		mine, err := tx.DueClocks(start.Add(time.Hour), 2)
		equal(t, "one transaction's", len(mine), 2)
		equal(t, "another's meanwhile", len(ring(t, s, time.Hour, 9)), 1)
		return err
	})
	equal(t, "once it is over", len(ring(t, s, time.Hour, 9)), 3)
}

func clocksWound(t *testing.T, s *store.Store) {
	var tasks, others []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks, others = makeTasks(t, tx, 3, 1), makeTasks(t, tx, 1, 2); return nil })
	requests := []huanxin.RequestID{tasks[0].Request}
	wind := func(after time.Duration) (due int64) {
		write(t, s, func(tx *store.Tx) error {
			got, err := tx.DueClocks(start.Add(100*time.Hour), 9)
			must(t, err)
			equal(t, "whose clocks are had", len(got) > 0, true)
			due, err = tx.WindClocks(requests, start.Add(after))
			return err
		})
		return due
	}
	rows := rowsOf(t, s, taskIDs(tasks))
	one, two, three := rows[tasks[0].ID], rows[tasks[1].ID], rows[tasks[2].ID]
	one.Outcome, one.Reason, one.Answers = huanxin.Unbound, huanxin.Removed, 1
	two.StepAt, three.StepAt, three.State = start.Add(2*time.Hour), start.Add(time.Hour), huanxin.TaskExpired
	write(t, s, func(tx *store.Tx) error {
		must(t, tx.CloseTasks([]store.TaskRow{one}))
		return tx.UpdateTasks([]store.TaskRow{two, three})
	})
	closed := rowsOf(t, s, taskIDs(tasks))[one.ID]
	equal(t, "closed", []any{closed.State, closed.StepAt, closed.Outcome, closed.Reason, closed.Answers, closed.DueAt},
		[]any{huanxin.TaskAnswered, time.Time{}, one.Outcome, one.Reason, 1, one.DueAt})
	equal(t, "too early", ring(t, s, 15*time.Minute, 9), []huanxin.RequestID{tasks[0].Request, others[0].Request})
	equal(t, "still due", wind(15*time.Minute), 0)
	write(t, s, func(tx *store.Tx) error { // a task whose step comes later than that of another
		k := task(tasks[0].Request, 1, 9)
		k.StepAt = start.Add(3 * time.Hour)
		return tx.InsertTasks([]huanxin.Task{k})
	})
	equal(t, "wound to the first of two", wind(15*time.Minute), 0)
	equal(t, "the other alone", ring(t, s, 2*time.Hour-1000, 9), []huanxin.RequestID{others[0].Request})
	equal(t, "not wound past a step", wind(2*time.Hour), 1)
	equal(t, "both", len(ring(t, s, 2*time.Hour, 9)), 2)
	write(t, s, func(tx *store.Tx) error {
		return tx.EndTasks([]int64{int64(tasks[0].Request)}, huanxin.TaskCancelled, start)
	})
	wind(0)
	equal(t, "dropped", ring(t, s, 1000*time.Hour, 9), []huanxin.RequestID{others[0].Request})
	refused(t, s, func(tx *store.Tx) error {
		gone := one
		gone.ID = 12345
		return tx.CloseTasks([]store.TaskRow{gone, two})
	})
	equal(t, "not closed", rowsOf(t, s, taskIDs(tasks))[two.ID].State, huanxin.TaskCancelled)
}

// clocksAtOnce has some move steps earlier and later, make tasks and close them, while others take steps: nobody is left with
// a clock that rings too late.
func clocksAtOnce(t *testing.T, s *store.Store) {
	const requests, workers, rounds = 3, 3, 25
	var tasks []huanxin.Task
	for i := range requests {
		write(t, s, func(tx *store.Tx) error {
			tasks = append(tasks, makeTasks(t, tx, 3, huanxin.TenureID(i+1))...)
			return nil
		})
	}
	together(t, 2*workers, func(w int) error {
		for i := range rounds {
			at := start.Add(time.Duration(i+1) * time.Minute)
			var f func(tx *store.Tx) error
			if w < workers { // the clock
				f = func(tx *store.Tx) error {
					got, err := tx.DueClocks(at, 2)
					if err != nil {
						return err
					}
					rows, got, err := tx.TasksDue(got, at, 4)
					for i := range rows {
						rows[i].StepAt = at.Add(time.Duration(1+i*w) * time.Minute)
					}
					if err == nil {
						err = tx.UpdateTasks(rows)
					}
					if err == nil {
						_, err = tx.WindClocks(got, at)
					}
					return err
				}
			} else {
				k := tasks[(w+i)%len(tasks)]
				f = func(tx *store.Tx) error {
					if i%8 == 7 {
						n := task(k.Request, k.Tenure, huanxin.PartyNo(100+w*rounds+i))
						n.StepAt = at.Add(-time.Minute)
						return tx.InsertTasks([]huanxin.Task{n})
					}
					rows, err := tx.TasksByID([]huanxin.TaskID{k.ID, tasks[(w+i+4)%len(tasks)].ID})
					var update []store.TaskRow
					for _, row := range rows {
						row.StepAt = at.Add(time.Duration((w*7+i*5)%9-4) * time.Minute)
						update = append(update, row)
					}
					if err != nil {
						return err
					}
					return tx.UpdateTasks(update)
				}
			}
			if err := s.Write(t.Context(), f); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range requests {
		id := tasks[3*i].Request
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.TasksOfRequest(id)
			must(t, err)
			first := time.Time{}
			for _, row := range rows {
				if first.IsZero() || row.StepAt.Before(first) {
					first = row.StepAt
				}
			}
			rings := false
			for _, due := range ring(t, s, first.Sub(start), 100) {
				rings = rings || due == id
			}
			equal(t, "the clock rings by the first step", rings, true)
			return nil
		})
	}
}

func tasksToRetry(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 3, 1); return nil })
	row := rowsOf(t, s, taskIDs(tasks))[tasks[1].ID]
	row.State, row.RetryAt = huanxin.TaskFailed, start.Add(time.Minute)
	write(t, s, func(tx *store.Tx) error { return tx.UpdateTasks([]store.TaskRow{row}) })
	for now, want := range map[time.Duration]int{time.Second: 0, time.Minute: 1, time.Hour: 1} {
		write(t, s, func(tx *store.Tx) error {
			due, err := tx.TasksToRetry(start.Add(now), 5)
			equal(t, "after "+now.String(), len(due), want)
			return err
		})
	}
}

func steps(t *testing.T, s *store.Store) {
	var ids []int64
	for i := range 6 {
		write(t, s, func(tx *store.Tx) error {
			message := int64(0)
			if i == 0 {
				var err error
				message, err = tx.NextMessage()
				must(t, err)
				must(t, tx.InsertMessage(store.Message{ID: message, Party: 1, Body: "{}", CreatedAt: start}))
				must(t, tx.MessageSent(message, start.Add(time.Hour), "", time.Time{}))
			}
			id, err := tx.InsertStep(store.StepRow{Task: huanxin.TaskID(i), App: huanxin.PartyNo(i % 2), Step: huanxin.StepWarning,
				DueAt: start, At: start.Add(time.Minute), Message: message})
			ids = append(ids, id)
			return err
		})
	}
	refused(t, s, func(tx *store.Tx) error {
		_, err := tx.InsertStep(store.StepRow{Task: 3, App: 1, Step: huanxin.StepWarning, At: start})
		return err
	})
	read(t, s, func(tx *store.Tx) error {
		all, err := tx.Steps(0, 0, 100)
		must(t, err)
		equal(t, "all", len(all), 6)
		equal(t, "the first", all[0], store.StepRow{ID: ids[0], App: 0, Step: huanxin.StepWarning, DueAt: start, At: start.Add(time.Minute),
			Message: all[0].Message, SentAt: start.Add(time.Hour)})
		equal(t, "the second was sent", all[1].SentAt.IsZero(), true)
		mine, err := tx.Steps(1, ids[1], 1)
		must(t, err)
		equal(t, "mine", []any{len(mine), mine[0].ID}, []any{1, ids[3]})
		rest, err := tx.Steps(0, ids[3], 100)
		equal(t, "the rest", len(rest), 2)
		return err
	})
}

func messages(t *testing.T, s *store.Store) {
	var ids []int64
	for range 3 {
		write(t, s, func(tx *store.Tx) error {
			id, err := tx.NextMessage()
			ids = append(ids, id)
			must(t, err)
			return tx.InsertMessage(store.Message{ID: id, Party: 4, Body: `{"a":1}`, CreatedAt: start})
		})
	}
	due := func(after time.Duration) (got []store.Message) {
		read(t, s, func(tx *store.Tx) (err error) {
			got, err = tx.MessagesDue(start.Add(after), 10)
			return err
		})
		return got
	}
	equal(t, "before", len(due(-time.Second)), 0)
	equal(t, "at once", len(due(0)), 3)
	write(t, s, func(tx *store.Tx) error {
		must(t, tx.MessageSent(ids[0], start.Add(time.Second), "", time.Time{}))
		must(t, tx.MessageSent(ids[1], time.Time{}, "no", start.Add(time.Minute)))
		return tx.MessageSent(ids[2], time.Time{}, "given up", time.Time{})
	})
	equal(t, "soon", len(due(time.Second)), 0)
	equal(t, "later", due(time.Minute), []store.Message{{ID: ids[1], Party: 4, Body: `{"a":1}`, CreatedAt: start, Attempts: 1}})
}
