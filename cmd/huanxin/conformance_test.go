package main_test

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// shopDatabase makes the database that docs/join.md describes.
func shopDatabase(t *testing.T, dir string) *sql.DB {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "join.md"))
	if err != nil {
		t.Fatal(err)
	}
	schema := regexp.MustCompile("(?s)sqlite3 shop.db <<'SQL'\n(.*?)\nSQL").FindSubmatch(text)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec(string(schema[1])); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestTheCommandsOfTheDocumentOnJoiningRun from nothing to a run that passes, and to what would happen at a real hub.
func TestTheCommandsOfTheDocumentOnJoiningRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := shopDatabase(t, dir)
	h := hubtest.Start(t)
	carrier := h.Carrier("cmcc")
	h.App("shop")
	const number = "+8613800000077"
	now := time.Now().Truncate(time.Second)
	day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	if r, err := carrier.ReportEvents(t.Context(), []client.Event{{ID: "1", Number: number, Kind: "activated", At: day(900), Origin: "first"},
		{ID: "2", Number: number, Kind: "disconnected", At: day(300)}, {ID: "3", Number: number, Kind: "activated", At: day(100), Origin: "reassigned"},
	}, now); err != nil || r.RejectedTotal > 0 {
		t.Fatal(r, err)
	}
	if _, err := carrier.CreateRequest(t.Context(), client.NewRequest{Number: number, StartedAt: day(100), Origin: "reassigned", Control: "sms_otp",
		Identity: "carrier_crm", Verified: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO phone (account, number, first_bound_at, password_login_never) VALUES ('a former holder', '13800000077', '2024-06-01 10:00:00', 1)`); err != nil {
		t.Fatal(err)
	}
	c := h.Credentials("shop")
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", shellOf(t, "join.md"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HUANXIN_URL="+h.URL, "HUANXIN_CLIENT_ID="+c.ID, "HUANXIN_CLIENT_SECRET="+c.Secret)
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "conformance", "company.log"))
		t.Fatalf("%v\n%s\n%s", err, out, log)
	}
	text := string(out)
	for _, want := range []string{"未通过 0", "failed 0", "✓ restart", "the hub knows the app shop", "a former holder  unbound  removed  7"} {
		if !strings.Contains(regexp.MustCompile(`  +`).ReplaceAllString(text, "  "), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if report, err := os.ReadFile(filepath.Join(dir, "conformance", "report.html")); err != nil || !strings.Contains(string(report), "规则一") {
		t.Error("the report:", err)
	}
	if strings.Contains(text, "+86154") {
		t.Error("a number was printed")
	}
}

// TestTheStatementsOfTheDocumentOnJoiningPassOnPostgreSQL, in the schema that it gives.
func TestTheStatementsOfTheDocumentOnJoiningPassOnPostgreSQL(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t, pgtest.Fast)
	url, err := cluster.CreateDatabase("shop")
	must(t, err)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "join.md"))
	must(t, err)
	db, err := sql.Open("pgx", url)
	must(t, err)
	defer db.Close()
	_, err = db.Exec(string(regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(text)[1]))
	must(t, err)
	var script strings.Builder
	for _, file := range regexp.MustCompile(`(?ms)^cat > \S+ <<'(YAML|SQL|SH)'\n.*?^(YAML|SQL|SH)$`).FindAllString(string(text), -1) {
		script.WriteString(file + "\n")
	}
	script.WriteString(`sed -i -e 's|:8099|:8098|' -e 's|driver: sqlite|driver: postgres|' -e "s|dsn: shop.db|dsn: '$(printf %s "$DSN" | sed 's/&/\\&/g')'|" agent.yaml
		huanxin conformance --listen 127.0.0.1:8098 --driver postgres --dsn "$DSN" --seed-sql account.sql --inspect-sql is-key.sql --company 'sh start.sh'`)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "DSN="+url)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "failed 0") {
		log, _ := os.ReadFile(filepath.Join(dir, "conformance", "company.log"))
		t.Fatalf("%v\n%s\n%s", err, out, log)
	}
}

// TestACompanysProgramThatEndsIsNotWaitedFor, and what it said last is shown.
func TestACompanysProgramThatEndsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := run(t, dir, "conformance", "--listen", "127.0.0.1:0", "--seed", "true", "--connect", "1h", "--company", "sh -c 'echo no such table; exit 1'")
	if code != 1 || !strings.Contains(out, "✗ connect") || !strings.Contains(out, "the program ended by itself") || !strings.Contains(out, "no such table") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

func TestConformanceRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "some.sql", "INSERT INTO a VALUES (:nothing)")
	write(t, dir, "query.sql", "SELECT 1 AS is_key")
	for _, c := range []struct {
		code int
		says string
		args string
	}{
		{2, "usage: huanxin conformance", "now"},
		{2, "kind", "--kinds unbind,delete"},
		{2, "without", "--without money"},
		{2, "segment", "--segment 86"},
		{2, "segment", "--segment 15x"},
		{2, "within", "--within 0s"},
		{2, "dsn", "--driver oracle --dsn x"},
		{2, "no such SQLite file", "--driver sqlite --dsn nothing.db"},
		{2, "--driver and --dsn", "--inspect-sql query.sql"},
		{2, "either --inspect or", "--inspect http://127.0.0.1/ --inspect-sql query.sql"},
		{1, "no such file", "--seed-sql nothing.sql"},
		{2, ":nothing", "--listen 127.0.0.1:0 --seed-sql some.sql --seed true"},
		{2, "press Enter", "--listen 127.0.0.1:0"},
		{1, "--seed", "--listen 127.0.0.1:0 --seed false"},
		{1, "not a loopback address", "--listen 0.0.0.0:0 --seed true"},
		{1, "scenarios failed", "--listen 127.0.0.1:0 --seed true --connect 100ms"},
	} {
		code, out, errs := run(t, dir, append([]string{"conformance"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, %s%s", c.args, code, out, errs)
		}
	}
}
