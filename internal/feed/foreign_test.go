package feed_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
	public "github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// needsNode gives the directory of the packages of testdata/node, installed once for each lock file. Without Node, or the registry to
// install from, the test is skipped, but in CI it fails.
func needsNode(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("there is no %s: scripts/install-test-needs installs it", program)
		}
	}
	const source = "testdata/node"
	lock, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	must(t, err)
	sum := sha256.Sum256(lock)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	dir := filepath.Join(cache, "huanxin-tests", "node-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir
	}
	must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	must(t, err)
	defer func() { _ = os.RemoveAll(fresh) }()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(source, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(fresh, name), data, 0o644))
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if out, err := install.CombinedOutput(); err != nil {
		missing("npm ci: %v: %s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) { // else another test was faster
		must(t, err)
	}
	return dir
}

// foreignClient is a client as the receiver is told of it.
type foreignClient struct {
	ID      string          `json:"id"`
	Alg     string          `json:"alg"` // of the SETs
	Key     jose.JSONWebKey `json:"key"`
	Poll    string          `json:"poll"`
	Answers bool            `json:"answers"`
}

// foreign is a hub as outsiders see it, and its writer.
type foreign struct {
	*testing.T
	*server.Server
	writer  *feed.Writer
	keys    *seal.Keys
	clients []foreignClient
}

func startForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{T: t}
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.AllowLoopback = "127.0.0.1:0", t.TempDir(), true
	cfg.Feed.DefaultSubjects = "ALL"
	log, err := server.NewLog(t.Output(), "warn")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	f.Server, err = server.Open(ctx, cfg, log)
	must(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- f.Server.Run(ctx, f.Handler()) }()
	t.Cleanup(func() { stop(); must(t, <-stopped) })
	f.keys, err = seal.Load(filepath.Join(cfg.Data, "keys.json"))
	must(t, err)
	must(t, f.Hub.PutParty(ctx, core.Operator(), huanxin.Party{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90, NameZh: "c", NameEn: "c"}, true))
	must(t, f.Hub.PutParty(ctx, core.Operator(), huanxin.Party{ID: "chat", Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind},
		NameZh: "c", NameEn: "c", FeedStart: true}, true))
	for _, alg := range auth.HubAlgs {
		key := auth.NewSigningKey(time.Now())
		set, err := auth.PublicJWKS(key)
		must(t, err)
		_, err = f.Hub.AddClient(ctx, core.Operator(), core.NewClient{ID: client(alg), Party: "chat", JWKS: set})
		must(t, err)
		must(t, f.Hub.SignFeedBy(ctx, core.Operator(), client(alg), alg))
		f.clients = append(f.clients, foreignClient{ID: client(alg), Alg: alg, Answers: alg == "RS256",
			Key: jose.JSONWebKey{Key: key.Private, KeyID: key.KID, Algorithm: "ES256"}})
	}
	keys, err := f.Hub.SigningKeys(ctx)
	must(t, err)
	ring, err := auth.NewKeyRing(keys...)
	must(t, err)
	f.writer = feed.NewWriter(f.Hub, ring, f.URL)
	return f
}

func (f *foreign) as(party string) huanxin.Caller {
	p := f.Hub.Party(party)
	return huanxin.Caller{Party: p, Client: party, Scopes: huanxin.ScopesOf(p.Kind)}
}

