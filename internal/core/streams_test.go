package core_test

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// receives gives a party the client under which as lets it call.
func (w *world) receives(party string) huanxin.Caller {
	w.Helper()
	_, err := w.AddClient(context.Background(), core.Operator(), core.NewClient{ID: party + "-1", Party: party, Secret: true})
	must(w, err)
	return w.as(party)
}

func (w *world) makes(who huanxin.Caller, doc huanxin.StreamDoc) core.Stream {
	w.Helper()
	s, err := w.CreateStream(context.Background(), who, hubURL, doc, core.Once{})
	must(w, err)
	return s
}

// row gives a stream as the store has it.
func (w *world) row(id string) (row store.StreamRow) {
	w.Helper()
	no, ok := w.keys.ParseID(seal.StreamID, id)
	if !ok {
		w.Fatalf("%s is no stream's id", id)
	}
	must(w, w.store.Read(context.Background(), func(tx *store.Tx) (err error) {
		row, _, err = tx.Stream(huanxin.StreamID(no))
		return err
	}))
	return row
}

func pushed(header string) huanxin.StreamDoc {
	return huanxin.StreamDoc{Delivery: huanxin.Give(huanxin.DeliveryDoc{Method: huanxin.Give(huanxin.DeliverByPush.String()),
		Endpoint: huanxin.Give("https://receiver.example.com/"), Header: huanxin.Give(header)})}
}

func subjectLines(lines ...core.SubjectLine) iter.Seq2[core.SubjectLine, error] {
	return func(yield func(core.SubjectLine, error) bool) {
		for i, l := range lines {
			if l.Line = int64(i + 1); !yield(l, nil) {
				return
			}
		}
	}
}

func TestAnAuthorizationHeaderIsSealedAtRestAndShownToWhoManages(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, who := t.Context(), w.receives("chat")
		s := w.makes(who, pushed("Bearer s3cret"))
		row := w.row(s.ID)
		if row.Header != "" || len(row.Sealed) == 0 || strings.Contains(string(row.Sealed), "s3cret") {
			t.Errorf("at rest: %q %q", row.Header, row.Sealed)
		}
		other := w.makes(who, pushed("Bearer other"))
		must(t, w.store.Write(ctx, func(tx *store.Tx) error { // moved to another row it does not open
			moved := w.row(other.ID)
			moved.Sealed = row.Sealed
			return tx.SaveStream(moved)
		}))
		if _, err := w.Stream(ctx, who, hubURL, other.ID); err == nil {
			t.Error("a header opens on another stream")
		}
		for scope, want := range map[huanxin.Scope]string{huanxin.ScopeSSFManage: "Bearer s3cret", huanxin.ScopeSSFRead: huanxin.HiddenHeader} {
			if got, err := w.Stream(ctx, w.as("chat", scope), hubURL, s.ID); err != nil || got.Header != want {
				t.Errorf("with %s: %q %v", scope, got.Header, err)
			}
		}
		all, err := w.AllStreams(ctx, core.Operator())
		if err != nil || len(all) != 2 || all[0].Header != huanxin.HiddenHeader || all[0].Party != "chat" || all[0].Client != "chat-1" || all[0].ActiveAt.IsZero() {
			t.Errorf("the operator sees %+v, %v", all, err)
		}
		for _, e := range w.audit(1) {
			if strings.Contains(e.Detail+e.Subject, "s3cret") || strings.Contains(e.Detail, "receiver.example") {
				t.Errorf("the audit log holds %+v", e)
			}
		}
	})
}

// reads is refused unless one of two scopes is there, which the table of use cases cannot say.
func TestStreamsAreReadWithEitherScope(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.makes(w.receives("chat"), huanxin.StreamDoc{})
		for name, read := range map[string]func(who huanxin.Caller) error{
			"stream.read": func(who huanxin.Caller) error { _, err := w.Stream(t.Context(), who, hubURL, s.ID); return err },
			"stream.list": func(who huanxin.Caller) error { _, err := w.Streams(t.Context(), who, hubURL); return err },
		} {
			for _, scope := range []huanxin.Scope{huanxin.ScopeSSFRead, huanxin.ScopeSSFManage} {
				if err := read(w.as("chat", scope)); err != nil {
					t.Errorf("%s with %s: %v", name, scope, err)
				}
			}
			for _, who := range []huanxin.Caller{w.as("chat", huanxin.ScopeTasksWork), w.as("cmcc", huanxin.ScopeSSFRead, huanxin.ScopeSSFManage), w.as("ops", huanxin.ScopeSSFManage)} {
				if err := read(who); huanxin.CodeOf(err) != "insufficient_scope" {
					t.Errorf("%s by %s: %v", name, who.Client, err)
				}
				if got := w.recorded(); got.Action != name || got.Refused != "insufficient_scope" || got.Client != who.Client {
					t.Errorf("%s is recorded as %+v", name, got)
				}
			}
			if err := read(huanxin.Caller{Scopes: huanxin.Scopes{huanxin.ScopeSSFManage}}); huanxin.KindOf(err) != huanxin.Unauthenticated {
				t.Errorf("%s by nobody: %v", name, err)
			}
			bound := w.as("chat")
			bound.Bound = huanxin.Bound{Number: number(1)}
			if err := read(bound); huanxin.CodeOf(err) != "insufficient_scope" {
				t.Errorf("%s with a token that is bound to a number: %v", name, err)
			}
		}
	})
}

