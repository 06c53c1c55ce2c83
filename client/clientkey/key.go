// Package clientkey reads a client's private key and signs with it: what authenticates a client (RFC 7523), and what it says itself.
package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// Key is a private key that a hub knows a client by. It does not print itself.
type Key struct {
	// ID is the key's in the client's key set; empty: the hub takes the client's only key.
	ID string
	// Alg is ES256, EdDSA, PS256 or RS256.
	Alg     string
	Private crypto.Signer
}

// Format writes nothing of the key.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[client key]")) }

// LogValue says nothing of the key.
func (k *Key) LogValue() slog.Value { return slog.StringValue("[client key]") }

// Parse reads PEM (PKCS#8, or SEC 1 for EC), or one JWK with its private part. The key's id is the JWK's, or else its thumbprint. PEM holds
// no id, and none is made up, since the key set may give the key another.
func Parse(data []byte) (*Key, error) {
	var jwk jose.JSONWebKey
	if block, _ := pem.Decode(data); block != nil {
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			jwk.Key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			jwk.Key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			err = errors.New("of another type")
		}
		if err != nil {
			return nil, errors.New("the PEM file holds no private key in PKCS#8 form")
		}
	} else if err := jwk.UnmarshalJSON(data); err != nil {
		return nil, errors.New("the key file is neither PEM nor a JWK")
	} else if private, ok := jwk.Key.(crypto.Signer); ok && jwk.KeyID == "" {
		jwk.KeyID = Thumbprint(private.Public())
	}
	private, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key file holds no private key")
	}
	k := &Key{ID: jwk.KeyID, Alg: jwk.Algorithm, Private: private}
	algs := Algs(private.Public())
	if len(algs) == 0 {
		return nil, errors.New("a key is EC on P-256, Ed25519, or RSA of 2048 to 8192 bits")
	}
	if k.Alg == "" {
		k.Alg = string(algs[0])
	}
	return k, nil
}

// Sizes of RSA keys: less is weak (RFC 7518 §3.3), more only costs time.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// Algs gives the algorithms that a public key may be used with, the first of them by choice. The algorithm follows from the key, never
// from a message alone: that is what makes HS256 with a public key, and "none", impossible.
func Algs(public crypto.PublicKey) []jose.SignatureAlgorithm {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return []jose.SignatureAlgorithm{jose.ES256}
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= MinRSABits && bits <= MaxRSABits {
			return []jose.SignatureAlgorithm{jose.PS256, jose.RS256}
		}
	}
	return nil
}

// Thumbprint gives a public key's RFC 7638 thumbprint, or nothing for a kind of key that has none.
func Thumbprint(public crypto.PublicKey) string {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Signer makes what signs with a key and the given typ header (RFC 7515 §4.1.9).
func Signer(private crypto.Signer, alg, id, typ string) (jose.Signer, error) {
	var key any = private
	switch private.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
	default: // a key in hardware
		key = cryptosigner.Opaque(private)
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: jose.JSONWebKey{Key: key, KeyID: id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
}

// Sign writes claims as a JWT of a type.
func (k *Key) Sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := Signer(k.Private, k.Alg, k.ID, typ)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// Assertion authenticates a client at an audience, a hub's URL, for a minute (RFC 7523).
func (k *Key) Assertion(client, audience string, now time.Time) (string, error) {
	return k.Sign("JWT", map[string]any{"iss": client, "sub": client, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": rand.Text()})
}

// Derive gives a secret for one purpose, the same whenever it is asked for. Who has it has not the key.
func (k *Key) Derive(purpose string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, der, nil, purpose, sha256.Size)
}
