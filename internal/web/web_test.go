package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/web"
	"github.com/prometheus/client_golang/prometheus"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stage is a hub with pages, a carrier and some apps.
type stage struct {
	testing.TB
	*core.Hub
	pages *web.Web
	log   *bytes.Buffer
}

func newStage(t testing.TB, issuer string) *stage {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "hub.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	s := &stage{TB: t, log: &bytes.Buffer{}}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s.Hub, err = core.New(ctx, core.Options{Store: db, Keys: seal.Generate(), Calendar: huanxin.ChinaCalendar(), Durations: huanxin.DefaultDurations(), Log: quiet})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	for _, p := range []huanxin.Party{
		{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90, NameZh: "移动", NameEn: "Mobile"},
		{ID: "chat", Kind: huanxin.AppParty, Class: "social", NameZh: "聊聊", NameEn: "Chat", Kinds: []huanxin.TaskKind{huanxin.Unbind}},
		{ID: "pay", Kind: huanxin.AppParty, Class: "payment", NameZh: "付付", NameEn: "Pay", Kinds: []huanxin.TaskKind{huanxin.Unbind}},
		{ID: "later", Kind: huanxin.AppParty, Class: "tools", NameZh: "以后", NameEn: "Later", NotJoined: true},
	} {
		must(t, s.PutParty(ctx, core.Operator(), p, false))
	}
	keys, err := s.SigningKeys(ctx)
	must(t, err)
	ring, err := auth.NewKeyRing(keys...)
	must(t, err)
	in := signin.New(signin.Options{Carriers: []signin.Carrier{{Party: "cmcc", Issuer: "http://127.0.0.1:1"}}, RedirectURL: func(string) string { return "" },
		Seal: s.SealTransient, Open: s.OpenTransient, Log: quiet})
	s.pages = web.New(web.Options{Hub: s.Hub, SignIn: in, Ring: ring, Issuer: issuer, Carriers: []string{"https://id.cmcc.example"}, Registry: prometheus.NewRegistry(), Start: true,
		Log: slog.New(slog.NewTextHandler(s.log, nil))})
	return s
}

func (s *stage) party(id string) huanxin.Caller {
	p := s.Party(id)
	return huanxin.Caller{Party: p, Client: id, Scopes: huanxin.ScopesOf(p.Kind)}
}

// holder begins a tenure two days ago, and signs its holder in with an identity factor.
func (s *stage) holder(i int, origin huanxin.TenureOrigin) (token string, who huanxin.Caller) {
	s.Helper()
	n, at := huanxin.NumberOf(uint64(8613800000000+i)), time.Now().Add(-48*time.Hour).Truncate(time.Second)
	e := huanxin.Event{ID: n.E164(), Number: n, Kind: huanxin.Activated, At: at, Origin: huanxin.ActivatedReassigned}
	if origin == huanxin.OriginFirst {
		e.Origin = huanxin.ActivatedFirst
	}
	r, err := s.ReportEvents(context.Background(), s.party("cmcc"), func(yield func(core.EventLine, error) bool) { yield(core.EventLine{Line: 1, Event: e}, nil) }, time.Time{})
	must(s, err)
	if r.Accepted != 1 {
		s.Fatalf("%+v", r)
	}
	in, err := s.SignIn(context.Background(), "r", core.SignedIn{Carrier: "cmcc", Number: n, StartedAt: at, Origin: origin,
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityIDCard, VerifiedAt: time.Now()}, IdentityAt: time.Now()})
	must(s, err)
	return in.Token, in.Caller
}

// get and post ask for a page as the holder of a token.
func (s *stage) get(path, token string, header ...string) *httptest.ResponseRecorder {
	s.Helper()
	return s.do(httptest.NewRequest("GET", path, nil), token, header...)
}

func (s *stage) post(path, token string, form url.Values, header ...string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(r, token, header...)
}

