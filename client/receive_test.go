package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

// scripted is a hub whose stream answers each poll by the next line of a script, and waits for good after the last.
type scripted struct {
	*publisher
	polls  []client.PollRequest
	times  []time.Time
	script []func(r *http.Request) (*http.Response, error)
	ended  chan struct{} // closed at the first poll after the script
}

var polled = client.Stream{ID: "st_1", Delivery: client.Delivery{Method: "urn:ietf:rfc:8936", EndpointURL: hubURL + "/ssf/poll/st_1"}}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Path {
	case "/oauth2/token":
		return answer(r, http.StatusOK, `{"access_token":"t","expires_in":900}`), nil
	case "/ssf/poll/st_1":
	default:
		return s.publisher.RoundTrip(r)
	}
	var in client.PollRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	slices.Sort(in.Ack)
	s.polls, s.times = append(s.polls, in), append(s.times, time.Now())
	if in.AtOnce {
		return answer(r, http.StatusOK, `{"sets":{}}`), nil
	}
	if len(s.script) > 0 {
		next := s.script[0]
		s.script = s.script[1:]
		return next(r)
	}
	close(s.ended)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func answer(r *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// hands gives SETs by jti.
func (s *scripted) hands(sets map[string]string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		body, err := json.Marshal(client.PollAnswer{Sets: sets})
		return answer(r, http.StatusOK, string(body)), err
	}
}

// named is a good SET of a jti.
func (p *publisher) named(jti string) string { return p.set(with(recycled(), object{"jti": jti})) }

func newScripted(t *testing.T) *scripted {
	return &scripted{publisher: newPublisher(t), ended: make(chan struct{})}
}

// receive runs Receive until the script is over, and gives what it ended with and what it was troubled by.
func (s *scripted) receive(t *testing.T, take client.Take) (troubles []string, err error) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.ended
		cancel()
	}()
	c := client.New(client.Options{URL: hubURL, ID: "shop", HTTP: &http.Client{Transport: s}})
	err = c.Receive(ctx, polled, take, func(err error) { troubles = append(troubles, err.Error()) })
	cancel()
	return troubles, err
}

func TestReceiveAcknowledgesWhatWasTakenAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		s.script = append(s.script, s.hands(map[string]string{"good": s.named("good"), "refused": s.named("refused"), "later": s.named("later"),
			"forged": unsigned(recycled()), "moved": s.named("good")}), s.hands(nil), s.hands(map[string]string{"later": s.named("later")}))
		times := map[string]int{}
		troubles, err := s.receive(t, func(_ context.Context, set client.SET) error {
			times[set.JTI]++
			switch {
			case set.JTI == "refused":
				return &client.SetError{Err: "invalid_request", Description: "not here"}
			case set.JTI == "later" && times["later"] == 1:
				return errors.New("the disk is full")
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || len(s.polls) != 5 { // the last one because the one before was not answered
			t.Fatalf("%v after %d polls", err, len(s.polls))
		}
		second := s.polls[1]
		if fmt.Sprint(second.Ack) != "[good]" || len(second.Refused) != 3 || second.Refused["refused"].Description != "not here" ||
			second.Refused["forged"].Err != "invalid_request" || second.Refused["moved"].Err != "invalid_request" {
			t.Errorf("said %+v", second)
		}
		if third, last := s.polls[2], s.polls[3]; len(third.Ack)+len(third.Refused) != 0 || fmt.Sprint(last.Ack) != "[later]" {
			t.Errorf("said %+v, then %+v", third, last)
		}
		if fmt.Sprint(times) != "map[good:1 later:2 refused:1]" || len(troubles) != 4 {
			t.Errorf("taken %v, troubled by %q", times, troubles)
		}
	})
}

