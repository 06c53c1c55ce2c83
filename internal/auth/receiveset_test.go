package auth

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
)

const resultEvent = "urn:huanxin:event:unbind-result"

// signer is a client with one key of every kind, and one more client's.
type signer struct {
	client  huanxin.Client
	keys    []SigningKey
	another SigningKey
}

func newSigner(t testing.TB) *signer {
	s := &signer{keys: clientKeys(t), another: NewSigningKey(noon)}
	s.client = huanxin.Client{ID: "app-1", JWKS: jwksOf(t, s.keys...)}
	return s
}

func (s *signer) head() object {
	return object{"alg": "ES256", "typ": "secevent+jwt", "kid": s.keys[0].KID}
}

func (s *signer) claims() object {
	return object{"iss": "app-1", "aud": issuerURL, "jti": "j", "iat": noon.Unix(), "sub_id": object{"format": "opaque", "id": "task_1"},
		"events": object{resultEvent: object{"outcome": "unbound"}}}
}

func (s *signer) receive(token string) (ReceivedSET, error) {
	return ReceiveSET(token, &s.client, issuerURL, resultEvent, noon)
}

func TestASETOfAClientIsTakenByWhateverKeyOfItsOwnItIsSigned(t *testing.T) {
	s := newSigner(t)
	for _, k := range s.keys {
		got, err := s.receive(compact(t, s.head().with("alg", k.Alg).with("kid", k.KID), s.claims(), k.Private))
		if err != nil || got.JTI != "j" || got.Subject != "task_1" || string(got.Event) != `{"outcome":"unbound"}` || !got.IssuedAt.Equal(noon) {
			t.Errorf("%s: %+v, %v", k.Alg, got, err)
		}
	}
	key, head, claims := s.keys[0].Private, s.head(), s.claims()
	for what, token := range map[string]string{
		"the long typ":        compact(t, head.with("typ", "application/secevent+jwt"), claims, key),
		"a list of audiences": compact(t, head, claims.with("aud", []string{issuerURL}), key),
		"what nobody knows":   compact(t, head.with("x", 1), claims.with("x", 1).with("txn", "t").with("toe", noon.Unix()), key),
		"a fraction":          compact(t, head, claims.with("iat", float64(noon.Unix())+0.5), key),
		"72 hours":            compact(t, head, claims.with("iat", noon.Add(-72*time.Hour).Unix()), key),
		"5 minutes ahead":     compact(t, head, claims.with("iat", noon.Add(5*time.Minute).Unix()), key),
		"nbf":                 compact(t, head, claims.with("nbf", noon.Unix()), key),
	} {
		if _, err := s.receive(token); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	one := signer{client: huanxin.Client{ID: "app-1", JWKS: jwksOf(t, s.keys[0])}}
	if _, err := one.receive(compact(t, head.with("kid", nil), claims, key)); err != nil {
		t.Errorf("without a kid, of a client with one key: %v", err)
	}
}

func TestASETThatIsNotWhatItShouldBeIsRefused(t *testing.T) {
	s := newSigner(t)
	key, head, claims := s.keys[0].Private, s.head(), s.claims()
	good := compact(t, head, claims, key)
	parts := strings.Split(good, ".")
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	twice := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"app-1","iss":"app-1"}`))
	events := func(o any) object { return claims.with("events", o) }
	subject := func(o any) object { return claims.with("sub_id", o) }
	for what, c := range map[string]struct{ token, code string }{
		"nothing":                         {"", "invalid_request"},
		"text":                            {"hello", "invalid_request"},
		"two parts":                       {parts[0] + "." + parts[1], "invalid_request"},
		"no signature":                    {parts[0] + "." + parts[1] + ".", "authentication_failed"},
		"a byte behind it":                {good + "A", "authentication_failed"},
		"a line break behind it":          {good + "\n", "invalid_request"},
		"a line break in it":              {good[:20] + "\n" + good[20:], "invalid_request"},
		"a blank before it":               {" " + good, "invalid_request"},
		"another one behind it":           {good + "." + good, "invalid_request"},
		"JSON form":                       {`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, "invalid_request"},
		"too long":                        {compact(t, head, claims.with("x", strings.Repeat("x", MaxSET)), key), "invalid_request"},
		"none":                            {compact(t, head.with("alg", "none"), claims, nil), "invalid_request"},
		"none, in other letters":          {compact(t, head.with("alg", "nOnE"), claims, nil), "invalid_request"},
		"none, signed":                    {compact(t, head.with("alg", "none"), claims, key), "invalid_request"},
		"HS256 with the public key":       {compact(t, head.with("alg", "HS256"), claims, public), "invalid_request"},
		"ES256 that is an HMAC":           {compact(t, head, claims, public), "authentication_failed"},
		"an alg of another key":           {compact(t, head.with("alg", "RS256"), claims, rsaKey()), "invalid_key"},
		"PS256 of a key for RS256":        {compact(t, head.with("alg", "PS256").with("kid", "rs"), claims, rsaKey()), "invalid_key"},
		"other claims":                    {parts[0] + "." + strings.Split(compact(t, head, claims.with("jti", "k"), key), ".")[1] + "." + parts[2], "authentication_failed"},
		"signed by somebody else":         {compact(t, head, claims, s.another.Private), "authentication_failed"},
		"somebody else's kid":             {compact(t, head.with("kid", s.another.KID), claims, s.another.Private), "invalid_key"},
		"no kid":                          {compact(t, head.with("kid", nil), claims, key), "invalid_key"},
		"P-384":                           {compact(t, head.with("alg", "ES384"), claims, nil), "invalid_request"},
		"crit":                            {compact(t, head.with("crit", []string{"x"}).with("x", 1), claims, key), "invalid_request"},
		"crit of what there is":           {compact(t, head.with("crit", []string{"b64"}).with("b64", true), claims, key), "invalid_request"},
		"b64":                             {compact(t, head.with("b64", false), claims, key), "invalid_request"},
		"b64, critical":                   {compact(t, head.with("b64", false).with("crit", []string{"b64"}), claims, key), "invalid_request"},
		"no typ":                          {compact(t, head.with("typ", nil), claims, key), "invalid_request"},
		"typ JWT":                         {compact(t, head.with("typ", "JWT"), claims, key), "invalid_request"},
		"an assertion":                    {compact(t, head.with("typ", "client-authentication+jwt"), claims.with("sub", "app-1"), key), "invalid_request"},
		"another issuer":                  {compact(t, head, claims.with("iss", "app-2"), key), "invalid_issuer"},
		"no issuer":                       {compact(t, head, claims.with("iss", nil), key), "invalid_issuer"},
		"another audience":                {compact(t, head, claims.with("aud", "https://other.example.test"), key), "invalid_audience"},
		"more audiences":                  {compact(t, head, claims.with("aud", []string{issuerURL, "https://other.example.test"}), key), "invalid_audience"},
		"a slash too many":                {compact(t, head, claims.with("aud", issuerURL+"/"), key), "invalid_audience"},
		"no audience":                     {compact(t, head, claims.with("aud", nil), key), "invalid_audience"},
		"an empty audience":               {compact(t, head, claims.with("aud", []string{}), key), "invalid_audience"},
		"no jti":                          {compact(t, head, claims.with("jti", nil), key), "invalid_request"},
		"a very long jti":                 {compact(t, head, claims.with("jti", strings.Repeat("j", 256)), key), "invalid_request"},
		"exp":                             {compact(t, head, claims.with("exp", noon.Add(time.Hour).Unix()), key), "invalid_request"},
		"sub":                             {compact(t, head, claims.with("sub", "x"), key), "invalid_request"},
		"no iat":                          {compact(t, head, claims.with("iat", nil), key), "invalid_request"},
		"an iat of text":                  {compact(t, head, claims.with("iat", "now"), key), "invalid_request"},
		"old":                             {compact(t, head, claims.with("iat", noon.Add(-72*time.Hour-time.Second).Unix()), key), "invalid_request"},
		"of before":                       {compact(t, head, claims.with("iat", -1e300), key), "invalid_request"},
		"in the future":                   {compact(t, head, claims.with("iat", noon.Add(5*time.Minute+time.Second).Unix()), key), "invalid_request"},
		"in the far future":               {compact(t, head, claims.with("iat", 1.8e19), key), "invalid_request"},
		"not yet":                         {compact(t, head, claims.with("nbf", noon.Add(time.Hour).Unix()), key), "invalid_request"},
		"no subject":                      {compact(t, head, subject(nil), key), "invalid_request"},
		"a phone number":                  {compact(t, head, subject(object{"format": "phone_number", "phone_number": "+8613800000001"}), key), "invalid_request"},
		"a subject of text":               {compact(t, head, subject("task_1"), key), "invalid_request"},
		"an opaque subject without an id": {compact(t, head, subject(object{"format": "opaque"}), key), "invalid_request"},
		"no events":                       {compact(t, head, events(nil), key), "invalid_request"},
		"an empty events":                 {compact(t, head, events(object{}), key), "invalid_request"},
		"another type":                    {compact(t, head, events(object{"urn:x": object{}}), key), "invalid_request"},
		"two types":                       {compact(t, head, events(object{resultEvent: object{}, "urn:x": object{}}), key), "invalid_request"},
		"events of text":                  {compact(t, head, events("x"), key), "invalid_request"},
		"an event of text":                {compact(t, head, events(object{resultEvent: "x"}), key), "invalid_request"},
		"an event that is null":           {compact(t, head, events(map[string]any{resultEvent: nil}), key), "invalid_request"},
		"claims twice":                    {parts[0] + "." + twice + "." + parts[2], "invalid_request"},
	} {
		got, err := s.receive(c.token)
		if huanxin.KindOf(err) != huanxin.Invalid || huanxin.CodeOf(err) != c.code || got.JTI != "" || strings.Contains(fmt.Sprint(err), "13800000001") {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for what, c := range map[string]huanxin.Client{"no keys": {ID: "app-1"}, "a broken key set": {ID: "app-1", JWKS: []byte("{")}} {
		if _, err := ReceiveSET(good, &c, issuerURL, resultEvent, noon); huanxin.CodeOf(err) != "invalid_key" {
			t.Errorf("of a client with %s: %v", what, err)
		}
	}
}

// Whatever keys and certificates a header brings along: they sign nothing, and do no harm where the client's own key did.
func TestAKeyThatComesWithTheSETIsNotLookedAt(t *testing.T) {
	s := newSigner(t)
	attacker := otherECKey(t, elliptic.P256())
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app-1"}}
	certificate, err := x509.CreateCertificate(rand.Reader, form, form, attacker.Public(), attacker)
	if err != nil {
		t.Fatal(err)
	}
	jwk := jose.JSONWebKey{Key: attacker.Public(), KeyID: s.keys[0].KID, Algorithm: "ES256"}
	for what, head := range map[string]object{
		"jwk":         s.head().with("jwk", jwk),
		"jku":         s.head().with("jku", "https://evil.example/jwks.json"),
		"x5u":         s.head().with("x5u", "https://evil.example/cert"),
		"x5c":         s.head().with("x5c", [][]byte{certificate}),
		"x5t":         s.head().with("x5t#S256", "x"),
		"all of them": s.head().with("jwk", jwk).with("jku", "https://evil.example/jwks.json").with("x5u", "https://evil.example/cert"),
	} {
		if _, err := s.receive(compact(t, head, s.claims(), attacker)); huanxin.CodeOf(err) != "authentication_failed" {
			t.Errorf("%s, signed with it: %v", what, err)
		}
		if _, err := s.receive(compact(t, head.with("kid", nil), s.claims(), attacker)); huanxin.CodeOf(err) != "invalid_key" {
			t.Errorf("%s, without a kid: %v", what, err)
		}
		if _, err := s.receive(compact(t, head, s.claims(), s.keys[0].Private)); err != nil {
			t.Errorf("%s, signed with the client's key: %v", what, err)
		}
	}
}

func FuzzReceiveSET(f *testing.F) {
	s := newSigner(f)
	good := compact(f, s.head(), s.claims(), s.keys[0].Private)
	f.Add(good)
	f.Add(compact(f, s.head().with("alg", "none"), maps.Clone(s.claims()), nil))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := s.receive(token)
		switch {
		case err != nil && huanxin.KindOf(err) != huanxin.Invalid:
			t.Errorf("%q: %v", token, err)
		case err == nil && (got.Subject != "task_1" || token[:strings.LastIndexByte(token, '.')] != good[:strings.LastIndexByte(good, '.')]):
			t.Errorf("a forgery is taken: %q", token)
		}
	})
}
