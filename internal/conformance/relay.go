package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// relay is where the hub pushes to: it passes every SET on to the company's endpoint.
type relay struct {
	url string // its own, without the number of an endpoint
	web *http.Client
	f   *front

	mu  sync.Mutex
	to  []string // the company's endpoints
	now int      // the one of them that it named last
	key string   // the authorization header that the company wants to see
}

const (
	pushTime = 15 * time.Second
	noAnswer = "no answer"
)

// redirect changes the endpoint in a stream's configuration into the relay's.
func (l *relay) redirect(body []byte) []byte {
	var in map[string]json.RawMessage
	var delivery map[string]json.RawMessage
	var endpoint string
	if json.Unmarshal(body, &in) != nil || json.Unmarshal(in["delivery"], &delivery) != nil ||
		json.Unmarshal(delivery["endpoint_url"], &endpoint) != nil || endpoint == "" || strings.HasPrefix(endpoint, l.url) || !strings.HasPrefix(endpoint, "http") {
		return body
	}
	var method string
	if _ = json.Unmarshal(delivery["method"], &method); strings.HasSuffix(method, ":8936") {
		return body // the hub's own
	}
	var out []byte
	var authorization string
	if json.Unmarshal(delivery["authorization_header"], &authorization) == nil {
		l.mu.Lock()
		l.key = authorization
		l.mu.Unlock()
	}
	own, err := json.Marshal(l.own(endpoint))
	if err == nil {
		delivery["endpoint_url"] = own
		if in["delivery"], err = json.Marshal(delivery); err == nil {
			out, err = json.Marshal(in)
		}
	}
	if err != nil {
		return body
	}
	return out
}

func (l *relay) own(endpoint string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, to := range l.to {
		if to == endpoint {
			l.now = i
			return l.url + strconv.Itoa(i)
		}
	}
	l.now, l.to = len(l.to), append(l.to, endpoint)
	return l.url + strconv.Itoa(len(l.to)-1)
}

// restore writes the company's endpoints where the relay's stand.
func (l *relay) restore(text []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.to) - 1; i >= 0; i-- {
		own, _ := json.Marshal(l.url + strconv.Itoa(i))
		to, err := json.Marshal(l.to[i])
		if err == nil {
			text = bytes.ReplaceAll(text, own, to)
		}
	}
	return text
}

func (l *relay) endpoint(no string) (string, bool) {
	i, err := strconv.Atoi(no)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || i < 0 || i >= len(l.to) {
		return "", false
	}
	return l.to[i], true
}

// ServeHTTP takes a push of the hub's.
func (l *relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, ok := l.endpoint(strings.TrimPrefix(r.URL.Path, "/"))
	body, err := readAll(r)
	if !ok || err != nil {
		fail(w)
		return
	}
	l.mu.Lock()
	l.key = r.Header.Get("Authorization")
	l.mu.Unlock()
	s := readSET(string(body))
	l.f.wait(r.Context(), payload(s.token))
	l.f.ear.handedOut(s)
	p := l.post(r.Context(), to, s.token, r.Header.Get("Authorization"))
	l.f.ear.settled(s.jti, p.refused, p.status)
	if p.status == 0 {
		fail(w)
		return
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body)
}

// pushed is what the company's endpoint answered; status 0: nothing.
type pushed struct {
	status  int
	header  http.Header
	body    []byte
	refused string // its err, or why it is no acknowledgement
}

func (l *relay) post(ctx context.Context, to, token, authorization string) (p pushed) {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(token))
	if err != nil {
		return pushed{refused: noAnswer}
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	req.Header.Set("Accept", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := l.web.Do(req)
	if err != nil {
		return pushed{refused: noAnswer}
	}
	defer resp.Body.Close()
	p.body, _ = io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	p.status = resp.StatusCode
	p.header = http.Header{}
	for _, name := range []string{"Content-Type", "Content-Language", "Retry-After"} {
		if v := resp.Header.Values(name); len(v) > 0 {
			p.header[name] = v
		}
	}
	if p.status >= 300 {
		var e struct {
			Err string `json:"err"`
		}
		_ = json.Unmarshal(p.body, &e)
		if p.refused = e.Err; p.refused == "" {
			p.refused = "status " + strconv.Itoa(p.status)
		}
	}
	return p
}

// again pushes a SET to the endpoint that the company named last, showing it an authorization header.
func (l *relay) again(ctx context.Context, token, authorization string) pushed {
	l.mu.Lock()
	no := strconv.Itoa(l.now)
	l.mu.Unlock()
	to, ok := l.endpoint(no)
	if !ok {
		return pushed{refused: noAnswer}
	}
	return l.post(ctx, to, token, authorization)
}

// authorization is what the company wants to see.
func (l *relay) authorization() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.key
}

// secured says whether pushes show the company something that only the hub knows: "yes", "open", or "" where nothing is pushed.
func (l *relay) secured() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.to) == 0:
		return ""
	case l.key == "":
		return "open"
	}
	return "yes"
}
