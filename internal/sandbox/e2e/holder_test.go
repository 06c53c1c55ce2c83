package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// quick gives apps that answer soon and unbind or find nothing.
func quick(n int) (ids []string) {
	for _, a := range catalogue.Apps() {
		if a.Behaviour == catalogue.Quick && a.Class == "games" && len(ids) < n {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func requestOf(path string) string {
	return strings.TrimPrefix(path, "/requests/")
}

func TestAHolderClearsTheirNumberFromTheStartPageToASettledRequest(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.goes("/")
	b.clicks(`a[href="/home"]`)
	b.sees("帮你清理干净")
	b.looks("home")
	b.clicks("a.button")
	b.looks("sign-in")
	b.signsIn(h)
	if b.at() != "/number" {
		t.Errorf("they come to %s", b.at())
	}
	b.sees("这个号码以前有人用过", h.Number[3:6])
	b.looks("number")
	b.clicks("a.button")
	b.sees("最常挡住注册的", "未接入")
	b.looks("apps")
	b.chooses(quick(3)...)
	b.sees("请确认", "你自己绑定的账号不会动")
	b.looks("confirm")
	b.agrees(h)
	if !strings.HasPrefix(b.at(), "/requests/") {
		t.Fatalf("they come to %s: %s", b.at(), b.text())
	}
	b.sees("共 3 项")
	b.looks("progress")
	b.eventually("the request settles before their eyes", func() bool { return strings.Contains(b.text(), "全部办结") })
	b.looks("settled")
	b.goes("/requests")
	b.sees("全部办结")
	b.looks("history")
	// Nothing that a browser keeps of where it was holds the number.
	paths, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`JSON.stringify(performance.getEntries().map(e => e.name)) + location.href + document.referrer`))
	must(t, err)
	if strings.Contains(paths, h.Number[3:]) {
		t.Errorf("the number stands in %s", paths)
	}
}

func TestEverythingWorksWithoutScript(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.withoutScript()
	b.goes("/sign-in")
	b.signsIn(h)
	b.goes("/apps")
	wanted := catalogue.Apps()[0]
	b.types("#q", wanted.NameZh)
	b.clicks(`button[value="find"]`)
	b.sees(wanted.NameZh)
	b.ticks(`input[value="` + wanted.ID + `"]`)
	b.clicks(`button[value="all"]`) // the tick stays
	b.opens(quick(1)[0])
	b.ticks(`input[value="` + quick(1)[0] + `"]`)
	b.clicks(`button[value="next"]`)
	b.sees(wanted.NameZh)
	b.agrees(h)
	b.sees("共 2 项")
	b.clicks(`form[action$="/cancel"] button`)
	b.sees("已取消")
	b.goes("/certificate")
	b.clicks("main form button")
	b.sees("由现在的机主使用", "…"+h.Number[len(h.Number)-4:])
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(".token")))
	must(t, err)
	b.looks("certificate")
	b.goes("/verify")
	b.types("#text", text)
	b.clicks("main form button")
	b.sees("证明有效")
	b.looks("verified")
	b.goes("/former")
	b.types("#number", h.Number[3:])
	b.types("#app", wanted.NameZh)
	b.ticks(`input[value="locked_out"]`)
	b.clicks("main form button")
	b.sees("已经收到")
}

func TestANumberThatIsNotEligibleIsToldWhyAndWhatToDo(t *testing.T) {
	needs(t)
	first := sits(t)
	first.goes("/sign-in")
	first.signsIn(somebody(t, "first"))
	first.sees("以前没有人用过", "没有别人的账号需要解绑")
	first.goes("/apps")
	first.seesNot("解绑别人的账号")

	handed := sits(t)
	handed.goes("/sign-in")
	handed.signsIn(somebody(t, "transferred"))
	handed.sees("过户给你的", "逐个选择")
	handed.goes("/apps")
	handed.sees("不能全选")

	stranger := sits(t) // at a carrier that does not know the number: no code comes, and nothing is told
	h := somebody(t, "reassigned")
	other := catalogue.Carriers()[0].ID
	if other == h.Carrier {
		other = catalogue.Carriers()[1].ID
	}
	stranger.goes("/sign-in")
	stranger.clicks(`form[action="/sign-in/` + other + `"] button`)
	stranger.types("#number", h.Number[3:])
	stranger.clicks("form button")
	stranger.sees("输入验证码")
	stranger.types("#code", "000000")
	stranger.clicks("form button")
	stranger.sees("验证码不对")
}

