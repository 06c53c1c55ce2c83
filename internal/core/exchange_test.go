package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// telling gives one more hub on the world's store, whose streams hear of all numbers, and makes apps' clients.
func (w *world) telling() *world {
	w.Helper()
	h, err := core.New(context.Background(), core.Options{Store: w.store, Keys: w.keys, Calendar: huanxin.ChinaCalendar(),
		Durations: huanxin.DefaultDurations(), Log: quiet(), Feed: core.FeedOptions{AllNumbers: true, AllowLoopback: true}})
	must(w, err)
	w.Cleanup(func() { must(w, h.Close()) })
	for _, app := range []string{"chat", "game"} {
		if c, err := h.Client(context.Background(), app+"-1"); err != nil || c == nil {
			_, err := h.AddClient(context.Background(), core.Operator(), core.NewClient{ID: app + "-1", Party: app, Secret: true})
			must(w, err)
		}
	}
	return &world{TB: w.TB, Hub: h, store: w.store, keys: w.keys}
}

// stream makes a stream of an app, that is polled.
func (w *world) stream(app string, events ...huanxin.EventType) string {
	w.Helper()
	doc := huanxin.StreamDoc{}
	if events != nil {
		uris := make([]string, len(events))
		for i, t := range events {
			uris[i] = t.String()
		}
		doc.Requested = huanxin.Give(uris)
	}
	s, err := w.CreateStream(context.Background(), w.as(app), "https://hub.example", doc, core.Once{})
	must(w, err)
	return s.ID
}

// follow gives everything a position and lets the hub know.
func (w *world) follow() {
	w.Helper()
	w.sequence()
	must(w, w.FollowFeed(context.Background()))
}

// recycle begins tenures of numbers by re-assignment, from the n-th number on.
func (w *world) recycle(from, n int) {
	w.Helper()
	var events []huanxin.Event
	for i := range n {
		events = append(events, activated(fmt.Sprint("recycled-", from+i), from+i, huanxin.ActivatedReassigned, ago(48*time.Hour)))
	}
	w.accepts("cmcc", events...)
	w.follow()
}

func (w *world) disconnect(n int) {
	w.Helper()
	w.accepts("cmcc", line(fmt.Sprint("gone-", n), n, huanxin.Disconnected, ago(24*time.Hour)))
	w.follow()
}

const later = time.Hour // is not waited for

func (w *world) polls(app, stream string, in core.Poll) core.Exchanged {
	w.Helper()
	if in.Again == 0 {
		in.Again = later
	}
	out, err := w.PollStream(context.Background(), w.as(app), stream, in)
	must(w, err)
	if in.Again < later {
		time.Sleep(in.Again + time.Millisecond) // what was handed out comes again from now on
	}
	return out
}

// jtis gives the ids of what was handed out.
func (w *world) jtis(out core.Exchanged) (ids []string) {
	for _, s := range out.SETs {
		ids = append(ids, w.JTI(out.Stream.ID, s.No))
	}
	return ids
}

// said gives what was handed out in words: what, and of which number.
func said(out core.Exchanged) string {
	var words []string
	for _, s := range out.SETs {
		name := s.Type.String()
		name = name[strings.LastIndexAny(name, ":/")+1:]
		if !s.Number.IsZero() {
			name += fmt.Sprint(" ", s.Number.Digits()-number(0).Digits())
		}
		words = append(words, name+s.State)
	}
	return strings.Join(words, ", ")
}

func (w *world) expects(what string, out core.Exchanged, want string) {
	w.Helper()
	if got := said(out); got != want {
		w.Errorf("%s: %q came, not %q", what, got, want)
	}
}

func TestAPollBringsWhatHappensFromTheStreamsBeginOnUntilItIsSettled(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		w.recycle(1, 1)
		s := w.stream("chat")
		w.expects("a new stream", w.polls("chat", s, core.Poll{Max: 10}), "")
		w.recycle(2, 3)
		first := w.polls("chat", s, core.Poll{Max: 2, Again: time.Millisecond})
		w.expects("the first two", first, "identifier-recycled 2, identifier-recycled 3")
		if !first.More {
			t.Error("there is no more")
		}
		second := w.polls("chat", s, core.Poll{Max: 2, Acks: w.jtis(first)[:1]})
		again := w.polls("chat", s, core.Poll{Max: 3, Again: later})
		if got := said(second) + ", " + said(again); got != "identifier-recycled 3, identifier-recycled 4, " && got != "identifier-recycled 4, identifier-recycled 3, " {
			t.Errorf("then came %q", got)
		}
		if second.More || again.More {
			t.Error("there is more")
		}
		if !slices.Contains(w.jtis(second), w.jtis(first)[1]) {
			t.Error("what came again has another id")
		}
		w.polls("chat", s, core.Poll{Acks: append(w.jtis(first), w.jtis(second)...)})
		w.polls("chat", s, core.Poll{Acks: w.jtis(second)}) // once more
		w.disconnect(2)
		w.expects("later", w.polls("chat", s, core.Poll{Max: 10}), "number-released 2")
	})
}

