package web

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"
)

const hostile = `<script>alert(1)</script>" onmouseover='x' ＜ ]]> {{.}} ` + "\u202e"

func long() string { return strings.Repeat("很长的名字", 40) }

// every gives every page: with nothing in it, with all, and with what somebody would break it with.
func every(text string, n int, english bool) map[string]any {
	f := newFrame("service", "/number", english, n > 1, true, true)
	f.Title = text
	items := func() (out []AppItem) {
		for i := range n {
			out = append(out, AppItem{ID: fmt.Sprint("app-", i), Name: text, Picked: i%2 == 0, Busy: i%3 == 0})
		}
		return out
	}
	var groups []AppGroup
	var tasks []TaskGroup
	var names []string
	var choices []Choice
	var wanted []WantedApp
	var requests []RequestItem
	for i := range n {
		groups = append(groups, AppGroup{Title: "class-payment", Why: "class-high", Open: true, Apps: items()})
		tasks = append(tasks, TaskGroup{Class: "clean", Title: "view-clean", Text: text, Next: "next-app", Tasks: []TaskItem{{ID: "task_1", App: text, Kind: "kind-unbind",
			Link: "https://a.example/?" + text, Again: true, Complain: true}, {App: text, Complained: true}}})
		names = append(names, text)
		choices = append(choices, Choice{ID: "what", Name: "kind-unbind", Picked: i == 0})
		wanted = append(wanted, WantedApp{ID: "app", Name: text, Wanted: i, Mine: i == 1})
		requests = append(requests, RequestItem{ID: "req_1", At: text, State: "state-settled", Total: i})
	}
	key := ""
	if n > 0 {
		key = "p-too_many-do"
	}
	return map[string]any{
		"home": HomePage{f}, "signin": SignInPage{f, choices, text}, "number": NumberPage{f, text, text, "used-first", "used-first-do", text, n},
		"apps":        AppsPage{F: f, Problem: key, Query: text, MayAll: n > 0, All: n > 0, Total: n, Hidden: items(), Groups: groups, NotFound: n == 0, NotJoined: wanted, Kinds: choices},
		"confirm":     ConfirmPage{F: f, Problem: key, ID: "drf_1", Number: text, Tasks: n, Apps: names, Kinds: []string{"kind-unbind"}, Agreed: n > 0},
		"request":     RequestPage{F: f, Done: text, ID: "req_1", State: "state-settled", Open: n > 0, Total: n, Final: n, At: text, Due: text, Groups: tasks},
		"requests":    RequestsPage{f, requests},
		"certificate": CertificatePage{F: f, Text: text, Says: text, Issued: text, Until: text, Size: 20, Path: "M1 1h1v1h-1z", VerifyURL: text, KeysURL: text},
		"verify":      VerifyPage{F: f, Problem: key, Verdict: "verify-good", Class: "good", Says: text, Issued: text, Until: text},
		"cancelling":  CancellingPage{f, []string{"cancelling-1"}, []NameGroup{{"class-mail", names}}},
		"former":      FormerPage{F: f, Done: n == 1, Problem: text, Number: text, App: text, Names: names, What: choices},
		"problem":     ProblemPage{f, "p-bad", "p-bad-do", &MenuItem{Path: "/home", Key: "home"}, text},
	}
}

func TestEveryPageIsWellMadeWhateverStandsInIt(t *testing.T) {
	for what, data := range map[string]struct {
		text string
		n    int
	}{"empty": {"", 0}, "one": {"名字", 1}, "full": {"名字", 3}, "hostile": {hostile, 3}, "long": {long(), 3}} {
		for _, english := range []bool{false, true} {
			for name, model := range every(data.text, data.n, english) {
				page, err := Render(name, english, model)
				if err != nil {
					t.Fatalf("%s, %s: %v", name, what, err)
				}
				checkPage(t, fmt.Sprintf("%s, %s", name, what), string(page))
			}
		}
	}
	for _, name := range pageNames {
		if every("", 0, false)[name] == nil {
			t.Errorf("no test shows %s", name)
		}
	}
}

// checkPage looks at what a browser makes of a page: one h1, headings in order, fields with labels, no script and no style but ours, nothing from elsewhere.
func checkPage(t *testing.T, what, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	labels, ids, level, h1 := map[string]bool{}, map[string]string{}, 0, 0
	var walk func(n *html.Node, labelled bool)
	walk = func(n *html.Node, labelled bool) {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s: <%s %s>", what, n.Data, a.Key)
			}
		}
		if n.Type == html.ElementNode {
			switch n.Data {
			case "script":
				if attr["src"] != script.path || n.FirstChild != nil {
					t.Errorf("%s: a script that is not ours", what)
				}
			case "style", "iframe", "object", "img", "base":
				t.Errorf("%s: <%s>", what, n.Data)
			case "h1", "h2", "h3":
				now := int(n.Data[1] - '0')
				if now > level+1 {
					t.Errorf("%s: <%s> after level %d", what, n.Data, level)
				}
				if level = now; now == 1 {
					h1++
				}
			case "label":
				labelled, labels[attr["for"]] = true, true
			case "input", "textarea", "select":
				if attr["type"] != "hidden" && !labelled {
					ids[attr["id"]] = n.Data
				}
			case "a":
				if to := attr["href"]; !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") && !strings.HasPrefix(to, "https://a.example/") {
					t.Errorf("%s: a link to %q", what, to)
				}
			case "form":
				if !strings.HasPrefix(attr["action"], "/") || attr["method"] != "post" {
					t.Errorf("%s: a form to %q by %q", what, attr["action"], attr["method"])
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, labelled)
		}
	}
	walk(root, false)
	for id, field := range ids {
		if !labels[id] {
			t.Errorf("%s: <%s id=%q> has no label", what, field, id)
		}
	}
	if h1 != 1 {
		t.Errorf("%s: %d h1", what, h1)
	}
}

