package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// pipeline is a connection of PostgreSQL in a writing transaction. Statements whose results nobody waits for are held back
// and sent in one round trip with the next one or with the commit: on a busy machine a round trip costs more than most
// statements, and the locks of the last ones are held for less long.
type pipeline struct {
	conn *sql.Conn
	held []heldStatement
}

// heldStatement is one that was not sent yet. The function scan, unless nil, gets its rows, and fail makes of an error
// what the caller knows.
type heldStatement struct {
	q    string
	args []any
	scan func(scanner) error
	fail func(error) error
}

const commit = "COMMIT"

var errNotCommitted = errors.New("the transaction had failed and was rolled back")

// scanner is a row of either library.
type scanner interface{ Scan(dest ...any) error }

// pipelined runs f in a transaction that a statement begins, and commits unless it failed.
func (s *Store) pipelined(ctx context.Context, begin string, f func(conn) error) (err error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	p := &pipeline{conn: c, held: []heldStatement{{q: begin}}}
	done := false
	defer func() {
		if !done {
			p.undo(ctx)
		}
		_ = c.Close() // gives it back
	}()
	if err := f(p); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = p.commit(ctx)
	done = err == nil
	return err
}

// commitGrace is how long a commit whose context is done has to end before its connection is given up.
const commitGrace = 5 * time.Second

// commit sends what is held with COMMIT. To break the connection then would leave the outcome unknown. So when ctx is done
// PostgreSQL is asked to stop: it gives up a statement that waits for a lock, and ends a commit that it has begun.
func (p *pipeline) commit(ctx context.Context) error {
	p.hold(heldStatement{q: commit, fail: func(err error) error { return fmt.Errorf("commit: %w", err) }})
	var session *pgconn.PgConn
	if err := p.conn.Raw(func(c any) error { session = c.(*stdlib.Conn).Conn().PgConn(); return nil }); err != nil {
		return err
	}
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	asked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(asked)
		late := time.AfterFunc(commitGrace, giveUp)
		context.AfterFunc(sending, func() { late.Stop() })
		_ = session.CancelRequest(sending)
	})
	err := p.flush(sending)
	if stop() {
		return err
	}
	giveUp()
	<-asked
	p.drop() // what was asked may come late, and would stop another's statement
	if err != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return nil
}

func (p *pipeline) hold(s heldStatement) { p.held = append(p.held, s) }

// undo rolls back, or throws the connection away.
func (p *pipeline) undo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
	defer cancel()
	if _, err := p.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		p.drop()
	}
}

// drop throws the connection away.
func (p *pipeline) drop() { _ = p.conn.Raw(func(any) error { return driver.ErrBadConn }) }

// flush sends what is held.
func (p *pipeline) flush(ctx context.Context) error {
	held := p.held
	if p.held = nil; len(held) == 0 {
		return nil
	}
	return p.conn.Raw(func(c any) error {
		var b pgx.Batch
		for _, s := range held {
			b.Queue(s.q, s.args...)
		}
		results := c.(*stdlib.Conn).Conn().SendBatch(ctx, &b)
		for _, s := range held {
			if err := s.read(results); err != nil {
				_ = results.Close() // says the same
				return err
			}
		}
		return results.Close()
	})
}

func (s *heldStatement) read(from pgx.BatchResults) error {
	err := func() error {
		rows, err := from.Query()
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if s.scan == nil {
				continue
			}
			if err := s.scan(rows); err != nil {
				return err
			}
		}
		rows.Close()
		if tag := rows.CommandTag().String(); rows.Err() == nil && s.q == commit && tag != commit {
			return errNotCommitted // PostgreSQL answers so, without an error, in a transaction that had failed
		}
		return rows.Err()
	}()
	if err = wrap(s.q, err); err != nil && s.fail != nil {
		err = s.fail(err)
	}
	return err
}

// ExecContext sends what is held, then the statement.
func (p *pipeline) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	if err := p.flush(ctx); err != nil {
		return nil, err
	}
	return p.conn.ExecContext(ctx, q, args...)
}

// QueryContext sends what is held, then the query.
func (p *pipeline) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if err := p.flush(ctx); err != nil {
		return nil, err
	}
	return p.conn.QueryContext(ctx, q, args...)
}

// later runs a statement at the latest with the transaction's next one or its commit: an error may come from there. Its
// rows, if any are expected, go to scan.
func (t *Tx) later(q string, args []any, scan func(scanner) error, fail func(error) error) error {
	if fail == nil {
		fail = func(err error) error { return err }
	}
	if p, ok := t.conn.(*pipeline); ok {
		p.hold(heldStatement{t.dialect.rewrite(q), args, scan, fail})
		return nil
	}
	if scan == nil {
		_, err := t.exec(q, args...)
		return failed(err, fail)
	}
	rows, err := t.query(q, args...)
	if err == nil {
		err = scanAll(rows, func(r *sql.Rows) error { return scan(r) })
	}
	return failed(err, fail)
}

func failed(err error, fail func(error) error) error {
	if err == nil {
		return nil
	}
	return fail(err)
}

// Await gets the results of what was asked and is not there yet.
func (t *Tx) Await() error {
	if p, ok := t.conn.(*pipeline); ok {
		return p.flush(t.ctx)
	}
	return nil
}
