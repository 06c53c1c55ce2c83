package appsim

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Finding is a rule that was broken, as this app's own database shows.
type Finding struct {
	Rule    int    // of DOMAIN.md §7; 0: §6, how a binding is unbound
	Task    string // "" where none is to blame
	Account string
	What    string
}

// probe looks for one way of breaking a rule: its query gives task, account and a detail of each. ?1 is the hold.
type probe struct {
	rule int
	what string
	text string
}

const acts = ` FROM actions x JOIN bindings b ON b.id = x.binding `

// probes look at the table tasks too, which Findings fills with what the agent says of its tasks.
var probes = []probe{
	{1, "a binding was unbound that is not older than the tenure",
		`SELECT x.task, b.account, ''` + acts + `JOIN truth_bindings u ON u.binding = b.id WHERE x.what = 'unbound' AND u.bound_at >= x.started_at`},
	{1, "what was placed on the number in the tenure was removed",
		`SELECT m.removed_by, '', m.id FROM (SELECT * FROM call_list UNION ALL SELECT * FROM labels UNION ALL SELECT * FROM bans) m
		WHERE m.since >= (SELECT max(x.started_at) FROM actions x WHERE x.task = m.removed_by)`},
	{2, "an account is gone",
		`SELECT '', u.account, '' FROM truth_accounts u LEFT JOIN accounts c ON c.id = u.account WHERE c.id IS NULL`},
	{2, "an account was added that was not seeded",
		`SELECT '', c.id, '' FROM accounts c LEFT JOIN truth_accounts u ON u.account = c.id WHERE u.account IS NULL`},
	{6, "the hub took what it had to refuse", `SELECT task, '', what FROM nonsense WHERE taken`},
	{8, "a binding was unbound twice for one task",
		`SELECT x.task, b.account, ''` + acts + `WHERE x.what = 'unbound' GROUP BY x.task, x.binding HAVING count(*) > 1`},
	{8, "a mark was removed twice for one task",
		`SELECT task, '', mark FROM actions WHERE what = 'removed' GROUP BY task, mark HAVING count(*) > 1`},
	{8, "a binding is detached and no task says so",
		`SELECT coalesce(b.detached_by, ''), b.account, '' FROM bindings b WHERE b.detached_at IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM actions x WHERE x.task = b.detached_by AND x.binding = b.id AND x.what = 'unbound')`},
	{8, "unbound was answered and nothing was done",
		`SELECT t.id, '', '' FROM tasks t WHERE t.outcome = 'unbound' AND NOT EXISTS (
			SELECT 1 FROM actions x WHERE x.task = t.id AND x.what IN ('unbound', 'removed'))`},
	{8, "something was unbound and the answer denies it",
		`SELECT t.id, '', t.outcome FROM tasks t WHERE t.outcome IN ('kept', 'not_bound') AND EXISTS (
			SELECT 1 FROM actions x WHERE x.task = t.id AND x.what IN ('unbound', 'removed'))`},
	{8, "something was done after the task had been ended", // ?2 is the type of event by which the hub says so
		`SELECT x.task, '', x.what FROM actions x JOIN heard h ON h.task = x.task AND h.type = ?2 AND h.at < x.at
			WHERE x.what IN ('unbound', 'removed', 'key_stopped')`},
	{0, "the number still is a key of an account it was unbound from",
		`SELECT coalesce(detached_by, ''), account, '' FROM bindings WHERE detached_at IS NOT NULL
			AND is_login_key + is_recovery + is_second_factor + notify + discoverable > 0`},
	{0, "a session opened through the number since the tenure began goes on",
		`SELECT x.task, b.account, ''` + acts + `JOIN sessions s ON s.account = b.account AND s.through_number = b.number
			WHERE x.what = 'unbound' AND s.started_at >= x.started_at AND s.started_at < x.at AND s.ended_at IS NULL`},
	{0, "a session was ended that is older than the tenure",
		`SELECT s.ended_by, s.account, '' FROM sessions s
			WHERE s.started_at < (SELECT max(x.started_at) FROM actions x WHERE x.task = s.ended_by)`},
	{0, "the former holder could be told and was not",
		`SELECT x.task, b.account, ''` + acts + `JOIN accounts c ON c.id = b.account WHERE x.what = 'unbound' AND c.other_contact
			AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.account = b.account AND n.task = x.task)`},
	{0, "there is no way back",
		`SELECT coalesce(detached_by, ''), account, '' FROM bindings WHERE detached_at IS NOT NULL AND (restore_token IS NULL OR restore_until <= detached_at)`},
	{0, "a high-value unbinding was final before the hold was over",
		`SELECT x.task, b.account, ''` + acts + `WHERE ?1 > 0 AND x.what = 'unbound' AND x.at - ?1 < coalesce((SELECT max(s.at) FROM actions s
			WHERE s.task = x.task AND s.binding = x.binding AND s.what = 'key_stopped' AND s.no < x.no), x.at)`},
	{0, "the number is kept from being a key for a task that has ended",
		`SELECT t.id, b.account, '' FROM bindings b JOIN tasks t ON t.id = b.stopped_by WHERE t.phase IN ('done', 'closed')`},
}

