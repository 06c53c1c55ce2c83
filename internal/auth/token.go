package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huanxin-platform/huanxin"
)

// typAccessToken is the typ header of access tokens (RFC 9068 §2.1).
const typAccessToken = "at+jwt"

// Issuer makes access tokens.
type Issuer struct {
	URL      string // the hub's issuer identifier (RFC 8414 §2): https, without a trailing slash
	Audience string // what tokens are good for; empty: URL
	Ring     *KeyRing
	Lifetime time.Duration // of tokens; zero or more than MaxTokenLifetime: that
	// OpenBound opens what TokenEndpoint.Bind sealed for a client's token with a jti; nil: no token is bound to anything.
	OpenBound func(sealed []byte, clientID, jti string) (huanxin.Bound, error)
}

func (i *Issuer) audience() string {
	if i.Audience == "" {
		return i.URL
	}
	return i.Audience
}

func (i *Issuer) lifetime() time.Duration {
	if i.Lifetime <= 0 || i.Lifetime > MaxTokenLifetime {
		return MaxTokenLifetime
	}
	return i.Lifetime
}

// minted is what an access token says (RFC 9068 §2.2).
type minted struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	Scope    string `json:"scope"`
}

// Mint makes an access token for a client that has been authenticated, with scopes that it is allowed. It says how
// long the token is valid.
func (i *Issuer) Mint(client *huanxin.Client, scopes huanxin.Scopes, now time.Time) (token string, lifetime time.Duration, err error) {
	return i.mint(client.ID, client.ID, rand.Text(), scopes, now)
}

// sealedSubject is what the sub of a bound token begins with; what was sealed follows in base64url. It is never a client's id, so
// whoever does not know of bound tokens takes none of them for an unbound one.
const sealedSubject = "sealed:"

// mintBound makes a token whose subject is the holder of a number (RFC 9068 §2.2), sealed: neither the client nor anybody on
// the way can read it.
func (i *Issuer) mintBound(clientID, jti string, sealed []byte, now time.Time) (token string, lifetime time.Duration, err error) {
	return i.mint(clientID, sealedSubject+base64.RawURLEncoding.EncodeToString(sealed), jti, boundScopes, now)
}

func (i *Issuer) mint(clientID, subject, jti string, scopes huanxin.Scopes, now time.Time) (token string, lifetime time.Duration, err error) {
	lifetime = i.lifetime()
	token, err = i.Ring.Sign(now, typAccessToken, minted{
		Issuer: i.URL, Audience: i.audience(), Subject: subject, ClientID: clientID,
		IssuedAt: now.Unix(), Expires: now.Add(lifetime).Unix(), ID: jti, Scope: scopes.String(),
	})
	return token, lifetime, err
}

// Verifier judges access tokens.
type Verifier struct {
	issuer *Issuer
	lookup Lookup
	seen   tokenCache
}

// NewVerifier judges tokens that issuer made, or another hub with the same keys.
func NewVerifier(issuer *Issuer, lookup Lookup) *Verifier {
	return &Verifier{issuer: issuer, lookup: lookup}
}

// Verify gives who asks. The token's form, signature and times are remembered for at most 5 seconds; the client is
// looked up every time, so one that is disabled is refused as soon as the registry says so, and a scope that was
// taken from it is gone. Errors for the outsider are Unauthenticated with the code "invalid_token" (RFC 6750 §3.1).
func (v *Verifier) Verify(ctx context.Context, token string, now time.Time) (huanxin.Caller, error) {
	ring := v.issuer.Ring.keys.Load()
	g, ok := v.seen.get(token, ring, now)
	if !ok {
		var err error
		if g, err = v.read(token, ring, now); err != nil {
			return huanxin.Caller{}, err
		}
		v.seen.put(token, g, now)
	}
	client, disabled, err := v.lookup.find(ctx, g.client)
	if err != nil {
		return huanxin.Caller{}, err
	}
	if client == nil || disabled {
		return huanxin.Caller{}, invalidToken("its client is disabled or gone")
	}
	return huanxin.Caller{Party: &client.Party, Client: client.ID, Scopes: both(g.scopes, client.Scopes), Bound: g.bound}, nil
}

// both gives the scopes that are in a and in b.
func both(a, b huanxin.Scopes) huanxin.Scopes {
	missing := func(s huanxin.Scope) bool { return !b.Has(s) }
	if !slices.ContainsFunc(a, missing) {
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), missing)
}

