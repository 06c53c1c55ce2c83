package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// embedder is a program that an agent is a part of, and what it was told.
type embedder struct {
	mu       sync.Mutex
	heard    []client.SET
	answered []string
	refuses  func(client.SET) error
}

func (e *embedder) hear(_ context.Context, s client.SET) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, s)
	if e.refuses != nil {
		return e.refuses(s)
	}
	return nil
}

func (e *embedder) answers(task string, v huanxin.Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered = append(e.answered, task+" "+v.Outcome.String()+" "+v.Reason.String())
}

func (e *embedder) times(want func(client.SET) bool) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.heard {
		if want(s) {
			n++
		}
	}
	return n
}

func asking(task string) func(client.SET) bool {
	return func(s client.SET) bool { return s.Type == huanxin.UnbindRequested && s.TaskID == task }
}

func (e *embedder) embeds(o *office) {
	o.options.Heard, o.options.Answered, o.options.ListLater = e.hear, e.answers, true
	o.options.Events = []huanxin.EventType{huanxin.IdentifierRecycled}
}

// TestWhoEmbedsAnAgentHearsWhatItHears polled and pushed, where nothing of the agent's listens.
func TestWhoEmbedsAnAgentHearsWhatItHears(t *testing.T) {
	for _, mode := range []string{"poll", "push"} {
		t.Run(mode, func(t *testing.T) {
			e := &embedder{}
			o := newOffice(t, withHub(hubtest.Start(t, hubtest.AllSubjects())), withConfig(quick), e.embeds, func(o *office) { o.servesPushes(mode) })
			o.runs()
			o.eventually("the stream", func() bool { all, err := o.app.Streams(t.Context()); return err == nil && len(all) == 1 })
			n := o.number()
			b := o.bind(n)
			task := o.ask(n)
			o.eventually("the answer", func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return slices.Equal(e.answered, []string{task + " unbound removed"})
			})
			if e.times(asking(task)) != 1 || o.bound(b) {
				t.Errorf("it heard of the task %d times", e.times(asking(task)))
			}
			if e.times(func(s client.SET) bool { return s.Type == huanxin.IdentifierRecycled && s.Number == n }) != 1 {
				t.Error("it did not hear that the number has another holder")
			}
		})
	}
}

// servesPushes has the office's own server be where the hub pushes to.
func (o *office) servesPushes(mode string) {
	if mode != "push" {
		return
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := o.agent.Pushes()
		o.must(err)
		h.ServeHTTP(w, r)
	}))
	o.Cleanup(s.Close)
	o.config.Delivery = DeliveryConfig{Mode: "push", URL: s.URL, ListEvery: Duration(time.Hour)}
	o.options.Authorization = "Bearer of-a-test"
}

// TestWhatTheEmbedderDoesNotTakeIsNotTakenIn: refused it comes no more, and it is no fault of the hub's; after an error it comes again.
func TestWhatTheEmbedderDoesNotTakeIsNotTakenIn(t *testing.T) {
	for _, mode := range []string{"poll", "push"} {
		t.Run(mode, func(t *testing.T) {
			e := &embedder{}
			o := newOffice(t, withHub(hubtest.Start(t)), withConfig(quick), e.embeds, func(o *office) { o.servesPushes(mode) })
			refused := o.number()
			e.refuses = func(s client.SET) error {
				if s.Number == refused {
					return &client.SetError{Err: "invalid_request"}
				}
				return nil
			}
			if mode == "push" { // which the hub tries again at once
				first := true
				refuses := e.refuses
				e.refuses = func(s client.SET) error {
					if s.Number != refused && first {
						first = false
						return errors.New("not now")
					}
					return refuses(s)
				}
			}
			o.runs()
			o.eventually("the stream", func() bool { all, err := o.app.Streams(t.Context()); return err == nil && len(all) == 1 })
			task := o.ask(refused)
			other := o.ask(o.number())
			o.eventually("the answer", o.isAnswered(other, "answered"))
			if n := e.times(asking(task)); n != 1 {
				t.Errorf("it was told %d times of what it refused", n)
			}
			if n := e.times(asking(other)); mode == "push" && n != 2 || mode == "poll" && n != 1 {
				t.Errorf("it was told %d times of what it took", n)
			}
			all, err := o.agent.Records(t.Context())
			if err != nil || len(all) != 1 || all[0].Task != other {
				t.Errorf("%+v %v", all, err)
			}
			if s, err := o.agent.Status(t.Context()); err != nil || s.RefusedSETs != 0 {
				t.Errorf("%d SETs were the hub's fault, %v", s.RefusedSETs, err)
			}
		})
	}
}

