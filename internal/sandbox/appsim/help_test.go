package appsim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

const day = 24 * time.Hour

// The story of every number: somebody had it for years, and since tenure another one has it.
var (
	today  = time.Now().UTC().Truncate(time.Second)
	tenure = today.Add(-10 * day)
	former = today.Add(-900 * day)
)

// office is one app at work with a real hub, a carrier, and holders who are called like their numbers. Its people do nothing by themselves:
// see people.
type office struct {
	t       *testing.T
	hub     *hubtest.Hub
	carrier *client.Client
	dir     string
	spec    catalogue.App
	o       Options
	timings func(*agent.Config)
	faults  *faults
	*App
	stop func()

	numbers int
}

// shortHold is how long an unbinding of high value is held, unless an office is held.
const shortHold = 50 * time.Millisecond

func newOffice(t *testing.T, change ...func(*office)) *office {
	t.Helper()
	o := &office{t: t, hub: hubtest.Start(t, hubtest.Speed(2000)), dir: t.TempDir(), faults: &faults{}, // a day: 43 s
		spec: catalogue.App{ID: "chat", Class: "social", Behaviour: catalogue.Quick,
			Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction}}}
	o.o = Options{Speed: float64(24 * time.Hour / shortHold), Day: 24 * time.Hour, Relist: time.Hour, NonsenseRelist: 20 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Holder: func(n huanxin.Number, _ time.Time) string { return holder(n) }}
	for _, f := range change {
		f(o)
	}
	o.timings = func(c *agent.Config) { // an hour, divided by the speed
		c.Timings.Restore, c.Timings.LookAgain = agent.Duration(float64(time.Hour)*o.o.Speed), agent.Duration(float64(time.Hour)*o.o.Speed)
		c.Timings.Restore = max(c.Timings.Restore, agent.Duration(72*time.Hour))
		c.Timings.Keep = c.Timings.Restore
	}
	o.carrier = o.hub.Carrier("cmcc")
	o.hub.App(o.spec.ID, hubtest.Class(o.spec.Class), hubtest.Kinds(o.spec.Kinds...), hubtest.Domains(o.spec.Domain()))
	o.faults.next = o.hub.HTTP().Transport
	o.o.URL, o.o.Secret, o.o.HTTP = o.hub.URL, o.hub.Credentials(o.spec.ID).Secret, &http.Client{Transport: o.faults}
	o.open()
	t.Cleanup(func() { o.must(o.App.Close()) })
	return o
}

// working is an office that works, and has its stream.
func working(t *testing.T, change ...func(*office)) *office {
	t.Helper()
	o := newOffice(t, change...)
	o.start()
	return o
}

// behaves makes the app behave so, with days that are short to it and its people.
func behaves(b catalogue.Behaviour) func(*office) {
	return func(o *office) { o.spec.Behaviour, o.o.Day = b, 30*time.Millisecond }
}

// class puts the app into a class.
func class(c string) func(*office) { return func(o *office) { o.spec.Class = c } }

// held makes unbindings at a high-value app final after an hour, or when holdIsOver says so.
func held(o *office) { o.spec.Class, o.o.Speed = "payment", 24 }

// holdIsOver makes it an hour later for a task.
func (o *office) holdIsOver(task string) {
	o.t.Helper()
	o.exec(`UPDATE actions SET at = at - 3600000000 WHERE what = 'key_stopped'`)
	o.execState(`UPDATE bindings SET suspended_at = suspended_at - 3600000000, final_at = final_at - 3600000000`)
	if err := must(o.openAgent(o.t.Context())).LookAgain(o.t.Context(), task); err != nil && huanxin.KindOf(err) != huanxin.NotFound {
		o.t.Fatal(err)
	}
}

// open opens the app anew on its directory, as after a crash.
func (o *office) open() {
	o.t.Helper()
	if o.App != nil {
		o.must(o.App.Close())
	}
	var err error
	o.App, err = Open(o.dir, o.spec, o.o)
	o.must(err)
	o.App.configure = o.timings
}

// start lets the app work in the background until the test ends, or stop, and waits until it has its stream.
func (o *office) start() {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	gone := make(chan struct{})
	app := o.App
	go func() {
		defer close(gone)
		app.Work(ctx)
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		<-gone
	})
	o.t.Cleanup(o.stop)
	if o.spec.Behaviour != catalogue.Nobody {
		eventually(o.t, "the app has a stream", func() bool { return len(o.streams()) > 0 })
	}
}

// restart ends the app, and opens it anew at work.
func (o *office) restart() {
	o.t.Helper()
	o.stop()
	o.open()
	o.start()
}

