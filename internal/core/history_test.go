package core_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// had is a line of history with an exact start, and hadOn one with a day.
func had(n int, at time.Time, origin huanxin.TenureOrigin) core.HistoryLine {
	return core.HistoryLine{Number: number(n), StartedAt: at, Origin: origin}
}

func hadOn(n int, at time.Time, origin huanxin.TenureOrigin) core.HistoryLine {
	return core.HistoryLine{Number: number(n), Day: huanxin.DateOf(at, huanxin.China), Origin: origin}
}

func historyLines(in ...core.HistoryLine) iter.Seq2[core.HistoryLine, error] {
	return func(yield func(core.HistoryLine, error) bool) {
		for i, l := range in {
			l.Line = int64(i + 1)
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (w *world) imports(carrier string, told core.HistoryTold, in ...core.HistoryLine) core.Receipt {
	w.Helper()
	r, err := w.ImportHistory(context.Background(), w.as(carrier), historyLines(in...), told)
	must(w, err)
	return r
}

// loads imports lines that must all be accepted.
func (w *world) loads(carrier string, in ...core.HistoryLine) {
	w.Helper()
	if r := w.imports(carrier, core.HistoryTold{}, in...); r.Accepted != int64(len(in)) {
		w.Fatalf("%d of %d accepted: %+v", r.Accepted, len(in), r.Rejected)
	}
}

// known imports a line that must be a duplicate, and conflicts one that must be refused with a code.
func (w *world) known(carrier string, l core.HistoryLine) {
	w.Helper()
	if r := w.imports(carrier, core.HistoryTold{}, l); r.Duplicates != 1 || r.Accepted+r.RejectedTotal != 0 {
		w.Errorf("no duplicate: %+v", r)
	}
}

func (w *world) conflicts(carrier, code string, l core.HistoryLine) core.Rejection {
	w.Helper()
	r := w.imports(carrier, core.HistoryTold{}, l)
	if r.RejectedTotal != 1 || r.Rejected[0].Code != code || r.Rejected[0].Line != 1 || r.Accepted+r.Duplicates != 0 {
		w.Errorf("wanted %s: %+v", code, r)
		return core.Rejection{}
	}
	return r.Rejected[0]
}

type question struct {
	n     int
	since huanxin.Since
	want  string
}

// answersAll asks a hub that has no index yet, and one whose index follows the log.
func (w *world) answersAll(qs ...question) {
	w.Helper()
	w.follows()
	for how, hub := range map[string]*world{"from the store": w.again(core.CheckOptions{}), "from the index": w} {
		for i, q := range qs {
			if got, _ := hub.checks(number(q.n), q.since); strings.TrimSpace(says(got)) != q.want {
				w.Errorf("%s, question %d, number %d: %s, want %s", how, i, q.n, says(got), q.want)
			}
		}
	}
}

func at(t time.Time) huanxin.Since { return huanxin.SinceInstant(t) }

// dayAt gives an instant of a day of the national time zone some days ago.
func dayAt(daysAgo, hour int) time.Time {
	d := huanxin.DateOf(ago(time.Duration(daysAgo)*dayLong), huanxin.China)
	first, _ := d.In(huanxin.China)
	return first.Add(time.Duration(hour) * time.Hour)
}

func TestHistoryOfEveryOriginAnswersChecks(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := dayAt(500, 10)
		w.loads("cmcc", had(1, began, huanxin.OriginFirst), had(2, began, huanxin.OriginReassigned),
			had(3, began, huanxin.OriginTransferred), had(4, began, huanxin.OriginUnknown))
		w.answersAll(
			question{1, on(dayAt(501, 10)), "CHANGED reassigned"}, question{1, on(began), "UNCHANGED"}, question{1, at(began), "UNCHANGED"},
			question{2, at(began.Add(-time.Second)), "CHANGED reassigned"}, question{2, on(dayAt(501, 0)), "CHANGED reassigned"}, question{2, on(began), "UNCHANGED"},
			question{3, at(began.Add(-time.Second)), "CHANGED transferred"}, question{3, on(dayAt(501, 0)), "CHANGED transferred"}, question{3, at(began.Add(time.Hour)), "UNCHANGED"},
			question{4, at(began.Add(-time.Second)), "UNKNOWN before_coverage"}, question{4, on(dayAt(501, 0)), "UNKNOWN before_coverage"}, question{4, at(began), "UNCHANGED"},
			question{5, on(began), "UNKNOWN never_seen"}, question{1, on(time.Now()), "UNCHANGED"},
		)
		if s := w.standing(3); s.Origin != huanxin.OriginTransferred || !s.StartedAt.Equal(began) || s.StartedOnDay {
			t.Errorf("%+v", s)
		}
		events := w.history(number(3))
		if len(events) != 2 || events[0].Kind != huanxin.Transferred || events[1].Kind != huanxin.Activated || events[1].Origin != huanxin.ActivatedUnknown {
			t.Errorf("a transfer is two events, the second later in the log: %+v", events)
		}
	})
}

// "A value known only to the day is the whole of that day", and unknown is never no: an exact time of that day may have been
// the former holder's and may have been the present one's.
func TestAStartKnownOnlyToTheDayIsNeverTakenForExact(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := dayAt(500, 0)
		w.loads("cmcc", hadOn(1, began, huanxin.OriginFirst), hadOn(2, began, huanxin.OriginReassigned), hadOn(3, began, huanxin.OriginTransferred),
			hadOn(4, began, huanxin.OriginUnknown), hadOn(5, time.Now(), huanxin.OriginReassigned))
		before := map[int]string{1: "CHANGED reassigned", 2: "CHANGED reassigned", 3: "CHANGED transferred", 4: "UNKNOWN before_coverage"}
		var qs []question
		for n := 1; n <= 4; n++ {
			qs = append(qs, question{n, on(dayAt(501, 0)), before[n]}, question{n, at(began.Add(-time.Microsecond)), before[n]},
				question{n, at(began), "UNKNOWN before_coverage"}, question{n, at(began.Add(12 * time.Hour)), "UNKNOWN before_coverage"},
				question{n, at(began.Add(24*time.Hour - 2*time.Microsecond)), "UNKNOWN before_coverage"},
				question{n, on(began), "UNCHANGED"}, // a date means its last instant
				question{n, at(began.Add(24 * time.Hour)), "UNCHANGED"}, question{n, on(time.Now()), "UNCHANGED"})
			if s := w.standing(n); !s.StartedOnDay || !s.StartedAt.Equal(began) {
				t.Errorf("number %d: %+v", n, s)
			}
		}
		qs = append(qs, question{5, on(time.Now()), "UNCHANGED"}, question{5, on(ago(dayLong)), "CHANGED reassigned"})
		if now := time.Now(); now.Sub(dayAt(0, 0)) > time.Minute {
			qs = append(qs, question{5, at(dayAt(0, 0).Add(time.Second)), "UNKNOWN before_coverage"}, question{5, at(now.Add(time.Minute)), "UNCHANGED"})
		}
		w.answersAll(qs...)
		// What begins later is exact again.
		w.accepts("cmcc", line("move", 2, huanxin.Transferred, dayAt(100, 9)))
		w.answersAll(question{2, at(dayAt(100, 8)), "CHANGED transferred"}, question{2, at(dayAt(100, 9)), "UNCHANGED"}, question{2, at(began), "CHANGED transferred"})
		// The carrier asks with the day's first instant, and the task says that: nothing bound on that day is ever unbound (rule 1).
		_, err := w.CreateRequest(context.Background(), w.as("cmcc"), ask(3, began.Add(time.Hour), huanxin.OriginTransferred, "game"))
		w.refused(err, "ineligible", huanxin.IneligibleTenureMismatch)
		w.creates(ask(3, began, huanxin.OriginTransferred, "game"))
		if k := w.task("game"); !k.StartedAt.Equal(began) {
			t.Errorf("the task says %v", k.StartedAt)
		}
	})
}

