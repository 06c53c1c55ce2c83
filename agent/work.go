package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// batchSize is how many tasks are worked together, and how many answers go in one request, unless Options.batch says otherwise.
const batchSize = 500

// Work works what is due now: decides, acts, answers. It gives when there is something to do next, as far as is known; zero: nothing.
func (a *Agent) Work(ctx context.Context) (next time.Time, err error) {
	a.working.Lock()
	defer a.working.Unlock()
	defer a.keepAsking(ctx)()
	err = a.workAll(ctx)
	var held *heldError
	if errors.As(err, &held) {
		a.about.setHeld(held.Why)
		err = a.answer(ctx) // what was done is answered all the same
		return a.now().Add(time.Second), err
	}
	if err = errors.Join(err, a.answer(ctx)); err != nil {
		return time.Time{}, err
	}
	if err := a.state.erase(ctx, a.now(), time.Duration(a.cfg.Timings.Keep)); err != nil {
		return time.Time{}, err
	}
	a.at("erased")
	return a.state.nextAt(ctx)
}

// workAll works what is due. While a batch is worked, the one before is answered; who calls answers what is left.
func (a *Agent) workAll(ctx context.Context) error {
	var earlier errand
	defer func() { earlier.drain() }() // of a panic's
	for {
		if err := a.obey(ctx); err != nil { // what people ask for does not wait for everything else
			return errors.Join(err, earlier.wait())
		}
		tasks, err := a.workBatch(ctx)
		if err := errors.Join(err, earlier.wait()); err != nil || len(tasks) < a.o.batch {
			return err
		}
		earlier = a.answerLater(ctx, slices.DeleteFunc(tasks, earlier.covers))
	}
}

// errand answers tasks while others are worked.
type errand struct {
	ended chan result         // nil: there is none
	tasks map[int64]time.Time // by no: when the answer was decided that is sent
}

type result struct {
	err   error
	panic any
}

func (a *Agent) answerLater(ctx context.Context, tasks []*task) errand {
	tasks = slices.DeleteFunc(tasks, func(t *task) bool { return t.answer.Outcome == 0 || !t.sent.IsZero() })
	e := errand{ended: make(chan result, 1), tasks: make(map[int64]time.Time, len(tasks))}
	for _, t := range tasks {
		e.tasks[t.no] = t.decided
	}
	go func() {
		var r result
		defer func() {
			r.panic = recover()
			e.ended <- r
		}()
		r.err = a.send(ctx, tasks)
	}()
	return e
}

// drain waits for its end, whatever it is.
func (e *errand) drain() {
	if e.ended != nil {
		<-e.ended
	}
}

// wait waits for its end. A panic there is one here.
func (e *errand) wait() error {
	if e.ended == nil {
		return nil
	}
	r := <-e.ended
	e.ended = nil
	if r.panic != nil {
		panic(r.panic)
	}
	return r.err
}

// covers reports whether a task's answer was sent since it was read from the state.
func (e *errand) covers(t *task) bool { return e.tasks[t.no].Equal(t.decided) && !t.decided.IsZero() }

// round is one batch of tasks on its way.
type round struct {
	a     *Agent
	tasks []*task
	now   time.Time
	// todo are orders in the order of the tasks.
	todo   []*todo
	readAt time.Time      // when the tasks were read again
	unsure map[*task]bool // it may be told later whether it may be restored
}

func (a *Agent) newRound(tasks []*task, now time.Time) *round {
	return &round{a: a, tasks: tasks, now: now, unsure: map[*task]bool{}}
}

// todo is an order, and what became of it.
type todo struct {
	order
	t      *task
	b      *binding
	before bool // it was intended before this round: it may have been done
}

// workBatch works tasks that are due, and gives them.
func (a *Agent) workBatch(ctx context.Context) ([]*task, error) {
	now := a.now()
	tasks, err := a.state.tasks(ctx, `next_at <= ? ORDER BY next_at, no LIMIT ?`, now.UnixMicro(), a.o.batch)
	if err != nil || len(tasks) == 0 {
		return nil, err
	}
	if err := a.mayAct(ctx); err != nil {
		return nil, err
	}
	a.about.setHeld("")
	r := a.newRound(tasks, now)
	if err := r.consider(ctx); err != nil {
		return nil, err
	}
	r.readAgain(ctx)
	a.at("read again")
	r.intend()
	if err := a.state.saveIntents(ctx, r.todo); err != nil {
		return nil, err
	}
	a.at("intended")
	r.act(ctx)
	a.at("acted")
	r.settle()
	if err := a.state.save(ctx, tasks, now); err != nil {
		return nil, err
	}
	a.at("noted")
	return tasks, r.trouble()
}

// trouble gives an error where a whole round came to nothing, so that the next one waits.
func (r *round) trouble() error {
	for _, t := range r.tasks {
		if t.problem == "" {
			return nil
		}
	}
	return fmt.Errorf("%d tasks were put off: %s", len(r.tasks), r.tasks[0].problem)
}

// consider finds the bindings of every task and decides about each.
func (r *round) consider(ctx context.Context) error {
	var wants []*want
	var asking []*task
	for _, t := range r.tasks {
		t.problem = ""
		if r.a.works(t.kind) && !t.number.IsZero() {
			wants, asking = append(wants, &t.want), append(asking, t)
		}
	}
	for i, f := range r.a.conn.find(ctx, wants) {
		t := asking[i]
		if f.err != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			t.failed(f.err)
			continue
		}
		t.recognise(r.a, f.facts)
		if t.retracted.IsZero() && t.phase <= standing {
			t.judge(r.now)
		}
	}
	r.a.at("found")
	return nil
}

