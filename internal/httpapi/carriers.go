package httpapi

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func (a *api) carrierRoutes() []Route {
	return []Route{
		{Method: "POST", Path: "/v1/number-events", Tag: "Carriers", Summary: "Report number events",
			Description: "Any number of lines, each an event. Sending a file again changes nothing. A refused line stops no other.",
			Scope:       huanxin.ScopeNumbersReport, Party: huanxin.CarrierParty,
			Query: []Param{{Name: "complete_until", Type: Time{}, Doc: "Until when the carrier has now told everything. It is taken when no line was refused but for its number's kind; an empty report counts."}},
			Body:  NDJSONOrCSV(eventLine{}), Answer: JSON(eventReceipt{}),
			Codes: []string{"out_of_order", "in_future", "id_conflict", "cooling_too_short", "not_serving", "unknown_event", "too_many_events",
				"number_kind_unsupported", "unknown_kind", "unknown_origin", "not_allowed", "too_early", "too_long", "bad_character",
				"malformed_time", "number_malformed"},
			Handler: a.reportEvents},
		{Method: "POST", Path: "/v1/requests", Tag: "Carriers", Summary: "Ask apps to clear a number for its holder",
			Scope: huanxin.ScopeRequestsCreate, Party: huanxin.CarrierParty, Idempotent: true,
			Body: JSON(newRequest{}), Limit: 1 << 20, Status: http.StatusCreated, Answer: JSON(createdRequest{}),
			Codes: []string{"ineligible", "task_open", "unknown_app", "unknown_kind", "unknown_origin", "unknown_control",
				"unknown_identity", "duplicate", "kind_not_served", "too_many", "malformed_time", "number_malformed"},
			Handler: jsonHandler(http.StatusCreated, a.createRequest)},
		{Method: "POST", Path: "/v1/requests/find", Tag: "Carriers", Summary: "Find the requests of a number",
			Description: "The number stands in the body, never in a URL. Asking is recorded.",
			Scope:       huanxin.ScopeRequestsRead, Party: huanxin.CarrierParty, Body: JSON(numberOnly{}), Answer: JSON(foundRequests{}),
			Codes: []string{"number_malformed"}, Handler: jsonHandler(http.StatusOK, a.findRequests)},
		{Method: "GET", Path: "/v1/requests/{id}", Tag: "Carriers", Summary: "See how a request stands",
			Description: "Everything is worked out from released views: nothing shows before its release time.",
			Scope:       huanxin.ScopeRequestsRead, Party: huanxin.CarrierParty, Answer: JSON(requestView{}),
			Handler: jsonHandler(http.StatusOK, a.readRequest)},
		{Method: "POST", Path: "/v1/requests/{id}/cancel", Tag: "Carriers", Summary: "Take a request back",
			Scope: huanxin.ScopeRequestsCreate, Party: huanxin.CarrierParty, Answer: JSON(requestView{}),
			Codes: []string{"request_ended"}, Handler: jsonHandler(http.StatusOK, a.cancelRequest)},
		{Method: "POST", Path: "/v1/requests/{id}/tasks/{task}/again", Tag: "Carriers", Summary: "Ask an app once more",
			Description: "After a released view other than clean; at most once a day.",
			Scope:       huanxin.ScopeRequestsCreate, Party: huanxin.CarrierParty, Idempotent: true, Status: http.StatusCreated,
			Answer: JSON(createdTask{}), Codes: []string{"invalid", "request_ended", "not_released", "asked_again", "ineligible", "unknown_app"},
			Handler: jsonHandler(http.StatusCreated, a.askAgain)},
	}
}

// eventLine is one number event as a carrier reports it.
type eventLine struct {
	ID       string `json:"id" doc:"The carrier's own, unique per carrier: 1 to 128 printable ASCII characters."`
	Number   Number `json:"number"`
	Kind     string `json:"kind" enum:"activated,suspended,resumed,disconnected,reinstated,transferred,ported,corrected"`
	At       Time   `json:"at" doc:"When it happened."`
	Origin   string `json:"origin,omitempty" enum:"first,reassigned,ported_in,unknown" doc:"Of an activation."`
	Corrects string `json:"corrects,omitempty" doc:"Of a correction: the id of the carrier's event that it voids."`
}

type eventReceipt struct {
	receipt
	Flagged       int64 `json:"flagged" doc:"Accepted events of numbers on segments that the number plan does not know."`
	CompleteUntil *Time `json:"complete_until,omitempty" doc:"Until when the carrier has told everything, as the hub now takes it."`
}

func (a *api) reportEvents(w http.ResponseWriter, r *http.Request) error {
	var completeUntil Time
	if text := r.URL.Query().Get("complete_until"); text != "" {
		if err := completeUntil.UnmarshalText([]byte(text)); err != nil {
			return badField("complete_until", "malformed_time", "must be a time such as 2026-03-01T08:00:00+08:00, percent-encoded")
		}
	}
	body := iter.Seq2[Line[eventLine], error](func(func(Line[eventLine], error) bool) {})
	if !bodyless(r) { // an empty report counts, whatever its content type
		var err error
		if body, err = readLines[eventLine](r); err != nil {
			return err
		}
	}
	got, err := a.hub.ReportEvents(r.Context(), CallerFrom(r.Context()), each(body, eventOf), completeUntil.Time())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, eventReceipt{receiptOf(got), got.Flagged, a.optionalTime(got.CompleteUntil)})
}

