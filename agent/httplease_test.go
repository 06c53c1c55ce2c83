package agent

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// second gives another agent of an office, with a state of its own, at the same endpoint.
func (o *office) second(e *endpoint, does ...string) *office {
	o.Helper()
	other := *o
	other.config.State = o.TempDir()
	other.options.connector = e.connector(does...)
	var err error
	other.agent, err = Open(other.config, other.options)
	o.must(err)
	return &other
}

// TestTwoAgentsAtOneEndpointOneWaits and takes over when the other is gone, at once or, where it was killed, when its lease is over.
func TestTwoAgentsAtOneEndpointOneWaits(t *testing.T) {
	for name, ends := range map[string]func(*office, *endpoint){
		"ended":  func(o *office, _ *endpoint) { o.must(o.agent.Close()) },
		"killed": func(_ *office, e *endpoint) { e.late = leaseFor },
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{}
			o := newOffice(t, withEndpoint(t, e, "lease"), withConfig(impatient))
			first := o.number()
			e.bound[first.E164()] = []httpBinding{{Binding: "b1", Account: "a1", BoundAt: "2020-01-01", LastProof: "never"}}
			task := o.ask(first)
			o.work()
			o.answered(task, "unbound", "removed")

			other := o.second(e, "lease")
			defer other.agent.Close()
			n := o.number()
			e.bound[n.E164()] = []httpBinding{{Binding: "b2", Account: "a2", BoundAt: "2020-01-01", LastProof: "never"}}
			task = o.ask(n)
			o.must(other.round())
			if e.unbound != 1 {
				t.Fatal("the second one acted")
			}
			if s, err := other.agent.Status(t.Context()); err != nil || s.Held == "" {
				t.Errorf("%+v, %v", s, err)
			}
			ends(o, e)
			o.must(other.round())
			other.answered(task, "unbound", "removed")
			if e.unbound != 2 {
				t.Errorf("unbound %d times", e.unbound)
			}
		})
	}
}

// TestADeedOfWhoLostTheLeaseIsRefusedByTheEndpoint: it slept, thinks that it still has it, and puts the task off as nobody's failure.
func TestADeedOfWhoLostTheLeaseIsRefusedByTheEndpoint(t *testing.T) {
	e := &endpoint{}
	o := newOffice(t, withEndpoint(t, e, "lease"), withConfig(impatient))
	n := o.number()
	e.bound[n.E164()] = []httpBinding{{Binding: "b1", Account: "a1", BoundAt: "2020-01-01", LastProof: "never"}}
	o.must(o.agent.conn.lease(t.Context()))
	e.mu.Lock()
	e.holder, e.until = "another", time.Now().Add(time.Hour)
	e.mu.Unlock()
	task := o.ask(n)
	_ = o.round() // all of a round was put off
	if s := o.state(task); e.unbound > 0 || s.tries != 0 || s.answer.Outcome != 0 || s.bindings[0].intent != 0 {
		t.Errorf("unbound %d times; %+v", e.unbound, s)
	}
	e.mu.Lock()
	e.until = time.Time{}
	e.mu.Unlock()
	o.exec2(o.agent, `UPDATE tasks SET next_at = 1 WHERE phase <= 2`)
	o.must(o.round())
	o.answered(task, "unbound", "removed")
}

// TestWithoutALeaseTwoAgentsUnbindOnceAllTheSame: they use the same idempotency key and restore token, so that either can restore.
func TestWithoutALeaseTwoAgentsUnbindOnceAllTheSame(t *testing.T) {
	e := &endpoint{}
	o := newOffice(t, withEndpoint(t, e), withConfig(impatient))
	e.stale = true
	n := o.number()
	e.bound[n.E164()] = []httpBinding{{Binding: "b1", Account: "a1", BoundAt: "2020-01-01", LastProof: "never"}}
	task := o.ask(n)
	other := o.second(e)
	defer other.agent.Close()
	o.must(other.agent.askSelf(t.Context()))
	o.must(other.agent.list(t.Context())) // both know it
	o.work()
	_ = other.round()
	if len(e.tokens) != 1 { // the hub said that it is answered
		t.Errorf("asked for %d times", len(e.tokens))
	}
	for _, a := range []*office{o, other} { // as if they had read the task at once
		w := o.state(task).want
		w.number = n
		one := []*order{{want: &w, deed: unbind, binding: "b1", account: "a1", token: a.agent.conn.token(task, "b1")}}
		o.must(a.agent.conn.act(t.Context(), func() (next *order) {
			if len(one) > 0 {
				next, one = one[0], one[1:]
			}
			return next
		}, func(did *order) { o.must(did.err) }))
	}
	if e.unbound != 1 || len(e.tokens) != 3 || e.tokens[0] == "" || e.tokens[1] != e.tokens[0] || e.tokens[2] != e.tokens[0] {
		t.Errorf("unbound %d times under %q", e.unbound, e.tokens)
	}
	if o.agent.conn.token(task, "b2") == e.tokens[0] || o.agent.conn.token("another", "b1") == e.tokens[0] {
		t.Error("one token for two")
	}
}

// TestADeedThatIsDoneAgainLaterIsAnother: a number may stop being a key, be one again, and stop being one again.
func TestADeedThatIsDoneAgainLaterIsAnother(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	key := func(d deed, intended time.Time) string {
		return idempotencyKey(deedWords[d], &order{want: &want{task: "t", kind: huanxin.Unbind}, deed: d, binding: "b", token: "x", intended: intended})
	}
	for _, d := range []deed{suspend, resume, restore} {
		if key(d, at) != key(d, at.In(huanxin.China)) || key(d, at) == key(d, at.Add(time.Hour)) {
			t.Errorf("%s: a repeat must have the same key, and a later deed another", deedWords[d])
		}
	}
	if key(unbind, at) != key(unbind, at.Add(time.Hour)) {
		t.Error("an unbinding has two keys")
	}
}

func TestCheckWarnsOfAnEndpointWithoutALease(t *testing.T) {
	for _, does := range [][]string{nil, {"lease"}} {
		e := &endpoint{}
		o := newOffice(t, withEndpoint(t, e, does...))
		r := Check(t.Context(), o.config, o.options)
		if !r.OK() || r.has(Looks, "has no lease") != (does == nil) {
			t.Errorf("%v: %+v", does, r.Items)
		}
	}
}

// TestAnAgentKilledAtAnyStepAsksAnEndpointOnce also where the endpoint's find lags behind what was done.
func TestAnAgentKilledAtAnyStepAsksAnEndpointOnce(t *testing.T) {
	hub := hubtest.Start(t)
	for name, stale := range map[string]bool{"find sees at once": false, "find lags": true} {
		t.Run(name, func(t *testing.T) {
			for k := 1; ; k++ {
				e := &endpoint{}
				o := newOffice(t, withHub(hub), withEndpoint(t, e, "lease"), withConfig(impatient))
				e.stale = stale
				n := o.number()
				e.bound[n.E164()] = []httpBinding{{Binding: "b1", Account: "a1", BoundAt: "2020-01-01", LastProof: "never"}}
				task := o.ask(n)
				reached := o.crashAt(k)
				o.agent.o.crash = o.options.crash
				step := o.worksUntilKilled(2)
				o.restart()
				for range 3 {
					o.work()
				}
				o.answered(task, "unbound", "removed")
				if e.unbound != 1 {
					t.Errorf("unbound %d times", e.unbound)
				}
				if t.Failed() {
					t.Fatalf("after it was killed at step %d: %s", k, step)
				}
				if *reached < k {
					return
				}
			}
		})
	}
}
