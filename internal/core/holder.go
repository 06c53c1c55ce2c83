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

// MyNumber is what a holder sees of their own number.
type MyNumber struct {
	Number     huanxin.Number
	Carrier    *huanxin.Party
	Origin     huanxin.TenureOrigin
	StartedAt  time.Time
	StartKnown bool // else the tenure began on StartedAt at the latest
	Open       int  // requests that are under way, as far as it is shown
}

// MyNumber tells a holder how the number came to them.
func (h *Hub) MyNumber(ctx context.Context, who huanxin.Caller) (MyNumber, error) {
	var out MyNumber
	requests, err := h.HolderRequests(ctx, who)
	if err != nil {
		return out, err
	}
	err = h.store.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.Standings([]huanxin.Number{who.Holder.Number})
		if err != nil {
			return err
		}
		s := all[who.Holder.Number].Standing
		if err := who.Holder.Still(s); err != nil {
			return err
		}
		out = MyNumber{Number: who.Holder.Number, Carrier: h.party(s.Carrier), Origin: s.Origin, StartedAt: s.StartedAt, StartKnown: s.Origin != huanxin.OriginUnknown}
		return nil
	})
	for _, r := range requests {
		if r.State == huanxin.RequestSubmitted || r.State == huanxin.RequestInProgress {
			out.Open++
		}
	}
	return out, err
}

// HolderApp is an app as a holder chooses it.
type HolderApp struct {
	App        *huanxin.Party
	Busy       []huanxin.TaskKind // for which a task is open, as far as it is shown
	Wanted     int                // how many want an app that takes no part yet
	WantedByMe bool
}

// HolderApps gives every app that a holder may choose or want: first those that let one number have one account, then by class and name.
func (h *Hub) HolderApps(ctx context.Context, who huanxin.Caller) ([]HolderApp, error) {
	if err := who.MayHold(); err != nil {
		return nil, err
	}
	var out []HolderApp
	at := now()
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		earlier, err := tx.RequestsOfTenure(who.Holder.Tenure)
		if err != nil {
			return err
		}
		open, err := h.openTasks(tx, at, earlier)
		if err != nil {
			return err
		}
		wanted, mine, err := tx.Demand(h.demandOf(who))
		if err != nil {
			return err
		}
		for _, p := range h.Parties() {
			if p.Kind != huanxin.AppParty || p.Disabled {
				continue
			}
			a := HolderApp{App: p, Wanted: wanted[p.No], WantedByMe: mine[p.No]}
			for _, k := range p.Kinds {
				if open[appKind{p.No, k}] {
					a.Busy = append(a.Busy, k)
				}
			}
			out = append(out, a)
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b HolderApp) int {
		if a.App.OnePerNumber != b.App.OnePerNumber {
			if a.App.OnePerNumber {
				return -1
			}
			return 1
		}
		if c := strings.Compare(a.App.Class, b.App.Class); c != 0 {
			return c
		}
		return strings.Compare(a.App.NameEn, b.App.NameEn)
	})
	return out, err
}

func (h *Hub) demandOf(who huanxin.Caller) []byte {
	return h.keys.MAC(binary.BigEndian.AppendUint64([]byte("demand "), uint64(who.Holder.Tenure)))
}

// Want notes that the holder wants an app that takes no part yet. Saying it again changes nothing.
func (h *Hub) Want(ctx context.Context, who huanxin.Caller, app string) error {
	return h.act(ctx, who, "app.want", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		p := h.Party(app)
		if p == nil || p.Kind != huanxin.AppParty || p.Disabled || !p.NotJoined {
			return notFound("app")
		}
		entry.Subject = p.ID
		return tx.InsertDemand(p.No, h.demandOf(who), now)
	})
}

// NewDraft is what a holder chose.
type NewDraft struct {
	Apps  []string // their ids, unless All
	All   bool
	Kinds []huanxin.TaskKind
}

// Draft is a request before it is made (VERIFYING of DOMAIN.md §6), or the request that it became.
type Draft struct {
	ID        string
	Apps      []*huanxin.Party // none: all
	All       bool
	Kinds     []huanxin.TaskKind
	Tasks     int // how many tasks it would have now
	Consented bool
	Expires   time.Time
	Request   string
}

