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

// ErrorWriter answers with an error in the form of a path that has one of its own. It is the only thing that writes, has
// everything that writeError says of headers done for it but Content-Type, and gives the code that the log shall have.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, e *huanxin.Error) (code string)

// writeError answers with an error in the form of the path that was asked for, which is a problem document unless its route says otherwise, and
// with the headers that go with it. It must be the only thing that writes. The caller logs what an outsider may not know.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeFrom(r.Context())
	var own ErrorWriter
	if x.forms != nil {
		own = x.forms.errorsAt(r)
	}
	if own == nil {
		WriteProblem(w, r, err)
		return
	}
	e := refusal(err)
	errorHeaders(w.Header(), r, e)
	x.code = own(w, r, e)
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
	if e.Code == codeMethod { // a status without a kind: only the mux knows it
		p.Status, p.Title = http.StatusMethodNotAllowed, "Not in this method"
	}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, ProblemField(f))
	}
	return p
}

const codeMethod = "method_not_allowed"

// WriteProblem answers with the problem document of an error, and with the headers that go with it.
// It must be the only thing that writes. The caller logs what an outsider may not know.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	e := refusal(err)
	p := problemOf(e, RequestIDFrom(r.Context()))
	exchangeFrom(r.Context()).code = p.Code
	errorHeaders(w.Header(), r, e)
	w.Header().Set("Content-Type", typeProblem)
	body, err := json.Marshal(p)
	if err != nil { // a text that is not UTF-8
		body = []byte(`{"type":"urn:huanxin:problem:internal","code":"internal"}`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// errorHeaders sets the headers that go with a kind of error in whatever form, and takes away those of the answer that did not
// come about.
func errorHeaders(h http.Header, r *http.Request, e *huanxin.Error) {
	for _, name := range []string{"ETag", "Last-Modified", "Content-Encoding", "Content-Length"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	switch e.Kind {
	case huanxin.Unauthenticated:
		h.Set("WWW-Authenticate", challenge(r, e))
	case huanxin.Forbidden:
		if e.Code == "insufficient_scope" {
			h.Set("WWW-Authenticate", challenge(r, e))
		}
	case huanxin.TooLarge:
		h.Set("Connection", "close") // rather than read the rest
	case huanxin.Limited, huanxin.Unavailable:
		seconds := int64(math.Ceil(float64(max(e.RetryAfter, time.Second)) / float64(time.Second)))
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
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
