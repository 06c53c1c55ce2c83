package sandbox

import (
	"context"
	"errors"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
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

// correct voids the transfer that never was: the first holder has had the number all along, and the apps give back what
// they took (DOMAIN.md §7 rule 15).
func (f *fate) correct(ctx context.Context) error {
	if f.mistake == 0 {
		return nil
	}
	no := f.mistake
	f.mistake = 0
	l := f.d.ledger.now(no)
	if err := f.d.happens(ctx, no, l.carrier(), huanxin.Corrected, ""); err != nil {
		return err
	}
	for _, e := range f.d.ledger.made() {
		if e.No != no {
			continue
		}
		v, err := f.d.clients[carrierID(l.carrier())].Request(ctx, e.Request, "en")
		if err != nil {
			return err
		}
		if _, err := f.d.restore(ctx, no, v); err != nil {
			return err
		}
	}
	return nil
}

// restore tells the apps of a request that its tenure was corrected away, and says how many bindings came back.
func (d *demo) restore(ctx context.Context, no int, v client.Request) (n int, err error) {
	l := d.ledger.now(no)
	why := huanxin.Restoration{TenureVoided: true}
	if l.standing.Held() {
		why.Holder = &huanxin.Claim{Start: huanxin.Exactly(l.standing.StartedAt), Known: l.standing.Origin != huanxin.OriginUnknown}
	}
	var errs []error
	for _, t := range v.Tasks {
		back, err := d.apps[t.App].Restore(ctx, t.ID, why)
		n += back
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}
