package huanxin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// shown is what the holder sees at a time of a task submitted on monday, with these answers: "2026-11-17 10:00 unbound removed".
// The clock has run until then. The task's release time is 18:00 on that Monday: the slot at 12:00 and six hours.
func shown(t testing.TB, now string, answers ...string) huanxin.TaskView {
	t.Helper()
	task, said := history(t, answers...)
	task = china.until(task, shanghai(t, now))
	return task.ViewAt(said, shanghai(t, now), china.d, china.cal)
}

func history(t testing.TB, answers ...string) (huanxin.Task, []huanxin.Answer) {
	t.Helper()
	task := china.task(shanghai(t, monday))
	var said []huanxin.Answer
	for _, a := range answers {
		at, words := shanghai(t, a[:16]), a[17:]
		task = china.until(task, at)
		got := answer(t, words, at)
		if got.Outcome == huanxin.ActionRequired {
			got.Link = "https://bank.example/"
		}
		task = taking(t, task, got)
		got.Late = task.Late
		said = append(said, got)
	}
	return task, said
}

func TestWhatTheHolderSeesOfEachAnswer(t *testing.T) {
	// "To the holder, `unbound`, `not_bound` and `kept bound_by_current_holder` are one view, `clean`"; "`in_review` and `failed`
	// show as `processing` (but `restricted_number`); other `kept` shows no reason that tells of another person."
	everyPair(t, func(o huanxin.Outcome, r huanxin.Reason, fits bool) {
		if !fits {
			return
		}
		want := map[huanxin.Outcome]huanxin.View{huanxin.Unbound: huanxin.ViewClean, huanxin.NotBound: huanxin.ViewClean, huanxin.Kept: huanxin.ViewKept,
			huanxin.InReview: huanxin.ViewProcessing, huanxin.Failed: huanxin.ViewProcessing, huanxin.ActionRequired: huanxin.ViewActionRequired}[o]
		switch r {
		case huanxin.BoundByCurrentHolder:
			want = huanxin.ViewClean
		case huanxin.RestrictedNumber:
			want = huanxin.ViewRestricted
		}
		said := "2026-11-16 11:00 " + o.String() + " " + r.String()
		if v := shown(t, "2026-11-16 18:00", said); v.View != want || (v.Link != "") != (o == huanxin.ActionRequired) {
			t.Errorf("%v %v is seen as %v with link %q, want %v", o, r, v.View, v.Link, want)
		}
		if before, nothing := shown(t, "2026-11-16 17:59", said), shown(t, "2026-11-16 17:59"); before != nothing {
			t.Errorf("%v %v shows before its release: %+v", o, r, before)
		}
	})
}

func TestCleanIsOneViewWhateverItCameFrom(t *testing.T) {
	// "same text, same shape, shown at the task's release time …, never at the time of the answer"
	clean := []string{"unbound removed", "unbound moved_to_other_contact", "not_bound none_found", "not_bound already_cleared", "kept bound_by_current_holder"}
	for _, now := range []string{"2026-11-16 10:30", "2026-11-16 18:00", "2026-11-17 09:00", "2026-12-30 09:00"} {
		want := shown(t, now, "2026-11-16 10:01 "+clean[0])
		for _, a := range clean {
			for _, at := range []string{"2026-11-16 10:02", "2026-11-16 12:00", "2026-11-16 17:59"} {
				if at > now {
					continue
				}
				if got := shown(t, now, at+" "+a); got != want {
					t.Errorf("%s at %s, seen at %s: %+v, want %+v", a, at, now, got, want)
				}
			}
		}
	}
}

func TestWhatComesAfterTheReleaseShowsAtTheSecondSlotAfterIt(t *testing.T) {
	// "what comes after the release time shows at the second slot after it came"
	for _, c := range []struct{ answered, before, from string }{
		{"2026-11-17 10:00", "2026-11-17 17:59", "2026-11-17 18:00"},
		{"2026-11-17 11:59", "2026-11-17 17:59", "2026-11-17 18:00"},
		{"2026-11-17 12:00", "2026-11-17 23:59", "2026-11-18 00:00"},
		{"2026-11-16 18:01", "2026-11-17 05:59", "2026-11-17 06:00"},
	} {
		if v := shown(t, c.before, c.answered+" unbound removed"); v.View != huanxin.ViewProcessing {
			t.Errorf("%s: at %s %v", c.answered, c.before, v.View)
		}
		if v := shown(t, c.from, c.answered+" unbound removed"); v.View != huanxin.ViewClean || !v.Since.Equal(shanghai(t, c.from)) {
			t.Errorf("%s: at %s %v since %v", c.answered, c.from, v.View, v.Since)
		}
	}
}

