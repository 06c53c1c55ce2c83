package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// sidecar is a `huanxin guard` that runs.
type sidecar struct {
	t     *testing.T
	ready []string // what it listens on
	log   *strings.Builder
	stop  func()
}

func (a *asker) guard(t *testing.T, dir string, args ...string) *sidecar {
	t.Helper()
	cmd := exec.Command(program, append([]string{"guard"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), a.env...)
	s := &sidecar{t: t, log: &strings.Builder{}}
	cmd.Stderr = s.log
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the guard ended: %v %s", err, s.log)
		}
		for _, n := range []string{kept, recycled, handed, nobodys, came, unseen} {
			if strings.Contains(s.log.String(), n[3:]) {
				t.Errorf("a number in the log: %s", s.log)
			}
		}
	}
	t.Cleanup(s.stop)
	r := bufio.NewReader(out)
	want := 1
	for _, a := range args {
		if a == "--socket" {
			want++
		}
	}
	for range want {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q %v %s", line, err, s.log)
		}
		s.ready = append(s.ready, strings.TrimPrefix(strings.TrimSpace(line), "ready "))
	}
	return s
}

// decides asks over TCP, or over the socket if there is one.
func decides(t *testing.T, url, socket, number, bound string) string {
	t.Helper()
	tr := &http.Transport{}
	if socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Post(url+"/decide", "application/json", strings.NewReader(`{"number":"`+number+`","bound_at":"`+bound+`"}`))
	must(t, err)
	defer resp.Body.Close()
	var a struct{ Decision, Reason, Source string }
	must(t, json.NewDecoder(resp.Body).Decode(&a))
	return a.Decision + " " + a.Reason + " " + a.Source
}

func TestTheGuardIsAskedFromNode(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	a := startAsker(t)
	s := a.guard(t, t.TempDir(), "--listen", "127.0.0.1:0", "--deadline", "10s")
	questions, err := json.Marshal([][]string{
		{kept, date(ago(100))},
		{recycled, date(ago(100))},
		{recycled, date(ago(20))},
		{recycled, date(ago(100)), date(ago(20))},
		{handed, date(ago(100))},
		{nobodys, date(ago(100))},
		{came, date(ago(100))},
		{unseen, date(ago(100))},
		{kept},
		{"13800300001", date(ago(100))},
		{kept, "some day"},
	})
	must(t, err)
	ask := func(url string) string {
		cmd := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "guard.mjs"))
		cmd.Env = append(os.Environ(), "GUARD_URL="+url, "QUESTIONS="+string(questions))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	want := "allow unchanged 9 1\nblock reassigned 9 1\nallow unchanged 9 1\nstep_up proved_since 9 1\nstep_up transferred 9 1\nstep_up no_holder 9 1\n" +
		"step_up before_coverage 9 1\nstep_up never_seen 9 1\nstep_up bound_at_unknown null null\nstep_up number_malformed null null\nstep_up malformed_time null null"
	// Answers take a second or less, but for a machine that is very busy.
	if got := regexp.MustCompile(`(?m) [1-9]$`).ReplaceAllString(ask("http://"+s.ready[0]), " 1"); got != want {
		t.Errorf("Node is told\n%s\nwant\n%s", got, want)
	}
	s.stop()
	for line := range strings.SplitSeq(ask("http://"+s.ready[0]), "\n") {
		if !strings.HasPrefix(line, "step_up no_answer") {
			t.Error("without a guard:", line)
		}
	}
}

