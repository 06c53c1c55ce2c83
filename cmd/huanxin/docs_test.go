package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// shellOf gives the sh blocks of a document.
func shellOf(t *testing.T, doc string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", doc))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return strings.Join(blocks, "\n")
}

func TestTheCommandsOfTheDocumentOnMatchingRun(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	shop := a.Client("shop")
	if _, err := shop.UploadReplicaNumbers(t.Context(), []string{kept, recycled, handed, nobodys, came, unseen}); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Pull(t.Context(), shop, filepath.Join(dir, "numbers.replica"), replica.Wanted{Issuer: a.URL, Audience: "shop"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(accounts(), "\n")
	write(t, dir, "accounts.csv", strings.Join(lines[:len(lines)-4], "")) // without the bad ones
	write(t, dir, "number.txt", kept+"\n")

	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", shellOf(t, "match.md"))
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), a.env...), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	changed, unknown := sorted(false)
	holds(t, dir, "changed.csv", changed)
	holds(t, dir, "unknown.csv", unknown)
	holds(t, dir, "unknown-2.csv", unknown)
	holds(t, dir, "changed-3.csv", changed)
	holds(t, dir, "unknown-3.csv", unknown)
	holds(t, dir, "unknown-4.csv", unknown)
	if piped, err := os.ReadFile(filepath.Join(dir, "changed-4.csv")); err != nil || string(piped) != changed {
		t.Errorf("through pipes: %q", piped)
	}
	if !strings.Contains(string(out), "outcome: CHANGED") {
		t.Errorf("%s", out)
	}
}

func TestTheCommandsOfTheDocumentOnHoldersRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", "huanxin party add cmcc --kind carrier --name-zh 移动 --name-en Mobile\n"+shellOf(t, "holders.md")+"huanxin party list\n")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OPENED") || !regexp.MustCompile(`later-app +app +active`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheCommandsOfTheDocumentOnTheGuardRun(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	if _, err := a.Client("shop").UploadReplicaNumbers(t.Context(), []string{kept, recycled}); err != nil {
		t.Fatal(err)
	}
	// Other tests, and other programs, may listen on the port of the document.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	free := l.Addr().String()
	must(t, l.Close())
	shell := strings.ReplaceAll(shellOf(t, "guard.md"), "127.0.0.1:8090", free)
	shell = strings.NewReplacer("2024-06-01T10:00:00+08:00", ago(100).Format(time.RFC3339), "2024-06-01", date(ago(100))).Replace(shell)
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", shell)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), a.env...), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`{"decision":"allow","reason":"unchanged","source":`, `{"decision":"block","reason":"reassigned","source":`,
		`huanxin_guard_decisions_total{decision="allow",reason="unchanged",source=`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %s:\n%s", want, out)
		}
	}
}
