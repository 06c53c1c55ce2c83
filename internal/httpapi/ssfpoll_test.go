package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// Polls as RFC 8936 has them, over HTTP.

// polled is the answer to a poll.
type polled struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable"`
}

// polling makes a receiver with a stream that is polled.
func (w *world) polling(body ...object) (name string, s stream) {
	w.t.Helper()
	name = w.receiver()
	config := object{}
	for _, b := range body {
		maps.Copy(config, b)
	}
	return name, w.made(name, config)
}

func (w *world) poll(as string, s stream, in any) (out polled) {
	w.t.Helper()
	a := w.ssf(as, "POST", strings.TrimPrefix(s.Delivery.Endpoint, w.URL), in)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("a poll is answered with %d %v: %.300s", a.status, a.header, a.body)
	}
	a.into(w.t, &out)
	if out.Sets == nil {
		w.t.Fatalf("there is no member sets: %s", a.body)
	}
	return out
}

// changeHands has numbers change hands by re-assignment, from the n-th on.
func (w *world) changeHands(from, n int) {
	w.t.Helper()
	var events []client.Event
	for i := range n {
		events = append(events, client.Event{ID: fmt.Sprint("recycled-", from+i), Number: huanxin.NumberOf(uint64(8613900000000 + from + i)).E164(),
			Kind: "activated", Origin: "reassigned", At: w.ago(2)})
	}
	r, err := w.as("cmcc").ReportEvents(w.t.Context(), events, time.Time{})
	must(w.t, err)
	if r.Accepted != int64(n) {
		w.t.Fatalf("%d of %d accepted: %v", r.Accepted, n, r.Rejected)
	}
}

func (w *world) metrics() string {
	w.t.Helper()
	resp, err := http.Get(w.URL + "/metrics")
	must(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return string(body)
}

// waiting returns when so many polls wait.
func (w *world) waiting(n int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprint(n, " polls wait"), 20*time.Second, func() bool { return strings.Contains(w.metrics(), fmt.Sprintf("\nhuanxin_http_waiting %d\n", n)) })
}

// all polls until there were so many SETs, without acknowledging any.
func (w *world) all(as string, s stream, n int) polled {
	w.t.Helper()
	out := polled{Sets: map[string]string{}}
	for len(out.Sets) < n {
		more := w.poll(as, s, object{})
		maps.Copy(out.Sets, more.Sets)
	}
	return out
}

func acks(p polled) []string { return slices.Collect(maps.Keys(p.Sets)) }

func TestALongPollIsAnsweredWhenSomethingHappens(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		name, s := w.polling()
		answered := make(chan polled)
		began := time.Now()
		go func() { answered <- w.poll(name, s, object{}) }()
		w.waiting(1)
		w.changeHands(1, 1)
		out := <-answered
		if len(out.Sets) != 1 || time.Since(began) > 20*time.Second {
			t.Fatalf("%d SETs after %v", len(out.Sets), time.Since(began))
		}
		for jti, token := range out.Sets {
			set, err := w.as(name).Verify(t.Context(), token)
			must(t, err)
			if set.JTI != jti || set.Type != huanxin.IdentifierRecycled || set.Number.E164() != "+8613900000001" || set.Reason != "reassigned" {
				t.Errorf("%+v", set)
			}
		}
	}, hubtest.AllSubjects())
}

func TestAPollWaitsAsLongAsItIsToldTo(t *testing.T) {
	w := startWorld(t, hubtest.PollWait(200*time.Millisecond))
	name, s := w.polling()
	for what, c := range map[string]struct {
		in      any
		prefer  string
		atLeast time.Duration
	}{
		"the hub's time":            {object{}, "", 200 * time.Millisecond},
		"at once":                   {object{"returnImmediately": true}, "", 0},
		"no events wanted (§2.4)":   {object{"maxEvents": 0}, "", 0},
		"another time":              {object{}, "respond-async, wait=1; x=y", time.Second},
		"a time that is none":       {object{}, "wait=soon", 200 * time.Millisecond},
		"nulls":                     {`{"returnImmediately":null,"ack":null,"setErrs":null,"maxEvents":null}`, "", 200 * time.Millisecond},
		"what nobody knows is left": {object{"timeoutSecs": 0, "returnImmediately": true}, "", 0},
	} {
		began := time.Now()
		text, ok := c.in.(string)
		if !ok {
			b, err := json.Marshal(c.in)
			must(t, err)
			text = string(b)
		}
		a := w.do(call{method: "POST", path: strings.TrimPrefix(s.Delivery.Endpoint, w.URL), as: name, body: text,
			header: map[string]string{"Content-Type": "application/json", "Prefer": c.prefer}})
		if took := time.Since(began); a.status != 200 || string(a.body) != `{"sets":{}}` || took < c.atLeast || took > c.atLeast+10*time.Second {
			t.Errorf("%s: %d %s after %v", what, a.status, a.body, took)
		}
	}
}

