package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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
	"os"
	"runtime"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin/client"
)

// clientKey is the private key that the hub knows the client by. It does not print itself.
type clientKey struct {
	id, alg string
	private any
}

func (k *clientKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[client key]")) }

func (k *clientKey) LogValue() slog.Value { return slog.StringValue("[client key]") }

// readKey reads a file that only its owner may read: PEM (PKCS#8 or SEC 1), or a JWK.
func readKey(path string) (*clientKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others than its owner may use it (mode %04o): chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func parseKey(text []byte) (*clientKey, error) {
	k := &clientKey{}
	if block, _ := pem.Decode(text); block != nil {
		var err error
		if k.private, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			if k.private, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
				return nil, errors.New("the PEM file holds no private key in PKCS#8 form")
			}
		}
	} else {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(text); err != nil {
			return nil, errors.New("it is neither PEM nor a JWK")
		}
		k.private, k.id, k.alg = jwk.Key, jwk.KeyID, jwk.Algorithm
		if k.id == "" {
			k.id = thumbprint(jwk)
		}
	}
	if k.alg != "" {
		return k, nil
	}
	switch key := k.private.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			k.alg = string(jose.ES256)
		}
	case ed25519.PrivateKey:
		k.alg = string(jose.EdDSA)
	case *rsa.PrivateKey:
		k.alg = string(jose.PS256)
	}
	if k.alg == "" {
		return nil, errors.New("a key is EC on P-256, Ed25519 or RSA")
	}
	return k, nil
}

// public is the public part.
func (k *clientKey) public() crypto.PublicKey {
	if s, ok := k.private.(crypto.Signer); ok {
		return s.Public()
	}
	return nil
}

func thumbprint(k jose.JSONWebKey) string {
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// sign writes claims as a JWT of a type.
func (k *clientKey) sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// assertion authenticates the client (RFC 7523).
func (k *clientKey) assertion(client, audience string, now time.Time) (string, error) {
	return k.sign("JWT", map[string]any{"iss": client, "sub": client, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": rand.Text()})
}

// answerSET is an answer as urn:huanxin:event:unbind-result. Sent again it has the same jti. The hub takes none that is older than three days.
func (k *clientKey) answerSET(clientID, hub string, a client.Answer, decided, now time.Time) (string, error) {
	issued := decided
	if now.Sub(issued) > 24*time.Hour {
		issued = now
	}
	jti := sha256.Sum256([]byte(a.TaskID + "\n" + a.Outcome + "\n" + a.Reason + "\n" + decided.Format(time.RFC3339Nano)))
	return k.sign("secevent+jwt", map[string]any{"iss": clientID, "aud": hub, "iat": issued.Unix(), "jti": base64.RawURLEncoding.EncodeToString(jti[:16]),
		"sub_id": map[string]string{"format": "opaque", "id": a.TaskID}, "events": map[string]any{"urn:huanxin:event:unbind-result": a}})
}
