package appsim

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// binding is what the app knows of a binding, and how a task stands with it.
type binding struct {
	id         int64
	account    string
	firstBound When
	lastProof  When
	verified   huanxin.Tri
	verifiedAt time.Time

	otherContact, legalHold, business, owed bool

	// Of the task: see the table verdicts.
	huanxin.Verdict
	row       int
	stoppedAt time.Time
	acted     bool
	reviewed  bool
	asked     bool
}

// bindings gives those that a task is about: attached to its number, or unbound for it.
func bindings(ctx context.Context, q query, t *task) ([]*binding, error) {
	return rows(ctx, q, scanBinding, `
		SELECT b.id, b.account, b.bound_at, b.bound_day, b.proof_at, b.proof_day, b.proof_never, b.verified, b.verified_at,
			c.other_contact, c.legal_hold, c.business, c.owed,
			coalesce(v.row, 0), coalesce(v.outcome, ''), coalesce(v.reason, ''), v.stopped_at, v.acted_at IS NOT NULL,
			coalesce(v.reviewed, 0), coalesce(v.asked, 0)
		FROM bindings b JOIN accounts c ON c.id = b.account LEFT JOIN verdicts v ON v.binding = b.id AND v.task = ?
		WHERE b.number = ? AND (b.detached_at IS NULL OR v.acted_at IS NOT NULL) ORDER BY b.id`, t.id, int64(t.number.Digits()))
}

func scanBinding(r *sql.Rows) (*binding, error) {
	var b binding
	var boundAt, proofAt, verifiedAt, stoppedAt sql.NullInt64
	var boundDay, proofDay sql.NullString
	var proofNever bool
	var verified, outcome, reason string
	err := r.Scan(&b.id, &b.account, &boundAt, &boundDay, &proofAt, &proofDay, &proofNever, &verified, &verifiedAt,
		&b.otherContact, &b.legalHold, &b.business, &b.owed, &b.row, &outcome, &reason, &stoppedAt, &b.acted, &b.reviewed, &b.asked)
	if err != nil {
		return nil, err
	}
	b.verified, b.verifiedAt, b.stoppedAt = triOf(verified), instant(verifiedAt), instant(stoppedAt)
	if b.firstBound, err = whenOf(boundAt, boundDay, false); err != nil {
		return nil, err
	}
	if b.lastProof, err = whenOf(proofAt, proofDay, proofNever); err != nil {
		return nil, err
	}
	if outcome != "" {
		var err2 error
		b.Outcome, err = huanxin.ParseOutcome(outcome)
		b.Reason, err2 = huanxin.ParseReason(reason)
		err = errors.Join(err, err2)
	}
	return &b, err
}

// samePerson says whether the owner was verified to be the holder of the tenure, or not to be. Who held the number before
// the tenure began says nothing of it.
func (b *binding) samePerson(t *task) huanxin.Tri {
	if b.verifiedAt.IsZero() || b.verifiedAt.Before(t.started) {
		return huanxin.NotKnown
	}
	return b.verified
}

// judge decides about one binding: the table of DOMAIN.md §6, and then what this company adds. It adds nothing that unbinds,
// but that a review may end row 4: a person who found out that B is before A and that the owner is someone else.
func (a *App) judge(t *task, b *binding) (v huanxin.Verdict, row int) {
	if b.acted {
		return b.Verdict, b.row
	}
	same := b.samePerson(t)
	v.Outcome, v.Reason, row = huanxin.Decide(t.claim(), huanxin.Binding{
		FirstBound: b.firstBound.Moment(), LastProof: b.lastProof.Moment(), SamePerson: same})
	if b.reviewed && v.Outcome == huanxin.InReview {
		v = t.afterReview(b, same)
	}
	if v.Outcome == huanxin.Unbound {
		v = a.withScruples(b, v)
	}
	return v, row
}

// afterReview is what follows rows 3 and 4 once a person has looked. What cannot be found out is kept (rule 7).
func (t *task) afterReview(b *binding, same huanxin.Tri) huanxin.Verdict {
	switch {
	case b.firstBound.at.IsZero() || same == huanxin.NotKnown:
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}
	case !t.known(): // then row 5 is next
		return huanxin.Verdict{Outcome: huanxin.ActionRequired, Reason: huanxin.ConfirmOwnAccount}
	case b.firstBound.at.Before(t.started) && same == huanxin.No:
		return huanxin.Verdict{Outcome: huanxin.Unbound, Reason: huanxin.Removed}
	}
	return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}
}

// withScruples holds back an unbinding: for a court, or until a person has looked at a company's account or at a debt.
func (a *App) withScruples(b *binding, v huanxin.Verdict) huanxin.Verdict {
	lends := a.Spec.Class == "lending" || a.Spec.Class == "payment"
	switch {
	case b.legalHold:
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.LegalHold}
	case b.business && !b.reviewed:
		return huanxin.Verdict{Outcome: huanxin.InReview, Reason: huanxin.BusinessAccount}
	case b.owed && lends && !b.reviewed:
		return huanxin.Verdict{Outcome: huanxin.InReview, Reason: huanxin.AssetsHeld}
	case b.business && !b.otherContact: // the company would lose its last way in
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}
	case b.business:
		v.Reason = huanxin.MovedToOtherContact
	}
	return v
}

// consider decides about every binding of a task and writes it down. At a high-value app the number stops at once being a key
// of what is to be unbound, and is one again of what is not to be any more. final is when the last of the unbindings that are
// still to be done is final: zero if they all are now.
func (a *App) consider(ctx context.Context, t *task, now time.Time) (bs []*binding, final time.Time, err error) {
	err = a.write(ctx, func(tx *sql.Tx) (err error) {
		if bs, err = bindings(ctx, tx, t); err != nil {
			return err
		}
		for _, b := range bs {
			if err := a.considerOne(ctx, tx, t, b, now); err != nil {
				return err
			}
			if at := b.stoppedAt.Add(a.hold); !b.stoppedAt.IsZero() && !b.acted && at.After(now) && at.After(final) {
				final = at
			}
		}
		return nil
	})
	return bs, final, err
}

func (a *App) considerOne(ctx context.Context, tx *sql.Tx, t *task, b *binding, now time.Time) error {
	v, row := a.judge(t, b)
	if v != b.Verdict || row != b.row {
		b.Verdict, b.row = v, row
		_, err := tx.ExecContext(ctx, `INSERT INTO verdicts (task, binding, row, outcome, reason) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (task, binding) DO UPDATE SET row = excluded.row, outcome = excluded.outcome, reason = excluded.reason`,
			t.id, b.id, row, v.Outcome.String(), v.Reason.String())
		if err != nil {
			return err
		}
		e := entry{task: t.id, binding: b.id, what: "decided", outcome: v.Outcome.String(), reason: v.Reason.String(), row: row, at: now}
		if err := logged(ctx, tx, e); err != nil {
			return err
		}
	}
	switch stop := v.Outcome == huanxin.Unbound && a.highValue; {
	case b.acted:
		return nil
	case stop && b.stoppedAt.IsZero():
		b.stoppedAt = now
		return stopKey(ctx, tx, t, b, now)
	case !stop && !b.stoppedAt.IsZero():
		b.stoppedAt = time.Time{}
		return lift(ctx, tx, t, b, now)
	}
	return nil
}
