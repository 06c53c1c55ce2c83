package huanxin_test

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// service is what the clock of a task needs: the durations of DOMAIN.md and the calendar of China.
type service struct {
	d   huanxin.Durations
	cal *huanxin.Calendar
}

var china = service{huanxin.DefaultDurations(), huanxin.ChinaCalendar()}

// task makes a queued task that was submitted then, whose results are released after the app's delay.
func (s service) task(submitted time.Time) huanxin.Task {
	clock := s.d.Schedule(s.cal, submitted, nil)
	_, first, _ := clock.Next(0)
	return huanxin.Task{ID: 7, App: 3, Kind: huanxin.Unbind, State: huanxin.TaskQueued, CreatedAt: submitted, DueAt: clock.Due(), StepAt: first,
		Release: s.d.ReleaseAt(submitted, s.d.ReleaseDelayOf(&huanxin.Party{}))}
}

// until takes every step of the clock that is due at a time.
func (s service) until(t huanxin.Task, now time.Time) huanxin.Task {
	for t.State.Open() && !t.StepAt.IsZero() && !t.StepAt.After(now) {
		t, _ = t.Advance(s.d, s.cal)
	}
	return t
}

// answer reads "unbound removed".
func answer(t testing.TB, words string, at time.Time) huanxin.Answer {
	t.Helper()
	var o, r string
	for i, c := range words {
		if c == ' ' {
			o, r = words[:i], words[i+1:]
		}
	}
	outcome, err := huanxin.ParseOutcome(o)
	if err != nil {
		t.Fatal(err)
	}
	reason, err := huanxin.ParseReason(r)
	if err != nil {
		t.Fatal(err)
	}
	return huanxin.Answer{Outcome: outcome, Reason: reason, At: at}
}

// monday is the submission of the tests below: November 16, 2026 has no holiday near it.
const monday = "2026-11-16 10:00"

func TestOpenMeansThatTheAppStillHasToAnswer(t *testing.T) {
	// "`open` means queued, delivered, in_review, action_required, failed, overdue or escalated."
	for word, open := range map[string]bool{"queued": true, "delivered": true, "in_review": true, "action_required": true, "failed": true,
		"overdue": true, "escalated": true, "expired": false, "answered": false, "cancelled": false, "aborted": false} {
		if s, err := huanxin.ParseTaskState(word); err != nil || s.Open() != open {
			t.Errorf("%s: open %v, %v", word, s.Open(), err)
		}
	}
	if huanxin.TaskState(0).Open() {
		t.Error("no state is not open")
	}
}

