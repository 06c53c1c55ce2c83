package agent

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// powers is what a database user may do.
type powers struct {
	rules  []string            // what makes it more than a user of its own tables
	builds []string            // privileges to make, alter or drop what is not rows
	others []string            // databases beside the one of the accounts
	all    []string            // SELECT, INSERT, UPDATE, DELETE on every table there
	tables map[string][]string // and on single tables
	// columns are those to which a privilege on a table is limited, by "table privilege"; absent: none, it is of the whole table.
	columns map[string][]string
	unread  []string // roles of which nothing can be seen
}

var rowPrivileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}

// quiet are privileges that are of no use to harm accounts.
var quiet = []string{"USAGE", "SHOW VIEW", "LOCK TABLES", "CREATE TEMPORARY TABLES", "EXECUTE", "SHOW CREATE ROUTINE"}

// note adds a grant, as far as it goes beyond nothing.
func (p *powers) note(g *grant, database string) {
	name := func(one privilege) string { return one.name + " ON " + g.schema + "." + g.object }
	if g.proxy {
		p.rules = append(p.rules, "PROXY")
		return
	}
	for _, one := range g.privileges {
		switch {
		case one.name == "USAGE":
		case g.schema == "*":
			p.rules = append(p.rules, name(one))
		case !g.of(database):
			p.others = append(p.others, g.schema)
		case one.name == "ALL" || one.name == "ALL PRIVILEGES":
			p.builds = append(p.builds, name(one))
			p.rows(g, rowPrivileges, nil)
		case slices.Contains(rowPrivileges, one.name):
			p.rows(g, []string{one.name}, one.columns)
		case g.routine || slices.Contains(quiet, one.name):
		default:
			p.builds = append(p.builds, one.name)
		}
	}
	if g.more {
		what := "GRANT OPTION ON " + g.schema + "." + g.object
		if len(g.roles) > 0 {
			what = "ADMIN OPTION ON " + strings.Join(g.roles, ", ")
		}
		p.rules = append(p.rules, what)
	}
}

func (p *powers) rows(g *grant, privileges, columns []string) {
	if g.object == "*" {
		p.all = append(p.all, privileges...)
		return
	}
	for _, one := range privileges {
		key := g.object + " " + one
		switch {
		case !slices.Contains(p.tables[g.object], one):
			p.tables[g.object] = append(p.tables[g.object], one)
			if columns != nil {
				p.columns[key] = columns
			}
		case columns == nil:
			delete(p.columns, key)
		case p.columns[key] != nil:
			p.columns[key] = append(p.columns[key], columns...)
		}
	}
}

func newPowers() *powers {
	return &powers{tables: map[string][]string{}, columns: map[string][]string{}}
}

