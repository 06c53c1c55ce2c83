package sidecar_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/guard/sidecar"
)

const number = "+8613800600001"

// beside gives a sidecar whose hub says that nobody's number changed hands since 2020, and that all others did.
func beside(t *testing.T, o sidecar.Options) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"t","expires_in":900}`)
	})
	mux.HandleFunc("POST /v1/checks", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Checks []client.Check }
		_ = json.NewDecoder(r.Body).Decode(&q)
		var results []map[string]string
		for _, c := range q.Checks {
			if c.Since < "2020-06-15T04" {
				results = append(results, map[string]string{"outcome": "CHANGED", "reason": "reassigned"})
			} else {
				results = append(results, map[string]string{"outcome": "UNCHANGED"})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"as_of": 7, "results": results})
	})
	hub := httptest.NewServer(mux)
	t.Cleanup(hub.Close)
	g, err := guard.Open(t.Context(), guard.Options{Hub: client.New(client.Options{URL: hub.URL, ID: "shop", Secret: "s"}), Deadline: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	o.Guard = g
	s := httptest.NewServer(sidecar.Handler(o))
	t.Cleanup(s.Close)
	return s
}

// ask posts a question and gives the status and the body of the answer.
func ask(t *testing.T, url, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestAQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	s := beside(t, sidecar.Options{})
	for body, want := range map[string]string{
		`{"number":"` + number + `","bound_at":"2021-01-01"}`:                             `{"decision":"allow","reason":"unchanged","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `","bound_at":"2020-01-01"}`:                             `{"decision":"block","reason":"reassigned","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `","bound_at":"2020-06-15"}`:                             `{"decision":"step_up","reason":"ambiguous_day","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `","bound_at":"2020-06-15T11:00:00+08:00"}`:              `{"decision":"block","reason":"reassigned","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `","bound_at":"2020-01-01","last_proof":"2022-01-01"}`:   `{"decision":"step_up","reason":"proved_since","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `","bound_at":"2020-01-01","confirmed_at":"2022-01-01"}`: `{"decision":"allow","reason":"unchanged","source":"hub","as_of":7,"age_seconds":1}`,
		`{"number":"` + number + `"}`:                                                     `{"decision":"step_up","reason":"bound_at_unknown","source":"none","as_of":null,"age_seconds":null}`,
		`{"number":"` + number + `","bound_at":null}`:                                     `{"decision":"step_up","reason":"bound_at_unknown","source":"none","as_of":null,"age_seconds":null}`,
		`{"number":"` + number + `","bound_at":"2999-01-01"}`:                             `{"decision":"step_up","reason":"future","source":"none","as_of":null,"age_seconds":null}`,
		`{"number":"+861440123456789","bound_at":"2021-01-01"}`:                           `{"decision":"step_up","reason":"number_kind_unsupported","source":"none","as_of":null,"age_seconds":null}`,
	} {
		if status, got := ask(t, s.URL, "/decide", body); status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", body, status, got, want)
		}
	}
}

func TestWhatIsNoQuestionIsRefusedAndStepsUp(t *testing.T) {
	t.Parallel()
	s := beside(t, sidecar.Options{})
	good := `{"number":"` + number + `","bound_at":"2021-01-01"}`
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		reason     string
	}{
		{"nothing", ``, nil, 400, "malformed_json"},
		{"null", `null`, nil, 400, "number_malformed"},
		{"a list", `[` + good + `]`, nil, 400, "malformed_json"},
		{"two", good + good, nil, 400, "malformed_json"},
		{"half", good[:20], nil, 400, "malformed_json"},
		{"an unknown member", `{"number":"` + number + `","bound":"2021-01-01"}`, nil, 400, "malformed_json"},
		{"a member twice", `{"number":"` + number + `","bound_at":"2020-01-01","bound_at":"2021-01-01"}`, nil, 400, "malformed_json"},
		{"a name in capitals", `{"NUMBER":"` + number + `"}`, nil, 400, "malformed_json"},
		{"a number as one", `{"number":8613800600001}`, nil, 400, "malformed_json"},
		{"a time as one", `{"number":"` + number + `","bound_at":1577836800}`, nil, 400, "malformed_json"},
		{"a national number", `{"number":"13800600001","bound_at":"2021-01-01"}`, nil, 400, "number_malformed"},
		{"a number with blanks", `{"number":"+86 138 0060 0001","bound_at":"2021-01-01"}`, nil, 400, "number_malformed"},
		{"no number", `{"bound_at":"2021-01-01"}`, nil, 400, "number_malformed"},
		{"a day that there is not", `{"number":"` + number + `","bound_at":"2021-02-30"}`, nil, 400, "malformed_time"},
		{"a time without an offset", `{"number":"` + number + `","bound_at":"2021-01-01T10:00:00"}`, nil, 400, "malformed_time"},
		{"a bad proof", `{"number":"` + number + `","bound_at":"2021-01-01","last_proof":"yesterday"}`, nil, 400, "malformed_time"},
		{"a long body", `{"number":"` + strings.Repeat("1", 5000) + `"}`, nil, 413, "too_large"},
		{"bad UTF-8", "{\"number\":\"\xff\"}", nil, 400, "malformed_json"},
		{"a form", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
		{"plain text, as pages send it", good, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"a page", good, []string{"Origin", "http://127.0.0.1"}, 403, "forbidden"},
		{"another name of this machine", good, []string{"Host", "evil.example:8090"}, 403, "forbidden"},
	} {
		status, got := ask(t, s.URL, "/decide", c.body, c.header...)
		var a struct{ Decision, Reason, Detail string }
		if err := json.Unmarshal([]byte(got), &a); err != nil || status != c.status || a.Decision != "step_up" || a.Reason != c.reason || a.Detail == "" {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, got, c.status, c.reason)
		}
		if strings.Contains(got, "600001") || strings.Contains(got, "0060 0001") {
			t.Errorf("%s: the answer repeats the number: %s", c.name, got)
		}
	}
	for _, host := range []string{"localhost", "localhost:8090", "127.0.0.1:1", "[::1]:8090", "[::1]"} {
		if status, got := ask(t, s.URL, "/decide", good, "Host", host); status != 200 {
			t.Errorf("%s: %d %s", host, status, got)
		}
	}
}

func TestASecretIsAskedFor(t *testing.T) {
	t.Parallel()
	s := beside(t, sidecar.Options{Secret: "0123456789abcdef", AnyHost: true})
	good := `{"number":"` + number + `","bound_at":"2021-01-01"}`
	for header, want := range map[string]int{"": 401, "Bearer": 401, "Bearer 0123456789abcdeg": 401, "Bearer 0123456789abcde": 401,
		"Basic 0123456789abcdef": 401, "Bearer 0123456789abcdef": 200, "bearer 0123456789abcdef": 200} {
		if status, got := ask(t, s.URL, "/decide", good, "Authorization", header); status != want || status == 401 && !strings.Contains(got, `"step_up"`) {
			t.Errorf("%q: %d %s", header, status, got)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 401, "/metrics": 401} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestANumberIsForgotten(t *testing.T) {
	t.Parallel()
	s := beside(t, sidecar.Options{})
	good := `{"number":"` + number + `","bound_at":"2021-01-01"}`
	for _, want := range []string{`"hub"`, `"cache"`} {
		if _, got := ask(t, s.URL, "/decide", good); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if status, got := ask(t, s.URL, "/forget", `{"number":"`+number+`"}`); status != 204 || got != "" {
		t.Errorf("%d %s", status, got)
	}
	if _, got := ask(t, s.URL, "/decide", good); !strings.Contains(got, `"hub"`) {
		t.Error(got)
	}
	if status, _ := ask(t, s.URL, "/forget", `{"number":"1"}`); status != 400 {
		t.Error(status)
	}
}

func FuzzAQuestionNeverAllowsByAccident(f *testing.F) {
	for _, seed := range []string{`{"number":"+8613800600001","bound_at":"2021-01-01"}`, `{"number":"+8613800600001","bound_at":"2021-01-01","last_proof":""}`, `{}`, `null`, "\xff"} {
		f.Add(seed)
	}
	g, err := guard.Open(f.Context(), guard.Options{Hub: client.New(client.Options{URL: "http://127.0.0.1:1", ID: "x", Secret: "y"})})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(g.Close)
	h := sidecar.Handler(sidecar.Options{Guard: g, AnyHost: true})
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/decide", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var a struct{ Decision, Reason string }
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Decision != "step_up" || a.Reason == "" || w.Code == 500 {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

// TestWhoeverAsksInAnotherWayIsToldToStepUp: by a method, or a path, that there is not.
func TestWhoeverAsksInAnotherWayIsToldToStepUp(t *testing.T) {
	t.Parallel()
	s := beside(t, sidecar.Options{})
	for at, status := range map[string]int{"GET /decide": 405, "PUT /decide": 405, "GET /forget": 405, "POST /decide/": 404, "POST /": 404, "GET /decision": 404} {
		method, path, _ := strings.Cut(at, " ")
		req, err := http.NewRequest(method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != status || !strings.Contains(string(text), `"decision":"step_up"`) || (resp.Header.Get("Allow") != "") != (status == 405) {
			t.Errorf("%s: %d %s %v", at, resp.StatusCode, text, err)
		}
	}
}