func eventOf(l *Line[eventLine]) core.EventLine {
	v := &l.Value
	out := core.EventLine{Line: l.Line, Event: huanxin.Event{ID: v.ID, Number: v.Number.Number, At: v.At.Time(), CorrectsID: v.Corrects}}
	if l.Err != nil {
		out.Err = l.Err
		if huanxin.CheckEventID("id", v.ID) != nil {
			out.Event.ID = "" // it may be anything, so it is not repeated
		}
		return out
	}
	if out.Event.Kind, out.Err = huanxin.ParseEventKind(v.Kind); out.Err == nil && v.Origin != "" {
		out.Event.Origin, out.Err = huanxin.ParseActivationOrigin(v.Origin)
	}
	return out
}

// appsOrAll is "all" or a list of apps' ids.
type appsOrAll struct {
	All bool
	IDs []string
}

// UnmarshalJSONFrom reads "all" or a list.
func (v *appsOrAll) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, &v.IDs)
	}
	var word string
	if err := json.UnmarshalDecode(dec, &word); err != nil {
		return err
	}
	if v.All = word == "all"; !v.All {
		return huanxin.Errorf(huanxin.Invalid, "wrong_type", `must be "all" or a list of apps' ids`)
	}
	return nil
}

// SchemaYAML describes it in the OpenAPI document.
func (appsOrAll) SchemaYAML() string {
	return `{description: Apps by their ids or all of them., oneOf: [{type: string, enum: [all]}, {type: array, items: {type: string}, minItems: 1, maxItems: 10000}]}`
}

type newRequest struct {
	Number Number       `json:"number"`
	Tenure statedTenure `json:"tenure"`
	Apps   appsOrAll    `json:"apps"`
	Kinds  *[]string    `json:"kinds,omitempty" enum:"unbind,stop_contact,clear_label,lift_restriction" doc:"Default: unbind."`
	Proof  statedProof  `json:"proof"`
}

type statedTenure struct {
	StartedAt Time   `json:"started_at" doc:"With origin unknown: the earliest proven day."`
	Origin    string `json:"origin" enum:"first,reassigned,transferred,unknown"`
}

type statedProof struct {
	Control    string `json:"control" enum:"sms_otp,network,sim"`
	Identity   string `json:"identity,omitempty" enum:"carrier_crm,id_card,face,national_eid" doc:"Without one the request is ineligible."`
	VerifiedAt Time   `json:"verified_at" doc:"At most 10 minutes ago."`
}

type createdRequest struct {
	ID       string        `json:"id"`
	State    string        `json:"state"`
	TenureID string        `json:"tenure_id"`
	DueAt    Time          `json:"due_at" doc:"The end of the fifth working day."`
	Tasks    []createdTask `json:"tasks"`
}

type createdTask struct {
	ID   string `json:"id"`
	App  string `json:"app"`
	Kind string `json:"kind" enum:"unbind,stop_contact,clear_label,lift_restriction"`
}

func (a *api) createRequest(ctx context.Context, r *http.Request, in newRequest) (createdRequest, error) {
	ask, err := in.ask()
	if err != nil {
		return createdRequest{}, err
	}
	got, err := a.hub.CreateRequest(ctx, CallerFrom(ctx), core.NewRequest{Ask: ask, Apps: in.Apps.IDs, Once: once(ctx, r)})
	if err != nil {
		return createdRequest{}, err
	}
	return createdRequest{ID: got.ID, State: got.State.String(), TenureID: got.TenureID, DueAt: a.time(got.DueAt),
		Tasks: mapped(got.Tasks, taskOf)}, nil
}

func taskOf(t core.CreatedTask) createdTask { return createdTask{t.ID, t.App, t.Kind.String()} }

// ask reads the words of a request.
func (in *newRequest) ask() (huanxin.Ask, error) {
	ask := huanxin.Ask{Number: in.Number.Number, StartedAt: in.Tenure.StartedAt.Time(), AllApps: in.Apps.All,
		Proof: huanxin.Proof{VerifiedAt: in.Proof.VerifiedAt.Time()}}
	var err error
	if ask.Origin, err = huanxin.ParseTenureOrigin(in.Tenure.Origin); err != nil {
		return ask, under("tenure", err)
	}
	if ask.Proof.Control, err = huanxin.ParseControl(in.Proof.Control); err != nil {
		return ask, under("proof", err)
	}
	if in.Proof.Identity != "" {
		if ask.Proof.Identity, err = huanxin.ParseIdentity(in.Proof.Identity); err != nil {
			return ask, under("proof", err)
		}
	}
	switch {
	case !in.Apps.All && len(in.Apps.IDs) == 0:
		return ask, huanxin.BadField("apps", "required", `name at least one app, or "all"`)
	case len(in.Apps.IDs) > huanxin.MaxApps:
		return ask, huanxin.BadField("apps", "too_many", "at most 10,000 apps")
	}
	ask.Kinds, err = in.kinds()
	return ask, err
}