func TestReceiveWaitsOutAHubInTroubleAndSaysAgainWhatItSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		fails := func(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
			return func(r *http.Request) (*http.Response, error) { return answer(r, status, body, header...), nil }
		}
		s.script = append(s.script, s.hands(map[string]string{"good": s.named("good")}),
			func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset") },
			fails(http.StatusUnauthorized, `{"err":"authentication_failed","description":"x"}`),
			fails(http.StatusTooManyRequests, `{"err":"too_many_requests","description":"x"}`, "Retry-After", "20"),
			fails(http.StatusBadGateway, `<html>`), fails(http.StatusOK, `{"sets":`), s.hands(nil))
		troubles, _ := s.receive(t, func(context.Context, client.SET) error { return nil })
		if len(troubles) != 5 || len(s.polls) != 8 {
			t.Fatalf("%d polls, troubled by %q", len(s.polls), troubles)
		}
		for i, in := range s.polls[1:7] {
			if fmt.Sprint(in.Ack) != "[good]" {
				t.Errorf("poll %d acknowledged %v", i+1, in.Ack)
			}
		}
		if len(s.polls[7].Ack) != 0 {
			t.Error("acknowledged again what the hub has heard of")
		}
		for i, want := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 20 * time.Second, 2 * time.Second, 4 * time.Second} {
			if got := s.times[i+2].Sub(s.times[i+1]); got != want {
				t.Errorf("after failure %d it waited %v, not %v", i+1, got, want)
			}
		}
	})
}

func TestReceiveEndsWithItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		s.script = append(s.script, func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusNotFound, `{"err":"not_found","description":"no such stream"}`), nil
		})
		_, err := s.receive(t, nil)
		if err == nil || !strings.Contains(err.Error(), "not_found") || len(s.polls) != 1 {
			t.Errorf("%v after %d polls", err, len(s.polls))
		}
		close(s.ended)
	})
}

// TestReceiveAcknowledgesAtItsEnd what it took and could not say yet: else it would come again.
func TestReceiveAcknowledgesAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t)
		s.script = append(s.script, s.hands(map[string]string{"one": s.named("one"), "two": s.named("two")}))
		ctx, cancel := context.WithCancel(t.Context())
		c := client.New(client.Options{URL: hubURL, ID: "shop", HTTP: &http.Client{Transport: s}})
		var taken string
		err := c.Receive(ctx, polled, func(_ context.Context, set client.SET) error {
			taken = set.JTI
			cancel()
			return nil
		}, nil)
		if !errors.Is(err, context.Canceled) || len(s.polls) != 2 {
			t.Fatalf("%v after %d polls", err, len(s.polls))
		}
		if last := s.polls[1]; !last.AtOnce || last.MaxEvents == nil || *last.MaxEvents != 0 || fmt.Sprint(last.Ack) != "["+taken+"]" {
			t.Errorf("at the end it said %+v", last)
		}
	})
}

func TestAPollGoesToNobodyButTheHub(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	c := client.New(client.Options{URL: hubURL, ID: "shop", HTTP: &http.Client{Transport: s}})
	elsewhere := polled
	for _, url := range []string{"https://hub.example.evil.example/ssf/poll/st_1", "https://other.example/ssf/poll/st_1", "", hubURL + "@evil.example/"} {
		elsewhere.Delivery.EndpointURL = url
		if _, err := c.Poll(t.Context(), elsewhere, client.PollRequest{}); err == nil || len(s.polls) > 0 {
			t.Errorf("it polled %s: %v", url, err)
		}
	}
}

// endless is a JSON string without an end, and counts what is read of it.
type endless int64

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	if *e == 0 && len(p) > 0 {
		p[0] = '"'
	}
	*e += endless(len(p))
	return len(p), nil
}

func (*endless) Close() error { return nil }

func TestAnAnswerWithoutAnEndIsNotReadForGood(t *testing.T) {
	t.Parallel()
	s, body := newScripted(t), new(endless)
	s.script = append(s.script, func(r *http.Request) (*http.Response, error) {
		a := answer(r, http.StatusOK, "")
		a.Body = body
		return a, nil
	})
	c := client.New(client.Options{URL: hubURL, ID: "shop", HTTP: &http.Client{Transport: s}})
	if _, err := c.Poll(t.Context(), polled, client.PollRequest{}); !errors.Is(err, io.ErrUnexpectedEOF) || *body > 65<<20 {
		t.Errorf("it read %d bytes: %v", *body, err)
	}
}

