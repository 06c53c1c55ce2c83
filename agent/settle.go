package agent

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// settle notes what became of the orders, and what each task is to be answered with.
func (r *round) settle() {
	for _, o := range r.todo {
		r.note(o)
	}
	for _, t := range r.tasks {
		r.settleTask(t)
	}
}

// note notes what became of one order.
func (r *round) note(o *todo) {
	b := o.b
	b.dirty = true
	now := r.a.now()
	if o.effect == gone && o.before { // it was done before a crash, and not noted
		o.effect, now = acted, b.intentAt
	}
	switch {
	case o.err != nil || o.effect == uncertain:
		o.t.failed(o.err)
		b.failure = &huanxin.Verdict{Outcome: huanxin.Failed, Reason: huanxin.Temporary}
		if o.effect != uncertain && !o.before { // it was certainly not done
			b.intent = 0
		}
		if isPutOff(o.err) {
			o.t.problem, b.failure = o.err.Error(), nil
			o.t.tries-- // which is nobody's failure
		}
		return
	case o.effect == acted:
		r.a.about.did(o.deed)
		b.done(o.deed, now, r.a.hold, r.a.restoreFor, r.a.highValue(b.facts.Class) && o.t.kind == huanxin.Unbind)
	case o.effect == gone && o.deed == resume:
		b.suspended, b.final = time.Time{}, time.Time{}
	case o.effect == gone:
		b.decision = decision{Verdict: huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.AlreadyCleared}}
		b.decided = now
	case o.effect == changed && o.deed != restore: // it is decided anew
		o.t.problem = "a binding changed meanwhile"
	}
	b.intent = 0
}

// done notes a deed.
func (b *binding) done(d deed, now time.Time, hold, keep time.Duration, high bool) {
	switch d {
	case suspend:
		b.suspended, b.final = now, now.Add(hold)
	case resume:
		b.suspended, b.final = time.Time{}, time.Time{}
	case unbind:
		b.acted, b.until = now, now.Add(keep)
		if high && b.final.IsZero() { // the unbinding itself stopped the key
			b.final = now.Add(hold)
		}
	case restore:
		b.restored = now
	}
}

// restoreTries is how often it is asked whether what was taken back may be restored: the hub's checks may lag behind its feed.
const restoreTries = 8

// settleTask says where a task stands after a round, what its answer is, and when it is looked at next.
func (r *round) settleTask(t *task) {
	now := r.a.now()
	if t.problem != "" {
		t.tries = max(t.tries+1, 0)
		t.next = now.Add(r.a.backoff(t.tries))
		const patience = 3
		if t.tries >= patience && t.phase <= standing && t.ended == "" && t.retracted.IsZero() {
			t.say(t.trouble(), now, standing)
		}
		return
	}
	t.next = time.Time{}
	if !t.retracted.IsZero() && r.unsure[t] && t.tries < restoreTries {
		t.tries++
		t.next = now.Add(r.a.backoff(t.tries))
		return
	}
	t.tries = 0
	switch {
	case !t.retracted.IsZero():
		t.phase = max(t.phase, done)
		if t.answer.Outcome == 0 {
			t.phase = closed
		}
		return
	case t.phase >= done:
		return
	case t.ended != "":
		t.phase = closed
		return
	}
	v, final := r.verdict(t, now)
	begin := r.a.begin(t)
	switch {
	case now.Before(begin):
		t.next = begin
	case !final.IsZero() && v.Outcome.Final(): // not final yet
		t.next = final
	case v.Outcome.Final():
		t.say(v, now, done)
	default:
		t.say(v, now, standing)
		t.next = earlier(now.Add(r.a.lookAgain), final)
	}
}

// trouble is what a task that cannot be worked is answered with.
func (t *task) trouble() huanxin.Verdict {
	if t.problem == errTooMany.Error() { // a number of so many accounts is a company's
		return huanxin.Verdict{Outcome: huanxin.InReview, Reason: huanxin.BusinessAccount}
	}
	return huanxin.Verdict{Outcome: huanxin.Failed, Reason: huanxin.Temporary}
}

// verdict combines what holds of a task's bindings. final is when the last unbinding can be final; zero: all are.
func (r *round) verdict(t *task, now time.Time) (v huanxin.Verdict, final time.Time) {
	if !r.a.works(t.kind) {
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}, final
	}
	var all []huanxin.Verdict
	for _, b := range t.bindings {
		v := b.decision.Verdict
		if b.failure != nil {
			v = *b.failure
		}
		all = append(all, v)
		if b.decision.Outcome == huanxin.Unbound && (b.acted.IsZero() || b.final.After(now)) {
			final = latest(final, latest(b.final, now))
		}
	}
	v.Outcome, v.Reason = huanxin.Combine(all)
	return v, final
}

// say sets a task's answer. What the hub was told already is not sent again.
func (t *task) say(v huanxin.Verdict, now time.Time, p phase) {
	t.phase = p
	if t.answer == v {
		return
	}
	t.answer, t.decided, t.sent = v, now, time.Time{}
}
