package core

import (
	"context"
	"slices"
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

// SigningKeys gives the hub's published keys. The first hub to ask makes the first key, and that of an algorithm which a client's
// SETs are to be signed with.
func (h *Hub) SigningKeys(ctx context.Context) ([]auth.SigningKey, error) {
	var out []auth.SigningKey
	read := func(tx *store.Tx) (err error) {
		out, err = h.readKeys(tx)
		return err
	}
	if err := h.store.Read(ctx, read); err != nil || len(h.missingAlgs(out)) == 0 {
		return out, err
	}
	fresh, err := newKeys(h.missingAlgs(out))
	if err != nil {
		return nil, err
	}
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.LockSigningKeys(); err != nil {
			return err
		}
		if err := read(tx); err != nil {
			return err
		}
		missing := h.missingAlgs(out)
		if len(missing) == 0 { // another hub was faster
			return nil
		}
		for _, alg := range missing {
			if k, ok := fresh[alg]; ok {
				out = keyRotation.Next(out, k, now())
			}
		}
		return h.writeKeys(tx, out)
	})
	return out, err
}

// SignFeedBy sets by which algorithm a client's SETs are signed, one of auth.HubAlgs. The first client to ask for one has its key made,
// which is used at once. The error is of kind Invalid for another algorithm, and of kind NotFound where there is no such client.
func (h *Hub) SignFeedBy(ctx context.Context, who huanxin.Caller, id, alg string) error {
	var fresh map[string]auth.SigningKey
	if mayAdmin(who) == nil {
		var err error
		if fresh, err = newKeys([]string{alg}); err != nil {
			return err
		}
	}
	err := h.act(ctx, who, "client.feed_alg", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Subject, entry.Detail = id, detail(map[string]any{"alg": alg})
		if err := tx.LockSigningKeys(); err != nil {
			return err
		}
		clients, err := tx.Clients()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(clients, func(c huanxin.Client) bool { return c.ID == id })
		if i < 0 {
			return notFound("client")
		}
		keys, err := h.readKeys(tx)
		if err != nil {
			return err
		}
		if !slices.Contains(algsOf(keys), alg) {
			if err := h.writeKeys(tx, keyRotation.Next(keys, fresh[alg], now)); err != nil {
				return err
			}
		}
		clients[i].FeedAlg = alg
		return tx.PutClient(clients[i], now)
	})
	if err != nil {
		return err
	}
	return h.Refresh(ctx)
}

// missingAlgs gives the algorithms that the hub is to sign by and has no key of.
func (h *Hub) missingAlgs(keys []auth.SigningKey) (missing []string) {
	wanted := map[string]bool{auth.HubAlgs[0]: true}
	for _, c := range h.snapshot().clients {
		wanted[c.FeedAlg] = true
	}
	for _, alg := range auth.HubAlgs {
		if wanted[alg] && !slices.ContainsFunc(keys, func(k auth.SigningKey) bool { return k.Alg == alg }) {
			missing = append(missing, alg)
		}
	}
	return missing
}

// newKeys makes keys of algorithms. It takes too long for a transaction.
func newKeys(algs []string) (map[string]auth.SigningKey, error) {
	out := make(map[string]auth.SigningKey, len(algs))
	for _, alg := range algs {
		k, err := auth.NewSigningKeyOf(alg, now())
		if err != nil {
			return nil, err
		}
		out[alg] = k
	}
	return out, nil
}

// RotateSigningKey makes a new key of every algorithm that the hub signs by. They are published now and sign in an hour.
func (h *Hub) RotateSigningKey(ctx context.Context, who huanxin.Caller) error {
	fresh := map[string]auth.SigningKey{}
	if mayAdmin(who) == nil {
		old, err := h.SigningKeys(ctx)
		if err != nil {
			return err
		}
		if fresh, err = newKeys(algsOf(old)); err != nil {
			return err
		}
	}
	return h.act(ctx, who, "key.rotate", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		if err := tx.LockSigningKeys(); err != nil {
			return err
		}
		keys, err := h.readKeys(tx)
		if err != nil {
			return err
		}
		made := map[string]any{}
		for _, alg := range algsOf(keys) {
			if k, ok := fresh[alg]; ok { // else it was made a moment ago
				keys, made[alg] = keyRotation.Next(keys, k, now), k.KID
			}
		}
		entry.Subject, entry.Detail = fresh[auth.HubAlgs[0]].KID, detail(made)
		return h.writeKeys(tx, keys)
	})
}

// algsOf gives the algorithms of keys, in the order of auth.HubAlgs.
func algsOf(keys []auth.SigningKey) (algs []string) {
	for _, alg := range auth.HubAlgs {
		if slices.ContainsFunc(keys, func(k auth.SigningKey) bool { return k.Alg == alg }) {
			algs = append(algs, alg)
		}
	}
	return algs
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
