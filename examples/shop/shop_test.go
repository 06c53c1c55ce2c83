package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

var numbers = cast{
	Recycled: bound{"+8613800700001", time.Date(2019, 8, 8, 4, 0, 0, 0, time.UTC)},
	Kept:     bound{"+8613800700002", time.Date(2020, 1, 1, 4, 0, 0, 0, time.UTC)},
	Unknown:  bound{"+8613800700003", time.Date(2021, 1, 1, 4, 0, 0, 0, time.UTC)},
	Fresh:    "+8613800700004",
}

var postgres pgtest.Template

func TestMain(m *testing.M) {
	rounds = 100
	os.Exit(pgtest.Main(m))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startGuard gives a guard that asks a real hub, which knows the numbers.
func startGuard(t *testing.T) *guard.Guard {
	t.Helper()
	h := hubtest.Start(t)
	at := func(day string) time.Time {
		v, err := time.Parse(time.DateOnly, day)
		must(t, err)
		return v
	}
	shop := h.App("shop")
	r, err := h.Carrier("cmcc").ReportEvents(t.Context(), []client.Event{
		{ID: "1", Number: numbers.Recycled.Number, Kind: "activated", At: at("2014-03-10"), Origin: "first"},
		{ID: "2", Number: numbers.Recycled.Number, Kind: "disconnected", At: at("2021-06-01")},
		{ID: "3", Number: numbers.Recycled.Number, Kind: "activated", At: at("2021-11-15"), Origin: "reassigned"},
		{ID: "4", Number: numbers.Kept.Number, Kind: "activated", At: at("2016-05-20"), Origin: "first"},
		{ID: "5", Number: numbers.Unknown.Number, Kind: "activated", At: at("2023-04-01"), Origin: "unknown"},
	}, time.Now())
	if err != nil || r.Accepted != 5 {
		t.Fatal(r, err)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if asOf, _, err := shop.Check(t.Context(), numbers.Kept.Number, "2020-02-02"); err == nil && asOf == 5 {
			break
		} else if time.Since(began) > 10*time.Second {
			t.Fatal("checks do not know the events:", err)
		}
	}
	g, err := guard.Open(t.Context(), guard.Options{Hub: shop, Deadline: 10 * time.Second})
	must(t, err)
	t.Cleanup(g.Close)
	return g
}

func startShop(t *testing.T, g *guard.Guard, database, name string) string {
	t.Helper()
	r, err := openShop(t.Context(), name, g, numbers, database, t.TempDir(), "127.0.0.1:0")
	must(t, err)
	t.Cleanup(r.drop)
	return r.url
}

func TestTheStoryIsTrue(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			database := ""
			if engine == "postgres" {
				database = postgres.Database(t)
			}
			var out bytes.Buffer
			err := play(t.Context(), &out, startShop(t, nil, database, "story_open"), startShop(t, g, database, "story_guarded"), numbers)
			if err != nil || !strings.Contains(out.String(), "王芳改绑了新号码") {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}

// TestTheExampleRuns is `make example ARGS="-once -replica"`.
func TestTheExampleRuns(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "huanxin")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/huanxin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var out bytes.Buffer
	if err := run(t.Context(), options{demo: program, once: true, replica: true}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"sees Wang Fang's orders", "offers him a new account", "a code is enough, as ever"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// TestWhoOpensANewAccountTwiceKeepsTheFirst: the number's holder was stopped in two windows, and opens an account in each.
func TestWhoOpensANewAccountTwiceKeepsTheFirst(t *testing.T) {
	base := startShop(t, startGuard(t), "", "two")
	one, err := newPerson(t.Context(), base)
	must(t, err)
	two, err := newPerson(t.Context(), base)
	must(t, err)
	for _, p := range []*person{one, two} {
		must(t, p.signInBySMS(numbers.Recycled.Number))
		if !p.sees(`id="blocked"`) {
			t.Error("they are not stopped")
		}
	}
	for _, p := range []*person{one, two, one} {
		must(t, p.send("POST", "/new", nil))
		must(t, p.send("GET", "/account", nil))
		if !p.sees("****" + numbers.Recycled.Number[len(numbers.Recycled.Number)-4:]) {
			t.Error("the account has no number:", p.page)
		}
	}
	must(t, one.send("GET", "/", nil))
	if one.sees("已属于别人") {
		t.Error("they are told that their number belongs to somebody else")
	}
}

// TestANumberIsBoundToItsHoldersAccount: one that a former holder's account still has is, and another customer's is not.
func TestANumberIsBoundToItsHoldersAccount(t *testing.T) {
	p, err := newPerson(t.Context(), startShop(t, startGuard(t), "", "rebound"))
	must(t, err)
	must(t, p.signInBySMS(numbers.Fresh)) // opens an account
	for number, taken := range map[string]bool{numbers.Recycled.Number: false, numbers.Kept.Number: true} {
		must(t, p.send("POST", "/number", map[string][]string{"number": {number}}))
		must(t, p.enterCode(number))
		if p.sees(`role="alert"`) != taken {
			t.Errorf("taken should be %v: %s", taken, p.page)
		}
	}
	must(t, p.send("GET", "/account", nil))
	if !p.sees("****" + numbers.Recycled.Number[len(numbers.Recycled.Number)-4:]) {
		t.Error("it is not bound:", p.page)
	}
}

func TestWhoseNumberCannotBeToldGivesThePasswordOnce(t *testing.T) {
	t.Parallel()
	p, err := newPerson(t.Context(), startShop(t, startGuard(t), "", "unsure"))
	must(t, err)
	must(t, p.signInBySMS(numbers.Unknown.Number))
	if !p.sees(`id="stepped-up"`) || p.sees(`id="open-new"`) {
		t.Error(p.page)
	}
	must(t, p.send("POST", "/new", nil)) // which nobody offered
	if p.sees(`id="no-orders"`) {
		t.Error("a new account takes the number of one of which nothing is known")
	}
	must(t, p.send("POST", "/step-up", map[string][]string{"password": {"wrong"}}))
	if !p.sees(`role="alert"`) {
		t.Error(p.page)
	}
	must(t, p.send("POST", "/step-up", map[string][]string{"password": {unsurePassword}}))
	if !p.sees("羽毛球拍") {
		t.Error(p.page)
	}
	// Code and password together confirmed the number: it is enough from then on.
	must(t, p.send("POST", "/sign-out", nil))
	must(t, p.signInBySMS(numbers.Unknown.Number))
	if !p.sees("羽毛球拍") {
		t.Error(p.page)
	}
}

func TestAShopWhoseHubIsDownAsksForThePassword(t *testing.T) {
	t.Parallel()
	g, err := guard.Open(t.Context(), guard.Options{Hub: client.New(client.Options{URL: "http://127.0.0.1:1", ID: "shop", Secret: "x"})})
	must(t, err)
	t.Cleanup(g.Close)
	p, err := newPerson(t.Context(), startShop(t, g, "", "down"))
	must(t, err)
	for _, b := range []bound{numbers.Kept, numbers.Recycled} {
		must(t, p.signInBySMS(b.Number))
		if !p.sees(`id="stepped-up"`) || p.sees(`id="orders"`) {
			t.Error(p.page)
		}
	}
}

func TestCodesAreNotGuessedAndPagesAreClosedToOthers(t *testing.T) {
	t.Parallel()
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "shop.db"), "shop")
	must(t, err)
	t.Cleanup(func() { must(t, s.db.Close()) })
	must(t, s.seed(t.Context(), numbers))
	web := httptest.NewServer((&Shop{store: s, name: "x", log: slog.New(slog.DiscardHandler)}).Handler())
	t.Cleanup(web.Close)
	p, err := newPerson(t.Context(), web.URL)
	must(t, err)
	must(t, p.send("POST", "/sms", map[string][]string{"number": {"138 0070 0002"}}))
	for range maxTries {
		must(t, p.send("POST", "/code", map[string][]string{"code": {"guess!"}}))
	}
	must(t, p.enterCode(numbers.Kept.Number))
	if p.sees("龙井茶") {
		t.Error("a code is taken after many wrong ones")
	}
	for path, want := range map[string]string{"/account": `id="by-sms"`, "/stop": `id="by-sms"`, "/": `id="by-sms"`} {
		q, err := newPerson(t.Context(), web.URL)
		must(t, err)
		must(t, q.send("GET", path, nil))
		if !q.sees(want) || q.sees("style=") || q.sees("<script") {
			t.Errorf("%s: %s", path, q.page)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+"/new", nil)
	must(t, err)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'self'") && resp.StatusCode == 200 {
		t.Error("another site's form:", resp.StatusCode)
	}
}

// chromium starts a browser, in the sandbox of whoever runs this unless that is root.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing: scripts/install-test-needs installs it")
		}
		t.Skip(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("accept-lang", "zh-CN"))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel() })
	must(t, chromedp.Do(ctx))
	return ctx
}

