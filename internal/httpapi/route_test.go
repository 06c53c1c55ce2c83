package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

type echo struct {
	Text string `json:"text"`
}

var (
	carrier = huanxin.Caller{Party: &huanxin.Party{ID: "cmcc", Kind: huanxin.CarrierParty}, Client: "cmcc-1", Scopes: huanxin.Scopes{huanxin.ScopeNumbersReport}}
	anApp   = huanxin.Caller{Party: &huanxin.Party{ID: "shop", Kind: huanxin.AppParty}, Client: "shop-1", Scopes: huanxin.Scopes{huanxin.ScopeTasksWork}}
)

// world is a Mux of one route of each sort, with a log to look into.
type world struct {
	http.Handler
	log     bytes.Buffer
	refused []string
	seen    huanxin.Caller
	body    string
}

func newWorld() *world {
	w := &world{}
	reply := func(_ context.Context, _ *http.Request, in echo) (echo, error) { return in, nil }
	routes := []Route{
		{Method: "POST", Path: "/v1/echo", Summary: "Echo", Tag: "T", Body: JSON(echo{}), Answer: JSON(echo{}), Limit: 100, Status: 201,
			Idempotent: true, Scope: huanxin.ScopeNumbersReport, Party: huanxin.CarrierParty, Handler: jsonHandler(201,
				func(ctx context.Context, r *http.Request, in echo) (echo, error) {
					w.seen, w.body = CallerFrom(ctx), string(BodyFrom(ctx))
					return in, nil
				})},
		{Method: "POST", Path: "/v1/lenient", Lenient: true, Body: JSON(echo{}), Handler: jsonHandler(200, reply)},
		{Method: "POST", Path: "/v1/nothing", Handler: jsonHandler(204, func(context.Context, *http.Request, None) (None, error) { return None{}, nil })},
		{Method: "GET", Path: "/v1/things/{id}", Scope: anyScope, Answer: JSON(echo{}), Query: []Param{{Name: "limit"}},
			Handler: jsonHandler(200, func(_ context.Context, r *http.Request, _ None) (echo, error) { return echo{r.PathValue("id")}, nil })},
		{Method: "PUT", Path: "/v1/things/{id}", Handler: func(http.ResponseWriter, *http.Request) error {
			return errors.New("store: no such column +8613912345678")
		}},
		{Method: "GET", Path: "/v1/must", Query: []Param{{Name: "from", Required: true}}, Handler: jsonHandler(200, func(context.Context, *http.Request, None) (None, error) { return None{}, nil })},
		{Method: "GET", Path: "/v1/panic", Handler: func(http.ResponseWriter, *http.Request) error { panic("lost +8613912345678") }},
		{Method: "GET", Path: "/v1/half", Handler: func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, strings.Repeat("half ", 4000))
			return errors.New("then it broke")
		}},
	}
	w.Handler = Mux(routes, Config{Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Authenticate: func(r *http.Request) (huanxin.Caller, error) {
			switch r.Header.Get("Authorization") {
			case "Bearer carrier":
				return carrier, nil
			case "Bearer app":
				return anApp, nil
			case "":
				return huanxin.Caller{}, huanxin.Errorf(huanxin.Unauthenticated, "unauthenticated", "a bearer token is needed")
			}
			return huanxin.Caller{}, huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "the token is not valid")
		},
		Refused: func(_ context.Context, who huanxin.Caller, method, pattern string, err error) {
			w.refused = append(w.refused, who.Client+" "+method+" "+pattern+" "+huanxin.CodeOf(err))
		}})
	return w
}

func (w *world) do(method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out
}

func TestARouteAnswersInJSON(t *testing.T) {
	w := newWorld()
	got := w.do("POST", "/v1/echo", "carrier", ` {"text":"焕新"} `)
	if got.Code != 201 || got.Body.String() != `{"text":"焕新"}` || got.Header().Get("Content-Type") != "application/json" ||
		got.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %s %v", got.Code, got.Body, got.Header())
	}
	if w.seen.Client != "cmcc-1" || w.body != ` {"text":"焕新"} ` {
		t.Errorf("the handler saw %+v and %q", w.seen, w.body)
	}
	if got := w.do("POST", "/v1/nothing", "", ""); got.Code != 204 || got.Body.Len() != 0 || got.Header().Get("Content-Type") != "" {
		t.Errorf("got %d %q", got.Code, got.Body)
	}
}

