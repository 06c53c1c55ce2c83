package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(endEnv); how != "" {
		beTheProcessThatEnds(how)
	}
	os.Exit(pgtest.Main(m))
}

var migrations atomic.Int32

var notes = pgtest.Template{Migrate: func(url string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(context.Background(), "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('migrated')")
	return errors.Join(err, conn.Close(context.Background()))
}}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func do(t testing.TB, conn *pgx.Conn, q string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), q)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask gives the first column of q's rows, joined with commas.
func ask(t testing.TB, conn *pgx.Conn, q string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), q)
	must(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return strings.Join(got, ",")
}

func TestEveryTestHasAMigratedDatabaseOfItsOwn(t *testing.T) {
	var seen sync.Map
	t.Run("at once", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				conn := connect(t, notes.Database(t))
				seen.Store(ask(t, conn, "SELECT current_database()::text"), true)
				do(t, conn, "INSERT INTO notes VALUES ('mine')")
				if got := ask(t, conn, "SELECT text FROM notes ORDER BY text"); got != "migrated,mine" {
					t.Errorf("notes are %s", got)
				}
			})
		}
	})
	if n := migrations.Load(); n != 1 {
		t.Errorf("migrated %d times", n)
	}
	left := ask(t, connect(t, notes.Database(t)), "SELECT datname::text FROM pg_database")
	count := 0
	for name := range seen.Range {
		count++
		if strings.Contains(","+left+",", fmt.Sprintf(",%s,", name)) {
			t.Errorf("%s outlived its test", name)
		}
	}
	if count != 8 {
		t.Errorf("8 tests had %d databases", count)
	}
}

func TestADatabaseIsDroppedUnderItsConnections(t *testing.T) {
	var conn *pgx.Conn
	t.Run("leaves a connection", func(t *testing.T) {
		var err error
		conn, err = pgx.Connect(t.Context(), notes.Database(t))
		must(t, err)
	})
	if conn == nil {
		t.Skip("skipped above")
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the connection still works")
	}
}

func TestTheRoleIsNoSuperuserAndTheServerIsNotReachedByTCP(t *testing.T) {
	var empty pgtest.Template
	conn := connect(t, empty.Database(t))
	for q, want := range map[string]string{
		"SELECT usesuper::text FROM pg_user WHERE usename = current_user":                                "false",
		"SELECT current_setting('listen_addresses')":                                                     "",
		"SELECT current_setting('fsync')":                                                                "off",
		"SELECT current_setting('max_connections')":                                                      "200",
		"SELECT datcollate::text FROM pg_database WHERE datname = current_database()":                    "C.UTF-8",
		"SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()": "UTF8",
	} {
		if got := ask(t, conn, q); got != want {
			t.Errorf("%s\n gives %q, not %q", q, got, want)
		}
	}
	do(t, conn, "CREATE TABLE own (n bigint)") // but it may migrate
}

// witness stands in for a test and records how it was ended.
type witness struct {
	testing.TB
	ended string
}

func (w *witness) Helper()           {}
func (w *witness) Skip(args ...any)  { w.end("skipped: " + fmt.Sprint(args...)) }
func (w *witness) Fatal(args ...any) { w.end("failed: " + fmt.Sprint(args...)) }
func (w *witness) end(how string)    { w.ended = how; runtime.Goexit() }

func endOf(t *testing.T, f func(testing.TB)) string {
	w := &witness{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(w)
	}()
	<-done
	return w.ended
}

func TestAFailedMigrationFailsEveryTestThatNeedsIt(t *testing.T) {
	notes.Database(t) // skips where there is no PostgreSQL
	broken := pgtest.Template{Migrate: func(string) error { return errors.New("no such column") }}
	for range 2 {
		if got := endOf(t, func(w testing.TB) { broken.Database(w) }); got != "failed: migrate the template: no such column" {
			t.Error(got)
		}
	}
}

func TestWithoutPostgreSQLATestIsSkippedButCIFails(t *testing.T) {
	hint := "PostgreSQL is not installed: apt-get install postgresql"
	for ci, want := range map[string]string{"": "skipped: " + hint, "true": "failed: " + hint} {
		t.Setenv("CI", ci)
		if got := endOf(t, func(w testing.TB) { pgtest.Require(w, pgtest.ErrNotInstalled) }); got != want {
			t.Errorf("with CI=%q it %s", ci, got)
		}
	}
}
