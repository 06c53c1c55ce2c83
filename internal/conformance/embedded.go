package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"

	"github.com/go-jose/go-jose/v4"
)

// signEmbedded signs claims with a new key, and puts its public half into the header, under the id of the hub's own key.
func signEmbedded(claims map[string]any, kid string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	return signBy(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true}, claims, kid)
}

// signHMAC signs claims with what everybody has: the text of a public key, taken for a secret.
func signHMAC(claims map[string]any, kid string, public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return signBy(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, &jose.SignerOptions{}, claims, kid)
}

func signBy(key jose.SigningKey, o *jose.SignerOptions, claims map[string]any, kid string) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	s, err := jose.NewSigner(key, o.WithType(setType).WithHeader(jose.HeaderKey("kid"), kid))
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
