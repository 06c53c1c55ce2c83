package core

import (
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Enrolment is a party that is to be in the registry, and what clients of it are to have new credentials.
type Enrolment struct {
	Party huanxin.Party
	// Known makes of the party that is there already what it is to be; nil: it stays as it is.
	Known   func(huanxin.Party) huanxin.Party
	Clients []NewClient // their Party is not read
}

// Enrol puts many parties into the registry at once, and gives the secrets of their clients. A party or client that is there
// keeps what an operator has agreed with it since, but for what Known says: a client that is there gets the new secret or key
// set and keeps scopes, limits and whether it is disabled. All or nothing happens; every party and client that
// changes has its entry in the audit log.
func (h *Hub) Enrol(ctx context.Context, who huanxin.Caller, in []Enrolment, loopback bool) (secrets map[string]string, err error) {
	err = h.act(ctx, who, "parties.enrol", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Detail = detail(map[string]any{"parties": len(in)})
		there := registrySnapshot{parties: map[huanxin.PartyNo]*huanxin.Party{}, byID: map[string]*huanxin.Party{},
			clients: map[string]*huanxin.Client{}}
		if err := there.load(tx); err != nil { // as the operator's commands beside this hub left it a moment ago
			return err
		}
		e := enroller{tx: tx, now: now, entry: *entry, there: &there, loopback: loopback, secrets: map[string]string{}}
		secrets = e.secrets
		for i := range in {
			if err := e.enrol(&in[i]); err != nil {
				entry.Subject = in[i].Party.ID
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secrets, h.Refresh(ctx)
}

// enroller is one run of Enrol.
type enroller struct {
	tx       *store.Tx
	now      time.Time
	entry    store.AuditEntry
	there    *registrySnapshot
	loopback bool
	secrets  map[string]string // by client
}

func (e *enroller) enrol(in *Enrolment) error {
	p, err := e.party(in)
	if err != nil {
		return err
	}
	for i := range in.Clients {
		if err := e.client(&in.Clients[i], p); err != nil {
			return err
		}
	}
	return nil
}

// party gives the party as it is in the registry then. One that does not change is not written.
func (e *enroller) party(in *Enrolment) (*huanxin.Party, error) {
	p, old := in.Party, e.there.byID[in.Party.ID]
	if old != nil {
		if old.Kind != p.Kind {
			return nil, huanxin.Errorf(huanxin.Conflict, "party_exists", "a party of another kind has this id")
		}
		if in.Known == nil {
			return old, nil
		}
		if p = in.Known(*old); sameParty(&p, old) {
			return old, nil
		}
	}
	err := checkParty(&p, e.loopback)
	if err != nil {
		return nil, err
	}
	if p.No, err = saveParty(e.tx, p, e.now); err != nil {
		return nil, err
	}
	entry := e.entry
	entry.Action, entry.Subject, entry.Detail = "party.put", p.ID, partyDetail(p.No, &p)
	return &p, e.tx.Audit(entry)
}

func sameParty(a, b *huanxin.Party) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.NameZh == b.NameZh && a.NameEn == b.NameEn && a.Class == b.Class &&
		slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Domains, b.Domains) && a.ReleaseDelay == b.ReleaseDelay &&
		a.Replica == b.Replica && a.FeedStart == b.FeedStart && a.NotJoined == b.NotJoined && a.OnePerNumber == b.OnePerNumber && a.CoolingDays == b.CoolingDays && a.Contact == b.Contact && a.Disabled == b.Disabled
}

func (e *enroller) client(in *NewClient, p *huanxin.Party) error {
	entry, old := e.entry, e.there.clients[in.ID]
	entry.Action, entry.Subject = "client.add", in.ID
	var c huanxin.Client
	var err error
	switch {
	case old == nil:
		c, err = newClient(in, p)
	case old.Party.ID != p.ID:
		err = huanxin.Errorf(huanxin.Conflict, "client_exists", "a client of another party has this id")
	default:
		c, entry.Action = *old, "client.rotate"
	}
	if err != nil {
		return err
	}
	secret, err := in.giveCredentials(&c)
	if err != nil {
		return err
	}
	if secret != "" {
		e.secrets[in.ID] = secret
	}
	entry.Detail = clientDetail(&c, in)
	if err := e.tx.PutClient(c, e.now); err != nil {
		return err
	}
	return e.tx.Audit(entry)
}