func TestWhatAnAnswerDoesInEveryState(t *testing.T) {
	const (
		took, repeated, noEffect, clashes = huanxin.Took, huanxin.Repeated, huanxin.NoEffect, huanxin.Clashes
	)
	for _, c := range []struct {
		state, said string // of the task, and its last answer
		answer      string
		effect      huanxin.Effect
		becomes     string
	}{
		{"queued", "", "unbound removed", took, "answered"},
		{"delivered", "", "not_bound none_found", took, "answered"},
		{"delivered", "", "kept legal_hold", took, "answered"},
		{"delivered", "", "in_review assets_held", took, "in_review"},
		{"delivered", "", "action_required evidence_needed", took, "action_required"},
		{"delivered", "", "failed temporary", took, "failed"},
		{"in_review", "in_review assets_held", "in_review business_account", took, "in_review"},
		{"in_review", "in_review assets_held", "unbound removed", took, "answered"},
		{"action_required", "action_required evidence_needed", "in_review assets_held", took, "in_review"},
		{"failed", "failed temporary", "failed not_synced", took, "failed"},
		{"failed", "failed temporary", "unbound removed", took, "answered"},
		{"queued", "failed temporary", "failed temporary", took, "failed"}, // it was queued again since
		{"queued", "", "failed temporary", took, "failed"},
		// Late is late, whatever the app says of it short of a final answer.
		{"overdue", "", "in_review assets_held", took, "overdue"},
		{"overdue", "", "action_required evidence_needed", took, "overdue"},
		{"overdue", "", "failed temporary", took, "overdue"},
		{"overdue", "", "unbound removed", took, "answered"},
		{"escalated", "", "in_review assets_held", took, "escalated"},
		{"escalated", "", "not_bound already_cleared", took, "answered"},
		// "An answer after expiry is recorded, marked late"; "expired → answered (late)"
		{"expired", "", "unbound removed", took, "answered"},
		{"expired", "", "in_review assets_held", took, "expired"},
		{"expired", "in_review assets_held", "in_review assets_held", took, "expired"},
		{"expired", "", "action_required evidence_needed", took, "expired"},
		// "repeating it is harmless"
		{"answered", "unbound removed", "unbound removed", repeated, "answered"},
		{"in_review", "in_review assets_held", "in_review assets_held", repeated, "in_review"},
		{"action_required", "action_required evidence_needed", "action_required evidence_needed", repeated, "action_required"},
		{"failed", "failed temporary", "failed temporary", repeated, "failed"},
		{"overdue", "in_review assets_held", "in_review assets_held", repeated, "overdue"},
		{"escalated", "in_review assets_held", "in_review assets_held", repeated, "escalated"},
		// "409 `already_final` with another final outcome"
		{"answered", "unbound removed", "not_bound none_found", clashes, "answered"},
		{"answered", "unbound removed", "unbound moved_to_other_contact", clashes, "answered"},
		{"answered", "unbound removed", "in_review assets_held", clashes, "answered"},
		{"answered", "unbound removed", "failed temporary", clashes, "answered"},
		// "One for a task cancelled, aborted or of an ended tenure is recorded and has no effect (409 `no_effect`)"
		{"cancelled", "", "unbound removed", noEffect, "cancelled"},
		{"cancelled", "unbound removed", "unbound removed", noEffect, "cancelled"},
		{"aborted", "", "not_bound none_found", noEffect, "aborted"},
		{"aborted", "in_review assets_held", "in_review assets_held", noEffect, "aborted"},
	} {
		t.Run(c.state+" after "+c.said+": "+c.answer, func(t *testing.T) {
			at := shanghai(t, "2026-11-17 10:00")
			task := china.task(shanghai(t, monday))
			task.State, _ = huanxin.ParseTaskState(c.state)
			if c.said != "" {
				said := answer(t, c.said, at)
				task.Outcome, task.Reason = said.Outcome, said.Reason
			}
			after, effect := task.Take(answer(t, c.answer, at), china.d, china.cal)
			if effect != c.effect || after.State.String() != c.becomes {
				t.Fatalf("effect %d, %v; want %d, %s", effect, after.State, c.effect, c.becomes)
			}
			if effect != took && !same(after, task) {
				t.Error("what takes no effect changes nothing")
			}
			if want := answer(t, c.answer, at); effect == took && (after.Outcome != want.Outcome || after.Reason != want.Reason) {
				t.Errorf("the task says %v %v", after.Outcome, after.Reason)
			}
			if after.Late != (effect == took && c.state == "expired") {
				t.Errorf("late %v", after.Late)
			}
			if !after.State.Open() && effect == took && (!after.StepAt.IsZero() && c.state != "expired" || !after.RetryAt.IsZero()) {
				t.Error("the clock of an ended task stands")
			}
		})
	}
}

// same compares tasks, of which pauses are no comparable part.
func same(a, b huanxin.Task) bool {
	if len(a.Pauses) != len(b.Pauses) {
		return false
	}
	for i := range a.Pauses {
		if !a.Pauses[i].From.Equal(b.Pauses[i].From) || !a.Pauses[i].To.Equal(b.Pauses[i].To) {
			return false
		}
	}
	a.Pauses, b.Pauses = nil, nil
	return a.ID == b.ID && a.State == b.State && a.Outcome == b.Outcome && a.Reason == b.Reason && a.Late == b.Late && a.Last == b.Last &&
		a.Failures == b.Failures && a.DueAt.Equal(b.DueAt) && a.StepAt.Equal(b.StepAt) && a.RetryAt.Equal(b.RetryAt) &&
		a.EndedAt.Equal(b.EndedAt) && a.Release.Equal(b.Release) && a.CreatedAt.Equal(b.CreatedAt)
}

