package agent

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// lane does orders one after another on a connection to PostgreSQL. Each has its own transaction, and waits for as little as can be: the
// end of the one before travels with its beginning, with the look at its binding, and with the first of its statements, which is undone
// should the look say no. What goes beside the first, notices and ends of sessions, is sent when the look has said yes.
type lane struct {
	c   *sqlConnector
	did func(*order)

	pg *pgx.Conn
	// end is how the transaction that is open ends; "": none is open. open is the order whose commit it is.
	end  string
	open *order
	// known are statements that this connection has prepared. The driver prepares others in an exchange of their own, before the end of the
	// transaction that is open, which would fail with them.
	known map[string]bool
}

const (
	commit   = "COMMIT"
	rollback = "ROLLBACK"
	// A look and what is done by it see one state of the accounts: what somebody else changed meanwhile is an error, whatever the
	// company's statements lock.
	beginOrder = "BEGIN ISOLATION LEVEL REPEATABLE READ"

	idle          = 'I' // the state of a connection with no transaction
	inTransaction = 'T'
)

// act does orders until next has none, or the database cannot be reached.
func (l *lane) act(ctx context.Context, next func() *order) error {
	for o := next(); o != nil; {
		conn, err := l.c.db.Conn(ctx)
		if err != nil {
			o.err = &unreachable{l.c.redact(&statement{name: "begin"}, err)}
			l.did(o)
			return o.err
		}
		rest, foreign := l.actOn(ctx, conn, o, next)
		if foreign {
			return inTurn(func() *order {
				if one := rest; one != nil {
					rest = nil
					return one
				}
				return next()
			}, l.did, func(o *order) (effect, error) { return l.c.actAlone(ctx, o) })
		}
		o = rest
	}
	return nil
}

// actOn does orders on one connection for as long as it is good, and gives the order that it came to. foreign says that it is not one of
// this program's driver, which happens where whoever embeds the agent opened the database.
func (l *lane) actOn(ctx context.Context, conn *sql.Conn, o *order, next func() *order) (rest *order, foreign bool) {
	defer func() { _ = conn.Close() }()
	_ = conn.Raw(func(d any) error {
		pg, ok := d.(*stdlib.Conn)
		if foreign = !ok; foreign {
			rest = o
			return nil
		}
		l.pg, l.known = pg.Conn(), map[string]bool{}
		for rest = o; rest != nil; rest = next() {
			if err := ctx.Err(); err != nil {
				rest.err = err
				l.did(rest)
			} else if !l.one(ctx, rest) {
				return driver.ErrBadConn
			}
			if l.pg.IsClosed() {
				rest = next()
				return driver.ErrBadConn
			}
		}
		l.finish(ctx)
		if l.pg.IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	})
	l.end, l.open = "", nil
	return rest, foreign
}

// timed bounds an exchange of so many statements. The server bounds each of them, and is given time to say so: its answer to what came first
// is not known before. What has begun is not left undecided because the agent is to stop.
func (l *lane) timed(ctx context.Context, statements int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Duration(statements)*l.c.timeout+2*time.Second)
}

// finish ends the transaction that is open.
func (l *lane) finish(ctx context.Context) {
	if l.end == "" {
		return
	}
	ctx, cancel := l.timed(ctx, 1)
	defer cancel()
	tag, err := l.pg.Exec(ctx, l.end)
	l.ended(tag, err)
}

// ended notes what became of the transaction that was open.
func (l *lane) ended(tag pgconn.CommandTag, err error) {
	o := l.open
	l.end, l.open = "", nil
	if o == nil {
		return
	}
	switch {
	case err != nil:
		o.effect, o.err = uncertain, l.c.redact(&statement{name: "commit"}, err)
	case tag.String() != commit:
		o.err = l.c.redact(&statement{name: "commit"}, errors.New("rolled back"))
	default:
		o.effect = acted
	}
	l.did(o)
}

