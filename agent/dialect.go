package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

// dialect is what differs between databases.
type dialect struct {
	quoting     quoting
	open        func(dsn string, zone *time.Location, timeout time.Duration) (*sql.DB, error)
	time        func(time.Time) any // a time as a parameter
	kindOf      func(databaseType string) columnKind
	code        func(error) string // an error's code, without any value
	lease       func(db *sql.DB, dsn, client string) leaseHolder
	connections int           // at most, by default
	idle        time.Duration // for which a connection is kept that is not used
	leaseConns  int           // one more for the lease
	pipelined   bool
	// isolation is that of a deed's transaction. What is looked at there may not change before the commit: a change is waited for, or is an
	// error here, whatever the company's statements lock.
	isolation sql.IsolationLevel
	explain   func(ctx context.Context, c *sqlConnector, s *statement, args []any) (scans []string, err error)
	powers    func(ctx context.Context, c *sqlConnector, r *Report)
}

var dialects = map[string]*dialect{}

func init() { // not in the literal: they check themselves by way of the map
	dialects["postgres"] = &dialect{
		quoting: quoting{dollarQuotes: true, nested: true, marks: dollars},
		open:    openPostgres,
		time:    func(t time.Time) any { return t },
		kindOf:  kindOfColumn("DATE", "TIMESTAMP"),
		code:    errorCode, lease: leasePostgres, connections: 8, idle: 20 * time.Second, leaseConns: 1, pipelined: true, isolation: sql.LevelRepeatableRead, explain: explainPostgres, powers: powersPostgres}
	dialects["mysql"] = &dialect{
		quoting: quoting{backticks: true, backslashes: true, hashes: true, marks: questions},
		open:    openMySQL,
		time:    func(t time.Time) any { return t },
		kindOf:  kindOfColumn("DATE", ""),
		code:    errorCode, lease: leaseMySQL, connections: 8, idle: 20 * time.Second, leaseConns: 1, isolation: sql.LevelSerializable, explain: explainMySQL, powers: powersMySQL}
	dialects["sqlite"] = &dialect{
		quoting: quoting{backticks: true, brackets: true, marks: dollars},
		open:    openSQLite,
		time:    func(t time.Time) any { return t.Format("2006-01-02 15:04:05.000") },
		kindOf:  kindOfColumn("DATE", ""),
		code:    errorCode, lease: leaseSQLite, connections: 1, idle: 5 * time.Second, explain: explainSQLite, powers: func(context.Context, *sqlConnector, *Report) {}}
}

func kindOfColumn(date, local string) func(string) columnKind {
	return func(t string) columnKind {
		switch t {
		case date:
			return dateColumn
		case local:
			return localColumn
		}
		return anyColumn
	}
}

func openPostgres(dsn string, zone *time.Location, timeout time.Duration) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("it is no postgres:// URL")
	}
	cfg.RuntimeParams["timezone"] = zone.String()
	cfg.RuntimeParams["application_name"] = "huanxin agent"
	cfg.RuntimeParams["statement_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10) // an agent that is stopped keeps no locks
	cfg.ConnectTimeout = timeout
	return stdlib.OpenDB(*cfg), nil
}

// openMySQL has the server's session in the company's zone, so that DATETIME and TIMESTAMP mean the same, and counts the rows that a
// statement matches, whether it changes them or not.
func openMySQL(dsn string, zone *time.Location, timeout time.Duration) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("it is not of the form user:password@tcp(host:3306)/database")
	}
	cfg.ParseTime, cfg.Loc, cfg.ClientFoundRows, cfg.MultiStatements, cfg.InterpolateParams = true, zone, true, false, false
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = timeout, timeout+time.Second, timeout
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["time_zone"] = "'" + mysqlZone(zone) + "'"
	cfg.Params["innodb_lock_wait_timeout"] = strconv.Itoa(max(1, int(timeout.Seconds())))
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errors.New("it is not of the form user:password@tcp(host:3306)/database")
	}
	return sql.OpenDB(c), nil
}

// mysqlZone gives the zone as a server understands it: an offset where the zone has had only one since bindings are made, else its
// name, for which the server's table of time zones must be loaded.
func mysqlZone(zone *time.Location) string {
	_, offset := time.Now().In(zone).Zone()
	for t := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); t.Before(time.Now()); t = t.AddDate(0, 1, 0) {
		if _, o := t.In(zone).Zone(); o != offset {
			return zone.String()
		}
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return fmt.Sprintf("%c%02d:%02d", sign, offset/3600, offset/60%60)
}

// openSQLite opens a file that is there.
func openSQLite(dsn string, _ *time.Location, timeout time.Duration) (*sql.DB, error) {
	v := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_time_format": {"sqlite"},
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", timeout.Milliseconds()), "cache_size(200)"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: sqlitePath(dsn)}).EscapedPath(), RawQuery: v.Encode()}
	return sql.Open("sqlite", u.String())
}

func sqlitePath(dsn string) string { return strings.TrimPrefix(dsn, "file:") }

// errorCode gives a database's code for an error. Its text may repeat a value, a number too, and goes nowhere.
func errorCode(err error) string {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		return "SQLSTATE " + pg.Code
	case errors.As(err, &my):
		return "error " + strconv.Itoa(int(my.Number))
	case errors.As(err, &lite):
		return "sqlite error " + strconv.Itoa(lite.Code())
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, context.Canceled):
		return "it was broken off"
	}
	return "the database cannot be reached, or its answer cannot be read"
}
