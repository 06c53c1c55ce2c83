package store

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// StreamState is how far a stream is.
type StreamState struct {
	Stream   huanxin.StreamID
	Start    int64  // it is told of what has a later position
	TellFrom int64  // what has an earlier position is not handed out any more
	Outbox   []byte // see huanxin.Outbox
	ActiveAt time.Time
}

const streamStateColumns = "stream, start, tell_from, outbox, active_at"

func (t *Tx) streamState(q string, args ...any) (s StreamState, found bool, err error) {
	var active int64
	found, err = t.queryRow(q, args, &s.Stream, &s.Start, &s.TellFrom, &s.Outbox, &active)
	s.ActiveAt = fromMicros(active)
	return s, found, err
}

// StreamState gives how far a stream is; found is false where it is gone.
func (t *Tx) StreamState(id huanxin.StreamID) (s StreamState, found bool, err error) {
	return t.streamState("SELECT "+streamStateColumns+" FROM stream_states WHERE stream = $1", int64(id))
}

// LockStreamState is StreamState, and nobody else moves the stream until the transaction ends.
func (t *Tx) LockStreamState(id huanxin.StreamID) (s StreamState, found bool, err error) {
	return t.streamState("SELECT "+streamStateColumns+" FROM stream_states WHERE stream = $1 {lock}", int64(id))
}

// SaveOutbox writes what became of a stream's outbox, at the latest with the commit. Whoever saves has locked the state.
func (t *Tx) SaveOutbox(id huanxin.StreamID, outbox []byte) error {
	return t.later("UPDATE stream_states SET outbox = $2 WHERE stream = $1", []any{int64(id), outbox}, nil, nil)
}

// RewindStream saves an outbox that was set back, and up to where what came before was left out.
func (t *Tx) RewindStream(id huanxin.StreamID, outbox []byte, tellFrom int64) error {
	_, err := t.exec("UPDATE stream_states SET outbox = $2, tell_from = CASE WHEN tell_from < $3 THEN tell_from ELSE $3 END WHERE stream = $1",
		int64(id), outbox, tellFrom)
	return err
}

// EachStreamState gives how far every stream is, and how it is delivered.
func (t *Tx) EachStreamState(f func(StreamState, huanxin.DeliveryMethod) error) error {
	return t.queryAll(`SELECT a.stream, a.start, a.tell_from, a.outbox, a.active_at, s.method
		FROM stream_states a JOIN streams s ON s.id = a.stream ORDER BY a.stream`, nil, func(r scanner) error {
		var s StreamState
		var method huanxin.DeliveryMethod
		var active int64
		if err := r.Scan(&s.Stream, &s.Start, &s.TellFrom, &s.Outbox, &active, &method); err != nil {
			return err
		}
		s.ActiveAt = fromMicros(active)
		return f(s, method)
	})
}

// PushStream is a stream that something may be pushed to.
type PushStream struct {
	ID     huanxin.StreamID
	Client string
}

// PushStreams gives the streams that are pushed and transmit, or have to be told that they do not any more.
func (t *Tx) PushStreams() (out []PushStream, err error) {
	err = t.queryAll(`SELECT id, client FROM streams
		WHERE method = $1 AND (status = $2 OR EXISTS (SELECT 1 FROM stream_signals g WHERE g.stream = streams.id)) ORDER BY id`,
		[]any{int64(huanxin.DeliverByPush), int64(huanxin.StreamEnabled)}, func(r scanner) error {
			var s PushStream
			err := r.Scan(&s.ID, &s.Client)
			out = append(out, s)
			return err
		})
	return out, err
}

// WakeUpStream is a stream whose receiver wants to be told when there is something to poll.
type WakeUpStream struct {
	PushStream
	WakeUp string
}

// WakeUpStreams gives the streams that are polled, transmit, and whose receivers want to be told.
func (t *Tx) WakeUpStreams() (out []WakeUpStream, err error) {
	err = t.queryAll("SELECT id, client, wake_up FROM streams WHERE method = $1 AND status = $2 AND wake_up <> '' ORDER BY id",
		[]any{int64(huanxin.DeliverByPoll), int64(huanxin.StreamEnabled)}, func(r scanner) error {
			var s WakeUpStream
			err := r.Scan(&s.ID, &s.Client, &s.WakeUp)
			out = append(out, s)
			return err
		})
	return out, err
}

