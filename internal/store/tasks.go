package store

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// ErrTaskOpen says that the database refused a second open task for one tenure, app and kind (DOMAIN.md §7 rule 13).
var ErrTaskOpen = errors.New("a task is open for this tenure, app and kind")

// taskBits is how much of a task's id counts up; see dialect.taskID.
const taskBits = 40

// InsertTasks writes new tasks and sets their ids, which are commit-ordered for each app. The error is ErrTaskOpen where one of them
// would be the second open one for its tenure, app and kind.
func (t *Tx) InsertTasks(tasks []huanxin.Task) error {
	if err := t.InsertTasksLater(tasks, ErrTaskOpen); err != nil {
		return err
	}
	return t.Await()
}

// InsertTasksLater is InsertTasks, at the latest with the commit: only then the ids are set, and it may be the commit that
// gives the error taskOpen instead of ErrTaskOpen. Called last of all, it keeps others who want ids waiting the least.
func (t *Tx) InsertTasksLater(tasks []huanxin.Task, taskOpen error) error {
	if len(tasks) == 0 {
		return nil
	}
	n := len(tasks)
	nth, request, app, kind, tenure := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	created, release, due, step := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	steps := clocks{}
	for i := range tasks {
		k := &tasks[i]
		steps.add(k)
		nth[i], request[i], app[i], kind[i], tenure[i] = int64(i), int64(k.Request), int64(k.App), int64(k.Kind), int64(k.Tenure)
		created[i], release[i], due[i], step[i] = micros(k.CreatedAt), micros(k.Release), micros(k.DueAt), micros(k.StepAt)
	}
	if err := t.setEarlier(steps); err != nil {
		return err
	}
	return t.insertTasks(func(first int64) {
		for i := range tasks {
			tasks[i].ID = huanxin.TaskID(t.dialect.taskID(int64(tasks[i].App), first+int64(i)))
		}
	}, func(err error) error {
		if t.dialect.violates(err, "tasks_one_open", "tasks.tenure, tasks.app, tasks.kind") {
			return taskOpen
		}
		return err
	}, ints("nth", nth), ints("request", request), ints("app", app), ints("kind", kind), ints("tenure", tenure),
		ints("created_at", created), ints("release_at", release), ints("due_at", due), ints("step_at", step))
}

// insertTasks tells the id of the first task, by whose nth the others follow. On PostgreSQL ids and rows are one statement,
// because who takes ids keeps everybody else waiting until it commits.
func (t *Tx) insertTasks(made func(first int64), fail func(error) error, cols ...column) error {
	const insert = `INSERT INTO tasks (id, request, app, kind, tenure, state, open, created_at, release_at, due_at, last_step,
			step_at, pauses, retry_at, failures, outcome, reason, late, answers, asked_at, ended_at)
		SELECT %s + nth, request, app, kind, tenure, 0, 1, created_at, release_at, due_at, 0, step_at, '', 0, 0, 0, 0, 0, 0, 0, 0 FROM %s{rows}`
	n := int64(cols[0].len())
	if t.dialect.name() == "postgres" {
		q := `WITH ids AS (UPDATE counters SET value = value + $1 WHERE name = 'task' RETURNING value - $1 + 1 AS first), made AS (` +
			fmt.Sprintf(insert, "ids.first", "ids, ") + `) SELECT first FROM ids`
		return t.each(q, []any{n}, cols, func(q string, args []any) error {
			return t.later(q, args, func(r scanner) error {
				var first int64
				err := r.Scan(&first)
				made(first)
				return err
			}, fail)
		})
	}
	first, err := t.nextID("task", n)
	if err != nil {
		return err
	}
	made(first)
	_, err = t.execEach(fmt.Sprintf(insert, "(app * 1099511627776) + $1", ""), []any{first}, cols...)
	return failed(err, fail)
}

// TaskRow is a task as it is stored, with what it needs of its request.
type TaskRow struct {
	huanxin.Task
	Answers int // how many are recorded

	Sealed    []byte // the number
	StartedAt time.Time
	Origin    huanxin.TenureOrigin
	Cancelled bool // the request was

	asListed huanxin.TaskState // what the stored state 0 says; 0: the state is stored
}

