package web_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// follows goes to where an answer leads, with its cookies.
func (s *stage) follows(w *httptest.ResponseRecorder, token string) string {
	s.Helper()
	if w.Code != 303 {
		s.Fatalf("it leads nowhere: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("GET", w.Header().Get("Location"), nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	page := s.do(r, token)
	if page.Code != 200 {
		s.Fatalf("%d %s", page.Code, page.Body)
	}
	return page.Body.String()
}

var buttonValue = regexp.MustCompile(`name="again" value="([^"]+)"`)

func TestAskingAgainTwiceDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "http://127.0.0.1:8080")
		token, _ := s.holder(0, huanxin.OriginReassigned)
		request := s.submits(token, "chat")
		tasks := func() []core.AppTask {
			all, err := s.Tasks(t.Context(), s.party("chat"), 0, "", 10)
			must(t, err)
			return all
		}
		k := tasks()[0]
		_, err := s.Answer(t.Context(), s.party("chat"), core.TaskAnswer{Task: k.ID, TenureID: k.TenureID, Digest: k.Digest, Answer: huanxin.Answer{Outcome: huanxin.Kept, Reason: huanxin.LegalHold}})
		must(t, err)
		time.Sleep(48 * time.Hour)
		token, _ = s.again(0)
		button := buttonValue.FindStringSubmatch(s.get(request, token).Body.String())
		if button == nil {
			t.Fatal("it cannot be asked again")
		}
		for form, says := range map[string][2]string{"complain": {"投诉已经记下", "投诉已经记下"}, "again": {"已经再次向应用提出", "已经向这个应用提出过了"}} {
			for _, words := range says {
				if page := s.follows(s.post(request, token, url.Values{form: {button[1]}}), token); !strings.Contains(page, words) {
					t.Errorf("%s: no %s: %s", form, words, page)
				}
				if page := s.get(request, token).Body.String(); strings.Contains(page, words) {
					t.Errorf("%s: loaded again it says so once more", form)
				}
			}
		}
		open := 0
		for _, k := range tasks() {
			if k.State.Open() {
				open++
			}
		}
		if open != 1 {
			t.Errorf("%d tasks are open", open)
		}
		if w := s.post(request, token, url.Values{"again": {"task_x"}}); w.Code != 404 {
			t.Errorf("another task: %d", w.Code)
		}
	})
}
