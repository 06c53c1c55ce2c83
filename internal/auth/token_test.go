package auth

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/huanxin-platform/huanxin"
)

// token mints one for app-1 at noon.
func (h *hub) token(t testing.TB, scopes ...huanxin.Scope) string {
	t.Helper()
	client := h.clients["app-1"]
	if len(scopes) == 0 {
		scopes = client.Scopes
	}
	token, lifetime, err := h.issuer.Mint(&client, scopes, noon)
	if err != nil || lifetime != MaxTokenLifetime {
		t.Fatalf("minting: %v, lifetime %v", err, lifetime)
	}
	return token
}

func mustRefuse(t *testing.T, what string, err error) {
	t.Helper()
	if huanxin.KindOf(err) != huanxin.Unauthenticated || huanxin.CodeOf(err) != "invalid_token" {
		t.Errorf("%s: the error is %v", what, err)
	}
}

func TestATokenSaysWhoAsks(t *testing.T) {
	h := newHub(t)
	for range 2 { // read, and remembered
		caller, err := h.verifier.Verify(t.Context(), h.token(t), noon)
		if err != nil {
			t.Fatal(err)
		}
		if caller.Client != "app-1" || caller.Party.ID != "app" || caller.Scopes.String() != "tasks.work numbers.check" {
			t.Errorf("the caller is %+v", caller)
		}
	}
}

func TestATokenIsOfTheFormOfRFC9068(t *testing.T) {
	h := newHub(t)
	parts := strings.Split(h.token(t), ".")
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]any{"alg": "ES256", "kid": h.key.KID, "typ": "at+jwt"}, header); diff != "" {
		t.Errorf("the header differs: %s", diff)
	}
	if claims["jti"] == "" {
		t.Error("jti is missing")
	}
	delete(claims, "jti")
	if diff := cmp.Diff(map[string]any{"iss": issuerURL, "aud": issuerURL, "sub": "app-1", "client_id": "app-1",
		"iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 900), "scope": "tasks.work numbers.check"}, claims); diff != "" {
		t.Errorf("the claims differ: %s", diff)
	}
}

// genuine is the header and the claims of a good token.
func (h *hub) genuine() (header, claims object) {
	return object{"alg": "ES256", "kid": h.key.KID, "typ": "at+jwt"},
		object{"iss": issuerURL, "aud": issuerURL, "sub": "app-1", "client_id": "app-1", "jti": "1",
			"iat": noon.Unix(), "exp": noon.Unix() + 900, "scope": "tasks.work"}
}

