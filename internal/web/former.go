package web

import (
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// apps gives the apps that people may name, in the visitor's language.
func (v *visit) apps() (out []*huanxin.Party) {
	for _, p := range v.o.Hub.Parties() {
		if p.Kind == huanxin.AppParty && !p.Disabled && !p.NotJoined {
			out = append(out, p)
		}
	}
	return out
}

func (w *Web) cancelling(v *visit) error {
	p := CancellingPage{F: v.frame("cancelling-title"), Steps: []string{"cancelling-1", "cancelling-2", "cancelling-3", "cancelling-4", "cancelling-5", "cancelling-6", "cancelling-7"}}
	at := map[string]int{}
	for _, a := range v.apps() {
		key := classKey(a.Class)
		i, ok := at[key]
		if !ok {
			i = len(p.Groups)
			at[key] = i
			p.Groups = append(p.Groups, NameGroup{Title: key})
		}
		p.Groups[i].Names = append(p.Groups[i].Names, v.name(a))
	}
	return v.show("cancelling", p)
}

func (v *visit) formerPage() FormerPage {
	p := FormerPage{F: v.frame("former-title")}
	for _, a := range v.apps() {
		p.Names = append(p.Names, v.name(a))
	}
	for _, what := range []huanxin.FormerTrouble{huanxin.FormerLockedOut, huanxin.FormerUsed, huanxin.FormerUndone} {
		p.What = append(p.What, Choice{ID: what.String(), Name: "what-" + what.String()})
	}
	return p
}

func (w *Web) askFormer(v *visit) error { return v.show("former", v.formerPage()) }

// former takes what a former holder reports. What it answers depends on what was written alone, never on the number.
func (w *Web) former(v *visit) error {
	p := v.formerPage()
	p.Number, p.App = v.r.PostFormValue("number"), strings.TrimSpace(v.r.PostFormValue("app"))
	for i := range p.What {
		p.What[i].Picked = p.What[i].ID == v.r.PostFormValue("what")
	}
	typed := strings.NewReplacer(" ", "", "-", "").Replace(p.Number)
	if !strings.HasPrefix(typed, "+") {
		typed = "+86" + typed
	}
	n, err := huanxin.ParseNumber(typed)
	if err != nil {
		p.Problem, v.status = v.t("former-bad-number"), 422
		return v.show("former", p)
	}
	what, err := huanxin.ParseFormerTrouble(v.r.PostFormValue("what"))
	if err != nil {
		return err
	}
	id := ""
	for _, a := range v.apps() {
		if strings.EqualFold(p.App, a.NameZh) || strings.EqualFold(p.App, a.NameEn) || p.App == a.ID {
			id = a.ID
		}
	}
	if id == "" {
		p.Problem, v.status = v.t("former-noapp", p.App), 422
		return v.show("former", p)
	}
	if !w.reports.pass(time.Now()) {
		return &huanxin.Error{Kind: huanxin.Limited, Code: "busy", Detail: "too many reports at once", RetryAfter: time.Minute}
	}
	if err := w.o.Hub.ReportFormerHolder(v.ctx(), v.id, huanxin.FormerReport{Number: n, Apps: []string{id}, What: what}); err != nil {
		return err
	}
	return v.show("former", FormerPage{F: v.frame("former-title"), Done: true})
}
