package httpapi

import (
	"io"
	"net/http"
	"strconv"

	"github.com/huanxin-platform/huanxin"
)

// camaraError is one error of the path, as the definition's examples write it.
type camaraError struct {
	status        int
	code, message string
}

// What the handler refuses. Texts are the definition's: nothing of a request is ever repeated.
var (
	errArgument      = huanxin.Errorf(huanxin.Invalid, "INVALID_ARGUMENT", "the request is not of the definition's form")
	errRange         = huanxin.Errorf(huanxin.Invalid, "OUT_OF_RANGE", "the date is one about which nothing can be said")
	errNotFound      = huanxin.Errorf(huanxin.NotFound, "IDENTIFIER_NOT_FOUND", "the number was never seen")
	errNotApplicable = huanxin.Errorf(huanxin.Refused, "SERVICE_NOT_APPLICABLE", "the number's kind is not served, or its carrier is late")
	errMissing       = huanxin.Errorf(huanxin.Refused, "MISSING_IDENTIFIER", "neither the token nor the body says which number")
	errUnnecessary   = huanxin.Errorf(huanxin.Refused, "UNNECESSARY_IDENTIFIER", "both the token and the body say which number")
)

// camaraErrors are those of the definition, with its examples' messages, and behind them those that it leaves to Commonalities 0.6.
var camaraErrors = []camaraError{
	{400, "INVALID_ARGUMENT", "Client specified an invalid argument, request body or query param."},
	{400, "OUT_OF_RANGE", "Client specified an invalid range."},
	{401, "UNAUTHENTICATED", "Request not authenticated due to missing, invalid, or expired credentials. A new authentication is required."},
	{403, "PERMISSION_DENIED", "Client does not have sufficient permissions to perform this action"},
	{404, "IDENTIFIER_NOT_FOUND", "Phone number not found."},
	{422, "SERVICE_NOT_APPLICABLE", "The service is not available for the provided phone number"},
	{422, "UNNECESSARY_IDENTIFIER", "The phone number is already identified by the access token"},
	{422, "MISSING_IDENTIFIER", "The phone number cannot be identified"},

	{405, "METHOD_NOT_ALLOWED", "The requested method is not allowed/supported on the target resource."},
	{429, "QUOTA_EXCEEDED", "Out of resource quota."},
	{429, "TOO_MANY_REQUESTS", "Rate limit reached."},
	{500, "INTERNAL", "Unknown server error. Typically a server bug."},
	{503, "UNAVAILABLE", "Service Unavailable."},
}

// camaraMeanings are for our own documents.
var camaraMeanings = map[string]string{
	"INVALID_ARGUMENT":       "The body, its content type or the x-correlator is missing or not of the form.",
	"OUT_OF_RANGE":           "The date lies in the future, or before what is known of the number.",
	"UNAUTHENTICATED":        "The token is missing or not valid, or the number it is bound to has come into other hands.",
	"PERMISSION_DENIED":      "The token lacks the scope, or the client is not an app's.",
	"IDENTIFIER_NOT_FOUND":   "The number was never seen.",
	"SERVICE_NOT_APPLICABLE": "Numbers of this kind are not served, or the carrier has not told for too long.",
	"UNNECESSARY_IDENTIFIER": "The token is bound to a number, and phoneNumber was given.",
	"MISSING_IDENTIFIER":     "The token is not bound to a number, and phoneNumber was not given.",
	"METHOD_NOT_ALLOWED":     "The path has POST alone.",
	"QUOTA_EXCEEDED":         "The day's quota is used up; Retry-After says how long.",
	"TOO_MANY_REQUESTS":      "Too many checks, or too many dates asked of one number; Retry-After says how long.",
	"INTERNAL":               "A fault of ours.",
	"UNAVAILABLE":            "Not now; try again after Retry-After.",
}

