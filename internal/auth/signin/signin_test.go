package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
)

// op is a carrier's OpenID provider that says whatever a test has it say.
type op struct {
	*httptest.Server
	key       auth.SigningKey
	asked     url.Values // of the last authorization request
	tell      func(claims map[string]any)
	info      map[string]any // at userinfo; nil: all is in the ID token
	header    map[jose.HeaderKey]any
	status    int // of the token endpoint; 0: as it should be
	signed    func(claims map[string]any) string
	discovers int
	down      bool
	names     bool // its answers bear its issuer
}

func newOP(t *testing.T) *op {
	o := &op{key: auth.NewSigningKey(time.Time{}), tell: func(map[string]any) {}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		o.discovers++
		if o.down {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		o.json(w, map[string]any{"issuer": o.URL, "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token", "jwks_uri": o.URL + "/keys",
			"userinfo_endpoint": o.URL + "/userinfo", "authorization_response_iss_parameter_supported": o.names, "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		o.json(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: o.key.Private.Public(), KeyID: o.key.KID, Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { o.json(w, o.info) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		must(t, r.ParseForm())
		if o.status != 0 {
			w.WriteHeader(o.status)
			return
		}
		if r.PostForm.Get("code_verifier") == "" || r.PostForm.Get("code") != "code" {
			t.Errorf("%v", r.PostForm)
		}
		claims := map[string]any{"iss": o.URL, "aud": "hub", "sub": "somebody", "nonce": o.asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
			"auth_time": time.Now().Unix(), "amr": []string{"sms"}, "acr": o.asked.Get("acr_values")}
		if o.info == nil {
			for k, v := range person1 {
				claims[k] = v
			}
		}
		o.tell(claims)
		for k, v := range claims {
			if v == nil {
				delete(claims, k)
			}
		}
		token := o.sign(t, claims)
		if o.signed != nil {
			token = o.signed(claims)
		}
		o.json(w, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": token})
	})
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Close)
	return o
}

var person1 = map[string]any{"phone_number": "+8613800000001", "phone_number_verified": true, ClaimStartedAt: "2026-03-01T08:00:00+08:00", ClaimOrigin: "reassigned"}

func (o *op) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (o *op) sign(t *testing.T, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: o.key.Private, KeyID: o.key.KID}}, &jose.SignerOptions{ExtraHeaders: o.header})
	must(t, err)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return text
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (o *op) signIn() *SignIn {
	seal := func(b []byte) []byte { return append([]byte("sealed:"), b...) }
	open := func(b []byte) ([]byte, error) {
		if plain, ok := strings.CutPrefix(string(b), "sealed:"); ok {
			return []byte(plain), nil
		}
		return nil, errors.New("not sealed here")
	}
	return New(Options{Carriers: []Carrier{{Party: "cmcc", Issuer: o.URL, ClientID: "hub", Secret: "s", IdentityACR: "real-name"}},
		RedirectURL: func(p string) string { return "https://hub.example/sign-in/" + p + "/callback" }, Seal: seal, Open: open, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// leaves goes to the carrier, and gives what the browser keeps and what the carrier sends it back with.
func (o *op) leaves(t *testing.T, s *SignIn, p Purpose) (keep string, back url.Values) {
	t.Helper()
	to, keep, err := s.Leave(t.Context(), "cmcc", p, "/number", false)
	must(t, err)
	u, err := url.Parse(to)
	must(t, err)
	o.asked = u.Query()
	return keep, url.Values{"code": {"code"}, "state": {o.asked.Get("state")}}
}

func TestWhoComesBackFromTheirCarrierIsKnown(t *testing.T) {
	for what, atUserinfo := range map[string]bool{"by the ID token": false, "by userinfo": true} {
		t.Run(what, func(t *testing.T) {
			o := newOP(t)
			if atUserinfo {
				o.info = map[string]any{"sub": "somebody"}
				for k, v := range person1 {
					o.info[k] = v
				}
			}
			s := o.signIn()
			keep, back := o.leaves(t, s, Begin)
			for k, want := range map[string]string{"response_type": "code", "code_challenge_method": "S256", "redirect_uri": "https://hub.example/sign-in/cmcc/callback", "max_age": "540", "acr_values": ""} {
				if got := o.asked.Get(k); got != want {
					t.Errorf("%s is %q", k, got)
				}
			}
			got, err := s.Return(t.Context(), "cmcc", keep, back)
			must(t, err)
			if got.Number.E164() != "+8613800000001" || got.Origin != huanxin.OriginReassigned || got.Proof.Control != huanxin.ControlSMS || got.Proof.Identity != 0 || got.Back != "/number" {
				t.Errorf("%+v", got)
			}
			keep, back = o.leaves(t, s, StepUp)
			o.tell = func(c map[string]any) { c["amr"] = []string{"sms", "face"} }
			got, err = s.Return(t.Context(), "cmcc", keep, back)
			must(t, err)
			if got.Proof.Identity != huanxin.IdentityFace || time.Since(got.IdentityAt) > time.Minute || got.Purpose != StepUp {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhatACarrierSaysIsNotTakenOnTrust(t *testing.T) {
	set := func(k string, v any) func(map[string]any) { return func(c map[string]any) { c[k] = v } }
	for what, tell := range map[string]func(map[string]any){
		"another nonce": set("nonce", "n"), "no nonce": set("nonce", nil), "another audience": set("aud", "other"), "another issuer": set("iss", "https://other.example"),
		"an old token": set("exp", time.Now().Add(-time.Hour).Unix()), "no number": set("phone_number", nil), "no E.164 number": set("phone_number", "13800000001"),
		"a number of another form": set("phone_number", "+86 138 0000 0001"), "an unverified number": set("phone_number_verified", false), "no word about it": set("phone_number_verified", nil),
		"no auth_time": set("auth_time", nil), "an old auth_time": set("auth_time", time.Now().Add(-20*time.Minute).Unix()), "an auth_time ahead": set("auth_time", time.Now().Add(10*time.Minute).Unix()),
		"no amr": set("amr", nil), "a password": set("amr", []string{"pwd"}),
		"a code of an app": set("amr", []string{"otp", "mfa"}), "a key of a device": set("amr", []string{"hwk", "pin"}), "a key in software": set("amr", []string{"swk"}), "no tenure": set(ClaimStartedAt, nil), "a tenure that is a date": set(ClaimStartedAt, "2026-03-01"),
		"an origin nobody knows": set(ClaimOrigin, "found"), "a number that is a number": set("phone_number", 13800000001),
	} {
		o := newOP(t)
		o.tell = tell
		s := o.signIn()
		keep, back := o.leaves(t, s, Begin)
		if got, err := s.Return(t.Context(), "cmcc", keep, back); err == nil || huanxin.CodeOf(err) != "not_vouched" && huanxin.CodeOf(err) != "carrier_down" {
			t.Errorf("%s: %+v %v", what, got, err)
		}
	}
	for what, signed := range map[string]func(o *op, c map[string]any) string{
		"an unsigned token": func(_ *op, c map[string]any) string {
			text, err := json.Marshal(c)
			must(t, err)
			return "eyJhbGciOiJub25lIn0." + jwtBase64(text) + "."
		},
		"a token signed by others": func(_ *op, c map[string]any) string { return newOP(t).sign(t, c) },
		"no token":                 func(*op, map[string]any) string { return "" },
	} {
		o := newOP(t)
		o.signed = func(c map[string]any) string { return signed(o, c) }
		s := o.signIn()
		keep, back := o.leaves(t, s, Begin)
		if _, err := s.Return(t.Context(), "cmcc", keep, back); huanxin.CodeOf(err) != "not_vouched" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTheIdentityFactorIsNotBelievedUnlessTheAskedACRIsMet(t *testing.T) {
	for _, acr := range []any{nil, "password", "REAL-NAME"} {
		o := newOP(t)
		o.tell = func(c map[string]any) { c["acr"] = acr }
		s := o.signIn()
		keep, back := o.leaves(t, s, StepUp)
		if o.asked.Get("acr_values") != "real-name" {
			t.Errorf("asked for %q", o.asked.Get("acr_values"))
		}
		if _, err := s.Return(t.Context(), "cmcc", keep, back); huanxin.CodeOf(err) != "not_vouched" {
			t.Errorf("%v: %v", acr, err)
		}
	}
}

func TestAComingBackThatWasNotBegunHereIsRefused(t *testing.T) {
	o := newOP(t)
	s := o.signIn()
	keep, back := o.leaves(t, s, Begin)
	for what, call := range map[string]func() (Result, error){
		"without what the browser kept": func() (Result, error) { return s.Return(t.Context(), "cmcc", "", back) },
		"with something else":           func() (Result, error) { return s.Return(t.Context(), "cmcc", "c2VhbGVk", back) },
		"at another carrier":            func() (Result, error) { return s.Return(t.Context(), "cucc", keep, back) },
		"with another state": func() (Result, error) {
			return s.Return(t.Context(), "cmcc", keep, url.Values{"code": {"code"}, "state": {"x"}})
		},
		"without a state": func() (Result, error) { return s.Return(t.Context(), "cmcc", keep, url.Values{"code": {"code"}}) },
		"from another issuer (RFC 9207)": func() (Result, error) {
			return s.Return(t.Context(), "cmcc", keep, url.Values{"code": {"code"}, "state": back["state"], "iss": {"https://other.example"}})
		},
	} {
		if _, err := call(); huanxin.CodeOf(err) != "sign_in_unknown" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := s.Leave(t.Context(), "nobody", Begin, "/", false); huanxin.KindOf(err) != huanxin.NotFound {
		t.Errorf("a carrier that is none: %v", err)
	}
}

func TestHowControlOfTheNumberWasProvedIsRead(t *testing.T) {
	for word, want := range map[string]huanxin.Control{"sms": huanxin.ControlSMS, "urn:huanxin:amr:sim": huanxin.ControlSIM, "urn:huanxin:amr:network": huanxin.ControlNetwork} {
		o := newOP(t)
		o.tell = func(c map[string]any) { c["amr"] = []string{"otp", word, "mfa"} }
		s := o.signIn()
		keep, back := o.leaves(t, s, Begin)
		got, err := s.Return(t.Context(), "cmcc", keep, back)
		must(t, err)
		if got.Proof.Control != want {
			t.Errorf("%s: %v", word, got.Proof.Control)
		}
	}
}

func TestACarrierThatNamesItselfIsHeldToIt(t *testing.T) {
	o := newOP(t)
	o.names = true
	s := o.signIn()
	keep, back := o.leaves(t, s, Begin)
	if _, err := s.Return(t.Context(), "cmcc", keep, back); huanxin.CodeOf(err) != "sign_in_unknown" {
		t.Errorf("without its name: %v", err)
	}
	back.Set("iss", o.URL)
	if _, err := s.Return(t.Context(), "cmcc", keep, back); err != nil {
		t.Error(err)
	}
}

func TestAnIdentityCheckIsNoNewerThanTheSignInItCameWith(t *testing.T) {
	o := newOP(t)
	old := time.Now().Add(-3 * time.Minute).Truncate(time.Second)
	o.tell = func(c map[string]any) { c["auth_time"] = old.Unix() }
	s := o.signIn()
	keep, back := o.leaves(t, s, StepUp)
	got, err := s.Return(t.Context(), "cmcc", keep, back)
	must(t, err)
	if !got.IdentityAt.Equal(old) {
		t.Errorf("it counts from %v, not %v", got.IdentityAt, old)
	}
}

// Who typed names and digits for minutes must not prove all of it again: the proof of control, good for ten, is to have seven left when they begin.
func TestBeforeTheIdentityFactorControlIsProvedAnewInTime(t *testing.T) {
	for _, c := range []struct {
		purpose Purpose
		asked   string
		ago     time.Duration
		taken   bool
	}{{Begin, "540", 9 * time.Minute, true}, {StepUp, "180", 3 * time.Minute, true}, {StepUp, "180", 5 * time.Minute, false}} {
		o := newOP(t)
		o.tell = func(claims map[string]any) { claims["auth_time"] = time.Now().Add(-c.ago).Unix() }
		s := o.signIn()
		keep, back := o.leaves(t, s, c.purpose)
		if got := o.asked.Get("max_age"); got != c.asked {
			t.Errorf("%s asks for %s", c.purpose, got)
		}
		if _, err := s.Return(t.Context(), "cmcc", keep, back); (err == nil) != c.taken {
			t.Errorf("%s with a proof %v old: %v", c.purpose, c.ago, err)
		}
	}
}

func TestACarriersErrorIsToldForWhatItIs(t *testing.T) {
	for code, want := range map[string]string{"access_denied": "declined", "unmet_authentication_requirements": "identity_failed", "server_error": "carrier_down",
		"temporarily_unavailable": "carrier_down", "invalid_request": "not_vouched", "<script>": "not_vouched"} {
		o := newOP(t)
		s := o.signIn()
		keep, back := o.leaves(t, s, StepUp)
		got, err := s.Return(t.Context(), "cmcc", keep, url.Values{"error": {code}, "state": back["state"]})
		if huanxin.CodeOf(err) != want || got.Purpose != StepUp {
			t.Errorf("%s: %v", code, err)
		}
	}
	for status, want := range map[int]string{400: "not_vouched", 500: "carrier_down"} {
		o := newOP(t)
		o.status = status
		s := o.signIn()
		keep, back := o.leaves(t, s, Begin)
		if _, err := s.Return(t.Context(), "cmcc", keep, back); huanxin.CodeOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestACarrierThatIsDownIsNotAskedByEverybody(t *testing.T) {
	o := newOP(t)
	o.down = true
	s := o.signIn()
	for range 5 {
		if _, _, err := s.Leave(context.Background(), "cmcc", Begin, "/", false); huanxin.CodeOf(err) != "carrier_down" {
			t.Errorf("%v", err)
		}
	}
	if o.discovers != 1 {
		t.Errorf("it is asked %d times", o.discovers)
	}
}

func jwtBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
