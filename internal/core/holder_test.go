package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// signedIn is what cmcc says of the holder of a number that reassigned began.
func signedIn(in core.NewRequest) core.SignedIn {
	return core.SignedIn{Carrier: "cmcc", Number: in.Number, StartedAt: in.StartedAt, Origin: in.Origin,
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, VerifiedAt: time.Now()}}
}

// identified is signedIn with an identity factor.
func identified(in core.NewRequest) core.SignedIn {
	out := signedIn(in)
	out.Proof.Identity, out.IdentityAt = huanxin.IdentityIDCard, time.Now()
	return out
}

func (w *world) signIn(in core.SignedIn) core.HolderSession {
	w.Helper()
	s, err := w.SignIn(context.Background(), "r", in)
	must(w, err)
	return s
}

// opens gives who a token opens the pages for.
func (w *world) opens(token string) core.HolderSession {
	w.Helper()
	s, err := w.HolderSession(context.Background(), "r", token)
	must(w, err)
	return s
}

func (w *world) shut(token, code string) {
	w.Helper()
	if _, err := w.HolderSession(context.Background(), "r", token); huanxin.CodeOf(err) != code {
		w.Errorf("wanted %s, got %v", code, err)
	}
}

func (w *world) drafts(who huanxin.Caller, apps ...string) core.Draft {
	w.Helper()
	d, err := w.MakeDraft(context.Background(), who, core.NewDraft{Apps: apps, All: len(apps) == 0, Kinds: []huanxin.TaskKind{huanxin.Unbind}})
	must(w, err)
	return d
}

func TestAHolderSignsInChoosesAgreesProvesAndHasOneRequest(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		in := w.reassigned(1)
		who := w.signIn(signedIn(in)).Caller
		d := w.drafts(who, "chat", "pay")
		if d.Tasks != 2 || len(d.Apps) != 2 || d.Consented || d.Request != "" {
			t.Errorf("%+v", d)
		}
		_, err := w.Submit(ctx, who, d.ID)
		w.refused(err, "consent_missing", "")
		_, err = w.Consent(ctx, who, d.ID, "v1")
		must(t, err)
		_, err = w.Submit(ctx, who, d.ID)
		w.refused(err, "ineligible", "identity_missing")
		up, err := w.StepUp(ctx, who, identified(in))
		must(t, err)
		who = w.opens(up.Token).Caller
		ids := map[string]bool{}
		for range 3 { // pressed twice, two tabs, loaded again
			id, err := w.Submit(ctx, who, d.ID)
			must(t, err)
			ids[id] = true
		}
		all, err := w.HolderRequests(ctx, who)
		must(t, err)
		if len(ids) != 1 || len(all) != 1 || !ids[all[0].ID] || len(all[0].Tasks) != 2 {
			t.Errorf("%v %+v", ids, all)
		}
		if k := w.task("chat"); k.Number != in.Number {
			t.Error("the app was asked about another number")
		}
		// The carrier sees the same request, and rule 13 holds for both ways.
		if v := w.request("cmcc", all[0].ID); len(v.Tasks) != 2 {
			t.Errorf("%+v", v)
		}
		_, err = w.MakeDraft(ctx, who, core.NewDraft{Apps: []string{"game"}, Kinds: []huanxin.TaskKind{huanxin.Unbind}})
		w.refused(err, "ineligible", "too_many")
	})
}

func TestTwoTabsThatSubmitAtOnceMakeOneRequest(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1)
		who := w.signIn(identified(in)).Caller
		d := w.drafts(who)
		_, err := w.Consent(t.Context(), who, d.ID, "v1")
		must(t, err)
		var tabs sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			tabs.Go(func() {
				id, err := w.Submit(context.Background(), who, d.ID)
				if err != nil {
					t.Error(err)
				}
				ids[i] = id
			})
		}
		tabs.Wait()
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 1 {
			t.Errorf("%v", ids)
		}
	})
}

