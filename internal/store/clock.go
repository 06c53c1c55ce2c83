package store

import (
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// clocks is when requests' clocks are to ring at the latest.
type clocks map[huanxin.RequestID]int64

// add takes a task's next step into account, if the task is open and has one.
func (c clocks) add(k *huanxin.Task) {
	if k.StepAt.IsZero() || k.State != 0 && !k.State.Open() {
		return
	}
	at := micros(k.StepAt)
	if was, ok := c[k.Request]; !ok || at < was {
		c[k.Request] = at
	}
}

func (c clocks) columns() []column {
	request, step := make([]int64, 0, len(c)), make([]int64, len(c))
	for id := range c {
		request = append(request, int64(id))
	}
	slices.Sort(request) // the order in which they are locked
	for i, id := range request {
		step[i] = c[huanxin.RequestID(id)]
	}
	return []column{ints("request", request), ints("step_at", step)}
}

// setEarlier sets clocks that would ring too late, at the latest with the commit.
//
// It locks the others too: whoever changes the step of a task waits here for who is just winding its request's clock
// (WindClocks) and has not seen the change. Closing a task needs none of this, for a clock may ring too early.
func (t *Tx) setEarlier(c clocks) error {
	if len(c) == 0 {
		return nil
	}
	return t.eachLater(`INSERT INTO clocks (request, step_at) SELECT request, step_at FROM {rows} WHERE true
		ON CONFLICT (request) DO UPDATE SET step_at = CASE WHEN clocks.step_at <= excluded.step_at THEN clocks.step_at ELSE excluded.step_at END`,
		nil, c.columns()...)
}

// DueClocks gives at most limit requests whose clock rings at now, the most overdue first. Nobody else gets them until the
// transaction ends, and those that another one has are left out.
func (t *Tx) DueClocks(now time.Time, limit int) ([]huanxin.RequestID, error) {
	rows, err := t.query("SELECT c.request FROM clocks c WHERE c.step_at <= $1 ORDER BY c.step_at LIMIT $2"+t.lockFree("c"), micros(now), limit)
	if err != nil {
		return nil, err
	}
	var out []huanxin.RequestID
	err = scanAll(rows, func(r *sql.Rows) error {
		var id huanxin.RequestID
		err := r.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

// TasksDue gives at most limit of the requests' open tasks whose clock has a step to take at now: those of the first
// requests, and of each the most overdue first. It looks at no more requests than it takes to find them, and gives those
// that it is done with: of these every task that is due is there.
//
// The requests' clocks are the caller's by DueClocks. Tasks that another transaction is changing are left out: waiting for
// them here, while they wait for a clock, would be waiting in a circle.
func (t *Tx) TasksDue(requests []huanxin.RequestID, now time.Time, limit int) (due []TaskRow, done []huanxin.RequestID, err error) {
	// The sum, here and below, keeps planners from the indexes of all open tasks.
	q := "SELECT " + taskColumns + ` FROM {rows} {join} tasks t ON t.request = r.request {join} requests q ON q.id = t.request
		WHERE t.open + 0 = 1 AND t.step_at > 0 AND t.step_at <= $1 ORDER BY t.request, t.step_at LIMIT $2` + t.lockFree("t")
	for next := 1; len(requests) > 0 && len(due) < limit; {
		some := requests[:t.dialect.chunk(min(next, len(requests)))] // one statement
		requests = requests[len(some):]
		more := limit - len(due)
		if err := t.queryEach(q, []any{micros(now), more + 1}, func(r scanner) error {
			k, err := scanTask(r)
			due = append(due, k)
			return err
		}, ints("request", requestNumbers(some))); err != nil {
			return nil, nil, err
		}
		over := huanxin.RequestID(math.MaxInt64)
		if len(due) > limit {
			over, due = due[limit].Request, due[:limit]
		}
		for _, id := range some {
			if id < over {
				done = append(done, id)
			}
		}
		next = lookAt(len(some), more-(limit-len(due)), limit-len(due))
	}
	return due, done, t.resolve(due)
}

// lookAt says how many requests to look at next for so many more tasks, when the last ones had found due. To look at a
// request is to read all its tasks, which on SQLite lie on a page each.
func lookAt(last, found, more int) int {
	return max(min(last*more/max(found, 1), 4*last), 1)
}

// WindClocks sets the clocks that the caller has by DueClocks to the earliest step of their requests' open tasks, and drops
// those of requests without. It says how many ring at now still.
//
// It looks after the tasks were changed, so that it sees what was committed since. What is not committed then waits for the
// clock in setEarlier.
func (t *Tx) WindClocks(requests []huanxin.RequestID, now time.Time) (due int64, err error) {
	next := clocks{}
	var gone []int64
	if err := t.queryEach(`SELECT r.request, COALESCE((SELECT MIN(t.step_at) FROM tasks t
			WHERE t.request = r.request AND t.open + 0 = 1 AND t.step_at > 0), 0) FROM {rows}`, nil, func(r scanner) error {
		var request, step int64
		err := r.Scan(&request, &step)
		if step == 0 {
			gone = append(gone, request)
			return err
		}
		next[huanxin.RequestID(request)] = step
		if step <= micros(now) {
			due++
		}
		return err
	}, ints("request", requestNumbers(requests))); err != nil {
		return 0, err
	}
	if len(gone) > 0 {
		if err := t.eachLater("DELETE FROM clocks WHERE request IN (SELECT request FROM {rows})", nil, ints("request", gone)); err != nil {
			return 0, err
		}
	}
	if len(next) > 0 {
		err = t.eachLater("UPDATE clocks SET step_at = r.step_at FROM {rows} WHERE clocks.request = r.request", nil, next.columns()...)
	}
	return due, err
}

func requestNumbers(ids []huanxin.RequestID) []int64 {
	out := make([]int64, len(ids))
	for i, id := range ids {
		out[i] = int64(id)
	}
	return out
}

// TasksToRetry gives at most limit failed tasks whose back-off is over at now.
func (t *Tx) TasksToRetry(now time.Time, limit int) ([]TaskRow, error) {
	return t.tasks("SELECT "+taskColumns+` FROM tasks t JOIN requests q ON q.id = t.request
		WHERE t.retry_at > 0 AND t.retry_at <= $1 ORDER BY t.retry_at LIMIT $2`+t.lockFree("t"), micros(now), limit)
}

// StepRow is one step of a task's clock that was taken.
type StepRow struct {
	ID        int64
	Task      huanxin.TaskID
	App       huanxin.PartyNo
	Step      huanxin.Step
	DueAt, At time.Time
	Message   int64 // the message that tells the contact; 0: none
	SentAt    time.Time
}

// InsertStep records a step.
func (t *Tx) InsertStep(s StepRow) (int64, error) {
	id, err := t.nextID("step", 1)
	if err != nil {
		return 0, err
	}
	_, err = t.exec("INSERT INTO steps (id, task, app, step, due_at, at, message) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		id, int64(s.Task), int64(s.App), int64(s.Step), micros(s.DueAt), micros(s.At), s.Message)
	return id, err
}

// Steps gives at most limit steps after an id, of one app or, with app 0, of all.
func (t *Tx) Steps(app huanxin.PartyNo, after int64, limit int) ([]StepRow, error) {
	where := "s.app = $1"
	if app == 0 {
		where = "$1 = 0"
	}
	rows, err := t.query(`SELECT s.id, s.task, s.app, s.step, s.due_at, s.at, s.message, COALESCE(m.delivered_at, 0)
		FROM steps s LEFT JOIN messages m ON m.id = s.message WHERE `+where+` AND s.id > $2 ORDER BY s.id LIMIT $3`,
		int64(app), after, limit)
	if err != nil {
		return nil, err
	}
	var out []StepRow
	err = scanAll(rows, func(r *sql.Rows) error {
		var s StepRow
		var due, at, sent int64
		err := r.Scan(&s.ID, &s.Task, &s.App, &s.Step, &due, &at, &s.Message, &sent)
		s.DueAt, s.At, s.SentAt = fromMicros(due), fromMicros(at), fromMicros(sent)
		out = append(out, s)
		return err
	})
	return out, err
}

// Message is a signed message to a party's contact, still to be sent or sent.
type Message struct {
	ID        int64
	Party     huanxin.PartyNo
	Body      string // JSON, never with a number
	CreatedAt time.Time
	Attempts  int
}

// NextMessage gives the id of the next message.
func (t *Tx) NextMessage() (int64, error) { return t.nextID("message", 1) }

// InsertMessage queues a message under the id that NextMessage gave.
func (t *Tx) InsertMessage(m Message) error {
	_, err := t.exec(`INSERT INTO messages (id, party, body, created_at, attempts, next_at, delivered_at, last_error)
		VALUES ($1, $2, $3, $4, 0, $4, 0, '')`, m.ID, int64(m.Party), m.Body, micros(m.CreatedAt))
	return err
}

// MessagesDue gives at most limit messages that are to be sent at now.
func (t *Tx) MessagesDue(now time.Time, limit int) ([]Message, error) {
	rows, err := t.query(`SELECT id, party, body, created_at, attempts FROM messages
		WHERE next_at > 0 AND next_at <= $1 ORDER BY next_at LIMIT $2`, micros(now), limit)
	if err != nil {
		return nil, err
	}
	var out []Message
	err = scanAll(rows, func(r *sql.Rows) error {
		var m Message
		var created int64
		err := r.Scan(&m.ID, &m.Party, &m.Body, &created, &m.Attempts)
		m.CreatedAt = fromMicros(created)
		out = append(out, m)
		return err
	})
	return out, err
}

// MessageSent records an attempt: it was delivered at a time, or (zero) failed with why and is tried again at next, or
// (zero) never.
func (t *Tx) MessageSent(id int64, delivered time.Time, why string, next time.Time) error {
	_, err := t.exec("UPDATE messages SET attempts = attempts + 1, delivered_at = $1, last_error = $2, next_at = $3 WHERE id = $4",
		micros(delivered), why, micros(next), id)
	return err
}
