package core

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// keyRotation: a new key is published an hour before it signs, so that everyone who remembers the key set has it; an old one
// is kept for 30 days, because what it signed may arrive late.
var keyRotation = auth.Rotation{Lead: time.Hour, Keep: 30 * 24 * time.Hour}

// forever is how long a key is published that has no end yet.
var forever = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

func keyBinding(kid string) []byte { return []byte("signing key " + kid) }

// SigningKeys gives the hub's published keys. The first hub to ask makes the first key.
func (h *Hub) SigningKeys(ctx context.Context) ([]auth.SigningKey, error) {
	var out []auth.SigningKey
	read := func(tx *store.Tx) (err error) {
		out, err = h.readKeys(tx)
		return err
	}
	if err := h.store.Read(ctx, read); err != nil || len(out) > 0 {
		return out, err
	}
	err := h.store.Write(ctx, func(tx *store.Tx) error {
		if err := read(tx); err != nil || len(out) > 0 {
			return err
		}
		out = keyRotation.Next(nil, now())
		return h.writeKeys(tx, out)
	})
	return out, err
}

// RotateSigningKey makes a key that is published now and signs in an hour.
func (h *Hub) RotateSigningKey(ctx context.Context, who huanxin.Caller) error {
	return h.act(ctx, who, "key.rotate", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		old, err := h.readKeys(tx)
		if err != nil {
			return err
		}
		next := keyRotation.Next(old, now)
		entry.Subject = next[len(next)-1].KID
		return h.writeKeys(tx, next)
	})
}

func (h *Hub) readKeys(tx *store.Tx) ([]auth.SigningKey, error) {
	rows, err := tx.SigningKeys(now())
	if err != nil {
		return nil, err
	}
	out := make([]auth.SigningKey, len(rows))
	for i, r := range rows {
		der, err := h.keys.UnsealBytes(r.Sealed, keyBinding(r.KID))
		if err != nil {
			return nil, err
		}
		private, err := auth.ParsePrivate(der)
		if err != nil {
			return nil, err
		}
		out[i] = auth.SigningKey{KID: r.KID, Alg: r.Alg, Private: private, From: r.From, Until: r.Until}
		if r.Until.Equal(forever) {
			out[i].Until = time.Time{}
		}
	}
	return out, nil
}

func (h *Hub) writeKeys(tx *store.Tx, keys []auth.SigningKey) error {
	for _, k := range keys {
		der, err := k.MarshalPrivate()
		if err != nil {
			return err
		}
		until := k.Until
		if until.IsZero() {
			until = forever
		}
		row := store.SigningKey{KID: k.KID, Alg: k.Alg, Sealed: h.keys.SealBytes(der, keyBinding(k.KID)), From: k.From, Until: until}
		if err := tx.PutSigningKey(row); err != nil {
			return err
		}
	}
	return nil
}
