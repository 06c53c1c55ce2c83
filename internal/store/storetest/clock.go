package storetest

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var clockTests = []sentence{
	{"tasks are due when their step is, the most overdue first", tasksDue},
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
			due, err := tx.TasksDue(mine, start.Add(c.now), c.limit)
			var got []huanxin.TaskID
			for _, k := range due {
				got = append(got, k.ID)
			}
			equal(t, "due after "+c.now.String(), got, c.want)
			return err
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
