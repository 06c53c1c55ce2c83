package conformance_test

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/conformance"
)

// receiver is a company's own program, in memory, with faults that real ones have.
type receiver struct {
	testing.TB
	faults  map[string]bool
	hub     *client.Client
	stop    context.CancelFunc
	running context.Context // until it is killed
	work    sync.WaitGroup

	mu       sync.Mutex
	accounts []*phone
	done     map[string]*verdict // by task
	stored   []client.Task       // on stable storage, before they are acknowledged
	hold     bool
}

// verdict is what was decided about a task, and whether the hub was told.
type verdict struct {
	huanxin.Verdict
	answered bool
}

type phone struct {
	account, number, bound string
	binding                huanxin.Binding
	key, exists            bool
	unbound                int
}

// newReceiver gives a company without an agent and the options of a run against it. The facts that it does not keep are named.
func newReceiver(t *testing.T, push bool, faults ...string) (*receiver, conformance.Options) {
	t.Helper()
	r := &receiver{TB: t, faults: map[string]bool{}, done: map[string]*verdict{}}
	for _, f := range faults {
		r.faults[f] = true
	}
	o := conformance.DefaultOptions()
	o.Dir, o.Listen = t.TempDir(), freeAddress(t)
	o.Connect, o.Within, o.Quiet = time.Minute, time.Minute, 700*time.Millisecond
	for _, f := range []string{"acts on every event", "does not read again", "deaf to the kill switch", "believes everything", "restores everything"} {
		if r.faults[f] {
			o.Quiet = 5 * time.Second // in which it does what it must not, also on a busy machine
		}
	}
	if r.faults["never answers"] || r.faults["forgets the digest"] {
		o.Within = 3 * time.Second // it is waited for
	}
	if r.faults["stores nothing"] || r.faults["unbinds everything"] || r.faults["answers once"] {
		o.Within = 20 * time.Second
	}
	o.Without = []string{conformance.FactClass}
	o.Inspector = r
	o.Seed = func(context.Context) error { return r.load(o.Dir) }
	o.Start = func(context.Context) error { return r.start(o, push) }
	o.Restart = func(context.Context) error { return r.restart(o, push) }
	t.Cleanup(func() {
		if r.stop != nil {
			r.stop()
		}
		r.work.Wait()
	})
	return r, o
}

// Inspect is what the company says of an account.
func (r *receiver) Inspect(_ context.Context, a *conformance.Account) (conformance.Sight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.accounts {
		if p.account == a.Name {
			return conformance.Sight{IsKey: p.key, Exists: new(p.exists), Unbound: new(p.unbound)}, nil
		}
	}
	return conformance.Sight{}, nil
}

