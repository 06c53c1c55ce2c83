package auth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Metadata is what the hub says of itself (RFC 8414 §2).
type Metadata struct {
	Issuer          string   `json:"issuer"`
	TokenEndpoint   string   `json:"token_endpoint"`
	JWKSURI         string   `json:"jwks_uri"`
	ScopesSupported []string `json:"scopes_supported"`
	ResponseTypes   []string `json:"response_types_supported"` // required, and empty: there is no authorization endpoint
	GrantTypes      []string `json:"grant_types_supported"`
	AuthMethods     []string `json:"token_endpoint_auth_methods_supported"`
	AuthSigningAlgs []string `json:"token_endpoint_auth_signing_alg_values_supported"`
}

// NewMetadata gives the metadata of the hub with this issuer URL.
func NewMetadata(issuer string) Metadata {
	m := Metadata{
		Issuer:        issuer,
		TokenEndpoint: issuer + TokenPath,
		JWKSURI:       issuer + JWKSPath,
		ResponseTypes: []string{},
		GrantTypes:    []string{grantClient, grantAssertion},
		AuthMethods:   []string{"private_key_jwt", "client_secret_basic"},
	}
	for _, alg := range clientAlgs {
		m.AuthSigningAlgs = append(m.AuthSigningAlgs, string(alg))
	}
	for _, kind := range []huanxin.PartyKind{huanxin.CarrierParty, huanxin.AppParty, huanxin.RegulatorParty, huanxin.OperatorParty} {
		for _, s := range huanxin.ScopesOf(kind) {
			if !slices.Contains(m.ScopesSupported, string(s)) {
				m.ScopesSupported = append(m.ScopesSupported, string(s))
			}
		}
	}
	return m
}

// CheckIssuer refuses an issuer URL that others could not compare byte by byte (RFC 8414 §2): it is https (http is for
// the demo), has a host, and no credentials, query, fragment or trailing slash.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "",
		u.Scheme != "https" && u.Scheme != "http",
		strings.ContainsAny(issuer, "?#"), strings.HasSuffix(issuer, "/"):
		return huanxin.BadField("issuer", "invalid_url", "it is an https URL without credentials, query, fragment or trailing slash")
	}
	return nil
}

// cacheKeysFor is how long others may keep the key set: much shorter than Rotation.Lead.
const cacheKeysFor = "public, max-age=300"

// MetadataHandler serves the metadata at MetadataPath.
func MetadataHandler(issuer string) http.Handler {
	body, err := json.Marshal(NewMetadata(issuer))
	if err != nil {
		panic("auth: " + err.Error()) // strings only
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", cacheKeysFor)
		_, _ = w.Write(body)
	})
}

// JWKSHandler serves the ring's public keys at JWKSPath.
func JWKSHandler(ring *KeyRing) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", cacheKeysFor)
		_ = json.NewEncoder(w).Encode(ring.JWKS(time.Now()))
	})
}
