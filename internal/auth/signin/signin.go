// Package signin lets holders sign in at their carrier: the hub is a relying party of OpenID Connect Core 1.0 (authorization code flow with PKCE, RFC
// 7636, state and nonce), and each carrier an OpenID provider.
//
// What a provider must tell, in the ID token or at its userinfo endpoint: phone_number in E.164 with phone_number_verified, auth_time, amr (RFC 8176) with how
// control of the number was proved, acr when the identity factor was asked for, and the tenure in ClaimStartedAt and ClaimOrigin.
package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/huanxin-platform/huanxin"
	"golang.org/x/oauth2"
)

// The claims of the tenure: when it began (RFC 3339; with origin unknown the earliest proven day) and how (first, reassigned, transferred or unknown).
const (
	ClaimStartedAt = "urn:huanxin:tenure_started_at"
	ClaimOrigin    = "urn:huanxin:tenure_origin"
)

// Carrier is a carrier's OpenID provider, and how the hub is known there.
type Carrier struct {
	Party    string // of the registry
	Issuer   string // https, without a trailing slash; the sandbox alone has http
	ClientID string
	Secret   string
	// IdentityACR is the acr value that stands for the identity factor, asked for right before a request is submitted.
	IdentityACR string
}

// Options is what SignIn is made of.
type Options struct {
	Carriers []Carrier
	// RedirectURL is where a carrier sends people back to.
	RedirectURL func(party string) string
	// Client reaches the providers; nil: one with a timeout of ten seconds.
	Client *http.Client
	// Seal and Open keep what must come back unchanged, and unread, from a browser.
	Seal func(plain []byte) []byte
	Open func(sealed []byte) ([]byte, error)
	Log  *slog.Logger
}

// Times of a sign-in.
const (
	maxUnderWay = 10 * time.Minute // from leaving for the carrier to coming back
	maxAuthAge  = 540              // seconds: the proof of control is good for ten minutes
	stepUpAge   = 180              // seconds, before the identity factor: seven minutes are left for that and for submitting
	skew        = time.Minute      // between the carrier's clock and ours
	retryAfter  = 15 * time.Second // until a provider that could not be discovered is asked again
	callTimeout = 10 * time.Second // of everything that is asked of a provider
	maxBack     = 512              // of the path to come back to
)

// SignIn signs holders in. It is safe for concurrent use.
type SignIn struct {
	o        Options
	carriers map[string]*carrier
	order    []string
}

type carrier struct {
	Carrier
	lock     sync.Mutex
	provider *oidc.Provider
	tried    time.Time
}

// New gives a SignIn. Providers are looked for when they are first needed, so one that is down keeps nobody else out.
func New(o Options) *SignIn {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: callTimeout}
	}
	s := &SignIn{o: o, carriers: map[string]*carrier{}}
	for _, c := range o.Carriers {
		s.carriers[c.Party] = &carrier{Carrier: c}
		s.order = append(s.order, c.Party)
	}
	return s
}

// Carriers gives the parties at which people can sign in, in the order of the configuration.
func (s *SignIn) Carriers() []string { return s.order }

// Purpose is what a sign-in is for.
type Purpose string

// The purposes.
const (
	Begin  Purpose = "begin"   // a session
	StepUp Purpose = "step-up" // the identity factor, for a session that is there
)

// authAge is how many seconds ago control may have been proved when somebody leaves.
func (p Purpose) authAge() int {
	if p == StepUp {
		return stepUpAge
	}
	return maxAuthAge
}

// transient is what a browser keeps, sealed, while its holder is at the carrier.
type transient struct {
	Party    string    `json:"p"`
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Back     string    `json:"b"`
	Purpose  Purpose   `json:"u"`
	At       time.Time `json:"t"`
}

// Leave gives the URL at the carrier to send somebody to, and what their browser keeps meanwhile. back is a path of ours to go to afterwards.
func (s *SignIn) Leave(ctx context.Context, party string, purpose Purpose, back string, english bool) (to, keep string, err error) {
	c := s.carriers[party]
	if c == nil {
		return "", "", huanxin.Errorf(huanxin.NotFound, "unknown_carrier", "people cannot sign in at this carrier here")
	}
	if len(back) > maxBack {
		return "", "", huanxin.BadField("back", "too_long", "no path of ours")
	}
	p, err := s.discover(ctx, c)
	if err != nil {
		return "", "", err
	}
	t := transient{Party: party, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Back: back, Purpose: purpose, At: time.Now()}
	text, err := json.Marshal(t)
	if err != nil {
		return "", "", err
	}
	locale := "zh-CN"
	if english {
		locale = "en"
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier), oauth2.SetAuthURLParam("ui_locales", locale),
		oauth2.SetAuthURLParam("max_age", strconv.Itoa(purpose.authAge()))}
	if purpose == StepUp {
		options = append(options, oauth2.SetAuthURLParam("acr_values", c.IdentityACR))
	}
	return s.config(c, p).AuthCodeURL(t.State, options...), base64.RawURLEncoding.EncodeToString(s.o.Seal(text)), nil
}

