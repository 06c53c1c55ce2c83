package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var streamTests = []sentence{
	{"a stream comes back as it was written and changed", streamRows},
	{"streams are listed by client, in the order in which they were made", streamLists},
	{"of those who lock one client the second sees what the first made", clientLocked},
	{"a locked stream is changed by one at a time", streamLocked},
	{"a stream is idle until its receiver is heard of", streamIdle},
	{"subjects are added, removed and counted, each once", subjectRows},
	{"subjects of old keys are found under new ones", subjectsRenamed},
	{"a deleted stream is gone at once, and all that it left piece by piece", streamDeleted},
}

func newStream(client string) store.StreamRow {
	return store.StreamRow{Stream: huanxin.Stream{Client: client, Status: huanxin.StreamEnabled, CreatedAt: start,
		StreamConfig: huanxin.StreamConfig{Method: huanxin.DeliverByPoll}}}
}

func insertStream(t testing.TB, s *store.Store, row store.StreamRow) (id huanxin.StreamID) {
	t.Helper()
	write(t, s, func(tx *store.Tx) (err error) {
		if row.ID, err = tx.NextStream(); err != nil {
			return err
		}
		return tx.InsertStream(row)
	})
	return row.ID
}

func streamOf(t testing.TB, s *store.Store, id huanxin.StreamID) (row store.StreamRow, found bool) {
	t.Helper()
	read(t, s, func(tx *store.Tx) (err error) {
		row, found, err = tx.Stream(id)
		return err
	})
	return row, found
}

func streamRows(t *testing.T, s *store.Store) {
	rows := []store.StreamRow{
		newStream("a"),
		{Stream: huanxin.Stream{Client: "a", Status: huanxin.StreamPaused, Reason: "理由", ByHub: true, CreatedAt: start, VerifiedAt: start.Add(time.Second),
			StreamConfig: huanxin.StreamConfig{Method: huanxin.DeliverByPush, Endpoint: "https://a.example/", Requested: []string{"x", "\"y\\"}, Description: "号\n",
				WakeUp: "https://b.example/"}}, Sealed: []byte{0, 1, 255}},
		{Stream: huanxin.Stream{Client: "b", Status: huanxin.StreamDisabled, CreatedAt: start, StreamConfig: huanxin.StreamConfig{Method: huanxin.DeliverByPoll,
			Requested: []string{}}}},
	}
	for i := range rows {
		rows[i].ID = insertStream(t, s, rows[i])
		got, found := streamOf(t, s, rows[i].ID)
		if !found || (got.Requested == nil) != (rows[i].Requested == nil) {
			t.Errorf("%v %+v", found, got)
		}
		if rows[i].Sealed == nil {
			rows[i].Sealed = []byte{}
		}
		equal(t, "the stream", got, rows[i])
	}
	changed := rows[1]
	changed.ID = rows[0].ID
	changed.CreatedAt, changed.Client = rows[0].CreatedAt, "a"
	write(t, s, func(tx *store.Tx) error { return tx.SaveStream(changed) })
	got, _ := streamOf(t, s, rows[0].ID)
	equal(t, "the changed stream", got, changed)
	got, _ = streamOf(t, s, rows[2].ID)
	equal(t, "another", got, rows[2])
	if _, found := streamOf(t, s, 1<<40); found {
		t.Error("a stream that nobody made is there")
	}
}

func streamLists(t *testing.T, s *store.Store) {
	var ids []huanxin.StreamID
	for i := range 6 {
		ids = append(ids, insertStream(t, s, newStream([]string{"a", "b", "a"}[i%3])))
	}
	of := func(f func(tx *store.Tx) ([]store.StreamRow, error)) (out []huanxin.StreamID) {
		read(t, s, func(tx *store.Tx) error {
			rows, err := f(tx)
			for _, r := range rows {
				out = append(out, r.ID)
			}
			return err
		})
		return out
	}
	equal(t, "a's", of(func(tx *store.Tx) ([]store.StreamRow, error) { return tx.StreamsOf("a") }), []huanxin.StreamID{ids[0], ids[2], ids[3], ids[5]})
	equal(t, "nobody's", of(func(tx *store.Tx) ([]store.StreamRow, error) { return tx.StreamsOf("c") }), []huanxin.StreamID{})
	equal(t, "all", of((*store.Tx).Streams), ids)
}