func TestAPushThatIsNoSETOfTheHubsIsCounted(t *testing.T) {
	o := newOffice(t, withConfig(quick), func(o *office) { o.servesPushes("push") })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.config.Delivery.URL, strings.NewReader("no.SET.atall"))
	o.must(err)
	req.Header.Set("Authorization", "Bearer of-a-test")
	resp, err := http.DefaultClient.Do(req)
	o.must(err)
	_ = resp.Body.Close()
	if s, err := o.agent.Status(t.Context()); err != nil || resp.StatusCode != http.StatusBadRequest || s.RefusedSETs != 1 {
		t.Errorf("%d, %d refused, %v", resp.StatusCode, s.RefusedSETs, err)
	}
}

// TestATaskIsNotWorkedBeforeItsTimeButAKeyOfHighValueStopsAtOnce as DOMAIN.md §6 asks.
func TestATaskIsNotWorkedBeforeItsTimeButAKeyOfHighValueStopsAtOnce(t *testing.T) {
	for _, class := range []string{"payment", "news"} {
		now := time.Now()
		o := newOffice(t, withClass(class), func(o *office) {
			o.options.Now = func() time.Time { return now }
			o.options.Begin = func(_ string, seen, due time.Time) time.Time {
				if !due.After(seen) {
					t.Errorf("seen %v, due %v", seen, due)
				}
				return seen.Add(30 * time.Hour)
			}
		})
		n := o.number()
		b := o.bind(n)
		task, none := o.ask(n), o.ask(o.number())
		o.work()
		if o.isKey(b) != (class == "news") || !o.bound(b) {
			t.Errorf("%s: key %v, bound %v", class, o.isKey(b), o.bound(b))
		}
		o.later(&now, 29*time.Hour)
		o.answered(task, "", "")
		o.answered(none, "", "")
		if !o.bound(b) {
			t.Errorf("%s: it was unbound before its time", class)
		}
		o.later(&now, time.Hour)
		o.answered(task, "unbound", "removed")
		o.answered(none, "not_bound", "none_found")
		o.clean()
	}
}

// TestATaskCancelledBeforeItsTimeIsLeftAlone although its key had stopped.
func TestATaskCancelledBeforeItsTimeIsLeftAlone(t *testing.T) {
	now := time.Now()
	o := newOffice(t, withClass("payment"), func(o *office) {
		o.options.Now = func() time.Time { return now }
		o.options.Begin = func(_ string, seen, _ time.Time) time.Time { return seen.Add(30 * time.Hour) }
	})
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	o.work()
	if o.isKey(b) {
		t.Error("it is a key still")
	}
	if _, err := o.carrier.CancelRequest(t.Context(), o.requests[task]); err != nil {
		t.Fatal(err)
	}
	o.must(o.agent.takeIn(t.Context(), nil, []notice{{id: task, ended: "cancelled"}}))
	o.work()
	if !o.isKey(b) {
		t.Error("it is no key again")
	}
}

// TestARetractionOfANumberRestoresWhatWasUnboundForItsTenure for a task that no SET names: it was worked when it was too late.
func TestARetractionOfANumberRestoresWhatWasUnboundForItsTenure(t *testing.T) {
	o := newOffice(t)
	e := o.transferred()
	b := o.bindText(e.Number)
	task := o.askText(e.Number, "transferred")
	other := o.number()
	stays := o.bind(other)
	o.ask(other)
	o.work()
	if o.bound(b) || o.bound(stays) {
		t.Fatal("they are bound")
	}
	o.report(client.Event{ID: "void-" + e.ID, Number: e.Number, Kind: "corrected", At: time.Now(), Corrects: e.ID})
	o.must(o.agent.takeSETs(t.Context(), []client.SET{{Type: huanxin.RecycleRetracted, Txn: o.state(task).tenure}}))
	o.eventually("restored", func() bool {
		if _, err := o.agent.Work(t.Context()); err != nil {
			t.Fatal(err)
		}
		return o.bound(b)
	})
	if o.bound(stays) {
		t.Error("what was unbound for another tenure is bound again")
	}
	if r := o.state(task); r.retracted.IsZero() {
		t.Error("the task does not know")
	}
	o.clean()
}

