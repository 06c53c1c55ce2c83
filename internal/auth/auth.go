// Package auth is the OAuth 2.0 side of the hub: it makes and verifies access tokens (RFC 9068), runs the
// token endpoint with its two ways of client authentication (RFC 6749, RFC 7523), holds the hub's signing
// keys and publishes them.
//
// It stores nothing and knows no routes. What it needs of others is handed to it as functions: the
// registry of clients (Lookup), the memory for used assertions (Replay) and the audit (Refused).
package auth

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Where outsiders find the endpoints (API.md, "Tokens").
const (
	TokenPath    = "/oauth2/token"
	JWKSPath     = "/jwks.json"
	MetadataPath = "/.well-known/oauth-authorization-server"
)

// MaxTokenLifetime is how long an access token is valid at most.
const MaxTokenLifetime = 900 * time.Second

// clockSkew is by how much the clocks of two hubs may differ.
const clockSkew = 5 * time.Second

// Lookup gives a client as the registry knows it now. Where there is none, it gives nil, or an error of the
// kind NotFound; any other error is a fault. It is asked with every token that is verified, so it answers
// from memory, at most 5 seconds behind the database. Nobody changes what it returns.
type Lookup func(ctx context.Context, clientID string) (*huanxin.Client, error)

// find asks the registry. A client that is not there is nil; one is disabled with its party, too.
func (lookup Lookup) find(ctx context.Context, clientID string) (client *huanxin.Client, disabled bool, err error) {
	if clientID == "" || len(clientID) > maxClientID {
		return nil, false, nil
	}
	c, err := lookup(ctx, clientID)
	switch {
	case err != nil && huanxin.KindOf(err) == huanxin.NotFound, err == nil && c == nil:
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case c.Disabled || c.Party.Disabled:
		return c, true, nil
	}
	return c, false, nil
}

// maxClientID is longer than any id of the registry.
const maxClientID = 255
