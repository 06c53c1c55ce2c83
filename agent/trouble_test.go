package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func impatient(c *Config) {
	c.Timings.Retry, c.Timings.RetryMost, c.Timings.Timeout = Duration(time.Millisecond), Duration(time.Millisecond), Duration(2*time.Second)
}

// TestAStatementThatWouldTouchTooMuchIsRolledBack: one that matches everything, and one that finds everything.
func TestAStatementThatWouldTouchTooMuchIsRolledBack(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)), withConfig(impatient), withConfig(func(c *Config) {
				c.SQL = &SQLConfig{Unbind: Statements{{SQL: "UPDATE bindings SET detached_at = :now, detached_by = :task WHERE id = :binding OR id > 0"}}}
			}))
			n := o.number()
			b, other := o.bind(n), o.bind(o.number())
			task := o.ask(n)
			for range 3 {
				_ = o.round()
				time.Sleep(2 * time.Millisecond)
			}
			o.answered(task, "failed", "temporary")
			if !o.bound(b) || !o.bound(other) {
				t.Error("something was unbound")
			}
			if s := o.state(task); !strings.Contains(s.problem, "sql.unbind") || !strings.Contains(s.problem, "rolled back") {
				t.Errorf("problem %q", s.problem)
			}
		})
	}
}

func TestANumberOfTooManyBindingsIsReviewed(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)), withConfig(impatient), withConfig(func(c *Config) { c.SQL = &SQLConfig{MaxBindings: 3} }))
			n, small := o.number(), o.number()
			for range 4 {
				o.bind(n)
			}
			one := o.bind(small)
			task, other := o.ask(n), o.ask(small)
			for range 3 {
				_ = o.round()
				time.Sleep(2 * time.Millisecond)
			}
			o.answered(task, "in_review", "business_account")
			o.answered(other, "unbound", "removed")
			if o.bound(one) || o.one(`SELECT count(*) FROM bindings WHERE detached_at IS NULL`) != 4 {
				t.Error("too much was unbound, or too little")
			}
		})
	}
}

// TestAStatementThatMatchesNothingUnbindsNothing and is not answered as if it had.
func TestAStatementThatMatchesNothingUnbindsNothing(t *testing.T) {
	o := newOffice(t, withConfig(func(c *Config) {
		c.SQL = &SQLConfig{Unbind: Statements{{SQL: "UPDATE bindings SET detached_at = :now WHERE id = :binding AND id < 0"}}}
	}))
	n := o.number()
	o.bind(n)
	task := o.ask(n)
	o.work()
	o.answered(task, "not_bound", "already_cleared")
}

// TestABindingThatChangesBetweenDecisionAndActIsDecidedAnew: the last look is inside the transaction.
func TestABindingThatChangesBetweenDecisionAndActIsDecidedAnew(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)), withConfig(impatient))
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.agent.o.crash = func(step string) {
				if step == "intended" { // the present holder binds it now
					o.exec(o.q(`UPDATE bindings SET bound_at = ?, true_bound = '2099-01-01' WHERE id = ?`), o.at(tenure.Add(day)), b)
				}
			}
			_ = o.round()
			o.agent.o.crash = nil
			time.Sleep(2 * time.Millisecond)
			o.work()
			o.answered(task, "kept", "bound_by_current_holder")
			if !o.bound(b) {
				t.Error("it was unbound")
			}
			o.clean()
		})
	}
}

// TestADatabaseThatFailsPutsTasksOff and they are worked when it is back.
func TestADatabaseThatFailsPutsTasksOff(t *testing.T) {
	everywhere := []string{"sqlite", "postgres", "mysql"}
	for name, c := range map[string]struct {
		break_, mend string
		on           []string
	}{
		"the schema changed":  {`ALTER TABLE bindings RENAME COLUMN proof_never TO other`, `ALTER TABLE bindings RENAME COLUMN other TO proof_never`, everywhere},
		"a table is gone":     {`ALTER TABLE acts RENAME TO elsewhere`, `ALTER TABLE elsewhere RENAME TO acts`, everywhere},
		"a time is none":      {`UPDATE bindings SET bound_at = 'yesterday'`, `UPDATE bindings SET bound_at = '2020-01-01 00:00:00'`, everywhere[:1]},
		"it refuses to write": {`CREATE TRIGGER full BEFORE UPDATE ON bindings BEGIN SELECT RAISE(ABORT, 'disk full +8613800000001'); END`, `DROP TRIGGER full`, everywhere[:1]},
		"it is full": {`ALTER TABLE notices RENAME TO elsewhere;; SET STATEMENT max_heap_table_size = 16384 FOR
			CREATE TABLE notices (account VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL) ENGINE=MEMORY;;?INSERT INTO notices SELECT seq, seq FROM seq_1_to_100000`,
			`DROP TABLE notices;; ALTER TABLE elsewhere RENAME TO notices`, everywhere[2:]},
	} {
		for _, on := range c.on {
			t.Run(name+" on "+on, func(t *testing.T) { failsForATime(t, engines[on](t), c.break_, c.mend) })
		}
	}
}

