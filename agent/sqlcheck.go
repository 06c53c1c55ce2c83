package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/huanxin-platform/huanxin"
)

// bigTable is from how many rows on a statement that reads all of a table is worth a warning.
const bigTable = 10_000

// check prepares and explains every statement, looks at the columns of those that find, and at what the database user may do.
func (c *sqlConnector) check(ctx context.Context, r *Report) {
	ctx, cancel := context.WithTimeout(ctx, 4*c.timeout)
	defer cancel()
	if err := c.db.PingContext(ctx); err != nil {
		r.wrong("accounts", "连不上账号数据库(%s)", "the accounts' database cannot be reached (%s)", c.d.code(err))
		return
	}
	r.good("accounts", "账号数据库可连", "the accounts' database can be reached")
	w := nobody(c.zone)
	o := &order{want: w, binding: "0", account: "0", token: "check", until: w.started, now: w.started}
	bad := len(r.Items)
	for k, s := range c.finds {
		c.checkFind(ctx, r, s, c.args(s.prepared, w, nil, w.started), k != huanxin.Unbind)
	}
	if c.still != nil {
		c.checkFind(ctx, r, c.still, c.args(c.still.prepared, w, o, w.started), false)
	}
	for _, d := range []deed{suspend, resume, unbind, restore} {
		for _, s := range c.acts[d] {
			c.checkStatement(ctx, r, s, o)
		}
	}
	for _, list := range c.marks {
		for _, s := range list {
			c.checkStatement(ctx, r, s, o)
		}
	}
	if len(r.Items) == bad {
		r.good("accounts", "各条语句都能在数据库里准备和解释", "every statement can be prepared and explained by the database")
	}
	if c.still == nil && c.d.leaseConns > 0 {
		r.looks("accounts", "没有 still_bound:动手前用 find 复核,不锁行;建议写成 SELECT … FOR UPDATE",
			"there is no still_bound: find looks once more before an act, without locking the row; a SELECT … FOR UPDATE is better")
	}
	c.d.powers(ctx, c, r)
	if err := c.holder.take(ctx); err != nil && err != errTaken {
		r.wrong("permissions", "不能取得账号数据库的独占权:%s", "the lease on the accounts cannot be taken: %s", c.d.code(err))
	} else if err == errTaken {
		r.looks("accounts", "另一个代理正在这些账号上工作", "another agent works on these accounts")
	}
}

func (c *sqlConnector) checkFind(ctx context.Context, r *Report, s *statement, args []any, marks bool) {
	rows, err := c.db.QueryContext(ctx, s.text, args...)
	if err != nil {
		r.wrong("accounts", "语句 sql.%s 不能用(%s),数据库说:「%s」", "the statement sql.%s does not work (%s), the database says: %s", s.name, c.d.code(err), said(err))
		return
	}
	types, err := rows.ColumnTypes()
	found := 0
	for err == nil && rows.Next() {
		found++
	}
	_ = rows.Close()
	if err != nil {
		r.wrong("accounts", "语句 sql.%s 的列不可读:%s", "the columns of sql.%s cannot be read: %s", s.name, c.d.code(err))
		return
	}
	cols := make([]column, len(types))
	for i, t := range types {
		cols[i].name = strings.ToLower(t.Name())
		c.checkType(r, s, cols[i].name, t)
	}
	for _, e := range judgeColumns(cols, marks) {
		r.wrong("accounts", "语句 sql.%s:%s", "the statement sql.%s: %s", s.name, e)
	}
	if found > 0 {
		r.wrong("accounts", "语句 sql.%s 对一个无人使用的号码找到了 %d 行", "the statement sql.%s finds %d rows for a number that nobody has", s.name, found)
	}
	c.explain(ctx, r, s, args)
}