// The table of DOMAIN.md §5 where the beginning of each story is imported and the rest reported. Today is day 1000.
func TestTheAwkwardCasesHoldAfterAnImport(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		day := func(n, hour int) time.Time { return dayAt(1000-n, hour) }
		date := func(n int) huanxin.Since { return on(day(n, 1)) }
		w.loads("cmcc",
			had(1, day(1, 0), huanxin.OriginFirst), had(2, day(1, 0), huanxin.OriginFirst), had(3, day(1, 0), huanxin.OriginReassigned),
			hadOn(4, day(1, 0), huanxin.OriginFirst), had(5, day(1, 0), huanxin.OriginTransferred), had(6, day(1, 0), huanxin.OriginFirst),
			hadOn(7, day(1, 0), huanxin.OriginFirst), had(9, day(1, 0), huanxin.OriginFirst), had(10, day(1, 0), huanxin.OriginFirst))
		w.loads("cucc", had(8, day(500, 0), huanxin.OriginUnknown))
		w.accepts("cucc", line("2a", 2, huanxin.Ported, day(100, 9)))
		w.accepts("cmcc", line("2b", 2, huanxin.Ported, day(200, 9)),
			line("3a", 3, huanxin.Disconnected, day(300, 9)), activated("3b", 3, huanxin.ActivatedReassigned, day(400, 9)),
			line("4a", 4, huanxin.Disconnected, day(300, 9)), line("4b", 4, huanxin.Reinstated, day(320, 9)),
			line("5a", 5, huanxin.Transferred, day(400, 10)),
			line("6a", 6, huanxin.Disconnected, day(300, 9)), activated("6b", 6, huanxin.ActivatedReassigned, day(400, 9)),
			line("6c", 6, huanxin.Disconnected, day(600, 9)), activated("6d", 6, huanxin.ActivatedReassigned, day(700, 9)),
			line("7a", 7, huanxin.Disconnected, day(300, 9)),
			line("9a", 9, huanxin.Transferred, day(400, 9)), corrected("9b", 9, "9a", day(450, 9)))
		w.refuses("cmcc", "out_of_order", activated("10b", 10, huanxin.ActivatedReassigned, day(400, 9)))
		w.accepts("cmcc", line("10a", 10, huanxin.Disconnected, day(300, 9)))
		w.accepts("cmcc", activated("10b", 10, huanxin.ActivatedReassigned, day(400, 9)))
		w.answersAll(
			question{1, date(1), "UNCHANGED"}, question{1, date(500), "UNCHANGED"},
			question{2, date(50), "UNCHANGED"},
			question{3, date(50), "CHANGED reassigned"}, question{3, date(300), "CHANGED reassigned"}, question{3, date(350), "CHANGED reassigned"},
			question{3, date(400), "UNCHANGED"}, question{3, date(500), "UNCHANGED"},
			question{4, date(50), "UNCHANGED"}, question{4, date(310), "UNCHANGED"},
			question{5, date(399), "CHANGED transferred"}, question{5, at(day(400, 9)), "CHANGED transferred"}, question{5, date(400), "UNCHANGED"}, question{5, at(day(400, 11)), "UNCHANGED"},
			question{6, date(50), "CHANGED reassigned"}, question{6, date(650), "CHANGED reassigned"},
			question{7, date(50), "NO_HOLDER"}, question{7, date(300), "NO_HOLDER"}, question{7, date(999), "NO_HOLDER"},
			question{8, date(499), "UNKNOWN before_coverage"}, question{8, date(501), "UNCHANGED"},
			question{9, date(50), "UNCHANGED"}, question{10, date(50), "CHANGED reassigned"},
		)
	})
}