func failsForATime(t *testing.T, e engine, breaks, mends string) {
	o := newOffice(t, withEngine(e), withConfig(impatient))
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	for q := range strings.SplitSeq(breaks, ";;") {
		if q, fails := strings.CutPrefix(q, "?"); fails {
			if _, err := o.db.Exec(q); err == nil {
				t.Fatal("it is not full")
			}
			continue
		}
		o.exec(q)
	}
	for range 4 {
		_ = o.round()
		time.Sleep(2 * time.Millisecond)
	}
	o.answered(task, "failed", "temporary")
	s := o.state(task)
	if !o.bound(b) || s.problem == "" || strings.Contains(s.problem, "138") {
		t.Errorf("bound %v, problem %q", o.bound(b), s.problem)
	}
	for q := range strings.SplitSeq(mends, ";;") {
		o.exec(q)
	}
	time.Sleep(2 * time.Millisecond)
	o.work()
	o.answered(task, "unbound", "removed")
	if n := o.one(`SELECT count(*) FROM acts`); n != 1 {
		t.Errorf("unbound %d times", n)
	}
	o.clean()
}

// TestADatabaseThatGoesDownMidTaskIsWaitedFor: the server is killed with its connections, before and after each of its parts, and comes back.
func TestADatabaseThatGoesDownMidTaskIsWaitedFor(t *testing.T) {
	c, err := pgtest.Open(pgtest.Durable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for i, at := range []string{"found", "intended", "did unbind", "noted"} {
		t.Run(at, func(t *testing.T) {
			e := postgresEngine(t)
			var err error
			if e.dsn, err = c.CreateDatabase("down_" + itoa(i)); err != nil {
				t.Fatal(err)
			}
			o := newOffice(t, withEngine(e), withConfig(impatient))
			n := o.number()
			b, own := o.bind(n), o.bind(n, bound(tenure.Add(day)))
			task := o.ask(n)
			down := false
			o.agent.o.crash = func(step string) {
				if step == at && !down {
					down = true
					o.must(c.Kill())
				}
			}
			_ = o.round()
			if !down {
				t.Fatal("the step was not reached")
			}
			_ = o.round() // the server is not there
			o.must(c.Start())
			o.must(o.db.Ping())
			for range 3 {
				o.exec2(o.agent, `UPDATE tasks SET next_at = 1 WHERE phase <= 2`)
				_ = o.round() // the first may find connections that are dead
			}
			o.answered(task, "unbound", "removed")
			if o.bound(b) || !o.bound(own) || o.one(`SELECT count(*) FROM acts`) != 1 {
				t.Error("the one that was to go stays, went twice, or the other one went")
			}
			o.clean()
		})
	}
}

// TestATypeThatChangesUnderARunningAgentIsSurvived: PostgreSQL then refuses statements that were prepared before.
func TestATypeThatChangesUnderARunningAgentIsSurvived(t *testing.T) {
	o := newOffice(t, withEngine(postgresEngine(t)), withConfig(impatient))
	work := func() {
		n := o.number()
		o.bind(n)
		task := o.ask(n)
		for range 3 {
			_ = o.round()
			o.exec2(o.agent, `UPDATE tasks SET next_at = 1 WHERE phase <= 2`)
		}
		o.answered(task, "unbound", "removed")
	}
	work()
	o.exec(`ALTER TABLE bindings ALTER COLUMN account TYPE varchar(80)`)
	work()
	o.clean()
}

func TestADatabaseThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	for _, on := range []string{"postgres", "mysql"} {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(engines[on](t)), withConfig(impatient), withConfig(func(c *Config) { c.Timings.Timeout = Duration(time.Second) }))
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			tx, err := o.db.Begin()
			o.must(err)
			if _, err := tx.Exec(o.q(`UPDATE bindings SET hold_back = NULL WHERE id = ?`), b); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := o.round(); err == nil {
				t.Error("no error")
			}
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("it waited for %v", d)
			}
			o.must(tx.Rollback())
			time.Sleep(2 * time.Millisecond)
			o.work()
			o.answered(task, "unbound", "removed")
			o.clean()
		})
	}
}

