package metering

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

func TestAQuotaLastsUntilMidnightInChina(t *testing.T) {
	m, q := New(Config{}), Quota{PerDay: 100}
	for _, c := range []struct {
		at        time.Time
		n         int64
		remaining int64
		retry     time.Duration
		ok        bool
	}{
		{noon, 60, 40, 0, true},
		{noon, 41, 40, 12 * time.Hour, false},
		{noon, 0, 40, 0, true},
		{noon, -5, 40, 0, true},
		{noon, 40, 0, 0, true},
		{noon.Add(11 * time.Hour), 1, 0, time.Hour, false},
		{noon.Add(12 * time.Hour), 101, 100, 24 * time.Hour, false},
		{noon.Add(12 * time.Hour), 100, 0, 0, true},
		{noon.Add(12*time.Hour - 1), 1, 0, 1, false}, // overtaken at midnight: still a call of the day before
	} {
		if remaining, retry, ok := m.Spend("a", q, c.n, c.at); remaining != c.remaining || retry != c.retry || ok != c.ok {
			t.Errorf("%v, %d checks: %d left, retry after %v, ok %v; want %+v", c.at, c.n, remaining, retry, ok, c)
		}
	}
	if _, _, ok := m.Spend("b", q, 100, noon); !ok {
		t.Error("another client pays for the first")
	}
	if remaining, _, ok := m.Spend("a", Quota{}, 1e15, noon); !ok || remaining != math.MaxInt64 {
		t.Error("without a quota a call is refused")
	}
	if _, _, ok := m.Spend("a", q, math.MaxInt64, noon); ok {
		t.Error("the largest number overflows the quota")
	}
}

func TestDrainingGivesChecksAndOutcomesOfEachDay(t *testing.T) {
	m := New(Config{})
	today := huanxin.DateOf(noon, huanxin.China)
	m.Spend("a", Quota{}, 3, noon)
	m.Observe("a", []uint64{1, 2, 3}, []huanxin.CheckOutcome{huanxin.Changed, huanxin.Unknown, huanxin.Changed}, make([]bool, 3), noon)
	m.Spend("a", Quota{}, 4, noon.Add(24*time.Hour))
	d := m.Drain()
	got := map[huanxin.Date]Usage{}
	for _, u := range d.Usage {
		got[u.Day] = u
	}
	want := Usage{Client: "a", Day: today, Checks: 3, Outcomes: Outcomes{huanxin.Changed: 2, huanxin.Unknown: 1}}
	if len(d.Usage) != 2 || got[today] != want || got[today.AddDays(1)].Checks != 4 {
		t.Errorf("drained is %+v", d)
	}
}

func TestWhatWasDrainedComesAgainUntilItIsLearned(t *testing.T) {
	m, q, today := New(Config{}), Quota{PerDay: 100}, huanxin.DateOf(noon, huanxin.China)
	m.Spend("a", q, 10, noon)
	first := m.Drain()
	m.Spend("a", q, 5, noon)
	again := m.Drain()
	if again.Seq != first.Seq || again.Meter != first.Meter || len(again.Usage) != 1 || again.Usage[0] != first.Usage[0] {
		t.Fatalf("first %+v, then %+v", first, again)
	}
	if remaining, _, _ := m.Spend("a", q, 0, noon); remaining != 85 {
		t.Errorf("while draining, %d are left", remaining)
	}
	if !m.Learn(again, []Total{{"a", today, 40}, {"b", today, 99}}, noon) { // 30 of them at another hub
		t.Fatal("what was drained is not learned")
	}
	if m.Learn(again, nil, noon) {
		t.Error("the same is learned twice")
	}
	if remaining, _, _ := m.Spend("a", q, 0, noon); remaining != 55 {
		t.Errorf("%d are left, with 40 in the store and 5 here", remaining)
	}
	if remaining, _, _ := m.Spend("b", q, 0, noon); remaining != 1 {
		t.Errorf("of a client of other hubs %d are left", remaining)
	}
	if next := m.Drain(); next.Seq != first.Seq+1 || len(next.Usage) != 1 || next.Usage[0].Checks != 5 {
		t.Errorf("next is drained %+v", next)
	}
}

func TestTotalsThatDoNotNameAClientTakeNothingBack(t *testing.T) {
	m, q, today := New(Config{}), Quota{PerDay: 100}, huanxin.DateOf(noon, huanxin.China)
	m.Spend("a", q, 10, noon)
	m.Learn(m.Drain(), nil, noon)
	m.Learn(m.Drain(), []Total{{"a", today, 3}}, noon) // read too early
	if remaining, _, _ := m.Spend("a", q, 0, noon); remaining != 90 {
		t.Errorf("%d are left", remaining)
	}
	empty := m.Drain()
	m.Spend("a", q, 1, noon)
	if m.Drain(); m.Learn(empty, nil, noon) {
		t.Error("what was drained before something else is learned in its place")
	}
	if m.Learn(m.Drain(), nil, noon); m.Learn(empty, []Total{{"a", today, 100}}, noon) {
		t.Error("what was drained before something else is learned after it")
	}
	other := New(Config{}).Drain()
	if m.Learn(other, []Total{{"a", today, 90}}, noon) {
		t.Error("what another process drained is learned")
	}
}

