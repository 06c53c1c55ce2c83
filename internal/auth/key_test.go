package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// clientKeys is one key of every kind that clients may have.
func clientKeys(t testing.TB) []SigningKey {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []SigningKey{
		NewSigningKey(time.Time{}),
		{KID: "ed", Alg: "EdDSA", Private: ed},
		{KID: "ps", Alg: "PS256", Private: rsaKey()},
		{KID: "rs", Alg: "RS256", Private: rsaKey()},
	}
}

func TestAPrivateKeyComesBackFromItsDER(t *testing.T) {
	k := NewSigningKey(noon)
	der, err := k.MarshalPrivate()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePrivate(der)
	if err != nil {
		t.Fatal(err)
	}
	if mine, ok := k.Private.(*ecdsa.PrivateKey); !ok || !mine.Equal(back) {
		t.Error("it is another key")
	}
	if _, err := ParsePrivate(der[1:]); err == nil {
		t.Error("damage is not noticed")
	}
}

func TestASigningKeyPrintsItsIDOnly(t *testing.T) {
	k := NewSigningKey(noon)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	d := fmt.Sprint(k.Private)
	for _, s := range []string{fmt.Sprintf("%v", k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", &k), fmt.Sprint([]SigningKey{k}), log.String()} {
		if strings.Contains(s, d) || !strings.Contains(s, "[signing key "+k.KID+"]") {
			t.Errorf("it prints as %s", s)
		}
	}
}

func TestTheRingRefusesKeysThatCannotWork(t *testing.T) {
	good := NewSigningKey(noon)
	r, err := NewKeyRing(good)
	if err != nil {
		t.Fatal(err)
	}
	for what, keys := range map[string][]SigningKey{
		"none":        nil,
		"no private":  {{KID: "a", Alg: "ES256"}},
		"no id":       {{Alg: "ES256", Private: good.Private}},
		"none ES256":  {{KID: "a", Alg: "RS256", Private: rsaKey()}},
		"other alg":   {good, {KID: "a", Alg: "PS256", Private: rsaKey()}},
		"alg unlike":  {{KID: "a", Alg: "ES256", Private: rsaKey()}},
		"other curve": {{KID: "a", Alg: "ES256", Private: otherECKey(t, elliptic.P384())}},
		"one twice":   {good, good},
	} {
		if err := r.Replace(keys); err == nil {
			t.Errorf("%s: taken", what)
		}
		if _, err := r.Sign(noon, "x", nil); err != nil {
			t.Errorf("%s: the ring no longer signs: %v", what, err)
		}
	}
}

func TestTheRingSignsWithTheLatestKeyInUseAndPublishesWhatMayBeSeen(t *testing.T) {
	key := func(from, until time.Duration) SigningKey {
		k := NewSigningKey(noon.Add(from))
		if until != 0 {
			k.Until = noon.Add(until)
		}
		return k
	}
	gone, old, now, next := key(-9*time.Hour, -time.Hour), key(-2*time.Hour, time.Hour), key(-time.Hour, 0), key(time.Hour, 0)
	r, err := NewKeyRing(next, old, gone, now)
	if err != nil {
		t.Fatal(err)
	}
	kid := func(at time.Time) string {
		t.Helper()
		token, err := r.Sign(at, "test+jwt", object{"a": 1})
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		head := jws.Signatures[0].Protected
		if !isType(head, "test+jwt") {
			t.Errorf("the typ is %v", head.ExtraHeaders)
		}
		set := r.JWKS(at)
		payload, err := jws.Verify(set.Key(head.KeyID)[0])
		if err != nil || string(payload) != `{"a":1}` {
			t.Errorf("the payload is %s, %v", payload, err)
		}
		return head.KeyID
	}
	if kid(noon) != now.KID || kid(noon.Add(time.Hour)) != next.KID || kid(noon.Add(-90*time.Minute)) != old.KID {
		t.Error("it signs with another key")
	}
	var published []string
	for _, k := range r.JWKS(noon).Keys {
		published = append(published, k.KeyID)
	}
	if fmt.Sprint(published) != fmt.Sprint([]string{old.KID, now.KID, next.KID}) {
		t.Errorf("published are %v", published)
	}
	if _, err := r.Sign(noon.Add(-24*time.Hour), "x", nil); huanxin.KindOf(err) != huanxin.Unavailable {
		t.Errorf("before all keys: %v", err)
	}
	if _, err := r.Sign(noon, "x", func() {}); err == nil {
		t.Error("claims that are no JSON are signed")
	}
}

// hardware signs without giving its private key, as a key in hardware does.
type hardware struct{ key *ecdsa.PrivateKey }

func (h hardware) Public() crypto.PublicKey { return h.key.Public() }
func (h hardware) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return h.key.Sign(r, digest, o)
}