func (s *stage) do(r *http.Request, token string, header ...string) *httptest.ResponseRecorder {
	s.Helper()
	if token != "" {
		r.AddCookie(&http.Cookie{Name: "holder", Value: token})
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.pages.ServeHTTP(w, r)
	return w
}

// submits has a holder ask one app, and gives the path of the request.
func (s *stage) submits(token, app string) string {
	s.Helper()
	w := s.post("/apps", token, url.Values{"app": {app}, "kind": {"unbind"}, "do": {"next"}})
	draft := w.Header().Get("Location")
	if w = s.post(draft, token, url.Values{"agree": {"1"}}); !strings.HasPrefix(w.Header().Get("Location"), "/requests/") {
		s.Fatalf("%s %d %s: %s", draft, w.Code, w.Header().Get("Location"), w.Body)
	}
	return w.Header().Get("Location")
}

// Rule 4 of DOMAIN.md §7: to the holder the three are one.
func TestUnboundNotBoundAndKeptAsOnesOwnAreOnePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "http://127.0.0.1:8080")
		answers := []struct {
			o huanxin.Outcome
			r huanxin.Reason
		}{{huanxin.Unbound, huanxin.Removed}, {huanxin.NotBound, huanxin.NoneFound}, {huanxin.Kept, huanxin.BoundByCurrentHolder}}
		var paths, tokens []string
		for i := range answers {
			token, _ := s.holder(i, huanxin.OriginReassigned)
			tokens, paths = append(tokens, token), append(paths, s.submits(token, "chat"))
		}
		tasks, err := s.Tasks(context.Background(), s.party("chat"), 0, "", 10)
		must(t, err)
		for i, k := range tasks {
			a := answers[int(k.Number.Digits()%10)]
			time.Sleep(time.Duration(i) * time.Minute) // nor may the time of the answer show
			_, err := s.Answer(context.Background(), s.party("chat"), core.TaskAnswer{Task: k.ID, TenureID: k.TenureID, Digest: k.Digest, Answer: huanxin.Answer{Outcome: a.o, Reason: a.r}})
			must(t, err)
		}
		same := func(when string) string {
			t.Helper()
			var first string
			for i, path := range paths {
				page := s.get(path, tokens[i])
				body := strings.ReplaceAll(page.Body.String(), strings.TrimPrefix(path, "/requests/"), "REQUEST")
				if page.Code != 200 || page.Header().Get("ETag") != "" {
					t.Errorf("%s: %d %v", when, page.Code, page.Header())
				}
				if i == 0 {
					first = body
				} else if body != first {
					t.Errorf("%s: the page of %v differs:\n%s\n%s", when, answers[i].o, first, body)
				}
			}
			return first
		}
		if page := same("before the release"); !strings.Contains(page, "处理中") {
			t.Errorf("%s", page)
		}
		for range 200 { // keep the sessions in use until the release
			time.Sleep(5 * time.Minute)
			for i := range tokens {
				if again, err := s.HolderSession(context.Background(), "r", tokens[i]); err == nil && again.Token != "" {
					tokens[i] = again.Token
				} else if err != nil {
					tokens[i], _ = s.again(i)
				}
			}
		}
		if page := same("after the release"); !strings.Contains(page, "已清理") || strings.Contains(page, "处理中") {
			t.Errorf("%s", page)
		}
	})
}

// again signs a holder in anew.
func (s *stage) again(i int) (token string, who huanxin.Caller) {
	s.Helper()
	n := huanxin.NumberOf(uint64(8613800000000 + i))
	in, err := s.SignIn(context.Background(), "r", core.SignedIn{Carrier: "cmcc", Number: n, StartedAt: began.Add(-48 * time.Hour).Truncate(time.Second), Origin: huanxin.OriginReassigned,
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, VerifiedAt: time.Now()}})
	must(s, err)
	return in.Token, in.Caller
}

