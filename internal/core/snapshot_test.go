package core_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
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

// logged is what a hub logs, from any goroutine.
type logged struct {
	sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.Lock()
	defer l.Unlock()
	return l.text.String()
}

// reader is one more hub on the world's store, with a snapshot file, and what it logs.
func (w *world) reader(path string) (*world, *logged) {
	w.Helper()
	var log logged
	h, err := core.New(context.Background(), core.Options{Store: w.store, Keys: w.keys, Calendar: huanxin.ChinaCalendar(),
		Durations: huanxin.DefaultDurations(), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Checks: core.CheckOptions{Snapshot: path, Exempt: unguarded.Exempt}})
	must(w, err)
	w.Cleanup(func() { must(w, h.Close()) })
	return &world{TB: w.TB, Hub: h, store: w.store, keys: w.keys}, &log
}

// lived tells the lives of numbers 0 to 39 in four kinds, and more: every fourth one is NO_HOLDER, and so on.
func (w *world) lived(from, to int) {
	w.Helper()
	for n := from; n < to; n++ {
		id := fmt.Sprint("l", n)
		events := []huanxin.Event{activated(id, n, huanxin.ActivatedFirst, ago(900*dayLong))}
		switch n % 4 {
		case 1:
			events = append(events, line(id+"t", n, huanxin.Transferred, ago(30*dayLong)))
		case 2:
			events = append(events, line(id+"d", n, huanxin.Disconnected, ago(30*dayLong)))
		case 3:
			events[0].Origin = huanxin.ActivatedUnknown
		}
		w.accepts("cmcc", events...)
	}
	w.sequence()
}

// knows fails unless the hub answers what lived told.
func (w *world) knows(how string, to int) {
	w.Helper()
	for n := range to {
		want := []string{"UNCHANGED ", "CHANGED transferred", "NO_HOLDER ", "UNCHANGED "}[n%4]
		if got, _ := w.checks(number(n), on(ago(100*dayLong))); says(got) != want {
			w.Errorf("%s: number %d: %s, want %s", how, n, says(got), want)
		}
	}
}

func TestASnapshotIsTakenUpAndTheLogAppliedFromThereOn(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		path := filepath.Join(t.TempDir(), "index")
		w.lived(0, 20)
		first, log := w.reader(path)
		must(t, first.Follow(ctx))
		must(t, first.SaveIndex(ctx))
		saved, err := os.ReadFile(path)
		must(t, err)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		must(t, first.SaveIndex(ctx)) // nothing moved
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(saved, again) {
			t.Error("it was written again")
		}
		w.lived(20, 40)
		w.accepts("cmcc", line("late", 0, huanxin.Disconnected, ago(10*dayLong)), line("back", 0, huanxin.Reinstated, ago(9*dayLong)))
		w.sequence()
		second, log2 := w.reader(path)
		must(t, second.Follow(ctx))
		second.knows("from the snapshot and the tail", 40)
		if log.String()+log2.String() != "" {
			t.Errorf("the snapshot was not taken: %s%s", log, log2)
		}
		if second.IndexPosition() == 0 || second.IndexLen() != 40 {
			t.Errorf("%d numbers at %d", second.IndexLen(), second.IndexPosition())
		}
	})
}

