package conformance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/conformance"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

var postgres pgtest.Template

// TestAStatementSaysWhetherANumberIsAKey as each engine says it: PostgreSQL by booleans, SQLite by numbers, and what is neither says nothing.
func TestAStatementSaysWhetherANumberIsAKey(t *testing.T) {
	t.Parallel()
	const schema = `CREATE TABLE phones (account text, detached text, times int);
INSERT INTO phones VALUES ('hx-a', NULL, 0)`
	engines := map[string]func() string{
		"postgres": func() string { return postgres.Database(t) },
		"sqlite": func() string {
			path := filepath.Join(t.TempDir(), "phones.db")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		},
	}
	for driver, dsn := range engines {
		db, err := conformance.OpenDatabase(driver, dsn())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Do(t.Context(), conformance.Split(schema)); err != nil {
			t.Fatal(err)
		}
		for columns, want := range map[string]string{
			"detached IS NULL AS is_key, times AS unbound, EXISTS (SELECT 1 FROM phones) AS account_exists": "true 0 true",
			"detached IS NOT NULL AS is_key, times + 2 AS unbound, 'why' AS note":                           "false 2 -",
			"1 AS is_key, NULL AS unbound, NULL AS account_exists":                                          "true - -",
			"CASE WHEN detached IS NULL THEN 0 ELSE 1 END AS is_key":                                        "false - -",
			"count(*) AS is_key":      "true - -",
			"sum(times) AS is_key":    "false - -",
			"detached = '' AS is_key": "is_key is NULL",
			"'no' AS is_key":          "is_key 既不是整数",
			"times AS key":            "no column is_key",
		} {
			s, err := db.Inspector("SELECT "+columns+" FROM phones WHERE account = :account").Inspect(t.Context(), someAccount(t))
			if said := sightOf(s, err); said != want && (err == nil || !strings.Contains(said, want)) {
				t.Errorf("%s: %s: %s, not %s", driver, columns, said, want)
			}
		}
	}
}

// sightOf gives key, times and whether it is there, "-" for what is not told.
func sightOf(s conformance.Sight, err error) string {
	if err != nil {
		return err.Error()
	}
	unbound, exists := "-", "-"
	if s.Unbound != nil {
		unbound = fmt.Sprint(*s.Unbound)
	}
	if s.Exists != nil {
		exists = fmt.Sprint(*s.Exists)
	}
	return fmt.Sprint(s.IsKey, " ", unbound, " ", exists)
}
