package core

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/outbound"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// registryAge is how old the hub's picture of the registry may be when a client is looked up: well below the 5 seconds
// within which a disabled client's tokens must stop.
const registryAge = 2 * time.Second

type registry struct {
	refresh sync.Mutex
	now     atomic.Pointer[registrySnapshot]
}

// registrySnapshot is the whole registry at one version. It never changes.
type registrySnapshot struct {
	version int64
	at      time.Time
	parties map[huanxin.PartyNo]*huanxin.Party
	byID    map[string]*huanxin.Party
	apps    []*huanxin.Party // enabled and joined, by number
	clients map[string]*huanxin.Client
}

// Refresh reads the registry if it has changed.
func (h *Hub) Refresh(ctx context.Context) error {
	h.registry.refresh.Lock()
	defer h.registry.refresh.Unlock()
	old := h.registry.now.Load()
	snap := &registrySnapshot{at: time.Now(), parties: map[huanxin.PartyNo]*huanxin.Party{},
		byID: map[string]*huanxin.Party{}, clients: map[string]*huanxin.Client{}}
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		v, err := tx.RegistryVersion()
		if err != nil {
			return err
		}
		if old != nil && old.version == v {
			same := *old
			same.at = snap.at
			snap = &same
			return nil
		}
		snap.version = v
		return snap.load(tx)
	})
	if err == nil {
		h.registry.now.Store(snap)
	}
	return err
}

func (s *registrySnapshot) load(tx *store.Tx) error {
	parties, err := tx.Parties()
	if err != nil {
		return err
	}
	for i := range parties {
		p := &parties[i]
		s.parties[p.No], s.byID[p.ID] = p, p
		if p.Kind == huanxin.AppParty && !p.Disabled && !p.NotJoined {
			s.apps = append(s.apps, p)
		}
	}
	clients, err := tx.Clients()
	if err != nil {
		return err
	}
	for i := range clients {
		c := &clients[i]
		c.Party = *s.parties[c.Party.No]
		s.clients[c.ID] = c
	}
	return nil
}

// RegistryVersion gives the version of the registry that this hub knows. It rises with every change of parties, clients and
// signing keys.
func (h *Hub) RegistryVersion() int64 { return h.snapshot().version }

func (h *Hub) snapshot() *registrySnapshot { return h.registry.now.Load() }

// Client gives a client of the registry as it was at most 2 seconds ago; nil: there is none. A client of a disabled
// party is disabled.
func (h *Hub) Client(ctx context.Context, id string) (*huanxin.Client, error) {
	if time.Since(h.snapshot().at) > registryAge {
		if err := h.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	c := h.snapshot().clients[id]
	if c != nil && c.Party.Disabled && !c.Disabled {
		off := *c
		off.Disabled = true
		return &off, nil
	}
	return c, nil
}

// Party gives a party by its id; nil: there is none.
func (h *Hub) Party(id string) *huanxin.Party { return h.snapshot().byID[id] }

// party gives a party that the store names. Another hub may have added it since the registry was read last; one that is
// nowhere has no name and takes no part.
func (h *Hub) party(no huanxin.PartyNo) *huanxin.Party {
	if p := h.snapshot().parties[no]; p != nil {
		return p
	}
	if err := h.Refresh(context.Background()); err != nil {
		h.log.Error("the registry could not be read", "error", err)
	}
	if p := h.snapshot().parties[no]; p != nil {
		return p
	}
	return &huanxin.Party{No: no, Disabled: true}
}

// Parties gives every party, by number.
func (h *Hub) Parties() []*huanxin.Party {
	var out []*huanxin.Party
	for _, p := range h.snapshot().parties {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *huanxin.Party) int { return int(a.No - b.No) })
	return out
}

// Operator is the caller behind the hub's own commands: whoever may run them on the machine.
func Operator() huanxin.Caller {
	return huanxin.Caller{Party: &huanxin.Party{ID: "operator", Kind: huanxin.OperatorParty}, Client: "command",
		Scopes: huanxin.Scopes{huanxin.ScopeAdmin}}
}