func TestTheGuardFollowsAReplicaAndListensOnASocket(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	if _, err := a.Client("shop").UploadReplicaNumbers(t.Context(), []string{kept, recycled, handed, nobodys, came}); err != nil {
		t.Fatal(err)
	}
	s := a.guard(t, dir, "--listen", "127.0.0.1:0", "--socket", "guard.sock", "--replica", "numbers")
	url, socket := "http://"+s.ready[0], filepath.Join(dir, "guard.sock")
	within5s(t, "it answers from its replica", func() bool {
		return decides(t, url, "", kept, date(ago(100))) == "allow unchanged replica"
	})
	if got := decides(t, "http://guard", socket, recycled, date(ago(100))); got != "block reassigned replica" {
		t.Error("over the socket:", got)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Error(info.Mode(), err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `huanxin_guard_decisions_total{decision="block",reason="reassigned",source="replica"} 1`} {
		resp, err := http.Get(url + path)
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		_ = resp.Body.Close()
		if !strings.Contains(string(text), want) || strings.Contains(string(text), kept[3:]) {
			t.Errorf("%s says %s", path, text)
		}
	}
	if code, _, errs := a.run(t, dir, "", nil, "guard", "--listen", "", "--socket", "guard.sock"); code != 1 || !strings.Contains(errs, "another process listens") {
		t.Errorf("a second guard: exit %d: %s", code, errs)
	}

	// The hub goes; the replica answers on, also in a guard that starts anew.
	a.Stop()
	if got := decides(t, url, "", kept, date(ago(101))); got != "allow unchanged replica" {
		t.Error("without the hub:", got)
	}
	if got := decides(t, url, "", unseen, date(ago(100))); !strings.HasPrefix(got, "step_up hub_") {
		t.Error("without the hub:", got)
	}
	s.stop()
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Error("the socket is left over:", err)
	}
	again := a.guard(t, dir, "--listen", "127.0.0.1:0", "--replica", "numbers", "--no-pull")
	within5s(t, "it answers from what is on the disk", func() bool {
		return decides(t, "http://"+again.ready[0], "", kept, date(ago(100))) == "allow unchanged replica"
	})
	again.stop()
	old := a.guard(t, dir, "--listen", "127.0.0.1:0", "--replica", "numbers", "--no-pull", "--max-age", "1ms")
	within5s(t, "an old replica vouches for nobody", func() bool {
		got := decides(t, "http://"+old.ready[0], "", kept, date(ago(100)))
		if strings.Contains(got, "allow") {
			t.Error("an old replica:", got)
		}
		resp, err := http.Get("http://" + old.ready[0] + "/metrics")
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(text), "huanxin_guard_replica_age_seconds") // it is in memory
	})
}

func TestTheGuardLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	write(t, dir, "secret", "0123456789abcdef0123456789abcdef\n")
	write(t, dir, "short", "1234\n")
	for args, want := range map[string]string{
		"guard --listen 0.0.0.0:0":                            "2 would let other machines in",
		"guard --listen :0":                                   "2 would let other machines in",
		"guard --listen 0.0.0.0:0 --secret-file secret":       "2 would let other machines in",
		"guard --listen 127.0.0.1:0 --tls-cert x":             "2 go together",
		"guard --listen 127.0.0.1:0 --max-age 0":              "2 more than 0",
		"guard --listen 0.0.0.0:0 --tls-cert x --tls-key x":   "2 would let other machines in",
		"guard --listen 127.0.0.1:0 --secret-file short":      "2 at least 16",
		"guard --listen 127.0.0.1:0 --secret-file nothing":    "1 no such file",
		"guard --listen 127.0.0.1":                            "2 is no address",
		"guard --listen=":                                     "2 where to listen",
		"guard --listen 127.0.0.1:0 --hub http://hub.example": "2 must be https",
		"guard --listen 127.0.0.1:0 --replica no/such/file":   "1 no such file",
		"guard --listen= --socket secret":                     "1 there is something else",
		"guard now":                                           "2 usage: huanxin guard",
	} {
		code, out, errs := a.run(t, dir, "", nil, strings.Fields(args)...)
		if got := string(rune('0' + code)); !strings.HasPrefix(want, got+" ") || !strings.Contains(errs, want[2:]) {
			t.Errorf("huanxin %s: exit %d, want %s: %s%s", args, code, want, out, errs)
		}
	}
	if code, _, errs := run(t, dir, "guard", "--listen", "127.0.0.1:0"); code != 2 || !strings.Contains(errs, "HUANXIN_URL") {
		t.Errorf("without a hub: exit %d: %s", code, errs)
	}

	// With a certificate and a secret others may be let in.
	must(t, exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=guard",
		"-addext", "subjectAltName=IP:127.0.0.1", "-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem")).Run())
	s := a.guard(t, dir, "--listen", "0.0.0.0:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--secret-file", "secret", "--deadline", "10s")
	_, port, err := net.SplitHostPort(s.ready[0])
	must(t, err)
	ask := func(secret string) string {
		cmd := exec.CommandContext(t.Context(), "curl", "-s", "--cacert", filepath.Join(dir, "cert.pem"), "-H", "Content-Type: application/json", "-H", "Authorization: Bearer "+secret,
			"-d", `{"number":"`+kept+`","bound_at":"`+date(ago(100))+`"}`, "https://127.0.0.1:"+port+"/decide")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := ask("0123456789abcdef0123456789abcdef"); !strings.Contains(got, `"allow"`) {
		t.Error(got)
	}
	if got := ask("0123456789abcdef0123456789abcdee"); !strings.Contains(got, `"step_up"`) || !strings.Contains(got, "unauthenticated") {
		t.Error(got)
	}
}
