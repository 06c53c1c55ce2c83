package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

const (
	// assertionType is the only client_assertion_type (RFC 7523 §2.2).
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	maxAssertion = 16 << 10
	maxJTI       = 255

	// maxAssertionAhead is how far ahead an assertion's exp may lie.
	maxAssertionAhead = 5 * time.Minute
	// assertionSkew is by how much a client's clock may be wrong.
	assertionSkew = 30 * time.Second

	// assertionLifetime is that of the assertions that Assertion makes.
	assertionLifetime = 2 * time.Minute
)

// Why an authentication failed, for the audit. Only the first four are told to the outsider.
const (
	whyExpired         = "assertion_expired"
	whyWrongTime       = "assertion_not_valid_now"
	whyWrongAudience   = "assertion_for_another_audience"
	whyReplayed        = "assertion_replayed"
	whyMalformed       = "credentials_malformed"
	whyUnknownClient   = "unknown_client"
	whyDisabled        = "client_disabled"
	whyNoSecretAllowed = "secret_not_allowed"
	whyWrongSecret     = "wrong_secret"
	whyUnknownKey      = "unknown_key"
	whyWrongSignature  = "wrong_signature"
	whyWrongClaims     = "assertion_claims_wrong"
)

// NewSecret makes a client's secret, 256 random bits, and what the registry keeps of it.
func NewSecret() (secret string, hash []byte) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	secret = base64.RawURLEncoding.EncodeToString(raw[:])
	return secret, HashSecret(secret)
}

// HashSecret gives what the registry keeps of a secret: its SHA-256. That is enough only because secrets are 256 random bits.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Assertion makes the client_assertion with which a client authenticates itself (RFC 7523 §3). It is good once, for a
// minute. The audience is the hub's issuer URL, or its token endpoint.
func Assertion(key SigningKey, clientID, audience string, now time.Time) (string, error) {
	return (&clientkey.Key{ID: key.KID, Alg: key.Alg, Private: key.Private}).Assertion(clientID, audience, now)
}

// attempt is one try of a client to say who it is.
type attempt struct {
	e         *TokenEndpoint
	r         *http.Request
	now       time.Time
	challenge bool // 401 goes with WWW-Authenticate: Basic
}

// refuse records a failed authentication and gives the answer. The same goes to everyone, but for what
// only the owner of the key can have caused. The client is named to the audit only where there is one: what an unknown
// caller writes in its place may be anything, a secret or a phone number too.
func (a *attempt) refuse(client *huanxin.Client, why string) error {
	id := ""
	if client != nil {
		id = client.ID
	}
	if a.e.Refused != nil {
		a.e.Refused(a.r.Context(), id, why)
	}
	return &oauthError{status: http.StatusUnauthorized, code: "invalid_client", challenge: a.challenge,
		description: cmp.Or(told[why], "client authentication failed")}
}

// told is what an outsider hears of why an assertion was refused.
var told = map[string]string{
	whyExpired:       "the assertion has expired",
	whyWrongTime:     "the assertion's exp is more than 5 minutes ahead, or its nbf or iat lies in the future",
	whyWrongAudience: "the assertion's aud is not this hub",
	whyReplayed:      "the assertion was used before: each needs a jti of its own",
}

// authenticate finds out which client asks, by exactly one method (RFC 6749 §2.3).
func (e *TokenEndpoint) authenticate(r *http.Request, form params, now time.Time) (*huanxin.Client, error) {
	a := &attempt{e: e, r: r, now: now}
	header := r.Header.Values("Authorization")
	assertion, asserted := form["client_assertion"]
	kind, kinded := form["client_assertion_type"]
	switch {
	case form["client_secret"] != "":
		return nil, invalidRequest("client_secret is not taken in the body: use HTTP Basic or private_key_jwt")
	case len(header) > 0 && (asserted || kinded), len(header) > 1:
		return nil, invalidRequest("a client authenticates by exactly one method")
	case len(header) == 1:
		a.challenge = true
		return a.bySecret(form["client_id"])
	case asserted != kinded:
		return nil, invalidRequest("client_assertion and client_assertion_type go together")
	case asserted && kind != assertionType:
		return nil, invalidRequest("the client_assertion_type is not supported")
	case asserted:
		return a.byAssertion(assertion, form["client_id"])
	}
	a.challenge = true
	return nil, &oauthError{status: http.StatusUnauthorized, code: "invalid_client", challenge: true,
		description: "the client must authenticate: with private_key_jwt or HTTP Basic"}
}

// bySecret is HTTP Basic with id and secret in form encoding (RFC 6749 §2.3.1). An unknown client, one without a
// secret and one with another secret cost the same and get the same answer.
func (a *attempt) bySecret(formID string) (*huanxin.Client, error) {
	user, password, ok := a.r.BasicAuth()
	if !ok {
		return nil, a.refuse(nil, whyMalformed)
	}
	id, err1 := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	if err1 != nil || err2 != nil || formID != "" && formID != id {
		return nil, a.refuse(nil, whyMalformed)
	}
	client, disabled, err := a.e.Lookup.find(a.r.Context(), id)
	if err != nil {
		return nil, err
	}
	var want [sha256.Size]byte
	allowed := client != nil && len(client.SecretHash) == sha256.Size
	if allowed {
		copy(want[:], client.SecretHash)
	}
	equal := subtle.ConstantTimeCompare(HashSecret(secret), want[:]) == 1
	switch {
	case client == nil:
		return nil, a.refuse(nil, whyUnknownClient)
	case !allowed:
		return nil, a.refuse(client, whyNoSecretAllowed)
	case !equal:
		return nil, a.refuse(client, whyWrongSecret)
	case disabled:
		return nil, a.refuse(client, whyDisabled)
	}
	return client, nil
}