var keyOf = regexp.MustCompile(`\{\{-? ?(?:if |with )?t "([a-z0-9_-]+)"|\{\{t "([a-z0-9_-]+)"|"\{\{t "([a-z0-9_-]+)"`)

func TestEveryTextStandsInTheCatalogueInBothLanguages(t *testing.T) {
	used := map[string]bool{}
	must(t, fs.WalkDir(files, "templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		for _, m := range keyOf.FindAllStringSubmatch(string(text), -1) {
			key := m[1] + m[2] + m[3]
			if used[key] = true; !known(key) {
				t.Errorf("%s: no text %q", path, key)
			}
		}
		bare := regexp.MustCompile(`\{\{[^}]*\}\}|<[^>]*>`).ReplaceAllString(string(text), " ")
		for _, r := range bare {
			if unicode.IsLetter(r) {
				t.Errorf("%s has words of its own: %q", path, strings.Join(strings.Fields(bare), " "))
				break
			}
		}
		return err
	}))
	if len(used) < 100 {
		t.Errorf("only %d keys are found in templates", len(used))
	}
	for key, pair := range texts {
		if pair[0] == "" || pair[1] == "" {
			t.Errorf("%s lacks a language", key)
		}
		if strings.Count(pair[0], "%") != strings.Count(pair[1], "%") {
			t.Errorf("%s has other blanks in English", key)
		}
		if key != "other-lang" && strings.ContainsFunc(pair[1], func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s has Chinese in its English", key)
		}
		if base, ok := strings.CutPrefix(key, "p-"); ok && !strings.HasSuffix(base, "-do") && base != "back-confirm" && !known(key+"-do") {
			t.Errorf("%s does not say what to do", key)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// full gives the page of the most apps there are, with names of a usual length.
func full() AppsPage {
	p := AppsPage{F: newFrame("apps-title", "/apps", false, false, true, true), MayAll: true, Total: 239}
	p.F.Script = true
	for g := range 19 {
		group := AppGroup{Title: "class-payment", Why: "class-high", Open: g == 0}
		for i := range 13 {
			group.Apps = append(group.Apps, AppItem{ID: fmt.Sprintf("some-app-%02d-%02d", g, i), Name: "汐岬某某应用", Picked: i%5 == 0})
		}
		p.Groups = append(p.Groups, group)
	}
	return p
}

func TestAPageWithAllItLoadsIsUnder50kB(t *testing.T) {
	page, err := Render("apps", false, full())
	must(t, err)
	if n := len(page) + len(stylesheet.content) + len(script.content); n >= 50_000 {
		t.Errorf("the page of 247 apps has %d bytes with all that it loads", n)
	} else {
		t.Logf("%d bytes", n)
	}
	r := RequestPage{F: newFrame("request-title", "/requests/x", false, false, true, true), ID: "req_0123456789012345678901234", State: "state-in_progress", Open: true, Total: 239}
	for range 8 {
		g := TaskGroup{Title: "view-overdue", Text: "文字", Next: "next-app"}
		for i := range 30 {
			g.Tasks = append(g.Tasks, TaskItem{ID: "task_01234567890123456789012345", App: fmt.Sprint("汐岬应用", i), Again: i%10 == 0, Complain: i%10 == 0})
		}
		r.Groups = append(r.Groups, g)
	}
	page, err = Render("request", false, r)
	must(t, err)
	if n := len(page) + len(stylesheet.content) + len(script.content); n >= 50_000 {
		t.Errorf("the page of 240 tasks has %d bytes with all that it loads", n)
	}
}

func BenchmarkRenderApps(b *testing.B) {
	model := full()
	for b.Loop() {
		if _, err := Render("apps", false, model); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAQRCodeIsReadAgainAndNothingElseIs(t *testing.T) {
	text := strings.Repeat("eyJhbGciOiJFUzI1NiJ9.", 17)
	path, size, err := drawQR(text)
	must(t, err)
	if got, err := readQR(picture(t, path, size)); err != nil || got != text {
		t.Errorf("%q %v", got, err)
	}
	for what, bad := range map[string][]byte{"nothing": nil, "no picture": []byte("hello"), "a picture of nothing": picture(t, "", 40), "half a picture": picture(t, path, size)[:200]} {
		if got, err := readQR(bad); err == nil {
			t.Errorf("%s: %q", what, got)
		}
	}
}
