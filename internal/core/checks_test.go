package core_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// follows brings the index to the end of the log.
func (w *world) follows() {
	w.Helper()
	w.sequence()
	must(w, w.Follow(context.Background()))
}

// checks asks about number n, and gives the answer and its position.
func (w *world) checks(n huanxin.Number, since huanxin.Since) (core.Checked, int64) {
	w.Helper()
	c, err := w.BeginChecks(context.Background(), w.as("chat"), huanxin.ScopeNumbersCheck)
	must(w, err)
	c.Fresh = true
	out := make([]core.Checked, 1)
	must(w, c.Answer(context.Background(), []core.Check{{Number: n, Since: since}}, out))
	return out[0], c.AsOf()
}

func says(a core.Checked) string { return a.Outcome.String() + " " + a.Reason }

func on(day time.Time) huanxin.Since {
	return huanxin.SinceDay(huanxin.DayOf(day, huanxin.China))
}

func TestACheckIsAnsweredFromTheStoreUntilThereIsAnIndexAndTheSameAfterwards(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		moved := ago(200 * dayLong)
		w.accepts("cmcc",
			activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)),
			activated("2", 2, huanxin.ActivatedFirst, ago(900*dayLong)), line("2b", 2, huanxin.Transferred, moved),
			activated("3", 3, huanxin.ActivatedFirst, ago(900*dayLong)), line("3b", 3, huanxin.Disconnected, moved),
			activated("4", 4, huanxin.ActivatedPortedIn, moved),
			activated("5", 5, huanxin.ActivatedFirst, ago(900*dayLong)), line("5b", 5, huanxin.Disconnected, ago(500*dayLong)),
			activated("5c", 5, huanxin.ActivatedReassigned, moved))
		w.sequence()
		look := func(how string, asOf int64) {
			t.Helper()
			for _, c := range []struct {
				n     int
				since huanxin.Since
				want  string
			}{
				{1, on(ago(300 * dayLong)), "UNCHANGED "}, {1, on(time.Now()), "UNCHANGED "},
				{2, on(ago(300 * dayLong)), "CHANGED transferred"}, {2, on(ago(100 * dayLong)), "UNCHANGED "},
				{2, huanxin.SinceInstant(moved.Add(-time.Second)), "CHANGED transferred"}, {2, huanxin.SinceInstant(moved), "UNCHANGED "},
				{3, on(ago(300 * dayLong)), "NO_HOLDER "}, {3, on(time.Now()), "NO_HOLDER "},
				{4, on(ago(300 * dayLong)), "UNKNOWN before_coverage"}, {4, on(ago(100 * dayLong)), "UNCHANGED "},
				{5, on(ago(300 * dayLong)), "CHANGED reassigned"}, {5, huanxin.SinceInstant(moved.Add(-1e6)), "CHANGED reassigned"},
				{6, on(ago(300 * dayLong)), "UNKNOWN never_seen"},
				{1, huanxin.SinceInstant(time.Now().Add(time.Hour)), "UNKNOWN future"},
			} {
				got, at := w.checks(number(c.n), c.since)
				if says(got) != c.want || at != asOf {
					t.Errorf("%s: number %d: %s as of %d, want %s as of %d", how, c.n, says(got), at, c.want, asOf)
				}
			}
		}
		look("without an index", 9)
		w.follows()
		look("with an index built from standings", 9)
		w.accepts("cmcc", line("1b", 1, huanxin.Disconnected, ago(dayLong)))
		if got, at := w.checks(number(1), on(ago(300*dayLong))); says(got) != "UNCHANGED " || at != 9 {
			t.Errorf("what has no position yet is not in the answer: %s as of %d", says(got), at)
		}
		w.follows()
		if got, at := w.checks(number(1), on(ago(300*dayLong))); says(got) != "NO_HOLDER " || at != 10 {
			t.Errorf("what has a position is: %s as of %d", says(got), at)
		}
	})
}

func TestFreshnessIsTheServingCarriersWordAndNeverAheadOfTheIndex(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.follows()
		told := ago(time.Hour)
		report := func(carrier string, until time.Time, events ...huanxin.Event) {
			t.Helper()
			r, err := w.ReportEvents(ctx, w.as(carrier), eventLines(events...), until)
			must(t, err)
			if r.Accepted != int64(len(events)) {
				t.Fatal(r)
			}
		}
		report("cmcc", told, activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)), activated("2", 2, huanxin.ActivatedFirst, ago(900*dayLong)))
		must(t, w.Follow(ctx)) // nothing has a position yet
		if got, _ := w.checks(number(1), on(time.Now())); !got.FreshAt.IsZero() {
			t.Error("fresh before what was told is in the index")
		}
		w.follows()
		report("cucc", told.Add(time.Minute), line("p", 2, huanxin.Ported, ago(2*time.Hour)))
		w.follows()
		for n, want := range map[int]time.Time{1: told, 2: told.Add(time.Minute), 3: {}} {
			if got, _ := w.checks(number(n), on(time.Now())); !got.FreshAt.Equal(want) {
				t.Errorf("number %d is fresh at %v, want %v", n, got.FreshAt, want)
			}
		}
		asOf, cover, err := w.Coverage(ctx, w.as("chat"))
		must(t, err)
		if asOf != 3 || len(cover) != 2 || !cover[0].FreshAt.Equal(told) || !cover[1].FreshAt.Equal(told.Add(time.Minute)) {
			t.Errorf("as of %d: %+v", asOf, cover)
		}
	})
}

