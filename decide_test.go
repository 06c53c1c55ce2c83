package huanxin_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// moment reads "2006-01-02 15:04" as an instant in China, "2006-01-02" as a day in China, "never", and "" as unknown.
func moment(t testing.TB, s string) huanxin.Moment {
	t.Helper()
	switch len(s) {
	case 0:
		return huanxin.Moment{}
	case len("never"):
		return huanxin.Never()
	case len("2006-01-02"):
		return huanxin.OnDay(dateOn(t, s), huanxin.China)
	}
	return huanxin.Exactly(shanghai(t, s))
}

const (
	notKnown = huanxin.NotKnown
	yes      = huanxin.Yes
	no       = huanxin.No
)

// row is a row of DOMAIN.md §6, "What an app does with one binding".
type row int

func (r row) verdict() (huanxin.Outcome, huanxin.Reason) {
	return [...]huanxin.Outcome{1: huanxin.Kept, 2: huanxin.Kept, 3: huanxin.InReview, 4: huanxin.InReview,
			5: huanxin.ActionRequired, 6: huanxin.ActionRequired, 7: huanxin.Unbound}[r],
		[...]huanxin.Reason{1: huanxin.BoundByCurrentHolder, 2: huanxin.SamePerson, 3: huanxin.BoundAtUnknown,
			4: huanxin.AmbiguousDates, 5: huanxin.ConfirmOwnAccount, 6: huanxin.ConfirmOwnAccount, 7: huanxin.Removed}[r]
}

func TestEachBindingIsDecidedByTheFirstRowThatMatches(t *testing.T) {
	for _, c := range []struct {
		story   string
		a, b, v string
		same    huanxin.Tri
		want    row
	}{
		// "1 | B ≥ A for certain | kept bound_by_current_holder"
		{"B a year after A", "2026-03-01 08:00", "2027-03-01 08:00", "never", notKnown, 1},
		{"B = A to the second", "2026-03-01 08:00", "2026-03-01 08:00", "never", notKnown, 1},
		{"B the day after, known to the day", "2026-03-01 08:00", "2026-03-02", "never", notKnown, 1},
		{"both to the day, B the day after", "2026-03-01", "2026-03-02", "never", notKnown, 1},
		{"A to the day, B at its end", "2026-03-01", "2026-03-02 00:00", "never", notKnown, 1},
		{"known to be someone else, who bound it in this tenure: there is no override", "2026-03-01 08:00", "2026-03-05 08:00", "never", no, 1},
		// "2 | verified to be the same person as the present holder | kept same_person"
		{"the same person, long before", "2026-03-01 08:00", "2020-01-01", "", yes, 2},
		{"the same person, B unknown", "2026-03-01 08:00", "", "", yes, 2},
		{"the same person, the same day", "2026-03-01", "2026-03-01", "", yes, 2},
		// "3 | B unknown | in_review bound_at_unknown"
		{"B unknown", "2026-03-01 08:00", "", "never", notKnown, 3},
		{"B unknown, someone else", "2026-03-01 08:00", "", "never", no, 3},
		{"B is never, which no binding is", "2026-03-01 08:00", "never", "never", no, 3},
		{"B is a database's 1970-01-01", "2026-03-01 08:00", "1970-01-01 08:00", "never", no, 3},
		{"B is the day 1970-01-01", "2026-03-01 08:00", "1970-01-01", "never", no, 3},
		// "4 | B's and A's days overlap, or B is less than 24 hours before A | in_review ambiguous_dates"
		{"both on one day", "2026-03-01", "2026-03-01", "never", no, 4},
		{"B exactly, on the day of A", "2026-03-01", "2026-03-01 00:00", "never", no, 4},
		{"B in the last minute of A's day", "2026-03-01", "2026-03-01 23:59", "never", no, 4},
		{"B on the day of A", "2026-03-01 23:59", "2026-03-01", "never", no, 4},
		{"A at midnight, B on that day, perhaps at that instant: not for certain after", "2026-03-01 00:01", "2026-03-01", "never", no, 4},
		{"a second before", "2026-03-01 08:00", "2026-03-01 07:59:59", "never", no, 4},
		{"23 hours 59 minutes before", "2026-03-01 08:00", "2026-02-28 08:01", "never", no, 4},
		{"B on the day before A's: 24 hours at most, a second at least", "2026-03-01", "2026-02-28", "never", no, 4},
		{"B exactly, in the first minute of the day before A's day", "2026-03-01", "2026-02-28 00:01", "never", no, 4},
		{"A exactly, B on the day before", "2026-03-01 23:59", "2026-02-28", "never", no, 4},
		// "6 | V ≥ A, and whether it is the same person is unknown | action_required confirm_own_account"
		{"V after A", "2026-03-01 08:00", "2020-01-01", "2026-03-02 08:00", notKnown, 6},
		{"V = A", "2026-03-01 08:00", "2020-01-01", "2026-03-01 08:00", notKnown, 6},
		{"V perhaps after A", "2026-03-01 08:00", "2020-01-01", "2026-03-01", notKnown, 6},
		{"V exactly, perhaps after A", "2026-03-01", "2020-01-01", "2026-03-01 00:00", notKnown, 6},
		{"V unknown is not never", "2026-03-01 08:00", "2020-01-01", "", notKnown, 6},
		{"V is a database's 1970-01-01", "2026-03-01 08:00", "2020-01-01", "1970-01-01 08:00", notKnown, 6},
		// "7 | else | unbound"
		{"24 hours before, exactly", "2026-03-01 08:00", "2026-02-28 08:00", "never", notKnown, 7},
		{"B on a day that ends 24 hours before A's begins", "2026-03-01", "2026-02-27", "never", notKnown, 7},
		{"B at the start of the day before A's", "2026-03-01", "2026-02-28 00:00", "never", notKnown, 7},
		{"V before A", "2026-03-01 08:00", "2020-01-01", "2026-03-01 07:59:59", notKnown, 7},
		{"V on the day before A's", "2026-03-01", "2020-01-01", "2026-02-28", notKnown, 7},
		{"V after A, by somebody known to be someone else", "2026-03-01 08:00", "2020-01-01", "2026-03-02 08:00", no, 7},
		{"V unknown, somebody known to be someone else", "2026-03-01 08:00", "2020-01-01", "", no, 7},
	} {
		t.Run(c.story, func(t *testing.T) {
			outcome, reason, got := huanxin.Decide(
				huanxin.Claim{Start: moment(t, c.a), Known: true},
				huanxin.Binding{FirstBound: moment(t, c.b), LastProof: moment(t, c.v), SamePerson: c.same})
			wantRow(t, c.want, outcome, reason, got)
		})
	}
}