// task begins a tenure of a number and gives the task that its holder's request makes.
func (f *foreign) task(number huanxin.Number) core.AppTask {
	f.Helper()
	ctx, started := f.Context(), time.Now().AddDate(0, 0, -2).Truncate(time.Second)
	var lines iter.Seq2[core.EventLine, error] = func(yield func(core.EventLine, error) bool) {
		yield(core.EventLine{Line: 1, Event: huanxin.Event{ID: "1", Number: number, Kind: huanxin.Activated, At: started,
			Origin: huanxin.ActivatedReassigned}}, nil)
	}
	r, err := f.Hub.ReportEvents(ctx, f.as("cmcc"), lines, time.Time{})
	if err != nil || r.Accepted != 1 {
		f.Fatal(r, err)
	}
	_, err = f.Hub.CreateRequest(ctx, f.as("cmcc"), core.NewRequest{Apps: []string{"chat"}, Ask: huanxin.Ask{Number: number, StartedAt: started,
		Origin: huanxin.OriginReassigned, Kinds: []huanxin.TaskKind{huanxin.Unbind},
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityCRM, VerifiedAt: time.Now()}}})
	must(f, err)
	tasks, err := f.Hub.Tasks(ctx, f.as("chat"), 0, "", 10)
	if err != nil || len(tasks) != 1 {
		f.Fatal(tasks, err)
	}
	return tasks[0]
}

// entries is what the clients are told: a number was recycled, and there is a task.
func (f *foreign) entries(k core.AppTask) []core.FeedEntry {
	f.Helper()
	id, ok := f.keys.ParseID(seal.TaskID, k.ID)
	cause, ok2 := f.keys.ParseID(seal.TenureID, k.TenureID)
	if !ok || !ok2 {
		f.Fatal("ids do not parse")
	}
	now := time.Now()
	e := core.FeedEntry{Number: k.Number, At: k.StartedAt, RecordedAt: now, Cause: huanxin.EventNo(cause), StartedAt: k.StartedAt}
	recycled, requested := e, e
	recycled.No, recycled.Type, recycled.Reason = huanxin.FeedNoAt(1, 0), huanxin.IdentifierRecycled, "reassigned"
	requested.No, requested.Type, requested.App, requested.At = huanxin.FeedNoAt(2, 0), huanxin.UnbindRequested, f.Hub.Party("chat").No, now
	requested.Task = core.FeedTask{ID: huanxin.TaskID(id), Kind: k.Kind, Origin: k.Origin, DueAt: k.DueAt}
	verification := core.FeedEntry{No: huanxin.SignalNo(1), Type: huanxin.StreamVerification, RecordedAt: now, State: "状态"}
	return []core.FeedEntry{recycled, requested, verification}
}

