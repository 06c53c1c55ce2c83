package main

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/measure"
	"github.com/huanxin-platform/huanxin/internal/match"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// `huanxin match` beside PostgreSQL, which loads the same CSV file and joins it with a table of the same lives. Both put
// the rows that changed, have no holder or are unknown into CSV: match into files that it syncs, PostgreSQL into /dev/null.

// joinSettings let PostgreSQL keep everything in memory, work on all cores and write no log.
var joinSettings = []string{"shared_buffers=2GB", "effective_cache_size=6GB", "work_mem=1GB", "maintenance_work_mem=1GB", "random_page_cost=1.1",
	"max_worker_processes=8", "max_parallel_workers=2", "max_parallel_workers_per_gather=2", "max_parallel_maintenance_workers=2",
	"min_parallel_table_scan_size=0", "min_parallel_index_scan_size=0", "parallel_setup_cost=0", "parallel_tuple_cost=0",
	"wal_level=minimal", "max_wal_senders=0", "synchronous_commit=off", "max_wal_size=4GB", "autovacuum=off",
	"jit=off"} // it made these joins slower

// joinTables keep in the key's index what the join needs of a number, so that it need not visit the table.
const joinTables = `CREATE UNLOGGED TABLE changes (number bigint, day date, how smallint NOT NULL);
CREATE UNLOGGED TABLE accounts (account text, number bigint, bound_at date)`

// The answers of DOMAIN.md §5 for a T that is a date. how is a place in origins.
const joinQuery = `SELECT * FROM (
	SELECT a.account, '+' || a.number, a.bound_at, CASE
		WHEN c.number IS NULL THEN 'UNKNOWN,never_seen' WHEN c.how = 0 THEN 'NO_HOLDER,' WHEN c.day <= a.bound_at THEN NULL
		WHEN c.how = 3 THEN 'UNKNOWN,before_coverage' WHEN c.how = 2 THEN 'CHANGED,transferred' ELSE 'CHANGED,reassigned' END AS outcome
	FROM accounts a LEFT JOIN changes c ON c.number = a.number) answered
	WHERE outcome IS NOT NULL`

// joinPlans are the ways in which PostgreSQL may join. The inner join would miss numbers that were never seen, of which there
// are none here.
var joinPlans = []struct {
	name, settings string
	inner          bool
}{
	{name: "planner's choice"},
	{name: "inner join, planner's choice", inner: true},
	{name: "by the key's index", settings: "SET enable_hashjoin = off; SET enable_mergejoin = off"},
	{name: "merge join", settings: "SET enable_hashjoin = off; SET enable_nestloop = off"},
}

// accountsFile writes rows of random numbers, which were bound on some day of boundDays, and gives the paths of the file and
// of its halves, each with the header.
func (w *world) accountsFile(name string, rows int, numbers int64) (path string, halves []string, err error) {
	path = filepath.Join(w.dir, name+".csv")
	halves = []string{filepath.Join(w.dir, name+"-1.csv"), filepath.Join(w.dir, name+"-2.csv")}
	var files []*bufio.Writer
	for _, p := range append([]string{path}, halves...) {
		f, e := os.Create(p)
		if e != nil {
			return "", nil, e
		}
		b := bufio.NewWriterSize(f, 1<<20)
		defer func() { err = errors.Join(err, b.Flush(), f.Close()) }()
		_, _ = b.WriteString("account,number,bound_at\n")
		files = append(files, b)
	}
	days := make([]string, boundDays)
	for i := range days {
		days[i] = (firstBound + huanxin.Day(i)).String()
	}
	var line []byte
	for i := range rows {
		line = strconv.AppendInt(line[:0], int64(10_000_000_000+i), 10)
		line = append(line, ",+"...)
		line = strconv.AppendInt(line, measure.First+rand.Int64N(numbers), 10)
		line = append(line, ',')
		line = append(line, days[rand.IntN(boundDays)]...)
		line = append(line, '\n')
		_, _ = files[0].Write(line) // an error stays until Flush
		_, _ = files[1+2*i/rows].Write(line)
	}
	return path, halves, nil
}