func TestARequestIsRefusedWithTheRightStatusAndCode(t *testing.T) {
	long := `{"text":"` + strings.Repeat("x", 100) + `"}`
	for name, tc := range map[string]struct {
		method, path, token, body string
		status                    int
		code                      string
	}{
		"no such path":               {"GET", "/v1/other", "", "", 404, "not_found"},
		"a path that is not clean":   {"GET", "/v1//things/x", "app", "", 404, "not_found"},
		"a path with dots":           {"GET", "/v1/x/../things/x", "app", "", 404, "not_found"},
		"a path with more behind":    {"GET", "/v1/things/x/", "app", "", 404, "not_found"},
		"the root":                   {"GET", "/", "", "", 404, "not_found"},
		"no such method":             {"DELETE", "/v1/things/x", "app", "", 405, "method_not_allowed"},
		"an invented method":         {"+8613912345678", "/v1/echo", "", "", 405, "method_not_allowed"},
		"no token":                   {"POST", "/v1/echo", "", "{}", 401, "unauthenticated"},
		"a bad token":                {"POST", "/v1/echo", "stolen", "{}", 401, "invalid_token"},
		"no scope":                   {"POST", "/v1/echo", "app", "{}", 403, "insufficient_scope"},
		"a misspelt member":          {"POST", "/v1/echo", "carrier", `{"txet":""}`, 400, "unknown_member"},
		"a missing member":           {"POST", "/v1/echo", "carrier", `{}`, 400, "required"},
		"an empty body":              {"POST", "/v1/echo", "carrier", ` `, 400, "malformed_json"},
		"no body, no type":           {"POST", "/v1/echo", "carrier", ``, 415, "unsupported_media_type"},
		"a body over the limit":      {"POST", "/v1/echo", "carrier", long, 413, "body_too_large"},
		"a misspelt parameter":       {"GET", "/v1/things/x?limits=1", "app", "", 400, "unknown_parameter"},
		"a number as a parameter":    {"GET", "/v1/things/x?13912345678=1", "app", "", 400, "unknown_parameter"},
		"a parameter twice":          {"GET", "/v1/things/x?limit=1&limit=2", "app", "", 400, "unknown_parameter"},
		"a query that is none":       {"GET", "/v1/things/x?limit=%zz", "app", "", 400, "malformed_query"},
		"a query with a semicolon":   {"GET", "/v1/things/x?limit=1;2", "app", "", 400, "malformed_query"},
		"a query that is not UTF-8":  {"GET", "/v1/things/x?limit=%ff", "app", "", 400, "invalid_utf8"},
		"a missing parameter":        {"GET", "/v1/must", "", "", 400, "required"},
		"an empty parameter":         {"GET", "/v1/must?from=", "", "", 400, "required"},
		"an error of ours":           {"PUT", "/v1/things/x", "", "", 500, "internal"},
		"a panic":                    {"GET", "/v1/panic", "", "", 500, "internal"},
		"a query before the token":   {"GET", "/v1/things/x?limits=1", "", "", 401, "unauthenticated"},
		"parameters where none are":  {"POST", "/v1/nothing?x=1", "", "", 400, "unknown_parameter"},
		"a wrong type when lenient":  {"POST", "/v1/lenient", "", `{"text":1}`, 400, "wrong_type"},
		"a missing one when lenient": {"POST", "/v1/lenient", "", `{"x":1}`, 400, "required"},
	} {
		got := newWorld().do(tc.method, tc.path, tc.token, tc.body)
		if p := problem(t, got); got.Code != tc.status || p.Code != tc.code || codeIndex[p.Code].Code == "" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
		if strings.Contains(got.Body.String(), "139123") {
			t.Errorf("%s: the number is in %s", name, got.Body)
		}
	}
}

func TestAMethodThatIsNotThereSaysWhichAre(t *testing.T) {
	got := newWorld().do("PATCH", "/v1/things/x", "", "")
	if got.Code != 405 || got.Header().Get("Allow") != "GET, HEAD, PUT" {
		t.Errorf("got %d, Allow %q", got.Code, got.Header().Get("Allow"))
	}
}

