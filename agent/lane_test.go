package agent

import (
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// oneLane has orders follow each other on one connection to PostgreSQL.
func oneLane(c *Config) { c.SQL = &SQLConfig{Connections: 1} }

// TestAnOrderThatFailsTakesNoOtherWithIt: orders share a connection, and their transactions an exchange. One of five is disturbed by what
// the company's database does; the others are done at once, and it, too, as soon as it can be, each once.
func TestAnOrderThatFailsTakesNoOtherWithIt(t *testing.T) {
	const function = `CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `
	for name, c := range map[string]struct{ body, trigger string }{
		"its statement is refused": {`IF NEW.id = 3 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$`,
			`CREATE TRIGGER disturb BEFORE UPDATE ON bindings FOR EACH ROW EXECUTE FUNCTION disturb()`},
		"its commit is refused": {`IF NEW.id = 3 THEN RAISE EXCEPTION 'no'; END IF; RETURN NULL; END $$`,
			`CREATE CONSTRAINT TRIGGER disturb AFTER UPDATE ON bindings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION disturb()`},
		"its connection is ended": {`IF NEW.id = 3 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$`,
			`CREATE TRIGGER disturb BEFORE UPDATE ON bindings FOR EACH ROW EXECUTE FUNCTION disturb()`},
		"its connection is ended at its commit": {`IF NEW.id = 3 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$`,
			`CREATE CONSTRAINT TRIGGER disturb AFTER UPDATE ON bindings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION disturb()`},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, withEngine(postgresEngine(t)), withConfig(impatient), withConfig(oneLane))
			o.exec(function + c.body)
			o.exec(c.trigger)
			var tasks []string
			for range 5 { // bindings 1 to 5
				n := o.number()
				o.bind(n)
				tasks = append(tasks, o.ask(n))
			}
			_ = o.round()
			for i, task := range tasks {
				if done := !o.state(task).sent.IsZero(); done != (i != 2) {
					t.Errorf("order %d: done is %v", i+1, done)
				}
				if o.bound(i+1) != (i == 2) {
					t.Errorf("binding %d: bound is %v", i+1, o.bound(i+1))
				}
			}
			o.exec(`DROP TRIGGER disturb ON bindings`)
			for range 3 {
				time.Sleep(2 * time.Millisecond)
				_ = o.round()
			}
			for i, task := range tasks {
				o.answered(task, "unbound", "removed")
				if n := o.one(`SELECT count(*) FROM acts WHERE binding = $1`, i+1); n != 1 {
					t.Errorf("binding %d was unbound %d times", i+1, n)
				}
			}
			o.clean()
		})
	}
}

// TestWhatTheLookForbidsIsUndoneBeforeTheNextOrder: the statement of an order is sent with its look, and is never committed without it.
func TestWhatTheLookForbidsIsUndoneBeforeTheNextOrder(t *testing.T) {
	o := newOffice(t, withEngine(postgresEngine(t)), withConfig(impatient), withConfig(oneLane))
	var tasks []string
	var bindings []int
	for range 4 {
		n := o.number()
		bindings = append(bindings, o.bind(n))
		tasks = append(tasks, o.ask(n))
	}
	o.agent.o.crash = func(step string) {
		if step == "intended" { // the present holders bind the second and the last now; neither look is the first or sees it before
			for _, b := range []int{bindings[1], bindings[3]} {
				o.exec(`UPDATE bindings SET bound_at = $1, true_bound = '2099-01-01' WHERE id = $2`, tenure.Add(day), b)
			}
		}
	}
	_ = o.round()
	o.agent.o.crash = nil
	time.Sleep(2 * time.Millisecond)
	o.work()
	for i, want := range []string{"unbound", "kept", "unbound", "kept"} {
		reason := map[string]string{"unbound": "removed", "kept": "bound_by_current_holder"}[want]
		o.answered(tasks[i], want, reason)
		if acts, bound := o.one(`SELECT count(*) FROM acts WHERE binding = $1`, bindings[i]), o.bound(bindings[i]); bound != (want == "kept") || acts > 0 == bound {
			t.Errorf("binding %d: bound is %v after %d acts", i+1, bound, acts)
		}
	}
	o.clean()
}

