package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

// These tests run the program as a script would.

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "huanxin-cmd-")
	if err == nil {
		program = filepath.Join(dir, "huanxin")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// run runs a command in a directory and gives its exit code, standard output and standard error.
func run(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// does runs a command that must succeed and gives what it printed.
func does(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out, errs := run(t, dir, args...)
	if code != 0 {
		t.Fatalf("huanxin %s: exit %d: %s", strings.Join(args, " "), code, errs)
	}
	return strings.TrimSpace(out)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	does(t, dir, "party", "add", "cmcc", "--kind", "carrier", "--name-zh", "移动", "--name-en", "Mobile")
	for _, c := range []struct {
		code int
		says string // on standard error, or with code 0 on standard output
		args string
	}{
		{2, "usage: huanxin COMMAND", ""},
		{2, `there is no command "serv"`, "serv"},
		{2, "there is no command", "--version"},
		{0, "usage: huanxin COMMAND", "help"},
		{0, "usage: huanxin COMMAND", "--help"},
		{0, "huanxin ", "version"},
		{2, "usage: huanxin version", "version now"},
		{2, "usage: huanxin serve", "serve now"},
		{2, "usage: huanxin serve", "serve --prot 1"},
		{2, "party add|disable|enable|hold|release|feed|list", "party"},
		{2, "party add|disable|enable|hold|release|feed|list", "party remove x"},
		{2, "--start=yes", "party feed x"},
		{2, "--start=yes", "party feed x --start=maybe"},
		{1, "no such party", "party feed nobody --start=yes"},
		{2, "usage: huanxin party add", "party add"},
		{2, "usage: huanxin party add", "party add x y --kind app"},
		{2, "kind", "party add x --kind person --name-zh a --name-en a"},
		{2, "kind", "party add x --name-zh a --name-en a"},
		{2, "unknown_kind", "party add x --kind app --kinds unbind,delete --name-zh a --name-en a"},
		{2, "name", "party add x --kind app"},
		{2, "id", "party add X_1 --kind app --name-zh a --name-en a"},
		{2, "cooling_days", "party add x --kind carrier --cooling-days 30 --name-zh a --name-en a"},
		{2, "", "party add x --kind app --name-zh a --name-en a --contact-webhook http://127.0.0.1/"},
		{1, "no such party", "party disable nobody"},
		{1, "no such party", "client add x --party nobody --secret"},
		{1, "no such client", "client rotate nobody"},
		{1, "no such client", "client limit nobody --checks-per-day 5"},
		{1, "no such file", "client rotate nobody --jwks nothing.json"},
		{2, "checks-per-second", "client limit nobody"},
		{2, "-1 for none", "client limit nobody --checks-per-day -2"},
		{2, "-1 for none", "client limit nobody --checks-per-day 5 --checks-per-second -9"},
		{2, "client add|feed|keygen|limit|list|rotate", "client"},
		{2, "--subjects none|default", "client feed x"},
		{2, "none or default", "client feed x --subjects all"},
		{2, "alg", "client feed x --alg HS256"},
		{1, "no such client", "client feed nobody --subjects none"},
		{1, "no such client", "client feed nobody --alg EdDSA"},
		{2, "stream enable|list|pause|replay", "stream"},
		{2, "--dead or --from", "stream replay st_x"},
		{2, "--dead or --from", "stream replay st_x --dead --from 2026-11-27T08:00:00Z"},
		{2, "is a time", "stream replay st_x --from yesterday"},
		{1, "no such stream", "stream replay st_x --dead"},
		{2, "usage: huanxin stream pause", "stream pause"},
		{1, "no such stream", "stream pause st_x"},
		{1, "no such stream", "stream enable +8613800000001"},
		{2, "key rotate", "key"},
		{1, "no such file", "serve --config nothing.yaml"},
		{1, "not a loopback address", "serve --listen 0.0.0.0:0"},
		{1, "listen:", "serve --listen 127.0.0.1"},
	} {
		code, out, errs := run(t, dir, strings.Fields(c.args)...)
		text := errs
		if c.code == 0 {
			text = out
		}
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("huanxin %s: exit %d, want %d with %q: %s%s", c.args, code, c.code, c.says, out, errs)
		}
		if strings.Contains(errs, "goroutine ") {
			t.Errorf("huanxin %s panicked: %s", c.args, errs)
		}
	}
}

func TestOnlyServeAndPartyAddMakeAHub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "keys", "{}")
	for _, args := range []string{"party list", "party disable x", "party enable x", "party replica x whole", "client list", "client add x --party y --secret", "client add x --party y --jwks keys",
		"client rotate x", "client limit x --checks-per-day 5", "client feed x --subjects none", "party feed x --start=no", "stream list", "stream pause x", "stream replay x --dead", "key rotate"} {
		for _, where := range []string{"", " --data nowhere"} {
			code, out, errs := run(t, dir, strings.Fields(args+where)...)
			if want := "there is no hub in " + map[string]string{"": "data", " --data nowhere": "nowhere"}[where]; code != 1 || out != "" || !strings.Contains(errs, want) {
				t.Errorf("huanxin %s%s: exit %d: %s%s", args, where, code, out, errs)
			}
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("something was made: %v", names)
	}
	does(t, dir, "party", "add", "cmcc", "--kind", "carrier", "--name-zh", "移动", "--name-en", "Mobile")
	does(t, dir, "party", "list")
	must(t, os.Remove(filepath.Join(dir, "data", "keys.json")))
	if code, _, errs := run(t, dir, "party", "list"); code != 1 || !strings.Contains(errs, "keys.json") {
		t.Errorf("without its keys: exit %d: %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "keys.json")); err == nil {
		t.Error("a hub got new keys: nothing that was sealed opens any more")
	}
}

// hub is a running "huanxin serve".
type hub struct {
	t   *testing.T
	url string
	cmd *exec.Cmd
	end chan error
}

// serve starts a hub in a directory and waits until it serves.
func serve(t *testing.T, dir string, args ...string) *hub {
	t.Helper()
	h := &hub{t: t, cmd: exec.Command(program, append([]string{"serve"}, args...)...), end: make(chan error, 1)}
	h.cmd.Dir = dir
	log, err := h.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				serving <- line.URL
			}
		}
		h.end <- h.cmd.Wait()
	}()
	t.Cleanup(func() { _ = h.cmd.Process.Kill() })
	select {
	case h.url = <-serving:
	case err := <-h.end:
		t.Fatal("the hub ended:", err)
	case <-time.After(time.Minute):
		t.Fatal("the hub does not serve")
	}
	return h
}

