package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var logTests = []sentence{
	{"positions are gapless and in the order of acceptance", gapless},
	{"what has no position is not read", unsequencedIsUnseen},
	{"the log is read from any position, in pages of any size", pagesOfAnySize},
	{"the audit log is gapless, and keeps what it was told", auditLog},
	{"an event or entry has one position, whoever sequences", onePosition},
}

// sequence gives everything a position, limit at a time in the feed log and in the others.
func sequence(t testing.TB, s *store.Store, limit int) (total int) {
	t.Helper()
	for {
		var n int
		write(t, s, func(tx *store.Tx) (err error) {
			n, err = tx.Sequence(limit)
			return err
		})
		if n == 0 {
			return total
		}
		if n > 2*limit {
			t.Fatalf("sequenced %d, more than %d", n, 2*limit)
		}
		total += n
	}
}

func gapless(t *testing.T, s *store.Store) {
	sizes := []int{3, 1, 7, 2, 2, 300, 1}
	var want []string
	for i, n := range sizes {
		lines := make([]report, n)
		for j := range lines {
			lines[j] = report{number: j, id: fmt.Sprint(i, "-", j)}
			want = append(want, lines[j].id)
		}
		write(t, s, func(tx *store.Tx) error { appendTo(t, tx, 1, lines...); return nil })
		if i == 3 {
			equal(t, "sequenced", sequence(t, s, 3), 4)
		}
	}
	equal(t, "sequenced", sequence(t, s, 2), 3)
	equal(t, "sequenced again", sequence(t, s, 2), 0)
	read(t, s, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		must(t, err)
		equal(t, "head", head, len(want))
		events, err := tx.EventsFrom(1, 10_000)
		var got []string
		for _, e := range events {
			got = append(got, e.ID)
		}
		equal(t, "the log", got, want)
		return err
	})
}

func unsequencedIsUnseen(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		appendTo(t, tx, 1, report{number: 1, id: "a"})
		return tx.Audit(store.AuditEntry{At: start, Action: "a", Detail: "{}"})
	})
	look := func(events, entries, waiting int) {
		t.Helper()
		read(t, s, func(tx *store.Tx) error {
			e, err := tx.EventsFrom(1, 10)
			must(t, err)
			a, err := tx.AuditFrom(1, 10)
			must(t, err)
			head, err := tx.LogHead()
			must(t, err)
			w, err := tx.Unsequenced()
			equal(t, "events, entries, head, waiting", []int{len(e), len(a), int(head), int(w)}, []int{events, entries, events, waiting})
			return err
		})
	}
	look(0, 0, 2)
	equal(t, "sequenced", sequence(t, s, 10), 2)
	look(1, 1, 0)
}

func pagesOfAnySize(t *testing.T, s *store.Store) {
	const total = 40
	for i := 0; i < total; {
		var lines []report
		for range min(1+i%5, total-i) {
			i++
			lines = append(lines, report{number: i % 3, id: fmt.Sprint(i)})
		}
		write(t, s, func(tx *store.Tx) error { appendTo(t, tx, 1, lines...); return nil })
	}
	sequence(t, s, 100)
	read(t, s, func(tx *store.Tx) error {
		for _, size := range []int{1, 2, 3, 7, 39, 40, 41} {
			var got []string
			for at := int64(1); ; {
				page, err := tx.EventsFrom(at, size)
				must(t, err)
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					got = append(got, e.ID)
				}
				at += int64(len(page))
			}
			for i, id := range got {
				if id != fmt.Sprint(i+1) {
					t.Fatalf("pages of %d: position %d is %s", size, i+1, id)
				}
			}
			equal(t, "read", len(got), total)
		}
		for _, at := range []int64{-5, 0} {
			page, err := tx.EventsFrom(at, 2)
			must(t, err)
			equal(t, "from before the first", len(page), 2)
		}
		past, err := tx.EventsFrom(total+1, 2)
		equal(t, "past the last", len(past), 0)
		return err
	})
}

func auditLog(t *testing.T, s *store.Store) {
	var want []store.AuditEntry
	for i := range 300 {
		e := store.AuditEntry{At: start.Add(time.Duration(i)), Party: huanxin.PartyNo(i % 3), Client: "c", Action: sprint(i), Subject: "s",
			Refused: "code", Detail: `{"a":"焕新"}`}
		e.At = e.At.Truncate(time.Microsecond)
		want = append(want, e)
	}
	for i := 0; i < len(want); i += 60 {
		write(t, s, func(tx *store.Tx) error {
			for _, e := range want[i : i+60] {
				must(t, tx.Audit(e))
			}
			return nil
		})
	}
	equal(t, "sequenced", sequence(t, s, 257), len(want))
	read(t, s, func(tx *store.Tx) error {
		got, err := tx.AuditFrom(1, 1000)
		equal(t, "the audit log", got, want)
		tail, err2 := tx.AuditFrom(299, 1000)
		equal(t, "its end", tail, want[298:])
		must(t, err2)
		return err
	})
}

func onePosition(t *testing.T, s *store.Store) {
	for i := range 20 {
		write(t, s, func(tx *store.Tx) error {
			appendTo(t, tx, 1, report{number: i, id: sprint(i)})
			return tx.Audit(store.AuditEntry{At: start, Action: sprint(i), Detail: "{}"})
		})
	}
	// Two that both think they have the lease: one of them may fail, and nothing is numbered twice.
	together(t, 4, func(int) error {
		for range 12 {
			_ = s.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Sequence(3); return err })
		}
		return nil
	})
	sequence(t, s, 100)
	read(t, s, func(tx *store.Tx) error {
		events, err := tx.EventsFrom(1, 100)
		must(t, err)
		entries, err := tx.AuditFrom(1, 100)
		equal(t, "events and entries", []int{len(events), len(entries)}, []int{20, 20})
		for i, e := range events {
			equal(t, "event", e.ID, i)
		}
		return err
	})
}