// one begins an order, and leaves its transaction to be committed, or rolled back, by what comes next. begun is false if the connection was
// lost with the order before, and nothing of this one was done.
func (l *lane) one(ctx context.Context, o *order) (begun bool) {
	o.effect, o.err = l.begin(ctx, o)
	switch {
	case o.err == errNotBegun:
		o.err = nil
		return false
	case o.effect == 0 && o.err == nil:
		o.begun()
		l.end, l.open = commit, o
		return true
	}
	if o.err != nil || l.pg.PgConn().TxStatus() != inTransaction { // a transaction that failed takes no other statement
		clear(l.known) // the driver forgets what it prepared for an exchange that failed
		l.finish(ctx)
	}
	l.did(o)
	return true
}

var errNotBegun = errors.New("the connection was lost with the order before")

func (l *lane) begin(ctx context.Context, o *order) (effect, error) {
	list := l.c.statements(o)
	var now []*statement // is sent with the beginning
	look := l.c.lookAgain(o)
	if o.still != nil {
		now = append(now, look)
	}
	if list[0].first {
		now, list = append(now, list[0]), list[1:]
	}
	if slices.ContainsFunc(now, func(s *statement) bool { return !l.known[s.text] }) {
		l.finish(ctx)
		if l.pg.IsClosed() {
			return 0, errNotBegun
		}
	}
	var batch pgx.Batch
	if l.end != "" {
		batch.Queue(l.end)
	}
	batch.Queue(beginOrder)
	for _, s := range now {
		l.known[s.text] = true
		l.queue(&batch, s, o)
	}
	ctx, cancel := l.timed(ctx, batch.Len())
	defer cancel()
	results := l.pg.SendBatch(ctx, &batch)
	if l.end != "" {
		tag, err := results.Exec()
		l.ended(tag, err)
		if err != nil { // and nothing of this order was done
			_ = results.Close()
			if l.pg.PgConn().TxStatus() == idle {
				return l.begin(ctx, o)
			}
			_ = l.pg.Close(ctx) // where it is not lost, the end was not even sent: the server rolls back
			return 0, errNotBegun
		}
	}
	l.end = rollback
	e, err := l.read(results, o, look, now)
	if e != 0 || err != nil || len(list) == 0 {
		return e, err
	}
	var rest pgx.Batch
	for _, s := range list {
		l.queue(&rest, s, o)
	}
	ctx, cancel = l.timed(ctx, rest.Len())
	defer cancel()
	return l.c.rows(l.pg.SendBatch(ctx, &rest), list)
}

func (l *lane) queue(b *pgx.Batch, s *statement, o *order) {
	b.Queue(s.text, l.c.args(s.prepared, o.want, o, o.now)...)
}

// read reads what the beginning of an order gave. What the look says goes before what became of the statements.
func (l *lane) read(results pgx.BatchResults, o *order, look *statement, sent []*statement) (effect, error) {
	_, err := results.Exec() // BEGIN
	if err != nil {
		err = l.c.redact(&statement{name: "begin"}, err)
	} else if o.still != nil {
		sent = sent[1:]
		var all []Facts
		if all, err = l.look(results, look); err == nil {
			if e := o.judge(all); e != 0 {
				_ = results.Close()
				return e, nil
			}
		}
	}
	if err != nil {
		_ = results.Close()
		return 0, err
	}
	return l.c.rows(results, sent)
}

func (l *lane) look(results pgx.BatchResults, s *statement) ([]Facts, error) {
	rows, err := results.Query()
	if err != nil {
		return nil, l.c.redact(s, err)
	}
	defer rows.Close()
	all, err := l.c.readRows(rows, s)
	rows.Close()
	if e := rows.Err(); e != nil {
		return nil, l.c.redact(s, e)
	}
	return all, err
}

// rows makes sure that no statement touched more rows than it may.
func (c *sqlConnector) rows(r pgx.BatchResults, list []*statement) (e effect, err error) {
	for _, s := range list {
		tag, fails := r.Exec()
		switch n := tag.RowsAffected(); {
		case err != nil || e != 0: // that is known
		case fails != nil:
			err = c.redact(s, fails)
		case n > s.rows:
			err = tooManyRows(s, n)
		case n == 0 && s.first:
			e = gone
		}
	}
	if fails := r.Close(); err == nil && e == 0 && fails != nil {
		err = c.redact(&statement{name: "begin"}, fails)
		if len(list) > 0 {
			err = c.redact(list[len(list)-1], fails)
		}
	}
	return e, err
}