func (s *SignIn) config(c *carrier, p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.Secret, Endpoint: p.Endpoint(), RedirectURL: s.o.RedirectURL(c.Party),
		Scopes: []string{oidc.ScopeOpenID, "phone"}}
}

// discover gives a carrier's provider. One that could not be found is not asked again for a while.
func (s *SignIn) discover(ctx context.Context, c *carrier) (*oidc.Provider, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.provider != nil {
		return c.provider, nil
	}
	if time.Since(c.tried) < retryAfter {
		return nil, errDown(nil)
	}
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), s.o.Client), c.Issuer) // its keys are fetched later, too
	if err != nil {
		c.tried = time.Now()
		s.o.Log.Warn("a carrier's OpenID provider cannot be reached", "carrier", c.Party, "error", err)
		return nil, errDown(err)
	}
	c.provider = p
	return p, nil
}

// namesItself reports whether the provider says that its answers bear its issuer (RFC 9207 §3).
func (c *carrier) namesItself() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	var says struct {
		Always bool `json:"authorization_response_iss_parameter_supported"`
	}
	return c.provider != nil && c.provider.Claims(&says) == nil && says.Always
}

func errDown(err error) error {
	return &huanxin.Error{Kind: huanxin.Unavailable, Code: "carrier_down", Detail: "the carrier's sign-in does not answer", RetryAfter: retryAfter, Err: err}
}

// Result is who came back from a carrier.
type Result struct {
	Party      string
	Number     huanxin.Number
	StartedAt  time.Time
	Origin     huanxin.TenureOrigin
	Proof      huanxin.Proof
	IdentityAt time.Time
	Back       string
	Purpose    Purpose
}

func refused(code, detail string) error { return huanxin.Errorf(huanxin.Refused, code, detail) }

// Return reads with what somebody came back from the carrier with the given name. Even with an error the result says where to go and what it was for, once that is known. The errors are
// Refused: sign_in_unknown (begun elsewhere, forged or too long ago), identity_failed (OpenID Connect's unmet_authentication_requirements), declined, not_vouched
// (what the carrier says is not enough, or not to be believed); and Unavailable: carrier_down.
func (s *SignIn) Return(ctx context.Context, party, keep string, query url.Values) (Result, error) {
	unknown := refused("sign_in_unknown", "this sign-in was not begun here, or too long ago")
	var t transient
	sealed, err := base64.RawURLEncoding.DecodeString(keep)
	if err != nil || len(keep) == 0 {
		return Result{}, unknown
	}
	text, err := s.o.Open(sealed)
	if err != nil || json.Unmarshal(text, &t) != nil || t.Party != party || s.carriers[party] == nil {
		return Result{}, unknown
	}
	if age := time.Since(t.At); age > maxUnderWay || age < -skew || subtle.ConstantTimeCompare([]byte(t.State), []byte(query.Get("state"))) != 1 {
		return Result{}, unknown
	}
	out := Result{Party: party, Back: t.Back, Purpose: t.Purpose}
	c := s.carriers[party]
	if iss := query.Get("iss"); iss != "" && iss != c.Issuer || iss == "" && c.namesItself() { // RFC 9207
		return out, unknown
	}
	switch query.Get("error") {
	case "":
	case "unmet_authentication_requirements":
		return out, refused("identity_failed", "the identity check at the carrier did not succeed")
	case "access_denied":
		return out, refused("declined", "the sign-in at the carrier was broken off")
	case "temporarily_unavailable", "server_error":
		return out, errDown(nil)
	default:
		return out, refused("not_vouched", "the carrier refused the sign-in")
	}
	p, err := s.discover(ctx, c)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, s.o.Client), callTimeout)
	defer cancel()
	err = s.redeem(ctx, c, p, &t, query.Get("code"), &out)
	return out, err
}

