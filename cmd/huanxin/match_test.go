package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// The numbers of these tests.
const (
	kept     = "+8613800300001" // UNCHANGED
	recycled = "+8613800300002" // CHANGED, reassigned 50 days ago
	handed   = "+8613800300003" // CHANGED, transferred 50 days ago at this minute
	nobodys  = "+8613800300004" // NO_HOLDER
	came     = "+8613800300005" // UNKNOWN before_coverage
	unseen   = "+8613800300006"
)

// asker is a hub that was told of the numbers, and an app that asks it.
type asker struct {
	*hubtest.Hub
	env []string
}

// began is one time for all: what is asked must be what was reported, to the second.
var began = time.Now().Truncate(time.Second)

// ago gives the time so many days before that.
func ago(days int) time.Time { return began.AddDate(0, 0, -days) }

func date(t time.Time) string { return t.In(huanxin.China).Format(time.DateOnly) }

func startAsker(t *testing.T) *asker {
	t.Helper()
	h := hubtest.Start(t)
	carrier := h.Carrier("cmcc")
	h.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
	r, err := carrier.ReportEvents(t.Context(), []client.Event{
		{ID: "k", Number: kept, Kind: "activated", At: ago(900), Origin: "first"},
		{ID: "r1", Number: recycled, Kind: "activated", At: ago(900), Origin: "first"},
		{ID: "r2", Number: recycled, Kind: "disconnected", At: ago(300)},
		{ID: "r3", Number: recycled, Kind: "activated", At: ago(50), Origin: "reassigned"},
		{ID: "h1", Number: handed, Kind: "activated", At: ago(900), Origin: "first"},
		{ID: "h2", Number: handed, Kind: "transferred", At: ago(50)},
		{ID: "n1", Number: nobodys, Kind: "activated", At: ago(900), Origin: "first"},
		{ID: "n2", Number: nobodys, Kind: "disconnected", At: ago(50)},
		{ID: "c", Number: came, Kind: "activated", At: ago(50), Origin: "ported_in"},
	}, time.Now())
	if err != nil || r.Accepted != 9 {
		t.Fatal(r, err)
	}
	c := h.Credentials("shop")
	a := &asker{Hub: h, env: []string{"HUANXIN_URL=" + h.URL, "HUANXIN_CLIENT_ID=" + c.ID, "HUANXIN_CLIENT_SECRET=" + c.Secret, "LC_ALL=C.UTF-8"}}
	within5s(t, "checks know all events", func() bool {
		asOf, _, err := h.Client("shop").Check(t.Context(), kept, date(ago(1)))
		return err == nil && asOf == 9
	})
	return a
}

