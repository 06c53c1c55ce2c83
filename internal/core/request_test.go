package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func appsOf(c core.Created) []string {
	var out []string
	for _, k := range c.Tasks {
		out = append(out, k.App+" "+k.Kind.String())
	}
	slices.Sort(out)
	return out
}

func TestARequestBecomesATaskAtEachAppThatServesIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		both := []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel, huanxin.Unbind} // one of them twice
		for i, c := range []struct {
			name  string
			apps  []string
			kinds []huanxin.TaskKind
			want  []string
		}{
			{"all for one kind", nil, both[:1], []string{"chat unbind", "game unbind", "pay unbind"}},
			{"all for two kinds", nil, both, []string{"chat clear_label", "chat unbind", "game unbind", "label clear_label", "pay unbind"}},
			{"named", []string{"pay", "chat"}, both[:1], []string{"chat unbind", "pay unbind"}},
			{"named for two kinds", []string{"chat", "label"}, both, []string{"chat clear_label", "chat unbind", "label clear_label"}},
		} {
			in := w.reassigned(i, c.apps...)
			in.Kinds = c.kinds
			got := w.creates(in)
			if !slices.Equal(appsOf(got), c.want) {
				t.Errorf("%s: %v", c.name, appsOf(got))
			}
			if got.State != huanxin.RequestSubmitted || got.DueAt.Before(time.Now().Add(5*dayLong)) || got.TenureID == "" {
				t.Errorf("%s: %+v", c.name, got)
			}
			v := w.request("cmcc", got.ID)
			if v.State != huanxin.RequestSubmitted || len(v.Tasks) != len(c.want) || view(v, got.Tasks[0].App) != huanxin.ViewProcessing {
				t.Errorf("%s: shows as %+v", c.name, v)
			}
		}
	})
}

func TestAWrongAppIsNamedAndNothingIsMade(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat", "nobody", "off", "cmcc", "game", "chat", "label")
		_, err := w.CreateRequest(t.Context(), w.as("cmcc"), in)
		w.refused(err, "unknown_app", "")
		want := map[string]string{"apps[1]": "unknown_app", "apps[2]": "unknown_app", "apps[3]": "unknown_app", "apps[5]": "duplicate", "apps[6]": "kind_not_served"}
		var e *huanxin.Error
		if !errors.As(err, &e) || len(e.Fields) != len(want) {
			t.Fatalf("%v", err)
		}
		for _, f := range e.Fields {
			if want[f.Field] != f.Code {
				t.Errorf("%s is %s", f.Field, f.Code)
			}
		}
		if got := w.recorded(); got.Refused != "unknown_app" {
			t.Errorf("recorded as %+v", got)
		}
		if len(w.tasks("chat")) != 0 {
			t.Error("a task was made")
		}
		in.Apps = []string{"chat"}
		w.creates(in) // the refused one does not count
		none := w.reassigned(2, "chat")
		none.Kinds = nil
		if _, err := w.CreateRequest(t.Context(), w.as("cmcc"), none); huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("without kinds: %v", err)
		}
	})
}