func TestAnAnsweredTaskOfAnEndedTenureKeepsItsAnswer(t *testing.T) {
	at := shanghai(t, "2026-11-17 10:00")
	answered, _ := china.task(shanghai(t, monday)).Take(answer(t, "unbound removed", at), china.d, china.cal)
	answered.EndedAt = at.Add(time.Hour)
	// "409 `no_effect` for a task cancelled, aborted or of an ended tenure": by that an app learns that it has to restore.
	for _, words := range []string{"unbound removed", "kept legal_hold"} {
		if after, effect := answered.Take(answer(t, words, at), china.d, china.cal); effect != huanxin.NoEffect || !same(after, answered) {
			t.Errorf("%s: effect %d, %v", words, effect, after.State)
		}
	}
	expired := china.until(china.task(shanghai(t, monday)), shanghai(t, "2027-01-01 00:00"))
	expired.EndedAt = at
	if after, effect := expired.Take(answer(t, "unbound removed", at), china.d, china.cal); effect != huanxin.NoEffect || !same(after, expired) {
		t.Errorf("an expired task of an ended tenure takes nothing: %d, %v", effect, after.State)
	}
}

func TestFailedIsTriedAgainWithBackOff(t *testing.T) {
	// "failed → queued"; "(retried with back-off)"
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360}
	task, at := china.task(shanghai(t, monday)), shanghai(t, "2026-11-16 10:01")
	for i, minutes := range want {
		var effect huanxin.Effect
		if task, effect = task.Take(answer(t, "failed temporary", at), china.d, china.cal); effect != huanxin.Took {
			t.Fatalf("failure %d: %d", i+1, effect)
		}
		if wait := task.RetryAt.Sub(at); wait != minutes*time.Minute || task.Failures != i+1 || huanxin.Backoff(i+1) != wait {
			t.Errorf("failure %d waits %v, want %v minutes", i+1, wait, int(minutes))
		}
		at = task.RetryAt
		if task = task.Requeue(); task.State != huanxin.TaskQueued || !task.RetryAt.IsZero() {
			t.Fatalf("queued again: %v", task.State)
		}
	}
	for n, want := range map[int]time.Duration{-1: time.Minute, 0: time.Minute, 1 << 40: 6 * time.Hour} {
		if got := huanxin.Backoff(n); got != want {
			t.Errorf("Backoff(%d) = %v", n, got)
		}
	}
	review := taking(t, taking(t, china.task(at), answer(t, "failed temporary", at)), answer(t, "in_review assets_held", at))
	if !review.RetryAt.IsZero() {
		t.Error("what the app says next ends the back-off: a review is not queued again")
	}
	late := china.until(china.task(shanghai(t, monday)), shanghai(t, "2026-11-25 10:00"))
	late, _ = late.Take(answer(t, "failed temporary", shanghai(t, "2026-11-25 10:00")), china.d, china.cal)
	if late.RetryAt.IsZero() || late.Requeue().State != huanxin.TaskEscalated {
		t.Errorf("a late task is tried again and stays late: %v", late.Requeue().State)
	}
}

func TestActionRequiredStopsTheTasksClock(t *testing.T) {
	// "`in_review` does not stop the clock; `action_required` stops it for at most 7 days."
	start, asked := shanghai(t, monday), shanghai(t, "2026-11-17 10:00")
	due := shanghai(t, "2026-11-24 00:00")
	task := china.task(start)
	if !task.DueAt.Equal(due) {
		t.Fatalf("due %v", task.DueAt)
	}
	reviewed, _ := task.Take(answer(t, "in_review assets_held", asked), china.d, china.cal)
	if !reviewed.DueAt.Equal(due) || len(reviewed.Pauses) != 0 {
		t.Error("in_review does not stop the clock")
	}
	stopped, _ := task.Take(answer(t, "action_required evidence_needed", asked), china.d, china.cal)
	if !stopped.DueAt.After(due) || len(stopped.Pauses) != 1 || stopped.StepAt.IsZero() {
		t.Errorf("due %v, pauses %v", stopped.DueAt, stopped.Pauses)
	}
	if len(task.Pauses) != 0 {
		t.Error("Take leaves its task alone")
	}
	back := asked.Add(2 * 24 * time.Hour)
	for what, goes := range map[string]huanxin.Task{
		"asked again": stopped.Reopen(back, china.d, china.cal),
		"reviewed":    taking(t, stopped, answer(t, "in_review assets_held", back)),
	} {
		if !goes.DueAt.Equal(shanghai(t, "2026-11-26 00:00")) || !goes.Pauses[0].To.Equal(back) {
			t.Errorf("%s: due %v, pauses %v", what, goes.DueAt, goes.Pauses)
		}
		if !stopped.Pauses[0].To.IsZero() {
			t.Errorf("%s: the task before was changed", what)
		}
	}
	forgotten := china.until(stopped, asked.Add(60*24*time.Hour))
	if forgotten.State != huanxin.TaskExpired {
		t.Errorf("after 7 days the clock runs on: %v", forgotten.State)
	}
	again := stopped.Reopen(back, china.d, china.cal)
	if again.State != huanxin.TaskQueued || again.Outcome != 0 {
		t.Errorf("asked again, it is the app's turn: %v", again.State)
	}
	if _, effect := again.Take(answer(t, "action_required evidence_needed", back.Add(time.Hour)), china.d, china.cal); effect != huanxin.Took {
		t.Error("the same answer to a question asked again is a new one")
	}
}

