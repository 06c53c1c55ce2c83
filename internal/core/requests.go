package core

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// NewRequest is what a carrier asks on behalf of its customer.
type NewRequest struct {
	huanxin.Ask
	Apps []string // their ids, unless AllApps
	Once Once
}

// Created is a request as it was accepted.
type Created struct {
	ID       string
	State    huanxin.RequestState
	TenureID string
	DueAt    time.Time
	Tasks    []CreatedTask
}

// CreatedTask is one app's part of a request as it was accepted.
type CreatedTask struct {
	ID   string
	App  string
	Kind huanxin.TaskKind
}

// CreateRequest accepts a request and makes its tasks, or refuses it as a whole (DOMAIN.md §7 rules 11 to 13).
func (h *Hub) CreateRequest(ctx context.Context, who huanxin.Caller, in NewRequest) (Created, error) {
	var out Created
	var made huanxin.Request
	var tasks []huanxin.Task // their ids are known after the commit
	var intake *store.Intake
	may := who.May(huanxin.CarrierParty, huanxin.ScopeRequestsCreate)
	err := h.once(ctx, who, "request.create", may, in.Once,
		func(tx *store.Tx) (err error) {
			intake, err = tx.AskIntake(in.Number)
			return err
		},
		func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (int64, error) {
			in.Carrier = who.Party.No
			var err error
			if made, tasks, err = h.accept(tx, now, intake, &in); err != nil {
				return 0, err
			}
			tx.Last(func() error { return tx.InsertTasksLater(tasks, errTaskOpen()) })
			entry.Subject = h.keys.ID(seal.RequestID, int64(made.ID))
			entry.Detail = detail(map[string]any{"tasks": len(tasks), "tenure": h.keys.ID(seal.TenureID, int64(made.Tenure)),
				"control": in.Proof.Control.String(), "identity": in.Proof.Identity.String()})
			return int64(made.ID), nil
		},
		func(tx *store.Tx, before int64) error {
			tasks = nil
			r, found, err := tx.Request(huanxin.RequestID(before))
			if err != nil || !found {
				return err
			}
			rows, err := tx.TasksOfRequest(r.ID)
			var first []huanxin.Task // those that were made with the request
			for _, row := range rows {
				if row.CreatedAt.Equal(r.SubmittedAt) {
					first = append(first, row.Task)
				}
			}
			out = h.created(r, first)
			return err
		})
	if err == nil && tasks != nil {
		out = h.created(made, tasks)
	}
	return out, err
}

// accept asks the rules and writes the request. Its tasks are the caller's to insert, when all else is written: task ids
// are in the order of commits, so from then until the commit every other request waits.
func (h *Hub) accept(tx *store.Tx, now time.Time, intake *store.Intake, in *NewRequest) (huanxin.Request, []huanxin.Task, error) {
	tasks, standing, err := h.judge(tx, now, intake, in)
	if err != nil {
		return huanxin.Request{}, nil, err
	}
	r := huanxin.Request{Lookup: h.keys.Lookup(in.Number), Tenure: standing.Tenure, StartedAt: standing.StartedAt,
		Origin: standing.Origin, Carrier: in.Carrier, AskedBy: in.Carrier, SubmittedAt: now, Proof: in.Proof}
	if r.ID, err = tx.InsertRequest(intake, r, len(tasks), func(id huanxin.RequestID) []byte { return h.keys.Seal(in.Number, binding(id)) }); err != nil {
		return r, nil, err
	}
	for i := range tasks {
		tasks[i].Request, tasks[i].Tenure = r.ID, r.Tenure
	}
	return r, tasks, nil
}

// judge asks the rules, and says which tasks a request makes. It writes nothing.
func (h *Hub) judge(tx *store.Tx, now time.Time, intake *store.Intake, in *NewRequest) ([]huanxin.Task, huanxin.Standing, error) {
	var none huanxin.Standing
	if in.Kinds = distinct(in.Kinds); len(in.Kinds) == 0 {
		return nil, none, huanxin.BadField("kinds", "required", "a request asks for at least one kind of task")
	}
	in.StartedAt = in.StartedAt.Truncate(time.Microsecond) // as the number log keeps it
	if err := tx.Await(); err != nil {
		return nil, none, err
	}
	standing := intake.Standing
	var earlier []huanxin.Request
	if standing.Held() && standing.Carrier == in.Carrier {
		earlier = intake.Earlier
		if in.Origin == huanxin.OriginUnknown {
			began, err := tx.Reporter(huanxin.EventNo(standing.Tenure))
			if err != nil {
				return nil, none, err
			}
			in.Began = began == in.Carrier
		}
	}
	var accepted []time.Time
	for _, r := range earlier {
		accepted = append(accepted, r.SubmittedAt)
	}
	if err := in.Eligible(standing, accepted, now, h.durations); err != nil {
		return nil, none, err
	}
	tasks, err := h.tasksFor(tx, now, in, earlier)
	return tasks, standing, err
}

