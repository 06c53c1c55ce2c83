package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var eventTests = []sentence{
	{"batches of any size come back as they were written", batchesOfAnySize},
	{"a carrier's event id is taken once, another carrier may use it", idsPerCarrier},
	{"a history is all events of a number, however long", histories},
	{"a history of nothing is empty", noHistory},
	{"events keep what they say", eventsRoundTrip},
}

var standingTests = []sentence{
	{"standings come back for the numbers that have one", standings},
	{"a standing is replaced by the next", standingsReplaced},
	{"a locked standing is the one that is stored", lockedStanding},
	{"a report has an id of its own and its coverage never moves back", reports},
	{"what a carrier has told stays told", coverageGrows},
	{"history is marked, and what is known only to the day is kept as that", historyIsMarked},
}

// report is an event in short.
type report struct {
	number  int
	id      string
	carrier huanxin.PartyNo
	prev    huanxin.EventNo
	kind    huanxin.EventKind
}

func tryAppend(tx *store.Tx, reportID int64, lines ...report) error {
	_, err := appendEvents(tx, reportID, lines...)
	return err
}

// appendTo appends one batch and gives the events as they were accepted.
func appendTo(t testing.TB, tx *store.Tx, reportID int64, lines ...report) []store.Accepted {
	t.Helper()
	events, err := appendEvents(tx, reportID, lines...)
	must(t, err)
	return events
}

func appendEvents(tx *store.Tx, reportID int64, lines ...report) ([]store.Accepted, error) {
	first, err := tx.BeginBatch()
	if err != nil {
		return nil, err
	}
	events := make([]store.Accepted, len(lines))
	heads := map[huanxin.Number]store.NumberRow{}
	for i, l := range lines {
		if l.carrier == 0 {
			l.carrier = 1
		}
		if l.kind == 0 {
			l.kind = huanxin.Suspended
		}
		e := huanxin.Event{No: first + huanxin.EventNo(i), Carrier: l.carrier, ID: l.id, Number: number(l.number), Kind: l.kind,
			At: start.Add(time.Duration(i) * time.Second)}
		prev := l.prev
		if h := heads[e.Number].Head; h != 0 {
			prev = h
		}
		events[i] = store.Accepted{Event: e, Prev: prev}
		heads[e.Number] = store.NumberRow{Number: e.Number, Head: e.No,
			Standing: huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: e.Carrier, Tenure: huanxin.TenureID(first), StartedAt: start,
				Origin: huanxin.OriginFirst, LastAt: e.At}}
	}
	rows := make([]store.NumberRow, 0, len(heads))
	for _, r := range heads {
		rows = append(rows, r)
	}
	return events, tx.AppendBatch(reportID, start, events, rows)
}

func numbers(is ...int) []huanxin.Number {
	out := make([]huanxin.Number, len(is))
	for i, n := range is {
		out[i] = number(n)
	}
	return out
}

func sprint(v any) string { return fmt.Sprint(v) }

func batchesOfAnySize(t *testing.T, s *store.Store) {
	from := int64(1)
	for _, n := range batchSizes {
		lines := make([]report, n)
		ids := make([]string, 0, n+1)
		all := make([]huanxin.Number, n)
		for i := range lines {
			lines[i] = report{number: n*10000 + i, id: fmt.Sprint(n, "-", i)}
			ids = append(ids, lines[i].id)
			all[i] = number(lines[i].number)
		}
		var events []store.Accepted
		write(t, s, func(tx *store.Tx) error {
			known, err := tx.KnownEvents(1, ids)
			equal(t, "known before", len(known), 0)
			events = appendTo(t, tx, 7, lines...)
			return err
		})
		write(t, s, func(tx *store.Tx) error { _, err := tx.Sequence(10); return err })
		read(t, s, func(tx *store.Tx) error {
			known, err := tx.KnownEvents(1, append(ids, "never"))
			must(t, err)
			equal(t, "known", len(known), n)
			for _, e := range events {
				if known[e.ID] != e.Event {
					t.Fatalf("batch of %d: %+v came back as %+v", n, e.Event, known[e.ID])
				}
			}
			rows, err := tx.Standings(all)
			must(t, err)
			equal(t, "standings", len(rows), n)
			logged, err := tx.EventsFrom(from, n+1)
			equal(t, "in the log", len(logged), n)
			if len(logged) == n && (logged[0] != events[0].Event || logged[n-1] != events[n-1].Event) {
				t.Errorf("batch of %d is not in its order", n)
			}
			return err
		})
		from += int64(n)
	}
}