func TestASnapshotThatIsTornOrChangedOrOfAnotherLogIsBuiltAgainAndNeverServed(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, sqliteFile(t))
	path := filepath.Join(t.TempDir(), "index")
	w.lived(0, 20)
	first, _ := w.reader(path)
	must(t, first.Follow(ctx))
	must(t, first.SaveIndex(ctx))
	good, err := os.ReadFile(path)
	must(t, err)
	reach, err := os.ReadFile(path + ".reach")
	must(t, err)
	other := newWorld(t, sqliteFile(t))
	other.lived(0, 20)
	theirs, _ := other.reader(filepath.Join(t.TempDir(), "index"))
	must(t, theirs.Follow(ctx))

	for name, spoil := range map[string]func(){
		"cut":               func() { must(t, os.WriteFile(path, good[:len(good)/2], 0o600)) },
		"empty":             func() { must(t, os.WriteFile(path, nil, 0o600)) },
		"a flipped page":    func() { must(t, os.WriteFile(path, flipped(good, len(good)/2), 0o600)) },
		"a flipped head":    func() { must(t, os.WriteFile(path, flipped(good, 40), 0o600)) },
		"a flipped end":     func() { must(t, os.WriteFile(path, flipped(good, len(good)-10), 0o600)) },
		"nothing beside it": func() { must(t, os.Remove(path+".reach")) },
		"another's beside":  func() { must(t, os.WriteFile(path+".reach", []byte(`{"position":5,"reach":5}`), 0o600)) },
		"ahead of the log": func() {
			must(t, os.WriteFile(path+".reach", bytes.Replace(reach, []byte(`"reach":`), []byte(`"reach":9`), 1), 0o600))
		},
		"of another version": func() { must(t, os.WriteFile(path, append(bytes.Clone(good[:16]), flipped(good[16:], 0)...), 0o600)) },
	} {
		must(t, os.WriteFile(path, good, 0o600))
		must(t, os.WriteFile(path+".reach", reach, 0o600))
		spoil()
		r, log := w.reader(path)
		must(t, r.Follow(ctx))
		r.knows(name+", at once", 20)
		for range 400 { // a page's damage may be found by the verification that goes on behind
			must(t, r.Follow(ctx))
			if log.String() != "" && !r.IndexDamaged() {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		for range 5 { // once is enough
			must(t, r.Follow(ctx))
		}
		r.knows(name+", built again", 20)
		if n := strings.Count(log.String(), "built"); n != 1 || r.IndexDamaged() {
			t.Errorf("%s: built %d times, damaged: %v: %s", name, n, r.IndexDamaged(), log)
		}
		must(t, r.SaveIndex(ctx))
		after, log2 := w.reader(path)
		must(t, after.Follow(ctx))
		after.knows(name+", from the new snapshot", 20)
		must(t, after.Close())
		if log2.String() != "" {
			t.Errorf("%s: the snapshot was not made good: %s", name, log2)
		}
		must(t, r.Close())
	}
	must(t, os.WriteFile(path, good, 0o600))
	must(t, os.WriteFile(path+".reach", reach, 0o600))
	r, log := other.reader(path)
	must(t, r.Follow(ctx))
	r.knows("another database", 20)
	if !strings.Contains(log.String(), "another database") {
		t.Errorf("another database's snapshot: %s", log)
	}
}

func flipped(b []byte, at int) []byte {
	out := bytes.Clone(b)
	out[at] ^= 0x10
	return out
}

func TestASnapshotFromBeforeABackupWasRestoredIsNotTaken(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	open := func(file string, keys *seal.Keys) *world {
		s, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, file))
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return newHub(t, s, keys)
	}
	keys := seal.Generate()
	w := open("hub.db", keys)
	for _, id := range []string{"cmcc", "chat"} {
		p := huanxin.Party{ID: id, NameZh: id, NameEn: id, Kind: huanxin.CarrierParty, CoolingDays: 90}
		if id == "chat" {
			p = huanxin.Party{ID: id, NameZh: id, NameEn: id, Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind}}
		}
		must(t, w.PutParty(ctx, core.Operator(), p, false))
	}
	w.accepts("cmcc", activated("1", 1, huanxin.ActivatedFirst, ago(900*dayLong)))
	w.sequence()
	must(t, w.store.Close())
	backup, err := os.ReadFile(filepath.Join(dir, "hub.db"))
	must(t, err)

	w = open("hub.db", keys)
	w.accepts("cmcc", line("2", 1, huanxin.Disconnected, ago(300*dayLong)))
	w.sequence()
	path := filepath.Join(dir, "index")
	r, _ := w.reader(path)
	must(t, r.Follow(ctx))
	must(t, r.SaveIndex(ctx))
	must(t, r.Close())
	must(t, w.store.Close())

	must(t, os.WriteFile(filepath.Join(dir, "restored.db"), backup, 0o600))
	w = open("restored.db", keys)
	r, log := w.reader(path)
	must(t, r.Follow(ctx))
	if got, _ := r.checks(number(1), on(ago(100*dayLong))); says(got) != "UNCHANGED " {
		t.Errorf("what the backup does not know was served: %s", says(got))
	}
	must(t, r.Close())
	w.accepts("cmcc", line("3", 1, huanxin.Transferred, ago(200*dayLong))) // it goes on differently
	w.sequence()
	r, log2 := w.reader(path)
	must(t, r.Follow(ctx))
	if got, _ := r.checks(number(1), on(ago(250*dayLong))); says(got) != "CHANGED transferred" {
		t.Errorf("another log's snapshot was served: %s", says(got))
	}
	if !strings.Contains(log.String(), "ahead of the log") || !strings.Contains(log2.String(), "another log") {
		t.Errorf("%s%s", log, log2)
	}
}

func TestChecksAndReportsGoOnWhileASnapshotIsWritten(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, sqliteFile(t))
	w.lived(0, 8)
	path := filepath.Join(t.TempDir(), "index")
	r, _ := w.reader(path)
	must(t, r.Follow(ctx))
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.knows("meanwhile", 8)
				}
			}
		})
	}
	for n := 8; n < 40; n += 4 {
		w.lived(n, n+4)
		must(t, r.SaveIndex(ctx))
		must(t, r.Follow(ctx))
	}
	close(stop)
	all.Wait()
	must(t, r.SaveIndex(ctx))
	again, log := w.reader(path)
	must(t, again.Follow(ctx))
	again.knows("afterwards", 40)
	if log.String() != "" {
		t.Error(log)
	}
}
