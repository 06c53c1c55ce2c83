// Package sandbox is the demo world: a real hub, four carriers, 239 apps with accounts in databases of their own, and people
// with life stories, in one process. Everybody reaches the hub by its HTTP API, as outsiders do.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// Options say what kind of world to run.
type Options struct {
	Listen string
	Data   string // directory; with Once and none: a temporary one that is removed
	Seed   uint64 // of a new world; an existing one keeps its own
	Speed  float64
	Still  bool // nobody acts by themselves
	Once   bool // plays one full scenario and ends

	Out io.Writer // for programs: the line "ready URL", and the tables of Once
	Err io.Writer // for people

	people     int           // how many numbers; 0: the usual
	redelivery time.Duration // see server.Config; 0: the usual
}

// The speeds at which a day lasts 6 seconds and 1 second.
const (
	DefaultSpeed = 14_400
	OnceSpeed    = 86_400

	usualPeople = 3_000
	oncePeople  = 1_000
)

// Run runs the world until ctx is done, or with Once until its scenario is over. With Once an error says that a rule of
// DOMAIN.md §7 was broken.
func Run(ctx context.Context, o Options) (err error) {
	if err := checkListen(o.Listen); err != nil {
		return err
	}
	if o.Once && o.Data == "" {
		if o.Data, err = os.MkdirTemp("", "huanxin-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Data)) }()
	}
	if _, found, _ := readMark(o.Data); o.Once && found { // the scenario begins with a world in which nothing has happened yet
		if o.Data, err = os.MkdirTemp(o.Data, "once-"); err != nil {
			return err
		}
	}
	d, err := start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(o.Out, "ready "+d.file.BaseURL)
	if o.Once {
		return errors.Join(d.once(ctx), d.stop())
	}
	d.say.welcome(d)
	d.actors.Go(func() { d.watch.follow(d.acting) })
	if !o.Still {
		d.live()
	}
	select {
	case <-ctx.Done():
	case <-d.ended:
	}
	return d.stop()
}

// demo is a world that runs.
type demo struct {
	o     Options
	say   *sayer
	mark  Mark
	world *World
	file  File

	hub     *server.Server
	hook    *hook
	ledger  *ledger
	clients map[string]*client.Client // by party
	apps    map[string]*appsim.App
	watch   *watch
	phones  *phones
	doors   []door // the carriers' sign-ins
	outage  outage // with Once; set before the apps work

	log      *os.File
	appLog   *slog.Logger // what the apps' agents say, in the same file
	stopHub  context.CancelFunc
	ended    chan struct{} // closed when the hub has stopped
	hubErr   error         // why; read after ended
	acting   context.Context
	stopActs context.CancelFunc
	actors   sync.WaitGroup
}

// start opens the world and makes what is not there yet. It returns when the hub serves and every number has its history.
func start(ctx context.Context, o Options) (*demo, error) {
	if o.Speed == 0 {
		o.Speed = DefaultSpeed
		if o.Once {
			o.Speed = OnceSpeed
		}
	}
	if o.people == 0 {
		o.people = usualPeople
		if o.Once {
			o.people = oncePeople
		}
	}
	d := &demo{o: o, say: newSayer(o.Err), clients: map[string]*client.Client{}, apps: map[string]*appsim.App{},
		ended: make(chan struct{})}
	d.acting, d.stopActs = context.WithCancel(ctx)
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	if err := d.prepare(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// open finds out which world it is, and lets the hub serve.
func (d *demo) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(d.o.Data, 0o700); err != nil {
		return err
	}
	if d.o.Data, err = filepath.Abs(d.o.Data); err != nil {
		return err
	}
	if err := d.findMark(); err != nil {
		return err
	}
	if d.mark.Prepared {
		d.say.line("接着来 / going on with the world in %s: seed %d, %d numbers", d.o.Data, d.mark.Seed, d.mark.People)
	} else {
		d.say.line("造世界 / making the world: seed %d, %d numbers, in %s", d.mark.Seed, d.mark.People, d.o.Data)
	}
	d.world = NewWorld(d.mark.Seed, d.mark.Epoch, d.mark.People)
	if d.ledger, err = openLedger(d.world, d.o.Data); err != nil {
		return err
	}
	if d.hook, err = listenHook(); err != nil {
		return err
	}
	if d.log, err = os.OpenFile(filepath.Join(d.o.Data, "hub.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	log, err := server.NewLog(d.log, "warn")
	if err != nil {
		return err
	}
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.AllowLoopback = d.o.Listen, filepath.Join(d.o.Data, "hub"), true
	cfg.Service.Speed, cfg.Feed.DefaultSubjects = d.o.Speed, "ALL"
	cfg.Feed.Redelivery = server.Duration(d.o.redelivery)
	listed := d.world.listed()
	cfg.Checks.Exempt = func(digits uint64) bool { return listed[digits] }
	cfg.Limits.Shutdown = server.Duration(5 * time.Second)
	d.phones = newPhones()
	cfg.Holders.Demo, cfg.Holders.Made = true, d.letIn
	if d.hub, err = server.Open(ctx, cfg, log); err != nil {
		return err
	}
	d.hook.trust(d.hub.URL)
	d.appLog = log
	d.watch = newWatch(d)
	d.serve(ctx, log)
	return nil
}

func (d *demo) serve(ctx context.Context, log *slog.Logger) {
	hubCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stopHub = stop
	handler := d.page(d.hub.Handler())
	go func() {
		defer close(d.ended)
		if d.hubErr = d.hub.Run(hubCtx, handler); d.hubErr != nil {
			log.Error("the hub stopped", "error", d.hubErr)
		}
	}()
}

// findMark reads which world the directory holds, or begins one.
func (d *demo) findMark() error {
	m, found, err := readMark(d.o.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", markName, err)
	}
	if found {
		if m.Apps != appsim.Format {
			return fmt.Errorf("%s 里的世界是另一个版本的程序造的,不能接着用:请换一个空目录,或删掉它 / the world in %s was made by another version of this program, "+
				"and cannot be gone on with: take an empty directory, or remove this one", d.o.Data, d.o.Data)
		}
		if d.o.Seed != 0 && d.o.Seed != m.Seed {
			d.say.line("此目录里已有种子 %d 的世界,接着用它 / the directory holds the world of seed %d already: it goes on", m.Seed, m.Seed)
		}
		d.mark = m
		return nil
	}
	today, _ := huanxin.DateOf(time.Now(), huanxin.China).In(huanxin.China)
	d.mark = Mark{Seed: max(d.o.Seed, 1), Epoch: today, People: d.o.people, Apps: appsim.Format}
	return writeJSON(filepath.Join(d.o.Data, markName), d.mark)
}

// prepare brings the hub and the apps to where the stories end. Done before, most of it is not done again; done again, it
// changes nothing.
func (d *demo) prepare(ctx context.Context) error {
	known := readFile(d.o.Data)
	clients, vouchers, err := enrol(ctx, d.hub.Hub, d.hook.url(), known)
	if err != nil {
		return err
	}
	d.file = newFile(d.world, d.hub.URL, clients, vouchers)
	if err := writeJSON(filepath.Join(d.o.Data, fileName), d.file); err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.Proxy = 512, 512, nil // every app may wait for SETs
	web := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	secrets := map[string]string{}
	for _, c := range clients {
		d.clients[c.ID] = client.New(client.Options{URL: d.hub.URL, ID: c.ClientID, Secret: c.Secret, HTTP: web})
		secrets[c.ID] = c.Secret
	}
	for _, a := range catalogue.Apps() {
		if d.apps[a.ID], err = appsim.Open(filepath.Join(d.o.Data, "apps"), a, d.appOptions(a, secrets[a.ID], web)); err != nil {
			return err
		}
	}
	d.hook.serveFeeds(d.endpoint)
	if !d.mark.Contracts {
		if err := contract(ctx, d.hub.Hub); err != nil {
			return err
		}
		d.mark.Contracts = true
		if err := writeJSON(filepath.Join(d.o.Data, markName), d.mark); err != nil {
			return err
		}
	}
	if !d.mark.Prepared {
		if err := d.seed(ctx); err != nil {
			return err
		}
		d.mark.Prepared = true
		if err := writeJSON(filepath.Join(d.o.Data, markName), d.mark); err != nil {
			return err
		}
	}
	if err := d.catchUp(ctx); err != nil {
		return err
	}
	return d.stateCoverage(ctx)
}

// appOptions are how an app's agent and its people work in this world.
func (d *demo) appOptions(a catalogue.App, secret string, web *http.Client) appsim.Options {
	return appsim.Options{URL: d.hub.URL, Secret: secret, HTTP: web, Speed: d.o.Speed, PushTo: d.pushTo(a), Down: d.down(a.ID),
		Holder: d.ledger.Holder, Log: d.appLog}
}

// work lets the apps work until the world stops.
func (d *demo) work() {
	for _, app := range d.apps {
		d.employ(app)
	}
}

// employ lets an app work. The visitor's is worked by nobody.
func (d *demo) employ(app *appsim.App) {
	if app.Spec.ID != catalogue.Yours {
		d.actors.Go(func() { app.Work(d.acting) })
	}
}

// stop ends everything, actors first.
func (d *demo) stop() error {
	d.stopActs()
	d.actors.Wait()
	var errs []error
	if d.stopHub != nil {
		d.stopHub()
		<-d.ended
		errs = append(errs, d.hubErr)
	} else if d.hub != nil {
		errs = append(errs, d.hub.Close())
	}
	for _, app := range d.apps {
		errs = append(errs, app.Close())
	}
	if d.hook != nil {
		d.hook.close()
	}
	if d.ledger != nil {
		errs = append(errs, d.ledger.close())
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	return errors.Join(errs...)
}
