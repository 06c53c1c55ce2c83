package agent

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// office is a company with its accounts, its agent and a real hub.
type office struct {
	testing.TB
	hub      *hubtest.Hub
	carrier  *client.Client
	app      *client.Client
	kinds    []huanxin.TaskKind
	class    string
	engine   engine
	db       *sql.DB
	config   Config
	options  Options
	agent    *Agent
	ids      int
	id       string
	requests map[string]string // by task
}

// engine is a database that holds accounts.
type engine struct {
	driver string
	dsn    string
	schema []string
	at     func(time.Time) any
	open   func(dsn string) (*sql.DB, error)
}

const day = 24 * time.Hour

// The tenure that is asked for begins 100 days ago at noon in China; the one before ran from day 900 to day 300.
var (
	today  = time.Now().In(huanxin.China).Truncate(day)
	tenure = today.Add(-100*day + 12*time.Hour)
	former = today.Add(-900 * day)
)

var sqliteSchema = []string{
	`CREATE TABLE bindings (id INTEGER PRIMARY KEY, account TEXT NOT NULL, number TEXT NOT NULL, bound_at TEXT, bound_day DATE, proof_at TEXT,
		proof_never INTEGER NOT NULL DEFAULT 0, same_person TEXT, class TEXT, hold_back TEXT, suspended_by TEXT, detached_at TEXT, detached_by TEXT,
		token TEXT, true_bound TEXT)`,
	`CREATE INDEX bindings_number ON bindings (number)`,
	`CREATE TABLE acts (id INTEGER PRIMARY KEY, binding INTEGER NOT NULL, task TEXT NOT NULL, what TEXT NOT NULL)`,
	`CREATE TABLE sessions (id INTEGER PRIMARY KEY, account TEXT NOT NULL, number TEXT NOT NULL, started_at TEXT NOT NULL, ended_by TEXT)`,
	`CREATE TABLE notices (id INTEGER PRIMARY KEY, account TEXT NOT NULL, task TEXT NOT NULL)`,
	`CREATE TABLE labels (id INTEGER PRIMARY KEY, number TEXT NOT NULL, since TEXT, grave TEXT, removed_by TEXT)`,
}

// statements are those of the company, the same for every database.
const statements = `
find: |
  SELECT id AS binding, account, bound_at, bound_day, proof_at AS last_proof, proof_never AS last_proof_never, same_person, class, hold_back
  FROM bindings WHERE number = :number_national AND detached_at IS NULL -- :nothing
suspend_key: UPDATE bindings SET suspended_by = :task WHERE id = :binding AND suspended_by IS NULL AND detached_at IS NULL
resume_key: UPDATE bindings SET suspended_by = NULL WHERE id = :binding AND suspended_by = :task
unbind:
  - UPDATE bindings SET detached_at = :now, detached_by = :task, token = :token, suspended_by = NULL WHERE id = :binding AND detached_at IS NULL
  - INSERT INTO acts (binding, task, what) VALUES (:binding, :task, 'unbound')
restore:
  - UPDATE bindings SET detached_at = NULL, detached_by = NULL, token = NULL WHERE id = :binding AND token = :token
  - INSERT INTO acts (binding, task, what) VALUES (:binding, :task, 'restored')
end_sessions: UPDATE sessions SET ended_by = :task WHERE account = :account AND number = :number_national AND started_at >= :started_at
notify: {sql: "INSERT INTO notices (account, task) VALUES (:account, :task)", rows: 1}
clear_label:
  find: SELECT id AS binding, since AS bound_at, grave AS hold_back FROM labels WHERE number = :number_national AND removed_by IS NULL
  remove: UPDATE labels SET removed_by = :task WHERE id = :binding AND removed_by IS NULL
`

func sqliteEngine(t testing.TB) engine {
	return engine{driver: "sqlite", dsn: filepath.Join(t.TempDir(), "accounts.db"), schema: sqliteSchema,
		at: func(t time.Time) any { return t.In(huanxin.China).Format("2006-01-02 15:04:05.000") },
		open: func(dsn string) (*sql.DB, error) {
			return sql.Open("sqlite", "file:"+dsn+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)")
		}}
}

// option changes an office before it opens.
type option func(*office)

func withClass(c string) option { return func(o *office) { o.class = c } }

func withKinds(k ...huanxin.TaskKind) option { return func(o *office) { o.kinds = k } }

func withEngine(e engine) option { return func(o *office) { o.engine = e } }

