package client_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, what string, err error, kind huanxin.ErrorKind) {
	t.Helper()
	if huanxin.KindOf(err) != kind || huanxin.CodeOf(err) == "" {
		t.Errorf("%s: %v, want kind %v", what, err, kind)
	}
}

// eventually waits for what the hub does by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestAStreamIsManagedByItsReceiver(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	ctx, shop, bank := t.Context(), h.App("shop"), h.App("bank")
	none, err := shop.Streams(ctx)
	if err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
	polled, err := shop.CreateStream(ctx, client.StreamConfig{Description: "App One"})
	must(t, err)
	if polled.Issuer != h.URL || polled.Audience != "shop" || polled.Delivery.Method != "urn:ietf:rfc:8936" || polled.Description != "App One" ||
		len(polled.Delivered) != len(huanxin.SupportedEvents()) || !strings.HasPrefix(polled.Delivery.EndpointURL, h.URL+"/") {
		t.Errorf("%+v", polled)
	}
	pushed, err := shop.CreateStream(ctx, client.StreamConfig{PushTo: "http://127.0.0.1:1/events", Authorization: "Bearer x", WakeUp: "http://127.0.0.1:1/wake",
		Events: []huanxin.EventType{huanxin.UnbindRequested}})
	must(t, err)
	if want := (client.Delivery{Method: "urn:ietf:rfc:8935", EndpointURL: "http://127.0.0.1:1/events", Authorization: "Bearer x"}); pushed.Delivery != want ||
		!slices.Equal(pushed.Delivered, []string{huanxin.UnbindRequested.String()}) || pushed.WakeUp != "http://127.0.0.1:1/wake" {
		t.Errorf("%+v", pushed)
	}
	changed, err := shop.ChangeStream(ctx, polled.ID, map[string]any{"description": "App Two"})
	if err != nil || changed.Description != "App Two" || changed.Delivery != polled.Delivery {
		t.Error(changed, err)
	}
	all, err := shop.Streams(ctx)
	if err != nil || len(all) != 2 {
		t.Error(all, err)
	}
	state, err := shop.SetStreamStatus(ctx, client.StreamState{Stream: polled.ID, Status: "paused", Reason: "moving"})
	must(t, err)
	if read, err := shop.StreamStatus(ctx, polled.ID); err != nil || read != state || read != (client.StreamState{Stream: polled.ID, Status: "paused", Reason: "moving"}) {
		t.Error(read, state, err)
	}

	_, err = bank.StreamStatus(ctx, polled.ID)
	refused(t, "another's stream", err, huanxin.NotFound)
	_, err = bank.Poll(ctx, polled, client.PollRequest{AtOnce: true})
	refused(t, "another's stream", err, huanxin.NotFound)
	_, err = h.Carrier("cmcc").Streams(ctx)
	refused(t, "a carrier", err, huanxin.Forbidden)
	_, err = shop.CreateStream(ctx, client.StreamConfig{PushTo: "http://169.254.169.254/latest"})
	refused(t, "an address that is nobody's", err, huanxin.Invalid)
	for range 3 {
		_, err = shop.CreateStream(ctx, client.StreamConfig{})
		must(t, err)
	}
	_, err = shop.CreateStream(ctx, client.StreamConfig{})
	refused(t, "a sixth stream", err, huanxin.Conflict)
	must(t, shop.DeleteStream(ctx, polled.ID))
	refused(t, "a stream that was deleted", shop.DeleteStream(ctx, polled.ID), huanxin.NotFound)
}

// feedWorld is a hub with a carrier, an app and numbers.
type feedWorld struct {
	t       *testing.T
	hub     *hubtest.Hub
	carrier *client.Client
	shop    *client.Client
	numbers int
}

func newFeedWorld(t *testing.T, opts ...hubtest.Option) *feedWorld {
	h := hubtest.Start(t, opts...)
	return &feedWorld{t: t, hub: h, carrier: h.Carrier("cmcc"), shop: h.App("shop")}
}

// recycle makes a number change its holder, and gives it when that has its place in the log: a stream that is made now does not tell of it.
func (w *feedWorld) recycle() huanxin.Number {
	w.t.Helper()
	w.numbers++
	n, err := huanxin.ParseNumber(fmt.Sprintf("+86138004%05d", w.numbers))
	must(w.t, err)
	day := func(n int) time.Time { return today.AddDate(0, 0, -n) }
	w.report(n, client.Event{Kind: "activated", At: day(900), Origin: "first"}, client.Event{Kind: "disconnected", At: day(300)},
		client.Event{Kind: "activated", At: day(100), Origin: "reassigned"})
	eventually(w.t, "checks know the number", func() bool {
		_, a, err := w.shop.Check(w.t.Context(), n.E164(), day(500).Format(time.DateOnly))
		return err == nil && a.Outcome == huanxin.Changed.String()
	})
	return n
}