// TestTwoAgentsOnOneDatabaseOneWaits and takes over when the other is gone.
func TestTwoAgentsOnOneDatabaseOneWaits(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)))
			n := o.number()
			b := o.bind(n)
			o.ask(n)
			first, second := o.agent.conn, (*Agent)(nil)
			o.must(first.lease(t.Context()))
			other := *o
			other.config.State = t.TempDir()
			var err error
			second, err = Open(other.config, other.options)
			o.must(err)
			defer second.Close()
			other.agent = second
			o.must(other.round())
			if !o.bound(b) {
				t.Error("the second one acted")
			}
			if s, err := second.Status(t.Context()); err != nil || s.Held == "" {
				t.Errorf("%+v, %v", s, err)
			}
			second.cfg.SQL.Lease = "exit"
			if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent") {
				t.Error(err)
			}
			o.must(o.agent.Close())
			for end := time.Now().Add(30 * time.Second); o.bound(b) && time.Now().Before(end); { // a server notices a moment later that a connection is gone
				o.must(other.round())
			}
			if o.bound(b) {
				t.Error("the second one did not take over")
			}
			other.clean()
		})
	}
}

func TestTwoAgentsCannotShareAState(t *testing.T) {
	o := newOffice(t)
	if _, err := Open(o.config, o.options); err == nil || !strings.Contains(err.Error(), "another agent is running on") {
		t.Error(err)
	}
}

func TestAStateWithoutItsKeysIsNotUsed(t *testing.T) {
	o := newOffice(t)
	o.work()
	o.must(o.agent.Close())
	o.must(os.Remove(o.config.State + "/keys.json"))
	o.start()
	if _, err := o.agent.Work(t.Context()); err == nil || !strings.Contains(err.Error(), "another keys") {
		t.Error(err)
	}
}

// TestAHubThatLiesOrBreaksIsNotBelieved: nothing is unbound by what it says wrongly, and what it lost is said again.
func TestAHubThatLiesOrBreaksIsNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*http.Request) (*http.Response, error)
		after  func(*http.Request, *http.Response) (*http.Response, error)
	}{
		"the answer to answers is lost": {after: func(r *http.Request, resp *http.Response) (*http.Response, error) {
			if r.URL.Path == "/v1/answers" {
				_ = resp.Body.Close()
				return nil, errors.New("reset")
			}
			return resp, nil
		}},
		"it takes fewer answers than were sent": {before: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v1/answers" {
				return body(r, 200, `{"receipt":"x","accepted":0,"duplicates":0,"rejected":[],"rejected_total":0}`), nil
			}
			return nil, nil
		}},
		"it answers garbage": {before: func(r *http.Request) (*http.Response, error) {
			if rereads(r) || r.URL.Path == "/v1/answers" {
				return body(r, 200, `garbage`), nil
			}
			return nil, nil
		}},
		"it knows another state": {before: func(r *http.Request) (*http.Response, error) {
			if rereads(r) {
				return body(r, 200, `{"tasks":[{"id":"`+r.URL.Query().Get("ids")+`","state":"melted"}]}`), nil
			}
			return nil, nil
		}},
		"it fails": {before: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/oauth2/token" && r.URL.Path != "/v1/apps/self" && (r.URL.Path != "/v1/tasks" || rereads(r)) {
				return body(r, 500, ``), nil
			}
			return nil, nil
		}},
		"it hangs": {before: func(r *http.Request) (*http.Response, error) {
			if rereads(r) {
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}
			return nil, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, withConfig(impatient), withConfig(func(c *Config) { c.Timings.Timeout = Duration(time.Second) }))
			f := &faults{next: o.agent.clock.next, before: c.before, after: c.after}
			o.agent.clock.next = f
			n := o.number()
			b, own := o.bind(n), o.bind(n, bound(tenure.Add(day)))
			task := o.ask(n)
			if err := o.round(); err == nil {
				t.Error("no error")
			}
			o.agent.clock.next = f.next
			time.Sleep(2 * time.Millisecond)
			o.work()
			o.answered(task, "unbound", "removed")
			if o.bound(b) || !o.bound(own) {
				t.Error("the one that was to go stays, or the other one went")
			}
			if n := o.one(`SELECT count(*) FROM acts`); n != 1 {
				t.Errorf("unbound %d times", n)
			}
			o.clean()
		})
	}
}

func TestAnAnswerThatComesTooLateHasNoEffectAndIsNotRepeated(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	o.bind(n)
	task := o.ask(n)
	f := &faults{next: o.agent.clock.next}
	f.before = func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/v1/answers" {
			f.before = nil
			_, err := o.carrier.CancelRequest(r.Context(), o.requests[task]) // between act and answer
			return nil, err
		}
		return nil, nil
	}
	o.agent.clock.next = f
	o.work()
	s := o.state(task)
	if s.ended != "no_effect" || s.sent.IsZero() || len(s.bindings) != 1 || s.bindings[0].acted.IsZero() || s.bindings[0].token == "" {
		t.Errorf("%+v", s)
	}
	sent := len(f.seen)
	o.work()
	for _, r := range f.seen[sent:] {
		if r == "POST /v1/answers" {
			t.Error("it is sent again")
		}
	}
}

