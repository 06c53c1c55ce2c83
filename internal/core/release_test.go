package core_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// faster gives one more hub on the world's store, whose day is shorter.
func (w *world) faster(speed float64) *world {
	w.Helper()
	d := huanxin.DefaultDurations()
	d.Speed = speed
	h, err := core.New(context.Background(), core.Options{Store: w.store, Keys: w.keys, Calendar: huanxin.ChinaCalendar(), Durations: d,
		Log: slog.New(slog.DiscardHandler)})
	must(w, err)
	w.Cleanup(func() { must(w, h.Close()) })
	return &world{TB: w.TB, Hub: h, store: w.store, keys: w.keys}
}

func TestAnAnswerThatWaitedForItsTurnOverTheReleaseShowsAtASlotAndNotWhenItIsCommitted(t *testing.T) {
	// "never at the time of the answer" (DOMAIN.md §7 rule 4)
	onEach(t, func(t *testing.T, w *world) {
		h := w.faster(10_000) // a slot is 2.16 s
		made := h.creates(h.reassigned(1, "chat", "game"))
		chat, game := h.task("chat"), h.task("game")
		h.answers("chat", chat, huanxin.Unbound, huanxin.Removed)
		release := h.request("cmcc", made.ID).Tasks[0].Release
		time.Sleep(time.Until(release) - 100*time.Millisecond) // the release is a moment of the world
		holding, let, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() { // somebody has the turn (SQLite), or the task (PostgreSQL)
			must(t, h.store.Write(context.Background(), func(tx *store.Tx) error {
				rows, err := tx.OpenTasks(h.Party("game").No, 0, 0, 10)
				if err != nil || len(rows) == 0 {
					return err
				}
				if _, err := tx.TasksByID([]huanxin.TaskID{rows[0].ID}); err != nil {
					return err
				}
				close(holding)
				<-let
				return nil
			}))
		}()
		<-holding
		go func() {
			h.answers("game", game, huanxin.Unbound, huanxin.Removed)
			close(answered)
		}()
		time.Sleep(time.Until(release) + 50*time.Millisecond)
		before := h.request("cmcc", made.ID)
		close(let)
		<-answered
		after := h.request("cmcc", made.ID)
		if view(before, "chat") != huanxin.ViewClean || view(before, "game") != huanxin.ViewProcessing {
			t.Fatalf("right after the release: %v %v", view(before, "chat"), view(before, "game"))
		}
		if late := time.Since(release); view(after, "game") != huanxin.ViewProcessing && late < 2*time.Second {
			t.Errorf("%v after the release, when it was committed, it shows as %v", late, view(after, "game"))
		}
	})
}
