package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// recordedAnswers gives what is recorded of a request's one task at an app.
func (w *world) recordedAnswers(c core.Created, app string) (out []huanxin.Answer) {
	w.Helper()
	all, err := w.FindRequests(context.Background(), w.as("cmcc"), number(1))
	must(w, err)
	if len(all) == 0 {
		w.Fatal("no request")
	}
	must(w, w.store.Read(context.Background(), func(tx *store.Tx) error {
		for id := huanxin.RequestID(1); id < 50; id++ {
			rows, err := tx.TasksOfRequest(id)
			if err != nil {
				return err
			}
			answers, err := tx.AnswersOfRequest(id)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if r.App == w.Party(app).No {
					out = append(out, answers[r.ID]...)
				}
			}
		}
		return nil
	}))
	return out
}

func TestAnAppSeesItsTaskWithItsNumber(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat", "game")
		c := w.creates(in)
		k := w.task("chat")
		if k.Number != number(1) || !k.StartedAt.Equal(in.StartedAt) || k.Origin != huanxin.OriginReassigned || k.App != "chat" ||
			k.Kind != huanxin.Unbind || k.TenureID != c.TenureID || k.Digest == "" || k.State != huanxin.TaskDelivered {
			t.Errorf("%+v", k)
		}
		again, err := w.Task(t.Context(), w.as("chat"), k.ID)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(k) {
			t.Errorf("read again: %+v %v", again, err)
		}
		_, err = w.Task(t.Context(), w.as("game"), k.ID)
		w.refused(err, "not_found", "")
		_, err = w.Tasks(t.Context(), w.as("chat"), 0, "task_x", 10)
		if huanxin.KindOf(err) != huanxin.Invalid {
			t.Error(err)
		}
		for _, limit := range []int{-1, 0, 1 << 40} { // never a fault
			got, err := w.Tasks(t.Context(), w.as("chat"), 0, "", limit)
			if err != nil || len(got) != 1 {
				t.Errorf("limit %d: %d %v", limit, len(got), err)
			}
		}
	})
}

// TestAnAppReadsManyOfItsTasksAgain: in the order in which it asks, whatever they have become, and none of another app's.
func TestAnAppReadsManyOfItsTasksAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		var made []core.Created
		for i := range 4 {
			made = append(made, w.creates(w.reassigned(i+1, "chat", "game")))
		}
		of := func(app string) (ids []string) {
			for _, c := range made {
				for _, k := range c.Tasks {
					if k.App == app {
						ids = append(ids, k.ID)
					}
				}
			}
			return ids
		}
		chat, game := of("chat"), of("game")
		read := func(ids ...string) (states []string) {
			t.Helper()
			all, err := w.TasksByID(t.Context(), w.as("chat"), ids)
			must(t, err)
			for _, k := range all {
				at := slices.Index(chat, k.ID)
				if k.Number != number(at+1) || k.App != "chat" || k.Digest == "" {
					t.Errorf("%+v", k)
				}
				states = append(states, fmt.Sprint(at, " ", k.State))
			}
			return states
		}
		equal := func(got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		equal(read(chat[2], chat[0]), "2 delivered", "0 delivered")
		first, err := w.Task(t.Context(), w.as("chat"), chat[0])
		must(t, err)
		w.answers("chat", first, huanxin.Unbound, huanxin.Removed)
		_, err = w.CancelRequest(t.Context(), w.as("cmcc"), made[1].ID)
		must(t, err)
		equal(read(chat[3], game[3], chat[1], "task_x", chat[0], "+8613800000001", chat[3]), "3 delivered", "1 cancelled", "0 answered", "3 delivered")
		equal(read())
		equal(read(game...))
		all, err := w.Tasks(t.Context(), w.as("game"), huanxin.TaskQueued, "", 10)
		must(t, err)
		if len(all) != 3 { // of four, one of which was cancelled: that another app named them delivered none
			t.Errorf("%d tasks of the other app are queued", len(all))
		}
		_, err = w.TasksByID(t.Context(), w.as("chat"), make([]string, core.MaxReads+1))
		if huanxin.KindOf(err) != huanxin.Invalid {
			t.Error(err)
		}
	})
}

