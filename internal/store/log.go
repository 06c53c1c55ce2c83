package store

import (
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// The logs that the sequencer gives gapless positions, from 1.
const (
	logNumbers = 1
	logAudit   = 2
)

func (t *Tx) enqueue(log, id int64, events int) error {
	return t.later("INSERT INTO unsequenced (log, id, events) VALUES ($1, $2, $3)", []any{log, id, events}, nil, nil)
}

// AuditEntry is one line of the audit log: who did what to what, or was refused.
type AuditEntry struct {
	At      time.Time
	Party   huanxin.PartyNo // 0: the hub itself
	Client  string
	Action  string
	Subject string // what it was done to, never a number
	Refused string // the code of the refusal; empty: it was done
	Detail  string // JSON, never with a number
}

// Audit appends an entry, which waits for its position.
func (t *Tx) Audit(e AuditEntry) error {
	if t.dialect.name() == "postgres" { // in one round trip
		return t.later(`WITH entry AS (INSERT INTO audit (id, at, party, client, action, subject, refused, detail)
				VALUES (nextval('audit_ids'), $1, $2, $3, $4, $5, $6, $7) RETURNING id)
			INSERT INTO unsequenced (log, id, events) SELECT 2, id, 1 FROM entry`,
			[]any{micros(e.At), int64(e.Party), e.Client, e.Action, e.Subject, e.Refused, e.Detail}, nil, nil)
	}
	id, err := t.nextID("audit", 1)
	if err != nil {
		return err
	}
	if _, err := t.exec("INSERT INTO audit (id, at, party, client, action, subject, refused, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		id, micros(e.At), int64(e.Party), e.Client, e.Action, e.Subject, e.Refused, e.Detail); err != nil {
		return err
	}
	return t.enqueue(logAudit, id, 1)
}

// Sequence gives up to limit waiting batches and entries their positions, in the order of their ids, and up to limit of what waits in
// the feed log. It says how many. Of one number the batches are in that order already. Only the holder of the lease may call it.
func (t *Tx) Sequence(limit int) (int, error) {
	feed, err := t.feedWaiting(limit) // before the look at batches, so that these are seen, too
	if err != nil {
		return 0, err
	}
	n, batches, err := t.sequenceLogs(limit)
	if err != nil || batches == limit { // perhaps there are more, which stand in the number log before anybody is told of them
		return n, err
	}
	return n + len(feed), t.sequenceFeed(feed)
}

// sequenceLogs gives positions in the number log and the audit log, and says how many in all, and how many to batches of events.
func (t *Tx) sequenceLogs(limit int) (n, batches int, err error) {
	type waiting struct{ log, id, events int64 }
	rows, err := t.query("SELECT log, id, events FROM unsequenced ORDER BY log, id LIMIT $1", limit)
	if err != nil {
		return 0, 0, err
	}
	var all []waiting
	if err := scanAll(rows, func(r *sql.Rows) error {
		var w waiting
		err := r.Scan(&w.log, &w.id, &w.events)
		all = append(all, w)
		return err
	}); err != nil || len(all) == 0 {
		return 0, 0, err
	}
	nextNumber, err := t.head("SELECT first + events FROM log_positions ORDER BY first DESC LIMIT 1")
	if err != nil {
		return 0, 0, err
	}
	nextAudit, err := t.head("SELECT position + 1 FROM audit_positions ORDER BY position DESC LIMIT 1")
	if err != nil {
		return 0, 0, err
	}
	var first, batch, events, position, entry, log, id []int64
	for _, w := range all {
		log, id = append(log, w.log), append(id, w.id)
		if w.log == logNumbers {
			first, batch, events = append(first, nextNumber), append(batch, w.id), append(events, w.events)
			nextNumber += w.events
			continue
		}
		position, entry = append(position, nextAudit), append(entry, w.id)
		nextAudit++
	}
	if len(first) > 0 {
		if _, err := t.execEach("INSERT INTO log_positions (first, batch, events) SELECT first, batch, events FROM {rows}", nil,
			ints("first", first), ints("batch", batch), ints("events", events)); err != nil {
			return 0, 0, err
		}
	}
	if len(position) > 0 {
		if _, err := t.execEach("INSERT INTO audit_positions (position, audit) SELECT position, entry FROM {rows}", nil,
			ints("position", position), ints("entry", entry)); err != nil {
			return 0, 0, err
		}
	}
	_, err = t.execEach("DELETE FROM unsequenced WHERE (log, id) IN (SELECT log, id FROM {rows})", nil, ints("log", log), ints("id", id))
	return len(all), len(first), err
}

func (t *Tx) head(q string) (next int64, err error) {
	next = 1
	_, err = t.queryRow(q, nil, &next)
	return next, err
}

// LogHead gives the last position of the number log; 0: it is empty.
func (t *Tx) LogHead() (int64, error) {
	next, err := t.head("SELECT first + events FROM log_positions ORDER BY first DESC LIMIT 1")
	return next - 1, err
}

// Unsequenced gives how many batches and entries wait for a position.
func (t *Tx) Unsequenced() (n int64, err error) {
	_, err = t.queryRow("SELECT (SELECT COUNT(*) FROM unsequenced) + (SELECT COUNT(*) FROM feed_waiting)", nil, &n)
	return n, err
}

// AuditFrom gives at most limit entries of the audit log from a position on.
func (t *Tx) AuditFrom(position int64, limit int) ([]AuditEntry, error) {
	rows, err := t.query(`SELECT a.at, a.party, a.client, a.action, a.subject, a.refused, a.detail
		FROM audit_positions p JOIN audit a ON a.id = p.audit WHERE p.position >= $1 ORDER BY p.position LIMIT $2`, position, limit)
	if err != nil {
		return nil, err
	}
	var out []AuditEntry
	err = scanAll(rows, func(r *sql.Rows) error {
		var e AuditEntry
		var at int64
		err := r.Scan(&at, &e.Party, &e.Client, &e.Action, &e.Subject, &e.Refused, &e.Detail)
		e.At = fromMicros(at)
		out = append(out, e)
		return err
	})
	return out, err
}