func TestAClientHasFiveStreamsAtMostHoweverManyItMakesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		who, other := w.receives("chat"), w.receives("game")
		again := w.again(core.CheckOptions{}) // two hubs
		var wg sync.WaitGroup
		made := make([]error, 16)
		for i := range made {
			wg.Go(func() {
				_, made[i] = []*world{w, again}[i%2].CreateStream(context.Background(), who, hubURL, huanxin.StreamDoc{}, core.Once{})
			})
		}
		wg.Wait()
		full := 0
		for _, err := range made {
			if err != nil && huanxin.CodeOf(err) != "too_many_streams" {
				t.Error(err)
			}
			if err != nil {
				full++
			}
		}
		if full != len(made)-huanxin.MaxStreams {
			t.Errorf("%d of %d were refused", full, len(made))
		}
		w.makes(other, huanxin.StreamDoc{})
	})
}

func TestTheHubsOwnChangeOfAStatusIsSignalledAndRecorded(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, who := t.Context(), w.receives("chat")
		s := w.makes(who, huanxin.StreamDoc{})
		no := w.row(s.ID).ID
		is := func(what string, status huanxin.StreamStatus, reason string, byHub bool, action string) {
			t.Helper()
			if row := w.row(s.ID); row.Status != status || row.Reason != reason || row.ByHub != byHub {
				t.Errorf("%s: %v %q %v", what, row.Status, row.Reason, row.ByHub)
			}
			if e := w.recorded(); e.Action != action || e.Subject != s.ID || e.Refused != "" {
				t.Errorf("%s is recorded as %+v", what, e)
			}
		}
		must(t, w.SuspendStream(ctx, no, "401 from the receiver"))
		is("suspended", huanxin.StreamPaused, "401 from the receiver", true, "stream.suspend")
		must(t, w.SuspendStream(ctx, no, "again"))
		is("suspended again", huanxin.StreamPaused, "401 from the receiver", true, "stream.suspend")
		must(t, w.EnableStream(ctx, core.Operator(), s.ID, "repaired"))
		is("enabled", huanxin.StreamEnabled, "repaired", true, "stream.enable")
		must(t, w.PauseStream(ctx, core.Operator(), s.ID, "moving"))
		is("paused", huanxin.StreamPaused, "moving", true, "stream.pause")
		_, err := w.SetStreamStatus(ctx, who, s.ID, huanxin.StreamEnabled, "")
		must(t, err)
		is("enabled by its receiver", huanxin.StreamEnabled, "", false, "stream.status")
		var signals []string
		must(t, w.store.Read(ctx, func(tx *store.Tx) error {
			got, err := tx.Signals(no)
			for _, s := range got {
				signals = append(signals, fmt.Sprint(s.Kind == store.SignalUpdated, " ", s.State, ": ", s.Reason))
			}
			return err
		}))
		if got := strings.Join(signals, "; "); got != "true paused: 401 from the receiver; true enabled: repaired; true paused: moving" {
			t.Errorf("signalled: %s", got) // one for each change of the hub's, none for the receiver's
		}
		must(t, w.SuspendStream(ctx, no+100, "nobody"))
		if err := w.PauseStream(ctx, core.Operator(), "st_x", ""); huanxin.KindOf(err) != huanxin.NotFound {
			t.Error(err)
		}
	})
}

func TestAStreamWhoseReceiverIsNotHeardOfIsPaused(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, who := t.Context(), w.receives("chat")
		old := func() (id huanxin.StreamID, name string) { // made 31 days ago, and not heard of since
			must(t, w.store.Write(ctx, func(tx *store.Tx) (err error) {
				if id, err = tx.NextStream(); err != nil {
					return err
				}
				return tx.InsertStream(store.StreamRow{Stream: huanxin.Stream{ID: id, Client: who.Client, Status: huanxin.StreamEnabled,
					CreatedAt: ago(31 * 24 * time.Hour), StreamConfig: huanxin.StreamConfig{Method: huanxin.DeliverByPoll}}})
			}))
			return id, w.keys.ID(seal.StreamID, int64(id))
		}
		_, idle := old()
		polled, alive := old()
		_, read := old()
		fresh := w.makes(who, huanxin.StreamDoc{})
		must(t, w.TouchStream(ctx, polled))
		_, err := w.Stream(ctx, who, hubURL, read)
		must(t, err)
		for range 2 {
			n, err := w.PauseIdleStreams(ctx)
			must(t, err)
			if row := w.row(idle); row.Status != huanxin.StreamPaused || !row.ByHub || row.Reason == "" {
				t.Errorf("%d: %+v", n, row.Stream)
			}
		}
		for _, name := range []string{alive, read, fresh.ID} {
			if row := w.row(name); row.Status != huanxin.StreamEnabled {
				t.Errorf("%+v", row.Stream)
			}
		}
		if e := w.recorded(); e.Action != "stream.suspend" || e.Subject != idle {
			t.Errorf("recorded: %+v", e)
		}
	})
}

func TestADeletedStreamLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, who := t.Context(), w.receives("chat")
		s := w.makes(who, huanxin.StreamDoc{})
		no := w.row(s.ID).ID
		var lookups [][]byte
		for i := range 25 {
			must(t, w.ChangeSubject(ctx, who, s.ID, number(i), false))
			lookups = append(lookups, w.keys.Lookup(number(i)))
		}
		left := func() (n int) {
			must(t, w.store.Read(ctx, func(tx *store.Tx) error {
				known, err := tx.KnownSubjects(no, lookups)
				n = len(known)
				return err
			}))
			return n
		}
		if left() != 25 {
			t.Fatalf("%d subjects", left())
		}
		must(t, w.DeleteStream(ctx, who, s.ID))
		for more := true; more; {
			var err error
			more, err = w.ClearStreams(ctx, 10)
			must(t, err)
		}
		if left() != 0 {
			t.Errorf("%d subjects are left", left())
		}
	})
}

func TestSubjectsOfAnOlderKeyAreKnownUnderTheCurrentOne(t *testing.T) {
	for name, dsn := range map[string]string{"sqlite": sqliteFile(t), "postgres": migrated.Database(t)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			keys, err := seal.Open(path)
			must(t, err)
			s, err := store.Open(t.Context(), dsn)
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			w := newHub(t, s, keys)
			must(t, w.PutParty(t.Context(), core.Operator(), huanxin.Party{ID: "chat", NameZh: "a", NameEn: "a", Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind}}, true))
			who := w.receives("chat")
			made := w.makes(who, huanxin.StreamDoc{})
			must(t, w.ChangeSubject(t.Context(), who, made.ID, number(1), false))
			rotated := rotateLookup(t, path)
			again := newHub(t, s, rotated)
			must(t, again.ChangeSubject(t.Context(), who, made.ID, number(1), false))
			if n := again.row(made.ID).Subjects; n != 1 {
				t.Errorf("%d rows", n)
			}
			must(t, s.Read(t.Context(), func(tx *store.Tx) error {
				known, err := tx.KnownSubjects(again.row(made.ID).ID, rotated.LookupAll(number(1)))
				if len(known) != 1 || !known[string(rotated.Lookup(number(1)))] {
					t.Errorf("%d rows", len(known))
				}
				return err
			}))
		})
	}
}

func TestAContractNarrowsAllSubjectsToThoseAdded(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		_ = w.receives("chat")
		c, err := w.NarrowFeed(t.Context(), core.Operator(), "chat-1", true)
		if err != nil || !c.FeedNarrow {
			t.Errorf("%+v %v", c, err)
		}
		c, err = w.NarrowFeed(t.Context(), core.Operator(), "chat-1", false)
		if err != nil || c.FeedNarrow {
			t.Errorf("%+v %v", c, err)
		}
		must(t, w.GrantFeedStart(t.Context(), core.Operator(), "chat", true))
		if !w.Party("chat").FeedStart {
			t.Error("it was not granted")
		}
		if err := w.GrantFeedStart(t.Context(), core.Operator(), "cmcc", true); huanxin.KindOf(err) != huanxin.Invalid {
			t.Error("a carrier:", err)
		}
		if _, err := w.NarrowFeed(t.Context(), core.Operator(), "nobody", true); huanxin.KindOf(err) != huanxin.NotFound {
			t.Error(err)
		}
	})
}

func TestABodyOfSubjectsThatBreaksOffKeepsWhatWasTaken(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx, who := t.Context(), w.receives("chat")
		s := w.makes(who, huanxin.StreamDoc{})
		broken := fmt.Errorf("broken")
		receipt, err := w.ChangeSubjects(ctx, who, s.ID, func(yield func(core.SubjectLine, error) bool) {
			for i := range 5000 {
				if !yield(core.SubjectLine{Line: int64(i + 1), Number: number(i)}, nil) {
					return
				}
			}
			yield(core.SubjectLine{}, broken)
		})
		if err != broken || receipt.Accepted != 5000 || w.row(s.ID).Subjects != 5000 {
			t.Errorf("%+v %v, %d rows", receipt, err, w.row(s.ID).Subjects)
		}
		receipt, err = w.ChangeSubjects(ctx, who, s.ID, subjectLines(core.SubjectLine{Number: number(1)}, core.SubjectLine{}, core.SubjectLine{Number: number(9000)}))
		if err != nil || receipt.Accepted != 2 || receipt.Duplicates != 1 {
			t.Errorf("%+v %v", receipt, err)
		}
	})
}