func mayAdmin(who huanxin.Caller) error { return who.May(huanxin.OperatorParty, huanxin.ScopeAdmin) }

var partyID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// PutParty adds a party to the registry, or changes the one with the same id, whose kind stays.
func (h *Hub) PutParty(ctx context.Context, who huanxin.Caller, p huanxin.Party, loopback bool) error {
	err := h.act(ctx, who, "party.put", mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Subject = p.ID
		if err := checkParty(&p, loopback); err != nil {
			return err
		}
		if old := h.Party(p.ID); old != nil && old.Kind != p.Kind {
			return huanxin.Errorf(huanxin.Conflict, "party_exists", "a party of another kind has this id")
		}
		no, err := saveParty(tx, p, now)
		entry.Detail = partyDetail(no, &p)
		return err
	})
	if err != nil {
		return err
	}
	return h.Refresh(ctx)
}

func checkParty(p *huanxin.Party, loopback bool) error {
	switch {
	case !partyID.MatchString(p.ID):
		return huanxin.BadField("id", "malformed", "a party's id is 1 to 64 characters of a-z, 0-9 and dashes, not at its ends")
	case p.NameZh == "" || p.NameEn == "":
		return huanxin.BadField("name", "required", "a party has a Chinese and an English name")
	case p.Kind == huanxin.AppParty && len(p.Kinds) == 0 && !p.NotJoined:
		return huanxin.BadField("kinds", "required", "an app serves at least one kind of task")
	case p.Kind == huanxin.CarrierParty && p.CoolingDays < huanxin.MinCoolingDays:
		return huanxin.BadField("cooling_days", "too_short", "a carrier freezes a cancelled number for at least 90 days")
	case p.Kind != huanxin.AppParty && p.Replica != huanxin.NoReplica:
		return huanxin.BadField("replica", "not_allowed", "only an app keeps a replica of the number index")
	case p.Kind != huanxin.AppParty && (p.NotJoined || p.OnePerNumber):
		return huanxin.BadField("not_joined", "not_allowed", "only apps can be listed without taking part, or let one number have one account")
	case p.Kind != huanxin.AppParty && p.FeedStart:
		return huanxin.BadField("feed_start", "not_allowed", "only an app is told when a tenure began")
	case p.Replica > huanxin.ReplicaWhole:
		return huanxin.BadField("replica", "unknown_replica", "must be none, uploaded or whole")
	case p.ReleaseDelay < 0:
		return huanxin.BadField("release_delay", "negative", "a delay is not negative")
	}
	if p.Contact.Webhook != "" {
		return outbound.CheckURL(p.Contact.Webhook, loopback)
	}
	return nil
}

// saveParty writes a party. Where its contract grants no replica (any more), the numbers that it uploaded for one are not
// needed any more and go (DOMAIN.md §7 rule 9).
func saveParty(tx *store.Tx, p huanxin.Party, now time.Time) (huanxin.PartyNo, error) {
	no, err := tx.PutParty(p, now)
	if err != nil || p.Replica != huanxin.NoReplica {
		return no, err
	}
	return no, tx.DropReplicaNumbers(no)
}

func partyDetail(no huanxin.PartyNo, p *huanxin.Party) string {
	return detail(map[string]any{"no": no, "kind": p.Kind.String(), "disabled": p.Disabled, "hold": p.Hold, "replica": p.Replica.String(),
		"feed_start": p.FeedStart, "not_joined": p.NotJoined, "one_per_number": p.OnePerNumber})
}

// GrantReplica writes into the registry which replica an app's contract grants it. Without a grant the numbers that it
// uploaded are gone.
func (h *Hub) GrantReplica(ctx context.Context, who huanxin.Caller, id string, grant huanxin.ReplicaGrant) error {
	p := h.Party(id)
	if p == nil {
		return notFound("party")
	}
	changed := *p
	changed.Replica = grant
	return h.PutParty(ctx, who, changed, true)
}

