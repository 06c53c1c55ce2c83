package appsim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
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

// office is one app with a real hub, a carrier, and holders who are called like their numbers.
type office struct {
	t       *testing.T
	hub     *hubtest.Hub
	carrier *client.Client
	dir     string
	spec    catalogue.App
	hold    time.Duration
	faults  *faults
	pushTo  string
	outage  func(time.Time) bool
	*worker

	numbers int
}

func newOffice(t *testing.T, change ...func(*office)) *office {
	t.Helper()
	o := &office{t: t, hub: hubtest.Start(t, hubtest.Speed(2000)), dir: t.TempDir(), hold: 50 * time.Millisecond, faults: &faults{}, // a day: 43 s
		spec: catalogue.App{ID: "chat", Class: "social", Behaviour: catalogue.Quick,
			Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction}}}
	for _, f := range change {
		f(o)
	}
	o.carrier = o.hub.Carrier("cmcc")
	o.hub.App(o.spec.ID, hubtest.Class(o.spec.Class), hubtest.Kinds(o.spec.Kinds...), hubtest.Domains(o.spec.Domain()))
	o.faults.next = o.hub.HTTP().Transport
	o.start()
	return o
}

// behaves makes the app behave so.
func behaves(b catalogue.Behaviour) func(*office) {
	return func(o *office) { o.spec.Behaviour = b }
}

// class puts the app into a class.
func class(c string) func(*office) { return func(o *office) { o.spec.Class = c } }

// held makes unbindings at a high-value app final after an hour, or when holdIsOver says so.
func held(o *office) { o.spec.Class, o.hold = "payment", time.Hour }

// holdIsOver makes it an hour later.
func (o *office) holdIsOver() {
	o.t.Helper()
	o.exec(`UPDATE verdicts SET stopped_at = stopped_at - 3600000000`)
	o.exec(`UPDATE tasks SET next_at = next_at - 3600000000, seen_at = seen_at - 3600000000`)
	o.next = time.Now()
}

// start opens the app anew on its directory, as after a crash.
func (o *office) start() {
	o.t.Helper()
	if o.worker != nil {
		o.must(o.worker.Close())
	}
	a, err := Open(o.dir, o.spec, o.hold, time.Hour)
	o.must(err)
	o.t.Cleanup(func() { _ = a.Close() })
	c := o.hub.Credentials(o.spec.ID)
	o.worker = newWorker(a, client.New(client.Options{URL: o.hub.URL, ID: c.ID, Secret: c.Secret, HTTP: &http.Client{Transport: o.faults}}), o.pace().withDefaults())
	o.worker.pace.Patience = 0 // see poll
}

func (o *office) pace() Pace {
	return Pace{Day: 30 * time.Millisecond, Relist: time.Minute, NonsenseRelist: 20 * time.Millisecond, URL: o.hub.URL, PushTo: o.pushTo, Down: o.outage,
		Holder: func(n huanxin.Number, _ time.Time) string { return holder(n) }}
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

// poll is one round that begins with the task list, of which nothing is left to the feed.
func (o *office) poll() {
	o.t.Helper()
	o.must(o.round(o.t.Context(), true)) // without patience
}

// work polls until nothing is planned here any more.
func (o *office) work() {
	o.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		o.poll()
		if o.next.IsZero() {
			return
		}
		if time.Now().After(end) {
			o.t.Fatal("the app does not come to an end")
		}
		sleep(o.t.Context(), time.Until(o.next))
	}
}

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
	o.t.Fatal("the app has not seen the task")
	return Worked{}
}

// final reports whether a task was answered for good, and the app knows that the hub has it.
func (o *office) final(task string) bool {
	o.t.Helper()
	all, err := o.Worked(o.t.Context())
	o.must(err)
	return slices.ContainsFunc(all, func(w Worked) bool { return w.Task == task && w.Phase == "done" && !w.SentAt.IsZero() })
}

// answered checks a task's answer, and that the hub has it.
func (o *office) answered(task, outcome, reason string) {
	o.t.Helper()
	w := o.worked(task)
	if w.Outcome != outcome || w.Reason != reason || w.Refused != "" || w.SentAt.IsZero() {
		o.t.Errorf("the answer is %s %s, refused %q, sent %v; want %s %s", w.Outcome, w.Reason, w.Refused, w.SentAt, outcome, reason)
	}
	want := outcome
	if o, _ := huanxin.ParseOutcome(outcome); o.Final() {
		want = "answered"
	}
	if got := o.state(task); got != want {
		o.t.Errorf("at the hub the task is %s, not %s", got, want)
	}
}

// state is the task's at the hub.
func (o *office) state(task string) string {
	o.t.Helper()
	t, err := o.hub.Client(o.spec.ID).Task(o.t.Context(), task)
	o.must(err)
	return t.State
}

// opens checks which accounts a code to the number opens.
func (o *office) opens(n huanxin.Number, want ...string) {
	o.t.Helper()
	got, err := o.Opens(o.t.Context(), n)
	o.must(err)
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

// exec changes the database behind the app's back.
func (o *office) exec(text string, args ...any) {
	o.t.Helper()
	db, err := o.App.open(o.t.Context())
	o.must(err)
	_, err = db.ExecContext(o.t.Context(), text, args...)
	o.must(err)
}

// eventually waits for what others do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); sleep(t.Context(), 5*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// running works in the background until the test ends, or stop.
func (o *office) running() (stop func()) {
	ctx, cancel := context.WithCancel(o.t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		o.Work(ctx, o.worker.hub, o.pace())
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-gone
	})
	o.t.Cleanup(stop)
	return stop
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
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
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
