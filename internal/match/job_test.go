package match_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/match"
)

// theReplica answers from world.
var theReplica = &match.Replica{Marks: world, Present: present, Uploaded: true, AsOf: 8}

// base writes an account base of so many rows, and gives what its outputs must be.
func base(t *testing.T, dir string, rows int) (changed, unknown string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("account,number,bound_at,note\n")
	for i := range rows {
		number, boundAt := numbers[i%10], boundAts[i%8]
		if i%7 == 0 {
			number, boundAt = numbers[i%len(numbers)], boundAts[i%len(boundAts)]
		}
		fmt.Fprintf(&b, "%d,%s,%s,\"a\nnote\"\r\n", i, number, boundAt)
	}
	if err := os.WriteFile(filepath.Join(dir, "in.csv"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m := reference{limit: 1 << 16}
	m.run(b.String())
	return m.changed.String(), m.unknown.String()
}

// newJob makes a job in a directory with a safe point behind every block of a few rows.
func newJob(dir string, source match.Source) *match.Job {
	return &match.Job{In: filepath.Join(dir, "in.csv"), Out: filepath.Join(dir, "out.csv"), Unknown: filepath.Join(dir, "unknown.csv"), Bad: filepath.Join(dir, "bad.csv"), SafeEvery: -1,
		Options: match.Options{Source: source, Zone: huanxin.China, BlockSize: 500, BatchRows: 4}}
}

// done fails unless the outputs are there, whole, for their owner alone, and nothing else is.
func done(t *testing.T, dir, changed, unknown string) {
	t.Helper()
	for name, want := range map[string]string{"out.csv": changed, "unknown.csv": unknown} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Fatalf("%s: %v\n got %q\nwant %q", name, err, got, want)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Fatalf("%s: %v %v", name, info.Mode(), err)
		}
	}
	in, err := os.ReadFile(filepath.Join(dir, "in.csv"))
	if err != nil {
		t.Fatal(err)
	}
	m := reference{limit: 1 << 16}
	m.run(string(in))
	if got, err := os.ReadFile(filepath.Join(dir, "bad.csv")); err != nil || withoutDetail(string(got)) != m.bad() || len(m.s.BadLines) == 0 {
		t.Fatalf("bad.csv: %v\n got %q\nwant %q", err, got, m.bad())
	}
	if info, err := os.Stat(filepath.Join(dir, "bad.csv")); err != nil || info.Mode() != 0o600 {
		t.Fatalf("bad.csv: %v %v", info.Mode(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 4 {
		t.Fatalf("left behind: %v", names)
	}
}

// crashing takes, at its nth question, a picture of a directory as a crash would leave it, and fails.
type crashing struct {
	dir, picture string
	left         atomic.Int64
}

func (c *crashing) Answer(ctx context.Context, b *match.Batch) error {
	if c.left.Add(-1) == 0 {
		// The progress file first: the outputs are then at least as long as it says, as they are on a disk.
		for _, name := range []string{"out.csv.progress", "out.csv.partial", "unknown.csv.partial", "bad.csv.partial", "in.csv"} {
			if err := copyFile(filepath.Join(c.picture, name), filepath.Join(c.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return errGone
	}
	return theReplica.Answer(ctx, b)
}

// copyFile copies a file with its time, which tells a changed input.
func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, text, 0o644), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func TestAJobThatIsCutOffAnywhereEndsWithTheSameFiles(t *testing.T) {
	dir := t.TempDir()
	changed, unknown := base(t, dir, 150)
	for n := int64(1); ; n++ {
		// Its own directory with the same path for both lives, since paths are part of what must be the same.
		c := &crashing{dir: dir, picture: t.TempDir()}
		c.left.Store(n)
		_, err := newJob(dir, c).Run(t.Context())
		if err == nil {
			done(t, dir, changed, unknown)
			if n < 30 {
				t.Fatalf("only %d questions: nothing was cut off", n)
			}
			return
		}
		if !errors.Is(err, errGone) {
			t.Fatal(err)
		}
		if n%2 == 0 { // the program itself went away, with what it had not put on stable storage yet
			for _, name := range []string{"out.csv.progress", "out.csv.partial", "unknown.csv.partial", "bad.csv.partial"} {
				_ = os.Remove(filepath.Join(dir, name))
				if err := copyFile(filepath.Join(dir, name), filepath.Join(c.picture, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
		var from int64
		j := newJob(dir, theReplica)
		j.Resumed = func(offset int64) { from = offset }
		s, err := j.Run(t.Context())
		if err != nil || s.Summary.Rows != 150 {
			t.Fatal(s, err)
		}
		if n > 20 && from == 0 {
			t.Fatalf("after %d questions everything was done again", n)
		}
		done(t, dir, changed, unknown)
		for _, name := range []string{"out.csv", "unknown.csv", "bad.csv"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// obstructing puts a directory where an output is to be, when the job is under way.
type obstructing struct {
	path string
	once sync.Once
	err  error
}

func (o *obstructing) Answer(ctx context.Context, b *match.Batch) error {
	o.once.Do(func() { o.err = os.Mkdir(o.path, 0o700) })
	return errors.Join(o.err, theReplica.Answer(ctx, b))
}

func TestAJobGoesOnWhenOnlyTheNamesAreMissing(t *testing.T) {
	dir := t.TempDir()
	changed, unknown := base(t, dir, 100)
	for _, name := range []string{"out.csv", "unknown.csv", "bad.csv"} {
		inTheWay := filepath.Join(dir, name)
		if _, err := newJob(dir, &obstructing{path: inTheWay}).Run(t.Context()); err == nil {
			t.Fatal("a directory was replaced")
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		s, err := newJob(dir, failing{}).Run(t.Context()) // nobody is asked any more
		if err != nil || s.Summary.Rows != 100 {
			t.Fatal(s, err)
		}
		done(t, dir, changed, unknown)
		for _, name := range []string{"out.csv", "unknown.csv", "bad.csv"} {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

func TestAJobGoesOnOnlyWithTheSameInputAndArguments(t *testing.T) {
	dir := t.TempDir()
	changed, unknown := base(t, dir, 100)
	interrupt := func(t *testing.T) {
		t.Helper()
		c := &crashing{dir: dir, picture: t.TempDir()}
		c.left.Store(20)
		j := newJob(dir, c)
		j.Restart = true
		if s, err := j.Run(t.Context()); !errors.Is(err, errGone) || s.Summary.Rows == 0 {
			t.Fatal(s, err)
		}
	}
	in := filepath.Join(dir, "in.csv")
	for what, c := range map[string]struct {
		change func() error
		job    func(*match.Job)
		says   string
	}{
		"other settings":  {job: func(j *match.Job) { j.Settings = "other" }, says: "other arguments"},
		"another zone":    {job: func(j *match.Job) { j.Options.Zone = time.UTC }, says: "other arguments"},
		"national":        {job: func(j *match.Job) { j.Options.China = true }, says: "other arguments"},
		"no unknown":      {job: func(j *match.Job) { j.Unknown = "" }, says: "other arguments"},
		"no bad lines":    {job: func(j *match.Job) { j.Bad = "" }, says: "other arguments"},
		"a touched input": {change: func() error { return os.Chtimes(in, time.Time{}, time.Now().Add(time.Hour)) }, says: "changed since"},
		"a longer input": {change: func() error {
			f, err := os.OpenFile(in, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = io.WriteString(f, "1,+8613800000001,2020-01-01,\n")
			return errors.Join(err, f.Close())
		}, says: "changed since"},
		"a short output":         {change: func() error { return os.Truncate(filepath.Join(dir, "unknown.csv.partial"), 10) }, says: "shorter than"},
		"a broken progress file": {change: func() error { return os.Truncate(filepath.Join(dir, "out.csv.progress"), 10) }, says: "no progress file"},
	} {
		t.Run(what, func(t *testing.T) {
			changed, unknown = base(t, dir, 100)
			interrupt(t)
			if c.change != nil {
				if err := c.change(); err != nil {
					t.Fatal(err)
				}
			}
			j := newJob(dir, theReplica)
			if c.job != nil {
				c.job(j)
			}
			if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--restart") {
				t.Fatal(err)
			}
			j = newJob(dir, theReplica)
			j.Restart = true
			if _, err := j.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if what != "a longer input" {
				done(t, dir, changed, unknown)
			}
		})
	}
}

// waiting answers when it is let.
type waiting struct{ begun, let chan struct{} }

func (w waiting) Answer(ctx context.Context, b *match.Batch) error {
	select {
	case w.begun <- struct{}{}:
	default:
	}
	<-w.let
	return theReplica.Answer(ctx, b)
}

func TestTwoJobsDoNotWriteTheSameOutput(t *testing.T) {
	dir := t.TempDir()
	changed, unknown := base(t, dir, 100)
	w := waiting{make(chan struct{}, 1), make(chan struct{})}
	first := make(chan error, 1)
	go func() { _, err := newJob(dir, w).Run(t.Context()); first <- err }()
	<-w.begun
	if _, err := newJob(dir, theReplica).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Error(err)
	}
	close(w.let)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	done(t, dir, changed, unknown)
}

func TestAnInputThatChangesMeanwhileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	base(t, dir, 100)
	w := waiting{make(chan struct{}, 1), make(chan struct{})}
	end := make(chan error, 1)
	go func() { _, err := newJob(dir, w).Run(t.Context()); end <- err }()
	<-w.begun
	if err := os.Chtimes(filepath.Join(dir, "in.csv"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	close(w.let)
	if err := <-end; err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out.csv")); err == nil {
		t.Error("outputs of an input that changed are there")
	}
}

func TestAJobThroughPipesLeavesNothingBesideThem(t *testing.T) {
	dir := t.TempDir()
	changed, unknown := base(t, dir, 100)
	in, err := os.ReadFile(filepath.Join(dir, "in.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	j := newJob(dir, theReplica)
	j.In, j.Out, j.Stdin, j.Stdout = "-", "-", strings.NewReader(string(in)), &out
	if _, err := j.Run(t.Context()); err != nil || out.String() != changed {
		t.Fatal(err, out.String())
	}
	j = newJob(dir, failing{})
	j.In, j.Stdin = "-", strings.NewReader(string(in))
	j.Unknown += "2"
	if _, err := j.Run(t.Context()); !errors.Is(err, errGone) {
		t.Fatal(err)
	}
	j = newJob(dir, theReplica)
	j.In, j.Stdin = "-", strings.NewReader(string(in))
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	done(t, dir, changed, unknown)
}
