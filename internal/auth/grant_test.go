package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

var vouched = huanxin.NumberOf(8613800000001)

// bindingHub is a hub that takes a carrier's word: "carrier-1" has a key, and "app-1" may check by CAMARA.
type bindingHub struct {
	*hub
	carrier SigningKey
	bound   []Vouched
	refuse  error
}

func newBindingHub(t testing.TB) *bindingHub {
	t.Helper()
	h := &bindingHub{hub: newHub(t), carrier: NewSigningKey(time.Time{})}
	h.clients["carrier-1"] = huanxin.Client{ID: "carrier-1", Party: huanxin.Party{ID: "cmcc", Kind: huanxin.CarrierParty, No: 7},
		Scopes: huanxin.Scopes{huanxin.ScopeRequestsCreate}, JWKS: jwksOf(t, h.carrier)}
	h.change("app-1", func(c *huanxin.Client) { c.Scopes = append(slices.Clip(c.Scopes), huanxin.ScopeNumberRecycling) })
	h.endpoint.Bind = func(_ context.Context, carrier *huanxin.Client, v Vouched) ([]byte, error) {
		if h.refuse != nil {
			return nil, h.refuse
		}
		if carrier.ID != "carrier-1" {
			t.Errorf("the word of %s", carrier.ID)
		}
		h.bound = append(h.bound, v)
		return []byte(v.Client + " " + v.TokenID), nil // a stand-in for sealing, which is core's
	}
	h.issuer.OpenBound = func(sealed []byte, client, jti string) (huanxin.Bound, error) {
		if string(sealed) != client+" "+jti {
			return huanxin.Bound{}, errors.New("sealed for another token")
		}
		return huanxin.Bound{Number: vouched, Tenure: 1, Carrier: 7}, nil
	}
	return h
}

var grantHeader = object{"alg": "ES256", "typ": typNumberGrant}

func (h *bindingHub) claims() object {
	now := time.Now()
	return object{"iss": "carrier-1", "sub": "tel:+8613800000001", "aud": issuerURL, "client_id": "app-1", "exp": now.Add(time.Minute).Unix(),
		"iat": now.Unix(), "jti": randomID()}
}

var randomID = func() func() string {
	n := 0
	return func() string { n++; return "jti-" + strings.Repeat("x", n) }
}()

