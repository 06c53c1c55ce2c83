package appsim

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// config is the app's configuration of its agent, with what a demo has shorter.
func (a *App) config() agent.Config {
	spread := func(d time.Duration) agent.Duration { // so that 239 apps do not come at once
		return agent.Duration((0.8 + 0.2*part("spread", a.Spec.ID)) * float64(d))
	}
	c := agent.DefaultConfig()
	c.Hub.URL, c.Hub.ClientID = a.o.URL, a.Spec.ID
	c.State = a.state
	c.Delivery.ListEvery = spread(a.o.Relist)
	if a.Spec.Behaviour == catalogue.Nonsense {
		c.Delivery.ListEvery = spread(a.o.NonsenseRelist)
	}
	if a.o.PushTo != "" {
		c.Delivery.Mode, c.Delivery.URL = "push", a.o.PushTo
	}
	c.Kinds = nil
	for _, k := range a.Spec.Kinds {
		c.Kinds = append(c.Kinds, k.String())
	}
	confirm := "https://" + a.Spec.Domain() + "/confirm"
	c.Links = map[string]string{huanxin.ConfirmOwnAccount.String(): confirm, huanxin.EvidenceNeeded.String(): confirm}
	c.Timings.LookAgain, c.Timings.HoldEvery = agent.Duration(24*time.Hour), spread(time.Minute)
	c.Timings.Retry, c.Timings.RetryMost = agent.Duration(100*time.Millisecond), agent.Duration(4*time.Second)
	c.SQL = a.statements()
	if a.configure != nil {
		a.configure(&c)
	}
	return c
}

// openAgent gives the app's agent, made on first use.
func (a *App) openAgent(ctx context.Context) (*agent.Agent, error) {
	a.opening.Lock()
	defer a.opening.Unlock()
	if a.agent != nil {
		return a.agent, nil
	}
	db, err := a.openDB(ctx)
	if err != nil {
		return nil, err
	}
	made, err := agent.Open(a.config(), agent.Options{HTTP: a.o.HTTP, DB: db, Secret: a.o.Secret, Authorization: a.authorization, Log: a.o.Log,
		Speed: a.o.Speed, Relaxed: true, ListLater: true, Events: []huanxin.EventType{huanxin.IdentifierRecycled, huanxin.NumberReleased}, Heard: a.hear,
		Begin: func(task string, seen, due time.Time) time.Time { return a.o.ready(a.Spec.Behaviour, task, seen, due) },
		Answered: func(task string, v huanxin.Verdict) {
			if !v.Outcome.Final() {
				a.desk.expect(task, a.o.looks(task, v.Outcome, now()))
			}
		}})
	a.agent = made
	return made, err
}

// knownAgent gives the app's agent, or nil if there never was one.
func (a *App) knownAgent(ctx context.Context) (*agent.Agent, error) {
	if _, err := os.Stat(a.state); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return a.openAgent(ctx)
}

// records gives what the agent knows of its tasks.
func (a *App) records(ctx context.Context) ([]agent.Record, error) {
	g, err := a.knownAgent(ctx)
	if err != nil || g == nil {
		return nil, err
	}
	return g.Records(ctx)
}

// Subscribe makes the app's stream at the hub, if it is not there.
func (a *App) Subscribe(ctx context.Context) (client.Stream, error) {
	if a.Spec.Behaviour == catalogue.Dead {
		return a.subscribeOnly(ctx)
	}
	g, err := a.openAgent(ctx)
	if err != nil {
		return client.Stream{}, err
	}
	return g.Subscribe(ctx)
}

// subscribeOnly makes a stream that nobody will hear, unless it is there.
func (a *App) subscribeOnly(ctx context.Context) (client.Stream, error) {
	hub := a.client()
	all, err := hub.Streams(ctx)
	if err != nil || len(all) > 0 {
		return client.Stream{}, err
	}
	return hub.CreateStream(ctx, client.StreamConfig{Description: "huanxin agent, once"})
}

// client reaches the hub beside the agent.
func (a *App) client() *client.Client {
	return client.New(client.Options{URL: a.o.URL, ID: a.Spec.ID, Secret: a.o.Secret, HTTP: a.o.HTTP})
}

// Work lets the app's agent and its people work, by its behaviour, until ctx is done. Nothing that the hub does ends it.
func (a *App) Work(ctx context.Context) {
	switch a.Spec.Behaviour {
	case catalogue.Dead: // it has a stream that nobody polls
		for {
			if _, err := a.Subscribe(ctx); err == nil || !sleep(ctx, time.Second) {
				break
			}
		}
		<-ctx.Done()
	case catalogue.Nobody:
		<-ctx.Done()
	default:
		for a.up(ctx) {
			if err := a.shift(ctx); err != nil {
				a.o.Log.Warn("an app cannot work", "app", a.Spec.ID, "error", err)
				sleep(ctx, time.Second)
			}
		}
	}
}

// beat is how often it is looked whether an app is down.
const beat = 50 * time.Millisecond

func (a *App) down() bool { return a.o.Down != nil && a.o.Down(time.Now()) }

// up waits until the app is not down, and reports whether there is anything to do after it.
func (a *App) up(ctx context.Context) bool {
	for a.down() {
		if !sleep(ctx, beat) {
			return false
		}
	}
	return ctx.Err() == nil
}

// shift lets everything run until ctx is done or the app goes down.
func (a *App) shift(ctx context.Context) error {
	g, err := a.openAgent(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	if a.o.PushTo != "" {
		pushes, err := g.Pushes()
		if err != nil {
			return err
		}
		a.endpoint.Store(&pushes)
		defer a.endpoint.Store(nil)
	}
	if a.o.Down != nil {
		others.Go(func() {
			for !a.down() && sleep(ctx, beat) {
			}
			stop()
		})
	}
	others.Go(func() { a.attend(ctx, g) })
	if a.Spec.Behaviour == catalogue.Nonsense {
		others.Go(func() { a.babble(ctx, g) })
	}
	return g.Run(ctx)
}

// ServeHTTP is the app's endpoint for SETs that are pushed. Until it works, and while it is down, it answers nothing.
func (a *App) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	pushes := a.endpoint.Load()
	if pushes == nil || a.down() {
		panic(http.ErrAbortHandler)
	}
	(*pushes).ServeHTTP(rw, r)
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
