package core_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

func TestAReportSentAgainChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(1000 * dayLong).Add(123456789) // more exact than the store is
		events := []huanxin.Event{activated("a", 1, huanxin.ActivatedFirst, at), line("b", 1, huanxin.Suspended, at.Add(dayLong)),
			line("c", 1, huanxin.Resumed, at.Add(2*dayLong)), corrected("d", 1, "b", at.Add(3*dayLong)), activated("e", 2, huanxin.ActivatedUnknown, at)}
		// Without the suspension the resumption no longer fits.
		if r := w.report("cmcc", events...); r.Accepted != 4 || r.Rejected[0].Code != "out_of_order" || r.Rejected[0].Line != 4 {
			t.Fatalf("%+v", r)
		}
		events[3] = corrected("d", 2, "e", at.Add(time.Hour))
		events = append(events, events[0], events[3]) // in the file twice
		if r := w.report("cmcc", append(events[3:4:4], events[0])...); r.Accepted != 1 || r.Duplicates != 1 {
			t.Fatalf("%+v", r)
		}
		before := w.standing(1)
		for range 2 {
			if r := w.report("cmcc", events...); r.Accepted != 0 || r.Duplicates != int64(len(events)) || r.RejectedTotal != 0 {
				t.Errorf("%+v", r)
			}
		}
		if w.standing(1) != before {
			t.Error("the standing moved")
		}
		w.sequence()
		must(t, w.store.Read(t.Context(), func(tx *store.Tx) error {
			head, err := tx.LogHead()
			if head != 5 {
				t.Errorf("the log has %d events", head)
			}
			return err
		}))
	})
}

func TestAnIDIsOneEvents(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(100 * dayLong)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, at), activated("b", 2, huanxin.ActivatedFirst, at))
		other := activated("a", 1, huanxin.ActivatedFirst, at.Add(time.Second))
		w.refuses("cmcc", "id_conflict", other)
		w.refuses("cmcc", "id_conflict", activated("a", 1, huanxin.ActivatedUnknown, at))
		w.refuses("cmcc", "id_conflict", activated("a", 3, huanxin.ActivatedFirst, at))
		w.refuses("cmcc", "id_conflict", line("a", 1, huanxin.Suspended, at))
		w.refuses("cmcc", "id_conflict", corrected("a", 1, "b", at))
		w.accepts("cucc", activated("a", 4, huanxin.ActivatedFirst, at)) // another carrier's id
		r := w.report("cmcc", line("f", 1, huanxin.Suspended, at.Add(time.Hour)), line("f", 2, huanxin.Suspended, at.Add(time.Hour)))
		if r.Accepted != 1 || r.Rejected[0].Code != "id_conflict" || r.Rejected[0].Line != 2 {
			t.Errorf("in one file: %+v", r)
		}
	})
}

func TestABadLineIsRefusedByItsNumberAndStopsNoGoodOne(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(100 * dayLong)
		good := activated("good", 1, huanxin.ActivatedFirst, at)
		for title, c := range map[string]struct {
			code string
			e    huanxin.Event
		}{
			"without an id":            {"required", activated("", 5, huanxin.ActivatedFirst, at)},
			"id with a zero":           {"bad_character", activated("a\x00b", 5, huanxin.ActivatedFirst, at)},
			"id of no UTF-8":           {"bad_character", activated("a\xff", 5, huanxin.ActivatedFirst, at)},
			"id too long":              {"too_long", activated(strings.Repeat("x", 129), 5, huanxin.ActivatedFirst, at)},
			"corrects with a zero":     {"bad_character", corrected("x", 1, "a\x00", at)},
			"corrects nothing":         {"required", corrected("x", 1, "", at)},
			"corrects an unknown":      {"unknown_event", corrected("x", 1, "never", at)},
			"without an origin":        {"required", activated("x", 5, 0, at)},
			"without a number":         {"required", huanxin.Event{ID: "x", Kind: huanxin.Suspended, At: at}},
			"in the future":            {"in_future", activated("x", 5, huanxin.ActivatedFirst, time.Now().Add(6*time.Minute))},
			"before mobile numbers":    {"too_early", activated("x", 5, huanxin.ActivatedFirst, time.Date(1987, 10, 1, 0, 0, 0, 0, time.UTC))},
			"of a kind not served":     {"number_kind_unsupported", huanxin.Event{ID: "x", Number: huanxin.NumberOf(861064912345678), Kind: huanxin.Activated, Origin: 1, At: at}},
			"of a number out of use":   {"out_of_order", line("x", 6, huanxin.Suspended, at)},
			"of another carrier's":     {"not_serving", line("x", 2, huanxin.Suspended, at.Add(time.Hour))},
			"an activation in cooling": {"cooling_too_short", activated("x", 3, huanxin.ActivatedReassigned, at.Add(91*dayLong))},
		} {
			t.Run(title, func(t *testing.T) {
				name := strings.ReplaceAll(title, " ", "-")
				w.accepts("cucc", activated(name, 2, huanxin.ActivatedPortedIn, at)) // serves number 2
				if title == "an activation in cooling" {
					w.accepts("cmcc", activated("3a", 3, huanxin.ActivatedFirst, at), line("3b", 3, huanxin.Disconnected, at.Add(2*dayLong)))
				}
				r := w.report("cmcc", c.e, good, c.e)
				if r.Accepted+r.Duplicates != 1 || r.RejectedTotal != 2 || r.Rejected[0].Code != c.code || r.Rejected[0].Line != 1 || r.Rejected[1].Line != 3 {
					t.Errorf("wanted %s: %+v", c.code, r)
				}
			})
		}
	})
}

