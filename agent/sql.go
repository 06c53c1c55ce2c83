package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// sqlConnector works by the company's own statements.
type sqlConnector struct {
	cfg     *SQLConfig
	d       *dialect
	db      *sql.DB
	shared  bool // whoever embeds the agent has it open
	zone    *time.Location
	timeout time.Duration
	finds   map[huanxin.TaskKind]*statement
	still   *statement
	acts    map[deed][]*statement // of unbind tasks
	marks   map[huanxin.TaskKind][]*statement
	holder  leaseHolder
}

// statement is one of the company's, ready to be run.
type statement struct {
	*prepared
	name string // where it stands in the configuration
	rows int64  // that it may touch
	// first says that without a row of its the deed has nothing to be done to.
	first bool
}

// openSQL parses the statements and opens the database, without connecting yet, unless it is open.
func openSQL(cfg *SQLConfig, open *sql.DB, client string, zone *time.Location, timeout time.Duration) (*sqlConnector, error) {
	dsn, err := cfg.dsn()
	if err != nil {
		return nil, err
	}
	c := &sqlConnector{cfg: cfg, d: dialects[cfg.Driver], zone: zone, timeout: timeout, finds: map[huanxin.TaskKind]*statement{},
		acts: map[deed][]*statement{}, marks: map[huanxin.TaskKind][]*statement{}}
	if err := c.parse(); err != nil {
		return nil, err
	}
	if c.db, c.shared = open, open != nil; c.shared {
		c.holder = c.d.lease(c.db, dsn, client)
		return c, nil
	}
	if c.db, err = c.d.open(dsn, zone, timeout); err != nil {
		return nil, tell("sql: %w", hideDSN(err))
	}
	n := cmp.Or(cfg.Connections, c.d.connections)
	c.db.SetMaxOpenConns(n + c.d.leaseConns)
	c.db.SetMaxIdleConns(n + c.d.leaseConns)
	c.db.SetConnMaxIdleTime(c.d.idle)
	c.holder = c.d.lease(c.db, dsn, client)
	return c, nil
}

// hideDSN gives a driver's error about its data source without the source, which may hold a password.
func hideDSN(err error) error {
	return tell("the data source cannot be read: %s", strings.SplitN(err.Error(), "`", 2)[0])
}

// Parameters of statements. Times may have one of the suffixes of units.
var (
	findParams = []string{"number", "number_digits", "number_national", "number_int", "task", "tenure"}
	actParams  = append(slices.Clone(findParams), "binding", "account", "token")
	timeParams = []string{"now", "started_at"}
	untilParam = "restore_until"
)

func knownParam(names []string, acting bool) func(string) bool {
	return func(name string) bool {
		base, _ := cutUnit(name)
		return slices.Contains(names, name) || slices.Contains(timeParams, base) || acting && base == untilParam
	}
}

func (c *sqlConnector) parse() error {
	var errs []error
	one := func(name, text string, params []string, acting bool) *statement {
		p, err := parseStatement(text, c.d.quoting, knownParam(params, acting))
		if err != nil {
			errs = append(errs, tell("sql.%s: %w", name, err))
			return nil
		}
		return &statement{prepared: p, name: name}
	}
	reading := func(name, text string, params []string) *statement {
		s := one(name, text, params, false)
		if s != nil && !slices.Contains([]string{"SELECT", "WITH"}, s.verb) {
			errs = append(errs, tell("sql.%s: must be a SELECT", name))
		} else if s != nil && !s.uses("number", "number_digits", "number_national", "number_int", "binding") {
			errs = append(errs, tell("sql.%s: does not use :number, so that it would find every account", name))
		}
		return s
	}
	writing := func(name string, list Statements, rows int, needsBinding bool) (out []*statement) {
		for i, st := range list {
			s := one(name, st.SQL, actParams, true)
			if s == nil {
				continue
			}
			s.rows, s.first = int64(cmp.Or(st.Rows, rows)), i == 0 && needsBinding
			if !slices.Contains([]string{"UPDATE", "INSERT", "DELETE", "WITH", "MERGE", "REPLACE"}, s.verb) {
				errs = append(errs, tell("sql.%s: must be an UPDATE, INSERT or DELETE", name))
			} else if needsBinding && s.rows > int64(c.cfg.maxBindings()) {
				errs = append(errs, tell("sql.%s: rows is more than max_bindings, so that it could touch accounts that were not found", name))
			} else if needsBinding && !s.uses("binding", "account") {
				errs = append(errs, tell("sql.%s: uses neither :binding nor :account, so that it would touch every account", name))
			}
			out = append(out, s)
		}
		return out
	}
	cfg := c.cfg
	if cfg.Find != "" {
		c.finds[huanxin.Unbind] = reading("find", cfg.Find, findParams)
	}
	if cfg.StillBound != "" {
		c.still = reading("still_bound", cfg.StillBound, actParams)
	}
	c.acts[suspend] = writing("suspend_key", cfg.Suspend, 1, true)
	c.acts[resume] = writing("resume_key", cfg.Resume, 1, true)
	c.acts[restore] = writing("restore", cfg.Restore, 1, true)
	c.acts[unbind] = slices.Concat(writing("unbind", cfg.Unbind, 1, true), writing("end_sessions", cfg.EndSessions, 1000, false),
		writing("notify", cfg.Notify, 10, false))
	for _, k := range []huanxin.TaskKind{huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction} {
		if m := cfg.mark(k); m != nil {
			c.finds[k] = reading(k.String()+".find", m.Find, findParams)
			c.marks[k] = writing(k.String()+".remove", m.Remove, 1, true)
		}
	}
	return errors.Join(errs...)
}