func TestHistoryToldAgainIsADuplicateAndToldOtherwiseAConflict(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := dayAt(500, 10)
		origins := []huanxin.TenureOrigin{huanxin.OriginFirst, huanxin.OriginReassigned, huanxin.OriginTransferred, huanxin.OriginUnknown}
		for i, origin := range origins {
			w.loads("cmcc", had(i, began, origin))
			w.loads("cmcc", hadOn(10+i, began, origin))
		}
		for i, origin := range origins {
			w.known("cmcc", had(i, began.Add(100), origin)) // finer than the store is
			w.known("cmcc", hadOn(10+i, began, origin))
			w.conflicts("cmcc", "id_conflict", had(i, began.Add(time.Second), origin))
			w.conflicts("cmcc", "id_conflict", hadOn(i, began, origin))
			w.conflicts("cmcc", "id_conflict", had(10+i, dayAt(500, 0), origin)) // exact now
			w.conflicts("cmcc", "id_conflict", hadOn(10+i, began.Add(dayLong), origin))
			for _, other := range origins {
				if other != origin {
					w.conflicts("cmcc", "id_conflict", had(i, began, other))
					w.conflicts("cmcc", "id_conflict", hadOn(10+i, began, other))
				}
			}
		}
		// In one file.
		r := w.imports("cmcc", core.HistoryTold{}, had(20, began, huanxin.OriginTransferred), had(20, began, huanxin.OriginTransferred),
			had(20, began, huanxin.OriginUnknown), had(21, began, huanxin.OriginFirst), had(21, began, huanxin.OriginReassigned))
		if r.Accepted != 2 || r.Duplicates != 1 || r.RejectedTotal != 2 || r.Rejected[0].Line != 3 || r.Rejected[1].Line != 5 {
			t.Errorf("%+v", r)
		}
	})
}