func TestWhatAHolderCannotAskForIsToldBeforeTheyProveAnything(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		at := ago(48 * time.Hour)
		w.accepts("cmcc", activated("first", 1, huanxin.ActivatedFirst, at))
		who := w.signIn(signedIn(ask(1, at, huanxin.OriginFirst))).Caller
		make := func(n core.NewDraft) error {
			_, err := w.MakeDraft(t.Context(), who, n)
			return err
		}
		unbind := []huanxin.TaskKind{huanxin.Unbind}
		w.refused(make(core.NewDraft{All: true, Kinds: unbind}), "ineligible", "first_use")
		must(t, make(core.NewDraft{All: true, Kinds: []huanxin.TaskKind{huanxin.ClearLabel}}))
		if err := make(core.NewDraft{Kinds: unbind}); huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("no app: %v", err)
		}
		other := w.signIn(signedIn(w.reassigned(2))).Caller
		for app, code := range map[string]string{"nobody": "unknown_app", "off": "unknown_app"} {
			_, err := w.MakeDraft(t.Context(), other, core.NewDraft{Apps: []string{app}, Kinds: unbind})
			w.refused(err, code, "")
		}
	})
}

func TestOnlyACarrierThatServesTheNumberLetsItsHolderIn(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1)
		for reason, change := range map[string]func(*core.SignedIn){
			"not_in_use":              func(s *core.SignedIn) { s.Carrier = "cucc" },
			"tenure_mismatch":         func(s *core.SignedIn) { s.StartedAt = s.StartedAt.Add(time.Hour) },
			"number_kind_unsupported": func(s *core.SignedIn) { s.Number = huanxin.NumberOf(8613490000001) },
		} {
			s := signedIn(in)
			change(&s)
			_, err := w.SignIn(t.Context(), "r", s)
			w.refused(err, "ineligible", reason)
			w.sequence()
			if e := w.recorded(); e.Refused != "ineligible" {
				t.Errorf("%s is not recorded: %+v", reason, e)
			}
		}
		s := signedIn(in)
		s.Proof.VerifiedAt = in.StartedAt.Add(-time.Minute) // whoever proved it then is the holder before
		_, err := w.SignIn(t.Context(), "r", s)
		w.refused(err, "ineligible", "proof_stale")
		_, err = w.StepUp(t.Context(), w.signIn(signedIn(in)).Caller, s)
		w.refused(err, "ineligible", "proof_stale")
		s = signedIn(in)
		s.Carrier = "chat"
		_, err = w.SignIn(t.Context(), "r", s)
		w.refused(err, "unknown_carrier", "")
	})
}

func TestASessionAndWhatItsHolderSeesEndWithTheTenure(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1)
		s := w.signIn(identified(in))
		d := w.drafts(s.Caller, "chat")
		_, err := w.Consent(t.Context(), s.Caller, d.ID, "v1")
		must(t, err)
		id, err := w.Submit(t.Context(), s.Caller, d.ID)
		must(t, err)
		at := ago(time.Hour)
		w.accepts("cmcc", line("over", 1, huanxin.Transferred, at))
		w.shut(s.Token, "tenure_ended")
		w.shut(s.Token, "no_session")
		// Who looked at the session a moment before cannot act any more either.
		_, err = w.Certify(t.Context(), s.Caller, huanxin.CertificatePrecision{Since: huanxin.CertifyDay})
		w.refused(err, "tenure_ended", "")
		next := ask(1, at, huanxin.OriginTransferred)
		who := w.signIn(signedIn(next)).Caller
		all, err := w.HolderRequests(t.Context(), who)
		must(t, err)
		if len(all) != 0 {
			t.Errorf("the next holder sees %+v", all)
		}
		_, err = w.HolderRequest(t.Context(), who, id)
		w.refused(err, "not_found", "")
		_, err = w.Draft(t.Context(), who, d.ID)
		w.refused(err, "not_found", "")
		_, err = w.CancelRequest(t.Context(), who, id)
		w.refused(err, "not_found", "")
	})
}