// args gives the values of a statement's parameters.
func (c *sqlConnector) args(p *prepared, w *want, o *order, now time.Time) []any {
	out := make([]any, len(p.params))
	for i, name := range p.params {
		base, u := cutUnit(name)
		var at time.Time
		switch base {
		case "now":
			at = now
		case "started_at":
			at = w.started
		case untilParam:
			at = o.until
		default:
			out[i] = textParam(name, w, o)
			continue
		}
		if u != 0 {
			out[i] = u.of(at)
		} else {
			out[i] = c.d.time(at.In(c.zone))
		}
	}
	return out
}

func textParam(name string, w *want, o *order) any {
	switch name {
	case "number":
		return w.number.E164()
	case "number_digits":
		return w.number.E164()[1:]
	case "number_int":
		return int64(w.number.Digits())
	case "number_national":
		if national, ok := strings.CutPrefix(w.number.E164(), "+86"); ok {
			return national
		}
		return w.number.E164()
	case "task":
		return w.task
	case "tenure":
		return w.tenure
	case "binding":
		return o.binding
	case "account":
		return o.account
	case "token":
		return o.token
	}
	panic("agent: no parameter " + strconv.Quote(name))
}

func (c *sqlConnector) can(d deed) bool { return len(c.acts[d]) > 0 }

func (c *sqlConnector) atOnce() int { return cmp.Or(c.cfg.Connections, c.d.connections) }

// token makes one up: what the database did not commit nobody knows.
func (c *sqlConnector) token(string, string) string { return rand.Text() }

func (c *sqlConnector) close() error {
	err := c.holder.release()
	if !c.shared {
		err = errors.Join(err, c.db.Close())
	}
	return err
}

func (c *sqlConnector) lease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.holder.take(ctx)
}

// find asks on several connections at once; where the driver can, each sends its questions without waiting for answers.
func (c *sqlConnector) find(ctx context.Context, wants []*want) []found {
	out := make([]found, len(wants))
	const least = 16 // questions on one connection
	lanes := max(1, min(c.atOnce(), len(wants)/least))
	var wg sync.WaitGroup
	for lane := range lanes {
		from, to := lane*len(wants)/lanes, (lane+1)*len(wants)/lanes
		if lane == lanes-1 {
			c.findSome(ctx, wants[from:to], out[from:to])
			continue
		}
		wg.Go(func() { c.findSome(ctx, wants[from:to], out[from:to]) })
	}
	wg.Wait()
	return out
}

func (c *sqlConnector) findSome(ctx context.Context, wants []*want, out []found) {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		for i := range out {
			out[i].err = err
		}
		return
	}
	defer conn.Close()
	if c.d.pipelined && len(wants) > 1 {
		if err := c.findPipelined(ctx, conn, wants, out); err == nil {
			return
		}
		if err := c.alive(ctx, conn); err != nil { // else each would wait as long
			for i := range out {
				out[i] = found{err: err}
			}
			return
		}
	}
	for i, w := range wants {
		out[i].facts, out[i].err = c.findOne(ctx, conn, w, w.findBy(c))
	}
}

func (c *sqlConnector) alive(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return conn.PingContext(ctx)
}

func (w *want) findBy(c *sqlConnector) *statement { return c.finds[w.kind] }

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (c *sqlConnector) findOne(ctx context.Context, q querier, w *want, s *statement) ([]Facts, error) {
	if s == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.read(ctx, q, s, c.args(s.prepared, w, nil, time.Now()))
}

// read runs a statement that finds, and reads no more than it has to.
func (c *sqlConnector) read(ctx context.Context, q querier, s *statement, args []any) ([]Facts, error) {
	rows, err := q.QueryContext(ctx, s.text, args...)
	if err != nil {
		return nil, c.redact(s, err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, c.redact(s, err)
	}
	cols := make([]column, len(types))
	for i, t := range types {
		cols[i] = column{name: strings.ToLower(t.Name()), kind: c.d.kindOf(t.DatabaseTypeName())}
	}
	r := factReader{cols: cols, zone: c.zone}
	values, into := make([]any, len(cols)), make([]any, len(cols))
	for i := range values {
		into[i] = &values[i]
	}
	var all []Facts
	for rows.Next() {
		if len(all) == c.cfg.maxBindings() {
			return nil, errTooMany
		}
		if err := rows.Scan(into...); err != nil {
			return nil, c.redact(s, err)
		}
		f, err := r.read(values)
		if err != nil {
			return nil, fmt.Errorf("sql.%s: %w", s.name, err)
		}
		all = append(all, f)
	}
	if err := rows.Err(); err != nil {
		return nil, c.redact(s, err)
	}
	return all, nil
}

// redact gives a database's error without its text where that may repeat a value: databases quote what they could not take.
func (c *sqlConnector) redact(s *statement, err error) error {
	return &statementError{name: s.name, code: c.d.code(err), err: err}
}

// statementError is a failed statement. Its text has the database's code and no value.
type statementError struct {
	name, code string
	err        error
}

func (e *statementError) Error() string { return "sql." + e.name + ": " + e.code }

func (e *statementError) Unwrap() error {
	if errors.Is(e.err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil // the cause may hold a number
}