// cause is why a token was refused, for the log: fixed words, nothing out of the token.
type cause string

func (c cause) Error() string { return "auth: " + string(c) }

func invalidToken(why cause) error {
	return &huanxin.Error{Kind: huanxin.Unauthenticated, Code: "invalid_token",
		Detail: "the bearer token is not valid here; ask for a new one", Err: why}
}

// maxToken is far longer than any token of ours.
const maxToken = 8 << 10

// read judges a token by itself (RFC 9068 §4, RFC 8725 §3).
func (v *Verifier) read(token string, ring *ringKeys, now time.Time) (grant, error) {
	if len(token) > maxToken {
		return grant{}, invalidToken("it is too long")
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return grant{}, invalidToken("it is no JWT, or its algorithm is not ES256")
	}
	head := jws.Signatures[0].Protected
	if !plainHeader(head) || !isType(head, typAccessToken) {
		return grant{}, invalidToken("its header is not that of an access token")
	}
	key := ring.published(head.KeyID, now)
	if key == nil || key.Alg != tokenAlg {
		return grant{}, invalidToken("its key is unknown or no longer published")
	}
	payload, err := jws.Verify(key.jwk.Key)
	if err != nil {
		return grant{}, invalidToken("its signature is wrong")
	}
	var claims struct {
		jwt.Claims
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return grant{}, invalidToken("its claims cannot be read")
	}
	switch {
	case claims.Issuer != v.issuer.URL:
		return grant{}, invalidToken("it has another issuer")
	case !claims.Audience.Contains(v.issuer.audience()):
		return grant{}, invalidToken("it is for another audience")
	case claims.Expiry == nil || claims.IssuedAt == nil || claims.ID == "":
		return grant{}, invalidToken("exp, iat or jti is missing")
	case claims.ClientID == "":
		return grant{}, invalidToken("client_id is missing")
	case claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > MaxTokenLifetime:
		return grant{}, invalidToken("it is valid for too long")
	case claims.IssuedAt.Time().After(now.Add(clockSkew)),
		claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(clockSkew)):
		return grant{}, invalidToken("it is not valid yet")
	}
	g := grant{client: claims.ClientID, scopes: slices.Clip(huanxin.ParseScopes(claims.Scope)),
		exp: claims.Expiry.Time().Add(clockSkew), ring: ring, checked: now}
	if !now.Before(g.exp) {
		return grant{}, &huanxin.Error{Kind: huanxin.Unauthenticated, Code: "invalid_token",
			Detail: "the bearer token has expired; ask for a new one", Err: cause("it has expired")}
	}
	if claims.Subject == claims.ClientID {
		return g, nil
	}
	g.bound, err = v.issuer.bound(claims.Subject, claims.ClientID, claims.ID)
	return g, err
}

// bound opens the subject of a token that is not its client.
func (i *Issuer) bound(subject, clientID, jti string) (huanxin.Bound, error) {
	text, ok := strings.CutPrefix(subject, sealedSubject)
	if !ok || i.OpenBound == nil {
		return huanxin.Bound{}, invalidToken("sub is not the client")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return huanxin.Bound{}, invalidToken("what it is bound to cannot be read")
	}
	b, err := i.OpenBound(sealed, clientID, jti)
	if err != nil || b.IsZero() {
		return huanxin.Bound{}, invalidToken("what it is bound to cannot be opened")
	}
	return b, nil
}

// plainHeader refuses headers that bring a key of their own (RFC 8725 §3.10) or ask for processing that is not done.
func plainHeader(h jose.Header) bool {
	if h.JSONWebKey != nil {
		return false
	}
	for _, name := range []jose.HeaderKey{"jku", "x5u", "crit", "b64"} {
		if _, ok := h.ExtraHeaders[name]; ok {
			return false
		}
	}
	return true
}

// isType compares a typ header, with or without "application/" (RFC 7515 §4.1.9).
func isType(h jose.Header, typ string) bool {
	got, _ := h.ExtraHeaders[jose.HeaderType].(string)
	if len(got) > len("application/") && strings.EqualFold(got[:len("application/")], "application/") {
		got = got[len("application/"):]
	}
	return strings.EqualFold(got, typ)
}
