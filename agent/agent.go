package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// Options are what a program gives an agent beside its configuration.
type Options struct {
	// HTTP sends requests to the hub; nil: a client of its own. Agents of one process may share one transport.
	HTTP *http.Client
	// Secret authenticates the client in place of the configuration's files.
	Secret string
	// Log may be nil. It is never given a number.
	Log *slog.Logger
	// Speed divides the durations of the service (hold, restore, look_again) as a demo's does; 0: 1.
	Speed float64
	// Relaxed keeps the state through a killed process, and not through a power cut.
	Relaxed bool
	// Begin says when a task is worked that was seen now; nil or the zero time: at once.
	Begin func(task string, due time.Time) time.Time
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	// crash is told of every step after which the process may be killed, for tests.
	crash func(step string)
	// connector takes the place of the configuration's, for tests.
	connector connector
}

// Agent works the tasks of one app. Its methods are safe for concurrent use.
type Agent struct {
	o       Options
	cfg     Config
	zone    *time.Location
	hub     *client.Client
	key     *clientkey.Key // nil: a secret
	state   *state
	conn    connector
	log     *slog.Logger
	clock   *hubClock
	kick    chan struct{}
	noLinks atomic.Bool // the hub refused one
	working sync.Mutex  // held while tasks are worked: one round at a time
	self    atomic.Pointer[client.Self]
	about   status

	hold, restoreFor, lookAgain time.Duration
}

