package huanxin_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// act is one thing that happens to a task.
type act struct {
	at     time.Time
	what   string // answer, again, deliver, end
	answer huanxin.Answer
}

// played is a task after some acts, with the answers that were recorded.
type played struct {
	task     huanxin.Task
	answers  []huanxin.Answer
	effects  []huanxin.Effect // of each answer, in order
	steps    []huanxin.Step
	requeued int
}

// play lets acts happen to a new task until a time, as the loops of the hub would: the clock's steps and the retries come
// when they are due.
func play(start time.Time, acts []act, now time.Time) played {
	p := played{task: china.task(start)}
	for _, a := range acts {
		if a.at.After(now) {
			break
		}
		p.run(a.at)
		p.do(a)
	}
	p.run(now)
	return p
}

func (p *played) run(now time.Time) {
	for {
		step := !p.task.StepAt.IsZero() && !p.task.StepAt.After(now)
		retry := !p.task.RetryAt.IsZero() && !p.task.RetryAt.After(now)
		switch {
		case step && !(retry && p.task.RetryAt.Before(p.task.StepAt)):
			var s huanxin.Step
			p.task, s = p.task.Advance(china.d, china.cal)
			p.steps = append(p.steps, s)
		case retry:
			p.task = p.task.Requeue()
			p.requeued++
		default:
			return
		}
	}
}

func (p *played) do(a act) {
	switch a.what {
	case "answer":
		after, effect := p.task.Take(a.answer, china.d, china.cal)
		p.effects = append(p.effects, effect)
		if p.task = after; effect == huanxin.Took || effect == huanxin.NoEffect {
			said := a.answer
			said.Late, said.Void = after.Late, effect == huanxin.NoEffect
			p.answers = append(p.answers, said)
		}
	case "again":
		if v := p.view(a.at); !v.Final() && v.AskAgain() {
			p.task = p.task.Reopen(a.at, china.d, china.cal)
		}
	case "deliver":
		if p.task.State == huanxin.TaskQueued {
			p.task.State = huanxin.TaskDelivered
		}
	case "end":
		if p.task.EndedAt.IsZero() { // as the store ends it
			p.task.EndedAt, p.task.StepAt, p.task.RetryAt = a.at, time.Time{}, time.Time{}
			if p.task.State.Open() {
				p.task.State = huanxin.TaskCancelled
			}
		}
	}
}

func (p *played) view(now time.Time) huanxin.View { return p.seen(now).View }

func (p *played) seen(now time.Time) huanxin.TaskView {
	return p.task.ViewAt(p.answers, now, china.d, china.cal)
}

// drawActs draws a history: answers that are often not final, at times that are often near a slot or the end of a day.
func drawActs(t *rapid.T, start time.Time) []act {
	var pool []huanxin.Answer
	everyPair(nil, func(o huanxin.Outcome, r huanxin.Reason, fits bool) {
		if fits {
			pool = append(pool, huanxin.Answer{Outcome: o, Reason: r})
		}
	})
	slices.SortFunc(pool, func(a, b huanxin.Answer) int { return int(a.Reason) - int(b.Reason) })
	acts := make([]act, rapid.IntRange(0, 12).Draw(t, "acts"))
	at := start
	for i := range acts {
		gap := rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 5 * 24 * time.Hour}).Draw(t, "gap")
		at = at.Add(time.Duration(rapid.Int64Range(0, int64(gap/time.Minute)).Draw(t, "minutes")) * time.Minute)
		acts[i] = act{at: at, what: rapid.SampledFrom([]string{"answer", "answer", "answer", "answer", "again", "deliver"}).Draw(t, "what")}
		if i > 3 && rapid.IntRange(0, 9).Draw(t, "end") == 0 {
			acts[i].what = "end"
		}
		if acts[i].what != "answer" {
			continue
		}
		acts[i].answer = rapid.SampledFrom(pool).Draw(t, "answer")
		if acts[i].answer.Outcome.Final() && rapid.Bool().Draw(t, "not yet") {
			acts[i].answer = huanxin.Answer{Outcome: huanxin.ActionRequired, Reason: huanxin.EvidenceNeeded}
		}
		if acts[i].answer.At = at; acts[i].answer.Outcome == huanxin.ActionRequired {
			acts[i].answer.Link = "https://bank.example/"
		}
	}
	return acts
}

