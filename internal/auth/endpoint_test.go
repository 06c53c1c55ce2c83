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

	"github.com/google/go-cmp/cmp"
	"github.com/huanxin-platform/huanxin"
)

const plainForm = "grant_type=client_credentials"

func TestAClientWithASecretGetsATokenThatIsGood(t *testing.T) {
	h := newHub(t)
	res, body := h.post(t, plainForm, basic("app-1", h.secret))
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v", res.StatusCode, body)
	}
	token, _ := body["access_token"].(string)
	delete(body, "access_token")
	if diff := cmp.Diff(map[string]any{"token_type": "Bearer", "expires_in": 900.0, "scope": "tasks.work numbers.check"}, body); diff != "" {
		t.Errorf("the answer differs: %s", diff)
	}
	caller, err := h.verifier.Verify(t.Context(), token, time.Now())
	if err != nil || caller.Client != "app-1" {
		t.Errorf("the token gives %+v, %v", caller, err)
	}
	if res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Pragma") != "no-cache" {
		t.Errorf("headers are %v", res.Header)
	}
}

func TestIdAndSecretAreInFormEncoding(t *testing.T) {
	h := newHub(t)
	const id, secret = "a:b c", "p+ss%word:é"
	h.clients[id] = huanxin.Client{ID: id, Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}, SecretHash: HashSecret(secret)}
	if res, body := h.post(t, plainForm, basic(id, secret)); res.StatusCode != http.StatusOK {
		t.Errorf("status %d: %v", res.StatusCode, body)
	}
}