func wantRow(t *testing.T, want row, outcome huanxin.Outcome, reason huanxin.Reason, got int) {
	t.Helper()
	wantOutcome, wantReason := want.verdict()
	if outcome != wantOutcome || reason != wantReason || got != int(want) {
		t.Errorf("row %d, %s %s; want row %d, %s %s", got, outcome, reason, want, wantOutcome, wantReason)
	}
}

func TestATenureOfUnknownStartOrOriginNeverUnbinds(t *testing.T) {
	// "5 | the tenure's start or origin is unknown | action_required confirm_own_account": the start told is "at latest
	// this day", so that rows 1 and 4 are asked of that day.
	for _, c := range []struct {
		story   string
		a, b, v string
		same    huanxin.Tri
		want    row
	}{
		{"B after the earliest proven day", "2026-03-01", "2026-03-02", "", notKnown, 1},
		{"the same person", "2026-03-01", "2020-01-01", "", yes, 2},
		{"B unknown", "2026-03-01", "", "", no, 3},
		{"B on the earliest proven day", "2026-03-01", "2026-03-01 10:00", "never", no, 4},
		{"B long before it", "2026-03-01", "2020-01-01", "never", notKnown, 5},
		{"B long before it, someone else", "2026-03-01", "2020-01-01", "never", no, 5},
		{"nothing is told", "", "2020-01-01", "never", no, 5},
		{"nothing is told, B unknown", "", "", "never", no, 3},
	} {
		t.Run(c.story, func(t *testing.T) {
			binding := huanxin.Binding{FirstBound: moment(t, c.b), LastProof: moment(t, c.v), SamePerson: c.same}
			outcome, reason, got := huanxin.Decide(huanxin.Claim{Start: moment(t, c.a)}, binding)
			wantRow(t, c.want, outcome, reason, got)
		})
	}
	known := huanxin.Claim{Known: true} // which cannot be: a start that is not told is not known
	if _, _, got := huanxin.Decide(known, huanxin.Binding{FirstBound: moment(t, "2020-01-01"), SamePerson: no}); got != 5 {
		t.Errorf("row %d", got)
	}
}

