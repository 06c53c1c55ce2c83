package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// flip changes one byte of a file, without changing its length.
func flip(t *testing.T, path string, at func(size int) int) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	text[at(len(text))] ^= 0x10
	must(t, os.WriteFile(path, text, 0o600))
}

func TestNothingIsAnsweredFromAReplicaThatTheHubDidNotSign(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	shop := a.Client("shop")
	if _, err := shop.UploadReplicaNumbers(t.Context(), []string{kept, recycled, handed, nobodys, came}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "replica")
	if _, err := replica.Pull(t.Context(), shop, path, replica.Wanted{Issuer: a.URL, Audience: "shop"}); err != nil {
		t.Fatal(err)
	}
	flip(t, path, func(size int) int { return size / 2 })
	write(t, dir, "accounts.csv", accounts())
	args := []string{"match", "--in", "accounts.csv", "--out", "changed.csv", "--unknown", "unknown.csv", "--replica", "replica"}
	for _, more := range [][]string{nil, {"--hub", a.URL}, {"--quiet"}} {
		code, out, errs := a.run(t, dir, "", nil, append(args, more...)...)
		if code != 1 || out != "" || !strings.Contains(errs, "ull it again") {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "*.csv*")); len(names) != 1 {
			t.Errorf("there are outputs: %v", names)
		}
	}
	if code, out, errs := a.run(t, dir, accounts(), nil, "match", "--in", "-", "--out", "-", "--replica", "replica"); code != 1 || out != "" {
		t.Errorf("through pipes: exit %d: %q %s", code, out, errs)
	}
	if code, _, errs := a.run(t, dir, "", []string{"LC_ALL=zh_CN.UTF-8"}, args...); code != 1 || !strings.Contains(errs, "请重新拉取") {
		t.Errorf("in Chinese: exit %d: %s", code, errs)
	}
}

func TestADamagedPageAnswersNothingAndTheRunFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := index.New()
	var all []index.Change
	for _, block := range []uint64{8613800300000, 8613800310000} {
		for i := range uint64(2000) {
			all = append(all, index.Change{Digits: block + i, Value: 9000<<2 | 1, Carrier: 1})
		}
	}
	x.Apply(all)
	must(t, x.Save(filepath.Join(dir, "index"), nil))
	must(t, x.Close())
	flip(t, filepath.Join(dir, "index"), func(int) int { return 200 }) // in the first page
	head := "account,number,bound_at\n"
	rows := []string{"1,+8613800300001,2020-01-01", "2,+8613800310001,2020-01-01"}
	write(t, dir, "accounts.csv", head+strings.Join(rows, "\n")+"\n")
	code, out, errs := (&asker{}).run(t, dir, "", []string{"LC_ALL=C"}, "match", "--in", "accounts.csv", "--out", "changed.csv", "--unknown", "unknown.csv", "--replica", "index", "--unsigned")
	if code != 1 || !strings.Contains(errs, "damaged pages") || !strings.Contains(errs, "Pull it again") || !strings.Contains(out, "needs_hub: 1") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	head = "account,number,bound_at,outcome,reason\n"
	holds(t, dir, "unknown.csv", head+rows[0]+",UNKNOWN,needs_hub\n")
	holds(t, dir, "changed.csv", head+rows[1]+",CHANGED,reassigned\n")
}
