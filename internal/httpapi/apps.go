package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func (a *api) appRoutes() []Route {
	answerCodes := []string{"already_final", "no_effect", "wrong_digest", "wrong_tenure", "unknown_outcome", "unknown_reason",
		"link_not_registered", "bad_link", "not_allowed", "too_long", "not_found"}
	return []Route{
		{Method: "GET", Path: "/v1/tasks", Tag: "Apps", Summary: "List open tasks",
			Description: "Listing delivers. Paging with after skips nothing: tasks are listed in the order in which they came to be. " +
				"With ids those tasks are read again instead, right before acting: in the order of the ids, whatever their states; what is no task of the app's is left out.",
			Scope: huanxin.ScopeTasksWork, Party: huanxin.AppParty,
			Query: []Param{
				{Name: "state", Doc: "Default: open, which is all of the others.", Enum: []string{"open", "queued", "delivered", "in_review", "action_required", "failed", "overdue", "escalated"}},
				{Name: "after", Doc: "The after of the page before."},
				{Name: "limit", Type: 0, Doc: "1 to 1,000, by default 100."},
				{Name: "ids", Doc: "Up to 100 ids with commas between them, and then none of the other parameters."}},
			Answer: JSON(taskPage{}), Codes: []string{"invalid", "invalid_utf8", "unknown_state", "unknown_task", "out_of_range"},
			Handler: jsonHandler(http.StatusOK, a.listTasks)},
		{Method: "GET", Path: "/v1/tasks/{id}", Tag: "Apps", Summary: "Read a task again, right before acting",
			Scope: huanxin.ScopeTasksWork, Party: huanxin.AppParty, Answer: JSON(task{}),
			Handler: jsonHandler(http.StatusOK, a.readTask)},
		{Method: "PUT", Path: "/v1/tasks/{id}/answer", Tag: "Apps", Summary: "Answer a task",
			Description: "Repeating an answer is harmless. After expiry it is recorded and marked late.",
			Scope:       huanxin.ScopeTasksWork, Party: huanxin.AppParty, Body: JSON(answer{}), Answer: JSON(taken{}),
			Codes: answerCodes, Handler: jsonHandler(http.StatusOK, a.answerTask)},
		{Method: "POST", Path: "/v1/answers", Tag: "Apps", Summary: "Answer many tasks",
			Description: "Any number of lines. What the single answer refuses with 409 and 422 is a refused line here.",
			Scope:       huanxin.ScopeTasksWork, Party: huanxin.AppParty, Body: NDJSON(answerLine{}), Answer: JSON(receipt{}),
			Codes: answerCodes, Handler: a.answerTasks},
		{Method: "GET", Path: "/v1/apps/self", Tag: "Apps", Summary: "The app as the registry knows it",
			Scope: huanxin.ScopeTasksWork, Party: huanxin.AppParty, Answer: JSON(appSelf{}),
			Handler: jsonHandler(http.StatusOK, a.self)},
		{Method: "GET", Path: "/v1/escalations", Tag: "Apps", Summary: "List the steps of the clock that were taken",
			Description: "An app's own with the scope tasks.work; all of them for a regulator with statistics.read.",
			Scope:       anyScope,
			Query:       []Param{{Name: "after", Doc: "The after of the page before."}, {Name: "limit", Type: 0, Doc: "1 to 1,000, by default 100."}},
			Answer:      JSON(escalationPage{}), Codes: []string{"invalid", "invalid_utf8", "unknown_step", "out_of_range"},
			Handler: jsonHandler(http.StatusOK, a.escalations)},
	}
}

// task is a task as its app sees it.
type task struct {
	ID     string `json:"id"`
	App    string `json:"app"`
	Kind   string `json:"kind" enum:"unbind,stop_contact,clear_label,lift_restriction"`
	Number Number `json:"number"`
	Tenure tenure `json:"tenure"`
	DueAt  Time   `json:"due_at"`
	Digest string `json:"digest" doc:"SHA-256 over what is asked, in hex. An answer sends it back as it is."`
	State  string `json:"state" enum:"queued,delivered,in_review,action_required,failed,overdue,escalated,expired,answered,cancelled,aborted"`
}

