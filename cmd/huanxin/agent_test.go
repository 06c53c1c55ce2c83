package main_test

import (
	"bufio"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	_ "modernc.org/sqlite" // the driver
)

const agentConfig = `hub: {url: URL, client_id: pay, secret_file: secret}
state: state
delivery: {mode: list}
timings: {hold_every: 1s}
sql:
  driver: sqlite
  dsn: DIR/accounts.db
  find: SELECT id AS binding, account, bound_at, 'yes' AS last_proof_never FROM bindings WHERE number = :number_national AND detached_at IS NULL
  unbind: UPDATE bindings SET detached_at = :now, token = :token WHERE id = :binding AND detached_at IS NULL
  restore: UPDATE bindings SET detached_at = NULL, token = NULL WHERE id = :binding AND token = :token
`

// TestAnAgentIsCheckedTriedRunAndUndone by its commands, from a configuration file.
func TestAnAgentIsCheckedTriedRunAndUndone(t *testing.T) {
	t.Parallel()
	dir, h := t.TempDir(), hubtest.Start(t)
	carrier, app := h.Carrier("cmcc"), h.App("pay")
	const number = "+8613800000001"
	now := time.Now().Truncate(time.Second)
	day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	if _, err := carrier.ReportEvents(t.Context(), []client.Event{
		{ID: "1", Number: number, Kind: "activated", At: day(900), Origin: "first"},
		{ID: "2", Number: number, Kind: "disconnected", At: day(300)},
		{ID: "3", Number: number, Kind: "activated", At: day(100), Origin: "reassigned"},
	}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	made, err := carrier.CreateRequest(t.Context(), client.NewRequest{Number: number, StartedAt: day(100), Origin: "reassigned",
		Control: "sms_otp", Identity: "carrier_crm", Verified: now})
	if err != nil {
		t.Fatal(err)
	}
	task := made.Tasks[0].ID
	db, err := sql.Open("sqlite", filepath.Join(dir, "accounts.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{`CREATE TABLE bindings (id INTEGER PRIMARY KEY, account TEXT, number TEXT, bound_at TEXT, detached_at TEXT, token TEXT)`,
		`CREATE INDEX bindings_number ON bindings (number)`, `INSERT INTO bindings VALUES (1, 'a', '13800000001', '2024-01-01', NULL, NULL)`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	bound := func() (n int) {
		if err := db.QueryRow(`SELECT count(*) FROM bindings WHERE detached_at IS NULL`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	write(t, dir, "agent.yaml", strings.NewReplacer("URL", h.URL, "DIR", dir).Replace(agentConfig))
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(h.Credentials("pay").Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := does(t, dir, "agent", "check"); !strings.Contains(out, "✓ hub") || !strings.Contains(out, "the clock agrees") {
		t.Errorf("%s", out)
	}
	if out := does(t, dir, "agent", "check", "--lang", "zh"); !strings.Contains(out, "✓ 枢纽") || strings.Contains(out, "the clock") {
		t.Errorf("%s", out)
	}
	if out := does(t, dir, "agent", "run", "--dry-run"); !strings.Contains(out, "unbound") || !strings.Contains(out, task) || strings.Contains(out, "13800000001") || bound() != 1 {
		t.Errorf("%s", out)
	}
	stop := starts(t, dir, "agent", "--config", "agent.yaml")
	within5s(t, "the answer", func() bool { seen, err := app.Task(t.Context(), task); return err == nil && seen.State == "answered" })
	if bound() != 0 {
		t.Error("it is bound")
	}
	if out := does(t, dir, "agent", "restore", task); !strings.Contains(out, "rule 15 knows no reason") { // beside the one that runs
		t.Errorf("%s", out)
	}
	stop()
	if out := does(t, dir, "agent", "restore", task, "--owner-verified"); !strings.Contains(out, "restored") || bound() != 1 {
		t.Errorf("%s", out)
	}
	broken := strings.NewReplacer("URL", h.URL, "DIR", dir, "SELECT id AS", "SELECT no_such AS").Replace(agentConfig)
	write(t, dir, "broken.yaml", broken)
	said := startsAndSays(t, dir, "something must be mended", "agent", "--config", "broken.yaml")
	if !strings.Contains(said, "sql.find") || !strings.Contains(said, "no_such") {
		t.Errorf("%s", said)
	}
	write(t, dir, "bad.yaml", "hub: {}\nsql: {driver: sqlite, dsn: x, what: 1}\n")
	if code, _, text := run(t, dir, "agent", "--config", "bad.yaml"); code != 1 || !strings.Contains(text, "line 2") {
		t.Errorf("%d %s", code, text)
	}
}

// startsAndSays runs a command until it says something on standard error, and gives that line.
func startsAndSays(t *testing.T, dir, what string, args ...string) (line string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line = lines.Text(); strings.Contains(line, what) {
			cancel()
			break
		}
	}
	_ = cmd.Wait()
	return line
}

// starts runs a command until stop, which sends SIGTERM and waits.
func starts(t *testing.T, dir string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
