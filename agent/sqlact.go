package agent

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/huanxin-platform/huanxin"
)

// act does an order in one transaction: the binding is read there and judged again, then the statements run, each within its rows.
func (c *sqlConnector) act(ctx context.Context, o *order) (effect, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("sql: %w", c.redact(&statement{name: "begin"}, err))
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if o.still != nil {
		all, err := c.reread(ctx, tx, o)
		switch {
		case err != nil:
			return 0, err
		case o.deed != restore && !slices.ContainsFunc(all, func(f Facts) bool { return f.ID == o.binding }):
			return gone, nil
		case !o.still(all):
			return changed, nil
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

// reread gives the binding, and for restore all of the number's, as the transaction sees them.
func (c *sqlConnector) reread(ctx context.Context, tx *sql.Tx, o *order) ([]Facts, error) {
	s := c.finds[o.kind]
	if o.deed != restore && o.kind == huanxin.Unbind && c.still != nil {
		s = c.still
	}
	return c.read(ctx, tx, s, c.args(s.prepared, o.want, o, o.now))
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
		return n, fmt.Errorf("sql.%s: %w (%d rows, at most %d)", s.name, errRows, n, s.rows)
	}
	return n, nil
}
