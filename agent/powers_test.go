package agent

import (
	"database/sql"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestGrantsAreReadAsTheServersWriteThem(t *testing.T) {
	for line, want := range map[string]grant{
		"GRANT USAGE ON *.* TO `agent`@`localhost` IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29'": {
			privileges: []privilege{{"USAGE", nil}}, schema: "*", object: "*"},
		"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION":                   {privileges: []privilege{{"ALL PRIVILEGES", nil}}, schema: "*", object: "*", more: true},
		"GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION":                         {privileges: []privilege{{"PROXY", nil}}, proxy: true, more: true},
		"GRANT SELECT, DELETE HISTORY, CREATE VIEW ON `a\\_b%`.* TO `u`@`%`":                    {privileges: []privilege{{"SELECT", nil}, {"DELETE HISTORY", nil}, {"CREATE VIEW", nil}}, schema: `a\_b%`, object: "*"},
		"GRANT SELECT (`id`, `on`), UPDATE (`to`) ON `shop`.`a``b` TO `u`@`10.0.0.%`":           {privileges: []privilege{{"SELECT", []string{"id", "on"}}, {"UPDATE", []string{"to"}}}, schema: "shop", object: "a`b"},
		"GRANT EXECUTE ON FUNCTION `shop`.`f` TO `u`@`%`":                                       {privileges: []privilege{{"EXECUTE", nil}}, schema: "shop", object: "f", routine: true},
		"GRANT `clerk`,`boss` TO `u`@`%` WITH ADMIN OPTION":                                     {roles: []string{"`clerk`", "`boss`"}, more: true},
		"GRANT `clerk`@`%`,`boss`@`h` TO `u`@`%`":                                               {roles: []string{"`clerk`@`%`", "`boss`@`h`"}},
		"GRANT INSERT ON \"shop\".\"t\" TO \"u\"@\"%\" REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 5": {privileges: []privilege{{"INSERT", nil}}, schema: "shop", object: "t"},
		"GRANT BACKUP_ADMIN,ROLE_ADMIN ON *.* TO `u`@`%`":                                       {privileges: []privilege{{"BACKUP_ADMIN", nil}, {"ROLE_ADMIN", nil}}, schema: "*", object: "*"},
	} {
		got, ok, err := parseGrant(line)
		if got.to == "" {
			t.Errorf("%s: to nobody", line)
		}
		if got.to = ""; err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n is read as %+v (%v, %v)\nwant       %+v", line, got, ok, err, want)
		}
	}
	for _, line := range []string{"SET DEFAULT ROLE `clerk` FOR `u`@`%`", "REVOKE INSERT ON `mysql`.* FROM `u`@`%`"} {
		if _, ok, err := parseGrant(line); ok || err != nil {
			t.Errorf("%s: %v, %v", line, ok, err)
		}
	}
	for _, line := range []string{"", "SELECT 1", "GRANT SELECT ON `a", "GRANT SELECT ON a TO u", "GRANT SELECT (a ON b.c TO u"} {
		if _, _, err := parseGrant(line); err == nil {
			t.Errorf("%q is read", line)
		}
	}
}

func TestASchemasNameOfAGrantMayHoldWildcards(t *testing.T) {
	for schema, of := range map[string]bool{"shop": true, "SHOP": true, "sh%": true, "sho_": true, "%": true, "*": true, `sh\op`: true, `sho\_`: false, "shop2": false, "sho": false, "": false} {
		if g := (grant{schema: schema, object: "*"}); g.of("shop") != of {
			t.Errorf("%q: not %v", schema, of)
		}
	}
	if g := (grant{schema: "sh%", object: "t"}); g.of("shop") {
		t.Error("one object's schema has no wildcards")
	}
}

func FuzzGrant(f *testing.F) {
	f.Add("GRANT SELECT (`id`), UPDATE ON `shop`.`t` TO `u`@`%` WITH GRANT OPTION")
	f.Add("GRANT `clerk`@`%` TO `u`@`%`")
	f.Fuzz(func(t *testing.T, line string) {
		g, ok, err := parseGrant(line)
		if ok && err == nil && len(g.privileges)+len(g.roles) == 0 {
			t.Errorf("%q grants nothing", line)
		}
		g.of("shop")
	})
}