func TestASessionIsTurnedAndAStolenTokenEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqliteFile(t))
		in := w.reassigned(1)
		first := w.signIn(signedIn(in)).Token
		w.opens(first)
		time.Sleep(6 * time.Minute)
		second := w.opens(first).Token
		if second == "" || second == first {
			t.Fatalf("no new token after six minutes")
		}
		if s := w.opens(first); s.Token != "" {
			t.Error("another tab gets a third token at once")
		}
		if s := w.opens(second); s.Token != "" {
			t.Error("the new token is replaced at once")
		}
		time.Sleep(20 * time.Second)
		w.opens(first) // a tab that was under way
		time.Sleep(11 * time.Second)
		w.shut(first, "session_ended") // somebody kept it
		w.shut(second, "no_session")

		third := w.signIn(signedIn(in)).Token
		time.Sleep(15*time.Minute + time.Second)
		w.shut(third, "session_ended")
		fourth := w.signIn(signedIn(in)).Token
		for range 13 {
			time.Sleep(9 * time.Minute)
			if s := w.opens(fourth); s.Token != "" {
				fourth = s.Token
			}
		}
		time.Sleep(4 * time.Minute)
		w.shut(fourth, "session_ended") // two hours
	})
}

// The thief is the busy one: by the time the holder comes back, their token was replaced twice. It must end the thief's session all the same.
func TestAStolenSessionEndsWhenItsHolderComesBackHoweverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqliteFile(t))
		holders := w.signIn(signedIn(w.reassigned(1))).Token
		thiefs := holders
		for range 3 {
			time.Sleep(6 * time.Minute)
			if s := w.opens(thiefs); s.Token != "" {
				thiefs = s.Token
			}
			w.opens(thiefs)
		}
		w.shut(holders, "session_ended")
		w.shut(thiefs, "no_session")
	})
}

func TestSigningOutEndsOneSessionOrAllOfTheTenure(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1)
		a, b, c := w.signIn(signedIn(in)), w.signIn(signedIn(in)), w.signIn(signedIn(in))
		other := w.signIn(signedIn(w.reassigned(2)))
		must(t, w.SignOut(t.Context(), a.Caller, false))
		w.shut(a.Token, "no_session")
		w.opens(b.Token)
		must(t, w.SignOut(t.Context(), b.Caller, true))
		w.shut(b.Token, "no_session")
		w.shut(c.Token, "no_session")
		w.opens(other.Token)
	})
}

func TestAnotherNumberCannotStandBehindASession(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		one, two := w.reassigned(1), w.reassigned(2)
		s := w.signIn(signedIn(one))
		_, err := w.StepUp(t.Context(), s.Caller, identified(two))
		w.refused(err, "other_number", "")
		if who := w.opens(s.Token).Caller.Holder; who.Number != one.Number || who.Proof.Identity != 0 {
			t.Errorf("%+v", who.Proof)
		}
		up, err := w.StepUp(t.Context(), s.Caller, identified(one))
		must(t, err)
		if w.opens(up.Token).Caller.Holder.Proof.Identity != huanxin.IdentityIDCard {
			t.Error("the identity factor is not there")
		}
	})
}

func TestAfterFiveFailedIdentityChecksThereIsNoSixthThatDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqliteFile(t))
		in := w.reassigned(1)
		who := w.signIn(signedIn(in)).Caller
		for range 5 {
			must(t, w.BeginIdentityCheck(t.Context(), who))
			time.Sleep(time.Minute)
		}
		again := w.signIn(signedIn(in)).Caller // signing in anew does not help
		err := w.BeginIdentityCheck(t.Context(), again)
		var e *huanxin.Error
		if !errors.As(err, &e) || e.Code != "too_many_checks" || e.RetryAfter < 23*time.Hour || e.RetryAfter > 24*time.Hour {
			t.Errorf("%v", err)
		}
		must(t, w.BeginIdentityCheck(t.Context(), w.signIn(signedIn(w.reassigned(2))).Caller))
		time.Sleep(24 * time.Hour)
		must(t, w.BeginIdentityCheck(t.Context(), again))
	})
}

