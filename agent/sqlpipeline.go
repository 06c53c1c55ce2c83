package agent

import (
	"context"
	"database/sql"
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
