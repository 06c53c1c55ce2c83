package appsim

import (
	"context"
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// hear writes down what a SET says, once however often it comes, in one transaction, and leaves to the worker what follows from it.
// The SET is acknowledged after that, so nothing is lost; what the worker does is done once.
func (w *worker) hear(pushed bool) client.Take {
	return func(ctx context.Context, s client.SET) error {
		if w.refuses(&s) {
			return nonsensical
		}
		at, todo := now(), time.Time{}
		switch s.Type {
		case huanxin.UnbindRequested, huanxin.UnbindCancelled, huanxin.RecycleRetracted:
			todo = at
		}
		err := w.write(ctx, func(tx *sql.Tx) error {
			var times int
			err := tx.QueryRowContext(ctx, `INSERT INTO heard (jti, type, txn, task, reason, pushed, times, at, last_at, todo_at)
				VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (jti) DO UPDATE SET times = times + 1, last_at = excluded.last_at RETURNING times`,
				s.JTI, s.URI, s.Txn, s.TaskID, s.Reason, pushed, micros(at), micros(at), micros(todo)).Scan(&times)
			if err != nil || times > 1 {
				todo = time.Time{}
				return err
			}
			return w.note(ctx, tx, &s, at)
		})
		if err == nil {
			w.count(pushed)
		}
		if err == nil && !todo.IsZero() {
			w.restless.Store(true)
			w.ring()
		}
		return err
	}
}

func (a *App) count(pushed bool) {
	if pushed {
		a.came.Add(1)
	} else {
		a.polled.Add(1)
	}
}

// Counted says how many SETs came by poll and by push since the app was opened, repeats included.
func (a *App) Counted() (polled, pushed int) { return int(a.polled.Load()), int(a.came.Load()) }

// note writes down what is new in a SET.
func (w *worker) note(ctx context.Context, tx *sql.Tx, s *client.SET, at time.Time) error {
	switch s.Type {
	case huanxin.UnbindRequested:
		ready := w.pace.ready(w.Spec.Behaviour, s.TaskID, at, s.Task.DueAt)
		if err := add(ctx, tx, &s.Task, at, ready); err != nil {
			return err
		}
	case huanxin.IdentifierRecycled, huanxin.NumberReleased:
		what := s.Reason
		if s.Type == huanxin.NumberReleased {
			what = "released"
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO recycled (jti, number, what, started_at, at) VALUES (?, ?, ?, ?, ?)`, s.JTI,
			int64(s.Number.Digits()), what, micros(s.StartedAt), micros(at))
		return err
	case huanxin.RecycleRetracted:
		_, err := tx.ExecContext(ctx, `UPDATE recycled SET retracted_at = ? WHERE jti = ?`, micros(at), s.Retracts)
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM untold WHERE task = ? AND type = ?`, s.TaskID, s.URI)
	return err
}

// todo is something heard from which something follows that is not done yet.
type todo struct {
	jti       string
	what      huanxin.EventType
	txn, task string
	at        time.Time // when it was heard
}

// todos gives what there is to be done now, in the order in which it was heard.
func (a *App) todos(ctx context.Context, until time.Time) ([]todo, error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	return rows(ctx, db, func(r *sql.Rows) (t todo, err error) {
		var uri string
		var at int64
		if err := r.Scan(&t.jti, &uri, &t.txn, &t.task, &at); err != nil {
			return t, err
		}
		t.at = time.UnixMicro(at).UTC()
		t.what, err = huanxin.ParseEventType(uri)
		return t, err
	}, `SELECT jti, type, txn, task, at FROM heard WHERE todo_at <= ? ORDER BY no`, until.UnixMicro())
}

// putOff says when something heard is to be looked at again; zero: it is done.
func (a *App) putOff(ctx context.Context, t *todo, until time.Time) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE heard SET todo_at = ? WHERE jti = ?`, micros(until), t.jti)
		return err
	})
}

const (
	// A check shows what was reported a second ago at the latest: so long, and a little longer, the hub is asked again whether a number is
	// its former holder's once more.
	retractedFor   = 2 * time.Second
	retractedEvery = 100 * time.Millisecond
)

// follow does what follows from what was heard.
func (w *worker) follow(ctx context.Context) error {
	todos, err := w.todos(ctx, now())
	if err != nil {
		return err
	}
	for i := range todos {
		t := &todos[i]
		var until time.Time
		switch t.what {
		case huanxin.UnbindRequested:
			err = w.requested(ctx, t)
		case huanxin.UnbindCancelled:
			err = w.ended(ctx, `id = ?`, t.task)
		case huanxin.RecycleRetracted:
			until, err = w.retracted(ctx, t)
		}
		if err != nil {
			return err
		}
		if err := w.putOff(ctx, t, until); err != nil {
			return err
		}
	}
	return nil
}

// requested looks at a task that the hub told of: a new one, or one whose answer is asked for again.
func (w *worker) requested(ctx context.Context, heard *todo) error {
	found, err := w.tasks(ctx, `id = ?`, heard.task)
	if err != nil || len(found) == 0 {
		return err
	}
	t := found[0]
	if t.phase == waiting && t.outcome == "" {
		return w.stopAtOnce(ctx, t)
	}
	if t.sentAt.IsZero() || t.phase == closed || heard.at.Before(t.sentAt) {
		return nil // the answer that is on its way, or came after that, is the answer
	}
	again, why, err := w.readAgain(ctx, t)
	state, _ := huanxin.ParseTaskState(again.State)
	if err != nil || why != "" || state != huanxin.TaskQueued && state != huanxin.TaskDelivered {
		return err
	}
	return w.askedAgain(ctx, t, now(), w.pace.looks(t.id, huanxin.ActionRequired, now()))
}

// ended reads tasks again that are not over here, to learn why they were ended.
func (w *worker) ended(ctx context.Context, which string, args ...any) error {
	found, err := w.tasks(ctx, which, args...)
	if err != nil {
		return err
	}
	for _, t := range found {
		if t.phase == waiting || t.phase == standing {
			if err := w.missing(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofTenure names the tasks of a tenure: those that the feed told of under one txn.
const ofTenure = `(id = ?1 OR id IN (SELECT task FROM heard WHERE txn = ?2 AND task <> ''))`

// retracted gives back what was unbound for a tenure that was corrected away: for the task that the SET names, or if it names the number
// alone for every one of that tenure, since one may have been worked when it was too late.
func (w *worker) retracted(ctx context.Context, heard *todo) (until time.Time, err error) {
	if err := w.ended(ctx, ofTenure, heard.task, heard.txn); err != nil {
		return until, err
	}
	found, err := w.tasks(ctx, ofTenure, heard.task, heard.txn)
	if err != nil {
		return until, err
	}
	for _, t := range found {
		later, err := w.giveBack(ctx, t)
		if err != nil {
			return until, err
		}
		if later && now().Sub(heard.at) < retractedFor {
			until = now().Add(retractedEvery)
		}
	}
	return until, nil
}