func TestALateEventIsAcceptedAndTheTimelineWorkedOutAnew(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		day := func(n int) time.Time { return ago(1000 * dayLong).Add(time.Duration(n) * dayLong) }
		// DOMAIN.md §5: disconnected 300 arrives on 450; B's activated 400, refused before, is sent again.
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, day(1)))
		w.refuses("cmcc", "out_of_order", activated("b", 1, huanxin.ActivatedReassigned, day(400)))
		w.accepts("cmcc", line("c", 1, huanxin.Disconnected, day(300)))
		w.accepts("cmcc", activated("b", 1, huanxin.ActivatedReassigned, day(400)))
		if s := w.standing(1); !s.StartedAt.Equal(day(400)) || s.Origin != huanxin.OriginReassigned {
			t.Errorf("%+v", s)
		}
		// All in one file, the late one last, and another that no longer fits.
		w.accepts("cmcc", activated("d", 2, huanxin.ActivatedFirst, day(1)), line("e", 2, huanxin.Suspended, day(500)), line("f", 2, huanxin.Transferred, day(200)))
		if s := w.standing(2); !s.StartedAt.Equal(day(200)) || s.Phase != huanxin.PhaseSuspended {
			t.Errorf("%+v", s)
		}
		w.refuses("cmcc", "out_of_order", line("g", 2, huanxin.Disconnected, day(300))) // then the suspension no longer fits
	})
}

func TestACorrectionVoidsAnEventOfItsChunkOrOfAnEarlierOne(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(500 * dayLong)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, at), line("t", 1, huanxin.Transferred, at.Add(dayLong)),
			corrected("c", 1, "t", at.Add(2*dayLong)), line("t2", 1, huanxin.Transferred, at.Add(3*dayLong)))
		if s := w.standing(1); !s.StartedAt.Equal(at.Add(3 * dayLong)) {
			t.Errorf("in one chunk: %+v", s)
		}
		w.accepts("cmcc", corrected("c2", 1, "t2", at.Add(4*dayLong)))
		if s := w.standing(1); !s.StartedAt.Equal(at) || s.Origin != huanxin.OriginFirst {
			t.Errorf("in another: %+v", s)
		}
		w.refuses("cmcc", "out_of_order", corrected("c3", 1, "t2", at.Add(5*dayLong))) // void already
		w.refuses("cmcc", "out_of_order", corrected("c4", 1, "c2", at.Add(5*dayLong))) // a correction
		w.refuses("cmcc", "unknown_event", corrected("c5", 2, "a", at))                // of another number
		w.refuses("cucc", "unknown_event", corrected("c6", 1, "a", at))                // of another carrier
		w.accepts("cmcc", corrected("c7", 1, "a", at))
		if s := w.standing(1); s.Phase != huanxin.PhaseUnseen {
			t.Errorf("with all voided: %+v", s)
		}
	})
}

func TestAReportLongerThanAChunkIsOneReport(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const n = 4096*2 + 100
		at := ago(500 * dayLong)
		events := make([]huanxin.Event, 0, n)
		for i := range n - 3 {
			events = append(events, activated(fmt.Sprint("e", i), i, huanxin.ActivatedFirst, at))
		}
		events = append(events, corrected("c", 7, "e7", at), // across chunks
			activated("e8", 8, huanxin.ActivatedFirst, at),                // a duplicate
			activated("e9", 9, huanxin.ActivatedFirst, at.Add(time.Hour))) // a conflict
		r, err := w.ReportEvents(t.Context(), w.as("cmcc"), eventLines(events...), ago(0))
		must(t, err)
		if r.Accepted != n-2 || r.Duplicates != 1 || r.RejectedTotal != 1 || r.Rejected[0].Line != n || r.Rejected[0].Code != "id_conflict" || r.ID == "" {
			t.Errorf("%+v", r)
		}
		if w.standing(7).Phase != huanxin.PhaseUnseen || w.standing(4097).Phase != huanxin.PhaseInUse {
			t.Error("the standings are wrong")
		}
	})
}

