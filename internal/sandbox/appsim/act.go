package appsim

import (
	"context"
	"crypto/rand"
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// unbind unbinds one binding for a task, softly and once, in one transaction. The account, its data and its money stay: no
// statement here names the table accounts.
func (a *App) unbind(ctx context.Context, t *task, b *binding, now time.Time) error {
	err := a.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE bindings SET is_login_key = 0, is_recovery = 0, is_second_factor = 0, notify = 0,
			discoverable = 0, stopped_at = NULL, stopped_by = NULL, detached_at = ?, detached_by = ?, restore_token = ?, restore_until = ?
			WHERE id = ? AND detached_at IS NULL`, micros(now), t.id, rand.Text(), micros(now.Add(a.restoreFor)), b.id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, s := range []struct {
			text string
			args []any
		}{
			{`UPDATE verdicts SET acted_at = ? WHERE task = ? AND binding = ?`, []any{micros(now), t.id, b.id}},
			{`UPDATE sessions SET ended_at = ?, ended_by = ? WHERE account = ? AND through_number = ? AND started_at >= ? AND ended_at IS NULL`,
				[]any{micros(now), t.id, b.account, int64(t.number.Digits()), micros(t.started)}},
			{`INSERT INTO notices (account, channel, task, about, at) SELECT id, 'other_contact', ?, 'unbound', ? FROM accounts
				WHERE id = ? AND other_contact`, []any{t.id, micros(now), b.account}},
		} {
			if _, err := tx.ExecContext(ctx, s.text, s.args...); err != nil {
				return err
			}
		}
		return logged(ctx, tx, entry{task: t.id, binding: b.id, what: "unbound", outcome: b.Outcome.String(), reason: b.Reason.String(),
			row: b.row, at: now})
	})
	if err == nil {
		b.acted = true
	}
	return err
}

// stopKey makes the number no key of an account while the unbinding is held.
func stopKey(ctx context.Context, tx *sql.Tx, t *task, b *binding, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE bindings SET stopped_at = ?, stopped_by = ? WHERE id = ?`, micros(now), t.id, b.id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE verdicts SET stopped_at = ? WHERE task = ? AND binding = ?`, micros(now), t.id, b.id); err != nil {
		return err
	}
	return logged(ctx, tx, entry{task: t.id, binding: b.id, what: "key_stopped", at: now})
}

// lift makes the number a key again where this task had stopped it: of one binding, or with nil of all.
func lift(ctx context.Context, tx *sql.Tx, t *task, b *binding, now time.Time) error {
	var only any
	if b != nil {
		only = b.id
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO actions (task, binding, what, at) SELECT ?1, id, 'key_lifted', ?2 FROM bindings
		WHERE stopped_by = ?1 AND id = coalesce(?3, id)`, t.id, micros(now), only)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE verdicts SET stopped_at = NULL WHERE task = ? AND acted_at IS NULL AND binding = coalesce(?, binding)`,
		t.id, only)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE bindings SET stopped_at = NULL, stopped_by = NULL WHERE stopped_by = ? AND id = coalesce(?, id)`,
		t.id, only)
	return err
}

// cleared reports whether the number was bound here until an earlier task.
func (a *App) cleared(ctx context.Context, t *task) (bool, error) {
	db, err := a.open(ctx)
	if err != nil {
		return false, err
	}
	var yes bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bindings WHERE number = ? AND detached_at IS NOT NULL)`,
		int64(t.number.Digits())).Scan(&yes)
	return yes, err
}

// marks is what the app keeps on a task's number for its former holder: placed before the tenure began.
type marks struct {
	ids     []string
	grave   bool
	cleared bool // there were some until an earlier task
}

func (a *App) marks(ctx context.Context, t *task) (m marks, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return m, err
	}
	type mark struct {
		id             string
		grave, removed bool
		by             string
	}
	all, err := rows(ctx, db, func(r *sql.Rows) (m mark, err error) {
		return m, r.Scan(&m.id, &m.grave, &m.removed, &m.by)
	}, `SELECT id, grave, removed_at IS NOT NULL, coalesce(removed_by, '') FROM `+markTables[t.kind]+
		` WHERE number = ? AND since < ? ORDER BY id`, int64(t.number.Digits()), micros(t.started))
	for _, k := range all {
		if k.removed && k.by != t.id {
			m.cleared = true
			continue
		}
		m.ids = append(m.ids, k.id)
		m.grave = m.grave || k.grave
	}
	return m, err
}

// verdict is what is to be done about marks: the table of DOMAIN.md §6 does not apply. Where the tenure's start is unknown
// a mark may be the present holder's own.
func (m marks) verdict(t *task) huanxin.Verdict {
	switch {
	case len(m.ids) == 0 && m.cleared:
		return huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.AlreadyCleared}
	case len(m.ids) == 0:
		return huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}
	case !t.known():
		return huanxin.Verdict{Outcome: huanxin.ActionRequired, Reason: huanxin.EvidenceNeeded}
	case m.grave && !t.reviewed:
		return huanxin.Verdict{Outcome: huanxin.InReview, Reason: huanxin.RestrictedNumber}
	}
	return huanxin.Verdict{Outcome: huanxin.Unbound, Reason: huanxin.Removed}
}

// remove takes marks off the number, each once, in one transaction.
func (a *App) remove(ctx context.Context, t *task, ids []string, now time.Time) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			r, err := tx.ExecContext(ctx, `UPDATE `+markTables[t.kind]+` SET removed_at = ?, removed_by = ? WHERE id = ? AND removed_at IS NULL`,
				micros(now), t.id, id)
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil {
				return err
			} else if n == 1 {
				if err := logged(ctx, tx, entry{task: t.id, what: "removed", reason: id, at: now}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