func TestAPollGivesAsManyAsAreWantedAndSaysThatThereAreMore(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		name, s := w.polling()
		w.changeHands(1, 5)
		first := w.all(name, s, 1)
		if n := len(first.Sets); n < 5 {
			w.t.Log("they were sequenced in parts")
		}
		w.changeHands(6, 5)
		eventually(t, "five more", 10*time.Second, func() bool {
			return w.poll(name, s, object{"maxEvents": 0}).More
		})
		two := w.poll(name, s, object{"maxEvents": 2, "returnImmediately": true, "ack": acks(first)})
		if len(two.Sets) > 2 || len(two.Sets) == 0 {
			t.Errorf("%d SETs come where 2 are wanted", len(two.Sets))
		}
	}, hubtest.AllSubjects())
}

func TestWhatIsNotAcknowledgedComesAgainByteForByteAndWhatIsDoesNot(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		name, s := w.polling()
		w.changeHands(1, 3)
		first := w.all(name, s, 3)
		ids := acks(first)
		if out := w.poll(name, s, object{"returnImmediately": true, "ack": ids[:1], "setErrs": object{ids[1]: object{"err": "invalid_request", "description": "no"}}}); len(out.Sets) != 0 {
			t.Errorf("%d SETs come within the interval", len(out.Sets))
		}
		again := w.poll(name, s, object{}) // waits for it
		if len(again.Sets) != 1 || again.Sets[ids[2]] != first.Sets[ids[2]] {
			t.Errorf("what comes again is %v", again.Sets)
		}
		if out := w.poll(name, s, object{"returnImmediately": true, "ack": append(ids, "nonsense", "", ids[0])}); len(out.Sets) != 0 || out.More {
			t.Errorf("after all acks: %v", out)
		}
		if !strings.Contains(w.metrics(), `huanxin_feed_dead_letters_total{err="invalid_request",stream="`+s.ID+`"} 1`) {
			t.Error("the refusal is not counted")
		}
	}, hubtest.AllSubjects(), hubtest.Redelivery(1500*time.Millisecond))
}

func TestAVerificationAnswersAPollThatWaits(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		name, s := w.polling()
		answered := make(chan polled)
		go func() { answered <- w.poll(name, s, object{}) }()
		w.waiting(1)
		w.ssf(name, "POST", "/ssf/verify", object{"stream_id": s.ID, "state": "\"état\"\n"}).got(t, http.StatusNoContent)
		out := <-answered
		for _, token := range out.Sets {
			set, err := w.as(name).Verify(t.Context(), token)
			must(t, err)
			if set.Type != huanxin.StreamVerification || set.State != "\"état\"\n" || set.Stream != s.ID {
				t.Errorf("%+v", set)
			}
		}
		if len(out.Sets) != 1 {
			t.Errorf("%d SETs", len(out.Sets))
		}
	})
}

func TestAPausedStreamsPollIsAnsweredWhenItIsEnabled(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		name, s := w.polling()
		w.ssf(name, "POST", "/ssf/status", object{"stream_id": s.ID, "status": "paused"}).got(t, http.StatusOK)
		w.changeHands(1, 1)
		answered := make(chan polled)
		go func() { answered <- w.poll(name, s, object{}) }()
		w.waiting(1)
		select {
		case out := <-answered:
			t.Fatalf("a paused stream tells %v", out)
		case <-time.After(300 * time.Millisecond):
		}
		w.ssf(name, "POST", "/ssf/status", object{"stream_id": s.ID, "status": "enabled"}).got(t, http.StatusOK)
		if out := <-answered; len(out.Sets) != 1 {
			t.Errorf("then it tells %v", out)
		}
	}, hubtest.AllSubjects())
}

func TestAPollThatWaitsIsAnsweredWhenTheHubStops(t *testing.T) {
	w := startWorld(t)
	name, s := w.polling()
	answered := make(chan polled)
	go func() { answered <- w.poll(name, s, object{}) }()
	w.waiting(1)
	began := time.Now()
	w.Stop()
	if out := <-answered; len(out.Sets) != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", out, time.Since(began))
	}
}

func TestAReceiverThatGoesAwayLeavesNothingBehind(t *testing.T) {
	w := startWorld(t)
	name, s := w.polling()
	token := w.token(name)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "POST", s.Delivery.Endpoint, strings.NewReader("{}"))
			must(t, err)
			r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
			if resp, err := http.DefaultClient.Do(r); err == nil {
				resp.Body.Close()
				t.Error("it is answered")
			}
		})
	}
	w.waiting(20)
	cancel()
	wg.Wait()
	w.waiting(0)
	eventually(t, "none is answered", 10*time.Second, func() bool { return strings.Contains(w.metrics(), "\nhuanxin_http_in_flight 0\n") })
}