// browser is a person at Chromium.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
	name string
}

// sits gives a person a window of their own, which shares nothing with other people's.
func sits(t *testing.T, chromium context.Context, name, base string) *browser {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(func() { cancel() })
	b := &browser{t: t, ctx: ctx, base: base, name: name}
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(1000, 760)))
	return b
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v; they see: %s", b.name, err, b.text())
	}
}

func (b *browser) goes(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// sends clicks on what sends a form, and waits for the next page.
func (b *browser) sends(form string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(form+" button")))); err != nil {
		b.t.Fatalf("%s sends %s: %v; they see: %s", b.name, form, err, b.text())
	}
}

func (b *browser) types(field, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(field), text))
}

func (b *browser) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		return err.Error()
	}
	return s
}

func (b *browser) sees(what string) {
	b.t.Helper()
	if text := b.text(); !strings.Contains(text, what) {
		b.t.Errorf("%s does not see %q but: %s", b.name, what, text)
	}
}

func (b *browser) seesNot(what string) {
	b.t.Helper()
	if text := b.text(); strings.Contains(text, what) {
		b.t.Errorf("%s sees %q: %s", b.name, what, text)
	}
}

// looks keeps a picture where SHOP_SCREENSHOTS says.
func (b *browser) looks(what string) {
	b.t.Helper()
	dir := os.Getenv("SHOP_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(dir, what+".png"), png, 0o600))
}

// signsInBySMS reads the code on the sandbox's phone, as who holds the number's card can.
func (b *browser) signsInBySMS(number string) {
	b.t.Helper()
	b.goes("/")
	b.types("#by-sms input[name=number]", strings.TrimPrefix(number, "+86"))
	b.sends("#by-sms")
	b.entersCode(number)
}

func (b *browser) entersCode(number string) {
	b.t.Helper()
	b.goes("/phone")
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	code, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(`.message[data-number="`+number+`"] .sms-code`)))
	must(b.t, err)
	b.looks("phone")
	b.goes("/code")
	b.types("#code", code)
	b.sends("#enter-code")
}

