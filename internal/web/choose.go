package web

import (
	"errors"
	"slices"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// usedKeys are what is said of how a number came to its holder.
var usedKeys = map[huanxin.TenureOrigin]string{huanxin.OriginFirst: "used-first", huanxin.OriginReassigned: "used-reassigned",
	huanxin.OriginTransferred: "used-transferred", huanxin.OriginUnknown: "used-unknown"}

func (w *Web) number(v *visit) error {
	m, err := w.o.Hub.MyNumber(v.ctx(), v.who)
	if err != nil {
		return err
	}
	used := usedKeys[m.Origin]
	p := NumberPage{F: v.frame("number-title"), Number: grouped(m.Number.E164()), Carrier: v.name(m.Carrier), Used: used, UsedDo: used + "-do", Open: m.Open}
	key := "number-since"
	if !m.StartKnown {
		key = "number-since-latest"
	}
	p.Since = v.t(key, v.day(m.StartedAt))
	return v.show("number", p)
}

// picks is what a holder ticked.
type picks struct {
	apps  map[string]bool
	kinds map[string]bool
	all   bool
	query string
}

func (w *Web) chooseApps(v *visit) error {
	p := picks{apps: map[string]bool{}, kinds: map[string]bool{"unbind": true}, query: v.r.FormValue("q")}
	if v.who.Holder.Origin == huanxin.OriginFirst {
		delete(p.kinds, "unbind")
	}
	return v.showApps(p, "")
}

// maxQuery is how much of a search is looked at.
const maxQuery = 40

func (v *visit) showApps(p picks, problem string) error {
	apps, err := v.o.Hub.HolderApps(v.ctx(), v.who)
	if err != nil {
		return err
	}
	if runes := []rune(strings.TrimSpace(p.query)); len(runes) > maxQuery {
		p.query = string(runes[:maxQuery])
	} else {
		p.query = string(runes)
	}
	origin := v.who.Holder.Origin
	page := AppsPage{F: v.frame("apps-title"), Problem: problem, Query: p.query, All: p.all,
		MayAll: origin != huanxin.OriginTransferred && origin != huanxin.OriginUnknown}
	page.F.Script = true
	page.F.Back = "/apps"
	for _, k := range []huanxin.TaskKind{huanxin.Unbind, huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction} {
		if k == huanxin.Unbind && origin == huanxin.OriginFirst {
			continue
		}
		page.Kinds = append(page.Kinds, Choice{ID: k.String(), Name: v.t("kind-" + k.String()), Picked: p.kinds[k.String()]})
	}
	v.group(&page, apps, p)
	page.NotFound = p.query != "" && len(page.Groups) == 0
	return v.show("apps", page)
}

// group sorts apps into groups: those that let one number have one account first, then each class.
func (v *visit) group(page *AppsPage, apps []core.HolderApp, p picks) {
	at := map[string]int{}
	for _, a := range apps {
		item := AppItem{ID: a.App.ID, Name: v.name(a.App), Picked: p.apps[a.App.ID], Busy: len(a.Busy) > 0}
		found := p.query == "" || strings.Contains(strings.ToLower(a.App.NameZh+"\n"+a.App.NameEn), strings.ToLower(p.query))
		if a.App.NotJoined {
			if found {
				page.NotJoined = append(page.NotJoined, WantedApp{a.App.ID, item.Name, a.Wanted, a.WantedByMe})
			}
			continue
		}
		page.Total++
		if !found {
			if item.Picked {
				page.Hidden = append(page.Hidden, item)
			}
			continue
		}
		title, why := classKey(a.App.Class), ""
		if a.App.HighValue() {
			why = "class-high"
		}
		if a.App.OnePerNumber {
			title, why = "apps-first", "apps-first-why"
		}
		i, ok := at[title]
		if !ok {
			i = len(page.Groups)
			at[title] = i
			page.Groups = append(page.Groups, AppGroup{Title: title, Why: why})
		}
		g := &page.Groups[i]
		g.Apps = append(g.Apps, item)
		g.Open = g.Open || i == 0 || item.Picked || p.query != ""
	}
}

func classKey(class string) string {
	if key := "class-" + class; known(key) {
		return key
	}
	return "class-other"
}

func (w *Web) takeApps(v *visit) error {
	form := v.r.PostForm
	p := picks{apps: map[string]bool{}, kinds: map[string]bool{}, all: form.Get("all") != "", query: form.Get("q")}
	for _, id := range form["app"] {
		p.apps[id] = true
	}
	for _, k := range form["kind"] {
		p.kinds[k] = true
	}
	if want := form.Get("want"); want != "" {
		if err := w.o.Hub.Want(v.ctx(), v.who, want); err != nil {
			return err
		}
		return v.showApps(p, "")
	}
	switch form.Get("do") {
	case "find":
		return v.showApps(p, "")
	case "all":
		p.query = ""
		return v.showApps(p, "")
	}
	in := core.NewDraft{Apps: form["app"], All: p.all}
	for _, word := range form["kind"] {
		k, err := huanxin.ParseTaskKind(word)
		if err != nil {
			return huanxin.BadField("kind", "unknown_kind", "no such kind")
		}
		in.Kinds = append(in.Kinds, k)
	}
	in.Apps = slices.Compact(slices.Sorted(slices.Values(in.Apps)))
	switch {
	case !in.All && len(in.Apps) == 0:
		v.status = 422
		return v.showApps(p, "apps-pick-one")
	case len(in.Kinds) == 0:
		v.status = 422
		return v.showApps(p, "apps-pick-kind")
	}
	d, err := w.o.Hub.MakeDraft(v.ctx(), v.who, in)
	var e *huanxin.Error
	if errors.As(err, &e) && (e.Code == "task_open" || e.Code == "unknown_app" || e.Reason == huanxin.IneligibleChooseApps) {
		v.status = statuses[e.Kind]
		key := "p-" + e.Code + "-do"
		if e.Reason != "" {
			key = "p-" + e.Reason + "-do"
		}
		return v.showApps(p, key)
	}
	if err != nil {
		return err
	}
	return v.leave("/confirm/" + d.ID)
}

// consentText is the version of what people agree to: it changes with the texts of the page.
const consentText = "2026-11"

func (w *Web) confirm(v *visit) error { return v.showConfirm("") }

func (v *visit) showConfirm(problem string) error {
	d, err := v.o.Hub.Draft(v.ctx(), v.who, v.r.PathValue("draft"))
	if err != nil {
		return err
	}
	if d.Request != "" {
		return v.leave("/requests/" + d.Request)
	}
	p := ConfirmPage{F: v.frame("confirm-title"), Problem: problem, ID: d.ID, Number: grouped(v.who.Holder.Number.E164()), All: d.All, Tasks: d.Tasks, Agreed: d.Consented}
	for _, a := range d.Apps {
		p.Apps = append(p.Apps, v.name(a))
	}
	for _, k := range d.Kinds {
		p.Kinds = append(p.Kinds, "kind-"+k.String())
	}
	v.leads()
	return v.show("confirm", p)
}

// agree is the press of the button: what was agreed to is kept, and the request is made, at once or after the carrier confirmed who it is.
func (w *Web) agree(v *visit) error {
	id := v.r.PathValue("draft")
	if v.r.PostFormValue("agree") == "" {
		v.status = 422
		return v.showConfirm("confirm-must")
	}
	if _, err := w.o.Hub.Consent(v.ctx(), v.who, id, consentText); err != nil {
		return err
	}
	request, err := w.o.Hub.Submit(v.ctx(), v.who, id)
	if err == nil {
		return v.leave("/requests/" + request)
	}
	if !needsProof(err) {
		return err
	}
	carrier := w.o.Hub.PartyOf(v.who)
	return v.toSignIn(carrier.ID, signin.StepUp, id)
}
