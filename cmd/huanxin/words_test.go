package main_test

import (
	"strings"
	"testing"
)

func TestWhatIsWrongIsSaidOnceAndWithWhatHelps(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	for name, text := range map[string]string{
		"capitals.csv":   "Account,Number,Bound_At\n1," + kept + ",2020-01-01\n",
		"semicolons.csv": "account;number;bound_at\n1;" + kept + ";2020-01-01\n",
		"tabs.csv":       "account\tnumber\tbound_at\n1\t" + kept + "\t2020-01-01\n",
		"unicode.csv":    "\xff\xfea\x00c\x00c\x00o\x00u\x00n\x00t\x00,\x00n\x00\n\x00",
		"rows.csv":       "1," + kept + ",2020-01-01\n",
		"empty.csv":      "",
		"header.csv":     "account,number,bound_at\n",
		"history.csv":    "Number,Tenure_Started_At,Origin\n",
		"quotes.csv":     "a\"b\n",
	} {
		write(t, dir, name, text)
	}
	zh := []string{"LC_ALL=zh_CN.UTF-8"}
	matching := "match --out changed.csv --in "
	for _, c := range []struct {
		args, stdin string
		env         []string
		code        int
		once        string // is on standard error, once
		says        string // and this
	}{
		{args: "check 13800300001 --since 2024-01-01", code: 2, once: "E.164", says: "number_malformed"},
		{args: "check 13800300001 --since 2024-01-01", env: zh, code: 2, once: "E.164", says: "号码须写成"},
		{args: "check " + kept + " --since 2024-13-01", env: zh, code: 2, once: "2024-01-31,", says: "malformed_time"},
		{args: "check - --since 2024-01-01", code: 2, once: "nothing on standard input"},
		{args: "check - --since 2024-01-01", stdin: " \n", code: 2, once: "nothing on standard input"},
		{args: "check - --since 2024-01-01", stdin: kept + "\n" + recycled + "\n", code: 2, once: "more than one line", says: "huanxin match"},
		{args: "check - --since 2024-01-01", stdin: kept + "\n" + recycled + "\n", env: zh, code: 2, once: "不止一行"},
		{args: "check " + kept + " --since 2024-01-01", env: []string{"HUANXIN_CLIENT_SECRET=wrong"}, code: 1, once: "invalid_client", says: "check HUANXIN_CLIENT_ID, and HUANXIN_CLIENT_SECRET or HUANXIN_CLIENT_KEY"},
		{args: "check " + kept + " --since 2024-01-01", env: append(zh, "HUANXIN_CLIENT_SECRET=wrong"), code: 1, once: "invalid_client", says: "请检查 HUANXIN_CLIENT_ID"},
		{args: "check " + kept + " --since 2024-01-01 --hub http://127.0.0.1:1", env: zh, code: 1, once: "连不上枢纽"},
		{args: "check " + kept + " --since 2024-01-01", env: append(zh, "HUANXIN_URL="), code: 2, once: "HUANXIN_URL", says: "哪个枢纽"},
		{args: matching + "capitals.csv", code: 1, once: "its columns are: Account, Number, Bound_At)", says: "small letters"},
		{args: matching + "capitals.csv", env: zh, code: 1, once: "现有的列:Account、Number、Bound_At", says: "没有列 account"},
		{args: matching + "semicolons.csv", code: 1, once: "use commas", says: "semicolons"},
		{args: matching + "tabs.csv", env: zh, code: 1, once: "请改用逗号", says: "制表符"},
		{args: matching + "unicode.csv", code: 1, once: "UTF-16"},
		{args: matching + "rows.csv", code: 1, once: "column 2", says: "seems to be a row"},
		{args: matching + "empty.csv", code: 1, once: "no header"},
		{args: matching + "quotes.csv", env: zh, code: 1, once: "没有表头"},
		{args: matching + "capitals.csv --unknown changed.csv", env: zh, code: 2, once: "不能同时用作"},
		{args: "import-history --in history.csv", code: 1, once: "insufficient_scope"},
		{args: "replica upload --in semicolons.csv", code: 2, once: "use commas", says: "bad_header"},
		{args: "replica upload --in capitals.csv", env: zh, code: 2, once: "缺少这一列", says: "现有的列:Account、Number、Bound_At"},
		{args: "replica", code: 2, once: "prove that a replica is whole"},
		{args: "client", code: 2, once: "make a key pair"},
		{args: "party", code: 2, once: "switch a party off"},
	} {
		code, out, errs := a.run(t, dir, c.stdin, c.env, strings.Fields(c.args)...)
		if code != c.code || strings.Count(errs, c.once) != 1 || !strings.Contains(errs, c.says) {
			t.Errorf("huanxin %s %v: exit %d, want %d, once %q and %q:\n%s%s", c.args, c.env, code, c.code, c.once, c.says, out, errs)
		}
	}
	if code, out, errs := a.run(t, dir, "", nil, strings.Fields(matching+"header.csv")...); code != 0 || strings.Contains(out, "as of") || errs != "" {
		t.Errorf("only a header: exit %d: %s%s", code, out, errs)
	}
	if _, _, help := a.run(t, dir, "", nil, "match", "--help"); strings.Contains(help, "guard") {
		t.Errorf("help points to what there is not: %s", help)
	}
	for _, name := range []string{"replica", "client", "party", "key"} {
		if code, out, _ := a.run(t, dir, "", nil, name, "--help"); code != 0 || !strings.HasPrefix(out, "usage: huanxin "+name) {
			t.Errorf("huanxin %s --help: exit %d: %s", name, code, out)
		}
	}
}

func TestAWrongHeaderOfHistoryIsShown(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("capitals.csv", "Number,Tenure_Started_At,Origin\n+8613800000001,2020-01-01,first\n")
	text := s.run(1, "its columns are: Number, Tenure_Started_At, Origin)", "", "import-history", "--in", "capitals.csv")
	if !strings.Contains(text, "small letters") || strings.Count(text, "number missing_column") != 1 {
		t.Error(text)
	}
	s.env = append(s.env, "LC_ALL=zh_CN.UTF-8")
	s.run(1, "列名须小写", "", "import-history", "--in", "capitals.csv")
	s.write("diary", "dear\n")
	s.run(2, "请移走", "", "import-history", "--in", "capitals.csv", "--rejected", "diary")
}
