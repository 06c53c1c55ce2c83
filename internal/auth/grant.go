package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
)

// A token is bound to a number by the word of the carrier that serves it. The carrier has identified the person at the other
// end (by the network, or signed in), who agreed; it signs a JWT about that number for one app's client, and hands it to the app. The app
// exchanges it here (RFC 7523 §2.1), authenticating itself as always. The JWT's header has the typ typNumberGrant, so that it is never
// taken for a client's authentication nor the other way round (RFC 8725 §3.11). Its claims:
//
//	iss        the carrier's client, whose registered key signs
//	sub        tel: and the number in E.164 form (RFC 3966)
//	aud        the hub's issuer URL or its token endpoint, and nothing else
//	client_id  the app's client, the only one that can exchange it
//	exp        at most 5 minutes ahead
//	jti        once, of all that the carrier's client signs
//	nbf, iat   optional
//	scope      optional: number-recycling:check
//	purpose    optional: what the holder agreed to, as CAMARA writes it: dpv: and a word of the Data Privacy Vocabulary; it is recorded

// typNumberGrant is the typ header of a carrier's word about a number.
const typNumberGrant = "huanxin-number-grant+jwt"

// boundScopes are those of every bound token.
var boundScopes = huanxin.Scopes{huanxin.ScopeNumberRecycling}

// purpose has no digits, so a number cannot stand in its place.
var purpose = regexp.MustCompile(`^dpv:[A-Za-z]{1,64}$`)

// Vouched is a number about which a carrier gave its word, and the token that is to be bound to it.
type Vouched struct {
	Number  huanxin.Number
	Client  string // the app's client that gets the token
	TokenID string // the token's jti
	Purpose string // empty: none was stated
}

// NumberGrant makes the assertion by which a carrier's client gives its word to an app's client about a number in its care. It
// is good once, for two minutes. The audience is the hub's issuer URL, or its token endpoint.
func NumberGrant(key SigningKey, carrierClient, audience, appClient string, n huanxin.Number, now time.Time) (string, error) {
	signer, err := key.signer(typNumberGrant)
	if err != nil {
		return "", err
	}
	return signCompact(signer, struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ClientID string `json:"client_id"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		ID       string `json:"jti"`
	}{carrierClient, "tel:" + n.E164(), audience, appClient, now.Unix(), now.Add(assertionLifetime).Unix(), rand.Text()})
}

// byCarriersWord exchanges a carrier's word about a number for a token that is bound to it.
func (e *TokenEndpoint) byCarriersWord(ctx context.Context, client *huanxin.Client, form params, now time.Time) (*tokenAnswer, error) {
	if form["assertion"] == "" {
		return nil, invalidRequest("assertion is missing")
	}
	scopes := huanxin.ParseScopes(form["scope"])
	if len(both(scopes, boundScopes)) != len(scopes) || len(both(boundScopes, client.Scopes)) != len(boundScopes) {
		return nil, &oauthError{status: http.StatusBadRequest, code: "invalid_scope",
			description: "such a token has the scope " + boundScopes.String() + " and no other, and the client must be allowed it"}
	}
	s, why, err := e.signedBy(ctx, form["assertion"])
	if err != nil {
		return nil, err
	}
	v := Vouched{Client: client.ID, TokenID: rand.Text()}
	if why == "" {
		v.Number, v.Purpose, why = e.judgeGrant(&s, client.ID, now)
	}
	if why != "" {
		return nil, e.refuseGrant(ctx, s.client, why)
	}
	// Nobody but this client can use up the jti now.
	fresh, err := e.Replay(ctx, s.client.ID, s.claims.ID, s.claims.Expiry.Time().Add(assertionSkew))
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, e.refuseGrant(ctx, s.client, whyReplayed)
	}
	sealed, err := e.Bind(ctx, s.client, v)
	var refused *huanxin.Error
	if errors.As(err, &refused) && (refused.Kind == huanxin.Forbidden || refused.Kind == huanxin.Refused) {
		return nil, invalidGrant("") // recorded by Bind
	}
	if err != nil {
		return nil, err
	}
	token, lifetime, err := e.Issuer.mintBound(client.ID, v.TokenID, sealed, now)
	if err != nil {
		return nil, err
	}
	return &tokenAnswer{token, "Bearer", int(lifetime / time.Second), boundScopes.String()}, nil
}

// judgeGrant checks the claims of a carrier's word whose signature is right.
func (e *TokenEndpoint) judgeGrant(s *signed, appClient string, now time.Time) (n huanxin.Number, purposeStated, why string) {
	number, isTel := strings.CutPrefix(s.claims.Subject, "tel:")
	scopes := huanxin.ParseScopes(s.claims.Scope)
	if _, typed := s.head.ExtraHeaders[jose.HeaderType]; !typed || !isType(s.head, typNumberGrant) || !isTel ||
		s.claims.ClientID != appClient || len(both(scopes, boundScopes)) != len(scopes) ||
		s.claims.Purpose != "" && !purpose.MatchString(s.claims.Purpose) {
		return n, "", whyWrongClaims
	}
	n, err := huanxin.ParseNumber(number)
	if err != nil {
		return n, "", whyWrongClaims
	}
	return n, s.claims.Purpose, e.judge(s, now)
}

// refuseGrant records that a carrier's word was not taken, and gives the answer. The app hears no more than it needs to know
// whether to ask the carrier for another.
func (e *TokenEndpoint) refuseGrant(ctx context.Context, carrier *huanxin.Client, why string) error {
	id := ""
	if carrier != nil {
		id = carrier.ID
	}
	if e.Refused != nil {
		e.Refused(ctx, id, "grant_"+why)
	}
	return invalidGrant(why)
}

func invalidGrant(why string) error {
	return &oauthError{status: http.StatusBadRequest, code: "invalid_grant",
		description: cmp.Or(told[why], "the assertion is not a carrier's word, for this client, about a number that it serves")}
}
