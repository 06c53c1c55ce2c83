package agent

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// findPipelined asks PostgreSQL for many numbers without waiting for each answer. After an error nothing is told: the caller asks
// one by one, so that one bad row stops one task and no more.
func (c *sqlConnector) findPipelined(ctx context.Context, conn *sql.Conn, wants []*want, out []found) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return conn.Raw(func(d any) error {
		pg, ok := d.(*stdlib.Conn)
		if !ok {
			return errors.New("not pgx")
		}
		var batch pgx.Batch
		now := time.Now()
		for _, w := range wants {
			if s := w.findBy(c); s != nil {
				batch.Queue(s.text, c.args(s.prepared, w, nil, now)...)
			}
		}
		if batch.Len() == 0 {
			return nil
		}
		results := pg.Conn().SendBatch(ctx, &batch)
		err := c.readBatch(results, wants, out)
		if e := results.Close(); err == nil {
			err = e
		}
		return err
	})
}

func (c *sqlConnector) readBatch(results pgx.BatchResults, wants []*want, out []found) error {
	for i, w := range wants {
		s := w.findBy(c)
		if s == nil {
			continue
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		out[i].facts, out[i].err = c.readRows(rows, s)
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *sqlConnector) readRows(rows pgx.Rows, s *statement) (all []Facts, err error) {
	var r factReader
	for rows.Next() {
		if r.cols == nil {
			r = factReader{cols: pgColumns(rows), zone: c.zone}
		}
		if len(all) == c.cfg.maxBindings() {
			return nil, errTooMany
		}
		values, err := rows.Values()
		if err != nil {
			return nil, c.redact(s, err)
		}
		f, err := r.read(values)
		if err != nil {
			return nil, fmt.Errorf("sql.%s: %w", s.name, err)
		}
		all = append(all, f)
	}
	return all, nil
}

func pgColumns(rows pgx.Rows) []column {
	fields := rows.FieldDescriptions()
	cols := make([]column, len(fields))
	for i, f := range fields {
		cols[i].name = strings.ToLower(f.Name)
		switch f.DataTypeOID {
		case pgtype.DateOID:
			cols[i].kind = dateColumn
		case pgtype.TimestampOID:
			cols[i].kind = localColumn
		}
	}
	return cols
}

// actPipelined is act on PostgreSQL in three exchanges: the transaction begins with the look at the binding, the statements go together,
// and the commit goes when their rows are known.
func (c *sqlConnector) actPipelined(ctx context.Context, o *order) (e effect, err error) {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return 0, c.redact(&statement{name: "begin"}, err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.Raw(func(d any) error {
		pg := d.(*stdlib.Conn).Conn()
		if e, err = c.actOn(ctx, pg, o); e == acted {
			return nil
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		if _, rollback := pg.Exec(end, "ROLLBACK"); rollback != nil || e == uncertain {
			return driver.ErrBadConn // and the server rolls back
		}
		return nil
	})
	return e, err
}

func (c *sqlConnector) actOn(ctx context.Context, pg *pgx.Conn, o *order) (effect, error) {
	var begin pgx.Batch
	begin.Queue("BEGIN")
	s := c.lookAgain(o)
	if o.still != nil {
		begin.Queue(s.text, c.args(s.prepared, o.want, o, o.now)...)
	}
	all, err := c.begin(pg.SendBatch(ctx, &begin), o, s)
	if err != nil {
		return 0, err
	}
	if o.still != nil {
		if e := o.judge(all); e != 0 {
			return e, nil
		}
	}
	list := c.statements(o)
	var deeds pgx.Batch
	for _, s := range list {
		deeds.Queue(s.text, c.args(s.prepared, o.want, o, o.now)...)
	}
	e, err := c.rows(pg.SendBatch(ctx, &deeds), list)
	if e != 0 || err != nil {
		return e, err
	}
	tag, err := pg.Exec(ctx, "COMMIT")
	if err != nil {
		return uncertain, c.redact(&statement{name: "commit"}, err)
	}
	if tag.String() != "COMMIT" {
		return 0, c.redact(&statement{name: "commit"}, errors.New("rolled back"))
	}
	return acted, nil
}

// begin reads what the first exchange gave.
func (c *sqlConnector) begin(r pgx.BatchResults, o *order, s *statement) (all []Facts, err error) {
	if _, err = r.Exec(); err == nil && o.still != nil {
		var rows pgx.Rows
		if rows, err = r.Query(); err == nil {
			all, err = c.readRows(rows, s)
			rows.Close()
			if e := rows.Err(); e != nil {
				err = c.redact(s, e)
			}
		} else {
			err = c.redact(s, err)
		}
	}
	if e := r.Close(); err == nil && e != nil {
		err = c.redact(s, e)
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
		err = c.redact(list[len(list)-1], fails)
	}
	return e, err
}