// streams are the app's at the hub that its agent made.
func (o *office) streams() []client.Stream {
	o.t.Helper()
	all, err := o.hub.Client(o.spec.ID).Streams(o.t.Context())
	o.must(err)
	return slices.DeleteFunc(all, func(s client.Stream) bool { return !strings.HasPrefix(s.Description, "huanxin agent") })
}

// people lets people do everything that tasks wait for.
func (o *office) people() {
	o.t.Helper()
	g := must(o.openAgent(o.t.Context()))
	all := map[string]bool{}
	for _, w := range must(g.Reviews(o.t.Context())) {
		all[w.Task] = true
	}
	o.must(o.resolve(o.t.Context(), g, all))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func holder(n huanxin.Number) string { return "holder of " + n.E164() }

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// number makes a number that has been somebody else's since tenure, and tells the hub.
func (o *office) number() huanxin.Number {
	o.t.Helper()
	return o.numberOf("reassigned")
}

func (o *office) numberOf(origin string) huanxin.Number {
	o.t.Helper()
	o.numbers++
	n, err := huanxin.ParseNumber(fmt.Sprintf("+86138%08d", o.numbers))
	o.must(err)
	id := func(k string) string { return fmt.Sprintf("%s-%d", k, o.numbers) }
	var events []client.Event
	switch origin {
	case "reassigned":
		events = []client.Event{{ID: id("first"), Kind: "activated", Origin: "first", At: former},
			{ID: id("end"), Kind: "disconnected", At: tenure.Add(-100 * day)},
			{ID: id("again"), Kind: "activated", Origin: "reassigned", At: tenure}}
	case "transferred":
		events = []client.Event{{ID: id("first"), Kind: "activated", Origin: "first", At: former},
			{ID: id("transfer"), Kind: "transferred", At: tenure}}
	case "unknown":
		events = []client.Event{{ID: id("in"), Kind: "activated", Origin: "ported_in", At: tenure}}
	}
	for i := range events {
		events[i].Number = n.E164()
	}
	o.report(events...)
	return n
}

func (o *office) report(events ...client.Event) {
	o.t.Helper()
	r, err := o.carrier.ReportEvents(o.t.Context(), events, time.Time{})
	o.must(err)
	if r.RejectedTotal > 0 {
		o.t.Fatalf("refused: %+v", r.Rejected)
	}
}

// ask makes the holder's request, and gives it with its task's id.
func (o *office) ask(n huanxin.Number, kinds ...huanxin.TaskKind) (request, task string) {
	o.t.Helper()
	return o.askOf(n, "reassigned", kinds...)
}

func (o *office) askOf(n huanxin.Number, origin string, kinds ...huanxin.TaskKind) (request, task string) {
	o.t.Helper()
	in := client.NewRequest{Number: n.E164(), StartedAt: tenure, Origin: origin, Apps: []string{o.spec.ID}, Control: "sms_otp",
		Identity: "id_card", Verified: time.Now()}
	for _, k := range kinds {
		in.Kinds = append(in.Kinds, k.String())
	}
	r, err := o.carrier.CreateRequest(o.t.Context(), in)
	o.must(err)
	return r.ID, r.Tasks[0].ID
}

// account seeds an account of the number's former holder, bound two years before the tenure, with one session of before it and
// one of since.
func (o *office) account(n huanxin.Number, change ...func(*Account)) string {
	o.t.Helper()
	bound := tenure.Add(-700 * day)
	c := Account{Owner: "former of " + n.E164(), Nickname: "等下雨的云雀", BalanceFen: 1234567, Number: n, TrueBound: bound, FirstBound: At(bound),
		LastProof: Never(), HasOtherContact: true, Sessions: []time.Time{bound, tenure.Add(day)}}
	for _, f := range change {
		f(&c)
	}
	if c.ID == "" {
		c.ID = "u" + n.E164()
	}
	o.must(o.Seed(o.t.Context(), []Account{c}))
	return c.ID
}

// bound sets when the number was bound, in truth and as the app knows it.
func bound(truth time.Time, known When) func(*Account) {
	return func(c *Account) { c.TrueBound, c.FirstBound = truth, known }
}

// belongsToTheHolder makes the account the present holder's.
func belongsToTheHolder(c *Account) { c.Owner = holder(c.Number) }

// worked gives what became of a task.
func (o *office) worked(task string) Worked {
	o.t.Helper()
	all, err := o.Worked(o.t.Context())
	o.must(err)
	for _, w := range all {
		if w.Task == task {
			return w
		}
	}
	return Worked{} // it has not seen it
}

// final reports whether a task was answered for good, and the app knows that the hub has it.
func (o *office) final(task string) bool {
	o.t.Helper()
	all, err := o.Worked(o.t.Context())
	o.must(err)
	return slices.ContainsFunc(all, func(w Worked) bool { return w.Task == task && w.Phase == "done" && !w.SentAt.IsZero() })
}

// answered waits until a task has this answer, and the hub has it.
func (o *office) answered(task, outcome, reason string) {
	o.t.Helper()
	var w Worked
	within(o.t, func() bool {
		w = o.worked(task)
		return w.Outcome == outcome && w.Reason == reason && !w.SentAt.IsZero()
	})
	if w.Outcome != outcome || w.Reason != reason || w.Refused != "" || w.SentAt.IsZero() {
		o.t.Fatalf("the answer is %s %s, refused %q, sent %v; want %s %s", w.Outcome, w.Reason, w.Refused, w.SentAt, outcome, reason)
	}
	want := outcome
	if o, _ := huanxin.ParseOutcome(outcome); o.Final() {
		want = "answered"
	}
	if got := o.state(task); got != want {
		o.t.Errorf("at the hub the task is %s, not %s", got, want)
	}
}

// closed waits until nothing more is done for a task, for which nothing was unbound and which was not answered.
func (o *office) closed(task string) {
	o.t.Helper()
	var w Worked
	within(o.t, func() bool { w = o.worked(task); return w.Phase == "closed" })
	if w.Phase != "closed" || w.Unbound != 0 || w.Outcome != "" {
		o.t.Errorf("phase %s, unbound %d, answer %q", w.Phase, w.Unbound, w.Outcome)
	}
}

// state is the task's at the hub.
func (o *office) state(task string) string {
	o.t.Helper()
	t, err := o.hub.Client(o.spec.ID).Task(o.t.Context(), task)
	o.must(err)
	return t.State
}

// opens waits until a code to the number opens these accounts and no others.
func (o *office) opens(n huanxin.Number, want ...string) {
	o.t.Helper()
	var got []string
	within(o.t, func() (ok bool) {
		var err error
		got, err = o.Opens(o.t.Context(), n)
		o.must(err)
		return slices.Equal(got, want)
	})
	if strings.Join(got, " ") != strings.Join(want, " ") {
		o.t.Errorf("the number opens %q, want %q", got, want)
	}
}

// clean checks that no rule was broken.
func (o *office) clean() {
	o.t.Helper()
	found, err := o.Findings(o.t.Context())
	o.must(err)
	for _, f := range found {
		o.t.Errorf("rule %d: %s (task %s, account %s)", f.Rule, f.What, f.Task, f.Account)
	}
}

// exec changes the database behind the app's back, and execState the agent's state.
func (o *office) exec(text string, args ...any) {
	o.t.Helper()
	db, err := o.App.open(o.t.Context())
	o.must(err)
	_, err = db.ExecContext(o.t.Context(), text, args...)
	o.must(err)
}

func (o *office) execState(text string) {
	o.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(o.App.state, "agent.db")+"?_pragma=busy_timeout(10000)")
	o.must(err)
	_, err = db.ExecContext(o.t.Context(), text)
	o.must(errors.Join(err, db.Close()))
}

