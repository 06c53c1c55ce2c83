package agent

import (
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// readAgain reads the tasks again for which something is to be done to accounts, right before it is.
func (r *round) readAgain(ctx context.Context) {
	var ask, retracted []*task
	for _, t := range r.tasks {
		if t.problem != "" || t.phase > standing && t.retracted.IsZero() {
			continue
		}
		if !t.retracted.IsZero() {
			retracted = append(retracted, t)
			continue
		}
		if slices.ContainsFunc(r.orders(t), func(o *todo) bool { return o.deed != resume }) {
			ask = append(ask, t)
		}
	}
	r.considerRestoring(ctx, retracted)
	r.readAt = time.Now()
	for i, s := range r.a.readTasks(ctx, ask) {
		if s.err != nil {
			ask[i].failed(s.err)
		} else if s.ended != "" {
			ask[i].ended = s.ended
		}
	}
	for _, t := range r.tasks {
		if t.problem == "" && t.phase <= standing && t.retracted.IsZero() {
			r.todo = append(r.todo, r.orders(t)...)
		}
	}
}

// standingNow is what the hub says of a task: why nothing may be done for it, or "", or why that cannot be told.
type standingNow struct {
	ended string // cancelled, aborted, stale, answered by others, not_found
	err   error
}

// readTasks reads tasks again. One that the hub leaves out is asked for by itself: only "not found" says that it is not there.
func (a *Agent) readTasks(ctx context.Context, tasks []*task) []standingNow {
	out := make([]standingNow, len(tasks))
	each((len(tasks)+client.MaxReads-1)/client.MaxReads, 2, func(i int) {
		from := i * client.MaxReads
		to := min(from+client.MaxReads, len(tasks))
		a.readSome(ctx, tasks[from:to], out[from:to])
	})
	return out
}

func (a *Agent) readSome(ctx context.Context, tasks []*task, out []standingNow) {
	var all []client.Task
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.task
	}
	err := a.call(ctx, func(ctx context.Context) (err error) {
		all, err = a.hub.TasksByID(ctx, ids)
		return err
	})
	if err != nil {
		for i := range out {
			out[i].err = err
		}
		return
	}
	byID := make(map[string]*client.Task, len(all))
	for i := range all {
		byID[all[i].ID] = &all[i]
	}
	for i, t := range tasks {
		if again := byID[t.task]; again != nil {
			out[i].ended, out[i].err = a.standing(t, again)
		} else {
			out[i].ended, out[i].err = a.readTask(ctx, t)
		}
	}
}

func (a *Agent) readTask(ctx context.Context, t *task) (ended string, err error) {
	var again client.Task
	err = a.call(ctx, func(ctx context.Context) (err error) {
		again, err = a.hub.Task(ctx, t.task)
		return err
	})
	switch {
	case huanxin.KindOf(err) == huanxin.NotFound:
		return "not_found", nil
	case err != nil:
		return "", err
	}
	return a.standing(t, &again)
}

// standing says why nothing may be done for a task, by what the hub says of it now. One that expired is worked on until it is forgotten.
func (a *Agent) standing(t *task, again *client.Task) (ended string, err error) {
	state, unknown := huanxin.ParseTaskState(again.State)
	switch {
	case unknown != nil:
		return "", huanxin.Errorf(huanxin.Unavailable, "unexpected_answer", "the hub knows a state that this program does not")
	case again.Tenure.ID != t.tenure || again.Digest != t.digest || again.Number != t.number.E164() || again.Kind != t.kindWord ||
		!again.Tenure.StartedAt.Equal(t.started) || again.Tenure.Origin != t.origin:
		return "stale", nil
	case !state.Open() && (state != huanxin.TaskExpired || a.now().Sub(latest(t.due, t.seen)) > time.Duration(a.cfg.Timings.Keep)):
		return again.State, nil
	}
	return "", nil
}
