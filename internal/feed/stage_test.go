package feed_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/outbound"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

var postgres = pgtest.Template{Migrate: func(url string) error {
	s, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return s.Close()
}}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// onEach runs a test on each engine.
func onEach(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newStage(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, newStage(t, postgres.Database(t))) })
}

// stage is a hub with a feed, whose streams hear of all numbers, and receivers that it pushes to.
type stage struct {
	testing.TB
	*core.Hub
	store  *store.Store
	keys   *seal.Keys
	ring   *auth.KeyRing
	client *http.Client
	roots  *x509.CertPool
	feed   *feed.Feed
	stop   func() // stops the feed
}

func newStage(t testing.TB, url string) *stage {
	t.Helper()
	if url == "" {
		url = "sqlite:" + filepath.Join(t.TempDir(), "hub.db")
	}
	db, err := store.Open(context.Background(), url)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	s := &stage{TB: t, store: db, keys: seal.Generate(), roots: x509.NewCertPool(), stop: func() {}}
	s.client = s.patient(0)
	s = s.again()
	must(t, s.PutParty(context.Background(), core.Operator(), huanxin.Party{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90, NameZh: "c", NameEn: "c"}, false))
	return s
}

// patient gives a client that waits so long for a receiver; 0: as long as a hub does.
func (s *stage) patient(timeout time.Duration) *http.Client {
	return outbound.Client(outbound.Options{AllowLoopback: true, RootCAs: s.roots, Timeout: timeout, KeepPerHost: 32})
}

// again gives one more hub on the same store.
func (s *stage) again() *stage {
	s.Helper()
	ctx := context.Background()
	more := *s
	var err error
	more.Hub, err = core.New(ctx, core.Options{Store: s.store, Keys: s.keys, Calendar: huanxin.ChinaCalendar(), Durations: huanxin.DefaultDurations(),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Feed: core.FeedOptions{AllNumbers: true, AllowLoopback: true}})
	must(s, err)
	s.Cleanup(func() { must(s, more.Hub.Close()) })
	keys, err := more.SigningKeys(ctx)
	must(s, err)
	more.ring, err = auth.NewKeyRing(keys...)
	must(s, err)
	more.feed = more.newFeed(feed.Times{})
	return &more
}

