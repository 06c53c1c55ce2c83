package appsim

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// about is how the world describes the streams that it makes. A visitor may make others for the same app.
const about = "huanxin demo"

// subscription is the app's row about its stream.
type subscription struct {
	id, authorization string
	listed            bool
}

// subscription gives what the app keeps of its stream. The authorization is there before a stream is.
func (a *App) subscription(ctx context.Context) (s subscription, err error) {
	err = a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO stream (only_one, id, authorization, listed) VALUES (1, '', ?, 0) ON CONFLICT DO NOTHING`,
			"Bearer "+rand.Text())
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT id, authorization, listed FROM stream`).Scan(&s.id, &s.authorization, &s.listed)
	})
	return s, err
}

// Subscribe gives the app's stream at the hub, which is made if it is not there. pushTo is where its SETs are to be pushed to now; with
// "" they are polled. If it is another stream than before and there are tasks already, which it may not tell of, they are to be listed.
func (a *App) Subscribe(ctx context.Context, hub *client.Client, pushTo string) (s client.Stream, err error) {
	kept, err := a.subscription(ctx)
	if err != nil {
		return s, err
	}
	all, err := hub.Streams(ctx)
	if err != nil {
		return s, err
	}
	at := slices.IndexFunc(all, func(s client.Stream) bool { return s.ID == kept.id })
	if at < 0 { // made, perhaps, right before a crash
		at = slices.IndexFunc(all, func(s client.Stream) bool { return s.Description == about })
	}
	if at < 0 {
		c := client.StreamConfig{PushTo: pushTo, Description: about}
		if pushTo != "" {
			c.Authorization = kept.authorization
		}
		s, err = hub.CreateStream(ctx, c)
	} else {
		s, err = comesTo(ctx, hub, all[at], pushTo, kept.authorization)
	}
	if err != nil || s.ID == kept.id {
		return s, err
	}
	var before []client.Task
	if a.Spec.Behaviour != catalogue.Dead { // which never looks at anything
		if before, _, err = hub.Tasks(ctx, "", 1); err != nil {
			return s, err
		}
	}
	return s, a.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE stream SET id = ?, listed = ?`, s.ID, len(before) == 0)
		return err
	})
}

// comesTo lets a stream's SETs come to where the app is now, which has another port at each start. While it was nowhere the hub may have
// paused the stream.
func comesTo(ctx context.Context, hub *client.Client, s client.Stream, pushTo, authorization string) (client.Stream, error) {
	want := client.Delivery{Method: huanxin.DeliverByPoll.String()}
	if pushTo != "" {
		want = client.Delivery{Method: huanxin.DeliverByPush.String(), EndpointURL: pushTo, Authorization: authorization}
	}
	if s.Delivery == want || pushTo == "" && s.Delivery.Method == want.Method {
		return s, nil
	}
	s, err := hub.ChangeStream(ctx, s.ID, map[string]any{"delivery": want})
	if err != nil {
		return s, err
	}
	state, err := hub.StreamStatus(ctx, s.ID)
	if err == nil && state.Status != huanxin.StreamEnabled.String() {
		_, err = hub.SetStreamStatus(ctx, client.StreamState{Stream: s.ID, Status: huanxin.StreamEnabled.String()})
	}
	return s, err
}

// listen makes the app hear its stream until ctx is done, and looks now and then whether a stream that is pushed is there still.
func (w *worker) listen(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		s, err := w.subscribe(ctx)
		if err == nil {
			failures = 0
			if w.pace.PushTo != "" {
				sleep(ctx, w.pace.Relist)
				continue
			}
			err = w.hub.Receive(ctx, s, w.hear(false), w.troubled)
		}
		if failures++; ctx.Err() == nil {
			w.troubled(err)
			sleep(ctx, backoff(failures, err))
		}
	}
}

// subscribe finds the stream, and lets the app list what was there before it.
func (w *worker) subscribe(ctx context.Context) (s client.Stream, err error) {
	err = w.call(ctx, func(ctx context.Context) error {
		s, err = w.Subscribe(ctx, w.hub, w.pace.PushTo)
		return err
	})
	if err != nil {
		return s, err
	}
	kept, err := w.subscription(ctx)
	if err != nil {
		return s, err
	}
	if w.pace.PushTo != "" && w.endpoint.Load() == nil {
		pushes := w.hub.Pushes(kept.authorization, w.hear(true), w.troubled)
		w.endpoint.Store(&pushes)
	}
	if !kept.listed {
		w.unlisted.Store(true)
		w.ring()
	}
	return s, nil
}

// listed notes that the tasks of before the stream are known here.
func (w *worker) listed(ctx context.Context) error {
	w.unlisted.Store(false)
	return w.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE stream SET listed = 1`)
		return err
	})
}

// troubled is told what went wrong on the way from the hub. A SET that does not verify is counted.
func (w *worker) troubled(err error) {
	var refusal *client.SetError
	if errors.As(err, &refusal) && refusal != nonsensical {
		w.unverified.Add(1)
	}
	w.pace.Log.Debug("a SET was not taken, or none came", "app", w.Spec.ID, "error", err)
}

// Unverified counts the SETs that came since the app was opened and were not the hub's for this app, and so were refused.
func (a *App) Unverified() int { return int(a.unverified.Load()) }

// ServeHTTP is the app's endpoint for SETs that are pushed. Until it works, and while it is down, it answers nothing.
func (a *App) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	pushes, down := a.endpoint.Load(), a.down.Load()
	if pushes == nil || down != nil && (*down)(time.Now()) {
		panic(http.ErrAbortHandler)
	}
	(*pushes).ServeHTTP(rw, r)
}

// ring wakes the app, which looks for something to do.
func (w *worker) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// nonsensical is how the app of nonsense refuses a SET that there is nothing wrong with.
var nonsensical = &client.SetError{Err: "invalid_request", Description: "看不懂 / what is this"}

// refuses reports whether a SET is one of those that the app of nonsense refuses: it does not want to hear of tasks.
func (w *worker) refuses(s *client.SET) bool {
	return w.Spec.Behaviour == catalogue.Nonsense && s.Type == huanxin.UnbindRequested
}
