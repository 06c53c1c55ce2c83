package conformance

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// settle remembers that an account was seen as it is to stay: with its number, or without.
func (r *run) settle(a *Account, key bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled[a] = key
}

// judged remembers the answer to a task that was found to be right.
func (r *run) judged(task string, h heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.right[task] = h
}

// lasting says how an account is to be at the end. ok is false where it never was as it is to be, which is said elsewhere.
func (r *run) lasting(l *line, a *Account) (key, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok = r.settled[a]; ok || r.faulty[l] {
		return key, ok && !r.faulty[l]
	}
	for _, t := range r.asked {
		if t.line == l {
			return false, false
		}
	}
	return true, true // nobody asked for it
}

// afterwards looks whether what was found to be right still is.
func (r *run) afterwards(ctx context.Context) finding {
	expected := say("答复之后,账号和答复都没有再变", "after the answers neither accounts nor answers changed")
	client.Pause(ctx, r.o.Quiet)
	var bad Text
	n := 0
	if r.o.Inspector != nil {
		var lost, back, twice []string
		for _, l := range r.plan.lines {
			for _, a := range l.accounts {
				s := r.lastLook(ctx)[a]
				key, ok := r.lasting(l, a)
				switch {
				case s.failure != "":
					return notSeen(expected, a, s.failure)
				case s.Unbound != nil && *s.Unbound > 1 && !r.faulty[l]:
					twice = append(twice, a.Name)
				case ok && key && !s.IsKey:
					lost = append(lost, a.Name)
				case ok && !key && s.IsKey:
					back = append(back, a.Name)
				default:
					n++
				}
			}
		}
		bad = bad.andAll(say("后来失去了号码:%s", "these lost their number later: %s", strings.Join(lost, " ")), lost).
			andAll(say("后来又认了号码:%s", "the number is a key of these again: %s", strings.Join(back, " ")), back).
			andAll(say("解绑了不止一次:%s", "unbound more than once: %s", strings.Join(twice, " ")), twice)
	}
	changed := r.changed()
	bad = bad.andAll(say("%d 个任务的答复后来变了", "answers changed later (tasks: %d)", len(changed)), changed)
	if !bad.empty() {
		f := failed(expected, bad)
		f.tasks = changed
		return f
	}
	if r.o.Inspector == nil {
		return passed(expected, say("%d 个任务的答复没有变(没有查看账号)", "the answers to %d tasks stand (the accounts were not inspected)", len(r.right)))
	}
	return passed(expected, say("%d 个账号、%d 个任务的答复没有变", "%d accounts and the answers to %d tasks are as they were", n, len(r.right)))
}

// changed gives the tasks with two final answers, or with another one than was found to be right.
func (r *run) changed() (tasks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ear.mu.Lock()
	defer r.ear.mu.Unlock()
	for _, task := range slices.Sorted(maps.Keys(r.asked)) {
		if r.faulty[r.asked[task].line] {
			continue
		}
		was, judged := r.right[task]
		is, _ := r.ear.said(task)
		if _, _, twice := twoFinal(r.ear.answers[task]); twice || judged && is.Outcome != was.Outcome {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// twoFinal gives the first final answer, and another one that came later.
func twoFinal(all []heard) (first, other string, twice bool) {
	for _, h := range all {
		o, err := huanxin.ParseOutcome(h.Outcome)
		if err != nil || !o.Final() {
			continue
		}
		if said := h.Outcome + " " + h.Reason; first != "" && first != said {
			return first, said, true
		}
		first = h.Outcome + " " + h.Reason
	}
	return first, "", false
}