func TestABodyThatBreaksOffKeepsWhatWasAcceptedAndTellsNothingComplete(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		broken := errors.New("the body broke off")
		at := ago(10 * dayLong)
		const n = 4096 + 10
		lines := func(yield func(core.EventLine, error) bool) {
			for i := range n {
				if !yield(core.EventLine{Line: int64(i + 1), Event: activated(fmt.Sprint("e", i), i, huanxin.ActivatedFirst, at)}, nil) {
					return
				}
			}
			yield(core.EventLine{}, broken)
		}
		r, err := w.ReportEvents(t.Context(), w.as("cmcc"), lines, ago(0))
		if !errors.Is(err, broken) || r.Accepted != n || !r.CompleteUntil.IsZero() {
			t.Errorf("%v %+v", err, r)
		}
		if w.standing(n-1).Phase != huanxin.PhaseInUse {
			t.Error("what came before the break is lost")
		}
	})
}

func TestAReportWhoseCallerIsGoneEndsAndCanBeSentAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		at := ago(10 * dayLong)
		const n = 4096 * 3
		all := make([]huanxin.Event, n)
		for i := range all {
			all[i] = activated(fmt.Sprint("e", i), i, huanxin.ActivatedFirst, at)
		}
		i := 0
		var lines iter.Seq2[core.EventLine, error] = func(yield func(core.EventLine, error) bool) {
			for l, err := range eventLines(all...) {
				if i++; i == 5000 {
					cancel()
				}
				if !yield(l, err) {
					return
				}
			}
		}
		r, err := w.ReportEvents(ctx, w.as("cmcc"), lines, time.Time{})
		if err == nil {
			t.Error("it says that it was done")
		}
		again := w.report("cmcc", all...)
		if again.Accepted+r.Accepted != n || again.Duplicates != r.Accepted {
			t.Errorf("first %d accepted, then %d, %d known", r.Accepted, again.Accepted, again.Duplicates)
		}
	})
}

func TestCompleteUntilIsTakenWhenNothingIsLeftUntold(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(10 * dayLong)
		unsupported := huanxin.Event{ID: "iot", Number: huanxin.NumberOf(861064912345678), Kind: huanxin.Activated, Origin: 1, At: at}
		until := func(d time.Duration) time.Time { return at.Add(d) }
		for _, c := range []struct {
			name   string
			until  time.Time
			events []huanxin.Event
			want   time.Time
		}{
			{"an empty report counts", until(1), nil, until(0).Truncate(time.Microsecond)},
			{"a report counts", until(time.Hour), []huanxin.Event{activated("a", 1, huanxin.ActivatedFirst, at)}, until(time.Hour)},
			{"a duplicate is told", until(2 * time.Hour), []huanxin.Event{activated("a", 1, huanxin.ActivatedFirst, at)}, until(2 * time.Hour)},
			{"a kind that is not served will never be told", until(3 * time.Hour), []huanxin.Event{unsupported}, until(3 * time.Hour)},
			{"a refused line is untold", until(4 * time.Hour), []huanxin.Event{line("x", 9, huanxin.Suspended, at)}, until(3 * time.Hour)},
			{"it never moves back", until(time.Hour), nil, until(3 * time.Hour)},
			{"without a word it stays", time.Time{}, nil, until(3 * time.Hour)},
		} {
			r, err := w.ReportEvents(t.Context(), w.as("cmcc"), eventLines(c.events...), c.until)
			must(t, err)
			if !r.CompleteUntil.Equal(c.want) {
				t.Errorf("%s: %v, not %v", c.name, r.CompleteUntil, c.want)
			}
		}
		_, err := w.ReportEvents(t.Context(), w.as("cmcc"), eventLines(activated("z", 5, huanxin.ActivatedFirst, at)), time.Now().Add(6*time.Minute))
		if huanxin.KindOf(err) != huanxin.Invalid || w.standing(5).Phase != huanxin.PhaseUnseen {
			t.Errorf("from the future: %v", err)
		}
		r := w.report("cucc")
		if !r.CompleteUntil.IsZero() {
			t.Error("one carrier spoke for another")
		}
	})
}
