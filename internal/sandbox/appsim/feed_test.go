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

func (o *office) subscribed() client.Stream {
	o.t.Helper()
	return must(o.Subscribe(o.t.Context()))
}

func TestAnAppHasOneStreamAndFindsItAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hub := o.hub.Client(o.spec.ID)
	_, err := hub.CreateStream(t.Context(), client.StreamConfig{Description: "a visitor's"})
	o.must(err)
	first := o.subscribed()
	o.open()
	if again := o.subscribed(); again.ID != first.ID {
		t.Errorf("started again it has the stream %s, not %s", again.ID, first.ID)
	}
	o.execState(`DELETE FROM meta WHERE name = 'stream'`) // killed after the stream was made and before that was written down
	o.open()
	if again := o.subscribed(); again.ID != first.ID {
		t.Errorf("after a crash it has the stream %s, not %s", again.ID, first.ID)
	}
	o.must(hub.DeleteStream(t.Context(), first.ID))
	if anew := o.subscribed(); anew.ID == first.ID {
		t.Errorf("its stream was deleted, and it has %s", anew.ID)
	}
	if all, err := hub.Streams(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d streams: %v", len(all), err)
	}
}

func TestAStreamComesToWhereItsAppIsNow(t *testing.T) {
	t.Parallel()
	o := newOffice(t, func(o *office) { o.o.PushTo = "http://127.0.0.1:1/feed/chat" })
	hub := o.hub.Client(o.spec.ID)
	first := o.subscribed()
	if d := first.Delivery; d.Method != "urn:ietf:rfc:8935" || d.EndpointURL != "http://127.0.0.1:1/feed/chat" || d.Authorization != o.authorization || len(d.Authorization) < 20 {
		t.Errorf("%+v", d)
	}
	_, err := hub.SetStreamStatus(t.Context(), client.StreamState{Stream: first.ID, Status: "paused", Reason: "it was nowhere"})
	o.must(err)
	o.o.PushTo = "http://127.0.0.1:2/feed/chat"
	o.open()
	moved := o.subscribed()
	if d := moved.Delivery; moved.ID != first.ID || d.EndpointURL != "http://127.0.0.1:2/feed/chat" || d.Authorization != o.authorization {
		t.Errorf("%+v", moved)
	}
	if s, err := hub.StreamStatus(t.Context(), first.ID); err != nil || s.Status != "enabled" {
		t.Errorf("%+v %v", s, err)
	}
	o.o.PushTo = ""
	o.open()
	if polled := o.subscribed(); polled.ID != first.ID || polled.Delivery.Method != "urn:ietf:rfc:8936" || polled.Delivery.EndpointURL == "" {
		t.Errorf("%+v", polled)
	}
}

// pushed has the app's SETs pushed to it, by a hub that tells of every number.
func pushed(o *office) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.App.ServeHTTP(w, r) }))
	o.t.Cleanup(s.Close)
	o.o.PushTo = s.URL + "/feed/chat"
}

// everyNumber has the hub tell of every number.
func everyNumber(o *office) {
	o.hub = hubtest.Start(o.t, hubtest.Speed(2000), hubtest.AllSubjects())
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
	return o.faults.count("GET /v1/tasks") - o.faults.count("GET /v1/tasks?ids")
}

var ways = map[string][]func(*office){"polled": {everyNumber}, "pushed": {everyNumber, pushed}}

func TestATaskComesByTheStreamAndNotByTheList(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := working(t, way...)
			n := o.number()
			o.account(n)
			_, task := o.ask(n)
			eventually(t, "the stream tells of the task and it is answered", func() bool { return o.told(huanxin.UnbindRequested, task) == 1 && o.final(task) })
			o.answered(task, "unbound", "removed")
			all, err := o.Heard(t.Context())
			o.must(err)
			if o.lists() > 1 { // at most the one for what came before the stream
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
	o := working(t, everyNumber, held)
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
		o.closed(task)
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
			o := working(t, way...)
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

// TestWhatRule15ForbidsIsNotGivenBack: the table of today is in the next test.
func TestWhatRule15ForbidsIsNotGivenBack(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *office, n huanxin.Number) []string{
		"the number is bound to another account": func(o *office, n huanxin.Number) []string {
			return []string{o.account(n, func(c *Account) { c.ID = "another" })}
		},
		"the time to restore is over": func(o *office, _ huanxin.Number) []string {
			o.execState(`UPDATE bindings SET restore_until = 1`)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := working(t, everyNumber)
			n := o.numberOf("transferred")
			o.account(n)
			_, task := o.askOf(n, "transferred")
			eventually(t, "the task is answered", func() bool { return o.final(task) })
			left := change(o, n)
			o.report(client.Event{ID: "never", Number: n.E164(), Kind: "corrected", Corrects: "transfer-1", At: time.Now()})
			eventually(t, "the app hears of it", func() bool { return o.told(huanxin.RecycleRetracted, task) == 1 })
			o.opens(n, left...)
			if removals := must(o.Removals(t.Context())); len(removals) != 1 || removals[0].Restored {
				t.Errorf("%+v", removals)
			}
		})
	}
}

