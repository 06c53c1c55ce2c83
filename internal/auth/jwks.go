package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// Limits of a client's key set.
const (
	maxJWKS       = 64 << 10
	maxClientKeys = 10
	maxKID        = 255
)

// privateMembers are the members of a JWK that must stay with its owner (RFC 7518 §6, RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// CheckJWKS judges the key set that a client uploads (RFC 7517 §5) and gives it back in the form to be kept: kid,
// alg, use and the public key, nothing else; a key without an id gets its thumbprint as id. Keys are EC on
// P-256, Ed25519, or RSA of 2048 to 8192 bits. Private and symmetric keys are refused. The error is
// Invalid and names every key that is wrong, without repeating anything of it.
func CheckJWKS(data []byte) ([]byte, error) {
	if len(data) > maxJWKS {
		return nil, huanxin.BadField("jwks", "too_long", "a key set has at most 64 KiB")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&set); err != nil {
		return nil, huanxin.BadField("jwks", "malformed", `a key set is a JSON object with a member "keys"`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, huanxin.BadField("jwks", "malformed", "something follows the key set")
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxClientKeys {
		return nil, huanxin.BadField("jwks", "key_count", fmt.Sprintf("a key set has 1 to %d keys", maxClientKeys))
	}
	var out jose.JSONWebKeySet
	var wrong []huanxin.FieldError
	for i, raw := range set.Keys {
		key, code, detail := checkJWK(raw)
		if code == "" && len(out.Key(key.KeyID)) > 0 {
			code, detail = "duplicate_kid", "another key has the same kid"
		}
		if code != "" {
			wrong = append(wrong, huanxin.FieldError{Field: "jwks.keys[" + strconv.Itoa(i) + "]", Code: code, Detail: detail})
			continue
		}
		out.Keys = append(out.Keys, key)
	}
	if len(wrong) > 0 {
		return nil, &huanxin.Error{Kind: huanxin.Invalid, Code: "invalid", Detail: "the key set holds keys that are not taken", Fields: wrong}
	}
	return json.Marshal(out)
}

// checkJWK reads one key of an upload. Without a code it is good.
func checkJWK(raw json.RawMessage) (key jose.JSONWebKey, code, detail string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return key, "malformed", "a key is a JSON object"
	}
	for _, m := range privateMembers {
		if _, ok := members[m]; ok {
			return key, "private_key", "send the public part only; a private key that was sent must not be used any more"
		}
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil || !jwk.Valid() {
		return key, "malformed", "this is no JWK of a kind that is taken: EC on P-256, Ed25519 or RSA"
	}
	algs := clientkey.Algs(jwk.Key)
	switch {
	case len(algs) == 0:
		return key, "unsupported_key", "a key is EC on P-256, Ed25519, or RSA of 2048 to 8192 bits"
	case jwk.Use != "" && jwk.Use != "sig":
		return key, "unsupported_use", `"use" is "sig" or absent`
	case !algFits(jwk, jwk.Algorithm) && jwk.Algorithm != "":
		return key, "unsupported_alg", `"alg" does not fit the key, or is not taken`
	case len(jwk.KeyID) > maxKID:
		return key, "too_long", `"kid" has at most 255 bytes`
	}
	if jwk.KeyID == "" {
		jwk.KeyID = clientkey.Thumbprint(jwk.Key)
	}
	return jose.JSONWebKey{Key: jwk.Key, KeyID: jwk.KeyID, Algorithm: jwk.Algorithm, Use: "sig"}, "", ""
}

// algFits reports whether a signature with alg may come from the key.
func algFits(key jose.JSONWebKey, alg string) bool {
	if key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	for _, a := range clientkey.Algs(key.Key) {
		if string(a) == alg {
			return true
		}
	}
	return false
}

// PublicJWKS writes the public parts of a client's keys, for the registry.
func PublicJWKS(keys ...SigningKey) ([]byte, error) {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public())
	}
	return json.Marshal(set)
}
