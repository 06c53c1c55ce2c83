package core_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

const hubURL = "https://hub.example"

func (w *world) grants(app string, g huanxin.ReplicaGrant) {
	w.Helper()
	must(w, w.GrantReplica(context.Background(), core.Operator(), app, g))
}

func numberLines(numbers []huanxin.Number) iter.Seq2[core.ReplicaLine, error] {
	return func(yield func(core.ReplicaLine, error) bool) {
		for i, n := range numbers {
			if !yield(core.ReplicaLine{Line: int64(i + 1), Number: n}, nil) {
				return
			}
		}
	}
}

func some(from, to int) (out []huanxin.Number) {
	for i := from; i < to; i++ {
		out = append(out, number(i))
	}
	return out
}

func (w *world) uploads(app string, numbers ...huanxin.Number) core.Receipt {
	w.Helper()
	r, err := w.UploadReplicaNumbers(context.Background(), w.as(app), numberLines(numbers))
	must(w, err)
	return r
}

func (w *world) removes(app string, numbers ...huanxin.Number) core.Receipt {
	w.Helper()
	r, err := w.RemoveReplicaNumbers(context.Background(), w.as(app), numberLines(numbers))
	must(w, err)
	return r
}

// wire is a hub without HTTP: it gives an app its replica as it stands on the wire.
type wire struct {
	w    *world
	app  string
	ring *auth.KeyRing
}

func (w *world) wire(app string) *wire {
	w.Helper()
	ring, err := auth.NewKeyRing(auth.NewSigningKey(ago(time.Hour)))
	must(w, err)
	return &wire{w, app, ring}
}

func (s *wire) Replica(ctx context.Context) (io.ReadCloser, error) {
	p, err := s.w.BeginPull(ctx, s.w.as(s.app), hubURL)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := p.WriteTo(ctx, &b); err != nil {
		return nil, errors.Join(err, p.End(ctx, false))
	}
	sum := sha256.Sum256(b.Bytes())
	p.Manifest.SHA256 = hex.EncodeToString(sum[:])
	jws, err := s.ring.Sign(time.Now(), replica.Type, p.Manifest)
	if err != nil {
		return nil, err
	}
	body := replica.AppendFooter(b.Bytes(), jws)
	return io.NopCloser(bytes.NewReader(body)), p.End(ctx, true)
}

func (s *wire) KeySet(context.Context) ([]byte, error) { return json.Marshal(s.ring.JWKS(time.Now())) }

// pulled gives an app's replica, opened.
func (w *world) pulled(app string) *replica.Replica {
	w.Helper()
	path := filepath.Join(w.TempDir(), "replica")
	_, err := replica.Pull(context.Background(), w.wire(app), path, replica.Wanted{Issuer: hubURL, Audience: w.as(app).Client})
	must(w, err)
	r, err := replica.Open(path)
	must(w, err)
	w.Cleanup(func() { must(w, r.Close()) })
	return r
}

func markOf(r *replica.Replica, n huanxin.Number) huanxin.Mark {
	out := make([]uint16, 1)
	r.Lookup([]uint64{n.Digits()}, out)
	return huanxin.Mark(out[0])
}

// stories gives numbers of every life that a check knows, from number base on.
func (w *world) stories(base int) (numbers []huanxin.Number) {
	w.Helper()
	moved := ago(200 * dayLong)
	id := func(n int, s string) string { return fmt.Sprint(base+n, s) }
	w.accepts("cmcc",
		activated(id(1, "a"), base+1, huanxin.ActivatedFirst, ago(900*dayLong)),
		activated(id(2, "a"), base+2, huanxin.ActivatedFirst, ago(900*dayLong)), line(id(2, "b"), base+2, huanxin.Transferred, moved),
		activated(id(3, "a"), base+3, huanxin.ActivatedFirst, ago(900*dayLong)), line(id(3, "b"), base+3, huanxin.Disconnected, moved),
		activated(id(4, "a"), base+4, huanxin.ActivatedPortedIn, moved),
		activated(id(5, "a"), base+5, huanxin.ActivatedFirst, ago(900*dayLong)), line(id(5, "b"), base+5, huanxin.Disconnected, ago(500*dayLong)),
		activated(id(5, "c"), base+5, huanxin.ActivatedReassigned, moved),
		activated(id(6, "a"), base+6, huanxin.ActivatedFirst, ago(time.Hour)))
	return some(base+1, base+7)
}