// GrantFeedStart writes into the registry whether an app's contract grants it the start of a tenure in identifier-recycled (DOMAIN.md §7
// rule 5).
func (h *Hub) GrantFeedStart(ctx context.Context, who huanxin.Caller, id string, granted bool) error {
	p := h.Party(id)
	if p == nil {
		return notFound("party")
	}
	changed := *p
	changed.FeedStart = granted
	return h.PutParty(ctx, who, changed, true)
}

// DisableParty switches a party off or on again. Its tokens stop within 5 seconds.
func (h *Hub) DisableParty(ctx context.Context, who huanxin.Caller, id string, disabled bool) error {
	p := h.Party(id)
	if p == nil {
		return notFound("party")
	}
	changed := *p
	changed.Disabled = disabled
	return h.PutParty(ctx, who, changed, true)
}

// JoinParty has an app take part that was only listed, or only lists it.
func (h *Hub) JoinParty(ctx context.Context, who huanxin.Caller, id string, joined bool) error {
	p := h.Party(id)
	if p == nil {
		return notFound("party")
	}
	changed := *p
	changed.NotJoined = !joined
	return h.PutParty(ctx, who, changed, true)
}

// HoldParty sets an app's kill switch, or releases it. Its agent asks for it every half minute.
func (h *Hub) HoldParty(ctx context.Context, who huanxin.Caller, id string, hold bool) error {
	p := h.Party(id)
	if p == nil {
		return notFound("party")
	}
	changed := *p
	changed.Hold = hold
	return h.PutParty(ctx, who, changed, true)
}

// NewClient is what a client of a party is to be.
type NewClient struct {
	ID     string
	Party  string
	Scopes huanxin.Scopes // empty: all that its party's kind may have
	// Exactly one: a fresh secret is made, or a key set is registered.
	Secret bool
	JWKS   []byte
}

// AddClient adds a client, and gives its secret if it has one: only its hash is kept, so it is shown this once.
func (h *Hub) AddClient(ctx context.Context, who huanxin.Caller, in NewClient) (secret string, err error) {
	return h.putClient(ctx, who, "client.add", in, func(old *huanxin.Client, p *huanxin.Party) (huanxin.Client, error) {
		if old != nil {
			return huanxin.Client{}, huanxin.Errorf(huanxin.Conflict, "client_exists", "a client has this id already")
		}
		if p == nil {
			return huanxin.Client{}, notFound("party")
		}
		return newClient(&in, p)
	})
}

// newClient makes a client of a party that has no credentials yet.
func newClient(in *NewClient, p *huanxin.Party) (huanxin.Client, error) {
	if !partyID.MatchString(in.ID) {
		return huanxin.Client{}, huanxin.BadField("id", "malformed", "a client's id is 1 to 64 characters of a-z, 0-9 and dashes, not at its ends")
	}
	allowed := huanxin.ScopesOf(p.Kind)
	c := huanxin.Client{ID: in.ID, Party: *p, Scopes: in.Scopes}
	if len(c.Scopes) == 0 {
		c.Scopes = allowed
	}
	for _, s := range c.Scopes {
		if !allowed.Has(s) {
			return c, huanxin.BadField("scopes", "not_allowed", string(s)+" is not for a party of kind "+p.Kind.String())
		}
	}
	return c, nil
}

// giveCredentials gives a client a fresh secret, or the key set, in the place of what it had.
func (in *NewClient) giveCredentials(c *huanxin.Client) (secret string, err error) {
	c.SecretHash, c.JWKS = nil, nil
	switch {
	case in.Secret == (in.JWKS != nil):
		err = huanxin.BadField("jwks", "required", "a client has either a secret or a key set")
	case in.Secret:
		secret, c.SecretHash = auth.NewSecret()
	default:
		c.JWKS, err = auth.CheckJWKS(in.JWKS)
	}
	return secret, err
}

