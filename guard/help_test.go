package guard_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func num(t testing.TB, s string) huanxin.Number {
	t.Helper()
	n, err := huanxin.ParseNumber(s)
	must(t, err)
	return n
}

// word is a decision in a few words.
func word(d guard.Decision) string {
	return d.Access.String() + " " + d.Reason.String() + " " + d.Source.String()
}

func expect(t *testing.T, what string, d guard.Decision, want string) {
	t.Helper()
	if got := word(d); got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func open(t testing.TB, o guard.Options) *guard.Guard {
	t.Helper()
	g, err := guard.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(g.Close)
	return g
}

// liar is what a guard may find at a hub's address: it answers as it is told to, and signs replicas with a real key.
type liar struct {
	t    testing.TB
	addr string
	url  string // what it says it is
	ring *auth.KeyRing

	mu      sync.Mutex
	checks  func(w http.ResponseWriter, r *http.Request, checks []client.Check) // nil: 500
	replica func(w http.ResponseWriter, r *http.Request)                        // nil: 500
	asked   [][]client.Check
}

func newLiar(t testing.TB) *liar {
	t.Helper()
	ring, err := auth.NewKeyRing(auth.NewSigningKey(time.Now().Add(-time.Hour)))
	must(t, err)
	l := &liar{t: t, ring: ring}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"access_token":"t","token_type":"Bearer","expires_in":900}`))
	})
	mux.HandleFunc("GET /jwks.json", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(l.ring.JWKS(time.Now())) })
	mux.HandleFunc("POST /v1/checks", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Checks []client.Check }
		_ = json.NewDecoder(r.Body).Decode(&body)
		l.mu.Lock()
		l.asked = append(l.asked, body.Checks)
		answer := l.checks
		l.mu.Unlock()
		if answer == nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		answer(w, r, body.Checks)
	})
	mux.HandleFunc("GET /v1/replica", func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		give := l.replica
		l.mu.Unlock()
		if give == nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		give(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	l.addr, l.url = s.URL, s.URL
	return l
}

func (l *liar) client() *client.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	l.t.Cleanup(tr.CloseIdleConnections)
	return client.New(client.Options{URL: l.addr, ID: "shop", Secret: "s", HTTP: &http.Client{Transport: tr}})
}

// tell changes what is answered to checks.
func (l *liar) tell(f func(w http.ResponseWriter, r *http.Request, checks []client.Check)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checks = f
}

// says answers every check with the same words.
func (l *liar) says(asOf int64, outcome, reason string) {
	l.tell(func(w http.ResponseWriter, _ *http.Request, checks []client.Check) {
		results := make([]map[string]any, len(checks))
		for i := range results {
			results[i] = map[string]any{"outcome": outcome, "reason": reason}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"as_of": asOf, "results": results})
	})
}

func (l *liar) questions() [][]client.Check {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// gives answers pulls with a body.
func (l *liar) gives(body []byte) {
	l.givesBy(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

func (l *liar) givesBy(f func(w http.ResponseWriter, r *http.Request)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replica = f
}

// made is a replica as it stands on the wire.
type made struct {
	asOf   int64
	issued time.Time // zero: now
	fresh  time.Time // zero: now
	late   time.Duration
	scope  huanxin.ReplicaGrant
	client string
	marks  map[uint64]huanxin.Mark
}

func (l *liar) body(m made) []byte {
	l.t.Helper()
	if m.issued.IsZero() {
		m.issued = time.Now()
	}
	if m.fresh.IsZero() {
		m.fresh = time.Now()
	}
	if m.client == "" {
		m.client = "shop"
	}
	if m.scope == huanxin.NoReplica {
		m.scope = huanxin.ReplicaUploaded
	}
	x, err := replica.Uploaded(slices.Sorted(maps.Keys(m.marks)), func(digits []uint64, out []uint16) error {
		for i, d := range digits {
			out[i] = uint16(m.marks[d])
		}
		return nil
	})
	must(l.t, err)
	if m.scope == huanxin.ReplicaWhole {
		must(l.t, x.Close())
		x = index.New()
		for d, mark := range m.marks {
			x.Apply([]index.Change{{Digits: d, Value: uint16(mark), Carrier: 1}})
		}
	}
	defer func() { must(l.t, x.Close()) }()
	man := replica.Manifest{Issuer: l.url, Audience: m.client, IssuedAt: m.issued.Unix(), AsOf: m.asOf, LateAfter: int64(m.late / time.Second), Scope: m.scope.String(),
		Zone: huanxin.China.String(), Fresh: map[string]time.Time{"cmcc": m.fresh.UTC().Truncate(time.Second)}}
	var b bytes.Buffer
	n, err := x.WriteTo(&b, man.Meta(), false)
	must(l.t, err)
	sum := sha256.Sum256(b.Bytes())
	man.Size, man.SHA256, man.Numbers = n, hex.EncodeToString(sum[:]), x.Len()
	jws, err := l.ring.Sign(time.Now(), replica.Type, man)
	must(l.t, err)
	return replica.AppendFooter(b.Bytes(), jws)
}

// began is the mark of a number whose holder has it since a day.
func began(day string, origin huanxin.TenureOrigin) huanxin.Mark {
	t, err := time.ParseInLocation(time.DateOnly, day, huanxin.China)
	if err != nil {
		panic(err)
	}
	s := huanxin.Standing{Phase: huanxin.PhaseInUse, StartedAt: t.Add(12 * time.Hour), Origin: origin}
	return s.Mark(huanxin.China)
}

func exactly(t testing.TB, text string) huanxin.Moment {
	t.Helper()
	m, err := guard.ParseMoment("bound_at", text, huanxin.China)
	must(t, err)
	return m
}

func pullFrom(t *testing.T, l *liar, path string) error {
	t.Helper()
	_, err := replica.Pull(t.Context(), l.client(), path, replica.Wanted{Issuer: l.url, Audience: "shop"})
	return err
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("it does not happen")
		}
	}
}
