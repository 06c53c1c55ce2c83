package appsim

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
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

const acts = ` FROM actions x JOIN tasks t ON t.id = x.task JOIN bindings b ON b.id = x.binding `

var probes = []probe{
	{1, "a binding was unbound that is not older than the tenure",
		`SELECT x.task, b.account, ''` + acts + `JOIN truth_bindings u ON u.binding = b.id WHERE x.what = 'unbound' AND u.bound_at >= t.started_at`},
	{1, "what was placed on the number in the tenure was removed",
		`SELECT removed_by, '', m.id FROM (SELECT * FROM call_list UNION ALL SELECT * FROM labels UNION ALL SELECT * FROM bans) m
		JOIN tasks t ON t.id = m.removed_by WHERE m.since >= t.started_at`},
	{2, "an account is gone",
		`SELECT '', u.account, '' FROM truth_accounts u LEFT JOIN accounts c ON c.id = u.account WHERE c.id IS NULL`},
	{2, "an account was added that was not seeded",
		`SELECT '', c.id, '' FROM accounts c LEFT JOIN truth_accounts u ON u.account = c.id WHERE u.account IS NULL`},
	{6, "the hub took what it had to refuse", `SELECT task, '', what FROM nonsense WHERE taken`},
	{8, "a binding was unbound twice for one task",
		`SELECT x.task, b.account, ''` + acts + `WHERE x.what = 'unbound' GROUP BY x.task, x.binding HAVING count(*) > 1`},
	{8, "a mark was removed twice for one task",
		`SELECT task, '', reason FROM actions WHERE what = 'removed' GROUP BY task, reason HAVING count(*) > 1`},
	{8, "a binding is detached and no task says so",
		`SELECT coalesce(b.detached_by, ''), b.account, '' FROM bindings b WHERE b.detached_at IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM actions x WHERE x.task = b.detached_by AND x.binding = b.id AND x.what = 'unbound')`},
	{8, "unbound was answered and nothing was done",
		`SELECT t.id, '', '' FROM tasks t WHERE t.outcome = 'unbound' AND NOT EXISTS (
			SELECT 1 FROM actions x WHERE x.task = t.id AND x.what IN ('unbound', 'removed'))`},
	{8, "something was unbound and the answer denies it",
		`SELECT t.id, '', t.outcome FROM tasks t WHERE t.outcome IN ('kept', 'not_bound') AND EXISTS (
			SELECT 1 FROM actions x WHERE x.task = t.id AND x.what IN ('unbound', 'removed'))`},
	{8, "something was done after the task had been ended",
		`SELECT x.task, '', x.what FROM actions x JOIN actions c ON c.task = x.task AND c.what = 'closed' AND c.no < x.no
			WHERE x.what IN ('unbound', 'removed', 'key_stopped')`},
	{0, "the number still is a key of an account it was unbound from",
		`SELECT coalesce(detached_by, ''), account, '' FROM bindings WHERE detached_at IS NOT NULL
			AND is_login_key + is_recovery + is_second_factor + notify + discoverable > 0`},
	{0, "a session opened through the number since the tenure began goes on",
		`SELECT x.task, b.account, ''` + acts + `JOIN sessions s ON s.account = b.account AND s.through_number = b.number
			WHERE x.what = 'unbound' AND s.started_at >= t.started_at AND s.started_at < x.at AND s.ended_at IS NULL`},
	{0, "a session was ended that is older than the tenure",
		`SELECT t.id, s.account, '' FROM sessions s JOIN tasks t ON t.id = s.ended_by WHERE s.started_at < t.started_at`},
	{0, "the former holder could be told and was not",
		`SELECT x.task, b.account, ''` + acts + `JOIN accounts c ON c.id = b.account WHERE x.what = 'unbound' AND c.other_contact
			AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.account = b.account AND n.task = x.task)`},
	{0, "there is no way back",
		`SELECT coalesce(detached_by, ''), account, '' FROM bindings WHERE detached_at IS NOT NULL AND (restore_token IS NULL OR restore_until <= detached_at)`},
	{0, "a high-value unbinding was final before the hold was over",
		`SELECT v.task, b.account, '' FROM verdicts v JOIN bindings b ON b.id = v.binding
			WHERE ?1 > 0 AND v.acted_at IS NOT NULL AND (v.stopped_at IS NULL OR v.acted_at - v.stopped_at < ?1)`},
	{0, "the number is kept from being a key for a task that has ended",
		`SELECT t.id, b.account, '' FROM bindings b JOIN tasks t ON t.id = b.stopped_by WHERE t.phase IN ('done', 'closed')`},
}

