package agent

import (
	"slices"
	"strings"
	"testing"
)

func TestOnlyNamedParametersOutsideOfQuotesAndCommentsAreReplaced(t *testing.T) {
	known := knownParam(actParams, true)
	for _, c := range []struct{ driver, in, out, params string }{
		{"postgres", `SELECT :number, :number`, `SELECT $1, $1`, "number"},
		{"mysql", `SELECT :number, :number`, `SELECT ?, ?`, "number number"},
		{"sqlite", `SELECT :number, :binding, :number`, `SELECT ?1, ?2, ?1`, "number binding"},
		{"postgres", `SELECT ':number''s', ":token", :token`, `SELECT ':number''s', ":token", $1`, "token"},
		{"postgres", `SELECT E'it\':number' , :token`, `SELECT E'it\':number' , $1`, "token"},
		{"postgres", `SELECT '\', :token`, `SELECT '\', $1`, "token"},
		{"postgres", `SELECT $$ :number $$, $a$ :x $$ $a$, :token`, `SELECT $$ :number $$, $a$ :x $$ $a$, $1`, "token"},
		{"postgres", "SELECT :token -- :number\n::text", "SELECT $1  \n::text", "token"},
		{"postgres", `SELECT /* :number /* nested */ :x */ :token`, `SELECT   $1`, "token"},
		{"postgres", `SELECT :started_at::date, a[1:2], x ? 'y'`, `SELECT $1::date, a[1:2], x ? 'y'`, "started_at"},
		{"mysql", "SELECT `:number`, :now_us # :x\n", "SELECT `:number`, ?", "now_us"},
		{"mysql", `SELECT '\\', :token, @a := 1`, `SELECT '\\', ?, @a := 1`, "token"},
		{"sqlite", `SELECT [:number], :restore_until_s;`, `SELECT [:number], ?1`, "restore_until_s"},
		{"postgres", `SELECT '电话:number', 电话, :token`, `SELECT '电话:number', 电话, $1`, "token"},
	} {
		p, err := parseStatement(c.in, dialects[c.driver].quoting, known)
		if err != nil {
			t.Errorf("%s: %s: %v", c.driver, c.in, err)
			continue
		}
		if strings.Join(strings.Fields(p.text), " ") != strings.Join(strings.Fields(c.out), " ") || strings.Join(p.params, " ") != c.params {
			t.Errorf("%s: %s\n gave %s with %v\n want %s with %s", c.driver, c.in, p.text, p.params, c.out, c.params)
		}
	}
}

func TestStatementsThatAreNotOneOrNotPlainAreRefused(t *testing.T) {
	known := knownParam(actParams, true)
	for _, c := range []struct{ driver, in, says string }{
		{"postgres", `SELECT :nobody`, "line 1: there is no parameter :nobody"},
		{"postgres", "SELECT 1;\nDROP TABLE x", "line 2: a second statement"},
		{"postgres", `SELECT 'a`, "a quote that is not closed"},
		{"postgres", `SELECT "a`, "a quote that is not closed"},
		{"postgres", `SELECT /* a`, "/* without */"},
		{"postgres", `SELECT $a$ b`, "$a$ is not closed"},
		{"postgres", `SELECT $1`, "is no parameter here"},
		{"mysql", `SELECT ?`, "is no parameter here"},
		{"sqlite", `SELECT ?1`, "is no parameter here"},
		{"sqlite", `SELECT $name`, "is no parameter here"},
		{"sqlite", `SELECT @name`, "is no parameter here"},
		{"mysql", `SELECT 'a\'b'`, "write the quote twice"},
		{"mysql", `SELECT /*! :number */ 1`, "a comment that is no comment"},
		{"postgres", ` -- nothing`, "there is no statement"},
		{"postgres", "SELECT 1\x00", "NUL"},
	} {
		if _, err := parseStatement(c.in, dialects[c.driver].quoting, known); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q: %v, want %s", c.driver, c.in, err, c.says)
		}
	}
}

// FuzzStatement: what is parsed has no parameter that was not named, every placeholder has its value, and quoted text is untouched.
func FuzzStatement(f *testing.F) {
	for _, s := range []string{`SELECT ':a' , :number`, "SELECT $$:number$$ -- :x\n", `SELECT "x""y" /* a /* b */ */ :token::text`, "SELECT `a` # :x", `SELECT [a] ;`} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(1))
		f.Add(s, uint8(2))
	}
	drivers := []string{"postgres", "mysql", "sqlite"}
	known := knownParam(actParams, true)
	f.Fuzz(func(t *testing.T, text string, which uint8) {
		d := dialects[drivers[int(which)%3]]
		p, err := parseStatement(text, d.quoting, known)
		if err != nil {
			return
		}
		for _, name := range p.params {
			if !known(name) || !strings.Contains(text, ":"+name) {
				t.Errorf("parameter %q", name)
			}
		}
		if d.quoting.marks == dollars {
			sorted := slices.Clone(p.params)
			slices.Sort(sorted)
			if len(slices.Compact(sorted)) != len(p.params) {
				t.Errorf("a parameter twice: %v", p.params)
			}
		}
		// What was parsed holds no named parameter any more: parsing it again, where it can be, changes nothing.
		again, err := parseStatement(p.text, d.quoting, known)
		if err == nil && (len(again.params) != 0 || again.text != p.text) {
			t.Errorf("%q became %q with %v", p.text, again.text, again.params)
		}
	})
}

func FuzzWhen(f *testing.F) {
	for _, s := range []string{"", "never", "2024-01-31", "2024-01-31T10:00:00+08:00", "2024-01-31 10:00:00.5", "0000-00-00 00:00:00", "1970-01-01"} {
		f.Add(s)
	}
	zone, _ := (&Config{}).zone()
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWhen(s, zone)
		if err != nil {
			return
		}
		again, err := ParseWhen(w.String(), zone)
		if err != nil || again.String() != w.String() {
			t.Errorf("%q became %q and then %q, %v", s, w, again, err)
		}
	})
}