// Open makes an agent ready. It reads files and does not connect yet. Only one agent can have a state directory: another gets
// errTaken, as text that says so.
func Open(cfg Config, o Options) (*Agent, error) {
	if o.Secret != "" {
		cfg.Hub.SecretFile = cmp.Or(cfg.Hub.SecretFile, "-") // it is not read
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	a, err := prepare(cfg, o)
	if err != nil {
		return nil, err
	}
	if err := a.state.lock.take(context.Background()); err != nil {
		if errors.Is(err, errTaken) {
			err = fmt.Errorf("state: another agent is running on %s", cfg.State)
		}
		return nil, errors.Join(err, a.conn.close())
	}
	return a, nil
}

// prepare makes an agent that has not locked its state.
func prepare(cfg Config, o Options) (*Agent, error) {
	a := &Agent{o: o, cfg: cfg, log: o.Log, kick: make(chan struct{}, 1)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.o.Now == nil {
		a.o.Now = time.Now
	}
	if a.o.Speed == 0 {
		a.o.Speed = 1
	}
	a.hold, a.restoreFor, a.lookAgain = a.divide(cfg.Timings.Hold), a.divide(cfg.Timings.Restore), a.divide(cfg.Timings.LookAgain)
	var err error
	if a.zone, err = cfg.zone(); err != nil {
		return nil, err
	}
	if err := a.openHub(); err != nil {
		return nil, err
	}
	if a.state, err = openState(cfg.State, a.zone, o.Relaxed); err != nil {
		return nil, err
	}
	switch {
	case o.connector != nil:
		a.conn = o.connector
	case cfg.SQL != nil:
		a.conn, err = openSQL(cfg.SQL, cfg.Hub.ClientID, a.zone, time.Duration(cfg.Timings.Timeout))
	default:
		a.conn, err = openHTTP(cfg.HTTP, a.key, cfg.Hub.ClientID, a.zone, time.Duration(cfg.Timings.Timeout))
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Agent) divide(d Duration) time.Duration {
	return time.Duration(float64(d) / a.o.Speed)
}

func (a *Agent) openHub() error {
	web := a.o.HTTP
	if web == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 16
		web = &http.Client{Transport: t}
	}
	a.clock = &hubClock{next: web.Transport, now: a.o.Now}
	if a.clock.next == nil {
		a.clock.next = http.DefaultTransport
	}
	with := *web
	with.Transport = a.clock
	o := client.Options{URL: a.cfg.Hub.URL, ID: a.cfg.Hub.ClientID, HTTP: &with, Secret: a.o.Secret}
	switch {
	case a.cfg.Hub.KeyFile != "":
		var err error
		if a.key, err = readKey(a.cfg.Hub.KeyFile); err != nil {
			return tell("hub.key_file: %w", err)
		}
		o.Assert = func(audience string, now time.Time) (string, error) {
			return a.key.Assertion(a.cfg.Hub.ClientID, audience, now)
		}
	case o.Secret == "":
		var err error
		if o.Secret, err = secretIn(a.cfg.Hub.SecretFile); err != nil {
			return tell("hub.secret_file: %w", err)
		}
	}
	a.hub = client.New(o)
	return nil
}

// Close gives everything back. Run must have ended.
func (a *Agent) Close() error { return errors.Join(a.conn.close(), a.state.close()) }

// Run takes tasks and works them until ctx is done. Nothing that the hub or the database does ends it: it waits and goes on.
func (a *Agent) Run(ctx context.Context) error {
	if a.cfg.SQL != nil && a.cfg.SQL.Lease == "exit" {
		if err := a.conn.lease(ctx); errors.Is(err, errTaken) {
			return fmt.Errorf("sql: another agent of %s works on these accounts", a.cfg.Hub.ClientID)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	if a.cfg.Delivery.Mode != "list" {
		wg.Go(func() { a.receive(ctx) })
	}
	err := a.serve(ctx, &wg)
	if err == nil {
		a.loop(ctx)
	}
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	return nil
}

// wake has the loop look at once.
func (a *Agent) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// loop asks the hub what is to be asked from time to time, and works what is due.
func (a *Agent) loop(ctx context.Context) {
	var listAt, selfAt time.Time
	failures := 0
	for ctx.Err() == nil {
		now := a.now()
		var errs []error
		if !now.Before(selfAt) {
			errs = append(errs, a.askSelf(ctx))
			selfAt = now.Add(time.Duration(a.cfg.Timings.HoldEvery))
		}
		if !now.Before(listAt) {
			err := a.list(ctx)
			errs = append(errs, err)
			if listAt = now.Add(time.Duration(a.cfg.Delivery.ListEvery)); err != nil {
				listAt = now.Add(min(time.Duration(a.cfg.Delivery.ListEvery), 10*a.backoff(failures+1)))
			}
		}
		next, err := a.Work(ctx)
		errs = append(errs, err)
		if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
			failures++
			a.about.failed(err)
			a.log.Warn("the agent cannot go on", "app", a.cfg.Hub.ClientID, "error", err, "again_in", a.backoff(failures).String())
			next = earlier(next, a.now().Add(a.backoff(failures)))
			next = latest(next, a.now().Add(a.backoff(failures)))
		} else {
			failures = 0
		}
		a.sleep(ctx, earlier(earlier(next, selfAt), listAt))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits until a time, or until there is something to look at.
func (a *Agent) sleep(ctx context.Context, until time.Time) {
	d := max(until.Sub(a.now()), 0)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.kick:
	case <-t.C:
	}
}

// now is the time as exactly as the state keeps it.
func (a *Agent) now() time.Time { return a.o.Now().UTC().Truncate(time.Microsecond) }

func (a *Agent) backoff(failures int) time.Duration {
	return min(time.Duration(a.cfg.Timings.Retry)<<min(max(failures-1, 0), 12), time.Duration(a.cfg.Timings.RetryMost))
}

// at marks a step after which the process may be killed.
func (a *Agent) at(step string) {
	if a.o.crash != nil {
		a.o.crash(step)
	}
}

// call bounds a request to the hub.
func (a *Agent) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.cfg.Timings.Timeout))
	defer cancel()
	err := f(ctx)
	if err == nil {
		a.about.contact(a.now())
	}
	return err
}

// highValue reports whether a binding is of a class at which the number stops being a key at once.
func (a *Agent) highValue(class string) bool {
	if class == "" {
		if self := a.self.Load(); self != nil {
			class = self.Class
		}
	}
	return slices.Contains(a.cfg.HighValue, class)
}

func (a *Agent) works(k huanxin.TaskKind) bool {
	return k != 0 && slices.Contains(a.cfg.Kinds, k.String())
}

// sum is a digest of a body, as signed requests carry it.
func sum(body []byte) string {
	s := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(s[:])
}