// camaraCode is the table from an error of whatever origin to CAMARA's code.
func camaraCode(e *huanxin.Error) string {
	switch {
	case e == errRange, e == errMissing, e == errUnnecessary:
		return e.Code
	case e.Code == codeMethod:
		return "METHOD_NOT_ALLOWED"
	case e.Code == "quota_exceeded":
		return "QUOTA_EXCEEDED"
	}
	switch e.Kind {
	case huanxin.Invalid, huanxin.TooLarge, huanxin.Unsupported: // the definition has neither 413 nor 415
		return "INVALID_ARGUMENT"
	case huanxin.Unauthenticated:
		return "UNAUTHENTICATED"
	case huanxin.Forbidden:
		return "PERMISSION_DENIED"
	case huanxin.NotFound:
		return "IDENTIFIER_NOT_FOUND"
	case huanxin.Refused:
		return "SERVICE_NOT_APPLICABLE"
	case huanxin.Limited:
		return "TOO_MANY_REQUESTS"
	case huanxin.Unavailable:
		return "UNAVAILABLE"
	}
	return "INTERNAL"
}

// writeCamara answers with an ErrorInfo.
func writeCamara(w http.ResponseWriter, r *http.Request, e *huanxin.Error) string {
	code := camaraCode(e)
	for _, c := range camaraErrors {
		if c.code != code {
			continue
		}
		h := w.Header()
		h["Content-Type"] = contentJSON
		correlate(h, exchangeFrom(r.Context()), r)
		w.WriteHeader(c.status)
		_, _ = io.WriteString(w, `{"status":`+strconv.Itoa(c.status)+`,"code":"`+c.code+`","message":"`+c.message+`"}`)
		break
	}
	return code
}

// errorInfo is ErrorInfo, for the documents.
type errorInfo struct {
	Status  int    `json:"status" doc:"HTTP response status code"`
	Code    string `json:"code" doc:"A human-readable code to describe the error"`
	Message string `json:"message" doc:"A human-readable description of what the event represents"`
}

func camaraDocs() (map[int]*Content, map[int][]OwnCode) {
	own, codes := map[int]*Content{}, map[int][]OwnCode{}
	for _, c := range camaraErrors {
		own[c.status] = JSON(errorInfo{})
		codes[c.status] = append(codes[c.status], OwnCode{c.code, camaraMeanings[c.code]})
	}
	delete(own, http.StatusMethodNotAllowed) // of other operations
	return own, codes
}

// correlator is a value of x-correlator.
type correlator string

// SchemaYAML describes it in the OpenAPI document.
func (correlator) SchemaYAML() string {
	return `{type: string, pattern: '^[a-zA-Z0-9-_:;.\/<>{}]{0,256}$', examples: [b4333c46-49c0-4f62-80d7-f0ef930f1c46]}`
}

const maxCorrelator = 256

// well reports whether the correlator is of the definition's pattern.
func (c correlator) well() bool {
	for i := range len(c) {
		if !inCorrelator[c[i]] {
			return false
		}
	}
	return len(c) <= maxCorrelator
}

var inCorrelator = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:;./<>{}") {
		t[c] = true
	}
	return t
}()

// correlate gives the answer the request's x-correlator, or the request's id where it has none that could be given back.
func correlate(h http.Header, x *exchange, r *http.Request) {
	given := r.Header["X-Correlator"]
	if len(given) != 1 || given[0] == "" || !correlator(given[0]).well() {
		given = x.ids[:]
	}
	h["X-Correlator"] = given
}

// checkCorrelator refuses one that is not of the pattern: "error 400 - INVALID_ARGUMENT MUST be returned" (CAMARA API Design Guide of
// Commonalities 0.6, "x-correlator Header").
func checkCorrelator(r *http.Request) error {
	if given := r.Header["X-Correlator"]; len(given) > 1 || len(given) == 1 && !correlator(given[0]).well() {
		return errArgument
	}
	return nil
}