// stop sends SIGTERM, upon which the hub ends with exit code 0.
func (h *hub) stop() {
	h.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	select {
	case err := <-h.end:
		if err != nil {
			h.t.Error("the hub stopped badly:", err)
		}
	case <-time.After(time.Minute):
		h.t.Fatal("the hub does not stop")
	}
}

// token asks for a token and says whether there was one.
func (h *hub) token(id, secret string) bool {
	_, err := client.New(client.Options{URL: h.url, ID: id, Secret: secret, HTTP: http.DefaultClient}).Token(h.t.Context())
	return err == nil
}

// within waits until f is true and fails if that takes longer than 5 seconds.
func within5s(t *testing.T, what string, f func() bool) {
	t.Helper()
	for began := time.Now(); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("not within 5 seconds: " + what)
		}
	}
}

func TestServeWithNothingConfiguredStartsAgainAndAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		h := serve(t, dir, "--listen", "127.0.0.1:0")
		resp, err := http.Get(h.url + "/readyz")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		if code, _, errs := run(t, dir, "serve", "--listen", strings.TrimPrefix(h.url, "http://")); code != 1 || !strings.Contains(errs, "address already in use") {
			t.Errorf("a second hub on the same address: exit %d: %s", code, errs)
		}
		h.stop()
	}
	for name, mode := range map[string]os.FileMode{"data": 0o700 | os.ModeDir, "data/keys.json": 0o600, "data/huanxin.db": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// limitsPayOne changes the limits of the client pay-1 one after the other, and lists them.
func limitsPayOne(t *testing.T, dir string) {
	t.Helper()
	for _, step := range [][2]string{ // what is not given stays
		{"--checks-per-day 5", "pay-1: checks a second: default, checks a day: 5"},
		{"--checks-per-second -1", "pay-1: checks a second: unlimited, checks a day: 5"},
		{"--checks-per-day 0 --checks-per-second 7", "pay-1: checks a second: 7, checks a day: default"},
		{"--checks-per-day -1", "pay-1: checks a second: 7, checks a day: unlimited"},
	} {
		if got := does(t, dir, append([]string{"client", "limit", "pay-1"}, strings.Fields(step[0])...)...); got != step[1] {
			t.Errorf("client limit pay-1 %s: %s", step[0], got)
		}
	}
	if list := does(t, dir, "client", "list"); !regexp.MustCompile(`(?m)^pay-1 +pay +active +secret +7 +unlimited +ES256 +numbers.check .*tasks.work`).MatchString(list) {
		t.Errorf("client list:\n%s", list)
	}
}

func TestTheOperatorKeepsStreamsBesideARunningHub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := serve(t, dir, "--listen", "127.0.0.1:0")
	does(t, dir, "party", "add", "pay", "--kind", "app", "--name-zh", "支付", "--name-en", "Pay")
	secret := does(t, dir, "client", "add", "pay-1", "--party", "pay", "--secret")
	within5s(t, "the new client gets a token", func() bool { return h.token("pay-1", secret) })
	c := client.New(client.Options{URL: h.url, ID: "pay-1", Secret: secret, HTTP: http.DefaultClient})
	s, err := c.CreateStream(t.Context(), client.StreamConfig{PushTo: "https://pay.example.com/ssf"})
	must(t, err)
	_, err = c.CreateStream(t.Context(), client.StreamConfig{})
	must(t, err)
	list := does(t, dir, "stream", "list")
	for _, want := range []string{`(?m)^` + s.ID + ` +pay +pay-1 +push +enabled +0 +\S+Z *$`, `(?m)^st_\w+ +pay +pay-1 +poll +enabled +0 `} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("stream list does not match %s:\n%s", want, list)
		}
	}
	does(t, dir, "stream", "pause", s.ID, "--reason", "a\x1b[31m\nmove")
	if list := does(t, dir, "stream", "list"); !regexp.MustCompile(`(?m)^` + s.ID + ` .* paused .* \(hub\) a \[31m move$`).MatchString(list) {
		t.Errorf("stream list:\n%s", list)
	}
	if at, err := c.StreamStatus(t.Context(), s.ID); err != nil || at.Status != "paused" || at.Reason != "a\x1b[31m\nmove" {
		t.Errorf("the receiver sees %+v, %v", at, err)
	}
	does(t, dir, "stream", "enable", s.ID)
	if at, err := c.StreamStatus(t.Context(), s.ID); err != nil || at.Status != "enabled" {
		t.Errorf("the receiver sees %+v, %v", at, err)
	}
	does(t, dir, "client", "feed", "pay-1", "--subjects", "none", "--alg", "EdDSA")
	does(t, dir, "party", "feed", "pay", "--start=yes")
	if list := does(t, dir, "client", "list"); !regexp.MustCompile(`(?m)^pay-1 .* EdDSA,added +numbers`).MatchString(list) {
		t.Errorf("client list:\n%s", list)
	}
	if list := does(t, dir, "party", "list"); !regexp.MustCompile(`(?m)^pay .* none +start .*支付`).MatchString(list) {
		t.Errorf("party list:\n%s", list)
	}
	does(t, dir, "client", "feed", "pay-1", "--subjects", "default")
	does(t, dir, "party", "feed", "pay", "--start=no")
	if list := does(t, dir, "client", "list") + does(t, dir, "party", "list"); regexp.MustCompile(`,added|start`).MatchString(list) {
		t.Errorf("what was taken back:\n%s", list)
	}
}

