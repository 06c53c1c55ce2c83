package appsim

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Work polls the hub and works the app's tasks by its behaviour until ctx is done. Nothing that the hub does ends it: it waits
// and goes on. What it decided and did is in the database before the hub is told, so a crash repeats an answer, never an act.
func (a *App) Work(ctx context.Context, hub *client.Client, pace Pace) {
	pace = pace.withDefaults()
	if a.Spec.Behaviour == catalogue.Dead || a.Spec.Behaviour == catalogue.Nobody {
		<-ctx.Done()
		return
	}
	w := &worker{App: a, hub: hub, pace: pace, page: pageSize, next: time.Now()} // what a former process left may wait
	failures := 0
	pause := time.Duration(part("spread", a.Spec.ID) * float64(pace.Poll)) // 239 apps do not poll at once
	for poll := time.Now().Add(pause); ; {
		if !sleep(ctx, time.Until(earlier(poll, w.next))) {
			return
		}
		polling := !time.Now().Before(poll)
		err := w.round(ctx, polling)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			pause = backoff(failures, err)
			pace.Log.Debug("the hub could not be worked with", "app", a.Spec.ID, "error", err, "again_in", pause)
			w.next, poll = time.Time{}, time.Now().Add(pause)
		case polling:
			failures = 0
			if pause = pace.Idle; w.found > 0 {
				pause = pace.Poll
			}
			poll = time.Now().Add(time.Duration((0.9 + 0.2*rand.Float64()) * float64(pause)))
		}
	}
}

const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 4 * time.Second
)

// backoff is how long to wait after so many failures in a row, spread so that apps do not come back all at once.
func backoff(failures int, err error) time.Duration {
	d := min(firstBackoff<<min(failures-1, 10), lastBackoff)
	var e *huanxin.Error
	if errors.As(err, &e) {
		d = max(d, e.RetryAfter)
	}
	return d + time.Duration(rand.Float64()*float64(d)/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// earlier gives the earlier of two times; the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// worker is an app at work.
type worker struct {
	*App
	hub   *client.Client
	pace  Pace
	next  time.Time // when there is something to do that needs no poll; zero: nothing is known of
	page  int       // tasks or answers in one call
	found int       // tasks that the last poll listed
	quiet bool      // nothing is open here that the last poll did not find, and it found nothing

	babbled int // nonsense that was sent
}

// now is the time as exactly as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// round polls, if it is time, works what is due here, and answers. The database is asked only if there may be something.
func (w *worker) round(ctx context.Context, poll bool) error {
	var listed []client.Task
	if poll {
		var err error
		if listed, err = w.list(ctx); err != nil {
			return err
		}
		w.found = len(listed)
		if err := w.take(ctx, listed); err != nil {
			return err
		}
		if w.Spec.Behaviour == catalogue.Nonsense {
			if err := w.babble(ctx, listed); err != nil {
				return err
			}
		}
	}
	if len(listed) == 0 && (w.next.IsZero() || time.Now().Before(w.next)) {
		return nil
	}
	if err := w.workDue(ctx); err != nil {
		return err
	}
	if err := w.send(ctx); err != nil {
		return err
	}
	return w.plan(ctx)
}

// plan works out when there is something to do.
func (w *worker) plan(ctx context.Context) error {
	db, err := w.App.open(ctx)
	if err != nil {
		return err
	}
	var next sql.NullInt64
	err = db.QueryRowContext(ctx, `SELECT min(next_at) FROM tasks WHERE next_at IS NOT NULL`).Scan(&next)
	w.next = instant(next)
	return err
}

const pageSize = 500

// list gives all open tasks.
func (w *worker) list(ctx context.Context) (all []client.Task, err error) {
	for after := ""; ; {
		var page []client.Task
		err := w.call(ctx, func(ctx context.Context) (err error) {
			page, after, err = w.hub.Tasks(ctx, after, w.page)
			return err
		})
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < w.page {
			return all, nil
		}
	}
}

func (w *worker) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.pace.Timeout)
	defer cancel()
	return f(ctx)
}