// byAssertion is private_key_jwt (RFC 7523 §2.2, §3).
func (a *attempt) byAssertion(assertion, formID string) (*huanxin.Client, error) {
	s, why, err := a.e.signedBy(a.r.Context(), assertion)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return nil, a.refuse(s.client, why)
	}
	if why := a.judge(&s, formID); why != "" {
		return nil, a.refuse(s.client, why)
	}
	// The last step, so that nobody else uses up a client's jti, and one is used up only where it counts.
	fresh, err := a.e.Replay(a.r.Context(), s.client.ID, s.claims.ID, s.claims.Expiry.Time().Add(assertionSkew))
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, a.refuse(s.client, whyReplayed)
	}
	return s.client, nil
}

// judge checks the claims of an assertion whose signature is the client's (RFC 7523 §3).
func (a *attempt) judge(s *signed, formID string) (why string) {
	// The same key may sign answers to tasks: what says that it is something else is no assertion (RFC 8725 §3.11).
	if _, typed := s.head.ExtraHeaders[jose.HeaderType]; typed && !isType(s.head, "JWT") && !isType(s.head, "client-authentication+jwt") {
		return whyWrongClaims
	}
	if id := s.client.ID; s.claims.Subject != id || formID != "" && formID != id {
		return whyWrongClaims
	}
	return a.e.judge(s, a.now)
}

// signed is a JWT with the signature of a client.
type signed struct {
	client *huanxin.Client
	head   jose.Header
	claims assertionClaims
}

// assertionClaims are those of a client's assertion; the last three are of grants alone.
type assertionClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	Purpose  string `json:"purpose"`
}

// signedBy reads a JWT that a client signed, and checks that this enabled client did. Otherwise it says why not, with the client
// if there is one; nothing may be believed then.
func (e *TokenEndpoint) signedBy(ctx context.Context, text string) (s signed, why string, err error) {
	if len(text) > maxAssertion {
		return s, whyMalformed, nil
	}
	jws, err := jose.ParseSignedCompact(text, clientAlgs)
	if err != nil {
		return s, whyMalformed, nil
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &s.claims); err != nil {
		return s, whyMalformed, nil
	}
	// The claims are unproven until the signature is checked: they only choose the keys.
	s.head = jws.Signatures[0].Protected
	var disabled bool
	if s.client, disabled, err = e.Lookup.find(ctx, s.claims.Issuer); err != nil {
		return s, "", err
	}
	key := keyOf(s.client, s.head)
	if key == nil {
		spendVerification()
		if s.client == nil {
			return s, whyUnknownClient, nil
		}
		return s, whyUnknownKey, nil
	}
	if _, err := jws.Verify(key.Key); err != nil {
		return s, whyWrongSignature, nil
	}
	if disabled {
		return s, whyDisabled, nil
	}
	return s, "", nil
}

// keyOf chooses the client's key that the header names, which may not bring one of its own.
func keyOf(client *huanxin.Client, head jose.Header) *jose.JSONWebKey {
	if !plainHeader(head) {
		return nil
	}
	return registeredKey(client, head)
}

// registeredKey chooses the client's key that the header names. Without a kid, the client must have just one key.
func registeredKey(client *huanxin.Client, head jose.Header) *jose.JSONWebKey {
	if client == nil || len(client.JWKS) == 0 {
		return nil
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(client.JWKS, &set); err != nil {
		return nil
	}
	for i, key := range set.Keys {
		named := key.KeyID == head.KeyID
		if head.KeyID == "" {
			named = len(set.Keys) == 1
		}
		if named && algFits(key, head.Algorithm) {
			return &set.Keys[i]
		}
	}
	return nil
}

// judge checks what every assertion must say: that it is for this hub, now and once.
func (e *TokenEndpoint) judge(s *signed, now time.Time) (why string) {
	claims := &s.claims
	if claims.Issuer != s.client.ID || claims.ID == "" || len(claims.ID) > maxJTI || claims.Expiry == nil {
		return whyWrongClaims
	}
	if len(claims.Audience) == 0 {
		return whyWrongAudience
	}
	for _, aud := range claims.Audience {
		if aud != e.Issuer.URL && aud != e.tokenURL() {
			return whyWrongAudience // one that is meant for others too could be used up here by them
		}
	}
	soon := now.Add(assertionSkew)
	switch exp := claims.Expiry.Time(); {
	case !exp.Add(assertionSkew).After(now):
		return whyExpired
	case exp.After(soon.Add(maxAssertionAhead)),
		claims.NotBefore != nil && claims.NotBefore.Time().After(soon),
		claims.IssuedAt != nil && claims.IssuedAt.Time().After(soon):
		return whyWrongTime
	}
	return ""
}

// spendVerification takes as long as checking a signature, for an attempt that has no key to check with.
func spendVerification() {
	d := decoy()
	_, _ = d.jws.Verify(d.key)
}

type decoySignature struct {
	jws *jose.JSONWebSignature
	key any
}

var decoy = sync.OnceValue(func() decoySignature {
	key := NewSigningKey(time.Time{})
	text, err := Assertion(key, "nobody", "nobody", time.Unix(0, 0))
	if err != nil {
		panic("auth: " + err.Error())
	}
	jws, err := jose.ParseSignedCompact(text, clientAlgs)
	if err != nil {
		panic("auth: " + err.Error())
	}
	return decoySignature{jws, key.Private.Public()}
})
