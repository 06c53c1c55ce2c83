package metering

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// TestManyGoroutinesSpendNoMoreThanThereIs drives every part at once, with a loop that exchanges usage beside.
func TestManyGoroutinesSpendNoMoreThanThereIs(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	q, r := Quota{PerDay: 100_000}, Rate{PerSecond: 1, Burst: 200_000}
	l := &ledger{map[accountKey]int64{}, map[string]int64{}}
	var granted, paced, refused atomic.Int64
	var workers, exchanger sync.WaitGroup
	stop := make(chan struct{})
	exchanger.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = l.exchange(m, noon, i%3)
			}
		}
	})
	const goroutines, batch = 8, 64
	for g := range goroutines {
		workers.Go(func() {
			numbers, times, out := make([]uint64, batch), make([]int64, batch), make([]bool, batch)
			outcomes, neverSeen := make([]huanxin.CheckOutcome, batch), make([]bool, batch)
			for i := range 400 {
				if _, ok := m.Allow("a", r, batch, noon); !ok {
					continue
				}
				if m.Pace("stream", Rate{1, 6400}, batch, noon) == 0 {
					paced.Add(batch)
				}
				if _, _, ok := m.Spend("a", q, batch, noon); !ok {
					continue
				}
				granted.Add(batch)
				for j := range numbers { // every number gets 16 T's, by all of them together
					numbers[j], times[j] = block138+uint64(j), longAgo+int64((i+g)%16)
				}
				refused.Add(int64(m.Seen("a", numbers, times, noon, out)))
				m.Observe("a", numbers, outcomes, neverSeen, noon)
				m.Suspicion("a", noon)
				m.Figures(noon)
			}
		})
	}
	workers.Wait()
	close(stop)
	exchanger.Wait()
	for range 2 {
		if err := l.exchange(m, noon, 0); err != nil {
			t.Fatal(err)
		}
	}
	want := q.PerDay / batch * batch
	if got := l.totals[accountKey{"a", huanxin.DateOf(noon, huanxin.China)}]; got != want || granted.Load() != want {
		t.Errorf("granted are %d, in the store %d, of %d", granted.Load(), got, want)
	}
	if n := paced.Load(); n != 3264 { // what is above one half of the burst waits
		t.Errorf("a stream got %d checks", n)
	}
	if f := m.Figures(noon); f.HalvingRefused != refused.Load() || f.HalvedNumbers != batch {
		t.Errorf("%d were refused; figures are %+v", refused.Load(), f)
	}
}

func TestAMeterThatSawNothingKnowsNothing(t *testing.T) {
	m := New(Config{})
	if s := m.Suspicion("a", noon); s != (Suspicion{}) {
		t.Errorf("suspicion is %+v", s)
	}
	if f := m.Figures(noon); f != (Figures{}) {
		t.Errorf("figures are %+v", f)
	}
	if d := m.Drain(); len(d.Usage) != 0 || d.Seq != 0 || !m.Learn(d, nil, noon) {
		t.Errorf("drained is %+v", d)
	}
	if m.Seen("a", nil, nil, noon, nil) != 0 {
		t.Error("nothing is refused of nothing")
	}
	m.Observe("a", nil, nil, nil, noon)
	if m.halving.shards[0].buckets == nil {
		t.Error("the table is not there after the first use")
	}
	if New(Config{}).halving.shards[0].buckets != nil {
		t.Error("the table is there before the first use")
	}
}

func BenchmarkACallOfOneCheck(b *testing.B) {
	m := New(Config{})
	q, r := Quota{PerDay: 1 << 60}, Rate{PerSecond: 1e9, Burst: 1e9}
	numbers, times, refused := []uint64{block138}, []int64{longAgo}, []bool{false}
	outcomes, neverSeen := []huanxin.CheckOutcome{huanxin.Unchanged}, []bool{false}
	now := time.Now()
	for i := uint64(0); b.Loop(); i++ {
		numbers[0] = block138 + i%1_000_000*97
		m.Allow("a", r, 1, now)
		m.Spend("a", q, 1, now)
		m.Seen("a", numbers, times, now, refused)
		m.Observe("a", numbers, outcomes, neverSeen, now)
	}
}

func BenchmarkSeenByTwoGoroutines(b *testing.B) {
	m := New(Config{})
	b.RunParallel(func(pb *testing.PB) {
		const batch = 1024
		numbers, times, refused := make([]uint64, batch), make([]int64, batch), make([]bool, batch)
		for n := uint64(0); pb.Next(); n += batch {
			for i := range numbers {
				numbers[i] = block138 + (n+uint64(i))%3_000_000*97
			}
			m.Seen("a", numbers, times, noon, refused)
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/check")
}