func TestAnAnswerThatIsNotToWhatWasAskedIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.creates(w.reassigned(1, "chat", "game"))
		w.creates(w.reassigned(2, "chat"))
		k, other, foreign := w.tasks("chat")[0], w.tasks("chat")[1], w.task("game")
		ok := answerTo(k, huanxin.Unbound, huanxin.Removed)
		for name, c := range map[string]struct {
			code   string
			change func(a *core.TaskAnswer)
		}{
			"another app's task":    {"not_found", func(a *core.TaskAnswer) { a.Task = foreign.ID }},
			"no task":               {"not_found", func(a *core.TaskAnswer) { a.Task = "task_1" }},
			"another tenure":        {"wrong_tenure", func(a *core.TaskAnswer) { a.TenureID = other.TenureID }},
			"no tenure":             {"wrong_tenure", func(a *core.TaskAnswer) { a.TenureID = "" }},
			"another task's digest": {"wrong_digest", func(a *core.TaskAnswer) { a.Digest = other.Digest }},
			"no digest":             {"wrong_digest", func(a *core.TaskAnswer) { a.Digest = "" }},
			"no pair":               {"unknown_reason", func(a *core.TaskAnswer) { a.Reason = huanxin.LegalHold }},
			"no outcome":            {"unknown_reason", func(a *core.TaskAnswer) { a.Outcome = 0 }},
			"a link elsewhere": {"link_not_registered", func(a *core.TaskAnswer) {
				a.Outcome, a.Reason, a.Link = huanxin.ActionRequired, huanxin.EvidenceNeeded, "https://evil.example/"
			}},
			"a link not wanted":       {"invalid", func(a *core.TaskAnswer) { a.Link = "https://chat.example/" }},
			"a long note":             {"invalid", func(a *core.TaskAnswer) { a.Note = strings.Repeat("x", 2001) }},
			"a note with a zero byte": {"invalid", func(a *core.TaskAnswer) { a.Note = "a\x00b" }},
			"a note of no UTF-8":      {"invalid", func(a *core.TaskAnswer) { a.Note = "\xff" }},
		} {
			a := ok
			c.change(&a)
			_, err := w.Answer(t.Context(), w.as("chat"), a)
			if huanxin.CodeOf(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
			if got := w.recorded(); got.Action != "task.answer" || got.Refused != c.code {
				t.Errorf("%s: recorded as %+v", name, got)
			}
		}
		if len(w.tasks("chat")) != 2 {
			t.Error("one of them moved the task")
		}
		w.answers("chat", k, huanxin.Unbound, huanxin.Removed)
	})
}

func TestAFinalAnswerStandsAndRepeatingItIsHarmless(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		k := w.task("chat")
		for i, a := range []struct {
			o        huanxin.Outcome
			r        huanxin.Reason
			repeated bool
			state    huanxin.TaskState
		}{
			{huanxin.Failed, huanxin.Temporary, false, huanxin.TaskFailed},
			{huanxin.Failed, huanxin.Temporary, true, huanxin.TaskFailed},
			{huanxin.InReview, huanxin.AssetsHeld, false, huanxin.TaskInReview},
			{huanxin.ActionRequired, huanxin.EvidenceNeeded, false, huanxin.TaskActionRequired},
			{huanxin.InReview, huanxin.AssetsHeld, false, huanxin.TaskInReview},
			{huanxin.Kept, huanxin.LegalHold, false, huanxin.TaskAnswered},
			{huanxin.Kept, huanxin.LegalHold, true, huanxin.TaskAnswered},
		} {
			got := w.answers("chat", k, a.o, a.r)
			if got.Repeated != a.repeated || got.State != a.state || got.Late {
				t.Errorf("answer %d: %+v", i, got)
			}
		}
		_, err := w.Answer(t.Context(), w.as("chat"), answerTo(k, huanxin.Unbound, huanxin.Removed))
		w.refused(err, "already_final", "")
		if got := w.recordedAnswers(c, "chat"); len(got) != 5 {
			t.Errorf("%d answers are recorded", len(got))
		}
	})
}