// exactly is what the statements of an office need of MariaDB, and no more.
var exactly = []string{
	"GRANT SELECT, UPDATE (suspended_by, detached_at, detached_by, token) ON DB.bindings TO U", "GRANT INSERT ON DB.acts TO U",
	"GRANT SELECT, UPDATE (ended_by) ON DB.sessions TO U", "GRANT INSERT ON DB.notices TO U", "GRANT SELECT, UPDATE (removed_by) ON DB.labels TO U",
}

// TestCheckSeesWhatAMariaDBUserMayDoBeyondItsStatements: each way in which one gets more, on the real server.
func TestCheckSeesWhatAMariaDBUserMayDoBeyondItsStatements(t *testing.T) {
	o := newOffice(t, withEngine(mariaEngine(t)))
	o.must(o.agent.Close())
	root, err := sql.Open("mysql", maria.dsn("root", ""))
	o.must(err)
	defer root.Close()
	database := o.config.SQL.DSN[strings.LastIndexByte(o.config.SQL.DSN, '/')+1:]
	o.exec("CREATE TABLE prices (id INT PRIMARY KEY, price INT)")
	for i, c := range []struct {
		what  string
		grant []string
		want  string // of the one warning; empty: no more than it needs
	}{
		{"what it needs", nil, ""},
		{"a table to read", []string{"GRANT SELECT ON DB.prices TO U"}, "read tables that no statement names: prices"},
		{"a table to change", []string{"GRANT UPDATE ON DB.prices TO U"}, "UPDATE prices"},
		{"a column to change", []string{"GRANT UPDATE (price) ON DB.prices TO U"}, "UPDATE prices"},
		{"a column of a table that it needs", []string{"GRANT UPDATE (true_bound) ON DB.bindings TO U"}, "UPDATE bindings (true_bound)"},
		{"rows to delete", []string{"GRANT DELETE ON DB.bindings TO U"}, "DELETE bindings"},
		{"tables to make", []string{"GRANT CREATE ON DB.* TO U"}, "may create or alter tables, or owns some: CREATE"},
		{"a table to alter", []string{"GRANT ALTER ON DB.labels TO U"}, "may create or alter tables, or owns some: ALTER"},
		{"all of the database", []string{"GRANT ALL ON DB.* TO U"}, "ALL PRIVILEGES ON"},
		{"rows of the whole database", []string{"GRANT UPDATE ON DB.* TO U"}, "UPDATE prices"},
		{"the whole server to read", []string{"GRANT SELECT ON *.* TO U"}, "over the whole server, or may give them to others: SELECT ON *.*"},
		{"everything", []string{"GRANT ALL ON *.* TO U WITH GRANT OPTION"}, "over the whole server"},
		{"to give on", []string{"GRANT INSERT ON DB.notices TO U WITH GRANT OPTION"}, "GRANT OPTION ON"},
		{"to be another", []string{"GRANT PROXY ON agent@localhost TO U"}, "PROXY"},
		{"another database", []string{"CREATE DATABASE IF NOT EXISTS payroll", "GRANT SELECT ON payroll.* TO U"}, "other databases, too: payroll"},
		{"databases of like names", []string{"GRANT SELECT ON `pay%`.* TO U"}, "other databases, too: pay%"},
		{"a role that is not in use", []string{"CREATE OR REPLACE ROLE clerk", "GRANT DELETE ON DB.prices TO clerk", "GRANT clerk TO U"}, "DELETE prices"},
		{"a role of a role", []string{"CREATE OR REPLACE ROLE boss", "CREATE OR REPLACE ROLE clerk", "GRANT SELECT ON *.* TO boss", "GRANT boss TO clerk", "GRANT clerk TO U"}, "SELECT ON *.*"},
		{"a role to give on", []string{"CREATE OR REPLACE ROLE clerk", "GRANT clerk TO U WITH ADMIN OPTION"}, "ADMIN OPTION ON `clerk`"},
		{"locks and views", []string{"GRANT LOCK TABLES, SHOW VIEW, CREATE TEMPORARY TABLES ON DB.* TO U"}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			user := fmt.Sprintf("u%d", i)
			for _, q := range append(append([]string{"CREATE OR REPLACE USER U"}, exactly...), c.grant...) {
				if _, err := root.Exec(strings.NewReplacer("DB", database, "TO U", "TO "+user+"@localhost", "USER U", "USER "+user+"@localhost").Replace(q)); err != nil {
					t.Fatal(q, err)
				}
			}
			cfg := o.config
			accounts := *cfg.SQL
			accounts.DSN = maria.dsn(user, database)
			cfg.SQL = &accounts
			r := Check(t.Context(), cfg, o.options)
			if !r.OK() {
				t.Errorf("%+v", r.Items)
			}
			if c.want == "" && !r.has(Good, "may do no more than it needs") || c.want != "" && !r.has(Looks, c.want) {
				t.Errorf("%+v", r.Items)
			}
		})
	}
}

