package agent

import (
	"context"
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Record is what became of a task here.
type Record struct {
	Task, Kind  string
	Tenure      string
	TenureStart time.Time
	Origin      string
	// Phase is waiting (not answered yet), standing (answered, but not finally), done (answered finally) or closed (nothing more is done).
	Phase string
	// Ended is why nothing more is done: cancelled, aborted, stale, retracted, or the code with which the hub refused the answer.
	Ended string
	Seen  time.Time
	// Next is when there is something to do; zero: nothing is known of.
	Next time.Time
	// Outcome and Reason are the last answer; empty: none yet. Sent is when the hub took it; zero: not yet.
	Outcome, Reason string
	Sent            time.Time
	Bindings        []RecordedBinding
}

// RecordedBinding is how a task stands with one binding.
type RecordedBinding struct {
	Binding, Account string // empty once they are erased
	Outcome, Reason  string
	Row              int // of the table of DOMAIN.md §6; 0: none
	// When the number stopped being a key, when it was unbound, and when that was undone; zero: it was not.
	Suspended, Acted, Restored time.Time
}

var phaseWords = [...]string{waiting: "waiting", standing: "standing", done: "done", closed: "closed"}

// Records gives every task that is remembered, in the order in which they were seen.
func (a *Agent) Records(ctx context.Context) ([]Record, error) {
	tasks, err := a.state.tasks(ctx, `1 ORDER BY no`)
	out := make([]Record, len(tasks))
	for i, t := range tasks {
		out[i] = Record{Task: t.task, Kind: t.kindWord, Tenure: t.tenure, TenureStart: t.started, Origin: t.origin, Phase: phaseWords[t.phase],
			Ended: t.ended, Seen: t.seen, Next: t.next, Outcome: word(t.answer.Outcome), Reason: word(t.answer.Reason), Sent: t.sent}
		for _, b := range t.bindings {
			out[i].Bindings = append(out[i].Bindings, RecordedBinding{Binding: b.facts.ID, Account: b.facts.Account,
				Outcome: word(b.decision.Outcome), Reason: word(b.decision.Reason), Row: b.decision.row, Suspended: b.suspended, Acted: b.acted,
				Restored: b.restored})
		}
	}
	return out, err
}

// LookAgain has a task that is in review, or waits for the holder, decided about anew now: what the accounts' database says of its bindings
// has changed. The agent looks by itself after timings.look_again.
func (a *Agent) LookAgain(ctx context.Context, task string) error {
	err := a.state.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE tasks SET next_at = ?, news = news + 1 WHERE id = ? AND phase <= 2`, micros(a.now()), task)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return huanxin.Errorf(huanxin.NotFound, "not_found", "no task of this id is open here")
		}
		return nil
	})
	if err == nil {
		a.wake()
	}
	return err
}
