package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startChromium starts a browser, in the sandbox of whoever runs this unless that is root. The error says that there is none.
func startChromium(dir string) (ctx context.Context, stop func(), err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.Flag("accept-lang", "zh-CN"))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	allocator, stopAll := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(allocator)
	stop = func() { cancel(); stopAll() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}

// browser is a person at Chromium.
type browser struct {
	testing.TB
	ctx context.Context
}

// sits gives a person a phone of their own, which shares nothing with other people's.
func sits(t testing.TB) *browser {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(func() { cancel() })
	b := &browser{t, ctx}
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(360, 760)))
	return b
}

// tab gives the person one more tab.
func (b *browser) tab() *browser {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.Cleanup(func() { cancel() })
	must(b, chromedp.Do(ctx, chromedp.EmulateViewport(360, 760)))
	return &browser{b.TB, ctx}
}

const patience = 60 * time.Second

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatalf("%v; they are at %s and see: %s", err, b.at(), b.text())
	}
}

func (b *browser) goes(path string) {
	b.Helper()
	b.do(chromedp.Navigate(world.BaseURL + path))
}

// clicks clicks on what leads to another page, and waits for it.
func (b *browser) clicks(what string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(what)))); err != nil {
		b.Fatalf("click on %s: %v; they are at %s and see: %s", what, err, b.at(), b.text())
	}
}

// back presses the browser's back button.
func (b *browser) back() {
	b.Helper()
	b.do(chromedp.NavigateBack())
}

func (b *browser) ticks(what string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(what)))
}

func (b *browser) types(field, text string) {
	b.Helper()
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

// at gives the path of the page.
func (b *browser) at() string {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(s, world.BaseURL), "?")
	return path
}

func (b *browser) sees(what ...string) {
	b.Helper()
	text := b.text()
	for _, w := range what {
		if !strings.Contains(text, w) {
			b.Errorf("at %s they do not see %q but: %s", b.at(), w, text)
		}
	}
}

func (b *browser) seesNot(what string) {
	b.Helper()
	if text := b.text(); strings.Contains(text, what) {
		b.Errorf("they see %q: %s", what, text)
	}
}

// eventually waits for what comes by itself.
func (b *browser) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("never: %s; they are at %s and see: %s", what, b.at(), b.text())
		}
	}
}

func (b *browser) withoutScript() {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	must(b, err)
}

// cookie gives the value of the session's cookie, as a thief would have it.
func (b *browser) cookie() string {
	b.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	must(b, err)
	for _, c := range got.Cookies {
		if c.Name == "holder" {
			if !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax {
				b.Errorf("the session's cookie is %+v", c)
			}
			return c.Value
		}
	}
	return ""
}

func (b *browser) steals(token string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: "holder", Value: token, URL: world.BaseURL})
	must(b, err)
}

// looks keeps a picture where HUANXIN_SCREENSHOTS says.
func (b *browser) looks(what string) {
	b.Helper()
	dir := os.Getenv("HUANXIN_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	must(b, err)
	must(b, os.WriteFile(filepath.Join(dir, what+".png"), png, 0o600))
}
