package agent

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestWhatAConfigurationIsRefusedWithIsToldInChinese: every text that stands in the source has its Chinese, with the same values in it.
func TestWhatAConfigurationIsRefusedWithIsToldInChinese(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	verbs := regexp.MustCompile(`%(\[\d\])?[0-9]*[a-z]`)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, _ := call.Fun.(*ast.Ident)
			at := map[string]int{"tell": 0, "badAnswer": 0, "must": 2}
			if name == nil || len(call.Args) == 0 {
				return true
			}
			i, ok := at[name.Name]
			if !ok || len(call.Args) <= i {
				return true
			}
			lit, ok := call.Args[i].(*ast.BasicLit)
			if !ok {
				return true
			}
			en, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if zh := chineseOf[en]; zh == "" || !slices.Equal(verbs.FindAllString(en, -1), verbs.FindAllString(zh, -1)) {
				t.Errorf("%s: %q is %q in Chinese", file, en, zh)
			}
			return true
		})
	}
	if found < 60 {
		t.Errorf("only %d texts were looked at", found)
	}
}

// english finds two English words beside each other, outside of what others said and of lists of keys.
var english = regexp.MustCompile(`[a-z]{2,} [a-z]{2,}`)

// TestAReportInOneLanguageHasNoWordOfTheOther whatever is wrong.
func TestAReportInOneLanguageHasNoWordOfTheOther(t *testing.T) {
	o := newOffice(t)
	o.must(o.agent.Close())
	dir := t.TempDir()
	changed := func(f func(*Config, *SQLConfig)) *Report {
		cfg := o.config
		accounts := *cfg.SQL
		cfg.SQL = &accounts
		f(&cfg, &accounts)
		return Check(t.Context(), cfg, o.options)
	}
	file := func(text string) *Report {
		path := filepath.Join(dir, "agent.yaml")
		o.must(os.WriteFile(path, []byte(text), 0o600))
		return CheckFile(t.Context(), path, Options{})
	}
	key := filepath.Join(dir, "key")
	o.must(os.WriteFile(key, []byte("no key"), 0o600))
	empty := filepath.Join(dir, "empty")
	o.must(os.WriteFile(empty, nil, 0o600))
	for name, r := range map[string]*Report{
		"nothing": changed(func(*Config, *SQLConfig) {}),
		"no configuration": changed(func(c *Config, _ *SQLConfig) {
			*c = Config{Links: map[string]string{"x": "y"}, Kinds: []string{"x"}, Page: "1", Log: "x"}
		}),
		"a file of nothing": file(""),
		"no such file":      CheckFile(t.Context(), filepath.Join(dir, "none"), Options{}),
		"unknown keys":      file("hub: {}\nhub: {}\nwhat: 1\ntimings: {hold: 5x}\nkinds: 1\n"),
		"no YAML":           file("a: b: c\n"),
		"no hub":            changed(func(c *Config, _ *SQLConfig) { c.Hub.URL = "http://127.0.0.1:1" }),
		"no secret":         changed(func(c *Config, _ *SQLConfig) { c.Hub.SecretFile = empty }),
		"no key":            changed(func(c *Config, _ *SQLConfig) { c.Hub.SecretFile, c.Hub.KeyFile = "", key }),
		"no key file":       changed(func(c *Config, _ *SQLConfig) { c.Hub.SecretFile, c.Hub.KeyFile = "", dir+"/none" }),
		"no state":          changed(func(c *Config, _ *SQLConfig) { c.State = "/dev/null/state" }),
		"no database":       changed(func(_ *Config, s *SQLConfig) { s.DSN = filepath.Join(dir, "none.db") }),
		"no server":         changed(func(_ *Config, s *SQLConfig) { s.Driver, s.DSN = "postgres", "postgres://127.0.0.1:1/x" }),
		"no DSN":            changed(func(_ *Config, s *SQLConfig) { s.Driver, s.DSN = "mysql", "nonsense" }),
		"no table":          changed(func(_ *Config, s *SQLConfig) { s.Find = strings.Replace(s.Find, "bindings", "nowhere", 1) }),
		"no columns":        changed(func(_ *Config, s *SQLConfig) { s.Find = "SELECT 1 AS what, 2 AS what WHERE :number = 0" }),
		"no statements": changed(func(_ *Config, s *SQLConfig) {
			s.Find, s.Unbind = "SELECT 1; SELECT 2", Statements{{SQL: "DROP TABLE x"}}
		}),
		"no quotes": changed(func(_ *Config, s *SQLConfig) {
			s.Find, s.Unbind = "SELECT 'x", Statements{{SQL: "UPDATE x SET a = :what"}, {SQL: "/* x"}, {SQL: ""}}
		}),
	} {
		var zh, en bytes.Buffer
		o.must(errors.Join(r.WriteIn(&zh, true), r.WriteIn(&en, false)))
		quoted := regexp.MustCompile(`「[^」]*」|/\S*`)
		for line := range strings.Lines(zh.String()) {
			if e := english.FindString(quoted.ReplaceAllString(line, "")); e != "" || !strings.ContainsFunc(line, func(r rune) bool { return r >= 0x4e00 }) {
				t.Errorf("%s: %q in %s", name, e, line)
			}
		}
		if strings.ContainsFunc(en.String(), func(r rune) bool { return r >= 0x3000 }) || en.Len() == 0 {
			t.Errorf("%s: %s", name, en.String())
		}
		if name != "nothing" && r.OK() {
			t.Errorf("%s: nothing is wrong", name)
		}
		t.Logf("%s:\n%s", name, zh.String())
	}
}
