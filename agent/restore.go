package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// RestoreOrder asks for what was unbound for a task, or under one token, to be restored as far as rule 15 lets it.
type RestoreOrder struct {
	Task  string `json:"task,omitempty"`
	Token string `json:"token,omitempty"`
	// OwnerVerified says that the present holder, freshly verified, owns the account. Else only a tenure that was corrected away is a reason.
	OwnerVerified bool   `json:"owner_verified,omitempty"`
	By            string `json:"by"`
}

// Restored is what became of one binding of an order.
type Restored struct {
	Task    string `json:"task"`
	Binding string `json:"binding"`
	// Said is "restored", or why it was not.
	Said string `json:"said"`
}

// Failed reports whether it can be asked for again: nobody does by himself.
func (s *Restored) Failed() bool { return s.Said == saidFailed }

// Why a binding is not restored.
const (
	saidRestored  = "restored"
	saidBefore    = "restored before"
	saidTooLate   = "the time to restore is over"
	saidNoReason  = "rule 15 knows no reason: its tenure was not corrected away, and nobody says that the present holder owns it"
	saidForbidden = "rule 15 forbids it: the number is bound to another account, or the table would unbind it today"
	saidUnknown   = "who holds the number today is not known"
	saidFailed    = "it failed: ask for it again"
	saidGone      = "the restore statement touched nothing"
)

// considerRestoring adds the orders by which bindings are restored that were unbound for tasks whose tenures were taken back. When the hub
// cannot be asked of one, it is not asked of those that follow.
func (r *round) considerRestoring(ctx context.Context, tasks []*task) {
	type considered struct {
		todo []*todo
		said []Restored
		err  error
	}
	out := make([]considered, len(tasks))
	var broken atomic.Pointer[error]
	each(len(tasks), 8, func(i int) {
		c := &out[i]
		if err := broken.Load(); err != nil {
			c.err = *err
			return
		}
		if c.todo, c.said, c.err = r.restore(ctx, tasks[i], &RestoreOrder{Task: tasks[i].task}); c.err != nil {
			broken.Store(&c.err)
		}
	})
	for i, t := range tasks {
		if t.ended == "" {
			t.ended = "retracted"
		}
		if t.phase <= standing {
			r.todo = append(r.todo, r.orders(t)...) // which are key's to resume
		}
		r.todo = append(r.todo, out[i].todo...)
		if out[i].err != nil {
			t.failed(out[i].err)
		}
		for _, s := range out[i].said {
			if s.Said == saidForbidden || s.Said == saidUnknown {
				r.unsure[t] = true
			}
		}
	}
}

// restore gives an order for every binding that may be restored, and says why others may not.
func (r *round) restore(ctx context.Context, t *task, order *RestoreOrder) (todos []*todo, said []Restored, err error) {
	for _, b := range t.bindings {
		if b.acted.IsZero() || order.Token != "" && b.token != order.Token {
			continue
		}
		why := ""
		switch {
		case !b.restored.IsZero():
			why = saidBefore
		case t.number.IsZero() || !b.until.After(r.now):
			why = saidTooLate
		case t.retracted.IsZero() && !order.OwnerVerified:
			why = saidNoReason
		default:
			var o *todo
			if o, why, err = r.restoreOne(ctx, t, b, order); err != nil {
				return nil, nil, err
			}
			if o != nil {
				todos = append(todos, o)
			}
		}
		said = append(said, Restored{Task: t.task, Binding: b.facts.ID, Said: why})
	}
	return todos, said, nil
}

// restoreOne gives the order by which one binding is restored, or why it is not. The last word is rule 15's, within the transaction,
// which sees whether the number is bound to another account.
func (r *round) restoreOne(ctx context.Context, t *task, b *binding, order *RestoreOrder) (o *todo, why string, err error) {
	why15 := huanxin.Restoration{TenureVoided: !t.retracted.IsZero(), OwnerVerified: order.OwnerVerified, BoundElsewhere: huanxin.No}
	at := b.facts.FirstBound
	if b.finding != nil && b.finding.FirstBound != (When{}) {
		at = b.finding.FirstBound
	}
	why15.Binding = b.facts.binding(b.finding, t.zone)
	known := true
	if why15.Holder, known, err = r.a.todaysTenure(ctx, t.number, at); err != nil {
		return nil, "", err
	} else if !known {
		return nil, saidUnknown, nil
	}
	if !huanxin.MayRestore(why15) {
		return nil, saidForbidden, nil
	}
	o = &todo{t: t, b: b, before: b.intent == restore}
	o.order = orderOf(t, b, restore, r.now)
	o.still = func(all []Facts) bool {
		why15.BoundElsewhere = huanxin.No
		for _, f := range all {
			if f.ID != b.facts.ID && (f.Account == "" || f.Account != b.facts.Account) {
				why15.BoundElsewhere = huanxin.Yes
			}
		}
		return huanxin.MayRestore(why15)
	}
	return o, "", nil
}