// published waits until the hub publishes keys for all algorithms: a client asked for them a moment ago.
func (f *foreign) published() {
	f.Helper()
	for range 200 {
		var set struct{ Keys []struct{ Alg string } }
		resp, err := http.Get(f.URL + "/jwks.json")
		must(f, err)
		must(f, json.NewDecoder(resp.Body).Decode(&set))
		must(f, resp.Body.Close())
		if len(set.Keys) == len(auth.HubAlgs) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.Fatal("a key is not published")
}

// TestForeignSoftware has packages that others wrote do what a receiver does: get tokens, poll, verify SETs, answer a task.
func TestForeignSoftware(t *testing.T) {
	packages := needsNode(t)
	f := startForeign(t)
	const state = "状态"
	for i := range f.clients {
		c := &f.clients[i]
		key := auth.SigningKey{KID: c.Key.KeyID, Alg: c.Key.Algorithm, Private: c.Key.Key.(crypto.Signer)}
		me := public.New(public.Options{URL: f.URL, ID: c.ID, Assert: func(audience string, now time.Time) (string, error) {
			return auth.Assertion(key, c.ID, audience, now)
		}})
		stream, err := me.CreateStream(t.Context(), public.StreamConfig{})
		must(t, err)
		must(t, me.VerifyStream(t.Context(), stream.ID, state))
		c.Poll = stream.Delivery.EndpointURL
	}
	task := f.task(huanxin.NumberOf(8613800000001))
	for began := time.Now(); f.Hub.FeedHead() < 2; time.Sleep(20 * time.Millisecond) { // the number and the task
		if time.Since(began) > 20*time.Second {
			t.Fatal("the feed holds nothing")
		}
	}
	f.published()
	for id, sets := range f.receive(packages) {
		types := map[string]bool{}
		for _, got := range sets {
			for uri, event := range got.Events {
				types[uri] = true
				signal := uri == huanxin.StreamVerification.String()
				if got.Aud != id || got.Iss != f.URL || got.Sub.Number != task.Number.E164() && !signal || signal && event["state"] != state {
					t.Errorf("%s: %s is seen as %+v", id, uri, got)
				}
			}
		}
		if len(sets) != 3 || !types[huanxin.StreamVerification.String()] || !types[huanxin.IdentifierRecycled.String()] || !types[huanxin.UnbindRequested.String()] {
			t.Errorf("%s saw %d SETs: %v", id, len(sets), types)
		}
	}
	if k, err := f.Hub.Task(t.Context(), f.as("chat"), task.ID); err != nil || k.State != huanxin.TaskAnswered {
		t.Errorf("the task is %s, %v", k.State, err)
	}
}

// TestTheClientReadsWhatTheHubWrites holds our own public client against the hub in the same way.
func TestTheClientReadsWhatTheHubWrites(t *testing.T) {
	f := startForeign(t)
	f.published()
	task := f.task(huanxin.NumberOf(8613800000001))
	for i, c := range f.clients {
		registered, err := f.Hub.Client(t.Context(), c.ID)
		must(t, err)
		stream := feed.FactsOf(huanxin.StreamID(i+1), registered)
		reader := public.New(public.Options{URL: f.URL, ID: c.ID})
		for _, e := range f.entries(task) {
			jti, set, err := f.writer.Write(time.Now(), stream, &e)
			must(t, err)
			got, err := reader.Verify(t.Context(), string(set))
			if err != nil || got.JTI != jti || got.Type != e.Type || got.Number != e.Number || got.IssuedAt.Unix() != e.RecordedAt.Unix() || got.State != e.State {
				t.Errorf("%s, %s: %+v, %v", c.Alg, e.Type, got, err)
			}
			switch e.Type {
			case huanxin.IdentifierRecycled:
				if got.Txn != task.TenureID || got.Reason != "reassigned" || !got.StartedAt.Equal(task.StartedAt) {
					t.Errorf("%s: %+v", c.Alg, got)
				}
			case huanxin.UnbindRequested:
				if k := got.Task; got.Txn != task.TenureID || k.ID != task.ID || k.Digest != task.Digest || k.Tenure.ID != task.TenureID ||
					!k.Tenure.StartedAt.Equal(task.StartedAt) || !k.DueAt.Equal(task.DueAt) || k.Number != task.Number.E164() || k.State != "queued" {
					t.Errorf("%s: %+v is not %+v", c.Alg, k, task)
				}
			case huanxin.StreamVerification:
				if got.Stream != f.keys.ID(seal.StreamID, int64(i+1)) || got.Txn != "" {
					t.Errorf("%s: %+v", c.Alg, got)
				}
			}
		}
	}
}

// foreignSET is what the receiver saw of a SET.
type foreignSET struct {
	Iss, Aud, KID string
	Sub           struct {
		Number string `json:"phone_number"`
	} `json:"sub_id"`
	Events map[string]map[string]any
}

// receive runs testdata/node/receiver.mjs and gives what each client saw, by jti.
func (f *foreign) receive(packages string) (out map[string]map[string]foreignSET) {
	f.Helper()
	work, err := json.Marshal(map[string]any{"issuer": f.URL, "clients": f.clients})
	must(f, err)
	script, err := os.ReadFile("testdata/node/receiver.mjs")
	must(f, err)
	dir := f.TempDir()
	must(f, os.WriteFile(filepath.Join(dir, "receiver.mjs"), script, 0o644))
	must(f, os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")))
	node := exec.CommandContext(f.Context(), "node", "receiver.mjs")
	node.Dir, node.Stdin = dir, bytes.NewReader(work)
	var stdout, stderr strings.Builder
	node.Stdout, node.Stderr = &stdout, &stderr
	if err := node.Run(); err != nil {
		f.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	must(f, json.Unmarshal([]byte(stdout.String()), &out))
	return out
}