// Findings checks rules 1, 2, 6 and 8 against the database, that what was answered is what was done, and that acting was
// soft. None is good.
func (a *App) Findings(ctx context.Context) ([]Finding, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	var hold int64
	if a.highValue {
		hold = a.hold.Microseconds()
	}
	var out []Finding
	for _, p := range probes {
		found, err := rows(ctx, db, func(r *sql.Rows) (Finding, error) {
			f, detail := Finding{Rule: p.rule, What: p.what}, ""
			err := r.Scan(&f.Task, &f.Account, &detail)
			if detail != "" {
				f.What += ": " + detail
			}
			return f, err
		}, p.text, hold)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	changed, err := rows(ctx, db, func(r *sql.Rows) (f Finding, err error) {
		var nickname, owner, sum string
		var balance int64
		err = r.Scan(&f.Account, &nickname, &balance, &owner, &sum)
		if checksum(f.Account, nickname, balance, owner) != sum {
			f.Rule, f.What = 2, "an account, its owner or its money changed"
		}
		return f, err
	}, `SELECT c.id, c.nickname, c.balance_fen, c.owner_key, u.sum FROM accounts c JOIN truth_accounts u ON u.account = c.id`)
	for _, f := range changed {
		if f.Rule != 0 {
			out = append(out, f)
		}
	}
	return out, err
}

// Rows counts by row of the decision table, 1 to 7, what was decided first about each binding for each task.
func (a *App) Rows(ctx context.Context) (map[int]int, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	out := map[int]int{}
	_, err = rows(ctx, db, func(r *sql.Rows) (_ struct{}, err error) {
		var row, n int
		err = r.Scan(&row, &n)
		out[row] = n
		return struct{}{}, err
	}, `SELECT row, count(*) FROM (SELECT row, min(no) FROM actions WHERE what = 'decided' GROUP BY task, binding) GROUP BY row`)
	return out, err
}

// Worked is what became of one task here.
type Worked struct {
	Task    string
	Kind    string
	Tenure  string
	Number  huanxin.Number
	Start   time.Time // the tenure's start, as the task said
	Origin  string
	Phase   string // waiting, standing, done; closed: cancelled, aborted or refused, nothing more is done
	SeenAt  time.Time
	SentAt  time.Time // when the hub took the last answer; zero: not yet
	Outcome string    // of the last answer that was decided; "" none
	Reason  string
	Refused string // the hub's code, where it refused the last answer
	Rows    []int  // of the decision table, one a binding, as decided last
	Unbound int    // bindings, or marks removed
	Ended   int    // sessions
	Told    int    // notices to former holders
	Tokens  int    // restore tokens that are kept
}

// Worked tells of every task that the app has seen, in the order in which it saw them.
func (a *App) Worked(ctx context.Context) ([]Worked, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, db, func(r *sql.Rows) (w Worked, err error) {
		var number, start, seen int64
		var sent sql.NullInt64
		var row string
		err = r.Scan(&w.Task, &w.Kind, &w.Tenure, &number, &start, &w.Origin, &w.Phase, &seen, &sent, &w.Outcome, &w.Reason, &w.Refused,
			&row, &w.Unbound, &w.Ended, &w.Told, &w.Tokens)
		if err != nil {
			return w, err
		}
		w.Number, w.Start, w.SeenAt, w.SentAt = huanxin.NumberOf(uint64(number)), time.UnixMicro(start).UTC(), time.UnixMicro(seen).UTC(), instant(sent)
		for _, n := range strings.Fields(row) {
			i, err := strconv.Atoi(n)
			if err != nil {
				return w, err
			}
			w.Rows = append(w.Rows, i)
		}
		return w, nil
	}, `SELECT id, kind, tenure, number, started_at, origin, phase, seen_at, sent_at, coalesce(outcome, ''), coalesce(reason, ''), coalesce(refused, ''),
			coalesce((SELECT group_concat(row, ' ' ORDER BY binding) FROM verdicts v WHERE v.task = t.id), ''),
			(SELECT count(*) FROM actions x WHERE x.task = t.id AND x.what IN ('unbound', 'removed')),
			(SELECT count(*) FROM sessions s WHERE s.ended_by = t.id),
			(SELECT count(*) FROM notices n WHERE n.task = t.id),
			(SELECT count(*) FROM bindings b WHERE b.detached_by = t.id AND b.restore_token IS NOT NULL)
		FROM tasks t ORDER BY no`)
}

// Removal is one binding that was unbound, with the truth about it, so that the world can check rule 1 by the true start.
type Removal struct {
	Task      string
	Account   string
	Owner     string
	Number    huanxin.Number
	TrueBound time.Time // zero: nobody knows
	Start     time.Time // the tenure's, as the task said
	Origin    string
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
		err = r.Scan(&out.Task, &out.Account, &out.Owner, &number, &bound, &start, &out.Origin, &at, &out.Restored)
		if err == nil {
			out.Number, out.TrueBound, out.Start = huanxin.NumberOf(uint64(number)), instant(bound), time.UnixMicro(start).UTC()
			out.At = time.UnixMicro(at).UTC()
		}
		return out, err
	}, `SELECT x.task, b.account, c.owner_key, b.number, u.bound_at, t.started_at, t.origin, x.at,
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
	return rows(ctx, db, func(r *sql.Rows) (h Heard, err error) {
		var uri string
		var at int64
		if err := r.Scan(&h.JTI, &h.Txn, &uri, &h.Task, &h.Reason, &h.Pushed, &h.Times, &at, &h.Done); err != nil {
			return h, err
		}
		h.At = time.UnixMicro(at).UTC()
		h.Type, err = huanxin.ParseEventType(uri)
		return h, err
	}, `SELECT jti, txn, type, task, reason, pushed, times, at, todo_at IS NULL FROM heard ORDER BY no`)
}

// Untold counts what the app found in its task list and the feed has not told it until now.
func (a *App) Untold(ctx context.Context) (n int, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return 0, err
	}
	return n, db.QueryRowContext(ctx, `SELECT count(*) FROM untold`).Scan(&n)
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