// eventually waits for what others do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !within(t, ok) {
		t.Fatal("never: " + what)
	}
}

// within waits as long as it makes sense, and reports whether it was worth it.
func within(t *testing.T, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); sleep(t.Context(), 5*time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// faults is a network on which calls fail.
type faults struct {
	next http.RoundTripper

	mu    sync.Mutex
	calls []string
	fail  func(r *http.Request) (*http.Response, error) // nil, nil: it does not
	lost  func(r *http.Request) bool                    // the answer is lost on its way back
}

var errNetwork = errors.New("connection reset by peer")

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+nameOf(r))
	fail, lost := f.fail, f.lost
	f.mu.Unlock()
	if fail != nil {
		if resp, err := fail(r); resp != nil || err != nil {
			return resp, err
		}
	}
	resp, err := f.next.RoundTrip(r)
	if err == nil && lost != nil && lost(r) {
		_ = resp.Body.Close()
		return nil, errNetwork
	}
	return resp, err
}

// nameOf gives the path of a call; of one that reads tasks again it says so.
func nameOf(r *http.Request) string {
	if r.URL.Query().Has("ids") {
		return r.URL.Path + "?ids"
	}
	return r.URL.Path
}

func (f *faults) set(fail func(*http.Request) (*http.Response, error), lost func(*http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.lost = fail, lost
}

func (f *faults) count(call string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if strings.HasPrefix(c, call) {
			n++
		}
	}
	return n
}
