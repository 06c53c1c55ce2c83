package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// typSET is the typ header of security event tokens (RFC 8417 §2.3).
const typSET = "secevent+jwt"

// SETKey is the hub's key by which SETs of one algorithm are signed at present. It is safe for concurrent use.
type SETKey struct{ key *ringKey }

// SETKey gives the key of an algorithm, one of HubAlgs, that is in use now. The error is of kind Unavailable where there is none.
func (r *KeyRing) SETKey(alg string, now time.Time) (SETKey, error) {
	key, err := r.current(alg, now)
	return SETKey{key}, err
}

// setHead writes the protected header of a key's SETs, and the dot behind it.
func setHead(k SigningKey) []byte {
	head, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		KID string `json:"kid"`
	}{k.Alg, typSET, k.KID})
	if err != nil {
		panic("auth: " + err.Error()) // strings only
	}
	return append(base64.RawURLEncoding.AppendEncode(nil, head), '.')
}

// Sign writes claims, a JSON object, as a SET in JWS compact form. The same claims and key give the same bytes, which RFC 6979 does
// for ES256 and the other algorithms by themselves; only a key in hardware may sign otherwise every time.
func (k SETKey) Sign(claims []byte) ([]byte, error) {
	out := make([]byte, 0, len(k.key.setHead)+base64.RawURLEncoding.EncodedLen(len(claims))+1+base64.RawURLEncoding.EncodedLen(k.signatureSize()))
	out = append(out, k.key.setHead...)
	out = base64.RawURLEncoding.AppendEncode(out, claims)
	var room [clientkey.MaxRSABits / 8]byte
	signature, err := k.key.sign(room[:0], out)
	if err != nil {
		return nil, fmt.Errorf("auth: signing key %s: %w", k.key.KID, err)
	}
	return base64.RawURLEncoding.AppendEncode(append(out, '.'), signature), nil
}

func (k SETKey) signatureSize() int {
	if public, ok := k.key.Private.Public().(*rsa.PublicKey); ok {
		return public.Size()
	}
	return 64
}

// sign appends the signature of a signing input in the form of JWS (RFC 7518 §3, RFC 8037 §3.1).
func (k *ringKey) sign(dst, input []byte) ([]byte, error) {
	if k.Alg == string(jose.EdDSA) {
		signature, err := k.Private.Sign(nil, input, crypto.Hash(0))
		return append(dst, signature...), err
	}
	digest := sha256.Sum256(input)
	random := rand.Reader
	switch k.Private.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey:
		random = nil
	}
	signature, err := k.Private.Sign(random, digest[:], crypto.SHA256)
	if err != nil || k.Alg != tokenAlg {
		return append(dst, signature...), err
	}
	return appendRaw(dst, signature)
}

// scalarSize is the length of each half of an ES256 signature.
const scalarSize = 32

// appendRaw turns an ECDSA signature on P-256 from ASN.1, a sequence of two integers, into the two numbers side by side.
func appendRaw(dst, der []byte) ([]byte, error) {
	const tagSequence = 0x30
	if len(der) < 2 || der[0] != tagSequence || int(der[1]) != len(der)-2 {
		return nil, errSignatureForm
	}
	der = der[2:]
	for range 2 {
		const tagInteger = 0x02
		if len(der) < 3 || der[0] != tagInteger || int(der[1]) > len(der)-2 || der[1] == 0 {
			return nil, errSignatureForm
		}
		number := der[2 : 2+der[1]]
		der = der[2+len(number):]
		if number[0] == 0 { // only a sign
			number = number[1:]
		}
		if len(number) > scalarSize {
			return nil, errSignatureForm
		}
		var padded [scalarSize]byte
		copy(padded[scalarSize-len(number):], number)
		dst = append(dst, padded[:]...)
	}
	if len(der) != 0 {
		return nil, errSignatureForm
	}
	return dst, nil
}

var errSignatureForm = errors.New("the signature is not of the form of ECDSA on P-256")

// KID gives the key's id, as the key set and the header of SETs have it.
func (k SETKey) KID() string { return k.key.KID }