func withConfig(f func(*Config)) option { return func(o *office) { f(&o.config) } }

// withHub shares a hub, where the app is another one.
func withHub(h *hubtest.Hub) option { return func(o *office) { o.hub = h } }

// offices counts them, and numbers the numbers: those of a hub that is shared are different.
var offices, numbers atomic.Int64

func withSpeed(s float64) option { return func(o *office) { o.options.Speed = s } }

func withBatch(n int) option { return func(o *office) { o.options.batch = n } }

func newOffice(t testing.TB, opts ...option) *office {
	t.Helper()
	o := &office{TB: t, kinds: []huanxin.TaskKind{huanxin.Unbind}, requests: map[string]string{}}
	o.config = DefaultConfig()
	o.config.Delivery.Mode = "list"
	for _, set := range opts {
		set(o)
	}
	if o.engine.driver == "" {
		o.engine = sqliteEngine(t)
	}
	if o.hub == nil {
		o.hub = hubtest.Start(t)
	}
	o.id = fmt.Sprintf("pay-%d", offices.Add(1))
	o.carrier = o.hub.Carrier("cmcc")
	o.app = o.hub.App(o.id, hubtest.Class(o.class), hubtest.Kinds(o.kinds...), hubtest.Domains("pay.example"))
	o.openAccounts()
	o.configure()
	o.start()
	t.Cleanup(func() { o.must(o.agent.Close()) })
	return o
}

func (o *office) openAccounts() {
	o.Helper()
	var err error
	o.db, err = o.engine.open(o.engine.dsn)
	o.must(err)
	o.Cleanup(func() { _ = o.db.Close() })
	for _, q := range o.engine.schema {
		o.exec(q)
	}
}

func (o *office) configure() {
	o.Helper()
	dir := o.TempDir()
	o.config.Hub = HubConfig{URL: o.hub.URL, ClientID: o.id, SecretFile: filepath.Join(dir, "secret")}
	o.must(os.WriteFile(o.config.Hub.SecretFile, []byte(o.hub.Credentials(o.id).Secret), 0o600))
	o.config.State = filepath.Join(dir, "state")
	o.config.Links = map[string]string{"confirm_own_account": "https://pay.example/confirm/{task}"}
	o.config.Kinds = nil
	for _, k := range o.kinds {
		o.config.Kinds = append(o.config.Kinds, k.String())
	}
	var s struct {
		SQL SQLConfig `yaml:"sql"`
	}
	c, err := ParseConfig([]byte("sql:\n" + indent(statements)))
	o.must(err)
	s.SQL = *c.SQL
	s.SQL.Driver, s.SQL.DSN = o.engine.driver, o.engine.dsn
	if o.config.SQL != nil { // what the test said goes before
		s.SQL.MaxBindings, s.SQL.Connections, s.SQL.Lease = o.config.SQL.MaxBindings, o.config.SQL.Connections, o.config.SQL.Lease
		for _, f := range []struct{ to, from *Statements }{{&s.SQL.Unbind, &o.config.SQL.Unbind}, {&s.SQL.Suspend, &o.config.SQL.Suspend}, {&s.SQL.Resume, &o.config.SQL.Resume}} {
			if *f.from != nil {
				*f.to = *f.from
			}
		}
	}
	o.config.SQL = &s.SQL
	o.options.HTTP, o.options.Relaxed = o.hub.HTTP(), true
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// start opens the agent, as after a crash: with the state and the accounts that are there.
func (o *office) start() {
	o.Helper()
	var err error
	o.agent, err = Open(o.config, o.options)
	o.must(err)
}

func (o *office) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) exec(q string, args ...any) {
	o.Helper()
	if _, err := o.db.Exec(q, args...); err != nil {
		o.Fatal(q, err)
	}
}

func (o *office) one(q string, args ...any) (n int) {
	o.Helper()
	o.must(o.db.QueryRow(q, args...).Scan(&n))
	return n
}

// work has the agent list, and work what is due, as its loop does.
func (o *office) work() {
	o.Helper()
	o.must(o.round())
}

func (o *office) round() error {
	ctx := o.Context()
	if err := o.agent.askSelf(ctx); err != nil {
		return err
	}
	if err := o.agent.list(ctx); err != nil {
		return err
	}
	_, err := o.agent.Work(ctx)
	return err
}