func TestRecordsSayWhatBecameOfTasks(t *testing.T) {
	o := newOffice(t)
	n, unclear := o.number(), o.number()
	b := o.bind(n)
	u := o.bind(unclear, unknownBound(former))
	first, second := o.ask(n), o.ask(unclear)
	o.work()
	all, err := o.agent.Records(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, want := range []Record{
		{Task: first, Phase: "done", Outcome: "unbound", Reason: "removed", Bindings: []RecordedBinding{{Binding: itoa(b), Row: 7}}},
		{Task: second, Phase: "standing", Outcome: "in_review", Reason: "bound_at_unknown", Bindings: []RecordedBinding{{Binding: itoa(u), Row: 3}}},
	} {
		got := all[i]
		if got.Task != want.Task || got.Phase != want.Phase || got.Outcome != want.Outcome || got.Reason != want.Reason || got.Sent.IsZero() ||
			got.Next.IsZero() != (want.Phase == "done") || !got.TenureStart.Equal(tenure) || len(got.Bindings) != 1 {
			t.Errorf("%+v", got)
		} else if g := got.Bindings[0]; g.Binding != want.Bindings[0].Binding || g.Row != want.Bindings[0].Row || g.Acted.IsZero() == (want.Outcome == "unbound") {
			t.Errorf("%+v", g)
		}
	}
	if s, err := o.agent.Status(t.Context()); err != nil || s.Counters["row 7"] != 1 || s.Counters["row 3"] != 1 {
		t.Errorf("%v %v", s.Counters, err)
	}
}

// TestAnAgentLooksAgainWhenItIsTold and not before its time.
func TestAnAgentLooksAgainWhenItIsTold(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	b := o.bind(n, unknownProof)
	task := o.ask(n)
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	o.exec(`UPDATE bindings SET same_person = 'yes' WHERE id = ?`, b)
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	o.must(o.agent.LookAgain(t.Context(), task))
	o.work()
	o.answered(task, "kept", "same_person")
	if err := o.agent.LookAgain(t.Context(), task); huanxin.KindOf(err) != huanxin.NotFound {
		t.Errorf("of a task that is done: %v", err)
	}
}

// TestAStreamMadeRightBeforeACrashIsFoundAgain and another agent's of the same client is not taken for it.
func TestAStreamMadeRightBeforeACrashIsFoundAgain(t *testing.T) {
	o := newOffice(t, withConfig(quick))
	theirs, err := o.app.CreateStream(t.Context(), client.StreamConfig{Description: "huanxin agent of somebody"})
	o.must(err)
	first, err := o.agent.Subscribe(t.Context())
	o.must(err)
	o.exec2(o.agent, `DELETE FROM meta WHERE name = 'stream'`)
	again, err := o.agent.Subscribe(t.Context())
	o.must(err)
	if first.ID != again.ID || first.ID == theirs.ID {
		t.Errorf("%s, then %s, beside %s", first.ID, again.ID, theirs.ID)
	}
	o.agent.o.Events = []huanxin.EventType{huanxin.NumberReleased}
	more, err := o.agent.Subscribe(t.Context())
	if o.must(err); more.ID != first.ID || !slices.Contains(more.Requested, huanxin.NumberReleased.String()) {
		t.Errorf("%+v", more)
	}
}

func TestAnAgentWaitsAsLongAsTheHubSays(t *testing.T) {
	o := newOffice(t)
	if d := o.agent.backoffAfter(1, &huanxin.Error{RetryAfter: time.Hour}); d != time.Hour {
		t.Errorf("%v", d)
	}
	if d := o.agent.backoffAfter(1, errors.New("no network")); d != o.agent.backoff(1) {
		t.Errorf("%v", d)
	}
}
