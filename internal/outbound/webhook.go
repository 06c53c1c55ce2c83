package outbound

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"
)

const (
	// TypWebhook is the typ header of webhooks (RFC 7515 §4.1.9): nothing else that the hub signs has it.
	TypWebhook = "huanxin-webhook+jwt"
	// ContentTypeJWT is the content type of webhooks (RFC 7519 §10.3.1).
	ContentTypeJWT = "application/jwt"

	webhookLifetime = 5 * time.Minute
)

// Signer signs with the hub's current key: an auth.KeyRing.
type Signer interface {
	Sign(now time.Time, typ string, claims any) (string, error)
}

// Webhook is one message to one receiver. It never holds a phone number.
type Webhook struct {
	Issuer string         // the hub
	URL    string         // where it goes, and the audience: a receiver cannot pass it on to another
	ID     string         // jti: the same whenever the same message is sent again
	Claims map[string]any // what it says; the names iss, aud, iat, exp and jti are taken
}

// SignWebhook writes a webhook's body: a JWT (RFC 7519) that is valid for 5 minutes. It is signed anew for every attempt.
func SignWebhook(ring Signer, w Webhook, now time.Time) (string, error) {
	if w.Issuer == "" || w.URL == "" || w.ID == "" {
		return "", fmt.Errorf("outbound: a webhook needs an issuer, a URL and an id")
	}
	claims := maps.Clone(w.Claims)
	if claims == nil {
		claims = make(map[string]any)
	}
	for name, value := range map[string]any{"iss": w.Issuer, "aud": w.URL, "jti": w.ID,
		"iat": now.Unix(), "exp": now.Add(webhookLifetime).Unix()} {
		if _, taken := claims[name]; taken {
			return "", fmt.Errorf("outbound: a webhook may not have a claim %q of its own", name)
		}
		claims[name] = value
	}
	return ring.Sign(now, TypWebhook, claims)
}

// Send signs a webhook and posts it. What the receiver answered is the caller's to judge.
func (w Webhook) Send(ctx context.Context, c *http.Client, ring Signer, now time.Time) (Answer, error) {
	body, err := SignWebhook(ring, w, now)
	if err != nil {
		return Answer{}, err
	}
	return Post(ctx, c, w.URL, ContentTypeJWT, []byte(body))
}