func TestALateAppIsSeenAsLate(t *testing.T) {
	for now, want := range map[string]huanxin.View{
		"2026-11-23 23:59": huanxin.ViewProcessing, "2026-11-24 00:00": huanxin.ViewOverdue, "2026-11-30 12:00": huanxin.ViewOverdue,
		"2026-12-07 23:59": huanxin.ViewOverdue, "2026-12-08 00:00": huanxin.ViewExpired, "2027-12-08 00:00": huanxin.ViewExpired,
	} {
		for _, said := range []string{"", "2026-11-17 10:00 in_review assets_held", "2026-11-17 10:00 failed temporary"} {
			var answers []string
			if said != "" {
				answers = append(answers, said)
			}
			if v := shown(t, now, answers...); v.View != want {
				t.Errorf("at %s with %q: %v, want %v", now, said, v.View, want)
			}
		}
	}
	// An answer that came in time and is not released yet does not show by a step that is missing.
	inTime := "2026-11-23 20:00 unbound removed"
	if v, nothing := shown(t, "2026-11-24 05:59", inTime), shown(t, "2026-11-24 05:59"); v != nothing || v.View != huanxin.ViewOverdue {
		t.Errorf("%+v, %+v", v, nothing)
	}
	if v := shown(t, "2026-11-24 06:00", inTime); v.View != huanxin.ViewClean {
		t.Errorf("%+v", v)
	}
}

func TestALateAnswerIsShownByRuleFour(t *testing.T) {
	// "An answer after expiry is recorded, marked late, and shown by rule 4."
	said := "2026-12-09 10:00 not_bound none_found"
	if v := shown(t, "2026-12-09 17:59", said); v.View != huanxin.ViewExpired {
		t.Errorf("%v", v.View)
	}
	if v := shown(t, "2026-12-09 18:00", said); v.View != huanxin.ViewClean {
		t.Errorf("%v", v.View)
	}
}

func TestAnUnreleasedStopOfTheClockDoesNotShow(t *testing.T) {
	// Asked for on the last evening: the clock stopped, but nobody is told before the second slot.
	asked := "2026-11-23 20:00 action_required evidence_needed"
	if v, nothing := shown(t, "2026-11-24 03:00", asked), shown(t, "2026-11-24 03:00"); v != nothing {
		t.Errorf("%+v, want %+v", v, nothing)
	}
	v := shown(t, "2026-11-24 06:00", asked)
	if v.View != huanxin.ViewActionRequired || v.Link == "" {
		t.Errorf("%+v", v)
	}
	// The app's next answer lets the clock run again, and that does not show before its time either.
	more := "2026-11-24 09:00 in_review assets_held"
	if v, without := shown(t, "2026-11-24 17:59", asked, more), shown(t, "2026-11-24 17:59", asked); v != without {
		t.Errorf("%+v, want %+v", v, without)
	}
	if v := shown(t, "2026-11-24 18:00", asked, more); v.View != huanxin.ViewProcessing || v.Link != "" || !v.Since.Equal(shanghai(t, "2026-11-24 18:00")) {
		t.Errorf("%+v", v)
	}
}

func TestAnUnreleasedGoOfTheClockDoesNotShow(t *testing.T) {
	// Asked on the morning of day 15 and seen that evening; the app's next word lets the clock run, and the task expires at
	// midnight. To the holder the clock stands until that word is released.
	asked, more := "2026-12-07 10:00 action_required evidence_needed", "2026-12-07 18:30 in_review assets_held"
	if v, without := shown(t, "2026-12-08 03:00", asked, more), shown(t, "2026-12-08 03:00", asked); v != without || v.View != huanxin.ViewActionRequired {
		t.Errorf("%+v, want %+v", v, without)
	}
	if v := shown(t, "2026-12-08 06:00", asked, more); v.View != huanxin.ViewExpired {
		t.Errorf("%+v", v)
	}
}