func TestTheRegistryIsKeptBesideARunningHub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := serve(t, dir, "--listen", "127.0.0.1:0")
	does(t, dir, "party", "add", "cmcc", "--kind", "carrier", "--name-zh", "移动", "--name-en", "China Mobile")
	does(t, dir, "party", "add", "--kind", "app", "--name-zh", "支付", "--name-en", "Pay", "--class", "payment", "--kinds", "unbind,clear_label", "pay")
	if code, _, errs := run(t, dir, "party", "add", "pay", "--kind", "app", "--name-zh", "x", "--name-en", "x"); code != 1 || !strings.Contains(errs, "already") {
		t.Errorf("a party that is there: exit %d: %s", code, errs)
	}
	list := does(t, dir, "party", "list")
	for _, want := range []string{`(?m)^cmcc +carrier +active`, `(?m)^pay +app +active +payment +unbind,clear_label .*支付 / Pay$`} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("party list does not match %s:\n%s", want, list)
		}
	}

	secret := does(t, dir, "client", "add", "pay-1", "--party", "pay", "--secret")
	if len(secret) != 43 {
		t.Errorf("the secret has %d characters", len(secret))
	}
	within5s(t, "the new client gets a token", func() bool { return h.token("pay-1", secret) })
	for _, args := range []string{"client add pay-1 --party pay --secret", "client add pay-2 --party pay", "client add pay-2 --party pay --secret --scopes requests.create"} {
		if code, out, _ := run(t, dir, strings.Fields(args)...); code == 0 || out != "" {
			t.Errorf("huanxin %s: exit %d: %s", args, code, out)
		}
	}

	limitsPayOne(t, dir)
	c := client.New(client.Options{URL: h.url, ID: "pay-1", Secret: secret, HTTP: http.DefaultClient})
	if _, _, err := c.Tasks(t.Context(), "", 1); err != nil {
		t.Error(err)
	}
	next := does(t, dir, "client", "rotate", "pay-1")
	if next == secret || len(next) != 43 {
		t.Error("the secret is the old one, or none")
	}
	within5s(t, "the old secret stops", func() bool { return !h.token("pay-1", secret) })
	if !h.token("pay-1", next) {
		t.Error("the new secret does not do")
	}

	does(t, dir, "party", "disable", "pay")
	within5s(t, "a disabled party's tokens stop", func() bool { _, _, err := c.Tasks(t.Context(), "", 1); return err != nil })
	if h.token("pay-1", next) {
		t.Error("a disabled party gets a token")
	}
	if list := does(t, dir, "client", "list"); !regexp.MustCompile(`(?m)^pay-1 +pay +party disabled `).MatchString(list) {
		t.Errorf("client list:\n%s", list)
	}
	if list := does(t, dir, "party", "list"); !regexp.MustCompile(`(?m)^pay +app +disabled`).MatchString(list) {
		t.Errorf("party list:\n%s", list)
	}
	does(t, dir, "party", "enable", "pay")
	within5s(t, "an enabled one's work again", func() bool { return h.token("pay-1", next) })

	keys := func() (n int) {
		var set struct{ Keys []any }
		resp, err := http.Get(h.url + "/jwks.json")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
			t.Fatal(err)
		}
		return len(set.Keys)
	}
	if keys() != 1 {
		t.Errorf("%d keys before a rotation", keys())
	}
	does(t, dir, "key", "rotate")
	within5s(t, "the next key is published", func() bool { return keys() == 2 })
	if !h.token("pay-1", next) {
		t.Error("no token after a rotation")
	}
	h.stop()
	if again := serve(t, dir, "--listen", "127.0.0.1:0"); !again.token("pay-1", next) {
		t.Error("no token after a restart")
	}
}