// began is when a bubble of synctest begins.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestNothingAboutANumberIsToldBeforeSignIn(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, _ := s.holder(1, huanxin.OriginReassigned)
	request := s.submits(token, "chat")
	for _, path := range []string{"/number", "/apps", "/requests", request, "/certificate", request + "/events"} {
		if w := s.get(path, ""); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/sign-in?back=") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if w := s.get(path, "made-up"); w.Code != 303 {
			t.Errorf("%s with a made-up token: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/apps", "/certificate", request, request + "/cancel", "/sign-out"} {
		if w := s.post(path, "", url.Values{}); w.Code != 401 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	other, _ := s.holder(2, huanxin.OriginReassigned)
	for _, path := range []string{request, request + "/events", "/confirm/drf_00000000000000000000000000"} {
		if w := s.get(path, other); w.Code != 404 {
			t.Errorf("%s of another's: %d", path, w.Code)
		}
	}
}

func TestEveryPageHasTheHeadersThatKeepOthersOut(t *testing.T) {
	for issuer, secure := range map[string]bool{"http://127.0.0.1:8080": false, "https://hub.example": true} {
		s := newStage(t, issuer)
		for _, path := range []string{"/home", "/sign-in", "/verify", "/former", "/cancelling", "/nothing", "/requests/x"} {
			w := s.get(path, "")
			h := w.Header()
			policy := "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
			if path == "/sign-in" {
				policy += " https: https://id.cmcc.example"
			}
			if h.Get("Content-Security-Policy") != policy ||
				h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || (h.Get("Strict-Transport-Security") != "") != secure {
				t.Errorf("%s: %v", path, h)
			}
		}
		w := s.post("/preferences", "", url.Values{"lang": {"en"}, "back": {"//evil.example"}})
		if w.Header().Get("Location") != "/home" {
			t.Errorf("it leads to %s", w.Header().Get("Location"))
		}
		if c := w.Result().Cookies(); len(c) != 1 || !c[0].HttpOnly || c[0].Secure != secure || c[0].SameSite != http.SameSiteLaxMode {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnotherSiteCanSendNothing(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, who := s.holder(1, huanxin.OriginReassigned)
	pick := url.Values{"app": {"chat"}, "kind": {"unbind"}, "do": {"next"}}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		if w := s.post("/apps", token, pick, header...); w.Code != 403 || !strings.Contains(w.Body.String(), "为了安全,没有接受") {
			t.Errorf("%v: %d %s", header, w.Code, w.Body)
		}
	}
	// An old browser, or any over plain http, says nothing but Origin: the pages' referrer policy lets it be true.
	if w := s.post("/apps", token, pick, "Origin", "http://example.com"); w.Code != 303 {
		t.Errorf("our own page: %d %s", w.Code, w.Body)
	}
	all, err := s.HolderRequests(context.Background(), who)
	must(t, err)
	if len(all) != 0 {
		t.Error("a request was made")
	}
}

func TestEveryRefusalSaysWhyAndWhatToDo(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, _ := s.holder(1, huanxin.OriginReassigned)
	first, _ := s.holder(2, huanxin.OriginFirst)
	s.submits(token, "chat")
	pick := func(v ...string) url.Values {
		out := url.Values{"do": {"next"}}
		for i := 0; i+1 < len(v); i += 2 {
			out.Add(v[i], v[i+1])
		}
		return out
	}
	for what, c := range map[string]struct {
		answer *httptest.ResponseRecorder
		status int
		says   string
	}{
		"no app":            {s.post("/apps", token, pick("kind", "unbind")), 422, "至少勾选一个应用"},
		"nothing to ask":    {s.post("/apps", token, pick("app", "chat")), 422, "至少选一件"},
		"an unknown kind":   {s.post("/apps", token, pick("app", "chat", "kind", "steal")), 400, "没有看懂"},
		"too many requests": {s.post("/apps", token, pick("app", "pay", "kind", "unbind")), 422, "申请太频繁"},
		"first use":         {s.post("/apps", first, pick("app", "pay", "kind", "unbind")), 422, "以前没有人用过"},
		"an unknown app":    {s.post("/apps", first, pick("app", "nobody", "kind", "clear_label")), 422, "没有加入"},
		"not joined":        {s.post("/apps", first, pick("app", "later", "kind", "clear_label")), 422, "没有加入"},
		"no such carrier":   {s.post("/sign-in/nobody", "", url.Values{}), 404, "没有看懂"},
		"a carrier is down": {s.post("/sign-in/cmcc", "", url.Values{}), 503, "暂时打不开"},
		"a forged return":   {s.get("/sign-in/cmcc/callback?code=x&state=y", ""), 422, "过期了"},
		"no such page":      {s.get("/requests/none", token), 404, "没有这个页面"},
	} {
		if c.answer.Code != c.status || !strings.Contains(c.answer.Body.String(), c.says) {
			t.Errorf("%s: %d, not %d with %q: %s", what, c.answer.Code, c.status, c.says, c.answer.Body)
		}
	}
	if w := s.post("/apps", token, url.Values{"want": {"later"}}); !strings.Contains(w.Body.String(), "已有 1 人希望加入") || strings.Contains(w.Body.String(), "告诉监管部门") {
		t.Errorf("%s", w.Body)
	}
}

var anyNumber = regexp.MustCompile(`1380000000[0-9]`)

func TestNoNumberIsInALogOrAnAddress(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, _ := s.holder(1, huanxin.OriginReassigned)
	request := s.submits(token, "chat")
	for _, w := range []*httptest.ResponseRecorder{s.get(request, token), s.get("/number", token), s.post("/former", "", url.Values{"number": {"13800000001"}, "app": {"聊聊"}, "what": {"locked_out"}}),
		s.post("/certificate", token, url.Values{"number": {"full"}, "since": {"day"}}), s.get("/sign-in?back=/13800000001", "")} {
		if anyNumber.MatchString(w.Header().Get("Location")) {
			t.Errorf("%v", w.Header())
		}
	}
	if anyNumber.MatchString(s.log.String()) || strings.Contains(s.log.String(), token) || !strings.Contains(s.log.String(), "path=/requests/{id}") {
		t.Errorf("%s", s.log)
	}
}

// The same answer whatever is true of the number: to every byte, but for what was asked.
func TestAFormerHolderLearnsNothingOfANumber(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	s.holder(1, huanxin.OriginReassigned)
	var first string
	for _, number := range []string{"13800000001", "13800000007", "+86 138 0000 0001", "13800000001"} {
		w := s.post("/former", "", url.Values{"number": {number}, "app": {"聊聊"}, "what": {"used_by_other"}})
		if w.Code != 200 || !strings.Contains(w.Body.String(), "已经收到") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if first == "" {
			first = w.Body.String()
		}
		if w.Body.String() != first {
			t.Errorf("%s: another page", number)
		}
	}
	if w := s.post("/former", "", url.Values{"number": {"13800000001"}, "app": {"没有"}, "what": {"locked_out"}}); w.Code != 422 || !strings.Contains(w.Body.String(), "没有找到叫") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What the page promises of a report is what becomes of it.
func TestAFormerHolderIsToldWhoGetsTheReport(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	for lang, says := range map[string]string{"zh": "应用不会自动收到", "en": "the app does not get it by itself"} {
		if w := s.get("/former", "", "Cookie", "lang="+lang); !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %s", lang, w.Body)
		}
		if w := s.post("/former", "", url.Values{"number": {"13800000001"}, "app": {"聊聊"}, "what": {"used_by_other"}}, "Cookie", "lang="+lang); !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %s", lang, w.Body)
		}
	}
	apps, err := s.Cases(t.Context(), s.party("chat"), "", 10)
	must(t, err)
	all, err := s.Cases(t.Context(), core.Operator(), "", 10)
	must(t, err)
	if len(apps) != 0 || len(all) != 2 {
		t.Errorf("the app sees %+v, the operator %+v", apps, all)
	}
}

func TestAFloodOfReportsIsHeldBackWhateverTheNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "http://127.0.0.1:8080")
		before, last := 0, 0
		for i := range 1201 {
			before = last
			last = s.post("/former", "", url.Values{"number": {fmt.Sprint(13800000000 + i)}, "app": {"聊聊"}, "what": {"locked_out"}}).Code
		}
		if before != 200 || last != 429 {
			t.Errorf("the last reports of a minute: %d, %d", before, last)
		}
		time.Sleep(time.Minute)
		if w := s.post("/former", "", url.Values{"number": {"13800000001"}, "app": {"聊聊"}, "what": {"locked_out"}}); w.Code != 200 {
			t.Errorf("a minute later: %d", w.Code)
		}
	})
}

