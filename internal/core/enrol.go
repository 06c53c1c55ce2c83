package core

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Enrolment is a party, and a client of it that is to have a fresh secret; an empty client id: none.
type Enrolment struct {
	Party  huanxin.Party
	Client string
}

// Enrol puts many parties into the registry at once, or changes those with the same ids, and gives the secrets of their
// clients, which have all scopes of their party's kind. A client that is there already gets a new secret. All or nothing
// happens; each party and client has its entry in the audit log.
func (h *Hub) Enrol(ctx context.Context, who huanxin.Caller, in []Enrolment, loopback bool) (secrets map[string]string, err error) {
	err = h.act(ctx, who, "parties.enrol", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Detail = detail(map[string]any{"parties": len(in)})
		secrets = map[string]string{}
		for i := range in {
			secret, err := h.enrol(tx, now, *entry, &in[i], loopback)
			if err != nil {
				entry.Subject = in[i].Party.ID
				return err
			}
			if in[i].Client != "" {
				secrets[in[i].Client] = secret
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secrets, h.Refresh(ctx)
}

func (h *Hub) enrol(tx *store.Tx, now time.Time, entry store.AuditEntry, in *Enrolment, loopback bool) (secret string, err error) {
	if err := h.enrolParty(tx, now, entry, &in.Party, loopback); err != nil || in.Client == "" {
		return "", err
	}
	old := h.snapshot().clients[in.Client]
	switch {
	case !partyID.MatchString(in.Client):
		return "", huanxin.BadField("client", "malformed", "a client's id is 1 to 64 characters of a-z, 0-9 and dashes, not at its ends")
	case old != nil && old.Party.ID != in.Party.ID:
		return "", huanxin.Errorf(huanxin.Conflict, "client_exists", "a client of another party has this id")
	}
	c := huanxin.Client{ID: in.Client, Party: in.Party, Scopes: huanxin.ScopesOf(in.Party.Kind)}
	secret, c.SecretHash = auth.NewSecret()
	entry.Action, entry.Subject = "client.add", in.Client
	if old != nil {
		entry.Action = "client.rotate"
	}
	entry.Detail = detail(map[string]any{"party": in.Party.ID, "scopes": c.Scopes.String(), "secret": true})
	if err := tx.PutClient(c, now); err != nil {
		return "", err
	}
	return secret, tx.Audit(entry)
}

func (h *Hub) enrolParty(tx *store.Tx, now time.Time, entry store.AuditEntry, p *huanxin.Party, loopback bool) (err error) {
	if err := checkParty(p, loopback); err != nil {
		return err
	}
	if old := h.Party(p.ID); old != nil && old.Kind != p.Kind {
		return huanxin.Errorf(huanxin.Conflict, "party_exists", "a party of another kind has this id")
	}
	if p.No, err = saveParty(tx, *p, now); err != nil {
		return err
	}
	entry.Action, entry.Subject = "party.put", p.ID
	entry.Detail = partyDetail(p.No, p)
	return tx.Audit(entry)
}
