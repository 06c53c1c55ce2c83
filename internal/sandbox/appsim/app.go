// Package appsim is one internet company of the demo world: accounts in a SQL database of its own, the people who look after them, and
// beside them the agent that any company would run (package agent), which takes the hub's tasks, decides, acts and answers.
//
// What the company knows and what is true are apart. A binding holds what the company knows, and the agent's statements read only that.
// True times of binding are in the tables whose names begin with truth_; the owner of an account is in owner_key. They are
// read by a review (a person who asks around), by the invented holder who opens a link, and by the checks of Findings.
package appsim

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
	_ "modernc.org/sqlite" // the driver
)

// Format is that of an app's files. Other formats cannot be gone on with: in the first one, apps kept their tasks among the accounts.
const Format = 2

// App is one app with its database and its agent. It is safe for concurrent use, but Work runs once at a time.
type App struct {
	Spec catalogue.App

	o             Options
	path, state   string // of the accounts, and of the agent's own
	highValue     bool
	authorization string // that pushes must show; another one each time the app is opened
	configure     func(*agent.Config)
	desk          desk

	opening sync.Mutex
	db      *sql.DB      // nil until the first use
	agent   *agent.Agent // the same

	endpoint atomic.Pointer[http.Handler] // of pushes, while the app works
	polled   atomic.Int64
	came     atomic.Int64 // by push
}

// Open gives the app whose database is, or will be, DIR/ID.db; its agent's state lies beside it, in DIR/ID.agent. Files are opened when
// they are first used, and closed while nobody uses them: 239 apps share a process.
func Open(dir string, spec catalogue.App, o Options) (*App, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, spec.ID))
	if err != nil {
		return nil, err
	}
	party := huanxin.Party{Class: spec.Class}
	return &App{Spec: spec, o: o.withDefaults(), path: path + ".db", state: path + ".agent", highValue: party.HighValue(),
		authorization: "Bearer " + rand.Text(), desk: newDesk()}, nil
}

// Path names the database file, for who wants to look.
func (a *App) Path() string { return a.path }

// Close closes the database and the agent, which must not work. Using the app afterwards opens them again.
func (a *App) Close() error {
	a.opening.Lock()
	defer a.opening.Unlock()
	var errs []error
	if a.agent != nil {
		errs = append(errs, a.agent.Close())
		a.agent = nil
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
		a.db = nil
	}
	return errors.Join(errs...)
}

//go:embed schema.sql
var schema string

// idle is for how long an unused connection, with its three file handles and its cache, is kept.
const idle = 5 * time.Second

// open gives the database, made on first use. It has one connection: nothing may ask the database inside a transaction or an
// open rows loop but by that transaction.
func (a *App) open(ctx context.Context) (*sql.DB, error) {
	a.opening.Lock()
	defer a.opening.Unlock()
	return a.openDB(ctx)
}

// openDB is open for who holds a.opening.
func (a *App) openDB(ctx context.Context) (*sql.DB, error) {
	if a.db != nil {
		return a.db, nil
	}
	// NORMAL loses nothing when the process is killed, only when the machine is.
	v := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(normal)", "foreign_keys(on)",
		"cache_size(200)", "temp_store(memory)"}, "_txlock": {"immediate"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: a.path}).EscapedPath(), RawQuery: v.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(idle)
	if err := inTx(ctx, db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", a.path, err), db.Close())
	}
	a.db = db
	return db, nil
}

// write runs f in a transaction and commits unless f failed.
func (a *App) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	return inTx(ctx, db, f)
}

func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// query is what a database and a transaction have in common.
type query interface {
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// rows gives what scan makes of each row.
func rows[T any](ctx context.Context, q query, scan func(*sql.Rows) (T, error), text string, args ...any) (out []T, err error) {
	r, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, r.Err()
}

// now is the time as exactly as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
