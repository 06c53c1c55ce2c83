package appsim

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
)

// desk is when people get to what standing tasks wait for: one at the company to what is in review, the holder, with the link, to what
// may be theirs.
type desk struct {
	bell chan struct{}

	mu  sync.Mutex
	due map[string]time.Time // by task
}

func newDesk() desk { return desk{bell: make(chan struct{}, 1), due: map[string]time.Time{}} }

func (d *desk) expect(task string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due[task] = at
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

// take gives the tasks whose time has come, and how long it is until that of the next; 0: there is none.
func (d *desk) take(now time.Time) (tasks map[string]bool, next time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	tasks = map[string]bool{}
	for task, at := range d.due {
		switch left := at.Sub(now); {
		case left <= 0:
			tasks[task] = true
			delete(d.due, task)
		case next == 0 || left < next:
			next = left
		}
	}
	return tasks, next
}

// attend lets people do, until ctx is done, what tasks wait for: those too that stand since before the app was started.
func (a *App) attend(ctx context.Context, g *agent.Agent) {
	waiting, err := g.Reviews(ctx)
	if err != nil {
		a.o.Log.Warn("nobody knows what is to be reviewed", "app", a.Spec.ID, "error", err)
	}
	for _, w := range waiting {
		o, _ := huanxin.ParseOutcome(w.Outcome)
		a.desk.expect(w.Task, a.o.looks(w.Task, o, now()))
	}
	for ctx.Err() == nil {
		tasks, next := a.desk.take(now())
		if len(tasks) > 0 {
			if err := a.resolve(ctx, g, tasks); err != nil && ctx.Err() == nil {
				a.o.Log.Warn("a review could not be made", "app", a.Spec.ID, "error", err)
				for task := range tasks {
					a.desk.expect(task, now().Add(time.Second))
				}
			}
			continue
		}
		if next == 0 {
			next = time.Hour
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-a.desk.bell:
		case <-t.C:
		}
		t.Stop()
	}
}

// resolve lets people do what the bindings of some tasks wait for.
func (a *App) resolve(ctx context.Context, g *agent.Agent, tasks map[string]bool) error {
	waiting, err := g.Reviews(ctx)
	if err != nil {
		return err
	}
	for i := range waiting {
		w := &waiting[i]
		if !tasks[w.Task] {
			continue
		}
		switch {
		case w.Outcome == huanxin.InReview.String() && !w.Found:
			err = a.review(ctx, g, w)
		case w.Outcome == huanxin.ActionRequired.String() && w.Account != "":
			err = a.useLink(ctx, g, w)
		}
		if err != nil && huanxin.KindOf(err) != huanxin.NotFound { // it is over
			return err
		}
	}
	return nil
}

// review tells the agent what a person at the company found out about a binding, or about a mark.
func (a *App) review(ctx context.Context, g *agent.Agent, w *agent.InReview) error {
	f, err := a.finding(ctx, w)
	if err != nil {
		return err
	}
	if err := g.Review(ctx, w.Task, w.Binding, f); err != nil {
		return err
	}
	return a.write(ctx, func(tx *sql.Tx) error { return noted(ctx, tx, w, "reviewed") })
}

func noted(ctx context.Context, tx *sql.Tx, w *agent.InReview, what string) error {
	column := "binding"
	if w.Kind != huanxin.Unbind.String() {
		column = "mark"
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO actions (task, `+column+`, what, started_at, at) VALUES (?, ?, ?, ?, ?)`,
		w.Task, w.Binding, what, micros(w.TenureStart), micros(now()))
	return err
}

// reviewed is the truth about a binding, as far as it can be found out.
type reviewed struct {
	bound                     time.Time // zero: nobody knows
	same                      huanxin.Tri
	legalHold, business, told bool // told: the owner can be told otherwise than by phone
}

func (a *App) truth(ctx context.Context, w *agent.InReview) (r reviewed, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return r, err
	}
	var number int64
	var bound sql.NullInt64
	var owner string
	err = db.QueryRowContext(ctx, `SELECT b.number, u.bound_at, c.owner_key, c.legal_hold, c.business, c.other_contact FROM bindings b
		JOIN accounts c ON c.id = b.account JOIN truth_bindings u ON u.binding = b.id WHERE b.id = ?`, w.Binding).
		Scan(&number, &bound, &owner, &r.legalHold, &r.business, &r.told)
	if err != nil {
		return r, err
	}
	r.bound = instant(bound)
	if a.o.Holder == nil {
		return r, nil
	}
	switch a.o.Holder(huanxin.NumberOf(uint64(number)), w.TenureStart) {
	case "":
	case owner:
		r.same = huanxin.Yes
	default:
		r.same = huanxin.No
	}
	return r, nil
}

// finding is what follows from the truth. It says what the company would do: what the table says of it then, the agent knows. What cannot
// be found out is kept (rule 7).
func (a *App) finding(ctx context.Context, w *agent.InReview) (agent.Finding, error) {
	f := agent.Finding{Outcome: huanxin.Unbound, Reason: huanxin.Removed, By: "the demo's desk", At: now()}
	if w.Kind != huanxin.Unbind.String() {
		return f, nil
	}
	r, err := a.truth(ctx, w)
	if err != nil {
		return f, err
	}
	f.SamePerson = r.same
	if !r.bound.IsZero() {
		f.FirstBound = agent.At(r.bound)
	}
	kept := func(why huanxin.Reason) (agent.Finding, error) {
		f.Outcome, f.Reason = huanxin.Kept, why
		return f, nil
	}
	dates := w.Reason == huanxin.BoundAtUnknown.String() || w.Reason == huanxin.AmbiguousDates.String()
	switch {
	case dates && (r.bound.IsZero() || r.same == huanxin.NotKnown):
		return kept(huanxin.NotInScope)
	case r.same == huanxin.Yes:
		return kept(huanxin.SamePerson)
	case r.legalHold:
		return kept(huanxin.LegalHold)
	case r.business && !r.told: // the company would lose its last way in
		return kept(huanxin.NotInScope)
	case r.business:
		f.Reason = huanxin.MovedToOtherContact
	}
	return f, nil
}

// silent is how many of 4 holders who own the account never use the link all the same.
const silent = 1

// useLink is the present holder with the link of confirm_own_account. Whoever owns the account may sign in by another factor
// than the number, which says "mine"; nobody else can. Silence changes nothing.
func (a *App) useLink(ctx context.Context, g *agent.Agent, w *agent.InReview) error {
	r, err := a.truth(ctx, w)
	if err != nil || r.same != huanxin.Yes || part("silent", w.Account) < silent/4. {
		return err
	}
	if err := a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE bindings SET proof_at = ?1, proof_day = NULL, proof_never = 0, verified = 'yes', verified_at = ?1
			WHERE id = ?2`, micros(now()), w.Binding)
		if err != nil {
			return err
		}
		return noted(ctx, tx, w, "confirmed")
	}); err != nil {
		return err
	}
	return g.LookAgain(ctx, w.Task)
}