// number gives a number whose present tenure, by re-assignment, the hub knows.
func (o *office) number() huanxin.Number {
	o.Helper()
	return o.numberOf(client.Event{Kind: "activated", At: former, Origin: "first"}, client.Event{Kind: "disconnected", At: today.Add(-300 * day)},
		client.Event{Kind: "activated", At: tenure, Origin: "reassigned"})
}

func (o *office) numberOf(events ...client.Event) huanxin.Number {
	o.Helper()
	no := numbers.Add(1)
	text := fmt.Sprintf("+86138%08d", no)
	for i := range events {
		events[i].ID, events[i].Number = fmt.Sprintf("%d-%d", no, i), text
	}
	o.report(events...)
	n, err := huanxin.ParseNumber(text)
	o.must(err)
	return n
}

func (o *office) report(events ...client.Event) {
	o.Helper()
	r, err := o.carrier.ReportEvents(o.Context(), events, time.Time{})
	if err != nil || r.RejectedTotal > 0 {
		o.Fatal(r, err)
	}
}

// ask has the present holder ask for a number to be refreshed, and gives the task.
func (o *office) ask(n huanxin.Number, kinds ...huanxin.TaskKind) string {
	o.Helper()
	return o.askOf(n, tenure, "reassigned", kinds...)
}

func (o *office) askOf(n huanxin.Number, started time.Time, origin string, kinds ...huanxin.TaskKind) string {
	o.Helper()
	in := client.NewRequest{Number: n.E164(), StartedAt: started, Origin: origin, Control: "sms_otp", Identity: "carrier_crm", Verified: time.Now(), Apps: []string{o.id}}
	for _, k := range kinds {
		in.Kinds = append(in.Kinds, k.String())
	}
	made, err := o.carrier.CreateRequest(o.Context(), in)
	if err != nil || len(made.Tasks) != 1 {
		o.Fatal(made, err)
	}
	o.requests[made.Tasks[0].ID] = made.ID
	return made.Tasks[0].ID
}

// facts of a binding that is seeded. B is 400 days before the tenure unless said.
type seed struct {
	boundAt, proofAt  time.Time
	boundDay          string
	proofNever        bool
	same, class, hold string
	account           string
	trueBound         time.Time
	sessions          []time.Time
}

func bound(t time.Time) func(*seed) {
	return func(s *seed) { s.boundAt, s.trueBound = t, t }
}

func boundOn(d time.Time, truth time.Time) func(*seed) {
	return func(s *seed) {
		s.boundAt, s.boundDay, s.trueBound = time.Time{}, d.In(huanxin.China).Format(time.DateOnly), truth
	}
}

func unknownBound(truth time.Time) func(*seed) {
	return func(s *seed) { s.boundAt, s.trueBound = time.Time{}, truth }
}

func proof(t time.Time) func(*seed) {
	return func(s *seed) { s.proofAt, s.proofNever = t, false }
}

func unknownProof(s *seed) { s.proofAt, s.proofNever = time.Time{}, false }

func same(w string) func(*seed) { return func(s *seed) { s.same = w } }

func classed(c string) func(*seed) { return func(s *seed) { s.class = c } }

func heldBackFor(r string) func(*seed) { return func(s *seed) { s.hold = r } }

func session(at time.Time) func(*seed) { return func(s *seed) { s.sessions = append(s.sessions, at) } }

// bind seeds a binding and gives its id.
func (o *office) bind(n huanxin.Number, opts ...func(*seed)) int {
	o.Helper()
	o.ids++
	s := seed{proofNever: true, account: fmt.Sprintf("account-%d", o.ids)}
	bound(tenure.Add(-400 * day))(&s)
	for _, set := range opts {
		set(&s)
	}
	national := n.E164()[3:]
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	o.exec(o.q(`INSERT INTO bindings (id, account, number, bound_at, bound_day, proof_at, proof_never, same_person, class, hold_back, true_bound)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`), o.ids, s.account, national, o.at(s.boundAt), null(s.boundDay), o.at(s.proofAt), s.proofNever,
		null(s.same), null(s.class), null(s.hold), s.trueBound.UTC().Format("2006-01-02 15:04:05+00:00"))
	for _, at := range s.sessions {
		o.ids++
		o.exec(o.q(`INSERT INTO sessions (id, account, number, started_at) VALUES (?, ?, ?, ?)`), o.ids, s.account, national, o.at(at))
		defer func() { o.ids-- }()
	}
	return o.ids - len(s.sessions)
}

// at gives a time as the accounts keep it.
func (o *office) at(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return o.engine.at(t)
}

