package appsim

import (
	"context"
	"database/sql"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// hear writes down that a SET came, however often it does, and what it says of numbers: the agent, which takes in what it says of tasks,
// acknowledges it after that.
func (a *App) hear(ctx context.Context, s client.SET) error {
	if a.refuses(&s) {
		return nonsensical
	}
	at := now()
	err := a.write(ctx, func(tx *sql.Tx) error {
		var times int
		err := tx.QueryRowContext(ctx, `INSERT INTO heard (jti, type, txn, task, reason, pushed, times, at, last_at)
			VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (jti) DO UPDATE SET times = times + 1, last_at = excluded.last_at RETURNING times`,
			s.JTI, s.URI, s.Txn, s.TaskID, s.Reason, a.o.PushTo != "", micros(at), micros(at)).Scan(&times)
		if err != nil || times > 1 {
			return err
		}
		switch s.Type {
		case huanxin.IdentifierRecycled, huanxin.NumberReleased:
			what := s.Reason
			if s.Type == huanxin.NumberReleased {
				what = "released"
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO recycled (jti, number, what, started_at, at) VALUES (?, ?, ?, ?, ?)`, s.JTI,
				int64(s.Number.Digits()), what, micros(s.StartedAt), micros(at))
		case huanxin.RecycleRetracted:
			_, err = tx.ExecContext(ctx, `UPDATE recycled SET retracted_at = ? WHERE jti = ?`, micros(at), s.Retracts)
		}
		return err
	})
	if err == nil && a.o.PushTo != "" {
		a.came.Add(1)
	} else if err == nil {
		a.polled.Add(1)
	}
	return err
}

// Counted says how many SETs came by poll and by push since the app was opened, repeats included.
func (a *App) Counted() (polled, pushed int) { return int(a.polled.Load()), int(a.came.Load()) }

// nonsensical is how the app of nonsense refuses a SET that there is nothing wrong with.
var nonsensical = &client.SetError{Err: "invalid_request", Description: "看不懂 / what is this"}

// refuses reports whether a SET is one of those that the app of nonsense refuses: it does not want to hear of tasks.
func (a *App) refuses(s *client.SET) bool {
	return a.Spec.Behaviour == catalogue.Nonsense && s.Type == huanxin.UnbindRequested
}
