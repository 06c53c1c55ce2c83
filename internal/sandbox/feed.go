package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// downApp is the app, one of those that SETs are pushed to, that is down for a while now and then.
const downApp = "zaotang-delivery"

// pushed reports whether the hub pushes an app's SETs to it: a fifth of them, the app that is down at times and the one of nonsense,
// which refuses some. The others poll.
func pushed(a catalogue.App) bool {
	if a.ID == downApp || a.Behaviour == catalogue.Nonsense {
		return true
	}
	at := slices.IndexFunc(catalogue.Apps(), func(b catalogue.App) bool { return b.ID == a.ID })
	return at%5 == 2 && a.Behaviour != catalogue.Dead && a.Behaviour != catalogue.Nobody
}

// pushTo is where an app's SETs are pushed to; "": it polls. The desk has another address at each start.
func (d *demo) pushTo(a catalogue.App) string {
	if !pushed(a) {
		return ""
	}
	return d.hook.feedURL() + a.ID
}

// endpoint gives what answers an app's pushes; nil: nothing does.
func (d *demo) endpoint(party string) http.Handler {
	if app := d.apps[party]; app != nil && pushed(app.Spec) {
		return app
	}
	return nil
}

// subscribe makes every app's stream before anything happens that it should tell of. Until the apps work those that are pushed are paused:
// nobody is there to take anything.
func (d *demo) subscribe(ctx context.Context) error {
	return d.eachApp(ctx, func(app *appsim.App, hub *client.Client) error {
		s, err := app.Subscribe(ctx)
		if err == nil && pushed(app.Spec) {
			_, err = hub.SetStreamStatus(ctx, client.StreamState{Stream: s.ID, Status: huanxin.StreamPaused.String(), Reason: "not at work yet"})
		}
		return err
	})
}

// resume lets the streams that are pushed go on.
func (d *demo) resume(ctx context.Context) error {
	return d.eachApp(ctx, func(app *appsim.App, hub *client.Client) error {
		if !pushed(app.Spec) {
			return nil
		}
		streams, err := hub.Streams(ctx)
		for i := range streams {
			_, failed := hub.SetStreamStatus(ctx, client.StreamState{Stream: streams[i].ID, Status: huanxin.StreamEnabled.String()})
			err = errors.Join(err, failed)
		}
		return err
	})
}

// eachApp does something for every app but the visitor's, a few at a time.
func (d *demo) eachApp(ctx context.Context, do func(app *appsim.App, hub *client.Client) error) error {
	work := make(chan string)
	errs := make(chan error, len(d.apps))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for id := range work {
				if err := do(d.apps[id], d.clients[id]); err != nil {
					errs <- fmt.Errorf("%s: %w", id, err)
				}
			}
		})
	}
	for _, a := range catalogue.Apps() {
		if a.Behaviour != catalogue.Nobody && ctx.Err() == nil {
			work <- a.ID
		}
	}
	close(work)
	wg.Wait()
	close(errs)
	var out error
	for err := range errs {
		out = errors.Join(out, err)
	}
	return out
}

// The app that is down at times is so for two days of every ten of the world; with --once for a part of the story, see outage.
const (
	downEvery = 10
	downFor   = 2
)

// outage says when the app is down that is so at times.
type outage struct{ from, until time.Time }

// down gives a function that says whether an app is down at a time; nil: it never is.
func (d *demo) down(app string) func(time.Time) bool {
	if app != downApp {
		return nil
	}
	day := d.hub.Hub.Durations().Day()
	return func(at time.Time) bool {
		if d.o.Once {
			return !at.Before(d.outage.from) && at.Before(d.outage.until)
		}
		return int64(at.Sub(d.mark.Epoch)/day)%downEvery < downFor
	}
}
