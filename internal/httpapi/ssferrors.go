package httpapi

import (
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
)

// ssfError is an error on the paths of SSF, in the form that RFC 8935 §2.4 has for SETs: SSF itself says no more than the status.
type ssfError struct {
	Err         string `json:"err" doc:"Stable, for programs: of IANA's Security Event Token Error Codes where one fits."`
	Description string `json:"description" doc:"One sentence for people."`
}

// ssfCodes is every err, with the status that it comes with.
var ssfCodes = []struct {
	status  int
	err     string
	meaning string
}{
	{400, "invalid_request", "The request is not of the form that is asked for."},
	{400, "stream_not_enabled", "The stream is paused or disabled, so it would not transmit the event."},
	{401, "authentication_failed", "The token is missing, or not valid (any more)."},
	{403, "access_denied", "The token lacks the scope, or the client is not an app's."},
	{403, "too_many_subjects", "The stream has as many subjects, added and removed, as it may."},
	{404, "not_found", "There is no such stream, or it is another client's."},
	{405, "method_not_allowed", "The path does not have this method; Allow says which it has."},
	{409, "too_many_streams", "The client has as many streams as it may."},
	{409, "idempotency_conflict", "The Idempotency-Key was used with another body."},
	{409, "in_flight", "A request with this Idempotency-Key is being worked on."},
	{413, "invalid_request", "The body is longer than is taken."},
	{415, "invalid_request", "The body's content type or encoding is not taken here."},
	{429, "too_many_requests", "Too often; come back after Retry-After."},
	{500, "internal", "A fault of ours; tell us the request id."},
	{503, "unavailable", "Not now; try again after Retry-After."},
}

// ssfErr gives err and status of an error of whatever origin: by its code where that is one of SSF's, else by its kind.
func ssfErr(e *huanxin.Error) (err string, status int) {
	for _, c := range ssfCodes {
		if c.err == e.Code {
			return c.err, c.status
		}
	}
	status = StatusOf(e.Kind)
	if e.Kind == huanxin.Refused { // SSF knows no 422
		status = http.StatusBadRequest
	}
	for _, c := range ssfCodes {
		if c.status == status {
			return c.err, status
		}
	}
	return "internal", http.StatusInternalServerError
}

// writeSSF answers with an error in SSF's form.
func writeSSF(w http.ResponseWriter, r *http.Request, e *huanxin.Error) string {
	out := ssfError{Description: e.Detail}
	var status int
	if out.Err, status = ssfErr(e); status == http.StatusInternalServerError {
		out.Description = "Please report this with the request id " + RequestIDFrom(r.Context())
	}
	body, err := json.Marshal(out)
	if err != nil { // a text that is not UTF-8
		body = []byte(`{"err":"` + out.Err + `","description":""}`)
	}
	h := w.Header()
	h["Content-Type"] = contentJSON
	h.Set("Content-Language", "en")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return out.Err
}

// ssfDocs gives the errors of a route for the documents: those that any may have, and those of further codes.
func ssfDocs(further ...string) (own map[int]*Content, codes map[int][]OwnCode) {
	always := map[string]bool{"invalid_request": true, "authentication_failed": true, "access_denied": true, "internal": true, "unavailable": true}
	for _, c := range further {
		always[c] = true
	}
	own, codes = map[int]*Content{}, map[int][]OwnCode{}
	for _, c := range ssfCodes {
		if always[c.err] {
			own[c.status] = JSON(ssfError{})
			codes[c.status] = append(codes[c.status], OwnCode{c.err, c.meaning})
		}
	}
	return own, codes
}

// inSSFsForm gives routes errors of SSF's form.
func inSSFsForm(rt Route, further ...string) Route {
	rt.Errors, rt.Lenient = writeSSF, true
	rt.OwnErrors, rt.OwnCodes = ssfDocs(further...)
	if rt.Scope == "" { // nothing can be wrong with what is asked
		for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden} {
			delete(rt.OwnErrors, status)
		}
	}
	if rt.Body == nil {
		delete(rt.OwnErrors, http.StatusRequestEntityTooLarge)
		delete(rt.OwnErrors, http.StatusUnsupportedMediaType)
	}
	return rt
}
