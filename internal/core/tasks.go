package core

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// AppTask is a task as its app sees it.
type AppTask struct {
	ID        string
	App       string
	Kind      huanxin.TaskKind
	Number    huanxin.Number
	TenureID  string
	StartedAt time.Time
	Origin    huanxin.TenureOrigin
	DueAt     time.Time
	Digest    string
	State     huanxin.TaskState
}

// appTask gives a task as its app sees it, while it is open.
func (h *Hub) appTask(t *store.OpenTask, app *huanxin.Party) (AppTask, error) {
	n, err := h.keys.Unseal(t.Sealed, binding(t.Request))
	if err != nil {
		return AppTask{}, err
	}
	out := AppTask{ID: h.keys.ID(seal.TaskID, int64(t.ID)), App: app.ID, Kind: t.Kind, Number: n,
		TenureID: h.keys.ID(seal.TenureID, int64(t.Tenure)), StartedAt: t.StartedAt, Origin: t.Origin, DueAt: t.DueAt, State: t.State}
	out.Digest = out.digest()
	return out, nil
}

// MaxTasks bounds a page of tasks.
const MaxTasks = 1000

// Tasks gives at most limit of the app's open tasks in the given state (0: any) after a task's id, and marks them as
// delivered. Paging by the last id skips nothing: ids are in the order in which tasks were committed.
func (h *Hub) Tasks(ctx context.Context, who huanxin.Caller, state huanxin.TaskState, after string, limit int) ([]AppTask, error) {
	if err := who.May(huanxin.AppParty, huanxin.ScopeTasksWork); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "task.list"), err)
		return nil, err
	}
	var from int64
	if after != "" {
		var ok bool
		if from, ok = h.keys.ParseID(seal.TaskID, after); !ok {
			return nil, huanxin.BadField("after", "unknown_task", "after is the id of a task that was listed before")
		}
	}
	page := store.Page{App: who.Party.No, State: state, After: huanxin.TaskID(from)}
	err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		page.Tasks, err = tx.OpenTasks(page.App, state, page.After, min(max(limit, 1), MaxTasks))
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.deliver(ctx, who.Party, page.Tasks, page.News(), func(tx *store.Tx) error { return tx.DeliverPage(page) })
}

// deliver gives open tasks as the app sees them, and with mark has the queued ones marked as delivered, if there is news. A
// delivery is a fact of its task, not an act that anyone answers for, so it has no audit entry.
func (h *Hub) deliver(ctx context.Context, app *huanxin.Party, tasks []store.OpenTask, news bool, mark func(*store.Tx) error) ([]AppTask, error) {
	out := make([]AppTask, len(tasks))
	for i := range tasks {
		var err error
		if out[i], err = h.appTask(&tasks[i], app); err != nil {
			return nil, err
		}
		if out[i].State == huanxin.TaskQueued {
			out[i].State = huanxin.TaskDelivered
		}
	}
	if !news {
		return out, nil
	}
	return out, h.store.Write(ctx, mark)
}

// Task gives one of the app's tasks, whatever its state, and marks it as delivered.
func (h *Hub) Task(ctx context.Context, who huanxin.Caller, id string) (AppTask, error) {
	all, err := h.TasksByID(ctx, who, []string{id})
	if err == nil && len(all) == 0 {
		err = notFound("task")
	}
	if err != nil {
		return AppTask{}, err
	}
	return all[0], nil
}

// MaxReads bounds how many tasks are read at once by their ids.
const MaxReads = 100

// TasksByID gives those of the app's tasks that there are, in the order of the ids, whatever their states, and marks them as delivered. An
// id of none of the app's tasks is left out.
func (h *Hub) TasksByID(ctx context.Context, who huanxin.Caller, ids []string) ([]AppTask, error) {
	if err := who.May(huanxin.AppParty, huanxin.ScopeTasksWork); err != nil {
		h.recordRefusal(ctx, h.refusalEntry(who, "task.read"), err)
		return nil, err
	}
	if len(ids) > MaxReads {
		return nil, huanxin.BadField("ids", "out_of_range", "at most 100 tasks are read at once")
	}
	var nos []huanxin.TaskID
	for _, id := range ids {
		if no, ok := h.keys.ParseID(seal.TaskID, id); ok {
			nos = append(nos, huanxin.TaskID(no))
		}
	}
	if len(nos) == 0 {
		return nil, nil
	}
	var found map[huanxin.TaskID]store.TaskRow
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.LookUpTasks(nos)
		return err
	}); err != nil {
		return nil, err
	}
	var rows []store.TaskRow
	var open []store.OpenTask
	var queued []huanxin.TaskID
	for _, no := range nos {
		row, ok := found[no]
		if !ok || row.App != who.Party.No {
			continue
		}
		rows, open = append(rows, row), append(open, row.Open())
		if row.State == huanxin.TaskQueued {
			queued = append(queued, no)
		}
	}
	out, err := h.deliver(ctx, who.Party, open, len(queued) > 0, func(tx *store.Tx) error { return tx.Deliver(queued) })
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].EndedAt.IsZero() {
			continue
		}
		out[i].State = huanxin.TaskAborted // an answered task too: the app learns here that it is over
		if rows[i].Cancelled {
			out[i].State = huanxin.TaskCancelled
		}
	}
	return out, nil
}

