package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axe gives axe-core, which looks at a page as those do who cannot see it or use no mouse.
func axe(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "node", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("npm ci: %v: %s", err, out)
		}
		t.Skipf("npm ci: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	must(t, err)
	return string(text)
}

// findings are what axe has against a page.
func findings(b *browser, axe string) []string {
	b.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](axe))
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.filter(v => ["serious", "critical", "moderate"].includes(v.impact))
		.map(v => v.impact + " " + v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " — " + n.failureSummary).join("; ")))`, chromedp.EvalAwaitPromise))
	must(b, err)
	return got
}

func TestEveryPageServesThoseWhoCannotSeeIt(t *testing.T) {
	needs(t)
	axe := axe(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.goes("/sign-in")
	b.clicks(`form[action="/sign-in/` + h.Carrier + `"] button`)
	atCarrier := findings(b, axe)
	b.types("#number", h.Number[3:])
	b.clicks("form button")
	atCarrier = append(atCarrier, findings(b, axe)...)
	b.types("#code", latestCode(t, h))
	b.clicks("form button")
	b.chooses(quick(2)...)
	confirm := b.at()
	b.ticks(`input[name="agree"]`)
	b.clicks(`main form button`)
	atCarrier = append(atCarrier, findings(b, axe)...)
	for _, f := range atCarrier {
		t.Errorf("at the carrier: %s", f)
	}
	check := func(how string, paths ...string) {
		for _, path := range paths {
			b.goes(path)
			for _, f := range findings(b, axe) {
				t.Errorf("%s, %s: %s", path, how, f)
			}
			wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`document.documentElement.scrollWidth - innerWidth`))
			must(t, err)
			if wide > 0 {
				t.Errorf("%s, %s: %v pixels wider than the window", path, how, wide)
			}
			b.looks("axe-" + how + strings.ReplaceAll(path, "/", "_"))
		}
	}
	signedIn := []string{"/number", "/apps", confirm, "/requests", "/certificate", "/requests/none"}
	open := []string{"/home", "/sign-in", "/verify", "/former", "/cancelling", "/home/nothing", "/sandbox/phone"}
	everywhere := append(signedIn, open[:5]...)
	check("zh", everywhere...)
	b.goes(confirm)
	b.clicks(`main form button`) // they agreed before
	b.confirms(h.SignIn.Name, h.SignIn.IDLastFour)
	request := b.at()
	check("zh", request)
	b.goes("/certificate")
	b.clicks("main form button")
	for _, f := range findings(b, axe) {
		t.Errorf("a certificate: %s", f)
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	must(t, err)
	check("dark", "/home", "/number", "/apps", request, "/certificate", "/verify", "/former", "/sandbox/phone")
	b.goes("/home")
	b.clicks(`button[name="lang"]`)
	b.clicks(`button[name="large"]`)
	check("large-english", append(signedIn[:2], append([]string{request}, open...)...)...)
	must(t, chromedp.Do(b.ctx, chromedp.EmulateViewport(1280, 900)))
	check("desktop", "/home", "/apps", request)
}

func TestTheKeyboardReachesEverythingInOrder(t *testing.T) {
	needs(t)
	b := sits(t)
	b.goes("/home")
	var order []string
	for range 12 {
		b.do(chromedp.KeyEvent(kb.Tab))
		at, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`(document.activeElement.getAttribute("href") || document.activeElement.name || document.activeElement.tagName) +
			(getComputedStyle(document.activeElement).outlineStyle === "none" ? " INVISIBLE" : "")`))
		must(t, err)
		order = append(order, at)
	}
	got := strings.Join(order, " ")
	for i, want := range []string{"#main", "/home", "/home", "/sign-in", "/verify", "/sign-in", "/cancelling", "/former", "/verify", "lang", "large", "/sandbox/phone"} {
		if order[i] != want {
			t.Fatalf("the order is %s", got)
		}
	}
	if strings.Contains(got, "INVISIBLE") {
		t.Errorf("somewhere one does not see where one is: %s", got)
	}
	b.goes("/home")
	b.do(chromedp.KeyEvent(kb.Tab))
	b.looks("skip")
}
