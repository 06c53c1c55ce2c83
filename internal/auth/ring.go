package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// Rotation says how the hub's signing keys follow each other without a gap.
type Rotation struct {
	// Lead is how long a new key is published before it is used: longer than others keep the JWKS, and
	// than every hub takes to read the new key.
	Lead time.Duration
	// Keep is how long an old key stays published after its last use: as long as anything that was signed with it
	// may still arrive, tokens (15 minutes) and events (their retention) alike.
	Keep time.Duration
}

// Next gives the keys after a rotation that starts now: those that are still published, those of next's algorithm each with an
// end, and next itself. Where none of its algorithm can sign at present, it is used at once.
func (r Rotation) Next(keys []SigningKey, next SigningKey, now time.Time) []SigningKey {
	next.From = now
	var out []SigningKey
	for _, k := range keys {
		if !k.publishedAt(now) {
			continue
		}
		if k.Alg == next.Alg && !k.From.After(now) {
			next.From = now.Add(r.Lead)
		}
		out = append(out, k)
	}
	for i := range out {
		if out[i].Alg == next.Alg && out[i].Until.IsZero() {
			out[i].Until = next.From.Add(r.Keep)
		}
	}
	return append(out, next)
}

func (k SigningKey) publishedAt(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// KeyRing is the hub's signing keys. It is safe for concurrent use; Replace swaps all keys at once.
type KeyRing struct{ keys atomic.Pointer[ringKeys] }

// ringKeys never changes. Its identity tells whether the ring was replaced.
type ringKeys struct {
	inOrder []*ringKey // by From
	byKID   map[string]*ringKey
}

type ringKey struct {
	SigningKey
	jwk     jose.JSONWebKey
	signers sync.Map // typ → jose.Signer
	setHead []byte   // the protected header of its SETs, and a dot
}

// NewKeyRing makes a ring of keys. One of them must be for ES256, by which tokens are signed.
func NewKeyRing(keys ...SigningKey) (*KeyRing, error) {
	r := new(KeyRing)
	return r, r.Replace(keys)
}

// Replace puts other keys in place of all that are there. On an error the ring stays as it was. What
// was verified with the former keys is verified again.
func (r *KeyRing) Replace(keys []SigningKey) error {
	fresh := &ringKeys{byKID: make(map[string]*ringKey, len(keys))}
	for _, k := range keys {
		if k.Private == nil || k.KID == "" {
			return errors.New("auth: a signing key without id or private key")
		}
		if !slices.Contains(HubAlgs, k.Alg) || !slices.Contains(clientkey.Algs(k.Private.Public()), jose.SignatureAlgorithm(k.Alg)) {
			return fmt.Errorf("auth: the signing key %s is not for %s", k.KID, strings.Join(HubAlgs, ", "))
		}
		if fresh.byKID[k.KID] != nil {
			return fmt.Errorf("auth: two signing keys have the id %s", k.KID)
		}
		rk := &ringKey{SigningKey: k, jwk: k.public(), setHead: setHead(k)}
		fresh.byKID[k.KID] = rk
		fresh.inOrder = append(fresh.inOrder, rk)
	}
	if !slices.ContainsFunc(keys, func(k SigningKey) bool { return k.Alg == tokenAlg }) {
		return errors.New("auth: a key ring needs a key for " + tokenAlg)
	}
	slices.SortFunc(fresh.inOrder, func(a, b *ringKey) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		if a.KID < b.KID { // every hub chooses the same
			return -1
		}
		return 1
	})
	r.keys.Store(fresh)
	return nil
}

// Sign writes claims as a JWT with the given typ header (RFC 7515 §4.1.9), signed with the ES256 key that is in use now.
// One typ belongs to one purpose, so that nothing that was signed for one passes for another (RFC 8725 §3.11).
func (r *KeyRing) Sign(now time.Time, typ string, claims any) (string, error) {
	key, err := r.current(tokenAlg, now)
	if err != nil {
		return "", err
	}
	signer, ok := key.signers.Load(typ)
	if !ok {
		s, err := key.signer(typ)
		if err != nil {
			return "", fmt.Errorf("auth: signing key %s: %w", key.KID, err)
		}
		signer, _ = key.signers.LoadOrStore(typ, s)
	}
	return signCompact(signer.(jose.Signer), claims)
}

// tokenAlg is the algorithm of everything that the hub signs but SETs.
const tokenAlg = string(jose.ES256)

// current gives the latest key of an algorithm that may be used.
func (r *KeyRing) current(alg string, now time.Time) (*ringKey, error) {
	for _, key := range slices.Backward(r.keys.Load().inOrder) {
		if key.Alg == alg && !now.Before(key.From) && key.publishedAt(now) {
			return key, nil
		}
	}
	return nil, huanxin.Errorf(huanxin.Unavailable, "no_signing_key", "the hub has no signing key of this algorithm in use")
}

// published gives the key with an id, if it is good for verifying now. One that is not used yet is: another
// hub's clock may be ahead.
func (k *ringKeys) published(kid string, now time.Time) *ringKey {
	if key := k.byKID[kid]; key != nil && key.publishedAt(now) {
		return key
	}
	return nil
}

// JWKS gives the public keys (RFC 7517 §5): those in use, those to come, and those of which something may still arrive.
func (r *KeyRing) JWKS(now time.Time) jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range r.keys.Load().inOrder {
		if key.publishedAt(now) {
			set.Keys = append(set.Keys, key.jwk)
		}
	}
	return set
}