func TestHistoryOfANumberThatTheLogKnowsFollowsTheRules(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		long, now := ago(900*dayLong), ago(10*dayLong)
		w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, long), activated("2", 2, huanxin.ActivatedFirst, long), line("2b", 2, huanxin.Disconnected, now),
			activated("3", 3, huanxin.ActivatedFirst, long), line("3b", 3, huanxin.Disconnected, ago(300*dayLong)),
			activated("4", 4, huanxin.ActivatedPortedIn, now), activated("5", 5, huanxin.ActivatedFirst, long), activated("6", 6, huanxin.ActivatedUnknown, now),
			activated("7", 7, huanxin.ActivatedFirst, long), line("7b", 7, huanxin.Transferred, now))
		w.accepts("cucc", line("5b", 5, huanxin.Ported, now))
		// What says only what the log says is known already.
		for _, l := range []core.HistoryLine{had(1, long, huanxin.OriginFirst), hadOn(1, long, huanxin.OriginFirst), had(1, now, huanxin.OriginUnknown),
			hadOn(1, long, huanxin.OriginUnknown), had(4, now, huanxin.OriginUnknown), had(7, now, huanxin.OriginTransferred)} {
			w.known("cmcc", l)
		}
		w.known("cucc", had(5, now, huanxin.OriginUnknown)) // a carrier that took a number over knows no more
		// What contradicts it is refused.
		for _, l := range []core.HistoryLine{had(1, now, huanxin.OriginFirst), had(1, long, huanxin.OriginReassigned), had(1, long.Add(-dayLong), huanxin.OriginUnknown),
			had(1, long, huanxin.OriginTransferred), had(1, now, huanxin.OriginTransferred), hadOn(1, now, huanxin.OriginReassigned), had(3, long.Add(dayLong), huanxin.OriginUnknown)} {
			w.conflicts("cmcc", "out_of_order", l)
		}
		w.conflicts("cmcc", "cooling_too_short", had(2, ago(5*dayLong), huanxin.OriginReassigned))
		w.conflicts("cucc", "out_of_order", had(1, now, huanxin.OriginUnknown)) // another carrier's
		w.conflicts("cmcc", "out_of_order", had(3, ago(100*dayLong), huanxin.OriginFirst))
		// What goes on from it, or comes before it, is accepted.
		w.loads("cmcc", had(3, ago(100*dayLong), huanxin.OriginReassigned))
		w.loads("cmcc", had(4, long, huanxin.OriginTransferred)) // the start of a number that was ported in becomes known
		w.answersAll(question{3, on(ago(200 * dayLong)), "CHANGED reassigned"}, question{4, on(ago(100 * dayLong)), "UNCHANGED"},
			question{4, on(long.Add(-dayLong)), "CHANGED transferred"}, question{6, on(long), "UNKNOWN before_coverage"}, question{2, on(long), "NO_HOLDER"})
		// And what is refused of two events leaves none.
		if events := w.history(number(1)); len(events) != 1 {
			t.Errorf("%d events", len(events))
		}
	})
}

func TestALateImportThatMovesATenuresStartAbortsWhatWasAskedForIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		came, began := ago(48*time.Hour), ago(900*dayLong)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedPortedIn, came))
		made := w.creates(ask(1, came, huanxin.OriginUnknown, "game"))
		w.loads("cmcc", had(1, began, huanxin.OriginReassigned))
		if v := w.request("cmcc", made.ID); v.State != huanxin.RequestAborted {
			t.Errorf("the request is %v", v.State)
		}
		if len(w.tasks("game")) != 0 {
			t.Error("its task is open")
		}
		w.creates(ask(1, began, huanxin.OriginReassigned, "game"))
	})
}

