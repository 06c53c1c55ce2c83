package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// feed gives everything that the feed log tells, after everything has its position.
func (w *world) feed() (out []*core.FeedEntry) {
	w.Helper()
	w.sequence()
	must(w, w.FollowFeed(context.Background()))
	for from := int64(1); ; {
		b, err := w.FeedBlock(context.Background(), from)
		must(w, err)
		if b.From == b.To {
			return out
		}
		out, from = append(out, b.Entries()...), b.To
	}
}

// tells gives the feed log from an entry on in words.
func (w *world) tells(from int) []string {
	w.Helper()
	all := w.feed()
	at := map[huanxin.FeedNo]int{}
	var words []string
	for i, e := range all {
		at[e.No] = i
		s := e.Type.String()
		s = s[max(strings.LastIndex(s, ":"), strings.LastIndex(s, "/"))+1:]
		if e.App != 0 {
			s = w.name(e.App) + " " + s
		}
		if e.Reason != "" {
			s += " " + e.Reason
		}
		if e.Retracts != 0 {
			s += fmt.Sprint(" of ", at[e.Retracts])
		}
		words = append(words, s)
	}
	return words[from:]
}

func (w *world) name(app huanxin.PartyNo) string {
	for _, id := range []string{"chat", "game", "pay", "label"} {
		if w.Party(id).No == app {
			return id
		}
	}
	return fmt.Sprint(app)
}

func (w *world) wantTold(from int, want ...string) {
	w.Helper()
	if got := w.tells(from); !slices.Equal(got, want) {
		w.Errorf("the feed tells\n%s\nand should tell\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheFeedTellsOfANumbersLife(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, ago(400*dayLong)), activated("b", 2, huanxin.ActivatedReassigned, ago(400*dayLong)))
		w.accepts("cmcc", line("c", 1, huanxin.Transferred, ago(300*dayLong)), line("d", 1, huanxin.Disconnected, ago(200*dayLong)))
		w.accepts("cmcc", line("e", 1, huanxin.Reinstated, ago(190*dayLong)))
		w.accepts("cmcc", corrected("f", 1, "e", ago(180*dayLong)))
		w.accepts("cmcc", line("g", 1, huanxin.Reinstated, ago(170*dayLong)), corrected("h", 1, "c", ago(160*dayLong)))
		w.wantTold(0, "identifier-recycled reassigned", "identifier-recycled transferred", "number-released", "recycle-retracted of 2",
			"number-released", "recycle-retracted of 4", "recycle-retracted of 1")
		for _, e := range w.feed() {
			if e.RecordedAt.Before(time.Now().Add(-time.Minute)) || !e.At.Before(ago(100*dayLong)) {
				t.Errorf("%s happened at %v and was recorded at %v", e.Type, e.At, e.RecordedAt)
			}
		}
	})
}

func TestImportingHistoryEmitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := ago(300 * dayLong)
		w.loads("cmcc", had(1, began, huanxin.OriginReassigned), had(2, began, huanxin.OriginTransferred), had(3, began, huanxin.OriginUnknown))
		w.wantTold(0)
		var transfer string
		for _, e := range w.history(number(2)) {
			if e.Kind == huanxin.Transferred {
				transfer = e.ID
			}
		}
		w.accepts("cmcc", corrected("a", 1, w.history(number(1))[0].ID, ago(time.Hour)), corrected("b", 2, transfer, ago(time.Hour)))
		w.wantTold(0)
		w.accepts("cmcc", line("c", 2, huanxin.Transferred, ago(2*dayLong)))
		w.wantTold(0, "identifier-recycled transferred")
	})
}

// History moves the start of a tenure that was known only by its earliest proven day: of the number nobody is told, but apps hear
// that their tasks are over.
func TestHistoryThatMovesAStartEndsTasks(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ported := ago(100 * dayLong)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedPortedIn, ported))
		w.creates(ask(1, ported, huanxin.OriginUnknown, "chat", "game"))
		w.answers("chat", w.task("chat"), huanxin.Unbound, huanxin.Removed)
		w.loads("cmcc", had(1, ago(300*dayLong), huanxin.OriginReassigned))
		w.wantTold(0, "chat unbind-requested", "game unbind-requested", "game unbind-cancelled aborted", "chat recycle-retracted of 0")
	})
}