func distinct(kinds []huanxin.TaskKind) []huanxin.TaskKind {
	var out []huanxin.TaskKind
	for _, k := range kinds {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// errTaskOpen is the last word on rule 13: where two came at once the database refuses the second.
func errTaskOpen() error {
	return huanxin.Errorf(huanxin.Conflict, "task_open", "a task is open for this number at an app that was asked")
}

// binding ties a sealed number to its request.
func binding(id huanxin.RequestID) []byte {
	return binary.BigEndian.AppendUint64([]byte("request "), uint64(id))
}

// tasksFor makes the tasks of a request that the rules have let pass. Named apps must all be there, serve what is asked
// and have no open task; of all apps those that have one are left out.
func (h *Hub) tasksFor(tx *store.Tx, now time.Time, in *NewRequest, earlier []huanxin.Request) ([]huanxin.Task, error) {
	open, err := h.openTasks(tx, now, earlier)
	if err != nil {
		return nil, err
	}
	apps := h.snapshot().apps
	if !in.AllApps {
		if apps, err = h.named(in.Apps, in.Kinds, open); err != nil {
			return nil, err
		}
	}
	base := h.newTask(now)
	tasks := make([]huanxin.Task, 0, len(apps)*len(in.Kinds))
	for _, app := range apps {
		base.App, base.Release = app.No, h.durations.ReleaseAt(now, h.durations.ReleaseDelayOf(app))
		for _, kind := range in.Kinds {
			if app.Serves(kind) && !open[appKind{app.No, kind}] {
				base.Kind = kind
				tasks = append(tasks, base)
			}
		}
	}
	if len(tasks) == 0 {
		return nil, huanxin.Errorf(huanxin.Conflict, "task_open", "a task is open for this number at every app that serves this")
	}
	return tasks, nil
}

// newTask is a task at the start of its clock.
func (h *Hub) newTask(now time.Time) huanxin.Task {
	s := h.durations.Schedule(h.calendar, now, nil)
	_, first, _ := s.Next(0)
	return huanxin.Task{State: huanxin.TaskQueued, CreatedAt: now, DueAt: s.Due(), StepAt: first}
}

type appKind struct {
	app  huanxin.PartyNo
	kind huanxin.TaskKind
}

// openTasks gives for which apps and kinds a task of the tenure counts as open. It is worked out from released views
// (rule 4); one that the store still holds open counts in any case.
func (h *Hub) openTasks(tx *store.Tx, now time.Time, earlier []huanxin.Request) (map[appKind]bool, error) {
	open := map[appKind]bool{}
	for i := range earlier {
		rows, views, err := h.views(tx, &earlier[i], now)
		if err != nil {
			return nil, err
		}
		for j, v := range views {
			if !v.View.Final() || rows[j].State.Open() {
				open[appKind{v.App, v.Kind}] = true
			}
		}
	}
	return open, nil
}

// named looks up the apps of a request and says of each what is wrong with it.
func (h *Hub) named(ids []string, kinds []huanxin.TaskKind, open map[appKind]bool) ([]*huanxin.Party, error) {
	snap := h.snapshot()
	var bad, busy []huanxin.FieldError
	var apps []*huanxin.Party
	seen := map[string]bool{}
	for i, id := range ids {
		p := snap.byID[id]
		switch {
		case p == nil || p.Kind != huanxin.AppParty || p.Disabled:
			bad = append(bad, huanxin.AppField(i, "unknown_app", "no app with this id takes part"))
			continue
		case p.NotJoined:
			bad = append(bad, huanxin.AppField(i, "not_joined", "the app takes no part yet"))
			continue
		case seen[id]:
			bad = append(bad, huanxin.AppField(i, "duplicate", "the app is named twice"))
			continue
		}
		seen[id] = true
		apps = append(apps, p)
		served := false
		for _, k := range kinds {
			served = served || p.Serves(k)
			if open[appKind{p.No, k}] {
				busy = append(busy, huanxin.AppField(i, "task_open", "a task is open for this number already"))
			}
		}
		if !served {
			bad = append(bad, huanxin.AppField(i, "kind_not_served", "the app serves none of the kinds that are asked"))
		}
	}
	if len(bad) > 0 {
		return nil, &huanxin.Error{Kind: huanxin.Refused, Code: "unknown_app", Detail: "some apps cannot be asked", Fields: bad}
	}
	if len(busy) > 0 {
		return nil, &huanxin.Error{Kind: huanxin.Conflict, Code: "task_open", Detail: "some apps have an open task for this number", Fields: busy}
	}
	return apps, nil
}

func (h *Hub) created(r huanxin.Request, tasks []huanxin.Task) Created {
	out := Created{ID: h.keys.ID(seal.RequestID, int64(r.ID)), State: huanxin.RequestSubmitted,
		TenureID: h.keys.ID(seal.TenureID, int64(r.Tenure)), Tasks: make([]CreatedTask, len(tasks))}
	for i, t := range tasks {
		out.DueAt = t.DueAt
		out.Tasks[i] = CreatedTask{ID: h.keys.ID(seal.TaskID, int64(t.ID)), App: h.party(t.App).ID, Kind: t.Kind}
	}
	if !r.SubmittedAt.IsZero() {
		out.DueAt = h.durations.Schedule(h.calendar, r.SubmittedAt, nil).Due()
	}
	return out
}

// RequestView is what a carrier sees of a request: all of it worked out from released views.
type RequestView struct {
	ID          string
	State       huanxin.RequestState
	TenureID    string
	SubmittedAt time.Time
	DueAt       time.Time
	Tasks       []RequestTask
}

// RequestTask is what is released of one task.
type RequestTask struct {
	ID   string
	App  *huanxin.Party
	Kind huanxin.TaskKind
	View huanxin.View
	Link string
	// Release is when the app's results are first shown.
	Release time.Time
	// Since is since when the task is seen so; Again says that the app can be asked again, Complained that a complaint was made: holders alone are told.
	Since             time.Time
	Again, Complained bool
}

// Request gives a request to the carrier that serves its number.
func (h *Hub) Request(ctx context.Context, who huanxin.Caller, id string) (RequestView, error) {
	var out RequestView
	if err := who.May(huanxin.CarrierParty, huanxin.ScopeRequestsRead); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "request.read"), err)
		return out, err
	}
	at := now() // before the look, so that all that was committed until then is in it
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		r, err := h.ownRequest(tx.Request, who, id)
		if err != nil {
			return err
		}
		_, views, err := h.views(tx, &r, at)
		if err != nil {
			return err
		}
		out = h.requestView(&r, views, at)
		return nil
	})
	return out, err
}