func TestNamesOfHistoryAreTheHubsAndTellNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := ago(500 * dayLong)
		w.loads("cmcc", had(1, began, huanxin.OriginTransferred))
		w.loads("cucc", had(2, began, huanxin.OriginFirst))
		events := w.history(number(1))
		first := events[1].ID
		if len(first) != len("history:")+32 || events[0].ID != first+":transferred" || first != "history:"+w.keys.History(number(1)) {
			t.Errorf("the names are %s and %s", first, events[0].ID)
		}
		w.refuses("cmcc", "not_allowed", activated("history:abc", 9, huanxin.ActivatedFirst, began))
		w.refuses("cmcc", "not_allowed", activated(first, 1, huanxin.ActivatedUnknown, began))
		// The refusal of what contradicts it names the event, by which it is corrected, the second one first.
		if r := w.conflicts("cmcc", "id_conflict", had(1, began.Add(time.Hour), huanxin.OriginTransferred)); r.ID != first {
			t.Errorf("the refusal names %q", r.ID)
		}
		w.refuses("cmcc", "out_of_order", corrected("x", 1, first, began))
		w.accepts("cmcc", corrected("c1", 1, first+":transferred", began), corrected("c2", 1, first, began), activated("true", 1, huanxin.ActivatedReassigned, began.Add(time.Hour)))
		w.refuses("cucc", "unknown_event", corrected("c", 1, first, began))
		w.known("cmcc", had(1, began, huanxin.OriginTransferred)) // told, and corrected
		if s := w.standing(1); s.Origin != huanxin.OriginReassigned {
			t.Errorf("%+v", s)
		}
	})
}

func TestHistoryIsKnownAgainAfterTheKeysWereRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, err := seal.Open(path)
	must(t, err)
	s, err := store.Open(context.Background(), sqliteFile(t))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	w := newHub(t, s, keys)
	must(t, w.PutParty(context.Background(), core.Operator(), huanxin.Party{ID: "cmcc", NameZh: "a", NameEn: "a", Kind: huanxin.CarrierParty, CoolingDays: 90}, true))
	began := ago(500 * dayLong)
	lines := []core.HistoryLine{had(1, began, huanxin.OriginTransferred), had(2, began, huanxin.OriginUnknown), hadOn(3, began, huanxin.OriginFirst)}
	w.loads("cmcc", lines...)

	rotated := rotateLookup(t, path)
	if rotated.History(number(1)) == keys.History(number(1)) {
		t.Fatal("the keys were not rotated")
	}
	h, err := core.New(context.Background(), core.Options{Store: s, Keys: rotated, Calendar: huanxin.ChinaCalendar(),
		Durations: huanxin.DefaultDurations(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	again := &world{TB: t, Hub: h, store: s, keys: rotated}
	for _, l := range lines {
		again.known("cmcc", l)
	}
	again.conflicts("cmcc", "id_conflict", had(1, began, huanxin.OriginUnknown))
	again.conflicts("cmcc", "id_conflict", had(2, began, huanxin.OriginTransferred))
	again.loads("cmcc", had(4, began, huanxin.OriginTransferred))
}

// rotateLookup makes a new look-up key the current one in a key file.
func rotateLookup(t *testing.T, path string) *seal.Keys {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	old := string(text)
	i := strings.Index(old, `"lookup"`)
	next := strings.NewReplacer(`"current": 1`, `"current": 2`, `"current":1`, `"current":2`,
		`"keys": [`, `"keys": [{"id": 2, "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="},`,
		`"keys":[`, `"keys":[{"id":2,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="},`).Replace(old[i:])
	must(t, os.WriteFile(path, []byte(old[:i]+next), 0o600))
	rotated, err := seal.Open(path)
	must(t, err)
	return rotated
}

func TestBadLinesOfHistoryAreRefusedAndStopNoGoodOnes(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := ago(100 * dayLong)
		iot := core.HistoryLine{Number: huanxin.NumberOf(861064912345678), StartedAt: began, Origin: huanxin.OriginFirst}
		for title, c := range map[string]struct {
			code string
			l    core.HistoryLine
		}{
			"in the future":         {"in_future", had(5, time.Now().Add(6*time.Minute), huanxin.OriginFirst)},
			"on a day to come":      {"in_future", hadOn(5, time.Now().Add(25*time.Hour), huanxin.OriginFirst)},
			"before mobile numbers": {"too_early", had(5, time.Date(1987, 10, 1, 0, 0, 0, 0, time.UTC), huanxin.OriginFirst)},
			"ancient":               {"too_early", core.HistoryLine{Number: number(5), Day: huanxin.Date{Year: 1, Month: 1, Day: 1}, Origin: huanxin.OriginUnknown}},
			"of a kind not served":  {"number_kind_unsupported", iot},
			"without a number":      {"required", core.HistoryLine{StartedAt: began, Origin: huanxin.OriginFirst}},
			"without an origin":     {"required", core.HistoryLine{Number: number(5), StartedAt: began}},
			"bad already":           {"wrong_type", core.HistoryLine{Number: number(5), Err: huanxin.BadField("origin", "wrong_type", "must be a string")}},
		} {
			r := w.imports("cmcc", core.HistoryTold{}, c.l, had(1, began, huanxin.OriginFirst), c.l)
			if r.Accepted+r.Duplicates != 1 || r.RejectedTotal != 2 || r.Rejected[0].Code != c.code || r.Rejected[0].Line != 1 || r.Rejected[1].Line != 3 {
				t.Errorf("%s: %+v", title, r)
			}
		}
	})
}