// Who fails at the carrier need not come back, and may leave for it from many tabs at once.
func TestAnIdentityCheckCountsFromLeavingUntilItSucceeds(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1)
		s := w.signIn(signedIn(in))
		for range 8 { // those that succeed are not counted
			must(t, w.BeginIdentityCheck(t.Context(), s.Caller))
			_, err := w.StepUp(t.Context(), s.Caller, identified(in))
			must(t, err)
		}
		must(t, w.BeginIdentityCheck(t.Context(), s.Caller))
		_, err := w.StepUp(t.Context(), s.Caller, identified(w.reassigned(2)))
		w.refused(err, "other_number", "")
		_, err = w.StepUp(t.Context(), s.Caller, signedIn(in)) // control alone
		must(t, err)
		var tabs sync.WaitGroup
		left := make([]bool, 12)
		for i := range left {
			tabs.Go(func() {
				err := w.BeginIdentityCheck(context.Background(), s.Caller)
				if left[i] = err == nil; err != nil && huanxin.CodeOf(err) != "too_many_checks" {
					t.Error(err)
				}
			})
		}
		tabs.Wait()
		if n := strings.Count(fmt.Sprint(left), "true"); n != 4 {
			t.Errorf("with the one before %d leave", n+1)
		}
	})
}

func TestOneComplaintATaskThatAnAppDidNotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqliteFile(t))
		in := w.reassigned(1)
		who := w.signIn(identified(in)).Caller
		d := w.drafts(who, "chat", "game")
		_, err := w.Consent(t.Context(), who, d.ID, "v1")
		must(t, err)
		id, err := w.Submit(t.Context(), who, d.ID)
		must(t, err)
		w.answers("chat", w.task("chat"), huanxin.Kept, huanxin.LegalHold)
		w.answers("game", w.task("game"), huanxin.Unbound, huanxin.Removed)
		part := func(app string) core.RequestTask {
			v, err := w.HolderRequest(t.Context(), who, id)
			must(t, err)
			i := slices.IndexFunc(v.Tasks, func(k core.RequestTask) bool { return k.App.ID == app })
			return v.Tasks[i]
		}
		_, err = w.Complain(t.Context(), who, id, part("chat").ID)
		w.refused(err, "nothing_to_complain", "") // nothing is released yet
		time.Sleep(48 * time.Hour)
		first, err := w.Complain(t.Context(), who, id, part("chat").ID)
		must(t, err)
		second, err := w.Complain(t.Context(), who, id, part("chat").ID)
		must(t, err)
		if first != second || !part("chat").Complained || !part("chat").Again {
			t.Errorf("%s %s %+v", first, second, part("chat"))
		}
		_, err = w.Complain(t.Context(), who, id, part("game").ID)
		w.refused(err, "nothing_to_complain", "")
		for caller, want := range map[string]int{"ops": 1, "miit": 1, "chat": 1, "game": 0} {
			all, err := w.Cases(t.Context(), w.as(caller), "", 10)
			must(t, err)
			if len(all) != want {
				t.Errorf("%s sees %+v", caller, all)
			}
		}
		_, err = w.Cases(t.Context(), w.as("cmcc"), "", 10)
		w.refused(err, "insufficient_scope", "cases.work")
	})
}

func TestAReportOfAFormerHolderIsTakenAlikeWhateverIsTrue(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.reassigned(1)
		for _, n := range []huanxin.Number{number(1), number(77)} { // one that changed hands, one that nobody ever had
			must(t, w.ReportFormerHolder(t.Context(), "r", huanxin.FormerReport{Number: n, Apps: []string{"chat"}, What: huanxin.FormerLockedOut}))
		}
		all, err := w.Cases(t.Context(), w.as("ops"), "", 10)
		must(t, err)
		if len(all) != 2 || all[0].Kind != "former_holder" || all[0].What != "locked_out" {
			t.Errorf("%+v", all)
		}
		if strings.Contains(fmt.Sprintf("%+v", all), "1380000") {
			t.Error("a number is listed")
		}
		for range 70 { // it says nothing when too many come
			must(t, w.ReportFormerHolder(t.Context(), "r", huanxin.FormerReport{Number: number(1), Apps: []string{"chat"}, What: huanxin.FormerUsed}))
		}
		for _, r := range []huanxin.FormerReport{{Number: number(1), Apps: []string{"chat", "pay"}, What: huanxin.FormerUsed}, {Number: number(2), Apps: []string{"chat"}, What: huanxin.FormerUsed}} {
			must(t, w.ReportFormerHolder(t.Context(), "r", r)) // nobody's is crowded out
		}
		all, err = w.Cases(t.Context(), w.as("ops"), "", 1000)
		must(t, err)
		kept := map[string]int{}
		for _, c := range all {
			kept[c.App]++
		}
		if kept["chat"] != 3+1+1 || kept["pay"] != 1 {
			t.Errorf("%v are kept", kept)
		}
	})
}

