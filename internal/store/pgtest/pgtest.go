// Package pgtest gives tests a real PostgreSQL: a throw-away cluster made from the installed binaries, and in it a
// database for each test, cloned from a migrated template.
//
// A package's tests share one cluster, started by the first test that asks for a database:
//
//	var hub = pgtest.Template{Migrate: func(url string) error { … }}
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestX(t *testing.T) { url := hub.Database(t) … }
//
// The shared cluster is fast and forgets on a power cut, but not when a client or the server is killed. Tests that stop
// or kill the server, and benchmarks, take a cluster of their own with New or Open.
//
// Nothing is left behind, however the process ends: see keeper.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// ErrNotInstalled says that no PostgreSQL server binaries were found.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: apt-get install postgresql")

// Template is a database that is filled once a process and then cloned for each test. It is safe for concurrent use
// and must not be copied after first use.
type Template struct {
	// Migrate fills the empty database that url names, and closes its connections before it returns.
	// Nil leaves it empty. It runs at most once.
	Migrate func(url string) error

	once sync.Once
	name string
	err  error
}

// Database gives the URL of a fresh clone of the template in the shared cluster. It belongs to t, is owned by the role
// that the URL names, which is no superuser, and is dropped when t ends, with whatever connections it still has.
//
// Where PostgreSQL is not installed it skips t, or fails it if the environment variable CI is "true".
func (tp *Template) Database(t testing.TB) (url string) {
	t.Helper()
	c, err := shared()
	require(t, err)
	tp.once.Do(func() { tp.name, tp.err = tp.fill(c) })
	if tp.err != nil {
		t.Fatal(tp.err)
	}
	name := fmt.Sprintf("test_%d", serial.Add(1))
	if err := c.Admin(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+tp.name+" OWNER "+role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Admin(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return c.URL(name)
}

// serial numbers the databases of the shared cluster.
var serial atomic.Int64

func (tp *Template) fill(c *Cluster) (name string, err error) {
	name = fmt.Sprintf("template_%d", serial.Add(1))
	url, err := c.CreateDatabase(name)
	if err != nil || tp.Migrate == nil {
		return name, err
	}
	if err := tp.Migrate(url); err != nil {
		return name, fmt.Errorf("migrate the template: %w", err)
	}
	return name, nil
}

// New gives t a cluster of its own, which ends with t. For d and settings see Open; where PostgreSQL is not installed
// it does what Template.Database does. If t fails, the end of the server's log is shown.
func New(t testing.TB, d Durability, settings ...string) *Cluster {
	t.Helper()
	c, err := Open(d, settings...)
	require(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL said:\n%s", c.log.String())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Main runs a package's tests, stops the shared cluster if one was started, and gives the exit code. Without it the
// cluster goes a moment after the process instead of before.
func Main(m *testing.M) int {
	code := m.Run()
	if !sharedAsked.Load() {
		return code
	}
	if c, err := shared(); err == nil {
		if err := c.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
	}
	return code
}

var (
	sharedAsked atomic.Bool
	shared      = sync.OnceValues(func() (*Cluster, error) {
		sharedAsked.Store(true)
		return Open(Fast)
	})
)

// require ends the test where err is not nil: a machine without PostgreSQL skips it, but CI must have PostgreSQL.
func require(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}
