package core

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// One transaction of the clock looks at so many requests and moves so many tasks.
const (
	clockBatch = 100
	stepBatch  = 500
)

// The hub itself acts in what follows: nobody asks, so nobody is refused. The loops of internal/due call it under a lease,
// and calling it twice does nothing twice: a step is taken by the state of its task.

// Lease takes or keeps a lease for ttl and reports whether holder has it.
func (h *Hub) Lease(ctx context.Context, name, holder string, ttl time.Duration) (mine bool, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) (err error) {
		mine, err = tx.Lease(name, holder, now(), ttl)
		return err
	})
	return mine, err
}

// DropLease ends a lease, whoever has it. Only who knows that its holder is gone may call it.
func (h *Hub) DropLease(ctx context.Context, name string) error {
	return h.store.Write(ctx, func(tx *store.Tx) error { return tx.DropLease(name) })
}

// Sequence gives what waits for them positions in the number log, the feed log and the audit log, and says how many batches and
// entries got some.
func (h *Hub) Sequence(ctx context.Context, limit int) (n int, err error) {
	var head int64
	err = h.store.Write(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.Sequence(limit); n > 0 && err == nil {
			head, err = tx.FeedHead()
		}
		return err
	})
	if n > 0 && err == nil {
		h.feedMovedTo(head)
		select {
		case h.sequenced <- struct{}{}:
		default:
		}
	}
	return n, err
}

// Unsequenced gives how many batches and entries wait for a position.
func (h *Hub) Unsequenced(ctx context.Context) (n int64, err error) {
	err = h.store.Read(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Unsequenced()
		return err
	})
	return n, err
}

// TakeSteps takes the next step of the clock for tasks whose time has come, at most 500 of them, records each and queues
// what their contacts are told. It says how many tasks it moved; 0: none has a step to take now.
func (h *Hub) TakeSteps(ctx context.Context) (moved int, err error) {
	for more := true; more && moved == 0 && err == nil; {
		moved, more, err = h.takeSteps(ctx)
	}
	if moved > 0 && err == nil {
		h.wake()
	}
	return moved, err
}

// takeSteps looks at the requests whose clocks ring. These may ring too early, so that more may have to be looked at
// where none of a request's tasks had moved; not where somebody else is changing them.
func (h *Hub) takeSteps(ctx context.Context) (moved int, more bool, err error) {
	at := now()
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		moved, more = 0, false
		requests, err := tx.DueClocks(at, clockBatch)
		if err != nil || len(requests) == 0 {
			return err
		}
		rows, done, err := tx.TasksDue(requests, at, stepBatch)
		if err != nil {
			return err
		}
		if moved = len(rows); moved > 0 {
			if err := h.advance(tx, at, rows); err != nil {
				return err
			}
		}
		due, err := tx.WindClocks(done, at)
		more = due < int64(len(done))
		return err
	})
	return moved, more, err
}

// advance takes the next step of tasks, all of which have one to take.
func (h *Hub) advance(tx *store.Tx, at time.Time, rows []store.TaskRow) error {
	told := teller{h: h, tx: tx, now: at, byParty: map[huanxin.PartyNo]*letter{}}
	for i := range rows {
		queued := rows[i].State == huanxin.TaskQueued
		due := rows[i].StepAt
		after, step := rows[i].Advance(h.durations, h.calendar)
		rows[i].Task = after
		if step == huanxin.StepDelivery && !queued {
			continue // it was delivered in time
		}
		if err := told.record(&rows[i], step, due); err != nil {
			return err
		}
	}
	if err := told.send(); err != nil {
		return err
	}
	if err := tx.UpdateTasks(rows); err != nil {
		return err
	}
	return tx.Audit(store.AuditEntry{At: at, Action: "clock.steps", Detail: detail(map[string]any{"tasks": len(rows), "steps": told.steps})})
}

// teller records steps and collects what each party's contact is told of them.
type teller struct {
	h       *Hub
	tx      *store.Tx
	now     time.Time
	steps   int
	byParty map[huanxin.PartyNo]*letter
}

// letter is one message to one party's contact. It holds no number.
type letter struct {
	ID    int64     `json:"-"`
	Type  string    `json:"type"`
	At    time.Time `json:"at"`
	Steps []told    `json:"steps"`
}

type told struct {
	ID    string    `json:"id"`
	Task  string    `json:"task"`
	App   string    `json:"app"`
	Kind  string    `json:"kind"`
	Step  string    `json:"step"`
	DueAt time.Time `json:"due_at"`
}

// record writes a step down and tells whom it concerns: the company's contact, from day 10 on the regulator too.
func (t *teller) record(row *store.TaskRow, step huanxin.Step, due time.Time) error {
	snap := t.h.snapshot()
	app := t.h.party(row.App)
	message, err := t.letterFor(app)
	if err != nil {
		return err
	}
	id, err := t.tx.InsertStep(store.StepRow{Task: row.ID, App: row.App, Step: step, DueAt: due, At: t.now, Message: message})
	if err != nil {
		return err
	}
	t.steps++
	line := told{ID: t.h.keys.ID(seal.StepID, id), Task: t.h.keys.ID(seal.TaskID, int64(row.ID)), App: app.ID,
		Kind: row.Kind.String(), Step: step.String(), DueAt: due}
	t.tell(app, line)
	if step < huanxin.StepRegulator {
		return nil
	}
	for _, p := range snap.parties {
		if p.Kind == huanxin.RegulatorParty && !p.Disabled {
			if _, err := t.letterFor(p); err != nil {
				return err
			}
			t.tell(p, line)
		}
	}
	return nil
}

