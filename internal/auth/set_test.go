package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
	"pgregory.net/rapid"
)

// hubKeys is one key of each of HubAlgs.
func hubKeys(t testing.TB, from time.Time) (keys []SigningKey) {
	t.Helper()
	for _, alg := range HubAlgs {
		k, err := NewSigningKeyOf(alg, from)
		if err != nil {
			t.Fatal(err)
		}
		if alg == "RS256" { // making one takes time
			k.Private = rsaKey()
			k.KID = clientkey.Thumbprint(k.Private.Public())
		}
		keys = append(keys, k)
	}
	return keys
}

func ringOf(t testing.TB, keys ...SigningKey) *KeyRing {
	t.Helper()
	r, err := NewKeyRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// RFC 6979 A.2.5, "With SHA-256".
func TestES256IsSignedAsRFC6979Says(t *testing.T) {
	scalar, err := hex.DecodeString("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		t.Fatal(err)
	}
	k := &ringKey{SigningKey: SigningKey{Alg: "ES256", Private: private}}
	for message, want := range map[string]string{
		"sample": "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		"test":   "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
	} {
		got, err := k.sign(nil, []byte(message))
		if err != nil || fmt.Sprintf("%X", got) != want {
			t.Errorf("%s: %X, %v", message, got, err)
		}
	}
}

func TestASETIsTheSameEveryTimeAndVerifiesWithThePublishedKey(t *testing.T) {
	r := ringOf(t, hubKeys(t, noon)...)
	claims := []byte(`{"iss":"https://hub.example.test","jti":"a","events":{"urn:x":{}}}`)
	for _, alg := range HubAlgs {
		key, err := r.SETKey(alg, noon)
		if err != nil {
			t.Fatal(err)
		}
		set, err := key.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if again, err := key.Sign(claims); err != nil || !bytes.Equal(again, set) {
				t.Errorf("%s: %s, then %s, %v", alg, set, again, err)
			}
		}
		if other, err := key.Sign(append(slices.Clone(claims), ' ')); err != nil || strings.HasSuffix(string(set), string(other[len(other)-20:])) {
			t.Errorf("%s: the signature does not depend on the claims: %v", alg, err)
		}
		jws, err := jose.ParseSignedCompact(string(set), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(alg, err)
		}
		head, keys := jws.Signatures[0].Protected, r.JWKS(noon)
		published := keys.Key(head.KeyID)
		if len(published) != 1 || published[0].Algorithm != alg || published[0].Use != "sig" || head.ExtraHeaders[jose.HeaderType] != "secevent+jwt" {
			t.Fatalf("%s: the header is %+v, published are %v", alg, head, published)
		}
		if payload, err := jws.Verify(published[0]); err != nil || !bytes.Equal(payload, claims) {
			t.Errorf("%s: the payload is %s, %v", alg, payload, err)
		}
	}
	for _, alg := range []string{"", "PS256", "none", "HS256"} {
		if _, err := r.SETKey(alg, noon); huanxin.KindOf(err) != huanxin.Unavailable {
			t.Errorf("by %q: %v", alg, err)
		}
	}
}

