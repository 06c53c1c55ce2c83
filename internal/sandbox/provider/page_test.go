package provider

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

func TestAnEarlierSignInCountsOnlyForWhoHadTheNumberThen(t *testing.T) {
	number, now := huanxin.NumberOf(8613800000001), time.Now()
	for what, c := range map[string]struct {
		began time.Time
		asks  string
	}{"the same holder": {now.Add(-time.Hour), "name"}, "the next one": {now.Add(-time.Minute), "number"}} {
		p, err := New(Options{Path: "/carriers/cmcc", Issuer: "http://127.0.0.1/carriers/cmcc", Key: auth.NewSigningKey(time.Time{}),
			Person: func(huanxin.Number) (Person, bool) { return Person{Number: number, StartedAt: c.began}, true }})
		if err != nil {
			t.Fatal(err)
		}
		age := uint(540)
		p.add(&request{id: "r", asked: &oidc.AuthRequest{ACRValues: []string{IdentityACR}, MaxAge: &age}, begun: now})
		p.browsers["b"] = proof{number, now.Add(-2 * time.Minute)}
		r := httptest.NewRequest("GET", "/carriers/cmcc/sign-in?request=r", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: "b"})
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `<input id="`+c.asks+`"`) {
			t.Errorf("%s is not asked for the %s: %s", what, c.asks, w.Body)
		}
	}
}
