package sandbox

import (
	"context"
	"slices"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// The parties that the catalogue does not have.
const (
	regulatorID = "regulator-demo"
	adminID     = "admin-demo"
)

// members gives everybody who takes part, in the order of sandbox.json. hook is where their contacts' messages go.
func members(hook string) []huanxin.Party {
	var out []huanxin.Party
	contact := func(id string) huanxin.Contact {
		return huanxin.Contact{Name: "值班 Duty", Email: "duty@" + id + ".example", Webhook: hook + id}
	}
	for _, c := range catalogue.Carriers() {
		out = append(out, huanxin.Party{ID: c.ID, Kind: huanxin.CarrierParty, NameZh: c.NameZh, NameEn: c.NameEn,
			CoolingDays: coolingDays, Contact: contact(c.ID)})
	}
	for _, a := range catalogue.Apps() {
		out = append(out, huanxin.Party{ID: a.ID, Kind: huanxin.AppParty, NameZh: a.NameZh, NameEn: a.NameEn, Class: a.Class,
			Kinds: a.Kinds, Domains: []string{a.Domain()}, Contact: contact(a.ID)})
	}
	return append(out,
		huanxin.Party{ID: regulatorID, Kind: huanxin.RegulatorParty, NameZh: "演示监管", NameEn: "Demo Regulator", Contact: contact(regulatorID)},
		huanxin.Party{ID: adminID, Kind: huanxin.OperatorParty, NameZh: "演示管理", NameEn: "Demo Admin"})
}

// enrol puts everybody into the registry, and gives a credential to whoever is not in known: what a crash between the
// registry and sandbox.json left without one that anybody knows gets a new one.
func enrol(ctx context.Context, hub *core.Hub, hook string, known []Client) ([]Client, error) {
	parties := members(hook)
	in := make([]core.Enrolment, len(parties))
	out := make([]Client, len(parties))
	for i, p := range parties {
		in[i] = core.Enrolment{Party: p, Client: p.ID}
		out[i] = Client{Name: displayName(p), Kind: p.Kind.String(), ID: p.ID, ClientID: p.ID,
			Scope: huanxin.ScopesOf(p.Kind).String()}
		at := slices.IndexFunc(known, func(c Client) bool { return c.ClientID == p.ID })
		registered, err := hub.Client(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		if at >= 0 && registered != nil {
			out[i].Secret, in[i].Client = known[at].Secret, ""
		}
	}
	secrets, err := hub.Enrol(ctx, core.Operator(), in, true)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if s := secrets[out[i].ClientID]; s != "" {
			out[i].Secret = s
		}
	}
	return out, nil
}

func displayName(p huanxin.Party) string {
	if p.ID == catalogue.Yours {
		return p.ID // by which the visitor finds it
	}
	return p.NameZh + " " + p.NameEn
}
