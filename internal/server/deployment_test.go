package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/server"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// asHub makes this test binary a hub when it is set: then it holds what place says, as JSON.
const asHub = "HUANXIN_TEST_HUB"

func TestMain(m *testing.M) {
	if cfg := os.Getenv(asHub); cfg != "" {
		if err := serve(cfg); err != nil {
			fmt.Fprintln(os.Stderr, "the hub ended:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// place is where a hub listens and what its data are.
type place struct {
	Listen, OpsListen, Data, PostgresURLFile string
	Feed                                     bool // it tells receivers on this machine of every number, with short times
}

func (p place) config() server.Config {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.OpsListen, cfg.Data, cfg.PostgresURLFile = p.Listen, p.OpsListen, p.Data, p.PostgresURLFile
	if p.Feed {
		cfg.AllowLoopback = true
		cfg.Feed = server.Feed{DefaultSubjects: "ALL", Redelivery: server.Duration(time.Second), PollWait: server.Duration(time.Second)}
	}
	return cfg
}

// serve is what huanxin serve does. It ends with the test that started it, too.
func serve(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var p place
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	cfg := p.config()
	log, err := server.NewLog(os.Stderr, "debug")
	if err != nil {
		return err
	}
	s, err := server.Open(ctx, cfg, log)
	if err != nil {
		return err
	}
	return s.Run(ctx, s.Handler())
}

// deployment is a hub in a process of its own, on data that outlive it.
type deployment struct {
	t *testing.T
	place
	url      string
	postgres string // the database's URL; empty: SQLite
	secrets  map[string]string
	log      string // a file
	process  *exec.Cmd
	gone     chan error
}

// fresh leaves the data directory without any data.
const fresh = true

func newDeployment(t *testing.T, postgres string, untouched ...bool) *deployment {
	t.Helper()
	d := &deployment{t: t, secrets: map[string]string{}}
	dir := t.TempDir()
	d.log = filepath.Join(dir, "log")
	d.Data = filepath.Join(dir, "data")
	d.Listen, d.OpsListen = freeAddress(t), freeAddress(t)
	d.url = "http://" + d.Listen
	if d.postgres = postgres; postgres != "" {
		d.PostgresURLFile = filepath.Join(dir, "postgres-url")
		must(t, os.WriteFile(d.PostgresURLFile, []byte(postgres+"\n"), 0o600))
	}
	if len(untouched) == 0 {
		d.register()
	}
	t.Cleanup(func() {
		if d.process != nil {
			d.kill()
		}
		if text, _ := os.ReadFile(d.log); t.Failed() {
			t.Logf("the hub's log ends:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return d
}

// freeAddress gives an address that nobody listens on, and that a hub keeps over its restarts: it is its issuer.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// register adds a carrier and two apps to the registry, as an operator does with commands beside the hub.
func (d *deployment) register() {
	d.t.Helper()
	ctx := context.Background()
	hub, closeHub, err := server.OpenHub(ctx, d.config(), slog.New(slog.DiscardHandler))
	must(d.t, err)
	for id, kind := range map[string]huanxin.PartyKind{"cmcc": huanxin.CarrierParty, "shop": huanxin.AppParty, "bank": huanxin.AppParty} {
		must(d.t, hub.PutParty(ctx, core.Operator(), huanxin.Party{ID: id, Kind: kind, NameZh: id, NameEn: id,
			CoolingDays: huanxin.MinCoolingDays, Kinds: []huanxin.TaskKind{huanxin.Unbind}}, false))
		d.secrets[id], err = hub.AddClient(ctx, core.Operator(), core.NewClient{ID: id, Party: id, Secret: true})
		must(d.t, err)
	}
	must(d.t, closeHub())
}

// client gives a party's client.
func (d *deployment) client(party string) *client.Client {
	return client.New(client.Options{URL: d.url, ID: party, Secret: d.secrets[party]})
}

// launch starts the process, and does not wait for it.
func (d *deployment) launch() {
	d.t.Helper()
	exe, err := os.Executable()
	must(d.t, err)
	cfg, err := json.Marshal(d.place)
	must(d.t, err)
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(d.t, err)
	defer log.Close()
	d.process = exec.Command(exe)
	d.process.Env = append(os.Environ(), asHub+"="+string(cfg))
	d.process.Stdout, d.process.Stderr = log, log
	_, err = d.process.StdinPipe() // it closes with us
	must(d.t, err)
	must(d.t, d.process.Start())
	d.gone = make(chan error, 1)
	go func(p *exec.Cmd, gone chan error) { gone <- p.Wait() }(d.process, d.gone)
}

// start starts the hub and waits until it is ready.
func (d *deployment) start() {
	d.t.Helper()
	d.launch()
	d.awaitReady()
}

func (d *deployment) awaitReady() {
	d.t.Helper()
	eventually(d.t, "the hub is ready", func() bool {
		select {
		case err := <-d.gone:
			d.gone <- err
			d.t.Fatal("the hub ended while starting:", err)
		default:
		}
		return d.readyz() == "200 ready\n"
	})
}

func (d *deployment) readyz() string {
	resp, err := http.Get("http://" + d.OpsListen + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(text))
}

// kill ends the process with SIGKILL: nothing of it runs any more when kill returns.
func (d *deployment) kill() {
	_ = d.process.Process.Kill()
	_ = d.wait()
}

// wait waits for the process to end by itself.
func (d *deployment) wait() error {
	select {
	case err := <-d.gone:
		d.process = nil
		return err
	case <-time.After(time.Minute):
		d.t.Fatal("the hub does not stop")
		return nil
	}
}

// phone is every number of the load, with and without its country code, and not the digits of a fraction.
var phone = regexp.MustCompile(`(?:^|[^0-9.])(?:86)?138000[0-9]{5}(?:[^0-9]|$)`)

// logsAreClean fails if a number that went through the hub stands in its log or on its metrics page.
func (d *deployment) logsAreClean() {
	d.t.Helper()
	text, err := os.ReadFile(d.log)
	must(d.t, err)
	if !bytes.Contains(text, []byte(`"msg":"request"`)) {
		d.t.Error("the log shows no requests, so it proves nothing")
	}
	if at := bytes.Index(text, []byte("WARNING: DATA RACE")); at >= 0 {
		d.t.Errorf("the hub raced:\n%s", text[at:min(at+4000, len(text))])
	}
	page := d.metrics()
	if !bytes.Contains(page, []byte("huanxin_http_requests_total")) {
		d.t.Errorf("the metrics page is empty: %s", page)
	}
	for name, content := range map[string][]byte{"log": text, "metrics page": page} {
		for line := range bytes.Lines(content) {
			if phone.Match(line) {
				d.t.Errorf("a number stands in the %s: %s", name, line)
			}
		}
	}
}

func (d *deployment) metrics() []byte {
	d.t.Helper()
	resp, err := http.Get("http://" + d.OpsListen + "/metrics")
	must(d.t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	must(d.t, err)
	return page
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until f is true: at most five minutes, for the machine may be busy with everything else.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within five minutes: " + what)
		}
	}
}

// feed is a body that is sent piece by piece.
type feed struct {
	*io.PipeReader
	w *io.PipeWriter
}

func newFeed() *feed {
	r, w := io.Pipe()
	return &feed{r, w}
}

func (f *feed) send(text string) { _, _ = io.WriteString(f.w, text) }
func (f *feed) end()             { _ = f.w.Close() }
