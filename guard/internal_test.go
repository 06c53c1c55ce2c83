package guard

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

func TestAHubThatWentBackIsNoticedAfterHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h highWater
		see := func(asOf int64, want bool) {
			t.Helper()
			if h.observe(asOf, time.Now()) != want {
				t.Errorf("%d is good: %v", asOf, !want)
			}
		}
		see(100, true)
		see(98, true) // another hub of the same service, a moment behind
		time.Sleep(settleAfter)
		see(101, true)
		see(98, true)
		time.Sleep(settleAfter)
		see(101, true)
		see(98, false)
		see(99, false)
		see(100, true)
		time.Sleep(time.Hour)
		see(50, false)
		see(101, true)
		time.Sleep(time.Hour)
		see(100, false)
	})
}

func TestAHubThatWentBackIsNotBelieved(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth2/token" {
			_, _ = io.WriteString(w, `{"access_token":"t","expires_in":900}`)
			return
		}
		_, _ = io.WriteString(w, `{"as_of":99,"results":[{"outcome":"UNCHANGED"}]}`)
	}))
	t.Cleanup(web.Close)
	g, err := Open(t.Context(), Options{Hub: client.New(client.Options{URL: web.URL, ID: "a", Secret: "b"}), Deadline: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	q := Question{Number: huanxin.NumberOf(8613800000001), BoundAt: huanxin.Exactly(time.Now())}
	g.hub.water.settled = 100
	if d := g.Decide(t.Context(), q); d.Reason != huanxin.GuardHubBehind || d.Access != huanxin.StepUp {
		t.Errorf("%+v", d)
	}
	g.hub.water.settled = 99
	if d := g.Decide(t.Context(), q); d.Access != huanxin.Allow {
		t.Errorf("%+v", d)
	}
}

func TestABreakerOpensForLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		fail := func(wantOpened bool) {
			t.Helper()
			if !b.enter(time.Now()) {
				t.Fatal("it is open")
			}
			if opened, _ := b.done(false, 0, time.Now()); opened != wantOpened {
				t.Error("opened:", opened)
			}
		}
		for i := range failuresToOpen {
			fail(i == failuresToOpen-1)
		}
		for pause := firstPause; pause < 4*longestPause; pause *= 2 {
			if b.enter(time.Now()) {
				t.Fatal("it is not open")
			}
			time.Sleep(min(pause, longestPause) * 3 / 2)
			if !b.enter(time.Now()) {
				t.Fatal("nobody may look whether the hub is back")
			}
			if b.enter(time.Now()) {
				t.Error("two look")
			}
			b.done(false, 0, time.Now())
		}
		time.Sleep(2 * longestPause)
		if !b.enter(time.Now()) {
			t.Fatal("nobody may look")
		}
		if _, closed := b.done(true, 0, time.Now()); !closed || b.open(time.Now()) {
			t.Error("it does not close")
		}
		fail(false)
		if b.open(time.Now()) {
			t.Error("one failure opens it again")
		}
	})
}

func TestACacheForgetsTheOldestFirst(t *testing.T) {
	s := newSealer()
	c := newCache(time.Minute, 3, s)
	at := func(i int) sealed { return s.seal(huanxin.NumberOf(uint64(8613800000000 + i))) }
	for i := range 5 {
		c.put(at(i), times{}, verdict{access: huanxin.Allow, at: time.Now()}, c.begin())
	}
	for i := range 5 {
		if _, ok := c.get(at(i), times{}, time.Now()); ok != (i >= 2) {
			t.Errorf("number %d: %v", i, ok)
		}
	}
	if len(c.entries) != 3 || len(c.ring) != 3 {
		t.Errorf("%d entries, a ring of %d", len(c.entries), len(c.ring))
	}
	if _, ok := c.get(at(4), times{first: 1}, time.Now()); ok {
		t.Error("it answers for other times")
	}
	if _, ok := c.get(at(4), times{}, time.Now().Add(time.Minute+time.Second)); ok {
		t.Error("it answers for longer than it may")
	}
	// The clock is put back by an hour: the monotonic one goes on.
	if _, ok := c.get(at(4), times{}, time.Now().Add(time.Minute+time.Second).Round(0)); ok {
		t.Error("it trusts a clock on the wall less than it should")
	}
	// An answer of an earlier position that comes late leaves nothing.
	c.put(at(4), times{}, verdict{asOf: 9, at: time.Now()}, c.begin())
	c.put(at(4), times{}, verdict{access: huanxin.Allow, asOf: 8, at: time.Now()}, c.begin())
	if v, ok := c.get(at(4), times{}, time.Now()); ok {
		t.Errorf("%+v", v)
	}
}

func TestNumbersAreSealedEachToAnother(t *testing.T) {
	a, b := newSealer(), newSealer()
	n := huanxin.NumberOf(8613800000001)
	if first := a.seal(n); first != a.seal(n) || a.seal(n) == b.seal(n) || a.seal(n) == a.seal(huanxin.NumberOf(8613800000002)) {
		t.Error("a seal is not one of its key and number")
	}
}
