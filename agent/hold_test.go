package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAHighValueNumberStopsBeingAKeyAtOnceAndIsUnboundAfterTheHold: "the number stops being a key when the task is delivered, the
// unbinding is final 24 hours later".
func TestAHighValueNumberStopsBeingAKeyAtOnceAndIsUnboundAfterTheHold(t *testing.T) {
	now := time.Now()
	o := newOffice(t, withClass("payment"), func(o *office) { o.options.Now = func() time.Time { return now } })
	n := o.number()
	former, own, plain := o.bind(n), o.bind(n, bound(tenure.Add(day))), o.bind(n, classed("news"))
	task := o.ask(n)
	o.work()
	o.answered(task, "", "")
	if o.isKey(former) || !o.bound(former) || !o.isKey(own) || o.bound(plain) {
		t.Error("the number is a key still, or no longer where it should be")
	}
	o.later(&now, 23*time.Hour+59*time.Minute)
	o.answered(task, "", "")
	o.later(&now, time.Minute)
	o.answered(task, "unbound", "removed")
	if o.bound(former) || !o.isKey(own) {
		t.Error("after the hold it is not unbound, or too much is")
	}
	o.clean()
}

// later moves the agent's clock, which the hub's no longer follows, and works.
func (o *office) later(now *time.Time, d time.Duration) {
	o.Helper()
	*now = now.Add(d)
	o.agent.clock = &hubClock{} // and nobody looks at it
	if _, err := o.agent.Work(o.Context()); err != nil {
		o.Fatal(err)
	}
}

func TestWithoutAStatementThatSuspendsTheUnbindingItselfStopsTheKeyAndIsAnsweredAfterTheHold(t *testing.T) {
	now := time.Now()
	o := newOffice(t, withClass("mail"), withConfig(func(c *Config) { c.SQL = &SQLConfig{Suspend: Statements{}, Resume: Statements{}} }),
		func(o *office) { o.options.Now = func() time.Time { return now } })
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	o.work()
	o.answered(task, "", "")
	if o.bound(b) {
		t.Error("the number still is a key")
	}
	o.later(&now, 24*time.Hour)
	o.answered(task, "unbound", "removed")
	o.clean()
}

func TestATaskThatIsCancelledDuringTheHoldIsLeftAloneAndTheNumberIsAKeyAgain(t *testing.T) {
	for name, noticed := range map[string]bool{"noticed by listing": true, "noticed right before acting": false} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			o := newOffice(t, withClass("payment"), func(o *office) { o.options.Now = func() time.Time { return now } })
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.work()
			if o.isKey(b) {
				t.Fatal("the number still is a key")
			}
			if _, err := o.carrier.CancelRequest(t.Context(), o.requests[task]); err != nil {
				t.Fatal(err)
			}
			if noticed {
				o.work()
			} else {
				o.later(&now, 25*time.Hour)
			}
			if !o.isKey(b) {
				t.Error("the number is no key")
			}
			if s := o.state(task); s.phase != closed || s.ended != "cancelled" || s.answer.Outcome != 0 {
				t.Errorf("phase %d, ended %q, answer %v", s.phase, s.ended, s.answer)
			}
			o.clean()
		})
	}
}

func TestATaskWhoseTenureEndedOrThatIsStaleIsLeftAlone(t *testing.T) {
	for name, end := range map[string]func(o *office, task string){
		"its digest is another one": func(o *office, task string) { o.exec2(o.agent, `UPDATE tasks SET digest = 'x'`) },
		"its start is another one": func(o *office, task string) {
			o.exec2(o.agent, `UPDATE tasks SET started_at = started_at + 86400000000`)
		},
		"it was answered": func(o *office, task string) {
			seen, err := o.app.Task(o.Context(), task)
			o.must(err)
			_, err = o.app.Answer(o.Context(), answerOf(seen, "kept", "legal_hold"))
			o.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.must(o.agent.askSelf(t.Context()))
			o.must(o.agent.list(t.Context()))
			end(o, task)
			if _, err := o.agent.Work(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !o.bound(b) || o.state(task).phase != closed {
				t.Errorf("bound %v, %+v", o.bound(b), o.state(task))
			}
		})
	}
}

// TestNothingIsDoneWhileAKillSwitchIsSet and all the same tasks are taken in.
func TestNothingIsDoneWhileAKillSwitchIsSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stop")
	for name, c := range map[string]struct{ set, release func(o *office) }{
		"a file": {func(o *office) { o.must(os.WriteFile(file, nil, 0o600)) }, func(o *office) { o.must(os.Remove(file)) }},
		"the hub's": {func(o *office) { o.hub.Hold(o.id, true); o.awaitHold(true) },
			func(o *office) { o.hub.Hold(o.id, false); o.awaitHold(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, withConfig(func(c *Config) { c.KillSwitch = file }))
			c.set(o)
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.work()
			o.answered(task, "", "")
			s, err := o.agent.Status(t.Context())
			if err != nil || !strings.Contains(s.Held, "nothing is done") || s.Waiting != 1 || !o.bound(b) {
				t.Errorf("%+v, %v, bound %v", s, err, o.bound(b))
			}
			c.release(o)
			o.work()
			o.answered(task, "unbound", "removed")
		})
	}
}

func (o *office) awaitHold(want bool) {
	o.Helper()
	for range 200 {
		if s, err := o.app.Self(o.Context()); err == nil && s.Hold == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	o.Fatal("the hub does not tell of the kill switch")
}

func TestAClockThatIsWrongByAnHourStopsTheAgent(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, func(o *office) { o.options.Now = func() time.Time { return time.Now().Add(off) } })
			n := o.number()
			b := o.bind(n)
			o.ask(n)
			o.work()
			if s, err := o.agent.Status(t.Context()); err != nil || !strings.Contains(s.Held, "the clock differs") || !o.bound(b) {
				t.Errorf("%+v, %v, bound %v", s, err, o.bound(b))
			}
		})
	}
}

func TestTheHubsClockIsComparedToTheSecond(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	for _, c := range []struct{ sent, received, want time.Duration }{
		{0, 0, 0}, {900 * time.Millisecond, time.Second, 0}, {-time.Second, 0, 0}, {3 * time.Second, 4 * time.Second, 2 * time.Second},
		{-5 * time.Second, -3 * time.Second, -3 * time.Second},
	} {
		h := &hubClock{}
		h.compare(base.Add(c.sent), base.Add(c.received), base)
		if got, _ := h.off(); got != c.want {
			t.Errorf("sent %v, received %v: %v, want %v", c.sent, c.received, got, c.want)
		}
	}
}

var _ http.RoundTripper = (*hubClock)(nil)
