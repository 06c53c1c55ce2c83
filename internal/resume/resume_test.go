package resume_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/resume"
)

type progress struct {
	Offset int64 `json:"offset"`
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// job makes an input and the progress file of a job over it.
func job(t *testing.T, text string) (in string, p *resume.File[progress]) {
	t.Helper()
	dir := t.TempDir()
	in = filepath.Join(dir, "in.csv")
	must(t, os.WriteFile(in, []byte(text), 0o600))
	return in, &resume.File[progress]{Path: filepath.Join(dir, "in.csv.progress"), Settings: "zone", Other: "is of another run", InputPath: in, Input: look(t, in)}
}

func look(t *testing.T, path string) resume.Input {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	in, err := resume.InputOf(f)
	must(t, err)
	return in
}

func problem(err error) resume.Problem {
	if use, ok := errors.AsType[*resume.UseError](err); ok {
		return use.Problem
	}
	return ""
}

func TestAJobGoesOnFromWhereItStood(t *testing.T) {
	_, p := job(t, "a\n")
	if s, found, err := p.Load(); err != nil || found || s != (progress{}) {
		t.Errorf("before anything was stored: %v %v %v", s, found, err)
	}
	for _, at := range []int64{1, 7} {
		must(t, p.Store(progress{at}))
		if s, found, err := p.Load(); err != nil || !found || s.Offset != at {
			t.Errorf("stored %d: %v %v %v", at, s, found, err)
		}
	}
	info, err := os.Stat(p.Path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Error("others may read it:", info.Mode())
	}
	if _, err := os.Stat(p.Path + resume.NextEnding); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file that was being written is still there:", err)
	}
}

// What a crash while storing leaves is the last state, and what it leaves beside that harms nobody.
func TestAStoreThatBreaksOffLeavesTheLastState(t *testing.T) {
	_, p := job(t, "a\n")
	must(t, p.Store(progress{3}))
	must(t, os.WriteFile(p.Path+resume.NextEnding, []byte(`{"version":2,"sett`), 0o600))
	if s, found, err := p.Load(); err != nil || !found || s.Offset != 3 {
		t.Errorf("%v %v %v", s, found, err)
	}
	must(t, p.Store(progress{4}))
	if s, _, err := p.Load(); err != nil || s.Offset != 4 {
		t.Errorf("%v %v", s, err)
	}
}

func TestAStoreThatFailsLeavesTheLastState(t *testing.T) {
	_, p := job(t, "a\n")
	must(t, p.Store(progress{3}))
	must(t, os.Mkdir(p.Path+resume.NextEnding, 0o700)) // it cannot be written
	if err := p.Store(progress{4}); err == nil {
		t.Error("it says that it stored")
	}
	if s, found, err := p.Load(); err != nil || !found || s.Offset != 3 {
		t.Errorf("%v %v %v", s, found, err)
	}
}

func TestAJobGoesOnOnlyWithTheSameInputAndSettings(t *testing.T) {
	in, p := job(t, "a,b\nc,d\n")
	must(t, p.Store(progress{4}))
	other := *p
	other.Settings = "another zone"
	if _, _, err := other.Load(); problem(err) != resume.OtherRun || !strings.Contains(err.Error(), "is of another run") {
		t.Errorf("other settings: %v", err)
	}
	old := time.Unix(0, p.Input.Modified)
	for name, change := range map[string]func(){
		"longer":                        func() { must(t, os.WriteFile(in, []byte("a,b\nc,d\ne,f\n"), 0o600)) },
		"of another time":               func() { must(t, os.Chtimes(in, old, old.Add(time.Nanosecond))) },
		"another of that size and time": func() { must(t, os.WriteFile(in, []byte("a,b\nc,e\n"), 0o600)) },
	} {
		must(t, os.WriteFile(in, []byte("a,b\nc,d\n"), 0o600))
		change()
		if name != "of another time" {
			must(t, os.Chtimes(in, old, old))
		}
		now := *p
		now.Input = look(t, in)
		if _, _, err := now.Load(); err == nil || !strings.Contains(err.Error(), in+" changed since") || problem(err) != "" {
			t.Errorf("an input that is %s: %v", name, err)
		}
	}
}

// An input is known by its beginning, and by no more than that: whoever has the progress file of a file with one number in it must not find
// the number.
func TestAnInputIsToldByItsBeginningWithoutGivingItAway(t *testing.T) {
	const head = 64 << 10
	in, _ := job(t, strings.Repeat("x", head)+"y")
	one := look(t, in)
	must(t, os.WriteFile(in, []byte(strings.Repeat("x", head)+"z"), 0o600))
	if two := look(t, in); two.Head != one.Head {
		t.Error("what lies behind the beginning is read")
	}
	must(t, os.WriteFile(in, []byte(strings.Repeat("x", head-1)+"zz"), 0o600))
	if two := look(t, in); two.Head == one.Head {
		t.Error("the end of the beginning is not read")
	}
	if len(one.Head) != 8 {
		t.Errorf("%d hexadecimal digits: 32 bits are enough and not too much", len(one.Head))
	}
}

func TestWhatIsNoProgressFileIsNeitherGoneOnWithNorReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		ours bool
	}{
		"a diary":               {"dear me\n", false},
		"another JSON":          {`{"name":"x"}`, false},
		"nothing":               {"", true},
		"one that broke off":    {`{"vers`, true},
		"one that was cut":      {`{"version":2,"settings":"zo`, true},
		"an older version":      {`{"version":1,"settings":"zone","input":{},"state":{"offset":4}}`, true},
		"a newer version":       {`{"version":3,"more":true}`, true},
		"with an unknown state": {`{"version":2,"settings":"zone","input":{},"state":{"offset":4,"more":1}}`, true},
		"of a wrong type":       {`{"version":2,"settings":"zone","input":{},"state":{"offset":"4"}}`, true},
	} {
		_, p := job(t, "a\n")
		must(t, os.WriteFile(p.Path, []byte(c.text), 0o600))
		if _, found, err := p.Load(); found || problem(err) != resume.NoProgress {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
		err := p.Replaceable()
		if c.ours != (err == nil) || !c.ours && problem(err) != resume.NotOurs {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(p.Path); err != nil || string(text) != c.text {
			t.Errorf("%s: it was changed: %s, %v", name, text, err)
		}
	}
	_, p := job(t, "a\n")
	must(t, p.Replaceable()) // nothing is there
	must(t, p.Store(progress{1}))
	must(t, p.Replaceable())
}

func TestOnlyFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "null")
	must(t, os.Symlink(os.DevNull, link))
	for _, path := range []string{os.DevNull, link, dir} {
		p := resume.File[progress]{Path: path}
		_, _, loaded := p.Load()
		for what, err := range map[string]error{"output": resume.Replaceable(path), "progress to go on with": loaded, "progress to begin anew": p.Replaceable()} {
			if problem(err) != resume.NotAFile {
				t.Errorf("%s as %s: %v", path, what, err)
			}
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Symlink("file", filepath.Join(dir, "to a file")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "to nothing")))
	for _, name := range []string{"file", "to a file", "to nothing", "nothing"} {
		must(t, resume.Replaceable(filepath.Join(dir, name)))
	}
}
