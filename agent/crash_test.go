package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/hubtest"
)

// killed is what a crash panics with.
type killed struct{ step string }

// crashAt has the k-th step be the agent's last.
func (o *office) crashAt(k int) (reached *int) {
	reached = new(int)
	var mu sync.Mutex // answers are sent beside
	o.options.crash = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if *reached++; *reached == k {
			panic(killed{step})
		}
	}
	return reached
}

// worksUntilKilled works rounds until the agent is killed, and says at which step; "" if it was not.
func (o *office) worksUntilKilled(rounds int) (step string) {
	defer func() {
		if r := recover(); r != nil {
			k, ok := r.(killed)
			if !ok {
				panic(r)
			}
			step = k.step
		}
	}()
	for range rounds {
		o.holdIsOver()
		if err := o.round(); err != nil {
			o.Error(err)
		}
	}
	return ""
}

// restart has a new agent take over what a killed one left. What it held in memory is gone; its locks go with its process.
func (o *office) restart() {
	o.Helper()
	o.options.crash = nil
	if err := o.agent.Close(); err != nil {
		o.Fatal(err)
	}
	o.start()
}

// world is what a crash test works: a task of every sort.
type world struct {
	tasks map[string][2]string // by id: the answer
	gone  []int
	stay  []int
}

func (o *office) world() (w world) {
	w.tasks = map[string][2]string{}
	n := o.number()
	w.gone = append(w.gone, o.bind(n), o.bind(n))
	w.stay = append(w.stay, o.bind(n, bound(tenure.Add(time.Hour))))
	w.tasks[o.ask(n)] = [2]string{"unbound", "removed"}
	n = o.number()
	w.gone = append(w.gone, o.bind(n, session(tenure.Add(time.Hour))))
	w.stay = append(w.stay, o.bind(n, unknownBound(former)))
	w.tasks[o.ask(n)] = [2]string{"in_review", "bound_at_unknown"}
	n = o.number()
	w.stay = append(w.stay, o.bind(n, bound(tenure)))
	w.tasks[o.ask(n)] = [2]string{"kept", "bound_by_current_holder"}
	w.tasks[o.ask(o.number())] = [2]string{"not_bound", "none_found"}
	return w
}

func (o *office) holds(w world) {
	o.Helper()
	for id, a := range w.tasks {
		o.answered(id, a[0], a[1])
	}
	for _, b := range w.gone {
		if o.bound(b) {
			o.Errorf("binding %d is still bound", b)
		}
		if n := o.one(o.q(`SELECT count(*) FROM acts WHERE binding = ?`), b); n != 1 {
			o.Errorf("binding %d was unbound %d times", b, n)
		}
	}
	for _, b := range w.stay {
		if !o.bound(b) {
			o.Errorf("binding %d is not bound", b)
		}
	}
	for id := range w.tasks {
		for _, b := range o.state(id).bindings {
			if !b.acted.IsZero() && (b.token == "" && !o.state(id).number.IsZero() || b.until.IsZero()) {
				o.Error("a binding was unbound and cannot be restored")
			}
			if b.intent != 0 {
				o.Errorf("an intent to %s is left over", deedWords[b.intent])
			}
		}
	}
	o.clean()
}

// TestAnAgentKilledAtAnyStepUnbindsOnceAndAnswersOnce kills it at every step that there is, and lets another go on. With batches of two tasks
// answers are sent beside the next batch. Where starting over is slow, only some steps are tried each time, unless HUANXIN_FAULTS=long.
func TestAnAgentKilledAtAnyStepUnbindsOnceAndAnswersOnce(t *testing.T) {
	for name, c := range map[string]struct {
		on      string
		classes string
		batch   int
		stride  int
	}{
		"at once on sqlite":               {on: "sqlite", stride: 1},
		"at once on sqlite, in batches":   {on: "sqlite", batch: 2, stride: 3},
		"high value on sqlite":            {on: "sqlite", classes: "payment", stride: 11},
		"at once on postgres":             {on: "postgres", stride: 5},
		"high value on postgres, batches": {on: "postgres", classes: "payment", batch: 2, stride: 17},
		"at once on mysql":                {on: "mysql", stride: 11},
	} {
		if os.Getenv("HUANXIN_FAULTS") == "long" {
			c.stride = 1
		}
		t.Run(name, func(t *testing.T) { killedAtSteps(t, c.classes, engines[c.on], c.batch, c.stride) })
	}
}

func killedAtSteps(t *testing.T, classes string, e func(testing.TB) engine, batch, stride int) {
	steps, hub := map[string]bool{}, hubtest.Start(t)
	for k := 1 + rand.IntN(stride); ; k += stride {
		o := newOffice(t, withHub(hub), withEngine(e(t)), withConfig(func(c *Config) { c.SQL = &SQLConfig{Connections: 1} }), withClass(classes), withSpeed(24*3600*100), withBatch(batch)) // a hold of 10 ms
		w := o.world()
		reached := o.crashAt(k)
		o.agent.o.crash = o.options.crash
		step := o.worksUntilKilled(2)
		steps[step] = true
		o.restart()
		for range 3 {
			o.holdIsOver()
			o.work()
		}
		o.holds(w)
		if t.Failed() {
			t.Fatalf("after it was killed at step %d: %s", k, step)
		}
		if *reached < k {
			break
		}
	}
	t.Log(len(steps), "kinds of step")
	if stride > 1 {
		return
	}
	for _, want := range []string{"taken", "found", "read again", "intended", "began to unbind", "did unbind", "acted", "noted", "sent", "noted as sent", "erased"} {
		if !steps[want] {
			t.Errorf("never killed at: %s", want)
		}
	}
	if classes != "" && !steps["did suspend"] {
		t.Error("never killed at: did suspend")
	}
}

// commitInDoubt is an act whose commit was made and whose word was lost.
type commitInDoubt struct {
	connector
	left int
}

func (c *commitInDoubt) act(ctx context.Context, next func() *order, did func(*order)) error {
	return c.connector.act(ctx, next, func(o *order) {
		if c.left--; o.err == nil && c.left >= 0 {
			o.effect, o.err = uncertain, errors.New("the connection was lost")
		}
		did(o)
	})
}

func TestACommitInDoubtIsNeitherRepeatedNorLost(t *testing.T) {
	o := newOffice(t)
	o.agent.conn = &commitInDoubt{o.agent.conn, 2}
	w := o.world()
	for range 3 {
		_ = o.round()
		o.exec2(o.agent, `UPDATE tasks SET next_at = 1 WHERE phase <= 2`)
	}
	o.holds(w)
}