func (t *Tx) signals(q string, args ...any) (out []Signal, err error) {
	err = t.queryAll("SELECT id, stream, kind, state, reason, at FROM stream_signals "+q, args, func(r scanner) error {
		var s Signal
		var at int64
		err := r.Scan(&s.ID, &s.Stream, &s.Kind, &s.State, &s.Reason, &at)
		s.At = fromMicros(at)
		out = append(out, s)
		return err
	})
	return out, err
}

// Signals gives a stream's signals, oldest first.
func (t *Tx) Signals(stream huanxin.StreamID) ([]Signal, error) {
	return t.signals("WHERE stream = $1 ORDER BY id", int64(stream))
}

// SignalsAfter gives at most limit of all streams' signals with ids above one. A signal may be committed after one with a higher id.
func (t *Tx) SignalsAfter(id int64, limit int) ([]Signal, error) {
	return t.signals("WHERE id > $1 ORDER BY id LIMIT $2", id, limit)
}

// DeleteSignals takes away what a stream has heard, at the latest with the commit.
func (t *Tx) DeleteSignals(stream huanxin.StreamID, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return t.eachLater("DELETE FROM stream_signals WHERE stream = $1 AND id IN (SELECT id FROM {rows})", []any{int64(stream)}, ints("id", ids))
}

// DeadLetter is a SET that its receiver refused, or that could not be brought.
type DeadLetter struct {
	No          huanxin.FeedNo
	Err         string
	Description string
	Attempts    int
	At          time.Time
}

// InsertDeadLetters keeps what a stream's receiver did not take. One that is there already is replaced.
func (t *Tx) InsertDeadLetters(stream huanxin.StreamID, letters []DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	n := len(letters)
	no, attempts, at := make([]int64, n), make([]int64, n), make([]int64, n)
	errs, descriptions := make([]string, n), make([]string, n)
	for i, l := range letters {
		no[i], attempts[i], at[i], errs[i], descriptions[i] = int64(l.No), int64(l.Attempts), micros(l.At), l.Err, l.Description
	}
	return t.eachLater(`INSERT INTO dead_letters (stream, no, err, description, attempts, at)
		SELECT $1, no, err, description, attempts, at FROM {rows} WHERE true
		ON CONFLICT (stream, no) DO UPDATE SET err = excluded.err, description = excluded.description, attempts = excluded.attempts, at = excluded.at`,
		[]any{int64(stream)}, ints("no", no), texts("err", errs), texts("description", descriptions), ints("attempts", attempts), ints("at", at))
}

// DeadLetters gives at most limit of a stream's dead letters from a place on, by place.
func (t *Tx) DeadLetters(stream huanxin.StreamID, from huanxin.FeedNo, limit int) (out []DeadLetter, err error) {
	err = t.queryAll("SELECT no, err, description, attempts, at FROM dead_letters WHERE stream = $1 AND no >= $2 ORDER BY no LIMIT $3",
		[]any{int64(stream), int64(from), limit}, func(r scanner) error {
			var l DeadLetter
			var at int64
			err := r.Scan(&l.No, &l.Err, &l.Description, &l.Attempts, &at)
			l.At = fromMicros(at)
			out = append(out, l)
			return err
		})
	return out, err
}

// DeleteDeadLetters takes some of a stream's dead letters away.
func (t *Tx) DeleteDeadLetters(stream huanxin.StreamID, nos []huanxin.FeedNo) error {
	if len(nos) == 0 {
		return nil
	}
	list := make([]int64, len(nos))
	for i, no := range nos {
		list[i] = int64(no)
	}
	return t.eachLater("DELETE FROM dead_letters WHERE stream = $1 AND no IN (SELECT no FROM {rows})", []any{int64(stream)}, ints("no", list))
}

// ForgetDeadLetters forgets at most limit dead letters that died before a time, and says how many.
func (t *Tx) ForgetDeadLetters(before time.Time, limit int) (int64, error) {
	res, err := t.exec(`DELETE FROM dead_letters WHERE (stream, no) IN
		(SELECT stream, no FROM dead_letters WHERE at < $1 ORDER BY at LIMIT $2)`, micros(before), limit)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// StillOpen gives those of the tasks that are open.
func (t *Tx) StillOpen(ids []huanxin.TaskID) (map[huanxin.TaskID]bool, error) {
	open := make(map[huanxin.TaskID]bool, len(ids))
	if len(ids) == 0 {
		return open, nil
	}
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	return open, t.queryEach("SELECT t.id FROM {rows} {join} tasks t ON t.id = r.id WHERE (t.open + 0) = 1", nil, func(r scanner) error {
		var id huanxin.TaskID
		err := r.Scan(&id)
		open[id] = true
		return err
	}, ints("id", list))
}
