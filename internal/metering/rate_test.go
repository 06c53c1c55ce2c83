package metering

import (
	"math/big"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// noon is in summer and in the middle of a day in China.
var noon = time.Date(2026, 7, 1, 4, 0, 0, 0, time.UTC)

func TestARateAllowsABurstAndThenItsPace(t *testing.T) {
	m, r := New(Config{}), Rate{PerSecond: 10, Burst: 5}
	for i := range 5 {
		if _, ok := m.Allow("a", r, 1, noon); !ok {
			t.Fatalf("call %d of the burst is refused", i+1)
		}
	}
	for _, c := range []struct {
		after time.Duration
		cost  int64
		wait  time.Duration
		ok    bool
	}{
		{0, 1, 100 * time.Millisecond, false},
		{99 * time.Millisecond, 1, time.Millisecond, false},
		{100 * time.Millisecond, 1, 0, true},
		{100 * time.Millisecond, 1, 100 * time.Millisecond, false},
		{100 * time.Millisecond, 3, 300 * time.Millisecond, false},
		{100 * time.Millisecond, 50, 500 * time.Millisecond, false},
		{100 * time.Millisecond, 0, 0, true},
		{100 * time.Millisecond, -3, 0, true},
		{400 * time.Millisecond, 3, 0, true},
		{900 * time.Millisecond, 50, 0, true}, // it owes nothing
		{901 * time.Millisecond, 1, 4599 * time.Millisecond, false},
		{5500 * time.Millisecond, 1, 0, true},
	} {
		if wait, ok := m.Allow("a", r, c.cost, noon.Add(c.after)); wait != c.wait || ok != c.ok {
			t.Errorf("after %v, %d checks: ok is %v, to wait %v; want %v, %v", c.after, c.cost, ok, wait, c.ok, c.wait)
		}
	}
	if _, ok := m.Allow("b", r, 5, noon); !ok {
		t.Error("another client pays for the first")
	}
	if f := m.Figures(noon); f.RateRefused != 6 || f.RateClients != 2 {
		t.Errorf("figures are %+v", f)
	}
}

func TestWithoutARateEverythingIsAllowed(t *testing.T) {
	m := New(Config{})
	for range 10 {
		if wait, ok := m.Allow("a", Rate{Burst: 1}, 1e12, noon); !ok || wait != 0 {
			t.Fatal("no limit, and refused")
		}
		if wait := m.Pace("a", Rate{}, 1e9, noon); wait != 0 {
			t.Fatal("no limit, and paced")
		}
	}
}

func TestADebtBeyondAllTimeIsNoOverflow(t *testing.T) {
	m, r := New(Config{}), Rate{PerSecond: 1e-9, Burst: 1}
	if _, ok := m.Allow("a", r, 1<<62, noon); !ok {
		t.Fatal("a client that owes nothing is refused")
	}
	if wait, ok := m.Allow("a", r, 1, noon); ok || wait <= 0 {
		t.Fatalf("ok is %v, to wait %v", ok, wait)
	}
}

func TestAClockThatIsSetBackDoesNotStopAClient(t *testing.T) {
	m, r := New(Config{}), Rate{PerSecond: 1, Burst: 1}
	m.Allow("a", r, 1, noon)
	back := noon.Add(-time.Hour)
	if _, ok := m.Allow("a", r, 1, back); ok {
		t.Error("setting the clock back pays off a debt")
	}
	if _, ok := m.Allow("a", r, 1, back.Add(time.Second)); !ok {
		t.Error("after the clock was set back by an hour, a second is not a second")
	}
	m.Allow("b", r, 1, noon)
	m.Allow("b", r, 1, noon.Add(-time.Second)) // overtaken by the other
	if _, ok := m.Allow("b", r, 1, noon.Add(time.Second/2)); ok {
		t.Error("half a second counts as more because of a call that was overtaken")
	}
}

// exact is the algorithm in rational numbers.
type exact struct {
	content, perSecond, burst *big.Rat
	at                        time.Time
}

func (e *exact) leak(now time.Time) {
	passed := new(big.Rat).SetFrac64(now.Sub(e.at).Nanoseconds(), 1e9)
	e.content.Sub(e.content, passed.Mul(passed, e.perSecond))
	if e.content.Sign() < 0 {
		e.content.SetInt64(0)
	}
	e.at = now
}

// room is how much the content is below what n may find there; slack is how much rounding may be.
func (e *exact) room(n int64) (room, slack *big.Rat) {
	level := new(big.Rat).Sub(e.burst, new(big.Rat).SetInt64(n))
	if level.Sign() < 0 {
		level.SetInt64(0)
	}
	slack = new(big.Rat).Add(e.content, big.NewRat(1, 1))
	return level.Sub(level, e.content), slack.Mul(slack, big.NewRat(1, 1e8))
}

func TestRatesAreThoseOfTheExactAlgorithm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(0.001, 10), rapid.Float64Range(10, 1e7)).Draw(t, "per second")
		burst := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 1_000_000)).Draw(t, "burst")
		m, r := New(Config{}), Rate{perSecond, burst}
		e := &exact{new(big.Rat), new(big.Rat).SetFloat64(perSecond), new(big.Rat).SetInt64(int64(burst)), noon}
		now := noon
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			tokens := rapid.Float64Range(0, 3).Draw(t, "pause, in bursts")
			now = now.Add(time.Duration(min(tokens*float64(burst)/perSecond*1e9, 1e16)))
			cost := rapid.Int64Range(1, int64(burst)*2).Draw(t, "cost")
			e.leak(now)
			room, slack := e.room(cost)
			wait, ok := m.Allow("a", r, cost, now)
			if new(big.Rat).Abs(room).Cmp(slack) > 0 && ok != (room.Sign() > 0) {
				t.Fatalf("ok is %v where %s is left", ok, room.FloatString(6))
			}
			if !ok { // who waits is let in, and not much too late
				now = now.Add(wait)
				e.leak(now)
				room, _ := e.room(cost)
				late := new(big.Rat).Mul(e.perSecond, big.NewRat(2, 1e9))
				if room.Cmp(late.Add(late, slack)) > 0 {
					t.Fatalf("after %v there was room for %s more", wait, room.FloatString(6))
				}
				if _, ok = m.Allow("a", r, cost, now); !ok {
					t.Fatalf("refused after waiting for %v as told", wait)
				}
			}
			e.content.Add(e.content, new(big.Rat).SetInt64(cost))
		}
	})
}