// MakeDraft keeps what a holder chose for half an hour. It is judged as the request will be, but for the proof, which is still to be given.
func (h *Hub) MakeDraft(ctx context.Context, who huanxin.Caller, in NewDraft) (Draft, error) {
	var out Draft
	err := h.act(ctx, who, "draft.make", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		if !in.All && len(in.Apps) == 0 {
			return huanxin.BadField("apps", "required", "choose at least one app")
		}
		d := store.DraftRow{Tenure: who.Holder.Tenure, Apps: in.Apps, Kinds: distinct(in.Kinds), CreatedAt: now}
		if in.All {
			d.Apps = nil
		}
		tasks, err := h.tryOut(tx, who, &d, now)
		if err != nil {
			return err
		}
		if d.ID, err = tx.InsertDraft(d); err != nil {
			return err
		}
		out = h.draft(&d, tasks)
		entry.Subject = out.ID
		entry.Detail = detail(map[string]any{"tasks": tasks})
		return nil
	})
	return out, err
}

// tryOut judges what a draft asks for as if its proof were given, and says how many tasks it would make.
func (h *Hub) tryOut(tx *store.Tx, who huanxin.Caller, d *store.DraftRow, now time.Time) (int, error) {
	intake, err := tx.AskIntake(who.Holder.Number)
	if err != nil {
		return 0, err
	}
	in := NewRequest{Ask: who.Holder.TryOut(len(d.Apps) == 0, d.Kinds, now), Apps: d.Apps}
	tasks, _, err := h.judge(tx, now, intake, &in)
	return len(tasks), err
}

func (h *Hub) draft(d *store.DraftRow, tasks int) Draft {
	out := Draft{ID: h.keys.ID(seal.DraftID, d.ID), All: len(d.Apps) == 0, Kinds: d.Kinds, Tasks: tasks, Consented: d.Consent != "",
		Expires: d.CreatedAt.Add(huanxin.DraftLife)}
	for _, id := range d.Apps {
		if p := h.Party(id); p != nil {
			out.Apps = append(out.Apps, p)
		}
	}
	if d.Request != 0 {
		out.Request = h.keys.ID(seal.RequestID, int64(d.Request))
	}
	return out
}

// ownDraft finds a draft of the holder's tenure that is not too old, or became a request.
func (h *Hub) ownDraft(find func(int64) (store.DraftRow, bool, error), who huanxin.Caller, id string, now time.Time) (store.DraftRow, error) {
	no, ok := h.keys.ParseID(seal.DraftID, id)
	if !ok {
		return store.DraftRow{}, notFound("draft")
	}
	d, found, err := find(no)
	if err == nil && (!found || d.Tenure != who.Holder.Tenure) {
		err = notFound("draft")
	}
	if err == nil && d.Request == 0 && now.Sub(d.CreatedAt) > huanxin.DraftLife {
		err = huanxin.Errorf(huanxin.NotFound, "draft_expired", "what was chosen half an hour ago or more has to be chosen again")
	}
	return d, err
}

// Draft gives a draft of the holder's.
func (h *Hub) Draft(ctx context.Context, who huanxin.Caller, id string) (Draft, error) {
	var out Draft
	if err := who.MayHold(); err != nil {
		return out, err
	}
	err := h.store.Write(ctx, func(tx *store.Tx) error { // it locks the number, as making the request will
		at := now()
		d, err := h.ownDraft(tx.Draft, who, id, at)
		if err != nil {
			return err
		}
		tasks := 0
		if d.Request == 0 {
			if tasks, err = h.tryOut(tx, who, &d, at); err != nil {
				return err
			}
		}
		out = h.draft(&d, tasks)
		return nil
	})
	return out, err
}

// Consent notes that the holder agreed to a draft, and to which version of the text they were shown.
func (h *Hub) Consent(ctx context.Context, who huanxin.Caller, id, text string) (Draft, error) {
	var out Draft
	err := h.act(ctx, who, "draft.consent", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		d, err := h.ownDraft(tx.LockDraft, who, id, now)
		if err != nil {
			return err
		}
		entry.Subject = id
		entry.Detail = detail(map[string]any{"text": text})
		if d.Consent == "" {
			d.Consent, d.ConsentedAt = text, now
			err = tx.SaveDraft(d)
		}
		out = h.draft(&d, 0)
		return err
	})
	return out, err
}

