package history_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

// refuses runs an import that must not begin, and looks whether a file is what it was.
func (im *importing) refuses(problem resume.Problem, name, path string) {
	im.t.Helper()
	before, err := os.ReadFile(path)
	must(im.t, err)
	_, err = im.run()
	use, ok := errors.AsType[*resume.UseError](err)
	if !ok || use.Problem != problem {
		im.t.Errorf("%s: %v", name, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		im.t.Errorf("%s: the file was changed to %d bytes, %v", name, len(after), err)
	}
	if im.web.calls != 0 {
		im.t.Errorf("%s: the hub was asked", name)
	}
}

func TestNoFileIsWrittenOverThatIsNotOurs(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), file(3))
	at := func(name string) string { return filepath.Join(im.dir, name) }
	must(t, os.Symlink("history.csv", at("symbolic")))
	must(t, os.Link(im.o.In, at("hard")))
	must(t, os.Symlink("nothing-yet", at("dangling")))
	must(t, os.WriteFile(at("letters.csv"), []byte("dear,me\n"), 0o600))
	good := im.o
	for _, path := range []string{im.o.In, at("symbolic"), at("hard"), filepath.Join(im.dir, "..", filepath.Base(im.dir), "history.csv")} {
		im.o = good
		im.o.Rejected = path
		im.refuses(resume.TwoRoles, "the input takes the refused lines: "+path, good.In)
		im.o = good
		for _, restart := range []bool{false, true} {
			im.o.Progress, im.o.Restart = path, restart
			im.refuses(resume.TwoRoles, "the input is the progress file: "+path, good.In)
		}
	}
	im.o = good
	im.o.Progress, im.o.Rejected = at("dangling"), at("nothing-yet")
	im.refuses(resume.TwoRoles, "one file to come is progress and list", good.In)
	im.o.Progress, im.o.Rejected = at("p"), at("p.new")
	im.refuses(resume.TwoRoles, "the list is the progress file to come", good.In)
	im.o = good
	im.o.Rejected = good.In + ".progress"
	im.refuses(resume.TwoRoles, "the list is the progress file", good.In)
	im.o = good
	im.o.Rejected = at("letters.csv")
	im.refuses(resume.NotOurs, "a file of somebody else takes the refused lines", at("letters.csv"))
	im.o = good
	im.o.Progress = at("letters.csv")
	im.refuses(resume.NoProgress, "a file of somebody else is the progress file", at("letters.csv"))
	im.o.Restart = true
	im.refuses(resume.NotOurs, "a file of somebody else is the progress file of a new beginning", at("letters.csv"))

	stdin, err := os.Open(good.In)
	must(t, err)
	defer stdin.Close()
	im.o = good
	im.o.Stdin, im.o.Rejected = stdin, at("hard")
	im.refuses(resume.TwoRoles, "standard input takes the refused lines", good.In)

	im.o = good
	must(t, os.WriteFile(im.o.Rejected, []byte("line,co"), 0o600)) // a header that broke off
	im.done()
	im.o.Restart = true // over its own files
	if res := im.done(); res.Duplicates != 3 || im.rejected() != "" {
		t.Error(res, im.rejected())
	}
}

func TestWhatIsListedIsSaid(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), file(20, 2, 15))
	list := im.o.Rejected
	if res := im.done(); res.Listed != 2 || res.Rejected != 2 {
		t.Errorf("from the beginning: %+v", res)
	}
	if res := im.done(); !res.Done || res.Listed != 2 {
		t.Errorf("again: %+v", res)
	}
	im.o.Rejected = filepath.Join(im.dir, "fresh.csv")
	if res := im.done(); !res.Done || res.Listed != 0 {
		t.Errorf("with a fresh list, afterwards: %+v", res)
	}
	if _, err := os.Stat(im.o.Rejected); !errors.Is(err, os.ErrNotExist) {
		t.Error("an empty list was made:", err)
	}
	im.o.Rejected = ""
	if res := im.done(); res.Listed != 0 {
		t.Errorf("without one: %+v", res)
	}

	// A list that is asked for on the way has the rest.
	im.o.Restart, im.web.calls = true, 0
	im.o.GiveUp = time.Nanosecond
	im.web.cut = func(call int, _ *http.Request) (*http.Response, error) {
		if call == 2 {
			return nil, errors.New("the network is gone")
		}
		return nil, nil
	}
	if _, err := im.run(); err == nil {
		t.Fatal("it was not cut")
	}
	im.o.Restart, im.o.Rejected, im.web.cut = false, list, nil
	must(t, os.Remove(list))
	if res := im.done(); res.Rejected != 2 || res.Listed != 1 || !strings.HasPrefix(im.rejected(), "17:") {
		t.Errorf("on the way: %+v %s", res, im.rejected())
	}
}

func TestTheListNamesTheEventToCorrect(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), header+number(1)+",2020-03-01,first\n")
	im.done()
	im.write(header + number(1) + ",2021-03-01,first\n")
	im.o.Restart = true
	im.done()
	text, err := os.ReadFile(im.o.Rejected)
	must(t, err)
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(rows) != 2 || rows[0] != "line,code,detail,id" || !strings.HasPrefix(rows[1], "2,id_conflict,") || !strings.Contains(rows[1], ",history:") {
		t.Errorf("%s", text)
	}
}
