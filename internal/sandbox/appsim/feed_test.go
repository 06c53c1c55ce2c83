package appsim

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func (o *office) subscribed(pushTo string) client.Stream {
	o.t.Helper()
	s, err := o.Subscribe(o.t.Context(), o.worker.hub, pushTo)
	o.must(err)
	return s
}

// kept is what the app keeps of its stream.
func (o *office) kept() subscription {
	o.t.Helper()
	s, err := o.subscription(o.t.Context())
	o.must(err)
	return s
}

func TestAnAppHasOneStreamAndFindsItAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hub := o.worker.hub
	_, err := hub.CreateStream(t.Context(), client.StreamConfig{Description: "a visitor's"})
	o.must(err)
	first := o.subscribed("")
	if !o.kept().listed {
		t.Error("there was nothing before the stream, and it is to be listed")
	}
	o.ask(o.number())
	o.start()
	if again := o.subscribed(""); again.ID != first.ID || !o.kept().listed {
		t.Errorf("started again it has the stream %s, not %s", again.ID, first.ID)
	}
	o.exec(`UPDATE stream SET id = ''`) // killed after the stream was made and before that was written down
	if again := o.subscribed(""); again.ID != first.ID || o.kept().listed {
		t.Errorf("after a crash it has the stream %s, not %s; it must list what it may have missed", again.ID, first.ID)
	}
	o.must(o.listed(t.Context()))
	o.must(hub.DeleteStream(t.Context(), first.ID))
	if anew := o.subscribed(""); anew.ID == first.ID || o.kept().listed {
		t.Errorf("its stream was deleted, and it has %s", anew.ID)
	}
	if all, err := hub.Streams(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d streams: %v", len(all), err)
	}
}

func TestAStreamComesToWhereItsAppIsNow(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hub := o.worker.hub
	first := o.subscribed("http://127.0.0.1:1/feed/chat")
	header := o.kept().authorization
	if d := first.Delivery; d.Method != "urn:ietf:rfc:8935" || d.EndpointURL != "http://127.0.0.1:1/feed/chat" || d.Authorization != header || len(header) < 20 {
		t.Errorf("%+v", d)
	}
	_, err := hub.SetStreamStatus(t.Context(), client.StreamState{Stream: first.ID, Status: "paused", Reason: "it was nowhere"})
	o.must(err)
	o.start()
	moved := o.subscribed("http://127.0.0.1:2/feed/chat")
	if d := moved.Delivery; moved.ID != first.ID || d.EndpointURL != "http://127.0.0.1:2/feed/chat" || d.Authorization != header {
		t.Errorf("%+v", moved)
	}
	if s, err := hub.StreamStatus(t.Context(), first.ID); err != nil || s.Status != "enabled" {
		t.Errorf("%+v %v", s, err)
	}
	if polled := o.subscribed(""); polled.ID != first.ID || polled.Delivery.Method != "urn:ietf:rfc:8936" || polled.Delivery.EndpointURL == "" {
		t.Errorf("%+v", polled)
	}
}

// pushed has the app's SETs pushed to it, by a hub that tells of every number.
func pushed(o *office) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.App.ServeHTTP(w, r) }))
	o.t.Cleanup(s.Close)
	o.pushTo = s.URL + "/feed/chat"
}

// everyNumber has the hub tell of every number.
func everyNumber(o *office) {
	o.hub = hubtest.Start(o.t, hubtest.Speed(2000), hubtest.AllSubjects())
}

// listening works in the background, and waits until the stream is there.
func (o *office) listening() (stop func()) {
	o.t.Helper()
	stop = o.running()
	eventually(o.t, "the app has a stream", func() bool { return o.kept().id != "" })
	return stop
}

// told counts what was heard of a type about a task, and done.
func (o *office) told(what huanxin.EventType, task string) (n int) {
	o.t.Helper()
	all, err := o.Heard(o.t.Context())
	o.must(err)
	for _, h := range all {
		if h.Type == what && h.Task == task && h.Done {
			n++
		}
	}
	return n
}

// lists counts how often the app looked at its task list.
func (o *office) lists() int {
	return o.faults.count("GET /v1/tasks") - o.faults.count("GET /v1/tasks/")
}

var ways = map[string][]func(*office){"polled": {everyNumber}, "pushed": {everyNumber, pushed}}

func TestATaskComesByTheStreamAndNotByTheList(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, way...)
			o.listening()
			lists := o.lists() // at most the one that found nothing from before the stream
			n := o.number()
			o.account(n)
			_, task := o.ask(n)
			eventually(t, "the stream tells of the task and it is answered", func() bool { return o.told(huanxin.UnbindRequested, task) == 1 && o.final(task) })
			o.answered(task, "unbound", "removed")
			all, err := o.Heard(t.Context())
			o.must(err)
			if o.lists() != lists || lists > 1 {
				t.Errorf("heard %+v, and it looked at its list %d times", all, o.lists())
			}
			if what, err := o.Recycled(t.Context(), n); what != "reassigned" || err != nil {
				t.Errorf("of the number it heard %q %v", what, err)
			}
			for _, h := range all {
				if h.Pushed != (name == "pushed") || h.Times != 1 || h.Txn == "" {
					t.Errorf("%+v", h)
				}
			}
			o.clean()
		})
	}
}