func TestHistoryStatesCoverage(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began, until := ago(100*dayLong), ago(time.Hour)
		date := func(s string) huanxin.Date { d, err := huanxin.ParseDate(s); must(t, err); return d }
		first := func(s string) time.Time { d, _ := date(s).In(huanxin.China); return d }
		bad := had(9, time.Now().Add(time.Hour), huanxin.OriginFirst)
		iot := core.HistoryLine{Number: huanxin.NumberOf(861064912345678), StartedAt: began, Origin: huanxin.OriginFirst}
		for _, c := range []struct {
			name      string
			told      core.HistoryTold
			lines     []core.HistoryLine
			since     time.Time
			completed bool
		}{
			{"nothing is told", core.HistoryTold{}, []core.HistoryLine{had(1, began, huanxin.OriginFirst)}, time.Time{}, false},
			{"a refused line leaves something untold", core.HistoryTold{CoveredSince: date("2020-01-01")}, []core.HistoryLine{bad}, time.Time{}, false},
			{"a kind that is not served does not", core.HistoryTold{CoveredSince: date("2020-01-01")}, []core.HistoryLine{iot}, first("2020-01-01"), false},
			{"what is known stays known", core.HistoryTold{CoveredSince: date("2021-01-01")}, nil, first("2020-01-01"), false},
			{"an empty body counts", core.HistoryTold{CoveredSince: date("2015-06-30"), CompleteUntil: until}, nil, first("2015-06-30"), true},
			{"without a word it stays", core.HistoryTold{}, nil, first("2015-06-30"), true},
		} {
			r := w.imports("cmcc", c.told, c.lines...)
			if !r.CoveredSince.Equal(c.since) || r.CompleteUntil.Equal(until) != c.completed {
				t.Errorf("%s: %v, %v", c.name, r.CoveredSince, r.CompleteUntil)
			}
		}
		for _, told := range []core.HistoryTold{{CoveredSince: date("1987-10-31")}, {CoveredSince: huanxin.DateOf(time.Now(), huanxin.China).AddDays(1)}, {CompleteUntil: time.Now().Add(time.Hour)}} {
			if _, err := w.ImportHistory(context.Background(), w.as("cmcc"), historyLines(had(8, began, huanxin.OriginFirst)), told); huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("%+v: %v", told, err)
			}
		}
		if w.standing(8).Phase != huanxin.PhaseUnseen {
			t.Error("lines were taken beside what cannot be told")
		}
		w.follows()
		_, cover, err := w.Coverage(context.Background(), w.as("chat"))
		must(t, err)
		if !cover[0].CoveredSince.Equal(first("2015-06-30")) || !cover[0].FreshAt.Equal(until) || !cover[1].CoveredSince.IsZero() {
			t.Errorf("%+v", cover)
		}
	})
}

func TestHistoryIsNoNewsAndIsRecorded(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := ago(100 * dayLong)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, began))
		r := w.imports("cmcc", core.HistoryTold{}, had(2, began, huanxin.OriginTransferred), had(2, began, huanxin.OriginFirst))
		e := w.recorded()
		if e.Action != "history.report" || e.Subject != r.ID || !strings.Contains(e.Detail, `"accepted":1`) || !strings.Contains(e.Detail, `"rejected":1`) {
			t.Errorf("recorded %+v", e)
		}
		w.accepts("cmcc", activated("b", 3, huanxin.ActivatedFirst, began))
		w.sequence()
		must(t, w.store.Read(context.Background(), func(tx *store.Tx) error {
			batches, err := tx.LogBatches(1, 10)
			if len(batches) != 3 || batches[0].History || !batches[1].History || batches[1].Events != 2 || batches[2].History {
				t.Errorf("%+v", batches)
			}
			return err
		}))
		for _, who := range []huanxin.Caller{{}, w.as("chat"), w.as("cmcc", huanxin.ScopeRequestsRead), w.as("miit")} {
			if _, err := w.ImportHistory(context.Background(), who, historyLines(had(7, began, huanxin.OriginFirst)), core.HistoryTold{}); err == nil {
				t.Errorf("%v may", who.Client)
			}
		}
		if e := w.recorded(); e.Action != "history.begin" || e.Refused != "insufficient_scope" {
			t.Errorf("recorded %+v", e)
		}
	})
}

