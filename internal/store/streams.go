package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// StreamRow is a stream as it is kept: its Header is empty, for that is sealed.
type StreamRow struct {
	huanxin.Stream
	Sealed   []byte // the authorization header of push; empty: none
	Subjects int64  // how many numbers were added to it, or removed from it
}

const streamColumns = `SELECT id, client, method, endpoint, header, requested, description, wake_up, status, reason, by_hub, created_at,
	verified_at, subjects FROM streams `

// LockClient keeps others from taking the same lock until the transaction ends, and reports whether there is such a client.
func (t *Tx) LockClient(id string) (found bool, err error) {
	return t.queryRow("SELECT id FROM clients WHERE id = $1 {lock}", []any{id}, &id)
}

// NextStream gives the number of a new stream. None is ever given twice.
func (t *Tx) NextStream() (huanxin.StreamID, error) {
	id, err := t.nextID("stream", 1)
	return huanxin.StreamID(id), err
}

// InsertStream adds a stream, which begins at the head of the feed.
func (t *Tx) InsertStream(s StreamRow) error {
	requested, err := json.Marshal(s.Requested)
	if err != nil {
		return err
	}
	end, err := t.feedEnd()
	if err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO streams (id, client, method, endpoint, header, requested, description, wake_up, status, reason, by_hub,
			created_at, verified_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		int64(s.ID), s.Client, int64(s.Method), s.Endpoint, some(s.Sealed), string(requested), s.Description, s.WakeUp,
		int64(s.Status), s.Reason, bit(s.ByHub), micros(s.CreatedAt), micros(s.VerifiedAt)); err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO stream_states (stream, start, tell_from, outbox, active_at) VALUES ($1, $2, $3, $4, $5)",
		int64(s.ID), end-1, end, []byte{}, micros(s.CreatedAt))
	return err
}

// some is b, but never NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// feedEnd gives the position that the next item of the feed log will have at least.
func (t *Tx) feedEnd() (int64, error) {
	return t.head("SELECT first + items FROM feed_positions ORDER BY first DESC LIMIT 1")
}

// Stream gives a stream; found is false where there is none.
func (t *Tx) Stream(id huanxin.StreamID) (s StreamRow, found bool, err error) {
	return t.stream("WHERE id = $1", int64(id))
}

// LockStream is Stream, and nobody else changes the stream or its subjects until the transaction ends. Whoever locks the stream's
// state too does it afterwards.
func (t *Tx) LockStream(id huanxin.StreamID) (s StreamRow, found bool, err error) {
	return t.stream("WHERE id = $1 {lock}", int64(id))
}

func (t *Tx) stream(where string, args ...any) (s StreamRow, found bool, err error) {
	all, err := t.streams(where, args...)
	if err != nil || len(all) == 0 {
		return s, false, err
	}
	return all[0], true, nil
}

// StreamsOf gives a client's streams, in the order in which they were made.
func (t *Tx) StreamsOf(client string) ([]StreamRow, error) {
	return t.streams("WHERE client = $1 ORDER BY id", client)
}

// Streams gives every stream, in the order in which they were made.
func (t *Tx) Streams() ([]StreamRow, error) { return t.streams("ORDER BY id") }

// IdleStreams gives enabled streams whose receivers were not heard of since a time.
func (t *Tx) IdleStreams(since time.Time) (ids []huanxin.StreamID, err error) {
	rows, err := t.query(`SELECT s.id FROM streams s JOIN stream_states a ON a.stream = s.id
		WHERE s.status = $1 AND a.active_at < $2 ORDER BY s.id`, int64(huanxin.StreamEnabled), micros(since))
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, huanxin.StreamID(id))
		return err
	})
	return ids, err
}

func (t *Tx) streams(where string, args ...any) (out []StreamRow, err error) {
	rows, err := t.query(streamColumns+where, args...)
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var s StreamRow
		var requested string
		var created, verified int64
		if err := r.Scan(&s.ID, &s.Client, &s.Method, &s.Endpoint, &s.Sealed, &requested, &s.Description, &s.WakeUp, &s.Status, &s.Reason,
			&s.ByHub, &created, &verified, &s.Subjects); err != nil {
			return err
		}
		s.CreatedAt, s.VerifiedAt = fromMicros(created), fromMicros(verified)
		out = append(out, s)
		return json.Unmarshal([]byte(requested), &out[len(out)-1].Requested)
	})
	return out, err
}

