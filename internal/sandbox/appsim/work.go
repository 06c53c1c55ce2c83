package appsim

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Work works the app's tasks by its behaviour until ctx is done: those that its stream tells of, and once, when the stream is made, those
// that its list has from before. Nothing that the hub does ends it: it waits and goes on. What it heard, decided and did is in the
// database before the hub is told, so a crash repeats an answer, never an act.
func (a *App) Work(ctx context.Context, hub *client.Client, pace Pace) {
	pace = pace.withDefaults()
	w := newWorker(a, hub, pace)
	switch a.Spec.Behaviour {
	case catalogue.Dead: // it has a stream that nobody polls
		for failures := 1; ; failures++ {
			if _, err := w.subscribe(ctx); err == nil || !sleep(ctx, backoff(failures, err)) {
				break
			}
		}
		<-ctx.Done()
		return
	case catalogue.Nobody:
		<-ctx.Done()
		return
	}
	if pace.Down != nil {
		a.down.Store(&pace.Down)
	}
	defer a.endpoint.Store(nil)
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { w.listen(ctx) })
	w.untilDone(ctx)
}

// untilDone goes from one thing to be done to the next.
func (w *worker) untilDone(ctx context.Context) {
	for failures := 0; w.wait(ctx); {
		err := w.round(ctx, !time.Now().Before(w.relist))
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			continue
		}
		failures++
		pause := backoff(failures, err)
		w.pace.Log.Debug("the hub could not be worked with", "app", w.Spec.ID, "error", err, "again_in", pause)
		if !sleep(ctx, pause) {
			return
		}
		w.next = time.Now()
	}
}

// wait waits until there is something to do, and reports whether there is any more to do after it. While the app is down nothing is done.
func (w *worker) wait(ctx context.Context) bool {
	for w.pace.Down != nil && w.pace.Down(time.Now()) {
		if !sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
	t := time.NewTimer(time.Until(earlier(w.relist, w.next)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-w.bell:
		w.next = time.Now()
		if w.unlisted.Load() {
			w.relist = w.next
		}
	}
	return true
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

// worker is an app at work. What it hears is written down by others meanwhile; all else is done by one after the other.
type worker struct {
	*App
	hub  *client.Client
	pace Pace
	bell chan struct{} // rung when there is something to do

	next   time.Time            // when there is something to do; zero: nothing is known of
	relist time.Time            // when the task list is looked at
	page   int                  // tasks or answers in one call
	doubts map[string]time.Time // differences between the list and what is known here, by task: since when

	unlisted atomic.Bool // the list was not looked at yet for what is older than the stream
	restless atomic.Bool // something may be open here, or the last list had something

	babbled int // nonsense that was sent
}

func newWorker(a *App, hub *client.Client, pace Pace) *worker {
	w := &worker{App: a, hub: hub, pace: pace, bell: make(chan struct{}, 1), page: pageSize, next: time.Now(), // what a former process left
		doubts: map[string]time.Time{}}
	w.restless.Store(true)
	w.relist = time.Now().Add(w.pace.again(a.Spec.Behaviour))
	return w
}

// now is the time as exactly as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// round looks at the task list, if it is time, does what follows from what was heard, works what is due here, and answers. The
// database is asked only if there may be something.
func (w *worker) round(ctx context.Context, list bool) error {
	if list {
		if err := w.look(ctx); err != nil {
			return err
		}
	}
	if w.next.IsZero() || time.Now().Before(w.next) {
		return nil
	}
	for _, step := range []func(context.Context) error{w.follow, w.workDue, w.send} {
		if err := step(ctx); err != nil {
			return err
		}
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
	err = db.QueryRowContext(ctx, `SELECT min(at) FROM (SELECT min(next_at) AS at FROM tasks WHERE next_at IS NOT NULL
		UNION ALL SELECT min(todo_at) FROM heard WHERE todo_at IS NOT NULL)`).Scan(&next)
	w.next = instant(next)
	return err
}

// missing looks at a task that the hub no longer lists, or says is over.
func (w *worker) missing(ctx context.Context, t *task) error {
	again, why, err := w.readAgain(ctx, t)
	switch {
	case err != nil:
		return err
	case why == "" && (again.State != huanxin.TaskExpired.String() || !t.next.IsZero()):
		return nil // open after all, or expired: an answer after that is taken, late
	}
	t.closedAs = cmp.Or(why, again.State)
	return w.App.close(ctx, t, t.closedAs, now())
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