// failed puts a task off. What the database or the hub said goes without values.
func (t *task) failed(err error) {
	t.problem = "the hub or the accounts cannot be reached"
	var st *statementError
	var hub *huanxin.Error
	switch {
	case errors.Is(err, errTooMany):
		t.problem = errTooMany.Error()
	case errors.Is(err, errRows), errors.As(err, &st):
		t.problem = err.Error()
	case errors.As(err, &hub):
		t.problem = "the hub says " + hub.Code
	default:
		t.problem = readable(err)
	}
}

// readable gives an error's text if it is one of ours, which hold no values.
func readable(err error) string {
	if _, ours := errors.AsType[*connectorError](err); ours {
		return err.Error()
	}
	return "the hub or the accounts cannot be reached, or their answer cannot be read"
}

// recognise ties what was found to what is known. What was intended and is gone was done by us, before a crash.
func (t *task) recognise(a *Agent, facts []Facts) {
	for _, f := range facts {
		b := t.binding(a.state, f.ID)
		b.present = true
		if b.acted.IsZero() && b.facts != f {
			b.facts, b.dirty = f, true
		}
		if b.intent == restore {
			b.restored, b.intent, b.dirty = b.intentAt, 0, true
		}
	}
	for _, b := range t.bindings {
		if !b.present && b.intent == unbind && b.acted.IsZero() {
			b.done(unbind, b.intentAt, a.hold, a.restoreFor, a.highValue(b.facts.Class) && t.kind == huanxin.Unbind)
			b.intent, b.dirty = 0, true
		}
	}
}

// judge decides about every binding that was not acted upon.
func (t *task) judge(now time.Time) {
	for _, b := range t.bindings {
		d := decision{Verdict: huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.AlreadyCleared}} // others took it off
		switch {
		case !b.acted.IsZero():
			d = b.decision
		case b.present:
			d = t.decide(&b.facts, b.finding)
		}
		if b.decided.IsZero() && d.row > 0 {
			t.count(fmt.Sprintf("row %d", d.row))
		}
		if d != b.decision {
			b.decision, b.decided, b.dirty = d, now, true
			t.count(fmt.Sprintf("decided %s %s", d.Outcome, d.Reason))
		}
	}
}

// orders gives what is to be done for a task now.
func (r *round) orders(t *task) (out []*todo) {
	add := func(b *binding, d deed) {
		o := &todo{t: t, b: b, before: b.intent == d}
		o.order = order{want: &t.want, deed: d, binding: b.facts.ID, account: b.facts.Account, now: r.now}
		out = append(out, o)
	}
	begin := r.a.begin(t)
	for _, b := range t.bindings {
		unbinds := b.decision.Outcome == huanxin.Unbound && b.acted.IsZero() && b.present && t.ended == ""
		high := t.kind == huanxin.Unbind && r.a.highValue(b.facts.Class)
		switch {
		case unbinds && high && r.a.conn.can(suspend) && b.suspended.IsZero():
			add(b, suspend)
		case unbinds && (!b.suspended.IsZero() && r.now.Before(b.final) || r.now.Before(begin)):
		case unbinds:
			add(b, unbind)
		case !b.suspended.IsZero() && b.acted.IsZero() && b.present:
			add(b, resume)
		}
	}
	return out
}

// intend notes what is about to be done.
func (r *round) intend() {
	for _, o := range r.todo {
		if o.b.intent != o.deed {
			o.b.intent, o.b.intentAt = o.deed, r.now
		}
		if o.b.token == "" && o.deed != resume {
			o.b.token = r.a.conn.token(o.task, o.binding)
		}
		o.b.dirty = true
		o.intended = o.b.intentAt
		o.token, o.until = o.b.token, r.now.Add(r.a.restoreFor)
		o.step = func() { r.a.at("began to " + deedWords[o.deed]) }
		if o.deed == suspend || o.deed == unbind {
			t, b := o.t, o.b
			o.still = func(all []Facts) bool {
				for _, f := range all {
					if f.ID == b.facts.ID {
						return t.decide(&f, b.finding).Outcome == huanxin.Unbound
					}
				}
				return false
			}
		}
	}
}

// act does the orders: each in a transaction of its own, several at once.
func (r *round) act(ctx context.Context) {
	var taken atomic.Int64
	next := func() *order {
		for {
			i := int(taken.Add(1)) - 1
			if i >= len(r.todo) {
				return nil
			}
			o := &r.todo[i].order
			if o.err = r.mayBegin(o); o.err == nil {
				return o
			}
		}
	}
	did := func(o *order) { r.a.at("did " + deedWords[o.deed]) }
	lanes := min(len(r.todo), r.a.conn.atOnce())
	errs := make([]error, lanes)
	each(lanes, lanes, func(i int) { errs[i] = r.a.conn.act(ctx, next, did) })
	for o := next(); o != nil; o = next() { // every lane left off
		if o.err = errUndone; errs[0] != nil {
			o.err = errs[0]
		}
	}
}

// each calls f for 0 up to n, at most so many at once.
func each(n, atOnce int, f func(i int)) {
	if atOnce = min(atOnce, n); atOnce <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
