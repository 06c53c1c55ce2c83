package auth

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
)

// typCertificate is the typ header of a certificate, so that nothing else that the hub signed passes for one (RFC 8725 §3.11).
const typCertificate = "huanxin-tenure+jwt"

// MaxCertificate is longer than any certificate.
const MaxCertificate = 2 << 10

// certificateClaims are what a certificate says, in short names: it goes into a QR code.
type certificateClaims struct {
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Number   string `json:"num"`
	Since    string `json:"since"`
	AtLatest bool   `json:"latest,omitempty"`
}

// SignCertificate writes a certificate as a JWT signed with ES256 (RFC 7519), which anyone can verify with the published keys.
func (r *KeyRing) SignCertificate(issuer string, c huanxin.Certificate, now time.Time) (string, error) {
	return r.Sign(now, typCertificate, certificateClaims{Issuer: issuer, IssuedAt: c.IssuedAt.Unix(), Expires: c.Expires.Unix(),
		Number: c.Number, Since: c.Since, AtLatest: c.AtLatest})
}

var (
	certified = regexp.MustCompile(`^(\+[0-9]{5,15}|…[0-9]{4})$`)
	sinceWhen = regexp.MustCompile(`^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$`)
)

// VerifyCertificate says what a certificate of this hub says. It looks at its signature and age and at nothing else: not at how the number
// stands today. The error is Refused: certificate_invalid, or certificate_expired, with which the certificate is given all the same.
func (r *KeyRing) VerifyCertificate(text, issuer string, now time.Time) (huanxin.Certificate, error) {
	var none huanxin.Certificate
	invalid := huanxin.Errorf(huanxin.Refused, "certificate_invalid", "this is no certificate of this service, or it was changed")
	text = strings.Join(strings.Fields(text), "") // as people paste it
	if len(text) > MaxCertificate || strings.Trim(text, compactAlphabet) != "" {
		return none, invalid
	}
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return none, invalid
	}
	head := jws.Signatures[0].Protected
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); typ != typCertificate {
		return none, invalid
	}
	key := r.keys.Load().published(head.KeyID, now)
	if key == nil || key.Alg != tokenAlg {
		return none, invalid
	}
	payload, err := jws.Verify(key.jwk)
	if err != nil {
		return none, invalid
	}
	var claims certificateClaims
	if json.Unmarshal(payload, &claims) != nil || claims.Issuer != issuer || !certified.MatchString(claims.Number) || !sinceWhen.MatchString(claims.Since) {
		return none, invalid
	}
	c := huanxin.Certificate{Number: claims.Number, Since: claims.Since, AtLatest: claims.AtLatest, IssuedAt: time.Unix(claims.IssuedAt, 0), Expires: time.Unix(claims.Expires, 0)}
	switch {
	case c.IssuedAt.After(now.Add(huanxin.MaxAhead)):
		return none, invalid
	case !now.Before(c.Expires):
		return c, huanxin.Errorf(huanxin.Refused, "certificate_expired", "the certificate is too old")
	}
	return c, nil
}