func TestPushesListensToTheHubAlone(t *testing.T) {
	t.Parallel()
	const secret = "Bearer of good news"
	p := newPublisher(t)
	c := p.client()
	var taken, troubles []string
	take := func(_ context.Context, s client.SET) error {
		taken = append(taken, s.JTI)
		switch s.JTI {
		case "refused":
			return &client.SetError{Err: "access_denied", Description: "not here"}
		case "later":
			return errors.New("the disk is full")
		}
		return nil
	}
	endpoint := c.Pushes(secret, take, func(err error) { troubles = append(troubles, err.Error()) })
	push := func(method, authorization string, body io.Reader) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), method, "/events", body)
		r.Header.Set("Content-Type", "application/secevent+jwt")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		endpoint.ServeHTTP(w, r)
		return w.Result()
	}
	for name, x := range map[string]struct {
		method, authorization, token string
		status                       int
		err                          string
	}{
		"another method":        {http.MethodGet, secret, p.named("a"), 405, ""},
		"no authorization":      {http.MethodPost, "", p.named("a"), 401, ""},
		"wrong authorization":   {http.MethodPost, secret + "s", p.named("a"), 401, ""},
		"a forged SET":          {http.MethodPost, secret, sign(t, newKey(t, "es-1", "ES256"), "secevent+jwt", recycled()), 400, "authentication_failed"},
		"alg none":              {http.MethodPost, secret, unsigned(recycled()), 400, "invalid_request"},
		"for somebody else":     {http.MethodPost, secret, p.set(with(recycled(), object{"aud": "bank"})), 400, "invalid_audience"},
		"of another hub":        {http.MethodPost, secret, p.set(with(recycled(), object{"iss": "https://other.example"})), 400, "invalid_issuer"},
		"nothing":               {http.MethodPost, secret, "", 400, "invalid_request"},
		"too long a body":       {http.MethodPost, secret, strings.Repeat("x", 70_000), 400, "invalid_request"},
		"a good one":            {http.MethodPost, secret, p.named("good"), 202, ""},
		"one that is refused":   {http.MethodPost, secret, p.named("refused"), 400, "access_denied"},
		"one that waits a time": {http.MethodPost, secret, p.named("later"), 503, ""},
	} {
		got := push(x.method, x.authorization, strings.NewReader(x.token))
		body, _ := io.ReadAll(got.Body)
		var e client.SetError
		if x.err != "" && (json.Unmarshal(body, &e) != nil || e.Description == "" || got.Header.Get("Content-Language") != "en" ||
			got.Header.Get("Content-Type") != "application/json") {
			t.Errorf("%s: %s %v", name, body, got.Header)
		}
		if got.StatusCode != x.status || e.Err != x.err || x.err == "" && len(body) > 0 {
			t.Errorf("%s: %d %s", name, got.StatusCode, body)
		}
	}
	slices.Sort(taken)
	if fmt.Sprint(taken) != "[good later refused]" || len(troubles) != 7 {
		t.Errorf("taken %v, troubled by %q", taken, troubles)
	}
	if got := push(http.MethodPost, secret, io.MultiReader(strings.NewReader(p.named("a")), broken{})); got.StatusCode != 400 || len(taken) != 3 {
		t.Errorf("a body that broke off: %d", got.StatusCode)
	}
	endpoint = c.Pushes("", take, nil)
	if got := push(http.MethodPost, "", bytes.NewReader([]byte(p.named("a")))); got.StatusCode != 401 {
		t.Errorf("an endpoint without authorization: %d", got.StatusCode)
	}
}

// broken is a connection that was lost.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestAPushIsNotRefusedBecauseTheKeysCannotBeRead: the hub sends it again.
func TestAPushIsNotRefusedBecauseTheKeysCannotBeRead(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	p.down = true
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/events", strings.NewReader(p.named("a")))
	r.Header.Set("Authorization", "x")
	p.client().Pushes("x", nil, nil).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