var today = time.Now().Truncate(time.Second)

func (w *feedWorld) report(n huanxin.Number, events ...client.Event) {
	w.t.Helper()
	for i := range events {
		events[i].ID, events[i].Number = fmt.Sprintf("%d-%s-%d", w.numbers, events[i].Kind, events[i].At.UnixNano()), n.E164()
	}
	r, err := w.carrier.ReportEvents(w.t.Context(), events, time.Time{})
	must(w.t, err)
	if r.RejectedTotal > 0 {
		w.t.Fatalf("%+v", r.Rejected)
	}
}

// ask makes the new holder's request, and gives its task.
func (w *feedWorld) ask(n huanxin.Number) string {
	w.t.Helper()
	made, err := w.carrier.CreateRequest(w.t.Context(), client.NewRequest{Number: n.E164(), StartedAt: today.AddDate(0, 0, -100), Origin: "reassigned",
		Control: "sms_otp", Identity: "carrier_crm", Verified: time.Now()})
	must(w.t, err)
	return made.Tasks[0].ID
}

func (w *feedWorld) stream(c client.StreamConfig) client.Stream {
	w.t.Helper()
	s, err := w.shop.CreateStream(w.t.Context(), c)
	must(w.t, err)
	return s
}

// ears take SETs, and keep them in their order.
type ears struct {
	sync.Mutex
	sets []client.SET
	say  func(client.SET) error // nil: they take all
}

func (e *ears) take(_ context.Context, s client.SET) error {
	e.Lock()
	defer e.Unlock()
	e.sets = append(e.sets, s)
	if e.say != nil {
		return e.say(s)
	}
	return nil
}

// heard counts SETs of a type.
func (e *ears) heard(what huanxin.EventType) (n int) {
	e.Lock()
	defer e.Unlock()
	for _, s := range e.sets {
		if s.Type == what {
			n++
		}
	}
	return n
}

func (e *ears) all() []client.SET {
	e.Lock()
	defer e.Unlock()
	return slices.Clone(e.sets)
}