func TestAReplicaAnswersAsTheHubDoesForWhatWasUploadedAndKnowsNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.again(unguarded) // every day of years is asked about
		w.grants("chat", huanxin.ReplicaUploaded)
		w.grants("game", huanxin.ReplicaUploaded)
		mine, theirs := w.stories(0), w.stories(100_000)
		never := number(55_555)
		w.uploads("chat", append(slices.Clone(mine), never)...)
		w.uploads("game", theirs...)
		w.follows()
		r := w.pulled("chat")
		for _, n := range theirs {
			if m := markOf(r, n); m != huanxin.MarkNeverSeen {
				t.Errorf("another app's number is in the replica: mark %d", m)
			}
		}
		for _, n := range some(7, 100) {
			if m := markOf(r, n); m != huanxin.MarkNeverSeen {
				t.Errorf("a number that nobody uploaded is in the replica: mark %d", m)
			}
		}
		if m := markOf(r, never); m != huanxin.MarkAbsent {
			t.Errorf("a number that the hub has never seen: mark %d", m)
		}
		undecided := compareAnswers(t, w, r, append(mine, never))
		if undecided == 0 {
			t.Error("a day decides everything: the comparison is not what it should be")
		}
		if asOf, _, err := w.Coverage(context.Background(), w.as("chat")); err != nil || r.AsOf() != asOf || r.Len() != int64(len(mine)+1) {
			t.Errorf("as of %d, want %d; %d numbers: %v", r.AsOf(), asOf, r.Len(), err)
		}
	})
}

// compareAnswers asks replica and hub about every day of three years, and says how often the replica leaves it to the hub.
func compareAnswers(t *testing.T, w *world, r *replica.Replica, numbers []huanxin.Number) (undecided int) {
	t.Helper()
	c, err := w.BeginChecks(context.Background(), w.as("chat"), huanxin.ScopeNumbersCheck)
	must(t, err)
	present := huanxin.PresentAt(time.Now(), r.Zone())
	today := huanxin.DayOf(time.Now(), r.Zone())
	for _, n := range numbers {
		var in []core.Check
		for day := today - 1000; day <= today+2; day++ {
			in = append(in, core.Check{Number: n, Since: huanxin.SinceDay(day)},
				core.Check{Number: n, Since: huanxin.SinceInstant(day.Date(r.Zone()).Add(11 * time.Hour))})
		}
		out := make([]core.Checked, len(in))
		must(t, c.Answer(context.Background(), in, out))
		m := markOf(r, n)
		for i := range in {
			outcome, reason, decided := m.Answer(n, in[i].Since, &present)
			if !decided {
				undecided++
			} else if outcome != out[i].Outcome || reason != out[i].Reason {
				t.Fatalf("question %d: the replica says %s %s, the hub %s %s", i, outcome, reason, out[i].Outcome, out[i].Reason)
			}
		}
	}
	return undecided
}

func TestAWholeReplicaHoldsEveryNumberAndNoCarrier(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = w.again(unguarded)
		w.grants("chat", huanxin.ReplicaWhole)
		told := ago(time.Hour)
		numbers := w.stories(0)
		_, err := w.ReportEvents(context.Background(), w.as("cmcc"), eventLines(), told)
		must(t, err)
		w.follows()
		path := filepath.Join(t.TempDir(), "replica")
		_, err = replica.Pull(context.Background(), w.wire("chat"), path, replica.Wanted{Issuer: hubURL, Audience: "chat-1"})
		must(t, err)
		r, err := replica.Open(path)
		must(t, err)
		defer func() { must(t, r.Close()) }()
		compareAnswers(t, w, r, append(numbers, number(99)))
		if r.Scope() != huanxin.ReplicaWhole || r.Len() != 6 || !r.Fresh()["cmcc"].Equal(told) || len(r.Fresh()) != 1 {
			t.Errorf("%+v", r.Manifest())
		}
		x, _, err := index.Open(path)
		must(t, err)
		defer func() { must(t, x.Close()) }()
		for _, n := range numbers {
			if _, carrier := x.Get(n.Digits()); carrier != 0 {
				t.Errorf("it names the carrier %d", carrier)
			}
		}
	})
}

func TestAnAppWithoutAContractGetsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.follows()
		for _, do := range []func() error{
			func() error { _, err := w.UploadReplicaNumbers(ctx, w.as("chat"), numberLines(some(0, 3))); return err },
			func() error { _, err := w.RemoveReplicaNumbers(ctx, w.as("chat"), numberLines(some(0, 3))); return err },
			func() error { _, err := w.BeginPull(ctx, w.as("chat"), hubURL); return err },
			func() error { return w.MayPull(ctx, w.as("chat")) },
		} {
			if err := do(); huanxin.KindOf(err) != huanxin.Forbidden || huanxin.CodeOf(err) != "no_contract" {
				t.Error(err)
			}
		}
		if got := w.recorded(); got.Action != "replica.pull.begin" || got.Refused != "no_contract" {
			t.Errorf("recorded: %+v", got)
		}
		for _, id := range []string{"cmcc", "miit", "ops"} {
			w.refused(w.GrantReplica(ctx, core.Operator(), id, huanxin.ReplicaWhole), "invalid", "")
		}
		w.refused(w.GrantReplica(ctx, core.Operator(), "chat", 3), "invalid", "")
		w.refused(w.GrantReplica(ctx, core.Operator(), "nobody", huanxin.ReplicaWhole), "not_found", "")
	})
}