// TaskAnswer is an app's answer to one task. It sends back the tenure and the digest that the task came with, which binds
// it to what was asked (rule 6).
type TaskAnswer struct {
	Line     int64 // of a line-wise body
	Err      error // why the line is no answer
	Task     string
	TenureID string
	Digest   string
	// SET is the security event token that it came as, whose signature was verified: kept as evidence beside the answer. Empty: it came
	// otherwise.
	SET string
	huanxin.Answer
}

// Answered is what became of an answer.
type Answered struct {
	Late     bool
	Repeated bool
	State    huanxin.TaskState
}

// Answer takes one answer. Repeating it is harmless.
func (h *Hub) Answer(ctx context.Context, who huanxin.Caller, a TaskAnswer) (Answered, error) {
	results, err := h.answer(ctx, who, []TaskAnswer{a})
	if err != nil {
		return Answered{}, err
	}
	return results[0].Answered, results[0].err
}

// answerChunk is how many answers go into one transaction.
const answerChunk = 1024

// Answers takes any number of answers; see ReportEvents for what the receipt says.
func (h *Hub) Answers(ctx context.Context, who huanxin.Caller, lines iter.Seq2[TaskAnswer, error]) (Receipt, error) {
	var r Receipt
	var id int64
	may := who.May(huanxin.AppParty, huanxin.ScopeTasksWork)
	err := h.act(ctx, who, "answers.begin", may, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (err error) {
		id, err = tx.BeginReport(who.Party.No, who.Client, now, false)
		r.ID = h.keys.ID(seal.ReceiptID, id)
		entry.Subject = r.ID
		return err
	})
	if err != nil {
		return r, err
	}
	broken := inChunks(lines, answerChunk, func(chunk []TaskAnswer) error {
		results, err := h.answer(ctx, who, chunk)
		for i, res := range results {
			switch {
			case err != nil:
			case res.err != nil:
				r.reject(chunk[i].Line, h.taskNamed(chunk[i].Task), res.err)
			case res.Repeated:
				r.Duplicates++
			default:
				r.Accepted++
			}
		}
		return err
	})
	err = h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return tx.FinishReport(store.Report{ID: id, Carrier: who.Party.No, FinishedAt: now(), Accepted: r.Accepted,
			Duplicates: r.Duplicates, Rejected: r.RejectedTotal}, false)
	})
	if broken != nil {
		return r, broken
	}
	return r, err
}

// taskNamed gives an id back if it is one of a task. What is none may be anything, a number too, and is not repeated.
func (h *Hub) taskNamed(id string) string {
	if _, ok := h.keys.ParseID(seal.TaskID, id); !ok {
		return ""
	}
	return id
}

type answerResult struct {
	Answered
	err error // a refusal
}

// answer takes answers in one transaction: each is taken or refused by itself.
func (h *Hub) answer(ctx context.Context, who huanxin.Caller, in []TaskAnswer) ([]answerResult, error) {
	var out []answerResult
	may := who.May(huanxin.AppParty, huanxin.ScopeTasksWork)
	err := h.act(ctx, who, "task.answer", may, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		b := &answerBatch{h: h, who: who, now: now, changed: map[huanxin.TaskID]int{}}
		if err := b.load(tx, in); err != nil {
			return err
		}
		out = make([]answerResult, len(in))
		refused := 0
		for i := range in {
			if out[i] = b.take(&in[i]); out[i].err != nil {
				refused++
			}
		}
		if len(in) == 1 {
			if _, ok := h.keys.ParseID(seal.TaskID, in[0].Task); ok { // what someone sends for an id may be a number
				entry.Subject = h.taskNamed(in[0].Task)
			}
			if out[0].err != nil {
				entry.Refused = huanxin.CodeOf(out[0].err)
			}
		}
		entry.Detail = detail(map[string]any{"answers": len(in), "refused": refused})
		return b.save(tx)
	})
	return out, err
}

