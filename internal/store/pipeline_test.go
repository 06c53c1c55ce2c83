package store

import (
	"context"
	"errors"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

var pipelined = pgtest.Template{Migrate: func(url string) error {
	s, err := Open(context.Background(), url)
	if err != nil {
		return err
	}
	return s.Close()
}}

// PostgreSQL answers COMMIT in a failed transaction with ROLLBACK and no error: acknowledged would not mean stored.
func TestACommitThatPostgreSQLTurnsIntoARollbackIsAnError(t *testing.T) {
	s, err := Open(t.Context(), pipelined.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Write(t.Context(), func(tx *Tx) error {
		if _, err := tx.Setting("name", "value"); err != nil {
			return err
		}
		_, _ = tx.exec("SELECT 1/0") // somebody swallows an error
		return nil
	})
	if !errors.Is(err, errNotCommitted) {
		t.Errorf("Write says %v", err)
	}
}

func TestATransactionThatIsLeftIdleEndsAndHoldsNothing(t *testing.T) {
	s, err := Open(t.Context(), pipelined.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var set string
	err = s.Write(t.Context(), func(tx *Tx) error {
		if _, err := tx.queryRow("SHOW idle_in_transaction_session_timeout", nil, &set); err != nil {
			return err
		}
		if _, err := tx.exec("SET LOCAL idle_in_transaction_session_timeout = '10ms'"); err != nil { // a minute is long for a test
			return err
		}
		var session int
		if _, err := tx.queryRow("SELECT pg_backend_pid() FROM counters WHERE name = 'task' {lock}", nil, &session); err != nil {
			return err
		}
		for there := true; there; {
			if err := s.Read(t.Context(), func(other *Tx) (err error) {
				there, err = other.queryRow("SELECT 1 FROM pg_stat_activity WHERE pid = $1", []any{session}, new(int))
				return err
			}); err != nil {
				return err
			}
		}
		_, err := tx.exec("SELECT 1")
		return err
	})
	if set != "1min" {
		t.Errorf("a session may be idle for %q", set)
	}
	if huanxin.KindOf(err) != huanxin.Unavailable {
		t.Errorf("Write says %v", err)
	}
	if err := s.Write(t.Context(), func(tx *Tx) error { // the row and the connection are free
		_, err := tx.exec("UPDATE counters SET value = value WHERE name = 'task'")
		return err
	}); err != nil {
		t.Error(err)
	}
}
