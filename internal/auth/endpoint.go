package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin"
)

// maxForm is how long a request to the token endpoint may be.
const maxForm = 64 << 10

// TokenEndpoint is the token endpoint (RFC 6749 §3.2) for the client credentials grant (§4.4) and for a carrier's word about
// a number (RFC 7523 §2.1; see grant.go), an http.Handler.
// It answers errors in OAuth's own form (§5.2), never as a problem document.
type TokenEndpoint struct {
	Issuer *Issuer
	// URL of the endpoint, as outsiders know it; empty: Issuer.URL and TokenPath.
	URL    string
	Lookup Lookup
	// Replay remembers a client's jti until exp, on stable storage that all hubs share. It reports whether it is new, and of
	// two that ask at once tells only one so.
	Replay func(ctx context.Context, clientID, jti string, exp time.Time) (fresh bool, err error)
	// Refused records a failed authentication, or a carrier's word that was not taken. The id is empty where no such client exists; why is one
	// of a few fixed words, those about a carrier's word beginning with "grant_".
	Refused func(ctx context.Context, clientID, why string)
	// Bind takes a carrier's word about a number and gives what a token bound to it holds, sealed for the client and the jti in v. An error
	// of the kind Forbidden or Refused says that the carrier's word does not do, which Bind has recorded; nil: there is no such grant.
	Bind func(ctx context.Context, carrier *huanxin.Client, v Vouched) (sealed []byte, err error)
	// Fault is told of faults of ours, which the outsider sees as server_error only.
	Fault func(ctx context.Context, err error)
}

func (e *TokenEndpoint) tokenURL() string {
	if e.URL == "" {
		return e.Issuer.URL + TokenPath
	}
	return e.URL
}

// oauthError is an answer of RFC 6749 §5.2. Descriptions are fixed texts: nothing of the request is repeated.
type oauthError struct {
	status      int
	code        string
	description string
	challenge   bool
}

func (e *oauthError) Error() string { return e.code + ": " + e.description }

func invalidRequest(description string) error {
	return &oauthError{status: http.StatusBadRequest, code: "invalid_request", description: description}
}

// tokenAnswer is RFC 6749 §5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
}

// ServeHTTP answers a token request.
func (e *TokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	answer, err := e.token(w, r)
	if err == nil {
		_ = json.NewEncoder(w).Encode(answer) // the client is gone if this fails
		return
	}
	var refusal *oauthError
	if !errors.As(err, &refusal) {
		if e.Fault != nil {
			e.Fault(r.Context(), err)
		}
		refusal = serverError(h, err)
	}
	if refusal.challenge {
		h.Set("WWW-Authenticate", `Basic realm="huanxin", charset="UTF-8"`)
	}
	if refusal.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	w.WriteHeader(refusal.status)
	_ = json.NewEncoder(w).Encode(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{refusal.code, refusal.description})
}

// serverError hides a fault, but says when the hub is only busy.
func serverError(h http.Header, err error) *oauthError {
	var e *huanxin.Error
	if errors.As(err, &e) && (e.Kind == huanxin.Unavailable || e.Kind == huanxin.Limited) {
		if e.RetryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
		}
		status := http.StatusServiceUnavailable
		if e.Kind == huanxin.Limited {
			status = http.StatusTooManyRequests
		}
		return &oauthError{status: status, code: "temporarily_unavailable", description: "try again later"}
	}
	return &oauthError{status: http.StatusInternalServerError, code: "server_error", description: "a fault of the hub"}
}

func (e *TokenEndpoint) token(w http.ResponseWriter, r *http.Request) (*tokenAnswer, error) {
	now := time.Now()
	form, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	grant := e.byClient
	switch kind := form["grant_type"]; {
	case kind == grantClient:
	case kind == grantAssertion && e.Bind != nil:
		grant = e.byCarriersWord
	case kind == "":
		return nil, invalidRequest("grant_type is missing")
	default:
		return nil, &oauthError{status: http.StatusBadRequest, code: "unsupported_grant_type",
			description: "the grant_type is " + grantClient + " or " + grantAssertion}
	}
	client, err := e.authenticate(r, form, now)
	if err != nil {
		return nil, err
	}
	return grant(r.Context(), client, form, now)
}

// The grants, as grant_type names them.
const (
	grantClient    = "client_credentials"
	grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// byClient is the client credentials grant.
func (e *TokenEndpoint) byClient(_ context.Context, client *huanxin.Client, form params, now time.Time) (*tokenAnswer, error) {
	scopes, err := allow(client, form["scope"])
	if err != nil {
		return nil, err
	}
	token, lifetime, err := e.Issuer.Mint(client, scopes, now)
	if err != nil {
		return nil, err
	}
	return &tokenAnswer{token, "Bearer", int(lifetime / time.Second), scopes.String()}, nil
}

// allow gives the scopes that a client asks for, all of its own where it names none (RFC 6749 §3.3).
func allow(client *huanxin.Client, asked string) (huanxin.Scopes, error) {
	scopes := huanxin.ParseScopes(asked)
	if len(scopes) == 0 {
		scopes = client.Scopes
	}
	if len(scopes) == 0 || len(both(scopes, client.Scopes)) != len(scopes) {
		return nil, &oauthError{status: http.StatusBadRequest, code: "invalid_scope",
			description: "a scope is unknown, or the client may not have it"}
	}
	return scopes, nil
}

// params are the parameters of a request. One without a value is one that is not there (RFC 6749 §3.2).
type params map[string]string

// readForm reads the body (RFC 6749 appendix B). Nothing is taken from the URL, where it would end in logs.
func readForm(w http.ResponseWriter, r *http.Request) (params, error) {
	if r.Method != http.MethodPost {
		return nil, &oauthError{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "the method is POST"}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, invalidRequest("parameters are sent in the body, not in the URL; a secret that was in the URL must be replaced")
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.Header.Get("Content-Encoding") != "" {
		return nil, invalidRequest("the body is application/x-www-form-urlencoded, without content encoding")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, &oauthError{status: http.StatusRequestEntityTooLarge, code: "invalid_request", description: "the body has at most 64 KiB"}
	case err != nil:
		return nil, invalidRequest("the body breaks off")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalidRequest("the body is not in form encoding")
	}
	form := make(params, len(values))
	for name, all := range values {
		switch {
		case len(all) > 1:
			return nil, invalidRequest("a parameter is there more than once")
		case !utf8.ValidString(name) || !utf8.ValidString(all[0]):
			return nil, invalidRequest("a parameter is not UTF-8")
		case all[0] != "":
			form[name] = all[0]
		}
	}
	return form, nil
}