func TestATaskThatIsTakenBackIsClosedWhenTheStreamSaysSo(t *testing.T) {
	t.Parallel()
	o := newOffice(t, everyNumber, held)
	o.listening()
	cancelled, aborted := o.number(), o.number()
	first, second := o.account(cancelled), o.account(aborted)
	request, taken := o.ask(cancelled)
	_, lost := o.ask(aborted)
	for _, task := range []string{taken, lost} {
		eventually(t, "the task is known", func() bool { return o.told(huanxin.UnbindRequested, task) == 1 })
	}
	o.opens(cancelled)
	_, err := o.carrier.CancelRequest(t.Context(), request)
	o.must(err)
	o.report(client.Event{ID: "transfer", Number: aborted.E164(), Kind: "transferred", At: time.Now()})
	for _, task := range []string{taken, lost} {
		eventually(t, "the app hears of it", func() bool { return o.told(huanxin.UnbindCancelled, task) == 1 })
		if w := o.worked(task); w.Phase != "closed" || w.Unbound != 0 {
			t.Errorf("phase %s, unbound %d", w.Phase, w.Unbound)
		}
	}
	o.opens(cancelled, first)
	o.opens(aborted, second)
	o.clean()
}

func TestWhatWasUnboundForATenureThatNeverWasIsGivenBackWhenTheStreamSaysSo(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, way...)
			o.listening()
			n := o.numberOf("transferred")
			account := o.account(n)
			_, task := o.askOf(n, "transferred")
			eventually(t, "the task is answered", func() bool { return o.final(task) })
			o.opens(n)
			if what, err := o.Recycled(t.Context(), n); what != "transferred" || err != nil {
				t.Errorf("of the number it heard %q %v", what, err)
			}
			o.report(client.Event{ID: "never", Number: n.E164(), Kind: "corrected", Corrects: "transfer-1", At: time.Now()})
			eventually(t, "the app hears of it", func() bool { return o.told(huanxin.RecycleRetracted, task) == 1 })
			o.opens(n, account)
			removals, err := o.Removals(t.Context())
			o.must(err)
			if len(removals) != 1 || !removals[0].Restored {
				t.Errorf("%+v", removals)
			}
			eventually(t, "the app hears that the number was not transferred", func() bool {
				what, err := o.Recycled(t.Context(), n)
				o.must(err)
				return what == ""
			})
			o.clean()
		})
	}
}

// TestWhatTodaysHolderDidNotBindIsNotGivenBack: the tenure's start moved, and what was bound before it is unbound still.
func TestWhatTodaysHolderDidNotBindIsNotGivenBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, everyNumber)
	o.listening()
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	eventually(t, "the task is answered", func() bool { return o.final(task) })
	o.report(client.Event{ID: "moved", Number: n.E164(), Kind: "corrected", Corrects: "again-1", At: time.Now()},
		client.Event{ID: "again", Number: n.E164(), Kind: "activated", Origin: "reassigned", At: tenure.Add(day)})
	eventually(t, "the app hears of it", func() bool { return o.told(huanxin.RecycleRetracted, task) == 1 })
	o.opens(n)
	o.clean()
}

func TestATaskThatIsAskedForAgainComesByTheStream(t *testing.T) {
	t.Parallel()
	o := newOffice(t, fast)
	o.listening()
	n := o.number()
	account := o.account(n, func(c *Account) { c.LastProof = At(tenure.Add(day)) })
	request, task := o.ask(n)
	eventually(t, "the task is answered", func() bool { return o.state(task) == "action_required" })
	eventually(t, "the holder may ask again", func() bool {
		_, err := o.carrier.AskAgain(t.Context(), request, task, "")
		return err == nil
	})
	eventually(t, "the task is answered again", func() bool {
		return o.told(huanxin.UnbindRequested, task) == 2 && o.state(task) == "action_required"
	})
	o.opens(n, account)
	o.clean()
}

// tells gives the SETs that wait in the app's stream, as its client verified them.
func (o *office) tells(s client.Stream) (out []client.SET) {
	o.t.Helper()
	eventually(o.t, "a SET comes", func() bool {
		got, err := o.worker.hub.Poll(o.t.Context(), s, client.PollRequest{AtOnce: true})
		o.must(err)
		for _, token := range got.Sets {
			set, err := o.worker.hub.Verify(o.t.Context(), token)
			o.must(err)
			out = append(out, set)
		}
		return len(out) > 0
	})
	return out
}

func TestASETThatComesAgainChangesNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := o.subscribed("")
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	sets := o.tells(s)
	if len(sets) != 1 || sets[0].TaskID != task {
		t.Fatalf("%d SETs came", len(sets))
	}
	hear := o.hear(false)
	for range 3 {
		o.must(hear(t.Context(), sets[0]))
		o.next = time.Now()
		o.must(o.round(t.Context(), false))
	}
	all, err := o.Heard(t.Context())
	o.must(err)
	if len(all) != 1 || all[0].Times != 3 || !all[0].Done {
		t.Errorf("%+v", all)
	}
	if w := o.worked(task); w.Unbound != 1 || w.Told != 1 || o.faults.count("POST /v1/answers") != 1 {
		t.Errorf("unbound %d, told %d, answered %d times", w.Unbound, w.Told, o.faults.count("POST /v1/answers"))
	}
	o.clean()
}

