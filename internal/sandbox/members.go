package sandbox

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
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
			Kinds: a.Kinds, Domains: []string{a.Domain()}, Contact: contact(a.ID), OnePerNumber: onePerNumber[a.Class]})
	}
	return append(out,
		huanxin.Party{ID: regulatorID, Kind: huanxin.RegulatorParty, NameZh: "演示监管", NameEn: "Demo Regulator", Contact: contact(regulatorID)},
		huanxin.Party{ID: adminID, Kind: huanxin.OperatorParty, NameZh: "演示管理", NameEn: "Demo Admin"})
}

// onePerNumber are the classes whose apps let one number have one account here.
var onePerNumber = map[string]bool{"messaging": true, "payment": true, "social": true}

// outsiders are apps that people know and that take no part yet.
func outsiders() []core.Enrolment {
	var out []core.Enrolment
	for _, p := range []huanxin.Party{
		{ID: "yunshu-notes", NameZh: "云疏笔记", NameEn: "Yunshu Notes", Class: "tools"},
		{ID: "lanting-fm", NameZh: "兰汀电台", NameEn: "Lanting FM", Class: "music"},
		{ID: "shanmu-rent", NameZh: "杉木租房", NameEn: "Shanmu Rent", Class: "property"},
		{ID: "baita-run", NameZh: "白塔跑步", NameEn: "Baita Run", Class: "health"},
	} {
		p.Kind, p.NotJoined = huanxin.AppParty, true
		out = append(out, core.Enrolment{Party: p, Known: func(was huanxin.Party) huanxin.Party { return was }})
	}
	return out
}

// asNow gives what becomes of a party that the registry has already: what the catalogue determines is as the catalogue has it
// now; what an operator may have agreed with it since stays. The desk of contacts has another address at each start: whoever's
// messages went there is told at the new one.
func asNow(p huanxin.Party) func(huanxin.Party) huanxin.Party {
	return func(was huanxin.Party) huanxin.Party {
		was.NameZh, was.NameEn, was.Class, was.Kinds, was.Domains, was.OnePerNumber = p.NameZh, p.NameEn, p.Class, p.Kinds, p.Domains, p.OnePerNumber
		if isHook(was.Contact.Webhook, p.ID) {
			was.Contact.Webhook = p.Contact.Webhook
		}
		return was
	}
}

// enrol puts everybody who is missing into the registry, and gives a new credential to whoever has none in sandbox.json that is
// good: what a crash between the registry and the file left without one that anybody knows.
func enrol(ctx context.Context, hub *core.Hub, hook string, known File) ([]Client, []Voucher, error) {
	parties := members(hook)
	in := make([]core.Enrolment, len(parties))
	out := make([]Client, len(parties))
	var vouchers []Voucher
	for i, p := range parties {
		in[i] = core.Enrolment{Party: p, Known: asNow(p)}
		out[i] = Client{Name: displayName(p), Kind: p.Kind.String(), ID: p.ID, ClientID: p.ID,
			Scope: huanxin.ScopesOf(p.Kind).String()}
		secret, good, err := knownSecret(ctx, hub, &p, known.Clients)
		if err != nil {
			return nil, nil, err
		}
		if out[i].Secret = secret; !good {
			in[i].Clients = append(in[i].Clients, core.NewClient{ID: p.ID, Secret: true})
		}
		if p.Kind != huanxin.CarrierParty {
			continue
		}
		v, keys, err := voucherOf(ctx, hub, p.ID, known.Vouchers)
		if err != nil {
			return nil, nil, err
		}
		if vouchers = append(vouchers, v); keys != nil {
			in[i].Clients = append(in[i].Clients, core.NewClient{ID: v.ClientID, Scopes: voucherScopes, JWKS: keys})
		}
	}
	secrets, err := hub.Enrol(ctx, core.Operator(), append(in, outsiders()...), true)
	if err != nil {
		return nil, nil, err
	}
	for i := range out {
		if s := secrets[out[i].ClientID]; s != "" {
			out[i].Secret = s
		}
	}
	return out, vouchers, nil
}