func TestAppsThatMayHaveActedForATenureThatNeverWasAreTold(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		began := ago(48 * time.Hour)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedReassigned, ago(400*dayLong)), line("b", 1, huanxin.Transferred, began))
		in := ask(1, began, huanxin.OriginTransferred, "chat", "game", "pay", "label")
		in.Kinds = []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel}
		w.creates(in)
		for _, k := range w.tasks("chat") {
			if k.Kind == huanxin.Unbind {
				w.answers("chat", k, huanxin.Unbound, huanxin.Removed)
			}
		}
		w.answers("game", w.task("game"), huanxin.InReview, huanxin.AmbiguousDates)
		w.answers("pay", w.task("pay"), huanxin.Kept, huanxin.LegalHold)
		before := len(w.tells(0))
		w.accepts("cmcc", corrected("c", 1, "b", ago(time.Hour)))
		got := w.tells(before)
		slices.Sort(got[1:])
		first := map[string]int{}
		for i, e := range w.feed()[:before] {
			if e.App != 0 && (e.Task.Kind == huanxin.Unbind || w.name(e.App) == "label") {
				first[w.name(e.App)] = i
			}
		}
		want := []string{"recycle-retracted of 1", fmt.Sprint("chat recycle-retracted of ", first["chat"]), "chat unbind-cancelled aborted",
			fmt.Sprint("game recycle-retracted of ", first["game"]), "game unbind-cancelled aborted", "label unbind-cancelled aborted"}
		if !slices.Equal(got, want) {
			t.Errorf("told were\n%q, wanted\n%q", got, want)
		}
		entries := w.feed()
		tenure := entries[1].Cause
		for _, e := range entries[2:] {
			if e.Cause != tenure {
				t.Errorf("%s is of another cause than the tenure that began", e.Type)
			}
		}
	})
}

func TestATenureThatEndsTakesNothingBack(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.creates(w.reassigned(1, "chat", "game"))
		w.answers("chat", w.task("chat"), huanxin.Unbound, huanxin.Removed)
		w.accepts("cmcc", line("end", 1, huanxin.Disconnected, ago(time.Hour)))
		w.wantTold(0, "identifier-recycled reassigned", "chat unbind-requested", "game unbind-requested", "number-released", "game unbind-cancelled aborted")
	})
}

func TestATenureThatEndedAndThenNeverWasIsTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		second := ago(48 * time.Hour)
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, ago(400*dayLong)), line("b", 1, huanxin.Transferred, second))
		w.creates(ask(1, second, huanxin.OriginTransferred, "chat"))
		w.answers("chat", w.task("chat"), huanxin.Unbound, huanxin.Removed)
		w.accepts("cmcc", line("c", 1, huanxin.Transferred, ago(2*time.Hour)))
		w.accepts("cmcc", corrected("d", 1, "b", ago(time.Hour)))
		w.wantTold(0, "identifier-recycled transferred", "chat unbind-requested", "identifier-recycled transferred", "recycle-retracted of 0", "chat recycle-retracted of 1")
	})
}

func TestCancellingTellsOnlyAppsThatHadToAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.creates(w.reassigned(1, "chat", "game"))
		w.answers("chat", w.task("chat"), huanxin.Unbound, huanxin.Removed)
		for range 2 { // again is harmless
			_, err := w.CancelRequest(context.Background(), w.as("cmcc"), c.ID)
			must(t, err)
		}
		w.wantTold(0, "identifier-recycled reassigned", "chat unbind-requested", "game unbind-requested", "game unbind-cancelled cancelled")
	})
}

func TestAskingAgainAsksInTheFeedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(morning))
		w := newWorld(t, sqliteFile(t))
		c := w.creates(w.reassigned(1, "chat", "game"))
		w.answers("chat", w.task("chat"), huanxin.ActionRequired, huanxin.ExtraVerification)
		w.answers("game", w.task("game"), huanxin.Kept, huanxin.LegalHold)
		time.Sleep(3 * dayLong)
		for _, k := range c.Tasks {
			_, err := w.AskAgain(t.Context(), w.as("cmcc"), c.ID, k.ID, core.Once{})
			must(t, err)
		}
		w.answers("chat", w.task("chat"), huanxin.Failed, huanxin.Temporary)
		time.Sleep(2 * time.Minute)
		_, err := w.Requeue(t.Context())
		must(t, err)
		w.wantTold(0, "identifier-recycled reassigned", "chat unbind-requested", "game unbind-requested",
			"chat unbind-requested", "game unbind-requested", "chat unbind-requested")
		all := w.feed()
		if a, b, c := all[1].Task, all[3].Task, all[5].Task; a != b || b != c || a.DueAt.IsZero() {
			t.Errorf("one task is asked as %+v, then as %+v, then as %+v", a, b, c)
		}
		if a, b := all[2].Task, all[4].Task; a.ID == b.ID || !a.DueAt.Before(b.DueAt) {
			t.Errorf("a task is asked as %+v, and a new one as %+v", a, b)
		}
		w.accepts("cmcc", corrected("void", 1, "begin-1", ago(time.Hour)))
		w.wantTold(6, "recycle-retracted of 0", "chat unbind-cancelled aborted", "game unbind-cancelled aborted", "chat recycle-retracted of 1")
	})
}

