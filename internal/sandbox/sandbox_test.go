package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// childData makes the test binary a demo that can be killed.
const childData = "HUANXIN_TEST_DEMO_DATA"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childData); dir != "" {
		err := Run(context.Background(), Options{Listen: "127.0.0.1:0", Data: dir, Out: os.Stdout, Err: io.Discard, people: testPeople,
			redelivery: testRedelivery})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	testPeople = 60
	patience   = 8 * time.Minute // for everything that a test waits for, with the race detector on a busy machine

	testRedelivery = 2 * time.Second
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// still starts a world in which nobody acts.
func still(t *testing.T, dir string) *demo {
	t.Helper()
	d, err := start(testContext(t), Options{Listen: "127.0.0.1:0", Data: dir, Still: true, Out: io.Discard, Err: io.Discard, people: testPeople,
		redelivery: testRedelivery})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func stop(t *testing.T, d *demo) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

func TestAWorldIsAsSandboxJSONSays(t *testing.T) {
	dir := t.TempDir()
	d := still(t, dir)
	defer stop(t, d)
	t.Run("the file", func(t *testing.T) { checkFile(t, d) })
	t.Run("the numbers behave as they are called", func(t *testing.T) { checkNumbers(t, d) })
	t.Run("every holder can make a request", func(t *testing.T) { checkHolders(t, d) })
	t.Run("the start page", func(t *testing.T) { checkPage(t, d) })
	t.Run("a broken world is noticed", func(t *testing.T) { checkBroken(t, d) })
}

// checkNumbers asks about the named numbers as an app would, each with many times: they are not guarded.
func checkNumbers(t *testing.T, d *demo) {
	token, err := d.clients["yours"].Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := d.file.Numbers
	for _, c := range []struct {
		what         Checkable
		want, camara string
	}{
		{n.Unchanged, "UNCHANGED ", `200 {"phoneNumberRecycled":false}`}, {n.Changed, "CHANGED reassigned", `200 {"phoneNumberRecycled":true}`},
		{n.NoHolder, "NO_HOLDER ", `200 {"phoneNumberRecycled":true}`}, {n.Unknown, "UNKNOWN before_coverage", `400 "OUT_OF_RANGE"`},
		{n.NeverSeen, "UNKNOWN never_seen", `404 "IDENTIFIER_NOT_FOUND"`},
		{n.NotSupported, "UNKNOWN number_kind_unsupported", `422 "SERVICE_NOT_APPLICABLE"`},
	} {
		asked, err := http.NewRequestWithContext(t.Context(), "POST", d.hub.URL+"/number-recycling/v0.2/check",
			strings.NewReader(fmt.Sprintf(`{"phoneNumber":%q,"specifiedDate":%q}`, c.what.Number, cmp.Or(c.what.Since, "2020-01-01"))))
		if err != nil {
			t.Fatal(err)
		}
		asked.Header.Set("Authorization", "Bearer "+token)
		asked.Header.Set("Content-Type", "application/json")
		said, err := http.DefaultClient.Do(asked)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(said.Body)
		_ = said.Body.Close()
		if status, body, _ := strings.Cut(c.camara, " "); fmt.Sprint(said.StatusCode) != status || !strings.Contains(string(text), body) {
			t.Errorf("CAMARA: %d %s, want %s", said.StatusCode, text, c.camara)
		}
		var lines strings.Builder
		for i := range 40 {
			since := cmp.Or(c.what.Since, "2020-01-01")
			if i > 0 {
				since = fmt.Sprintf("2019-06-%02d", 1+i%28)
			}
			fmt.Fprintf(&lines, "{\"number\":%q,\"since\":%q}\n", c.what.Number, since)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", d.hub.URL+"/v1/checks", strings.NewReader(lines.String()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/x-ndjson")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(resp.Body)
		for i := range 40 {
			var got struct{ Outcome, Reason string }
			if err := dec.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if i == 0 && got.Outcome+" "+got.Reason != c.want || got.Outcome == "" {
				t.Errorf("line %d: %s %s, want %s", i, got.Outcome, got.Reason, c.want)
			}
		}
		_ = resp.Body.Close()
	}
}

// checkFile reads sandbox.json as an outsider would, by the words of API.md.
func checkFile(t *testing.T, d *demo) {
	path := filepath.Join(d.o.Data, fileName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type number struct{ Number, Since string }
	var f struct {
		BaseURL  string `json:"base_url"`
		TokenURL string `json:"token_url"`
		Clients  []struct {
			Name, Kind, ID, Scope string
			ClientID              string `json:"client_id"`
			ClientSecret          string `json:"client_secret"`
		}
		Numbers map[string]number
		Holders []struct {
			Number, Carrier, Origin string
			SignIn                  map[string]string `json:"sign_in"`
			TenureStartedAt         time.Time         `json:"tenure_started_at"`
		}
		Vouchers []struct {
			Carrier, KID string
			ClientID     string `json:"client_id"`
			PrivateKey   string `json:"private_key"`
		}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.BaseURL != d.hub.URL || f.TokenURL != f.BaseURL+"/oauth2/token" {
		t.Errorf("%s %s", f.BaseURL, f.TokenURL)
	}
	kinds := map[string]int{}
	for _, c := range f.Clients {
		kinds[c.Kind]++
		if c.Name == "" || c.ClientID == "" || len(c.ClientSecret) < 20 || c.Scope == "" || d.hub.Hub.Party(c.ID) == nil {
			t.Errorf("client %q of %q is not whole", c.ClientID, c.ID)
		}
	}
	if want := map[string]int{"carrier": 4, "app": 239, "regulator": 1, "admin": 1}; fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("clients %v, not %v", kinds, want)
	}
	if !slices.ContainsFunc(d.file.Clients, func(c Client) bool { return c.Name == "yours" && c.ID == "yours" }) {
		t.Error("no app is named yours")
	}
	for _, name := range []string{"unchanged", "changed", "no_holder", "unknown", "never_seen", "not_supported"} {
		n, ok := f.Numbers[name]
		if _, err := time.Parse(time.DateOnly, n.Since); !ok || !strings.HasPrefix(n.Number, "+86") || n.Since != "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	origins := map[string]int{}
	for _, h := range f.Holders {
		origins[h.Origin]++
		if h.Number == "" || h.Carrier == "" || h.TenureStartedAt.IsZero() || h.SignIn["user"] == "" || h.SignIn["password"] == "" {
			t.Error("a holder is not whole")
		}
	}
	carriers := map[string]bool{}
	for _, v := range f.Vouchers {
		carriers[v.Carrier] = true
		block, _ := pem.Decode([]byte(v.PrivateKey))
		if block == nil {
			t.Fatalf("the key of %s is no PEM", v.Carrier)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if ec, ok := key.(*ecdsa.PrivateKey); !ok || ec.Curve != elliptic.P256() || v.KID == "" || v.ClientID == "" || err != nil {
			t.Errorf("the voucher of %s is not whole: %v", v.Carrier, err)
		}
	}
	if len(carriers) != 4 || len(f.Vouchers) != 4 {
		t.Errorf("vouchers of %v", carriers)
	}
	if len(f.Numbers) != 6 || len(f.Holders) < 40 || len(origins) != 4 {
		t.Errorf("%d numbers, %d holders, origins %v", len(f.Numbers), len(f.Holders), origins)
	}
}

func checkHolders(t *testing.T, d *demo) {
	ctx := testContext(t)
	for _, h := range d.file.Holders {
		ask := client.NewRequest{Number: h.Number, StartedAt: h.StartedAt, Origin: h.Origin, Apps: []string{"yours"},
			Control: "sms_otp", Identity: "carrier_crm", Verified: time.Now()}
		if h.Origin == "first" {
			ask.Apps, ask.Kinds = nil, []string{"stop_contact"}
		}
		if _, err := d.clients[h.Carrier].CreateRequest(ctx, ask); err != nil {
			t.Errorf("a holder (%s, %s): %v", h.Carrier, h.Origin, err)
		}
	}
	tasks, _, err := d.clients[catalogue.Yours].Tasks(ctx, "", 1000)
	if err != nil || len(tasks) < 40 {
		t.Errorf("the visitor's app has %d tasks: %v", len(tasks), err)
	}
	if got := d.watch.figures(); got.Open < 40 {
		t.Errorf("the start page knows of %d visitors' requests", got.Open)
	}
}

func checkPage(t *testing.T, d *demo) {
	get := func(path, language string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, d.hub.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Language", language)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	for _, c := range []struct{ path, language, want string }{
		{"/", "", "焕新演示世界"}, {"/", "en-GB,en;q=0.9", "The huanxin demo world"}, {"/?lang=en", "zh-CN", "The huanxin demo world"},
		{"/?lang=zh", "en", "焕新演示世界"}, {"/demo.css", "", "--accent"}, {"/healthz", "", "ok"}, {"/docs/api", "", "API"},
		{"/", "", "核对账号库"}, {"/?lang=en", "", "/v1/checks"}, {"/openapi.yaml", "", "openapi: 3.1"}, {"/metrics", "", "huanxin_"},
	} {
		resp, text := get(c.path, c.language)
		if resp.StatusCode != http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s for %q: %d", c.path, c.language, resp.StatusCode)
		}
		if c.path == "/" && !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Error("the page has no policy")
		}
		if c.path == "/" && regexp.MustCompile(`\+86|1[3-9]\d{9}|<script|style=`).MatchString(text) {
			t.Error("the page shows a number, or has script or style in it")
		}
	}
	if resp, _ := get("/nothing", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("/nothing: %d", resp.StatusCode)
	}
}

// checkBroken breaks one thing after the other, and looks whether the checks of --once say so.
func checkBroken(t *testing.T, d *demo) {
	ctx := testContext(t)
	p := &play{d: d}
	if err := p.collect(ctx); err != nil {
		t.Fatal(err)
	}
	broken := func(rule func(context.Context) (verdict, error)) int {
		t.Helper()
		v, err := rule(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(v.broken)
	}
	for i, rule := range []func(context.Context) (verdict, error){p.rule1, p.rule2, p.rule3, p.rule4, p.rule8, p.softly} {
		if n := broken(rule); n != 0 {
			t.Fatalf("check %d finds %d faults in a good world", i, n)
		}
	}
	app, account := presentHolders(t, d)
	p.only = []catalogue.App{d.apps[app].Spec}
	exec := func(q string) {
		t.Helper()
		db, err := sql.Open("sqlite", d.apps[app].Path())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(ctx, q, account); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE bindings SET is_login_key = 0, detached_at = 1, detached_by = 'by hand' WHERE account = ?`)
	if broken(p.rule1) == 0 {
		t.Error("rule 1: a present holder's binding was unbound by hand, and nobody noticed")
	}
	exec(`UPDATE accounts SET balance_fen = balance_fen + 1 WHERE id = ?`)
	if err := p.collect(ctx); err != nil {
		t.Fatal(err)
	}
	if broken(p.rule2) == 0 {
		t.Error("rule 2: money was put into an account by hand, and nobody noticed")
	}
	d.world.People[0].Events = append(d.world.People[0].Events, huanxin.Event{ID: "lost", Carrier: huanxin.PartyNo(d.world.People[0].Carrier + 1),
		Number: d.world.People[0].Number, Kind: huanxin.Suspended, At: time.Now()})
	if broken(p.rule8) == 0 {
		t.Error("rule 8: an event was lost, and nobody noticed")
	}
}

// presentHolders gives an account that the present holder of its number bound, and its app.
func presentHolders(t *testing.T, d *demo) (app, account string) {
	t.Helper()
	for id, stock := range d.world.Bindings() {
		for _, a := range stock.Accounts {
			if l, ok := d.ledger.find(a.Number); ok && l.standing.Held() && a.TrueBound.After(l.standing.StartedAt) {
				return id, a.ID
			}
		}
	}
	t.Fatal("nobody has bound anything")
	return "", ""
}

func TestALeakIsNoticed(t *testing.T) {
	dir := t.TempDir()
	d := &demo{o: Options{Data: dir}}
	spec := catalogue.Common()[0]
	d.apps = openApps(t, dir, spec)
	good := fmt.Sprintf(`{"id":"r","state":"IN_PROGRESS","tenure_id":"t","due_at":"2026-03-01T00:00:00+08:00","tasks":[{"id":"k","app":%q,
		"kind":"unbind","view":"clean","text":%q,"link":"https://%s/confirm"}]}`, spec.ID, huanxin.ViewClean.Text(true), spec.Domain())
	if leaks := leaksOf([]byte(good), d); len(leaks) > 0 {
		t.Errorf("a good answer leaks: %v", leaks)
	}
	for name, bad := range map[string]string{
		"a member more":    strings.Replace(good, `"kind"`, `"bound_at":"2020-01-01","kind"`, 1),
		"a text more":      strings.Replace(good, huanxin.ViewClean.Text(true), huanxin.ViewClean.Text(true)+" ¥12", 1),
		"another text":     strings.Replace(good, `"clean"`, `"kept"`, 1),
		"a telling link":   strings.Replace(good, "/confirm", "/confirm?u=u-1", 1),
		"an account in it": strings.Replace(good, "/confirm", "/1234", 1),
		"a link elsewhere": strings.Replace(good, spec.Domain(), "elsewhere.example", 1),
	} {
		if len(leaksOf([]byte(bad), d)) == 0 {
			t.Errorf("%s: nobody noticed", name)
		}
	}
}

func TestAWorldGoesOnInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	d := still(t, dir)
	first := d.file
	stop(t, d)
	d = still(t, dir)
	if d.hub.URL == first.BaseURL {
		t.Log("the same port again")
	}
	if d.file.BaseURL != d.hub.URL || readFile(dir).BaseURL != d.hub.URL {
		t.Error("sandbox.json tells of the port before")
	}
	for i, c := range d.file.Clients {
		if c != first.Clients[i] {
			t.Fatalf("%s has another credential", c.ID)
		}
	}
	if _, err := d.clients[carrierID(0)].Token(testContext(t)); err != nil {
		t.Errorf("a secret of before is not taken: %v", err)
	}
	stop(t, d)

	// Killed after the registry was written and before sandbox.json and the mark were.
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	mark, _, err := readMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	mark.Prepared = false
	if err := writeJSON(filepath.Join(dir, markName), mark); err != nil {
		t.Fatal(err)
	}
	d = still(t, dir)
	defer stop(t, d)
	p := &play{d: d, only: catalogue.Common()}
	if err := p.collect(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []func(context.Context) (verdict, error){p.rule1, p.rule2, p.rule8} {
		if v, err := rule(testContext(t)); err != nil || len(v.broken) > 0 {
			t.Errorf("rule %d: %v %v", v.rule, v.broken, err)
		}
	}
	if _, err := d.clients[catalogue.Yours].Token(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestAWorldSurvivesBeingKilled kills a demo while it is made and while it runs, and goes on with what is there.
func TestAWorldSurvivesBeingKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	for _, after := range []string{"a moment", "ready", "ready, a request and a moment"} {
		killOne(t, dir, after)
	}
	d := still(t, dir)
	defer stop(t, d)
	made := d.ledger.made()
	if len(made) == 0 {
		t.Error("nobody asked for anything while the world ran")
	}
	for _, e := range made {
		if _, err := d.clients[carrierID(d.ledger.carrierOf(e.No))].Request(testContext(t), e.Request, "en"); err != nil {
			t.Errorf("a request that was made is not there: %v", err)
		}
	}
	p := &play{d: d, only: catalogue.Common()}
	if err := p.collect(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []func(context.Context) (verdict, error){p.rule1, p.rule2, p.rule8} {
		if v, err := rule(testContext(t)); err != nil || len(v.broken) > 0 {
			t.Errorf("rule %d: %v %v", v.rule, v.broken, err)
		}
	}
	checkStreams(t, d)
}

// checkStreams lets the apps of a world that was killed work, and looks whether their streams go on where they were: each app has one, and
// it tells it of every task that is open, so that none has to be found in the list.
func checkStreams(t *testing.T, d *demo) {
	t.Helper()
	ctx := testContext(t)
	d.work()
	for _, a := range catalogue.Apps() {
		streams, err := d.clients[a.ID].Streams(ctx)
		must(t, err)
		if want := 1 - bit(a.Behaviour == catalogue.Nobody); len(streams) != want {
			t.Errorf("%s has %d streams", a.ID, len(streams))
		}
		if !hears(a) {
			continue
		}
		for {
			open, _, err := d.clients[a.ID].Tasks(ctx, "", 1000)
			must(t, err)
			seen, err := d.apps[a.ID].Worked(ctx)
			must(t, err)
			heard, err := d.apps[a.ID].Heard(ctx)
			must(t, err)
			unknown := 0
			for _, task := range open {
				if !slices.ContainsFunc(seen, func(w appsim.Worked) bool { return w.Task == task.ID }) ||
					!slices.ContainsFunc(heard, func(h appsim.Heard) bool { return h.Task == task.ID && h.Type == huanxin.UnbindRequested }) {
					unknown++
				}
			}
			untold, err := d.apps[a.ID].Untold(ctx)
			must(t, err)
			if unknown+untold == 0 {
				break
			}
			if !pause(ctx, 50*time.Millisecond) {
				t.Fatalf("%s: the feed has lost %d tasks of %d, and it knows %d things that the feed has not told it", a.ID, unknown, len(open), untold)
			}
		}
	}
	d.stopActs()
	d.actors.Wait()
	for id, app := range d.apps {
		found, err := app.Findings(ctx)
		must(t, err)
		for _, f := range found {
			t.Errorf("%s: rule %d: %s", id, f.Rule, f.What)
		}
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// awaitRequest waits until somebody has asked for something in the world that runs in dir.
func awaitRequest(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(dir, journalName)); err == nil && strings.Contains(string(text), `"request":`) {
			return
		}
	}
	t.Error("nobody asked for anything within a minute")
}

func killOne(t *testing.T, dir, after string) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0])
	cmd.Env = append(os.Environ(), childData+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(after, "ready") {
		line := make([]byte, 64)
		if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready http://127.0.0.1:") {
			t.Errorf("%q %v: %s", line[:n], err, stderr.String())
		}
	}
	if strings.HasSuffix(after, "a moment") {
		if strings.Contains(after, "request") {
			awaitRequest(t, dir)
		}
		time.Sleep(time.Duration(300+rand.IntN(2500)) * time.Millisecond) // when is of no importance: that is the point
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("killed after %s: %v: %s", after, err, stderr.String())
	}
	_ = cmd.Wait()
}

func TestOncePlaysAStoryAndTheRulesHold(t *testing.T) {
	var out, progress bytes.Buffer
	err := Run(testContext(t), Options{Listen: "127.0.0.1:0", Once: true, Speed: onceTestSpeed, Data: t.TempDir(), Out: &out, Err: &progress,
		people: testPeople})
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, progress.String(), out.String())
	}
	for _, want := range []string{"ready http://127.0.0.1:", "SETTLED_WITH_EXCEPTIONS", "ABORTED", "CANCELLED", "choose_apps",
		"✓ 事件流:", "✓ 灶膛外卖停机", "dead letters at the hub", "recycle-retracted", "unbind-cancelled",
		"✓ 1 ", "✓ 2 ", "✓ 3 ", "✓ 4 ", "✓ 6 ", "✓ 8 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(out.String(), "✗") || regexp.MustCompile(`\+?86?1[3-9]\d{9}`).Match(out.Bytes()) {
		t.Errorf("something is wrong, or a number shows:\n%s", out.String())
	}
}
