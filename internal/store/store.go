// Package store keeps the hub's state in SQLite or PostgreSQL. It holds all SQL and no rules, and never sees a caller.
//
// Everything happens in a transaction: Write for changes, Read for a consistent look. When Write returns nil the changes
// are on stable storage; when it returns an error either nothing was changed or (the connection broke while committing)
// the outcome is unknown, which is why every write of the hub is idempotent.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/huanxin-platform/huanxin"
)

// Store is one database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	db      *sql.DB // PostgreSQL: all; SQLite: readers
	pings   *sql.DB // PostgreSQL only: a connection that nobody who waits for a lock can have
	writer  *writer // SQLite only
}

// Open connects to "sqlite:PATH" or "postgres://…" and brings its schema up to date.
func Open(ctx context.Context, dsn string) (*Store, error) {
	s, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connect(ctx context.Context, dsn string) (*Store, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			return nil, errors.New("the PostgreSQL URL cannot be read") // the cause may repeat a password
		}
		db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, planning+patience)
			return err
		}))
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(16)
		pings := stdlib.OpenDB(*config)
		pings.SetMaxOpenConns(1)
		return &Store{dialect: postgres{}, db: db, pings: pings}, nil
	}
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok || path == "" {
		return nil, errors.New("a database is named by sqlite:PATH or postgres://…")
	}
	w, err := openWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := sql.Open("sqlite", sqliteURL(path, "deferred", "query_only(on)", "cache_size(-16384)"))
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	r.SetMaxOpenConns(4)
	r.SetMaxIdleConns(4)
	return &Store{dialect: sqlite{}, db: r, writer: w}, nil
}

// planning leaves PostgreSQL the plans that the statements are written for: rows found by an index one by one, in its
// order. Of tables that were just filled it knows nothing, and would read them whole to join a few rows.
const planning = `SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; `

// patience keeps a session that is stuck with what others need from stopping every hub: nobody waits for it longer than
// lock_timeout, which is longer than PostgreSQL takes to find a deadlock, and what a hub left behind that is gone ends by
// itself. A hub thinks for milliseconds between two statements.
const patience = `SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s'`

// heldUp makes a refusal of an error that says that others kept a transaction from its end, or that it was ended because it
// kept others: then its connection is gone, and nothing more can be sent.
func heldUp(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "25P03"): // lock_timeout; idle_in_transaction_session_timeout
	case errors.Is(err, driver.ErrBadConn), pgconn.SafeToRetry(err):
	default:
		return err
	}
	return &huanxin.Error{Kind: huanxin.Unavailable, Code: "overloaded", Detail: "the hub's database is held up; try again",
		RetryAfter: 5 * time.Second, Err: err}
}

// Close releases the database. Transactions under way must have ended.
func (s *Store) Close() error {
	if s.writer == nil {
		return errors.Join(s.db.Close(), s.pings.Close())
	}
	return errors.Join(s.db.Close(), s.writer.close())
}

// Engine gives "sqlite" or "postgres".
func (s *Store) Engine() string { return s.dialect.name() }

// Ping reports whether the database answers, and on SQLite whether it can be written to.
func (s *Store) Ping(ctx context.Context) error {
	if s.writer == nil {
		return s.pings.PingContext(ctx)
	}
	return s.Write(ctx, func(*Tx) error { return nil })
}

// Tx is a transaction. Its methods are the store's statements; each belongs to the file of its noun.
type Tx struct {
	ctx     context.Context
	dialect dialect
	conn    conn
	last    []func() error
}

// Last puts f off until everything else of a Write is done, right before the commit: for what keeps others waiting until then.
func (t *Tx) Last(f func() error) { t.last = append(t.last, f) }

func (t *Tx) do(f func(*Tx) error) error {
	if err := f(t); err != nil {
		return err
	}
	for _, last := range t.last {
		if err := last(); err != nil {
			return err
		}
	}
	return nil
}

// conn is what both a transaction of database/sql and SQLite's writing connection can do.
type conn interface {
	ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// maxAttempts bounds how often PostgreSQL may ask for a transaction again (deadlock, serialization).
const maxAttempts = 5

// Write runs f in a transaction and commits it. f may be run several times, so it must have no effect but through tx. Where
// others hold what it needs for seconds, the error is a *huanxin.Error of the kind Unavailable, and nothing was changed.
func (s *Store) Write(ctx context.Context, f func(tx *Tx) error) error {
	if s.writer != nil {
		return s.writer.run(ctx, func(c conn) error { return (&Tx{ctx: ctx, dialect: s.dialect, conn: c}).do(f) })
	}
	for attempt := 1; ; attempt++ {
		err := s.pipelined(ctx, "BEGIN", func(c conn) error { return (&Tx{ctx: ctx, dialect: s.dialect, conn: c}).do(f) })
		if attempt == maxAttempts || !retryable(err) {
			return heldUp(err)
		}
		time.Sleep(time.Duration(attempt) * 5 * time.Millisecond)
	}
}

// Read runs f on one snapshot of the database, without the right to change it.
func (s *Store) Read(ctx context.Context, f func(tx *Tx) error) error {
	if s.writer == nil {
		return heldUp(s.pipelined(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
			func(c conn) error { return (&Tx{ctx: ctx, dialect: s.dialect, conn: c}).do(f) }))
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if err := (&Tx{ctx: ctx, dialect: s.dialect, conn: tx}).do(f); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func retryable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

func (t *Tx) exec(q string, args ...any) (sql.Result, error) {
	q = t.dialect.rewrite(q)
	res, err := t.conn.ExecContext(t.ctx, q, args...)
	return res, wrap(q, err)
}

func (t *Tx) query(q string, args ...any) (*sql.Rows, error) {
	q = t.dialect.rewrite(q)
	rows, err := t.conn.QueryContext(t.ctx, q, args...)
	return rows, wrap(q, err)
}

// queryRow scans the one row of q into dest; found is false where there is none.
func (t *Tx) queryRow(q string, args []any, dest ...any) (found bool, err error) {
	rows, err := t.query(q, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(dest...); err != nil {
		return false, wrap(q, err)
	}
	return true, rows.Close()
}

// wrap names the statement that failed, by its first words only: arguments may hold numbers.
func wrap(q string, err error) error {
	if err == nil {
		return nil
	}
	q = strings.Join(strings.Fields(q), " ")
	return fmt.Errorf("%.60s…: %w", q, err)
}

// micros gives a time as the store keeps it; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros, in UTC.
func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