// matched runs match on a file, as the command does with a replica.
func (w *world) matched(ctx context.Context, x match.Marks, path string, rows int) (match.Summary, error) {
	job := match.Job{In: path, Out: filepath.Join(w.dir, "changed"), Unknown: filepath.Join(w.dir, "unknown"), Settings: "bench",
		Options: match.Options{Zone: huanxin.China, Source: &match.Replica{Marks: x, Present: checkedAt}}}
	s, err := job.Run(ctx)
	if err == nil && (s.Summary.Rows != int64(rows) || s.Summary.Bad > 0) {
		err = fmt.Errorf("of %d rows it saw %d, %d of them bad", rows, s.Summary.Rows, s.Summary.Bad)
	}
	return s.Summary, errors.Join(err, os.Remove(job.Out), os.Remove(job.Unknown))
}

// besidePostgreSQL measures match on all numbers, and on as many as PostgreSQL has beside it, in turns.
func (w *world) besidePostgreSQL(ctx context.Context, o options, out io.Writer, x *index.Index) (err error) {
	numbers, few := min(o.numbers, peerNumbers), o.rows/2
	big, _, err := w.accountsFile("all", o.rows, o.numbers)
	if err != nil {
		return err
	}
	small, halves, err := w.accountsFile("some", few, numbers)
	if err != nil {
		return err
	}
	marks := lives()
	part := index.New() // of what PostgreSQL knows; the big one was changed while it was measured
	defer func() { err = errors.Join(err, part.Close()) }()
	for i := range numbers {
		part.Set(uint64(measure.First+i), marks.mark(i), 1)
	}
	j, err := openJoins(ctx, w.dir, halves, few, numbers)
	if err != nil && !errors.Is(err, pgtest.ErrNotInstalled) {
		return err
	}
	if j != nil {
		defer func() { err = errors.Join(err, j.close()) }()
	}
	all := &series{name: fmt.Sprintf("match, of %d numbers", o.numbers)}
	same := &series{name: fmt.Sprintf("match, of PostgreSQL's %d numbers", numbers)}
	var s match.Summary
	for range min(o.repeat, peerRounds) {
		p, err := w.timed("", o.rows, func() error { _, err := w.matched(ctx, x, big, o.rows); return err })
		if err != nil {
			return err
		}
		all.add(p)
		if p, err = w.timed("", few, func() error { s, err = w.matched(ctx, part, small, few); return err }); err != nil {
			return err
		}
		same.add(p)
		if j == nil {
			continue
		}
		if err := j.round(ctx, s.Changed+s.NoHolder+s.Unknown); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "  huanxin match, %d rows of CSV, file to file (8 M/s on 2 cores); %.1f %% of rows reported; CPU of PostgreSQL is the server's alone\n%v\n%v\n",
		o.rows, float64(s.Changed+s.NoHolder+s.Unknown)/float64(few)*100, all, same)
	if j == nil {
		_, err := fmt.Fprintf(out, "    beside PostgreSQL: %v\n", pgtest.ErrNotInstalled)
		return err
	}
	j.say(out)
	j.compare(out, "on the same numbers and rows", same)
	j.compare(out, fmt.Sprintf("match on its %d", o.numbers), all)
	return nil
}

// joins is a PostgreSQL server that does match's work.
type joins struct {
	*world
	rows   int
	halves []string // of the CSV file
	loaded *series
	plans  []*series
}

func openJoins(ctx context.Context, dir string, halves []string, rows int, numbers int64) (j *joins, err error) {
	j = &joins{world: &world{}, rows: rows, halves: halves, loaded: &series{name: "PostgreSQL, COPY of the CSV, two at once"}}
	if j.cluster, err = pgtest.Open(pgtest.Fast, joinSettings...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	if j.dsn, err = j.cluster.CreateDatabase("bench"); err != nil {
		return nil, err
	}
	// The server reads and writes files itself: that is faster than through a connection.
	if err := j.cluster.Admin(ctx, "GRANT pg_read_server_files, pg_write_server_files TO hub"); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the numbers are invented
		return nil, err
	}
	for _, p := range joinPlans {
		j.plans = append(j.plans, &series{name: p.name})
	}
	return j, j.fill(ctx, numbers)
}

func (j *joins) close() error { return j.cluster.Close() }