// take compares what the hub lists with what is known here: new tasks are written down, answers that are asked for again are
// sent again, and what is open only here is read again, to learn whether it was taken back.
func (w *worker) take(ctx context.Context, listed []client.Task) error {
	if len(listed) == 0 && w.quiet {
		return nil
	}
	here, err := w.known(ctx, listed)
	if err != nil {
		return err
	}
	for i := range listed {
		t := here[listed[i].ID]
		delete(here, listed[i].ID)
		switch {
		case t == nil:
			err = w.see(ctx, &listed[i])
		case listed[i].State == huanxin.TaskDelivered.String() && !t.sentAt.IsZero() && t.phase != closed:
			err = w.askedAgain(ctx, t, now(), w.pace.looks(t.id, huanxin.ActionRequired, now()))
		}
		if err != nil {
			return err
		}
	}
	for _, t := range here {
		if err := w.missing(ctx, t); err != nil {
			return err
		}
	}
	w.quiet = len(listed) == 0 && len(here) == 0
	return nil
}

// known gives the tasks here that are listed or not ended, by id.
func (w *worker) known(ctx context.Context, listed []client.Task) (map[string]*task, error) {
	ids := make([]string, len(listed))
	for i := range listed {
		ids[i] = listed[i].ID
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	found, err := w.tasks(ctx, `phase IN ('waiting', 'standing') OR id IN (SELECT value FROM json_each(?))`, string(list))
	here := make(map[string]*task, len(found))
	for _, t := range found {
		here[t.id] = t
	}
	return here, err
}

// see writes down a new task. At a high-value app the number stops at once being a key of what will be unbound.
func (w *worker) see(ctx context.Context, in *client.Task) error {
	at := now()
	ready := w.pace.ready(w.Spec.Behaviour, in.ID, at, in.DueAt)
	t, err := w.add(ctx, in, at, ready)
	if err != nil || !w.highValue || t.kind != huanxin.Unbind || ready.IsZero() {
		return err
	}
	_, final, err := w.consider(ctx, t, at)
	if err == nil && final.After(ready) {
		err = w.wake(ctx, t, final)
	}
	return err
}

// missing looks at a task that the hub no longer lists.
func (w *worker) missing(ctx context.Context, t *task) error {
	again, why, err := w.readAgain(ctx, t)
	switch {
	case err != nil:
		return err
	case why != "":
		return w.App.close(ctx, t, why, now())
	case again.State == huanxin.TaskExpired.String() && t.next.IsZero():
		return w.App.close(ctx, t, again.State, now())
	}
	return nil // open after all, or expired: an answer after that is taken, late
}

// readAgain reads a task again, and says why nothing may be done for it: cancelled, aborted, stale, answered by others.
func (w *worker) readAgain(ctx context.Context, t *task) (again client.Task, why string, err error) {
	err = w.call(ctx, func(ctx context.Context) (err error) {
		again, err = w.hub.Task(ctx, t.id)
		return err
	})
	state, _ := huanxin.ParseTaskState(again.State)
	switch {
	case huanxin.KindOf(err) == huanxin.NotFound:
		return again, "not_found", nil
	case err != nil:
		return again, "", err
	case again.Tenure.ID != t.tenure || again.Digest != t.digest:
		return again, "stale", nil
	case !state.Open() && state != huanxin.TaskExpired:
		return again, again.State, nil
	}
	return again, "", nil
}

// workDue works what is to be worked now.
func (w *worker) workDue(ctx context.Context) error {
	due, err := w.tasks(ctx, `next_at <= ?`, now().UnixMicro())
	if err != nil {
		return err
	}
	for _, t := range due {
		if t.phase == standing {
			if err := w.resolve(ctx, t, &w.pace, now()); err != nil {
				return err
			}
		}
		switch _, marked := markTables[t.kind]; {
		case t.kind == huanxin.Unbind:
			err = w.workBindings(ctx, t)
		case marked:
			err = w.workMarks(ctx, t)
		default:
			err = w.settle(ctx, t, huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}, now(), time.Time{})
		}
		if err != nil {
			return fmt.Errorf("task %s: %w", t.id, err)
		}
	}
	return nil
}