// todaysTenure gives what can be known of today's tenure from the outside: the hub is asked whether the holder has changed since the
// binding. known is false where it cannot tell, nil means that nobody holds the number. Where the holder has not changed, the tenure
// began at or before the binding; where he has, it is taken to have begun just now, so that nothing counts as done in it.
func (a *Agent) todaysTenure(ctx context.Context, n huanxin.Number, bound When) (holder *huanxin.Claim, known bool, err error) {
	first, last, ok := bound.span(a.zone)
	if !ok {
		return nil, false, nil
	}
	outcomes := map[string]bool{}
	for _, at := range []time.Time{first, last} {
		if outcomes[""] = false; bound.Exact() && at == last && len(outcomes) > 1 {
			break
		}
		err := a.call(ctx, func(ctx context.Context) error {
			_, answer, err := a.hub.Check(ctx, n.E164(), at.UTC().Format(time.RFC3339Nano))
			outcomes[answer.Outcome] = true
			return err
		})
		if err != nil {
			return nil, false, err
		}
	}
	delete(outcomes, "")
	claim := &huanxin.Claim{Start: huanxin.Exactly(first), Known: true}
	switch {
	case outcomes["CHANGED"] && !outcomes["UNKNOWN"]:
		claim.Start = huanxin.Exactly(a.now())
		return claim, true, nil
	case len(outcomes) != 1:
		return nil, false, nil
	case outcomes["NO_HOLDER"]:
		return nil, true, nil
	case outcomes["UNCHANGED"]:
		return claim, true, nil
	}
	return nil, false, nil
}

func orderOf(t *task, b *binding, d deed, now time.Time) order {
	return order{want: &t.want, deed: d, binding: b.facts.ID, account: b.facts.Account, now: now}
}

// Restore restores what was unbound, as far as rule 15 lets it, now.
func (a *Agent) Restore(ctx context.Context, o RestoreOrder) ([]Restored, error) {
	a.working.Lock()
	defer a.working.Unlock()
	return a.restoreNow(ctx, &o)
}

// restoreNow is Restore for who holds a.working.
func (a *Agent) restoreNow(ctx context.Context, o *RestoreOrder) ([]Restored, error) {
	where, arg := `id = ?`, o.Task
	if o.Token != "" {
		where, arg = `no IN (SELECT task FROM bindings WHERE token = ?)`, o.Token
	}
	tasks, err := a.state.tasks(ctx, where, arg)
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, huanxin.Errorf(huanxin.NotFound, "not_found", "there is no such task or token here")
	}
	if err := a.mayAct(ctx); err != nil {
		return nil, err
	}
	t, now := tasks[0], a.now()
	r := a.newRound(tasks, now)
	f := a.conn.find(ctx, []*want{&t.want})[0]
	if f.err != nil {
		return nil, f.err
	}
	t.recognise(a, f.facts)
	todos, said, err := r.restore(ctx, t, o)
	if err != nil {
		return nil, err
	}
	r.todo = append(r.todo, todos...)
	r.intend()
	if err := a.state.saveIntents(ctx, r.todo); err != nil {
		return nil, err
	}
	a.at("intended")
	r.act(ctx)
	a.at("acted")
	for _, o := range r.todo {
		r.note(o)
	}
	t.problem = ""
	for i := range said {
		said[i].settle(r.todo)
	}
	return said, a.state.save(ctx, tasks, now)
}

// settle says what became of the order that a binding got.
func (s *Restored) settle(todo []*todo) {
	for _, o := range todo {
		if s.Said != "" || o.binding != s.Binding {
			continue
		}
		switch o.effect {
		case acted:
			s.Said = saidRestored
		case changed:
			s.Said = saidForbidden
		case gone:
			s.Said = saidGone
		default:
			s.Said = saidFailed
		}
	}
}

// Order leaves an order for the agent that runs on this state, and waits until it has been obeyed.
func (s *state) order(ctx context.Context, o RestoreOrder, now time.Time) ([]Restored, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var no int64
	if err := s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO orders (order_, at) VALUES (?, ?)`, string(text), micros(now))
		if err != nil {
			return err
		}
		no, err = r.LastInsertId()
		return err
	}); err != nil {
		return nil, err
	}
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		var result string
		var doneAt sql.NullInt64
		if err := s.read(ctx, func(q querySQL) error {
			return q.QueryRowContext(ctx, `SELECT result, done_at FROM orders WHERE no = ?`, no).Scan(&result, &doneAt)
		}); err != nil {
			return nil, err
		}
		if doneAt.Valid {
			return resultOf(result)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

type orderResult struct {
	Restored []Restored `json:"restored,omitempty"`
	Error    string     `json:"error,omitempty"`
}

func resultOf(text string) ([]Restored, error) {
	var r orderResult
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return r.Restored, errors.New(r.Error)
	}
	return r.Restored, nil
}

// obey does what people asked for beside the running agent.
func (a *Agent) obey(ctx context.Context) error {
	type open struct {
		no   int64
		text string
	}
	var orders []open
	if err := a.state.read(ctx, func(q querySQL) error {
		rows, err := q.QueryContext(ctx, `SELECT no, order_ FROM orders WHERE done_at IS NULL ORDER BY no`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o open
			if err := rows.Scan(&o.no, &o.text); err != nil {
				return err
			}
			orders = append(orders, o)
		}
		return rows.Err()
	}); err != nil {
		return err
	}
	for _, o := range orders {
		var in RestoreOrder
		var out orderResult
		err := json.Unmarshal([]byte(o.text), &in)
		if err == nil {
			a.log.Info("a restoration was asked for", "task", in.Task, "by", in.By, "owner_verified", in.OwnerVerified)
			out.Restored, err = a.restoreNow(ctx, &in)
		}
		if err != nil {
			out.Error = err.Error()
		}
		text, err := json.Marshal(out)
		if err != nil {
			return err
		}
		if err := a.state.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE orders SET done_at = ?, result = ? WHERE no = ?`, micros(a.now()), string(text), o.no)
			return err
		}); err != nil {
			return fmt.Errorf("an order: %w", err)
		}
	}
	return nil
}