func TestOfOneNumberTheNextSETComesWhenTheOneBeforeIsSettled(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		s := w.stream("chat")
		w.recycle(1, 1)
		w.disconnect(1)
		first := w.polls("chat", s, core.Poll{Max: 10})
		w.expects("at first", first, "identifier-recycled 1")
		w.expects("meanwhile", w.polls("chat", s, core.Poll{Max: 10}), "")
		w.expects("then", w.polls("chat", s, core.Poll{Max: 10, Acks: w.jtis(first)}), "number-released 1")
	})
}

func TestAnAckOfUnbindRequestedDeliversTheTask(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		s := w.stream("chat", huanxin.UnbindRequested, huanxin.UnbindCancelled)
		for n := 1; n <= 3; n++ {
			w.creates(w.reassigned(n, "chat", "game"))
		}
		w.follow()
		out := w.polls("chat", s, core.Poll{Max: 2, Again: time.Millisecond})
		w.expects("tasks", out, "unbind-requested 1, unbind-requested 2")
		w.polls("chat", s, core.Poll{Acks: w.jtis(out)[:1]})
		states := map[huanxin.TaskState]int{}
		must(t, w.store.Read(context.Background(), func(tx *store.Tx) error {
			all, err := tx.OpenTasks(w.Party("chat").No, 0, 0, 10)
			for _, k := range all {
				states[k.State]++
			}
			return err
		}))
		if states[huanxin.TaskDelivered] != 1 || states[huanxin.TaskQueued] != 2 {
			t.Errorf("the tasks are %v", states)
		}
		// Answered elsewhere, one that is out and one that is not: neither comes.
		for _, k := range w.tasks("chat")[1:] {
			w.answers("chat", k, huanxin.NotBound, huanxin.NoneFound)
		}
		w.expects("after the answers", w.polls("chat", s, core.Poll{Max: 10}), "")
	})
}

func TestOnlyEventsThatAreDeliveredCome(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		released, all := w.stream("chat", huanxin.NumberReleased), w.stream("game")
		w.recycle(1, 1)
		w.recycle(2, 1)
		w.disconnect(1)
		w.expects("some", w.polls("chat", released, core.Poll{Max: 10}), "number-released 1")
		out := w.polls("game", all, core.Poll{Max: 10, Again: time.Millisecond})
		w.expects("all", out, "identifier-recycled 1, identifier-recycled 2")
		_, err := w.PatchStream(context.Background(), w.as("game"), "https://hub.example", all,
			huanxin.StreamDoc{Requested: huanxin.Give([]string{huanxin.NumberReleased.String()})})
		must(t, err)
		// What is not delivered any more does not hold up what is.
		w.expects("asked for less", w.polls("game", all, core.Poll{Max: 10}), "number-released 1")
	})
}

func TestAStreamOfNamedNumbersHearsOfThose(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.telling() // makes the clients
		must(t, w.Refresh(context.Background()))
		s := w.stream("chat")
		must(t, w.ChangeSubject(context.Background(), w.as("chat"), s, number(2), false))
		w.recycle(1, 3)
		w.expects("one was added", w.polls("chat", s, core.Poll{Max: 10}), "identifier-recycled 2")
	})
}

func TestAPausedStreamHoldsAndADisabledOneDoesNot(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w = w.telling()
		s := w.stream("chat")
		set := func(to huanxin.StreamStatus) {
			t.Helper()
			_, err := w.SetStreamStatus(ctx, w.as("chat"), s, to, "")
			must(t, err)
		}
		w.recycle(1, 1)
		first := w.polls("chat", s, core.Poll{Max: 10, Again: time.Millisecond})
		w.expects("enabled", first, "identifier-recycled 1")
		must(t, w.PauseStream(ctx, core.Operator(), s, "a look at it"))
		w.recycle(2, 1)
		paused := w.polls("chat", s, core.Poll{Max: 10, Acks: w.jtis(first)})
		w.expects("paused by the operator", paused, "stream-updatedpaused")
		if paused.SETs[0].Reason != "a look at it" {
			t.Errorf("it is told %+v", paused.SETs[0].FeedEntry)
		}
		w.expects("acknowledged", w.polls("chat", s, core.Poll{Max: 10, Acks: w.jtis(paused)}), "")
		set(huanxin.StreamEnabled)
		held := w.polls("chat", s, core.Poll{Max: 10, Again: time.Millisecond})
		w.expects("enabled again", held, "identifier-recycled 2")
		set(huanxin.StreamDisabled)
		w.recycle(3, 1)
		w.expects("disabled", w.polls("chat", s, core.Poll{Max: 10}), "")
		set(huanxin.StreamEnabled)
		w.recycle(4, 1)
		w.expects("not held, but what was out comes again", w.polls("chat", s, core.Poll{Max: 10}), "identifier-recycled 2, identifier-recycled 4")
	})
}