func TestAContractThatEndsTakesTheUploadedNumbersAway(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.grants("chat", huanxin.ReplicaUploaded)
		w.uploads("chat", some(0, 5)...)
		w.follows()
		stale := w.as("chat") // as a hub sees it that has not read the registry again
		w.grants("chat", huanxin.NoReplica)
		if _, err := w.UploadReplicaNumbers(context.Background(), stale, numberLines(some(0, 5))); huanxin.CodeOf(err) != "no_contract" {
			t.Error(err)
		}
		if _, err := w.BeginPull(context.Background(), stale, hubURL); huanxin.CodeOf(err) != "no_contract" {
			t.Error(err)
		}
		w.grants("chat", huanxin.ReplicaUploaded)
		if r := w.pulled("chat"); r.Len() != 0 {
			t.Errorf("%d numbers are left", r.Len())
		}
	})
}

func TestAPullIsRecordedFromItsBeginningToItsEnd(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		w.grants("chat", huanxin.ReplicaUploaded)
		w.uploads("chat", w.stories(0)...)
		w.follows()
		from := int64(len(w.audit(1))) + 1
		w.pulled("chat")
		broken, err := w.BeginPull(ctx, w.as("chat"), hubURL)
		must(t, err)
		gone := errors.New("the client is gone")
		if err := broken.WriteTo(ctx, failing{gone}); !errors.Is(err, gone) {
			t.Error(err)
		}
		must(t, broken.End(ctx, false))
		unfinished, err := w.BeginPull(ctx, w.as("chat"), hubURL)
		must(t, err)
		all := w.audit(from)
		must(t, unfinished.End(ctx, false))
		type said struct {
			Grant    string
			Numbers  int64
			AsOf     int64 `json:"as_of"`
			Complete bool
			Size     int64
			SHA256   string
		}
		var got []string
		for _, e := range all {
			var d said
			must(t, json.Unmarshal([]byte(e.Detail), &d))
			if d.Grant != "uploaded" || d.Numbers != 6 || d.AsOf == 0 || e.Party != w.as("chat").Party.No || e.Client != "chat-1" || d.Complete != (d.Size > 0 && len(d.SHA256) == 64) {
				t.Errorf("%+v: %s", e, e.Detail)
			}
			got = append(got, fmt.Sprint(e.Action, " ", d.Complete))
		}
		want := []string{"replica.pull.begin false", "replica.pull.end true", "replica.pull.begin false", "replica.pull.end false", "replica.pull.begin false"}
		if !slices.Equal(got, want) {
			t.Errorf("recorded %q", got)
		}
		if all[0].Subject != all[1].Subject || all[0].Subject == all[2].Subject || all[2].Subject != all[3].Subject || all[0].Subject == "" {
			t.Error("the entries of a pull do not belong together")
		}
	})
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestThereIsNoReplicaOfAnIndexThatIsNotWhole(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	ctx := context.Background()
	none := func(what string) {
		t.Helper()
		for _, g := range []huanxin.ReplicaGrant{huanxin.ReplicaUploaded, huanxin.ReplicaWhole} {
			w.grants("chat", g)
			if g == huanxin.ReplicaUploaded {
				w.uploads("chat", some(0, 3)...)
			}
			p, err := w.BeginPull(ctx, w.as("chat"), hubURL)
			var e *huanxin.Error
			if !errors.As(err, &e) || e.Kind != huanxin.Unavailable || e.Code != "overloaded" || e.RetryAfter < time.Second {
				t.Errorf("%s, %s: %v, %v", what, g, p, err)
			}
		}
	}
	none("before it is built")
	w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)), activated("2", 2, huanxin.ActivatedFirst, ago(900*dayLong)))
	w.follows()
	damaged := damagedIndex(t)
	defer func() { must(t, damaged.Close()) }()
	back := w.AnswerFrom(damaged)
	none("when it is damaged")
	back()
	w.pulled("chat")
}

// damagedIndex opens a snapshot of which the page of number(1) is damaged.
func damagedIndex(t *testing.T) *index.Index {
	t.Helper()
	x := index.New()
	x.Set(number(1).Digits(), 41, 0)
	path := filepath.Join(t.TempDir(), "index")
	must(t, x.Save(path, nil))
	must(t, x.Close())
	text, err := os.ReadFile(path)
	must(t, err)
	text[200] ^= 1
	must(t, os.WriteFile(path, text, 0o600))
	x, _, err = index.Open(path)
	must(t, err)
	return x
}