// receive receives in the background until the test ends, or stop.
func (w *feedWorld) receive(s client.Stream, e *ears) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	gone := make(chan error, 1)
	go func() { gone <- w.shop.Receive(ctx, s, e.take, nil) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			w.t.Error("it ended with", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// TestAReceiverHearsOfANumberItsTaskAndItsEnd by poll, whatever the algorithm: the order is that of what happened, and one cause has one txn.
func TestAReceiverHearsOfANumberItsTaskAndItsEnd(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, hubtest.AllSubjects())
	var e ears
	w.receive(w.stream(client.StreamConfig{}), &e)
	n := w.recycle()
	task := w.ask(n)
	eventually(t, "the task", func() bool { return e.heard(huanxin.UnbindRequested) == 1 })
	w.report(n, client.Event{Kind: "disconnected", At: time.Now()})
	eventually(t, "the number is released", func() bool { return e.heard(huanxin.NumberReleased) == 2 })
	eventually(t, "the task is over", func() bool { return e.heard(huanxin.UnbindCancelled) == 1 })
	var got []string
	var txns []string
	for _, s := range e.all() {
		got = append(got, words(s)[:4])
		if s.Number != n {
			t.Error("a SET of another number")
		}
		if s.Type == huanxin.IdentifierRecycled || s.TaskID != "" {
			txns = append(txns, s.Txn)
		}
		switch s.Type {
		case huanxin.IdentifierRecycled:
			if s.Reason != "reassigned" || !s.StartedAt.IsZero() {
				t.Errorf("recycled: %s, since %v", s.Reason, s.StartedAt)
			}
		case huanxin.UnbindRequested:
			read, err := w.shop.Task(t.Context(), task)
			must(t, err)
			read.State = "queued"
			if s.Task != read {
				t.Error("the task is not the one that is listed")
			}
		}
	}
	slices.Sort(got[3:]) // the end of the task and of the tenure have one cause
	if s := strings.Join(got, " "); s != "rele recy requ canc rele" || len(slices.Compact(txns)) != 1 {
		t.Errorf("heard %s, txn %v", s, txns)
	}
}

func TestASubjectIsHeardOfFromWhenItIsAdded(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	s := w.stream(client.StreamConfig{})
	var e ears
	w.receive(s, &e)
	numbers := make([]huanxin.Number, 4)
	for i := range numbers {
		numbers[i] = w.recycle()
	}
	ctx := t.Context()
	must(t, w.shop.AddSubject(ctx, s.ID, numbers[0]))
	must(t, w.shop.AddSubject(ctx, s.ID, numbers[1]))
	must(t, w.shop.RemoveSubject(ctx, s.ID, numbers[1]))
	r, err := w.shop.ChangeSubjects(ctx, s.ID, numbers[2:], numbers[3:])
	if err != nil || r.Accepted+r.Duplicates != 3 || r.RejectedTotal != 0 {
		t.Errorf("%+v %v", r, err)
	}
	_, err = w.shop.ChangeSubjects(ctx, "st_nobody", numbers, nil)
	refused(t, "a stream that there is not", err, huanxin.NotFound)
	for _, n := range slices.Backward(numbers) {
		w.report(n, client.Event{Kind: "disconnected", At: time.Now()})
	}
	eventually(t, "the first number is released", func() bool { return e.heard(huanxin.NumberReleased) == 2 })
	for _, s := range e.all() {
		if s.Number != numbers[0] && s.Number != numbers[2] || s.Type != huanxin.NumberReleased {
			t.Error("it heard", s.Type, "of a number that it did not add")
		}
	}
}

func TestAVerificationComesAtOnceAndSaysWhatWasAsked(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	s := w.stream(client.StreamConfig{})
	must(t, w.shop.VerifyStream(t.Context(), s.ID, "state of mine"))
	got, err := w.shop.Poll(t.Context(), s, client.PollRequest{AtOnce: true})
	must(t, err)
	if len(got.Sets) != 1 || got.More {
		t.Fatalf("%d SETs", len(got.Sets))
	}
	for jti, token := range got.Sets {
		set, err := w.shop.Verify(t.Context(), token)
		if err != nil || set.JTI != jti || set.Type != huanxin.StreamVerification || set.State != "state of mine" || set.Stream != s.ID {
			t.Errorf("%+v %v", set, err)
		}
		_, err = w.hub.App("bank").Verify(t.Context(), token)
		var refusal *client.SetError
		if !errors.As(err, &refusal) || refusal.Err != "invalid_audience" {
			t.Errorf("another app's SET: %v", err)
		}
	}
	err = w.shop.VerifyStream(t.Context(), s.ID, "")
	refused(t, "a second one in the same minute", err, huanxin.Limited)
	var e *huanxin.Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 {
		t.Errorf("when to ask again is not said: %v", err)
	}
}

func TestWhatIsNotAcknowledgedComesAgainAndWhatIsRefusedDoesNot(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, hubtest.AllSubjects(), hubtest.Redelivery(200*time.Millisecond), hubtest.PollWait(time.Second))
	failed := map[huanxin.Number]int{}
	e := ears{}
	refusedOne, lateOne := w.recycle(), w.recycle() // before the stream
	e.say = func(s client.SET) error {
		switch failed[s.Number]++; {
		case s.Number == refusedOne:
			return &client.SetError{Err: "invalid_request", Description: "not here"}
		case s.Number == lateOne && failed[s.Number] < 3:
			return errors.New("the disk is full")
		}
		return nil
	}
	w.receive(w.stream(client.StreamConfig{}), &e)
	for _, n := range []huanxin.Number{refusedOne, lateOne} {
		w.report(n, client.Event{Kind: "disconnected", At: time.Now()})
	}
	eventually(t, "the last one was taken", func() bool { return e.heard(huanxin.NumberReleased) == 4 })
	last := w.recycle()
	eventually(t, "what comes after", func() bool { return e.heard(huanxin.IdentifierRecycled) == 1 })
	jtis := map[huanxin.Number]map[string]int{}
	for _, s := range e.all() {
		if jtis[s.Number] == nil {
			jtis[s.Number] = map[string]int{}
		}
		jtis[s.Number][s.JTI]++
	}
	if len(jtis[refusedOne]) != 1 || len(jtis[lateOne]) != 1 || failed[refusedOne] != 1 || failed[lateOne] != 3 || failed[last] != 2 {
		t.Errorf("refused %d times, late %d times, of the last %d SETs", failed[refusedOne], failed[lateOne], failed[last])
	}
}