func TestDaysGoneByAreDropped(t *testing.T) {
	m := New(Config{})
	for day := range 10 {
		now := noon.AddDate(0, 0, day)
		m.Spend("a", Quota{}, 1, now)
		m.Learn(m.Drain(), []Total{{"b", huanxin.DateOf(now, huanxin.China), 1}, {"c", huanxin.DateOf(noon, huanxin.China), 1}}, now)
	}
	if n := len(m.usage.accounts); n > 4 {
		t.Errorf("%d accounts are remembered, of two clients and two days", n)
	}
	m.Spend("a", Quota{}, 7, noon) // of a day that is over, but not in the store
	m.Drain()
	late := noon.AddDate(0, 1, 0)
	if d := m.Drain(); !m.Learn(d, nil, late) || d.Usage[0].Checks != 7 {
		t.Error("usage of an old day is lost")
	}
}

// ledger is the store of the model: totals, and which batch of each meter it has.
type ledger struct {
	totals  map[accountKey]int64
	applied map[string]int64
}

var errLost = errors.New("connection lost")

// exchange does what internal/core is to do. fail 1: before the commit, 2: after it.
func (l *ledger) exchange(m *Meter, now time.Time, fail int) error {
	d := m.Drain()
	if fail == 1 {
		return errLost
	}
	if l.applied[d.Meter] < d.Seq {
		l.applied[d.Meter] = d.Seq
		for _, u := range d.Usage {
			l.totals[accountKey{u.Client, u.Day}] += u.Checks
		}
	}
	if fail == 2 {
		return errLost
	}
	var totals []Total
	for k, n := range l.totals {
		if k.day == huanxin.DateOf(now, huanxin.China) {
			totals = append(totals, Total{k.client, k.day, n})
		}
	}
	if !m.Learn(d, totals, now) {
		return errors.New("not learned")
	}
	return nil
}

func TestHubsShareAQuotaWhateverFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{map[accountKey]int64{}, map[string]int64{}}
		hubs := []*Meter{New(Config{}), New(Config{})}
		q := Quota{PerDay: 1000}
		now := noon
		spent := map[accountKey]int64{}           // at both hubs
		learned := []map[accountKey]int64{{}, {}} // what each hub knows of the store
		since := []map[accountKey]int64{{}, {}}   // what each spent since its last exchange that was learned
		client := rapid.SampledFrom([]string{"a", "b"})
		hub := rapid.IntRange(0, 1)
		day := func() huanxin.Date { return huanxin.DateOf(now, huanxin.China) }
		t.Repeat(map[string]func(*rapid.T){
			"spend": func(t *rapid.T) {
				h, k := hub.Draw(t, "hub"), accountKey{client.Draw(t, "client"), day()}
				n := rapid.Int64Range(0, 400).Draw(t, "checks")
				left := max(q.PerDay-learned[h][k]-since[h][k], 0)
				remaining, _, ok := hubs[h].Spend(k.client, q, n, now)
				if ok != (n <= left) {
					t.Fatalf("%d of %d: ok is %v", n, left, ok)
				}
				if ok {
					spent[k] += n
					since[h][k] += n
					left -= n
				}
				if remaining != left {
					t.Fatalf("%d are left, want %d", remaining, left)
				}
			},
			"exchange": func(t *rapid.T) {
				h, fail := hub.Draw(t, "hub"), rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "failure")
				// A Drained that is outstanding is older than what was spent since: that stays on top.
				before := hubs[h].usage.outstanding
				err := l.exchange(hubs[h], now, fail)
				if fail > 0 {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if before == nil {
					clear(since[h])
				} else {
					for _, u := range before.Usage {
						since[h][accountKey{u.Client, u.Day}] -= u.Checks
					}
				}
				for k, n := range l.totals {
					if k.day == day() {
						learned[h][k] = n
					}
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "hours")) * time.Hour)
			},
		})
		for _, m := range hubs {
			for range 2 { // the first may be one that failed before
				if err := l.exchange(m, now, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		for k, n := range spent {
			if l.totals[k] != n {
				t.Fatalf("%d were spent, and the store has %d", n, l.totals[k])
			}
			if n > 2*q.PerDay {
				t.Fatalf("two hubs let through %d of %d", n, q.PerDay)
			}
		}
	})
}
