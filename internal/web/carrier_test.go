package web_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/web"
	"github.com/prometheus/client_golang/prometheus"
)

// atCarrier is a stage whose carrier has an OpenID provider: whoever comes to it is who.
type atCarrier struct {
	*stage
	url   string
	who   huanxin.Caller
	asked url.Values // of the last way there
	at    time.Time  // when control was proved; zero: now
}

// withCarrier has holder 1 of a stage sign in at a provider. token is a session of theirs without an identity factor.
func withCarrier(t testing.TB) (c *atCarrier, token string) {
	t.Helper()
	c = &atCarrier{stage: newStage(t, "http://127.0.0.1:8080")}
	_, c.who = c.holder(1, huanxin.OriginReassigned)
	key := auth.NewSigningKey(time.Time{})
	mux := http.NewServeMux()
	op := httptest.NewServer(mux)
	t.Cleanup(op.Close)
	c.url = op.URL
	says := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		says(w, map[string]any{"issuer": op.URL, "authorization_endpoint": op.URL + "/authorize", "token_endpoint": op.URL + "/token", "jwks_uri": op.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		says(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Private.Public(), KeyID: key.KID, Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.Private, KeyID: key.KID}}, nil)
		if err != nil {
			t.Error(err)
		}
		h, at := c.who.Holder, c.at
		if at.IsZero() {
			at = time.Now()
		}
		text, err := jwt.Signed(signer).Claims(map[string]any{"iss": op.URL, "aud": "hub", "sub": "x", "nonce": c.asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
			"auth_time": at.Unix(), "amr": []string{"sms"}, "acr": c.asked.Get("acr_values"), "phone_number": h.Number.E164(), "phone_number_verified": true,
			signin.ClaimStartedAt: h.StartedAt.Format(time.RFC3339Nano), signin.ClaimOrigin: h.Origin.String()}).Serialize()
		if err != nil {
			t.Error(err)
		}
		says(w, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": text})
	})
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	keys, err := c.SigningKeys(context.Background())
	must(t, err)
	ring, err := auth.NewKeyRing(keys...)
	must(t, err)
	in := signin.New(signin.Options{Carriers: []signin.Carrier{{Party: "cmcc", Issuer: op.URL, ClientID: "hub", Secret: "s", IdentityACR: "real"}},
		RedirectURL: func(string) string { return "http://127.0.0.1:8080/sign-in/cmcc/callback" }, Seal: c.SealTransient, Open: c.OpenTransient, Log: quiet})
	c.pages = web.New(web.Options{Hub: c.Hub, SignIn: in, Ring: ring, Issuer: "http://127.0.0.1:8080", Carriers: []string{op.URL}, Registry: prometheus.NewRegistry(), Start: true, Log: quiet})
	return c, c.signsIn().Result().Cookies()[1].Value
}

// leaves takes an answer that leads to the carrier, and gives the way back with what the browser keeps.
func (c *atCarrier) leaves(w *httptest.ResponseRecorder) (back string, kept []*http.Cookie) {
	c.Helper()
	to, err := url.Parse(w.Header().Get("Location"))
	must(c, err)
	if w.Code != 303 || !strings.HasPrefix(to.String(), c.url+"/authorize") {
		c.Fatalf("it does not lead to the carrier: %d %s %s", w.Code, to, w.Body)
	}
	c.asked = to.Query()
	return "/sign-in/cmcc/callback?state=" + c.asked.Get("state"), w.Result().Cookies()
}

// returns comes back from the carrier.
func (c *atCarrier) returns(path, token string, kept []*http.Cookie) *httptest.ResponseRecorder {
	c.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for _, k := range kept {
		r.AddCookie(k)
	}
	return c.do(r, token)
}

// signsIn goes to the carrier and comes back, to a path if one is given.
func (c *atCarrier) signsIn(path ...string) *httptest.ResponseRecorder {
	c.Helper()
	back, kept := c.leaves(c.post("/sign-in/cmcc", "", url.Values{"back": path}))
	return c.returns(back+"&code=x", "", kept)
}

func TestASignInLeadsToNoOtherHost(t *testing.T) {
	c, _ := withCarrier(t)
	for path, want := range map[string]string{"/apps": "/apps", "/\t/evil.example/again": "/number", "//evil.example/again": "/number"} {
		if w := c.get("/sign-in?"+url.Values{"back": {path}}.Encode(), ""); strings.Contains(w.Body.String(), "evil.example") {
			t.Errorf("%q: the form keeps it", path)
		}
		if w := c.signsIn(path); w.Code != 303 || w.Header().Get("Location") != want {
			t.Errorf("%q leads to %d %q", path, w.Code, w.Header().Get("Location"))
		}
	}
}