func TestABadPollIsRefusedInSSFsForm(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		name, s := w.polling()
		other, theirs := w.polling()
		pushed := w.made(name, object{"delivery": object{"method": push, "endpoint_url": "http://127.0.0.1:9/"}})
		path := strings.TrimPrefix(s.Delivery.Endpoint, w.URL)
		many := `["` + strings.Repeat(`x","`, 10_000) + `"]`
		for what, c := range map[string]struct {
			call
			status int
			code   string
		}{
			"nobody":                 {call{path: path}, 401, "authentication_failed"},
			"a token that is none":   {call{path: path, header: map[string]string{"Authorization": "Bearer x.y.z"}}, 401, "authentication_failed"},
			"a carrier":              {call{path: path, as: "cmcc"}, 403, "access_denied"},
			"another's stream":       {call{path: path, as: other}, 404, "not_found"},
			"their own, of nobody":   {call{path: "/ssf/poll/" + theirs.ID + "x", as: other}, 404, "not_found"},
			"a stream that is none":  {call{path: "/ssf/poll/1", as: name}, 404, "not_found"},
			"one that is pushed":     {call{path: "/ssf/poll/" + pushed.ID, as: name}, 404, "not_found"},
			"GET":                    {call{method: "GET", path: path, as: name}, 405, "method_not_allowed"},
			"no JSON":                {call{path: path, as: name, body: "{"}, 400, "invalid_request"},
			"nothing":                {call{path: path, as: name, body: ""}, 400, "invalid_request"},
			"an array":               {call{path: path, as: name, body: "[]"}, 400, "invalid_request"},
			"two documents":          {call{path: path, as: name, body: "{}{}"}, 400, "invalid_request"},
			"ack of numbers":         {call{path: path, as: name, body: `{"ack":[1]}`}, 400, "invalid_request"},
			"ack as a text":          {call{path: path, as: name, body: `{"ack":"x"}`}, 400, "invalid_request"},
			"setErrs as an array":    {call{path: path, as: name, body: `{"setErrs":[]}`}, 400, "invalid_request"},
			"setErrs of texts":       {call{path: path, as: name, body: `{"setErrs":{"x":"y"}}`}, 400, "invalid_request"},
			"fewer than none":        {call{path: path, as: name, body: `{"maxEvents":-1}`}, 400, "invalid_request"},
			"half an event":          {call{path: path, as: name, body: `{"maxEvents":1.5}`}, 400, "invalid_request"},
			"too many acks":          {call{path: path, as: name, body: `{"ack":` + many + `}`}, 400, "invalid_request"},
			"a body that is huge":    {call{path: path, as: name, body: `{"ack":["` + strings.Repeat("x", 1<<20) + `"]}`}, 413, "invalid_request"},
			"another type":           {call{path: path, as: name, header: map[string]string{"Content-Type": "text/plain"}}, 415, "invalid_request"},
			"a member twice":         {call{path: path, as: name, body: `{"ack":[],"ack":["x"]}`}, 400, "invalid_request"},
			"more than an int holds": {call{path: path, as: name, body: `{"maxEvents":99999999999999999999}`}, 400, "invalid_request"},
		} {
			if c.method == "" {
				c.method = "POST"
			}
			header := map[string]string{"Content-Type": "application/json"}
			maps.Copy(header, c.header)
			c.header = header
			if c.body == "" && c.status != 400 {
				c.body = "{}"
			}
			a := w.do(c.call)
			w.inSSFsForm(what, &a)
			if a.status != c.status || a.Code != c.code {
				t.Errorf("%s: %d %s, want %d %s: %.200s", what, a.status, a.Code, c.status, c.code, a.body)
			}
		}
	})
}

func TestPollsOfOneStreamByTwoHubsSkipAndDoubleNothing(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	w := startWorld(t, hubtest.Postgres(url), hubtest.AllSubjects(), hubtest.PollWait(500*time.Millisecond))
	w.Carrier("cmcc")
	name, s := w.polling()
	data := t.TempDir()
	keys, err := os.ReadFile(filepath.Join(w.Data, "keys.json"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(data, "keys.json"), keys, 0o600))
	second := hubtest.Start(t, hubtest.Postgres(url), hubtest.Data(data), hubtest.AllSubjects(), hubtest.PollWait(500*time.Millisecond))
	c := w.Credentials(name)
	token, err := client.New(client.Options{URL: second.URL, ID: c.ID, Secret: c.Secret, HTTP: second.HTTP()}).Token(t.Context())
	must(t, err)
	bases, tokens := []string{w.URL, second.URL}, []string{w.token(name), token}
	const all = 200
	var lock sync.Mutex
	times := map[string]int{}
	var wg sync.WaitGroup
	for i := range 4 {
		base, token := bases[i%2], tokens[i%2]
		wg.Go(func() {
			body := `{}`
			for {
				r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/ssf/poll/"+s.ID, strings.NewReader(body))
				must(t, err)
				r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
				resp, err := http.DefaultClient.Do(r)
				must(t, err)
				var out polled
				must(t, json.NewDecoder(resp.Body).Decode(&out))
				resp.Body.Close()
				lock.Lock()
				for id := range out.Sets {
					times[id]++
				}
				done := len(times) >= all
				lock.Unlock()
				text, err := json.Marshal(object{"ack": acks(out)})
				must(t, err)
				if body = string(text); done && len(out.Sets) == 0 {
					return
				}
			}
		})
	}
	for i := range 10 {
		w.changeHands(1+i*all/10, all/10)
	}
	wg.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}
