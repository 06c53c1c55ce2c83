package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

const issuerURL = "https://hub.example.test"

// noon is a time that tests count from where they do not use the clock.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// rsaKey is made once: it takes time.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// registry is the clients of a test.
type registry struct {
	mu      sync.Mutex
	clients map[string]huanxin.Client
	fault   error
}

func (r *registry) lookup(_ context.Context, id string) (*huanxin.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		return nil, r.fault
	}
	c, ok := r.clients[id]
	if !ok {
		return nil, huanxin.Errorf(huanxin.NotFound, "no_client", "")
	}
	return &c, nil
}

func (r *registry) change(id string, f func(*huanxin.Client)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[id]
	f(&c)
	r.clients[id] = c
}

// hub is everything of this package wired up, with one client "app-1" that has a secret and a key.
type hub struct {
	registry
	ring     *KeyRing
	key      SigningKey
	issuer   *Issuer
	verifier *Verifier
	endpoint *TokenEndpoint
	secret   string
	client   SigningKey
	refused  []string // "id why"
	faults   []error
	jtis     map[string]time.Time
}

func newHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{key: NewSigningKey(noon.AddDate(-1, 0, 0)), client: NewSigningKey(time.Time{}), jtis: map[string]time.Time{}}
	var err error
	if h.ring, err = NewKeyRing(h.key); err != nil {
		t.Fatal(err)
	}
	var hash []byte
	h.secret, hash = NewSecret()
	h.clients = map[string]huanxin.Client{
		"app-1": {ID: "app-1", Party: huanxin.Party{ID: "app", Kind: huanxin.AppParty},
			Scopes:     huanxin.Scopes{huanxin.ScopeTasksWork, huanxin.ScopeNumbersCheck},
			SecretHash: hash, JWKS: jwksOf(t, h.client)},
		"keyless":    {ID: "keyless", Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}, SecretHash: hash},
		"secretless": {ID: "secretless", Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}, JWKS: jwksOf(t, h.client)},
	}
	h.issuer = &Issuer{URL: issuerURL, Ring: h.ring}
	h.verifier = NewVerifier(h.issuer, h.lookup)
	h.endpoint = &TokenEndpoint{Issuer: h.issuer, Lookup: h.lookup,
		Replay: func(_ context.Context, client, jti string, exp time.Time) (bool, error) {
			if jti == "fault" {
				return false, errors.New("disk full")
			}
			_, used := h.jtis[client+" "+jti]
			h.jtis[client+" "+jti] = exp
			return !used, nil
		},
		Refused: func(_ context.Context, id, why string) { h.refused = append(h.refused, id+" "+why) },
		Fault:   func(_ context.Context, err error) { h.faults = append(h.faults, err) },
	}
	return h
}

func jwksOf(t testing.TB, keys ...SigningKey) []byte {
	t.Helper()
	data, err := PublicJWKS(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// post sends a form to the token endpoint, changed by edit, and gives the answer and its JSON.
func (h *hub) post(t testing.TB, form string, edit ...func(*http.Request)) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, TokenPath, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.endpoint.ServeHTTP(w, r)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("the answer is no JSON: %s", w.Body)
	}
	if c := w.Header().Get("Cache-Control"); c != "no-store" {
		t.Errorf("Cache-Control is %q", c)
	}
	return w.Result(), body
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// assertionForm is a token request with an assertion.
func assertionForm(assertion string, more ...string) string {
	v := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

// object is a JSON object.
type object map[string]any

func (o object) with(name string, value any) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	if value == nil {
		delete(out, name)
	} else {
		out[name] = value
	}
	return out
}

// compact writes a JWT by hand, so that tests can write wrong ones. A nil key signs nothing; a []byte is an HMAC key.
func compact(t testing.TB, header, claims object, key any) string {
	t.Helper()
	part := func(o object) string {
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	input := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch key := key.(type) {
	case nil:
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, key, sum[:])
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		if header["alg"] == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		}
	default:
		t.Fatalf("a %T signs nothing", key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func otherECKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
