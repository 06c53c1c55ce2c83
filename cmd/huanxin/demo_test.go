package main_test

import (
	"bufio"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// stillDemo starts the demo world in a directory whose name a shell must be careful with, and gives its URL.
func stillDemo(t *testing.T) (url, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "the visitor's world")
	cmd := exec.Command(program, "demo", "--still", "--listen", "127.0.0.1:0", "--data", dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("%q %v %s", line, err, errs.String())
	}
	return url, dir
}

// printed gives the commands that the demo's start page shows, as a visitor would copy them.
func printed(t *testing.T, url string) (shells []string) {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, m := range regexp.MustCompile(`(?s)<pre[^>]*>(.*?)</pre>`).FindAllStringSubmatch(string(page), -1) {
		shells = append(shells, html.UnescapeString(m[1]))
	}
	return shells
}

// inShell runs commands in a directory, and with no huanxin in the PATH but what they put there themselves.
func inShell(t *testing.T, dir string, commands ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", strings.Join(commands, "\n"))
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HUANXIN_") }), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n---\n%s", err, strings.Join(commands, "\n"), out)
	}
	return string(out)
}

// shows are patterns of what the commands of the start page print, one for each block after the first.
var shows = []struct{ what, pattern string }{
	{"a request", `(?s)"state": "SUBMITTED".*"view": "processing".*"kind": "unbind"`},
	{"a stream", `(?s)"method": "urn:ietf:rfc:8936".*"typ": "secevent\+jwt".*"state": "hello".*"sets": \{\}`},
	{"one check", `(?s)outcome: CHANGED .*reason: reassigned.*outcome: UNKNOWN .*reason: before_coverage`},
	{"many checks", `(?s)"unchanged","outcome":"UNCHANGED".*"no_holder","outcome":"NO_HOLDER".*"never_seen","outcome":"UNKNOWN".*"covered_since": "20`},
	{"an account base", `(?s)changed: 1\nno holder: 1\nunchanged: 1\nunknown: 3\n.*"changed","\+86\d+","[-\d]+",CHANGED,reassigned`},
	{"a replica", `(?s)56 accepted.*numbers: 56 numbers .*numbers: whole, and signed by http.*all: 3\d\d\d numbers .*scope +whole`},
	{"CAMARA", `^\{"phoneNumberRecycled":true\}\s*$`},
	{"a bound token", `"phoneNumberRecycled":(true|false)\}\s*$`},
	{"the operator", `(?m)^ID .*\n(.*\n)*tingdu-pay .* uploaded `},
}

func TestTheCommandsOfTheDemosPagesRun(t *testing.T) {
	url, dir := stillDemo(t)
	zh, en := printed(t, url+"/?lang=zh"), printed(t, url+"/?lang=en")
	if !slices.Equal(zh, en) {
		t.Error("the commands differ from one language to the other")
	}
	if len(zh) != 1+len(shows) {
		t.Fatalf("%d blocks", len(zh))
	}
	for i, s := range shows {
		out := inShell(t, t.TempDir(), zh[0], zh[1+i])
		if !regexp.MustCompile(s.pattern).MatchString(out) {
			t.Errorf("%s printed\n%s", s.what, out)
		}
	}
	// Again, and in one terminal; only the request is refused then, for a tenure has one a day.
	if out := inShell(t, t.TempDir(), append(zh[:1:1], zh[2:]...)...); !strings.Contains(out, "phoneNumberRecycled") {
		t.Errorf("again\n%s", out)
	}
	if left, err := os.ReadDir(dir); err != nil || !slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "try" }) {
		t.Errorf("a visitor's files: %v %v", left, err)
	}

	for doc, c := range map[string]struct{ block, pattern string }{"camara.md": {"a bound token", `"phoneNumberRecycled":(true|false)\}\s*$`},
		"feed.md": {"a stream", `(?s)"method": "urn:ietf:rfc:8936".*"sets": \{\}`}} { // another verification in the same minute is refused
		t.Run("docs/"+doc, func(t *testing.T) {
			at := slices.IndexFunc(shows, func(s struct{ what, pattern string }) bool { return s.what == c.block })
			commands := shellOf(t, doc)
			if !strings.Contains(commands, zh[1+at]) {
				t.Error("the start page and the document show different commands")
			}
			work := t.TempDir()
			must(t, os.Symlink(dir, filepath.Join(work, "demo-data")))
			if out := inShell(t, work, commands); !regexp.MustCompile(c.pattern).MatchString(out) {
				t.Errorf("it printed\n%s", out)
			}
		})
	}
}

func TestADemoThatCannotBeServedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, _, errs := run(t, dir, "demo", "--listen", "0.0.0.0:8080")
	if code != 2 || !strings.Contains(errs, "ssh -L") || strings.Contains(errs, "behind_proxy") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
