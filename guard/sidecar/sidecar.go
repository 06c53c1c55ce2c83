// Package sidecar puts a guard behind HTTP on the same machine, for programs in other languages.
//
// Whatever is wrong with a question, the answer's body says step_up: who reads only that is safe. A number stands in bodies alone.
package sidecar

import (
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/guard"
)

// Options say what a Handler does.
type Options struct {
	Guard *guard.Guard
	// Zone is that of dates. nil: China's.
	Zone *time.Location
	// Secret, unless empty, must come with every question: Authorization: Bearer SECRET.
	Secret string
	// AnyHost takes every Host header. Otherwise it must name this machine (localhost or a loopback address), so that a page in a browser
	// here cannot ask under a name of its own.
	AnyHost bool
	// Metrics, unless nil, is served at /metrics.
	Metrics http.Handler
}

const (
	maxBody = 4 << 10
	// inFlight bounds how many questions are answered at once.
	inFlight = 1024
)

// Handler serves
//
//	POST /decide   {"number","bound_at"?,"confirmed_at"?,"last_proof"?} → {"decision","reason","source","as_of","age_seconds"}
//	POST /forget   {"number"} → 204: the hub is asked again about it
//	GET  /healthz  200 while it runs
//	GET  /readyz   200 while a decision other than step_up can be expected, else 503
//	GET  /metrics
func Handler(o Options) http.Handler {
	if o.Zone == nil {
		o.Zone = huanxin.China
	}
	s := &server{Options: o, room: make(chan struct{}, inFlight)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /decide", s.decide)
	mux.HandleFunc("POST /forget", s.forget)
	for _, path := range []string{"/decide", "/forget"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "POST is wanted")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "there is /decide")
	})
	mux.HandleFunc("GET /readyz", s.ready)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	all := http.NewServeMux()
	all.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	all.Handle("/", s.front(mux))
	return all
}

type server struct {
	Options
	room chan struct{}
}

// answer is the body of every answer but that of /forget.
type answer struct {
	Decision string `json:"decision"`
	Reason   string `json:"reason"`
	Source   string `json:"source,omitempty"`
	AsOf     *int64 `json:"as_of"`       // null without an answer, like the age
	Age      *int64 `json:"age_seconds"` // rounded up
	Detail   string `json:"detail,omitempty"`
}

// question is the body of /decide. Times are dates or date-times with an offset.
type question struct {
	Number      string `json:"number"`
	BoundAt     string `json:"bound_at"`
	ConfirmedAt string `json:"confirmed_at"`
	LastProof   string `json:"last_proof"`
}

// front lets in whom it may.
func (s *server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case !s.AnyHost && !here(r.Host), r.Header.Get("Origin") != "":
			refuse(w, http.StatusForbidden, "forbidden", "this is for programs on this machine")
			return
		case s.Secret != "" && !s.authorized(r):
			h.Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "unauthenticated", "Authorization: Bearer and the secret are wanted")
			return
		}
		select {
		case s.room <- struct{}{}:
			defer func() { <-s.room }()
			next.ServeHTTP(w, r)
		default:
			refuse(w, http.StatusServiceUnavailable, "overloaded", "too many questions at once")
		}
	})
}

func (s *server) authorized(r *http.Request) bool {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(secret), []byte(s.Secret)) == 1
}

// here reports whether a Host header names this machine.
func here(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

func (s *server) decide(w http.ResponseWriter, r *http.Request) {
	var body question
	if !read(w, r, &body) {
		return
	}
	q, err := s.parse(&body)
	if err != nil {
		var e *huanxin.Error
		if errors.As(err, &e) && len(e.Fields) == 1 {
			refuse(w, http.StatusBadRequest, e.Fields[0].Code, e.Detail)
			return
		}
		refuse(w, http.StatusBadRequest, "invalid", "the question cannot be read")
		return
	}
	d := s.Guard.Decide(r.Context(), q)
	a := answer{Decision: d.Access.String(), Reason: d.Reason.String(), Source: d.Source.String()}
	if d.Source != guard.FromNobody {
		age := int64((d.Age + time.Second - 1) / time.Second)
		a.AsOf, a.Age = &d.AsOf, &age
	}
	write(w, http.StatusOK, &a)
}

func (s *server) parse(b *question) (q guard.Question, err error) {
	if q.Number, err = huanxin.ParseNumber(b.Number); err != nil {
		return q, err
	}
	for _, m := range []struct {
		to          *huanxin.Moment
		field, text string
	}{{&q.BoundAt, "bound_at", b.BoundAt}, {&q.ConfirmedAt, "confirmed_at", b.ConfirmedAt}, {&q.LastProof, "last_proof", b.LastProof}} {
		if *m.to, err = guard.ParseMoment(m.field, m.text, s.Zone); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (s *server) forget(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Number string `json:"number"`
	}
	if !read(w, r, &body) {
		return
	}
	number, err := huanxin.ParseNumber(body.Number)
	if err != nil {
		refuse(w, http.StatusBadRequest, huanxin.GuardNumberMalformed.String(), "number: E.164 is wanted")
		return
	}
	s.Guard.Forget(number)
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	st := s.Guard.Status()
	if st.Vouches || st.HubKnown && !st.HubDown {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	http.Error(w, "neither a hub nor a replica vouches", http.StatusServiceUnavailable)
}

// read reads a body of JSON strictly: one object with known members, each once, and nothing behind it.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "application/json is wanted")
		return false
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", "a question is shorter")
		return false
	}
	if err == nil {
		err = json.Unmarshal(text, into, json.RejectUnknownMembers(true))
	}
	if err != nil { // which may hold the number
		refuse(w, http.StatusBadRequest, "malformed_json", "the body is not the JSON that is wanted: members known, each once, and strings")
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, status int, reason, detail string) {
	write(w, status, &answer{Decision: huanxin.StepUp.String(), Reason: reason, Detail: detail})
}

func write(w http.ResponseWriter, status int, a *answer) {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // of strings and integers it does not fail
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
