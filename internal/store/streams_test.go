package store_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// streamsOn runs a test on each engine, with the database as nobody but the test sees it.
func streamsOn(t *testing.T, test func(t *testing.T, s *store.Store, db *sql.DB)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.dsn(t)
			test(t, open(t, dsn), raw(t, dsn))
		})
	}
}

func ask(t *testing.T, db *sql.DB, q string) (out string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), q)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var a, b, c string
		must(t, rows.Scan(&a, &b, &c))
		out += a + " " + b + " " + c + "; "
	}
	must(t, rows.Err())
	return out
}

func do(t *testing.T, db *sql.DB, q string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), q)
	must(t, err)
}

func aStream(t *testing.T, s *store.Store) (id huanxin.StreamID) {
	t.Helper()
	must(t, s.Write(t.Context(), func(tx *store.Tx) (err error) {
		if id, err = tx.NextStream(); err != nil {
			return err
		}
		return tx.InsertStream(store.StreamRow{Stream: huanxin.Stream{ID: id, Client: "a", Status: 1, CreatedAt: day, StreamConfig: huanxin.StreamConfig{Method: 2}}})
	}))
	return id
}

func TestAStreamBeginsAtTheHeadOfTheFeed(t *testing.T) {
	streamsOn(t, func(t *testing.T, s *store.Store, db *sql.DB) {
		const states = "SELECT start, tell_from, LENGTH(outbox) FROM stream_states ORDER BY stream"
		first := aStream(t, s)
		do(t, db, "INSERT INTO feed_positions (first, kind, ref, items) VALUES (1, 1, 7, 5), (6, 2, 1, 10)")
		aStream(t, s)
		if got := ask(t, db, states); got != "0 1 0; 15 16 0; " {
			t.Errorf("streams begin at %s", got)
		}
		must(t, s.Write(t.Context(), func(tx *store.Tx) error { return tx.SkipFeed(first) }))
		if got := ask(t, db, states); got != "0 16 0; 15 16 0; " { // where it began is still where it began
			t.Errorf("after one skipped what is there: %s", got)
		}
	})
}

// What a row says of positions: from since on it is as added says, before that the other way round.
func TestASubjectCountsFromTheFeedsEndOn(t *testing.T) {
	streamsOn(t, func(t *testing.T, s *store.Store, db *sql.DB) {
		id := aStream(t, s)
		change := func(added bool, flag bool) string {
			t.Helper()
			must(t, s.Write(t.Context(), func(tx *store.Tx) (err error) {
				if added {
					_, err = tx.AddSubjects(id, [][]byte{{1}}, flag)
				} else {
					_, err = tx.RemoveSubjects(id, [][]byte{{1}}, flag)
				}
				return err
			}))
			return ask(t, db, "SELECT added, since, stream FROM stream_subjects")
		}
		for i, step := range []struct {
			added, flag bool
			want        string
		}{
			{false, false, ""},    // of a number that it never added nothing is kept
			{true, false, "1 11"}, // from now on
			{true, false, "1 11"}, // still from then on
			{true, true, "1 11"},
			{false, false, "0 0"}, // never, so that nobody adds a number for a moment to hear of its past
			{false, true, "0 0"},
			{true, false, "1 61"},
		} {
			want := step.want
			if want != "" {
				want += fmt.Sprintf(" %d; ", id)
			}
			if got := change(step.added, step.flag); got != want {
				t.Errorf("step %d: the row says %q, want %q", i, got, want)
			}
			do(t, db, fmt.Sprintf("INSERT INTO feed_positions (first, kind, ref, items) VALUES (%d, 1, %d, 10)", 10*i+1, i))
		}
		do(t, db, "DELETE FROM stream_subjects")
		if got := change(true, true); got != fmt.Sprintf("1 0 %d; ", id) { // it heard of it before, and does
			t.Errorf("where all are heard of: %q", got)
		}
		do(t, db, "DELETE FROM stream_subjects")
		if got := change(false, true); got != fmt.Sprintf("0 0 %d; ", id) {
			t.Errorf("where all are heard of and one is removed: %q", got)
		}
	})
}

func TestOfAStreamsSignalsTheNewestAreKept(t *testing.T) {
	streamsOn(t, func(t *testing.T, s *store.Store, db *sql.DB) {
		a, b := aStream(t, s), aStream(t, s)
		for i := range 150 {
			must(t, s.Write(t.Context(), func(tx *store.Tx) error {
				if i == 20 {
					must(t, tx.InsertSignal(store.Signal{Stream: b, Kind: store.SignalUpdated, State: "paused", Reason: "why", At: day}))
				}
				return tx.InsertSignal(store.Signal{Stream: a, Kind: store.SignalVerification, State: fmt.Sprint(1000 + i), At: day})
			}))
		}
		if got := ask(t, db, fmt.Sprintf("SELECT COUNT(*), MIN(state), MAX(state) FROM stream_signals WHERE stream = %d", a)); got != "100 1050 1149; " {
			t.Errorf("signals: %s", got)
		}
		if got := ask(t, db, fmt.Sprintf("SELECT kind, state, reason FROM stream_signals WHERE stream = %d", b)); got != "2 paused why; " {
			t.Errorf("another's: %s", got)
		}
	})
}