// TestWhatTodaysHolderDidNotBindIsNotGivenBack: the tenure's start moved, and what was bound before it is unbound still.
func TestWhatTodaysHolderDidNotBindIsNotGivenBack(t *testing.T) {
	t.Parallel()
	o := working(t, everyNumber)
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
	o := working(t, fast)
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
	hub := o.hub.Client(o.spec.ID)
	eventually(o.t, "a SET comes", func() bool {
		got, err := hub.Poll(o.t.Context(), s, client.PollRequest{AtOnce: true})
		o.must(err)
		for _, token := range got.Sets {
			set, err := hub.Verify(o.t.Context(), token)
			o.must(err)
			out = append(out, set)
		}
		return len(out) > 0
	})
	return out
}

func TestASETThatComesAgainIsCountedAndChangesNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t, everyNumber)
	s := o.subscribed()
	n := o.number()
	sets := o.tells(s)
	if len(sets) != 1 || sets[0].Number != n {
		t.Fatalf("%d SETs came", len(sets))
	}
	for range 3 {
		o.must(o.hear(t.Context(), sets[0]))
	}
	if all := must(o.Heard(t.Context())); len(all) != 1 || all[0].Times != 3 {
		t.Errorf("%+v", all)
	}
	if polled, pushed := o.Counted(); polled != 3 || pushed != 0 {
		t.Errorf("%d by poll, %d by push", polled, pushed)
	}
}

// TestWhatHappensWhileAnAppIsGoneIsFollowedWhenItIsBack: of high value, it had stopped the key.
func TestWhatHappensWhileAnAppIsGoneIsFollowedWhenItIsBack(t *testing.T) {
	t.Parallel()
	o := working(t, held)
	n := o.number()
	account := o.account(n)
	request, task := o.ask(n)
	o.opens(n)
	o.stop()
	_, err := o.carrier.CancelRequest(t.Context(), request)
	o.must(err)
	o.opens(n)
	o.restart()
	o.closed(task)
	o.opens(n, account)
	o.clean()
}

func TestTheListCatchesWhatTheStreamDoesNotTellAndSaysSo(t *testing.T) {
	t.Parallel()
	o := newOffice(t, func(o *office) { o.o.Relist = 20 * time.Millisecond })
	o.faults.set(func(r *http.Request) (*http.Response, error) {
		if isPoll(r) {
			return nil, errNetwork
		}
		return nil, nil
	}, nil)
	o.start()
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	o.answered(task, "unbound", "removed")
	if n, err := o.Untold(t.Context()); n != 1 || err != nil {
		t.Errorf("untold: %d (%v)", n, err)
	}
	o.clean()
}

func TestWhatCameWhileAnAppWasDownComesAfterwards(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var down atomic.Bool
			o := working(t, append(way, func(o *office) { o.o.Down = func(time.Time) bool { return down.Load() } })...)
			// An agent whose stream is new lists once what was asked before, if need be after a restart.
			eventually(t, "the app has its stream", func() bool { return o.lists() == 1 })
			sleep(t.Context(), 3*beat)
			down.Store(true)
			sleep(t.Context(), 3*beat)
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
			for _, task := range tasks {
				if !within(t, func() bool { return o.told(huanxin.UnbindRequested, task) == 1 && o.final(task) }) {
					t.Fatalf("%s: told %d, final %v, heard %+v", task, o.told(huanxin.UnbindRequested, task), o.final(task), must(o.Heard(t.Context())))
				}
			}
			o.clean()
		})
	}
}

func TestTheAppOfNonsenseHearsOfNumbersAndFindsItsTasksInTheList(t *testing.T) {
	t.Parallel()
	o := working(t, everyNumber, pushed, behaves(catalogue.Nonsense))
	n := o.number()
	_, task := o.ask(n)
	eventually(t, "the app hears of the number", func() bool { return must(o.Recycled(t.Context(), n)) == "reassigned" })
	eventually(t, "the task is known", func() bool { return len(must(o.Worked(t.Context()))) == 1 })
	if o.told(huanxin.UnbindRequested, task) != 0 || must(o.Untold(t.Context())) != 0 || must(o.Unverified(t.Context())) != 0 {
		t.Error("it took what it refuses")
	}
}

func TestAStreamThatIsDeletedIsMadeAnewAndWhatItMissedIsFound(t *testing.T) {
	t.Parallel()
	o := working(t)
	first := o.streams()[0].ID
	o.must(o.hub.Client(o.spec.ID).DeleteStream(t.Context(), first))
	n := o.number()
	o.account(n)
	_, task := o.ask(n)
	eventually(t, "the task is answered", func() bool { return o.final(task) })
	eventually(t, "there is another stream", func() bool { all := o.streams(); return len(all) == 1 && all[0].ID != first })
	_, later := o.ask(o.number())
	eventually(t, "its stream tells of a task", func() bool { return o.told(huanxin.UnbindRequested, later) == 1 })
	o.clean()
}