func TestATokenThatIsNotOursIsRefused(t *testing.T) {
	h := newHub(t)
	header, claims := h.genuine()
	stranger := NewSigningKey(noon)
	spki, err := x509.MarshalPKIXPublicKey(h.key.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	jwk, err := json.Marshal(h.key.public())
	if err != nil {
		t.Fatal(err)
	}
	own := h.key.Private
	if _, err := h.verifier.Verify(t.Context(), compact(t, header, claims, own), noon); err != nil {
		t.Fatalf("a token written by hand is refused: %v", err)
	}
	later := noon.Unix() + 60
	for what, token := range map[string]string{
		"empty":                           "",
		"no JWT":                          "x",
		"five parts":                      "a.b.c.d.e",
		"too long":                        strings.Repeat("a", maxToken+1),
		"forged under our kid":            compact(t, header, claims, stranger.Private),
		"unknown kid":                     compact(t, header.with("kid", "other"), claims, own),
		"no kid":                          compact(t, header.with("kid", nil), claims, own),
		"alg none":                        compact(t, header.with("alg", "none"), claims, nil),
		"alg None":                        compact(t, header.with("alg", "None"), claims, nil),
		"alg none, signed":                compact(t, header.with("alg", "none"), claims, own),
		"no alg":                          compact(t, header.with("alg", nil), claims, own),
		"no signature":                    compact(t, header, claims, nil),
		"HS256 with the public key":       compact(t, header.with("alg", "HS256"), claims, publicPEM),
		"HS256 with the public key's DER": compact(t, header.with("alg", "HS256"), claims, spki),
		"HS256 with the JWK":              compact(t, header.with("alg", "HS256"), claims, jwk),
		"RS256 under our kid":             compact(t, header.with("alg", "RS256"), claims, rsaKey()),
		"own key in the header":           compact(t, header.with("jwk", stranger.public()), claims, stranger.Private),
		"our key in the header":           compact(t, header.with("jwk", h.key.public()), claims, own),
		"key by URL":                      compact(t, header.with("jku", "https://evil.example/jwks"), claims, own),
		"crit":                            compact(t, header.with("crit", []string{"b64"}).with("b64", true), claims, own),
		"typ JWT":                         compact(t, header.with("typ", "JWT"), claims, own),
		"typ of a webhook":                compact(t, header.with("typ", "huanxin-webhook+jwt"), claims, own),
		"no typ":                          compact(t, header.with("typ", nil), claims, own),
		"other issuer":                    compact(t, header, claims.with("iss", "https://evil.example"), own),
		"no issuer":                       compact(t, header, claims.with("iss", nil), own),
		"other audience":                  compact(t, header, claims.with("aud", "https://app.example"), own),
		"other audiences":                 compact(t, header, claims.with("aud", []string{"a", "b"}), own),
		"no audience":                     compact(t, header, claims.with("aud", nil), own),
		"no exp":                          compact(t, header, claims.with("exp", nil), own),
		"no iat":                          compact(t, header, claims.with("iat", nil), own),
		"no jti":                          compact(t, header, claims.with("jti", nil), own),
		"no client":                       compact(t, header, claims.with("client_id", nil), own),
		"sub is not the client":           compact(t, header, claims.with("sub", "app-2"), own),
		"valid for an hour":               compact(t, header, claims.with("exp", noon.Unix()+3600), own),
		"issued later":                    compact(t, header, claims.with("iat", later), own),
		"not valid before later":          compact(t, header, claims.with("nbf", later), own),
		"exp of the wrong type":           compact(t, header, claims.with("exp", "soon"), own),
		"exp beyond all bounds":           compact(t, header, claims.with("exp", 1e300), own),
		"iat of long ago, exp far ahead":  compact(t, header, claims.with("iat", -9e18).with("exp", 9e18), own),
		"client that does not exist":      compact(t, header, claims.with("sub", "x").with("client_id", "x"), own),
	} {
		_, err := h.verifier.Verify(t.Context(), token, noon)
		mustRefuse(t, what, err)
	}
}

func TestATokenEndsAfterItsTimeRememberedOrNot(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	for _, c := range []struct {
		after time.Duration
		good  bool
	}{{0, true}, {899 * time.Second, true}, {904 * time.Second, true}, {905 * time.Second, false}, {time.Hour, false}} {
		_, err := h.verifier.Verify(t.Context(), token, noon.Add(c.after))
		if c.good && err != nil {
			t.Errorf("after %v: %v", c.after, err)
		}
		if !c.good {
			mustRefuse(t, c.after.String(), err)
			if !strings.Contains(err.Error(), "expired") {
				t.Errorf("the error does not say why: %v", err)
			}
		}
	}
}

func TestAClientThatIsDisabledIsRefusedAtOnceAndSoIsOneOfADisabledParty(t *testing.T) {
	for what, disable := range map[string]func(*huanxin.Client){
		"client": func(c *huanxin.Client) { c.Disabled = true },
		"party":  func(c *huanxin.Client) { c.Party.Disabled = true },
	} {
		h := newHub(t)
		token := h.token(t)
		if _, err := h.verifier.Verify(t.Context(), token, noon); err != nil {
			t.Fatal(err)
		}
		h.change("app-1", disable)
		_, err := h.verifier.Verify(t.Context(), token, noon)
		mustRefuse(t, what, err)
	}
}

func TestAScopeThatWasTakenAwayIsGone(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	h.change("app-1", func(c *huanxin.Client) {
		c.Scopes = huanxin.Scopes{huanxin.ScopeLotsWork, huanxin.ScopeNumbersCheck}
	})
	caller, err := h.verifier.Verify(t.Context(), token, noon)
	if err != nil || caller.Scopes.String() != "numbers.check" {
		t.Errorf("the scopes are %q, %v", caller.Scopes, err)
	}
	h.change("app-1", func(c *huanxin.Client) { c.Scopes = append(c.Scopes, huanxin.ScopeTasksWork) })
	if caller, _ := h.verifier.Verify(t.Context(), token, noon); len(caller.Scopes) != 2 {
		t.Errorf("the remembered scopes were changed: %q", caller.Scopes)
	}
}

func TestAFaultOfTheRegistryIsNotARefusal(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	h.fault = errors.New("no database")
	if _, err := h.verifier.Verify(t.Context(), token, noon); huanxin.KindOf(err) != huanxin.Internal {
		t.Errorf("the error is %v", err)
	}
}

func TestATokenIsRememberedForFiveSecondsAndNotPastItsKeys(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	remembered := func(now time.Time) bool {
		_, ok := h.verifier.seen.get(token, h.ring.keys.Load(), now)
		return ok
	}
	if _, err := h.verifier.Verify(t.Context(), token, noon); err != nil {
		t.Fatal(err)
	}
	if !remembered(noon) || !remembered(noon.Add(4999*time.Millisecond)) {
		t.Error("it is not remembered")
	}
	if remembered(noon.Add(5*time.Second)) || remembered(noon.Add(-time.Second)) {
		t.Error("it is remembered for too long, or while the clock went back")
	}
	if err := h.ring.Replace([]SigningKey{NewSigningKey(noon)}); err != nil {
		t.Fatal(err)
	}
	_, err := h.verifier.Verify(t.Context(), token, noon)
	mustRefuse(t, "after its key was withdrawn", err)
}

func TestTheMemoryForTokensIsBounded(t *testing.T) {
	var c tokenCache
	ring := new(ringKeys)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2 * cacheShards * cachePerShard / 4 {
				key := fmt.Sprintf("%d %d %c=", g, i, 'A'+i%64)
				c.put(key, grant{client: "c", exp: noon.Add(time.Hour), checked: noon, ring: ring}, noon)
				if g, ok := c.get(key, ring, noon); ok && g.client != "c" {
					t.Error("a wrong grant")
				}
			}
		})
	}
	wg.Wait()
	size := 0
	for i := range c.shards {
		size += len(c.shards[i].grants)
	}
	if size > cacheShards*cachePerShard || size < cacheShards*cachePerShard/2 {
		t.Errorf("it holds %d tokens", size)
	}
	// What has grown old makes room first.
	late := noon.Add(time.Minute)
	for i := range cacheShards {
		c.put(string([]byte{byte(i), '='}), grant{exp: noon.Add(time.Hour), checked: late, ring: ring}, late)
	}
	size = 0
	for i := range c.shards {
		size += len(c.shards[i].grants)
	}
	if size != cacheShards {
		t.Errorf("%d tokens are left, not %d", size, cacheShards)
	}
}

