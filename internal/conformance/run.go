package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// Options say whom to look at, and how.
type Options struct {
	// Dir is where the files for the company and the report are written.
	Dir string
	// Listen and PublicURL are where the company reaches the hub; TLSCert and TLSKey speak TLS there.
	Listen, PublicURL, TLSCert, TLSKey string
	// ClientID is the company's; JWKS are its public keys, nil: it gets a secret.
	ClientID string
	JWKS     []byte
	// Class is that of the app in the registry, Kinds the kinds of task that the company works, Domains those of its links.
	Class   string
	Kinds   []huanxin.TaskKind
	Domains []string
	// Without are facts that the company does not keep: what is expected is worked out without them.
	Without []string
	// Segment is where numbers of most accounts lie: one that was never allotted, so that they are nobody's.
	Segment string
	// Connect, Within and Quiet are how long the company may take to connect and to do something, and how long nothing must happen.
	Connect, Within, Quiet time.Duration
	// Day is how long a day of the hub's clock lasts.
	Day time.Duration
	// SeedSQL are the company's statements that make one account, written to accounts.sql for all of them.
	SeedSQL string
	// Seed has the accounts made that were written; then the company may begin. Start begins it, and Restart kills and begins it again; nil: others do.
	Seed, Start, Restart func(context.Context) error
	// Gone gives what is closed when the program that Start began has ended by itself; nil: nobody knows.
	Gone func() <-chan struct{}
	// Inspector looks at the accounts; nil: it is judged by answers alone.
	Inspector Inspector
	// Say is told what happens, for people to read: one thing after the other, though scenarios run beside each other.
	Say func(Text)
	Log *slog.Logger
}

// The files that are written into Options.Dir.
const (
	SecretFile   = "secret"
	HubFile      = "hub.yaml"
	AccountsFile = "accounts.csv"
	SQLFile      = "accounts.sql"
)

// DefaultOptions are those of a run on this machine.
func DefaultOptions() Options {
	return Options{Dir: "conformance", Listen: "127.0.0.1:8099", ClientID: "company", Kinds: []huanxin.TaskKind{huanxin.Unbind}, Segment: "154",
		Connect: 5 * time.Minute, Within: time.Minute, Quiet: 5 * time.Second, Day: 30 * time.Second}
}

// run is one under way.
type run struct {
	o       Options
	hub     *hub
	front   *front
	ear     *ear
	plan    *plan
	without map[string]bool
	looking chan struct{}     // a place for each look at an account that is under way
	last    map[*Account]look // nil until somebody looked: lastLook

	mu      sync.Mutex
	asked   map[string]*asking // by task
	right   map[string]heard   // by task: the answer that was found to be right
	settled map[*Account]bool  // seen to be as it is to stay: whether the number is its key
	faulty  map[*line]bool     // a scenario about it failed
}

// asking is a task that was made.
type asking struct {
	task, request string
	line          *line
	at            time.Time
	silent        bool // no answer is expected
}

func newRun(o Options, h *hub) *run {
	tell, saying := o.Say, new(sync.Mutex)
	o.Say = func(x Text) {
		saying.Lock()
		defer saying.Unlock()
		if tell != nil {
			tell(x)
		}
	}
	r := &run{o: o, hub: h, front: h.front, ear: h.ear, plan: newPlan(o.Segment, time.Now()), without: map[string]bool{}, looking: make(chan struct{}, looksAtOnce),
		asked: map[string]*asking{}, right: map[string]heard{}, settled: map[*Account]bool{}, faulty: map[*line]bool{}}
	for _, f := range o.Without {
		r.without[f] = true
	}
	return r
}