// Findings checks rules 1, 2, 6 and 8 against the database, that what was answered is what was done, and that acting was
// soft. None is good.
func (a *App) Findings(ctx context.Context) (out []Finding, err error) {
	records, err := a.records(ctx) // before the accounts: what is answered was done then
	if err != nil {
		return nil, err
	}
	var hold int64
	if a.highValue {
		hold = int64(float64(huanxin.DefaultDurations().HighValueHold) / a.o.Speed / float64(time.Microsecond))
	}
	err = a.write(ctx, func(tx *sql.Tx) error {
		if err := putTasks(ctx, tx, records); err != nil {
			return err
		}
		for _, p := range probes {
			found, err := rows(ctx, tx, func(r *sql.Rows) (Finding, error) {
				f, detail := Finding{Rule: p.rule, What: p.what}, ""
				err := r.Scan(&f.Task, &f.Account, &detail)
				if detail != "" {
					f.What += ": " + detail
				}
				return f, err
			}, p.text, hold, huanxin.UnbindCancelled.String())
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		changed, err := changedAccounts(ctx, tx)
		out = append(out, changed...)
		return err
	})
	return out, err
}

// putTasks puts into a table of this connection alone what the agent says of its tasks.
func putTasks(ctx context.Context, tx *sql.Tx, records []agent.Record) error {
	for _, q := range []string{`CREATE TEMP TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, phase TEXT NOT NULL, outcome TEXT NOT NULL)`, `DELETE FROM tasks`} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	for _, r := range records {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tasks VALUES (?, ?, ?)`, r.Task, r.Phase, r.Outcome); err != nil {
			return err
		}
	}
	return nil
}

func changedAccounts(ctx context.Context, q query) (out []Finding, err error) {
	all, err := rows(ctx, q, func(r *sql.Rows) (f Finding, err error) {
		var nickname, owner, sum string
		var balance int64
		err = r.Scan(&f.Account, &nickname, &balance, &owner, &sum)
		if checksum(f.Account, nickname, balance, owner) != sum {
			f.Rule, f.What = 2, "an account, its owner or its money changed"
		}
		return f, err
	}, `SELECT c.id, c.nickname, c.balance_fen, c.owner_key, u.sum FROM accounts c JOIN truth_accounts u ON u.account = c.id`)
	for _, f := range all {
		if f.Rule != 0 {
			out = append(out, f)
		}
	}
	return out, err
}

// Rows counts by row of the decision table, 1 to 7, what the agent decided first about each binding for each task.
func (a *App) Rows(ctx context.Context) (map[int]int, error) {
	out := map[int]int{}
	g, err := a.knownAgent(ctx)
	if err != nil || g == nil {
		return out, err
	}
	s, err := g.Status(ctx)
	for row := 1; row <= 7; row++ {
		if n := s.Counters["row "+strconv.Itoa(row)]; n > 0 {
			out[row] = int(n)
		}
	}
	return out, err
}

// Worked is what became of one task here.
type Worked struct {
	Task    string
	Kind    string
	Phase   string // waiting, standing, done; closed: cancelled, aborted or refused, nothing more is done
	SeenAt  time.Time
	SentAt  time.Time // when the hub took, or refused, the last answer; zero: not yet
	Outcome string    // of the last answer that was decided; "" none
	Reason  string
	Refused string // the hub's code, where it refused the last answer
	Rows    []int  // of the decision table, one a binding, as decided last
	Unbound int    // bindings, or marks removed
	Ended   int    // sessions
	Told    int    // notices to former holders
	Tokens  int    // restore tokens that are kept
}

// Worked tells of every task that the agent has seen, in the order in which it saw them.
func (a *App) Worked(ctx context.Context) ([]Worked, error) {
	records, err := a.records(ctx)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	out, at := make([]Worked, len(records)), map[string]*Worked{}
	for i, r := range records {
		w := Worked{Task: r.Task, Kind: r.Kind, Phase: r.Phase, SeenAt: r.Seen, SentAt: r.Sent, Outcome: r.Outcome, Reason: r.Reason}
		if _, err := huanxin.ParseTaskState(r.Ended); r.Ended != "" && err != nil && r.Ended != "retracted" && !r.Sent.IsZero() {
			w.Refused, w.Phase = r.Ended, "closed"
		}
		for _, b := range r.Bindings {
			w.Rows = append(w.Rows, b.Row)
		}
		out[i] = w
		at[r.Task] = &out[i]
	}
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	_, err = rows(ctx, db, func(r *sql.Rows) (_ struct{}, err error) {
		var task, what string
		var n int
		if err := r.Scan(&task, &what, &n); err != nil || at[task] == nil {
			return struct{}{}, err
		}
		*map[string]*int{"unbound": &at[task].Unbound, "ended": &at[task].Ended, "told": &at[task].Told, "tokens": &at[task].Tokens}[what] = n
		return struct{}{}, nil
	}, `SELECT task, 'unbound', count(*) FROM actions WHERE what IN ('unbound', 'removed') GROUP BY task
		UNION ALL SELECT ended_by, 'ended', count(*) FROM sessions WHERE ended_by IS NOT NULL GROUP BY ended_by
		UNION ALL SELECT task, 'told', count(*) FROM notices GROUP BY task
		UNION ALL SELECT detached_by, 'tokens', count(*) FROM bindings WHERE detached_by IS NOT NULL AND restore_token IS NOT NULL GROUP BY detached_by`)
	return out, err
}

// Removal is one binding that was unbound, with the truth about it, so that the world can check rule 1 by the true start.
type Removal struct {
	Task      string
	Account   string
	Owner     string
	Number    huanxin.Number
	TrueBound time.Time // zero: nobody knows
	Start     time.Time // the tenure's, as the task said
	At        time.Time
	Restored  bool
}

// Removals lists every binding that was ever unbound, once for each time.
func (a *App) Removals(ctx context.Context) ([]Removal, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, db, func(r *sql.Rows) (out Removal, err error) {
		var number, start, at int64
		var bound sql.NullInt64
		err = r.Scan(&out.Task, &out.Account, &out.Owner, &number, &bound, &start, &at, &out.Restored)
		if err == nil {
			out.Number, out.TrueBound, out.Start = huanxin.NumberOf(uint64(number)), instant(bound), time.UnixMicro(start).UTC()
			out.At = time.UnixMicro(at).UTC()
		}
		return out, err
	}, `SELECT x.task, b.account, c.owner_key, b.number, u.bound_at, x.started_at, x.at,
		EXISTS (SELECT 1 FROM actions y WHERE y.task = x.task AND y.binding = x.binding AND y.what = 'restored')`+acts+`
		JOIN accounts c ON c.id = b.account JOIN truth_bindings u ON u.binding = b.id WHERE x.what = 'unbound' ORDER BY x.no`)
}

// Heard is a SET that came by the feed.
type Heard struct {
	JTI, Txn string
	Type     huanxin.EventType
	Task     string // "" where it is about none
	Reason   string
	Pushed   bool // else polled
	Times    int  // how often it came
	At       time.Time
	Done     bool // what follows from it was done
}

// Heard tells of every SET that came and was written down, in that order.
func (a *App) Heard(ctx context.Context) ([]Heard, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	all, err := rows(ctx, db, func(r *sql.Rows) (h Heard, err error) {
		var uri string
		var at int64
		if err := r.Scan(&h.JTI, &h.Txn, &uri, &h.Task, &h.Reason, &h.Pushed, &h.Times, &at); err != nil {
			return h, err
		}
		h.At = time.UnixMicro(at).UTC()
		h.Type, err = huanxin.ParseEventType(uri)
		return h, err
	}, `SELECT jti, txn, type, task, reason, pushed, times, at FROM heard ORDER BY no`)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	records, err := a.records(ctx) // after the SETs: what was heard by then is followed now
	for i := range all {
		all[i].Done = all[i].followed(records)
	}
	return all, err
}

// followed reports whether what follows from a SET was done, as the agent knows its tasks.
func (h *Heard) followed(records []agent.Record) bool {
	found, done := false, true
	for i := range records {
		if r := &records[i]; r.Task == h.Task || h.Task == "" && r.Tenure == h.Txn {
			found = true
			if h.Type == huanxin.UnbindCancelled {
				done = done && r.Ended != "" && (r.Phase == "done" || r.Phase == "closed")
			}
			if h.Type == huanxin.RecycleRetracted {
				done = done && r.Next.IsZero()
			}
		}
	}
	return done && (found || h.Task == "")
}

// Untold counts what the agent knows of tasks, by the list or by an answer of the hub's, and the feed has not told it until now. The app
// of nonsense does not listen to what the feed tells of tasks.
func (a *App) Untold(ctx context.Context) (n int, err error) {
	records, err := a.records(ctx)
	if err != nil || a.Spec.Behaviour == catalogue.Nonsense {
		return 0, err
	}
	heard, err := a.Heard(ctx)
	if err != nil {
		return 0, err
	}
	told := map[string]bool{}
	for _, h := range heard {
		told[h.Task+h.Type.String()] = true
	}
	for i := range records {
		r := &records[i]
		if !told[r.Task+huanxin.UnbindRequested.String()] {
			n++
		}
		if ended := r.Ended == huanxin.TaskCancelled.String() || r.Ended == huanxin.TaskAborted.String(); ended && !told[r.Task+huanxin.UnbindCancelled.String()] {
			n++
		}
	}
	return n, nil
}

// Unverified counts the SETs that came and were not the hub's for this app, and so were refused.
func (a *App) Unverified(ctx context.Context) (int, error) {
	g, err := a.knownAgent(ctx)
	if err != nil || g == nil {
		return 0, err
	}
	s, err := g.Status(ctx)
	return s.RefusedSETs, err
}

// Recycled says what the feed told last of a number and did not take back: reassigned, transferred, released, or nothing.
func (a *App) Recycled(ctx context.Context, n huanxin.Number) (what string, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return "", err
	}
	err = db.QueryRowContext(ctx, `SELECT what FROM recycled WHERE number = ? AND retracted_at IS NULL ORDER BY at DESC LIMIT 1`,
		int64(n.Digits())).Scan(&what)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return what, err
}

// Nonsense counts what was sent that must be refused, and what of it the hub took all the same.
func (a *App) Nonsense(ctx context.Context) (sent, taken int, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(taken), 0) FROM nonsense`).Scan(&sent, &taken)
	return sent, taken, err
}

// Opens gives the accounts that a code to the number still opens here: the question of the login page.
func (a *App) Opens(ctx context.Context, n huanxin.Number) (accounts []string, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, db, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) },
		`SELECT account FROM bindings WHERE number = ? AND is_login_key AND stopped_at IS NULL AND detached_at IS NULL ORDER BY account`,
		int64(n.Digits()))
}