func TestALenientRouteIgnoresWhatItDoesNotKnow(t *testing.T) {
	if got := newWorld().do("POST", "/v1/lenient?x=%zz", "", `{"text":"t","x":{"y":[]}}`); got.Code != 200 || got.Body.String() != `{"text":"t"}` {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

func TestAnyTokenOpensARouteOfAnyScope(t *testing.T) {
	for token, status := range map[string]int{"carrier": 200, "app": 200, "": 401} {
		if got := newWorld().do("GET", "/v1/things/x", token, ""); got.Code != status {
			t.Errorf("%q: %d %s", token, got.Code, got.Body)
		}
	}
}

func TestARefusalForScopeIsTold(t *testing.T) {
	w := newWorld()
	w.do("POST", "/v1/echo", "app", "{}")
	w.do("POST", "/v1/echo", "", "{}")
	if got := strings.Join(w.refused, "; "); got != "shop-1 POST /v1/echo insufficient_scope" {
		t.Errorf("told: %s", got)
	}
}

func TestTheCallerIsAskedForBeforeTheBodyIsRead(t *testing.T) {
	r := httptest.NewRequest("POST", "/v1/echo", readFails{t})
	r.Header.Set("Content-Type", "application/json")
	out := httptest.NewRecorder()
	newWorld().ServeHTTP(out, r)
	if out.Code != 401 {
		t.Errorf("got %d", out.Code)
	}
}

type readFails struct{ t *testing.T }

func (f readFails) Read([]byte) (int, error) {
	f.t.Error("the body was read")
	return 0, io.EOF
}

func TestFaultsAreLoggedWithoutNumbersAndWithTheStack(t *testing.T) {
	w := newWorld()
	w.do("PUT", "/v1/things/x", "", "")
	w.do("GET", "/v1/panic", "", "")
	log := w.log.String()
	for _, want := range []string{"no such column", "/v1/things/{id}", "lost ", "route_test.go", "httpapi.newWorld"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, "139123") || strings.Contains(log, "things/x") {
		t.Errorf("the log gives away:\n%s", log)
	}
}

func TestAnAnswerThatBreaksOffIsCutAndNotTakenForTheWhole(t *testing.T) {
	w := newWorld()
	server := httptest.NewServer(w)
	defer server.Close()
	answer, err := server.Client().Get(server.URL + "/v1/half")
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		t.Error("the answer looks whole")
	}
	if !strings.Contains(w.log.String(), "then it broke") {
		t.Errorf("the log: %s", &w.log)
	}
}

func TestGETAnswersHEADWithoutABody(t *testing.T) {
	server := httptest.NewServer(newWorld())
	defer server.Close()
	answer, err := server.Client().Head(server.URL + "/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 || answer.ContentLength < 100 || len(body) != 0 {
		t.Errorf("got %d, %d bytes announced, %d came", answer.StatusCode, answer.ContentLength, len(body))
	}
}

func TestATableThatContradictsItselfPanics(t *testing.T) {
	ok := func(http.ResponseWriter, *http.Request) error { return nil }
	for name, routes := range map[string][]Route{
		"one path twice":     {{Method: "GET", Path: "/x", Handler: ok}, {Method: "GET", Path: "/x", Handler: ok}},
		"an unknown code":    {{Method: "GET", Path: "/x", Handler: ok, Codes: []string{"nonsense"}}},
		"no type for a wire": {{Method: "GET", Path: "/x", Handler: ok, Answer: JSON(func() {})}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			Mux(routes, Config{Log: slog.New(slog.DiscardHandler)})
		}()
	}
}

func ExampleMux() {
	type question struct {
		Name string `json:"name"`
	}
	type answer struct {
		Greeting string `json:"greeting"`
	}
	greet := func(_ context.Context, _ *http.Request, q question) (answer, error) {
		return answer{"hello, " + q.Name}, nil
	}
	api := Mux([]Route{
		{Method: "POST", Path: "/v1/greetings", Tag: "Greetings", Summary: "Greet somebody",
			Body: JSON(question{}), Answer: JSON(answer{}), Handler: jsonHandler(http.StatusOK, greet)},
	}, Config{Log: slog.Default()})

	r := httptest.NewRequest("POST", "/v1/greetings", strings.NewReader(`{"name":"world"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 {"greeting":"hello, world"}
}
