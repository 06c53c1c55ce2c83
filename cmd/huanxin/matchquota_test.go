package main_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestAMatchStopsAtOnceWhenTheDaysChecksAreUsedUpAndGoesOnLater(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	const rows = 30_000
	var in, want strings.Builder
	in.WriteString("account,number,bound_at\n")
	want.WriteString("account,number,bound_at,outcome,reason\n")
	long := strings.Repeat("x", 1000) // a block has some 1,000 rows
	for i := range rows {
		row := fmt.Sprintf("%d%s,%s,%s", i, long, []string{recycled, kept}[min(i%100, 1)], date(ago(100)))
		in.WriteString(row + "\n")
		if i%100 == 0 {
			want.WriteString(row + ",CHANGED,reassigned\n")
		}
	}
	write(t, dir, "accounts.csv", in.String())
	args := []string{"match", "--in", "accounts.csv", "--out", "changed.csv"}

	a.Limit("shop", -1, 18_000)
	code, out, errs := a.run(t, dir, "", nil, args...)
	if code != 1 || out != "" || !regexp.MustCompile(`used up after [1-9]\d* rows; the same command goes on after \d{4}-\d\d-\d\d 00:00 \+08:00`).MatchString(errs) || strings.Contains(errs, "trying again") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, _, errs = a.run(t, dir, "", []string{"LC_ALL=zh_CN.UTF-8"}, args...)
	if code != 1 || !strings.Contains(errs, "今天的核验次数已用完,这次一行也没有做完") {
		t.Errorf("again: exit %d: %s", code, errs)
	}
	code, out, errs = a.run(t, dir, accounts(), nil, "match", "--in", "-", "--out", "-")
	if code != 1 || !strings.Contains(errs, "Pipes cannot be gone on with") {
		t.Errorf("through pipes: exit %d: %s%s", code, out, errs)
	}
	a.Limit("shop", -1, -1)
	code, out, errs = a.run(t, dir, "", nil, args...)
	if code != 0 || !strings.Contains(errs, "going on at byte") || !strings.Contains(out, fmt.Sprintf("rows: %d\n", rows)) {
		t.Errorf("when there are checks again: exit %d: %s%s", code, out, errs)
	}
	holds(t, dir, "changed.csv", want.String())
}
