package hubtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// PartyOption says more of a party than its name.
type PartyOption func(*huanxin.Party)

// Class is an app's class: payment, lending, cloud_storage, mail, messaging and government are of high value.
func Class(class string) PartyOption { return func(p *huanxin.Party) { p.Class = class } }

// Kinds are the kinds of task that an app does. Without it: unbind.
func Kinds(kinds ...huanxin.TaskKind) PartyOption {
	return func(p *huanxin.Party) { p.Kinds = kinds }
}

// Domains are those on which an app's links may lie.
func Domains(domains ...string) PartyOption { return func(p *huanxin.Party) { p.Domains = domains } }

// Webhook is where the party's contact is told of the steps of the clock; plain http on loopback will do.
func Webhook(url string) PartyOption {
	return func(p *huanxin.Party) {
		p.Contact = huanxin.Contact{Name: "Contact", Email: "contact@example.com", Webhook: url}
	}
}

// ReleaseDelay is an app's delay before its results are first shown, if longer than the service's.
func ReleaseDelay(d time.Duration) PartyOption {
	return func(p *huanxin.Party) { p.ReleaseDelay = d }
}

// Replica is which replica of the number index an app's contract grants. Without it: none.
func Replica(g huanxin.ReplicaGrant) PartyOption {
	return func(p *huanxin.Party) { p.Replica = g }
}

// Credentials are what a client authenticates itself with.
type Credentials struct{ ID, Secret string }

// Carrier gives a client of a carrier, which is registered if it is not there yet.
func (h *Hub) Carrier(id string, opts ...PartyOption) *client.Client {
	h.t.Helper()
	return h.party(huanxin.Party{ID: id, Kind: huanxin.CarrierParty, CoolingDays: huanxin.MinCoolingDays}, opts)
}

// App gives a client of an app, which is registered if it is not there yet.
func (h *Hub) App(id string, opts ...PartyOption) *client.Client {
	h.t.Helper()
	return h.party(huanxin.Party{ID: id, Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind}}, opts)
}

// Regulator gives a client of the regulator "regulator", which is registered if it is not there yet.
func (h *Hub) Regulator(opts ...PartyOption) *client.Client {
	h.t.Helper()
	return h.party(huanxin.Party{ID: "regulator", Kind: huanxin.RegulatorParty}, opts)
}

func (h *Hub) party(p huanxin.Party, opts []PartyOption) *client.Client {
	h.t.Helper()
	if h.clients[p.ID] == nil {
		p.NameZh, p.NameEn = p.ID, p.ID
		for _, set := range opts {
			set(&p)
		}
		if h.core.Party(p.ID) == nil {
			h.must(h.core.PutParty(h.t.Context(), core.Operator(), p, true))
		}
		h.credentials(p.ID)
	}
	return h.Client(p.ID)
}

// credentials makes the party's client, or of one that an earlier hub on the same data made a new secret.
func (h *Hub) credentials(party string) {
	h.t.Helper()
	old, err := h.core.Client(h.t.Context(), party)
	h.must(err)
	var secret string
	if old == nil {
		secret, err = h.core.AddClient(h.t.Context(), core.Operator(), core.NewClient{ID: party, Party: party, Secret: true})
	} else {
		secret, err = h.core.RotateClient(h.t.Context(), core.Operator(), party, nil)
	}
	h.must(err)
	h.clients[party] = &Credentials{party, secret}
}

// Credentials gives those of a party that Carrier, App or Regulator made: its client has the party's own id.
func (h *Hub) Credentials(party string) Credentials {
	h.t.Helper()
	c := h.clients[party]
	if c == nil {
		h.t.Fatalf("there is no party %s: ask for it with Carrier, App or Regulator first", party)
	}
	return *c
}

// AddClient gives a party one more client, with keys (a JSON Web Key Set) or without one with a secret, and, if scopes are
// named, with no others.
func (h *Hub) AddClient(id, party string, jwks []byte, scopes ...huanxin.Scope) Credentials {
	h.t.Helper()
	secret, err := h.core.AddClient(h.t.Context(), core.Operator(),
		core.NewClient{ID: id, Party: party, Secret: jwks == nil, JWKS: jwks, Scopes: scopes})
	h.must(err)
	h.clients[id] = &Credentials{id, secret}
	return *h.clients[id]
}

// Grant changes which replica of the number index an app's contract grants.
func (h *Hub) Grant(app string, g huanxin.ReplicaGrant) {
	h.t.Helper()
	h.must(h.core.GrantReplica(h.t.Context(), core.Operator(), app, g))
}

// Limit sets what the client of a party may check, a second and a day; 0 is the hub's default, -1 no limit.
func (h *Hub) Limit(party string, perSecond, perDay int64) {
	h.t.Helper()
	_, err := h.core.LimitClient(h.t.Context(), core.Operator(), h.Credentials(party).ID, core.Limits{PerSecond: &perSecond, PerDay: &perDay})
	h.must(err)
}

// Rotate gives a party's client another secret.
func (h *Hub) Rotate(party string) {
	h.t.Helper()
	c := h.Credentials(party)
	secret, err := h.core.RotateClient(h.t.Context(), core.Operator(), c.ID, nil)
	h.must(err)
	h.clients[party].Secret = secret
}

// Disable switches a party off, or on again.
func (h *Hub) Disable(party string, off bool) {
	h.t.Helper()
	h.must(h.core.DisableParty(h.t.Context(), core.Operator(), party, off))
}

// Hold sets an app's kill switch, or releases it.
func (h *Hub) Hold(app string, on bool) {
	h.t.Helper()
	h.must(h.core.HoldParty(h.t.Context(), core.Operator(), app, on))
}

func (h *Hub) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// secretFile writes a secret where only the hub reads it.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postgres-url")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
