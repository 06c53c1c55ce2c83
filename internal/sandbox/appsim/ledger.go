package appsim

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// phase is where a task stands here.
type phase string

const (
	waiting  phase = "waiting"  // not decided yet, or held
	standing phase = "standing" // answered, but not finally
	done     phase = "done"     // answered finally
	closed   phase = "closed"   // cancelled, aborted or stale: nothing more is done
)

// task is a task in the app's own database.
type task struct {
	id, tenure, digest string
	kind               huanxin.TaskKind // 0: none that we know
	number             huanxin.Number
	started            time.Time
	origin             string
	phase              phase
	reviewed           bool
	outcome, reason    string
	next, sentAt       time.Time // zero: never, not yet
	closedAs           string    // why it was closed just now
}

// known reports whether the tenure's start and origin are.
func (t *task) known() bool { return t.origin != huanxin.OriginUnknown.String() }

// claim is what the task says of the tenure. With an unknown origin the start is "the day at which it had begun at latest".
func (t *task) claim() huanxin.Claim {
	if !t.known() {
		return huanxin.Claim{Start: huanxin.OnDay(huanxin.DateOf(t.started, huanxin.China), huanxin.China)}
	}
	return huanxin.Claim{Start: huanxin.Exactly(t.started), Known: true}
}

const taskColumns = `id, kind, number, tenure, started_at, origin, digest, phase, reviewed, coalesce(outcome, ''), coalesce(reason, ''), next_at, sent_at`

func scanTask(r *sql.Rows) (*task, error) {
	var t task
	var kind string
	var number, started int64
	var next, sent sql.NullInt64
	err := r.Scan(&t.id, &kind, &number, &t.tenure, &started, &t.origin, &t.digest, &t.phase, &t.reviewed, &t.outcome, &t.reason, &next, &sent)
	if err != nil {
		return nil, err
	}
	t.kind, _ = huanxin.ParseTaskKind(kind)
	t.number, t.started = huanxin.NumberOf(uint64(number)), time.UnixMicro(started).UTC()
	t.next, t.sentAt = instant(next), instant(sent)
	return &t, nil
}

// tasks gives those that a condition names, in the order in which they were seen.
func (a *App) tasks(ctx context.Context, where string, args ...any) ([]*task, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, db, scanTask, `SELECT `+taskColumns+` FROM tasks WHERE `+where+` ORDER BY no`, args...)
}

// add writes a task down, unless it is known. next is when to work it; zero: never.
func add(ctx context.Context, tx *sql.Tx, in *client.Task, now, next time.Time) error {
	number, err := huanxin.ParseNumber(in.Number)
	if err != nil {
		return fmt.Errorf("task %s: %w", in.ID, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tasks (id, kind, number, tenure, started_at, origin, digest, due_at, seen_at, phase, next_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, in.ID, in.Kind, int64(number.Digits()), in.Tenure.ID,
		micros(in.Tenure.StartedAt), in.Tenure.Origin, in.Digest, micros(in.DueAt), micros(now), string(waiting), micros(next))
	return err
}

// wake sets when a task is worked again; zero: never.
func (a *App) wake(ctx context.Context, t *task, next time.Time) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET next_at = ? WHERE id = ?`, micros(next), t.id)
		return err
	})
}

// settle writes down what the task is to be answered with. What was sent before and is the same is not sent again.
func (a *App) settle(ctx context.Context, t *task, v huanxin.Verdict, now, next time.Time) error {
	outcome, reason := v.Outcome.String(), v.Reason.String()
	t.phase = standing
	if v.Outcome.Final() {
		t.phase, next = done, time.Time{}
	}
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET phase = ?, next_at = ? WHERE id = ?`, string(t.phase), micros(next), t.id)
		if err != nil || t.outcome == outcome && t.reason == reason {
			return err
		}
		t.outcome, t.reason = outcome, reason
		_, err = tx.ExecContext(ctx, `UPDATE tasks SET outcome = ?, reason = ?, decided_at = ?, sent_at = NULL, refused = NULL WHERE id = ?`,
			outcome, reason, micros(now), t.id)
		if err != nil {
			return err
		}
		return logged(ctx, tx, entry{task: t.id, what: "answer", outcome: outcome, reason: reason, at: now})
	})
}

// close ends a task without an act: the number is a key again where this task had stopped it.
func (a *App) close(ctx context.Context, t *task, why string, now time.Time) error {
	t.phase = closed
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET phase = ?, next_at = NULL WHERE id = ?`, string(closed), t.id)
		if err != nil {
			return err
		}
		if err := lift(ctx, tx, t, nil, now); err != nil {
			return err
		}
		return logged(ctx, tx, entry{task: t.id, what: "closed", reason: why, at: now})
	})
}

// taken notes that the hub has an answer, or why it refused it.
func (a *App) taken(ctx context.Context, t *task, refused string, now time.Time) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET sent_at = ?, refused = nullif(?, '') WHERE id = ?`, micros(now), refused, t.id)
		if err != nil {
			return err
		}
		return logged(ctx, tx, entry{task: t.id, what: "sent", outcome: t.outcome, reason: refused, at: now})
	})
}

// askedAgain makes a task's answer be sent once more, and gives the holder another chance to use the link.
func (a *App) askedAgain(ctx context.Context, t *task, now, next time.Time) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		if t.phase == standing {
			if _, err := tx.ExecContext(ctx, `UPDATE tasks SET next_at = coalesce(next_at, ?) WHERE id = ?`, micros(next), t.id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE verdicts SET asked = 0 WHERE task = ?`, t.id); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tasks SET sent_at = NULL WHERE id = ?`, t.id); err != nil {
			return err
		}
		return logged(ctx, tx, entry{task: t.id, what: "asked_again", at: now})
	})
}

// entry is one line of the action log.
type entry struct {
	task            string
	binding         int64 // 0: of the task as a whole
	what            string
	outcome, reason string
	row             int
	at              time.Time
}

func logged(ctx context.Context, tx *sql.Tx, e entry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO actions (task, binding, what, outcome, reason, row, at) VALUES (?, nullif(?, 0), ?, ?, ?, ?, ?)`,
		e.task, e.binding, e.what, e.outcome, e.reason, e.row, micros(e.at))
	return err
}