func clientDetail(c *huanxin.Client, in *NewClient) string {
	return detail(map[string]any{"party": c.Party.ID, "scopes": c.Scopes.String(), "secret": in.Secret})
}

// RotateClient gives a client a new secret or key set; the old one stops at once, or within 5 seconds at other hubs.
func (h *Hub) RotateClient(ctx context.Context, who huanxin.Caller, id string, jwks []byte) (secret string, err error) {
	in := NewClient{ID: id, Secret: jwks == nil, JWKS: jwks}
	return h.putClient(ctx, who, "client.rotate", in, func(old *huanxin.Client, _ *huanxin.Party) (huanxin.Client, error) {
		if old == nil {
			return huanxin.Client{}, notFound("client")
		}
		if in.Secret && old.SecretHash == nil {
			return huanxin.Client{}, huanxin.BadField("jwks", "required", "the client authenticates with keys: give its new key set")
		}
		return *old, nil
	})
}

func (h *Hub) putClient(ctx context.Context, who huanxin.Caller, action string, in NewClient,
	make func(old *huanxin.Client, p *huanxin.Party) (huanxin.Client, error)) (secret string, err error) {
	err = h.act(ctx, who, action, mayAdmin(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Subject = in.ID
		old, err := h.clientNow(tx, in.ID)
		if err != nil {
			return err
		}
		c, err := make(old, h.snapshot().byID[in.Party])
		if err != nil {
			return err
		}
		if secret, err = in.giveCredentials(&c); err != nil {
			return err
		}
		entry.Detail = clientDetail(&c, &in)
		return tx.PutClient(c, now)
	})
	if err != nil {
		return "", err
	}
	return secret, h.Refresh(ctx)
}

// clientNow gives a client as the store has it, which another hub may just have changed; nil: there is none.
func (h *Hub) clientNow(tx *store.Tx, id string) (*huanxin.Client, error) {
	all, err := tx.Clients()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if c := &all[i]; c.ID == id {
			if p := h.snapshot().parties[c.Party.No]; p != nil {
				c.Party = *p
			}
			return c, nil
		}
	}
	return nil, nil
}

// UseAssertion remembers a client's assertion and reports whether it was new (RFC 7523 §3, jti).
func (h *Hub) UseAssertion(ctx context.Context, client, jti string, exp time.Time) (fresh bool, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) (err error) {
		fresh, err = tx.UseAssertion(client, jti, exp, now())
		return err
	})
	return fresh, err
}

// RefusedClient records that a client of the registry failed to authenticate or, where the reason begins with "grant_", that a
// grant in its name was not taken; once a minute for each reason. Unknown names are not recorded: anyone could fill the log with either.
func (h *Hub) RefusedClient(ctx context.Context, client, why string) {
	c := h.snapshot().clients[client]
	if c == nil || !h.refusals.note(client+" "+why, now()) {
		return
	}
	code := "invalid_client"
	if strings.HasPrefix(why, "grant_") {
		code = "invalid_grant"
	}
	h.recordRefusal(ctx, store.AuditEntry{At: now(), Party: c.Party.No, Client: client, Action: "token"},
		&huanxin.Error{Kind: huanxin.Forbidden, Code: code, Reason: why})
}

// refusals remembers what was recorded a short time ago.
type refusals struct {
	sync.Mutex
	last map[string]time.Time
}

const (
	refusalPause = time.Minute
	maxRefusals  = 10_000
)

// note reports whether a refusal is to be recorded: it was not within the last minute.
func (r *refusals) note(what string, now time.Time) bool {
	r.Lock()
	defer r.Unlock()
	if now.Sub(r.last[what]) < refusalPause {
		return false
	}
	if r.last == nil || len(r.last) >= maxRefusals {
		r.last = map[string]time.Time{}
	}
	r.last[what] = now
	return true
}
