package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
	"github.com/huanxin-platform/huanxin/internal/store/storetest"
)

var migrated = pgtest.Template{Migrate: func(url string) error {
	s, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return s.Close()
}}

var day = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(processEnv); dsn != "" {
		os.Exit(anotherProcess(dsn))
	}
	os.Exit(pgtest.Main(m))
}

// engines gives each engine's name and how a test gets a database of its own.
var engines = []struct {
	name string
	dsn  func(t *testing.T) string
}{
	{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "hub 号?.db") }},
	{"postgres", func(t *testing.T) string { return migrated.Database(t) }},
}

func open(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) *store.Store { return open(t, e.dsn(t)) })
		})
	}
}

func TestADatabaseIsMigratedFromEmptyAndOnlyOnce(t *testing.T) {
	var empty pgtest.Template
	for name, dsn := range map[string]string{"sqlite": engines[0].dsn(t), "postgres": empty.Database(t)} {
		t.Run(name, func(t *testing.T) {
			var versions []int64
			for range 3 {
				s, err := store.Open(t.Context(), dsn)
				must(t, err)
				must(t, s.Write(t.Context(), func(tx *store.Tx) error {
					_, err := tx.PutParty(huanxin.Party{ID: "a", Kind: huanxin.AppParty}, day)
					must(t, err)
					v, err := tx.RegistryVersion()
					versions = append(versions, v)
					return err
				}))
				must(t, s.Ping(t.Context()))
				must(t, s.Close())
			}
			if fmt.Sprint(versions) != "[2 3 4]" {
				t.Errorf("what was written before a migration is gone: %v", versions)
			}
		})
	}
}

func TestHubsThatStartAtOnceOnAnEmptyDatabaseAllStart(t *testing.T) {
	var empty pgtest.Template
	for name, dsn := range map[string]string{"sqlite": engines[0].dsn(t), "postgres": empty.Database(t)} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					s, err := store.Open(t.Context(), dsn)
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestAWrongNameOfADatabaseIsAnErrorWithoutSecrets(t *testing.T) {
	for _, dsn := range []string{"", "sqlite:", "hub.db", "mysql://x", "sqlite:/nowhere/at/all/hub.db",
		"postgres://u:secret@127.0.0.1:1/x?sslmode=bad", "postgres://u:secret@127.0.0.1:1/x", "postgres://u:secret@%zz/"} {
		s, err := store.Open(t.Context(), dsn)
		if err == nil {
			t.Errorf("%q was opened", dsn)
			must(t, s.Close())
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

// raw opens a database past the store.
func raw(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	driver, name := "pgx", dsn
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, name = "sqlite", "file:"+strings.ReplaceAll(strings.ReplaceAll(path, "?", "%3F"), " ", "%20")
	}
	db, err := sql.Open(driver, name)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestTheLogsAreAppendOnly(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.dsn(t)
			s := open(t, dsn)
			must(t, s.Write(t.Context(), func(tx *store.Tx) error {
				first, err := tx.BeginBatch()
				must(t, err)
				must(t, tx.AppendBatch(1, day, []store.Accepted{{Event: huanxin.Event{No: first, Carrier: 1, ID: "a", Number: huanxin.NumberOf(8613800000001), At: day}}}, nil))
				must(t, tx.Audit(store.AuditEntry{At: day, Action: "a", Detail: "{}"}))
				return tx.InsertAnswers([]store.AnswerRow{{Task: 1, N: 1, SET: "a.b.c", Answer: huanxin.Answer{Outcome: 1, Reason: 1, At: day}}})
			}))
			db := raw(t, dsn)
			for table, column := range map[string]string{"events": "at", "audit": "at", "answers": "at", "answer_sets": "n"} {
				statements := []string{"UPDATE " + table + " SET " + column + " = 7", "DELETE FROM " + table}
				if e.name == "postgres" {
					statements = append(statements, "TRUNCATE "+table)
				}
				for _, q := range statements {
					if _, err := db.ExecContext(t.Context(), q); err == nil {
						t.Errorf("%s was done", q)
					}
				}
				var n, sum int64
				must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*), MIN("+column+") FROM "+table).Scan(&n, &sum))
				if n != 1 || sum == 7 {
					t.Errorf("%s holds %d rows, at %d", table, n, sum)
				}
			}
		})
	}
}

// A deferred constraint is the one thing that lets a statement pass and its commit fail.
func TestAFailedCommitIsAnErrorAndChangesNothing(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.dsn(t)
			s := open(t, dsn)
			db := raw(t, dsn)
			for _, q := range map[string][]string{
				"sqlite": {"CREATE TABLE late (party INTEGER REFERENCES parties (no) DEFERRABLE INITIALLY DEFERRED)",
					"CREATE TRIGGER late AFTER INSERT ON settings WHEN new.value = 'late' BEGIN INSERT INTO late VALUES (12345); END"},
				"postgres": {"CREATE TABLE late (party BIGINT REFERENCES parties (no) DEFERRABLE INITIALLY DEFERRED)",
					"CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.value = 'late' THEN INSERT INTO late VALUES (12345); END IF; RETURN new; END $$",
					"CREATE TRIGGER late AFTER INSERT ON settings FOR EACH ROW EXECUTE FUNCTION late()"},
			}[e.name] {
				_, err := db.ExecContext(t.Context(), q)
				must(t, err)
			}
			put := func(name, value string) error {
				return s.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Setting(name, value); return err })
			}
			if err := put("a", "late"); err == nil || !strings.Contains(err.Error(), "commit") {
				t.Errorf("the failed commit said %v", err)
			}
			must(t, put("b", "in time")) // and the store goes on
			var n int
			must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM settings").Scan(&n))
			if n != 1 {
				t.Errorf("%d settings", n)
			}
		})
	}
}

// processEnv makes this program another process that writes to a database.
const processEnv = "STORETEST_PROCESS"

const processWrites = 40

func anotherProcess(dsn string) int {
	s, err := store.Open(context.Background(), dsn)
	for range processWrites {
		if err != nil {
			break
		}
		err = s.Write(context.Background(), func(tx *store.Tx) error {
			return tx.Audit(store.AuditEntry{At: day, Action: "process", Detail: "{}"})
		})
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestTwoProcessesShareOneSQLiteFile(t *testing.T) {
	dsn := engines[0].dsn(t)
	self, err := os.Executable()
	must(t, err)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), processEnv+"="+dsn)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	s := open(t, dsn)
	must(t, s.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.Sequence(1000); return err }))
	must(t, s.Read(t.Context(), func(tx *store.Tx) error {
		all, err := tx.AuditFrom(1, 1000)
		if len(all) != 3*processWrites {
			t.Errorf("%d entries", len(all))
		}
		return err
	}))
}
