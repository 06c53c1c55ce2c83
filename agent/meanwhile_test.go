package agent

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// TestAHolderWhoBindsBetweenTheLookAndTheDeedKeepsTheBinding: the company's own transaction has changed the binding and is not over when the
// agent looks; the statement that unbinds waits for it, and names the binding alone.
func TestAHolderWhoBindsBetweenTheLookAndTheDeedKeepsTheBinding(t *testing.T) {
	for on, e := range map[string]func(testing.TB) engine{"postgres": postgresEngine, "mysql": mariaEngine} {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)), withConfig(impatient), withConfig(oneLane), withConfig(func(c *Config) { c.Timings.Timeout = Duration(20 * time.Second) }))
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			tx, err := o.db.Begin()
			o.must(err)
			over := make(chan error, 1)
			o.agent.o.crash = func(step string) {
				if step == "intended" {
					_, err := tx.Exec(o.q(`UPDATE bindings SET bound_at = ?, true_bound = '2099-01-01 00:00:00+00:00' WHERE id = ?`), o.at(tenure.Add(day)), b)
					o.must(err)
					time.AfterFunc(300*time.Millisecond, func() { over <- tx.Commit() })
				}
			}
			_ = o.round()
			o.must(<-over)
			o.agent.o.crash = nil
			time.Sleep(2 * time.Millisecond)
			_ = o.round()
			o.answered(task, "kept", "bound_by_current_holder")
			if !o.bound(b) {
				t.Error("the present holder's binding was unbound")
			}
			o.clean()
		})
	}
}

// TestACancellationThatIsHeardWhileABatchIsWorkedIsHeeded, although the task was read again before.
func TestACancellationThatIsHeardWhileABatchIsWorkedIsHeeded(t *testing.T) {
	for name, told := range map[string]func(task, tenure string) notice{
		"cancelled": func(task, _ string) notice { return notice{id: task, ended: "cancelled"} },
		"retracted": func(_, tenure string) notice { return notice{tenure: tenure} },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, withConfig(impatient))
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.agent.o.crash = func(step string) {
				if step == "intended" {
					o.must(o.agent.takeIn(t.Context(), nil, []notice{told(task, o.state(task).tenure)}))
					_, err := o.carrier.CancelRequest(o.Context(), o.requests[task])
					o.must(err)
				}
			}
			_ = o.round()
			o.agent.o.crash = nil
			time.Sleep(2 * time.Millisecond)
			_ = o.round()
			if !o.bound(b) {
				t.Error("unbound for a task of which the agent knew that it was cancelled")
			}
		})
	}
}

// TestTheHubsKillSwitchStopsABacklog: it is seen while everything that is due is worked, and not only afterwards.
func TestTheHubsKillSwitchStopsABacklog(t *testing.T) {
	o := newOffice(t, withConfig(impatient), withConfig(func(c *Config) { c.Timings.HoldEvery = Duration(time.Millisecond) }))
	const many = 12
	for range many {
		n := o.number()
		o.bind(n)
		o.ask(n)
	}
	o.agent.o.batch = 3
	acts := 0
	o.agent.o.crash = func(step string) {
		if step != "did unbind" {
			return
		}
		if acts++; acts != 2 { // in the middle of a batch
			return
		}
		o.hub.Hold(o.id, true)
		for range 5000 { // until it is asked for
			if self := o.agent.self.Load(); self.Hold {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Error("the hub was not asked")
	}
	_ = o.round()
	if n := o.one(`SELECT count(*) FROM bindings WHERE detached_at IS NOT NULL`); n != 2 {
		t.Errorf("%d were unbound, 2 of them before the switch", n)
	}
	o.agent.o.crash = nil
	o.hub.Hold(o.id, false)
	for range 4 {
		time.Sleep(3 * time.Millisecond)
		_ = o.round()
	}
	if n := o.one(`SELECT count(*) FROM bindings WHERE detached_at IS NOT NULL`); n != many {
		t.Errorf("%d of %d were unbound afterwards", n, many)
	}
	o.clean()
}

// TestAListWithoutAnEndIsNotBelieved: the hub, or something in between, gives one page again and again.
func TestAListWithoutAnEndIsNotBelieved(t *testing.T) {
	o := newOffice(t, withConfig(impatient))
	page := struct {
		Tasks []client.Task `json:"tasks"`
		After string        `json:"after"`
	}{make([]client.Task, batchSize), "task_x"}
	for i := range page.Tasks {
		page.Tasks[i].ID = itoa(i)
	}
	text, err := json.Marshal(page)
	o.must(err)
	asked := 0
	o.agent.clock.next = &faults{next: o.agent.clock.next, before: func(r *http.Request) (*http.Response, error) {
		if asked++; asked > 10 {
			return nil, errors.New("enough")
		}
		return body(r, 200, string(text)), nil
	}}
	_, err = o.agent.pages(t.Context(), func([]client.Task) error { return nil })
	if huanxin.CodeOf(err) != "unexpected_answer" || asked > 5 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
