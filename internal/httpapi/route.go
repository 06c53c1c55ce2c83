package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
)

// Handler answers a request or gives an error, which becomes a problem document. After the first byte of
// an answer an error can only cut the connection, so that nobody takes a half for the whole.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Route is one row of the route table: what is served and, from the same words, what is documented.
type Route struct {
	Method, Path string // as http.ServeMux takes them; a GET answers HEAD, too
	Summary      string // a few words
	Description  string // sentences
	Tag          string // the section of the document
	// Scope is what the caller's token must carry, and Party of which kind the caller must be. Core decides on its
	// own account: here it is for the document, and to refuse before the body is read. Without a scope nobody is asked who they are.
	Scope huanxin.Scope
	Party huanxin.PartyKind
	// Idempotent documents the header Idempotency-Key.
	Idempotent bool
	// Query is every parameter that the query may have. Others are refused unless the route is Lenient.
	Query []Param
	// Lenient ignores unknown members and parameters: the paths of SSF, CAMARA and OAuth.
	Lenient bool
	Body    *Content // nil: none
	Limit   int64    // of a JSON body, as sent and unpacked; 0 is DefaultLimit. Line-wise bodies have none
	Status  int      // of a good answer; 0 is 200
	Answer  *Content // nil: no body
	// OwnErrors are refusals in a form that is not a problem document, by status. Those of Codes come beside them.
	OwnErrors map[int]*Content
	// Errors writes every error of the path in its own form, those before the route is reached and in other methods too: there
	// are no problem documents then, and OwnErrors are all. Nil: problem documents. Routes of one path have the same.
	Errors ErrorWriter
	// OwnCodes says which codes OwnErrors bear, by status, where they have some.
	OwnCodes map[int][]OwnCode
	// Header is request headers worth naming.
	Header []Param
	// Codes are those that are particular to the route. Those that follow from the rest of the row are added.
	Codes   []string
	Handler Handler
}

// OwnCode is a code of a form of errors that is not ours.
type OwnCode struct{ Code, Meaning string }

// anyScope is the scope of a route that every valid token may use; what it shows depends on who asks.
const anyScope huanxin.Scope = "*"

// Param is one parameter of a query.
type Param struct {
	Name, Doc string
	Type      any // a zero value of its type; nil is a string
	Enum      []string
	Required  bool
}

// Content is the body of a request or an answer.
type Content struct {
	// Value is any value of the wire type: of the JSON document, or of one line.
	Value any
	Types []string
	// Line is any value of the type of one line, where the line-wise types among Types differ from the document's.
	Line any
}

// JSON is a body of one JSON document of v's type.
func JSON(v any) *Content { return &Content{Value: v, Types: []string{typeJSON}} }

// NDJSON is a body of lines of v's type.
func NDJSON(v any) *Content { return &Content{Value: v, Types: []string{typeNDJSON}} }

// NDJSONOrCSV is a body of lines of v's type, as NDJSON or as CSV.
func NDJSONOrCSV(v any) *Content { return &Content{Value: v, Types: []string{typeNDJSON, typeCSV}} }

// Config is what Mux needs beside its routes.
type Config struct {
	Title, Version string // of the document
	Log            *slog.Logger
	// Authenticate tells who asks by the request's headers. Its errors are refusals of kind Unauthenticated.
	Authenticate func(*http.Request) (huanxin.Caller, error)
	// Refused is told of a caller who was known and refused for scope or kind before any use case was asked, so that
	// it can be recorded; nil: nobody is told.
	Refused func(ctx context.Context, who huanxin.Caller, method, pattern string, err error)
}

// Mux serves the routes, and their documents at /openapi.yaml, /docs/api and /docs/api.css. Everything that is not
// there, or not in this method, is a problem document, too. It stands behind Front. A table that contradicts itself panics.
func Mux(routes []Route, cfg Config) http.Handler {
	m := &mux{cfg: cfg, plain: map[methodPath]http.Handler{}}
	seen := map[string]bool{}
	for _, rt := range slices.Concat(routes, documents(routes, cfg)) {
		h := m.serve(&rt)
		m.tree.Handle(rt.Method+" "+rt.Path, h)
		m.bare.Handle(rt.Method+" "+rt.Path, h)
		if !strings.Contains(rt.Path, "{") {
			m.plain[methodPath{rt.Method, rt.Path}] = h
		}
		if rt.Errors != nil && !seen[rt.Path] {
			seen[rt.Path] = true
			m.forms.Handle(rt.Path, errorForm{rt.Errors})
		}
	}
	m.tree.HandleFunc("/", m.unmatched)
	return m
}

type mux struct {
	cfg  Config
	tree http.ServeMux // the routes, and unmatched for everything else
	bare http.ServeMux // the routes: it knows 405
	// plain is the routes without wildcards: ServeMux prefers them to all others, so they need not be searched for.
	plain map[methodPath]http.Handler
	forms http.ServeMux // the paths whose errors have a form of their own: errorForm
}

type methodPath struct{ method, path string }

// errorForm is the form of a path's errors, in the guise that a ServeMux finds.
type errorForm struct{ write ErrorWriter }

func (errorForm) ServeHTTP(http.ResponseWriter, *http.Request) {}

// errorsAt gives the form of errors of the path that is asked for, in whatever method; nil: problem documents.
func (m *mux) errorsAt(r *http.Request) ErrorWriter {
	h, _ := m.forms.Handler(r)
	f, _ := h.(errorForm)
	return f.write
}

