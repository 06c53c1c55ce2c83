// Package e2e_test matches against a real hub. It is a package of its own so that what is fuzzed beside it does not carry a hub.
package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/match"
)

// hubOf starts a hub that knows 1000 numbers, of which every tenth was given to somebody else 50 days ago.
func hubOf(t *testing.T) *hubtest.Hub {
	t.Helper()
	h := hubtest.Start(t)
	h.App("shop")
	var events []client.Event
	for i := range 1000 {
		number, id := fmt.Sprint("+", 8613800000000+i), fmt.Sprint(i)
		events = append(events, client.Event{ID: id, Number: number, Kind: "activated", At: time.Now().AddDate(0, 0, -900), Origin: "first"})
		if i%10 == 0 {
			events = append(events, client.Event{ID: id + "d", Number: number, Kind: "disconnected", At: time.Now().AddDate(0, 0, -300)},
				client.Event{ID: id + "a", Number: number, Kind: "activated", At: time.Now().AddDate(0, 0, -50), Origin: "reassigned"})
		}
	}
	r, err := h.Carrier("cmcc").ReportEvents(t.Context(), events, time.Now())
	if err != nil || r.Accepted != 1200 {
		t.Fatal(r, err)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if asOf, _, err := h.Client("shop").Check(t.Context(), "+8613800000000", "2024-01-01"); err == nil && asOf == 1200 {
			return h
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("checks do not know the events")
		}
	}
}

// askedOf is the T of the questions.
var askedOf = time.Now().AddDate(0, 0, -100).In(huanxin.China)

// asked is an account base of 3000 rows about the hub's numbers, and what is to become of it.
func asked() (in, changed string) {
	var b, c strings.Builder
	b.WriteString("account,number,bound_at\n")
	c.WriteString("account,number,bound_at,outcome,reason\n")
	at := askedOf
	for i := range 3000 {
		row := fmt.Sprintf("%d,+%d,%s", i, 8613800000000+i%1000, at.Format([]string{time.DateOnly, time.RFC3339, time.DateTime + ".999"}[i%3]))
		b.WriteString(row + "\n")
		if i%10 == 0 {
			c.WriteString(row + ",CHANGED,reassigned\n")
		}
	}
	return b.String(), c.String()
}

// trouble stands between a client and a hub, and does as its turn says with each call of checks.
type trouble struct {
	*httptest.Server
	calls  atomic.Int64
	bodies atomic.Int64 // bytes of questions that came through
	turn   atomic.Pointer[turn]
}

// turn says what becomes of a call: it is answered, or the answer of the hub is cut off after so many bytes, or it goes through.
type turn func(call int64, w http.ResponseWriter, r *http.Request) (answered bool, cut int64)

func (x *trouble) does(t turn) { x.turn.Store(&t) }

func troubled(t *testing.T, h *hubtest.Hub) *trouble {
	t.Helper()
	to, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, Transport: h.HTTP().Transport, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	x := &trouble{}
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/checks" {
			proxy.ServeHTTP(w, r)
			return
		}
		answered, cut := (*x.turn.Load())(x.calls.Add(1), w, r)
		if answered {
			return
		}
		body := &counting{ReadCloser: r.Body, n: &x.bodies}
		r.Body = body
		if cut > 0 {
			w = &cutting{ResponseWriter: w, left: cut}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(x.Close)
	return x
}

type counting struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// cutting breaks a connection off after so many bytes of an answer.
type cutting struct {
	http.ResponseWriter
	left int64
}

func (c *cutting) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