func TestCancellingNeverReveals(t *testing.T) {
	// "States … are worked out from released views only"; what was answered and not shown at the end is never shown.
	ended := shanghai(t, "2026-11-17 15:00")
	for _, c := range []struct {
		what string
		said []string
		want huanxin.View
	}{
		{"nothing was answered", nil, huanxin.ViewCancelled},
		{"an answer that was not released", []string{"2026-11-17 14:00 unbound removed"}, huanxin.ViewCancelled},
		{"one that was kept, not released", []string{"2026-11-17 14:00 kept suspected_abuse"}, huanxin.ViewCancelled},
		{"a question that was released", []string{"2026-11-16 12:00 action_required evidence_needed"}, huanxin.ViewCancelled},
		{"a review", []string{"2026-11-16 12:00 in_review restricted_number"}, huanxin.ViewCancelled},
		{"one that the holder had seen stays", []string{"2026-11-16 12:00 unbound removed"}, huanxin.ViewClean},
		{"one that was kept and seen stays", []string{"2026-11-16 12:00 kept legal_hold"}, huanxin.ViewKept},
	} {
		task, said := history(t, c.said...)
		task.EndedAt = ended
		if task.State.Open() {
			task.State = huanxin.TaskCancelled
		}
		for _, now := range []time.Time{ended, ended.Add(time.Minute), ended.Add(7 * 24 * time.Hour), ended.Add(90 * 24 * time.Hour)} {
			v := task.ViewAt(said, now, china.d, china.cal)
			if v.View != c.want || v.Link != "" {
				t.Errorf("%s: at %v %v, want %v", c.what, now, v.View, c.want)
			}
			if c.want == huanxin.ViewCancelled && !v.Since.Equal(ended) {
				t.Errorf("%s: since %v", c.what, v.Since)
			}
		}
	}
}

func TestAnAnswerWithoutEffectIsNeverShown(t *testing.T) {
	task, said := history(t, "2026-11-16 12:00 action_required evidence_needed")
	task.State, task.EndedAt = huanxin.TaskAborted, shanghai(t, "2026-11-17 15:00")
	void := answer(t, "unbound removed", shanghai(t, "2026-11-17 15:00"))
	void.Void = true
	if v := task.ViewAt(append(said, void), shanghai(t, "2026-12-30 15:00"), china.d, china.cal); v.View != huanxin.ViewCancelled {
		t.Errorf("%v", v.View)
	}
}

func TestAViewSaysNothingOfAnotherPerson(t *testing.T) {
	// Rule 3: "The holder never sees an account id, a nickname, an amount or a date of the former holder."
	for v := huanxin.ViewProcessing; v <= huanxin.ViewCancelled; v++ {
		zh, en := v.Text(false), v.Text(true)
		if zh == "" || en == "" || zh == en || strings.Contains(v.String(), "(") {
			t.Errorf("%v: %q, %q", v, zh, en)
		}
		for _, bad := range []string{"前机主", "former", "previous", "%"} {
			if strings.Contains(zh+en, bad) {
				t.Errorf("%v: %q %q", v, zh, en)
			}
		}
	}
	if !strings.Contains(huanxin.ViewClean.Text(false), "已清理") {
		t.Error("clean is 已清理")
	}
}

func TestTheViewsThatAreFinal(t *testing.T) {
	for v, want := range map[huanxin.View][2]bool{ // final, may be asked again
		huanxin.ViewProcessing: {false, false}, huanxin.ViewClean: {true, false}, huanxin.ViewKept: {true, true},
		huanxin.ViewActionRequired: {false, true}, huanxin.ViewRestricted: {false, true}, huanxin.ViewOverdue: {false, true},
		huanxin.ViewExpired: {true, true}, huanxin.ViewCancelled: {true, true},
	} {
		if v.Final() != want[0] || v.AskAgain() != want[1] {
			t.Errorf("%v: final %v, again %v", v, v.Final(), v.AskAgain())
		}
	}
}