func TestForALotRowsTwoFiveAndSixDoNotApply(t *testing.T) {
	// "For a lot, A = disconnected_at, and rows 2, 5 and 6 do not apply."
	for _, c := range []struct {
		story   string
		a, b, v string
		same    huanxin.Tri
		want    row
	}{
		{"bound after it was cancelled", "2026-03-01 08:00", "2026-03-05", "", notKnown, 1},
		{"not row 2: there is no present holder", "2026-03-01 08:00", "2020-01-01", "", yes, 7},
		{"B unknown", "2026-03-01 08:00", "", "", notKnown, 3},
		{"bound on the day of cancelling", "2026-03-01 08:00", "2026-03-01", "", notKnown, 4},
		{"not row 5, not row 6", "2026-03-01 08:00", "2020-01-01", "2026-03-05", notKnown, 7},
		{"disconnected_at is missing: \"a missing date stops at review\"", "", "2020-01-01", "", notKnown, 4},
	} {
		t.Run(c.story, func(t *testing.T) {
			outcome, reason, got := huanxin.Decide(
				huanxin.Claim{Start: moment(t, c.a), Lot: true},
				huanxin.Binding{FirstBound: moment(t, c.b), LastProof: moment(t, c.v), SamePerson: c.same})
			wantRow(t, c.want, outcome, reason, got)
		})
	}
}

func TestADayIsTheWholeOfThatDayInItsOwnZone(t *testing.T) {
	// "A value known only to the day is the whole of that day, in its own zone."
	newYork := time.FixedZone("", -5*60*60)
	day := dateOn(t, "2026-02-28") // in New York until 13:00 of March 1 in Shanghai
	for a, want := range map[string]row{
		"2026-02-28 13:00": 1, // the day begins
		"2026-02-28 13:01": 4,
		"2026-03-01 13:00": 4, // the day ends
		"2026-03-02 12:59": 4,
		"2026-03-02 13:00": 7, // 24 hours later
	} {
		outcome, reason, got := huanxin.Decide(huanxin.Claim{Start: moment(t, a), Known: true},
			huanxin.Binding{FirstBound: huanxin.OnDay(day, newYork), LastProof: huanxin.Never()})
		t.Run(a, func(t *testing.T) { wantRow(t, want, outcome, reason, got) })
	}
}

func TestHowAnInstantIsWrittenDoesNotChangeTheDecision(t *testing.T) {
	a, b := shanghai(t, "2026-03-01 10:00"), shanghai(t, "2026-02-28 08:30")
	for _, zone := range []*time.Location{time.UTC, huanxin.China, time.FixedZone("", -12*60*60)} {
		_, _, got := huanxin.Decide(huanxin.Claim{Start: huanxin.Exactly(a.In(zone)), Known: true},
			huanxin.Binding{FirstBound: huanxin.Exactly(b.UTC()), LastProof: huanxin.Never()})
		if got != 7 {
			t.Errorf("row %d", got)
		}
	}
}

var decisionZones = []*time.Location{time.UTC, huanxin.China, time.FixedZone("", -5*60*60), time.FixedZone("", 14*60*60),
	time.FixedZone("", -12*60*60), time.FixedZone("", 5*60*60+45*60)}

// knowing draws what somebody knows of an instant: it, the day it fell on somewhere, or nothing; and all that it may then
// have been, as samples that include the first and the last instant. Nil samples: anything.
func knowing(t *rapid.T, what string, truth time.Time) (huanxin.Moment, []time.Time) {
	switch rapid.IntRange(0, 5).Draw(t, what+" is known") {
	case 0:
		return huanxin.Moment{}, nil
	case 1, 2:
		return huanxin.Exactly(truth), []time.Time{truth}
	default:
		zone := rapid.SampledFrom(decisionZones).Draw(t, what+" zone")
		d := huanxin.DateOf(truth, zone)
		from, to := d.In(zone)
		samples := []time.Time{to.Add(-time.Nanosecond)}
		for at := from; at.Before(to); at = at.Add(4 * time.Hour) {
			samples = append(samples, at)
		}
		return huanxin.OnDay(d, zone), samples
	}
}

// possible reports whether some pair of instants fits; nil is unknown, and then any.
func possible(bs, as []time.Time, fits func(b, a time.Time) bool) bool {
	if bs == nil || as == nil {
		return true
	}
	for _, b := range bs {
		for _, a := range as {
			if fits(b, a) {
				return true
			}
		}
	}
	return false
}