func TestANumberIsEligibleByRules11To13(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(30 * dayLong)
		old := at.Add(-500 * dayLong)
		w.accepts("cmcc", activated("1", 1, huanxin.ActivatedReassigned, at), activated("2", 2, huanxin.ActivatedFirst, at),
			activated("3", 3, huanxin.ActivatedUnknown, at), activated("4", 4, huanxin.ActivatedReassigned, old), line("4t", 4, huanxin.Transferred, at),
			activated("5", 5, huanxin.ActivatedReassigned, at), line("5s", 5, huanxin.Suspended, at.Add(time.Hour)),
			activated("6", 6, huanxin.ActivatedReassigned, at), line("6d", 6, huanxin.Disconnected, at.Add(time.Hour)),
			activated("8", 8, huanxin.ActivatedReassigned, at), line("8d", 8, huanxin.Disconnected, at.Add(time.Hour)),
			line("8r", 8, huanxin.Reinstated, at.Add(2*time.Hour)))
		w.accepts("cucc", activated("7", 7, huanxin.ActivatedReassigned, at))
		re, tr, un, fi := huanxin.OriginReassigned, huanxin.OriginTransferred, huanxin.OriginUnknown, huanxin.OriginFirst
		for i, c := range []struct {
			name   string
			in     core.NewRequest
			change func(*core.NewRequest)
			want   string
		}{
			{"never seen", ask(50, at, re), nil, "not_in_use"},
			{"suspended", ask(5, at, re), nil, "not_in_use"},
			{"disconnected", ask(6, at, re), nil, "not_in_use"},
			{"another carrier's", ask(7, at, re), nil, "not_in_use"},
			{"of a kind not served", ask(1, at, re), func(r *core.NewRequest) { r.Number = huanxin.NumberOf(861064912345678) }, "number_kind_unsupported"},
			{"another start", ask(1, at.Add(time.Second), re), nil, "tenure_mismatch"},
			{"another origin", ask(1, at, fi), nil, "tenure_mismatch"},
			{"the former tenure", ask(4, old, re), nil, "tenure_mismatch"},
			{"of unknown start, too early", ask(1, at.Add(-dayLong), un), nil, "tenure_mismatch"},
			{"first use", ask(2, at, fi), nil, "first_use"},
			{"no identity", ask(1, at, re), func(r *core.NewRequest) { r.Proof.Identity = 0 }, "identity_missing"},
			{"no control", ask(1, at, re), func(r *core.NewRequest) { r.Proof.Control = 0 }, "proof_stale"},
			{"old proof", ask(1, at, re), func(r *core.NewRequest) { r.Proof.VerifiedAt = ago(11 * time.Minute) }, "proof_stale"},
			{"proof from the future", ask(1, at, re), func(r *core.NewRequest) { r.Proof.VerifiedAt = ago(-6 * time.Minute) }, "proof_stale"},
			{"all after a transfer", ask(4, at, tr), nil, "choose_apps"},
			{"all for an unknown start", ask(3, at, un), nil, "choose_apps"},
			{"named after a transfer", ask(4, at, tr, "chat"), nil, ""},
			{"named for an unknown start", ask(3, at.Add(dayLong), un, "chat"), nil, ""},
			{"first use, but not to unbind", ask(2, at, fi, "label"), func(r *core.NewRequest) { r.Kinds = []huanxin.TaskKind{huanxin.ClearLabel} }, ""},
			{"of unknown start, by who reported it", ask(1, at.Add(time.Hour), un, "chat"), nil, "tenure_mismatch"},
			{"named", ask(1, at, re, "chat"), nil, ""},
			{"reinstated", ask(8, at, re, "chat"), nil, ""},
			{"a second one in a day", ask(1, at, re, "game"), nil, "too_many"},
		} {
			if c.change != nil {
				c.change(&c.in)
			}
			_, err := w.CreateRequest(t.Context(), w.as("cmcc"), c.in)
			if c.want == "" {
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				continue
			}
			var e *huanxin.Error
			if !errors.As(err, &e) || e.Code != "ineligible" || e.Reason != c.want {
				t.Errorf("%s: %v", c.name, err)
			}
			if i%5 == 0 && w.recorded().Refused != "ineligible" {
				t.Errorf("%s: not recorded", c.name)
			}
		}
	})
}

func TestATimeMoreExactThanTheStoreIsTheTenuresAllTheSame(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	at := ago(30 * dayLong).Add(123456789)
	w.accepts("cmcc", activated("1", 1, huanxin.ActivatedReassigned, at))
	w.creates(ask(1, at, huanxin.OriginReassigned, "chat"))
}

func TestTheSameKeyGivesTheSameAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat", "game")
		in.Once = core.Once{Key: "k1", Body: []byte("POST /v1/requests a")}
		first := w.creates(in)
		k := w.task("chat")
		w.answers("chat", k, huanxin.Unbound, huanxin.Removed)
		_, err := w.CancelRequest(t.Context(), w.as("cmcc"), first.ID)
		must(t, err)
		if again := w.creates(in); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("first %+v, then %+v", first, again)
		}
		other := in
		other.Once.Body = []byte("POST /v1/requests b")
		_, err = w.CreateRequest(t.Context(), w.as("cmcc"), other)
		w.refused(err, "idempotency_conflict", "")
		_, err = w.CreateRequest(t.Context(), w.as("cucc"), other) // another client's key
		w.refused(err, "ineligible", "not_in_use")

		refusedOne := w.reassigned(2, "chat")
		refusedOne.Proof.Identity = 0
		refusedOne.Once = core.Once{Key: "k2", Body: []byte("c")}
		for range 2 {
			_, err = w.CreateRequest(t.Context(), w.as("cmcc"), refusedOne)
			w.refused(err, "ineligible", "identity_missing")
			refusedOne.Proof.Identity = huanxin.IdentityCRM // compared before the rules are asked
		}
		for i, key := range []string{"a b", "ключ", string(make([]byte, 3)), fmt.Sprintf("%0129d", 1)} {
			bad := w.reassigned(3+i, "chat")
			bad.Once = core.Once{Key: key, Body: []byte("x")}
			if _, err := w.CreateRequest(t.Context(), w.as("cmcc"), bad); huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("the key %q: %v", key, err)
			}
		}
	})
}