func grantForm(word string, more ...string) string {
	v := url.Values{"grant_type": {grantAssertion}, "assertion": {word}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

func TestACarriersWordGivesATokenThatIsBound(t *testing.T) {
	h := newBindingHub(t)
	word, err := NumberGrant(h.carrier, "carrier-1", issuerURL+TokenPath, "app-1", vouched, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := Assertion(h.client, "app-1", issuerURL, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, body := h.post(t, grantForm(word, "client_assertion_type", assertionType, "client_assertion", own))
	if res.StatusCode != 200 || body["scope"] != "number-recycling:check" || body["token_type"] != "Bearer" || body["expires_in"] != 900.0 {
		t.Fatalf("%d %v", res.StatusCode, body)
	}
	token := body["access_token"].(string)
	who, err := h.verifier.Verify(t.Context(), token, time.Now())
	if err != nil || who.Client != "app-1" || who.Bound.Number != vouched || !slices.Equal(who.Scopes, boundScopes) {
		t.Errorf("%+v %v", who, err)
	}
	if len(h.bound) != 1 || h.bound[0].Number != vouched || h.bound[0].Client != "app-1" || h.bound[0].TokenID == "" {
		t.Errorf("bound: %+v", h.bound)
	}
	if text, err := json.Marshal(h.bound); err != nil || strings.Contains(string(text), "3800000001") {
		t.Errorf("%s %v", text, err)
	}
	// Whoever does not know of bound tokens takes none for one of the client's own.
	_, err = NewVerifier(&Issuer{URL: issuerURL, Ring: h.ring}, h.lookup).Verify(t.Context(), token, time.Now())
	mustRefuse(t, "by a hub that binds nothing", err)
	// What is sealed belongs to one token.
	moved, _, err := h.issuer.mintBound("app-1", "another", []byte(h.bound[0].Client+" "+h.bound[0].TokenID), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.verifier.Verify(t.Context(), moved, time.Now())
	mustRefuse(t, "with what was sealed for another token", err)
}

func TestAWordMaySayWhatTheHolderAgreedTo(t *testing.T) {
	h := newBindingHub(t)
	key := h.carrier.Private
	for _, c := range []object{
		h.claims().with("purpose", "dpv:FraudPreventionAndDetection"),
		h.claims().with("scope", "number-recycling:check"),
		h.claims().with("iat", nil),
		h.claims().with("aud", []string{issuerURL, issuerURL + TokenPath}),
	} {
		res, body := h.post(t, grantForm(compact(t, grantHeader, c, key), "scope", "number-recycling:check"), basic("app-1", h.secret))
		if res.StatusCode != 200 {
			t.Errorf("%v: %v", c, body)
		}
	}
	if len(h.bound) != 4 || h.bound[0].Purpose != "dpv:FraudPreventionAndDetection" || h.bound[1].Purpose != "" {
		t.Errorf("%+v", h.bound)
	}
}

func TestAWordThatDoesNotDoIsAnInvalidGrant(t *testing.T) {
	h := newBindingHub(t)
	h.clients["off-carrier"] = huanxin.Client{ID: "off-carrier", JWKS: jwksOf(t, h.carrier), Party: huanxin.Party{Kind: huanxin.CarrierParty, Disabled: true}}
	key, now := h.carrier.Private, time.Now()
	good := h.claims
	const general = "the assertion is not a carrier's word, for this client, about a number that it serves"
	used := good()
	if res, body := h.post(t, grantForm(compact(t, grantHeader, used, key)), basic("app-1", h.secret)); res.StatusCode != 200 {
		t.Fatal(body)
	}
	for name, c := range map[string]struct {
		header, claims object
		key            any
		record, tell   string
	}{
		"used before":             {grantHeader, used, key, "carrier-1 grant_assertion_replayed", told[whyReplayed]},
		"expired":                 {grantHeader, good().with("exp", now.Add(-time.Minute).Unix()), key, "carrier-1 grant_assertion_expired", told[whyExpired]},
		"for too long":            {grantHeader, good().with("exp", now.Add(6*time.Minute).Unix()), key, "carrier-1 grant_assertion_not_valid_now", told[whyWrongTime]},
		"not yet":                 {grantHeader, good().with("nbf", now.Add(2*time.Minute).Unix()), key, "carrier-1 grant_assertion_not_valid_now", told[whyWrongTime]},
		"of tomorrow":             {grantHeader, good().with("iat", now.Add(24*time.Hour).Unix()), key, "carrier-1 grant_assertion_not_valid_now", told[whyWrongTime]},
		"for nobody":              {grantHeader, good().with("aud", nil), key, "carrier-1 grant_assertion_for_another_audience", told[whyWrongAudience]},
		"for another hub":         {grantHeader, good().with("aud", "https://other.example"), key, "carrier-1 grant_assertion_for_another_audience", told[whyWrongAudience]},
		"for another hub, too":    {grantHeader, good().with("aud", []string{issuerURL, "https://other.example"}), key, "carrier-1 grant_assertion_for_another_audience", told[whyWrongAudience]},
		"without exp":             {grantHeader, good().with("exp", nil), key, "carrier-1 grant_assertion_claims_wrong", general},
		"without jti":             {grantHeader, good().with("jti", nil), key, "carrier-1 grant_assertion_claims_wrong", general},
		"with a long jti":         {grantHeader, good().with("jti", strings.Repeat("x", 256)), key, "carrier-1 grant_assertion_claims_wrong", general},
		"for another app":         {grantHeader, good().with("client_id", "app-2"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"for any app":             {grantHeader, good().with("client_id", nil), key, "carrier-1 grant_assertion_claims_wrong", general},
		"without typ":             {grantHeader.with("typ", nil), good(), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a plain JWT":             {grantHeader.with("typ", "JWT"), good(), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a client's assertion":    {grantHeader.with("typ", "client-authentication+jwt"), good(), key, "carrier-1 grant_assertion_claims_wrong", general},
		"an access token's typ":   {grantHeader.with("typ", typAccessToken), good(), key, "carrier-1 grant_assertion_claims_wrong", general},
		"about no number":         {grantHeader, good().with("sub", nil), key, "carrier-1 grant_assertion_claims_wrong", general},
		"about itself":            {grantHeader, good().with("sub", "carrier-1"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a number without tel":    {grantHeader, good().with("sub", "+8613800000001"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a number in blanks":      {grantHeader, good().with("sub", "tel:+86 138 0000 0001"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a national number":       {grantHeader, good().with("sub", "tel:13800000001"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"for another scope":       {grantHeader, good().with("scope", "number-recycling:check numbers.check"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"a purpose with a number": {grantHeader, good().with("purpose", "dpv:8613800000001"), key, "carrier-1 grant_assertion_claims_wrong", general},
		"of an unknown carrier":   {grantHeader, good().with("iss", "nobody"), key, " grant_unknown_client", general},
		"of a disabled carrier":   {grantHeader, good().with("iss", "off-carrier"), key, "off-carrier grant_client_disabled", general},
		"of a client without key": {grantHeader, good().with("iss", "keyless"), key, "keyless grant_unknown_key", general},
		"signed by another":       {grantHeader, good(), h.client.Private, "carrier-1 grant_wrong_signature", general},
		"signed by the hub":       {grantHeader, good(), h.key.Private, "carrier-1 grant_wrong_signature", general},
		"unsigned":                {object{"alg": "none", "typ": typNumberGrant}, good(), nil, " grant_credentials_malformed", general},
		"with a key of its own":   {grantHeader.with("jku", "https://x.example"), good(), key, "carrier-1 grant_unknown_key", general},
	} {
		h.refused, h.bound = nil, nil
		got := h.refusal(t, grantForm(compact(t, c.header, c.claims, c.key)), basic("app-1", h.secret))
		if want := (refusal{400, "invalid_grant", "", c.tell}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if !slices.Equal(h.refused, []string{c.record}) || len(h.bound) != 0 {
			t.Errorf("%s: recorded is %q, bound %v", name, h.refused, h.bound)
		}
	}
	for name, word := range map[string]string{"nonsense": "x", "too long": strings.Repeat("x", maxAssertion+1), "a number": "+8613800000001"} {
		if got := h.refusal(t, grantForm(word), basic("app-1", h.secret)); got.Code != "invalid_grant" || got.Status != 400 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAWordIsNoAuthenticationAndAnAuthenticationNoWord(t *testing.T) {
	h := newBindingHub(t)
	// The carrier's word in place of its authentication.
	word := compact(t, grantHeader, h.claims().with("sub", "carrier-1").with("client_id", nil), h.carrier.Private)
	if got := h.refusal(t, assertionForm(word)); got.Code != "invalid_client" || got.Status != 401 {
		t.Errorf("a word as authentication: %+v", got)
	}
	// The carrier's authentication in place of its word.
	own, err := Assertion(h.carrier, "carrier-1", issuerURL, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := h.refusal(t, grantForm(own), basic("app-1", h.secret)); got.Code != "invalid_grant" || got.Status != 400 {
		t.Errorf("an authentication as word: %+v", got)
	}
	// It was not used up by that.
	if res, body := h.post(t, assertionForm(own)); res.StatusCode != 200 {
		t.Errorf("afterwards: %v", body)
	}
}

func TestOnlyAClientWithTheScopeAndAnAuthenticationOfItsOwnExchangesAWord(t *testing.T) {
	h := newBindingHub(t)
	word := func() string { return compact(t, grantHeader, h.claims(), h.carrier.Private) }
	for name, c := range map[string]struct {
		form string
		edit func(*http.Request)
		want string
	}{
		"nobody":              {grantForm(word()), func(*http.Request) {}, "invalid_client"},
		"a wrong secret":      {grantForm(word()), basic("app-1", "x"), "invalid_client"},
		"without the scope":   {grantForm(word()), basic("keyless", h.secret), "invalid_scope"},
		"for another scope":   {grantForm(word(), "scope", "numbers.check"), basic("app-1", h.secret), "invalid_scope"},
		"for one scope more":  {grantForm(word(), "scope", "number-recycling:check numbers.check"), basic("app-1", h.secret), "invalid_scope"},
		"without a word":      {"grant_type=" + url.QueryEscape(grantAssertion), basic("app-1", h.secret), "invalid_request"},
		"with an empty word":  {grantForm(""), basic("app-1", h.secret), "invalid_request"},
		"another grant's URN": {strings.Replace(grantForm(word()), "jwt-bearer", "saml2-bearer", 1), basic("app-1", h.secret), "unsupported_grant_type"},
	} {
		if got := h.refusal(t, c.form, c.edit); got.Code != c.want || len(h.bound) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	h.endpoint.Bind = nil
	if got := h.refusal(t, grantForm(word()), basic("app-1", h.secret)); got.Code != "unsupported_grant_type" {
		t.Errorf("at a hub that binds nothing: %+v", got)
	}
}

func TestWhatBindSaysDecides(t *testing.T) {
	h := newBindingHub(t)
	for want, err := range map[string]error{
		"invalid_grant":           huanxin.Errorf(huanxin.Refused, "not_serving", "x"),
		"server_error":            errors.New("disk full"),
		"temporarily_unavailable": huanxin.Errorf(huanxin.Unavailable, "overloaded", "x"),
	} {
		h.refuse, h.refused = err, nil
		got := h.refusal(t, grantForm(compact(t, grantHeader, h.claims(), h.carrier.Private)), basic("app-1", h.secret))
		if got.Code != want || strings.Contains(got.Description.(string), "disk") || len(h.refused) != 0 {
			t.Errorf("%v: %+v, recorded %q", err, got, h.refused)
		}
	}
	h.refuse = nil
	fault := compact(t, grantHeader, h.claims().with("jti", "fault"), h.carrier.Private)
	if got := h.refusal(t, grantForm(fault), basic("app-1", h.secret)); got.Code != "server_error" || len(h.bound) != 0 {
		t.Errorf("where a jti cannot be remembered: %+v", got)
	}
}

// FuzzGrant sends anything for a word, and anything as the claims of one that is rightly signed. No answer repeats it.
func FuzzGrant(f *testing.F) {
	h := newBindingHub(f)
	for _, s := range []string{"", "x.y.z", `{"iss":"carrier-1","sub":"tel:+8613800000001","aud":"` + issuerURL + `","client_id":"app-1","exp":9999999999,"jti":"j"}`,
		`{"iss":"carrier-1","sub":["tel:"],"aud":[],"exp":"x"}`, `{"iss":"carrier-1","exp":1e300,"jti":"\u0000"}`, "null", "[]"} {
		f.Add(s)
	}
	signer, err := h.carrier.signer(typNumberGrant)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h.refused, h.faults = nil, nil
		signed, err := signCompact(signer, json.RawMessage(s))
		if err != nil {
			signed = s
		}
		for _, word := range []string{s, signed} {
			r := httptest.NewRequest(http.MethodPost, TokenPath, strings.NewReader(grantForm(word)))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth("app-1", h.secret)
			w := httptest.NewRecorder()
			h.endpoint.ServeHTTP(w, r)
			if len(h.faults) > 0 || w.Code != 200 && w.Code != 400 || w.Code == 400 && strings.Contains(w.Body.String(), "38000") {
				t.Errorf("%q: %d %s %v", s, w.Code, w.Body, h.faults)
			}
		}
	})
}
