package core_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

func TestWhatWasUploadedIsSealedAtRestAndOpensInItsPlaceAlone(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.grants("chat", huanxin.ReplicaUploaded)
		w.grants("game", huanxin.ReplicaUploaded)
		w.uploads("chat", some(0, 50)...)
		w.uploads("chat", some(50, 60)...)
		w.uploads("game", some(100, 110)...)
		w.follows()
		chat, game := w.as("chat").Party.No, w.as("game").Party.No
		rows := map[huanxin.PartyNo][]store.ReplicaRow{}
		must(t, w.store.Read(ctx, func(tx *store.Tx) error {
			for _, p := range []huanxin.PartyNo{chat, game} {
				if err := tx.ReplicaRows(p, 0, func(r store.ReplicaRow) error { rows[p] = append(rows[p], r); return nil }); err != nil {
					return err
				}
			}
			return nil
		}))
		// put writes what another row holds in the place of chat's first.
		put := func(r store.ReplicaRow) {
			r.ID = rows[chat][0].ID
			must(t, w.store.Write(ctx, func(tx *store.Tx) error {
				if err := tx.DeleteReplicaRows(chat, r.ID, r.ID); err != nil {
					return err
				}
				return tx.InsertReplicaRow(chat, r)
			}))
		}
		removed, longer := rows[chat][0], rows[chat][0]
		removed.Removed = true
		longer.Numbers++
		for what, r := range map[string]store.ReplicaRow{"another party's": rows[game][0], "another row": rows[chat][1], "another meaning": removed, "another length": longer} {
			put(r)
			if p, err := w.BeginPull(ctx, w.as("chat"), hubURL); err == nil || huanxin.KindOf(err) != huanxin.Internal {
				t.Errorf("%s: %v, %v", what, p, err)
			}
		}
		put(rows[chat][0])
		if r := w.pulled("chat"); r.Len() != 60 {
			t.Errorf("%d numbers", r.Len())
		}
	})
}

func TestTheListHasAnEnd(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.bounded(100)
		w.SmallReplicaRows(16)
		w.grants("chat", huanxin.ReplicaUploaded)
		w.follows()
		in := map[huanxin.Number]bool{}
		check := func(r core.Receipt, accepted, duplicates, rejected int64) {
			t.Helper()
			if r.Accepted != accepted || r.Duplicates != duplicates || r.RejectedTotal != rejected {
				t.Errorf("accepted %d, duplicates %d, rejected %d; want %d, %d, %d", r.Accepted, r.Duplicates, r.RejectedTotal, accepted, duplicates, rejected)
			}
			for _, l := range r.Rejected {
				if l.Code != "too_many_numbers" {
					t.Errorf("%+v", l)
				}
			}
		}
		check(w.uploads("chat", some(0, 90)...), 90, 0, 0)
		check(w.uploads("chat", some(0, 10)...), 10, 0, 0)  // nobody looks
		check(w.uploads("chat", some(0, 90)...), 10, 80, 0) // it is looked into, and has room for the last ten
		check(w.uploads("chat", some(80, 105)...), 10, 10, 5)
		check(w.uploads("chat", some(200, 240)...), 0, 0, 40)
		check(w.removes("chat", some(0, 50)...), 50, 0, 0)
		check(w.removes("chat", some(500, 900)...), 400, 0, 0)
		check(w.uploads("chat", some(200, 260)...), 50, 0, 10)
		for _, n := range append(some(50, 100), some(200, 250)...) {
			in[n] = true
		}
		r := w.pulled("chat")
		if r.Len() != int64(len(in)) {
			t.Errorf("%d numbers, want %d", r.Len(), len(in))
		}
		for n := range in {
			if markOf(r, n) != huanxin.MarkAbsent {
				t.Error("a number is missing")
			}
		}
	})
}

// bounded gives one more hub on the same store where an app may upload so many numbers.
func (w *world) bounded(n int64) *world {
	w.Helper()
	h, err := core.New(context.Background(), core.Options{Store: w.store, Keys: w.keys, Calendar: huanxin.ChinaCalendar(),
		Durations: huanxin.DefaultDurations(), Log: quiet(), ReplicaNumbers: n})
	must(w, err)
	w.Cleanup(func() { must(w, h.Close()) })
	return &world{TB: w.TB, Hub: h, store: w.store, keys: w.keys}
}

