package store

import (
	"database/sql"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Intake is what a new request of a number is judged by, and its id.
type Intake struct {
	Standing huanxin.Standing  // no event changes it until the transaction ends; of a number never reported it is zero and not locked
	Earlier  []huanxin.Request // of the same tenure, oldest first
	id       int64
}

// AskIntake asks for an Intake, which is there after the next Await.
func (t *Tx) AskIntake(n huanxin.Number) (*Intake, error) {
	in := &Intake{}
	digits := int64(n.Digits())
	if err := t.later("SELECT "+numberColumns+" FROM numbers n WHERE n.number = $1 {lock}", []any{digits}, func(r scanner) error {
		row, err := scanNumber(r)
		in.Standing = row.Standing
		return err
	}, nil); err != nil {
		return nil, err
	}
	// A statement of its own: it sees what was committed before the lock was had.
	if err := t.later("SELECT "+requestColumns+" FROM requests q WHERE q.tenure = (SELECT tenure FROM numbers WHERE number = $1) ORDER BY q.id",
		[]any{digits}, func(s scanner) error {
			r, err := scanRequest(s)
			in.Earlier = append(in.Earlier, r)
			return err
		}, nil); err != nil {
		return nil, err
	}
	if t.dialect.name() != "postgres" { // there an id is a row that is written: not before it is needed
		return in, nil
	}
	return in, t.later("SELECT nextval('request_ids')", nil, func(r scanner) error { return r.Scan(&in.id) }, nil)
}

// InsertRequest writes a request, at the latest with the commit, and gives it its id: that of the intake, unless it is nil. So many
// tasks are made with it, at SubmittedAt, which wait for their positions in the feed log.
func (t *Tx) InsertRequest(in *Intake, r huanxin.Request, tasks int, seal func(huanxin.RequestID) []byte) (_ huanxin.RequestID, err error) {
	var id int64
	if in != nil {
		id, in.id = in.id, 0
	}
	if id == 0 {
		if id, err = t.nextID("request", 1); err != nil {
			return 0, err
		}
	}
	const insert = `INSERT INTO requests (id, sealed, lookup, tenure, started_at, origin, carrier, asked_by, submitted_at,
			control, identity, verified_at, cancelled_at, aborted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0)`
	args := []any{id, seal(huanxin.RequestID(id)), r.Lookup, int64(r.Tenure), micros(r.StartedAt), int64(r.Origin), int64(r.Carrier),
		int64(r.AskedBy), micros(r.SubmittedAt), int64(r.Proof.Control), int64(r.Proof.Identity), micros(r.Proof.VerifiedAt)}
	if t.dialect.name() == "postgres" && tasks > 0 { // in one statement
		return huanxin.RequestID(id), t.later("WITH made AS ("+insert+" RETURNING id) INSERT INTO feed_waiting (kind, ref, items) SELECT $13, id, $14 FROM made",
			append(args, int64(FeedOfRequest), tasks), nil, nil)
	}
	err = t.later(insert, args, nil, nil)
	if err == nil && tasks > 0 {
		err = t.feedLater(FeedOfRequest, id, tasks)
	}
	return huanxin.RequestID(id), err
}

const requestColumns = `q.id, q.sealed, q.lookup, q.tenure, q.started_at, q.origin, q.carrier, q.asked_by, q.submitted_at,
	q.control, q.identity, q.verified_at, q.cancelled_at, q.aborted_at`

func (t *Tx) requests(where string, arg any) ([]huanxin.Request, error) {
	rows, err := t.query("SELECT "+requestColumns+" FROM requests q WHERE "+where+" ORDER BY q.id", arg)
	if err != nil {
		return nil, err
	}
	var out []huanxin.Request
	err = scanAll(rows, func(s *sql.Rows) error {
		r, err := scanRequest(s)
		out = append(out, r)
		return err
	})
	return out, err
}

func scanRequest(s scanner) (huanxin.Request, error) {
	var r huanxin.Request
	var started, submitted, verified, cancelled, aborted int64
	err := s.Scan(&r.ID, &r.Sealed, &r.Lookup, &r.Tenure, &started, &r.Origin, &r.Carrier, &r.AskedBy, &submitted,
		&r.Proof.Control, &r.Proof.Identity, &verified, &cancelled, &aborted)
	r.StartedAt, r.SubmittedAt, r.Proof.VerifiedAt = fromMicros(started), fromMicros(submitted), fromMicros(verified)
	r.CancelledAt, r.AbortedAt = fromMicros(cancelled), fromMicros(aborted)
	return r, err
}

// Request gives a request; found is false where there is none.
func (t *Tx) Request(id huanxin.RequestID) (r huanxin.Request, found bool, err error) {
	all, err := t.requests("q.id = $1", int64(id))
	if err != nil || len(all) == 0 {
		return r, false, err
	}
	return all[0], true, nil
}

// LockRequest is Request, and nobody else changes the request until the transaction ends.
func (t *Tx) LockRequest(id huanxin.RequestID) (r huanxin.Request, found bool, err error) {
	var got int64
	if found, err = t.queryRow("SELECT id FROM requests WHERE id = $1 {lock}", []any{int64(id)}, &got); err != nil || !found {
		return r, false, err
	}
	return t.Request(id)
}

// RequestsOfTenure gives every request of a tenure, oldest first.
func (t *Tx) RequestsOfTenure(tenure huanxin.TenureID) ([]huanxin.Request, error) {
	return t.requests("q.tenure = $1", int64(tenure))
}

// RequestsOfNumber gives every request of a number by its keyed hash, oldest first.
func (t *Tx) RequestsOfNumber(lookup []byte) ([]huanxin.Request, error) {
	return t.requests("q.lookup = $1", lookup)
}

// CancelRequest marks a request as cancelled.
func (t *Tx) CancelRequest(id huanxin.RequestID, now time.Time) error {
	_, err := t.exec("UPDATE requests SET cancelled_at = $1 WHERE id = $2", micros(now), int64(id))
	return err
}

// AbortTenures aborts the requests of tenures that ended, and ends their tasks. It says how many requests there were. It
// locks them first, so that a task that is being added to one ends with the others.
func (t *Tx) AbortTenures(tenures []huanxin.TenureID, now time.Time) (int64, error) {
	if len(tenures) == 0 {
		return 0, nil
	}
	ids := make([]int64, len(tenures))
	for i, id := range tenures {
		ids[i] = int64(id)
	}
	var requests []int64
	if err := t.queryEach(`SELECT q.id FROM {rows} {join} requests q ON q.tenure = r.tenure
		WHERE q.cancelled_at = 0 AND q.aborted_at = 0`+t.lockInOrder("q", "id"), nil, func(r scanner) error {
		var id int64
		err := r.Scan(&id)
		requests = append(requests, id)
		return err
	}, ints("tenure", ids)); err != nil || len(requests) == 0 {
		return 0, err
	}
	if err := t.EndTasks(requests, huanxin.TaskAborted, now); err != nil {
		return 0, err
	}
	return t.execEach("UPDATE requests SET aborted_at = $1 WHERE id IN (SELECT id FROM {rows})", []any{micros(now)}, ints("id", requests))
}

// EndTasks ends what is open of requests in the given state, with a note of each, and marks every task of theirs as ended from
// outside: what its app answered and the holder was not shown yet is never shown.
func (t *Tx) EndTasks(requests []int64, state huanxin.TaskState, now time.Time) error {
	ids := ints("id", requests)
	var open []huanxin.TaskID
	// They are locked in the order in which answers lock them; an UPDATE has none.
	if err := t.queryEach("SELECT t.id, t.open FROM tasks t WHERE t.request IN (SELECT id FROM {rows}) AND t.ended_at = 0"+t.lockInOrder("t", "id"), nil,
		func(r scanner) error {
			var id huanxin.TaskID
			var isOpen int64
			err := r.Scan(&id, &isOpen)
			if isOpen == 1 {
				open = append(open, id)
			}
			return err
		}, ids); err != nil {
		return err
	}
	if err := t.eachLater(`UPDATE tasks SET state = CASE WHEN open = 1 THEN $1 ELSE state END, open = 0, ended_at = $2,
			step_at = 0, retry_at = 0
		WHERE request IN (SELECT id FROM {rows}) AND ended_at = 0`, []any{int64(state), micros(now)}, ids); err != nil {
		return err
	}
	note := huanxin.NoteAborted
	if state == huanxin.TaskCancelled {
		note = huanxin.NoteCancelled
	}
	slices.Sort(open)
	return t.InsertNotes(note, open, now)
}

// MoveRequests gives the requests of running tenures to the carriers that now serve their numbers.
func (t *Tx) MoveRequests(to map[huanxin.TenureID]huanxin.PartyNo) error {
	if len(to) == 0 {
		return nil
	}
	var tenure, carrier []int64
	for id := range to {
		tenure = append(tenure, int64(id))
	}
	slices.Sort(tenure)
	for _, id := range tenure {
		carrier = append(carrier, int64(to[huanxin.TenureID(id)]))
	}
	_, err := t.execEach(`UPDATE requests SET carrier = r.carrier FROM {rows} WHERE requests.tenure = r.tenure`, nil,
		ints("tenure", tenure), ints("carrier", carrier))
	return err
}

// Remembered is what a client was answered under an idempotency key.
type Remembered struct {
	Digest  []byte
	Result  int64
	Refusal string
}

// Recall gives what was answered under a key; found is false where nothing was.
func (t *Tx) Recall(client, key string) (m Remembered, found bool, err error) {
	found, err = t.queryRow(recall, []any{client, key}, &m.Digest, &m.Result, &m.Refusal)
	return m, found, err
}

// Remember keeps what is answered under a key.
func (t *Tx) Remember(client, key string, m Remembered, now time.Time) error {
	return t.later("INSERT INTO idempotency (client, key, digest, result, refusal, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		[]any{client, key, m.Digest, m.Result, m.Refusal, micros(now)}, nil, nil)
}

// Claim is what is known of an idempotency key: whether the caller is the only one that works on it until the transaction
// ends, on any hub, and what was answered under it, if Found.
type Claim struct {
	Alone, Found bool
	Remembered
}

// AskClaim claims a key. The Claim is there after the next Await. These are two statements, so that the second sees what was
// committed before the first got its lock.
func (t *Tx) AskClaim(client, key string) (*Claim, error) {
	c := &Claim{Alone: true} // SQLite has one writer
	if t.dialect.name() == "postgres" {
		if err := t.later(claimKey, []any{client + "\n" + key}, func(r scanner) error { return r.Scan(&c.Alone) }, nil); err != nil {
			return nil, err
		}
	}
	return c, t.later(recall, []any{client, key}, func(r scanner) error {
		c.Found = true
		return r.Scan(&c.Digest, &c.Result, &c.Refusal)
	}, nil)
}

const (
	claimKey = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 7204))"
	recall   = "SELECT digest, result, refusal FROM idempotency WHERE client = $1 AND key = $2"
)

// ForgetKeys forgets at most limit keys that were remembered before a time, and says how many.
func (t *Tx) ForgetKeys(before time.Time, limit int) (int64, error) {
	res, err := t.exec(`DELETE FROM idempotency WHERE (client, key) IN
		(SELECT client, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)`, micros(before), limit)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