func (c *cutting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

var errGone = errors.New("gone")

func problem(w http.ResponseWriter, status int, code, retryAfter string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"code":%q,"status":%d,"detail":"by the test"}`, code, status)
}

func (x *trouble) hub(h *hubtest.Hub, compress bool) *match.Hub {
	c := h.Credentials("shop")
	return &match.Hub{Client: client.New(client.Options{URL: x.URL, ID: c.ID, Secret: c.Secret, HTTP: x.Client()}), Compress: compress, Pause: time.Millisecond}
}

// through runs asked through a hub, in blocks of some hundred rows.
func through(ctx context.Context, source match.Source) (string, match.State, error) {
	in, _ := asked()
	var out bytes.Buffer
	s, err := match.Run(ctx, match.Options{In: strings.NewReader(in), Changed: &out, Unknown: io.Discard, Source: source, Zone: huanxin.China,
		BlockSize: 20_000, BatchRows: match.HubBatchRows, Workers: match.HubWorkers})
	return out.String(), s, err
}

func TestWhatBreaksOffIsAskedAgainFromTheFirstRowWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	h := hubOf(t)
	_, want := asked()
	for _, compress := range []bool{false, true} {
		x := troubled(t, h)
		x.does(func(call int64, w http.ResponseWriter, r *http.Request) (bool, int64) {
			switch call % 8 {
			case 1:
				problem(w, 503, "unavailable", "")
			case 2:
				problem(w, 429, "rate_limited", "0")
			case 3:
				http.Error(w, "<html>bad gateway", http.StatusBadGateway)
			case 4:
				panic(http.ErrAbortHandler)
			case 5, 6:
				return false, 7000
			default:
				return false, 0
			}
			return true, 0
		})
		source := x.hub(h, compress)
		var failures atomic.Int64
		source.Waiting = func(err error, _ time.Duration) { failures.Add(1) }
		got, s, err := through(t.Context(), source)
		if err != nil || got != want {
			t.Fatalf("%v, %d bytes, want %d", err, len(got), len(want))
		}
		if s.Summary.Changed != 300 || s.Summary.Unchanged != 2700 || s.Summary.FirstAsOf != 1200 || s.Summary.LastAsOf != 1200 {
			t.Fatalf("%+v", s.Summary)
		}
		if failures.Load() == 0 {
			t.Fatal("nothing failed")
		}
	}
}

func TestARetryAfterIsWaitedForOrGivenUp(t *testing.T) {
	t.Parallel()
	h := hubOf(t)
	x := troubled(t, h)
	x.does(func(call int64, w http.ResponseWriter, _ *http.Request) (bool, int64) {
		if call == 1 {
			problem(w, 429, "rate_limited", "1")
		}
		return call == 1, 0
	})
	source := x.hub(h, false)
	var waited atomic.Int64
	source.Waiting = func(_ error, pause time.Duration) { waited.Store(int64(pause)) }
	if _, _, err := through(t.Context(), source); err != nil || time.Duration(waited.Load()) != time.Second {
		t.Errorf("waited %v: %v", time.Duration(waited.Load()), err)
	}

	waited.Store(0)
	x.does(func(_ int64, w http.ResponseWriter, _ *http.Request) (bool, int64) {
		problem(w, 429, "quota_exceeded", "86400")
		return true, 0
	})
	if _, _, err := through(t.Context(), source); err == nil || huanxin.CodeOf(err) != "quota_exceeded" || waited.Load() != 0 {
		t.Error("a quota that is used up for the day:", err)
	}
	x.does(func(_ int64, w http.ResponseWriter, _ *http.Request) (bool, int64) {
		problem(w, 503, "unavailable", "")
		return true, 0
	})
	source.GiveUp = 50 * time.Millisecond
	if _, _, err := through(t.Context(), source); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Error("a hub that is away:", err)
	}
}

func TestWhatDoesNotPassIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	h := hubOf(t)
	x := troubled(t, h)
	source := x.hub(h, false)
	source.Waiting = func(err error, _ time.Duration) { t.Error("tried again:", err) }
	for code, turn := range map[string]func(w http.ResponseWriter, body string){
		"insufficient_scope": func(w http.ResponseWriter, _ string) { problem(w, 403, "insufficient_scope", "") },
		"not one":            func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, "<html>welcome") },
		"other columns": func(w http.ResponseWriter, body string) {
			w.Header().Set("Huanxin-As-Of", "5")
			_, _ = io.WriteString(w, strings.Replace(body, "number,since", "since,number,outcome,reason,error", 1))
		},
		"to what was asked": func(w http.ResponseWriter, body string) {
			w.Header().Set("Huanxin-As-Of", "5")
			_, _ = io.WriteString(w, "number,since,outcome,reason,error\n+8613800000999,2024-01-01,UNCHANGED,,\n")
		},
		"is not one": func(w http.ResponseWriter, body string) {
			w.Header().Set("Huanxin-As-Of", "5")
			lines := strings.Split(body, "\n")
			_, _ = io.WriteString(w, "number,since,outcome,reason,error\n"+lines[1]+",CHANGED,\"+8613800000001\",\n")
		},
	} {
		x.does(func(_ int64, w http.ResponseWriter, r *http.Request) (bool, int64) {
			body, _ := io.ReadAll(r.Body)
			turn(w, string(body))
			return true, 0
		})
		if code == "not one" { // nothing says that it is a hub
			source.Waiting = nil
			source.GiveUp = time.Millisecond
		}
		_, _, err := through(t.Context(), source)
		if err == nil || code != "not one" && !strings.Contains(err.Error(), code) || strings.Contains(err.Error(), "13800000") {
			t.Errorf("%s: %v", code, err)
		}
		source.GiveUp = 0
	}
}

func TestASilentHubIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := hubOf(t)
	_, want := asked()
	x := troubled(t, h)
	x.does(func(call int64, w http.ResponseWriter, r *http.Request) (bool, int64) {
		if call > 2 {
			return false, 0
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	source := x.hub(h, false)
	source.Stall = 300 * time.Millisecond
	if got, _, err := through(t.Context(), source); err != nil || got != want {
		t.Fatal(err)
	}

	x.does(func(_ int64, _ http.ResponseWriter, r *http.Request) (bool, int64) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	source.Stall = 0
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(errGone) })
	if _, _, err := through(ctx, source); !errors.Is(err, errGone) {
		t.Error("ended while a hub is silent:", err)
	}
}

func TestRowsThatTheHubRefusesAreSortedByWhy(t *testing.T) {
	t.Parallel()
	h := hubOf(t)
	x := troubled(t, h)
	var stopped atomic.Bool
	x.does(func(_ int64, w http.ResponseWriter, r *http.Request) (bool, int64) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Huanxin-As-Of", "5")
		_, _ = io.WriteString(w, "number,since,outcome,reason,error\n")
		for i, line := range strings.Split(strings.TrimSpace(string(body)), "\n")[1:] {
			answer := []string{",UNCHANGED,,", ",,,too_many_times", ",,,malformed_time", ",UNKNOWN,something_new,", ",NO_HOLDER,,"}[i%5]
			if i == 7 && stopped.CompareAndSwap(false, true) { // as a hub that stops ends its answers
				_, _ = io.WriteString(w, ",,,,overloaded\n")
				return true, 0
			}
			_, _ = io.WriteString(w, line+answer+"\n")
		}
		return true, 0
	})
	var out, unknown bytes.Buffer
	in := "account,number,bound_at\n" + strings.Repeat("a,+8613800000001,2024-01-01\n", 17)
	s, err := match.Run(t.Context(), match.Options{In: strings.NewReader(in), Changed: &out, Unknown: &unknown, Source: x.hub(h, false), BatchRows: match.HubBatchRows, Workers: 1})
	if err != nil || !stopped.Load() {
		t.Fatal(err)
	}
	// The first seven answers, and from the eighth row on those of the second call.
	if got := fmt.Sprint(s.Summary.Rows, s.Summary.Unchanged, s.Summary.NoHolder, s.Summary.Reasons, s.Summary.Bad); got != "17 4 3 map[something_new:3 too_many_times:4] 3" {
		t.Error(got)
	}
	if s.Summary.BadLines[0] != (match.Bad{Line: 4, Code: "malformed_time"}) {
		t.Error(s.Summary.BadLines)
	}
	if !strings.Contains(unknown.String(), "\na,+8613800000001,2024-01-01,UNKNOWN,too_many_times\n") {
		t.Error(unknown.String())
	}
}
