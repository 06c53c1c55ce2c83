package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/huanxin-platform/huanxin/internal/sandbox"
)

// The world in which everybody here lives, and the browser that they use: made once.
var (
	world    sandbox.File
	chromium context.Context
	missing  error // why there is no browser
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holders-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var stop func()
	if chromium, stop, missing = startChromium(filepath.Join(dir, "chromium")); missing != nil {
		return m.Run()
	}
	defer stop()
	ctx, end := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		o := sandbox.Options{Listen: "127.0.0.1:0", Data: filepath.Join(dir, "world"), Speed: 1_440, Out: in, Err: io.Discard}
		ended <- sandbox.Run(ctx, o.WithPeople(300))
		_ = in.Close()
	}()
	defer func() {
		end()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if !bufio.NewScanner(out).Scan() {
		panic(<-ended)
	}
	text, err := os.ReadFile(filepath.Join(dir, "world", "sandbox.json"))
	if err == nil {
		err = json.Unmarshal(text, &world)
	}
	if err != nil {
		panic(err)
	}
	return m.Run()
}

// needs has a test run at the same time as others, where there is a browser.
func needs(t *testing.T) {
	t.Helper()
	if missing != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing: scripts/install-test-needs installs it")
		}
		t.Skip(missing)
	}
	t.Parallel()
}

var (
	taken     = map[string]bool{}
	takenLock sync.Mutex
)

// somebody gives a holder of sandbox.json whom no other test has.
func somebody(t *testing.T, origin string) sandbox.Holder {
	t.Helper()
	takenLock.Lock()
	defer takenLock.Unlock()
	for _, h := range world.Holders {
		if h.Origin == origin && !taken[h.Number] {
			taken[h.Number] = true
			return h
		}
	}
	t.Fatal("nobody is left whose tenure began by ", origin)
	return sandbox.Holder{}
}

var sixDigits = regexp.MustCompile(`[0-9]{6}`)

// latestCode reads the phone of a holder, as anybody can in the sandbox.
func latestCode(t testing.TB, h sandbox.Holder) string {
	t.Helper()
	resp, err := http.PostForm(world.BaseURL+"/sandbox/phone", url.Values{"holder": {h.SignIn.User}})
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	_, texts, _ := strings.Cut(string(body), `id="texts"`)
	code := sixDigits.FindString(texts)
	if code == "" {
		t.Fatalf("no text has come: %s", body)
	}
	return code
}

// signsIn signs a holder in at their carrier, wherever they wanted to go.
func (b *browser) signsIn(h sandbox.Holder) {
	b.Helper()
	b.clicks(`form[action="/sign-in/` + h.Carrier + `"] button`)
	b.types("#number", strings.TrimPrefix(h.Number, "+86"))
	b.clicks("form button")
	b.types("#code", latestCode(b, h))
	b.clicks("form button")
}

// chooses ticks apps and goes on to confirm.
func (b *browser) chooses(apps ...string) {
	b.Helper()
	b.goes("/apps")
	b.opens(apps[0])
	for _, id := range apps {
		b.ticks(`input[value="` + id + `"]`)
	}
	b.clicks(`button[value="next"]`)
}

// opens opens the group that an app is in.
func (b *browser) opens(app string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(`details:has(input[value="` + app + `"]) > summary`)))
}

// agrees presses the button, and confirms at the carrier who they are.
func (b *browser) agrees(h sandbox.Holder) {
	b.Helper()
	b.ticks(`input[name="agree"]`)
	b.clicks(`main form button`)
	b.confirms(h.SignIn.Name, h.SignIn.IDLastFour)
}

func (b *browser) confirms(name, lastFour string) {
	b.Helper()
	b.types("#name", name)
	b.types("#last_four", lastFour)
	b.clicks("form button")
}
