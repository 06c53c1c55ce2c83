package httpapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
)

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type      string         `json:"type" doc:"urn:huanxin:problem: and the code"`
	Title     string         `json:"title" doc:"The kind of problem, in words"`
	Status    int            `json:"status" doc:"The HTTP status"`
	Detail    string         `json:"detail,omitempty" doc:"One sentence for people"`
	Code      string         `json:"code" doc:"Stable, for programs"`
	RequestID string         `json:"request_id,omitempty" doc:"The X-Request-Id of the answer; tell it when you ask for help"`
	Reason    string         `json:"reason,omitempty" doc:"Narrows the code where a rule has several reasons"`
	Errors    []ProblemField `json:"errors,omitempty" doc:"Each thing that is wrong, where several are or where it has a place"`
}

// ProblemField is one thing that is wrong with a request.
type ProblemField struct {
	Field  string `json:"field,omitempty" doc:"The member, such as proof.verified_at or apps[3], or the column or parameter"`
	Line   int64  `json:"line,omitzero" doc:"The physical line, from 1"`
	Code   string `json:"code" doc:"Stable, for programs"`
	Detail string `json:"detail,omitempty" doc:"One sentence for people"`
}

// kinds is the one table from a kind of error to its status and title.
var kinds = [...]struct {
	status int
	title  string
}{
	huanxin.Internal:        {http.StatusInternalServerError, "Something went wrong here"},
	huanxin.Invalid:         {http.StatusBadRequest, "The request is not of the form that is asked for"},
	huanxin.Unauthenticated: {http.StatusUnauthorized, "A valid token is needed"},
	huanxin.Forbidden:       {http.StatusForbidden, "Not allowed"},
	huanxin.NotFound:        {http.StatusNotFound, "Not there"},
	huanxin.Conflict:        {http.StatusConflict, "In conflict with what is already so"},
	huanxin.TooLarge:        {http.StatusRequestEntityTooLarge, "The body is too long"},
	huanxin.Unsupported:     {http.StatusUnsupportedMediaType, "Not taken in this content type or encoding"},
	huanxin.Refused:         {http.StatusUnprocessableEntity, "The rules say no"},
	huanxin.Limited:         {http.StatusTooManyRequests, "Too often"},
	huanxin.Unavailable:     {http.StatusServiceUnavailable, "Not now"},
}

// StatusOf gives the HTTP status of a kind of error.
func StatusOf(k huanxin.ErrorKind) int {
	if int(k) >= len(kinds) {
		k = huanxin.Internal
	}
	return kinds[k].status
}

// refusal makes a *huanxin.Error of any error; one that is none becomes Internal, whose text nobody sees.
func refusal(err error) *huanxin.Error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = tooLarge(over.Limit)
	}
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &huanxin.Error{Kind: huanxin.Unavailable, Code: "timeout", Detail: "this took too long", Err: err}
	}
	return &huanxin.Error{Kind: huanxin.Internal, Code: "internal", Err: err}
}

// problemOf turns an error into what an outsider may know of it.
func problemOf(e *huanxin.Error, requestID string) Problem {
	p := Problem{Type: "urn:huanxin:problem:" + e.Code, Status: StatusOf(e.Kind), Detail: e.Detail,
		Code: e.Code, RequestID: requestID, Reason: e.Reason}
	if p.Status == http.StatusInternalServerError {
		p = Problem{Type: "urn:huanxin:problem:internal", Status: p.Status, Code: "internal", RequestID: requestID,
			Detail: "Please report this with the request id " + requestID}
		p.Title = kinds[huanxin.Internal].title
		return p
	}
	p.Title = kinds[e.Kind].title
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, ProblemField(f))
	}
	return p
}

// WriteProblem answers with the problem document of an error, and with the headers that go with its status.
// It must be the only thing that writes. The caller logs what an outsider may not know.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	e := refusal(err)
	writeProblem(w, r, e, problemOf(e, RequestIDFrom(r.Context())))
}

func writeProblem(w http.ResponseWriter, r *http.Request, e *huanxin.Error, p Problem) {
	exchangeFrom(r.Context()).code = p.Code
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Content-Encoding", "Content-Length"} {
		h.Del(name) // of the answer that did not come about
	}
	h.Set("Content-Type", typeProblem)
	h.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(r, e))
	case http.StatusForbidden:
		if e.Code == "insufficient_scope" {
			h.Set("WWW-Authenticate", challenge(r, e))
		}
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // rather than read the rest
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds := int64(math.Ceil(float64(max(e.RetryAfter, time.Second)) / float64(time.Second)))
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	body, err := json.Marshal(p)
	if err != nil { // a text that is not UTF-8
		body = []byte(`{"type":"urn:huanxin:problem:internal","code":"internal"}`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// challenge is RFC 6750 §3: without credentials no error, else why they do not do.
func challenge(r *http.Request, e *huanxin.Error) string {
	const realm = `Bearer realm="huanxin"`
	switch {
	case e.Kind == huanxin.Forbidden && e.Reason != "":
		return realm + `, error="insufficient_scope", scope="` + e.Reason + `"`
	case e.Kind == huanxin.Forbidden:
		return realm + `, error="insufficient_scope"`
	case r.Header.Get("Authorization") != "":
		return realm + `, error="invalid_token"`
	}
	return realm
}
