package appsim

import (
	"context"
	"database/sql"
	"hash/fnv"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// resolve lets people do what a standing task waits for: one at the company looks at what is in review, and the holder, with
// the link, at what is theirs.
func (a *App) resolve(ctx context.Context, t *task, p *Pace, now time.Time) error {
	holder := ""
	if p.Holder != nil {
		holder = p.Holder(t.number, t.started)
	}
	return a.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE tasks SET reviewed = 1 WHERE id = ?`, t.id); err != nil {
			return err
		}
		t.reviewed = true
		bs, err := bindings(ctx, tx, t)
		if err != nil {
			return err
		}
		for _, b := range bs {
			switch {
			case b.Outcome == huanxin.InReview && !b.reviewed:
				err = review(ctx, tx, t, b, holder, now)
			case b.Outcome == huanxin.ActionRequired && !b.asked:
				err = useLink(ctx, tx, t, b, holder, now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// review writes into a binding what a person at the company found out: when it was really bound, and whether the owner is the
// present holder. From then on the app knows it, and judge decides anew.
func review(ctx context.Context, tx *sql.Tx, t *task, b *binding, holder string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE bindings SET bound_at = found.bound_at, bound_day = NULL
		FROM (SELECT bound_at FROM truth_bindings WHERE binding = ?1 AND bound_at IS NOT NULL) AS found WHERE id = ?1`, b.id)
	if err != nil {
		return err
	}
	if holder != "" {
		_, err = tx.ExecContext(ctx, `UPDATE bindings SET verified = iif((SELECT owner_key FROM accounts WHERE id = account) = ?, 'yes', 'no'),
			verified_at = ? WHERE id = ?`, holder, micros(t.started), b.id)
		if err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE verdicts SET reviewed = 1 WHERE task = ? AND binding = ?`, t.id, b.id); err != nil {
		return err
	}
	return logged(ctx, tx, entry{task: t.id, binding: b.id, what: "reviewed", outcome: b.Outcome.String(), reason: b.Reason.String(), row: b.row, at: now})
}

// silent is how many of 4 holders who own the account never use the link all the same.
const silent = 1

// useLink is the present holder with the link of confirm_own_account. Whoever owns the account may sign in by another factor
// than the number, which says "mine"; nobody else can. Silence changes nothing.
func useLink(ctx context.Context, tx *sql.Tx, t *task, b *binding, holder string, now time.Time) error {
	var owner string
	if err := tx.QueryRowContext(ctx, `SELECT owner_key FROM accounts WHERE id = ?`, b.account).Scan(&owner); err != nil {
		return err
	}
	if holder != "" && owner == holder && part("silent", b.account) >= silent/4. {
		_, err := tx.ExecContext(ctx, `UPDATE bindings SET proof_at = ?1, proof_day = NULL, proof_never = 0, verified = 'yes', verified_at = ?1
			WHERE id = ?2`, micros(now), b.id)
		if err != nil {
			return err
		}
		if err := logged(ctx, tx, entry{task: t.id, binding: b.id, what: "confirmed", at: now}); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE verdicts SET asked = 1 WHERE task = ? AND binding = ?`, t.id, b.id)
	return err
}

// part is a fraction from 0 up to 1, always the same for the same words.
func part(words ...string) float64 {
	h := fnv.New64a()
	for _, w := range words {
		_, _ = h.Write([]byte(w))
		_, _ = h.Write([]byte{0})
	}
	v := h.Sum64()
	v ^= v >> 33 // FNV's high bits hardly depend on the last bytes
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return float64(v>>11) / (1 << 53)
}