type tenure struct {
	ID        string `json:"id"`
	StartedAt Time   `json:"started_at" doc:"With origin unknown: the earliest proven day."`
	Origin    string `json:"origin" enum:"first,reassigned,transferred,unknown"`
}

type taskPage struct {
	Tasks []task `json:"tasks"`
	After string `json:"after,omitempty" doc:"Goes into the next question."`
}

func (a *api) task(t core.AppTask) task {
	return task{ID: t.ID, App: t.App, Kind: t.Kind.String(), Number: Number{t.Number},
		Tenure: tenure{ID: t.TenureID, StartedAt: a.time(t.StartedAt), Origin: t.Origin.String()},
		DueAt:  a.time(t.DueAt), Digest: t.Digest, State: t.State.String()}
}

func (a *api) listTasks(ctx context.Context, r *http.Request, _ None) (taskPage, error) {
	q := r.URL.Query()
	if q.Has("ids") {
		if len(q) > 1 {
			return taskPage{}, huanxin.BadField("ids", "invalid", "goes with no other parameter")
		}
		got, err := a.hub.TasksByID(ctx, CallerFrom(ctx), strings.Split(q.Get("ids"), ","))
		return taskPage{Tasks: mapped(got, a.task)}, err
	}
	limit, err := limitOf(r, core.MaxTasks)
	if err != nil {
		return taskPage{}, err
	}
	var state huanxin.TaskState // 0: any open one
	if w := q.Get("state"); w != "" && w != "open" {
		if state, err = huanxin.ParseTaskState(w); err != nil || !state.Open() {
			return taskPage{}, huanxin.BadField("state", "unknown_state", "must be open or one of the open states; a task that is not open any more is read by its id")
		}
	}
	after := q.Get("after")
	got, err := a.hub.Tasks(ctx, CallerFrom(ctx), state, after, limit)
	if err != nil {
		return taskPage{}, err
	}
	page := taskPage{Tasks: mapped(got, a.task), After: after}
	if n := len(got); n > 0 {
		page.After = got[n-1].ID
	}
	return page, nil
}

func (a *api) readTask(ctx context.Context, r *http.Request, _ None) (task, error) {
	got, err := a.hub.Task(ctx, CallerFrom(ctx), r.PathValue("id"))
	if err != nil {
		return task{}, err
	}
	return a.task(got), nil
}

type answer struct {
	Outcome  string `json:"outcome" enum:"unbound,not_bound,kept,in_review,action_required,failed"`
	Reason   string `json:"reason" doc:"One of the reasons of the outcome; there is no other."`
	TenureID string `json:"tenure_id" doc:"As the task gave it."`
	Digest   string `json:"digest" doc:"As the task gave it."`
	Link     string `json:"link,omitempty" doc:"With action_required: https, on a domain that the app registered."`
	Note     string `json:"note,omitempty" doc:"For the operator; never reaches the holder. At most 2,000 bytes."`
}

type answerLine struct {
	TaskID string `json:"task_id"`
	answer
}

type taken struct {
	State string `json:"state"`
	Late  bool   `json:"late,omitzero" doc:"It came after the task had expired."`
}

func (in *answer) read(task string) (core.TaskAnswer, error) {
	out := core.TaskAnswer{Task: task, TenureID: in.TenureID, Digest: in.Digest, Answer: huanxin.Answer{Link: in.Link, Note: in.Note}}
	var err error
	if out.Outcome, err = huanxin.ParseOutcome(in.Outcome); err != nil {
		return out, unknownPair("outcome", err)
	}
	if out.Reason, err = huanxin.ParseReason(in.Reason); err != nil {
		return out, unknownPair("reason", err)
	}
	return out, nil
}

// unknownPair makes a refusal by the rules of a word that is no outcome or reason (API.md: 422).
func unknownPair(field string, err error) error {
	text := field + " is not one of the contract"
	if e, ok := err.(*huanxin.Error); ok && len(e.Fields) > 0 {
		text = e.Fields[0].Detail
	}
	return &huanxin.Error{Kind: huanxin.Refused, Code: "unknown_" + field, Detail: field + " " + text,
		Fields: []huanxin.FieldError{{Field: field, Code: "unknown_" + field, Detail: text}}}
}