// knownSecret gives a party's secret of sandbox.json, and whether its client needs no new one. If the visitor's client was given
// other credentials by hand, it keeps them, and the file has none.
func knownSecret(ctx context.Context, hub *core.Hub, p *huanxin.Party, known []Client) (secret string, good bool, err error) {
	at := slices.IndexFunc(known, func(c Client) bool { return c.ClientID == p.ID })
	registered, err := hub.Client(ctx, p.ID)
	if at < 0 || registered == nil || err != nil {
		return "", false, err
	}
	if bytes.Equal(auth.HashSecret(known[at].Secret), registered.SecretHash) {
		return known[at].Secret, true, nil
	}
	return "", p.ID == catalogue.Yours, nil
}

// voucherScopes are what a carrier's word about a number needs (docs/camara.md), and nothing else.
var voucherScopes = huanxin.Scopes{huanxin.ScopeRequestsCreate}

// voucherOf gives the client with which a carrier gives its word. keys is nil where the registry has the key of sandbox.json.
func voucherOf(ctx context.Context, hub *core.Hub, carrier string, known []Voucher) (v Voucher, keys []byte, err error) {
	v = Voucher{Carrier: carrier, ClientID: carrier + "-voucher"}
	registered, err := hub.Client(ctx, v.ClientID)
	if err != nil {
		return v, nil, err
	}
	if at := slices.IndexFunc(known, func(k Voucher) bool { return k.ClientID == v.ClientID }); at >= 0 && registered != nil {
		if key, err := auth.ParseClientKey([]byte(known[at].PrivateKey)); err == nil {
			keys, err := publicKeys(key)
			if err != nil {
				return v, nil, err
			}
			if bytes.Equal(keys, registered.JWKS) {
				return known[at], nil, nil
			}
		}
	}
	key := auth.NewSigningKey(time.Time{})
	private, err := auth.MarshalClientKey(key)
	if err != nil {
		return v, nil, err
	}
	v.PrivateKey, v.KID = string(private), key.KID
	keys, err = publicKeys(key)
	return v, keys, err
}

// publicKeys gives a key's public part as the registry keeps it.
func publicKeys(key auth.SigningKey) ([]byte, error) {
	set, err := auth.PublicJWKS(key)
	if err != nil {
		return nil, err
	}
	return auth.CheckJWKS(set)
}

// wholeReplica is the app whose contract grants a replica of every number, so that both kinds can be tried, and that the feed tells it
// when a tenure began.
const wholeReplica = "qingxi-pay"

// contract writes into the registry what the contracts of the world's apps say: once in the world's life, for after that they
// are the operator's.
func contract(ctx context.Context, hub *core.Hub) error {
	for id, grant := range map[string]huanxin.ReplicaGrant{catalogue.Yours: huanxin.ReplicaUploaded, wholeReplica: huanxin.ReplicaWhole} {
		if hub.Party(id).Replica != huanxin.NoReplica {
			continue
		}
		if err := hub.GrantReplica(ctx, core.Operator(), id, grant); err != nil {
			return err
		}
	}
	if err := hub.GrantFeedStart(ctx, core.Operator(), wholeReplica, true); err != nil {
		return err
	}
	c, err := hub.Client(ctx, catalogue.Yours)
	if err != nil || c.ChecksPerSecond != 0 || c.ChecksPerDay != 0 {
		return err
	}
	_, err = hub.LimitClient(ctx, core.Operator(), catalogue.Yours, core.LimitsOf(-1, -1)) // the visitor may try a stream of any size
	return err
}

func displayName(p huanxin.Party) string {
	if p.ID == catalogue.Yours {
		return p.ID // by which the visitor finds it
	}
	return p.NameZh + " " + p.NameEn
}
