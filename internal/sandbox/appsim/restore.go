package appsim

import (
	"context"
	"database/sql"

	"github.com/huanxin-platform/huanxin"
)

// Restore undoes, within the restore time, what was unbound for a task, as far as rule 15 lets it, and says how many
// bindings. The caller says why, and who holds the number now; BoundElsewhere and Binding are filled in here. Ended sessions
// stay ended.
func (a *App) Restore(ctx context.Context, task string, why huanxin.Restoration) (restored int, err error) {
	at := now()
	found, err := a.tasks(ctx, `id = ?`, task)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	t := found[0]
	err = a.write(ctx, func(tx *sql.Tx) error {
		restored = 0
		bs, err := bindings(ctx, tx, t)
		if err != nil {
			return err
		}
		for _, b := range bs {
			undone := why
			undone.Binding = huanxin.Binding{FirstBound: b.firstBound.Moment(), LastProof: b.lastProof.Moment()}
			var elsewhere, kept bool
			err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bindings o WHERE o.number = ?1 AND o.id <> ?2 AND o.detached_at IS NULL),
				EXISTS (SELECT 1 FROM bindings WHERE id = ?2 AND detached_by = ?3 AND restore_token IS NOT NULL AND restore_until > ?4)`,
				int64(t.number.Digits()), b.id, t.id, micros(at)).Scan(&elsewhere, &kept)
			if err != nil {
				return err
			}
			if undone.BoundElsewhere = huanxin.No; elsewhere {
				undone.BoundElsewhere = huanxin.Yes
			}
			if !b.acted || !kept || !huanxin.MayRestore(undone) {
				continue
			}
			_, err = tx.ExecContext(ctx, `UPDATE bindings SET is_login_key = 1, is_recovery = 1, is_second_factor = 1, notify = 1, discoverable = 1,
				detached_at = NULL, detached_by = NULL, restore_token = NULL, restore_until = NULL WHERE id = ?`, b.id)
			if err != nil {
				return err
			}
			if err := logged(ctx, tx, entry{task: t.id, binding: b.id, what: "restored", at: at}); err != nil {
				return err
			}
			restored++
		}
		return nil
	})
	return restored, err
}
