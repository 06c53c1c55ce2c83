package core_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// morning is a Monday, 09:00 in China. Slots are at 0, 6, 12 and 18 o'clock there, so that what is asked now shows at 18:00,
// and in an app of high value at 18:00 on the next day.
var morning = time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)

// atHour sleeps until so many hours after midnight of that Monday in China, and a moment.
func atHour(h float64, more time.Duration) {
	time.Sleep(time.Until(morning.Add(time.Duration((h-9)*float64(time.Hour)) + more)))
}

// inBubble runs a test on SQLite where time is that of synctest, from morning on.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(morning))
		test(t, newWorld(t, sqliteFile(t)))
	})
}

func TestResultsShowAtTheirSlotsWheneverTheyCame(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat", "game", "pay"))
		sees := func(state huanxin.RequestState, chat, game, pay huanxin.View) {
			t.Helper()
			v := w.request("cmcc", c.ID)
			if v.State != state || view(v, "chat") != chat || view(v, "game") != game || view(v, "pay") != pay {
				t.Errorf("%s: %s %v %v %v", time.Now().In(huanxin.China), v.State, view(v, "chat"), view(v, "game"), view(v, "pay"))
			}
		}
		submitted, going := huanxin.RequestSubmitted, huanxin.RequestInProgress
		processing, clean, kept := huanxin.ViewProcessing, huanxin.ViewClean, huanxin.ViewKept
		chat, game, pay := w.task("chat"), w.task("game"), w.task("pay")
		w.answers("chat", chat, huanxin.Unbound, huanxin.Removed)
		w.answers("pay", pay, huanxin.NotBound, huanxin.NoneFound)
		atHour(17, 0)
		w.answers("game", game, huanxin.InReview, huanxin.AmbiguousDates)
		atHour(18, -time.Millisecond)
		sees(submitted, processing, processing, processing)
		atHour(18, 0)
		sees(going, clean, processing, processing)
		atHour(19, 0)
		w.answers("game", game, huanxin.Kept, huanxin.LegalHold) // shows at the second slot after: 06:00
		atHour(30, -time.Millisecond)
		sees(going, clean, processing, processing)
		atHour(30, 0)
		sees(going, clean, kept, processing)
		atHour(42, -time.Millisecond)
		sees(going, clean, kept, processing)
		atHour(42, 0)
		sees(huanxin.RequestSettledWithExceptions, clean, kept, clean)
		_, err := w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
		w.refused(err, "request_ended", "")
	})
}

// What the holder sees must not tell unbound, not_bound and kept bound_by_current_holder apart, nor when the app answered.
func TestWhatIsCleanLooksTheSameAtEveryHour(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		answers := []struct {
			o    huanxin.Outcome
			r    huanxin.Reason
			hour float64
		}{{huanxin.Unbound, huanxin.Removed, 9.5}, {huanxin.NotBound, huanxin.NoneFound, 11}, {huanxin.Kept, huanxin.BoundByCurrentHolder, 17.4}}
		var made []core.Created
		for i := range answers {
			made = append(made, w.creates(w.reassigned(i, "chat")))
		}
		tasks := w.tasks("chat")
		for hour := 9.25; hour < 60; hour += 0.75 {
			atHour(hour, 0)
			for i, a := range answers {
				if a.hour <= hour && a.hour > hour-0.75 {
					w.answers("chat", tasks[i], a.o, a.r)
				}
			}
			var first string
			for i, c := range made {
				v := w.request("cmcc", c.ID)
				v.ID, v.TenureID, v.Tasks[0].ID = "", "", ""
				if got := fmt.Sprintf("%+v", v); i == 0 {
					first = got
				} else if got != first {
					t.Fatalf("at %v:\n%s\n%s", hour, first, got)
				}
				// Nor does the refusal of a second request: it counts what is released.
				again := ask(i, morning.Add(-48*time.Hour), huanxin.OriginReassigned, "chat")
				_, err := w.CreateRequest(t.Context(), w.as("cmcc"), again)
				if err == nil {
					t.Fatalf("at %v a second request was taken", hour)
				}
				if hour > 32 { // a day later: taken, and no matter here
					return
				}
			}
		}
	})
}

func TestAskingAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		in := w.reassigned(1, "chat", "game", "pay")
		c := w.creates(in)
		id := map[string]string{}
		for _, k := range c.Tasks {
			id[k.App] = k.ID
		}
		again := func(app string, key string) (core.CreatedTask, error) {
			return w.AskAgain(ctx, w.as("cmcc"), c.ID, id[app], core.Once{Key: key, Body: []byte(app)})
		}
		need := answerTo(w.task("chat"), huanxin.ActionRequired, huanxin.EvidenceNeeded)
		need.Link = "https://help.chat.example/x"
		_, err := w.Answer(ctx, w.as("chat"), need)
		must(t, err)
		w.answers("game", w.task("game"), huanxin.Kept, huanxin.LegalHold)
		w.answers("pay", w.task("pay"), huanxin.Unbound, huanxin.Removed)
		for _, app := range []string{"chat", "game", "pay"} {
			_, err := again(app, "")
			w.refused(err, "not_released", "")
		}
		_, err = w.AskAgain(ctx, w.as("cmcc"), c.ID, "task_x", core.Once{})
		w.refused(err, "not_found", "")

		atHour(18, 0)
		v := w.request("cmcc", c.ID)
		if view(v, "chat") != huanxin.ViewActionRequired || v.Tasks[0].Link != need.Link {
			t.Fatalf("%+v", v)
		}
		open, err := again("chat", "k") // the open task goes back to the app
		if err != nil || open.ID != id["chat"] || w.task("chat").State != huanxin.TaskDelivered {
			t.Errorf("%+v %v", open, err)
		}
		w.answers("chat", w.task("chat"), huanxin.Unbound, huanxin.Removed)
		if repeated, err := again("chat", "k"); err != nil || repeated != open {
			t.Errorf("under the same key: %+v %v", repeated, err)
		}
		_, err = again("game", "")
		w.refused(err, "ineligible", "too_many") // kept is shown for less than a day

		atHour(42, 0)
		fresh, err := again("game", "j")
		if err != nil || fresh.ID == id["game"] {
			t.Fatalf("%+v %v", fresh, err)
		}
		_, err = again("game", "")
		w.refused(err, "asked_again", "")
		if v := w.request("cmcc", c.ID); len(v.Tasks) != 3 || view(v, "game") != huanxin.ViewProcessing {
			t.Errorf("%+v", v)
		}
		_, err = again("pay", "")
		w.refused(err, "not_released", "") // clean
	})
}

