package huanxin_test

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func answerOf(o huanxin.CheckOutcome, reason string) huanxin.CheckAnswer {
	return huanxin.CheckAnswer{Outcome: o, Reason: reason}
}

var (
	stayed      = answerOf(huanxin.Unchanged, "")
	reassigned  = answerOf(huanxin.Changed, "reassigned")
	transferred = answerOf(huanxin.Changed, "transferred")
	nobody      = answerOf(huanxin.NoHolder, "")
)

func TestTheGuardsDecision(t *testing.T) {
	unknown := func(reason string) huanxin.CheckAnswer { return answerOf(huanxin.Unknown, reason) }
	for _, c := range []struct {
		name        string
		first, last huanxin.CheckAnswer
		want        string
	}{
		{"unchanged", stayed, stayed, "allow unchanged"},
		{"given to somebody else", reassigned, reassigned, "block reassigned"},
		{"handed over", transferred, transferred, "step_up transferred"},
		{"nobody's", nobody, nobody, "step_up no_holder"},
		{"ahead", unknown("future"), unknown("future"), "step_up future"},
		{"IoT", unknown("number_kind_unsupported"), unknown("number_kind_unsupported"), "step_up number_kind_unsupported"},
		{"never seen", unknown("never_seen"), unknown("never_seen"), "step_up never_seen"},
		{"before coverage", unknown("before_coverage"), unknown("before_coverage"), "step_up before_coverage"},
		{"the carrier is late", unknown("carrier_late"), unknown("carrier_late"), "step_up carrier_late"},
		{"a reason of tomorrow", unknown("eclipse"), unknown("eclipse"), "step_up unknown"},
		{"a reason that is another outcome's", unknown("unchanged"), unknown("unchanged"), "step_up unknown"},
		{"unchanged, but", answerOf(huanxin.Unchanged, "reassigned"), answerOf(huanxin.Unchanged, "reassigned"), "step_up no_answer"},
		{"no answer", huanxin.CheckAnswer{}, huanxin.CheckAnswer{}, "step_up no_answer"},
		{"half an answer", stayed, huanxin.CheckAnswer{}, "step_up no_answer"},
		{"the other half", huanxin.CheckAnswer{}, stayed, "step_up no_answer"},
		{"changed in a way that there is not", answerOf(huanxin.Changed, ""), answerOf(huanxin.Changed, ""), "step_up no_answer"},
		{"an outcome that there is not", answerOf(9, ""), answerOf(9, ""), "step_up no_answer"},
		{"changed on that day", reassigned, stayed, "step_up ambiguous_day"},
		{"known since that day", unknown("before_coverage"), stayed, "step_up ambiguous_day"},
		{"a day over two changes", reassigned, transferred, "step_up ambiguous_day"},
		{"the other way round", stayed, nobody, "step_up ambiguous_day"},
	} {
		access, reason := huanxin.Guard(c.first, c.last)
		if got := access.String() + " " + reason.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAProofSinceTheNumberWasGivenAwayDoesNotOpenTheAccount(t *testing.T) {
	for _, c := range []struct {
		proof huanxin.CheckAnswer
		want  string
	}{
		{reassigned, "block reassigned"},
		{transferred, "block reassigned"},
		{stayed, "step_up proved_since"},
		{nobody, "step_up proved_since"},
		{answerOf(huanxin.Unknown, "before_coverage"), "step_up proved_since"},
		{huanxin.CheckAnswer{}, "step_up proved_since"},
	} {
		access, reason := huanxin.GuardProved(c.proof)
		if got := access.String() + " " + reason.String(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.proof, got, c.want)
		}
	}
}

func TestTIsTheLaterOfTheBindingAndItsConfirmation(t *testing.T) {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, huanxin.China)
	at := func(d, h int) huanxin.Moment {
		return huanxin.Exactly(time.Date(2026, 5, d, h, 0, 0, 0, huanxin.China))
	}
	day := func(d int) huanxin.Moment {
		return huanxin.OnDay(huanxin.Date{Year: 2026, Month: 5, Day: d}, huanxin.China)
	}
	var none huanxin.Moment
	for _, c := range []struct {
		name             string
		bound, confirmed huanxin.Moment
		first, last      string
	}{
		{"an instant", at(3, 9), none, "03 09:00:00.000000", "03 09:00:00.000000"},
		{"a day", day(3), none, "03 00:00:00.000000", "03 23:59:59.999999"},
		{"today", day(10), none, "10 00:00:00.000000", "10 12:00:00.000000"},
		{"tomorrow", day(11), none, "11 00:00:00.000000", "11 23:59:59.999999"},
		{"confirmed later", at(3, 9), at(4, 8), "04 08:00:00.000000", "04 08:00:00.000000"},
		{"confirmed before", at(3, 9), at(2, 8), "03 09:00:00.000000", "03 09:00:00.000000"},
		{"confirmed on the day", at(3, 9), day(3), "03 09:00:00.000000", "03 23:59:59.999999"},
		{"a day, confirmed within it", day(3), at(3, 9), "03 09:00:00.000000", "03 23:59:59.999999"},
		{"only confirmed", none, at(4, 8), "04 08:00:00.000000", "04 08:00:00.000000"},
		{"never bound", huanxin.Never(), none, "", ""},
		{"neither", none, none, "", ""},
	} {
		first, last, ok := huanxin.GuardTimes(c.bound, c.confirmed, now)
		if ok != (c.first != "") {
			t.Errorf("%s: %v", c.name, ok)
		}
		const form = "02 15:04:05.000000"
		if got := first.In(huanxin.China).Format(form) + ", " + last.In(huanxin.China).Format(form); ok && got != c.first+", "+c.last {
			t.Errorf("%s: %s, want %s, %s", c.name, got, c.first, c.last)
		}
	}
}

func TestAProofCountsWhereItMayBeLaterThanT(t *testing.T) {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, huanxin.China)
	t3 := time.Date(2026, 5, 3, 9, 0, 0, 0, huanxin.China)
	day := func(d int) huanxin.Moment {
		return huanxin.OnDay(huanxin.Date{Year: 2026, Month: 5, Day: d}, huanxin.China)
	}
	for _, c := range []struct {
		name  string
		proof huanxin.Moment
		want  bool
	}{
		{"unknown", huanxin.Moment{}, false},
		{"never", huanxin.Never(), false},
		{"before", huanxin.Exactly(t3.Add(-time.Second)), false},
		{"at once", huanxin.Exactly(t3), false},
		{"after", huanxin.Exactly(t3.Add(time.Second)), true},
		{"on the day before", day(2), false},
		{"on the day", day(3), true},
	} {
		if _, ok := huanxin.ProofTime(c.proof, t3, now); ok != c.want {
			t.Errorf("%s: %v", c.name, ok)
		}
	}
}

func TestEveryReasonOfTheGuardHasAWordOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for r := range huanxin.GuardReasons {
		word := huanxin.GuardReason(r).String()
		if seen[word] || word[len(word)-1] == ')' {
			t.Errorf("%d is %q", r, word)
		}
		seen[word] = true
	}
	if word := huanxin.GuardReason(huanxin.GuardReasons).String(); word[len(word)-1] != ')' {
		t.Errorf("%q is no reason", word)
	}
	var zero huanxin.Access
	if zero != huanxin.StepUp || zero.String() != "step_up" {
		t.Error("not knowing is", zero)
	}
}
