package auth

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
)

// MaxSET is how long a SET that the hub takes may be.
const MaxSET = 64 << 10

// When a SET that the hub takes was issued.
const (
	setAhead = 5 * time.Minute
	setAge   = 72 * time.Hour
)

// ReceivedSET is a SET that a client signed and the hub verified.
type ReceivedSET struct {
	JTI      string
	IssuedAt time.Time
	Subject  string // the id of its opaque subject
	Event    []byte // the payload, a JSON object
}

// setClaims are those of a SET that a client signed.
type setClaims struct {
	Issuer    string         `json:"iss"`
	Audience  jwt.Audience   `json:"aud"`
	JTI       string         `json:"jti"`
	IssuedAt  *float64       `json:"iat"`
	NotBefore *float64       `json:"nbf"`
	Expires   jsontext.Value `json:"exp"`
	Sub       jsontext.Value `json:"sub"`
	SubID     struct {
		Format string `json:"format"`
		ID     string `json:"id"`
	} `json:"sub_id"`
	Events map[string]jsontext.Value `json:"events"`
}

// ReceiveSET verifies a SET by which a client tells the hub of an event: that the client signed it with a key of its key set, for the hub,
// not long ago, about one event of the given type and an opaque subject (RFC 8417, RFC 8935 §2, SSF 1.0 §4). A key that the SET brings along
// is not looked at. The error is Invalid with one of the codes of RFC 8935 §2.4 and repeats nothing of the SET.
func ReceiveSET(token string, client *huanxin.Client, hub, event string, now time.Time) (ReceivedSET, error) {
	if len(token) > MaxSET {
		return ReceivedSET{}, refuseSET("invalid_request", "the SET is too long")
	}
	if strings.Trim(token, compactAlphabet) != "" { // the decoder would skip line breaks
		return ReceivedSET{}, refuseSET("invalid_request", "the body is no SET in compact form, or something else is there too")
	}
	jws, err := jose.ParseSignedCompact(token, clientAlgs)
	if err != nil {
		return ReceivedSET{}, refuseSET("invalid_request", "the body is no SET that is signed with ES256, EdDSA, PS256 or RS256")
	}
	head := jws.Signatures[0].Protected
	_, critical := head.ExtraHeaders["crit"]
	_, unencoded := head.ExtraHeaders["b64"]
	if critical || unencoded {
		return ReceivedSET{}, refuseSET("invalid_request", "the header asks for something (crit, b64) that is not done here")
	}
	if !isType(head, typSET) {
		return ReceivedSET{}, refuseSET("invalid_request", "typ is not "+typSET)
	}
	var claims setClaims
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return ReceivedSET{}, refuseSET("invalid_request", "the claims are not those of a SET, or one of them is there twice")
	}
	if claims.Issuer != client.ID { // says more than that it has no such key
		return ReceivedSET{}, refuseSET("invalid_issuer", "iss is not the client whose token came with the SET")
	}
	key := registeredKey(client, head)
	if key == nil {
		return ReceivedSET{}, refuseSET("invalid_key", "the client has registered no key of this kid and alg")
	}
	if _, err := jws.Verify(key.Key); err != nil {
		return ReceivedSET{}, refuseSET("authentication_failed", "the signature is wrong")
	}
	return claims.judge(hub, event, now)
}

// judge checks the claims of a SET whose issuer and signature are right.
func (c *setClaims) judge(hub, event string, now time.Time) (ReceivedSET, error) {
	refuse := func(code, why string) (ReceivedSET, error) { return ReceivedSET{}, refuseSET(code, why) }
	if len(c.Audience) == 0 {
		return refuse("invalid_audience", "aud is missing")
	}
	for _, aud := range c.Audience {
		if aud != hub {
			return refuse("invalid_audience", "aud is not the hub's issuer URL, or not it alone")
		}
	}
	switch {
	case c.JTI == "" || len(c.JTI) > maxJTI:
		return refuse("invalid_request", "jti is missing, or longer than 255 bytes")
	case c.Expires != nil || c.Sub != nil:
		return refuse("invalid_request", "a SET has neither exp nor sub")
	case c.IssuedAt == nil:
		return refuse("invalid_request", "iat is missing")
	case *c.IssuedAt > seconds(now.Add(setAhead)), c.NotBefore != nil && *c.NotBefore > seconds(now.Add(setAhead)):
		return refuse("invalid_request", "iat or nbf lies in the future")
	case *c.IssuedAt < seconds(now.Add(-setAge)):
		return refuse("invalid_request", "iat is more than 72 hours ago: sign it anew")
	case c.SubID.Format != "opaque" || c.SubID.ID == "":
		return refuse("invalid_request", `sub_id is not {"format":"opaque","id":…}`)
	case len(c.Events) != 1 || c.Events[event] == nil:
		return refuse("invalid_request", "events does not hold "+event+" alone")
	case c.Events[event].Kind() != '{':
		return refuse("invalid_request", "the event is no JSON object")
	}
	return ReceivedSET{JTI: c.JTI, IssuedAt: time.Unix(int64(*c.IssuedAt), 0).UTC(), Subject: c.SubID.ID, Event: c.Events[event]}, nil
}

func seconds(t time.Time) float64 { return float64(t.Unix()) }

func refuseSET(code, why string) error { return huanxin.Errorf(huanxin.Invalid, code, why) }

// compactAlphabet is what a JWS in compact form is written in.
const compactAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