// checkType warns of a type that cannot be what the column says.
func (c *sqlConnector) checkType(r *Report, s *statement, name string, t *sql.ColumnType) {
	base, u := cutUnit(name)
	kind := strings.ToUpper(t.DatabaseTypeName())
	number := slices.ContainsFunc([]string{"INT", "NUMERIC", "DECIMAL", "FLOAT", "DOUBLE", "REAL"}, func(n string) bool { return strings.HasPrefix(kind, n) || strings.HasSuffix(kind, "INT") })
	wrong := ""
	switch {
	case slices.Contains(timeColumns, name) && number:
		wrong = "is a number: name it with _s, _ms or _us"
	case slices.Contains(timeColumns, base) && u != 0 && kind != "" && !strings.Contains(kind, "INT"):
		wrong = "must be a whole number"
	case slices.Contains(timeColumns, name) && kind == "BOOL", name == "bound_day" && number:
		wrong = "is no time"
	}
	if wrong != "" {
		r.wrong("accounts", "语句 sql.%s 的列 %s(%s)类型不对:%s", "the column %[2]s (%[3]s) of sql.%[1]s %[4]s", s.name, name, kind, wrong)
	}
}

// checkStatement explains a statement that changes something, which does not run it.
func (c *sqlConnector) checkStatement(ctx context.Context, r *Report, s *statement, o *order) {
	c.explain(ctx, r, s, c.args(s.prepared, o.want, o, o.now))
}

func (c *sqlConnector) explain(ctx context.Context, r *Report, s *statement, args []any) {
	scans, err := c.d.explain(ctx, c, s, args)
	if err != nil {
		r.wrong("accounts", "语句 sql.%s 不能用(%s),数据库说:「%s」", "the statement sql.%s does not work (%s), the database says: %s", s.name, c.d.code(err), said(err))
		return
	}
	for _, table := range scans {
		r.looks("accounts", "语句 sql.%s 要通读大表 %s:请加索引", "the statement sql.%s reads the whole of a big table, %s: it needs an index", s.name, table)
	}
}

// said gives the database's own words about a statement: no value is in it when check runs it, since its number is nobody's.
func said(err error) string { return err.Error() }

func explainPostgres(ctx context.Context, c *sqlConnector, s *statement, args []any) (scans []string, err error) {
	var text string
	if err := c.db.QueryRowContext(ctx, "EXPLAIN (FORMAT JSON) "+s.text, args...).Scan(&text); err != nil {
		return nil, err
	}
	var plans []map[string]any
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		return nil, err
	}
	tables := map[string]bool{}
	for _, p := range plans {
		walkPlan(p, tables)
	}
	for t := range tables {
		var rows float64
		if err := c.db.QueryRowContext(ctx, `SELECT coalesce(max(reltuples), 0) FROM pg_class WHERE relname = $1 AND relkind IN ('r', 'p', 'm')`, t).Scan(&rows); err != nil {
			return nil, err
		}
		if rows >= bigTable {
			scans = append(scans, t)
		}
	}
	return scans, nil
}

// walkPlan collects the tables that a plan of PostgreSQL reads as a whole.
func walkPlan(v any, tables map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if v["Node Type"] == "Seq Scan" {
			if name, ok := v["Relation Name"].(string); ok {
				tables[name] = true
			}
		}
		for _, child := range v {
			walkPlan(child, tables)
		}
	case []any:
		for _, child := range v {
			walkPlan(child, tables)
		}
	}
}

// explainMySQL reads the rows of EXPLAIN, which MySQL and MariaDB have in common: type ALL reads all of a table.
func explainMySQL(ctx context.Context, c *sqlConnector, s *statement, args []any) (scans []string, err error) {
	rows, err := c.db.QueryContext(ctx, "EXPLAIN "+s.text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values := make([]sql.NullString, len(cols))
		into := make([]any, len(cols))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]string{}
		for i, name := range cols {
			row[name] = values[i].String
		}
		var n float64
		_, _ = fmt.Sscan(row["rows"], &n)
		if row["type"] == "ALL" && n >= bigTable {
			scans = append(scans, row["table"])
		}
	}
	return scans, rows.Err()
}

func explainSQLite(ctx context.Context, c *sqlConnector, s *statement, args []any) (scans []string, err error) {
	rows, err := c.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+s.text, args...)
	if err != nil {
		return nil, err
	}
	var tables []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			_ = rows.Close()
			return nil, err
		}
		if words := strings.Fields(detail); len(words) == 2 && words[0] == "SCAN" {
			tables = append(tables, words[1])
		}
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	for _, t := range tables {
		var n int
		q := fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM "%s" LIMIT %d)`, strings.ReplaceAll(t, `"`, `""`), bigTable)
		if err := c.db.QueryRowContext(ctx, q).Scan(&n); err == nil && n >= bigTable { // an alias is no table
			scans = append(scans, t)
		}
	}
	return scans, nil
}
