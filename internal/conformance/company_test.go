package conformance_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/conformance"
)

// company is one with accounts on SQLite and our agent.
type company struct {
	testing.TB
	dir    string
	db     *sql.DB
	config agent.Config
	stop   func()
}

const schema = `
CREATE TABLE users (id TEXT PRIMARY KEY);
CREATE TABLE phones (user TEXT NOT NULL, number TEXT NOT NULL, bound_at TEXT, bound_day DATE, proof_at TEXT, proof_never INTEGER NOT NULL,
	same_person TEXT, class TEXT, suspended_by TEXT, token TEXT, active INTEGER NOT NULL DEFAULT 1, unbound INTEGER NOT NULL DEFAULT 0);
CREATE INDEX phones_number ON phones (number);
`

const seedSQL = `INSERT INTO users (id) VALUES (:account);
INSERT INTO phones (user, number, bound_at, bound_day, proof_at, proof_never, same_person, class)
VALUES (:account, :number_national, :bound_at, :bound_day, :last_proof, :last_proof_never, :same_person, :class)`

const inspectSQL = `SELECT active AND suspended_by IS NULL AS is_key, unbound, EXISTS (SELECT 1 FROM users WHERE id = :account) AS account_exists
FROM phones WHERE user = :account AND number = :number_national`

const statements = `
sql:
  driver: sqlite
  dsn: x
  find: |
    SELECT rowid AS binding, user AS account, bound_at, bound_day, proof_at AS last_proof, proof_never AS last_proof_never, same_person, class
    FROM phones WHERE number = :number_national AND active = 1
  suspend_key: UPDATE phones SET suspended_by = :task WHERE rowid = :binding AND suspended_by IS NULL AND active = 1
  resume_key: UPDATE phones SET suspended_by = NULL WHERE rowid = :binding AND suspended_by = :task
  unbind: UPDATE phones SET active = 0, unbound = unbound + 1, token = :token WHERE rowid = :binding AND active = 1
  restore: UPDATE phones SET active = 1, token = NULL WHERE rowid = :binding AND token = :token
`

func newCompany(t testing.TB, change func(*agent.Config)) *company {
	t.Helper()
	c := &company{TB: t, dir: t.TempDir()}
	path := filepath.Join(c.dir, "accounts.db")
	var err error
	c.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)")
	c.must(err)
	t.Cleanup(func() { _ = c.db.Close() })
	c.db.SetMaxOpenConns(2)
	_, err = c.db.Exec(schema)
	c.must(err)
	c.config, err = agent.ParseConfig([]byte(statements))
	c.must(err)
	c.config.SQL.DSN = path
	c.config.Hub = agent.HubConfig{ClientID: "company", SecretFile: filepath.Join(c.dir, conformance.SecretFile)}
	c.config.State = filepath.Join(c.dir, "state")
	c.config.Timings.HoldEvery, c.config.Timings.Retry, c.config.Timings.RetryMost = agent.Duration(time.Second), agent.Duration(50*time.Millisecond), agent.Duration(time.Second)
	if change != nil {
		change(&c.config)
	}
	return c
}

func (c *company) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// options are those of a quick run against the company.
func (c *company) options() conformance.Options {
	o := conformance.DefaultOptions()
	o.Dir, o.Listen = c.dir, freeAddress(c)
	c.config.Hub.URL = "http://" + o.Listen
	o.Connect, o.Within, o.Quiet = time.Minute, time.Minute, 1500*time.Millisecond
	o.SeedSQL = seedSQL
	o.Inspector = &conformance.SQLInspector{DB: c.db, Statement: inspectSQL}
	o.Seed = c.seed
	o.Start = func(context.Context) error { return c.start() }
	o.Restart = func(context.Context) error { c.halt(); return c.start() }
	c.Cleanup(c.halt)
	return o
}

func (c *company) seed(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(c.dir, conformance.SQLFile))
	if err != nil {
		return err
	}
	_, err = c.db.ExecContext(ctx, string(text))
	return err
}

func (c *company) start() error {
	a, err := agent.Open(c.config, agent.Options{Relaxed: true, Log: slog.New(slog.NewTextHandler(c.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	c.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			c.Error(err)
		}
		if err := a.Close(); err != nil {
			c.Error(err)
		}
	}
	return nil
}

func (c *company) halt() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// judged runs everything and gives the results by code.
func judged(t testing.TB, o conformance.Options) (*conformance.Report, map[string]conformance.Result) {
	t.Helper()
	said := o.Say
	o.Say = func(x conformance.Text) {
		t.Log(x.En)
		if said != nil {
			said(x)
		}
	}
	rep, err := conformance.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]conformance.Result{}
	for _, r := range rep.Results {
		by[r.Code] = r
	}
	return rep, by
}

// fails fails the test unless these scenarios failed, each with something to mend, and no others.
func fails(t testing.TB, rep *conformance.Report, codes ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, c := range codes {
		want[c] = true
	}
	for _, r := range rep.Results {
		switch failed := r.Outcome == conformance.Failed; {
		case failed && !want[r.Code]:
			t.Errorf("%s failed: %s", r.Code, r.Seen.En)
		case !failed && want[r.Code]:
			t.Errorf("%s is %s: %s", r.Code, r.Outcome, r.Seen.En)
		case failed && (r.Fix == nil || r.Fix.Zh == "" || r.Fix.En == "" || r.Why.Zh == "" || r.Seen.Zh == "" || r.Expected.En == ""):
			t.Errorf("%s failed, and it is not said what to mend: %+v", r.Code, r)
		}
	}
}

func noNumber(t testing.TB, text string) {
	t.Helper()
	if i := strings.Index(text, "+86"); i >= 0 {
		t.Errorf("a number is in %s", text[max(0, i-40):min(len(text), i+40)])
	}
}

func (c *company) unbound() (n int) {
	c.Helper()
	c.must(c.db.QueryRow(`SELECT sum(unbound) FROM phones`).Scan(&n))
	return n
}