func TestAClientWithAKeyGetsAToken(t *testing.T) {
	h := newHub(t)
	for _, audience := range []string{issuerURL, issuerURL + TokenPath} {
		a, err := Assertion(h.client, "app-1", audience, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{assertionForm(a, "client_id", "app-1", "scope", "tasks.work")} {
			res, body := h.post(t, form)
			if res.StatusCode != http.StatusOK || body["scope"] != "tasks.work" {
				t.Errorf("for the audience %s: status %d: %v", audience, res.StatusCode, body)
			}
		}
	}
}

// refusal is what an outsider can tell of a failed request.
type refusal struct {
	Status          int
	Code, Challenge string
	Description     any
}

func (h *hub) refusal(t testing.TB, form string, edit ...func(*http.Request)) refusal {
	t.Helper()
	res, body := h.post(t, form, edit...)
	if len(body) != 2 {
		t.Errorf("the answer is %v", body)
	}
	code, _ := body["error"].(string)
	return refusal{res.StatusCode, code, res.Header.Get("WWW-Authenticate"), body["error_description"]}
}

func TestEveryFailedSecretGetsTheSameAnswerAndIsRecorded(t *testing.T) {
	h := newHub(t)
	h.clients["off"] = huanxin.Client{ID: "off", SecretHash: HashSecret("s"), Disabled: true}
	h.clients["party-off"] = huanxin.Client{ID: "party-off", SecretHash: HashSecret("s"), Party: huanxin.Party{Disabled: true}}
	h.clients["short"] = huanxin.Client{ID: "short", SecretHash: []byte{}}
	want := refusal{401, "invalid_client", `Basic realm="huanxin", charset="UTF-8"`, "client authentication failed"}
	for _, c := range []struct{ id, secret, record string }{
		{"+8613800000001", "x", " unknown_client"}, // what stands in the id's place is not recorded
		{"nobody", h.secret, " unknown_client"},
		{strings.Repeat("n", 300), h.secret, " unknown_client"},
		{"", "", " unknown_client"},
		{"app-1", "wrong", "app-1 wrong_secret"},
		{"app-1", "", "app-1 wrong_secret"},
		{"app-1", h.secret + "x", "app-1 wrong_secret"},
		{"secretless", "", "secretless secret_not_allowed"},
		{"short", "", "short secret_not_allowed"},
		{"off", "s", "off client_disabled"},
		{"party-off", "s", "party-off client_disabled"},
	} {
		h.refused = nil
		if diff := cmp.Diff(want, h.refusal(t, plainForm, basic(c.id, c.secret))); diff != "" {
			t.Errorf("%q: %s", c.id, diff)
		}
		if !slices.Equal(h.refused, []string{c.record}) {
			t.Errorf("%q: recorded is %q", c.id, h.refused)
		}
	}
	for _, header := range []string{"Bearer x", "Basic", "Basic !", "Basic YQ==", "Digest x", "Basic JXp6OnM="} {
		set := func(r *http.Request) { r.Header.Set("Authorization", header) }
		if diff := cmp.Diff(want, h.refusal(t, plainForm, set)); diff != "" {
			t.Errorf("%q: %s", header, diff)
		}
	}
	if diff := cmp.Diff(want, h.refusal(t, plainForm+"&client_id=app-2", basic("app-1", h.secret))); diff != "" {
		t.Errorf("with another client_id in the body: %s", diff)
	}
}

// assertionParts is a good assertion of app-1, to be spoiled.
func (h *hub) assertionParts() (header, claims object) {
	now := time.Now().Unix()
	return object{"alg": "ES256", "kid": h.client.KID, "typ": "JWT"},
		object{"iss": "app-1", "sub": "app-1", "aud": issuerURL, "exp": now + 60, "iat": now, "jti": "1"}
}

func TestAnAssertionThatProvesNothingGetsTheSameAnswerAndIsRecorded(t *testing.T) {
	h := newHub(t)
	header, claims := h.assertionParts()
	own, stranger := h.client.Private, NewSigningKey(time.Time{})
	publicJWK, err := json.Marshal(h.client.public())
	if err != nil {
		t.Fatal(err)
	}
	h.clients["off"] = huanxin.Client{ID: "off", JWKS: jwksOf(t, h.client), Disabled: true}
	h.clients["broken"] = huanxin.Client{ID: "broken", JWKS: []byte("{")}
	h.clients["two"] = huanxin.Client{ID: "two", JWKS: jwksOf(t, h.client, stranger)}
	of := func(id string) object { return claims.with("iss", id).with("sub", id) }
	want := refusal{401, "invalid_client", "", "client authentication failed"}
	for what, c := range map[string]struct{ assertion, record string }{
		"no JWT":                      {"x", " credentials_malformed"},
		"too long":                    {strings.Repeat("a", maxAssertion+1), " credentials_malformed"},
		"alg none":                    {compact(t, header.with("alg", "none"), claims, nil), " credentials_malformed"},
		"HS256 with the public key":   {compact(t, header.with("alg", "HS256"), claims, publicJWK), " credentials_malformed"},
		"ES384":                       {compact(t, header.with("alg", "ES384"), claims, own), " credentials_malformed"},
		"claims of wrong types":       {compact(t, header, claims.with("exp", "x"), own), " credentials_malformed"},
		"forged":                      {compact(t, header, claims, stranger.Private), "app-1 wrong_signature"},
		"wrong kid":                   {compact(t, header.with("kid", "other"), claims, own), "app-1 unknown_key"},
		"no kid among two":            {compact(t, header.with("kid", nil), of("two"), own), "two unknown_key"},
		"alg of another kind of key":  {compact(t, header.with("alg", "RS256"), claims, rsaKey()), "app-1 unknown_key"},
		"key in the header":           {compact(t, header.with("jwk", stranger.public()), claims, stranger.Private), "app-1 unknown_key"},
		"own key in the header":       {compact(t, header.with("jwk", h.client.public()), claims, own), "app-1 unknown_key"},
		"key by URL":                  {compact(t, header.with("jku", "https://evil.example"), claims, own), "app-1 unknown_key"},
		"unknown client":              {compact(t, header, of("nobody"), own), " unknown_client"},
		"no client":                   {compact(t, header, claims.with("iss", nil), own), " unknown_client"},
		"client without keys":         {compact(t, header, of("keyless"), own), "keyless unknown_key"},
		"client with a broken key":    {compact(t, header, of("broken"), own), "broken unknown_key"},
		"disabled client":             {compact(t, header, of("off"), own), "off client_disabled"},
		"sub is another":              {compact(t, header, claims.with("sub", "app-2"), own), "app-1 assertion_claims_wrong"},
		"no sub":                      {compact(t, header, claims.with("sub", nil), own), "app-1 assertion_claims_wrong"},
		"no jti":                      {compact(t, header, claims.with("jti", nil), own), "app-1 assertion_claims_wrong"},
		"a long jti":                  {compact(t, header, claims.with("jti", strings.Repeat("j", 256)), own), "app-1 assertion_claims_wrong"},
		"no exp":                      {compact(t, header, claims.with("exp", nil), own), "app-1 assertion_claims_wrong"},
		"a signed answer, not a sign": {compact(t, header.with("typ", "secevent+jwt"), claims, own), "app-1 assertion_claims_wrong"},
		"an access token":             {compact(t, header.with("typ", "at+jwt"), claims, own), "app-1 assertion_claims_wrong"},
	} {
		h.refused = nil
		if diff := cmp.Diff(want, h.refusal(t, assertionForm(c.assertion))); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if !slices.Equal(h.refused, []string{c.record}) {
			t.Errorf("%s: recorded is %q", what, h.refused)
		}
	}
	if len(h.jtis) != 0 {
		t.Errorf("a failed assertion used up a jti: %v", h.jtis)
	}
	if diff := cmp.Diff(want, h.refusal(t, assertionForm(compact(t, header, claims, own), "client_id", "app-2"))); diff != "" {
		t.Errorf("with another client_id: %s", diff)
	}
}

func TestAnAssertionOfTheRightKeyIsToldWhatIsWrongWithIt(t *testing.T) {
	h := newHub(t)
	header, claims := h.assertionParts()
	now := time.Now().Unix()
	for what, c := range map[string]struct {
		claims      object
		why, detail string
	}{
		"expired":                    {claims.with("exp", now-31), whyExpired, "expired"},
		"expired long ago":           {claims.with("exp", -9e18), whyMalformed, "failed"},
		"too far ahead":              {claims.with("exp", now+340), whyWrongTime, "5 minutes"},
		"far too far ahead":          {claims.with("exp", 4e18), whyWrongTime, "5 minutes"},
		"issued in the future":       {claims.with("iat", now+60), whyWrongTime, "future"},
		"not valid before later":     {claims.with("nbf", now+60), whyWrongTime, "future"},
		"another hub's":              {claims.with("aud", "https://other.example"), whyWrongAudience, "aud"},
		"the issuer's with a slash":  {claims.with("aud", issuerURL+"/"), whyWrongAudience, "aud"},
		"for us and for another hub": {claims.with("aud", []string{issuerURL, "https://other.example"}), whyWrongAudience, "aud"},
		"for nobody":                 {claims.with("aud", []string{}), whyWrongAudience, "aud"},
		"without aud":                {claims.with("aud", nil), whyWrongAudience, "aud"},
	} {
		h.refused = nil
		got := h.refusal(t, assertionForm(compact(t, header, c.claims, h.client.Private)))
		if s, _ := got.Description.(string); got.Status != 401 || got.Code != "invalid_client" || !strings.Contains(s, c.detail) {
			t.Errorf("%s: %+v", what, got)
		}
		if len(h.refused) != 1 || !strings.HasSuffix(h.refused[0], c.why) {
			t.Errorf("%s: recorded is %q", what, h.refused)
		}
	}
}

func TestAnAssertionIsGoodOnce(t *testing.T) {
	h := newHub(t)
	header, claims := h.assertionParts()
	form := assertionForm(compact(t, header, claims, h.client.Private))
	if res, body := h.post(t, form); res.StatusCode != http.StatusOK {
		t.Fatalf("the first time: %v", body)
	}
	got := h.refusal(t, form)
	if got.Status != 401 || got.Code != "invalid_client" || !slices.Contains(h.refused, "app-1 assertion_replayed") {
		t.Errorf("the second time: %+v, recorded is %q", got, h.refused)
	}
	// The jti is remembered for as long as the assertion could be taken.
	exp, _ := claims["exp"].(int64)
	if until := h.jtis["app-1 1"]; until.Before(time.Unix(exp, 0).Add(assertionSkew)) {
		t.Errorf("it is remembered until %v only", until)
	}
	// Another client may use the same jti.
	again := compact(t, header, claims.with("iss", "secretless").with("sub", "secretless"), h.client.Private)
	if res, body := h.post(t, assertionForm(again)); res.StatusCode != http.StatusOK {
		t.Errorf("another client with the same jti: %v", body)
	}
}

func TestAnAssertionMayBeSignedWithEveryKindOfKey(t *testing.T) {
	h := newHub(t)
	for _, key := range clientKeys(t) {
		h.clients["k"] = huanxin.Client{ID: "k", Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}, JWKS: jwksOf(t, key)}
		a, err := Assertion(key, "k", issuerURL, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if res, body := h.post(t, assertionForm(a)); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %v", key.Alg, body)
		}
		header, claims := h.assertionParts()
		claims = claims.with("iss", "k").with("sub", "k").with("jti", key.Alg)
		for _, h2 := range []object{header.with("alg", key.Alg).with("kid", nil), header.with("alg", key.Alg).with("kid", key.KID).with("typ", nil)} {
			if res, body := h.post(t, assertionForm(compact(t, h2, claims, key.Private))); res.StatusCode != http.StatusOK {
				t.Errorf("%s with the header %v: %v", key.Alg, h2, body)
			}
			claims = claims.with("jti", key.Alg+"2")
		}
	}
}