func drawInstant(t *rapid.T, what string) time.Time {
	return shanghai0.Add(time.Duration(rapid.IntRange(0, 6*24*4).Draw(t, what)) * 15 * time.Minute)
}

func TestNothingBoundAtOrAfterTheTenuresStartIsEverUnbound(t *testing.T) {
	// Rule 1: "Nothing bound at or after the tenure's start is ever unbound. There is no override." Rule 7: "Unknown is
	// not no: a missing date stops at review."
	rapid.Check(t, func(t *rapid.T) {
		trueA, trueB, trueV := drawInstant(t, "A"), drawInstant(t, "B"), drawInstant(t, "V")
		claim := huanxin.Claim{Known: rapid.Bool().Draw(t, "known"), Lot: rapid.Bool().Draw(t, "lot")}
		told := trueA
		if !claim.Known && !claim.Lot { // the start lies at or before what is told
			told = trueA.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "later")) * time.Hour)
		}
		var mayA, mayB, mayV []time.Time
		claim.Start, mayA = knowing(t, "A", told)
		b := huanxin.Binding{SamePerson: rapid.SampledFrom([]huanxin.Tri{notKnown, yes, no}).Draw(t, "same")}
		b.FirstBound, mayB = knowing(t, "B", trueB)
		b.LastProof, mayV = knowing(t, "V", trueV)
		outcome, reason, got := huanxin.Decide(claim, b)

		since := func(b, a time.Time) bool { return !b.Before(a) }
		if outcome == huanxin.Unbound && possible(mayB, mayA, since) {
			t.Fatalf("unbound, and it may have been bound since the start")
		}
		if outcome == huanxin.Unbound && !trueB.Before(trueA) {
			t.Fatalf("unbound, and it was bound since the start")
		}
		if outcome == huanxin.Unbound && !trueB.Before(trueA.Add(-24*time.Hour+1)) {
			t.Fatalf("unbound, and it was bound less than 24 hours before the start")
		}
		if outcome == huanxin.Unbound && (mayB == nil || mayA == nil || !claim.Lot && (!claim.Known || b.SamePerson == yes)) {
			t.Fatalf("unbound by something unknown")
		}
		if outcome == huanxin.Unbound && !claim.Lot && b.SamePerson != no && possible(mayV, mayA, since) {
			t.Fatalf("unbound, and its owner may have proved themselves since")
		}
		if reason == huanxin.BoundByCurrentHolder && trueB.Before(trueA) {
			t.Fatalf("kept as bound in the tenure, and it was not")
		}
		if !outcome.Fits(reason) {
			t.Fatalf("%s never has the reason %s", outcome, reason)
		}
		if want := modelRow(claim, b.SamePerson, mayA, mayB, mayV); got != want {
			t.Fatalf("row %d, the table says %d", got, want)
		}
	})
}

// modelRow reads the table over all that may have been, instant by instant.
func modelRow(c huanxin.Claim, same huanxin.Tri, mayA, mayB, mayV []time.Time) int {
	since := func(b, a time.Time) bool { return !b.Before(a) }
	if mayA != nil && mayB != nil && !possible(mayB, mayA, func(b, a time.Time) bool { return b.Before(a) }) {
		return 1
	}
	if same == yes && !c.Lot {
		return 2
	}
	if mayB == nil {
		return 3
	}
	if c.Lot {
		if possible(mayB, mayA, func(b, a time.Time) bool { return a.Sub(b) < 24*time.Hour }) {
			return 4
		}
		return 7
	}
	if mayA != nil && possible(mayB, mayA, func(b, a time.Time) bool { return a.Sub(b) < 24*time.Hour }) {
		return 4
	}
	if !c.Known || mayA == nil {
		return 5
	}
	if same == notKnown && possible(mayV, mayA, since) {
		return 6
	}
	return 7
}

