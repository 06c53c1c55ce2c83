package appsim

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func TestUnbindingIsSoft(t *testing.T) {
	o := working(t)
	n, mute := o.number(), o.number()
	account := o.account(n)
	o.account(mute, func(c *Account) { c.HasOtherContact = false })
	o.opens(n, account)
	_, task := o.ask(n)
	_, other := o.ask(mute)
	o.answered(task, "unbound", "removed")
	o.answered(other, "unbound", "removed")
	w := o.worked(task)
	if w.Unbound != 1 || w.Ended != 1 || w.Told != 1 || w.Tokens != 1 {
		t.Errorf("unbound %d, sessions ended %d (of the one since the tenure began), told %d, tokens %d; want 1 of each", w.Unbound, w.Ended, w.Told, w.Tokens)
	}
	if w := o.worked(other); w.Unbound != 1 || w.Told != 0 {
		t.Errorf("unbound %d, told %d of who has no other contact", w.Unbound, w.Told)
	}
	removals, err := o.Removals(t.Context())
	o.must(err)
	if len(removals) != 2 || removals[0].Account != account || !removals[0].TrueBound.Equal(tenure.Add(-700*day)) || !removals[0].Start.Equal(tenure) {
		t.Errorf("removals: %+v", removals)
	}
	o.clean()
}

func TestATaskThatIsListedAgainIsNotDoneAgain(t *testing.T) {
	o := newOffice(t, func(o *office) { o.o.Relist = 20 * time.Millisecond })
	n, other := o.number(), o.number()
	o.account(n)
	o.account(other, bound(tenure.Add(-400*day), When{}))
	_, task := o.ask(n)
	_, open := o.ask(other)
	o.start()
	o.answered(task, "unbound", "removed")
	o.answered(open, "in_review", "bound_at_unknown")
	lists := o.lists()
	eventually(t, "it is listed again and again", func() bool { return o.lists() > lists+3 })
	if w := o.worked(task); w.Unbound != 1 || w.Told != 1 {
		t.Errorf("unbound %d times, told %d times", w.Unbound, w.Told)
	}
	o.clean()
}

func isAnswer(r *http.Request) bool { return r.URL.Path == "/v1/answers" }

// TestACrashBetweenActAndAnswerRepeatsTheAnswerOnly: the answer did not arrive, or its acknowledgement did not.
func TestACrashBetweenActAndAnswerRepeatsTheAnswerOnly(t *testing.T) {
	for name, lost := range map[string]bool{"the answer": false, "its acknowledgement": true} {
		t.Run(name, func(t *testing.T) {
			o := working(t)
			n := o.number()
			o.account(n)
			if lost {
				o.faults.set(nil, isAnswer)
			} else {
				o.faults.set(func(r *http.Request) (*http.Response, error) {
					if isAnswer(r) {
						return nil, errNetwork
					}
					return nil, nil
				}, nil)
			}
			_, task := o.ask(n)
			eventually(t, "it is answered in vain", func() bool { return o.worked(task).Unbound == 1 && o.faults.count("POST /v1/answers") > 0 })
			o.stop()
			if w := o.worked(task); w.Unbound != 1 || !w.SentAt.IsZero() {
				t.Fatalf("unbound %d, sent %v", w.Unbound, w.SentAt)
			}
			o.faults.set(nil, nil)
			o.restart()
			o.answered(task, "unbound", "removed")
			if w := o.worked(task); w.Unbound != 1 || w.Told != 1 {
				t.Errorf("unbound %d, told %d", w.Unbound, w.Told)
			}
			o.clean()
		})
	}
}

func TestAHighValueAppStopsTheKeyAtOnceAndUnbindsAfterTheHold(t *testing.T) {
	for _, b := range []catalogue.Behaviour{catalogue.Quick, catalogue.Slow} { // at once whoever is slow
		t.Run(string(b), func(t *testing.T) {
			o := working(t, held, func(o *office) { o.spec.Behaviour, o.o.Day = b, 10*time.Minute })
			n, own := o.number(), o.number()
			o.account(n)
			account := o.account(own, bound(tenure.Add(day), At(tenure.Add(day))))
			_, task := o.ask(n)
			_, other := o.ask(own)
			o.opens(n)
			o.opens(own, account)
			if w := o.worked(task); w.Unbound != 0 || w.Outcome != "" || w.Phase != "waiting" {
				t.Errorf("before the hold is over: unbound %d, answer %q", w.Unbound, w.Outcome)
			}
			if b == catalogue.Slow {
				if w := o.worked(other); w.Outcome != "" {
					t.Errorf("it is slow, and has answered %q", w.Outcome)
				}
				o.clean()
				return
			}
			o.answered(other, "kept", "bound_by_current_holder")
			o.holdIsOver(task)
			o.answered(task, "unbound", "removed")
			o.clean()
		})
	}
}

func TestAHighValueReviewThatEndsWithUnboundIsHeldToo(t *testing.T) {
	o := working(t, class("mail"))
	n := o.number()
	account := o.account(n, bound(tenure.Add(-400*day), When{}))
	_, task := o.ask(n)
	o.answered(task, "in_review", "bound_at_unknown")
	o.opens(n, account)
	o.people()
	o.answered(task, "unbound", "removed")
	o.clean()
}