func TestRequestsOfWrongFormAreRefused(t *testing.T) {
	h := newHub(t)
	good := basic("app-1", h.secret)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	query := func(q string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = q }
	}
	assertion, err := Assertion(h.client, "app-1", issuerURL, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		form   string
		edit   []func(*http.Request)
		status int
		code   string
	}{
		"GET":                       {plainForm, []func(*http.Request){good, func(r *http.Request) { r.Method = http.MethodGet }}, 405, "invalid_request"},
		"secret in the body":        {plainForm + "&client_id=app-1&client_secret=" + h.secret, nil, 400, "invalid_request"},
		"secret in body and header": {plainForm + "&client_secret=" + h.secret, []func(*http.Request){good}, 400, "invalid_request"},
		"secret in the URL":         {plainForm, []func(*http.Request){query("client_id=app-1&client_secret=" + h.secret)}, 400, "invalid_request"},
		"anything in the URL":       {plainForm, []func(*http.Request){good, query("x=1")}, 400, "invalid_request"},
		"no grant type":             {"scope=tasks.work", []func(*http.Request){good}, 400, "invalid_request"},
		"empty grant type":          {"grant_type=", []func(*http.Request){good}, 400, "invalid_request"},
		"password grant":            {"grant_type=password&username=a&password=b", []func(*http.Request){good}, 400, "unsupported_grant_type"},
		"code grant":                {"grant_type=authorization_code&code=x", []func(*http.Request){good}, 400, "unsupported_grant_type"},
		"no authentication":         {plainForm, nil, 401, "invalid_client"},
		"only a client id":          {plainForm + "&client_id=app-1", nil, 401, "invalid_client"},
		"two methods":               {assertionForm(assertion), []func(*http.Request){good}, 400, "invalid_request"},
		"two headers":               {plainForm, []func(*http.Request){good, func(r *http.Request) { r.Header.Add("Authorization", "Basic x") }}, 400, "invalid_request"},
		"assertion without type":    {plainForm + "&client_assertion=x", nil, 400, "invalid_request"},
		"type without assertion":    {plainForm + "&client_assertion_type=" + url.QueryEscape(assertionType), nil, 400, "invalid_request"},
		"other type of assertion":   {plainForm + "&client_assertion=x&client_assertion_type=saml", nil, 400, "invalid_request"},
		"a parameter twice":         {plainForm + "&scope=tasks.work&scope=tasks.work", []func(*http.Request){good}, 400, "invalid_request"},
		"grant type twice":          {plainForm + "&" + plainForm, []func(*http.Request){good}, 400, "invalid_request"},
		"unknown scope":             {plainForm + "&scope=everything", []func(*http.Request){good}, 400, "invalid_scope"},
		"scope of others":           {plainForm + "&scope=tasks.work+admin", []func(*http.Request){good}, 400, "invalid_scope"},
		"JSON":                      {`{"grant_type":"client_credentials"}`, []func(*http.Request){good, header("Content-Type", "application/json")}, 400, "invalid_request"},
		"no content type":           {plainForm, []func(*http.Request){good, header("Content-Type", "")}, 400, "invalid_request"},
		"compressed":                {plainForm, []func(*http.Request){good, header("Content-Encoding", "gzip")}, 400, "invalid_request"},
		"broken encoding":           {plainForm + "&scope=%zz", []func(*http.Request){good}, 400, "invalid_request"},
		"semicolons":                {plainForm + ";scope=x", []func(*http.Request){good}, 400, "invalid_request"},
		"invalid UTF-8":             {plainForm + "&scope=%ff", []func(*http.Request){good}, 400, "invalid_request"},
		"too long":                  {plainForm + "&x=" + strings.Repeat("a", maxForm), []func(*http.Request){good}, 413, "invalid_request"},
	} {
		got := h.refusal(t, c.form, c.edit...)
		if got.Status != c.status || got.Code != c.code {
			t.Errorf("%s: %+v", what, got)
		}
		if s, _ := got.Description.(string); s == "" || strings.Contains(s, h.secret) {
			t.Errorf("%s: the description is %q", what, s)
		}
	}
	if len(h.refused) != 0 {
		t.Errorf("a malformed request counts as a failed authentication: %q", h.refused)
	}
}