func taking(t testing.TB, task huanxin.Task, a huanxin.Answer) huanxin.Task {
	t.Helper()
	after, effect := task.Take(a, china.d, china.cal)
	if effect != huanxin.Took {
		t.Fatalf("%v %v: effect %d", a.Outcome, a.Reason, effect)
	}
	return after
}

func TestTheClockMovesATask(t *testing.T) {
	task := china.task(shanghai(t, monday))
	for _, want := range []struct{ step, state, at string }{
		{"delivery", "queued", "2026-11-16 10:15"}, {"warning", "queued", "2026-11-19 00:00"},
		{"overdue", "overdue", "2026-11-24 00:00"}, {"escalated_company", "escalated", "2026-11-25 00:00"},
		{"escalated_regulator", "escalated", "2026-11-30 00:00"}, {"expired", "expired", "2026-12-08 00:00"},
	} {
		if !task.StepAt.Equal(shanghai(t, want.at)) {
			t.Errorf("%s comes at %v", want.step, task.StepAt)
		}
		var step huanxin.Step
		if task, step = task.Advance(china.d, china.cal); step.String() != want.step || task.State.String() != want.state || task.Last != step {
			t.Errorf("%v, %v; want %s, %s", step, task.State, want.step, want.state)
		}
	}
	if !task.StepAt.IsZero() {
		t.Error("nothing follows expiry")
	}
}

func TestADigestBindsAnAnswerToWhatWasAsked(t *testing.T) {
	// Rule 6: "An app's answer is bound to the task id, the tenure id and the digest of what it was asked."
	n, other := number(t, "+8613800000001"), number(t, "+8613800000002")
	at := day(400, "10:00")
	base := huanxin.TaskDigest("t1", "app", huanxin.Unbind, n, "n1", at, huanxin.OriginReassigned)
	if base != huanxin.TaskDigest("t1", "app", huanxin.Unbind, n, "n1", at.UTC(), huanxin.OriginReassigned) || len(base) != 64 {
		t.Error("a digest is SHA-256 of what is asked, in whatever zone")
	}
	for what, d := range map[string]string{
		"task":   huanxin.TaskDigest("t2", "app", huanxin.Unbind, n, "n1", at, huanxin.OriginReassigned),
		"app":    huanxin.TaskDigest("t1", "app2", huanxin.Unbind, n, "n1", at, huanxin.OriginReassigned),
		"kind":   huanxin.TaskDigest("t1", "app", huanxin.ClearLabel, n, "n1", at, huanxin.OriginReassigned),
		"number": huanxin.TaskDigest("t1", "app", huanxin.Unbind, other, "n1", at, huanxin.OriginReassigned),
		"tenure": huanxin.TaskDigest("t1", "app", huanxin.Unbind, n, "n2", at, huanxin.OriginReassigned),
		"start":  huanxin.TaskDigest("t1", "app", huanxin.Unbind, n, "n1", at.Add(time.Microsecond), huanxin.OriginReassigned),
		"origin": huanxin.TaskDigest("t1", "app", huanxin.Unbind, n, "n1", at, huanxin.OriginUnknown),
	} {
		if d == base {
			t.Errorf("another %s has the same digest", what)
		}
	}
}
