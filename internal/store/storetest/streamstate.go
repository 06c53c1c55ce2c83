package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var streamStateTests = []sentence{
	{"a stream's outbox is kept, and of two who lock it the second sees what the first saved", outboxKept},
	{"signals come oldest first, each stream's alone, and go when they were heard", signalsKept},
	{"dead letters are kept by place, replaced and taken away", deadLetters},
	{"old dead letters are forgotten, some at a time", oldDeadLetters},
	{"pushed are the streams that transmit or have something to be told about themselves", pushedStreams},
	{"of tasks the open ones are open", stillOpen},
}

// deliveredBy makes a stream.
func deliveredBy(t testing.TB, s *store.Store, method huanxin.DeliveryMethod) (id huanxin.StreamID) {
	t.Helper()
	row := newStream("app-1")
	row.Method = method
	return insertStream(t, s, row)
}

func outboxKept(t *testing.T, s *store.Store) {
	a, b := deliveredBy(t, s, huanxin.DeliverByPoll), deliveredBy(t, s, huanxin.DeliverByPush)
	write(t, s, func(tx *store.Tx) error {
		state, found, err := tx.LockStreamState(a)
		equal(t, "a new one", []any{state, found, err}, []any{store.StreamState{Stream: a, TellFrom: 1, Outbox: []byte{}, ActiveAt: start}, true, nil})
		return tx.SaveOutbox(a, []byte{1, 0, 255})
	})
	together(t, 8, func(int) error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			state, _, err := tx.LockStreamState(a)
			if err != nil {
				return err
			}
			return tx.SaveOutbox(a, append(state.Outbox, 7))
		})
	})
	all := map[huanxin.StreamID]huanxin.DeliveryMethod{}
	read(t, s, func(tx *store.Tx) error {
		state, _, err := tx.StreamState(a)
		equal(t, "saved by eight at once", state.Outbox, []byte{1, 0, 255, 7, 7, 7, 7, 7, 7, 7, 7})
		must(t, err)
		_, found, err := tx.StreamState(b + 1)
		equal(t, "one that is not there", found, false)
		must(t, err)
		return tx.EachStreamState(func(s store.StreamState, m huanxin.DeliveryMethod) error { all[s.Stream] = m; return nil })
	})
	equal(t, "all", all, map[huanxin.StreamID]huanxin.DeliveryMethod{a: huanxin.DeliverByPoll, b: huanxin.DeliverByPush})
	write(t, s, func(tx *store.Tx) error { return tx.RewindStream(a, []byte{2}, 9) })
	write(t, s, func(tx *store.Tx) error { return tx.RewindStream(b, []byte{3}, 0) })
	read(t, s, func(tx *store.Tx) error {
		first, _, err := tx.StreamState(a)
		must(t, err)
		second, _, err := tx.StreamState(b)
		equal(t, "rewound", []any{first.Outbox, first.TellFrom, second.Outbox, second.TellFrom}, []any{[]byte{2}, 1, []byte{3}, 0})
		return err
	})
}

func signal(t testing.TB, s *store.Store, stream huanxin.StreamID, state string) {
	t.Helper()
	write(t, s, func(tx *store.Tx) error {
		return tx.InsertSignal(store.Signal{Stream: stream, Kind: store.SignalUpdated, State: state, Reason: "why", At: start})
	})
}

func signalsKept(t *testing.T, s *store.Store) {
	a, b := deliveredBy(t, s, huanxin.DeliverByPoll), deliveredBy(t, s, huanxin.DeliverByPoll)
	signal(t, s, a, "paused")
	signal(t, s, b, "disabled")
	signal(t, s, a, "enabled")
	var of, after []store.Signal
	look := func() {
		read(t, s, func(tx *store.Tx) (err error) {
			of, err = tx.Signals(a)
			must(t, err)
			after, err = tx.SignalsAfter(0, 100)
			return err
		})
	}
	look()
	equal(t, "all", len(after), 3)
	equal(t, "one's", of, []store.Signal{
		{ID: of[0].ID, Stream: a, Kind: store.SignalUpdated, State: "paused", Reason: "why", At: start},
		{ID: of[1].ID, Stream: a, Kind: store.SignalUpdated, State: "enabled", Reason: "why", At: start}})
	read(t, s, func(tx *store.Tx) error {
		rest, err := tx.SignalsAfter(of[0].ID, 1)
		equal(t, "the next one", len(rest), 1)
		return err
	})
	write(t, s, func(tx *store.Tx) error { return tx.DeleteSignals(b, []int64{of[0].ID}) }) // is not b's
	write(t, s, func(tx *store.Tx) error { return tx.DeleteSignals(a, []int64{of[0].ID, 99}) })
	look()
	equal(t, "what is left", []any{len(of), of[0].State, len(after)}, []any{1, "enabled", 2})
}