func (h *Hub) refusalEntry(who huanxin.Caller, action string) store.AuditEntry {
	return store.AuditEntry{At: now(), Party: partyOf(who), Client: who.Client, Action: action}
}

// ownRequest finds a request of the caller's; another's is not found.
func (h *Hub) ownRequest(find func(huanxin.RequestID) (huanxin.Request, bool, error), who huanxin.Caller, id string) (huanxin.Request, error) {
	no, ok := h.keys.ParseID(seal.RequestID, id)
	if !ok {
		return huanxin.Request{}, notFound("request")
	}
	r, found, err := find(huanxin.RequestID(no))
	if err == nil && (!found || !owns(who, &r)) {
		err = notFound("request")
	}
	return r, err
}

// owns reports whether a request is one of the caller's: of the holder's tenure, or of the carrier that serves its number.
func owns(who huanxin.Caller, r *huanxin.Request) bool {
	if who.Holder != nil {
		return r.Tenure == who.Holder.Tenure
	}
	return r.Carrier == who.Party.No
}

// mayAsk lets a carrier that may make requests and a holder change requests of their own.
func mayAsk(who huanxin.Caller) error {
	if who.Holder != nil {
		return nil
	}
	return who.May(huanxin.CarrierParty, huanxin.ScopeRequestsCreate)
}

