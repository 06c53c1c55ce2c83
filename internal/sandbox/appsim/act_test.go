package appsim

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func TestUnbindingIsSoft(t *testing.T) {
	o := newOffice(t)
	n, mute := o.number(), o.number()
	account := o.account(n)
	o.account(mute, func(c *Account) { c.HasOtherContact = false })
	o.opens(n, account)
	_, task := o.ask(n)
	_, other := o.ask(mute)
	o.poll()
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
	o := newOffice(t)
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	listed, err := o.list(t.Context())
	o.must(err)
	o.poll()
	for range 3 { // a hub that forgot
		o.must(o.take(t.Context(), listed, 0))
		o.must(o.workDue(t.Context()))
		o.must(o.send(t.Context()))
	}
	if w := o.worked(task); w.Unbound != 1 || w.Told != 1 {
		t.Errorf("unbound %d times, told %d times", w.Unbound, w.Told)
	}
	o.answered(task, "unbound", "removed")
	o.clean()
}

func isAnswer(r *http.Request) bool { return r.URL.Path == "/v1/answers" }

// TestACrashBetweenActAndAnswerRepeatsTheAnswerOnly: the answer did not arrive, or its acknowledgement did not.
func TestACrashBetweenActAndAnswerRepeatsTheAnswerOnly(t *testing.T) {
	for name, lost := range map[string]bool{"the answer": false, "its acknowledgement": true} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			n := o.number()
			o.account(n)
			_, task := o.ask(n)
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
			if err := o.round(t.Context(), true); err == nil {
				t.Fatal("the network did not fail")
			}
			if w := o.worked(task); w.Unbound != 1 || !w.SentAt.IsZero() {
				t.Fatalf("unbound %d, sent %v", w.Unbound, w.SentAt)
			}
			o.start()
			o.faults.set(nil, nil)
			o.must(o.round(t.Context(), false)) // what a former process left is sent before any poll
			if w := o.worked(task); w.Unbound != 1 || w.Told != 1 {
				t.Errorf("unbound %d, told %d", w.Unbound, w.Told)
			}
			o.answered(task, "unbound", "removed")
			o.clean()
		})
	}
}

func TestACrashBetweenTwoBindingsGoesOnWithTheSecond(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	o.account(n, func(c *Account) { c.ID = "one" })
	o.account(n, func(c *Account) { c.ID = "two" })
	_, task := o.ask(n)
	listed, err := o.list(t.Context())
	o.must(err)
	o.must(o.take(t.Context(), listed, 0))
	seen, err := o.tasks(t.Context(), `id = ?`, task)
	o.must(err)
	bs, _, err := o.consider(t.Context(), seen[0], now())
	o.must(err)
	o.must(o.unbind(t.Context(), seen[0], bs[0], now()))
	o.must(o.unbind(t.Context(), seen[0], bs[0], now())) // and once more does nothing
	o.start()
	o.opens(n, "two")
	o.work()
	o.answered(task, "unbound", "removed")
	if w := o.worked(task); w.Unbound != 2 || w.Tokens != 2 || w.Told != 2 {
		t.Errorf("unbound %d, tokens %d, told %d; want 2 of each", w.Unbound, w.Tokens, w.Told)
	}
	o.opens(n)
	o.clean()
}

func TestAHighValueAppStopsTheKeyAtOnceAndUnbindsAfterTheHold(t *testing.T) {
	o := newOffice(t, held)
	n, own := o.number(), o.number()
	o.account(n)
	account := o.account(own, bound(tenure.Add(day), At(tenure.Add(day))))
	_, task := o.ask(n)
	_, other := o.ask(own)
	o.poll()
	o.opens(n)
	o.opens(own, account)
	if w := o.worked(task); w.Unbound != 0 || w.Outcome != "" || w.Phase != "waiting" {
		t.Errorf("before the hold is over: unbound %d, answer %q", w.Unbound, w.Outcome)
	}
	o.answered(other, "kept", "bound_by_current_holder")
	o.holdIsOver()
	o.work()
	o.answered(task, "unbound", "removed")
	if w := o.worked(task); w.SentAt.Sub(w.SeenAt) < o.hold {
		t.Errorf("it was final %v after it was seen", w.SentAt.Sub(w.SeenAt))
	}
	o.clean()
}

func TestAHighValueReviewThatEndsWithUnboundIsHeldToo(t *testing.T) {
	o := newOffice(t, class("mail"))
	n := o.number()
	account := o.account(n, bound(tenure.Add(-400*day), When{}))
	_, task := o.ask(n)
	o.poll()
	o.answered(task, "in_review", "bound_at_unknown")
	o.opens(n, account)
	o.work()
	o.answered(task, "unbound", "removed")
	o.clean()
}