func (a *api) answerTask(ctx context.Context, r *http.Request, in answer) (taken, error) {
	read, err := in.read(r.PathValue("id"))
	if err != nil {
		return taken{}, err
	}
	got, err := a.hub.Answer(ctx, CallerFrom(ctx), read)
	if err != nil {
		return taken{}, err
	}
	return taken{State: got.State.String(), Late: got.Late}, nil
}

func (a *api) answerTasks(w http.ResponseWriter, r *http.Request) error {
	body, err := readLines[answerLine](r)
	if err != nil {
		return err
	}
	got, err := a.hub.Answers(r.Context(), CallerFrom(r.Context()), each(body, func(l *Line[answerLine]) core.TaskAnswer {
		out, err := l.Value.read(l.Value.TaskID)
		if out.Line, out.Err = l.Line, err; l.Err != nil {
			out.Err = l.Err
		}
		return out
	}))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, receiptOf(got))
}

type appSelf struct {
	ID           string      `json:"id"`
	NameZh       string      `json:"name_zh"`
	NameEn       string      `json:"name_en"`
	Class        string      `json:"class"`
	HighValue    bool        `json:"high_value"`
	Kinds        []string    `json:"kinds"`
	Domains      []string    `json:"domains"`
	Hold         bool        `json:"hold" doc:"The kill switch, which the hub's operator sets: while it is set, the app does nothing to accounts."`
	ReleaseAfter int64       `json:"release_after" doc:"Seconds from the first slot after submission until results are first shown."`
	Streams      []appStream `json:"streams" doc:"Event streams of the client."`
}

type appStream struct {
	ID     string `json:"id"`
	Method string `json:"method" enum:"urn:ietf:rfc:8935,urn:ietf:rfc:8936" doc:"Push or poll."`
	Status string `json:"status" enum:"enabled,paused,disabled"`
}

func (a *api) self(ctx context.Context, _ *http.Request, _ None) (appSelf, error) {
	p := CallerFrom(ctx).Party
	streams, err := a.hub.StreamsOfSelf(ctx, CallerFrom(ctx))
	if err != nil {
		return appSelf{}, err
	}
	return appSelf{Streams: mapped(streams, func(s core.Stream) appStream { return appStream{s.ID, s.Method.String(), s.Status.String()} }),
		ID: p.ID, NameZh: p.NameZh, NameEn: p.NameEn, Class: p.Class, HighValue: p.HighValue(),
		Kinds: mapped(p.Kinds, huanxin.TaskKind.String), Domains: append([]string{}, p.Domains...),
		Hold: p.Hold, ReleaseAfter: int64(a.hub.Durations().ReleaseDelayOf(p).Seconds())}, nil
}

type escalation struct {
	ID     string `json:"id"`
	Task   string `json:"task"`
	App    string `json:"app"`
	Step   string `json:"step" enum:"delivery,warning,overdue,escalated_company,escalated_regulator,expired"`
	DueAt  Time   `json:"due_at" doc:"When the step came due."`
	At     Time   `json:"at" doc:"When it was taken."`
	SentAt *Time  `json:"sent_at,omitempty" doc:"When the contact's webhook took the message about it."`
}

type escalationPage struct {
	Escalations []escalation `json:"escalations"`
	After       string       `json:"after,omitempty"`
}

func (a *api) escalations(ctx context.Context, r *http.Request, _ None) (escalationPage, error) {
	limit, err := limitOf(r, core.MaxTasks)
	if err != nil {
		return escalationPage{}, err
	}
	after := r.URL.Query().Get("after")
	got, err := a.hub.Escalations(ctx, CallerFrom(ctx), after, limit)
	if err != nil {
		return escalationPage{}, err
	}
	page := escalationPage{After: after, Escalations: mapped(got, func(e core.Escalation) escalation {
		return escalation{ID: e.ID, Task: e.Task, App: e.App.ID, Step: e.Step.String(), DueAt: a.time(e.DueAt), At: a.time(e.At),
			SentAt: a.optionalTime(e.SentAt)}
	})}
	if n := len(got); n > 0 {
		page.After = got[n-1].ID
	}
	return page, nil
}
