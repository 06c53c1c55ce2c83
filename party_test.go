package huanxin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

func TestHighValueIsTheClassesOfSectionSix(t *testing.T) {
	// "High-value classes (payment, lending, cloud storage, mail, messaging, government)"
	for class, want := range map[string]bool{"payment": true, "lending": true, "cloud_storage": true, "mail": true, "messaging": true,
		"government": true, "": false, "game": false, "Payment": false, "shopping": false} {
		if got := (&huanxin.Party{Class: class}).HighValue(); got != want {
			t.Errorf("%q: %v", class, got)
		}
	}
}

func TestAnAppDeclaresWhichKindsItServes(t *testing.T) {
	app := huanxin.Party{Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel}}
	if !app.Serves(huanxin.Unbind) || !app.Serves(huanxin.ClearLabel) || app.Serves(huanxin.StopContact) || app.Serves(0) {
		t.Error("an app serves what it declared")
	}
}

func TestACallerMayWhatItsPartyAndItsTokenAllow(t *testing.T) {
	carrier := &huanxin.Party{Kind: huanxin.CarrierParty}
	for _, c := range []struct {
		what  string
		who   huanxin.Caller
		kind  huanxin.PartyKind
		scope huanxin.Scope
		want  huanxin.ErrorKind
	}{
		{"nobody", huanxin.Caller{}, huanxin.CarrierParty, huanxin.ScopeNumbersReport, huanxin.Unauthenticated},
		{"nobody with scopes", huanxin.Caller{Scopes: huanxin.Scopes{huanxin.ScopeNumbersReport}}, huanxin.CarrierParty, huanxin.ScopeNumbersReport, huanxin.Unauthenticated},
		{"a token without the scope", huanxin.Caller{Party: carrier}, huanxin.CarrierParty, huanxin.ScopeNumbersReport, huanxin.Forbidden},
		{"the scope in the hands of another kind", huanxin.Caller{Party: carrier, Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}}, huanxin.AppParty, huanxin.ScopeTasksWork, huanxin.Forbidden},
		{"a longer word", huanxin.Caller{Party: carrier, Scopes: huanxin.Scopes{"numbers.report2"}}, huanxin.CarrierParty, huanxin.ScopeNumbersReport, huanxin.Forbidden},
	} {
		if err := c.who.May(c.kind, c.scope); huanxin.KindOf(err) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	who := huanxin.Caller{Party: carrier, Scopes: huanxin.ParseScopes("requests.read numbers.report")}
	if err := who.May(huanxin.CarrierParty, huanxin.ScopeNumbersReport); err != nil {
		t.Errorf("it may: %v", err)
	}
}

func TestScopesAreAListOfWords(t *testing.T) {
	got := huanxin.ParseScopes("  a b\ta  c ")
	if got.String() != "a b c" || !got.Has("b") || got.Has("") || len(huanxin.ParseScopes(" ")) != 0 {
		t.Errorf("%q", got.String())
	}
	// "Scopes: `numbers.report` … `admin`" (API.md), and each belongs to somebody.
	all := "numbers.report numbers.check number-recycling:check requests.create requests.read tasks.work lots.report lots.work " +
		"cases.work statistics.read ssf.read ssf.manage admin"
	for word := range strings.FieldsSeq(all) {
		held := 0
		for kind := huanxin.CarrierParty; kind <= huanxin.OperatorParty; kind++ {
			if huanxin.ScopesOf(kind).Has(huanxin.Scope(word)) {
				held++
			}
		}
		if held == 0 {
			t.Errorf("nobody may have %s", word)
		}
	}
	// What only one kind of party may do.
	for scope, only := range map[huanxin.Scope]huanxin.PartyKind{huanxin.ScopeNumbersReport: huanxin.CarrierParty, huanxin.ScopeRequestsCreate: huanxin.CarrierParty,
		huanxin.ScopeTasksWork: huanxin.AppParty, huanxin.ScopeAdmin: huanxin.OperatorParty} {
		for kind := huanxin.CarrierParty; kind <= huanxin.OperatorParty; kind++ {
			if huanxin.ScopesOf(kind).Has(scope) != (kind == only) {
				t.Errorf("%s of %v", scope, kind)
			}
		}
	}
}

func TestAnErrorSaysWhatIsWrongAndKeepsItsCause(t *testing.T) {
	cause := errors.New("disk on fire")
	e := &huanxin.Error{Kind: huanxin.Refused, Code: "ineligible", Reason: "proof_stale", Detail: "too old", Err: cause,
		Fields: []huanxin.FieldError{{Field: "proof.verified_at", Code: "stale", Detail: "too old"}, {Line: 12, Code: "bad", Detail: "no"}}}
	text := e.Error()
	if text != "ineligible (proof_stale): too old; proof.verified_at stale: too old; line 12 bad: no" {
		t.Errorf("%q", text)
	}
	if !errors.Is(e, cause) || strings.Contains(text, "fire") {
		t.Error("the cause is for the log only")
	}
	wrapped := fmt.Errorf("while writing: %w", e)
	if huanxin.KindOf(wrapped) != huanxin.Refused || huanxin.CodeOf(wrapped) != "ineligible" {
		t.Error("a wrapped refusal is one")
	}
	if huanxin.KindOf(cause) != huanxin.Internal || huanxin.CodeOf(cause) != "internal" || huanxin.KindOf(nil) != huanxin.Internal {
		t.Error("anything else is a fault of ours")
	}
	if f := huanxin.AppField(3, "unknown_app", "no"); f.Field != "apps[3]" || f.Code != "unknown_app" {
		t.Errorf("%+v", f)
	}
	if b := huanxin.BadField("at", "too_early", "no"); b.Kind != huanxin.Invalid || b.Code != "invalid" || len(b.Fields) != 1 || b.Fields[0].Field != "at" {
		t.Errorf("%+v", b)
	}
}