// TestATaskThatIsCancelledBeforeTheActIsLeftAlone: noticed at a poll, or right before acting.
func TestATaskThatIsCancelledBeforeTheActIsLeftAlone(t *testing.T) {
	for name, polling := range map[string]bool{"at a poll": true, "right before acting": false} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, held)
			n := o.number()
			account := o.account(n)
			request, task := o.ask(n)
			o.poll()
			o.opens(n)
			_, err := o.carrier.CancelRequest(t.Context(), request)
			o.must(err)
			o.holdIsOver()
			o.must(o.round(t.Context(), polling))
			w := o.worked(task)
			if w.Phase != "closed" || w.Unbound != 0 || w.Outcome != "" {
				t.Errorf("phase %s, unbound %d, answer %q", w.Phase, w.Unbound, w.Outcome)
			}
			o.opens(n, account)
			o.work()
			o.clean()
		})
	}
}

func TestATaskWhoseTenureEndedIsLeftAlone(t *testing.T) {
	o := newOffice(t, held)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.poll()
	o.holdIsOver()
	o.report(client.Event{ID: "transfer", Number: n.E164(), Kind: "transferred", At: time.Now()})
	o.work()
	if got := o.state(task); got != "aborted" {
		t.Fatalf("the task is %s", got)
	}
	if w := o.worked(task); w.Phase != "closed" || w.Unbound != 0 {
		t.Errorf("phase %s, unbound %d", w.Phase, w.Unbound)
	}
	o.opens(n, account)
	o.clean()
}

func TestAStaleTaskIsLeftAlone(t *testing.T) {
	o := newOffice(t, held)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.poll()
	o.exec(`UPDATE tasks SET digest = 'of something else'`)
	o.holdIsOver()
	o.work()
	if w := o.worked(task); w.Phase != "closed" || w.Unbound != 0 {
		t.Errorf("phase %s, unbound %d", w.Phase, w.Unbound)
	}
	o.opens(n, account)
}

func TestAnAnswerThatCameTooLateForACancelledTaskHasNoEffectAndIsNotRepeated(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	o.account(n)
	request, task := o.ask(n)
	o.faults.set(func(r *http.Request) (*http.Response, error) {
		if isAnswer(r) {
			_, err := o.carrier.CancelRequest(r.Context(), request) // between act and answer
			return nil, err
		}
		return nil, nil
	}, nil)
	o.work()
	if w := o.worked(task); w.Refused != "no_effect" || w.Phase != "closed" || w.Unbound != 1 || w.Tokens != 1 {
		t.Errorf("refused %q, phase %s, unbound %d, tokens %d", w.Refused, w.Phase, w.Unbound, w.Tokens)
	}
	sent := o.faults.count("POST /v1/answers")
	o.work()
	if o.faults.count("POST /v1/answers") != sent {
		t.Error("it is sent again and again")
	}
	o.clean()
}

func TestABindingIsRestoredWhereRule15LetsIt(t *testing.T) {
	today := huanxin.Claim{Start: huanxin.Exactly(former), Known: true} // the tenure before goes on
	for _, c := range []struct {
		name   string
		want   int
		why    huanxin.Restoration
		change func(o *office, n huanxin.Number)
	}{
		{name: "the tenure was corrected away", want: 1, why: huanxin.Restoration{TenureVoided: true, Holder: &today}},
		{name: "for no reason", want: 0, why: huanxin.Restoration{Holder: &today}},
		{name: "the table would unbind it again", want: 0, why: huanxin.Restoration{TenureVoided: true,
			Holder: &huanxin.Claim{Start: huanxin.Exactly(tenure.Add(-time.Hour)), Known: true}}},
		{name: "the number is bound to another account", want: 0, why: huanxin.Restoration{TenureVoided: true, Holder: &today},
			change: func(o *office, n huanxin.Number) { o.account(n, func(c *Account) { c.ID = "another" }) }},
		{name: "the time to restore is over", want: 0, why: huanxin.Restoration{TenureVoided: true, Holder: &today},
			change: func(o *office, _ huanxin.Number) { o.exec(`UPDATE bindings SET restore_until = 1`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t)
			n := o.number()
			account := o.account(n)
			_, task := o.ask(n)
			o.poll()
			if c.change != nil {
				c.change(o, n)
			}
			seen, err := o.tasks(t.Context(), `id = ?`, task)
			o.must(err)
			bs, err := bindings(t.Context(), o.db, seen[0])
			o.must(err)
			for _, want := range []bool{c.want == 1, false} { // a second time nothing is left to restore
				if got, err := o.restore(t.Context(), seen[0], bs[slices.IndexFunc(bs, func(b *binding) bool { return b.acted })], c.why); err != nil || got != want {
					t.Errorf("restored: %v, want %v (%v)", got, want, err)
				}
			}
			if opened, err := o.Opens(t.Context(), n); err != nil || slices.Contains(opened, account) != (c.want == 1) {
				t.Errorf("opens %v, %v", opened, err)
			}
			removals, err := o.Removals(t.Context())
			o.must(err)
			if removals[0].Restored != (c.want == 1) {
				t.Errorf("restored: %v", removals[0].Restored)
			}
		})
	}
}