func TestWhatAPersonFoundOutEndsAReviewAndNeverOverridesRule1(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	old, new_, kept, close_ := o.bind(n, unknownBound(former)), o.bind(n, unknownBound(tenure.Add(day))), o.bind(n, unknownBound(former)),
		o.bind(n, bound(tenure.Add(-time.Hour)), same("no"))
	task := o.ask(n)
	o.work()
	o.answered(task, "in_review", "bound_at_unknown")
	if all, err := o.agent.Reviews(t.Context()); err != nil || len(all) != 4 {
		t.Fatal(len(all), err)
	}
	decide := func(b int, f Finding) {
		t.Helper()
		f.By = "t"
		o.must(o.agent.Review(t.Context(), task, itoa(b), f))
	}
	unbind := Finding{Outcome: huanxin.Unbound, Reason: huanxin.Removed}
	decide(old, unbind) // says nothing of when: rule 7
	o.work()
	if !o.bound(old) {
		t.Error("unbound without a date")
	}
	unbind.FirstBound = At(former)
	decide(old, unbind)
	unbind.FirstBound = At(tenure.Add(day))
	decide(new_, unbind)
	decide(kept, Finding{Outcome: huanxin.Kept, Reason: huanxin.NotInScope})
	unbind.FirstBound = When{}
	decide(close_, unbind)
	o.work()
	o.answered(task, "unbound", "removed")
	if o.bound(old) || !o.bound(new_) || !o.bound(kept) || o.bound(close_) {
		t.Errorf("bound: %v %v %v %v", o.bound(old), o.bound(new_), o.bound(kept), o.bound(close_))
	}
	if err := o.agent.Review(t.Context(), task, "99", unbind); huanxin.KindOf(err) != huanxin.NotFound {
		t.Error(err)
	}
	o.clean()
}

func TestWhatWaitsForTheHolderIsDecidedAnewWhenTheCompanyKnowsMore(t *testing.T) {
	now := time.Now()
	o := newOffice(t, func(o *office) { o.options.Now = func() time.Time { return now } })
	n := o.number()
	b := o.bind(n, unknownProof)
	task := o.ask(n)
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	o.exec(`UPDATE bindings SET same_person = 'yes' WHERE id = ?`, b) // who signed in by another factor
	o.later(&now, time.Hour)
	o.answered(task, "kept", "same_person")
}

func TestTheOtherKindsTakeOffWhatWasMeantForTheFormerHolder(t *testing.T) {
	o := newOffice(t, withKinds(huanxin.ClearLabel))
	full, own, grave, none := o.number(), o.number(), o.number(), o.number()
	label := func(id int, n huanxin.Number, since time.Time, grave any) {
		o.exec(`INSERT INTO labels (id, number, since, grave) VALUES (?, ?, ?, ?)`, id, n.E164()[3:], o.at(since), grave)
	}
	label(1, full, tenure.Add(-time.Hour), nil)
	label(2, full, tenure.Add(time.Hour), nil)
	label(3, own, tenure.Add(time.Hour), nil)
	label(4, grave, former, "restricted_number")
	a, b, c, d := o.ask(full, huanxin.ClearLabel), o.ask(own, huanxin.ClearLabel), o.ask(grave, huanxin.ClearLabel), o.ask(none, huanxin.ClearLabel)
	o.work()
	o.answered(a, "unbound", "removed")
	o.answered(b, "not_bound", "none_found")
	o.answered(c, "in_review", "restricted_number")
	o.answered(d, "not_bound", "none_found")
	if n := o.one(`SELECT sum(id) FROM labels WHERE removed_by IS NOT NULL`); n != 1 {
		t.Errorf("removed labels add up to %d, want the first alone", n)
	}
	if err := o.agent.Review(t.Context(), c, "4", Finding{Outcome: huanxin.Unbound, Reason: huanxin.Removed, By: "t"}); err != nil {
		t.Fatal(err)
	}
	o.work()
	o.answered(c, "unbound", "removed")
}

func TestAKindThatIsNotWorkedIsNotInScope(t *testing.T) {
	o := newOffice(t, withKinds(huanxin.Unbind, huanxin.ClearLabel))
	o.agent.cfg.Kinds = []string{"unbind"}
	task := o.ask(o.number(), huanxin.ClearLabel)
	o.work()
	o.answered(task, "kept", "not_in_scope")
}

// rereads reports whether a request reads tasks again.
func rereads(r *http.Request) bool {
	return r.URL.Path == "/v1/tasks" && r.URL.Query().Has("ids") || strings.HasPrefix(r.URL.Path, "/v1/tasks/")
}

// body is an answer of a hub's.
func body(r *http.Request, status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
}