// views gives a request's tasks and what is released of each.
func (h *Hub) views(tx *store.Tx, r *huanxin.Request, now time.Time) ([]store.TaskRow, []huanxin.TaskView, error) {
	rows, err := tx.TasksOfRequest(r.ID)
	if err != nil {
		return nil, nil, err
	}
	answers, err := tx.AnswersOfRequest(r.ID)
	if err != nil {
		return nil, nil, err
	}
	views := make([]huanxin.TaskView, len(rows))
	for i := range rows {
		views[i] = rows[i].ViewAt(answers[rows[i].ID], now, h.durations, h.calendar)
	}
	return rows, views, nil
}

func (h *Hub) requestView(r *huanxin.Request, views []huanxin.TaskView, now time.Time) RequestView {
	out := RequestView{ID: h.keys.ID(seal.RequestID, int64(r.ID)), TenureID: h.keys.ID(seal.TenureID, int64(r.Tenure)),
		SubmittedAt: r.SubmittedAt, DueAt: h.durations.Schedule(h.calendar, r.SubmittedAt, nil).Due()}
	newest := map[appKind]int{}
	for i, v := range views {
		newest[appKind{v.App, v.Kind}] = i
	}
	var count []huanxin.TaskView
	for i, v := range views {
		if newest[appKind{v.App, v.Kind}] != i {
			continue // asked again since
		}
		count = append(count, v)
		out.Tasks = append(out.Tasks, RequestTask{ID: h.keys.ID(seal.TaskID, int64(v.Task)), App: h.party(v.App),
			Kind: v.Kind, View: v.View, Link: v.Link, Release: v.Release, Since: v.Since,
			Again: huanxin.MayAskAgain(r, views, i, now, h.durations) == nil})
	}
	out.State = r.State(count, now)
	return out
}

// FindRequests gives the requests of a number's present holder that the caller may read, oldest first. It is recorded.
func (h *Hub) FindRequests(ctx context.Context, who huanxin.Caller, n huanxin.Number) ([]RequestView, error) {
	var out []RequestView
	may := who.May(huanxin.CarrierParty, huanxin.ScopeRequestsRead)
	err := h.act(ctx, who, "request.find", may, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		out = nil
		standing, err := tx.LockStanding(n)
		if err != nil {
			return err
		}
		for _, lookup := range h.keys.LookupAll(n) {
			found, err := tx.RequestsOfNumber(lookup)
			if err != nil {
				return err
			}
			for i := range found {
				if found[i].Carrier != who.Party.No || !standing.Held() || found[i].Tenure != standing.Tenure {
					continue // another holder's history is not this one's (rule 14)
				}
				_, views, err := h.views(tx, &found[i], now)
				if err != nil {
					return err
				}
				out = append(out, h.requestView(&found[i], views, now))
			}
		}
		entry.Detail = detail(map[string]any{"found": len(out)})
		return nil
	})
	return out, err
}

// CancelRequest takes a request back. What its apps had answered and the holder was not shown yet is never shown.
// Cancelling again is harmless.
func (h *Hub) CancelRequest(ctx context.Context, who huanxin.Caller, id string) (RequestView, error) {
	var out RequestView
	err := h.act(ctx, who, "request.cancel", mayAsk(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		r, err := h.ownRequest(tx.LockRequest, who, id)
		if err != nil {
			return err
		}
		entry.Subject = id
		_, views, err := h.views(tx, &r, now)
		if err != nil {
			return err
		}
		switch out = h.requestView(&r, views, now); out.State {
		case huanxin.RequestCancelled:
			return nil
		case huanxin.RequestAborted, huanxin.RequestSettled, huanxin.RequestSettledWithExceptions:
			return huanxin.Errorf(huanxin.Conflict, "request_ended", "the request has ended and cannot be cancelled")
		}
		if err := tx.CancelRequest(r.ID, now); err != nil {
			return err
		}
		if err := tx.EndTasks([]int64{int64(r.ID)}, huanxin.TaskCancelled, now); err != nil {
			return err
		}
		r.CancelledAt = now
		_, views, err = h.views(tx, &r, now)
		out = h.requestView(&r, views, now)
		return err
	})
	return out, err
}

// AskAgain asks an app once more for what it kept, let expire or left to the holder (API.md). An open task goes back to
// the app; for an ended one a new task with a new clock is made. At most once a day for an app and kind.
func (h *Hub) AskAgain(ctx context.Context, who huanxin.Caller, request, task string, once Once) (CreatedTask, error) {
	var out CreatedTask
	err := h.once(ctx, who, "task.again", mayAsk(who), once, nil,
		func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (int64, error) {
			t, err := h.again(tx, now, who, request, task)
			if err != nil {
				return 0, err
			}
			entry.Subject = task // not before it is known for a task: what someone sends may be a number
			out = h.createdTask(t)
			return int64(t.ID), nil
		},
		func(tx *store.Tx, made int64) error {
			rows, err := tx.TasksByID([]huanxin.TaskID{huanxin.TaskID(made)})
			out = h.createdTask(rows[huanxin.TaskID(made)].Task)
			return err
		})
	return out, err
}