func clientLocked(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		no, err := tx.PutParty(party("a"), start)
		if err != nil {
			return err
		}
		return tx.PutClient(huanxin.Client{ID: "a", Party: huanxin.Party{No: no}}, start)
	})
	full := errors.New("full")
	made := make([]bool, 10)
	together(t, len(made), func(i int) error {
		err := s.Write(t.Context(), func(tx *store.Tx) error {
			made[i] = false
			if found, err := tx.LockClient("a"); err != nil || !found {
				return fmt.Errorf("found: %v, %w", found, err)
			}
			rows, err := tx.StreamsOf("a")
			if err != nil {
				return err
			}
			if len(rows) >= 3 {
				return full
			}
			row := newStream("a")
			if row.ID, err = tx.NextStream(); err != nil {
				return err
			}
			made[i] = true
			return tx.InsertStream(row)
		})
		if errors.Is(err, full) {
			return nil
		}
		return err
	})
	equal(t, "streams made", len(slices.DeleteFunc(made, func(m bool) bool { return !m })), 3)
	write(t, s, func(tx *store.Tx) error {
		found, err := tx.LockClient("nobody")
		equal(t, "nobody is found", found, false)
		return err
	})
}

func streamLocked(t *testing.T, s *store.Store) {
	id := insertStream(t, s, newStream("a"))
	together(t, 20, func(int) error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			row, found, err := tx.LockStream(id)
			if err != nil || !found {
				return fmt.Errorf("found: %v, %w", found, err)
			}
			row.Description += "x"
			return tx.SaveStream(row)
		})
	})
	row, _ := streamOf(t, s, id)
	equal(t, "changes", len(row.Description), 20)
}

func streamIdle(t *testing.T, s *store.Store) {
	a, b := insertStream(t, s, newStream("a")), insertStream(t, s, newStream("a"))
	paused := newStream("a")
	paused.Status = huanxin.StreamPaused
	insertStream(t, s, paused)
	idle := func(since time.Time) (ids []huanxin.StreamID) {
		read(t, s, func(tx *store.Tx) (err error) {
			ids, err = tx.IdleStreams(since)
			return err
		})
		return ids
	}
	equal(t, "idle at the start", idle(start), []huanxin.StreamID{})
	equal(t, "idle then", idle(start.Add(1)), []huanxin.StreamID{})
	equal(t, "idle after a microsecond", idle(start.Add(time.Microsecond)), []huanxin.StreamID{a, b})
	write(t, s, func(tx *store.Tx) error { return tx.TouchStream(a, start.Add(time.Hour)) })
	write(t, s, func(tx *store.Tx) error { return tx.TouchStream(a, start.Add(time.Minute)) }) // late
	equal(t, "idle when one was heard of", idle(start.Add(time.Hour)), []huanxin.StreamID{b})
	read(t, s, func(tx *store.Tx) error {
		at, err := tx.StreamActive(a)
		equal(t, "heard of", at, start.Add(time.Hour))
		return err
	})
}

// lookups gives n keyed hashes from the first on.
func lookups(first, n int) (out [][]byte) {
	for i := range n {
		out = append(out, []byte(fmt.Sprintf("\x00%d hash", first+i)))
	}
	return out
}