// A log of some windows reads the same from anywhere, however it is cut, by many at once, who find each window read once.
func TestTheFeedLogReadsTheSameFromAnywhere(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const events = 2*core.FeedWindow + 500
		reader := w.again(core.CheckOptions{})
		for from := 0; from < events; from += 700 {
			var lines []huanxin.Event
			for i := from; i < min(from+700, events); i++ {
				lines = append(lines, activated(fmt.Sprint(i), i, []huanxin.ActivationOrigin{2, 2, 1}[i%3], ago(dayLong)))
			}
			w.accepts("cmcc", lines...)
			if from%2100 == 0 { // some follow
				reader.feed()
			}
		}
		want := w.feed()
		if len(want) != events-events/3 || w.FeedHead() != events {
			t.Fatalf("%d entries at %d positions", len(want), w.FeedHead())
		}
		must(t, reader.FollowFeed(t.Context()))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				from := 1 + rand.Int64N(events)
				want := want[slices.IndexFunc(want, func(e *core.FeedEntry) bool { return e.No >= huanxin.FeedNoAt(from, 0) }):]
				for from <= events {
					b, err := reader.FeedBlock(t.Context(), from)
					if err != nil {
						t.Error(err)
						return
					}
					got := b.Of(core.FeedListener{}, from, nil)
					if len(got) > len(want) || !reflect.DeepEqual(got, want[:len(got)]) || b.To <= from {
						t.Errorf("from %d on [%d, %d) tells something else", from, b.From, b.To)
						return
					}
					want, from = want[len(got):], b.To
				}
			})
		}
		wg.Wait()
	})
}

func TestWhoWaitsForTheFeedIsWoken(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		other := w.again(core.CheckOptions{})
		head, moved := w.FeedMoved()
		_, movedThere := other.FeedMoved()
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedFirst, ago(dayLong)))
		w.sequence()
		if still, _ := w.FeedMoved(); head != 0 || still != 0 {
			t.Fatalf("nobody is told of anything, and the head went from %d to %d", head, still)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { <-moved })
		}
		w.accepts("cmcc", line("b", 1, huanxin.Transferred, ago(time.Hour)))
		w.sequence()
		wg.Wait()
		must(t, other.FollowFeed(t.Context()))
		<-movedThere
		third := w.again(core.CheckOptions{}) // one that starts knows it at once
		if w.FeedHead() != 1 || other.FeedHead() != 1 || third.FeedHead() != 1 {
			t.Errorf("the heads are %d, %d and %d", w.FeedHead(), other.FeedHead(), third.FeedHead())
		}
	})
}

// Whoever reads a block first may go away: others get it all the same.
func TestAReaderThatGoesAwaySpoilsNobodysBlock(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.accepts("cmcc", activated("a", 1, huanxin.ActivatedReassigned, ago(dayLong)))
		w.sequence()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					ctx = gone
				}
				b, err := w.FeedBlock(ctx, 1)
				if i%2 == 1 && (err != nil || b.To != 2) || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%+v, %v", b, err)
				}
			})
		}
		wg.Wait()
		must(t, w.Close())
		if _, err := w.again(core.CheckOptions{}).FeedBlock(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

// What is undone leaves no trace in the feed log.
func TestARefusedActIsNotTold(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		in := w.reassigned(1, "chat")
		w.creates(in)
		failed := errors.New("no")
		for _, f := range []func(tx *store.Tx) error{
			func(tx *store.Tx) error {
				_, err := tx.AbortTenures([]huanxin.TenureID{w.standing(1).Tenure}, time.Now())
				return err
			},
			func(tx *store.Tx) error {
				return tx.InsertNotes(huanxin.NoteRequested, []huanxin.TaskID{1}, time.Now())
			},
		} {
			err := w.store.Write(t.Context(), func(tx *store.Tx) error {
				must(t, f(tx))
				return failed
			})
			if !errors.Is(err, failed) {
				t.Fatal(err)
			}
		}
		in.StartedAt = in.StartedAt.Add(time.Second)
		if _, err := w.CreateRequest(t.Context(), w.as("cmcc"), in); err == nil {
			t.Fatal("a request of another tenure was taken")
		}
		w.wantTold(0, "identifier-recycled reassigned", "chat unbind-requested")
	})
}
