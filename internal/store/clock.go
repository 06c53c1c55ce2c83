package store

import (
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// TasksDue gives at most limit open tasks whose clock has a step to take at now, the most overdue first.
func (t *Tx) TasksDue(now time.Time, limit int) ([]TaskRow, error) {
	return t.tasks("SELECT "+taskColumns+` FROM tasks t JOIN requests q ON q.id = t.request
		WHERE t.open = 1 AND t.step_at > 0 AND t.step_at <= $1 ORDER BY t.step_at LIMIT $2`+t.lockFree("t"), micros(now), limit)
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
