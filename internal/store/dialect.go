package store

import (
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is where the two engines differ. SQL is written once, with $1 for arguments and, in statements over many rows:
//
//	{rows}   the rows of a batch as a relation r with the batch's columns
//	{join}   a join that visits r first, whatever the planner thinks
//	{lock}   locks the rows that a SELECT gives until the transaction ends
type dialect interface {
	name() string
	rewrite(q string) string
	// chunk is how many of n rows the next statement of a batch takes.
	chunk(n int) int
	// rows gives the relation of a chunk, its first argument being $first, and appends its arguments.
	rows(first int, cols []column, from, to int, args []any) (string, []any)
	// taskID makes a task's id of its app and of a number that counts up. SQLite keeps rows in the order of their ids, and an
	// app lists and answers many tasks of its own at once, each of another request: with the app in front they lie side by
	// side and not on a page each. PostgreSQL keeps rows as they come.
	taskID(app, n int64) int64
	// violates reports whether err says that a unique index was violated: PostgreSQL names the index, SQLite the columns.
	violates(err error, index, columns string) bool
}

// column is one column of a batch. Exactly one of ints, texts and blobs is set.
type column struct {
	name  string
	ints  []int64
	texts []string
	blobs [][]byte
}

func ints(name string, v []int64) column   { return column{name: name, ints: v} }
func texts(name string, v []string) column { return column{name: name, texts: v} }
func blobs(name string, v [][]byte) column { return column{name: name, blobs: v} }

func (c column) len() int { return max(len(c.ints), len(c.texts), len(c.blobs)) }

type sqlite struct{}

func (sqlite) name() string { return "sqlite" }

// rewrite turns $n into ?n: SQLite takes $n for a name and numbers it in order of appearance.
func (sqlite) rewrite(q string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(q, "$", "?"), "{lock}", ""), "{join}", "CROSS JOIN")
}

// chunk keeps to few sizes, so that each statement is prepared once.
func (sqlite) chunk(n int) int {
	for _, size := range []int{256, 64, 16, 4} {
		if n >= size {
			return size
		}
	}
	return 1
}

// rows is a multi-row VALUES: three times as fast as json_each here. Only its first parameter has a number and the others
// count on from it: the driver looks up each numbered one in a list.
func (sqlite) rows(first int, cols []column, from, to int, args []any) (string, []any) {
	var b strings.Builder
	b.WriteString("(SELECT ")
	for i, c := range cols {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("column" + strconv.Itoa(i+1) + " AS " + c.name)
	}
	b.WriteString(" FROM (VALUES ($" + strconv.Itoa(first) + strings.Repeat(",?", len(cols)-1) + ")")
	row := ",(?" + strings.Repeat(",?", len(cols)-1) + ")"
	for range to - from - 1 {
		b.WriteString(row)
	}
	b.WriteString(")) AS r")
	for row := from; row < to; row++ {
		for _, c := range cols {
			switch {
			case c.ints != nil:
				args = append(args, c.ints[row])
			case c.blobs != nil:
				args = append(args, c.blobs[row])
			default:
				args = append(args, c.texts[row])
			}
		}
	}
	return b.String(), args
}

func (sqlite) taskID(app, n int64) int64 { return app<<taskBits + n }

func (sqlite) violates(err error, _, columns string) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE && strings.Contains(e.Error(), columns)
}

type postgres struct{}

func (postgres) name() string { return "postgres" }

func (postgres) rewrite(q string) string {
	return strings.ReplaceAll(strings.ReplaceAll(q, "{lock}", "FOR UPDATE"), "{join}", "JOIN")
}

func (postgres) chunk(n int) int { return n }

func (postgres) taskID(_, n int64) int64 { return n }

func (postgres) violates(err error, index, _ string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505" && e.ConstraintName == index
}

func (postgres) rows(first int, cols []column, from, to int, args []any) (string, []any) {
	var types, names []string
	for i, c := range cols {
		t := "::bigint[]"
		switch {
		case c.ints != nil:
			args = append(args, c.ints[from:to])
		case c.blobs != nil:
			t = "::bytea[]"
			args = append(args, c.blobs[from:to])
		default:
			t = "::text[]"
			args = append(args, c.texts[from:to])
		}
		types = append(types, "$"+strconv.Itoa(first+i)+t)
		names = append(names, c.name)
	}
	return "unnest(" + strings.Join(types, ",") + ") AS r(" + strings.Join(names, ",") + ")", args
}

// each runs q once a chunk over the rows of cols. args are q's other arguments, $1 and on.
func (t *Tx) each(q string, args []any, cols []column, run func(q string, args []any) error) error {
	n := cols[0].len()
	for from := 0; from < n; {
		to := from + t.dialect.chunk(n-from)
		rel, all := t.dialect.rows(len(args)+1, cols, from, to, args[:len(args):len(args)])
		if err := run(strings.Replace(q, "{rows}", rel, 1), all); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// execEach runs a statement over the rows of cols and gives how many rows it changed.
func (t *Tx) execEach(q string, args []any, cols ...column) (changed int64, err error) {
	err = t.each(q, args, cols, func(q string, args []any) error {
		res, err := t.exec(q, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		changed += n
		return err
	})
	return changed, err
}

// eachLater runs a statement over the rows of cols, at the latest with the commit.
func (t *Tx) eachLater(q string, args []any, cols ...column) error {
	return t.each(q, args, cols, func(q string, args []any) error { return t.later(q, args, nil, nil) })
}

// queryEach runs a query over the rows of cols and gives each row of the results to scan, in no particular order.
func (t *Tx) queryEach(q string, args []any, scan func(scanner) error, cols ...column) error {
	return t.each(q, args, cols, func(q string, args []any) error { return t.queryAll(q, args, scan) })
}

// queryAll runs a query and gives each row of the result to scan.
func (t *Tx) queryAll(q string, args []any, scan func(scanner) error) error {
	if p, ok := t.conn.(*pipeline); ok { // it reads rows without a detour over database/sql
		p.hold(heldStatement{q: t.dialect.rewrite(q), args: args, scan: scan})
		return p.flush(t.ctx)
	}
	rows, err := t.query(q, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, func(r *sql.Rows) error { return scan(r) })
}

func scanAll(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// lockInOrder is lock, and the rows are locked in the order of a column, so that two who lock some of the same never wait
// for each other in a circle.
func (t *Tx) lockInOrder(table, column string) string {
	if lock := t.lock(table); lock != "" {
		return " ORDER BY " + table + "." + column + lock
	}
	return ""
}

// lock ends a SELECT so that nobody else changes the rows that it takes from a table until the transaction ends.
func (t *Tx) lock(table string) string {
	if t.dialect.name() == "postgres" {
		return " FOR UPDATE OF " + table
	}
	return "" // there is one writer
}

// lockFree is lock for work that can wait: rows that someone else is changing are left out, and the next look finds them.
func (t *Tx) lockFree(table string) string {
	if q := t.lock(table); q != "" {
		return q + " SKIP LOCKED"
	}
	return ""
}