func (r *receiver) load(dir string) error {
	f, err := os.Open(filepath.Join(dir, conformance.AccountsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return err
	}
	for _, row := range rows[1:] {
		at := func(name string) string { return row[slices.Index(rows[0], name)] }
		p := &phone{account: at("account"), number: at("number"), bound: at("bound_at"), key: true, exists: true}
		moment := func(name string) huanxin.Moment {
			t, _ := time.Parse(time.RFC3339, at(name))
			return huanxin.Exactly(t)
		}
		p.binding.FirstBound, p.binding.LastProof = moment("bound_at"), moment("last_proof")
		if d, err := huanxin.ParseDate(at("bound_day")); err == nil {
			p.binding.FirstBound = huanxin.OnDay(d, huanxin.China)
		}
		if at("last_proof_never") == "1" {
			p.binding.LastProof = huanxin.Never()
		}
		p.binding.SamePerson = map[string]huanxin.Tri{"yes": huanxin.Yes, "no": huanxin.No}[at("same_person")]
		r.accounts = append(r.accounts, p)
	}
	return nil
}

func (r *receiver) start(o conformance.Options, push bool) error {
	secret, err := os.ReadFile(filepath.Join(o.Dir, conformance.SecretFile))
	if err != nil {
		return err
	}
	r.hub = client.New(client.Options{URL: "http://" + o.Listen, ID: o.ClientID, Secret: strings.TrimSpace(string(secret))})
	ctx, cancel := context.WithCancel(r.Context())
	r.stop, r.running = cancel, ctx
	wanted := client.StreamConfig{Events: []huanxin.EventType{huanxin.UnbindRequested, huanxin.UnbindCancelled, huanxin.RecycleRetracted}}
	if push {
		s := httptest.NewServer(r.endpoint(ctx))
		context.AfterFunc(ctx, s.Close)
		wanted.PushTo, wanted.Authorization = s.URL, "Bearer us"
	}
	stream, err := r.hub.CreateStream(ctx, wanted)
	if err != nil {
		return err
	}
	r.work.Go(func() {
		for ctx.Err() == nil {
			if self, err := r.hub.Self(ctx); err == nil {
				r.mu.Lock()
				r.hold = self.Hold && !r.faults["deaf to the kill switch"]
				r.mu.Unlock()
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	if !push {
		r.work.Go(func() { r.poll(ctx, stream) })
	}
	return nil
}

// restart kills the company and begins it again: what was stored is there, and a company that lists goes on from there, which this one does not.
func (r *receiver) restart(o conformance.Options, push bool) error {
	r.stop()
	r.work.Wait()
	if err := r.start(o, push); err != nil {
		return err
	}
	if r.faults["stores nothing"] {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.stored {
		if d := r.done[t.ID]; d == nil || !d.answered {
			r.work.Go(func() { r.do(r.running, t) })
		}
	}
	return nil
}

func (r *receiver) poll(ctx context.Context, stream client.Stream) {
	var in client.PollRequest
	for ctx.Err() == nil {
		out, err := r.hub.Poll(ctx, stream, in)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		in = client.PollRequest{}
		for jti, token := range out.Sets {
			if e := r.take(ctx, token); e != nil {
				if in.Refused == nil {
					in.Refused = map[string]client.SetError{}
				}
				in.Refused[jti] = *e
			} else {
				in.Ack = append(in.Ack, jti)
			}
		}
	}
}

func (r *receiver) endpoint(ctx context.Context) http.Handler {
	if r.faults["believes everything"] {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			text, _ := io.ReadAll(req.Body)
			_ = r.take(ctx, string(text))
			w.WriteHeader(http.StatusAccepted)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.faults["takes any authorization"] && req.Header.Get("Authorization") != "" {
			req.Header.Set("Authorization", "Bearer us")
		}
		r.hub.Pushes("Bearer us", func(_ context.Context, s client.SET) error {
			r.react(ctx, s)
			return nil
		}, nil).ServeHTTP(w, req)
	})
}

// take verifies a SET, or does not, and acts.
func (r *receiver) take(ctx context.Context, token string) *client.SetError {
	s, err := r.hub.Verify(ctx, token)
	if err != nil && r.faults["believes everything"] {
		s, err = believe(token), nil
	}
	if err != nil {
		return &client.SetError{Err: "authentication_failed"}
	}
	r.react(ctx, s)
	return nil
}

// believe reads a SET as whoever does not verify it.
func believe(token string) (s client.SET) {
	var in struct {
		Subject struct {
			Number string `json:"phone_number"`
		} `json:"sub_id"`
		Events map[string]client.Task `json:"events"`
	}
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	_ = json.Unmarshal(text, &in)
	for uri, t := range in.Events {
		s.Type, _ = huanxin.ParseEventType(uri)
		s.Task = t
	}
	s.Task.Number = in.Subject.Number
	return s
}

func (r *receiver) react(ctx context.Context, s client.SET) {
	if s.Type == huanxin.UnbindRequested {
		r.mu.Lock()
		r.stored = append(r.stored, s.Task)
		r.mu.Unlock()
		r.work.Go(func() { r.do(ctx, s.Task) })
	}
	if s.Type == huanxin.RecycleRetracted && s.TaskID != "" && !r.faults["restores nothing"] {
		r.work.Go(func() { r.restore(ctx, s) })
	}
}

// restore undoes what was done for a task, by rule 15: where its account was bound in today's tenure, and the number nowhere else.
func (r *receiver) restore(ctx context.Context, s client.SET) {
	for range 10 {
		time.Sleep(200 * time.Millisecond) // checks lag behind the feed
		r.mu.Lock()
		var gone []*phone
		elsewhere := false
		for _, p := range r.accounts {
			if p.number == s.Number.E164() {
				if elsewhere = elsewhere || p.key; !p.key {
					gone = append(gone, p)
				}
			}
		}
		r.mu.Unlock()
		for _, p := range gone {
			_, answer, err := r.hub.Check(ctx, p.number, p.bound)
			if holds := err == nil && answer.Outcome == "UNCHANGED" && !elsewhere; holds || r.faults["restores everything"] {
				r.mu.Lock()
				p.key = true
				r.mu.Unlock()
			}
		}
	}
}

func (r *receiver) do(ctx context.Context, t client.Task) {
	for r.held() {
		time.Sleep(50 * time.Millisecond)
	}
	if r.faults["never answers"] {
		return
	}
	early := !r.faults["does not read again"] && !r.faults["reads after it acted"]
	if early && !r.stillOpen(ctx, t) {
		return
	}
	v, ok := r.decide(t)
	if !ok || r.faults["reads after it acted"] && !r.stillOpen(ctx, t) {
		return
	}
	a := client.AnswerTo(t, v.Outcome.String(), v.Reason.String())
	if r.faults["forgets the digest"] {
		a.Digest = ""
	}
	for ctx.Err() == nil {
		_, err := r.hub.Answer(ctx, a)
		if k := huanxin.KindOf(err); err == nil || k != huanxin.Unavailable && k != huanxin.Internal || r.faults["answers once"] {
			r.mu.Lock()
			r.done[t.ID].answered = true
			r.mu.Unlock()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.work.Go(func() { r.later(ctx, t, v) })
}

// later does what a company does that is right until somebody has looked.
func (r *receiver) later(ctx context.Context, t client.Task, v huanxin.Verdict) {
	if !client.Pause(ctx, 1500*time.Millisecond) {
		return
	}
	if r.faults["asks nobody"] && v.Outcome == huanxin.InReview {
		_, _ = r.hub.Answer(ctx, client.AnswerTo(t, "not_bound", "none_found"))
	}
	if !r.faults["unbinds after the answer"] {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.accounts {
		_, _, row := huanxin.Decide(huanxin.Claim{Start: huanxin.Exactly(t.Tenure.StartedAt), Known: true}, p.binding)
		p.key = p.key && (p.number != t.Number || row == 1)
	}
}

func (r *receiver) stillOpen(ctx context.Context, t client.Task) bool {
	again, err := r.hub.Task(ctx, t.ID)
	for huanxin.KindOf(err) == huanxin.Unavailable && client.Pause(ctx, 100*time.Millisecond) {
		again, err = r.hub.Task(ctx, t.ID)
	}
	state, _ := huanxin.ParseTaskState(again.State)
	return err == nil && state.Open()
}

func (r *receiver) held() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hold
}

func (r *receiver) decide(t client.Task) (v huanxin.Verdict, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.done[t.ID]; d != nil && !r.faults["acts on every event"] {
		return d.Verdict, !d.answered
	}
	defer func() { r.done[t.ID] = &verdict{Verdict: v} }()
	switch {
	case t.Kind != "unbind" && !r.faults["every kind is unbind"]:
		if r.faults["serves every kind"] {
			return huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}, true
		}
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}, true
	case r.faults["keeps everything"]:
		return huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}, true
	}
	claim := huanxin.Claim{Start: huanxin.Exactly(t.Tenure.StartedAt), Known: true}
	if t.Tenure.Origin == "unknown" {
		claim = huanxin.Claim{Start: huanxin.OnDay(huanxin.DateOf(t.Tenure.StartedAt, huanxin.China), huanxin.China)}
	}
	var all []huanxin.Verdict
	for _, p := range r.accounts {
		if p.number != t.Number || !p.key && !r.faults["acts on every event"] || r.faults["knows no new segments"] && strings.HasPrefix(p.number, "+8619") {
			continue
		}
		var one huanxin.Verdict
		one.Outcome, one.Reason, _ = huanxin.Decide(claim, p.binding)
		if r.faults["unbinds everything"] {
			one = huanxin.Verdict{Outcome: huanxin.Unbound, Reason: huanxin.Removed}
		}
		if one.Outcome == huanxin.Unbound {
			p.key = false
			p.unbound++
			p.exists = p.exists && !r.faults["deletes accounts"]
		}
		all = append(all, one)
	}
	v.Outcome, v.Reason = huanxin.Combine(all)
	return v, true
}

// TestACompanyWithoutAnAgentIsToldWhatIsWrong by one fault each.
func TestACompanyWithoutAnAgentIsToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	forged := []string{"forged-signature", "forged-none", "forged-kid", "forged-embedded-key", "forged-audience", "forged-issuer", "forged-type", "forged-hmac", "forged-cancelled", "forged-retracted"}
	for fault, c := range map[string]struct {
		push bool
		want []string
	}{
		"no fault":                {false, nil},
		"no fault, by push":       {true, nil},
		"acts on every event":     {false, []string{"duplicates", "cancelled", "cancelled-meanwhile", "aborted", "order", "read-again", "restart"}},
		"does not read again":     {false, []string{"cancelled", "cancelled-meanwhile", "aborted", "order", "read-again"}},
		"reads after it acted":    {false, []string{"cancelled", "cancelled-meanwhile", "aborted", "order"}},
		"deaf to the kill switch": {false, []string{"kill-switch"}},
		"forgets the digest":      {false, nil},
		"answers once":            {false, []string{"answer-lost"}},
		"deletes accounts":        {false, []string{"rule-2"}},
		"restores everything":     {true, []string{"restore-taken", "restore-moved"}},
		"knows no new segments":   {false, []string{"segments"}},
		"takes any authorization": {true, []string{"forged-sender"}},
		"stores nothing":          {false, []string{"restart"}},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r, o := newReceiver(t, c.push, fault)
			r.faults["does not read again"] = fault == "acts on every event" || r.faults["does not read again"]
			rep, by := judged(t, o)
			if fault == "forgets the digest" {
				if r := by["answers"]; r.Outcome != conformance.Failed || !strings.Contains(r.Seen.En, "required") {
					t.Errorf("answers: %s %s", r.Outcome, r.Seen.En)
				}
				return
			}
			fails(t, rep, c.want...)
		})
	}
	t.Run("believes everything", func(t *testing.T) {
		t.Parallel()
		for name, push := range map[string]bool{"poll": false, "push": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, o := newReceiver(t, push, "believes everything", "does not read again")
				_, by := judged(t, o)
				for _, code := range forged {
					if r := by[code]; r.Outcome != conformance.Failed {
						t.Errorf("%s %s: %s", code, r.Outcome, r.Seen.En)
					}
				}
				if push && by["forged-sender"].Outcome != conformance.Failed {
					t.Error("whoever sends is believed")
				}
			})
		}
	})
}