func idsPerCarrier(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		appendTo(t, tx, 1, report{number: 1, id: "a", carrier: 1}, report{number: 2, id: "a", carrier: 2})
		return nil
	})
	refused(t, s, func(tx *store.Tx) error {
		return tryAppend(tx, 2, report{number: 3, id: "b"}, report{number: 3, id: "a", carrier: 2})
	})
	read(t, s, func(tx *store.Tx) error {
		known, err := tx.KnownEvents(2, []string{"a", "b"})
		equal(t, "known", len(known), 1)
		equal(t, "its number", known["a"].Number.Digits(), number(2).Digits())
		none, err2 := tx.KnownEvents(2, nil)
		equal(t, "none asked", len(none), 0)
		must(t, err2)
		return err
	})
}

func histories(t *testing.T, s *store.Store) {
	const length = 50
	var head huanxin.EventNo
	for i := 0; i < length; { // in batches of 1 to 4, with another number's events between
		var lines []report
		for range min(1+i%4, length-i) {
			lines = append(lines, report{number: 1, id: fmt.Sprint("one-", i), prev: head}, report{number: 2 + i, id: fmt.Sprint("other-", i)})
			i++
		}
		write(t, s, func(tx *store.Tx) error {
			events := appendTo(t, tx, 1, lines...)
			head = events[len(events)-2].No
			return nil
		})
	}
	read(t, s, func(tx *store.Tx) error {
		rows, err := tx.Standings(numbers(1))
		must(t, err)
		equal(t, "the head", rows[number(1)].Head, head)
		events, err := tx.History(head)
		equal(t, "events", len(events), length)
		seen := map[string]bool{}
		for _, e := range events {
			if e.Number != number(1) {
				t.Error("another number's event is in the history")
			}
			seen[e.ID] = true
		}
		equal(t, "different ones", len(seen), length)
		last, err2 := tx.Event(head)
		must(t, err2)
		equal(t, "the last one is among them", seen[last.ID], true)
		none, err2 := tx.Event(1 << 40)
		must(t, err2)
		equal(t, "one that is not there", none, huanxin.Event{})
		return err
	})
}

func noHistory(t *testing.T, s *store.Store) {
	read(t, s, func(tx *store.Tx) error {
		events, err := tx.History(0)
		equal(t, "events", len(events), 0)
		return err
	})
}

func eventsRoundTrip(t *testing.T, s *store.Store) {
	var first huanxin.EventNo
	var want []huanxin.Event
	write(t, s, func(tx *store.Tx) (err error) {
		first, err = tx.BeginBatch()
		must(t, err)
		want = []huanxin.Event{
			{No: first, Carrier: 3, ID: `"~!'$1?2`, Number: huanxin.NumberOf(99999), Kind: huanxin.Activated, At: huanxin.EarliestEvent, Origin: huanxin.ActivatedUnknown},
			{No: first + 1, Carrier: 3, ID: "b", Number: huanxin.NumberOf(999999999999999), Kind: huanxin.Corrected, At: start, Corrects: first},
		}
		return tx.AppendBatch(9, start, []store.Accepted{{Event: want[0]}, {Event: want[1], Prev: 0}}, nil)
	})
	read(t, s, func(tx *store.Tx) error {
		known, err := tx.KnownEvents(3, []string{`"~!'$1?2`, "b"})
		for _, e := range want {
			if known[e.ID] != e {
				t.Errorf("%+v came back as %+v", e, known[e.ID])
			}
		}
		return err
	})
	write(t, s, func(tx *store.Tx) error { return tx.AppendBatch(1, start, nil, nil) }) // nothing is no batch
	read(t, s, func(tx *store.Tx) error {
		n, err := tx.Unsequenced()
		equal(t, "waiting", n, 1)
		return err
	})
}

func standings(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		appendTo(t, tx, 1, report{number: 1, id: "a"}, report{number: 3, id: "b"})
		return nil
	})
	read(t, s, func(tx *store.Tx) error {
		rows, err := tx.Standings(numbers(1, 2, 3, 1))
		equal(t, "found", len(rows), 2)
		none, err2 := tx.Standings(nil)
		equal(t, "none asked", len(none), 0)
		must(t, err2)
		return err
	})
}

func standingsReplaced(t *testing.T, s *store.Store) {
	row := store.NumberRow{Number: number(1), Head: 5, Standing: huanxin.Standing{Phase: huanxin.PhaseDisconnected, Carrier: 3, Tenure: 4,
		StartedAt: start, Origin: huanxin.OriginTransferred, EndedAt: start.Add(time.Hour), LastAt: start.Add(2 * time.Hour)}}
	for i := range 2 {
		write(t, s, func(tx *store.Tx) error {
			first, err := tx.BeginBatch()
			must(t, err)
			row.Carrier += huanxin.PartyNo(i)
			row.EndedAt = row.EndedAt.Add(time.Minute)
			return tx.AppendBatch(1, start, []store.Accepted{{Event: huanxin.Event{No: first, Carrier: 1, ID: sprint(i), Number: number(1), At: start}}},
				[]store.NumberRow{row})
		})
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.Standings(numbers(1))
			if rows[number(1)] != row {
				t.Errorf("%+v came back as %+v", row, rows[number(1)])
			}
			return err
		})
	}
}