// powersMySQL reads SHOW GRANTS, also of each role that the user may take on, in use or not.
func powersMySQL(ctx context.Context, c *sqlConnector, r *Report) {
	p := newPowers()
	database, err := c.words(ctx, `SELECT coalesce(DATABASE(), '')`)
	if err == nil {
		err = c.readGrants(ctx, p, database[0])
	}
	if err == nil && len(p.all) > 0 {
		var tables []string
		tables, err = c.words(ctx, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1`)
		for _, t := range tables {
			for _, one := range p.all {
				p.rows(&grant{schema: database[0], object: t}, []string{one}, nil)
			}
		}
	}
	c.judgePowers(r, err, p)
}

// readGrants notes what the user may do, and what each of its roles may, in use or not.
func (c *sqlConnector) readGrants(ctx context.Context, p *powers, database string) error {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { // with a role in use it is none of the pool's
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}()
	told := map[string]bool{} // whose grants were told
	roles, err := c.noteGrants(ctx, conn, p, database, "SHOW GRANTS", told)
	for ; err == nil && len(roles) > 0; roles = roles[1:] {
		role := roles[0]
		if told[role] {
			continue
		}
		told[role] = true
		// MySQL tells what the user may with a role. In MariaDB the role is taken on, which tells of its own roles, too.
		more, failed := c.noteGrants(ctx, conn, p, database, "SHOW GRANTS FOR CURRENT_USER() USING "+role, told)
		if failed != nil {
			if _, failed = conn.ExecContext(ctx, "SET ROLE "+role); failed == nil {
				more, failed = c.noteGrants(ctx, conn, p, database, "SHOW GRANTS", told)
			}
		}
		if failed != nil {
			p.unread = append(p.unread, role)
		}
		roles = append(roles, more...)
	}
	return err
}

// noteGrants notes what a query tells, and gives the roles in it.
func (c *sqlConnector) noteGrants(ctx context.Context, conn *sql.Conn, p *powers, database, query string, told map[string]bool) (roles []string, err error) {
	lines, err := wordsOf(conn.QueryContext(ctx, query))
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		g, ok, err := parseGrant(line)
		if err != nil {
			return nil, err
		}
		if ok {
			told[g.to] = true
			p.note(&g, database)
			roles = append(roles, g.roles...)
		}
	}
	return roles, nil
}

// powersPostgres asks the system itself, which counts in what roles and PUBLIC give.
func powersPostgres(ctx context.Context, c *sqlConnector, r *Report) {
	p := newPowers()
	read := func(err error, into *[]string, q string) error {
		if err != nil {
			return err
		}
		got, err := c.words(ctx, q)
		*into = append(*into, got...)
		return err
	}
	err := read(nil, &p.rules, `SELECT CASE WHEN rolname = current_user THEN '' ELSE 'role ' || rolname || ': ' END || CASE WHEN rolsuper THEN 'SUPERUSER' WHEN rolcreaterole THEN 'CREATEROLE'
		WHEN rolcreatedb THEN 'CREATEDB' WHEN rolbypassrls THEN 'BYPASSRLS' WHEN rolreplication THEN 'REPLICATION' ELSE 'SERVER FILES OR PROGRAMS' END FROM pg_roles
		WHERE (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication OR rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files'))
		AND (rolname = current_user OR NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND pg_has_role(current_user, oid, 'MEMBER')) ORDER BY 1`)
	err = read(err, &p.rules, `SELECT DISTINCT 'GRANT OPTION ON ' || table_schema || '.' || table_name FROM information_schema.table_privileges
		WHERE is_grantable = 'YES' AND table_schema NOT IN ('pg_catalog', 'information_schema') AND grantee <> grantor AND CASE grantee WHEN 'PUBLIC' THEN false ELSE pg_has_role(current_user, grantee, 'USAGE') END ORDER BY 1 LIMIT 10`)
	err = read(err, &p.builds, `SELECT 'CREATE ON ' || current_database() WHERE has_database_privilege(current_database(), 'CREATE')
		UNION ALL SELECT 'CREATE ON ' || nspname FROM pg_namespace WHERE nspname = current_schema() AND has_schema_privilege(oid, 'CREATE')
		UNION ALL (SELECT 'OWNER OF ' || tablename FROM pg_tables WHERE pg_has_role(current_user, tableowner, 'USAGE') AND schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 10)`)
	var tables []string
	err = read(err, &tables, `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname || ' ' || p.privilege FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_t%' AND has_schema_privilege(n.oid, 'USAGE')
		AND (has_table_privilege(c.oid, p.privilege) OR p.privilege IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(c.oid, p.privilege)) ORDER BY 1`)
	for _, t := range tables {
		i := strings.LastIndexByte(t, ' ')
		p.tables[t[:i]] = append(p.tables[t[:i]], t[i+1:])
	}
	c.judgePowers(r, err, p)
}

// judgePowers says what the user may do that none of its statements needs.
func (c *sqlConnector) judgePowers(r *Report, err error, p *powers) {
	if err != nil {
		r.looks("permissions", "看不出数据库用户有哪些权限(%s)", "what the database user may do cannot be seen (%s)", c.d.code(err))
		return
	}
	before := len(r.Items)
	say := func(list []string, zh, en string) {
		if list = slices.Compact(slices.Sorted(slices.Values(list))); len(list) > 0 {
			text := strings.Join(list[:min(len(list), 10)], ", ")
			if len(list) > 10 {
				text += fmt.Sprintf(" … (%d)", len(list))
			}
			r.looks("permissions", zh, en, text)
		}
	}
	say(p.rules, "数据库用户的权限及于整个服务器,或能转授他人:%s。请给代理另建一个只够用的用户",
		"the database user has powers over the whole server, or may give them to others: %s. Give the agent a user of its own")
	say(p.builds, "数据库用户能建表、改表或拥有表:%s。代理只需 SELECT 和它语句里的 UPDATE、INSERT",
		"the database user may create or alter tables, or owns some: %s. The agent needs SELECT, and the UPDATE and INSERT of its statements")
	others := slices.DeleteFunc(slices.Clone(p.others), func(d string) bool { return c.uses(d, "") })
	say(others, "数据库用户还能用别的库:%s", "the database user may use other databases, too: %s")
	read, change := c.unused(p)
	say(change, "数据库用户能做语句用不到的改动:%s", "the database user may change what no statement changes: %s")
	say(read, "数据库用户能读语句用不到的表:%s", "the database user may read tables that no statement names: %s")
	say(p.unread, "看不出数据库用户的这些角色有哪些权限:%s", "what these roles of the database user may do cannot be seen: %s")
	if len(r.Items) == before {
		r.good("permissions", "数据库用户没有多余的权限", "the database user may do no more than it needs")
	}
}

// unused gives what may be read, and what may be changed, without a statement that does.
func (c *sqlConnector) unused(p *powers) (read, change []string) {
	for table, privileges := range p.tables {
		for _, one := range privileges {
			name := table[strings.LastIndexByte(table, '.')+1:]
			columns := p.columns[table+" "+one]
			switch {
			case one == "SELECT":
				if !c.uses(name, "") {
					read = append(read, table)
				}
			case !c.uses(name, one):
				change = append(change, one+" "+table)
			default:
				for _, column := range columns {
					if one == "UPDATE" && !c.uses(column, one) {
						change = append(change, one+" "+table+" ("+column+")")
					}
				}
			}
		}
	}
	return read, change
}

// uses reports whether a statement has a word; with a verb, one that begins with it and changes something.
func (c *sqlConnector) uses(word, verb string) bool {
	has := func(s *statement) bool {
		words := strings.FieldsFunc(strings.ToLower(s.text), func(r rune) bool { return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if !slices.Contains(words, strings.ToLower(word)) && !strings.Contains(strings.ToLower(s.text), "`"+strings.ToLower(word)+"`") &&
			!strings.Contains(s.text, `"`+word+`"`) {
			return false
		}
		switch {
		case verb == "":
			return true
		case slices.Contains(words, "merge"), verb != "UPDATE" && slices.Contains(words, "replace"):
			return true
		}
		return slices.Contains(words, strings.ToLower(verb))
	}
	var all []*statement
	for _, list := range c.acts {
		all = append(all, list...)
	}
	for _, list := range c.marks {
		all = append(all, list...)
	}
	if verb == "" || verb == "UPDATE" { // SELECT … FOR UPDATE
		for _, s := range c.finds {
			all = append(all, s)
		}
		if c.still != nil {
			all = append(all, c.still)
		}
	}
	return slices.ContainsFunc(all, has)
}

func (c *sqlConnector) words(ctx context.Context, q string) ([]string, error) {
	return wordsOf(c.db.QueryContext(ctx, q))
}

// wordsOf reads rows of one word each.
func wordsOf(rows *sql.Rows, err error) (out []string, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var w string
		if err := rows.Scan(&w); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, rows.Err()
}