func TestPullsAreBounded(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	ctx := context.Background()
	w.follows()
	var pulls []*core.Pull
	for _, app := range []string{"chat", "game", "pay", "label"} {
		w.grants(app, huanxin.ReplicaUploaded)
		p, err := w.BeginPull(ctx, w.as(app), hubURL)
		must(t, err)
		pulls = append(pulls, p)
	}
	w.grants("off", huanxin.ReplicaUploaded)
	for _, app := range []string{"chat", "off"} {
		if _, err := w.BeginPull(ctx, w.as(app), hubURL); huanxin.CodeOf(err) != "overloaded" {
			t.Errorf("%s: %v", app, err)
		}
	}
	for _, p := range pulls {
		must(t, p.End(ctx, false))
	}
	w.pulled("chat")
}

// TestAPullWhileTheIndexIsWrittenHoldsAllUpToItsPosition: each number has one event, so the position says how many there are.
func TestAPullWhileTheIndexIsWrittenHoldsAllUpToItsPosition(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	w.grants("chat", huanxin.ReplicaWhole)
	w.grants("game", huanxin.ReplicaUploaded)
	const total, step = 1500, 50
	w.uploads("game", some(0, total)...)
	w.follows()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for from := 0; from < total; from += step {
			var events []huanxin.Event
			for i := from; i < from+step; i++ {
				events = append(events, activated(fmt.Sprint(i), i, huanxin.ActivatedFirst, ago(900*dayLong)))
			}
			if _, err := w.ReportEvents(context.Background(), w.as("cmcc"), eventLines(events...), time.Time{}); err != nil {
				t.Error(err)
				return
			}
			if _, err := w.Sequence(context.Background(), 1000); err != nil {
				t.Error(err)
			}
			if err := w.Follow(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}()
	last, seen := int64(-1), 0
	for done := false; !done; seen++ {
		select {
		case <-written:
			done = true
		default:
		}
		for _, app := range []string{"chat", "game"} {
			r := w.pulled(app)
			if r.AsOf() < last {
				t.Fatalf("as of %d after %d", r.AsOf(), last)
			}
			last = r.AsOf()
			for i := range int(r.AsOf()) {
				if m := markOf(r, number(i)); m == huanxin.MarkNeverSeen || m == huanxin.MarkAbsent {
					t.Fatalf("%s: as of %d number %d is not there", app, r.AsOf(), i)
				}
			}
		}
	}
	if last != total || seen < 2 {
		t.Errorf("the last of %d pulls is as of %d", seen, last)
	}
}

// TestAPullHoldsNothingUp: whoever takes a snapshot slowly keeps nobody from reporting, following and checking.
func TestAPullHoldsNothingUp(t *testing.T) {
	w := newWorld(t, sqliteFile(t))
	w.grants("chat", huanxin.ReplicaWhole)
	w.stories(0)
	w.follows()
	p, err := w.BeginPull(context.Background(), w.as("chat"), hubURL)
	must(t, err)
	var after int64
	must(t, p.WriteTo(context.Background(), writing(func(b []byte) (int, error) {
		if after == 0 { // in the middle of the write
			w.removes("chat", number(1))
			w.accepts("cmcc", activated("later", 77, huanxin.ActivatedFirst, ago(900*dayLong)))
			w.follows()
			_, after = w.checks(number(77), on(time.Now()))
		}
		return len(b), nil
	})))
	must(t, p.End(context.Background(), true))
	if after != p.Manifest.AsOf+1 {
		t.Errorf("the pull is as of %d, and checks during it as of %d", p.Manifest.AsOf, after)
	}
}

// TestAHubThatStopsEndsItsPulls closes the hub while a snapshot is being written.
func TestAHubThatStopsEndsItsPulls(t *testing.T) {
	w := newWorld(t, sqliteFile(t)).again(core.CheckOptions{})
	w.grants("chat", huanxin.ReplicaWhole)
	w.stories(0)
	w.follows()
	p, err := w.BeginPull(context.Background(), w.as("chat"), hubURL)
	must(t, err)
	closed := make(chan error)
	first := true
	err = p.WriteTo(context.Background(), writing(func(b []byte) (int, error) {
		if first {
			first = false
			go func() { closed <- w.Close() }()
		}
		return len(b), nil
	}))
	if err != nil && huanxin.KindOf(err) != huanxin.Unavailable {
		t.Error(err)
	}
	select {
	case <-closed:
		t.Fatal("the hub closed with a pull under way")
	default:
	}
	must(t, p.End(context.Background(), false))
	must(t, <-closed)
	if _, err := w.BeginPull(context.Background(), w.as("chat"), hubURL); huanxin.KindOf(err) != huanxin.Unavailable {
		t.Error(err)
	}
}

type writing func([]byte) (int, error)

func (f writing) Write(b []byte) (int, error) { return f(b) }
