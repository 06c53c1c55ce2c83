package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// agents measures the agent against a local PostgreSQL: from the first listed task to the last answer, everything synced. The hub is a
// stand-in in this process that makes tasks up, so that what is measured is the agent, its state and the company's database.
func agents(ctx context.Context, o options, out io.Writer) (err error) {
	cluster, err := pgtest.Open(pgtest.Durable, pgSettings...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	dsn, err := cluster.CreateDatabase("accounts")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fillBindings(ctx, dsn, o.rows); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nagent, on PostgreSQL with %d bindings (filled in %s), state on SQLite, everything synced\n", o.rows, time.Since(began).Round(time.Second))
	from := 0
	for _, every := range []int{5, 1} {
		var seen []float64
		for range o.repeat {
			perSecond, err := agentRound(ctx, dsn, o.agent, every, from)
			if err != nil {
				return err
			}
			seen = append(seen, perSecond)
			from += o.agent
		}
		slices.Sort(seen)
		fmt.Fprintf(out, "  agent, %d connections, one task of %d finds a binding and unbinds it: %8.0f tasks/s best, %8.0f median of %d\n", agentConnections, every,
			seen[len(seen)-1], seen[len(seen)/2], len(seen))
	}
	return nil
}

const agentConnections = 16

// unboundIn counts what is unbound in the company's database.
func unboundIn(ctx context.Context, dsn string) (n int64, err error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close(ctx) }()
	err = c.QueryRow(ctx, `SELECT count(*) FROM bindings WHERE detached_at IS NOT NULL`).Scan(&n)
	return n, err
}

func fillBindings(ctx context.Context, dsn string, rows int) error {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	for _, q := range []string{
		`CREATE TABLE bindings (id bigint PRIMARY KEY, account text NOT NULL, number bigint NOT NULL, bound_at timestamptz, token text, detached_at timestamptz)`,
		fmt.Sprintf(`INSERT INTO bindings SELECT i, 'account-' || i, 8613800000000 + i, '2020-01-01Z'::timestamptz + i * interval '1 second' FROM generate_series(1, %d) i`, rows),
		`CREATE INDEX ON bindings (number)`, `VACUUM ANALYZE bindings`, `CHECKPOINT`,
	} {
		if _, err := c.Exec(ctx, q); err != nil && q != `CHECKPOINT` { // for which the role may not be allowed
			return err
		}
	}
	return nil
}

const agentStatements = `
find: SELECT id AS binding, account, bound_at, true AS last_proof_never FROM bindings WHERE number = :number_int AND detached_at IS NULL
still_bound: SELECT id AS binding, account, bound_at, true AS last_proof_never FROM bindings WHERE id = :binding AND detached_at IS NULL FOR UPDATE
unbind: UPDATE bindings SET detached_at = :now, token = :token WHERE id = :binding AND detached_at IS NULL
restore: UPDATE bindings SET detached_at = NULL, token = NULL WHERE id = :binding AND token = :token
`