// answerBatch is the answers of one transaction on their way to their tasks.
type answerBatch struct {
	h       *Hub
	who     huanxin.Caller
	now     time.Time
	tasks   map[huanxin.TaskID]store.TaskRow
	changed map[huanxin.TaskID]int // by how many of the answers
	records []store.AnswerRow
}

func (b *answerBatch) load(tx *store.Tx, in []TaskAnswer) (err error) {
	ids := make([]huanxin.TaskID, 0, len(in))
	for i := range in {
		if no, ok := b.h.keys.ParseID(seal.TaskID, in[i].Task); ok && in[i].Err == nil {
			ids = append(ids, huanxin.TaskID(no))
		}
	}
	b.tasks, err = tx.TasksByID(ids)
	return err
}

func (b *answerBatch) take(in *TaskAnswer) (res answerResult) {
	if in.Err != nil {
		return answerResult{err: in.Err}
	}
	no, ok := b.h.keys.ParseID(seal.TaskID, in.Task)
	row, found := b.tasks[huanxin.TaskID(no)]
	if !ok || !found || row.App != b.who.Party.No {
		return answerResult{err: notFound("task")}
	}
	if err := b.matches(in, &row); err != nil {
		return answerResult{err: err}
	}
	a := in.Answer
	a.At = b.now
	after, effect := row.Take(a, b.h.durations, b.h.calendar)
	res = answerResult{Answered: Answered{Late: after.Late, Repeated: effect == huanxin.Repeated, State: after.State}}
	switch effect {
	case huanxin.Clashes:
		res.err = huanxin.Errorf(huanxin.Conflict, "already_final", "the task has been answered otherwise, and that stands")
		return res
	case huanxin.Repeated:
		return res
	case huanxin.NoEffect:
		if row.SaysAgain(a) {
			res.err = errNoEffect(row.State)
			return res
		}
		a.Void = true
		res.err = errNoEffect(row.State)
	}
	a.Late = after.Late
	row.Task = after
	row.Answers++
	if effect == huanxin.NoEffect {
		row.Outcome, row.Reason = a.Outcome, a.Reason
	}
	b.tasks[row.ID] = row
	b.changed[row.ID]++
	b.records = append(b.records, store.AnswerRow{Task: row.ID, N: row.Answers, Client: b.who.Client, SET: in.SET, Answer: a})
	return res
}

func errNoEffect(s huanxin.TaskState) error {
	return &huanxin.Error{Kind: huanxin.Conflict, Code: "no_effect", Reason: s.String(),
		Detail: "the task was cancelled, or its tenure is over: the answer is recorded and has no effect; restore what was unbound"}
}

// matches refuses an answer that is not to what was asked.
func (b *answerBatch) matches(in *TaskAnswer, row *store.TaskRow) error {
	if err := in.Check(b.who.Party.Domains); err != nil {
		return err
	}
	if strings.ContainsRune(in.Note, 0) { // PostgreSQL keeps no text with a zero byte
		return huanxin.BadField("note", "bad_character", "a note has no zero characters")
	}
	open := row.Open()
	asked, err := b.h.appTask(&open, b.who.Party)
	if err != nil {
		return err
	}
	if in.TenureID != asked.TenureID {
		return &huanxin.Error{Kind: huanxin.Refused, Code: "wrong_tenure", Detail: "tenure_id is not the one that the task came with",
			Fields: []huanxin.FieldError{{Field: "tenure_id", Code: "wrong_tenure", Detail: "read the task again"}}}
	}
	if in.Digest != asked.Digest {
		return &huanxin.Error{Kind: huanxin.Refused, Code: "wrong_digest", Detail: "digest is not the one that the task came with",
			Fields: []huanxin.FieldError{{Field: "digest", Code: "wrong_digest", Detail: "read the task again"}}}
	}
	return nil
}

func (b *answerBatch) save(tx *store.Tx) error {
	var closed, others []store.TaskRow
	for id, times := range b.changed {
		row := b.tasks[id]
		if times == 1 && row.State == huanxin.TaskAnswered && !row.Late && row.Pauses == nil && row.EndedAt.IsZero() {
			closed = append(closed, row) // as nearly always
		} else {
			others = append(others, row)
		}
	}
	if err := tx.CloseTasks(closed); err != nil {
		return err
	}
	if err := tx.UpdateTasks(others); err != nil {
		return err
	}
	return tx.InsertAnswers(b.records)
}