func (h *Hub) createdTask(t huanxin.Task) CreatedTask {
	return CreatedTask{ID: h.keys.ID(seal.TaskID, int64(t.ID)), App: h.party(t.App).ID, Kind: t.Kind}
}

func (h *Hub) again(tx *store.Tx, now time.Time, who huanxin.Caller, request, task string) (huanxin.Task, error) {
	var none huanxin.Task
	r, err := h.lockWithNumber(tx, who, request)
	if err != nil {
		return none, err
	}
	no, ok := h.keys.ParseID(seal.TaskID, task)
	if !ok {
		return none, notFound("task")
	}
	rows, views, err := h.views(tx, &r, now)
	if err != nil {
		return none, err
	}
	at := -1
	for i := range rows {
		if int64(rows[i].ID) == no {
			at = i
		}
	}
	if at < 0 {
		return none, notFound("task")
	}
	if err := huanxin.MayAskAgain(&r, views, at, now, h.durations); err != nil {
		return none, err
	}
	if !views[at].View.Final() {
		return h.askOnce(tx, now, rows[at].ID)
	}
	return h.askAnew(tx, now, &r, &rows[at].Task)
}

// lockWithNumber locks a request of the caller's, and before it its number's standing: until the transaction ends no event
// ends its tenure and no other request of the number is made.
func (h *Hub) lockWithNumber(tx *store.Tx, who huanxin.Caller, id string) (huanxin.Request, error) {
	r, err := h.ownRequest(tx.Request, who, id)
	if err != nil {
		return r, err
	}
	n, err := h.keys.Unseal(r.Sealed, binding(r.ID))
	if err != nil {
		return r, err
	}
	if _, err := tx.LockStanding(n); err != nil {
		return r, err
	}
	return h.ownRequest(tx.LockRequest, who, id)
}

// askOnce puts an open task back into its app's queue. Of one that was answered, which nobody was shown yet, the caller
// learns no difference.
func (h *Hub) askOnce(tx *store.Tx, now time.Time, id huanxin.TaskID) (huanxin.Task, error) {
	rows, err := tx.TasksByID([]huanxin.TaskID{id}) // its app may be answering
	if err != nil {
		return huanxin.Task{}, err
	}
	row := rows[id]
	row.Task = row.Reopen(now, h.durations, h.calendar)
	if err := tx.UpdateTasks([]store.TaskRow{row}); err != nil || !row.State.Open() {
		return row.Task, err
	}
	return row.Task, tx.InsertNotes(huanxin.NoteRequested, []huanxin.TaskID{id}, now)
}

// askAnew makes a new task, with a clock of its own, of one that ended.
func (h *Hub) askAnew(tx *store.Tx, now time.Time, r *huanxin.Request, old *huanxin.Task) (huanxin.Task, error) {
	var none huanxin.Task
	app := h.party(old.App)
	if app.Disabled || !app.Serves(old.Kind) {
		return none, huanxin.Errorf(huanxin.Conflict, "unknown_app", "the app takes no part any more")
	}
	all, err := tx.RequestsOfTenure(r.Tenure)
	if err != nil {
		return none, err
	}
	open, err := h.openTasks(tx, now, all)
	if err != nil {
		return none, err
	}
	if open[appKind{old.App, old.Kind}] {
		return none, huanxin.Errorf(huanxin.Conflict, "task_open", "a task is open for this number at this app already")
	}
	t := h.newTask(now)
	t.Request, t.App, t.Kind, t.Tenure = r.ID, old.App, old.Kind, r.Tenure
	t.Release = h.durations.ReleaseAt(now, h.durations.ReleaseDelayOf(app))
	made := []huanxin.Task{t}
	if err = tx.InsertTasks(made); errors.Is(err, store.ErrTaskOpen) {
		err = errTaskOpen()
	}
	if err != nil {
		return none, err
	}
	return made[0], tx.InsertNotes(huanxin.NoteRequested, []huanxin.TaskID{made[0].ID}, now)
}