// Hours of rotations: two hubs that read the keys a minute late, and an outsider who keeps the JWKS for five minutes. At no
// moment may a token that is still valid be refused by any of them, whoever signed it.
func TestKeysRotateWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rotation := Rotation{Lead: 10 * time.Minute, Keep: 20 * time.Minute}
		keys := rotation.Next(nil, NewSigningKey(time.Now()), time.Now())
		h := newHub(t)
		hubs := make([]*KeyRing, 2)
		for i := range hubs {
			var err error
			if hubs[i], err = NewKeyRing(keys...); err != nil {
				t.Fatal(err)
			}
		}
		client := h.clients["app-1"]
		var jwks jose.JSONWebKeySet
		type issued struct {
			token string
			at    time.Time
		}
		var live []issued
		used := map[string]bool{}
		for minute := range 5 * 60 {
			now := time.Now()
			if minute%90 == 89 {
				keys = rotation.Next(keys, NewSigningKey(now), now)
			} else if err := hubs[minute%2].Replace(keys); err != nil {
				t.Fatal(err)
			}
			if minute%5 == 0 {
				jwks = hubs[0].JWKS(now)
			}
			signing := &Issuer{URL: issuerURL, Ring: hubs[minute%2]}
			token, _, err := signing.Mint(&client, client.Scopes, now)
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, issued{token, now})
			if now.Sub(live[0].at) >= MaxTokenLifetime {
				live = live[1:]
			}
			for _, l := range []issued{live[0], live[len(live)/2], live[len(live)-1]} {
				for _, ring := range hubs {
					if _, err := NewVerifier(&Issuer{URL: issuerURL, Ring: ring}, h.lookup).Verify(t.Context(), l.token, now); err != nil {
						t.Fatalf("in minute %d a hub refuses a token of %v: %v", minute, l.at, errors.Unwrap(err))
					}
				}
				jws, err := jose.ParseSignedCompact(l.token, []jose.SignatureAlgorithm{jose.ES256})
				if err != nil {
					t.Fatal(err)
				}
				kid := jws.Signatures[0].Header.KeyID
				used[kid] = true
				if len(jwks.Key(kid)) != 1 {
					t.Fatalf("in minute %d an outsider does not know the key of a token of %v", minute, l.at)
				}
				if _, err := jws.Verify(jwks.Key(kid)[0]); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
		}
		if len(used) < 4 || len(keys) > 3 {
			t.Errorf("%d keys were used, %d are kept", len(used), len(keys))
		}
	})
}

func FuzzVerify(f *testing.F) {
	h := newHub(f)
	good := h.token(f)
	header, claims := h.genuine()
	f.Add(good)
	f.Add(compact(f, header.with("alg", "none"), claims, nil))
	f.Add(compact(f, header.with("alg", "HS256"), claims, []byte("k")))
	f.Add("..")
	decoded := func(token string) string {
		var out []byte
		for _, p := range strings.Split(token, ".") {
			data, _ := base64.RawURLEncoding.DecodeString(p)
			out = append(append(out, data...), '.')
		}
		return string(out)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := h.verifier.Verify(context.Background(), token, noon)
		if err == nil && decoded(token) != decoded(good) {
			t.Errorf("a forgery passes: %s", token)
		}
		if err != nil && huanxin.KindOf(err) != huanxin.Unauthenticated {
			t.Errorf("the error is %v", err)
		}
	})
}

func BenchmarkVerifyRemembered(b *testing.B) {
	h := newHub(b)
	token := h.token(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.verifier.Verify(b.Context(), token, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyUnseen(b *testing.B) {
	h := newHub(b)
	token := h.token(b)
	for b.Loop() {
		if _, err := h.verifier.read(token, h.ring.keys.Load(), noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMint(b *testing.B) {
	h := newHub(b)
	client := h.clients["app-1"]
	for b.Loop() {
		if _, _, err := h.issuer.Mint(&client, client.Scopes, noon); err != nil {
			b.Fatal(err)
		}
	}
}
