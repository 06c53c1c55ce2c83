package httpapi

import (
	"context"
	"net/http"

	"github.com/huanxin-platform/huanxin/internal/core"
)

func (a *api) caseRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/v1/cases", Tag: "People", Summary: "List complaints and reports",
			Description: "With cases.work: an app's own complaints; all cases for the regulator and the operator. A case holds no number.",
			Scope:       anyScope,
			Query:       []Param{{Name: "after", Doc: "The after of the page before."}, {Name: "limit", Type: 0, Doc: "1 to 1,000, by default 100."}},
			Answer:      JSON(casePage{}), Codes: []string{"invalid", "invalid_utf8", "unknown_case", "out_of_range"},
			Handler: jsonHandler(http.StatusOK, a.cases)},
	}
}

type caseItem struct {
	ID       string `json:"id"`
	Kind     string `json:"kind" enum:"complaint,former_holder"`
	OpenedAt Time   `json:"opened_at"`
	App      string `json:"app"`
	Request  string `json:"request,omitempty" doc:"Of a complaint."`
	Task     string `json:"task,omitempty"`
	View     string `json:"view,omitempty" doc:"How the holder saw the task when they complained."`
	What     string `json:"what,omitempty" enum:"locked_out,used_by_other,unbound_wrongly" doc:"What a former holder reports."`
}

type casePage struct {
	Cases []caseItem `json:"cases"`
	After string     `json:"after,omitempty" doc:"Goes into the next question."`
}

func (a *api) cases(ctx context.Context, r *http.Request, _ None) (casePage, error) {
	limit, err := limitOf(r, core.MaxTasks)
	if err != nil {
		return casePage{}, err
	}
	after := r.URL.Query().Get("after")
	got, err := a.hub.Cases(ctx, CallerFrom(ctx), after, limit)
	if err != nil {
		return casePage{}, err
	}
	page := casePage{After: after, Cases: mapped(got, func(c core.Case) caseItem {
		return caseItem{ID: c.ID, Kind: c.Kind, OpenedAt: a.time(c.OpenedAt), App: c.App, Request: c.Request, Task: c.Task, View: c.View, What: c.What}
	})}
	if n := len(got); n > 0 {
		page.After = got[n-1].ID
	}
	return page, nil
}