func (s *stage) newFeed(times feed.Times) *feed.Feed {
	return feed.New(feed.Options{Hub: s.Hub, Ring: s.ring, Issuer: issuer, Client: s.client, Times: times, Registry: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// run runs the feed until it is stopped, or the test ends.
func (s *stage) run() {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.feed.Run(ctx) })
	wg.Go(func() { // as internal/due does
		for tick := time.Tick(50 * time.Millisecond); ctx.Err() == nil; <-tick {
			_ = s.FollowFeed(ctx)
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	s.Cleanup(s.stop)
}

func (s *stage) as(app string) huanxin.Caller {
	p := s.Party(app)
	return huanxin.Caller{Party: p, Client: app + "-1", Scopes: huanxin.ScopesOf(p.Kind)}
}

// app makes an app with a client.
func (s *stage) app(id string) {
	s.Helper()
	ctx := context.Background()
	must(s, s.PutParty(ctx, core.Operator(), huanxin.Party{ID: id, Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind}, NameZh: id, NameEn: id}, false))
	_, err := s.AddClient(ctx, core.Operator(), core.NewClient{ID: id + "-1", Party: id, Secret: true})
	must(s, err)
}

// pushTo makes an app of a name with a stream that is pushed to a URL.
func (s *stage) pushTo(app, url string) string {
	s.Helper()
	s.app(app)
	made, err := s.CreateStream(context.Background(), s.as(app), issuer, huanxin.StreamDoc{Delivery: huanxin.Give(huanxin.DeliveryDoc{
		Method: huanxin.Give(huanxin.DeliverByPush.String()), Endpoint: huanxin.Give(url), Header: huanxin.Give("Bearer of " + app)})}, core.Once{})
	must(s, err)
	return made.ID
}

// report reports events, and gives them positions.
func (s *stage) report(events ...huanxin.Event) {
	s.Helper()
	ctx := context.Background()
	r, err := s.ReportEvents(ctx, huanxin.Caller{Party: s.Party("cmcc"), Client: "cmcc", Scopes: huanxin.ScopesOf(huanxin.CarrierParty)},
		func(yield func(core.EventLine, error) bool) {
			for i, e := range events {
				if !yield(core.EventLine{Line: int64(i + 1), Event: e}, nil) {
					return
				}
			}
		}, time.Time{})
	must(s, err)
	if r.Accepted != int64(len(events)) {
		s.Fatalf("%d of %d accepted: %v", r.Accepted, len(events), r.Rejected)
	}
	for {
		n, err := s.Sequence(ctx, 1000)
		must(s, err)
		if n == 0 {
			return
		}
	}
}

func number(i int) huanxin.Number { return huanxin.NumberOf(uint64(8613800000000 + i)) }

// recycle has numbers change hands, from the n-th on.
func (s *stage) recycle(from, n int) {
	s.Helper()
	var events []huanxin.Event
	for i := range n {
		events = append(events, huanxin.Event{ID: fmt.Sprint("a", from+i), Number: number(from + i), Kind: huanxin.Activated, Origin: huanxin.ActivatedReassigned,
			At: time.Now().Add(-48 * time.Hour)})
	}
	s.report(events...)
}

// release has numbers given up, from the n-th on.
func (s *stage) release(from, n int) {
	s.Helper()
	var events []huanxin.Event
	for i := range n {
		events = append(events, huanxin.Event{ID: fmt.Sprint("d", from+i), Number: number(from + i), Kind: huanxin.Disconnected, At: time.Now().Add(-24 * time.Hour)})
	}
	s.report(events...)
}

// eventually waits for something that others do.
func (s *stage) eventually(what string, f func() bool) {
	s.Helper()
	for until := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			s.Fatalf("not within 30 s: %s", what)
		}
	}
}

// unsettled is how many SETs a stream's receiver did not acknowledge yet.
func (s *stage) unsettled(stream string) int {
	s.Helper()
	all, err := s.FeedFigures(context.Background())
	must(s, err)
	for _, f := range all {
		if s.StreamName(f.Stream) == stream {
			return f.Pending + int(f.Behind)
		}
	}
	s.Fatal("no such stream")
	return 0
}

// status gives a stream's status and reason.
func (s *stage) status(app, stream string) string {
	s.Helper()
	got, err := s.Stream(context.Background(), s.as(app), issuer, stream)
	must(s, err)
	return strings.TrimSuffix(got.Status.String()+" "+got.Reason, " ")
}

// dead gives the codes of a stream's dead letters.
func (s *stage) dead(stream string) (codes []string) {
	s.Helper()
	all, err := s.DeadLetters(context.Background(), core.Operator(), stream, -1<<40)
	must(s, err)
	for _, d := range all {
		codes = append(codes, d.Err)
	}
	return codes
}

// got is a SET as it reached its receiver.
type got struct {
	jti, typ, number, token string
	header                  http.Header
}

func (g got) String() string { return g.typ + " " + g.number }

// receiver takes pushes. answer answers the n-th request, from 1; nil: 202. It may look at the SET, which counts as taken if it
// says so.
type receiver struct {
	testing.TB
	*httptest.Server
	lock   sync.Mutex
	n      int
	seen   []got          // every push, in the order in which they came
	taken  []got          // those that were taken
	flying map[string]int // by number
	most   int            // of one number at once
	wide   int            // at once
	answer func(w http.ResponseWriter, r *http.Request, n int, g got) (taken bool)
}

func (s *stage) receiver(answer func(w http.ResponseWriter, r *http.Request, n int, g got) bool) *receiver {
	s.Helper()
	rc := &receiver{TB: s, answer: answer, flying: map[string]int{}}
	rc.Server = httptest.NewTLSServer(rc)
	s.Cleanup(rc.Close)
	s.roots.AddCert(rc.Certificate())
	return rc
}

func read(t testing.TB, r *http.Request) (g got) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return g
	}
	g = got{token: string(body), header: r.Header}
	parts := strings.Split(g.token, ".")
	if len(parts) != 3 {
		t.Errorf("what is pushed is no token: %q", body)
		return g
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Error(err)
	}
	var claims struct {
		JTI   string
		SubID struct {
			Number string `json:"phone_number"`
		} `json:"sub_id"`
		Events map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Error(err)
	}
	g.jti, g.number = claims.JTI, claims.SubID.Number
	for uri := range claims.Events {
		g.typ = uri[strings.LastIndexAny(uri, ":/")+1:]
	}
	return g
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := read(rc, r)
	rc.lock.Lock()
	rc.n++
	n := rc.n
	rc.seen = append(rc.seen, g)
	rc.flying[g.number]++
	rc.most = max(rc.most, rc.flying[g.number])
	all := 0
	for _, f := range rc.flying {
		all += f
	}
	rc.wide = max(rc.wide, all)
	rc.lock.Unlock()
	defer func() {
		rc.lock.Lock()
		rc.flying[g.number]--
		rc.lock.Unlock()
	}()
	if rc.answer != nil && !rc.answer(w, r, n, g) {
		return
	}
	rc.lock.Lock()
	rc.taken = append(rc.taken, g)
	rc.lock.Unlock()
	if rc.answer == nil {
		w.WriteHeader(http.StatusAccepted)
	}
}

// count is how many SETs were taken, repeats left out.
func (rc *receiver) count() int {
	rc.lock.Lock()
	defer rc.lock.Unlock()
	ids := map[string]bool{}
	for _, g := range rc.taken {
		ids[g.jti] = true
	}
	return len(ids)
}

// all gives what was taken, and every push.
func (rc *receiver) all() (taken, seen []got) {
	rc.lock.Lock()
	defer rc.lock.Unlock()
	return append([]got(nil), rc.taken...), append([]got(nil), rc.seen...)
}
