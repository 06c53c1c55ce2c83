package agent

import (
	"context"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

func answerOf(t client.Task, outcome, reason string) client.Answer {
	return client.AnswerTo(t, outcome, reason)
}

// takenBack tells the agent, as the feed does, that the tenure of a task was corrected away.
func (o *office) takenBack(task string) {
	o.Helper()
	o.must(o.agent.takeIn(o.Context(), nil, []notice{{id: task}}))
	for { // the hub's checks may lag behind its feed
		if _, err := o.agent.Work(o.Context()); err != nil {
			o.Fatal(err)
		}
		if o.state(task).next.IsZero() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// transferred gives a number that was transferred in the present tenure, and the event of the transfer.
func (o *office) transferred() (n client.Event) {
	o.Helper()
	no := o.numberOf(client.Event{Kind: "activated", At: former, Origin: "first"}, client.Event{Kind: "transferred", At: tenure})
	return client.Event{ID: o.lastEvent(1), Number: no.E164()}
}

// TestWhatWasUnboundIsRestoredByRule15 in each of its cases.
func TestWhatWasUnboundIsRestoredByRule15(t *testing.T) {
	type world struct {
		*office
		number string
		event  string
		task   string
	}
	void := func(w *world) {
		w.report(client.Event{ID: "void-" + w.event, Number: w.number, Kind: "corrected", At: time.Now(), Corrects: w.event})
	}
	for name, c := range map[string]struct {
		before func(w *world)
		back   bool
	}{
		"the transfer was corrected away":                                    {void, true},
		"it was not, whatever the feed says: today's tenure would unbind it": {func(*world) {}, false},
		"the number is bound to another account": {func(w *world) {
			void(w)
			w.bindText(w.number, func(s *seed) { s.account = "somebody" })
		}, false},
		"the time is over": {func(w *world) { void(w); w.exec2(w.agent, `UPDATE bindings SET restore_until = 1`) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, withConfig(func(c *Config) {
				c.Timings.Retry, c.Timings.RetryMost = Duration(20*time.Millisecond), Duration(400*time.Millisecond)
			}))
			e := o.transferred()
			b := o.bindText(e.Number)
			w := &world{o, e.Number, e.ID, o.askText(e.Number, "transferred")}
			o.work()
			o.answered(w.task, "unbound", "removed")
			c.before(w)
			o.takenBack(w.task)
			if o.bound(b) != c.back {
				t.Errorf("bound: %v", o.bound(b))
			}
			o.takenBack(w.task) // once more
			if n := o.one(`SELECT count(*) FROM acts WHERE what = 'restored'`); n > 1 || n == 1 != c.back {
				t.Errorf("restored %d times", n)
			}
		})
	}
}

func TestAPersonRestoresOnlyWhatThePresentHolderOwns(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	o.work()
	o.answered(task, "unbound", "removed")
	said, err := o.agent.Restore(t.Context(), RestoreOrder{Task: task, By: "t"})
	if err != nil || len(said) != 1 || said[0].Said != saidNoReason || o.bound(b) {
		t.Fatal(said, err)
	}
	token := o.state(task).bindings[0].token
	// The agent runs; somebody asks beside it.
	other, err := openState(o.config.State, o.agent.zone, true)
	o.must(err)
	defer other.close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	worked := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil && !o.bound(b) {
			_, err = o.agent.Work(ctx)
		}
		worked <- err
	}()
	said, err = other.order(ctx, RestoreOrder{Token: token, OwnerVerified: true, By: "t"}, time.Now())
	if err != nil || len(said) != 1 || said[0].Said != saidRestored || !o.bound(b) {
		t.Error(said, err)
	}
	o.must(<-worked)
	if _, err := o.agent.Restore(t.Context(), RestoreOrder{Token: "nothing", By: "t"}); err == nil {
		t.Error("an unknown token")
	}
}

func TestNumbersAreSealedAndErasedWhenNothingCanBeRestored(t *testing.T) {
	now := time.Now()
	o := newOffice(t, func(o *office) { o.options.Now = func() time.Time { return now } })
	n := o.number()
	o.bind(n)
	task, none := o.ask(n), o.ask(o.number())
	o.work()
	if o.state(task).number.IsZero() || !o.state(none).number.IsZero() {
		t.Error("the number is gone too early, or is kept without need")
	}
	o.later(&now, 73*time.Hour)
	s := o.state(task)
	if !s.number.IsZero() || s.bindings[0].facts.ID != "" || s.bindings[0].token != "" {
		t.Error("what is no longer needed is kept")
	}
	if said, err := o.agent.Restore(t.Context(), RestoreOrder{Task: task, OwnerVerified: true, By: "t"}); err != nil || said[0].Said != saidTooLate {
		t.Error(said, err)
	}
	o.later(&now, 181*24*time.Hour)
	if left, err := o.agent.state.tasks(t.Context(), `1`); err != nil || len(left) != 0 {
		t.Error(len(left), err)
	}
}
