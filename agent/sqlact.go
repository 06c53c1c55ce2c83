package agent

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/huanxin-platform/huanxin"
)

func (c *sqlConnector) act(ctx context.Context, next func() *order, did func(*order)) error {
	if c.d.pipelined {
		return (&lane{c: c, did: did}).act(ctx, next)
	}
	return inTurn(next, did, func(o *order) (effect, error) { return c.actAlone(ctx, o) })
}

// actAlone does an order in one transaction: the binding is read there and judged again, then the statements run, each within its rows.
func (c *sqlConnector) actAlone(ctx context.Context, o *order) (effect, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	tx, err := c.db.BeginTx(ctx, &sql.TxOptions{Isolation: c.d.isolation})
	if err != nil {
		return 0, &unreachable{c.redact(&statement{name: "begin"}, err)}
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if o.still != nil {
		s := c.lookAgain(o)
		all, err := c.read(ctx, tx, s, c.args(s.prepared, o.want, o, o.now))
		if err != nil {
			return 0, err
		}
		if e := o.judge(all); e != 0 {
			return e, nil
		}
	}
	for _, s := range c.statements(o) {
		n, err := c.exec(ctx, tx, s, o)
		if err != nil {
			return 0, err
		}
		if n == 0 && s.first {
			return gone, nil
		}
	}
	o.begun()
	if err := tx.Commit(); err != nil {
		return uncertain, c.redact(&statement{name: "commit"}, err)
	}
	return acted, nil
}

func (c *sqlConnector) statements(o *order) []*statement {
	if o.kind != huanxin.Unbind && o.deed == unbind {
		return c.marks[o.kind]
	}
	return c.acts[o.deed]
}

// lookAgain gives the statement that reads the binding, and for restore all of the number's, in the transaction.
func (c *sqlConnector) lookAgain(o *order) *statement {
	if o.deed != restore && o.kind == huanxin.Unbind && c.still != nil {
		return c.still
	}
	return c.finds[o.kind]
}

func tooManyRows(s *statement, n int64) error {
	return fmt.Errorf("sql.%s: %w (%d rows, at most %d)", s.name, errRows, n, s.rows)
}

func (c *sqlConnector) exec(ctx context.Context, tx *sql.Tx, s *statement, o *order) (int64, error) {
	r, err := tx.ExecContext(ctx, s.text, c.args(s.prepared, o.want, o, o.now)...)
	if err != nil {
		return 0, c.redact(s, err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, c.redact(s, err)
	}
	if n > s.rows {
		return n, tooManyRows(s, n)
	}
	return n, nil
}