// workBindings decides, waits until every unbinding is final, reads the task again, acts, and writes down the one answer.
func (w *worker) workBindings(ctx context.Context, t *task) error {
	bs, final, err := w.consider(ctx, t, now())
	if err != nil {
		return err
	}
	if !final.IsZero() {
		return w.wake(ctx, t, final)
	}
	var verdicts []huanxin.Verdict
	var todo []*binding
	for _, b := range bs {
		verdicts = append(verdicts, b.Verdict)
		if b.Outcome == huanxin.Unbound && !b.acted {
			todo = append(todo, b)
		}
	}
	if len(todo) > 0 {
		if gone, err := w.gone(ctx, t); gone || err != nil {
			return err
		}
	}
	for _, b := range todo {
		if err := w.unbind(ctx, t, b, now()); err != nil {
			return err
		}
	}
	var v huanxin.Verdict
	if v.Outcome, v.Reason = huanxin.Combine(verdicts); len(bs) == 0 {
		cleared, err := w.cleared(ctx, t)
		if err != nil {
			return err
		}
		if cleared {
			v.Reason = huanxin.AlreadyCleared
		}
	}
	return w.settle(ctx, t, v, now(), w.nextLook(t, bs))
}

// gone reads the task again right before acting, and ends it here if nothing may be done any more.
func (w *worker) gone(ctx context.Context, t *task) (bool, error) {
	_, why, err := w.readAgain(ctx, t)
	if err != nil || why == "" {
		return false, err
	}
	return true, w.App.close(ctx, t, why, now())
}

// nextLook is when people look at what a task waits for; zero if it waits for nothing, or for somebody who was silent.
func (w *worker) nextLook(t *task, bs []*binding) (next time.Time) {
	for _, b := range bs {
		if b.Outcome == huanxin.InReview && !b.reviewed || b.Outcome == huanxin.ActionRequired && !b.asked {
			next = earlier(next, w.pace.looks(t.id, b.Outcome, now()))
		}
	}
	return next
}

func (w *worker) workMarks(ctx context.Context, t *task) error {
	m, err := w.marks(ctx, t)
	if err != nil {
		return err
	}
	v := m.verdict(t)
	var next time.Time
	switch v.Outcome {
	case huanxin.Unbound:
		if gone, err := w.gone(ctx, t); gone || err != nil {
			return err
		}
		if err := w.remove(ctx, t, m.ids, now()); err != nil {
			return err
		}
	case huanxin.InReview:
		next = w.pace.looks(t.id, v.Outcome, now())
	}
	return w.settle(ctx, t, v, now(), next)
}

// send gives the hub the answers that it does not have yet, in batches.
func (w *worker) send(ctx context.Context) error {
	for {
		unsent, err := w.tasks(ctx, `outcome IS NOT NULL AND sent_at IS NULL`)
		if err != nil || len(unsent) == 0 {
			return err
		}
		if err := w.sendBatch(ctx, unsent[:min(len(unsent), w.page)]); err != nil {
			return err
		}
	}
}

func (w *worker) sendBatch(ctx context.Context, batch []*task) error {
	answers := make([]client.Answer, len(batch))
	for i, t := range batch {
		answers[i] = w.answerTo(t)
	}
	var receipt client.Receipt
	err := w.call(ctx, func(ctx context.Context) (err error) {
		receipt, err = w.hub.Answers(ctx, answers)
		return err
	})
	if err != nil {
		return err
	}
	refused := make(map[int]string, len(receipt.Rejected))
	for _, r := range receipt.Rejected {
		refused[int(r.Line)-1] = r.Code
	}
	for i, t := range batch {
		if err := w.taken(ctx, t, refused[i], now()); err != nil {
			return err
		}
		if refused[i] != "" && t.phase != closed {
			if err := w.App.close(ctx, t, refused[i], now()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *App) answerTo(t *task) client.Answer {
	out := client.Answer{TaskID: t.id, Outcome: t.outcome, Reason: t.reason, TenureID: t.tenure, Digest: t.digest}
	if t.outcome == huanxin.ActionRequired.String() {
		out.Link = "https://" + a.Spec.Domain() + "/confirm"
	}
	return out
}