func TestSeveralBindingsGiveOneAnswer(t *testing.T) {
	// "Several bindings of one number give one answer, the first of: action_required, in_review, failed, unbound, kept,
	// not_bound"
	v := func(o huanxin.Outcome, r huanxin.Reason) huanxin.Verdict {
		return huanxin.Verdict{Outcome: o, Reason: r}
	}
	confirm, review := v(huanxin.ActionRequired, huanxin.ConfirmOwnAccount), v(huanxin.InReview, huanxin.BoundAtUnknown)
	failed, unbound := v(huanxin.Failed, huanxin.Temporary), v(huanxin.Unbound, huanxin.Removed)
	theirs, none := v(huanxin.Kept, huanxin.BoundByCurrentHolder), v(huanxin.NotBound, huanxin.NoneFound)
	hold := v(huanxin.Kept, huanxin.LegalHold)
	ordered := []huanxin.Verdict{confirm, review, failed, unbound, hold, none}
	for i, first := range ordered {
		for _, later := range ordered[i:] {
			for _, both := range [][]huanxin.Verdict{{first, later}, {later, first}} {
				if o, r := huanxin.Combine(both); o != first.Outcome || r != first.Reason {
					t.Errorf("%v give %s %s", both, o, r)
				}
			}
		}
	}
	for _, c := range []struct {
		story string
		in    []huanxin.Verdict
		want  huanxin.Verdict
	}{
		{"no bindings", nil, none},
		{"one, bound by the present holder", []huanxin.Verdict{theirs}, theirs},
		{"one theirs, one under legal hold: something is left", []huanxin.Verdict{theirs, hold}, hold},
		{"two reasons, in the order of the contract",
			[]huanxin.Verdict{v(huanxin.InReview, huanxin.AssetsHeld), v(huanxin.InReview, huanxin.AmbiguousDates)},
			v(huanxin.InReview, huanxin.AmbiguousDates)},
		{"a binding without a verdict is not nothing", []huanxin.Verdict{{}, unbound}, failed},
		{"nor is the only one", []huanxin.Verdict{{}}, failed},
	} {
		if o, r := huanxin.Combine(c.in); v(o, r) != c.want {
			t.Errorf("%s: %s %s", c.story, o, r)
		}
	}
}

func TestABindingIsRestoredOnlyByRuleFifteen(t *testing.T) {
	// "A binding is restored only if its tenure was corrected away, its lot number was withdrawn or reinstated, or the
	// present holder, freshly verified, owns the account; never while the number is bound to another account there, and
	// never what the table of §6, with today's tenure, would unbind."
	old := huanxin.Binding{FirstBound: moment(t, "2020-01-01"), LastProof: huanxin.Never()}
	since := func(start string) *huanxin.Claim {
		return &huanxin.Claim{Start: moment(t, start), Known: true}
	}
	for _, c := range []struct {
		story string
		in    huanxin.Restoration
		want  bool
	}{
		{"the transfer was corrected away: the first holder's tenure runs on",
			huanxin.Restoration{TenureVoided: true, BoundElsewhere: no, Holder: since("2019-01-01 08:00"), Binding: old}, true},
		{"the number of a lot was withdrawn, nobody holds it", huanxin.Restoration{LotUndone: true, BoundElsewhere: no, Binding: old}, true},
		{"the number of a lot was reinstated",
			huanxin.Restoration{LotUndone: true, BoundElsewhere: no, Holder: since("2019-01-01 08:00"), Binding: old}, true},
		{"the present holder owns the account, freshly verified",
			huanxin.Restoration{OwnerVerified: true, BoundElsewhere: no, Holder: since("2026-03-01 08:00"), Binding: old}, true},
		{"for no reason", huanxin.Restoration{BoundElsewhere: no, Holder: since("2019-01-01 08:00"), Binding: old}, false},
		{"for no reason, nobody holds it", huanxin.Restoration{BoundElsewhere: no, Binding: old}, false},
		{"the present holder, where there is none", huanxin.Restoration{OwnerVerified: true, BoundElsewhere: no, Binding: old}, false},
		{"bound to another account there",
			huanxin.Restoration{TenureVoided: true, BoundElsewhere: yes, Holder: since("2019-01-01 08:00"), Binding: old}, false},
		{"perhaps bound to another account there",
			huanxin.Restoration{OwnerVerified: true, Holder: since("2019-01-01 08:00"), Binding: old}, false},
		{"corrected away, and then given to somebody else: the table would unbind it",
			huanxin.Restoration{TenureVoided: true, BoundElsewhere: no, Holder: since("2026-03-01 08:00"), Binding: old}, false},
	} {
		if got := huanxin.MayRestore(c.in); got != c.want {
			t.Errorf("%s: %t", c.story, got)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	claim := huanxin.Claim{Start: huanxin.Exactly(shanghai(b, "2026-03-01 08:00")), Known: true}
	binding := huanxin.Binding{FirstBound: huanxin.OnDay(dateOn(b, "2020-01-01"), huanxin.China), LastProof: huanxin.Never()}
	for b.Loop() {
		huanxin.Decide(claim, binding)
	}
}
