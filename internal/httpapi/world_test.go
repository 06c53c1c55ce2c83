package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.yaml.in/yaml/v4"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// Here the API is tested as outsiders see it: over HTTP, on a real hub, on both engines.

var postgres pgtest.Template

// onBothEngines runs a test on SQLite and on PostgreSQL.
func onBothEngines(t *testing.T, test func(t *testing.T, w *world), opts ...hubtest.Option) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, startWorld(t, opts...))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := postgres.Database(t)
		w := startWorld(t, append(slices.Clone(opts), hubtest.Postgres(url))...)
		w.postgres = url
		test(t, w)
	})
}

// world is a hub whose every answer is held against its own OpenAPI document.
type world struct {
	*hubtest.Hub
	t      *testing.T
	spec   spec
	tokens map[string]string
	keys   keys
	now    time.Time // whole seconds, when the test began

	postgres string // the database's URL; empty: SQLite
}

func startWorld(t *testing.T, opts ...hubtest.Option) *world {
	t.Helper()
	w := &world{Hub: hubtest.Start(t, opts...), t: t, tokens: map[string]string{}, now: time.Now().Truncate(time.Second)}
	w.spec = readSpec(t, w.URL)
	return w
}

// ago gives the instant some days before now.
func (w *world) ago(days float64) time.Time {
	return w.now.Add(-time.Duration(days * float64(24*time.Hour)))
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// as gives a party's client, whose answers are checked too.
func (w *world) as(party string) *client.Client {
	w.t.Helper()
	c := w.Credentials(party)
	return client.New(client.Options{URL: w.URL, ID: c.ID, Secret: c.Secret, HTTP: &http.Client{Transport: &checker{w}}})
}

func (w *world) token(party string) string {
	w.t.Helper()
	if w.tokens[party] == "" {
		var err error
		w.tokens[party], err = w.as(party).Token(w.t.Context())
		must(w.t, err)
	}
	return w.tokens[party]
}

// call is one plain request. Header values of "" take a header away.
type call struct {
	method, path string
	as           string // a party; empty: nobody
	header       map[string]string
	body         string
}

type answer struct {
	status int
	header http.Header
	body   []byte
	httpapi.Problem
}

// do sends a call and reads its answer, a problem document too.
func (w *world) do(c call) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), c.method, w.URL+c.path, strings.NewReader(c.body))
	must(w.t, err)
	if c.as != "" {
		req.Header.Set("Authorization", "Bearer "+w.token(c.as))
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
		if v == "" {
			delete(req.Header, k)
		}
	}
	resp, err := (&checker{w}).RoundTrip(req)
	must(w.t, err)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	must(w.t, err)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		must(w.t, json.Unmarshal(a.body, &a.Problem))
	}
	return a
}

func (a *answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %.300s", err, a.body)
	}
}

// checker holds every answer against the OpenAPI document, and every refusal against what must never be in one.
type checker struct{ w *world }

func (c *checker) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.w.HTTP().Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	c.w.check(req, sent, resp, body)
	return resp, nil
}

func (w *world) check(req *http.Request, sent []byte, resp *http.Response, body []byte) {
	name := req.Method + " " + req.URL.Path
	if resp.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
		return // net/http's own
	}
	if resp.Header.Get("X-Request-Id") == "" {
		w.t.Errorf("%s: no X-Request-Id", name)
	}
	codes := codesIn(body)
	if op := w.spec.at(req.URL.Path); op != nil && op.own {
		codes = nil
	}
	for _, code := range codes {
		if !slices.ContainsFunc(httpapi.Codes, func(c httpapi.CodeDoc) bool { return c.Code == code }) {
			w.t.Errorf("%s: the code %s is not in Codes", name, code)
		}
	}
	if op := w.spec.find(req.Method, req.URL.Path); op != nil {
		listed, ok := op.responses[resp.StatusCode]
		switch {
		case !ok:
			w.t.Errorf("%s: status %d is not in the OpenAPI document: %.300s", name, resp.StatusCode, body)
		case resp.StatusCode >= 400 && !op.own:
			for _, code := range codes[:min(1, len(codes))] { // that of the problem; those of its fields stand anywhere
				if !slices.Contains(listed, code) {
					w.t.Errorf("%s: status %d: the OpenAPI document does not list %s: %.300s", name, resp.StatusCode, code, body)
				}
			}
			for _, code := range codes[min(1, len(codes)):] {
				if !op.lists(code) {
					w.t.Errorf("%s: the OpenAPI document lists %s nowhere: %.300s", name, code, body)
				}
			}
		case resp.StatusCode < 400:
			for _, code := range codes {
				if !op.lists(code) {
					w.t.Errorf("%s: the OpenAPI document does not list the line's code %s: %.300s", name, code, body)
				}
			}
		}
	}
	if resp.StatusCode >= 400 || bytes.Contains(body, []byte(`"rejected_total"`)) {
		w.givesNothingAway(name, append(append([]byte(req.URL.RequestURI()+"\n"), sent...), fmt.Sprint(req.Header)...), body)
	}
}

