package sandbox

import (
	"context"

	"github.com/huanxin-platform/huanxin"
)

// wrongTransfer reports a transfer that never was. Whoever the carrier takes for the new holder asks apps to unbind.
func (f *fate) wrongTransfer(ctx context.Context) error {
	if f.mistake != 0 {
		return nil
	}
	l, ok := f.one(idle(huanxin.OriginFirst))
	if !ok {
		return nil
	}
	f.mistake = l.no
	if err := f.d.happens(ctx, l.no, l.carrier(), huanxin.Transferred, ""); err != nil {
		return err
	}
	l = f.d.ledger.now(l.no)
	_, err := f.d.ask(ctx, &l, f.some(), nil, false)
	return err
}

// correct voids the transfer that never was: the first holder has had the number all along, and the apps, which the feed tells of it,
// give back what they took (DOMAIN.md §7 rule 15).
func (f *fate) correct(ctx context.Context) error {
	if f.mistake == 0 {
		return nil
	}
	no := f.mistake
	f.mistake = 0
	l := f.d.ledger.now(no)
	return f.d.happens(ctx, no, l.carrier(), huanxin.Corrected, "")
}