func TestARefusedSETIsADeadLetterThatTheOperatorSendsAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w = w.telling()
		s := w.stream("chat")
		w.recycle(1, 2)
		out := w.polls("chat", s, core.Poll{Max: 10, Again: time.Millisecond})
		jti := w.jtis(out)[0]
		w.polls("chat", s, core.Poll{Acks: w.jtis(out)[1:], Errs: map[string]core.SETError{
			jti: {"invalid_request", "no \x1b[2J +8613800000001 138-0000-0002 +86 138 0000 0003 (138) 0000.0004 １３８００００００００５ \u202e" + strings.Repeat("long ", 1000)}, "nonsense": {"x", "y"}}})
		w.expects("refused", w.polls("chat", s, core.Poll{Max: 10}), "")
		dead, err := w.DeadLetters(ctx, core.Operator(), s, -100)
		must(t, err)
		if len(dead) != 1 || dead[0].JTI != jti || dead[0].Err != "invalid_request" || dead[0].Attempts != 1 || dead[0].Type != huanxin.IdentifierRecycled {
			t.Fatalf("dead letters: %+v", dead)
		}
		if d := dead[0].Description; len(d) > 500 || strings.ContainsAny(d, "\x1b\u202e") || strings.Contains(d, "138") || strings.Contains(d, "000") || strings.Contains(d, "０") {
			t.Errorf("its description is %q", d)
		}
		_, err = w.DeadLetters(ctx, w.as("chat"), s, 0)
		w.refused(err, "insufficient_scope", "admin")
		again, err := w.ReplayDead(ctx, core.Operator(), s)
		must(t, err)
		if again.Again != 1 || again.Left != 0 {
			t.Errorf("%+v", again)
		}
		back := w.polls("chat", s, core.Poll{Max: 10})
		if ids := w.jtis(back); len(ids) != 1 || ids[0] != jti {
			t.Errorf("%v comes back, not %v", ids, jti)
		}
		dead, err = w.DeadLetters(ctx, core.Operator(), s, -100)
		if err != nil || len(dead) != 0 {
			t.Errorf("left are %v, %v", dead, err)
		}
	})
}

func TestAReplayFromATimeTellsOnceMoreWithTheSameIDs(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w = w.telling()
		s := w.stream("chat")
		w.recycle(1, 5)
		first := w.polls("chat", s, core.Poll{Max: 10})
		w.polls("chat", s, core.Poll{Acks: w.jtis(first)})
		_, err := w.ReplayFrom(ctx, core.Operator(), s, time.Now().Add(time.Hour))
		must(t, err)
		w.expects("from a time that has not come", w.polls("chat", s, core.Poll{Max: 10}), "")
		_, err = w.SetStreamStatus(ctx, w.as("chat"), s, huanxin.StreamDisabled, "")
		must(t, err)
		_, err = w.SetStreamStatus(ctx, w.as("chat"), s, huanxin.StreamEnabled, "")
		must(t, err)
		_, err = w.ReplayFrom(ctx, core.Operator(), s, time.Now().Add(-time.Hour))
		must(t, err)
		if again := w.polls("chat", s, core.Poll{Max: 10}); !slices.Equal(w.jtis(again), w.jtis(first)) {
			t.Errorf("%q comes again, not %q", said(again), said(first))
		}
		_, err = w.ReplayFrom(ctx, w.as("chat"), s, time.Now())
		w.refused(err, "insufficient_scope", "admin")
		_, err = w.ReplayFrom(ctx, core.Operator(), "st_nonsense", time.Now())
		w.refused(err, "not_found", "")
	})
}