var (
	digits   = regexp.MustCompile(`[0-9]{7,}`)
	ids      = regexp.MustCompile(`"request_id":"[A-Z2-7]+"|(req|task|ten|rcp|st)_[0-9a-z]{26}`)
	internal = regexp.MustCompile(`(?i)goroutine|panic|\.go:|sqlite|postgres|pgx|sql|constraint|SELECT |INSERT |unmarshal|strconv|json:|jsontext|0x[0-9a-f]{6}|/work/|/tmp/`)
)

// givesNothingAway fails if a refusal repeats a number that was sent, or shows the inside of the program.
func (w *world) givesNothingAway(name string, sent, body []byte) {
	body = ids.ReplaceAll(body, nil)
	for _, d := range digits.FindAll(body, -1) {
		if string(d) != "8613800000001" && bytes.Contains(sent, d) { // the example in the texts
			w.t.Errorf("%s: the answer repeats the digits %s: %.500s", name, d, body)
		}
	}
	if found := internal.Find(body); found != nil {
		w.t.Errorf("%s: the answer says %q: %.500s", name, found, body)
	}
}

// codesIn gives every code of a problem document or a receipt, that of the problem first.
func codesIn(body []byte) []string {
	var doc struct {
		Code     string                  `json:"code"`
		Errors   []struct{ Code string } `json:"errors"`
		Rejected []struct{ Code string } `json:"rejected"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return nil
	}
	var out []string
	if doc.Code != "" {
		out = append(out, doc.Code)
	}
	for _, e := range append(doc.Errors, doc.Rejected...) {
		out = append(out, e.Code)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(c string) bool { again := seen[c]; seen[c] = true; return again })
}

// spec is what the OpenAPI document says of statuses and codes.
type spec []*operation

type operation struct {
	method    string
	path      *regexp.Regexp
	own       bool // its errors are not problem documents
	responses map[int][]string
}

func (op *operation) lists(code string) bool {
	for codes := range maps.Values(op.responses) {
		if slices.Contains(codes, code) {
			return true
		}
	}
	return false
}

// ownForms are the paths whose errors are not problem documents.
var ownForms = regexp.MustCompile(`^/(oauth2/token|number-recycling/v0\.2/check|ssf/.*|\.well-known/ssf-configuration)$`)

var parameter = regexp.MustCompile(`\{[^}]+\}`)

var specs sync.Map // the document → spec

func readSpec(t *testing.T, base string) spec {
	t.Helper()
	resp, err := http.Get(base + "/openapi.yaml")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if known, ok := specs.Load(string(text)); ok {
		return known.(spec)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Description string
				Content     map[string]any
			}
		}
	}
	must(t, yaml.Load(text, &doc))
	listed := regexp.MustCompile("(?m)^- `([a-z_0-9]+)`")
	var s spec
	for path, ops := range doc.Paths {
		for method, op := range ops {
			o := &operation{method: strings.ToUpper(method), responses: map[int][]string{}, own: ownForms.MatchString(path),
				path: regexp.MustCompile("^" + parameter.ReplaceAllString(path, "[^/]+") + "$")}
			for status, r := range op.Responses {
				n, err := strconv.Atoi(status)
				must(t, err)
				o.responses[n] = nil
				for _, m := range listed.FindAllStringSubmatch(r.Description, -1) {
					o.responses[n] = append(o.responses[n], m[1])
				}
			}
			s = append(s, o)
		}
	}
	specs.Store(string(text), s)
	return s
}

// at gives any operation of a path.
func (s spec) at(path string) *operation {
	for _, op := range s {
		if op.path.MatchString(path) {
			return op
		}
	}
	return nil
}

func (s spec) find(method, path string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, op := range s {
		if op.method == method && op.path.MatchString(path) {
			return op
		}
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, within time.Duration, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// recycled reports a number that one person had and another has since 100 days ago, and gives when the tenure began.
func (w *world) recycled(carrier, number string) time.Time {
	w.t.Helper()
	started := w.ago(100)
	r, err := w.as(carrier).ReportEvents(w.t.Context(), []client.Event{
		{ID: eventID(number, 1), Number: number, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: eventID(number, 2), Number: number, Kind: "disconnected", At: w.ago(300)},
		{ID: eventID(number, 3), Number: number, Kind: "activated", At: started, Origin: "reassigned"},
	}, time.Time{})
	must(w.t, err)
	if r.Accepted != 3 {
		w.t.Fatalf("accepted %d of 3 events: %+v", r.Accepted, r.Rejected)
	}
	return started
}

// eventID names the n-th event that recycled reports of a number. An id may be repeated in answers, so it is not of digits.
func eventID(number string, n int) string {
	return strings.Map(func(r rune) rune { return r - '0' + 'a' }, number[1:]) + "-" + strconv.Itoa(n)
}

// request asks for a recycled number.
func (w *world) request(number string, started time.Time, apps ...string) client.NewRequest {
	return client.NewRequest{Number: number, StartedAt: started, Origin: "reassigned", Apps: apps, Control: "sms_otp",
		Identity: "carrier_crm", Verified: w.now}
}

// ask sends request's request, which must be accepted.
func (w *world) ask(carrier, number string, started time.Time, apps ...string) client.CreatedRequest {
	w.t.Helper()
	got, err := w.as(carrier).CreateRequest(w.t.Context(), w.request(number, started, apps...))
	must(w.t, err)
	return got
}

// tasksOf lists an app's open tasks, all pages of them.
func (w *world) tasksOf(app string) []client.Task {
	w.t.Helper()
	var all []client.Task
	for after := ""; ; {
		page, next, err := w.as(app).Tasks(w.t.Context(), after, 2)
		must(w.t, err)
		if len(page) == 0 {
			return all
		}
		all, after = append(all, page...), next
	}
}

// taskFor gives the app's task of a request.
func (w *world) taskFor(r client.CreatedRequest, app string) client.Task {
	w.t.Helper()
	for _, made := range r.Tasks {
		if made.App == app {
			task, err := w.as(app).Task(w.t.Context(), made.ID)
			must(w.t, err)
			return task
		}
	}
	w.t.Fatalf("the request has no task of %s", app)
	return client.Task{}
}

// viewOf gives what is released of an app's task.
func (w *world) viewOf(carrier, request, app string) (state, view, text string) {
	w.t.Helper()
	r, err := w.as(carrier).Request(w.t.Context(), request, "en")
	must(w.t, err)
	for _, task := range r.Tasks {
		if task.App == app {
			return r.State, task.View, task.Text
		}
	}
	w.t.Fatalf("the request shows no task of %s", app)
	return "", "", ""
}

// refused checks an error's kind and code.
func refused(t testing.TB, what string, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// decoded gives the claims of a JWT.
func decoded(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %s", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	return string(text)
}

func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return "?" + v.Encode()
}

// codeOf gives the code of a refusal, with its reason; "" of nil.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*huanxin.Error](err)
	switch {
	case !ok:
		return err.Error()
	case e.Code == "ineligible":
		return e.Code + " " + e.Reason
	}
	return e.Code
}

// zeros gives a gzip body that unpacks to n bytes.
func zeros(n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, n))
	_ = z.Close()
	return b.Bytes()
}
