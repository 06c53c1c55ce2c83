package store

import (
	"context"
	"errors"
	"testing"

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