// agentRound has a new agent work so many tasks, and gives how many it did a second.
func agentRound(ctx context.Context, dsn string, tasks, every, from int) (float64, error) {
	dir, err := os.MkdirTemp("/var/tmp", "huanxin-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	before, err := unboundIn(ctx, dsn)
	if err != nil {
		return 0, err
	}
	h := &standIn{url: "http://" + l.Addr().String(), tasks: tasks, every: every, from: from, answered: make([]atomic.Int32, tasks), done: make(chan struct{})}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	cfg, err := agent.ParseConfig([]byte("sql:\n  " + strings.ReplaceAll(strings.TrimSpace(agentStatements), "\n", "\n  ")))
	if err != nil {
		return 0, err
	}
	cfg.Hub.URL, cfg.Hub.ClientID, cfg.State = h.url, "pay", filepath.Join(dir, "state")
	cfg.Delivery.Mode = "list"
	cfg.SQL.Driver, cfg.SQL.DSN, cfg.SQL.Connections = "postgres", dsn, agentConnections
	a, err := agent.Open(cfg, agent.Options{Secret: "secret"})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	select {
	case <-h.done:
	case <-ctx.Done():
	}
	for s, err := a.Status(ctx); err == nil && s.Unsent > 0 && ctx.Err() == nil; s, err = a.Status(ctx) { // until the last answer is noted
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	cancel()
	if err := errors.Join(<-ended, a.Close()); err != nil {
		return 0, err
	}
	after, err := unboundIn(context.WithoutCancel(ctx), dsn)
	if err != nil {
		return 0, err
	}
	if n, want := h.unbound.Load(), int64((tasks+every-1)/every); n != want || after-before != want {
		return 0, fmt.Errorf("%d answers say unbound, %d bindings are, and %d should be", n, after-before, want)
	}
	for i := range h.answered {
		if n := h.answered[i].Load(); n != 1 {
			return 0, fmt.Errorf("task %d was answered %d times", i, n)
		}
	}
	return float64(tasks) / took.Seconds(), nil
}

// standIn is as much of a hub as an agent needs that lists its tasks.
type standIn struct {
	url            string
	tasks, every   int
	from           int
	answered       []atomic.Int32 // how often, by task
	taken, unbound atomic.Int64
	done           chan struct{}
}

const startOfTenure = "2026-03-01T08:00:00+08:00"

// task makes up the i-th task. One of every is about a number that has a binding, which no other task has.
func (h *standIn) task(b []byte, i int) []byte {
	number := 8619900000000 + i
	if i%h.every == 0 {
		number = 8613800000001 + h.from + i
	}
	id := strconv.Itoa(i)
	return append(b, `{"id":"task_`+id+`","app":"pay","kind":"unbind","number":"+`+strconv.Itoa(number)+`","tenure":{"id":"ten_`+id+`","started_at":"`+
		startOfTenure+`","origin":"reassigned"},"due_at":"2026-12-31T00:00:00+08:00","digest":"d`+id+`","state":"delivered"}`...)
}

func (h *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	id := strings.TrimPrefix(r.URL.Path, "/v1/tasks/task_")
	switch {
	case r.URL.Path == "/oauth2/token":
		_, _ = io.WriteString(w, `{"access_token":"t","token_type":"Bearer","expires_in":900}`)
	case r.URL.Path == "/v1/apps/self":
		_, _ = io.WriteString(w, `{"id":"pay","class":"news","kinds":["unbind"]}`)
	case r.URL.Path == "/v1/tasks":
		h.list(w, r)
	case id != r.URL.Path:
		i, _ := strconv.Atoi(id)
		_, _ = w.Write(h.task(nil, i))
	case r.URL.Path == "/v1/answers":
		h.answers(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (h *standIn) list(w http.ResponseWriter, r *http.Request) {
	if ids := r.FormValue("ids"); ids != "" {
		b := []byte(`{"tasks":[`)
		for n, id := range strings.Split(ids, ",") {
			i, _ := strconv.Atoi(strings.TrimPrefix(id, "task_"))
			if n > 0 {
				b = append(b, ',')
			}
			b = h.task(b, i)
		}
		_, _ = w.Write(append(b, `]}`...))
		return
	}
	next := 0
	if after := r.FormValue("after"); after != "" {
		next, _ = strconv.Atoi(strings.TrimPrefix(after, "task_"))
		next++
	}
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	b := []byte(`{"tasks":[`)
	last := next - 1
	for i := next; i < min(next+limit, h.tasks); i++ {
		if i > next {
			b = append(b, ',')
		}
		b, last = h.task(b, i), i
	}
	b = append(b, fmt.Sprintf(`],"after":"task_%d"}`, last)...)
	_, _ = w.Write(b)
}

func (h *standIn) answers(w http.ResponseWriter, r *http.Request) {
	lines := bufio.NewScanner(r.Body)
	n := int64(0)
	for lines.Scan() {
		var a client.Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err == nil {
			if a.Outcome == "unbound" {
				h.unbound.Add(1)
			}
			if i, err := strconv.Atoi(strings.TrimPrefix(a.TaskID, "task_")); err == nil && i < h.tasks {
				h.answered[i].Add(1)
			}
		}
		n++
	}
	_, _ = fmt.Fprintf(w, `{"receipt":"r","accepted":%d,"duplicates":0,"rejected":[],"rejected_total":0}`, n)
	if h.taken.Add(n) == int64(h.tasks) {
		close(h.done)
	}
}