// Submit makes a request of a draft that its holder agreed to and proved to stand behind. The draft is its idempotency key: it becomes one request,
// however often this is called. Without a fresh proof it is refused as ineligible: proof_stale or identity_missing.
func (h *Hub) Submit(ctx context.Context, who huanxin.Caller, id string) (request string, err error) {
	err = h.act(ctx, who, "request.create", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		d, err := h.ownDraft(tx.LockDraft, who, id, now)
		if err != nil {
			return err
		}
		if d.Request != 0 {
			request = h.keys.ID(seal.RequestID, int64(d.Request))
			entry.Subject, entry.Detail = request, detail(map[string]any{"repeated": true})
			return nil
		}
		if d.Consent == "" {
			return huanxin.Errorf(huanxin.Refused, "consent_missing", "the holder has not agreed yet")
		}
		intake, err := tx.AskIntake(who.Holder.Number)
		if err != nil {
			return err
		}
		in := NewRequest{Ask: who.Holder.Ask(len(d.Apps) == 0, d.Kinds, now), Apps: d.Apps}
		made, tasks, err := h.accept(tx, now, intake, &in)
		if err != nil {
			return err
		}
		if made.Tenure != who.Holder.Tenure { // the session was looked at before, another tenure may have begun since
			return who.Holder.Still(intake.Standing)
		}
		d.Request = made.ID
		if err := tx.SaveDraft(d); err != nil {
			return err
		}
		tx.Last(func() error { return tx.InsertTasksLater(tasks, errTaskOpen()) })
		request = h.keys.ID(seal.RequestID, int64(made.ID))
		entry.Subject = request
		entry.Detail = detail(map[string]any{"tasks": len(tasks), "tenure": h.keys.ID(seal.TenureID, int64(made.Tenure)),
			"control": in.Proof.Control.String(), "identity": in.Proof.Identity.String()})
		return nil
	})
	return request, err
}

// HolderRequests gives the requests of the holder's tenure, oldest first.
func (h *Hub) HolderRequests(ctx context.Context, who huanxin.Caller) ([]RequestView, error) {
	var out []RequestView
	if err := who.MayHold(); err != nil {
		return nil, err
	}
	at := now()
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.RequestsOfTenure(who.Holder.Tenure)
		if err != nil {
			return err
		}
		for i := range all {
			view, err := h.holderView(tx, &all[i], at)
			if err != nil {
				return err
			}
			out = append(out, view)
		}
		return nil
	})
	return out, err
}

// HolderRequest gives one request of the holder's tenure.
func (h *Hub) HolderRequest(ctx context.Context, who huanxin.Caller, id string) (RequestView, error) {
	var out RequestView
	if err := who.MayHold(); err != nil {
		return out, err
	}
	at := now()
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		if err := stillHeld(tx, who); err != nil {
			return err
		}
		r, err := h.ownRequest(tx.Request, who, id)
		if err == nil {
			out, err = h.holderView(tx, &r, at)
		}
		return err
	})
	return out, err
}

// stillHeld refuses a holder whose tenure ended since their session was looked at: a page may be watched for minutes.
func stillHeld(tx *store.Tx, who huanxin.Caller) error {
	all, err := tx.Standings([]huanxin.Number{who.Holder.Number})
	if err != nil {
		return err
	}
	return who.Holder.Still(all[who.Holder.Number].Standing)
}

func (h *Hub) holderView(tx *store.Tx, r *huanxin.Request, at time.Time) (RequestView, error) {
	_, views, err := h.views(tx, r, at)
	if err != nil {
		return RequestView{}, err
	}
	complaints, err := tx.ComplaintsOf(r.ID)
	if err != nil {
		return RequestView{}, err
	}
	out := h.requestView(r, views, at)
	for i := range out.Tasks {
		t := &out.Tasks[i]
		t.Complained = slices.ContainsFunc(complaints, func(c store.CaseRow) bool { return h.keys.ID(seal.TaskID, int64(c.Task)) == t.ID })
	}
	return out, nil
}

// Certify makes a certificate of the holder's tenure. What it tells leaves the hub at the holder's demand (rule 5), and that is recorded.
func (h *Hub) Certify(ctx context.Context, who huanxin.Caller, p huanxin.CertificatePrecision) (huanxin.Certificate, error) {
	var out huanxin.Certificate
	err := h.act(ctx, who, "certificate.make", who.MayHold(), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		s, err := tx.LockStanding(who.Holder.Number)
		if err != nil {
			return err
		}
		if err := who.Holder.Still(s); err != nil {
			return err
		}
		out = s.Certify(who.Holder.Number, p, h.calendar.Zone(), now)
		entry.Detail = detail(map[string]any{"whole_number": p.WholeNumber, "since": p.Since.String()})
		return nil
	})
	return out, err
}

// PartyOf gives the carrier that a holder came from.
func (h *Hub) PartyOf(who huanxin.Caller) *huanxin.Party { return h.party(partyOf(who)) }