// redeem exchanges the code, and believes what the ID token says as far as it was asked for.
func (s *SignIn) redeem(ctx context.Context, c *carrier, p *oidc.Provider, t *transient, code string, out *Result) error {
	tokens, err := s.config(c, p).Exchange(ctx, code, oauth2.VerifierOption(t.Verifier))
	if err != nil {
		var answer *oauth2.RetrieveError
		if errors.As(err, &answer) && answer.Response != nil && answer.Response.StatusCode < 500 {
			return s.distrust(c, "the code is refused", err)
		}
		return errDown(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	token, err := p.Verifier(&oidc.Config{ClientID: c.ClientID}).Verify(ctx, raw)
	if err != nil {
		return s.distrust(c, "the ID token is not good", err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(t.Nonce)) != 1 {
		return s.distrust(c, "the nonce is another", nil)
	}
	var claims claims
	if err := token.Claims(&claims); err != nil {
		return s.distrust(c, "the claims are not of their types", err)
	}
	if claims.Number == "" { // as OpenID Connect Core §5.4 has it
		info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		if err != nil {
			return errDown(err)
		}
		if info.Subject != token.Subject {
			return s.distrust(c, "userinfo is about somebody else", nil)
		}
		if err := info.Claims(&claims.person); err != nil {
			return s.distrust(c, "the claims are not of their types", err)
		}
	}
	if why := claims.fill(out, t, c.IdentityACR); why != "" {
		return s.distrust(c, why, nil)
	}
	return nil
}

// distrust says to the operator, and to nobody else, what is wrong with what a carrier says.
func (s *SignIn) distrust(c *carrier, why string, err error) error {
	s.o.Log.Warn("what a carrier says of a sign-in is not taken", "carrier", c.Party, "why", why, "error", err)
	return refused("not_vouched", "what the carrier says is not enough to sign in")
}

// person is what a provider says of somebody.
type person struct {
	Number    string `json:"phone_number"`
	Verified  bool   `json:"phone_number_verified"`
	StartedAt string `json:"urn:huanxin:tenure_started_at"`
	Origin    string `json:"urn:huanxin:tenure_origin"`
}

type claims struct {
	person
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
}

// fill reads the claims into the result, or says why they are not enough. What is not said counts for nothing.
func (c *claims) fill(out *Result, t *transient, identityACR string) (why string) {
	var err error
	if out.Number, err = huanxin.ParseNumber(c.Number); err != nil || c.Number != out.Number.E164() {
		return "phone_number is no E.164 number"
	}
	if !c.Verified {
		return "the number is not verified"
	}
	if out.StartedAt, err = time.Parse(time.RFC3339, c.StartedAt); err != nil {
		return ClaimStartedAt + " is no time"
	}
	if out.Origin, err = huanxin.ParseTenureOrigin(c.Origin); err != nil {
		return ClaimOrigin + " is not known"
	}
	at := time.Unix(c.AuthTime, 0)
	if c.AuthTime == 0 || at.After(time.Now().Add(skew)) || at.Before(t.At.Add(-time.Duration(t.Purpose.authAge())*time.Second-skew)) {
		return "auth_time is missing, ahead or too old"
	}
	if out.Proof.Control = controlOf(c.AMR); out.Proof.Control == 0 {
		return "amr does not say how control of the number was proved"
	}
	out.Proof.VerifiedAt = at
	if t.Purpose == StepUp {
		if identityACR == "" || c.ACR != identityACR {
			return "the acr that was asked for was not met"
		}
		// The provider was asked for it when they left; what is older than that it cannot have made newer by a text alone.
		out.Proof.Identity, out.IdentityAt = identityOf(c.AMR), t.At
		if at.Before(t.At) {
			out.IdentityAt = at
		}
	}
	return ""
}

// The words of amr for control that RFC 8176 has none for: by the SIM card, and by the network's own.
const (
	amrSIM     = "urn:huanxin:amr:sim"
	amrNetwork = "urn:huanxin:amr:network"
)

// controlOf reads how control of the number was proved. Of RFC 8176 only sms says so: otp, hwk and swk may be an app or a key of whoever has an account at
// the carrier, with or without the number.
func controlOf(amr []string) huanxin.Control {
	switch {
	case slices.Contains(amr, "sms"):
		return huanxin.ControlSMS
	case slices.Contains(amr, amrSIM):
		return huanxin.ControlSIM
	case slices.Contains(amr, amrNetwork):
		return huanxin.ControlNetwork
	}
	return 0
}

// identityOf reads how identity was verified, where the provider says more than that it was.
func identityOf(amr []string) huanxin.Identity {
	switch {
	case slices.Contains(amr, "face"):
		return huanxin.IdentityFace
	case slices.Contains(amr, "urn:huanxin:amr:national_eid"):
		return huanxin.IdentityNationalEID
	case slices.Contains(amr, "urn:huanxin:amr:id_card"):
		return huanxin.IdentityIDCard
	}
	return huanxin.IdentityCRM
}