const taskColumns = `t.id, t.request, t.app, t.kind, t.tenure, t.state, t.created_at, t.release_at, t.due_at, t.last_step, t.step_at,
	t.pauses, t.retry_at, t.failures, t.outcome, t.reason, t.late, t.answers, t.asked_at, t.ended_at, q.sealed, q.started_at, q.origin, q.cancelled_at`

func scanTask(r scanner) (TaskRow, error) {
	var k TaskRow
	var created, release, due, step, retry, late, asked, ended, started, cancelled int64
	var pauses string
	err := r.Scan(&k.ID, &k.Request, &k.App, &k.Kind, &k.Tenure, &k.State, &created, &release, &due, &k.Last, &step,
		&pauses, &retry, &k.Failures, &k.Outcome, &k.Reason, &late, &k.Answers, &asked, &ended, &k.Sealed, &started, &k.Origin, &cancelled)
	if err != nil {
		return k, err
	}
	k.CreatedAt, k.Release, k.DueAt, k.StepAt = fromMicros(created), fromMicros(release), fromMicros(due), fromMicros(step)
	k.RetryAt, k.AskedAt, k.EndedAt, k.StartedAt = fromMicros(retry), fromMicros(asked), fromMicros(ended), fromMicros(started)
	k.Late, k.Cancelled = late != 0, cancelled != 0
	k.Pauses, err = parsePauses(pauses)
	return k, err
}

func (t *Tx) tasks(q string, args ...any) ([]TaskRow, error) {
	var out []TaskRow
	err := t.queryAll(q, args, func(r scanner) error {
		k, err := scanTask(r)
		out = append(out, k)
		return err
	})
	if err == nil {
		err = t.resolve(out)
	}
	return out, err
}

// TasksOfRequest gives a request's tasks, oldest first.
func (t *Tx) TasksOfRequest(id huanxin.RequestID) ([]TaskRow, error) {
	return t.tasks("SELECT "+taskColumns+" FROM tasks t JOIN requests q ON q.id = t.request WHERE t.request = $1 ORDER BY t.id % 1099511627776", int64(id))
}

// TasksByID gives those of the tasks that exist, and nobody else changes them until the transaction ends.
func (t *Tx) TasksByID(ids []huanxin.TaskID) (map[huanxin.TaskID]TaskRow, error) {
	return t.tasksByID(ids, t.lockInOrder("t", "id"))
}

// LookUpTasks gives those of the tasks that exist, as they stand.
func (t *Tx) LookUpTasks(ids []huanxin.TaskID) (map[huanxin.TaskID]TaskRow, error) {
	return t.tasksByID(ids, "")
}

func (t *Tx) tasksByID(ids []huanxin.TaskID, lock string) (map[huanxin.TaskID]TaskRow, error) {
	out := make(map[huanxin.TaskID]TaskRow, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	slices.Sort(list)
	var rows []TaskRow
	err := t.queryEach("SELECT "+taskColumns+` FROM {rows} {join} tasks t ON t.id = r.id {join} requests q ON q.id = t.request `+lock, nil,
		func(r scanner) error {
			k, err := scanTask(r)
			rows = append(rows, k)
			return err
		}, ints("id", slices.Compact(list)))
	if err == nil {
		err = t.resolve(rows)
	}
	for i := range rows {
		out[rows[i].ID] = rows[i]
	}
	return out, err
}

// UpdateTasks writes what answers and the clock change of tasks, at the latest with the commit, and sets the clocks of their
// requests earlier where they have to be.
func (t *Tx) UpdateTasks(rows []TaskRow) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b TaskRow) int { return int(a.ID - b.ID) })
	n := len(rows)
	id, state, open, due, last := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	step, retry, failures, outcome := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	reason, late, answers, pauses := make([]int64, n), make([]int64, n), make([]int64, n), make([]string, n)
	asked, ended := make([]int64, n), make([]int64, n)
	steps := clocks{}
	for i := range rows {
		k := &rows[i]
		steps.add(&k.Task)
		id[i], state[i], open[i], due[i], last[i] = int64(k.ID), k.stored(), bit(k.State.Open()), micros(k.DueAt), int64(k.Last)
		step[i], retry[i], failures[i], outcome[i] = micros(k.StepAt), micros(k.RetryAt), int64(k.Failures), int64(k.Outcome)
		reason[i], late[i], answers[i] = int64(k.Reason), bit(k.Late), int64(k.Answers)
		asked[i], ended[i], pauses[i] = micros(k.AskedAt), micros(k.EndedAt), formatPauses(k.Pauses)
	}
	err := t.changeEach(n, `UPDATE tasks SET state = r.state, open = r.open, due_at = r.due_at, last_step = r.last_step,
			step_at = r.step_at, retry_at = r.retry_at, failures = r.failures, outcome = r.outcome, reason = r.reason,
			late = r.late, answers = r.answers, asked_at = r.asked_at, ended_at = r.ended_at, pauses = r.pauses
		FROM {rows} WHERE tasks.id = r.id`,
		ints("id", id), ints("state", state), ints("open", open), ints("due_at", due), ints("last_step", last),
		ints("step_at", step), ints("retry_at", retry), ints("failures", failures), ints("outcome", outcome),
		ints("reason", reason), ints("late", late), ints("answers", answers),
		ints("asked_at", asked), ints("ended_at", ended), texts("pauses", pauses))
	if err != nil {
		return err
	}
	return t.setEarlier(steps)
}

