package conformance

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// Sight is what the company says became of an account.
type Sight struct {
	// IsKey says whether the number still is a key of the account: for login, recovery, second factor, notification, discovery.
	IsKey bool `json:"is_key"`
	// Exists says whether the account is there; nil: it is not told.
	Exists *bool `json:"exists"`
	// Unbound is how often the number was taken off the account; nil: it is not told.
	Unbound *int `json:"unbound"`
}

// Inspector looks at a company's accounts.
type Inspector interface {
	Inspect(ctx context.Context, a *Account) (Sight, error)
}

// HTTPInspector asks an endpoint of the company's: a POST of {"account","number"}, answered by a Sight.
type HTTPInspector struct {
	URL  string
	HTTP *http.Client
}

// Inspect asks.
func (i *HTTPInspector) Inspect(ctx context.Context, a *Account) (s Sight, err error) {
	body, err := json.Marshal(map[string]string{"account": a.Name, "number": a.Number.E164()})
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.URL, bytes.NewReader(body))
	if err != nil {
		return s, err
	}
	req.Header.Set("Content-Type", "application/json")
	web := i.HTTP
	if web == nil {
		web = http.DefaultClient
	}
	resp, err := web.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return s, err
	}
	var in struct {
		IsKey *bool `json:"is_key"`
		Sight
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	if err := json.Unmarshal(text, &in); err != nil || in.IsKey == nil {
		return s, fmt.Errorf(`its answer is not {"is_key": true or false}`)
	}
	in.Sight.IsKey = *in.IsKey
	return in.Sight, nil
}

const inspectTime = 10 * time.Second

// drivers are those of database/sql by the words of the agent's configuration.
var drivers = map[string]string{"postgres": "pgx", "mysql": "mysql", "sqlite": "sqlite"}

// Database is the company's, for tests.
type Database struct{ db *sql.DB }

// Close gives it back.
func (d *Database) Close() error { return d.db.Close() }

// Inspector asks it by a statement.
func (d *Database) Inspector(statement string) Inspector {
	return &SQLInspector{DB: d.db, Statement: statement}
}

// Do does statements, all or none.
func (d *Database) Do(ctx context.Context, statements []string) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, q := range statements {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// OpenDatabase opens the company's database for tests. What is wrong with the dsn is said without it.
func OpenDatabase(driver, dsn string) (*Database, error) {
	name, ok := drivers[driver]
	if !ok {
		return nil, fmt.Errorf("%q is not postgres, mysql or sqlite", driver)
	}
	if driver == "sqlite" {
		if _, err := os.Stat(strings.TrimPrefix(dsn, "file:")); err != nil {
			return nil, fmt.Errorf("there is no such SQLite file")
		}
		dsn = "file:" + strings.TrimPrefix(dsn, "file:") + "?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(name, dsn)
	if err != nil {
		return nil, fmt.Errorf("the dsn cannot be read")
	}
	db.SetMaxOpenConns(looksAtOnce)
	return &Database{db}, nil
}

// SQLInspector asks the company's database by a statement with :account, :number and the other names of accounts.csv. It gives one
// row with the column is_key (0 or false: it is none; NULL is no answer) and, if the company likes, exists and unbound.
type SQLInspector struct {
	DB        *sql.DB
	Statement string
}

// Inspect asks.
func (i *SQLInspector) Inspect(ctx context.Context, a *Account) (s Sight, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	q, err := fill(i.Statement, a.values())
	if err != nil {
		return s, err
	}
	rows, err := i.DB.QueryContext(ctx, q)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return s, err
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return s, err
		}
		return s, nil // no such binding: it is no key
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for n := range values {
		into[n] = &values[n]
	}
	if err := rows.Scan(into...); err != nil {
		return s, err
	}
	told := false
	for n, name := range names {
		name = strings.ToLower(name)
		if !slices.Contains([]string{"is_key", "exists", "account_exists", "unbound"}, name) {
			continue
		}
		x, known, err := whole(values[n])
		switch {
		case err != nil:
			return s, fmt.Errorf("%s %w", name, err)
		case name == "is_key" && !known:
			return s, errors.New("is_key 是 NULL:是不是钥匙必须说清,不知道不等于不是 / is_key is NULL: unknown is never no")
		case name == "is_key":
			s.IsKey, told = x > 0, true
		case !known: // it is not told
		case name == "unbound":
			times := int(x)
			s.Unbound = &times
		default:
			is := x > 0
			s.Exists = &is
		}
	}
	if !told {
		return s, errors.New("语句没有给 is_key 这一列 / the statement gives no column is_key")
	}
	return s, rows.Err()
}

// whole reads a column as databases give numbers and booleans: as what they are, or as text. known is false where it is NULL.
func whole(v any) (n int64, known bool, err error) {
	text := ""
	switch v := v.(type) {
	case nil:
		return 0, false, nil
	case bool:
		return map[bool]int64{true: 1}[v], true, nil
	case int64:
		return v, true, nil
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case []byte:
		text = string(v)
	case string:
		text = v
	}
	if n, err = strconv.ParseInt(text, 10, 64); err == nil {
		return n, true, nil
	}
	if is, err := strconv.ParseBool(text); err == nil {
		return map[bool]int64{true: 1}[is], true, nil
	}
	return 0, false, errors.New("既不是整数,也不是真假值 / is neither a whole number nor true or false")
}
