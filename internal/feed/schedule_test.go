package feed_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

// net stands for the network in a bubble of synctest: it answers every push.
type network struct {
	testing.TB
	answer func(n int, g got) (status int, header http.Header)

	lock  sync.Mutex
	times []time.Time
	seen  []got
	taken []got
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	g := read(n, r)
	n.lock.Lock()
	defer n.lock.Unlock()
	n.times, n.seen = append(n.times, time.Now()), append(n.seen, g)
	status, header := n.answer(len(n.seen), g)
	if status == 0 {
		return nil, fmt.Errorf("connection refused")
	}
	if status < 300 {
		n.taken = append(n.taken, g)
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(&bytes.Buffer{}), Request: r}, nil
}

func (n *network) of(jti string) (times []time.Time) {
	n.lock.Lock()
	defer n.lock.Unlock()
	for i, g := range n.seen {
		if g.jti == jti {
			times = append(times, n.times[i])
		}
	}
	return times
}

func (n *network) counts() (seen, taken int) {
	n.lock.Lock()
	defer n.lock.Unlock()
	return len(n.seen), len(n.taken)
}

// bubble runs a test in a bubble of synctest, with a stream of the app chat that is pushed to n. run pushes it for a time.
func bubble(t *testing.T, n *network, test func(t *testing.T, s *stage, stream string, run func(time.Duration))) {
	synctest.Test(t, func(t *testing.T) {
		n.TB = t
		s := newStage(t, "")
		s.client = &http.Client{Transport: n}
		s.feed = s.newFeed(feed.Times{})
		stream := s.pushTo("chat", "http://127.0.0.1:9/")
		id := s.ids(stream)
		test(t, s, stream, func(d time.Duration) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { s.feed.PushOnly(ctx, id) })
			time.Sleep(d)
			cancel()
			wg.Wait()
		})
	})
}

func (s *stage) ids(stream string) huanxin.StreamID {
	s.Helper()
	all, err := s.FeedFigures(context.Background())
	must(s, err)
	for _, f := range all {
		if s.StreamName(f.Stream) == stream {
			return f.Stream
		}
	}
	s.Fatal("no such stream")
	return 0
}

// slack is how much later than due a push comes: results are saved together.
const slack = 100 * time.Millisecond

func TestASETIsTriedForThreeDaysAndThenItsStreamIsPaused(t *testing.T) {
	t.Parallel()
	for what, begin := range map[string]func(s *stage, stream string){
		"an event": func(s *stage, _ string) { s.recycle(1, 1) },
		"a verification": func(s *stage, stream string) {
			must(s, s.VerifyStream(context.Background(), s.as("chat"), stream, "state"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			n := &network{answer: func(int, got) (int, http.Header) { return 0, nil }}
			bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
				begin(s, stream)
				began := time.Now()
				run(huanxin.PushFor + 10*time.Minute)
				first := n.seen[0].jti
				times := n.of(first)
				want := time.Second
				for i := 1; i < len(times); i++ {
					wait := times[i].Sub(times[i-1])
					if low, high := want, want+want/4; want < 5*time.Minute && (wait < low || wait > high+slack) || want == 5*time.Minute && (wait < want-want/4 || wait > want+slack) {
						t.Fatalf("the %d. retry comes after %v, not %v", i, wait, want)
					}
					want = min(2*want, 5*time.Minute)
				}
				// What was due within the three days waits for the next probe of a receiver that is down: at most five minutes.
				if last := times[len(times)-1].Sub(began); last > huanxin.PushFor+5*time.Minute || last < huanxin.PushFor-6*time.Minute || len(times) < 800 {
					t.Errorf("%d times it was tried, the last after %v", len(times), last)
				}
				if codes := s.dead(stream); len(codes) != 1 || codes[0] != "undeliverable" {
					t.Errorf("dead letters: %v", codes)
				}
				if got := s.status("chat", stream); got != "paused nothing could be delivered for 72 hours" {
					t.Errorf("the stream is %s", got)
				}
				if last := n.seen[len(n.seen)-1]; last.typ != "stream-updated" {
					t.Errorf("the last that was tried is %v", last)
				}
			})
		})
	}
}

func TestOneSETThatNeverComesThroughHoldsUpNoOtherNumber(t *testing.T) {
	t.Parallel()
	n := &network{answer: func(_ int, g got) (int, http.Header) {
		if g.number == number(1).E164() {
			return 500, nil
		}
		return 202, nil
	}}
	bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
		s.recycle(1, 1)
		run(time.Minute) // it alone fails, so its receiver seems to be down
		s.recycle(2, 200)
		s.release(1, 1)
		run(5 * time.Minute)
		if _, taken := n.counts(); taken != 200 {
			t.Errorf("%d of 200 came", taken)
		}
		for day := range 4 {
			s.recycle(300+day, 1)
			run(24 * time.Hour)
		}
		if codes := s.dead(stream); len(codes) != 1 || codes[0] != "undeliverable" || s.status("chat", stream) != "enabled" {
			t.Errorf("dead letters: %v; the stream is %s", codes, s.status("chat", stream))
		}
		// What came after it of the same number is tried in its turn.
		if last := n.seen[len(n.seen)-1]; last.String() != "number-released "+number(1).E164() {
			t.Errorf("the last that was tried is %v", last)
		}
	})
}