func TestTheOtherKindsTakeOffWhatWasMeantForTheFormerHolder(t *testing.T) {
	o := newOffice(t)
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
			o.work()
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
	o := newOffice(t)
	n := o.number()
	o.must(o.SeedMarks(t.Context(), []Mark{{ID: "1", Kind: huanxin.LiftRestriction, Number: n, Since: tenure.Add(-day), Grave: true}}))
	_, task := o.ask(n, huanxin.LiftRestriction)
	o.poll()
	o.answered(task, "in_review", "restricted_number")
	o.work()
	o.answered(task, "unbound", "removed")
	o.clean()
}

func TestMarksOfATenureOfUnknownStartNeedEvidence(t *testing.T) {
	o := newOffice(t)
	n := o.numberOf("unknown")
	o.must(o.SeedMarks(t.Context(), []Mark{{ID: "1", Kind: huanxin.ClearLabel, Number: n, Since: tenure.Add(-day)}}))
	_, task := o.askOf(n, "unknown", huanxin.ClearLabel)
	o.work()
	o.answered(task, "action_required", "evidence_needed")
}

func TestSeedingAgainChangesNothing(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	account := o.account(n)
	_, task := o.ask(n)
	o.poll()
	o.account(n) // as a world does that is started again
	o.opens(n)
	o.account(n, func(c *Account) { c.ID, c.BalanceFen = account, 0 })
	o.answered(task, "unbound", "removed")
	o.clean()
}

// TestFindingsSeeWhatWentWrong breaks every rule once in the database.
func TestFindingsSeeWhatWentWrong(t *testing.T) {
	o := newOffice(t, class("payment"))
	n := o.number()
	o.account(n)
	o.ask(n)
	o.work()
	o.clean()
	o.must(o.worker.Close())
	worked, err := os.ReadFile(o.Path())
	o.must(err)
	for _, c := range []struct {
		what, text string
	}{
		{"a binding was unbound that is not older than the tenure", `UPDATE truth_bindings SET bound_at = (SELECT started_at FROM tasks)`},
		{"what was placed on the number in the tenure", `INSERT INTO labels (id, number, since, grave, removed_at, removed_by)
			SELECT 'x', number, started_at, 0, 1, id FROM tasks`},
		{"its money changed", `UPDATE accounts SET balance_fen = balance_fen - 1`},
		{"its money changed", `UPDATE accounts SET owner_key = 'a thief'`},
		{"an account is gone", `PRAGMA foreign_keys = off; DELETE FROM accounts`},
		{"an account was added", `INSERT INTO accounts VALUES ('x', '', 0, '', 0, 0, 0, 0)`},
		{"the hub took what it had to refuse", `INSERT INTO nonsense (task, what, taken, said, at) VALUES ('', 'nothing', 1, 'taken', 0)`},
		{"unbound twice", `INSERT INTO actions (task, binding, what, at) SELECT task, binding, what, at FROM actions WHERE what = 'unbound'`},
		{"removed twice", `INSERT INTO actions (task, what, reason, at) VALUES ('t', 'removed', 'm', 0), ('t', 'removed', 'm', 0)`},
		{"no task says so", `UPDATE bindings SET detached_by = 'nobody'`},
		{"nothing was done", `DELETE FROM actions`},
		{"the answer denies it", `UPDATE tasks SET outcome = 'not_bound'`},
		{"after the task had been ended", `INSERT INTO actions (no, task, what, at) SELECT 0, id, 'closed', 0 FROM tasks`},
		{"still is a key", `UPDATE bindings SET is_recovery = 1`},
		{"goes on", `UPDATE sessions SET ended_at = NULL, ended_by = NULL`},
		{"older than the tenure", `UPDATE sessions SET ended_by = (SELECT id FROM tasks)`},
		{"could be told and was not", `DELETE FROM notices`},
		{"no way back", `UPDATE bindings SET restore_token = NULL`},
		{"before the hold was over", `UPDATE verdicts SET stopped_at = acted_at - 1`},
		{"for a task that has ended", `UPDATE bindings SET stopped_by = (SELECT id FROM tasks)`},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := office{t: t, dir: t.TempDir(), spec: o.spec, hold: o.hold, hub: o.hub}
			o.must(os.WriteFile(filepath.Join(o.dir, o.spec.ID+".db"), worked, 0o600))
			o.start()
			o.exec(c.text)
			found, err := o.Findings(t.Context())
			o.must(err)
			if !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.What, c.what) }) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestAnAppOpensItsFileWhenItIsUsed(t *testing.T) {
	a, err := Open(t.TempDir(), catalogue.App{ID: "shut"}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || a.db != nil {
		t.Errorf("closing what was not opened: %v", err)
	}
	if _, err := a.Rows(t.Context()); err != nil || a.db == nil {
		t.Errorf("first use: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if found, err := a.Findings(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("use after closing: %v, %v", found, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