// SaveStream writes what may change of a stream. The caller has locked it.
func (t *Tx) SaveStream(s StreamRow) error {
	requested, err := json.Marshal(s.Requested)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE streams SET method = $2, endpoint = $3, header = $4, requested = $5, description = $6, wake_up = $7,
			status = $8, reason = $9, by_hub = $10, verified_at = $11 WHERE id = $1`,
		int64(s.ID), int64(s.Method), s.Endpoint, some(s.Sealed), string(requested), s.Description, s.WakeUp,
		int64(s.Status), s.Reason, bit(s.ByHub), micros(s.VerifiedAt))
	return err
}

// SkipFeed says that a stream is not told of what stands in the feed by now, but for what its receiver has been handed already.
func (t *Tx) SkipFeed(id huanxin.StreamID) error {
	end, err := t.feedEnd()
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE stream_states SET tell_from = $2 WHERE stream = $1", int64(id), end)
	return err
}

// TouchStream says that a stream's receiver was heard of at a time.
func (t *Tx) TouchStream(id huanxin.StreamID, at time.Time) error {
	_, err := t.exec("UPDATE stream_states SET active_at = $2 WHERE stream = $1 AND active_at < $2", int64(id), micros(at))
	return err
}

// StreamActive gives when a stream's receiver was last heard of.
func (t *Tx) StreamActive(id huanxin.StreamID) (at time.Time, err error) {
	var n int64
	_, err = t.queryRow("SELECT active_at FROM stream_states WHERE stream = $1", []any{int64(id)}, &n)
	return fromMicros(n), err
}

// DeleteStream takes a stream away that the caller has locked. What may be much of it is left for ClearStreams.
func (t *Tx) DeleteStream(id huanxin.StreamID) error {
	for _, q := range []string{
		"DELETE FROM streams WHERE id = $1", "DELETE FROM stream_states WHERE stream = $1", "DELETE FROM stream_signals WHERE stream = $1",
		"INSERT INTO stream_remains (stream) VALUES ($1)",
	} {
		if _, err := t.exec(q, int64(id)); err != nil {
			return err
		}
	}
	return nil
}

// ClearStreams takes away at most limit rows that streams left which were deleted, and says whether there may be more.
func (t *Tx) ClearStreams(limit int) (more bool, err error) {
	var stream int64
	found, err := t.queryRow("SELECT stream FROM stream_remains ORDER BY stream LIMIT 1"+t.lockFree("stream_remains"), nil, &stream)
	if err != nil || !found {
		return false, err
	}
	for _, q := range []string{
		`DELETE FROM stream_subjects WHERE stream = $1 AND lookup IN (SELECT lookup FROM stream_subjects WHERE stream = $1 LIMIT $2)`,
		`DELETE FROM dead_letters WHERE stream = $1 AND no IN (SELECT no FROM dead_letters WHERE stream = $1 LIMIT $2)`,
	} {
		res, err := t.exec(q, stream, limit)
		if err != nil {
			return false, err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return true, err
		}
	}
	_, err = t.exec("DELETE FROM stream_remains WHERE stream = $1", stream)
	return true, err
}

// AddSubjects adds numbers, by their keyed hashes, to a stream, and says how many were not added before. They count from the feed's end on, but
// those on which the stream has said nothing yet from the beginning where always says so. The caller has locked the stream.
func (t *Tx) AddSubjects(id huanxin.StreamID, lookups [][]byte, always bool) (changed int64, err error) {
	since, err := t.feedEnd()
	if err != nil {
		return 0, err
	}
	again, err := t.turnSubjects(id, lookups, true, since)
	if err != nil {
		return 0, err
	}
	if always {
		since = 0
	}
	made, err := t.newSubjects(id, lookups, true, since)
	return again + made, err
}

// RemoveSubjects removes numbers from a stream, from the beginning on: what has been handed out stays so, and nothing else is told of them. Of
// those on which the stream has said nothing yet a row is made if fresh says so. It says how many were not removed before. The
// caller has locked the stream.
func (t *Tx) RemoveSubjects(id huanxin.StreamID, lookups [][]byte, fresh bool) (changed int64, err error) {
	turned, err := t.turnSubjects(id, lookups, false, 0)
	if err != nil || !fresh {
		return turned, err
	}
	made, err := t.newSubjects(id, lookups, false, 0)
	return turned + made, err
}

func (t *Tx) turnSubjects(id huanxin.StreamID, lookups [][]byte, added bool, since int64) (int64, error) {
	return t.execEach(`UPDATE stream_subjects SET added = CAST($2 AS SMALLINT), since = CAST($3 AS BIGINT)
		FROM {rows} WHERE stream_subjects.lookup = r.lookup AND stream_subjects.stream = $1 AND stream_subjects.added + 0 <> $2`,
		[]any{int64(id), bit(added), since}, blobs("lookup", lookups))
}

func (t *Tx) newSubjects(id huanxin.StreamID, lookups [][]byte, added bool, since int64) (made int64, err error) {
	made, err = t.execEach(`INSERT INTO stream_subjects (lookup, stream, added, since)
		SELECT lookup, CAST($1 AS BIGINT), CAST($2 AS SMALLINT), CAST($3 AS BIGINT) FROM {rows} WHERE true ON CONFLICT (lookup, stream) DO NOTHING`,
		[]any{int64(id), bit(added), since}, blobs("lookup", lookups))
	if err != nil || made == 0 {
		return made, err
	}
	_, err = t.exec("UPDATE streams SET subjects = subjects + $2 WHERE id = $1", int64(id), made)
	return made, err
}

// KnownSubjects gives those of the numbers, by their keyed hashes, on which a stream has said something.
func (t *Tx) KnownSubjects(id huanxin.StreamID, lookups [][]byte) (known map[string]bool, err error) {
	known = map[string]bool{}
	err = t.queryEach("SELECT s.lookup FROM {rows} {join} stream_subjects s ON s.lookup = r.lookup AND s.stream = $1", []any{int64(id)},
		func(r scanner) error {
			var lookup []byte
			err := r.Scan(&lookup)
			known[string(lookup)] = true
			return err
		}, blobs("lookup", lookups))
	return known, err
}

// RenameSubjects gives a stream's subjects, by keyed hashes of old keys, the hashes of the present key.
func (t *Tx) RenameSubjects(id huanxin.StreamID, from, to [][]byte) error {
	_, err := t.execEach("UPDATE stream_subjects SET lookup = r.new FROM {rows} WHERE stream = $1 AND lookup = r.old", []any{int64(id)},
		blobs("old", from), blobs("new", to))
	return err
}

// SignalKind is what a stream is told about itself.
type SignalKind uint8

// The kinds of signal.
const (
	SignalVerification SignalKind = iota + 1
	SignalUpdated
)

// Signal is something that a stream is told about itself, outside of the feed.
type Signal struct {
	ID     int64
	Stream huanxin.StreamID
	Kind   SignalKind
	State  string // what to echo, or the status
	Reason string
	At     time.Time
}

// keptSignals is how many signals of a stream wait at most: a receiver that asks for verifications and never fetches them would else
// fill the table.
const keptSignals = 100

// InsertSignal adds a signal, whose id is given to it, and drops the oldest where too many wait. The caller has locked the stream.
func (t *Tx) InsertSignal(s Signal) error {
	id, err := t.nextID("stream_signal", 1)
	if err != nil {
		return err
	}
	if _, err := t.exec("INSERT INTO stream_signals (id, stream, kind, state, reason, at) VALUES ($1, $2, $3, $4, $5, $6)",
		id, int64(s.Stream), int64(s.Kind), s.State, s.Reason, micros(s.At)); err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM stream_signals WHERE stream = $1 AND id <=
		(SELECT id FROM stream_signals WHERE stream = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)`, int64(s.Stream), keptSignals)
	return err
}