// CloseTasks writes that tasks were answered for good, in time: it is UpdateTasks for those of which nothing else has
// changed, because their clock never stood still.
func (t *Tx) CloseTasks(rows []TaskRow) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b TaskRow) int { return int(a.ID - b.ID) })
	n := len(rows)
	id, outcome, reason, answers := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i := range rows {
		k := &rows[i]
		id[i], outcome[i], reason[i], answers[i] = int64(k.ID), int64(k.Outcome), int64(k.Reason), int64(k.Answers)
	}
	return t.changeEach(n, `UPDATE tasks SET state = 9, open = 0, step_at = 0, retry_at = 0, outcome = r.outcome, reason = r.reason,
			answers = r.answers FROM {rows} WHERE tasks.id = r.id`,
		ints("id", id), ints("outcome", outcome), ints("reason", reason), ints("answers", answers))
}

// changeEach runs an update of n rows, at the latest with the commit. That fewer were there is an error.
func (t *Tx) changeEach(n int, q string, cols ...column) error {
	if t.dialect.name() == "postgres" { // which may have committed before we could count: it counts by itself
		q = "WITH changed AS (" + q + " RETURNING 1) SELECT 1 / CASE WHEN COUNT(*) = $1 THEN 1 ELSE 0 END FROM changed"
		return t.each(q, []any{int64(n)}, cols, func(q string, args []any) error { return t.later(q, args, nil, nil) })
	}
	changed, err := t.execEach(q, nil, cols...)
	if err == nil && changed != int64(n) {
		err = fmt.Errorf("update tasks: %d of %d rows changed", changed, n)
	}
	return err
}

// AnswerRow is an answer as it is recorded: the n-th of its task, from 1.
type AnswerRow struct {
	Task   huanxin.TaskID
	N      int
	Client string
	// SET is the security event token that the answer came as; empty: it came otherwise.
	SET string
	huanxin.Answer
}

// InsertAnswers records answers, and the SETs that they came as, at the latest with the commit.
func (t *Tx) InsertAnswers(rows []AnswerRow) error {
	if len(rows) == 0 {
		return nil
	}
	n := len(rows)
	task, nth, outcome, reason := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	at, late, void := make([]int64, n), make([]int64, n), make([]int64, n)
	link, note, client := make([]string, n), make([]string, n), make([]string, n)
	for i := range rows {
		a := &rows[i]
		task[i], nth[i], outcome[i], reason[i] = int64(a.Task), int64(a.N), int64(a.Outcome), int64(a.Reason)
		at[i], late[i], void[i] = micros(a.At), bit(a.Late), bit(a.Void)
		link[i], note[i], client[i] = a.Link, a.Note, a.Client
	}
	err := t.eachLater(`INSERT INTO answers (task, n, outcome, reason, link, note, client, at, late, void)
		SELECT task, n, outcome, reason, link, note, client, at, late, void FROM {rows}`, nil,
		ints("task", task), ints("n", nth), ints("outcome", outcome), ints("reason", reason), texts("link", link),
		texts("note", note), texts("client", client), ints("at", at), ints("late", late), ints("void", void))
	if err != nil {
		return err
	}
	return t.insertAnswerSETs(rows)
}