// TestReceiveGoesOnWithAHubThatWasStartedAgain: it neither misses what happened nor hears twice what it acknowledged.
func TestReceiveGoesOnWithAHubThatWasStartedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newFeedWorld(t, hubtest.AllSubjects(), hubtest.Data(dir))
	var e ears
	w.receive(w.stream(client.StreamConfig{}), &e)
	first := w.recycle()
	eventually(t, "the first number", func() bool { return e.heard(huanxin.IdentifierRecycled) == 1 })
	w.hub.Stop()
	w.hub = hubtest.Start(t, hubtest.AllSubjects(), hubtest.Data(dir), hubtest.Listen(strings.TrimPrefix(w.hub.URL, "http://")))
	w.carrier = w.hub.Carrier("cmcc") // with another secret, and the app with its own
	second := w.recycle()
	eventually(t, "the second number", func() bool { return e.heard(huanxin.IdentifierRecycled) == 2 })
	times := map[string]int{}
	for _, s := range e.all() {
		if times[s.JTI]++; times[s.JTI] > 1 || s.Number != first && s.Number != second {
			t.Error("a SET came twice, or of another number")
		}
	}
	if len(times) != 4 {
		t.Errorf("%d SETs", len(times))
	}
}

func TestPushesComeToWhoWasAgreedUponAndToNobodyElse(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t, hubtest.AllSubjects())
	var e ears
	receiver := httptest.NewServer(w.shop.Pushes("Bearer agreed", e.take, nil))
	t.Cleanup(receiver.Close)
	s := w.stream(client.StreamConfig{PushTo: receiver.URL, Authorization: "Bearer agreed"})
	n := w.recycle()
	task := w.ask(n)
	eventually(t, "the task", func() bool { return e.heard(huanxin.UnbindRequested) == 1 })
	last := e.all()[len(e.all())-1]
	if last.TaskID != task || last.Number != n || e.heard(huanxin.IdentifierRecycled) != 1 || e.heard(huanxin.NumberReleased) != 1 {
		t.Errorf("%d SETs came", len(e.all()))
	}

	// The receiver wants another header now: the hub pauses the stream, and nothing that comes then is lost.
	_, err := w.shop.ChangeStream(t.Context(), s.ID, map[string]any{"delivery": map[string]any{"authorization_header": "Bearer wrong"}})
	must(t, err)
	w.recycle()
	eventually(t, "the stream is paused", func() bool {
		state, err := w.shop.StreamStatus(t.Context(), s.ID)
		must(t, err)
		return state.Status == "paused" && state.Reason != ""
	})
	_, err = w.shop.ChangeStream(t.Context(), s.ID, map[string]any{"delivery": map[string]any{"authorization_header": "Bearer agreed"}})
	must(t, err)
	_, err = w.shop.SetStreamStatus(t.Context(), client.StreamState{Stream: s.ID, Status: "enabled"})
	must(t, err)
	eventually(t, "what was held comes", func() bool { return e.heard(huanxin.IdentifierRecycled) == 2 })
	eventually(t, "it is told that it was paused", func() bool { return e.heard(huanxin.StreamUpdated) >= 1 })
}

func TestATaskIsAnsweredByASETOfTheApps(t *testing.T) {
	t.Parallel()
	w := newFeedWorld(t)
	for i, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			w := &feedWorld{t: t, hub: w.hub, carrier: w.carrier, shop: w.shop, numbers: 10 * i}
			key := newKey(t, "k-"+string(alg), alg)
			set, err := jose.JSONWebKey.MarshalJSON(key.Public())
			must(t, err)
			id := "shop-" + strings.ToLower(string(alg))
			w.hub.AddClient(id, "shop", []byte(`{"keys":[`+string(set)+`]}`))
			c := client.New(client.Options{URL: w.hub.URL, ID: id, HTTP: w.hub.HTTP(), Assert: func(audience string, now time.Time) (string, error) {
				return sign(t, key, "", object{"iss": id, "sub": id, "aud": audience, "jti": rand32(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}), nil
			}})
			task, err := c.Task(t.Context(), w.ask(w.recycle()))
			must(t, err)
			answer := client.AnswerTo(task, "not_bound", "none_found")
			token, err := c.SignedAnswer(answer, key.Key.(crypto.Signer), key.KeyID)
			must(t, err)
			for range 2 {
				must(t, c.AnswerSET(t.Context(), token))
			}
			if got, err := c.Task(t.Context(), task.ID); err != nil || got.State != "answered" {
				t.Error(got.State, err)
			}
			answer.Outcome, answer.Reason = "unbound", "removed"
			token, err = c.SignedAnswer(answer, key.Key.(crypto.Signer), key.KeyID)
			must(t, err)
			if err := c.AnswerSET(t.Context(), token); huanxin.KindOf(err) != huanxin.Invalid || !strings.Contains(err.Error(), "already_final") {
				t.Errorf("the contrary: %v", err)
			}
			if err := c.AnswerSET(t.Context(), unsigned(object{})); huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("alg none: %v", err)
			}
		})
	}
}

func rand32() string { return fmt.Sprint(time.Now().UnixNano()) }