func TestAnAnswerWithoutEffectIsRecordedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		k := w.task("chat")
		_, err := w.CancelRequest(t.Context(), w.as("cmcc"), c.ID)
		must(t, err)
		for range 3 {
			_, err = w.Answer(t.Context(), w.as("chat"), answerTo(k, huanxin.Unbound, huanxin.Removed))
			w.refused(err, "no_effect", "cancelled")
		}
		if got := w.recordedAnswers(c, "chat"); len(got) != 1 || !got[0].Void {
			t.Errorf("recorded %+v", got)
		}
	})
}

func TestAnswersLineByLine(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const n = 1100 // more than a chunk
		events := make([]huanxin.Event, n)
		at := ago(48 * dayLong)
		for i := range events {
			events[i] = activated(fmt.Sprint(i), i, huanxin.ActivatedReassigned, at)
		}
		w.accepts("cmcc", events...)
		for i := range n {
			w.creates(ask(i, at, huanxin.OriginReassigned, "chat"))
		}
		var all []core.TaskAnswer
		after := ""
		for {
			page, err := w.Tasks(t.Context(), w.as("chat"), huanxin.TaskQueued, after, 300)
			must(t, err)
			if len(page) == 0 {
				break
			}
			for _, k := range page {
				all = append(all, answerTo(k, huanxin.NotBound, huanxin.NoneFound))
			}
			after = page[len(page)-1].ID
		}
		if len(all) != n {
			t.Fatalf("%d tasks", len(all))
		}
		wrong := all[3]
		wrong.Digest = "x"
		lines := append([]core.TaskAnswer{wrong, {Task: "bad", Err: huanxin.BadField("outcome", "unknown", "no")}}, all...)
		lines = append(lines, all[5], answerTo(core.AppTask{ID: all[6].Task, TenureID: all[6].TenureID, Digest: all[6].Digest}, huanxin.Unbound, huanxin.Removed))
		r, err := w.Answers(t.Context(), w.as("chat"), func(yield func(core.TaskAnswer, error) bool) {
			for i, a := range lines {
				a.Line = int64(i + 1)
				if !yield(a, nil) {
					return
				}
			}
		})
		must(t, err)
		if r.Accepted != n || r.Duplicates != 1 || r.RejectedTotal != 3 || r.ID == "" {
			t.Fatalf("%+v", r)
		}
		for i, want := range []core.Rejection{{Line: 1, Code: "wrong_digest"}, {Line: 2, Code: "unknown"}, {Line: n + 4, Code: "already_final"}} {
			if r.Rejected[i].Line != want.Line || r.Rejected[i].Code != want.Code {
				t.Errorf("%+v", r.Rejected[i])
			}
		}
		if left := w.tasks("chat"); len(left) != 0 {
			t.Errorf("%d are left", len(left))
		}
	})
}

func TestAnswersAtOnceAreEachRecordedInTheirPlace(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat"))
		k := w.task("chat")
		who := w.as("chat")
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				reasons := huanxin.InReview.Reasons()
				if _, err := w.Answer(context.Background(), who, answerTo(k, huanxin.InReview, reasons[i%len(reasons)])); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.answers("chat", k, huanxin.Unbound, huanxin.Removed)
		if got := w.recordedAnswers(c, "chat"); len(got) < 5 || got[len(got)-1].Outcome != huanxin.Unbound {
			t.Errorf("%+v", got)
		}
	})
}