// TestACompanyThatUnbindsEverythingBreaksRuleOne whatever it answers.
func TestACompanyThatUnbindsEverythingBreaksRuleOne(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false, "unbinds everything")
	rep, by := judged(t, o)
	for _, code := range []string{"row-1", "row-1-instant", "row-1-day", "row-2", "row-3", "row-4-hours", "row-5", "row-6", "several-unbound", "rule-1"} {
		if by[code].Outcome != conformance.Failed {
			t.Errorf("%s: %s", code, by[code].Outcome)
		}
	}
	if rep.OK() || by["row-7"].Outcome != conformance.Passed {
		t.Error("row 7")
	}
}

// TestAKindOfTaskIsNotTakenForAnother: whoever serves all of them and unbinds for each loses accounts that nobody asked for.
func TestAKindOfTaskIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string][]string{
		"serves every kind":    nil,
		"every kind is unbind": {"kind-stop-contact", "kind-clear-label", "kind-lift-restriction"},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			_, o := newReceiver(t, false, fault)
			o.Kinds = []huanxin.TaskKind{huanxin.Unbind, huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction}
			rep, by := judged(t, o)
			fails(t, rep, want...)
			for _, code := range want {
				if !strings.Contains(by[code].Seen.En, "lost its number") {
					t.Errorf("%s: %s", code, by[code].Seen.En)
				}
			}
		})
	}
}

