package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

var errFault = errors.New("the disk is full")

// saveWith saves x to a path over a disk on which the given step fails (from 0, -1 for none), and gives the steps there were.
func saveWith(x *index.Index, path string, fail int, die bool) (steps []string, err error) {
	disk := index.Faulty{Step: func(name string) error {
		steps = append(steps, name)
		if len(steps)-1 != fail {
			return nil
		}
		if die {
			os.Exit(7)
		}
		return errFault
	}}
	err = index.Replace(disk, path, func(w io.Writer) error {
		_, err := x.WriteTo(w, []byte("new"), true)
		return err
	})
	return steps, err
}

func bigger() *index.Index {
	x := index.NewOnHeap()
	for i := range uint64(80) { // two writes
		x.Set(8613800000000+i*10000, uint16(i+1), 1)
	}
	return x
}

// TestASaveThatFailsLeavesTheOldFile makes every step fail once.
func TestASaveThatFailsLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	old, x := smallSnapshot(t), bigger()
	path := filepath.Join(dir, "index")
	steps, err := saveWith(x, path, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"remove", "create", "write", "sync", "close", "rename", "sync dir"}; !slices.Equal(slices.Compact(slices.Clone(steps)), want) {
		t.Fatalf("the steps are %v, want %v", steps, want)
	}
	for fail, step := range steps {
		write(t, path, old)
		if _, err := saveWith(x, path, fail, false); !errors.Is(err, errFault) {
			t.Errorf("step %d, %s, failed and the error is %v", fail, step, err)
		}
		want := old
		if step == "sync dir" { // saved, but nobody knows whether for good
			want = whole
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, want) {
			t.Errorf("step %d, %s, failed and the file is not whole", fail, step)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
			t.Errorf("step %d, %s, left %v", fail, step, left)
		}
	}
}

// TestACrashWhileSavingLeavesAWholeFile kills a process at every step; the next Save succeeds all the same.
func TestACrashWhileSavingLeavesAWholeFile(t *testing.T) {
	const path, step = "HUANXIN_TEST_INDEX_PATH", "HUANXIN_TEST_INDEX_STEP"
	if to := os.Getenv(path); to != "" {
		var fail int
		if _, err := fmt.Sscan(os.Getenv(step), &fail); err != nil {
			t.Fatal(err)
		}
		_, _ = saveWith(bigger(), to, fail, true)
		t.Fatal("it outlived its end")
	}
	to := filepath.Join(t.TempDir(), "index")
	x := bigger()
	steps, err := saveWith(x, to, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	old := smallSnapshot(t)
	for fail, name := range steps {
		write(t, to, old)
		child := exec.Command(os.Args[0], "-test.run=^TestACrashWhileSavingLeavesAWholeFile$")
		child.Env = append(os.Environ(), path+"="+to, fmt.Sprintf("%s=%d", step, fail))
		out, err := child.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
			t.Fatalf("%v\n%s", err, out)
		}
		want := old
		if name == "sync dir" {
			want = whole
		}
		if now, err := os.ReadFile(to); err != nil || !bytes.Equal(now, want) {
			t.Errorf("it died before step %d, %s, and the file is not whole", fail, name)
		}
		if err := x.Save(to, []byte("new")); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(to); err != nil || !bytes.Equal(now, whole) {
			t.Errorf("after a death before step %d, %s, the next save is not whole", fail, name)
		}
	}
}

// TestAWriterThatFailsEndsTheSnapshot lets every count of bytes through.
func TestAWriterThatFailsEndsTheSnapshot(t *testing.T) {
	x := bigger()
	whole := snapshot(t, x, nil, true)
	for n := 0; n < len(whole); n += 1 << 18 {
		if _, err := x.WriteTo(&limited{n}, nil, true); !errors.Is(err, errFault) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := x.WriteTo(&limited{len(whole)}, nil, true); err != nil {
		t.Error(err)
	}
}

type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	if n < len(b) {
		return n, errFault
	}
	return n, nil
}

func TestMetaHasALimit(t *testing.T) {
	x := index.NewOnHeap()
	if _, err := x.WriteTo(io.Discard, make([]byte, 1<<20+1), false); !errors.Is(err, index.ErrMeta) {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := x.Save(path, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	y, meta, err := index.Open(path)
	if err != nil || len(meta) != 1<<20 || y.Len() != 0 {
		t.Errorf("%d bytes of meta, %v", len(meta), err)
	}
}

func TestOnlyTheOwnerReadsASavedIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	if err := index.NewOnHeap().Save(path, nil); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestASnapshotWithoutCarriersHasNone(t *testing.T) {
	x := index.NewOnHeap()
	x.Apply(small)
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, snapshot(t, x, nil, false))
	y, _, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = y.Close() }()
	for _, c := range small {
		if v, carrier := y.Get(c.Digits); v != c.Value || carrier != 0 {
			t.Errorf("%x, %d", v, carrier)
		}
	}
	if err := y.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoNumberIsNotSet(t *testing.T) {
	x := index.NewOnHeap()
	for _, c := range []index.Change{
		{Digits: 0, Value: 1}, {Digits: index.MaxDigits + 1, Value: 1}, {Digits: 8613800000001, Value: index.Damaged},
		{Digits: 8613800000001, Value: 1, Carrier: index.Damaged},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was set", c)
				}
			}()
			x.Set(c.Digits, c.Value, c.Carrier)
		}()
	}
	if x.Set(8613800000001, 1, 1); x.Len() != 1 { // it is not locked up
		t.Error(x.Len())
	}
}
