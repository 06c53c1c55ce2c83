package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteURL names a SQLite file for the driver. busy_timeout comes first, so that the pragmas after it wait for a lock too.
func sqliteURL(path, txlock string, pragmas ...string) string {
	v := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "temp_store(memory)"}, pragmas...), "_txlock": {txlock}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}
	return u.String()
}

// writer is SQLite's one writing connection. SQLite has room for one writer: waiting here is fair and cannot fail, where
// waiting in SQLite may. Statements are prepared once and kept.
//
// Callers who wait for each other share a transaction: each runs its part in turn, in a savepoint of its own, and the last
// one commits for all. A page that several of them changed is then written once, and one sync serves all. Nobody is told of
// success, or of a refusal that rests on what another wrote, before that commit.
type writer struct {
	path string
	db   *sql.DB
	conn *sql.Conn
	turn chan struct{} // holds one token: whoever has it may write

	// waiting counts those who will take the turn, whatever happens to their context, and then either commit what is open
	// or leave it to the next. It includes who has the turn.
	waiting atomic.Int64
	open    *shared              // guarded by turn; nil: no transaction is open
	stmts   map[string]*sql.Stmt // guarded by turn
}

// shared is one transaction of SQLite and those who share it.
type shared struct {
	began time.Time
	parts int
	err   error         // why nothing of it was kept; read after done
	done  chan struct{} // closed when it was committed or undone
}

// A transaction takes no more parts when it has this many, or is this old: those in it wait for its end.
const (
	maxParts = 64
	maxAge   = 50 * time.Millisecond
)

// openAttempts bounds how often a file is opened that another process is just making: SQLite does not wait for a lock
// when it changes to WAL.
const openAttempts = 200

func busy(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

func openWriter(ctx context.Context, path string) (*writer, error) {
	// FULL: acknowledged means on stable storage. An app's tasks lie a request apart: larger pages mean fewer of them to copy
	// and to write when it lists and answers (a tenth less CPU here).
	db, err := sql.Open("sqlite", sqliteURL(path, "immediate",
		"page_size(8192)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)", "cache_size(-262144)", "wal_autocheckpoint(8000)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	for attempt := 1; attempt < openAttempts && busy(err) && ctx.Err() == nil; attempt++ {
		time.Sleep(50 * time.Millisecond)
		conn, err = db.Conn(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	w := &writer{path: path, db: db, conn: conn, turn: make(chan struct{}, 1), stmts: map[string]*sql.Stmt{}}
	w.turn <- struct{}{}
	return w, nil
}

func (w *writer) close() error {
	<-w.turn
	defer func() { w.turn <- struct{}{} }() // for those whose context ended while they waited
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// run gives f the connection inside a transaction, and returns when that was committed, or what f did is undone.
func (w *writer) run(ctx context.Context, f func(conn) error) error {
	w.waiting.Add(1)
	select {
	case <-w.turn:
	case <-ctx.Done():
		go func() { // who has the turn may leave the commit to us
			<-w.turn
			w.pass()
		}()
		return ctx.Err()
	}
	t, err := w.part(ctx, f)
	if t == nil {
		return err
	}
	<-t.done
	if t.err != nil {
		return t.err
	}
	return err
}

// part runs f in the open transaction, or in a new one, and passes the turn on. The caller has the turn.
func (w *writer) part(ctx context.Context, f func(conn) error) (t *shared, err error) {
	defer w.pass()
	first := w.open == nil
	begin, keep := "SAVEPOINT part", "RELEASE part"
	if first {
		begin, keep = "BEGIN IMMEDIATE", ""
	}
	if _, err := w.ExecContext(ctx, begin); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if first {
		w.open = &shared{began: time.Now(), done: make(chan struct{})}
	}
	t = w.open
	t.parts++
	kept := false
	defer func() {
		if !kept { // f failed or panicked
			w.undo(t, first, err)
		}
	}()
	if err := f(w); err != nil {
		return t, err
	}
	if keep != "" {
		if err := w.control(keep); err != nil {
			return t, err
		}
	}
	kept = true
	return t, nil
}

// undo takes back what one part did, for the reason why. Where SQLite has given up the whole transaction (a full disk),
// nothing of it is kept.
func (w *writer) undo(t *shared, first bool, why error) {
	if first {
		_ = w.control("ROLLBACK")
		w.open = nil
		close(t.done)
		return
	}
	err := w.control("ROLLBACK TO part")
	if err == nil {
		err = w.control("RELEASE part")
	}
	if err != nil {
		t.err = fmt.Errorf("what shares a transaction failed: %w", errors.Join(why, err))
	}
}

// pass gives the turn to the next. What is open is committed unless the next one adds to it. The caller has the turn.
func (w *writer) pass() {
	alone := w.waiting.Add(-1) == 0
	if t := w.open; t != nil && (alone || t.err != nil || t.parts >= maxParts || time.Since(t.began) >= maxAge) {
		if t.err == nil {
			if err := w.control("COMMIT"); err != nil {
				t.err = fmt.Errorf("commit: %w", err)
			}
		}
		if t.err != nil {
			_ = w.control("ROLLBACK")
		}
		w.open = nil
		close(t.done)
	}
	w.turn <- struct{}{}
}

// control runs a statement that begins or ends something. It depends on nobody's context: others are concerned.
func (w *writer) control(q string) error {
	_, err := w.ExecContext(context.Background(), q)
	return err
}

func (w *writer) stmt(q string) (*sql.Stmt, error) {
	if s := w.stmts[q]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), q)
	if err != nil {
		return nil, err
	}
	w.stmts[q] = s
	return s, nil
}

// ExecContext runs a statement that gives no rows. The caller has the turn. A context that is done stops it from
// beginning, but does not interrupt it: SQLite would undo the whole transaction, which others share.
func (w *writer) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := w.stmt(q)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.WithoutCancel(ctx), args...)
}

// QueryContext runs a statement that gives rows; they must be closed before the next statement. For the rest see
// ExecContext.
func (w *writer) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := w.stmt(q)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.WithoutCancel(ctx), args...)
}
