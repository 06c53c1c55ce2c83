package httpapi

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

// Version is that of the contract. It rises with every change of the OpenAPI document.
const Version = "1.8.0"

const title = "huanxin 焕新"

// Options is what the API is made of. All of it is needed but Feed and Stopping.
type Options struct {
	Hub  *core.Hub
	Ring *auth.KeyRing
	// Feed answers polls. nil: one that nothing wakes.
	Feed     *feed.Feed
	Issuer   string // the hub's public URL
	Log      *slog.Logger
	Registry prometheus.Registerer
	InFlight int // how many requests are answered at once
	// Stopping is closed when the hub begins to stop: streams end then. nil: never.
	Stopping <-chan struct{}
}

// New gives the hub's API: every path of the contract behind the front that counts, bounds and logs.
func New(o Options) http.Handler {
	if o.Feed == nil {
		o.Feed = feed.New(feed.Options{Hub: o.Hub, Ring: o.Ring, Issuer: o.Issuer, Log: o.Log, Stopping: o.Stopping})
	}
	issuer := &auth.Issuer{URL: o.Issuer, Ring: o.Ring, OpenBound: o.Hub.OpenBound}
	verifier := auth.NewVerifier(issuer, o.Hub.Client)
	a := &api{hub: o.Hub, zone: o.Hub.Calendar().Zone(), ring: o.Ring, issuer: o.Issuer, feed: o.Feed, stopping: o.Stopping}
	token := &auth.TokenEndpoint{Issuer: issuer, Lookup: o.Hub.Client, Replay: o.Hub.UseAssertion, Refused: o.Hub.RefusedClient,
		Bind: o.Hub.BindToken,
		Fault: func(ctx context.Context, err error) {
			o.Log.ErrorContext(ctx, "the token endpoint failed", "request_id", RequestIDFrom(ctx), "error", err)
		}}
	routes := slices.Concat(
		oauthRoutes(token, auth.JWKSHandler(o.Ring), auth.MetadataHandler(o.Issuer)),
		a.routes())
	routes = append(routes, atIssuersPath(routes, o.Issuer)...)
	mux := Mux(routes, Config{Title: title, Version: Version, Log: o.Log, Authenticate: bearer(verifier),
		Refused: func(ctx context.Context, who huanxin.Caller, method, pattern string, err error) {
			o.Hub.RecordRefused(ctx, who, method+" "+pattern, err)
		}})
	return NewFront(o.Log, o.Registry, o.InFlight).Wrap(mux)
}

// Routes gives the route table without what answers it, for the OpenAPI document.
func Routes() []Route {
	none := http.NotFoundHandler()
	return slices.Concat(oauthRoutes(none, none, none), (&api{}).routes())
}

// bearer finds out who asks by the Authorization header (RFC 6750 §2.1).
func bearer(v *auth.Verifier) func(*http.Request) (huanxin.Caller, error) {
	return func(r *http.Request) (huanxin.Caller, error) {
		given := r.Header.Values("Authorization")
		if len(given) != 1 {
			return huanxin.Caller{}, huanxin.Errorf(huanxin.Unauthenticated, "unauthenticated", "a bearer token is needed")
		}
		scheme, token, _ := strings.Cut(given[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return huanxin.Caller{}, huanxin.Errorf(huanxin.Unauthenticated, "unauthenticated", "a bearer token is needed")
		}
		return v.Verify(r.Context(), strings.TrimSpace(token), time.Now())
	}
}

func oauthRoutes(token, jwks, metadata http.Handler) []Route {
	plain := func(h http.Handler) Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			h.ServeHTTP(w, r)
			return nil
		}
	}
	form := &Content{Value: tokenRequest{}, Types: []string{"application/x-www-form-urlencoded"}}
	return []Route{
		{Method: "POST", Path: auth.TokenPath, Tag: "Tokens", Summary: "Get an access token", Lenient: true,
			Description: "Client credentials (RFC 6749 §4.4). The client authenticates with private_key_jwt (RFC 7523), or with HTTP Basic where the registry allows a secret. Errors have OAuth's own form (RFC 6749 §5.2).\n\n" + grantText,
			Body:        form, Answer: JSON(tokenAnswer{}), Handler: plain(token),
			OwnErrors: map[int]*Content{http.StatusBadRequest: JSON(tokenRefusal{}), http.StatusUnauthorized: JSON(tokenRefusal{}),
				http.StatusRequestEntityTooLarge: JSON(tokenRefusal{})}},
		{Method: "GET", Path: auth.MetadataPath, Tag: "Tokens", Summary: "Metadata of the authorization server (RFC 8414)", Lenient: true,
			Answer: JSON(auth.Metadata{}), Handler: plain(metadata)},
		{Method: "GET", Path: auth.JWKSPath, Tag: "Tokens", Summary: "The hub's public keys (RFC 7517)", Lenient: true,
			Answer: JSON(keySet{}), Handler: plain(jwks)},
	}
}

