// Package provider is the sign-in of the demo's carriers: an OpenID provider each, with pages that ask for a number, the code that was sent to it, and for
// the identity factor a name and the last four digits of an identity card. The texts go to a phone that anyone can look at.
package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// IdentityACR stands for the identity factor at these carriers.
const IdentityACR = "urn:huanxin:acr:real-name"

// Person is who has a number at a carrier at present.
type Person struct {
	Number     huanxin.Number
	Name       string
	IDLastFour string
	StartedAt  time.Time
	Origin     huanxin.TenureOrigin
}

// Options is what a carrier's provider is made of.
type Options struct {
	Path     string // of the provider on its host: /carriers/cmcc
	Issuer   string // its URL
	NameZh   string
	NameEn   string
	ClientID string // of the hub
	Secret   string
	Redirect string
	Key      auth.SigningKey
	// Person gives who has a number here; found is false for everybody else's.
	Person func(n huanxin.Number) (p Person, found bool)
	// Text sends a text to a phone.
	Text func(n huanxin.Number, text string)
}

// Provider is a carrier's sign-in.
type Provider struct {
	http.Handler
	o  Options
	op *op.Provider

	lock     sync.Mutex
	requests map[string]*request    // by id
	codes    map[string]string      // authorization code → id
	browsers map[string]proof       // who signed in lately, by cookie
	tokens   map[string]*request    // by access token
	locks    map[huanxin.Number]bad // numbers to which wrong codes were given
}

// proof is when somebody proved to have a number.
type proof struct {
	number huanxin.Number
	at     time.Time
}

// bad counts wrong codes.
type bad struct {
	n     int
	until time.Time
}

// New gives a carrier's sign-in.
func New(o Options) (*Provider, error) {
	p := &Provider{o: o, requests: map[string]*request{}, codes: map[string]string{}, browsers: map[string]proof{}, tokens: map[string]*request{},
		locks: map[huanxin.Number]bad{}}
	config := &op.Config{CodeMethodS256: true, SupportedScopes: []string{oidc.ScopeOpenID, oidc.ScopePhone}}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, err
	}
	var err error
	if p.op, err = op.NewProvider(config, storage{p}, op.StaticIssuer(o.Issuer), op.WithAllowInsecure()); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.op)
	mux.HandleFunc("GET /sign-in", p.showPage)
	mux.HandleFunc("POST /sign-in", p.takePage)
	mux.HandleFunc("GET /sign-in.css", serveCSS)
	p.Handler = http.StripPrefix(o.Path, http.NewCrossOriginProtection().Handler(mux))
	return p, nil
}

// request is one sign-in. Its fields but id and asked are guarded by the provider's lock.
type request struct {
	id      string
	asked   *oidc.AuthRequest
	begun   time.Time
	english bool

	number   huanxin.Number
	code     string // sent, not given yet
	sentAt   time.Time
	controls time.Time // when control was proved
	identity bool      // the identity factor was given
	person   Person
}

func (r *request) wantsIdentity() bool { return slices.Contains(r.asked.ACRValues, IdentityACR) }
func (r *request) done() bool          { return !r.controls.IsZero() && (r.identity || !r.wantsIdentity()) }

// maxRequests bounds what is remembered: the oldest go.
const maxRequests = 10_000

func (p *Provider) add(r *request) {
	p.lock.Lock()
	defer p.lock.Unlock()
	for id, old := range p.requests {
		if time.Since(old.begun) > 15*time.Minute || len(p.requests) > maxRequests {
			delete(p.requests, id)
		}
	}
	p.requests[r.id] = r
}

func (p *Provider) request(id string) (*request, bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	r, ok := p.requests[id]
	return r, ok
}

// storage is what the library asks of us.
type storage struct{ p *Provider }

var errNotServed = errors.New("not served here")

// view is a request as the library sees it: what it was when it was looked up.
type view struct {
	*request
	sub      string
	authTime time.Time
	isDone   bool
	acr      string
	amr      []string
}

func (v view) GetID() string          { return v.id }
func (v view) GetACR() string         { return v.acr }
func (v view) GetAMR() []string       { return v.amr }
func (v view) GetAudience() []string  { return []string{v.asked.ClientID} }
func (v view) GetAuthTime() time.Time { return v.authTime }
func (v view) GetClientID() string    { return v.asked.ClientID }
func (v view) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: v.asked.CodeChallenge, Method: v.asked.CodeChallengeMethod}
}
func (v view) GetNonce() string                   { return v.asked.Nonce }
func (v view) GetRedirectURI() string             { return v.asked.RedirectURI }
func (v view) GetResponseType() oidc.ResponseType { return v.asked.ResponseType }
func (v view) GetResponseMode() oidc.ResponseMode { return v.asked.ResponseMode }
func (v view) GetScopes() []string                { return v.asked.Scopes }
func (v view) GetState() string                   { return v.asked.State }
func (v view) GetSubject() string                 { return v.sub }
func (v view) Done() bool                         { return v.isDone }

// view must be called under the lock.
func (s storage) view(r *request) view {
	v := view{request: r, authTime: r.controls, isDone: r.done(), amr: []string{"sms"}, sub: "request-" + r.id}
	if r.identity {
		v.acr, v.amr = IdentityACR, []string{"sms", "urn:huanxin:amr:id_card"}
	}
	return v
}

