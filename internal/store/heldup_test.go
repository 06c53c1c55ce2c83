package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// stuck begins a transaction past the store that runs a statement and then does nothing. What it gives ends it.
func stuck(t *testing.T, db *sql.DB, q string) (end func()) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	must(t, err)
	_, err = tx.ExecContext(t.Context(), q)
	must(t, err)
	return func() { must(t, tx.Rollback()) }
}

const holdTaskIDs = "UPDATE counters SET value = value WHERE name = 'task'"

// makeTask makes a task. What it needs of the counter it needs with its commit.
func makeTask(ctx context.Context, s *store.Store, tenure huanxin.TenureID) error {
	return s.Write(ctx, func(tx *store.Tx) error {
		return tx.InsertTasksLater([]huanxin.Task{{Request: 1, App: 1, Kind: huanxin.Unbind, Tenure: tenure, CreatedAt: day, Release: day, DueAt: day, StepAt: day}},
			store.ErrTaskOpen)
	})
}

func tasksIn(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tasks").Scan(&n))
	return n
}

func TestASessionThatIsStuckWithWhatAllNeedHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	dsn := engines[1].dsn(t)
	s, db := open(t, dsn), raw(t, dsn)
	end := stuck(t, db, holdTaskIDs)
	const calls = 20 // more than there are connections
	errs := make(chan error)
	for i := range calls {
		go func() { errs <- makeTask(context.Background(), s, huanxin.TenureID(i+1)) }()
	}
	waiting := func() (n int) {
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n))
		return n
	}
	for waiting() < 16 && t.Context().Err() == nil { // every connection but that of Ping
	}
	must(t, s.Ping(t.Context()))
	for range calls {
		err := <-errs
		var e *huanxin.Error
		if !errors.As(err, &e) || e.Kind != huanxin.Unavailable || e.Code != "overloaded" || e.RetryAfter <= 0 {
			t.Errorf("a call that was held up says %v", err)
		}
	}
	if n := tasksIn(t, db); n != 0 {
		t.Errorf("%d tasks were made", n)
	}
	end()
	for i := range calls {
		must(t, makeTask(t.Context(), s, huanxin.TenureID(i+1)))
	}
	if n := tasksIn(t, db); n != calls {
		t.Errorf("afterwards %d tasks were made", n)
	}
}

func TestACommitThatWaitsEndsWithItsContextAndItsOutcomeIsKnown(t *testing.T) {
	t.Parallel()
	dsn := engines[1].dsn(t)
	s, db := open(t, dsn), raw(t, dsn)
	end := stuck(t, db, holdTaskIDs)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := makeTask(ctx, s, 1)
	var e *huanxin.Error
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
		t.Errorf("the call says %v", err)
	}
	end()
	for i := range 20 { // on whatever connection: what stopped one call stops no other
		must(t, makeTask(t.Context(), s, huanxin.TenureID(i+1)))
	}
	if n := tasksIn(t, db); n != 20 {
		t.Errorf("%d tasks were made", n)
	}
}

func TestAReportWaitsForAnotherForLongerThanOthersWait(t *testing.T) {
	t.Parallel()
	dsn := engines[1].dsn(t)
	s, db := open(t, dsn), raw(t, dsn)
	end := stuck(t, db, "SELECT pg_advisory_xact_lock(7203)")
	done := make(chan error, 1)
	go func() {
		done <- s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.BeginBatch()
			return err
		})
	}()
	held := stuck(t, db, holdTaskIDs) // and begins to wait after the report has
	for n := 0; n == 0 && t.Context().Err() == nil; {
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n))
	}
	if err := makeTask(t.Context(), s, 1); huanxin.KindOf(err) != huanxin.Unavailable {
		t.Errorf("who waits for a row is told %v", err)
	}
	held()
	select {
	case err := <-done:
		t.Errorf("the report did not wait: %v", err)
	default:
	}
	end()
	must(t, <-done)
}