// The former holder is still signed in at the carrier, which says what is true of the number now.
func TestWithAProofFromBeforeTheTenureOneSignsInAnew(t *testing.T) {
	c, _ := withCarrier(t)
	began := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	r, err := c.ReportEvents(t.Context(), c.party("cmcc"), func(yield func(core.EventLine, error) bool) {
		yield(core.EventLine{Line: 1, Event: huanxin.Event{ID: "over", Number: c.who.Holder.Number, Kind: huanxin.Transferred, At: began}}, nil)
	}, time.Time{})
	must(t, err)
	if r.Accepted != 1 {
		t.Fatalf("%+v", r)
	}
	c.who.Holder.StartedAt, c.who.Holder.Origin, c.at = began, huanxin.OriginTransferred, began.Add(-time.Minute)
	if w := c.signsIn(); w.Code != 422 || !strings.Contains(w.Body.String(), "在你拿到号码之后") || !strings.Contains(w.Body.String(), `class="button" href="/sign-in"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	c.at = time.Time{}
	if w := c.signsIn(); w.Code != 303 {
		t.Errorf("with a new one: %d %s", w.Code, w.Body)
	}
}

// A browser holds every redirection of a form's answer against the form-action of its page, and a carrier's sign-in may lead over hosts that nobody told us of.
func TestOnlyAPageThatLeadsToACarrierLetsItsFormsLeadAway(t *testing.T) {
	c, token := withCarrier(t)
	draft := c.post("/apps", token, url.Values{"app": {"chat"}, "kind": {"unbind"}, "do": {"next"}}).Header().Get("Location")
	for what, page := range map[string]struct {
		answer *httptest.ResponseRecorder
		leads  bool
	}{
		"sign-in": {c.get("/sign-in", ""), true}, "the confirmation": {c.get(draft, token), true}, "the confirmation again": {c.post(draft, token, url.Values{}), true},
		"home": {c.get("/home", token), false}, "the choice": {c.get("/apps", token), false}, "the report": {c.get("/former", ""), false}, "a problem": {c.get("/nothing", ""), false},
	} {
		_, may, _ := strings.Cut(page.answer.Header().Get("Content-Security-Policy"), "form-action ")
		want := "'self'"
		if page.leads {
			want += " https: " + c.url
		}
		if may != want {
			t.Errorf("%s: %q", what, may)
		}
	}
}

func TestWhoDoesNotComeBackFromAnIdentityCheckLeavesForFiveADay(t *testing.T) {
	c, token := withCarrier(t)
	draft := c.post("/apps", token, url.Values{"app": {"chat"}, "kind": {"unbind"}, "do": {"next"}}).Header().Get("Location")
	agree := url.Values{"agree": {"1"}}
	for range 4 {
		c.leaves(c.post(draft, token, agree))
	}
	back, kept := c.leaves(c.post(draft, token, agree))
	if w := c.returns(back+"&error=unmet_authentication_requirements", token, kept); w.Code != 422 || !strings.Contains(w.Body.String(), "没有核对成功") {
		t.Errorf("%d %s", w.Code, w.Body) // it was counted when they left
	}
	if w := c.post(draft, token, agree); w.Code != 429 || !strings.Contains(w.Body.String(), "今天核对失败太多次") {
		t.Errorf("the sixth: %d %s", w.Code, w.Body)
	}
	if w := c.returns(back+"&code=x", token, kept); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/requests/") {
		t.Errorf("one that succeeds after all: %d %s", w.Code, w.Body)
	}
}

// A carrier that moves a tenure's start ends it under its id: its holder is the same person, and must not read that the number is somebody else's.
func TestWhenACarrierCorrectsTheStartItsHolderSignsInAgain(t *testing.T) {
	c, token := withCarrier(t)
	h := c.who.Holder
	corrected := h.StartedAt.Add(time.Hour)
	r, err := c.ReportEvents(t.Context(), c.party("cmcc"), func(yield func(core.EventLine, error) bool) {
		_ = yield(core.EventLine{Line: 1, Event: huanxin.Event{ID: "void", Number: h.Number, Kind: huanxin.Corrected, At: time.Now(), CorrectsID: h.Number.E164()}}, nil) &&
			yield(core.EventLine{Line: 2, Event: huanxin.Event{ID: "again", Number: h.Number, Kind: huanxin.Activated, At: corrected, Origin: huanxin.ActivatedReassigned}}, nil)
	}, time.Time{})
	must(t, err)
	if r.Accepted != 2 {
		t.Fatalf("%+v", r)
	}
	w := c.get("/number", token)
	if page := w.Body.String(); w.Code != 401 || !strings.Contains(page, "请重新登录") || !strings.Contains(page, `class="button" href="/sign-in"`) || strings.Contains(page, "不在你名下") {
		t.Errorf("%d %s", w.Code, page)
	}
	h.StartedAt = corrected
	if w := c.signsIn(); w.Code != 303 {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
}