func (m *mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, known := r.Context().Value(exchangeKey{}).(*exchange)
	if !known {
		x = &exchange{Context: r.Context(), forms: m}
		r = r.WithContext(x)
	}
	x.pattern = "unmatched"
	rw, ok := w.(*response)
	if !ok {
		rw = &response{ResponseWriter: w}
	}
	w.Header()["Cache-Control"] = noStore
	defer m.recovered(rw, r)
	if h := m.plain[methodPath{r.Method, r.URL.Path}]; h != nil && r.URL.RawPath == "" {
		h.ServeHTTP(rw, r)
		return
	}
	if p := r.URL.Path; p != "/" && path.Clean(p) != strings.TrimSuffix(p, "/") {
		m.fail(rw, r, errNoRoute()) // rather than redirect an API's caller
		return
	}
	m.tree.ServeHTTP(rw, r)
}

// Header values that many answers have. They are shared: whoever wants another one sets it in its place.
var (
	noStore     = []string{"no-store"}
	noContent   = []string{"default-src 'none'; frame-ancestors 'none'"}
	noSniff     = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"}
	contentJSON = []string{typeJSON}
)

func errNoRoute() error {
	return huanxin.Errorf(huanxin.NotFound, "not_found", "there is nothing at this path")
}

// unmatched tells 405 from 404 by what ServeMux would have answered.
func (m *mux) unmatched(w http.ResponseWriter, r *http.Request) {
	probe := &discarded{header: http.Header{}}
	if handler, pattern := m.bare.Handler(r); pattern == "" {
		handler.ServeHTTP(probe, r)
	}
	if probe.status != http.StatusMethodNotAllowed {
		m.fail(w.(*response), r, errNoRoute())
		return
	}
	allow := probe.header.Get("Allow")
	w.Header().Set("Allow", allow)
	m.fail(w.(*response), r, huanxin.Errorf(huanxin.Invalid, codeMethod, "this path has "+allow))
}

type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }

func (m *mux) serve(rt *Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchangeFrom(r.Context())
		x.pattern, x.route = rt.Path, rt
		err := m.admit(r, x)
		if err == nil {
			err = rt.Handler(w, r)
		}
		if err != nil {
			m.fail(w.(*response), r, err)
		}
	})
}

// admit lets in a request whose caller may use the route and whose query is of the route's form.
func (m *mux) admit(r *http.Request, x *exchange) error {
	if x.route.Scope != "" {
		who, err := m.cfg.Authenticate(r)
		if err != nil {
			return err
		}
		who.RequestID = x.id
		x.caller = who
		kind := x.route.Party
		if kind == 0 && who.Party != nil {
			kind = who.Party.Kind
		}
		if err := who.May(kind, x.route.Scope); err != nil && (x.route.Scope != anyScope || !who.Bound.IsZero()) {
			if m.cfg.Refused != nil {
				m.cfg.Refused(r.Context(), who, x.route.Method, x.route.Path, err)
			}
			return err
		}
	}
	return checkQuery(r, x.route)
}

// fail answers with an error, and logs what an outsider may not know of a fault of ours.
func (m *mux) fail(w *response, r *http.Request, err error) {
	if e := refusal(err); StatusOf(e.Kind) == http.StatusInternalServerError || w.status != 0 {
		m.cfg.Log.ErrorContext(r.Context(), "a request failed", "request_id", RequestIDFrom(r.Context()),
			"route", exchangeFrom(r.Context()).pattern, "error", withoutNumbers(errorText(e)))
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler) // part of an answer is out already: net/http cuts the connection
	}
	writeError(w, r, err)
}

func errorText(e *huanxin.Error) string {
	if e.Err != nil {
		return e.Error() + ": " + e.Err.Error()
	}
	return e.Error()
}

func (m *mux) recovered(w *response, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	m.cfg.Log.ErrorContext(r.Context(), "a handler panicked", "request_id", RequestIDFrom(r.Context()),
		"route", exchangeFrom(r.Context()).pattern, "panic", withoutNumbers(fmt.Sprint(v)), "stack", stack())
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(w, r, fmt.Errorf("panic"))
}

// stack says where the panic came from. Unlike debug.Stack it shows no arguments, one of which may be a number.
func stack() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)]) // beneath stack, recovered and the panic itself
	var b strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s %s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}

var longDigits = regexp.MustCompile(`\+?[0-9]{5,}`)

// withoutNumbers is the last line of defence before the log: texts of libraries may quote what they were given.
func withoutNumbers(text string) string { return longDigits.ReplaceAllString(text, "[digits]") }

// jsonHandler makes a Handler of a function from one wire type to another. An In of None reads no body, an Out of None
// writes none.
func jsonHandler[In, Out any](status int, f func(ctx context.Context, r *http.Request, in In) (Out, error)) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in In
		if _, none := any(in).(None); !none {
			if err := readJSON(w, r, &in); err != nil {
				return err
			}
		}
		out, err := f(r.Context(), r, in)
		if err != nil {
			return err
		}
		return writeJSON(w, status, out)
	}
}

// writeJSON answers with a JSON document, or without a body where v is None.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	if _, none := v.(None); none {
		w.WriteHeader(status)
		return nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the other end is gone, which is its own affair
	return nil
}