// q writes a statement with the engine's placeholders.
func (o *office) q(text string) string {
	if o.engine.driver != "postgres" {
		return text
	}
	for i := 1; strings.Contains(text, "?"); i++ {
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", i), 1)
	}
	return text
}

func (o *office) bound(binding int) bool {
	o.Helper()
	return o.one(o.q(`SELECT count(*) FROM bindings WHERE id = ? AND detached_at IS NULL`), binding) == 1
}

func (o *office) isKey(binding int) bool {
	o.Helper()
	return o.one(o.q(`SELECT count(*) FROM bindings WHERE id = ? AND detached_at IS NULL AND suspended_by IS NULL`), binding) == 1
}

// answered fails unless the hub has this answer.
func (o *office) answered(task, outcome, reason string) {
	o.Helper()
	got, err := o.agent.state.tasks(o.Context(), `id = ?`, task)
	o.must(err)
	if len(got) != 1 {
		o.Fatalf("%d tasks of this id", len(got))
	}
	if g := got[0]; word(g.answer.Outcome) != outcome || word(g.answer.Reason) != reason || outcome != "" && g.sent.IsZero() {
		o.Errorf("answered %s %s (sent %v, problem %q, ended %q); want %s %s", word(g.answer.Outcome), word(g.answer.Reason), g.sent, g.problem, g.ended, outcome, reason)
	}
	seen, err := o.app.Task(o.Context(), task)
	o.must(err)
	want := map[string]string{"": "delivered", "in_review": "in_review", "action_required": "action_required", "failed": "failed"}[outcome]
	if want == "" {
		want = "answered"
	}
	if seen.State != want {
		o.Errorf("the hub's task is %s, want %s", seen.State, want)
	}
}

// clean fails where a rule was broken in the accounts.
func (o *office) clean() {
	o.Helper()
	if n := o.one(`SELECT count(*) FROM (SELECT binding FROM acts WHERE what = 'unbound' GROUP BY binding, task HAVING count(*) > 1) AS twice`); n > 0 {
		o.Errorf("%d bindings were unbound more than once", n)
	}
	rows, err := o.db.Query(`SELECT id, true_bound FROM bindings WHERE id IN (SELECT binding FROM acts WHERE what = 'unbound') OR suspended_by IS NOT NULL`)
	o.must(err)
	defer rows.Close()
	for rows.Next() {
		var id int
		var text string
		o.must(rows.Scan(&id, &text))
		w, err := ParseWhen(text, time.UTC)
		o.must(err)
		if !w.at.Before(tenure) {
			o.Errorf("binding %d was bound in the present tenure, and unbound: rule 1", id)
		}
	}
	o.must(rows.Err())
}

// faults is a transport between agent and hub that a test breaks.
type faults struct {
	next   http.RoundTripper
	before func(*http.Request) (*http.Response, error)
	after  func(*http.Request, *http.Response) (*http.Response, error)
	seen   []string
}

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	if f.before != nil {
		if resp, err := f.before(r); resp != nil || err != nil {
			return resp, err
		}
	}
	resp, err := f.next.RoundTrip(r)
	if err == nil && f.after != nil {
		return f.after(r, resp)
	}
	return resp, err
}

func (o *office) state(task string) *task {
	o.Helper()
	got, err := o.agent.state.tasks(o.Context(), `id = ?`, task)
	o.must(err)
	if len(got) != 1 {
		o.Fatalf("%d tasks", len(got))
	}
	return got[0]
}

// exec2 changes an agent's state, as time does.
func (o *office) exec2(a *Agent, q string, args ...any) {
	o.Helper()
	o.must(a.state.write(o.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(q, args...)
		return err
	}))
}

// holdIsOver waits until what is held now may be final.
func (o *office) holdIsOver() {
	if o.class != "" {
		time.Sleep(o.agent.hold + time.Millisecond)
	}
}

// lastEvent gives the id of the i-th event of the number that was made last.
func (o *office) lastEvent(i int) string { return fmt.Sprintf("%d-%d", numbers.Load(), i) }

func (o *office) parse(number string) huanxin.Number {
	o.Helper()
	n, err := huanxin.ParseNumber(number)
	o.must(err)
	return n
}

func (o *office) bindText(number string, opts ...func(*seed)) int {
	o.Helper()
	return o.bind(o.parse(number), opts...)
}

func (o *office) askText(number, origin string) string {
	o.Helper()
	return o.askOf(o.parse(number), tenure, origin)
}

func itoa(n int) string { return strconv.Itoa(n) }
