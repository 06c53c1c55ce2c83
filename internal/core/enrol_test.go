package core_test

import (
	"context"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func (w *world) enrol(in ...core.Enrolment) (map[string]string, error) {
	return w.Enrol(context.Background(), core.Operator(), in, false)
}

func TestEnrolAddsWhatIsMissingAndKeepsWhatWasAgreedSince(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		shop := core.Enrolment{Party: huanxin.Party{ID: "shop", Kind: huanxin.AppParty, NameZh: "店", NameEn: "Shop", Kinds: []huanxin.TaskKind{huanxin.Unbind}},
			Clients: []core.NewClient{{ID: "shop-1", Secret: true}}}
		secrets, err := w.enrol(shop)
		must(t, err)
		if c, _ := w.Client(context.Background(), "shop-1"); c == nil || string(c.SecretHash) != string(auth.HashSecret(secrets["shop-1"])) ||
			c.Scopes.String() != huanxin.ScopesOf(huanxin.AppParty).String() {
			t.Fatalf("the new client is %+v", c)
		}

		// Commands beside the hub: it has not read the registry since.
		other := newHub(t, w.store, w.keys)
		must(t, other.GrantReplica(context.Background(), core.Operator(), "shop", huanxin.ReplicaUploaded))
		must(t, other.DisableParty(context.Background(), core.Operator(), "shop", true))
		_, err = other.LimitClient(context.Background(), core.Operator(), "shop-1", core.LimitsOf(3, 4))
		must(t, err)

		before := w.RegistryVersion()
		shop.Clients, shop.Party.NameEn = nil, "Store"
		_, err = w.enrol(shop)
		must(t, err)
		if p := w.Party("shop"); p.Replica != huanxin.ReplicaUploaded || !p.Disabled || p.NameEn != "Shop" {
			t.Errorf("nothing was asked to change, and the party is %+v", p)
		}
		shop.Known = func(was huanxin.Party) huanxin.Party {
			was.NameEn = "Store"
			return was
		}
		shop.Clients = []core.NewClient{{ID: "shop-1", Secret: true}}
		renewed, err := w.enrol(shop)
		must(t, err)
		if p := w.Party("shop"); p.Replica != huanxin.ReplicaUploaded || !p.Disabled || p.NameEn != "Store" {
			t.Errorf("the name was to change, and the party is %+v", p)
		}
		c, err := w.Client(context.Background(), "shop-1")
		must(t, err)
		if c.ChecksPerSecond != 3 || c.ChecksPerDay != 4 || string(c.SecretHash) != string(auth.HashSecret(renewed["shop-1"])) {
			t.Errorf("the client with a new secret is %+v", c)
		}
		after := w.RegistryVersion()
		shop.Clients = nil
		_, err = w.enrol(shop)
		must(t, err)
		if w.RegistryVersion() != after || before == after {
			t.Error("the registry was written though nothing changed, or not when something did")
		}
	})
}

func TestEnrolRegistersKeys(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		keys, err := auth.PublicJWKS(auth.NewSigningKey(ago(0)))
		must(t, err)
		in := core.Enrolment{Party: *w.Party("cmcc"), Clients: []core.NewClient{{ID: "cmcc-signs", JWKS: keys, Scopes: huanxin.Scopes{huanxin.ScopeRequestsCreate}}}}
		secrets, err := w.enrol(in)
		must(t, err)
		c, err := w.Client(context.Background(), "cmcc-signs")
		must(t, err)
		if len(secrets) != 0 || c.JWKS == nil || c.SecretHash != nil || c.Scopes.String() != "requests.create" || c.Party.ID != "cmcc" {
			t.Errorf("%v %+v", secrets, c)
		}
	})
}

func TestEnrolIsAllOrNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		good := core.Enrolment{Party: huanxin.Party{ID: "good", Kind: huanxin.RegulatorParty, NameZh: "好", NameEn: "Good"},
			Clients: []core.NewClient{{ID: "good-1", Secret: true}}}
		_, err := w.enrol(good)
		must(t, err)
		first := good
		first.Party.ID, first.Clients = "first", nil
		for want, bad := range map[string]core.Enrolment{
			"party_exists":  {Party: huanxin.Party{ID: "cmcc", Kind: huanxin.AppParty, NameZh: "x", NameEn: "x", Kinds: []huanxin.TaskKind{huanxin.Unbind}}},
			"client_exists": {Party: *w.Party("cmcc"), Clients: []core.NewClient{{ID: "good-1", Secret: true}}},
			"invalid":       {Party: *w.Party("cmcc"), Clients: []core.NewClient{{ID: "neither"}}},
		} {
			if _, err := w.enrol(first, bad); huanxin.CodeOf(err) != want {
				t.Errorf("want %s, got %v", want, err)
			}
			if w.Party("first") != nil {
				t.Errorf("%s: a part of it happened", want)
			}
		}
	})
}