func deadLetters(t *testing.T, s *store.Store) {
	stream, other := deliveredBy(t, s, huanxin.DeliverByPoll), deliveredBy(t, s, huanxin.DeliverByPoll)
	letter := func(no huanxin.FeedNo, err string) store.DeadLetter {
		return store.DeadLetter{No: no, Err: err, Description: "d", Attempts: 2, At: start}
	}
	for _, size := range batchSizes[:5] {
		letters := make([]store.DeadLetter, size)
		for i := range letters {
			letters[i] = letter(huanxin.FeedNoAt(int64(i+1), 0), "invalid_request")
		}
		write(t, s, func(tx *store.Tx) error { return tx.InsertDeadLetters(stream, letters) })
	}
	write(t, s, func(tx *store.Tx) error {
		must(t, tx.InsertDeadLetters(other, []store.DeadLetter{letter(8, "x")}))
		return tx.InsertDeadLetters(stream, []store.DeadLetter{letter(huanxin.SignalNo(3), "invalid_state"), letter(8, "access_denied")})
	})
	list := func(from huanxin.FeedNo, limit int) (out []store.DeadLetter) {
		read(t, s, func(tx *store.Tx) (err error) {
			out, err = tx.DeadLetters(stream, from, limit)
			return err
		})
		return out
	}
	equal(t, "the first", list(-100, 3), []store.DeadLetter{letter(-3, "invalid_state"), letter(8, "access_denied"), letter(16, "invalid_request")})
	equal(t, "all", len(list(-100, 1000)), 258)
	equal(t, "from one on", list(16, 1)[0].No, 16)
	var nos []huanxin.FeedNo
	for _, l := range list(-100, 1000) {
		nos = append(nos, l.No)
	}
	write(t, s, func(tx *store.Tx) error { return tx.DeleteDeadLetters(stream, slices.Concat(nos[1:], nos[1:2])) })
	equal(t, "what is left", len(list(-100, 1000)), 1)
	read(t, s, func(tx *store.Tx) error {
		rest, err := tx.DeadLetters(other, 0, 10)
		equal(t, "another's", len(rest), 1)
		return err
	})
}

func pushedStreams(t *testing.T, s *store.Store) {
	deliveredBy(t, s, huanxin.DeliverByPoll)
	enabled, paused, told := deliveredBy(t, s, huanxin.DeliverByPush), deliveredBy(t, s, huanxin.DeliverByPush), deliveredBy(t, s, huanxin.DeliverByPush)
	for _, id := range []huanxin.StreamID{paused, told} {
		write(t, s, func(tx *store.Tx) error {
			row, _, err := tx.LockStream(id)
			row.Status = huanxin.StreamPaused
			must(t, err)
			return tx.SaveStream(row)
		})
	}
	signal(t, s, told, "paused")
	read(t, s, func(tx *store.Tx) error {
		got, err := tx.PushStreams()
		equal(t, "streams", got, []store.PushStream{{ID: enabled, Client: "app-1"}, {ID: told, Client: "app-1"}})
		return err
	})
}

func stillOpen(t *testing.T, s *store.Store) {
	ids := queue(t, s, 0, 300)
	write(t, s, func(tx *store.Tx) error {
		rows, err := tx.TasksByID(ids[:1])
		must(t, err)
		k := rows[ids[0]]
		k.State, k.StepAt = huanxin.TaskCancelled, time.Time{}
		return tx.UpdateTasks([]store.TaskRow{k})
	})
	read(t, s, func(tx *store.Tx) error {
		open, err := tx.StillOpen(append(ids, 1<<50, ids[1]))
		equal(t, "open ones", []any{len(open), open[ids[0]], open[ids[1]], open[1<<50]}, []any{299, false, true, false})
		must(t, err)
		open, err = tx.StillOpen(nil)
		equal(t, "of none", len(open), 0)
		return err
	})
}

func oldDeadLetters(t *testing.T, s *store.Store) {
	stream := deliveredBy(t, s, huanxin.DeliverByPush)
	write(t, s, func(tx *store.Tx) error {
		var letters []store.DeadLetter
		for i := range 5 {
			letters = append(letters, store.DeadLetter{No: huanxin.FeedNo(8 + 8*i), Err: "e", At: start.Add(time.Duration(i) * time.Hour)})
		}
		return tx.InsertDeadLetters(stream, letters)
	})
	for _, want := range []int64{2, 1, 0} {
		write(t, s, func(tx *store.Tx) error {
			n, err := tx.ForgetDeadLetters(start.Add(3*time.Hour), 2)
			equal(t, "forgotten", n, want)
			return err
		})
	}
	must(t, s.Read(t.Context(), func(tx *store.Tx) error {
		left, err := tx.DeadLetters(stream, -100, 10)
		equal(t, "left", []any{len(left), left[0].No}, []any{2, huanxin.FeedNo(32)})
		return err
	}))
}