func TestAReplayOfDeadLettersMayFollowOneFromATime(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w = w.telling()
		s := w.stream("chat")
		w.recycle(1, 5)
		first := w.jtis(w.polls("chat", s, core.Poll{Max: 10}))
		w.polls("chat", s, core.Poll{Acks: first[:3], Errs: map[string]core.SETError{first[3]: {"invalid_request", ""}}})
		w.polls("chat", s, core.Poll{Acks: first[4:]})
		_, err := w.ReplayFrom(ctx, core.Operator(), s, time.Now().Add(-time.Hour))
		must(t, err)
		again, err := w.ReplayDead(ctx, core.Operator(), s)
		must(t, err)
		if again.Again != 1 {
			t.Errorf("%+v", again)
		}
		for i := range first {
			got := w.jtis(w.polls("chat", s, core.Poll{Max: 1, Again: time.Hour}))
			if !slices.Equal(got, first[i:i+1]) {
				t.Errorf("%v comes, not %v", got, first[i])
			}
		}
		w.expects("twice", w.polls("chat", s, core.Poll{Max: 10}), "")
	})
}

func TestAPollWithNothingToTellWritesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		s := w.stream("chat", huanxin.NumberReleased)
		out := w.polls("chat", s, core.Poll{Max: 10})
		w.recycle(1, 3) // nothing of it is for the stream
		holding, let, done := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() { // somebody has the only writer (SQLite), or the stream's state (PostgreSQL)
			done <- w.store.Write(context.Background(), func(tx *store.Tx) error {
				_, _, err := tx.LockStreamState(out.Stream.ID)
				close(holding)
				<-let
				return err
			})
		}()
		<-holding
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := w.PollStream(ctx, w.as("chat"), s, core.Poll{Max: 10, Acks: []string{"foreign", w.JTI(out.Stream.ID+1, 8), w.JTI(out.Stream.ID, 8)}})
		close(let)
		must(t, <-done)
		must(t, err)
	})
}

func TestAStreamIsPolledByItsOwnClient(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w = w.telling()
		s := w.stream("chat")
		_, err := w.PollStream(ctx, w.as("game"), s, core.Poll{Max: 1})
		w.refused(err, "not_found", "")
		_, err = w.PollStream(ctx, w.as("chat"), "st_nonsense", core.Poll{Max: 1})
		w.refused(err, "not_found", "")
		_, err = w.PollStream(ctx, w.as("chat", huanxin.ScopeTasksWork), s, core.Poll{Max: 1})
		w.refused(err, "insufficient_scope", "ssf.read")
		if e := w.recorded(); e.Action != "stream.poll" || e.Refused != "insufficient_scope" {
			t.Errorf("recorded is %+v", e)
		}
		for _, scope := range []huanxin.Scope{huanxin.ScopeSSFRead, huanxin.ScopeSSFManage} {
			_, err = w.PollStream(ctx, w.as("chat", scope), s, core.Poll{Max: 1})
			must(t, err)
		}
		pushed, err := w.CreateStream(ctx, w.as("chat"), "https://hub.example", huanxin.StreamDoc{Delivery: huanxin.Give(huanxin.DeliveryDoc{
			Method: huanxin.Give(huanxin.DeliverByPush.String()), Endpoint: huanxin.Give("http://127.0.0.1:9/")})}, core.Once{})
		must(t, err)
		_, err = w.PollStream(ctx, w.as("chat"), pushed.ID, core.Poll{Max: 1})
		w.refused(err, "not_found", "")
	})
}

func TestToldNumbersAreRecorded(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.telling()
		s := w.stream("chat")
		w.recycle(1, 3)
		w.polls("chat", s, core.Poll{Max: 2})
		if e := w.recorded(); e.Action != "feed.tell" || e.Client != "chat-1" || e.Subject != s || e.Detail != `{"numbers":2}` {
			t.Errorf("recorded is %+v", e)
		}
	})
}

func TestManyPollsOfOneStreamAtOnceSkipAndDoubleNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		hubs := []*world{w.telling(), w.telling()}
		w = hubs[0]
		s := w.stream("chat")
		const all = 300
		var lock sync.Mutex
		times := map[string]int{}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				w := hubs[i%2]
				var acks []string
				for {
					out, err := w.PollStream(context.Background(), w.as("chat"), s, core.Poll{Max: 7, Acks: acks, Again: later})
					if err != nil {
						t.Error(err)
						return
					}
					acks = w.jtis(out)
					lock.Lock()
					for _, id := range acks {
						times[id]++
					}
					enough := len(times) >= all
					lock.Unlock()
					if enough && len(acks) == 0 {
						return
					}
					if len(acks) == 0 {
						must(t, w.FollowFeed(context.Background()))
					}
				}
			})
		}
		for i := range 30 {
			w.recycle(1+i*all/30, all/30)
		}
		wg.Wait()
		for id, n := range times {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}
		if len(times) != all {
			t.Errorf("%d of %d came", len(times), all)
		}
	})
}