// TestAStatementThatCannotBePreparedHarmsNoOther: the table of one kind of task became a view that nothing can be written to. Tasks of both kinds
// share a connection.
func TestAStatementThatCannotBePreparedHarmsNoOther(t *testing.T) {
	o := newOffice(t, withEngine(postgresEngine(t)), withConfig(impatient), withConfig(oneLane), withKinds(huanxin.Unbind, huanxin.ClearLabel))
	n, m := o.number(), o.number()
	b := o.bind(n)
	task := o.ask(n, huanxin.Unbind)
	o.exec(`INSERT INTO labels (id, number, since) VALUES (900, $1, $2)`, m.E164()[3:], former)
	label := o.ask(m, huanxin.ClearLabel)
	o.exec(`ALTER TABLE labels RENAME TO labels_before`)
	o.exec(`CREATE VIEW labels AS SELECT DISTINCT * FROM labels_before`)
	_ = o.round()
	o.answered(task, "unbound", "removed")
	if o.bound(b) {
		t.Error("it is bound")
	}
	for range 3 {
		time.Sleep(2 * time.Millisecond)
		_ = o.round()
	}
	o.answered(label, "failed", "temporary")
	o.clean()
}

// TestAnOrderAfterOneThatWasForbiddenAndFailedIsDone: the look said no, and the statement that was sent with it was refused.
func TestAnOrderAfterOneThatWasForbiddenAndFailedIsDone(t *testing.T) {
	o := newOffice(t, withEngine(postgresEngine(t)), withConfig(impatient), withConfig(oneLane))
	o.exec(`CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.detached_at IS NOT NULL AND NEW.id = 2 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$`)
	o.exec(`CREATE TRIGGER disturb BEFORE UPDATE ON bindings FOR EACH ROW EXECUTE FUNCTION disturb()`)
	var tasks []string
	for range 3 { // bindings 1 to 3
		n := o.number()
		o.bind(n)
		tasks = append(tasks, o.ask(n))
	}
	o.agent.o.crash = func(step string) {
		if step == "intended" {
			o.exec(`UPDATE bindings SET bound_at = $1, true_bound = '2099-01-01' WHERE id = 2`, tenure.Add(day))
		}
	}
	_ = o.round()
	o.agent.o.crash = nil
	o.answered(tasks[0], "unbound", "removed")
	o.answered(tasks[2], "unbound", "removed")
	time.Sleep(2 * time.Millisecond)
	o.work()
	o.answered(tasks[1], "kept", "bound_by_current_holder")
	o.clean()
}

// TestManyTasksAreEachAnsweredOnce: more than a batch, so that answers are sent while others are worked.
func TestManyTasksAreEachAnsweredOnce(t *testing.T) {
	const many = 50
	o := newOffice(t, withConfig(impatient))
	o.agent.o.batch = 7
	for i := range many {
		n := o.number()
		if i%10 == 0 {
			o.bind(n)
		}
		o.ask(n)
	}
	sent := map[string]int{}
	var mu sync.Mutex
	o.agent.o.Answered = func(task string, _ huanxin.Verdict) {
		mu.Lock()
		defer mu.Unlock()
		sent[task]++
	}
	o.work()
	o.work()
	tasks, err := o.agent.state.tasks(t.Context(), `1`)
	o.must(err)
	if len(tasks) != many || len(sent) != many {
		t.Fatalf("%d tasks, %d answered, of %d", len(tasks), len(sent), many)
	}
	for _, task := range tasks {
		if sent[task.task] != 1 || task.sent.IsZero() || task.phase != done {
			t.Errorf("a task was answered %d times, phase %d", sent[task.task], task.phase)
		}
	}
	o.clean()
}