// as gives a DSN for another user.
func as(t *testing.T, dsn, user string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("user", user)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestCheckSeesWhatAPostgresUserMayDoBeyondItsStatements, by whatever role it has that from.
func TestCheckSeesWhatAPostgresUserMayDoBeyondItsStatements(t *testing.T) {
	o := newOffice(t, withEngine(postgresEngine(t)))
	o.must(o.agent.Close())
	o.exec("CREATE TABLE prices (id int PRIMARY KEY, price int)")
	super, err := o.engine.open(as(t, o.config.SQL.DSN, "postgres"))
	o.must(err)
	defer super.Close()
	for i, c := range []struct {
		what  string
		grant []string
		want  string
	}{
		{"what it needs", nil, ""},
		{"a table to read", []string{"GRANT SELECT ON prices TO USER"}, "read tables that no statement names: prices"},
		{"a column to change", []string{"GRANT UPDATE (price) ON prices TO USER"}, "UPDATE prices"},
		{"rows to delete", []string{"GRANT DELETE ON bindings TO USER"}, "DELETE bindings"},
		{"a table of its own", []string{"ALTER TABLE prices OWNER TO USER"}, "OWNER OF prices"},
		{"to make tables", []string{"GRANT CREATE ON SCHEMA public TO USER"}, "CREATE ON public"},
		{"to give on", []string{"GRANT INSERT ON notices TO USER WITH GRANT OPTION"}, "GRANT OPTION ON public.notices"},
		{"a role", []string{"CREATE ROLE clerk_USER", "GRANT UPDATE ON prices TO clerk_USER", "GRANT clerk_USER TO USER"}, "UPDATE prices"},
		{"a role that reads the server's files", []string{"GRANT pg_read_server_files TO USER"}, "role pg_read_server_files"},
		{"to make users", []string{"ALTER ROLE USER CREATEROLE"}, "CREATEROLE"},
	} {
		t.Run(c.what, func(t *testing.T) {
			user := fmt.Sprintf("agent_%d_%d", offices.Load(), i)
			for _, q := range append([]string{"CREATE ROLE USER LOGIN PASSWORD 'x'", "GRANT SELECT, UPDATE ON bindings, sessions, labels TO USER", "GRANT INSERT ON acts, notices TO USER"}, c.grant...) {
				if _, err := super.Exec(strings.NewReplacer("USER", user).Replace(q)); err != nil {
					t.Fatal(q, err)
				}
			}
			cfg := o.config
			accounts := *cfg.SQL
			accounts.DSN = as(t, accounts.DSN, user)
			cfg.SQL = &accounts
			r := Check(t.Context(), cfg, o.options)
			if !r.OK() {
				t.Errorf("%+v", r.Items)
			}
			if c.want == "" && !r.has(Good, "may do no more than it needs") || c.want != "" && !r.has(Looks, c.want) {
				t.Errorf("%+v", r.Items)
			}
		})
	}
}