func TestTwoPeopleAtTheirBrowsers(t *testing.T) {
	t.Parallel()
	c := chromium(t)
	open, guarded := startShop(t, nil, "", "browser_open"), startShop(t, startGuard(t), "", "browser_guarded")

	li := sits(t, c, "Li Wei without the guard", open)
	li.goes("/")
	li.looks("signin")
	li.signsInBySMS(numbers.Recycled.Number)
	li.sees("您好,王芳")
	li.sees("金戒指")
	li.looks("stolen")

	li = sits(t, c, "Li Wei", guarded)
	li.signsInBySMS(numbers.Recycled.Number)
	li.sees("这个号码换过机主")
	li.seesNot("王芳")
	li.seesNot("金戒指")
	li.looks("blocked")

	wang := sits(t, c, "Wang Fang", guarded)
	wang.goes("/")
	wang.types("#login", formerLogin)
	wang.types("#password", formerPassword)
	wang.sends("#by-password")
	wang.sees("金戒指")

	again := sits(t, c, "Li Wei again", guarded)
	again.signsInBySMS(numbers.Recycled.Number)
	again.sees("再确认一下是您本人")
	again.seesNot("金戒指")
	again.looks("stepped-up")

	li.sends("#open-new")
	li.sees("还没有订单")
	li.seesNot("金戒指")
	li.looks("new-account")

	wang.goes("/")
	wang.sees("您原来的手机号已属于别人")
	wang.sees("金戒指")
	wang.looks("former-holder")
	wang.goes("/account")
	wang.types("#change-number input[name=number]", strings.TrimPrefix(numbers.Fresh, "+86"))
	wang.sends("#change-number")
	wang.entersCode(numbers.Fresh)
	wang.sees("+86138****0004")
	wang.goes("/account?lang=en")
	wang.sees("bound on")
	wang.looks("account-en")

	// With the new number Wang Fang signs in by SMS: she bound it after her tenure began, as far as anybody knows. Nobody has
	// reported the number yet, so the password is asked for once more.
	wang.sends("header form")
	wang.signsInBySMS(numbers.Fresh)
	wang.sees("One more step")
	wang.types("#password", formerPassword)
	wang.sends("#step-up")
	wang.sees("Gold ring")

	li = sits(t, c, "Li Wei at last", guarded)
	li.signsInBySMS(numbers.Recycled.Number)
	li.sees("还没有订单")

	chen := sits(t, c, "Chen Jing", guarded)
	chen.do(chromedp.EmulateViewport(390, 760))
	chen.signsInBySMS(numbers.Kept.Number)
	chen.sees("龙井茶")
	chen.looks("kept-on-a-phone")
}