func TestParametersThatMeanNothingAreIgnored(t *testing.T) {
	h := newHub(t)
	res, body := h.post(t, plainForm+"&scope=&client_secret=&x=1", basic("app-1", h.secret), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	})
	if res.StatusCode != http.StatusOK || body["scope"] != "tasks.work numbers.check" {
		t.Errorf("status %d: %v", res.StatusCode, body)
	}
}

func TestAFaultIsReportedAndNotShown(t *testing.T) {
	h := newHub(t)
	header, claims := h.assertionParts()
	got := h.refusal(t, assertionForm(compact(t, header, claims.with("jti", "fault"), h.client.Private)))
	if got.Status != 500 || got.Code != "server_error" || len(h.faults) != 1 || len(h.refused) != 0 {
		t.Errorf("%+v, faults %v, refused %v", got, h.faults, h.refused)
	}
	h.fault = errors.New("no database")
	if got := h.refusal(t, plainForm, basic("app-1", "x")); got.Status != 500 || len(h.faults) != 2 {
		t.Errorf("%+v, faults %v", got, h.faults)
	}
	h.fault = &huanxin.Error{Kind: huanxin.Unavailable, RetryAfter: 1500 * time.Millisecond}
	res, body := h.post(t, plainForm, basic("app-1", "x"))
	if res.StatusCode != 503 || body["error"] != "temporarily_unavailable" || res.Header.Get("Retry-After") != "2" {
		t.Errorf("when busy: %d %v %v", res.StatusCode, body, res.Header)
	}
	h.fault = nil
	if err := h.ring.Replace([]SigningKey{NewSigningKey(time.Now().Add(time.Hour))}); err != nil {
		t.Fatal(err)
	}
	if res, _ := h.post(t, plainForm, basic("app-1", h.secret)); res.StatusCode != 503 {
		t.Errorf("without a signing key: %d", res.StatusCode)
	}
}