func subjectRows(t *testing.T, s *store.Store) {
	a, b := insertStream(t, s, newStream("a")), insertStream(t, s, newStream("b"))
	first := 0
	count := func(what string, f func(tx *store.Tx) (int64, error), want int) {
		t.Helper()
		write(t, s, func(tx *store.Tx) error {
			n, err := f(tx)
			equal(t, what, n, want)
			return err
		})
	}
	for _, n := range batchSizes {
		some := lookups(first, n)
		add := func(tx *store.Tx) (int64, error) { return tx.AddSubjects(a, some, false) }
		remove := func(fresh bool) func(tx *store.Tx) (int64, error) {
			return func(tx *store.Tx) (int64, error) { return tx.RemoveSubjects(a, some, fresh) }
		}
		count("removed that were never there", remove(false), 0)
		count("added", add, n)
		count("added again", add, 0)
		count("removed", remove(true), n)
		count("removed again", remove(true), 0)
		count("added once more", add, n)
		first += n
		row, _ := streamOf(t, s, a)
		equal(t, "subjects", row.Subjects, first)
	}
	count("removed at once", func(tx *store.Tx) (int64, error) { return tx.RemoveSubjects(a, lookups(first, 5), true) }, 5)
	count("another's", func(tx *store.Tx) (int64, error) { return tx.AddSubjects(b, lookups(0, 7), true) }, 7)
	count("none", func(tx *store.Tx) (int64, error) { return tx.AddSubjects(b, nil, true) }, 0)
	read(t, s, func(tx *store.Tx) error {
		known, err := tx.KnownSubjects(a, slices.Concat(lookups(0, 3), lookups(first+4, 3)))
		equal(t, "known", len(known), 4)
		if !known[string(lookups(0, 1)[0])] || !known[string(lookups(first+4, 1)[0])] {
			t.Errorf("%v", known)
		}
		if err != nil {
			return err
		}
		known, err = tx.KnownSubjects(b, lookups(5, 5))
		equal(t, "known to another", len(known), 2)
		return err
	})
}

func subjectsRenamed(t *testing.T, s *store.Store) {
	a, b := insertStream(t, s, newStream("a")), insertStream(t, s, newStream("b"))
	for _, id := range []huanxin.StreamID{a, b} {
		write(t, s, func(tx *store.Tx) error { _, err := tx.AddSubjects(id, lookups(0, 300), true); return err })
	}
	write(t, s, func(tx *store.Tx) error { return tx.RenameSubjects(a, lookups(0, 400), lookups(1000, 400)) })
	write(t, s, func(tx *store.Tx) error {
		n, err := tx.AddSubjects(a, lookups(1000, 301), false)
		equal(t, "new under the new key", n, 1)
		if err != nil {
			return err
		}
		n, err = tx.AddSubjects(b, lookups(0, 301), true)
		equal(t, "new to another", n, 1)
		return err
	})
}

func streamDeleted(t *testing.T, s *store.Store) {
	gone, stays := insertStream(t, s, newStream("a")), insertStream(t, s, newStream("a"))
	for _, id := range []huanxin.StreamID{gone, stays} {
		write(t, s, func(tx *store.Tx) error {
			if _, err := tx.AddSubjects(id, lookups(0, 25), false); err != nil {
				return err
			}
			return tx.InsertSignal(store.Signal{Stream: id, Kind: store.SignalVerification, At: start})
		})
	}
	write(t, s, func(tx *store.Tx) error { return tx.DeleteStream(gone) })
	if _, found := streamOf(t, s, gone); found {
		t.Error("it is still there")
	}
	known := func(id huanxin.StreamID) (n int) {
		read(t, s, func(tx *store.Tx) error {
			known, err := tx.KnownSubjects(id, lookups(0, 25))
			n = len(known)
			return err
		})
		return n
	}
	equal(t, "what it left", known(gone), 25)
	for i, left := range []int{15, 5, 0} {
		clearSome(t, s, 10, true)
		equal(t, fmt.Sprint("what is left after ", i), known(gone), left)
	}
	clearSome(t, s, 10, true) // it finds nothing more of this stream
	clearSome(t, s, 10, false)
	equal(t, "another's", known(stays), 25)
	if row, found := streamOf(t, s, stays); !found || row.Subjects != 25 {
		t.Errorf("another: %v %+v", found, row)
	}
	if id := insertStream(t, s, newStream("a")); id <= stays {
		t.Errorf("the next stream's number is %d after %d", id, stays)
	}
}

func clearSome(t testing.TB, s *store.Store, limit int, want bool) {
	t.Helper()
	write(t, s, func(tx *store.Tx) error {
		more, err := tx.ClearStreams(limit)
		equal(t, "there may be more", more, want)
		return err
	})
}
