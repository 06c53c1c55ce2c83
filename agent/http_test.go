package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/huanxin-platform/huanxin"
)

const testKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9ccPwA3gOJyorJW0
8WGGVKZbHrXxiPvO0F4ofhAfiIihRANCAAQrZNZE4d2AlUIQyoVblhG7JtEDmZea
n3Y9KnjRSUpg0oWUofORv0VY0B22jbioooB4MW9KpvRpiz5icCTV1KDg
-----END PRIVATE KEY-----
`

// endpoint is a company's own, on the accounts of an office.
type endpoint struct {
	t       *testing.T
	mu      sync.Mutex
	bound   map[string][]httpBinding // by number
	done    map[string]string        // by idempotency key
	unbound int
	fail    func(path string, w http.ResponseWriter) bool
	key     any
	url     string
	path    string // of the key

	tokens []string  // under which something was unbound
	stale  bool      // find does not see what was unbound
	holder string    // of the lease
	until  time.Time // of the lease
	late   time.Duration
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	token, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		e.t.Error(err)
		return
	}
	var claims struct {
		Iss    string `json:"iss"`
		Aud    string `json:"aud"`
		Jti    string `json:"jti"`
		Digest string `json:"digest"`
		Iat    int64  `json:"iat"`
	}
	if err := token.Claims(e.key, &claims); err != nil || claims.Digest != sum(body) || claims.Aud != e.url+r.URL.Path || claims.Jti == "" || claims.Iat == 0 {
		e.t.Errorf("the request is not signed as it is documented: %v %+v", err, claims)
	}
	if e.fail != nil && e.fail(r.URL.Path, w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/lease" {
		e.lease(w, body)
		return
	}
	var in httpOrder
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		e.t.Error(err)
	}
	switch r.URL.Path {
	case "/find":
		all := append([]httpBinding{}, e.bound[in.Number]...)
		_ = json.NewEncoder(w).Encode(httpFound{&all})
	case "/unbind":
		id := r.Header.Get("Idempotency-Key")
		if id == "" {
			e.t.Error("no idempotency key")
		}
		if in.Holder != "" && (in.Holder != e.holder || time.Now().Add(e.late).After(e.until)) {
			_, _ = io.WriteString(w, `{"result":"taken"}`)
			return
		}
		e.tokens = append(e.tokens, in.Token)
		if e.done[id] == "" {
			e.unbound++
			e.done[id] = `{"result":"done"}`
			if !e.stale {
				delete(e.bound, in.Number)
			}
		}
		_, _ = io.WriteString(w, e.done[id])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// lease gives the lease as docs/agent.md says.
func (e *endpoint) lease(w http.ResponseWriter, body []byte) {
	var in httpLeaseOrder
	if err := json.Unmarshal(body, &in); err != nil || in.Holder == "" {
		e.t.Errorf("%v: %s", err, body)
	}
	now, result := time.Now().Add(e.late), "done"
	if e.holder != "" && e.holder != in.Holder && now.Before(e.until) {
		result = "taken"
	} else {
		e.holder, e.until = in.Holder, now.Add(time.Duration(in.Seconds)*time.Second)
	}
	_, _ = io.WriteString(w, `{"result":"`+result+`"}`)
}

// connector is one more agent's way to the endpoint.
func (e *endpoint) connector(does ...string) connector {
	e.t.Helper()
	k, err := readKey(e.path)
	if err != nil {
		e.t.Fatal(err)
	}
	c, err := openHTTP(&HTTPConfig{URL: e.url, Attempts: 3, Does: does}, k, "pay", huanxin.China, 2*time.Second)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func withEndpoint(t *testing.T, e *endpoint, does ...string) option {
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(testKey), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := readKey(path)
	if err != nil {
		t.Fatal(err)
	}
	*e = endpoint{t: t, bound: map[string][]httpBinding{}, done: map[string]string{}, fail: e.fail, url: s.URL, path: path}
	e.key = k.Private.Public()
	return func(o *office) { o.options.connector = e.connector(does...) }
}

func TestACompanysOwnEndpointIsAskedAndTold(t *testing.T) {
	fails := map[string]int{}
	e := &endpoint{fail: func(path string, w http.ResponseWriter) bool {
		if fails[path]++; fails[path] == 1 { // the first of each kind fails for a time
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}}
	o := newOffice(t, withEndpoint(t, e))
	n, own, none := o.number(), o.number(), o.number()
	e.bound[n.E164()] = []httpBinding{{Binding: "b1", Account: "a1", BoundAt: "2020-01-01", LastProof: "never"}}
	e.bound[own.E164()] = []httpBinding{{Binding: "b2", Account: "a2", BoundAt: tenure.Add(day).Format(time.RFC3339)}}
	gone, kept, not := o.ask(n), o.ask(own), o.ask(none)
	o.work()
	o.answered(gone, "unbound", "removed")
	o.answered(kept, "kept", "bound_by_current_holder")
	o.answered(not, "not_bound", "none_found")
	if e.unbound != 1 {
		t.Errorf("unbound %d times", e.unbound)
	}
}

// TestAnEndpointThatAnswersNonsenseIsNotActedUpon: what cannot be read strictly puts the task off.
func TestAnEndpointThatAnswersNonsenseIsNotActedUpon(t *testing.T) {
	for name, answer := range map[string]string{
		"no JSON": "<html>", "an empty object": `{}`, "another member": `{"bindings":[],"more":true}`, "null": `{"bindings":null}`,
		"a misspelt date": `{"bindings":[{"binding":"1","account":"a","boundAt":"2020-01-01"}]}`,
		"no time":         `{"bindings":[{"binding":"1","account":"a","bound_at":"yesterday"}]}`,
		"no id":           `{"bindings":[{"account":"a","bound_at":"2020-01-01"}]}`,
		"one twice":       `{"bindings":[{"binding":"1","account":"a"},{"binding":"1","account":"b"}]}`,
		"two answers":     `{"bindings":[]}{"bindings":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{fail: func(path string, w http.ResponseWriter) bool {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, answer)
				return true
			}}
			o := newOffice(t, withEndpoint(t, e))
			task := o.ask(o.number())
			if err := o.round(); err == nil {
				t.Error("no error")
			}
			if s := o.state(task); s.phase != waiting || s.problem == "" || e.unbound > 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