// Run runs every scenario and gives what was found. An error says that the run itself could not be done.
func Run(ctx context.Context, o Options) (rep *Report, err error) {
	h, err := openHub(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	r := newRun(o, h)
	all := scenarios(r)
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	rep = r.newReport()
	if bad := r.unseeded(ctx); bad != nil {
		r.found(rep, *bad)
		return rep, ctx.Err()
	}
	if o.Start != nil {
		if err := o.Start(ctx); err != nil {
			return nil, err
		}
	}
	if !r.connected(ctx) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.found(rep, r.silence())
		return rep, nil
	}
	r.o.Say(say("公司已连上(%s),共 %d 项检验", "the company is connected (%s); %d scenarios", r.front.mode(), len(all)))
	r.work(ctx, all, rep)
	rep.Ended, rep.Delivery, rep.Unseen = time.Now(), r.front.mode(), r.unseen()
	for _, not := range rep.Unseen {
		r.o.Say(not)
	}
	return rep, ctx.Err()
}

// prepare tells the hub of the numbers, writes the files for the company, and has the accounts made.
func (r *run) prepare(ctx context.Context) error {
	var events []client.Event
	for _, l := range r.plan.lines {
		events = append(events, l.events...)
	}
	if err := r.report(ctx, events...); err != nil {
		return err
	}
	if err := r.write(); err != nil {
		return err
	}
	r.o.Say(say("枢纽:%s,客户端 %s;账号 %d 个:%s", "hub: %s, client %s; %d accounts: %s", r.hub.URL, r.o.ClientID, len(r.plan.accounts), filepath.Join(r.o.Dir, AccountsFile)))
	if r.o.Seed != nil {
		return r.o.Seed(ctx)
	}
	return nil
}

