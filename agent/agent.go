package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
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
	// Authorization is what pushes must show, in place of the configuration's file. With it delivery.listen may be empty: then nothing
	// listens, and whoever embeds the agent serves Pushes at delivery.url.
	Authorization string
	// Events are types of event that the stream tells of beside those that the agent needs.
	Events []huanxin.EventType
	// Heard is told of every SET that comes and can be verified, before the agent takes it in. It is as with client.Take: a SET is
	// acknowledged after both have it, one that Heard refuses is refused and not taken in, and one may come again. It may be called for
	// several SETs at once. nil: nobody is told.
	Heard client.Take
	// Answered is told of each answer that the hub has taken, after that is noted here: one that was taken right before the process was
	// killed may be told of again. It may be called while other tasks are worked, and must not work, restore or close itself. nil: nobody is
	// told.
	Answered func(task string, v huanxin.Verdict)
	// DB is the accounts' database where the program has it open already; sql.dsn still says which it is. It was opened as the agent opens
	// it: SQLite with _txlock=immediate, PostgreSQL by pgx, MySQL with parseTime, clientFoundRows and the session in the configured zone.
	// But for SQLite one connection is taken for the lease. It is not closed.
	DB *sql.DB
	// Log may be nil. It is never given a number.
	Log *slog.Logger
	// Speed divides the durations of the service (hold, restore, look_again) as a demo's does; 0: 1.
	Speed float64
	// Relaxed keeps the state through a killed process, and not through a power cut.
	Relaxed bool
	// ListLater has open tasks listed for the first time after delivery.list_every, unless the stream was made just now. Else an agent lists
	// when it begins, besides what the stream tells: agents of one process that begin together need not.
	ListLater bool
	// Begin says before when a task is neither decided for good nor answered that was seen and is due then; nil or the zero time: at once.
	// A key of high value stops at once all the same (DOMAIN.md §6). For the same task it gives the same time.
	Begin func(task string, seen, due time.Time) time.Time
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	// crash is told of every step after which the process may be killed, for tests.
	crash func(step string)
	// batch is how many tasks are worked together, for tests; 0: batchSize.
	batch int
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
	// subscribing is held while the stream is made or changed.
	subscribing sync.Mutex
	self        atomic.Pointer[client.Self]
	told        meanwhile
	about       status

	hold, restoreFor, lookAgain time.Duration
}

// Open makes an agent ready. It reads files and does not connect yet. Only one agent can have a state directory: another gets
// errTaken, as text that says so.
func Open(cfg Config, o Options) (*Agent, error) {
	if err := cfg.check(&o); err != nil {
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
	a.o.batch = cmp.Or(o.batch, batchSize)
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
		a.conn, err = openSQL(cfg.SQL, o.DB, cfg.Hub.ClientID, a.zone, time.Duration(cfg.Timings.Timeout))
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
	if a.o.ListLater && a.cfg.Delivery.Mode != "list" {
		listAt = a.now().Add(time.Duration(a.cfg.Delivery.ListEvery))
	}
	failures := 0
	for ctx.Err() == nil {
		now := a.now()
		var errs []error
		if !now.Before(selfAt) {
			err := a.askSelf(ctx)
			errs = append(errs, err)
			if selfAt = now.Add(time.Duration(a.cfg.Timings.HoldEvery)); err != nil {
				selfAt = now.Add(min(time.Duration(a.cfg.Timings.HoldEvery), a.backoff(failures+1)))
			}
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
			wait := a.backoffAfter(failures, err)
			a.log.Warn("the agent cannot go on", "app", a.cfg.Hub.ClientID, "error", err, "again_in", wait.String())
			next = a.now().Add(wait)
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

// backoffAfter is backoff that heeds what the hub says of when to come again.
func (a *Agent) backoffAfter(failures int, err error) time.Duration {
	d := a.backoff(failures)
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		d = max(d, e.RetryAfter)
	}
	return d
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