// letterFor gives the id of the message that a party is about to get; 0: it has no webhook, and steps are only listed.
func (t *teller) letterFor(p *huanxin.Party) (int64, error) {
	if p.Contact.Webhook == "" {
		return 0, nil
	}
	if l := t.byParty[p.No]; l != nil {
		return l.ID, nil
	}
	id, err := t.tx.NextMessage()
	t.byParty[p.No] = &letter{ID: id, Type: "clock", At: t.now}
	return id, err
}

func (t *teller) tell(p *huanxin.Party, line told) {
	if l := t.byParty[p.No]; l != nil {
		l.Steps = append(l.Steps, line)
	}
}

func (t *teller) send() error {
	for party, l := range t.byParty {
		body, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if err := t.tx.InsertMessage(store.Message{ID: l.ID, Party: party, Body: string(body), CreatedAt: t.now}); err != nil {
			return err
		}
	}
	return nil
}

// Requeue puts failed tasks whose back-off is over back into their app's queue, and says how many.
func (h *Hub) Requeue(ctx context.Context) (n int, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) error {
		at := now()
		rows, err := tx.TasksToRetry(at, stepBatch)
		if n = len(rows); err != nil || n == 0 {
			return err
		}
		ids := make([]huanxin.TaskID, n)
		for i := range rows {
			rows[i].Task = rows[i].Requeue()
			ids[i] = rows[i].ID
		}
		if err := tx.UpdateTasks(rows); err != nil {
			return err
		}
		slices.Sort(ids)
		return tx.InsertNotes(huanxin.NoteRequested, ids, at)
	})
	if n > 0 && err == nil {
		h.wake()
	}
	return n, err
}

// Escalation is a recorded step of a task's clock.
type Escalation struct {
	ID     string
	Task   string
	App    *huanxin.Party
	Step   huanxin.Step
	DueAt  time.Time
	At     time.Time
	SentAt time.Time // when the contact's webhook took it; zero: not yet, or there is none
}

// Escalations gives at most limit steps after an id: an app's own, or all of them to the regulator.
func (h *Hub) Escalations(ctx context.Context, who huanxin.Caller, after string, limit int) ([]Escalation, error) {
	app, err := mayReadSteps(who)
	if err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "escalations.list"), err)
		return nil, err
	}
	var from int64
	if after != "" {
		var ok bool
		if from, ok = h.keys.ParseID(seal.StepID, after); !ok {
			return nil, huanxin.BadField("after", "unknown_step", "after is the id of a step that was listed before")
		}
	}
	var rows []store.StepRow
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.Steps(app, from, limit)
		return err
	}); err != nil {
		return nil, err
	}
	out := make([]Escalation, len(rows))
	for i, r := range rows {
		out[i] = Escalation{ID: h.keys.ID(seal.StepID, r.ID), Task: h.keys.ID(seal.TaskID, int64(r.Task)), App: h.party(r.App),
			Step: r.Step, DueAt: r.DueAt, At: r.At, SentAt: r.SentAt}
	}
	return out, nil
}

// mayReadSteps gives whose steps the caller reads; 0: everybody's.
func mayReadSteps(who huanxin.Caller) (huanxin.PartyNo, error) {
	if who.May(huanxin.RegulatorParty, huanxin.ScopeStatisticsRead) == nil {
		return 0, nil
	}
	if err := who.May(huanxin.AppParty, huanxin.ScopeTasksWork); err != nil {
		return 0, err
	}
	return who.Party.No, nil
}

// Delivery is a message to a contact that is to be sent now.
type Delivery struct {
	ID       int64
	Message  string // its name for the receiver: the same each time it is sent
	URL      string
	Party    string
	Body     json.RawMessage
	Attempts int
}

// messageLife is how long a contact's webhook is tried.
const messageLife = 72 * time.Hour

// Deliveries gives at most limit messages that are due. Those to parties without a webhook any more are given up.
func (h *Hub) Deliveries(ctx context.Context, limit int) ([]Delivery, error) {
	var due []store.Message
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		due, err = tx.MessagesDue(now(), limit)
		return err
	}); err != nil {
		return nil, err
	}
	snap := h.snapshot()
	var out []Delivery
	for _, m := range due {
		p := snap.parties[m.Party]
		if p == nil || p.Contact.Webhook == "" || now().Sub(m.CreatedAt) > messageLife {
			if err := h.Delivered(ctx, Delivery{ID: m.ID, Attempts: 1 << 20}, "given up"); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, Delivery{ID: m.ID, Message: h.keys.ID(seal.MessageID, m.ID), URL: p.Contact.Webhook, Party: p.ID,
			Body: json.RawMessage(m.Body), Attempts: m.Attempts})
	}
	return out, nil
}

// Delivered records how sending a message went: failed is empty, or why it is to be tried again, after a second at first,
// doubling to five minutes.
func (h *Hub) Delivered(ctx context.Context, d Delivery, failed string) error {
	return h.store.Write(ctx, func(tx *store.Tx) error {
		switch {
		case failed == "":
			return tx.MessageSent(d.ID, now(), "", time.Time{})
		case d.Attempts >= 1<<20:
			return tx.MessageSent(d.ID, time.Time{}, failed, time.Time{})
		default:
			wait := min(time.Second<<min(d.Attempts, 10), 5*time.Minute)
			return tx.MessageSent(d.ID, time.Time{}, failed, now().Add(wait))
		}
	})
}