func TestAfterFiveWrongCodesTheNumberIsLeftAlone(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.goes("/sign-in")
	b.clicks(`form[action="/sign-in/` + h.Carrier + `"] button`)
	b.types("#number", h.Number[3:])
	b.clicks("form button")
	right := latestCode(t, h)
	wrong := "123456"
	if right == wrong {
		wrong = "654321"
	}
	for i := range 5 {
		b.types("#code", wrong)
		b.clicks("form button")
		if i < 4 {
			b.sees("验证码不对")
		}
	}
	b.sees("错了 5 次", "10 分钟后")
	b.types("#number", h.Number[3:])
	b.clicks("form button")
	b.sees("错了 5 次") // no new code either
	b.looks("locked")
}

func TestAfterFiveFailedIdentityChecksThereIsAPause(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.goes("/sign-in")
	b.signsIn(h)
	b.chooses(quick(1)...)
	// A day lasts a minute here, in which a person fails five times only if they hurry: they go on until they are refused.
	b.ticks(`input[name="agree"]`) // it stays ticked
	b.eventually("there is a pause", func() bool {
		b.clicks(`main form button`)
		if strings.Contains(b.text(), "今天核对失败太多次") {
			return true
		}
		b.confirms("不是我", "0000")
		b.sees("身份没有核对成功")
		b.clicks("a.button")
		return false
	})
}

func TestAStolenSessionIsWorthLittleAndEnds(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	owner, thief := sits(t), sits(t)
	owner.goes("/sign-in")
	owner.signsIn(h)
	thief.goes("/home")
	thief.steals(owner.cookie())
	thief.chooses(quick(1)...)
	thief.ticks(`input[name="agree"]`)
	thief.clicks(`main form button`)
	if !strings.HasPrefix(thief.at(), "/carriers/") {
		t.Errorf("without proving anything they come to %s", thief.at())
	}
	owner.goes("/number")
	owner.clicks(`button[formaction="/sign-out-everywhere"]`)
	thief.goes("/number")
	if thief.at() != "/sign-in" {
		t.Errorf("the stolen session still opens %s: %s", thief.at(), thief.text())
	}
	thief.seesNot(h.Number[len(h.Number)-4:])
}

func TestTwoTabsAndTheBackButtonMakeOneRequest(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	one := sits(t)
	one.goes("/sign-in")
	one.signsIn(h)
	one.chooses(quick(2)...)
	confirm := one.at()
	two := one.tab()
	two.goes(confirm)
	one.agrees(h)
	request := requestOf(one.at())
	two.ticks(`input[name="agree"]`)
	two.clicks(`main form button`)
	if got := requestOf(two.at()); got != request {
		t.Errorf("the second tab comes to %s, not %s", got, request)
	}
	one.back() // to the carrier, where there is nothing left to do
	one.sees("这个页面过期了")
	one.back()
	if got := requestOf(one.at()); got != request {
		t.Errorf("going back to %s leads to %s", confirm, one.at())
	}
	one.do(chromedp.Reload())
	one.goes("/requests")
	one.eventually("there is one request", func() bool { return strings.Count(one.text(), "2 项") == 1 })
}

func TestAHolderWhoseNumberIsTransferredMeanwhileSeesNothingMore(t *testing.T) {
	needs(t)
	h := somebody(t, "reassigned")
	b := sits(t)
	b.goes("/sign-in")
	b.signsIn(h)
	b.chooses(quick(1)...)
	b.agrees(h)
	request := b.at()
	reports(t, h, "transferred")
	b.goes(request)
	b.sees("号码的登记有变化", "请重新登录")
	b.looks("transferred")
	b.goes("/requests")
	if b.at() != "/sign-in" {
		t.Errorf("they come to %s: %s", b.at(), b.text())
	}
}

// reports has a holder's carrier report an event of their number that happens now.
func reports(t *testing.T, h sandbox.Holder, kind string) {
	t.Helper()
	for _, c := range world.Clients {
		if c.ID != h.Carrier {
			continue
		}
		hub := client.New(client.Options{URL: world.BaseURL, ID: c.ClientID, Secret: c.Secret})
		r, err := hub.ReportEvents(t.Context(), []client.Event{{ID: "e2e-" + h.SignIn.User, Number: h.Number, Kind: kind, At: time.Now()}}, time.Time{})
		must(t, err)
		if r.Accepted != 1 {
			t.Fatalf("%+v", r)
		}
		return
	}
	t.Fatal("no such carrier")
}

func TestInEnglishAndLargePrint(t *testing.T) {
	needs(t)
	b := sits(t)
	b.goes("/home")
	b.clicks(`button[name="lang"]`)
	b.sees("A new number with old accounts on it?", "Sign in")
	small, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`parseFloat(getComputedStyle(document.body).fontSize)`))
	must(t, err)
	b.clicks(`button[name="large"]`)
	large, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`parseFloat(getComputedStyle(document.body).fontSize)`))
	must(t, err)
	if large < 1.3*small {
		t.Errorf("large print is %v px, usual %v", large, small)
	}
	wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`))
	must(t, err)
	if wide {
		t.Error("in large print the page is wider than a phone")
	}
	b.looks("large-english")
}