func isPoll(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/ssf/poll") }

// TestATaskThatIsCancelledBeforeTheActIsLeftAlone: it hears of it, or notices right before acting.
func TestATaskThatIsCancelledBeforeTheActIsLeftAlone(t *testing.T) {
	for name, heard := range map[string]bool{"by the stream": true, "right before acting": false} {
		t.Run(name, func(t *testing.T) {
			o := working(t, held)
			n := o.number()
			account := o.account(n)
			request, task := o.ask(n)
			o.opens(n)
			if !heard {
				o.faults.set(nil, isPoll)
			}
			_, err := o.carrier.CancelRequest(t.Context(), request)
			o.must(err)
			if !heard {
				o.holdIsOver(task)
			}
			o.closed(task)
			o.opens(n, account)
			o.clean()
		})
	}
}

func TestATaskWhoseTenureEndedIsLeftAlone(t *testing.T) {
	o := working(t, held)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.opens(n)
	o.report(client.Event{ID: "transfer", Number: n.E164(), Kind: "transferred", At: time.Now()})
	o.holdIsOver(task)
	o.closed(task)
	if got := o.state(task); got != "aborted" {
		t.Fatalf("the task is %s", got)
	}
	o.opens(n, account)
	o.clean()
}

func TestAStaleTaskIsLeftAlone(t *testing.T) {
	o := working(t, held)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.opens(n)
	o.execState(`UPDATE tasks SET digest = 'of something else'`)
	o.holdIsOver(task)
	o.closed(task)
	o.opens(n, account)
}

func TestAnAnswerThatCameTooLateForACancelledTaskHasNoEffectAndIsNotRepeated(t *testing.T) {
	o := working(t)
	n := o.number()
	o.account(n)
	var deaf atomic.Bool
	var request string
	var asked sync.Mutex
	asked.Lock()
	o.faults.set(func(r *http.Request) (*http.Response, error) {
		if isAnswer(r) && !deaf.Swap(true) {
			asked.Lock()
			_, err := o.carrier.CancelRequest(r.Context(), request) // between act and answer
			return nil, err
		}
		return nil, nil
	}, func(r *http.Request) bool { return isPoll(r) && deaf.Load() }) // it does not hear of it
	var task string
	request, task = o.ask(n)
	asked.Unlock()
	eventually(t, "the answer is refused", func() bool { return o.worked(task).Refused != "" })
	if w := o.worked(task); w.Refused != "no_effect" || w.Phase != "closed" || w.Unbound != 1 || w.Tokens != 1 {
		t.Errorf("refused %q, phase %s, unbound %d, tokens %d", w.Refused, w.Phase, w.Unbound, w.Tokens)
	}
	sent := o.faults.count("POST /v1/answers")
	o.faults.set(nil, nil)
	deaf.Store(false) // for the poll that is under way
	_, later := o.ask(o.number())
	o.answered(later, "not_bound", "none_found")
	if o.faults.count("POST /v1/answers") != sent+1 {
		t.Error("it is sent again and again")
	}
	o.clean()
}

func TestTheOtherKindsTakeOffWhatWasMeantForTheFormerHolder(t *testing.T) {
	o := working(t)
	for _, kind := range []huanxin.TaskKind{huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction} {
		t.Run(kind.String(), func(t *testing.T) {
			o := *o
			o.t = t
			full, none := o.number(), o.number()
			id := kind.String()
			o.must(o.SeedMarks(t.Context(), []Mark{
				{ID: id + "-1", Kind: kind, Number: full, Since: tenure.Add(-50 * day)},
				{ID: id + "-2", Kind: kind, Number: full, Since: tenure.Add(-500 * day)},
				{ID: id + "-own", Kind: kind, Number: full, Since: tenure.Add(day)},
				{ID: id + "-own2", Kind: kind, Number: none, Since: tenure}}))
			_, task := o.ask(full, kind)
			_, other := o.ask(none, kind)
			o.answered(task, "unbound", "removed")
			o.answered(other, "not_bound", "none_found")
			if w := o.worked(task); w.Unbound != 2 {
				t.Errorf("%d marks were removed, want 2", w.Unbound)
			}
			o.clean()
			o.numbers += 100
		})
		o.numbers += 100
	}
}

func TestAGraveBanIsLiftedByAPerson(t *testing.T) {
	o := working(t)
	n := o.number()
	o.must(o.SeedMarks(t.Context(), []Mark{{ID: "1", Kind: huanxin.LiftRestriction, Number: n, Since: tenure.Add(-day), Grave: true}}))
	_, task := o.ask(n, huanxin.LiftRestriction)
	o.answered(task, "in_review", "restricted_number")
	o.people()
	o.answered(task, "unbound", "removed")
	o.clean()
}

func TestMarksOfATenureOfUnknownStartNeedEvidence(t *testing.T) {
	o := working(t)
	n := o.numberOf("unknown")
	o.must(o.SeedMarks(t.Context(), []Mark{{ID: "1", Kind: huanxin.ClearLabel, Number: n, Since: tenure.Add(-day)}}))
	_, task := o.askOf(n, "unknown", huanxin.ClearLabel)
	o.answered(task, "action_required", "evidence_needed")
}

func TestSeedingAgainChangesNothing(t *testing.T) {
	o := working(t)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.answered(task, "unbound", "removed")
	o.account(n) // as a world does that is started again
	o.opens(n)
	o.account(n, func(c *Account) { c.ID, c.BalanceFen = account, 0 })
	o.answered(task, "unbound", "removed")
	o.clean()
}

// TestFindingsSeeWhatWentWrong breaks every rule once in the database.
func TestFindingsSeeWhatWentWrong(t *testing.T) {
	o := working(t, class("payment"))
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	o.answered(task, "unbound", "removed")
	o.clean()
	o.stop()
	o.must(o.App.Close())
	worked := o.dir
	const task1 = `(SELECT task FROM actions WHERE what = 'unbound')`
	for _, c := range []struct {
		what, text string
		agents     bool // it is the agent's state that is wrong
	}{
		{what: "a binding was unbound that is not older than the tenure", text: `UPDATE truth_bindings SET bound_at = (SELECT max(started_at) FROM actions)`},
		{what: "what was placed on the number in the tenure", text: `INSERT INTO labels (id, number, since, grave, removed_at, removed_by)
			SELECT 'x', b.number, x.started_at, 0, 1, x.task FROM actions x JOIN bindings b ON b.id = x.binding WHERE x.what = 'unbound'`},
		{what: "its money changed", text: `UPDATE accounts SET balance_fen = balance_fen - 1`},
		{what: "its money changed", text: `UPDATE accounts SET owner_key = 'a thief'`},
		{what: "an account is gone", text: `PRAGMA foreign_keys = off; DELETE FROM accounts`},
		{what: "an account was added", text: `INSERT INTO accounts VALUES ('x', '', 0, '', 0, 0, 0, 0)`},
		{what: "the hub took what it had to refuse", text: `INSERT INTO nonsense (task, what, taken, said, at) VALUES ('', 'nothing', 1, 'taken', 0)`},
		{what: "unbound twice", text: `INSERT INTO actions (task, binding, what, started_at, at) SELECT task, binding, what, started_at, at FROM actions WHERE what = 'unbound'`},
		{what: "removed twice", text: `INSERT INTO actions (task, what, mark, started_at, at) VALUES ('t', 'removed', 'm', 0, 0), ('t', 'removed', 'm', 0, 0)`},
		{what: "no task says so", text: `UPDATE bindings SET detached_by = 'nobody'`},
		{what: "nothing was done", text: `DELETE FROM actions`},
		{what: "the answer denies it", text: `UPDATE tasks SET outcome = 'not_bound'`, agents: true},
		{what: "after the task had been ended", text: `INSERT INTO heard (jti, type, txn, task, reason, pushed, times, at, last_at)
			VALUES ('j', 'urn:huanxin:event:unbind-cancelled', '', ` + task1 + `, 'cancelled', 0, 1, 0, 0)`},
		{what: "still is a key", text: `UPDATE bindings SET is_recovery = 1`},
		{what: "goes on", text: `UPDATE sessions SET ended_at = NULL, ended_by = NULL`},
		{what: "older than the tenure", text: `UPDATE sessions SET ended_by = ` + task1},
		{what: "could be told and was not", text: `DELETE FROM notices`},
		{what: "no way back", text: `UPDATE bindings SET restore_token = NULL`},
		{what: "before the hold was over", text: `UPDATE actions SET at = (SELECT at - 1 FROM actions WHERE what = 'unbound') WHERE what = 'key_stopped'`},
		{what: "before the hold was over", text: `DELETE FROM actions WHERE what = 'key_stopped'`},
		{what: "for a task that has ended", text: `UPDATE bindings SET stopped_by = ` + task1},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := office{t: t, dir: t.TempDir(), spec: o.spec, o: o.o, timings: o.timings, hub: o.hub}
			o.must(os.CopyFS(o.dir, os.DirFS(worked)))
			o.must(os.Chmod(filepath.Join(o.dir, o.spec.ID+".agent", "keys.json"), 0o600)) // which is no part of a file's copy
			o.open()
			t.Cleanup(func() { o.must(o.App.Close()) })
			if c.agents {
				o.execState(c.text)
			} else {
				o.exec(c.text)
			}
			found, err := o.Findings(t.Context())
			o.must(err)
			if !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.What, c.what) }) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestAnAppOpensItsFileWhenItIsUsed(t *testing.T) {
	a, err := Open(t.TempDir(), catalogue.App{ID: "shut"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || a.db != nil {
		t.Errorf("closing what was not opened: %v", err)
	}
	if _, err := a.Heard(t.Context()); err != nil || a.db == nil {
		t.Errorf("first use: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if found, err := a.Findings(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("use after closing: %v, %v", found, err)
	}
	if all, err := a.Worked(t.Context()); err != nil || len(all) != 0 || a.agent != nil {
		t.Errorf("an app whose agent never was has worked %d tasks, %v", len(all), err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