func TestAskingAgainWhileAnotherRequestHasATaskOpenIsAConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "game")
		first := w.creates(in)
		w.answers("game", w.task("game"), huanxin.Kept, huanxin.LegalHold)
		atHour(42, 0)
		in.Proof.VerifiedAt = time.Now()
		second := w.creates(in)
		again := func() error {
			_, err := w.AskAgain(context.Background(), w.as("cmcc"), first.ID, first.Tasks[0].ID, core.Once{})
			return err
		}
		w.refused(again(), "task_open", "")
		w.answers("game", w.task("game"), huanxin.Unbound, huanxin.Removed)
		w.refused(again(), "task_open", "") // answered, but not released: the refusal tells nothing
		atHour(72, 0)
		if v := w.request("cmcc", second.ID); v.State != huanxin.RequestSettled {
			t.Fatalf("%+v", v)
		}
		must(t, again())
	})
}

func TestOnlyReleasedViewsDecideOnASecondRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "pay", "game")
		w.creates(in)
		w.answers("pay", w.task("pay"), huanxin.Unbound, huanxin.Removed)
		atHour(9+24, time.Second) // a day is over, pay is released at 18:00
		in.Apps, in.Proof.VerifiedAt = []string{"pay"}, time.Now()
		_, err := w.CreateRequest(t.Context(), w.as("cmcc"), in)
		w.refused(err, "task_open", "")
		in.Apps, in.AllApps = nil, true // the others only
		if got := appsOf(w.creates(in)); fmt.Sprint(got) != "[chat unbind]" {
			t.Error(got)
		}
	})
}

func TestThreeRequestsInThirtyDays(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "game")
		ask := func() error {
			in.Proof.VerifiedAt = time.Now()
			c, err := w.CreateRequest(context.Background(), w.as("cmcc"), in)
			if err == nil {
				_, err = w.CancelRequest(context.Background(), w.as("cmcc"), c.ID)
			}
			return err
		}
		for day := range 3 {
			must(t, ask())
			w.refused(ask(), "ineligible", "too_many")
			atHour(9+24*float64(day+1), time.Second)
		}
		w.refused(ask(), "ineligible", "too_many")
		atHour(9+24*30, time.Minute)
		must(t, ask())
	})
}

func TestAnAnswerNotYetShownIsNeverShownOnceTheRequestIsCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat", "game"))
		w.answers("chat", w.task("chat"), huanxin.Kept, huanxin.LegalHold)
		_, err := w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
		must(t, err)
		atHour(100, 0)
		v := w.request("cmcc", c.ID)
		if v.State != huanxin.RequestCancelled || view(v, "chat") != huanxin.ViewCancelled || view(v, "game") != huanxin.ViewCancelled {
			t.Errorf("%+v", v)
		}
	})
}

func TestAnUnansweredTaskIsOverdueAndThenExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		k := w.task("chat")
		for _, s := range []struct {
			hour  float64
			steps int
			want  huanxin.View
		}{{24 * 7.5, 1, huanxin.ViewProcessing}, {24 * 8.01, 2, huanxin.ViewOverdue}, {24 * 21, 4, huanxin.ViewOverdue}, {24 * 22.01, 5, huanxin.ViewExpired}} {
			atHour(s.hour, 0)
			if got := view(w.request("cmcc", c.ID), "chat"); got != s.want { // worked out, whether or not the loop ran
				t.Errorf("at %v: %s", s.hour, got)
			}
			for {
				n, err := w.TakeSteps(context.Background())
				must(t, err)
				if n == 0 {
					break
				}
			}
			if got := view(w.request("cmcc", c.ID), "chat"); got != s.want {
				t.Errorf("at %v, after the loop: %s", s.hour, got)
			}
			all, err := w.Escalations(context.Background(), w.as("chat"), "", 100)
			if err != nil || len(all) != s.steps {
				t.Errorf("at %v: %d steps, %v", s.hour, len(all), err)
			}
		}
		if len(w.tasks("chat")) != 0 {
			t.Error("an expired task is listed as open")
		}
		if got := w.answers("chat", k, huanxin.Unbound, huanxin.Removed); !got.Late || got.State != huanxin.TaskAnswered {
			t.Errorf("%+v", got)
		}
		if again := w.answers("chat", k, huanxin.Unbound, huanxin.Removed); !again.Late || !again.Repeated {
			t.Errorf("%+v", again)
		}
	})
}
