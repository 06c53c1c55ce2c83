package agent

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	maria.stop()
	os.Exit(code)
}

// engines make a database for accounts. Where one is not installed the test is skipped, in CI it fails.
var engines = map[string]func(testing.TB) engine{"sqlite": sqliteEngine, "postgres": postgresEngine, "mysql": mariaEngine}

var postgres pgtest.Template

var postgresSchema = []string{
	`CREATE TABLE bindings (id bigint PRIMARY KEY, account text NOT NULL, number text NOT NULL, bound_at timestamptz, bound_day date, proof_at timestamp,
		proof_never boolean NOT NULL DEFAULT false, same_person text, class text, hold_back text, suspended_by text, detached_at timestamptz,
		detached_by text, token text, true_bound text)`,
	`CREATE INDEX bindings_number ON bindings (number)`,
	`CREATE TABLE acts (id bigint GENERATED ALWAYS AS IDENTITY, binding bigint NOT NULL, task text NOT NULL, what text NOT NULL)`,
	`CREATE TABLE sessions (id bigint PRIMARY KEY, account text NOT NULL, number text NOT NULL, started_at timestamptz NOT NULL, ended_by text)`,
	`CREATE TABLE notices (id bigint GENERATED ALWAYS AS IDENTITY, account text NOT NULL, task text NOT NULL)`,
	`CREATE TABLE labels (id bigint PRIMARY KEY, number text NOT NULL, since timestamptz, grave text, removed_by text)`,
}

func postgresEngine(t testing.TB) engine {
	return engine{driver: "postgres", dsn: postgres.Database(t), schema: postgresSchema,
		open: func(dsn string) (*sql.DB, error) { return openPostgres(dsn, huanxin.China, time.Minute) },
		at:   func(t time.Time) any { return t.In(huanxin.China) }}
}

var mariaSchema = []string{
	`CREATE TABLE bindings (id BIGINT PRIMARY KEY, account VARCHAR(64) NOT NULL, number VARCHAR(20) NOT NULL, bound_at DATETIME(6), bound_day DATE,
		proof_at TIMESTAMP(6) NULL, proof_never BOOLEAN NOT NULL DEFAULT 0, same_person VARCHAR(8), class VARCHAR(32), hold_back VARCHAR(32),
		suspended_by VARCHAR(64), detached_at DATETIME(6), detached_by VARCHAR(64), token VARCHAR(64), true_bound VARCHAR(64), KEY (number)) ENGINE=InnoDB`,
	`CREATE TABLE acts (id BIGINT AUTO_INCREMENT PRIMARY KEY, binding BIGINT NOT NULL, task VARCHAR(64) NOT NULL, what VARCHAR(16) NOT NULL)`,
	`CREATE TABLE sessions (id BIGINT PRIMARY KEY, account VARCHAR(64) NOT NULL, number VARCHAR(20) NOT NULL, started_at DATETIME(6) NOT NULL, ended_by VARCHAR(64))`,
	`CREATE TABLE notices (id BIGINT AUTO_INCREMENT PRIMARY KEY, account VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL)`,
	`CREATE TABLE labels (id BIGINT PRIMARY KEY, number VARCHAR(20) NOT NULL, since DATETIME(6), grave VARCHAR(32), removed_by VARCHAR(64))`,
}

func mariaEngine(t testing.TB) engine {
	t.Helper()
	return engine{driver: "mysql", dsn: maria.database(t), schema: mariaSchema,
		open: func(dsn string) (*sql.DB, error) { return openMySQL(dsn, huanxin.China, time.Minute) },
		at:   func(t time.Time) any { return t.In(huanxin.China) }}
}

// mariaServer is a throw-away server of Debian's package, shared by the tests of this package. It ends with this process.
type mariaServer struct {
	once   sync.Once
	err    error
	dir    string
	cmd    *exec.Cmd
	serial atomic.Int64
}

var maria mariaServer

var errNoMaria = errors.New("MariaDB is not installed: apt-get install mariadb-server")

func (m *mariaServer) database(t testing.TB) (dsn string) {
	t.Helper()
	m.once.Do(func() { m.err = m.start() })
	if errors.Is(m.err, errNoMaria) && os.Getenv("CI") != "true" {
		t.Skip(m.err)
	}
	if m.err != nil {
		t.Fatal(m.err)
	}
	name := fmt.Sprintf("test_%d", m.serial.Add(1))
	db, err := sql.Open("mysql", m.dsn("root", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"CREATE DATABASE " + name, "CREATE USER IF NOT EXISTS agent@localhost IDENTIFIED BY ''",
		"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, DROP, ALTER ON " + name + ".* TO agent@localhost"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	return m.dsn("agent", name)
}

func (m *mariaServer) socket() string { return filepath.Join(m.dir, "sock") }

func (m *mariaServer) dsn(user, database string) string {
	return user + "@unix(" + m.socket() + ")/" + database
}

func (m *mariaServer) start() (err error) {
	server, err := exec.LookPath("mariadbd")
	if err != nil {
		if server = "/usr/sbin/mariadbd"; !exists(server) {
			return errNoMaria
		}
	}
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return errNoMaria
	}
	if m.dir, err = os.MkdirTemp("", "maria"); err != nil { // short: a socket's path has at most 108 bytes
		return err
	}
	data := filepath.Join(m.dir, "data")
	args := []string{"--no-defaults", "--datadir=" + data}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	out, err := exec.Command(install, append(args, "--auth-root-authentication-method=normal", "--skip-test-db")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	m.cmd = exec.Command(server, append(args, "--skip-networking", "--socket="+m.socket(), "--innodb-flush-log-at-trx-commit=0",
		"--innodb-buffer-pool-size=64M", "--log-error="+filepath.Join(m.dir, "log"))...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	db, err := sql.Open("mysql", m.dsn("root", ""))
	if err != nil {
		return err
	}
	defer db.Close()
	for range 600 {
		if err = db.Ping(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return fmt.Errorf("MariaDB does not start: %w: %s", err, log)
}

func (m *mariaServer) stop() {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
	if m.dir != "" {
		_ = os.RemoveAll(m.dir)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
