package core_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// client gives a party's client as the token endpoint knows it.
func (w *world) client(party string, scopes ...huanxin.Scope) *huanxin.Client {
	w.Helper()
	who := w.as(party, scopes...)
	return &huanxin.Client{ID: who.Client, Party: *who.Party, Scopes: who.Scopes}
}

// bind gives what a token of the app chat is bound to at cmcc's word.
func (w *world) bind(carrier string, n int) (sealed []byte, err error) {
	return w.BindToken(context.Background(), w.client(carrier), auth.Vouched{Number: number(n), Client: "chat-1", TokenID: "jti", Purpose: "dpv:X"})
}

// boundCaller is chat with a token that is bound to number n.
func (w *world) boundCaller(n int) huanxin.Caller {
	w.Helper()
	sealed, err := w.bind("cmcc", n)
	must(w, err)
	who := w.as("chat", huanxin.ScopeNumberRecycling)
	who.Bound, err = w.OpenBound(sealed, "chat-1", "jti")
	must(w, err)
	return who
}

func (w *world) begins(who huanxin.Caller) (*core.Checks, error) {
	return w.BeginChecks(context.Background(), who, huanxin.ScopeNumberRecycling)
}

func TestATokenIsBoundAtTheServingCarriersWordAlone(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)),
			activated("2", 2, huanxin.ActivatedFirst, ago(900*dayLong)), line("2b", 2, huanxin.Disconnected, ago(dayLong)))
		if _, err := w.bind("cmcc", 1); err != nil {
			t.Fatal(err)
		}
		e := w.recorded()
		if e.Action != "token.bind" || e.Refused != "" || e.Subject != "chat-1" || e.Client != "cmcc-1" || e.Party != w.Party("cmcc").No ||
			!strings.Contains(e.Detail, `"purpose":"dpv:X"`) || !strings.Contains(e.Detail, `"tenure":"ten_`) {
			t.Errorf("recorded %+v", e)
		}
		for what, c := range map[string]struct {
			carrier string
			n       int
		}{"another's number": {"cucc", 1}, "a number that nobody holds": {"cmcc", 2}, "a number never seen": {"cmcc", 3}} {
			sealed, err := w.bind(c.carrier, c.n)
			w.refused(err, "not_serving", "")
			if e := w.recorded(); sealed != nil || e.Action != "token.bind" || e.Refused != "not_serving" || e.Subject != "chat-1" || e.Client != c.carrier+"-1" {
				t.Errorf("%s: sealed %x, recorded %+v", what, sealed, e)
			}
		}
		for _, e := range w.audit(1) {
			if s := e.Subject + e.Detail; strings.Contains(s, "3800000001") {
				t.Errorf("%s: %s", e.Action, s)
			}
		}
	})
}

func TestWhatIsSealedForOneTokenOpensForNoOther(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)))
	sealed, err := w.bind("cmcc", 1)
	must(t, err)
	b, err := w.OpenBound(sealed, "chat-1", "jti")
	if err != nil || b.Number != number(1) || b.Carrier != w.Party("cmcc").No || b.Tenure != w.standing(1).Tenure {
		t.Errorf("%+v %v", b, err)
	}
	again, err := w.bind("cmcc", 1)
	must(t, err)
	if string(again) == string(sealed) || len(again) != len(sealed) {
		t.Error("the same number is sealed to the same text, so that it can be recognised")
	}
	for what, err := range map[string]error{
		"another client's":   second(w.OpenBound(sealed, "game-1", "jti")),
		"another token's":    second(w.OpenBound(sealed, "chat-1", "other")),
		"a shifted boundary": second(w.OpenBound(sealed, "chat-1\njti", "")),
		"damaged":            second(w.OpenBound(sealed[1:], "chat-1", "jti")),
		"empty":              second(w.OpenBound(nil, "chat-1", "jti")),
		"a signing key":      second(w.OpenBound(w.keys.SealBytes([]byte("x"), []byte("bound token\nchat-1\njti")), "chat-1", "jti")),
		"a sealed number":    second(w.OpenBound(w.keys.Seal(number(1), []byte("bound token\nchat-1\njti")), "chat-1", "jti")),
	} {
		if err == nil {
			t.Errorf("%s opens", what)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestABoundCallerChecksItsOwnNumberAsLongAsItIsInTheSameHands(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)), activated("2", 2, huanxin.ActivatedFirst, ago(900*dayLong)))
		who := w.boundCaller(1)
		c, err := w.begins(who)
		must(t, err)
		out := make([]core.Checked, 2)
		must(t, c.Answer(t.Context(), []core.Check{{Number: number(1), Since: on(ago(10 * dayLong))}}, out[:1]))
		if out[0].Outcome != huanxin.Unchanged {
			t.Errorf("%+v", out[0])
		}
		err = c.Answer(t.Context(), []core.Check{{Number: number(1), Since: on(time.Now())}, {Number: number(2), Since: on(time.Now())}}, out)
		w.refused(err, "insufficient_scope", "")
		_, err = w.BeginChecks(t.Context(), w.withScopes(who), huanxin.ScopeNumbersCheck)
		w.refused(err, "insufficient_scope", "numbers.check")

		w.accepts("cucc", line("p", 1, huanxin.Ported, ago(3*time.Hour)))
		_, err = w.begins(who)
		w.refused(err, "invalid_token", "")
		w.accepts("cmcc", line("back", 1, huanxin.Ported, ago(2*time.Hour)))
		_, err = w.begins(who)
		must(t, err)
		w.accepts("cmcc", line("t", 1, huanxin.Transferred, ago(time.Hour)))
		_, err = w.begins(who)
		w.refused(err, "invalid_token", "")

		who = w.boundCaller(2)
		must(t, w.DisableParty(t.Context(), core.Operator(), "cmcc", true))
		_, err = w.begins(who)
		w.refused(err, "invalid_token", "")
	})
}

// withScopes gives the same caller with all scopes of its kind, as if a token were minted wrongly.
func (w *world) withScopes(who huanxin.Caller) huanxin.Caller {
	who.Scopes = huanxin.ScopesOf(who.Party.Kind)
	return who
}
