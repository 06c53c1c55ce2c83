package auth

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huanxin-platform/huanxin"
)

func TestACertificateIsVerifiedByItsSignatureAndAgeAlone(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	ring := ringOf(t, NewSigningKey(now.Add(-time.Hour)))
	c := huanxin.Certificate{Number: "…0001", Since: "2026-03", IssuedAt: now, Expires: now.Add(huanxin.CertificateIn)}
	text, err := ring.SignCertificate("https://hub.example", c, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 400 {
		t.Errorf("%d characters are many for a QR code", len(text))
	}
	got, err := ring.VerifyCertificate(text, "https://hub.example", now.Add(6*24*time.Hour))
	if err != nil || got.Number != c.Number || got.Since != c.Since || !got.Expires.Equal(c.Expires) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := ring.VerifyCertificate(text[:60]+"\n  "+text[60:]+"\n", "https://hub.example", now); err != nil {
		t.Errorf("as people paste it: %v", err)
	}
	if got, err := ring.VerifyCertificate(text, "https://hub.example", now.Add(7*24*time.Hour)); huanxin.CodeOf(err) != "certificate_expired" || got.Since != c.Since {
		t.Errorf("after a week: %+v %v", got, err)
	}
	other, err := ring.Sign(now, "at+jwt", map[string]any{"iss": "https://hub.example", "num": "…0001", "since": "2026", "iat": now.Unix(), "exp": now.Unix() + 600})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	for what, bad := range map[string]string{
		"nothing": "", "no token": "hello", "cut": text[:len(text)-5], "long": strings.Repeat("a", 5000), "of another type": other,
		"changed":  parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://hub.example","iat":1,"exp":9999999999,"num":"…0002","since":"2020"}`)) + "." + parts[2],
		"unsigned": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"huanxin-tenure+jwt"}`)) + "." + parts[1] + ".",
		"a number": "13800000001",
	} {
		if _, err := ring.VerifyCertificate(bad, "https://hub.example", now); huanxin.CodeOf(err) != "certificate_invalid" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ring.VerifyCertificate(text, "https://other.example", now); huanxin.CodeOf(err) != "certificate_invalid" {
		t.Errorf("of another hub: %v", err)
	}
	if _, err := ringOf(t, NewSigningKey(now.Add(-time.Hour))).VerifyCertificate(text, "https://hub.example", now); huanxin.CodeOf(err) != "certificate_invalid" {
		t.Errorf("with other keys: %v", err)
	}
}

// Who has the published keys needs nothing else: the test uses another library's way.
func TestACertificateIsVerifiedOfflineWithThePublishedKeys(t *testing.T) {
	now := time.Now()
	ring := ringOf(t, NewSigningKey(now.Add(-time.Hour)))
	text, err := ring.SignCertificate("https://hub.example", huanxin.Certificate{Number: "+8613800000001", Since: "2026-03-01", IssuedAt: now, Expires: now.Add(huanxin.CertificateIn)}, now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	keys := ring.JWKS(now)
	var claims struct {
		jwt.Claims
		Number string `json:"num"`
		Since  string `json:"since"`
	}
	if err := token.Claims(keys, &claims); err != nil {
		t.Fatal(err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: "https://hub.example", Time: now}); err != nil {
		t.Fatal(err)
	}
	if claims.Number != "+8613800000001" || claims.Since != "2026-03-01" {
		t.Errorf("%+v", claims)
	}
}