func TestOneKeyAtOnceMakesOneRequest(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		hubs := []*world{w, newHub(t, w.store, w.keys), newHub(t, w.store, w.keys)} // several hubs on one database
		in := w.reassigned(1, "chat")
		in.Once = core.Once{Key: "k", Body: []byte("a")}
		who := w.as("cmcc")
		var wg sync.WaitGroup
		var lock sync.Mutex
		ids := map[string]int{}
		for i := range 12 {
			wg.Go(func() {
				out, err := hubs[i%3].CreateRequest(context.Background(), who, in)
				lock.Lock()
				defer lock.Unlock()
				switch {
				case err == nil:
					ids[out.ID]++
				case huanxin.CodeOf(err) != "in_flight":
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 {
			t.Errorf("answers: %v", ids)
		}
		if len(w.tasks("chat")) != 1 {
			t.Error("not one task")
		}
	})
}

func TestTwoRequestsAtOnceForOneNumberAreOne(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat")
		who := w.as("cmcc")
		var wg sync.WaitGroup
		codes := make([]string, 6)
		for i := range codes {
			wg.Go(func() {
				_, err := w.CreateRequest(context.Background(), who, in)
				if err != nil {
					codes[i] = huanxin.CodeOf(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(codes)
		if codes[0] != "" || codes[1] != "ineligible" || codes[5] != "ineligible" {
			t.Error(codes)
		}
	})
}

func TestARequestIsReadByTheServingCarrierOnly(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		for _, id := range []string{c.ID + "x", "", "req_", c.Tasks[0].ID} {
			_, err := w.Request(t.Context(), w.as("cmcc"), id)
			w.refused(err, "not_found", "")
		}
		_, err := w.Request(t.Context(), w.as("cucc"), c.ID)
		w.refused(err, "not_found", "")
		_, err = w.CancelRequest(t.Context(), w.as("cucc"), c.ID)
		w.refused(err, "not_found", "")
		_, err = w.AskAgain(t.Context(), w.as("cucc"), c.ID, c.Tasks[0].ID, core.Once{})
		w.refused(err, "not_found", "")

		w.accepts("cucc", line("port", 1, huanxin.Ported, ago(time.Minute)))
		_, err = w.Request(t.Context(), w.as("cmcc"), c.ID)
		w.refused(err, "not_found", "")
		if v := w.request("cucc", c.ID); v.State != huanxin.RequestSubmitted || len(v.Tasks) != 1 {
			t.Errorf("%+v", v)
		}
		mine, err := w.FindRequests(t.Context(), w.as("cucc"), number(1))
		must(t, err)
		theirs, err := w.FindRequests(t.Context(), w.as("cmcc"), number(1))
		must(t, err)
		if len(mine) != 1 || len(theirs) != 0 {
			t.Errorf("found %d and %d", len(mine), len(theirs))
		}
		if w.task("chat").State != huanxin.TaskDelivered {
			t.Error("porting ended the task")
		}
		if _, err := w.CancelRequest(t.Context(), w.as("cucc"), c.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestTheEndOfATenureAbortsItsRequests(t *testing.T) {
	end := func(w *world, n int, kind huanxin.EventKind) {
		switch kind {
		case huanxin.Corrected:
			w.accepts("cmcc", corrected(fmt.Sprint("end-", n), n, fmt.Sprint("begin-", n), ago(time.Minute)))
		default:
			w.accepts("cmcc", line(fmt.Sprint("end-", n), n, kind, ago(time.Minute)))
		}
	}
	onEach(t, func(t *testing.T, w *world) {
		for i, kind := range []huanxin.EventKind{huanxin.Disconnected, huanxin.Transferred, huanxin.Corrected} {
			c := w.creates(w.reassigned(i, "chat", "game"))
			k := w.task("chat")
			w.answers("chat", k, huanxin.Unbound, huanxin.Removed) // not released yet
			open := w.task("game")
			end(w, i, kind)
			v := w.request("cmcc", c.ID)
			if v.State != huanxin.RequestAborted || view(v, "chat") != huanxin.ViewCancelled || view(v, "game") != huanxin.ViewCancelled {
				t.Errorf("%s: %+v", kind, v)
			}
			if len(w.tasks("game")) != 0 {
				t.Errorf("%s: the task is still listed", kind)
			}
			again, err := w.Task(t.Context(), w.as("game"), open.ID)
			if err != nil || again.State != huanxin.TaskAborted {
				t.Errorf("%s: %v %v", kind, again.State, err)
			}
			for range 2 { // recorded once, the same again
				_, err = w.Answer(t.Context(), w.as("game"), answerTo(open, huanxin.Unbound, huanxin.Removed))
				w.refused(err, "no_effect", "aborted")
			}
			_, err = w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
			w.refused(err, "request_ended", "")
			_, err = w.AskAgain(t.Context(), w.as("cmcc"), c.ID, open.ID, core.Once{})
			w.refused(err, "request_ended", "")
		}
	})
}

func TestAReinstatedNumberKeepsItsTenureAndEndedRequests(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat")
		w.accepts("cmcc", line("d", 1, huanxin.Disconnected, ago(time.Hour)), line("r", 1, huanxin.Reinstated, ago(time.Minute)))
		c := w.creates(in)
		w.accepts("cmcc", line("s", 1, huanxin.Suspended, ago(30*time.Second)), line("u", 1, huanxin.Resumed, ago(20*time.Second)))
		if v := w.request("cmcc", c.ID); v.State != huanxin.RequestSubmitted {
			t.Errorf("%+v", v)
		}
		// Disconnected and reinstated in one report end what is open as in two: how a report is cut makes no difference.
		w.accepts("cmcc", line("d2", 1, huanxin.Disconnected, ago(10*time.Second)), line("r2", 1, huanxin.Reinstated, ago(5*time.Second)))
		if v := w.request("cmcc", c.ID); v.State != huanxin.RequestAborted {
			t.Errorf("%+v", v)
		}
	})
}

func TestARequestFollowsItsNumberHoweverAReportIsCut(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for i, cut := range []bool{false, true} {
			n := i + 1
			c := w.creates(w.reassigned(n, "chat"))
			ported := activated(fmt.Sprint("p", n), n, huanxin.ActivatedPortedIn, ago(time.Minute))
			ended := line(fmt.Sprint("d", n), n, huanxin.Disconnected, ago(30*time.Second))
			if cut {
				w.accepts("cucc", ported)
				w.accepts("cucc", ended)
			} else {
				w.accepts("cucc", ported, ended)
			}
			if v := w.request("cucc", c.ID); v.State != huanxin.RequestAborted {
				t.Errorf("cut %v: the new carrier reads %s", cut, v.State)
			}
			_, err := w.Request(t.Context(), w.as("cmcc"), c.ID)
			w.refused(err, "not_found", "")
		}
	})
}

func TestCancellingEndsWhatIsOpenAndIsHarmlessAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat", "game"))
		k := w.task("chat")
		for range 2 {
			v, err := w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
			if err != nil || v.State != huanxin.RequestCancelled || view(v, "game") != huanxin.ViewCancelled {
				t.Errorf("%v %+v", err, v)
			}
		}
		if len(w.tasks("game")) != 0 {
			t.Error("a cancelled task is listed")
		}
		_, err := w.Answer(t.Context(), w.as("chat"), answerTo(k, huanxin.NotBound, huanxin.NoneFound))
		w.refused(err, "no_effect", "cancelled")
		_, err = w.AskAgain(t.Context(), w.as("cmcc"), c.ID, k.ID, core.Once{})
		w.refused(err, "request_ended", "")
	})
}