func TestACertificateIsCheckedFromItsTextAndBadOnesAreRefused(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, _ := s.holder(1, huanxin.OriginReassigned)
	made := s.post("/certificate", token, url.Values{"number": {"last_four"}, "since": {"year"}}).Body.String()
	text := regexp.MustCompile(`class="token">([^<]+)<`).FindStringSubmatch(made)
	if text == nil || anyNumber.MatchString(made) {
		t.Fatalf("%s", made)
	}
	check := func(field, content string) *httptest.ResponseRecorder {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile(field, "x")
		must(t, err)
		_, err = part.Write([]byte(content))
		must(t, err)
		must(t, form.Close())
		r := httptest.NewRequest("POST", "/verify", &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		return s.do(r, "")
	}
	for what, c := range map[string]struct {
		field, content string
		status         int
		says           string
	}{
		"the text": {"text", text[1], 200, "证明有效"}, "another": {"text", "hello", 422, "不是本服务开具的证明"}, "nothing": {"text", "", 422, "请粘贴文字"},
		"no picture": {"photo", "hello", 422, "没有找到二维码"}, "a huge picture": {"photo", strings.Repeat("x", 9<<20), 413, "最大 8 MB。请"},
		"one beyond all measure": {"photo", strings.Repeat("x", 65<<20), 413, "最大 8 MB。请"},
	} {
		if w := check(c.field, c.content); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	if w := s.post("/verify", "", url.Values{"text": {text[1]}}); w.Code != 400 {
		t.Errorf("another kind of form: %d", w.Code)
	}
	if w := s.post("/certificate", token, url.Values{"since": {"second"}}); w.Code != 400 {
		t.Errorf("a precision that there is not: %d", w.Code)
	}
}

func TestAFormThatIsTooLongIsRefused(t *testing.T) {
	s := newStage(t, "http://127.0.0.1:8080")
	token, _ := s.holder(1, huanxin.OriginReassigned)
	if w := s.post("/apps", token, url.Values{"app": {strings.Repeat("x", 1<<20)}}); w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
}
