package store

import (
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// A task's stored state is 0 until something else happens to it than that its app lists it. Such a task is delivered if
// the app's mark in the table "listed" has reached it, and queued if not: to list a thousand tasks writes one row and not a
// thousand. It rests on this, that of one app task ids are in the order of commits: below the last one that was listed no
// other can appear.

// OpenTask is an open task as its app sees it.
type OpenTask struct {
	ID        huanxin.TaskID
	Request   huanxin.RequestID
	Kind      huanxin.TaskKind
	Tenure    huanxin.TenureID
	State     huanxin.TaskState
	DueAt     time.Time
	Sealed    []byte // the number
	StartedAt time.Time
	Origin    huanxin.TenureOrigin

	marked bool           // its state is that of the mark
	mark   huanxin.TaskID // the app's, when it was read
}

// Open gives of a task what its app sees.
func (k *TaskRow) Open() OpenTask {
	return OpenTask{ID: k.ID, Request: k.Request, Kind: k.Kind, Tenure: k.Tenure, State: k.State, DueAt: k.DueAt, Sealed: k.Sealed,
		StartedAt: k.StartedAt, Origin: k.Origin}
}

// OpenTasks gives at most limit of an app's open tasks after an id, in the order of their ids. A state of 0 is any.
func (t *Tx) OpenTasks(app huanxin.PartyNo, state huanxin.TaskState, after huanxin.TaskID, limit int) ([]OpenTask, error) {
	const mark = "(SELECT COALESCE(MAX(task), 0) FROM listed WHERE app = $1)"
	var out []OpenTask
	err := t.queryAll(`SELECT t.id, t.request, t.kind, t.tenure, t.state, `+mark+`, t.due_at, q.sealed, q.started_at, q.origin
		FROM tasks t JOIN requests q ON q.id = t.request
		WHERE t.app = $1 AND t.open = 1 AND t.id > $2
			AND ($3 = 0 OR t.state = $3 OR t.state = 0 AND $3 = CASE WHEN t.id <= `+mark+` THEN 2 ELSE 1 END)
		ORDER BY t.id LIMIT $4`, []any{int64(app), int64(after), int64(state), limit}, func(r scanner) error {
		var k OpenTask
		var due, started int64
		err := r.Scan(&k.ID, &k.Request, &k.Kind, &k.Tenure, &k.State, &k.mark, &due, &k.Sealed, &started, &k.Origin)
		k.DueAt, k.StartedAt = fromMicros(due), fromMicros(started)
		if k.State == 0 {
			k.marked = true
			if k.State = huanxin.TaskQueued; k.ID <= k.mark {
				k.State = huanxin.TaskDelivered
			}
		}
		out = append(out, k)
		return err
	})
	return out, err
}

// Page is what OpenTasks gave, and what it was asked for.
type Page struct {
	App   huanxin.PartyNo
	State huanxin.TaskState
	After huanxin.TaskID
	Tasks []OpenTask
}

// News reports whether DeliverPage has something to write: there are queued tasks, or the mark can follow. It has to, though
// nothing is queued: it would find a gap before the pages after this one.
func (p Page) News() bool {
	return p.follows() || slices.ContainsFunc(p.Tasks, func(k OpenTask) bool { return k.State == huanxin.TaskQueued })
}

// follows reports whether the page holds all queued tasks from the mark, or from before it, to its last one.
func (p Page) follows() bool {
	if len(p.Tasks) == 0 || p.State != 0 && p.State != huanxin.TaskQueued {
		return false
	}
	mark := p.Tasks[0].mark
	return p.After <= mark && mark < p.Tasks[len(p.Tasks)-1].ID
}

// DeliverPage marks the queued ones of a page as delivered.
func (t *Tx) DeliverPage(p Page) error {
	var marked, others []huanxin.TaskID
	for i := range p.Tasks {
		switch k := &p.Tasks[i]; {
		case k.State != huanxin.TaskQueued:
		case k.marked:
			marked = append(marked, k.ID)
		default:
			others = append(others, k.ID)
		}
	}
	moved := false
	if p.follows() {
		var err error
		if moved, err = t.moveMark(p.App, p.After, p.Tasks[len(p.Tasks)-1].ID); err != nil {
			return err
		}
	}
	if !moved {
		others = append(others, marked...)
	}
	return t.Deliver(others)
}

// moveMark says that an app has listed everything from after to last. It reports false where there is a gap before that.
func (t *Tx) moveMark(app huanxin.PartyNo, after, last huanxin.TaskID) (moved bool, err error) {
	const set = " SET task = CASE WHEN listed.task < $2 THEN $2 ELSE listed.task END"
	q, args := "UPDATE listed"+set+" WHERE app = $1 AND task >= $3 RETURNING task", []any{int64(app), int64(last), int64(after)}
	if after == 0 {
		q, args = "INSERT INTO listed (app, task) VALUES ($1, $2) ON CONFLICT (app) DO UPDATE"+set+" RETURNING task", args[:2]
	}
	var mark int64
	return t.queryRow(q, args, &mark)
}

// Deliver marks the queued ones among tasks as delivered.
func (t *Tx) Deliver(ids []huanxin.TaskID) error {
	if len(ids) == 0 {
		return nil
	}
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	slices.Sort(list) // the order in which they are locked
	// The sum keeps the planner from an index on state, which is slower than the key by orders of magnitude.
	return t.eachLater("UPDATE tasks SET state = 2 FROM {rows} WHERE tasks.id = r.id AND (tasks.state + 0) <= 1", nil, ints("id", slices.Compact(list)))
}

// resolve finds out what the marks say of tasks whose stored state is 0.
func (t *Tx) resolve(rows []TaskRow) error {
	var apps []int64
	for i := range rows {
		if app := int64(rows[i].App); rows[i].State == 0 && !slices.Contains(apps, app) {
			apps = append(apps, app)
		}
	}
	if apps == nil {
		return nil
	}
	marks := map[huanxin.PartyNo]huanxin.TaskID{}
	if err := t.queryEach("SELECT l.app, l.task FROM {rows} {join} listed l ON l.app = r.app", nil, func(r scanner) error {
		var app huanxin.PartyNo
		var task huanxin.TaskID
		err := r.Scan(&app, &task)
		marks[app] = task
		return err
	}, ints("app", apps)); err != nil {
		return err
	}
	for i := range rows {
		k := &rows[i]
		if k.State != 0 {
			continue
		}
		if k.State = huanxin.TaskQueued; k.ID <= marks[k.App] {
			k.State = huanxin.TaskDelivered
		}
		k.asListed = k.State
	}
	return nil
}

// stored gives the state that is written for a task. One that nothing has changed stays with the mark, which may have moved
// since it was read.
func (k *TaskRow) stored() int64 {
	if k.asListed != 0 && k.State == k.asListed {
		return 0
	}
	return int64(k.State)
}