func (in *newRequest) kinds() ([]huanxin.TaskKind, error) {
	if in.Kinds == nil {
		return []huanxin.TaskKind{huanxin.Unbind}, nil
	}
	if len(*in.Kinds) == 0 {
		return nil, huanxin.BadField("kinds", "required", "name at least one kind, or leave kinds out")
	}
	var out []huanxin.TaskKind
	seen := map[huanxin.TaskKind]bool{}
	for i, w := range *in.Kinds {
		k, err := huanxin.ParseTaskKind(w)
		if err != nil {
			return nil, huanxin.BadField(indexed("kinds", i), "unknown_kind", "must be one of unbind, stop_contact, clear_label, lift_restriction")
		}
		if seen[k] {
			return nil, huanxin.BadField(indexed("kinds", i), "duplicate", "the kind is named twice")
		}
		seen[k] = true
		out = append(out, k)
	}
	return out, nil
}

// under puts the fields of a refusal beneath a member.
func under(member string, err error) error {
	e, ok := err.(*huanxin.Error)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	f := e.Fields[0]
	return huanxin.BadField(joined(member, f.Field), f.Code, f.Detail)
}

type requestView struct {
	ID       string     `json:"id"`
	State    string     `json:"state" enum:"SUBMITTED,IN_PROGRESS,SETTLED,SETTLED_WITH_EXCEPTIONS,CANCELLED,ABORTED"`
	TenureID string     `json:"tenure_id"`
	DueAt    Time       `json:"due_at"`
	Tasks    []taskView `json:"tasks"`
}

type taskView struct {
	ID   string `json:"id"`
	App  string `json:"app"`
	Kind string `json:"kind" enum:"unbind,stop_contact,clear_label,lift_restriction"`
	View string `json:"view" enum:"processing,clean,kept,action_required,restricted,overdue,expired,cancelled"`
	Text string `json:"text" doc:"For the holder, in Chinese or by Accept-Language in English."`
	Link string `json:"link,omitempty" doc:"With action_required: where the holder goes."`
}

func (a *api) readRequest(ctx context.Context, r *http.Request, _ None) (requestView, error) {
	got, err := a.hub.Request(ctx, CallerFrom(ctx), r.PathValue("id"))
	return a.requestView(r, got, err)
}

func (a *api) cancelRequest(ctx context.Context, r *http.Request, _ None) (requestView, error) {
	got, err := a.hub.CancelRequest(ctx, CallerFrom(ctx), r.PathValue("id"))
	return a.requestView(r, got, err)
}

func (a *api) requestView(r *http.Request, v core.RequestView, err error) (requestView, error) {
	if err != nil {
		return requestView{}, err
	}
	english := wantsEnglish(r.Header.Get("Accept-Language"))
	out := requestView{ID: v.ID, State: v.State.String(), TenureID: v.TenureID, DueAt: a.time(v.DueAt), Tasks: make([]taskView, len(v.Tasks))}
	for i, t := range v.Tasks {
		out.Tasks[i] = taskView{ID: t.ID, App: t.App.ID, Kind: t.Kind.String(), View: t.View.String(), Text: t.View.Text(english), Link: t.Link}
	}
	return out, nil
}

// wantsEnglish reads Accept-Language (RFC 9110 §12.5.4): English if it is wanted more than Chinese.
func wantsEnglish(header string) bool {
	best := map[string]float64{}
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				q = 0
			}
		}
		lang, _, _ := strings.Cut(strings.ToLower(tag), "-")
		best[lang] = max(best[lang], q)
	}
	return best["en"] > best["zh"]
}

func (a *api) askAgain(ctx context.Context, r *http.Request, _ None) (createdTask, error) {
	got, err := a.hub.AskAgain(ctx, CallerFrom(ctx), r.PathValue("id"), r.PathValue("task"), once(ctx, r))
	if err != nil {
		return createdTask{}, err
	}
	return taskOf(got), nil
}

type numberOnly struct {
	Number Number `json:"number"`
}

type foundRequests struct {
	Requests []requestView `json:"requests" doc:"Oldest first."`
}

func (a *api) findRequests(ctx context.Context, r *http.Request, in numberOnly) (foundRequests, error) {
	got, err := a.hub.FindRequests(ctx, CallerFrom(ctx), in.Number.Number)
	if err != nil {
		return foundRequests{}, err
	}
	out := foundRequests{Requests: []requestView{}}
	for _, v := range got {
		view, err := a.requestView(r, v, nil)
		if err != nil {
			return out, err
		}
		out.Requests = append(out.Requests, view)
	}
	return out, nil
}
