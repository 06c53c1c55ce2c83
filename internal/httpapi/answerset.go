package httpapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

const (
	answerSETPath = "/ssf/events"
	typeSET       = "application/secevent+jwt"
)

// answerSETRoutes is where apps answer tasks with SETs of their own: RFC 8935 with the hub as the receiver.
func (a *api) answerSETRoutes() []Route {
	own, codes := setRefusalDocs()
	return []Route{{Method: "POST", Path: answerSETPath, Tag: "Apps", Summary: "Answer a task with a SET",
		Description: "RFC 8935, the app being the transmitter: the body is a SET (RFC 8417) that a registered key of the token's client signed, with ES256, EdDSA, PS256 or RS256. " +
			"typ is secevent+jwt, iss the client's id, aud the hub's issuer URL, jti anything, iat at most 72 hours ago, sub_id {\"format\":\"opaque\",\"id\":TASK}; there is neither exp nor sub. " +
			"Its one event is " + feed.UnbindResult + ", which holds the body of PUT /v1/tasks/{id}/answer and task_id (/schemas/events/unbind-result.json). " +
			"The SET is kept as evidence. Repeating an answer is harmless. What the rules refuse is 400 invalid_request, and the description begins with the code that PUT would have given.",
		Scope: huanxin.ScopeTasksWork, Party: huanxin.AppParty, Lenient: true, Limit: auth.MaxSET,
		Body: &Content{Value: setToken(""), Types: []string{typeSET}}, Status: http.StatusAccepted,
		Errors: writeSETRefusal, OwnErrors: own, OwnCodes: codes, Handler: a.answerSET}}
}

// setToken is a SET in compact form.
type setToken string

// SchemaYAML describes it in the OpenAPI document.
func (setToken) SchemaYAML() string {
	return `{type: string, pattern: '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$', maxLength: 65536}`
}

func (a *api) answerSET(w http.ResponseWriter, r *http.Request) error {
	body, err := readWhole(w, r, auth.MaxSET, typeSET)
	if err != nil {
		return err
	}
	who := CallerFrom(r.Context())
	client, err := a.hub.Client(r.Context(), who.Client)
	if err != nil {
		return err
	}
	if client == nil {
		return huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "the token's client is gone")
	}
	set, err := auth.ReceiveSET(string(body), client, a.issuer, feed.UnbindResult, time.Now())
	if err != nil {
		if huanxin.CodeOf(err) != "invalid_request" { // not a matter of form: it is not the client's, or not for this hub
			a.hub.RecordRefused(r.Context(), who, "task.answer", err)
		}
		return err
	}
	var in answerLine
	if err := decode(set.Event, &in, lenient); err != nil {
		return err
	}
	if in.TaskID != set.Subject {
		return huanxin.BadField("task_id", "not_allowed", "is not the task that sub_id names")
	}
	read, err := in.read(in.TaskID)
	if err != nil {
		return err
	}
	read.SET = string(body)
	if _, err := a.hub.Answer(r.Context(), who, read); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// setCodes are IANA's codes that the hub gives (RFC 8935 §2.4), each with what it means here.
var setCodes = []OwnCode{
	{"invalid_request", "The body is no SET of the form that is asked for, or the rules say no: then the description begins with the code that PUT /v1/tasks/{id}/answer gives."},
	{"invalid_key", "The client has registered no key of this kid and alg."},
	{"invalid_issuer", "iss is not the client whose token came with the SET."},
	{"invalid_audience", "aud is not the hub's issuer URL alone."},
	{"authentication_failed", "The signature is wrong."},
}

// setStatuses are the refusals that are not about the SET.
var setStatuses = map[int]OwnCode{
	http.StatusUnauthorized:        {"authentication_failed", "The bearer token is missing or not valid."},
	http.StatusForbidden:           {"access_denied", "The token lacks the scope, or the client is not an app's."},
	http.StatusTooManyRequests:     {"too_many_requests", "Too fast; Retry-After says how long."},
	http.StatusInternalServerError: {"internal", "A fault of ours."},
	http.StatusServiceUnavailable:  {"unavailable", "Not now; try again after Retry-After."},
}

func setRefusalDocs() (map[int]*Content, map[int][]OwnCode) {
	own := map[int]*Content{http.StatusBadRequest: JSON(ssfError{})}
	codes := map[int][]OwnCode{http.StatusBadRequest: setCodes}
	for status, c := range setStatuses {
		own[status], codes[status] = JSON(ssfError{}), []OwnCode{c}
	}
	return own, codes
}

// writeSETRefusal answers with an error in RFC 8935's form, and gives the code of the rule or of the SET that is behind it.
func writeSETRefusal(w http.ResponseWriter, _ *http.Request, e *huanxin.Error) string {
	status, out := StatusOf(e.Kind), ssfError{"invalid_request", narrowed(e) + ": " + e.Detail}
	isCode := func(c OwnCode) bool { return c.Code == e.Code }
	if c, ok := setStatuses[status]; ok {
		out = ssfError{c.Code, c.Meaning}
	} else if status = http.StatusBadRequest; slices.ContainsFunc(setCodes, isCode) {
		out = ssfError{e.Code, e.Detail}
	} else if e.Code == codeMethod {
		status = http.StatusMethodNotAllowed
	}
	body, err := json.Marshal(out)
	if err != nil { // a text that is not UTF-8
		body = []byte(`{"err":"invalid_request","description":""}`)
	}
	h := w.Header()
	h["Content-Type"] = contentJSON
	h.Set("Content-Language", "en")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return e.Code
}

// narrowed gives a refusal's code, and behind it what narrows it.
func narrowed(e *huanxin.Error) string {
	switch {
	case e.Reason != "":
		return e.Code + " (" + e.Reason + ")"
	case len(e.Fields) > 0 && e.Fields[0].Code != e.Code:
		return e.Code + " (" + e.Fields[0].Code + ")"
	}
	return e.Code
}