// unseeded looks whether the accounts are there as they were written; a finding says that they are not.
func (r *run) unseeded(ctx context.Context) *Result {
	var missing []string
	var why Text
	for _, a := range r.plan.accounts {
		s, ok, failure := r.see(ctx, a)
		if failure != "" {
			why = say("%s", "%s", failure)
		}
		if r.o.Inspector != nil && (!ok || !s.IsKey) {
			missing = append(missing, a.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	s := scenario{code: "seed", rule: "§6", title: say("账号已经建好", "The accounts are there"), why: say("没有账号就看不出什么", "nothing can be seen without them"),
		fix: say("按 %s 建账号;--inspect 对每个账号都应说号码是它的钥匙", "make the accounts of %s; --inspect says of each that the number is its key", AccountsFile)}
	f := failed(say("%d 个账号都在,号码都是钥匙", "all %d accounts are there, and each number is a key", len(r.plan.accounts)),
		say("%d 个不是,例如 %s", "%d are not, such as %s", len(missing), missing[0]).and(why))
	out := s.result(f, 0)
	return &out
}

func (r *run) write() error {
	if err := os.MkdirAll(r.o.Dir, 0o700); err != nil {
		return err
	}
	files := map[string]string{}
	credential := "  secret_file: " + SecretFile + "\n"
	if r.hub.secret != "" {
		files[SecretFile] = r.hub.secret + "\n"
	} else {
		credential = "  key_file: key.pem # 与 --jwks 对应的私钥 / the private key of --jwks\n"
	}
	files[HubFile] = fmt.Sprintf("hub:\n  url: %s\n  client_id: %s\n%s", r.hub.URL, r.o.ClientID, credential)
	var csv strings.Builder
	if err := WriteCSV(&csv, r.plan.accounts); err != nil {
		return err
	}
	files[AccountsFile] = csv.String()
	if r.o.SeedSQL != "" {
		all, err := SQL(r.o.SeedSQL, r.plan.accounts)
		if err != nil {
			return err
		}
		files[SQLFile] = strings.Join(all, ";\n") + ";\n"
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.o.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) report(ctx context.Context, events ...client.Event) error {
	receipt, err := r.hub.carrier.ReportEvents(ctx, events, time.Time{})
	if err == nil && receipt.RejectedTotal > 0 {
		err = fmt.Errorf("the hub of the run refuses an event: %s", receipt.Rejected[0].Code)
	}
	return err
}

// connected waits until the company has come, by a stream or, if it makes none, by listing.
func (r *run) connected(ctx context.Context) bool {
	r.o.Say(say("等公司的程序连上(最多 %s)", "waiting for the company's program, at most %s", r.o.Connect))
	if r.o.Gone != nil {
		waiting, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-r.o.Gone():
				cancel()
			case <-waiting.Done():
			}
		}()
		ctx = waiting
	}
	if !r.ear.until(ctx, r.o.Connect, func() bool { return !r.ear.first.IsZero() && (r.front.mode() != "list" || len(r.ear.lists) > 0) }) {
		return false
	}
	if r.front.mode() == "list" {
		r.ear.until(ctx, min(r.o.Quiet, r.o.Connect), func() bool { return r.front.mode() != "list" })
	}
	return client.Pause(ctx, min(r.o.Quiet, time.Second)) // whoever has a stream may list once more
}

// found adds a result to the report, and tells it.
func (r *run) found(rep *Report, result Result) {
	rep.add(result)
	r.o.Say(result.line())
}

// gone reports whether the company's program has ended by itself.
func (r *run) gone() bool {
	if r.o.Gone == nil {
		return false
	}
	select {
	case <-r.o.Gone():
		return true
	default:
		return false
	}
}

// work runs the scenarios, most of them at once, and then those that want to be alone.
func (r *run) work(ctx context.Context, all []*scenario, rep *Report) {
	var wg sync.WaitGroup
	one := func(s *scenario) {
		began := time.Now()
		f := s.run(ctx)
		if f.outcome == Failed && s.line != nil {
			r.mu.Lock()
			r.faulty[s.line] = true
			r.mu.Unlock()
		}
		r.found(rep, s.result(f, time.Since(began)))
	}
	for _, s := range all {
		if s.stage == together {
			wg.Go(func() { one(s) })
		}
	}
	wg.Wait()
	for _, stage := range []stage{alone, atLast} {
		for _, s := range all {
			if s.stage == stage && ctx.Err() == nil {
				one(s)
			}
		}
	}
	order := map[string]int{}
	for i, s := range all {
		order[s.code] = i
	}
	slices.SortStableFunc(rep.Results, func(a, b Result) int { return order[a.Code] - order[b.Code] })
}

// ask has the present holder of a line ask for it.
func (r *run) ask(ctx context.Context, l *line, kind huanxin.TaskKind) (*asking, error) {
	in := client.NewRequest{Number: l.number.E164(), StartedAt: l.started, Origin: l.origin.String(), Control: "sms_otp", Identity: "carrier_crm",
		Verified: time.Now(), Apps: []string{r.o.ClientID}, Kinds: []string{kind.String()}}
	made, err := r.hub.carrier.CreateRequest(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(made.Tasks) != 1 {
		return nil, fmt.Errorf("the hub of the run made %d tasks", len(made.Tasks))
	}
	a := &asking{task: made.Tasks[0].ID, request: made.ID, line: l, at: time.Now()}
	r.mu.Lock()
	r.asked[a.task] = a
	r.mu.Unlock()
	return a, nil
}

// see looks at an account. ok is false where nobody may look, or looking fails: then failure says why.
func (r *run) see(ctx context.Context, a *Account) (s Sight, ok bool, failure string) {
	if r.o.Inspector == nil {
		return s, false, ""
	}
	select {
	case r.looking <- struct{}{}:
		defer func() { <-r.looking }()
	case <-ctx.Done():
		return s, false, ""
	}
	s, err := r.o.Inspector.Inspect(ctx, a)
	if err != nil {
		text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), a.Number.E164(), "[number]"), a.national(), "[number]")
		return s, false, text
	}
	return s, true, ""
}

// Looking must not keep the company from working: so many looks are under way, and an account is looked at so often.
const (
	looksAtOnce = 2
	lookFirst   = 100 * time.Millisecond
	lookSlowest = 2 * time.Second
)

// becomes waits until the number is, or is not, a key of an account.
func (r *run) becomes(ctx context.Context, a *Account, key bool) (failure string, ok bool) {
	wait := lookFirst
	for end := time.Now().Add(r.o.Within); ; wait = min(2*wait, lookSlowest) {
		s, seen, failure := r.see(ctx, a)
		switch {
		case failure != "":
			return failure, false
		case seen && s.IsKey == key:
			return "", true
		case time.Now().After(end), !client.Pause(ctx, wait):
			return "", false
		}
	}
}
