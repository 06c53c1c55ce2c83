package agent

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"sync"
	"syscall"
)

// leaseHolder is the right to be the only agent of a client on a database. It ends with the process, however that ends.
type leaseHolder interface {
	// take takes it, or makes sure that it is still held. errTaken: another agent has it.
	take(ctx context.Context) error
	release() error
}

// connLease is a lock that lasts as long as a connection.
type connLease struct {
	db   *sql.DB
	lock string // gives true if the lock was got
	held string // gives true while the lock is this connection's
	args []any

	mu   sync.Mutex
	conn *sql.Conn
}

func (l *connLease) take(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		var ours bool
		if err := l.conn.QueryRowContext(ctx, l.held, l.args...).Scan(&ours); err == nil && ours {
			return nil
		}
		l.drop()
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return err
	}
	var got sql.NullBool
	if err := conn.QueryRowContext(ctx, l.lock, l.args...).Scan(&got); err != nil || !got.Bool {
		return errors.Join(cmpErr(err, errTaken), conn.Close())
	}
	l.conn = conn
	return nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// drop ends the connection and with it the lock, whatever state it is in.
func (l *connLease) drop() {
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = l.conn.Close()
	l.conn = nil
}

func (l *connLease) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.drop()
	}
	return nil
}

// leaseName is a lock's number: of one client of a hub, so that two apps may share a database.
func leaseName(client string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("huanxin agent\x00" + client))
	return int64(h.Sum64())
}

func leasePostgres(db *sql.DB, _, client string) leaseHolder {
	return &connLease{db: db, lock: `SELECT pg_try_advisory_lock($1)`,
		held: `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND
			(classid::bigint << 32 | objid::bigint) = $1)`, args: []any{leaseName(client)}}
}

func leaseMySQL(db *sql.DB, _, client string) leaseHolder {
	name := fmt.Sprintf("huanxin %016x", uint64(leaseName(client)))
	return &connLease{db: db, lock: `SELECT GET_LOCK(CONCAT(?, ' ', LEFT(SHA2(DATABASE(), 256), 16)), 0)`,
		held: `SELECT IS_USED_LOCK(CONCAT(?, ' ', LEFT(SHA2(DATABASE(), 256), 16))) = CONNECTION_ID()`, args: []any{name}}
}

func leaseSQLite(_ *sql.DB, dsn, client string) leaseHolder {
	return &fileLease{path: fmt.Sprintf("%s.agent-%08x.lock", sqlitePath(dsn), uint32(leaseName(client)))}
}

// fileLease is a lock on a file, which the system gives back when the process ends.
type fileLease struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

func (l *fileLease) take(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errTaken
		}
		return err
	}
	l.f = f
	return nil
}

func (l *fileLease) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