// TestWhatIsRightMustStayRight: six rows are answered rightly, and seconds later the account is taken, or the answer is another one.
func TestWhatIsRightMustStayRight(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false, "unbinds after the answer", "asks nobody")
	rep, by := judged(t, o)
	x := by["afterwards"]
	if rep.OK() || x.Outcome != conformance.Failed || x.Fix == nil || len(x.Tasks) == 0 {
		t.Errorf("%s: %s", x.Outcome, x.Seen.En)
	}
	for _, want := range []string{"lost their number later", "-2a", "-6a", "answers changed later"} {
		if !strings.Contains(x.Seen.En, want) {
			t.Errorf("%q is not in %s", want, x.Seen.En)
		}
	}
}

func TestACompanyThatKeepsEverythingFails(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false, "keeps everything")
	o.Inspector = nil
	var last conformance.Text
	o.Say = func(x conformance.Text) { last = x }
	rep, by := judged(t, o)
	if len(rep.Unseen) != 1 || last != rep.Unseen[0] || !strings.Contains(rep.Unseen[0].En, "no account was inspected") || rep.Unseen[0].Zh == "" {
		t.Errorf("what nobody saw is not said: %+v", rep.Unseen)
	}
	if err := rep.Write(o.Dir); err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(filepath.Join(o.Dir, conformance.ReportHTML)); err != nil || !strings.Contains(string(page), rep.Unseen[0].Zh) {
		t.Error("the page does not say that no account was inspected:", err)
	}
	for _, code := range []string{"row-1", "row-3", "row-7", "none", "segments", "delivery"} {
		if by[code].Outcome != conformance.Failed {
			t.Errorf("%s: %s", code, by[code].Outcome)
		}
	}
	if by["rule-1"].Outcome != conformance.Skipped || by["restore"].Outcome != conformance.Skipped {
		t.Error("what nobody sees was judged")
	}
}

func TestACompanyThatNeverAnswersFails(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false, "never answers", "restores nothing")
	_, by := judged(t, o)
	for _, code := range []string{"row-1", "row-7", "none", "delivery", "clock", "answer-lost", "kind-clear-label"} {
		if r := by[code]; r.Outcome != conformance.Failed || !strings.Contains(by["row-7"].Seen.En, "no answer") {
			t.Errorf("%s: %s %s", code, r.Outcome, r.Seen.En)
		}
	}
}

func TestACompanyThatNeverComesIsToldWhereTheHubIs(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false)
	o.Start, o.Connect = nil, 300*time.Millisecond
	rep, by := judged(t, o)
	if rep.OK() || by["connect"].Outcome != conformance.Failed || !strings.Contains(by["connect"].Fix.En, o.Listen) {
		t.Errorf("%+v", rep.Results)
	}
}

func TestAccountsThatAreNotThereAreNoticedBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	_, o := newReceiver(t, false)
	o.Seed = nil
	rep, by := judged(t, o)
	if rep.OK() || len(rep.Results) != 1 || by["seed"].Outcome != conformance.Failed || by["seed"].Fix == nil {
		t.Errorf("%+v", rep.Results)
	}
}
