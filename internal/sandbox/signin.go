package sandbox

import (
	"bytes"
	"crypto/rand"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
	"github.com/huanxin-platform/huanxin/internal/sandbox/provider"
)

// door is a carrier's sign-in, and how the hub is known there. Both are made anew at each start: only who is signing in at that moment notices.
type door struct {
	carrier catalogue.Carrier
	signin.Carrier
}

func issuerOf(url, carrier string) string { return url + "/carriers/" + carrier }

// letIn tells the hub of the carriers' OpenID providers.
func (d *demo) letIn(url string) (out []signin.Carrier) {
	for _, c := range catalogue.Carriers() {
		known := signin.Carrier{Party: c.ID, Issuer: issuerOf(url, c.ID), ClientID: "huanxin", Secret: rand.Text(), IdentityACR: provider.IdentityACR}
		d.doors = append(d.doors, door{c, known})
		out = append(out, known)
	}
	return out
}

// signIns serves the carriers' sign-ins and the phone to which their texts go.
func (d *demo) signIns(mux *http.ServeMux) {
	for i, door := range d.doors {
		p, err := provider.New(provider.Options{Path: "/carriers/" + door.Party, Issuer: door.Issuer, NameZh: door.carrier.NameZh, NameEn: door.carrier.NameEn,
			ClientID: door.ClientID, Secret: door.Secret, Redirect: d.hub.URL + "/sign-in/" + door.Party + "/callback", Key: auth.NewSigningKey(time.Time{}),
			Person: func(n huanxin.Number) (provider.Person, bool) { return d.person(i, n) }, Text: d.phones.text})
		if err != nil {
			panic("sandbox: " + err.Error()) // its options are ours
		}
		mux.Handle("/carriers/"+door.Party+"/", p)
	}
	mux.HandleFunc("GET /sandbox/phone", d.phonePage)
	mux.HandleFunc("POST /sandbox/phone", d.phonePage)
}

// person gives who has a number at a carrier now. Only the holders of sandbox.json sign in.
func (d *demo) person(carrier int, n huanxin.Number) (provider.Person, bool) {
	i := slices.IndexFunc(d.world.Visitors, func(s Story) bool { return s.Number == n })
	if i < 0 {
		return provider.Person{}, false
	}
	story := &d.world.Visitors[i]
	l := d.ledger.now(story.No)
	if l.carrier() != carrier || !l.standing.Held() {
		return provider.Person{}, false
	}
	h := holderOf(d.world.Seed, story)
	return provider.Person{Number: n, Name: h.SignIn.Name, IDLastFour: h.SignIn.IDLastFour, StartedAt: l.standing.StartedAt, Origin: l.standing.Origin}, true
}

// phones hold the texts that came to the world's numbers, the latest first.
type phones struct {
	lock  sync.Mutex
	texts map[huanxin.Number][]phoneText
}

type phoneText struct {
	At   string
	Text string
}

func newPhones() *phones { return &phones{texts: map[huanxin.Number][]phoneText{}} }

// maxTexts is how many texts a phone keeps.
const maxTexts = 10

func (p *phones) text(n huanxin.Number, text string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.texts[n] = slices.Insert(p.texts[n], 0, phoneText{time.Now().In(huanxin.China).Format(time.TimeOnly), text})
	if len(p.texts[n]) > maxTexts {
		p.texts[n] = p.texts[n][:maxTexts]
	}
}

func (p *phones) of(n huanxin.Number) []phoneText {
	p.lock.Lock()
	defer p.lock.Unlock()
	return slices.Clone(p.texts[n])
}

// phoneView is what the phone page shows.
type phoneView struct {
	English bool
	Holders []phoneHolder
	Chosen  *phoneHolder
	Number  string
	Person  SignIn
	Texts   []phoneText
}

type phoneHolder struct{ User, Name, Carrier, Origin string }

var phonePages = func() map[bool]*template.Template {
	out := map[bool]*template.Template{}
	for _, english := range []bool{false, true} {
		out[english] = template.Must(template.New("phone.html").Funcs(template.FuncMap{"t": func(zh, en string) string { return pick(english, zh, en) }}).ParseFS(pageFiles, "phone.html"))
	}
	return out
}()

var originTexts = map[huanxin.TenureOrigin][2]string{huanxin.OriginFirst: {"首次启用", "never used before"}, huanxin.OriginReassigned: {"以前有人用过", "used before"},
	huanxin.OriginTransferred: {"过户得来", "handed over"}, huanxin.OriginUnknown: {"转网而来,历史不明", "brought along, past unknown"}}

// phonePage shows a phone: which one is posted by its holder's name in sandbox.json, so that no number stands in a URL.
func (d *demo) phonePage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	v := phoneView{English: wantsEnglish(r)}
	if c, err := r.Cookie("lang"); err == nil {
		v.English = c.Value == "en"
	}
	chosen := r.PostFormValue("holder")
	for i := range d.world.Visitors {
		s := &d.world.Visitors[i]
		h := holderOf(d.world.Seed, s)
		c := catalogue.Carriers()[s.Carrier]
		t, _ := s.Now()
		origin := originTexts[t.Origin]
		row := phoneHolder{User: h.SignIn.User, Name: h.SignIn.Name, Carrier: pick(v.English, c.NameZh, c.NameEn), Origin: pick(v.English, origin[0], origin[1])}
		v.Holders = append(v.Holders, row)
		if row.User == chosen {
			v.Chosen, v.Number, v.Person, v.Texts = &row, s.Number.E164(), h.SignIn, d.phones.of(s.Number)
		}
	}
	var b bytes.Buffer
	if err := phonePages[v.English].Execute(&b, v); err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	pageHeaders(w, "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	_, _ = w.Write(b.Bytes())
}
