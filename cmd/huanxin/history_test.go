package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/auth"
)

// shell runs commands against a hub as a carrier's script would.
type shell struct {
	t   *testing.T
	dir string
	env []string
	hub *hubtest.Hub
}

func newShell(t *testing.T) *shell {
	hub := hubtest.Start(t)
	hub.Carrier("cmcc")
	c := hub.Credentials("cmcc")
	return &shell{t, t.TempDir(), []string{"HUANXIN_URL=" + hub.URL, "HUANXIN_CLIENT_ID=" + c.ID, "HUANXIN_CLIENT_SECRET=" + c.Secret, "LANG=en_US.UTF-8"}, hub}
}

func (s *shell) command(ctx context.Context, input string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

// run runs a command and checks its exit code, and that what it says has some words and no number.
func (s *shell) run(code int, says string, input string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd, out, errs := s.command(ctx, input, args...)
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	text := out.String() + errs.String()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(text, says) {
		s.t.Errorf("huanxin %s: exit %d, want %d with %q:\n%s", strings.Join(args, " "), got, code, says, text)
	}
	if strings.Contains(text, "138000") {
		s.t.Errorf("huanxin %s says a number:\n%s", strings.Join(args, " "), text)
	}
	return text
}

func (s *shell) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func historyFile(n int) string {
	var b strings.Builder
	b.WriteString("number,tenure_started_at,origin\n")
	for i := range n {
		fmt.Fprintf(&b, "+86%d,2020-03-01,%s\n", 13_800_000_000+i, []string{"first", "reassigned", "transferred", "unknown"}[i%4])
	}
	return b.String()
}

func TestHistoryIsImportedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("good.csv", historyFile(1500))
	text := s.run(0, "1,500 lines: 1,500 accepted, 0 known already, 0 refused", "", "import-history", "--in", "good.csv")
	if !strings.Contains(text, "--covered-since") {
		t.Errorf("it does not say that nothing is covered: %s", text)
	}
	s.run(0, "loaded before", "", "import-history", "--in", "good.csv")
	s.run(0, "changes of holder are known since: 2015-06-30; everything is told until: 2026-01-01T00:00:00+08:00", "", "import-history", "--in", "good.csv",
		"--covered-since", "2015-06-30", "--complete-until", "2026-01-01T00:00:00+08:00")
	s.run(0, "0 accepted, 1,500 known already", "", "import-history", "--in", "good.csv", "--restart")
	s.run(0, "10 lines: 0 accepted, 10 known already", historyFile(10), "import-history", "--in", "-")

	s.write("bad.csv", historyFile(3)+"+8613800000003,yesterday,first\n+861440012345678,2020-03-01,first\n13800000005,2020-03-01,first\n")
	text = s.run(3, "3 lines were refused", "", "import-history", "--in", "bad.csv", "--rejected", "rejected.csv", "--covered-since", "2010-01-01", "--progress", "p.json")
	for _, want := range []string{"malformed_time ", "number_kind_unsupported ", "number_malformed ", "listed in rejected.csv", "was not stated"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	rejected, err := os.ReadFile(filepath.Join(s.dir, "rejected.csv"))
	if err != nil || !strings.HasPrefix(string(rejected), "line,code,detail,id\n5,malformed_time,") || strings.Count(string(rejected), "\n") != 4 || strings.Contains(string(rejected), "3800000003") || strings.Contains(string(rejected), "3800000005") {
		t.Errorf("%v: %s", err, rejected)
	}
	for _, name := range []string{"p.json", "good.csv.progress"} {
		if _, err := os.Stat(filepath.Join(s.dir, name)); err != nil {
			t.Error(err)
		}
	}
	s.env = append(s.env, "LC_ALL=zh_CN.UTF-8")
	s.run(3, "共 6 行:接受 0 行,已知 3 行,拒绝 3 行", "", "import-history", "--in", "bad.csv", "--restart")
	s.run(0, "机主变更自何日起全部可知:2012-01-01", "number,tenure_started_at,origin\n", "import-history", "--in", "-", "--covered-since", "2012-01-01")
}

func TestWrongUsesOfImportHistory(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("good.csv", historyFile(1))
	s.write("bad.csv", "number,since\n")
	for _, c := range []struct {
		code int
		says string
		args string
	}{
		{2, "--in FILE", ""},
		{2, "usage: huanxin import-history", "good.csv"},
		{2, "usage: huanxin import-history", "--in good.csv --out x"},
		{2, "--covered-since", "--in good.csv --covered-since always"},
		{2, "--covered-since", "--in good.csv --covered-since 2999-01-01"},
		{2, "--covered-since", "--in good.csv --covered-since 1900-01-01"},
		{2, "--complete-until", "--in good.csv --complete-until 2026-01-01"},
		{2, "--complete-until", "--in good.csv --complete-until 2999-01-01T00:00:00Z"},
		{2, "cannot be gone on with", "--in - --progress x"},
		{2, "cannot be gone on with", "--in - --restart"},
		{1, "no such file", "--in nothing.csv"},
		{1, "bad_header", "--in bad.csv"},
		{1, "is empty", "--in -"},
		{1, "no such file", "--in good.csv --rejected nowhere/x.csv"},
	} {
		s.run(c.code, c.says, "", append([]string{"import-history"}, strings.Fields(c.args)...)...)
	}
	all := s.env
	for i, says := range []string{"HUANXIN_URL", "HUANXIN_CLIENT_ID", "HUANXIN_CLIENT_SECRET"} {
		s.env = append(append([]string(nil), all[:i]...), all[i+1:]...)
		s.run(2, says, "", "import-history", "--in", "good.csv")
	}
	s.env = append(all, "HUANXIN_CLIENT_SECRET=wrong")
	s.run(1, "invalid_client", "", "import-history", "--in", "good.csv")
	s.env = append(all, "HUANXIN_CLIENT_KEY=nothing.pem")
	s.run(2, "set either HUANXIN_CLIENT_SECRET or HUANXIN_CLIENT_KEY", "", "import-history", "--in", "good.csv")
	s.env = append(s.env, "HUANXIN_CLIENT_SECRET=")
	s.run(1, "no such file", "", "import-history", "--in", "good.csv")
}

func TestAnImportMayAuthenticateWithAKey(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	key := auth.NewSigningKey(time.Now())
	private, err := auth.MarshalClientKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.write("key.pem", string(private))
	s.hub.AddClient("cmcc-keyed", "cmcc", publicKeys(t, key))
	s.env = []string{"HUANXIN_CLIENT_ID=cmcc-keyed", "HUANXIN_CLIENT_KEY=key.pem"}
	s.run(0, "5 accepted", historyFile(5), "import-history", "--in", "-", "--hub", s.hub.URL+"/")
}

// TestAnImportThatIsKilledGoesOn kills the command at every piece, by a signal while the piece is on its way and by SIGKILL when it
// was taken and the answer is held back, and starts it again until it is done.
func TestAnImportThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	const n, pieces = 40_000, 3
	s.write("big.csv", historyFile(n))
	to, err := url.Parse(s.hub.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: s.hub.HTTP().Transport}
	var calls, held atomic.Int64
	arrived := make(chan struct{}, 1)
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/history" || calls.Add(1) != held.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		if held.Load()%2 == 0 { // taken, and the answer never comes
			proxy.ServeHTTP(discarded{http.Header{}}, r)
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	})}
	l := listen(t)
	go func() { _ = front.Serve(l) }()
	t.Cleanup(func() { _ = front.Close() })
	args := []string{"import-history", "--in", "big.csv", "--hub", "http://" + l.Addr().String()}
	for piece := int64(1); piece <= pieces; piece++ {
		held.Store(calls.Load() + 1)
		if piece > 1 { // the piece before comes first, for it was not acknowledged
			held.Add(1)
		}
		cmd, _, errs := s.command(t.Context(), "", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-arrived
		signal := syscall.SIGTERM
		if piece%2 == 0 {
			signal = syscall.SIGKILL
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); signal == syscall.SIGTERM && (code != 1 || !strings.Contains(errs.String(), "interrupted")) {
			t.Errorf("exit %d: %s", code, errs)
		}
		var saved struct{ State struct{ Line int64 } }
		if text, err := os.ReadFile(filepath.Join(s.dir, "big.csv.progress")); err == nil {
			if err := json.Unmarshal(text, &saved); err != nil {
				t.Fatal(err)
			}
		}
		if want := (piece - 1) * 16_384; saved.State.Line != want+min(want, 1) {
			t.Errorf("before piece %d was acknowledged line %d was", piece, saved.State.Line)
		}
	}
	held.Store(0)
	text := s.run(0, "40,000 lines: ", "", args...)
	if !strings.Contains(text, "going on behind") || !strings.Contains(text, ", 0 refused") {
		t.Error(text)
	}
	got, err := s.hub.Carrier("cmcc").ImportHistory(t.Context(), &client.HistoryBody{Reader: strings.NewReader(historyFile(n)), Type: "text/csv"}, client.HistoryTold{})
	if err != nil || got.Duplicates != n || got.Accepted != 0 {
		t.Errorf("%v, %+v: something was not loaded", err, got.Receipt)
	}
}

// discarded takes an answer that nobody gets.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) WriteHeader(int)             {}
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func publicKeys(t *testing.T, key auth.SigningKey) []byte {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Private.Public(), KeyID: key.KID, Algorithm: key.Alg, Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