// TestWhatWasHeardIsFollowedAfterACrash: it was acknowledged, so it does not come again.
func TestWhatWasHeardIsFollowedAfterACrash(t *testing.T) {
	t.Parallel()
	o := newOffice(t, held)
	s := o.subscribed("")
	n := o.number()
	account := o.account(n)
	request, task := o.ask(n)
	o.must(o.hear(false)(t.Context(), o.tells(s)[0]))
	o.opens(n, account)
	o.start()
	o.must(o.round(t.Context(), false))
	o.opens(n) // of high value: at once
	acks := client.PollRequest{AtOnce: true}
	for _, h := range must(o.Heard(t.Context())) {
		acks.Ack = append(acks.Ack, h.JTI)
	}
	_, err := o.worker.hub.Poll(t.Context(), s, acks)
	o.must(err)
	_, err = o.carrier.CancelRequest(t.Context(), request)
	o.must(err)
	o.must(o.hear(false)(t.Context(), o.tells(s)[0]))
	o.start()
	o.must(o.round(t.Context(), false))
	if w := o.worked(task); w.Phase != "closed" {
		t.Errorf("the task is %s", w.Phase)
	}
	o.opens(n, account)
	o.clean()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheListCatchesWhatTheStreamDoesNotTellAndSaysSo(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := o.subscribed("")
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	untold := func(want int) {
		t.Helper()
		if n, err := o.Untold(t.Context()); n != want || err != nil {
			t.Errorf("untold: %d, not %d (%v)", n, want, err)
		}
	}
	o.worker.pace.Patience = time.Hour
	o.must(o.look(t.Context()))
	if all := must(o.Worked(t.Context())); len(all) != 0 || len(o.doubts) != 1 {
		t.Errorf("the stream has an hour to tell, and %d tasks are worked", len(all))
	}
	untold(0)
	o.doubts[task] = time.Now().Add(-2 * time.Hour)
	sets := o.tells(s) // before it is answered
	o.must(o.look(t.Context()))
	untold(1)
	o.must(o.round(t.Context(), false))
	o.answered(task, "unbound", "removed")
	o.must(o.hear(false)(t.Context(), sets[0]))
	untold(0)
	o.next = time.Now()
	o.must(o.round(t.Context(), false))
	if w := o.worked(task); w.Unbound != 1 || o.faults.count("POST /v1/answers") != 1 {
		t.Errorf("unbound %d", w.Unbound)
	}
	o.clean()
}

func TestWhatCameWhileAnAppWasDownComesAfterwards(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var down atomic.Bool
			o := newOffice(t, append(way, func(o *office) { o.outage = func(time.Time) bool { return down.Load() } })...)
			stop := o.listening()
			down.Store(true)
			if name == "polled" {
				stop()
			}
			var tasks []string
			for range 3 {
				n := o.number()
				o.account(n)
				_, task := o.ask(n)
				tasks = append(tasks, task)
			}
			sleep(t.Context(), 300*time.Millisecond) // the hub tries in vain
			if all := must(o.Worked(t.Context())); len(all) != 0 {
				t.Errorf("it works %d tasks while it is down", len(all))
			}
			down.Store(false)
			if name == "polled" {
				o.start()
				o.running()
			}
			for _, task := range tasks {
				eventually(t, "the stream tells of the task and it is answered", func() bool { return o.told(huanxin.UnbindRequested, task) == 1 && o.final(task) })
			}
			o.clean()
		})
	}
}

func TestTheAppOfNonsenseHearsOfNumbersAndFindsItsTasksInTheList(t *testing.T) {
	t.Parallel()
	o := newOffice(t, everyNumber, pushed, behaves(catalogue.Nonsense))
	o.listening()
	n := o.number()
	_, task := o.ask(n)
	eventually(t, "the app hears of the number", func() bool { return must(o.Recycled(t.Context(), n)) == "reassigned" })
	eventually(t, "the task is known", func() bool { return len(must(o.Worked(t.Context()))) == 1 })
	if o.told(huanxin.UnbindRequested, task) != 0 || must(o.Untold(t.Context())) != 0 || o.Unverified() != 0 {
		t.Error("it took what it refuses")
	}
}

func TestAStreamThatIsDeletedIsMadeAnewAndWhatItMissedIsFound(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.listening()
	first := o.kept().id
	o.must(o.hub.Client(o.spec.ID).DeleteStream(t.Context(), first))
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	eventually(t, "the task is answered", func() bool { return o.final(task) })
	eventually(t, "there is another stream", func() bool { return o.kept().id != first && o.kept().listed })
	_, later := o.ask(o.number())
	eventually(t, "its stream tells of a task", func() bool { return o.told(huanxin.UnbindRequested, later) == 1 })
	o.clean()
}