func TestWithoutHooksTheEndpointStillAnswers(t *testing.T) {
	h := newHub(t)
	h.endpoint.Refused, h.endpoint.Fault = nil, nil
	if got := h.refusal(t, plainForm, basic("nobody", "x")); got.Status != 401 {
		t.Errorf("%+v", got)
	}
	h.fault = errors.New("x")
	if got := h.refusal(t, plainForm, basic("nobody", "x")); got.Status != 500 {
		t.Errorf("%+v", got)
	}
}

func TestAClientWithoutScopesGetsNoToken(t *testing.T) {
	h := newHub(t)
	h.change("app-1", func(c *huanxin.Client) { c.Scopes = nil })
	if got := h.refusal(t, plainForm, basic("app-1", h.secret)); got.Code != "invalid_scope" {
		t.Errorf("%+v", got)
	}
}

func TestTheMetadataNamesTheEndpoints(t *testing.T) {
	w := httptest.NewRecorder()
	MetadataHandler(issuerURL).ServeHTTP(w, httptest.NewRequest(http.MethodGet, MetadataPath, nil))
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	scopes, _ := got["scopes_supported"].([]any)
	if len(scopes) != 13 || !slices.Contains(scopes, any("number-recycling:check")) {
		t.Errorf("the scopes are %v", scopes)
	}
	delete(got, "scopes_supported")
	if diff := cmp.Diff(map[string]any{
		"issuer": issuerURL, "token_endpoint": issuerURL + "/oauth2/token", "jwks_uri": issuerURL + "/jwks.json",
		"response_types_supported": []any{}, "grant_types_supported": []any{"client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"token_endpoint_auth_methods_supported":            []any{"private_key_jwt", "client_secret_basic"},
		"token_endpoint_auth_signing_alg_values_supported": []any{"ES256", "EdDSA", "PS256", "RS256"},
	}, got); diff != "" {
		t.Errorf("the metadata differ: %s", diff)
	}
}

func TestAnIssuerIsAPlainURL(t *testing.T) {
	for _, good := range []string{issuerURL, "http://127.0.0.1:8080", "https://hub.example.test/huanxin"} {
		if err := CheckIssuer(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "hub", "ftp://h", "https://", "https://h/", "https://h?x", "https://h#x", "https://u:p@h", "https:h", "://"} {
		if err := CheckIssuer(bad); huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzTokenEndpoint(f *testing.F) {
	h := newHub(f)
	h.endpoint.Replay = func(context.Context, string, string, time.Time) (bool, error) { return false, nil }
	header, claims := h.assertionParts()
	f.Add(assertionForm(compact(f, header, claims, h.client.Private)), "")
	f.Add(plainForm, "Basic YTpi")
	f.Fuzz(func(t *testing.T, form, authorization string) {
		res, body := h.post(t, form, func(r *http.Request) {
			if authorization != "" {
				r.Header["Authorization"] = []string{authorization}
			}
		})
		if res.StatusCode < 400 || res.StatusCode >= 500 || body["error"] == "" {
			t.Errorf("status %d: %v", res.StatusCode, body)
		}
	})
}