func TestLinesThatAreNoNumbersAreRefusedAndStopNoOthers(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.grants("chat", huanxin.ReplicaUploaded)
		w.follows()
		bad := huanxin.BadField("number", "number_malformed", "no number")
		gone := errors.New("the body broke off")
		r, err := w.UploadReplicaNumbers(context.Background(), w.as("chat"), func(yield func(core.ReplicaLine, error) bool) {
			_ = yield(core.ReplicaLine{Line: 1, Number: number(1)}, nil) && yield(core.ReplicaLine{Line: 2, Err: bad}, nil) &&
				yield(core.ReplicaLine{Line: 3, Number: huanxin.NumberOf(86_1410_000_000_001)}, nil) &&
				yield(core.ReplicaLine{Line: 4, Number: number(1)}, nil) && yield(core.ReplicaLine{Line: 5, Number: huanxin.NumberOf(999_005_000_000_000)}, nil) &&
				yield(core.ReplicaLine{Line: 6, Number: number(2)}, nil) && yield(core.ReplicaLine{}, gone)
		})
		if err != gone || r.Accepted != 2 || r.Duplicates != 1 || r.RejectedTotal != 3 || r.ID == "" {
			t.Errorf("%+v, %v", r, err)
		}
		if r := w.pulled("chat"); r.Len() != 2 || markOf(r, number(1)) != huanxin.MarkAbsent || markOf(r, number(2)) != huanxin.MarkAbsent {
			t.Errorf("%d numbers", r.Len())
		}
		if r := w.uploads("chat"); r.Accepted != 0 {
			t.Errorf("an empty body: %+v", r)
		}
	})
}

// TestUploadsAndRemovalsInAnyOrderAreASet compares the list with a map, rows being put together in between.
func TestUploadsAndRemovalsInAnyOrderAreASet(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.SmallReplicaRows(8)
		w.follows()
		rapid.Check(t, func(rt *rapid.T) {
			w.grants("chat", huanxin.NoReplica)
			w.grants("chat", huanxin.ReplicaUploaded)
			party := w.as("chat").Party.No
			want := map[huanxin.Number]bool{}
			list := func() (out []huanxin.Number) {
				for _, i := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 40).Draw(rt, "numbers") {
					out = append(out, number(i*i*3001))
				}
				return out
			}
			for range rapid.IntRange(1, 8).Draw(rt, "steps") {
				some := list()
				switch rapid.SampledFrom([]string{"upload", "remove", "compact", "compact half"}).Draw(rt, "step") {
				case "upload":
					r := w.uploads("chat", some...)
					for _, n := range some {
						want[n] = true
					}
					if r.Accepted+r.Duplicates != int64(len(some)) || r.RejectedTotal != 0 {
						rt.Fatalf("%+v", r)
					}
				case "remove":
					w.removes("chat", some...)
					for _, n := range some {
						delete(want, n)
					}
				case "compact":
					must(t, w.CompactReplica(context.Background(), party, false))
				case "compact half":
					must(t, w.CompactReplica(context.Background(), party, true))
				}
			}
			r := w.pulled("chat")
			for i := range 61 {
				n := number(i * i * 3001)
				if in := markOf(r, n) == huanxin.MarkAbsent; in != want[n] {
					rt.Fatalf("number %d is in the replica: %v, want %v", i, in, want[n])
				}
			}
			if r.Len() != int64(len(want)) {
				rt.Fatalf("%d numbers, want %d", r.Len(), len(want))
			}
		})
	})
}

func TestSmallRowsArePutTogether(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.grants("chat", huanxin.ReplicaUploaded)
		w.follows()
		for i := range core.ManySmallRows + 5 {
			w.uploads("chat", number(i))
		}
		rows := 0
		must(t, w.store.Read(context.Background(), func(tx *store.Tx) error {
			heads, err := tx.ReplicaHeads(w.as("chat").Party.No)
			rows = len(heads)
			return err
		}))
		if r := w.pulled("chat"); rows != 6 || r.Len() != core.ManySmallRows+5 {
			t.Errorf("%d rows with %d numbers", rows, r.Len())
		}
	})
}

func TestUploadsAtOnceAndRowsPutTogetherMeanwhileLoseNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.SmallReplicaRows(4)
		w.grants("chat", huanxin.ReplicaUploaded)
		w.follows()
		other := w.again(core.CheckOptions{}) // another hub on the same database
		other.SmallReplicaRows(4)
		party := w.as("chat").Party.No
		var wg sync.WaitGroup
		for g := range 4 {
			hub := []*world{w, other}[g%2]
			who := hub.as("chat")
			wg.Go(func() {
				for i := range 10 {
					base := g*1000 + i*20
					_, err := hub.UploadReplicaNumbers(context.Background(), who, numberLines(some(base, base+10)))
					if err == nil {
						_, err = hub.RemoveReplicaNumbers(context.Background(), who, numberLines(some(base+5, base+10)))
					}
					if err == nil {
						err = hub.CompactReplica(context.Background(), party, i%2 == 0)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		r := w.pulled("chat")
		for g := range 4 {
			for i := range 200 {
				want := huanxin.MarkNeverSeen
				if i%20 < 5 {
					want = huanxin.MarkAbsent
				}
				if got := markOf(r, number(g*1000+i)); got != want {
					t.Fatalf("number %d of %d has mark %d, want %d", i, g, got, want)
				}
			}
		}
	})
}
