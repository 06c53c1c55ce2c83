package core

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// caseBinding ties a sealed number to its case.
func caseBinding(id int64) []byte { return binary.BigEndian.AppendUint64([]byte("case "), uint64(id)) }

// Complain opens a case about a task: its app kept what it was asked to unbind, did not finish in time, or leaves the holder stuck. There is one a task;
// complaining again gives the same.
func (h *Hub) Complain(ctx context.Context, who huanxin.Caller, request, task string) (string, error) {
	var out string
	err := h.act(ctx, who, "case.complain", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		r, err := h.ownRequest(tx.LockRequest, who, request)
		if err != nil {
			return err
		}
		no, ok := h.keys.ParseID(seal.TaskID, task)
		if !ok {
			return notFound("task")
		}
		_, views, err := h.views(tx, &r, now)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(views, func(v huanxin.TaskView) bool { return int64(v.Task) == no })
		if at < 0 {
			return notFound("task")
		}
		before, err := tx.ComplaintsOf(r.ID)
		if err != nil {
			return err
		}
		for _, c := range before {
			if int64(c.Task) == no {
				out = h.keys.ID(seal.CaseID, c.ID)
				entry.Subject, entry.Detail = out, detail(map[string]any{"repeated": true})
				return nil
			}
		}
		v := views[at]
		if !v.View.MayComplain() {
			return huanxin.Errorf(huanxin.Conflict, "nothing_to_complain", "this app did what it was asked, or still has time to")
		}
		c := store.CaseRow{Kind: store.Complaint, OpenedAt: now, App: v.App, Request: r.ID, Task: v.Task, View: v.View}
		if c.ID, err = tx.NextCase(); err != nil {
			return err
		}
		out = h.keys.ID(seal.CaseID, c.ID)
		entry.Subject = out
		_, err = tx.InsertCase(c)
		return err
	})
	return out, err
}

// reportsPerDay is how many reports of former holders about one number at one app are kept in a day: more say nothing new, so that nobody can crowd out a true
// one. Who sends more is told the same.
const reportsPerDay = 3

// ReportFormerHolder keeps what a former holder tells. It says the same whatever is true of the number, and whether or not the report is kept: one
// that nobody could have made, or that came too often, is not.
func (h *Hub) ReportFormerHolder(ctx context.Context, requestID string, in huanxin.FormerReport) error {
	switch {
	case in.Number.IsZero():
		return huanxin.BadField("number", "required", "the number that you had")
	case in.What == 0:
		return huanxin.BadField("what", "required", "what happened")
	case len(in.Apps) == 0 || len(in.Apps) > 20:
		return huanxin.BadField("apps", "required", "name 1 to 20 apps")
	}
	who := huanxin.Caller{Client: "former-holder", RequestID: requestID}
	return h.act(ctx, who, "case.former_holder", nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		kept := 0
		for _, id := range in.Apps {
			p := h.Party(id)
			if p == nil || p.Kind != huanxin.AppParty || p.Disabled {
				return huanxin.BadField("apps", "unknown_app", "no app with this id takes part")
			}
			before, err := tx.ReportsOf(p.No, h.keys.LookupAll(in.Number), now.Add(-24*time.Hour))
			if err != nil {
				return err
			}
			if before >= reportsPerDay {
				continue
			}
			c := store.CaseRow{Kind: store.FormerHolder, OpenedAt: now, App: p.No, What: in.What, Lookup: h.keys.Lookup(in.Number)}
			if c.ID, err = tx.NextCase(); err != nil {
				return err
			}
			c.Sealed = h.keys.Seal(in.Number, caseBinding(c.ID))
			if _, err := tx.InsertCase(c); err != nil {
				return err
			}
			kept++
		}
		entry.Detail = detail(map[string]any{"cases": kept})
		return nil
	})
}

// Case is a case as those who work it see it. It holds no number.
type Case struct {
	ID       string
	Kind     string // complaint or former_holder
	OpenedAt time.Time
	App      string
	Request  string // of a complaint
	Task     string
	View     string // as the holder saw the task
	What     string // what befell a former holder
}

// Cases gives cases after one, oldest first: all of them to the operator and the regulator, to an app complaints about itself. A carrier has none.
func (h *Hub) Cases(ctx context.Context, who huanxin.Caller, after string, limit int) ([]Case, error) {
	var from int64
	if after != "" {
		var ok bool
		if from, ok = h.keys.ParseID(seal.CaseID, after); !ok {
			return nil, huanxin.BadField("after", "unknown_case", "after is the id of a case that was listed before")
		}
	}
	var app huanxin.PartyNo
	switch {
	case who.May(huanxin.AppParty, huanxin.ScopeCasesWork) == nil:
		app = who.Party.No
	case mayAdmin(who) == nil, who.May(huanxin.RegulatorParty, huanxin.ScopeCasesWork) == nil:
	default:
		err := who.May(huanxin.OperatorParty, huanxin.ScopeCasesWork)
		if err != nil {
			h.recordRefusal(ctx, h.refusalEntry(who, "case.list"), err)
			return nil, err
		}
	}
	var out []Case
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Cases(app, from, limit)
		for _, c := range rows {
			out = append(out, h.caseOf(&c))
		}
		return err
	})
	return out, err
}

func (h *Hub) caseOf(c *store.CaseRow) Case {
	out := Case{ID: h.keys.ID(seal.CaseID, c.ID), OpenedAt: c.OpenedAt, App: h.party(c.App).ID, Kind: "former_holder", What: c.What.String()}
	if c.Kind == store.Complaint {
		out.Kind, out.What = "complaint", ""
		out.Request, out.Task, out.View = h.keys.ID(seal.RequestID, int64(c.Request)), h.keys.ID(seal.TaskID, int64(c.Task)), c.View.String()
	}
	out.App = strings.TrimSpace(out.App)
	return out
}
