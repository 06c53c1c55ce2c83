package core

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// BindToken takes a carrier's word that the person at an app's client holds a number that it serves, and gives what the token holds that
// is bound to it: the number, its tenure and the carrier, sealed for that client and that token alone. The carrier's client needs the
// scope requests.create, as for everything that it asks for a customer. A number that the carrier does not serve, or nobody
// holds, is Refused (not_serving). The audit entry names the app's client, the tenure and the purpose.
func (h *Hub) BindToken(ctx context.Context, carrier *huanxin.Client, v auth.Vouched) (sealed []byte, err error) {
	who := huanxin.Caller{Party: &carrier.Party, Client: carrier.ID, Scopes: carrier.Scopes}
	may := who.May(huanxin.CarrierParty, huanxin.ScopeRequestsCreate)
	err = h.act(ctx, who, "token.bind", may, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry) error {
		entry.Subject = v.Client
		rows, err := tx.Standings([]huanxin.Number{v.Number})
		if err != nil {
			return err
		}
		row := rows[v.Number]
		bound, ok := row.BoundTo(v.Number, carrier.Party.No)
		if !ok {
			return huanxin.Errorf(huanxin.Refused, "not_serving", "the carrier does not serve this number, or nobody holds it")
		}
		entry.Detail = detail(map[string]any{"tenure": h.keys.ID(seal.TenureID, int64(bound.Tenure)), "purpose": v.Purpose})
		sealed = h.sealBound(bound, v.Client, v.TokenID)
		return nil
	})
	return sealed, err
}

// Sealed are the number's digits, the tenure and the carrier, eight bytes each, big-endian.
const boundSize = 3 * 8

func boundBinding(client, tokenID string) []byte {
	return []byte("bound token\n" + client + "\n" + tokenID)
}

func (h *Hub) sealBound(b huanxin.Bound, client, tokenID string) []byte {
	plain := make([]byte, 0, boundSize)
	plain = binary.BigEndian.AppendUint64(plain, b.Number.Digits())
	plain = binary.BigEndian.AppendUint64(plain, uint64(b.Tenure))
	plain = binary.BigEndian.AppendUint64(plain, uint64(b.Carrier))
	return h.keys.SealBytes(plain, boundBinding(client, tokenID))
}

// OpenBound opens what BindToken sealed for a client's token. What was sealed for another does not open.
func (h *Hub) OpenBound(sealed []byte, client, tokenID string) (huanxin.Bound, error) {
	plain, err := h.keys.UnsealBytes(sealed, boundBinding(client, tokenID))
	if err != nil {
		return huanxin.Bound{}, err
	}
	if len(plain) != boundSize {
		return huanxin.Bound{}, seal.ErrDamaged
	}
	return huanxin.Bound{Number: huanxin.NumberOf(binary.BigEndian.Uint64(plain)),
		Tenure: huanxin.TenureID(binary.BigEndian.Uint64(plain[8:])), Carrier: huanxin.PartyNo(binary.BigEndian.Uint64(plain[16:]))}, nil
}

// stillBound refuses a caller whose token is bound to a number that has since come into other hands: of nobody, of another holder,
// who agreed to nothing, or of another carrier, which gave no word. So it does when the carrier was disabled. The person must be identified
// anew. The store is asked and not the index, which is behind by a moment.
func (h *Hub) stillBound(ctx context.Context, b huanxin.Bound) error {
	if b.IsZero() {
		return nil
	}
	var row store.NumberRow
	if err := h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Standings([]huanxin.Number{b.Number})
		row = rows[b.Number]
		return err
	}); err != nil {
		return err
	}
	if !b.Holds(&row.Standing) || h.party(b.Carrier).Disabled {
		return huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "the number that the token is bound to has come into other hands; ask for a new one")
	}
	return nil
}

// ownNumberOnly refuses a caller whose token is bound to a number checks of any other.
func (c *Checks) ownNumberOnly(in []Check) error {
	if c.who.Bound.IsZero() {
		return nil
	}
	for i := range in {
		if in[i].Number != c.who.Bound.Number {
			return huanxin.Errorf(huanxin.Forbidden, "insufficient_scope", "the token is bound to another number")
		}
	}
	return nil
}
