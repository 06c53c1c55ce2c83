package feed_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/outbound"
)

// bell is where wake-ups go. It answers the n-th with a status.
type bell struct {
	*httptest.Server
	lock   sync.Mutex
	rung   []string
	flying int
	most   int
}

func (s *stage) bell(status func(n int) int) *bell {
	b := &bell{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.lock.Lock()
		b.rung = append(b.rung, string(body))
		n := len(b.rung)
		b.flying++
		b.most = max(b.most, b.flying)
		b.lock.Unlock()
		w.WriteHeader(status(n))
		b.lock.Lock()
		b.flying--
		b.lock.Unlock()
	}))
	s.Cleanup(b.Close)
	return b
}

func (b *bell) count() int {
	b.lock.Lock()
	defer b.lock.Unlock()
	return len(b.rung)
}

// waking makes an app with a stream that is polled, whose receiver wants to be woken.
func (s *stage) waking(app string, b *bell) string {
	s.Helper()
	s.app(app)
	made, err := s.CreateStream(context.Background(), s.as(app), issuer, huanxin.StreamDoc{WakeUp: huanxin.Give(b.URL + "/wake")}, core.Once{})
	must(s, err)
	return made.ID
}

func ok(int) int { return http.StatusNoContent }

func TestAReceiverIsWokenWhenThereIsSomethingToPollAndNobodyPolls(t *testing.T) {
	onEach(t, func(t *testing.T, s *stage) {
		b := s.bell(ok)
		stream := s.waking("chat", b)
		s.feed = s.newFeed(feed.Times{WakeUp: 50 * time.Millisecond})
		s.run()
		time.Sleep(200 * time.Millisecond)
		if b.count() != 0 {
			t.Error("it is woken for nothing")
		}
		s.recycle(1, 1)
		s.eventually("it is woken", func() bool { return b.count() > 0 })
		signed, err := jwt.ParseSigned(b.rung[0], []jose.SignatureAlgorithm{jose.ES256})
		must(t, err)
		if typ := signed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != outbound.TypWebhook {
			t.Errorf("typ is %v", typ)
		}
		set := s.ring.JWKS(time.Now())
		var claims map[string]any
		must(t, signed.Claims(set.Key(signed.Headers[0].KeyID)[0].Key, &claims))
		if claims["stream_id"] != stream || claims["iss"] != issuer || claims["aud"] != b.URL+"/wake" || len(claims) != 6 {
			t.Errorf("it says %v", claims)
		}
		if text := b.rung[0]; strings.Contains(text, "8613800") {
			t.Error("it holds a number")
		}
	})
}

func TestAReceiverThatPollsIsNotWoken(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	b := s.bell(ok)
	stream := s.waking("chat", b)
	s.feed = s.newFeed(feed.Times{Wait: 20 * time.Second, WakeUp: time.Millisecond})
	s.run()
	answered := make(chan int)
	waits := make(chan struct{})
	go func() {
		a, err := s.feed.Poll(t.Context(), s.as("chat"), stream, feed.PollRequest{Max: -1, Idle: func() (func(), bool) { close(waits); return func() {}, true }})
		if err != nil {
			t.Error(err)
		}
		answered <- a.Len()
	}()
	<-waits
	s.recycle(1, 1)
	if n := <-answered; n != 1 {
		t.Errorf("%d SETs", n)
	}
	time.Sleep(300 * time.Millisecond)
	if b.count() != 0 {
		t.Error("it is woken")
	}
}

func TestWakeUpsAreTriedAFewTimesOneAtATimeAndHoldUpNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	b := s.bell(func(n int) int {
		time.Sleep(50 * time.Millisecond)
		if n < 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	stream := s.waking("chat", b)
	s.feed = s.newFeed(feed.Times{WakeUp: time.Hour})
	s.run()
	for i := range 20 {
		s.recycle(1+i, 1)
	}
	a, err := s.feed.Poll(t.Context(), s.as("chat"), stream, feed.PollRequest{Max: 5, AtOnce: true})
	must(t, err)
	if a.Len() != 5 {
		t.Errorf("a poll meanwhile brings %d", a.Len())
	}
	s.eventually("it is tried three times", func() bool { return b.count() == 3 })
	time.Sleep(200 * time.Millisecond)
	if b.count() != 3 || b.most != 1 {
		t.Errorf("%d wake-ups within an hour, %d at once", b.count(), b.most)
	}
}