// run runs a command in a directory with the app's environment, further variables, and standard input.
func (a *asker) run(t *testing.T, dir, stdin string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(append(os.Environ(), a.env...), env...), strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	for _, n := range []string{kept, recycled, handed, nobodys, came, unseen} {
		if strings.Contains(errs.String(), n[3:]) {
			t.Errorf("a number on standard error: %s", errs.String())
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestOneNumberIsChecked(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	for _, c := range []struct {
		args, stdin string
		env         []string
		code        int
		want        string // a pattern for standard output, or with a code other than 0 for standard error
	}{
		{args: "check " + kept + " --since " + date(ago(100)), want: `(?s)^outcome: UNCHANGED \(the holder has not changed\)\nas of: 9 .*\nfresh at: \d{4}-.*\n$`},
		{args: "check " + recycled + " --since " + date(ago(100)), want: `CHANGED \(the holder has changed\)\nreason: reassigned \(the number was given to somebody else\)\n`},
		{args: "check --since " + date(ago(100)) + " -", stdin: handed + "\n", want: `\nreason: transferred`},
		{args: "check - --since " + ago(50).Add(-time.Second).Format(time.RFC3339), stdin: handed, want: `\nreason: transferred`},
		{args: "check - --since " + ago(50).Add(time.Second).Format(time.RFC3339), stdin: handed, want: `UNCHANGED`},
		{args: "check " + nobodys + " --since " + date(ago(100)), want: `^outcome: NO_HOLDER \(nobody`},
		{args: "check " + came + " --since " + date(ago(100)), want: `UNKNOWN \(it cannot be told, which is not a no\)\nreason: before_coverage`},
		{args: "check " + unseen + " --since " + date(ago(100)), want: `never_seen`},
		{args: "check " + recycled + " --since " + date(ago(100)), env: []string{"LC_ALL=", "LC_MESSAGES=", "LANG=zh_CN.UTF-8"}, want: `^结果: CHANGED\(机主变了\)\n原因: reassigned\(号码重新放出\)\n号码日志位置: 9`},
		{args: "check " + recycled + " --json --since " + date(ago(100)), want: `^\{"outcome":"CHANGED","reason":"reassigned","as_of":9,"fresh_at":"[^"]+"\}\n$`},
		{args: "check " + kept, code: 2, want: "since when"},
		{args: "check --since 2024-01-01", code: 2, want: "usage: huanxin check"},
		{args: "check 13800300001 --since 2024-01-01", code: 2, want: "E.164"},
		{args: "check " + kept + " --since yesterday", code: 2, want: "since"},
		{args: "check " + kept + " --since 2024-01-01", env: []string{"HUANXIN_URL="}, code: 2, want: "which hub"},
		{args: "check " + kept + " --since 2024-01-01", env: []string{"HUANXIN_CLIENT_SECRET=wrong"}, code: 1, want: "invalid_client"},
		{args: "check " + kept + " --since 2024-01-01 --hub http://127.0.0.1:1", code: 1, want: "refused"},
	} {
		code, out, errs := a.run(t, dir, c.stdin, c.env, strings.Fields(c.args)...)
		text := out
		if c.code != 0 {
			text = errs
		}
		if code != c.code || !regexp.MustCompile(c.want).MatchString(text) {
			t.Errorf("huanxin %s: exit %d, want %d and %s:\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}

// accounts is an account base with everything in it. Only its number and bound_at leave the machine.
func accounts() string {
	return "account,name,number,bound_at\r\n" +
		"1,张三," + kept + "," + date(ago(100)) + "\r\n" +
		"2,\"Li, \"\"Si\"\"\"," + recycled + "," + date(ago(100)) + "\r\n" +
		"3,\"two\nlines\"," + handed + "," + ago(50).Add(-time.Second).UTC().Format(time.RFC3339) + "\r\n" +
		"4,d," + handed + "," + ago(50).Add(time.Second).In(huanxin.China).Format(time.DateTime) + "\r\n" +
		"5,e," + nobodys + "," + date(ago(100)) + "\n" +
		"6,f," + came + "," + date(ago(100)) + "\n" +
		"7,g," + unseen + "," + date(ago(100)) + "\n" +
		"8,h," + kept + ",\n" +
		"9,i,13800300002," + date(ago(100)) + "\n" +
		"10,j," + kept + ",someday\n" +
		"11,k\n"
}

// sorted are the outputs for accounts, with numbers in national form taken or not.
func sorted(national bool) (changed, unknown string) {
	head := "account,name,number,bound_at,outcome,reason\r\n"
	changed = head + "2,\"Li, \"\"Si\"\"\"," + recycled + "," + date(ago(100)) + ",CHANGED,reassigned\r\n" +
		"3,\"two\nlines\"," + handed + "," + ago(50).Add(-time.Second).UTC().Format(time.RFC3339) + ",CHANGED,transferred\r\n" +
		"5,e," + nobodys + "," + date(ago(100)) + ",NO_HOLDER,\n"
	if national {
		changed += "9,i,13800300002," + date(ago(100)) + ",CHANGED,reassigned\n"
	}
	return changed, head + "6,f," + came + "," + date(ago(100)) + ",UNKNOWN,before_coverage\n" +
		"7,g," + unseen + "," + date(ago(100)) + ",UNKNOWN,never_seen\n" + "8,h," + kept + ",,UNKNOWN,bound_at_unknown\n"
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// holds fails if a file of the directory does not hold just this, for its owner alone.
func holds(t *testing.T, dir, name, want string) {
	t.Helper()
	path := filepath.Join(dir, name)
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: mode %v", name, info.Mode())
	}
}

func TestAnAccountBaseIsReconciledAgainstAHub(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	write(t, dir, "accounts.csv", accounts())
	code, out, errs := a.run(t, dir, "", nil, "match", "--in", "accounts.csv", "--out", "changed.csv", "--unknown", "unknown.csv")
	changed, unknown := sorted(false)
	holds(t, dir, "changed.csv", changed)
	holds(t, dir, "unknown.csv", unknown)
	if want := "line 11: number_malformed\nline 12: malformed_time\nline 13: ragged_row\nnumbers are taken in E.164 form (+8613800000001); with --country 86 also 13800000001 and 8613800000001\n"; code != 3 || errs != want {
		t.Errorf("exit %d: %s", code, errs)
	}
	if want := `^rows: 11\nchanged: 2\nno holder: 1\nunchanged: 2\nunknown: 3\n  before_coverage: 1\n  bound_at_unknown: 1\n  never_seen: 1\nbad lines: 3\nrows a second: \d+\nas of: 9\n$`; !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("summary:\n%s", out)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 3 {
		t.Errorf("left behind: %v", names)
	}

	// Through pipes, with numbers as people write them.
	lines := strings.SplitAfter(accounts(), "\n")
	code, out, errs = a.run(t, dir, strings.Join(lines[:len(lines)-3], ""), []string{"LC_ALL=zh_CN.UTF-8"},
		"match", "--in", "-", "--out", "-", "--country", "86", "--unknown", "unknown-2.csv")
	changed, unknown = sorted(true)
	if code != 0 || out != changed || !strings.Contains(errs, "机主变了: 3\n") {
		t.Errorf("exit %d: %q %s", code, out, errs)
	}
	holds(t, dir, "unknown-2.csv", unknown)
	if code, out, errs := a.run(t, dir, lines[0]+lines[1], nil, "match", "--in", "-", "--out", "-", "--quiet"); code != 0 || errs != "" || !strings.HasPrefix(out, "account,") {
		t.Errorf("quiet: exit %d: %s", code, errs)
	}
}

func TestAnAccountBaseIsReconciledAgainstAReplica(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	shop := a.Client("shop")
	if r, err := shop.UploadReplicaNumbers(t.Context(), []string{kept, handed, nobodys, came}); err != nil || r.Accepted != 4 {
		t.Fatal(r, err)
	}
	if _, err := replica.Pull(t.Context(), shop, filepath.Join(dir, "replica"), replica.Wanted{Issuer: a.URL, Audience: "shop"}); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "accounts.csv", accounts())
	changed, unknown := sorted(false)

	// With the hub for what two bytes cannot decide, and for the numbers that were not uploaded.
	args := []string{"match", "--in", "accounts.csv", "--out", "changed.csv", "--unknown", "unknown.csv", "--replica", "replica"}
	if code, _, errs := a.run(t, dir, "", nil, append(args, "--hub", a.URL)...); code != 3 {
		t.Errorf("exit %d: %s", code, errs)
	}
	holds(t, dir, "changed.csv", changed)
	holds(t, dir, "unknown.csv", unknown)

	// Without it, and the hub is not asked though the environment names it.
	a.Stop()
	if code, _, errs := a.run(t, dir, "", nil, args...); code != 3 {
		t.Errorf("exit %d: %s", code, errs)
	}
	var with []string
	for _, line := range strings.SplitAfter(accounts(), "\n") {
		if strings.HasPrefix(line, "3,") || strings.HasPrefix(line, "lines\"") || strings.HasPrefix(line, "4,") {
			with = append(with, line)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "unknown.csv"))
	if err != nil || strings.Count(string(text), ",UNKNOWN,needs_hub\r\n") != 2 {
		t.Errorf("what needs a hub: %q: %q %v", with, text, err)
	}
	if n, want := strings.Count(string(text), ",UNKNOWN,not_in_replica"), strings.Count(changed, recycled)+strings.Count(unknown, ",never_seen"); n != want || n < 2 {
		t.Errorf("%d rows are of numbers that were not uploaded, want %d: %q", n, want, text)
	}

	// Nobody vouches for a snapshot without a manifest.
	if err := os.Remove(filepath.Join(dir, "replica.manifest")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := a.run(t, dir, "", nil, args...); code != 1 || !strings.Contains(errs, "replica.manifest") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := a.run(t, dir, "", nil, append(args, "--unsigned")...); code != 3 {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestMatchSaysWhatIsWrongWithItsUse(t *testing.T) {
	t.Parallel()
	a, dir := &asker{}, t.TempDir()
	write(t, dir, "a.csv", accounts())
	write(t, dir, "b.csv", "account,number\n1,"+kept+"\n")
	write(t, dir, "taken.progress", "a diary\n")
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	must(t, os.Symlink("/dev/null", filepath.Join(dir, "link")))
	env := []string{"HUANXIN_URL=http://127.0.0.1:1", "HUANXIN_CLIENT_ID=x", "HUANXIN_CLIENT_SECRET=y"}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "--in FILE"},
		{"--in a.csv", 2, "--out FILE"},
		{"--in a.csv --out c.csv --unknown -", 2, "--unknown and --bad are files"},
		{"--in a.csv --out c.csv --country 44", 2, "--country knows 86"},
		{"--in a.csv --out c.csv --zone Nowhere", 2, "--zone"},
		{"--in a.csv --out c.csv --unsigned", 2, "--unsigned"},
		{"--in a.csv --out c.csv --hub ftp://x", 2, "https://"},
		{"--in a.csv --out c.csv more", 2, "usage: huanxin match"},
		{"--in nothing.csv --out c.csv", 1, "no such file"},
		{"--in a.csv --out a.csv", 2, "cannot be both input and output of rows that changed"},
		{"--in a.csv --out c.csv --unknown ./c.csv", 2, "cannot be both"},
		{"--in a.csv --out c.csv --bad c.csv.partial", 2, "cannot be both"},
		{"--in a.csv --out c.csv --bad c.csv.progress", 2, "cannot be both"},
		{"--in a.csv --out c.csv --bad -", 2, "--unknown and --bad are files"},
		{"--in a.csv --out taken", 2, "no progress file"},
		{"--in a.csv --out taken --restart", 2, "no progress file"},
		{"--in a.csv --out pipe", 2, "is a device, a pipe or a directory"},
		{"--in a.csv --out c.csv --unknown link", 2, "is a device, a pipe or a directory"},
		{"--in a.csv --out c.csv --bad .", 2, "is a device, a pipe or a directory"},
		{"--in a.csv --out nowhere/c.csv", 1, "no such file"},
		{"--in b.csv --out c.csv", 1, "there is no column bound_at"},
		{"--in a.csv --out c.csv --replica nothing", 1, "no such file"},
		{"--in a.csv --out c.csv --give-up 1ms", 1, "given up"},
	} {
		code, out, errs := a.run(t, dir, "", env, append([]string{"match"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("huanxin match %s: exit %d, want %d with %q: %s%s", c.args, code, c.code, c.says, out, errs)
		}
	}
	if code, out, _ := a.run(t, dir, "", nil, "match", "-h"); code != 0 {
		t.Errorf("help: exit %d: %s", code, out)
	}
}

func TestBadLinesAreListedAndTheSummaryComesLast(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	var b strings.Builder
	b.WriteString("account,number,bound_at\n")
	for i := range 1200 {
		fmt.Fprintf(&b, "%d,%s,%s\n", i, kept, []string{"2019/8/8", "someday"}[i%2])
	}
	write(t, dir, "accounts.csv", b.String())
	code, out, errs := a.run(t, dir, "", nil, "match", "--in", "accounts.csv", "--out", "changed.csv", "--bad", "bad.csv")
	if code != 3 || !strings.HasPrefix(errs, "1200 bad lines are listed in bad.csv\nin 600 of them bound_at is a date") || strings.Contains(out, "as of") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bad.csv"))
	must(t, err)
	lines := strings.Split(string(text), "\n")
	if len(lines) != 1202 || lines[0] != "line,code,detail" || !strings.HasPrefix(lines[1], "2,malformed_time,") || !strings.Contains(lines[1], "2019/8/8") || !strings.HasPrefix(lines[1200], "1201,malformed_time,bound_at is neither") {
		t.Errorf("%d lines: %q … %q", len(lines), lines[:2], lines[1200:])
	}
	if info, err := os.Stat(filepath.Join(dir, "bad.csv")); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	code, _, errs = a.run(t, dir, b.String(), []string{"LC_ALL=zh_CN.UTF-8"}, "match", "--in", "-", "--out", "-")
	bad, hint, summary := strings.Index(errs, "还有 200 个坏行"), strings.Index(errs, "2019-08-08"), strings.Index(errs, "行: 1200\n")
	if code != 3 || bad < 0 || hint < bad || summary < hint || !strings.HasPrefix(errs, "第 2 行: malformed_time\n") {
		t.Errorf("exit %d: %d %d %d: %.300s", code, bad, hint, summary, errs)
	}
}

// TestAKilledMatchGoesOn ends a run with SIGKILL after its first safe point, and starts it again with the same arguments.
func TestAKilledMatchGoesOn(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	shop := a.Client("shop")
	if _, err := shop.UploadReplicaNumbers(t.Context(), []string{kept, recycled}); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Pull(t.Context(), shop, filepath.Join(dir, "replica"), replica.Wanted{Issuer: a.URL, Audience: "shop"}); err != nil {
		t.Fatal(err)
	}
	var in, want strings.Builder
	in.WriteString("account,number,bound_at\n")
	want.WriteString("account,number,bound_at,outcome,reason\n")
	for i := range 600_000 {
		row := fmt.Sprintf("%d,%s,%s", i, []string{recycled, kept}[min(i%100, 1)], date(ago(100)))
		in.WriteString(row + "\n")
		if i%100 == 0 {
			want.WriteString(row + ",CHANGED,reassigned\n")
		}
	}
	write(t, dir, "accounts.csv", in.String())
	args := []string{"match", "--in", "accounts.csv", "--out", "changed.csv", "--replica", "replica", "--safe-every", "1ms"}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within5s(t, "a safe point, or the end", func() bool {
		_, early := os.Stat(filepath.Join(dir, "changed.csv.progress"))
		_, late := os.Stat(filepath.Join(dir, "changed.csv"))
		return early == nil || late == nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	code, _, errs := a.run(t, dir, "", nil, args...)
	t.Logf("exit %d: %s", code, errs)
	if code != 0 {
		t.Error("it does not go on")
	}
	holds(t, dir, "changed.csv", want.String())
	if names, _ := filepath.Glob(filepath.Join(dir, "changed*")); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestAClientMayAskWithItsKey(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	key := `{"kty":"OKP","crv":"Ed25519","kid":"k1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}` // RFC 8037, A.1
	var public map[string]string
	if err := json.Unmarshal([]byte(key), &public); err != nil {
		t.Fatal(err)
	}
	delete(public, "d")
	set, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		t.Fatal(err)
	}
	a.AddClient("shop-key", "shop", set)
	write(t, dir, "key.json", key)
	env := []string{"HUANXIN_CLIENT_ID=shop-key", "HUANXIN_CLIENT_SECRET=", "HUANXIN_CLIENT_KEY=key.json"}
	if code, out, errs := a.run(t, dir, recycled, env, "check", "-", "--since", date(ago(100))); code != 0 || !strings.Contains(out, "CHANGED") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