const grantText = "An app gets a token that is bound to a number, for the CAMARA check of that number alone, with the grant_type " +
	"urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 §2.1) and an assertion that the carrier gave it: a JWT signed with a key of the " +
	"carrier's client (which needs the scope requests.create), with the header typ huanxin-number-grant+jwt and the claims iss (the carrier's client), sub (tel:+86…, a number that the " +
	"carrier serves), aud (the issuer or this endpoint), client_id (the app's client), exp (at most 5 minutes ahead), jti (once), and optionally nbf, iat, scope " +
	"and purpose (dpv:…). The token stops when the number comes into other hands: another holder's, nobody's, or another carrier's."

type tokenRequest struct {
	GrantType  string `json:"grant_type" enum:"client_credentials,urn:ietf:params:oauth:grant-type:jwt-bearer"`
	Scope      string `json:"scope,omitempty" doc:"Scopes separated by blanks; without it all that the registry allows."`
	AssertType string `json:"client_assertion_type,omitempty" doc:"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"`
	Assertion  string `json:"client_assertion,omitempty" doc:"A JWT that the client signed (RFC 7523 §3)."`
	Grant      string `json:"assertion,omitempty" doc:"A JWT that a carrier's client signed, with the second grant_type."`
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type" enum:"Bearer"`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds, at most 900."`
	Scope       string `json:"scope"`
}

// tokenRefusal is OAuth's own form (RFC 6749 §5.2).
type tokenRefusal struct {
	Error       string `json:"error" enum:"invalid_request,invalid_client,invalid_grant,unsupported_grant_type,invalid_scope,server_error,temporarily_unavailable"`
	Description string `json:"error_description"`
}

type keySet struct {
	Keys []publicKey `json:"keys"`
}

type publicKey struct {
	KID string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use" enum:"sig"`
	Kty string `json:"kty"`
}

// api is the handlers of what carriers and apps use.
type api struct {
	hub    *core.Hub
	zone   *time.Location // times are written in it
	ring   *auth.KeyRing  // signs manifests
	issuer string
	feed   *feed.Feed

	streams  streams
	stopping <-chan struct{}
}

func (a *api) routes() []Route {
	return slices.Concat(a.carrierRoutes(), a.historyRoutes(), a.appRoutes(), a.caseRoutes(), a.answerSETRoutes(), a.checkRoutes(), a.replicaRoutes(), a.camaraRoutes(),
		a.ssfRoutes(), a.ssfPollRoutes())
}

// time writes an instant in the national time zone.
func (a *api) time(t time.Time) Time { return Time(t.In(a.zone)) }

// optionalTime is time, or nothing for the zero time.
func (a *api) optionalTime(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	v := a.time(t)
	return &v
}

// once reads the Idempotency-Key; what it is compared by is the method, the path and the body.
func once(ctx context.Context, r *http.Request) core.Once {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return core.Once{}
	}
	return core.Once{Key: key, Body: append([]byte(r.Method+" "+r.URL.Path+"\n"), BodyFrom(ctx)...)}
}

// receipt answers a line-wise body.
type receipt struct {
	Receipt       string      `json:"receipt" doc:"Names this report in questions about it."`
	Accepted      int64       `json:"accepted"`
	Duplicates    int64       `json:"duplicates" doc:"Lines that said what is known already."`
	Rejected      []rejection `json:"rejected" doc:"The first 10,000 refused lines."`
	RejectedTotal int64       `json:"rejected_total"`
}

type rejection struct {
	Line   int64  `json:"line" doc:"Physical lines from 1, a CSV header included."`
	ID     string `json:"id" doc:"As the line named it, or as the hub named the event of a line of history; empty if it could not be read."`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func receiptOf(r core.Receipt) receipt {
	out := receipt{Receipt: r.ID, Accepted: r.Accepted, Duplicates: r.Duplicates, RejectedTotal: r.RejectedTotal,
		Rejected: make([]rejection, len(r.Rejected))}
	for i, l := range r.Rejected {
		out.Rejected[i] = rejection(l)
	}
	return out
}

// each turns the lines of a body into what a use case takes.
func each[From, To any](from iter.Seq2[Line[From], error], turn func(*Line[From]) To) iter.Seq2[To, error] {
	return func(yield func(To, error) bool) {
		for l, err := range from {
			if !yield(turn(&l), err) {
				return
			}
		}
	}
}

// limitOf reads the parameter limit: 1 to most, by default 100.
func limitOf(r *http.Request, most int) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return min(100, most), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, huanxin.BadField("limit", "out_of_range", "must be 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

// mapped gives what turn makes of each element; never nil, so that an empty list is written as one.
func mapped[From, To any](from []From, turn func(From) To) []To {
	out := make([]To, len(from))
	for i, v := range from {
		out[i] = turn(v)
	}
	return out
}