func TestAStreamIsSlowedToTheRateAndLeavesRoomForCalls(t *testing.T) {
	m, r := New(Config{}), Rate{PerSecond: 1000, Burst: 1000}
	chunk := r.Chunk(4096)
	if chunk != 125 {
		t.Fatalf("a chunk is %d checks", chunk)
	}
	done, now, calls := [3]int{}, noon, 0
	wake := [3]time.Time{noon, noon, noon}
	for now.Before(noon.Add(time.Minute)) {
		for i := range done {
			for !wake[i].After(now) {
				if wait := m.Pace("a", r, chunk, now); wait > 0 {
					wake[i] = now.Add(wait)
				} else {
					done[i] += chunk
				}
			}
		}
		if _, ok := m.Allow("a", r, 10, now); !ok { // 500 checks a second, beside the streams
			t.Fatalf("a call is refused %v after the streams began", now.Sub(noon))
		}
		calls += 10
		now = now.Add(20 * time.Millisecond)
	}
	if sum := done[0] + done[1] + done[2] + calls; sum < 58_000 || sum > 61_500 {
		t.Errorf("in a minute %d checks were done", sum)
	}
	if done[0] < 20_000 {
		t.Errorf("the streams did %v checks", done)
	}
}

func TestAStreamOfBigChunksGoesOnBesideSmallOnes(t *testing.T) {
	m, r := New(Config{}), Rate{PerSecond: 100, Burst: 10}
	now, big := noon, 0
	for range 1000 {
		if m.Pace("a", r, 50, now) == 0 {
			big++
		}
		m.Pace("a", r, 1, now)
		now = now.Add(10 * time.Millisecond)
	}
	if big < 10 {
		t.Errorf("of 20 possible chunks %d were let through", big)
	}
}

func TestAChunkIsAtLeastOneCheck(t *testing.T) {
	for _, c := range []struct {
		r    Rate
		want int
	}{{Rate{}, 4096}, {Rate{1, 0}, 1}, {Rate{1, 7}, 1}, {Rate{1, 800}, 100}, {Rate{1, 1e9}, 4096}} {
		if got := c.r.Chunk(4096); got != c.want {
			t.Errorf("%+v: a chunk is %d checks, want %d", c.r, got, c.want)
		}
	}
}

func TestClientsThatOweNothingAreDropped(t *testing.T) {
	m, r := New(Config{MaxClients: 100}), Rate{PerSecond: 1, Burst: 10}
	m.Allow("deep", r, 1000, noon)
	for i := range 10_000 {
		m.Allow(strconv.Itoa(i), r, 1, noon)
	}
	if n := len(m.rates.buckets); n > 100 {
		t.Errorf("%d clients are remembered, of at most 100", n)
	}
	if _, ok := m.Allow("deep", r, 1, noon); ok {
		t.Error("the one that owes most was forgotten")
	}
	m.Allow("late", r, 1, noon.Add(2*time.Minute))
	if n := len(m.rates.buckets); n != 2 {
		t.Errorf("%d clients are remembered, of 2 that owe", n)
	}
}