func TestAReceiverThatIsDownIsAskedByOnePushAtATimeAndThenHasAll(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	n := &network{answer: func(int, got) (int, http.Header) {
		if up.Load() {
			return 202, nil
		}
		return 0, nil
	}}
	bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
		s.recycle(1, 500)
		run(time.Hour)
		if seen, _ := n.counts(); seen > 30 {
			t.Errorf("it was tried %d times in an hour", seen)
		}
		up.Store(true)
		run(6 * time.Minute)
		if _, taken := n.counts(); taken != 500 || s.unsettled(stream) != 0 {
			t.Errorf("%d of 500 came, %d are left", taken, s.unsettled(stream))
		}
	})
}

func TestAVerificationIsTriedAtOnceThoughTheReceiverWasDown(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	n := &network{answer: func(int, got) (int, http.Header) {
		if up.Load() {
			return 202, nil
		}
		return 0, nil
	}}
	bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
		s.recycle(1, 20)
		follow, stop := context.WithCancel(t.Context())
		defer stop()
		var verifying sync.WaitGroup
		verifying.Go(func() {
			time.Sleep(2 * time.Hour)
			up.Store(true)
			began := time.Now()
			must(t, s.VerifyStream(t.Context(), s.as("chat"), stream, "state"))
			time.Sleep(5 * time.Second)
			n.lock.Lock()
			defer n.lock.Unlock()
			if len(n.taken) == 0 || n.taken[0].typ != "verification" || n.times[len(n.seen)-len(n.taken)].Sub(began) > time.Second {
				t.Errorf("within 5 s came %v", n.taken)
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() { s.feed.FollowOnly(follow) })
		run(2*time.Hour + 10*time.Second)
		verifying.Wait()
		stop()
		wg.Wait()
	})
}

func TestAReceiverIsLeftAloneForAsLongAsItAsksFor(t *testing.T) {
	t.Parallel()
	for status, header := range map[int]func(time.Time) string{
		429: func(time.Time) string { return "120" },
		503: func(now time.Time) string { return now.Add(2 * time.Minute).UTC().Format(http.TimeFormat) },
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			n := &network{answer: func(n int, g got) (int, http.Header) {
				if n == 1 {
					return status, http.Header{"Retry-After": {header(time.Now())}}
				}
				return 202, nil
			}}
			bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
				s.recycle(1, 1)
				seen := 0
				var meanwhile sync.WaitGroup
				meanwhile.Go(func() {
					time.Sleep(time.Minute)
					s.recycle(2, 10)
					time.Sleep(50 * time.Second)
					seen, _ = n.counts()
				})
				run(4 * time.Minute)
				meanwhile.Wait()
				_, taken := n.counts()
				if seen != 1 || taken != 11 {
					t.Errorf("%d pushes while it wants to be left alone, %d came afterwards", seen, taken)
				}
				if wait := n.times[1].Sub(n.times[0]); wait < 119*time.Second {
					t.Errorf("the next came after %v", wait)
				}
			})
		})
	}
}

func TestAStreamThatIsDisabledWhileItFailsIsNotPushed(t *testing.T) {
	t.Parallel()
	n := &network{answer: func(int, got) (int, http.Header) { return 0, nil }}
	bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
		s.recycle(1, 3)
		run(10 * time.Second)
		_, err := s.SetStreamStatus(t.Context(), s.as("chat"), stream, huanxin.StreamDisabled, "")
		must(t, err)
		before, _ := n.counts()
		run(time.Hour)
		if after, _ := n.counts(); after != before {
			t.Errorf("%d pushes of a disabled stream", after-before)
		}
	})
}

func TestADeadLetterThatIsSentAgainIsTriedAnew(t *testing.T) {
	t.Parallel()
	n := &network{answer: func(n int, _ got) (int, http.Header) { return 0, nil }}
	bubble(t, n, func(t *testing.T, s *stage, stream string, run func(time.Duration)) {
		s.recycle(1, 1)
		run(huanxin.PushFor + 10*time.Minute)
		jti := n.seen[0].jti
		n.answer = func(int, got) (int, http.Header) { return 202, nil }
		must(t, s.EnableStream(t.Context(), core.Operator(), stream, ""))
		_, err := s.ReplayDead(t.Context(), core.Operator(), stream)
		must(t, err)
		run(time.Minute)
		var words []string
		for _, g := range n.taken {
			words = append(words, g.typ)
			if g.typ == "identifier-recycled" && g.jti != jti {
				t.Error("it came with another id")
			}
		}
		slices.Sort(words)
		if got := strings.Join(words, " "); got != "identifier-recycled stream-updated stream-updated" {
			t.Errorf("then came %s", got)
		}
	})
}
