package web

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// viewOrder is in which order tasks are shown: what needs the holder first.
var viewOrder = []huanxin.View{huanxin.ViewActionRequired, huanxin.ViewExpired, huanxin.ViewOverdue, huanxin.ViewKept, huanxin.ViewRestricted, huanxin.ViewProcessing,
	huanxin.ViewClean, huanxin.ViewCancelled}

// viewClasses are how groups look.
var viewClasses = map[huanxin.View]string{huanxin.ViewActionRequired: "need", huanxin.ViewExpired: "bad", huanxin.ViewOverdue: "late", huanxin.ViewKept: "late",
	huanxin.ViewClean: "clean"}

var nextKeys = map[huanxin.NextStep]string{huanxin.NextApp: "next-app", huanxin.NextHolder: "next-holder", huanxin.NextRegulator: "next-regulator", huanxin.NextNobody: "next-nobody"}

func stateKey(s huanxin.RequestState) string { return "state-" + strings.ToLower(s.String()) }

func open(s huanxin.RequestState) bool {
	return s == huanxin.RequestSubmitted || s == huanxin.RequestInProgress
}

func (w *Web) requests(v *visit) error {
	all, err := w.o.Hub.HolderRequests(v.ctx(), v.who)
	if err != nil {
		return err
	}
	p := RequestsPage{F: v.frame("history-title")}
	for i := len(all) - 1; i >= 0; i-- {
		r := &all[i]
		p.Requests = append(p.Requests, RequestItem{ID: r.ID, At: v.minute(r.SubmittedAt), State: stateKey(r.State), Total: len(r.Tasks)})
	}
	return v.show("requests", p)
}

func (w *Web) request(v *visit) error {
	r, err := v.o.Hub.HolderRequest(v.ctx(), v.who, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	p := v.requestPage(&r)
	if done := v.cookie(doneCookie); done != "" {
		v.setCookie(doneCookie, "", 0)
		if slices.Contains(dones, done) {
			p.Done = done
		}
	}
	return v.show("request", p)
}

func (v *visit) requestPage(r *core.RequestView) RequestPage {
	p := RequestPage{F: v.frame("request-title"), ID: r.ID, State: stateKey(r.State), Open: open(r.State), Total: len(r.Tasks), At: v.minute(r.SubmittedAt), Due: v.minute(r.DueAt)}
	p.F.Back = "/requests/" + r.ID
	if p.Open {
		p.F.Script, p.F.Refresh, p.F.Live = true, 30, "/requests/"+r.ID+"/events"
	}
	for _, view := range viewOrder {
		g := TaskGroup{Class: viewClasses[view], Title: "view-" + view.String(), Text: view.Text(v.english), Next: nextKeys[view.Next()]}
		for i := range r.Tasks {
			if t := &r.Tasks[i]; t.View == view {
				g.Tasks = append(g.Tasks, v.taskItem(t))
			}
		}
		if view.Final() {
			p.Final += len(g.Tasks)
		}
		if len(g.Tasks) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	return p
}

func (v *visit) taskItem(t *core.RequestTask) TaskItem {
	item := TaskItem{ID: t.ID, App: v.name(t.App), Link: t.Link, Again: t.Again, Complained: t.Complained, Complain: t.View.MayComplain() && !t.Complained}
	if t.Kind != huanxin.Unbind {
		item.Kind = "kind-" + t.Kind.String()
	}
	return item
}

// dones are the keys of what the page of a request says of what was just done.
var dones = []string{"complained", "asked-again", "asked-today"}

// actOnTask asks an app again, or complains about it: one tap each. The answer leads to the request's page, so that neither loading it again nor a second tap does harm.
func (w *Web) actOnTask(v *visit) error {
	id, done := v.r.PathValue("id"), "asked-again"
	var err error
	if task := v.r.PostFormValue("complain"); task != "" {
		done = "complained"
		_, err = w.o.Hub.Complain(v.ctx(), v.who, id, task)
	} else {
		_, err = w.o.Hub.AskAgain(v.ctx(), v.who, id, v.r.PostFormValue("again"), core.Once{})
		if askedToday(err) {
			done, err = "asked-today", nil
		}
	}
	if err != nil {
		return err
	}
	v.setCookie(doneCookie, done, time.Minute)
	return v.leave("/requests/" + id)
}

// askedToday reports whether an app is not asked again because it was just now, or earlier that day.
func askedToday(err error) bool {
	var e *huanxin.Error
	return errors.As(err, &e) && (e.Code == "asked_again" || e.Reason == huanxin.IneligibleTooMany)
}

func (w *Web) cancel(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := w.o.Hub.CancelRequest(v.ctx(), v.who, id); err != nil {
		return err
	}
	return v.leave("/requests/" + id)
}

// How a request's progress is watched.
const (
	lookEvery = 2 * time.Second
	watchFor  = 10 * time.Minute // then the page is looked at again only by hand: an open page does not keep a session alive
)

// events tells a page that what is released of its request changed (WHATWG HTML §9.2, server-sent events). It says that, never what.
func (w *Web) events(v *visit) error {
	id := v.r.PathValue("id")
	last, err := w.mark(v, id)
	if err != nil {
		return err
	}
	select {
	case w.watchers <- struct{}{}:
		defer func() { <-w.watchers }()
	default:
		return huanxin.Errorf(huanxin.Unavailable, "busy", "too many watch")
	}
	to := http.NewResponseController(v.w)
	v.w.Header().Set("Content-Type", "text/event-stream")
	write := func(text string) bool {
		_ = to.SetWriteDeadline(time.Now().Add(30 * time.Second))
		_, err := v.w.Write([]byte(text))
		return err == nil && to.Flush() == nil
	}
	if !write("retry: 15000\n\n") {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for until := time.Now().Add(watchFor); time.Now().Before(until); {
		select {
		case <-v.ctx().Done():
			return nil
		case <-w.o.Stopping:
			return nil
		case <-tick.C:
		}
		mark, err := w.mark(v, id)
		if err != nil {
			break // the page finds out why when it is loaded
		}
		text := ": \n\n"
		if mark != last {
			text, last = "event: changed\ndata: \n\n", mark
		}
		if !write(text) {
			return nil
		}
	}
	write("event: end\ndata: \n\n")
	return nil
}

// mark stands for what the page of a request shows.
func (w *Web) mark(v *visit, id string) (uint64, error) {
	r, err := w.o.Hub.HolderRequest(v.ctx(), v.who, id)
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	fmt.Fprint(h, r.State)
	for _, t := range r.Tasks {
		fmt.Fprint(h, t.ID, t.View, t.Link, t.Again, t.Complained)
	}
	return h.Sum64(), nil
}