func (t *Tx) insertAnswerSETs(rows []AnswerRow) error {
	var task, nth []int64
	var token []string
	for i := range rows {
		if a := &rows[i]; a.SET != "" {
			task, nth, token = append(task, int64(a.Task)), append(nth, int64(a.N)), append(token, a.SET)
		}
	}
	if len(token) == 0 {
		return nil
	}
	return t.eachLater("INSERT INTO answer_sets (task, n, token) SELECT task, n, token FROM {rows}", nil,
		ints("task", task), ints("n", nth), texts("token", token))
}

// AnswerSETs gives the SETs that answers to a task came as, by the answer's number.
func (t *Tx) AnswerSETs(id huanxin.TaskID) (map[int]string, error) {
	out := map[int]string{}
	err := t.queryAll("SELECT n, token FROM answer_sets WHERE task = $1", []any{int64(id)}, func(r scanner) error {
		var n int
		var token string
		err := r.Scan(&n, &token)
		out[n] = token
		return err
	})
	return out, err
}

// AnswersOfRequest gives every answer to a request's tasks, oldest first.
func (t *Tx) AnswersOfRequest(id huanxin.RequestID) (map[huanxin.TaskID][]huanxin.Answer, error) {
	in := "IN (SELECT id FROM tasks WHERE request = $1)"
	if t.dialect.name() == "postgres" { // which without statistics takes the tasks for many, and would read all answers there are
		in = "= ANY (ARRAY(SELECT id FROM tasks WHERE request = $1))"
	}
	rows, err := t.query("SELECT a.task, a.n, a.outcome, a.reason, a.link, a.note, a.at, a.late, a.void FROM answers a WHERE a.task "+in, int64(id))
	if err != nil {
		return nil, err
	}
	var all []AnswerRow
	err = scanAll(rows, func(r *sql.Rows) error {
		var a AnswerRow
		var at int64
		err := r.Scan(&a.Task, &a.N, &a.Outcome, &a.Reason, &a.Link, &a.Note, &at, &a.Late, &a.Void)
		a.At = fromMicros(at)
		all = append(all, a)
		return err
	})
	slices.SortFunc(all, func(a, b AnswerRow) int { return cmp.Compare(a.N, b.N) })
	out := map[huanxin.TaskID][]huanxin.Answer{}
	for _, a := range all {
		out[a.Task] = append(out[a.Task], a.Answer)
	}
	return out, err
}

// formatPauses writes pauses as "from-to,from-": microseconds, the last one open.
func formatPauses(ps []huanxin.Pause) string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(micros(p.From), 10) + "-")
		if !p.To.IsZero() {
			b.WriteString(strconv.FormatInt(micros(p.To), 10))
		}
	}
	return b.String()
}

func parsePauses(s string) ([]huanxin.Pause, error) {
	if s == "" {
		return nil, nil
	}
	var out []huanxin.Pause
	for _, part := range strings.Split(s, ",") {
		from, to, _ := strings.Cut(part, "-")
		f, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("pauses of a task: %w", err)
		}
		p := huanxin.Pause{From: fromMicros(f)}
		if to != "" {
			v, err := strconv.ParseInt(to, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("pauses of a task: %w", err)
			}
			p.To = fromMicros(v)
		}
		out = append(out, p)
	}
	return out, nil
}

// Task gives a task; found is false where there is none.
func (t *Tx) Task(id huanxin.TaskID) (k TaskRow, found bool, err error) {
	all, err := t.tasks("SELECT "+taskColumns+" FROM tasks t JOIN requests q ON q.id = t.request WHERE t.id = $1", int64(id))
	if err != nil || len(all) == 0 {
		return k, false, err
	}
	return all[0], true, nil
}