func TestHistoryLongerThanAChunkIsOneReport(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const n = 4096*2 + 100
		began := ago(500 * dayLong)
		lines := make([]core.HistoryLine, 0, n)
		for i := range n - 2 {
			lines = append(lines, had(i, began, huanxin.TenureOrigin(1+i%4)))
		}
		lines = append(lines, lines[6], had(7, began, huanxin.OriginFirst))
		r := w.imports("cmcc", core.HistoryTold{}, lines...)
		if r.Accepted != n-2 || r.Duplicates != 1 || r.RejectedTotal != 1 || r.Rejected[0].Line != n || r.Rejected[0].Code != "id_conflict" {
			t.Errorf("%+v", r)
		}
		again := w.imports("cmcc", core.HistoryTold{}, lines...)
		if again.Accepted != 0 || again.Duplicates != n-1 {
			t.Errorf("again: %+v", again)
		}
		w.answersAll(question{6, on(began.Add(-dayLong)), "CHANGED transferred"}, question{n - 3, on(time.Now()), "UNCHANGED"})
	})
}

// TestAnImportSaysWhatTheSameEventsWould compares random lines of history, among random events, with those events reported as
// such under names of the carrier's on another hub: the standings are the same.
func TestAnImportSaysWhatTheSameEventsWould(t *testing.T) {
	one, other := newWorld(t, sqliteFile(t)), newWorld(t, sqliteFile(t))
	base := 1000
	rapid.Check(t, func(t *rapid.T) {
		base += 10
		for i := range rapid.IntRange(1, 10).Draw(t, "steps") {
			n := base + rapid.IntRange(0, 2).Draw(t, "number")
			when := ago(time.Duration(rapid.IntRange(1, 60).Draw(t, "weeks")) * 7 * dayLong)
			carrier := rapid.SampledFrom([]string{"cmcc", "cmcc", "cucc"}).Draw(t, "carrier")
			id := fmt.Sprint(base, "-", i)
			if rapid.Bool().Draw(t, "event") {
				kind := rapid.SampledFrom([]huanxin.EventKind{huanxin.Disconnected, huanxin.Transferred, huanxin.Ported, huanxin.Suspended, huanxin.Reinstated}).Draw(t, "kind")
				a, b := one.report(carrier, line(id, n, kind, when)), other.report(carrier, line(id, n, kind, when))
				if a.Accepted != b.Accepted {
					t.Fatalf("%+v, %+v", a, b)
				}
				continue
			}
			origin := rapid.SampledFrom([]huanxin.TenureOrigin{1, 2, 3, 4}).Draw(t, "origin")
			before := one.standing(n)
			r := one.imports(carrier, core.HistoryTold{}, had(n, when, origin))
			if r.Accepted == 0 {
				if one.standing(n) != before {
					t.Fatal("what was not accepted moved something")
				}
				continue
			}
			how := map[huanxin.TenureOrigin]huanxin.ActivationOrigin{1: huanxin.ActivatedFirst, 2: huanxin.ActivatedReassigned, 3: huanxin.ActivatedUnknown, 4: huanxin.ActivatedUnknown}[origin]
			events := []huanxin.Event{activated(id, n, how, when)}
			if origin == huanxin.OriginTransferred {
				events = append(events, line(id+"t", n, huanxin.Transferred, when))
			}
			if got := other.report(carrier, events...); got.Accepted != int64(len(events)) {
				t.Fatalf("the events are refused: %+v", got)
			}
		}
		for i := range 3 {
			a, b := one.standing(base+i), other.standing(base+i)
			a.Tenure, b.Tenure = 0, 0
			if a != b {
				t.Fatalf("imported %+v, reported %+v", a, b)
			}
		}
	})
}