func (s storage) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if asked.CodeChallenge == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE is needed")
	}
	r := &request{id: rand.Text(), asked: asked, begun: time.Now()}
	for _, l := range asked.UILocales {
		base, _ := l.Base()
		r.english = base.String() == "en"
		break
	}
	s.p.add(r)
	return s.view(r), nil
}

func (s storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.p.lock.Lock()
	defer s.p.lock.Unlock()
	r, ok := s.p.requests[id]
	if !ok {
		return nil, errNotServed
	}
	return s.view(r), nil
}

func (s storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.p.lock.Lock()
	defer s.p.lock.Unlock()
	r, ok := s.p.requests[s.p.codes[code]]
	if !ok {
		return nil, errNotServed
	}
	return s.view(r), nil
}

func (s storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.p.lock.Lock()
	defer s.p.lock.Unlock()
	s.p.codes[code] = id
	return nil
}

func (s storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.p.lock.Lock()
	defer s.p.lock.Unlock()
	delete(s.p.requests, id)
	for code, of := range s.p.codes {
		if of == id {
			delete(s.p.codes, code)
		}
	}
	return nil
}

func (s storage) CreateAccessToken(_ context.Context, t op.TokenRequest) (string, time.Time, error) {
	v, ok := t.(view)
	if !ok {
		return "", time.Time{}, errNotServed
	}
	s.p.lock.Lock()
	defer s.p.lock.Unlock()
	for id, old := range s.p.tokens {
		if time.Since(old.begun) > 15*time.Minute {
			delete(s.p.tokens, id)
		}
	}
	id := rand.Text()
	s.p.tokens[id] = v.request
	return id, time.Now().Add(5 * time.Minute), nil
}

func (s storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNotServed
}

func (s storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNotServed
}

func (s storage) TerminateSession(context.Context, string, string) error { return nil }

func (s storage) RevokeToken(context.Context, string, string, string) *oidc.Error { return nil }

func (s storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// signingKey is the carrier's key as the library takes it.
type signingKey struct{ key auth.SigningKey }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Algorithm() jose.SignatureAlgorithm          { return jose.ES256 }
func (k signingKey) Use() string                                 { return "sig" }
func (k signingKey) ID() string                                  { return k.key.KID }

// Key gives the private key to sign with.
func (k signingKey) Key() any { return k.key.Private }

// publicKey is what is published of it.
type publicKey struct{ signingKey }

// Key gives the public key.
func (k publicKey) Key() any { return k.key.Private.Public().(*ecdsa.PublicKey) }

func (s storage) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{s.p.o.Key}, nil
}

func (s storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{signingKey{s.p.o.Key}}}, nil
}

func (s storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.p.o.ClientID {
		return nil, errNotServed
	}
	return hub(s), nil
}

func (s storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.p.o.ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(s.p.o.Secret)) != 1 {
		return errNotServed
	}
	return nil
}

func (s storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest puts into the ID token what a carrier says of its customer.
func (s storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	v, ok := r.(view)
	if !ok {
		return errNotServed
	}
	s.p.fill(info, v.request)
	return nil
}

func (s storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, token, subject, _ string) error {
	s.p.lock.Lock()
	r := s.p.tokens[token]
	s.p.lock.Unlock()
	if r == nil {
		return errNotServed
	}
	info.Subject = subject
	s.p.fill(info, r)
	return nil
}

func (p *Provider) fill(info *oidc.UserInfo, r *request) {
	p.lock.Lock()
	defer p.lock.Unlock()
	info.PhoneNumber, info.PhoneNumberVerified = r.person.Number.E164(), true
	info.AppendClaims(signin.ClaimStartedAt, r.person.StartedAt.Format(time.RFC3339Nano))
	info.AppendClaims(signin.ClaimOrigin, r.person.Origin.String())
}

func (s storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotServed
}

func (s storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotServed
}

func (s storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotServed
}

func (s storage) Health(context.Context) error { return nil }

// hub is the one client there is.
type hub struct{ p *Provider }

func (h hub) GetID() string                       { return h.p.o.ClientID }
func (h hub) RedirectURIs() []string              { return []string{h.p.o.Redirect} }
func (h hub) PostLogoutRedirectURIs() []string    { return nil }
func (h hub) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (h hub) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (h hub) ResponseTypes() []oidc.ResponseType  { return []oidc.ResponseType{oidc.ResponseTypeCode} }
func (h hub) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (h hub) LoginURL(id string) string           { return h.p.o.Path + "/sign-in?request=" + id }
func (h hub) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (h hub) IDTokenLifetime() time.Duration      { return 5 * time.Minute }
func (h hub) DevMode() bool                       { return true } // http on loopback

//lint:ignore ST1003 the library names it so
func (h hub) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (h hub) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (h hub) IsScopeAllowed(string) bool           { return false }
func (h hub) IDTokenUserinfoClaimsAssertion() bool { return true }
func (h hub) ClockSkew() time.Duration             { return 0 }