func lockedStanding(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		appendTo(t, tx, 1, report{number: 1, id: "a"})
		return nil
	})
	write(t, s, func(tx *store.Tx) error {
		got, err := tx.LockStanding(number(1))
		must(t, err)
		rows, err := tx.Standings(numbers(1))
		if got != rows[number(1)].Standing || !got.Held() {
			t.Errorf("locked %+v", got)
		}
		none, err2 := tx.LockStanding(number(2))
		if none != (huanxin.Standing{}) {
			t.Errorf("a number never seen stands at %+v", none)
		}
		must(t, err2)
		return err
	})
}

func reports(t *testing.T, s *store.Store) {
	var a, b int64
	write(t, s, func(tx *store.Tx) (err error) {
		a, err = tx.BeginReport(1, "c", start, false)
		must(t, err)
		b, err = tx.BeginReport(1, "c", start, true)
		return err
	})
	if a == b || a == 0 {
		t.Errorf("reports %d and %d", a, b)
	}
	for _, step := range []struct {
		until   time.Duration
		advance bool
		want    time.Duration
	}{{time.Hour, true, time.Hour}, {2 * time.Hour, false, time.Hour}, {time.Minute, true, time.Hour}, {3 * time.Hour, true, 3 * time.Hour}} {
		write(t, s, func(tx *store.Tx) error {
			return tx.FinishReport(store.Report{ID: a, Carrier: 1, FinishedAt: start, Accepted: 1, CompleteUntil: start.Add(step.until)}, step.advance)
		})
		read(t, s, func(tx *store.Tx) error {
			told, err := tx.CoverageOf(1)
			equal(t, "complete until", told.CompleteUntil, start.Add(step.want))
			other, err2 := tx.CoverageOf(2)
			equal(t, "another's", other, store.Coverage{Carrier: 2})
			must(t, err2)
			return err
		})
	}
}

func coverageGrows(t *testing.T, s *store.Store) {
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	none := time.Time{}
	for _, step := range []struct {
		since, until         time.Time
		advance              bool
		wantSince, wantUntil time.Time
	}{
		{none, none, true, none, none},
		{none, day(1), true, none, day(1)},
		{day(-100), none, true, day(-100), day(1)},
		{day(-50), day(0), true, day(-100), day(1)}, // what is known stays known
		{day(-200), day(2), false, day(-100), day(1)},
		{day(-200), day(2), true, day(-200), day(2)},
		{none, day(3), true, day(-200), day(3)},
	} {
		write(t, s, func(tx *store.Tx) error {
			id, err := tx.BeginReport(1, "c", start, true)
			must(t, err)
			return tx.FinishReport(store.Report{ID: id, Carrier: 1, FinishedAt: start, CoveredSince: step.since, CompleteUntil: step.until}, step.advance)
		})
		read(t, s, func(tx *store.Tx) error {
			told, err := tx.CoverageOf(1)
			equal(t, "told", told, store.Coverage{Carrier: 1, CoveredSince: step.wantSince, CompleteUntil: step.wantUntil})
			return err
		})
	}
}

func historyIsMarked(t *testing.T, s *store.Store) {
	for i, history := range []bool{false, true, false} {
		write(t, s, func(tx *store.Tx) error {
			id, err := tx.BeginReport(1, "c", start, history)
			must(t, err)
			first, err := tx.BeginBatch()
			must(t, err)
			e := huanxin.Event{No: first, Carrier: 1, ID: fmt.Sprint(i), Number: number(i), Kind: huanxin.Activated, Origin: huanxin.ActivatedReassigned, At: start, OnDay: history}
			return tx.AppendBatch(id, start, []store.Accepted{{Event: e}}, []store.NumberRow{{Number: e.Number, Head: first,
				Standing: huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: 1, Tenure: huanxin.TenureID(first), StartedAt: start,
					StartedOnDay: history, Origin: huanxin.OriginReassigned, LastAt: start}}})
		})
	}
	sequence(t, s, 10)
	read(t, s, func(tx *store.Tx) error {
		batches, err := tx.LogBatches(1, 10)
		must(t, err)
		for i, b := range batches {
			equal(t, "history", b.History, i == 1)
		}
		before, found, err := tx.LogBatchBefore(3)
		must(t, err)
		equal(t, "the batch before", []bool{found, before.History}, []bool{true, true})
		events, err := tx.EventsFrom(1, 10)
		must(t, err)
		rows, err := tx.Standings([]huanxin.Number{number(0), number(1)})
		for i, e := range events[:2] {
			equal(t, "on a day", []any{e.OnDay, e.Origin}, []any{i == 1, huanxin.ActivatedReassigned})
			row := rows[number(i)]
			equal(t, "began on a day", []any{row.StartedOnDay, row.Origin}, []any{i == 1, huanxin.OriginReassigned})
		}
		return err
	})
}
