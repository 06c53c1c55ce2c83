package appsim

import (
	"context"
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// giveBack restores what was unbound for a task whose tenure was corrected away, as far as rule 15 lets it: the hub is asked of each
// binding whether today's holder had the number when it was bound. later: that was not known to the hub yet, or not known at all.
func (w *worker) giveBack(ctx context.Context, t *task) (later bool, err error) {
	db, err := w.App.open(ctx)
	if err != nil {
		return false, err
	}
	bs, err := bindings(ctx, db, t)
	if err != nil {
		return false, err
	}
	for _, b := range bs {
		if !b.acted {
			continue
		}
		why := huanxin.Restoration{TenureVoided: true}
		unchanged, known := false, false
		if why.Holder, unchanged, known, err = w.today(ctx, t.number, b.firstBound); err != nil {
			return false, err
		}
		if known {
			if _, err := w.restore(ctx, t, b, why); err != nil {
				return false, err
			}
		}
		later = later || !unchanged
	}
	return later, nil
}

// today asks the hub about the present tenure: whether it was running when a binding was first made. claim says of it what the answer
// proves, for rule 15 to judge by: of a tenure that began later, that it may have begun as late as now.
func (w *worker) today(ctx context.Context, n huanxin.Number, bound When) (claim *huanxin.Claim, unchanged, known bool, err error) {
	since := bound.at
	if bound.day != (huanxin.Date{}) {
		since, _ = bound.day.In(huanxin.China)
	}
	if since.IsZero() {
		return nil, false, false, nil
	}
	var said string
	err = w.call(ctx, func(ctx context.Context) error {
		_, answer, err := w.hub.Check(ctx, n.E164(), since.Format(time.RFC3339Nano))
		said = answer.Outcome
		return err
	})
	switch {
	case err != nil:
		return nil, false, false, err
	case said == huanxin.Unchanged.String():
		return &huanxin.Claim{Start: huanxin.Exactly(since), Known: true}, true, true, nil
	case said == huanxin.NoHolder.String():
		return nil, false, true, nil
	case said == huanxin.Changed.String():
		return &huanxin.Claim{Start: huanxin.Exactly(now()), Known: true}, false, true, nil
	}
	return nil, false, false, nil // unknown is never no
}

// restore undoes, within the restore time, the unbinding of one binding for a task, if rule 15 lets it. The caller says why, and who
// holds the number now; BoundElsewhere and Binding are filled in here. Ended sessions stay ended.
func (a *App) restore(ctx context.Context, t *task, b *binding, why huanxin.Restoration) (restored bool, err error) {
	at := now()
	err = a.write(ctx, func(tx *sql.Tx) error {
		why.Binding = huanxin.Binding{FirstBound: b.firstBound.Moment(), LastProof: b.lastProof.Moment()}
		var elsewhere, kept bool
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bindings o WHERE o.number = ?1 AND o.id <> ?2 AND o.detached_at IS NULL),
			EXISTS (SELECT 1 FROM bindings WHERE id = ?2 AND detached_by = ?3 AND restore_token IS NOT NULL AND restore_until > ?4)`,
			int64(t.number.Digits()), b.id, t.id, micros(at)).Scan(&elsewhere, &kept)
		if err != nil {
			return err
		}
		if why.BoundElsewhere = huanxin.No; elsewhere {
			why.BoundElsewhere = huanxin.Yes
		}
		if restored = kept && huanxin.MayRestore(why); !restored {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE bindings SET is_login_key = 1, is_recovery = 1, is_second_factor = 1, notify = 1, discoverable = 1,
			detached_at = NULL, detached_by = NULL, restore_token = NULL, restore_until = NULL WHERE id = ?`, b.id)
		if err != nil {
			return err
		}
		return logged(ctx, tx, entry{task: t.id, binding: b.id, what: "restored", at: at})
	})
	return restored, err
}
