package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// SigningKey is a key pair and the time in which it is used. It does not print its private part.
type SigningKey struct {
	KID     string // the key's id in the JWKS: its RFC 7638 thumbprint, unless another is given
	Alg     string // of the hub's own: one of HubAlgs
	Private crypto.Signer
	From    time.Time // used for signing from then on, until the next key takes over
	Until   time.Time // published, and good for verifying, until then; zero: no end is set yet
}

// NewSigningKey makes an ES256 key that is used from a time on.
func NewSigningKey(from time.Time) SigningKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("auth: no key can be made: " + err.Error()) // crypto/rand does not fail
	}
	return SigningKey{KID: clientkey.Thumbprint(private.Public()), Alg: string(jose.ES256), Private: private, From: from}
}

// HubAlgs are the algorithms by which the hub signs: ES256 tokens, webhooks and SETs, the others SETs of clients that ask for them.
var HubAlgs = []string{string(jose.ES256), string(jose.EdDSA), string(jose.RS256)}

// NewSigningKeyOf makes a key of one of HubAlgs that is used from a time on.
func NewSigningKeyOf(alg string, from time.Time) (SigningKey, error) {
	k := SigningKey{Alg: alg, From: from}
	var err error
	switch jose.SignatureAlgorithm(alg) {
	case jose.ES256:
		return NewSigningKey(from), nil
	case jose.EdDSA:
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	case jose.RS256:
		k.Private, err = rsa.GenerateKey(rand.Reader, clientkey.MinRSABits)
	default:
		return k, huanxin.BadField("alg", "unknown_alg", "must be "+strings.Join(HubAlgs, ", "))
	}
	return k.Named(), err
}

// MarshalPrivate gives the private key as PKCS#8 DER, for keeping it sealed.
func (k SigningKey) MarshalPrivate() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.Private) }

// ParsePrivate reads what MarshalPrivate gave.
func ParsePrivate(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("auth: not a PKCS#8 private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("auth: a %T cannot sign", key)
	}
	return signer, nil
}

// Format writes the key's id only, whatever the verb.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// String gives the key's id only.
func (k SigningKey) String() string { return "[signing key " + k.KID + "]" }

// LogValue gives the key's id only.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// public gives the key as it stands in a JWKS.
func (k SigningKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.KID, Algorithm: k.Alg, Use: "sig"}
}

// Named gives the key with its thumbprint as id where it has none, as CheckJWKS names it.
func (k SigningKey) Named() SigningKey {
	if k.KID == "" {
		k.KID = clientkey.Thumbprint(k.Private.Public())
	}
	return k
}

// signer makes what signs with this key and the given typ header (RFC 7515 §4.1.9).
func (k SigningKey) signer(typ string) (jose.Signer, error) {
	return clientkey.Signer(k.Private, k.Alg, k.KID, typ)
}

// signCompact writes claims as a JWT in compact form.
func signCompact(signer jose.Signer, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("auth: claims cannot be written: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("auth: signing: %w", err)
	}
	return jws.CompactSerialize()
}

// clientAlgs are all algorithms that clients may sign with.
var clientAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256, jose.RS256}

// MarshalClientKey writes a client's private key as PEM (PKCS#8).
func MarshalClientKey(k SigningKey) ([]byte, error) {
	der, err := k.MarshalPrivate()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseClientKey reads a client's private key, as clientkey.Parse does.
func ParseClientKey(data []byte) (SigningKey, error) {
	k, err := clientkey.Parse(data)
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: %w", err)
	}
	return SigningKey{KID: k.ID, Alg: k.Alg, Private: k.Private}, nil
}