func TestAKeyInHardwareSignsSETs(t *testing.T) {
	r := ringOf(t, SigningKey{KID: `an "odd" one`, Alg: "ES256", Private: hardware{otherECKey(t, elliptic.P256())}})
	key, err := r.SETKey("ES256", noon)
	if err != nil {
		t.Fatal(err)
	}
	set, err := key.Sign([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(string(set), clientAlgs)
	if err != nil {
		t.Fatal(err)
	}
	published := r.JWKS(noon)
	if _, err := jws.Verify(published.Key(jws.Signatures[0].Protected.KeyID)[0]); err != nil {
		t.Error(err)
	}
}

func TestTokensAreSignedAndVerifiedWithES256AloneWhateverElseIsInTheRing(t *testing.T) {
	h := newHub(t)
	keys := hubKeys(t, noon.AddDate(0, 0, -1)) // newer than the hub's
	if err := h.ring.Replace(append([]SigningKey{h.key}, keys[1:]...)); err != nil {
		t.Fatal(err)
	}
	client := h.clients["app-1"]
	token, _, err := h.issuer.Mint(&client, client.Scopes, noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.verifier.Verify(t.Context(), token, noon); err != nil {
		t.Error(err)
	}
	claims := object{"iss": issuerURL, "aud": issuerURL, "sub": "app-1", "client_id": "app-1", "jti": "1", "scope": "tasks.work",
		"iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix()}
	for _, k := range append(keys[1:], h.key) {
		_, err := h.verifier.Verify(t.Context(), compact(t, object{"alg": k.Alg, "typ": typAccessToken, "kid": k.KID}, claims, k.Private), noon)
		if good := k.Alg == "ES256"; (err == nil) != good {
			t.Errorf("a token signed with %s: %v", k.Alg, err)
		}
	}
}

func TestAKeyOfAnUnknownAlgorithmIsNotMade(t *testing.T) {
	for _, alg := range []string{"", "none", "HS256", "PS256", "es256"} {
		if _, err := NewSigningKeyOf(alg, noon); huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("%q: %v", alg, err)
		}
	}
	k, err := NewSigningKeyOf("RS256", noon)
	if err != nil || len(clientkey.Algs(k.Private.Public())) == 0 || k.KID != clientkey.Thumbprint(k.Private.Public()) {
		t.Errorf("%v, %v", k, err)
	}
}

// TestRotationsLeaveNoGap rotates keys of two algorithms at any times and watches the ring from outside.
func TestRotationsLeaveNoGap(t *testing.T) {
	r := Rotation{Lead: time.Hour, Keep: 30 * 24 * time.Hour}
	rapid.Check(t, func(t *rapid.T) {
		algs := []string{"ES256", "EdDSA"}
		var keys []SigningKey
		now := noon
		add := func(alg string) {
			k, err := NewSigningKeyOf(alg, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			keys = r.Next(keys, k, now)
		}
		add(algs[0])
		add(algs[1])
		published := map[string]time.Time{} // since when
		type signed struct {
			kid string
			at  time.Time
		}
		var out []signed
		look := func() {
			ring, other := new(KeyRing), new(KeyRing)
			backwards := slices.Clone(keys)
			slices.Reverse(backwards)
			if err := ring.Replace(keys); err != nil {
				t.Fatal(err)
			}
			if err := other.Replace(backwards); err != nil {
				t.Fatal(err)
			}
			set := ring.JWKS(now)
			for _, k := range set.Keys {
				if _, known := published[k.KeyID]; !known {
					published[k.KeyID] = now
				}
			}
			for _, alg := range algs {
				key, err := ring.SETKey(alg, now)
				if err != nil {
					t.Fatalf("nothing signs by %s at %v: %v", alg, now, err)
				}
				same, err := other.SETKey(alg, now)
				if err != nil || same.key.KID != key.key.KID {
					t.Fatal("two hubs choose different keys")
				}
				since, ok := published[key.key.KID]
				if !ok || now.Sub(since) < r.Lead && since != noon {
					t.Fatalf("a key signs at %v that is published since %v", now, since)
				}
				out = append(out, signed{key.key.KID, now})
			}
			for _, s := range out {
				if now.Sub(s.at) <= r.Keep && len(set.Key(s.kid)) == 0 {
					t.Fatalf("what was signed at %v does not verify at %v any more", s.at, now)
				}
			}
			for _, k := range keys {
				if !k.publishedAt(now) { // the store drops them
					keys = slices.DeleteFunc(slices.Clone(keys), func(k SigningKey) bool { return !k.publishedAt(now) })
					break
				}
			}
		}
		look()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			step := rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Minute, time.Hour - time.Second, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour,
				31 * 24 * time.Hour}).Draw(t, "step")
			now = now.Add(step)
			look()
			if alg := rapid.SampledFrom([]string{"", algs[0], algs[1]}).Draw(t, "rotate"); alg != "" {
				add(alg)
				look()
			}
		}
	})
}

func TestASignatureThatIsNotOfECDSAOnP256IsRefused(t *testing.T) {
	der := func(r, s string) []byte {
		n := func(text string) *big.Int { v, _ := new(big.Int).SetString(text, 16); return v }
		out, err := asn1.Marshal(struct{ R, S *big.Int }{n(r), n(s)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	full := strings.Repeat("ff", 32)
	if raw, err := appendRaw([]byte("x"), der("1", full)); err != nil || hex.EncodeToString(raw) != "78"+strings.Repeat("00", 31)+"01"+full {
		t.Errorf("%x, %v", raw, err)
	}
	good := der("1", full)
	for what, bad := range map[string][]byte{
		"nothing": nil, "cut": good[:len(good)-1], "longer": append(slices.Clone(good), 0), "another tag": append([]byte{0x31}, good[1:]...),
		"one number": {0x30, 3, 2, 1, 1}, "an empty one": {0x30, 5, 2, 0, 2, 1, 1}, "three": {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		"a text": {0x30, 6, 2, 1, 1, 4, 1, 1}, "too large": der("1", full+"00"),
	} {
		if raw, err := appendRaw(nil, bad); err == nil {
			t.Errorf("%s is taken: %x", what, raw)
		}
	}
}

func FuzzAppendRaw(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 7, 2, 2, 0, 0xff, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		var want struct{ R, S *big.Int }
		good := false
		if _, err := asn1.Unmarshal(der, &want); err == nil {
			again, err := asn1.Marshal(want) // there is one way to write it
			good = err == nil && bytes.Equal(again, der) && want.R.Sign() >= 0 && want.S.Sign() >= 0 && want.R.BitLen() <= 256 && want.S.BitLen() <= 256
		}
		raw, err := appendRaw(nil, der)
		switch {
		case good && err != nil:
			t.Errorf("%x: %v", der, err)
		case good && err == nil && (new(big.Int).SetBytes(raw[:32]).Cmp(want.R) != 0 || new(big.Int).SetBytes(raw[32:]).Cmp(want.S) != 0):
			t.Errorf("%x becomes %x", der, raw)
		case err == nil && len(raw) != 64:
			t.Errorf("%x becomes %x", der, raw)
		}
	})
}

func BenchmarkSignSET(b *testing.B) {
	r := ringOf(b, hubKeys(b, noon)...)
	claims := bytes.Repeat([]byte("x"), 600)
	for _, alg := range HubAlgs {
		key, err := r.SETKey(alg, noon)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Sign(claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
