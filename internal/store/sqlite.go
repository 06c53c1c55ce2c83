package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
)

// sqliteURL names a SQLite file for the driver. busy_timeout comes first, so that the pragmas after it wait for a lock too.
func sqliteURL(path, txlock string, pragmas ...string) string {
	v := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "temp_store(memory)"}, pragmas...), "_txlock": {txlock}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}
	return u.String()
}

// writer is SQLite's one writing connection. SQLite has room for one writer: waiting here is fair and cannot fail, where
// waiting in SQLite may. Statements are prepared once and kept.
type writer struct {
	path string
	db   *sql.DB
	conn *sql.Conn
	turn chan struct{} // holds one token: whoever has it may write

	stmts map[string]*sql.Stmt // guarded by turn
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	// FULL: acknowledged means on stable storage.
	db, err := sql.Open("sqlite", sqliteURL(path, "immediate",
		"journal_mode(wal)", "synchronous(full)", "foreign_keys(on)", "cache_size(-262144)", "wal_autocheckpoint(8000)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	w := &writer{path: path, db: db, conn: conn, turn: make(chan struct{}, 1), stmts: map[string]*sql.Stmt{}}
	w.turn <- struct{}{}
	return w, nil
}

func (w *writer) close() error {
	<-w.turn
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// run gives f the connection inside a transaction, and commits unless f failed.
func (w *writer) run(ctx context.Context, f func(conn) error) (err error) {
	select {
	case <-w.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { w.turn <- struct{}{} }()
	done := false
	defer func() {
		if !done { // f failed or panicked, or the commit did not happen; or BEGIN was interrupted, before or after it took effect
			_, _ = w.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if _, err := w.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(w); err != nil {
		return err
	}
	// Once begun a commit is not given up: its outcome would be unknown.
	if _, err := w.ExecContext(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done = true
	return nil
}

func (w *writer) stmt(ctx context.Context, q string) (*sql.Stmt, error) {
	if s := w.stmts[q]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, q)
	if err != nil {
		return nil, err
	}
	w.stmts[q] = s
	return s, nil
}

// ExecContext runs a statement that gives no rows. The caller has the turn.
func (w *writer) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	s, err := w.stmt(ctx, q)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs a statement that gives rows; they must be closed before the next statement. The caller has the turn.
func (w *writer) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	s, err := w.stmt(ctx, q)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}