func TestAnAppThatTakesNoPartYetIsListedAndWantedAndNeverAsked(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		must(t, w.PutParty(t.Context(), core.Operator(), huanxin.Party{ID: "later", Kind: huanxin.AppParty, Class: "social", NameZh: "l", NameEn: "l", NotJoined: true}, false))
		one, two := w.signIn(signedIn(w.reassigned(1))).Caller, w.signIn(signedIn(w.reassigned(2))).Caller
		for range 2 {
			must(t, w.Want(t.Context(), one, "later"))
		}
		must(t, w.Want(t.Context(), two, "later"))
		if err := w.Want(t.Context(), two, "chat"); huanxin.KindOf(err) != huanxin.NotFound {
			t.Errorf("%v", err)
		}
		apps, err := w.HolderApps(t.Context(), one)
		must(t, err)
		i := slices.IndexFunc(apps, func(a core.HolderApp) bool { return a.App.ID == "later" })
		if i < 0 || apps[i].Wanted != 2 || !apps[i].WantedByMe {
			t.Errorf("%+v", apps)
		}
		_, err = w.MakeDraft(t.Context(), one, core.NewDraft{Apps: []string{"later"}, Kinds: []huanxin.TaskKind{huanxin.Unbind}})
		var e *huanxin.Error
		if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Code != "not_joined" {
			t.Errorf("%v", err)
		}
		if d := w.drafts(one); d.Tasks != 3 { // chat, game, pay
			t.Errorf("all are %d", d.Tasks)
		}
	})
}

func TestAHolderIsNoPartyAndAPartyNoHolder(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	who := w.signIn(signedIn(w.reassigned(1))).Caller
	for what, err := range map[string]error{
		"tasks":   func() error { _, err := w.Tasks(t.Context(), who, 0, "", 10); return err }(),
		"request": func() error { _, err := w.CreateRequest(t.Context(), who, core.NewRequest{}); return err }(),
		"party":   w.PutParty(t.Context(), who, huanxin.Party{}, false),
		"cases":   func() error { _, err := w.Cases(t.Context(), who, "", 10); return err }(),
	} {
		if err == nil || huanxin.KindOf(err) != huanxin.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, party := range []string{"cmcc", "chat", "ops"} {
		_, err := w.MakeDraft(t.Context(), w.as(party), core.NewDraft{All: true})
		if huanxin.KindOf(err) != huanxin.Unauthenticated {
			t.Errorf("%s: %v", party, err)
		}
	}
}

func TestNoNumberOfAHolderIsKeptInTheClear(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	in := w.reassigned(1)
	s := w.signIn(identified(in))
	w.drafts(s.Caller, "chat")
	must(t, w.ReportFormerHolder(t.Context(), "r", huanxin.FormerReport{Number: in.Number, Apps: []string{"chat"}, What: huanxin.FormerUsed}))
	must(t, w.store.Read(t.Context(), func(tx *store.Tx) error {
		row, found, err := tx.LockSession(s.Caller.Holder.Session)
		if err != nil || !found || strings.Contains(fmt.Sprintf("%s %q", row.Sealed, row.Sealed), "3800000001") || string(row.Token) == s.Token {
			t.Errorf("%+v", row)
		}
		cases, err := tx.Cases(0, 0, 10)
		if len(cases) != 1 || strings.Contains(string(cases[0].Sealed), "3800000001") {
			t.Errorf("%+v", cases)
		}
		return err
	}))
	if _, ok := w.keys.ParseID(seal.DraftID, w.drafts(s.Caller, "game").ID); !ok {
		t.Error("a draft's id is no id")
	}
}