func TestAKeyInHardwareSigns(t *testing.T) {
	k := SigningKey{KID: "hsm", Alg: "ES256", Private: hardware{otherECKey(t, elliptic.P256())}}
	r, err := NewKeyRing(k)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &Issuer{URL: issuerURL, Ring: r}
	h := newHub(t)
	client := h.clients["app-1"]
	token, _, err := issuer.Mint(&client, client.Scopes, noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(issuer, h.lookup).Verify(t.Context(), token, noon); err != nil {
		t.Error(errors.Unwrap(err))
	}
}

func TestARotationPublishesFirstAndKeepsTheOldKey(t *testing.T) {
	r := Rotation{Lead: time.Hour, Keep: 24 * time.Hour}
	first := r.Next(nil, NewSigningKey(noon), noon)
	if len(first) != 1 || !first[0].From.Equal(noon) || !first[0].Until.IsZero() {
		t.Fatalf("the first key is used from %v until %v", first[0].From, first[0].Until)
	}
	second := r.Next(first, NewSigningKey(noon), noon.AddDate(0, 1, 0))
	at := noon.AddDate(0, 1, 0).Add(time.Hour)
	if len(second) != 2 || !second[1].From.Equal(at) || !second[0].Until.Equal(at.Add(24*time.Hour)) || !second[1].Until.IsZero() {
		t.Errorf("the second key is used from %v, the first is kept until %v", second[1].From, second[0].Until)
	}
	if !first[0].Until.IsZero() {
		t.Error("the keys given were changed")
	}
	if third := r.Next(second, NewSigningKey(noon), noon.AddDate(0, 2, 0)); len(third) != 2 || third[0].KID != second[1].KID {
		t.Errorf("after the third there are %d keys", len(third))
	}
}

func TestTheKeySetIsServedWithKidAlgAndUse(t *testing.T) {
	h := newHub(t)
	w := httptest.NewRecorder()
	JWKSHandler(h.ring).ServeHTTP(w, httptest.NewRequest(http.MethodGet, JWKSPath, nil))
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != h.key.KID || set.Keys[0]["alg"] != "ES256" || set.Keys[0]["use"] != "sig" || set.Keys[0]["d"] != nil {
		t.Errorf("the key set is %s", w.Body)
	}
}

func TestAClientsKeyIsReadFromPEMAndFromJWK(t *testing.T) {
	for _, k := range clientKeys(t) {
		data, err := MarshalClientKey(k)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := json.Marshal(jose.JSONWebKey{Key: k.Private, KeyID: k.KID, Algorithm: k.Alg})
		if err != nil {
			t.Fatal(err)
		}
		for form, data := range [][]byte{data, jwk} {
			back, err := ParseClientKey(data)
			if err != nil {
				t.Errorf("%s: %v", k.Alg, err)
				continue
			}
			if clientkey.Thumbprint(back.Private.Public()) != clientkey.Thumbprint(k.Private.Public()) || back.KID != []string{"", k.Named().KID}[form] || back.Alg == "" || back.Named().KID == "" {
				t.Errorf("%s comes back as %v, %s", k.Alg, back, back.Alg)
			}
		}
	}
	sec1, err := x509.MarshalECPrivateKey(otherECKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseClientKey(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})); err != nil {
		t.Errorf("SEC 1: %v", err)
	}
	for what, data := range map[string][]byte{
		"nothing":     nil,
		"text":        []byte("key"),
		"damaged":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sec1}),
		"public":      jwksOne(t, clientKeys(t)[0].public()),
		"symmetric":   jwksOne(t, jose.JSONWebKey{Key: []byte("secretsecret")}),
		"other curve": jwksOne(t, jose.JSONWebKey{Key: otherECKey(t, elliptic.P384())}),
	} {
		if _, err := ParseClientKey(data); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

func jwksOne(t testing.TB, key jose.JSONWebKey) []byte {
	t.Helper()
	data, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAKeySetOfPublicKeysIsTakenAndTidied(t *testing.T) {
	for _, k := range clientKeys(t) {
		jwk := k.public()
		jwk.KeyID, jwk.Use, jwk.Algorithm = "", "", ""
		out, err := CheckJWKS([]byte(`{"keys":[` + strings.Replace(string(jwksOne(t, jwk)), "{", `{"x-note":"mine",`, 1) + `],"more":1}`))
		if err != nil {
			t.Errorf("%s: %v", k.Alg, err)
			continue
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(out, &set); err != nil {
			t.Fatal(err)
		}
		if set.Keys[0]["kid"] != clientkey.Thumbprint(k.Private.Public()) || set.Keys[0]["use"] != "sig" || set.Keys[0]["x-note"] != nil {
			t.Errorf("%s is kept as %s", k.Alg, out)
		}
		if again, err := CheckJWKS(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%s: what is kept changes when it is checked again: %s, %v", k.Alg, again, err)
		}
	}
	if _, err := CheckJWKS(jwksOf(t, clientKeys(t)[:3]...)); err != nil {
		t.Errorf("three keys: %v", err)
	}
}

func TestAKeySetWithWrongKeysIsRefusedByName(t *testing.T) {
	ec := clientKeys(t)[0]
	public := string(jwksOne(t, ec.public()))
	private := string(jwksOne(t, jose.JSONWebKey{Key: ec.Private, KeyID: "p"}))
	short := *rsaKey()
	short.N = new(big.Int).Rsh(short.N, 1024)
	weakJSON := string(jwksOne(t, jose.JSONWebKey{Key: &short.PublicKey}))
	many := strings.TrimSuffix(strings.Repeat(public+",", maxClientKeys+1), ",")
	for what, c := range map[string]struct{ data, field, code string }{
		"nothing":         {``, "jwks", "malformed"},
		"a list":          {`[]`, "jwks", "malformed"},
		"followed":        {`{"keys":[` + public + `]}{}`, "jwks", "malformed"},
		"no keys":         {`{"keys":[]}`, "jwks", "key_count"},
		"many keys":       {`{"keys":[` + many + `]}`, "jwks", "key_count"},
		"too long":        {strings.Repeat(" ", maxJWKS+1), "jwks", "too_long"},
		"private":         {`{"keys":[` + public + `,` + private + `]}`, "jwks.keys[1]", "private_key"},
		"private RSA":     {`{"keys":[` + string(jwksOne(t, jose.JSONWebKey{Key: rsaKey()})) + `]}`, "jwks.keys[0]", "private_key"},
		"symmetric":       {`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, "jwks.keys[0]", "private_key"},
		"1024 bits":       {`{"keys":[` + weakJSON + `]}`, "jwks.keys[0]", "unsupported_key"},
		"P-384":           {`{"keys":[` + string(jwksOne(t, jose.JSONWebKey{Key: otherECKey(t, elliptic.P384()).Public()})) + `]}`, "jwks.keys[0]", "unsupported_key"},
		"X25519":          {`{"keys":[{"kty":"OKP","crv":"X25519","x":"AAAA"}]}`, "jwks.keys[0]", "malformed"},
		"off the curve":   {`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`, "jwks.keys[0]", "malformed"},
		"not an object":   {`{"keys":[1]}`, "jwks.keys[0]", "malformed"},
		"for encryption":  {`{"keys":[` + strings.Replace(public, `"sig"`, `"enc"`, 1) + `]}`, "jwks.keys[0]", "unsupported_use"},
		"alg of another":  {`{"keys":[` + strings.Replace(public, `"ES256"`, `"RS256"`, 1) + `]}`, "jwks.keys[0]", "unsupported_alg"},
		"alg HS256":       {`{"keys":[` + strings.Replace(public, `"ES256"`, `"HS256"`, 1) + `]}`, "jwks.keys[0]", "unsupported_alg"},
		"one id twice":    {`{"keys":[` + public + `,` + public + `]}`, "jwks.keys[1]", "duplicate_kid"},
		"a very long kid": {`{"keys":[` + strings.Replace(public, ec.KID, strings.Repeat("k", 256), 1) + `]}`, "jwks.keys[0]", "too_long"},
	} {
		_, err := CheckJWKS([]byte(c.data))
		var e *huanxin.Error
		if !errors.As(err, &e) || e.Kind != huanxin.Invalid || len(e.Fields) != 1 || e.Fields[0].Field != c.field || e.Fields[0].Code != c.code {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzCheckJWKS(f *testing.F) {
	f.Add(jwksOf(f, clientKeys(f)[:3]...))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := CheckJWKS(data)
		if err != nil {
			if huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("the error is %v", err)
			}
			return
		}
		if again, err := CheckJWKS(out); err != nil || !bytes.Equal(out, again) {
			t.Errorf("what is kept is not taken again: %s, %v", out, err)
		}
		for _, m := range privateMembers {
			if bytes.Contains(out, []byte(`"`+m+`":`)) {
				t.Errorf("a private member is kept: %s", out)
			}
		}
	})
}
