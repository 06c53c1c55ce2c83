package clientkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newEC(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeySignsWhatItsPublicPartVerifies(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{pkcs8(t, newEC(t, elliptic.P256())), pkcs8(t, edwards)} {
		k, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		text, err := k.Assertion("shop-1", "https://hub.example", now)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.ParseSigned(text, Algs(k.Private.Public()))
		if err != nil {
			t.Fatal(err)
		}
		var c jwt.Claims
		if err := token.Claims(k.Private.Public(), &c); err != nil || c.Issuer != "shop-1" || c.Subject != "shop-1" || c.ID == "" ||
			c.Validate(jwt.Expected{AnyAudience: jwt.Audience{"https://hub.example"}, Time: now}) != nil {
			t.Errorf("%s: %v %+v", k.Alg, err, c)
		}
	}
}

func TestWhatIsNoPrivateKeyIsRefused(t *testing.T) {
	public, err := json.Marshal(jose.JSONWebKey{Key: newEC(t, elliptic.P256()).Public()})
	if err != nil {
		t.Fatal(err)
	}
	symmetric, err := json.Marshal(jose.JSONWebKey{Key: []byte("secretsecret")})
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{"nothing": nil, "text": []byte("key"), "a public JWK": public, "a symmetric JWK": symmetric,
		"another curve": pkcs8(t, newEC(t, elliptic.P384())), "a damaged one": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})} {
		if k, err := Parse(data); err == nil {
			t.Errorf("%s is taken: %s", what, k.Alg)
		}
	}
}

func TestAKeyDoesNotPrintItself(t *testing.T) {
	k, err := Parse(pkcs8(t, newEC(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "[client key]" {
			t.Errorf("%s writes %s", verb, got)
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("it", "key", k)
	if !strings.Contains(b.String(), `key="[client key]"`) {
		t.Error(b.String())
	}
}

func TestASecretFollowsFromKeyAndPurpose(t *testing.T) {
	data := pkcs8(t, newEC(t, elliptic.P256()))
	derive := func(data []byte, purpose string) string {
		k, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := k.Derive(purpose)
		if err != nil || len(secret) != 32 {
			t.Fatal(secret, err)
		}
		return string(secret)
	}
	if first, again := derive(data, "a"), derive(data, "a"); first != again {
		t.Error("the same key and purpose give two secrets")
	}
	if derive(data, "a") == derive(data, "b") || derive(data, "a") == derive(pkcs8(t, newEC(t, elliptic.P256())), "a") {
		t.Error("another key or purpose gives the same secret")
	}
}
