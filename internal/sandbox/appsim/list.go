package appsim

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

const pageSize = 500

// look looks at the task list: at first for what is older than the stream, then now and then as a net under it. The app of nonsense, which
// refuses SETs, has no better way to learn of its tasks.
func (w *worker) look(ctx context.Context) error {
	first := w.unlisted.Load()
	listed, err := w.list(ctx)
	if err != nil {
		return err
	}
	patience := w.pace.Patience
	if first || w.Spec.Behaviour == catalogue.Nonsense {
		patience = 0
	}
	if err := w.take(ctx, listed, patience); err != nil {
		return err
	}
	if first {
		if err := w.listed(ctx); err != nil {
			return err
		}
	}
	if w.Spec.Behaviour == catalogue.Nonsense {
		if err := w.babble(ctx, listed); err != nil {
			return err
		}
	}
	w.relist = time.Now().Add(w.pace.again(w.Spec.Behaviour))
	if len(w.doubts) > 0 {
		w.relist = time.Now().Add(w.pace.Patience)
	}
	if len(listed) > 0 {
		w.next = time.Now()
	}
	return nil
}

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

// take compares what the hub lists with what is known here: new tasks are written down, answers that are asked for again are sent again,
// and what is open only here is read again, to learn whether it was taken back. With patience the feed has so long to tell of it first,
// and what it did not tell is written down as untold.
func (w *worker) take(ctx context.Context, listed []client.Task, patience time.Duration) error {
	if len(listed) == 0 && !w.restless.Load() {
		return nil
	}
	w.restless.Store(false) // what is heard meanwhile makes it true again
	here, err := w.known(ctx, listed)
	if err != nil {
		return err
	}
	doubts := w.doubts
	w.doubts = map[string]time.Time{}
	certain := func(id string) bool {
		since, known := doubts[id]
		if !known {
			since = time.Now()
		}
		if time.Since(since) < patience {
			w.doubts[id] = since
			return false
		}
		return true
	}
	for i := range listed {
		l, t := &listed[i], here[listed[i].ID]
		delete(here, l.ID)
		again := t != nil && l.State == huanxin.TaskDelivered.String() && !t.sentAt.IsZero() && t.phase != closed
		if t != nil && !again || !certain(l.ID) {
			continue
		}
		if again {
			err = w.askedAgain(ctx, t, now(), w.pace.looks(t.id, huanxin.ActionRequired, now()))
		} else {
			err = w.see(ctx, l)
		}
		if err == nil && patience > 0 {
			err = w.wasUntold(ctx, l.ID, huanxin.UnbindRequested)
		}
		if err != nil {
			return err
		}
	}
	for id, t := range here {
		if !certain(id) {
			continue
		}
		if err := w.missing(ctx, t); err != nil {
			return err
		}
		if patience > 0 && (t.closedAs == huanxin.TaskCancelled.String() || t.closedAs == huanxin.TaskAborted.String()) {
			if err := w.wasUntold(ctx, id, huanxin.UnbindCancelled); err != nil {
				return err
			}
		}
	}
	if len(listed) > 0 || len(here) > 0 {
		w.restless.Store(true)
	}
	return nil
}

// wasUntold writes down that the feed did not tell of what the list shows, unless it has just now.
func (a *App) wasUntold(ctx context.Context, task string, what huanxin.EventType) error {
	return a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO untold (task, type, at) SELECT ?1, ?2, ?3
			WHERE NOT EXISTS (SELECT 1 FROM heard WHERE task = ?1 AND type = ?2) ON CONFLICT DO NOTHING`, task, what.String(), micros(now()))
		return err
	})
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

// see writes down a task that the list shows.
func (w *worker) see(ctx context.Context, in *client.Task) error {
	at := now()
	err := w.write(ctx, func(tx *sql.Tx) error {
		return add(ctx, tx, in, at, w.pace.ready(w.Spec.Behaviour, in.ID, at, in.DueAt))
	})
	if err != nil {
		return err
	}
	found, err := w.tasks(ctx, `id = ?`, in.ID)
	if err != nil || len(found) == 0 {
		return err
	}
	return w.stopAtOnce(ctx, found[0])
}

// stopAtOnce makes the number no key at a high-value app, as soon as a task is known, of what will be unbound.
func (w *worker) stopAtOnce(ctx context.Context, t *task) error {
	if !w.highValue || t.kind != huanxin.Unbind || t.next.IsZero() {
		return nil
	}
	_, final, err := w.consider(ctx, t, now())
	if err == nil && final.After(t.next) {
		err = w.wake(ctx, t, final)
	}
	return err
}