// moments gives times at which a history is looked at: just before and at its acts, the slots after them, and far behind.
func moments(start time.Time, acts []act) []time.Time {
	task := china.task(start)
	out := []time.Time{start, task.Release.Add(-1), task.Release, task.DueAt, start.Add(60 * 24 * time.Hour)}
	for _, a := range acts {
		shows := china.d.ShownAt(task.Release, a.at)
		out = append(out, a.at, a.at.Add(time.Minute), shows.Add(-1), shows, a.at.Add(7*24*time.Hour))
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

func drawStart(t *rapid.T) time.Time {
	return time.Date(2026, 9, 1, 0, rapid.IntRange(0, 60*24*60).Draw(t, "start"), 0, 0, huanxin.China)
}

func TestATaskKeepsItsWordWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := drawStart(t)
		acts := drawActs(t, start)
		due := china.task(start).DueAt
		var before played
		var said huanxin.TaskView
		for i, now := range moments(start, acts) {
			p := play(start, acts, now)
			task := p.task
			if task.State.Open() != (task.State <= huanxin.TaskEscalated) || task.State.Open() == task.StepAt.IsZero() {
				t.Fatalf("%v with next step %v", task.State, task.StepAt)
			}
			if was := before.task; was.State == huanxin.TaskAnswered && (task.State != was.State || task.Outcome != was.Outcome || task.Reason != was.Reason) {
				t.Fatalf("a final answer changed: %v %v became %v %v %v", was.Outcome, was.Reason, task.State, task.Outcome, task.Reason)
			}
			if (task.State == huanxin.TaskAnswered) != task.Outcome.Final() {
				t.Fatalf("%v with %v", task.State, task.Outcome)
			}
			if task.DueAt.Before(due) || !task.RetryAt.IsZero() && (!task.State.Open() || task.Outcome != huanxin.Failed) {
				t.Fatalf("%v due %v, to be tried again %v", task.State, task.DueAt, task.RetryAt)
			}
			for j, s := range p.steps {
				if int(s) != j+1 {
					t.Fatalf("steps %v", p.steps)
				}
			}
			v := p.seen(now)
			if i > 0 && (v.Since.Before(said.Since) || said.View == huanxin.ViewClean && v != said || said.View == huanxin.ViewKept && v != said) {
				t.Fatalf("at %v seen as %+v, before as %+v", now, v, said)
			}
			if v.Since.After(now) || (v.Link != "") != (v.View == huanxin.ViewActionRequired) || !v.Release.Equal(task.Release) {
				t.Fatalf("at %v seen as %+v", now, v)
			}
			before, said = p, v
		}
	})
}

func TestRepeatingAnAnswerIsHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := drawStart(t)
		acts := drawActs(t, start)
		var doubled []act
		for _, a := range acts {
			if doubled = append(doubled, a); a.what == "answer" {
				doubled = append(doubled, a)
			}
		}
		end := start.Add(60 * 24 * time.Hour)
		once, twice := play(start, acts, end), play(start, doubled, end)
		if !same(once.task, twice.task) {
			t.Fatalf("%+v, said twice %+v", once.task, twice.task)
		}
		for i := 0; i < len(twice.effects); i += 2 {
			first, second := twice.effects[i], twice.effects[i+1]
			if first == huanxin.Took && second != huanxin.Repeated || first != huanxin.Took && second != first {
				t.Fatalf("effect %d, said again %d", first, second)
			}
		}
	})
}

func TestAnAnswerThatIsNotReleasedNeverShows(t *testing.T) {
	// Rule 4: for two histories that differ only in answers that are not shown yet, what the holder sees is equal.
	rapid.Check(t, func(t *rapid.T) {
		start := drawStart(t)
		acts := drawActs(t, start)
		release := china.task(start).Release
		for _, now := range moments(start, acts) {
			until := now
			for _, a := range acts {
				if a.what == "end" && a.at.Before(until) {
					until = a.at
				}
			}
			told := slices.DeleteFunc(slices.Clone(acts), func(a act) bool {
				return a.what == "answer" && china.d.ShownAt(release, a.at).After(until)
			})
			all, without := play(start, acts, now), play(start, told, now)
			if a, b := all.seen(now), without.seen(now); a != b {
				t.Fatalf("at %v %+v, without what is not released %+v\n%+v", now, a, b, acts)
			}
		}
	})
}

func TestNobodyCanTellWhyANumberIsClean(t *testing.T) {
	// Rule 4: "`unbound`, `not_bound` and `kept bound_by_current_holder` are one view"
	clean := []huanxin.Answer{{Outcome: huanxin.Unbound, Reason: huanxin.Removed}, {Outcome: huanxin.Unbound, Reason: huanxin.MovedToOtherContact},
		{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}, {Outcome: huanxin.NotBound, Reason: huanxin.AlreadyCleared},
		{Outcome: huanxin.Kept, Reason: huanxin.BoundByCurrentHolder}}
	rapid.Check(t, func(t *rapid.T) {
		start := drawStart(t)
		acts := drawActs(t, start)
		with := func(final huanxin.Answer) []act {
			out := slices.Clone(acts)
			for i := range out {
				if a := &out[i]; a.what == "answer" && a.answer.Outcome.Final() {
					final.At = a.at
					a.answer = final
				}
			}
			return out
		}
		a, b := rapid.SampledFrom(clean).Draw(t, "one"), rapid.SampledFrom(clean).Draw(t, "other")
		for _, now := range moments(start, acts) {
			one, other := play(start, with(a), now), play(start, with(b), now)
			if x, y := one.seen(now), other.seen(now); x != y {
				t.Fatalf("at %v %v %v is seen as %+v, %v %v as %+v", now, a.Outcome, a.Reason, x, b.Outcome, b.Reason, y)
			}
		}
	})
}