// fill puts all lives into the table.
func (j *joins) fill(ctx context.Context, numbers int64) (err error) {
	conn, err := pgx.Connect(ctx, j.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, joinTables); err != nil {
		return err
	}
	r, pipe := io.Pipe()
	go func() { pipe.CloseWithError(writeLives(pipe, numbers)) }()
	if _, err := conn.PgConn().CopyFrom(ctx, r, "COPY changes FROM STDIN"); err != nil {
		return errors.Join(err, r.Close())
	}
	for _, q := range []string{"ALTER TABLE changes ADD PRIMARY KEY (number) INCLUDE (day, how)", "VACUUM (ANALYZE) changes"} {
		if _, err := conn.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func writeLives(w io.Writer, numbers int64) error {
	var days [oldDays + newDays + 1]string
	for i := range days {
		days[i] = lifeDay(i).String()
	}
	b := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for i := range numbers {
		origin, day := place(i)
		line = strconv.AppendInt(line[:0], measure.First+i, 10)
		if origin == noOrigin {
			line = append(line, "\t\\N\t"...)
		} else {
			line = append(append(append(line, '\t'), days[day]...), '\t')
		}
		line = append(line, byte('0'+origin), '\n')
		_, _ = b.Write(line) // an error stays until Flush
	}
	return b.Flush()
}

// round loads the rows and joins them in every way. So many rows must come out.
func (j *joins) round(ctx context.Context, want int64) error {
	db, err := j.open()
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "TRUNCATE accounts"); err != nil {
		return err
	}
	p, err := j.timed("", j.rows, func() error {
		return parallelly(len(j.halves), len(j.halves), func(i int) error {
			_, err := db.ExecContext(ctx, "COPY accounts FROM '"+j.halves[i]+"' (FORMAT csv, HEADER)")
			return err
		})
	})
	if err != nil {
		return err
	}
	j.loaded.add(p)
	if _, err := db.ExecContext(ctx, "VACUUM (ANALYZE) accounts"); err != nil { // not counted: PostgreSQL's advantage
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for i, plan := range joinPlans {
		query := joinQuery
		if plan.inner {
			query = strings.Replace(query, "LEFT JOIN", "JOIN", 1)
		}
		p, nodes, err := j.join(ctx, conn, query, plan.settings, want)
		if err != nil {
			return fmt.Errorf("%s: %w", plan.name, err)
		}
		j.plans[i].name = fmt.Sprintf("PostgreSQL, %s (%s)", plan.name, nodes)
		j.plans[i].add(p)
	}
	return nil
}

// join joins once, and says how.
func (j *joins) join(ctx context.Context, conn *sql.Conn, query, settings string, want int64) (p phase, nodes string, err error) {
	for q := range strings.SplitSeq("RESET ALL; "+settings, "; ") {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return p, "", err
		}
	}
	if nodes, err = joinNode(ctx, conn, query); err != nil {
		return p, "", err
	}
	p, err = j.timed("", j.rows, func() error {
		r, err := conn.ExecContext(ctx, "COPY ("+query+") TO '/dev/null' (FORMAT csv)")
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != want {
			return errors.Join(fmt.Errorf("%d rows came out, match reports %d", n, want), err)
		}
		return nil
	})
	return p, nodes, err
}

// joinNode names the plan's join.
func joinNode(ctx context.Context, conn *sql.Conn, query string) (string, error) {
	rows, err := conn.QueryContext(ctx, "EXPLAIN (COSTS off) "+query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return "", err
		}
		if strings.Contains(line, "Join") || strings.Contains(line, "Nested Loop") {
			return strings.TrimLeft(line, " ->"), nil
		}
	}
	return "", errors.Join(errors.New("there is no join in the plan"), rows.Err())
}

// say prints PostgreSQL's figures.
func (j *joins) say(out io.Writer) {
	fmt.Fprintln(out, j.loaded)
	for _, s := range j.plans {
		fmt.Fprintln(out, s)
	}
}

// compare prints how many times as fast match is, by the clock and by the CPU time that each row takes, which says nothing
// of how well the work is spread over the cores.
func (j *joins) compare(out io.Writer, what string, ours *series) {
	join := 1 / slices.MaxFunc(j.plans, func(a, b *series) int { return cmp.Compare(a.best(), b.best()) }).best()
	cpu := slices.MinFunc(j.plans, func(a, b *series) int { return cmp.Compare(a.cpuEach(), b.cpuEach()) }).cpuEach()
	load, loadCPU := 1/j.loaded.best(), j.loaded.cpuEach()
	fmt.Fprintf(out, "    match to PostgreSQL, %s: loading and joining (20): by the clock %.1f, by CPU %.1f; joining alone: by the clock %.1f, by CPU %.1f\n",
		what, ours.best()*(load+join), (loadCPU+cpu)/ours.cpuEach(), ours.best()*join, cpu/ours.cpuEach())
}