func TestNumbersOfACarrierThatIsLateHaveNoAnswer(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)))
	late := w.again(core.CheckOptions{LateAfter: 24 * time.Hour})
	late.follows()
	if got, _ := late.checks(number(1), on(time.Now())); says(got) != "UNKNOWN carrier_late" {
		t.Errorf("a carrier that never said: %s", says(got))
	}
	_, err := w.ReportEvents(context.Background(), w.as("cmcc"), eventLines(), ago(25*time.Hour))
	must(t, err)
	late.follows()
	if got, _ := late.checks(number(1), on(time.Now())); says(got) != "UNKNOWN carrier_late" || got.FreshAt.IsZero() {
		t.Errorf("a day and an hour ago: %s %v", says(got), got.FreshAt)
	}
	if got, _ := late.checks(number(2), on(time.Now())); says(got) != "UNKNOWN never_seen" {
		t.Errorf("a number that nobody serves: %s", says(got))
	}
	_, err = w.ReportEvents(context.Background(), w.as("cmcc"), eventLines(), ago(time.Hour))
	must(t, err)
	late.follows()
	if got, _ := late.checks(number(1), on(time.Now())); says(got) != "UNCHANGED " {
		t.Errorf("an hour ago: %s", says(got))
	}
}

func TestOnlyAnAppWithTheScopeMayCheck(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	for _, who := range []huanxin.Caller{{}, w.as("cmcc"), w.as("chat", huanxin.ScopeTasksWork), w.as("miit")} {
		if _, err := w.BeginChecks(context.Background(), who, huanxin.ScopeNumbersCheck); err == nil {
			t.Errorf("%v may", who.Client)
		}
		if _, _, err := w.Coverage(context.Background(), who); err == nil {
			t.Errorf("%v may see what carriers told", who.Client)
		}
	}
	if e := w.recorded(); e.Action != "checks" || e.Refused != "insufficient_scope" {
		t.Errorf("recorded %+v", e)
	}
}

// TestTheIndexAnswersAsTheLogOfLifeStoriesDoes plays random lives of a few numbers, in reports of random size that arrive late,
// are corrected and refused, and compares every answer of the index with what all events of the number, replayed from
// scratch, say. The slow model of DOMAIN.md §4 and §5 that Replay and Answer are compared with is in the root package.
func TestTheIndexAnswersAsTheLogOfLifeStoriesDoes(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	base := 1000
	rapid.Check(t, func(t *rapid.T) {
		base += 10
		lives := newLives(t, w, base)
		for range rapid.IntRange(1, 12).Draw(t, "reports") {
			lives.report()
			if rapid.Bool().Draw(t, "restart") {
				if err := lives.reader.Close(); err != nil {
					t.Fatal(err)
				}
				lives.reader = w.again(unguarded)
			}
			lives.compare()
		}
		if err := lives.reader.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type lives struct {
	t      *rapid.T
	w      *world
	reader *world
	base   int
	events int
	ids    []string
}

func newLives(t *rapid.T, w *world, base int) *lives {
	return &lives{t: t, w: w, reader: w.again(unguarded), base: base}
}

func (l *lives) report() {
	carrier := rapid.SampledFrom([]string{"cmcc", "cmcc", "cucc"}).Draw(l.t, "carrier")
	events := make([]huanxin.Event, rapid.IntRange(1, 8).Draw(l.t, "events"))
	for i := range events {
		l.events++
		n := l.base + rapid.IntRange(0, 3).Draw(l.t, "number")
		at := ago(time.Duration(rapid.IntRange(0, 40).Draw(l.t, "weeks"))*7*dayLong + time.Duration(rapid.IntRange(0, 3).Draw(l.t, "hours"))*time.Hour)
		kind := rapid.SampledFrom([]huanxin.EventKind{huanxin.Activated, huanxin.Activated, huanxin.Activated, huanxin.Disconnected,
			huanxin.Disconnected, huanxin.Transferred, huanxin.Reinstated, huanxin.Ported, huanxin.Suspended, huanxin.Resumed, huanxin.Corrected}).Draw(l.t, "kind")
		e := line(fmt.Sprintf("%d-%d", l.base, l.events), n, kind, at)
		switch kind {
		case huanxin.Activated:
			e.Origin = rapid.SampledFrom([]huanxin.ActivationOrigin{huanxin.ActivatedFirst, huanxin.ActivatedReassigned, huanxin.ActivatedPortedIn, huanxin.ActivatedUnknown}).Draw(l.t, "origin")
		case huanxin.Corrected:
			e.CorrectsID = "none"
			if len(l.ids) > 0 {
				e.CorrectsID = rapid.SampledFrom(l.ids).Draw(l.t, "corrects")
			}
		}
		l.ids = append(l.ids, e.ID)
		events[i] = e
	}
	l.w.report(carrier, events...)
}

func (l *lives) compare() {
	l.reader.follows()
	least := func(huanxin.PartyNo) time.Duration { return huanxin.MinCoolingDays * dayLong }
	for i := range 4 {
		n := number(l.base + i)
		replayed, err := huanxin.Replay(l.w.history(n), 0, least)
		if err != nil {
			l.t.Fatalf("the log does not replay: %v", err)
		}
		for _, back := range []time.Duration{0, time.Hour, 3 * dayLong, 21 * dayLong, 100 * dayLong, 140*dayLong + time.Hour, 281 * dayLong} {
			for _, since := range []huanxin.Since{on(ago(back)), huanxin.SinceInstant(ago(back))} {
				now := time.Now()
				p := huanxin.PresentAt(now, huanxin.China)
				outcome, reason := replayed.Answer(n, since.At(&p), now)
				if got, _ := l.reader.checks(n, since); says(got) != outcome.String()+" "+reason {
					l.t.Fatalf("number %d, %v back (exact %v): the index says %s, the log %s %s", i, back, since.Exact(), says(got), outcome, reason)
				}
			}
		}
	}
}

// unguarded is for tests that ask about one number with many T.
var unguarded = core.CheckOptions{Exempt: func(uint64) bool { return true }}
