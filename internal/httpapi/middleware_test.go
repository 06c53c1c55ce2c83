package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
)

type fronted struct {
	http.Handler
	log bytes.Buffer
	reg *prometheus.Registry
}

func front(next http.Handler, max int) *fronted {
	f := &fronted{reg: prometheus.NewRegistry()}
	f.Handler = NewFront(slog.New(slog.NewTextHandler(&f.log, nil)), f.reg, max).Wrap(next)
	return f
}

func (f *fronted) do(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestEveryAnswerHasItsOwnRequestIDAndTheHeadersOfCaution(t *testing.T) {
	f := front(newWorld(), 0)
	first := f.do("GET", "/v1/things/x", "X-Request-Id", "mine", "Authorization", "Bearer app")
	second := f.do("GET", "/nowhere")
	ids := []string{first.Header().Get("X-Request-Id"), second.Header().Get("X-Request-Id")}
	if len(ids[0]) < 20 || ids[0] == "mine" || ids[0] == ids[1] {
		t.Errorf("ids %q", ids)
	}
	if p := problem(t, second); p.RequestID != ids[1] {
		t.Errorf("the problem says %q, the header %q", p.RequestID, ids[1])
	}
	for _, h := range []http.Header{first.Header(), second.Header(), f.do("GET", "/docs/api").Header()} {
		plain := h.Get("Content-Type") == "application/json"
		if h.Get("X-Content-Type-Options") != "nosniff" || (h.Get("Referrer-Policy") == "no-referrer") == plain ||
			(h.Get("Content-Security-Policy") != "") == plain || h.Get("Cache-Control") == "" {
			t.Errorf("headers %v", h)
		}
	}
}

func TestTheHandlerSeesTheRequestIDInItsCaller(t *testing.T) {
	w := newWorld()
	f := front(w, 0)
	r := httptest.NewRequest("POST", "/v1/echo", strings.NewReader(`{"text":"x"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer carrier")
	out := httptest.NewRecorder()
	f.ServeHTTP(out, r)
	if w.seen.RequestID == "" || w.seen.RequestID != out.Header().Get("X-Request-Id") {
		t.Errorf("the caller has %q", w.seen.RequestID)
	}
}

func TestOneLineARequestWithoutAnythingFromOutside(t *testing.T) {
	f := front(newWorld(), 0)
	f.do("GET", "/v1/things/+8613912345678", "Authorization", "Bearer app")
	f.do("GET", "/v1/things/x?number=13912345678", "Authorization", "Bearer app")
	f.do("GET", "/13912345678", "User-Agent", "13912345678", "Authorization", "Bearer 13912345678")
	f.do("NUMBER13912345678", "/v1/echo")
	lines := strings.Split(strings.TrimSpace(f.log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), &f.log)
	}
	for i, want := range [][]string{
		{"method=GET", "route=/v1/things/{id}", "status=200", "client=shop-1", "party=shop", "bytes=", "took=", "request_id="},
		{"route=/v1/things/{id}", "status=400", "code=unknown_parameter"},
		{"route=unmatched", "status=404", "code=not_found"},
		{"method=other", "route=unmatched", "status=405", "code=method_not_allowed"},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("%q is not in %s", w, lines[i])
			}
		}
	}
	if strings.Contains(f.log.String(), "139123") {
		t.Errorf("a number is in the log:\n%s", &f.log)
	}
}

func TestMetricsAreByPatternMethodAndClass(t *testing.T) {
	f := front(newWorld(), 0)
	f.do("GET", "/v1/things/+8613912345678", "Authorization", "Bearer app")
	f.do("GET", "/v1/things/+8613912345679", "Authorization", "Bearer app")
	f.do("GET", "/v1/things/x")
	f.do("NUMBER13912345678", "/13912345678")
	equal(t, f.series(t, "huanxin_http_requests_total"),
		"method=GET route=/v1/things/{id} status=2xx: 2",
		"method=GET route=/v1/things/{id} status=4xx: 1",
		"method=other route=unmatched status=4xx: 1")
	equal(t, f.series(t, "huanxin_http_request_duration_seconds"),
		"method=GET route=/v1/things/{id}: 3", "method=other route=unmatched: 1")
	equal(t, f.series(t, "huanxin_http_in_flight"), ": 0")
}

// series gives what a metric has counted, one string for each of its labels.
func (f *fronted) series(t *testing.T, name string) []string {
	t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			n := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			out = append(out, fmt.Sprintf("%s: %v", strings.Join(labels, " "), n))
		}
	}
	return out
}

func TestTooManyAtOnceAreTurnedAwayAndThePlaceIsFreeAgain(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-leave
	})
	f := front(slow, 1)
	done := make(chan bool)
	go func() {
		f.do("GET", "/")
		done <- true
	}()
	<-entered
	got := f.do("GET", "/")
	if p := problem(t, got); got.Code != 503 || p.Code != "overloaded" || got.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	leave <- true
	<-done
	go func() {
		<-entered
		leave <- true
	}()
	if got := f.do("GET", "/"); got.Code != 200 {
		t.Errorf("afterwards: %d", got.Code)
	}
	equal(t, f.series(t, "huanxin_http_overloaded_total"), ": 1")
}

func TestAPanicPassesTheFrontCountedAndGivesItsPlaceBack(t *testing.T) {
	f := front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), 1)
	for range 3 {
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("the panic did not pass")
				}
			}()
			f.do("GET", "/")
		}()
	}
	if log := f.log.String(); strings.Count(log, "status=500") != 3 || !strings.Contains(log, "aborted=true") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestAPlainServeMuxBehindTheFrontIsSeenByItsPatterns(t *testing.T) {
	plain := http.NewServeMux()
	plain.HandleFunc("GET /pages/{id}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	f := front(plain, 0)
	f.do("GET", "/pages/13912345678")
	f.do("GET", "/13912345678")
	if log := f.log.String(); !strings.Contains(log, "route=/pages/{id}") || !strings.Contains(log, "route=unmatched") || strings.Contains(log, "139") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestAStreamIsFlushedThroughTheFront(t *testing.T) {
	next := make(chan bool)
	server := httptest.NewServer(front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		if err := c.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "first\n")
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		<-next
	}), 0))
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	if line != "first\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	close(next)
}

func TestNobodyIsTheCallerOutsideOfARouteWithAScope(t *testing.T) {
	if c := CallerFrom(t.Context()); c.May(huanxin.CarrierParty, huanxin.ScopeNumbersReport) == nil {
		t.Errorf("got %+v", c)
	}
}

func TestARequestThatWaitsTakesNoPlace(t *testing.T) {
	f := NewFront(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), 1)
	waits, goOn := make(chan bool), make(chan bool)
	h := f.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			done, ok := Waiting(r.Context())
			waits <- ok
			<-goOn
			done()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		return w.Code
	}
	answered := make(chan int)
	go func() { answered <- ask("/wait") }()
	if ok := <-waits; !ok {
		t.Error("it may not wait")
	}
	if got := ask("/other"); got != http.StatusNoContent {
		t.Errorf("another request beside one that waits: %d", got)
	}
	goOn <- true
	if got := <-answered; got != http.StatusNoContent {
		t.Errorf("the one that waited: %d", got)
	}
	if n, w := f.inFlight.Load(), f.waiting.Load(); n != 0 || w != 0 {
		t.Errorf("%d are answered and %d wait when all is over", n, w)
	}
}
