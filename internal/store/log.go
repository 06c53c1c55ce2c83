package store

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// What waits for its position in a log, which are gapless, from 1. Of the feed log are batches of number events that streams are told
// of, the tasks of new requests, and notes about tasks.
const (
	logNumbers  = 1
	logAudit    = 2
	logRequests = 3
	logNotes    = 4
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

// waiting is a batch or an entry that waits for its positions.
type waiting struct {
	log, id, items int64
	told           bool // of a batch of number events: streams are
}

// waiting gives up to limit of what waits in the number log and the feed log, in the order of their positions, and up to limit
// entries of the audit log. It is one look: what came of something that is seen is not given a position before it. So number batches come
// first and notes last, and where there are more than limit these wait.
func (t *Tx) waiting(limit int) (log, audit []waiting, err error) {
	const columns = "SELECT log, id, events, told FROM unsequenced WHERE log "
	err = t.queryAll("SELECT * FROM ("+columns+"= 1 ORDER BY log, id LIMIT $1) a UNION ALL SELECT * FROM ("+
		columns+"> 2 ORDER BY log, id LIMIT $1) b UNION ALL SELECT * FROM ("+columns+"= 2 ORDER BY log, id LIMIT $1) c", []any{limit},
		func(r scanner) error {
			var w waiting
			var told int64
			err := r.Scan(&w.log, &w.id, &w.items, &told)
			w.told = told != 0
			if w.log == logAudit {
				audit = append(audit, w)
			} else {
				log = append(log, w)
			}
			return err
		})
	byID := func(a, b waiting) int { return cmp.Or(cmp.Compare(a.log, b.log), cmp.Compare(a.id, b.id)) }
	slices.SortFunc(log, byID)
	slices.SortFunc(audit, byID)
	return log[:min(len(log), limit)], audit, err
}

// Sequence gives waiting batches and entries their positions, up to limit in the number log and the feed log and up to limit in the
// audit log, in the order of their ids, and says how many. Of one number the batches are in that order already. Only the holder
// of the lease may call it.
func (t *Tx) Sequence(limit int) (int, error) {
	log, audit, err := t.waiting(limit)
	if err != nil || len(log)+len(audit) == 0 {
		return 0, err
	}
	if err := t.sequenceLog(log); err != nil {
		return 0, err
	}
	if err := t.sequenceAudit(audit); err != nil {
		return 0, err
	}
	all := append(log, audit...)
	which, id := make([]int64, len(all)), make([]int64, len(all))
	for i, w := range all {
		which[i], id[i] = w.log, w.id
	}
	_, err = t.execEach("DELETE FROM unsequenced WHERE (log, id) IN (SELECT log, id FROM {rows})", nil, ints("log", which), ints("id", id))
	return len(all), err
}

// sequenceLog gives positions in the number log, and in the feed log.
func (t *Tx) sequenceLog(all []waiting) error {
	if len(all) == 0 {
		return nil
	}
	head, err := t.LogHead()
	if err != nil {
		return err
	}
	feedHead, err := t.FeedHead()
	if err != nil {
		return err
	}
	var first, batch, events, feedFirst, kind, ref, items []int64
	for _, w := range all {
		if w.log == logNumbers {
			first, batch, events = append(first, head+1), append(batch, w.id), append(events, w.items)
			head += w.items
			if !w.told {
				continue
			}
		}
		feedFirst, kind, ref, items = append(feedFirst, feedHead+1), append(kind, int64(feedKinds[w.log])), append(ref, w.id), append(items, w.items)
		feedHead += w.items
	}
	if len(first) > 0 {
		if err := t.eachLater("INSERT INTO log_positions (first, batch, events) SELECT first, batch, events FROM {rows}", nil,
			ints("first", first), ints("batch", batch), ints("events", events)); err != nil {
			return err
		}
	}
	if len(feedFirst) == 0 {
		return nil
	}
	return t.eachLater("INSERT INTO feed_positions (first, kind, ref, items) SELECT first, kind, ref, items FROM {rows}", nil,
		ints("first", feedFirst), ints("kind", kind), ints("ref", ref), ints("items", items))
}

// feedKinds is what a row of the feed log is that waited in a log.
var feedKinds = map[int64]FeedKind{logNumbers: FeedOfEvents, logRequests: FeedOfRequest, logNotes: FeedOfTaskNotes}

// sequenceAudit gives positions in the audit log.
func (t *Tx) sequenceAudit(all []waiting) error {
	if len(all) == 0 {
		return nil
	}
	next, err := t.head("SELECT position + 1 FROM audit_positions ORDER BY position DESC LIMIT 1")
	if err != nil {
		return err
	}
	position, entry := make([]int64, len(all)), make([]int64, len(all))
	for i, w := range all {
		position[i], entry[i] = next+int64(i), w.id
	}
	return t.eachLater("INSERT INTO audit_positions (position, audit) SELECT position, entry FROM {rows}", nil,
		ints("position", position), ints("entry", entry))
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
	_, err = t.queryRow("SELECT COUNT(*) FROM unsequenced", nil, &n)
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
