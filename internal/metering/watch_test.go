package metering

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// observe feeds numbers in batches of size, of which so many percent were never seen.
func observe(m *Meter, client string, numbers []uint64, size, percent int, now time.Time) {
	for i := 0; i < len(numbers); i += size {
		batch := numbers[i:min(i+size, len(numbers))]
		outcomes, neverSeen := make([]huanxin.CheckOutcome, len(batch)), make([]bool, len(batch))
		for j := range batch {
			outcomes[j] = huanxin.Unchanged
			if (i+j)*percent%100 < percent {
				outcomes[j], neverSeen[j] = huanxin.Unknown, true
			}
		}
		m.Observe(client, batch, outcomes, neverSeen, now)
	}
}

// progression is n numbers, each stride after the one before.
func progression(n int, stride int64) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = block138 + 50_000_000 + uint64(int64(i)*stride)
	}
	return out
}

// base is n numbers in order, each of a block being there with chance p.
func base(n int, p float64) []uint64 {
	rng := rand.New(rand.NewPCG(7, uint64(p*1000)))
	out, next := make([]uint64, 0, n), uint64(block138)
	for len(out) < n {
		if next++; rng.Float64() < p {
			out = append(out, next)
		}
	}
	return out
}

func twice(numbers []uint64) []uint64 {
	out := make([]uint64, 0, 2*len(numbers))
	for _, n := range numbers {
		out = append(out, n, n)
	}
	return out
}

func shuffled(numbers []uint64) []uint64 { return shuffledBy(numbers, len(numbers)) }

// shuffledBy shuffles each so many numbers by themselves.
func shuffledBy(numbers []uint64, each int) []uint64 {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < len(numbers); i += each {
		part := numbers[i:min(i+each, len(numbers))]
		rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	return numbers
}

func TestEnumerationIsToldFromAnHonestBase(t *testing.T) {
	const n = 30_000
	for _, c := range []struct {
		name        string
		numbers     []uint64
		neverSeen   int     // percent
		least, most float64 // of the share in runs
		enumerating bool
	}{
		{"every number, up", progression(n, 1), 0, 0.99, 1, true},
		{"every number, down", progression(n, -1), 0, 0.99, 1, true},
		{"every number, with two T's each", twice(progression(n, 1)), 0, 0.99, 1, true},
		{"every number, over 16 connections", shuffledBy(progression(n, 1), 16), 0, 0.95, 1, true},
		{"every number, each ten thousand in no order", shuffledBy(progression(n, 1), 10_000), 0, 0.8, 1, true},
		{"a base of half a block, each ten thousand in no order", shuffledBy(base(n, 0.5), 10_000), 0, 0, 0.001, false},
		{"every 7th number", progression(n, 7), 0, 0.99, 1, true},
		{"every 10,000th number, down", progression(n, -10_000), 0, 0.99, 1, true},
		{"a sorted base of 10 % of a block", base(n, 0.1), 0, 0, 0.001, false},
		{"a sorted base of 30 % of a block", base(n, 0.3), 0, 0, 0.01, false},
		{"a sorted base of 30 % of a block, with two T's each", twice(base(n, 0.3)), 2, 0, 0.01, false},
		{"a sorted base of half a block", base(n, 0.5), 0, 0.02, 0.06, false},
		{"a base in no order", shuffled(base(n, 0.3)), 1, 0, 0.001, false},
		{"one number again and again", make([]uint64, n), 0, 0, 0, false},
		{"made-up numbers in no order", shuffled(progression(n, 3)), 100, 0, 0.001, true},
		{"numbers of which most were never seen", shuffled(progression(n, 3)), 55, 0, 0.001, true},
		{"numbers of which most were seen", shuffled(progression(n, 3)), 45, 0, 0.001, false},
	} {
		for _, size := range []int{1, 17, 10_000} {
			m := New(Config{})
			observe(m, "a", c.numbers, size, c.neverSeen, noon)
			s := m.Suspicion("a", noon)
			if s.SequentialShare < c.least || s.SequentialShare > c.most || s.Enumerating != c.enumerating {
				t.Errorf("%s, in batches of %d: %+v", c.name, size, s)
			}
			if math.Abs(s.NeverSeenShare*100-float64(c.neverSeen)) > 0.5 {
				t.Errorf("%s, in batches of %d: never seen are %.2f %%, want %d", c.name, size, s.NeverSeenShare*100, c.neverSeen)
			}
		}
	}
}

func TestTheWindowForgets(t *testing.T) {
	m := New(Config{})
	observe(m, "a", progression(20_000, 1), 1000, 100, noon)
	if !m.Suspicion("a", noon).Enumerating {
		t.Fatal("an enumeration is not suspected")
	}
	observe(m, "a", base(3*Window, 0.2), 1000, 0, noon)
	if s := m.Suspicion("a", noon); s.Enumerating || s.NeverSeenShare > 0.06 {
		t.Errorf("three windows later: %+v", s)
	}
}

func TestAClientIsJudgedFromAThousandChecksOn(t *testing.T) {
	m := New(Config{})
	observe(m, "a", progression(LeastChecks-1, 1), 100, 100, noon)
	if s := m.Suspicion("a", noon); s.Enumerating || s.NeverSeenShare != 1 {
		t.Errorf("before: %+v", s)
	}
	observe(m, "a", progression(200, 1), 100, 100, noon)
	if !m.Suspicion("a", noon).Enumerating {
		t.Error("after more it is not suspected")
	}
}

func TestTheSandboxIsNoEnumeration(t *testing.T) {
	m := New(Config{Exempt: func(n uint64) bool { return n >= block138 && n < block138+100_000_000 }})
	observe(m, "a", progression(20_000, 1), 1000, 100, noon)
	if s := m.Suspicion("a", noon); s != (Suspicion{}) {
		t.Errorf("exempt numbers count: %+v", s)
	}
	if d := m.Drain(); len(d.Usage) != 1 || d.Usage[0].Outcomes[huanxin.Unknown] != 20_000 {
		t.Errorf("their outcomes are usage all the same: %+v", d)
	}
}

func TestTheLimitOfNeverSeenNumbersMayBeRaised(t *testing.T) {
	m := New(Config{NeverSeenLimit: 0.9})
	observe(m, "a", shuffled(progression(20_000, 3)), 1000, 55, noon)
	if m.Suspicion("a", noon).Enumerating {
		t.Error("55 % are never seen, the limit is 90 %")
	}
}

func TestHalvingIsSuspectedAtThreeNumbersAndForgottenInTime(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	for n := range uint64(3) {
		if m.Suspicion("a", noon).Halving {
			t.Errorf("suspected at %d numbers", n)
		}
		for _, since := range distinct(m, "a", block138+n, 8+4*int(n)) { // refused or not, it is one number
			ask(m, "a", block138+n, since, noon)
		}
	}
	if !m.Suspicion("a", noon).Halving {
		t.Error("not suspected at three numbers")
	}
	if f := m.Figures(noon); f.HalvingClients != 1 || f.WatchedClients != 1 || f.EnumeratingClients != 0 {
		t.Errorf("figures are %+v", f)
	}
	if m.Suspicion("a", noon.AddDate(0, 0, 2)).Halving {
		t.Error("two days later it is still suspected")
	}
}

func TestAFewSharedNumbersOfABigAppAreNoHalving(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	for n := range uint64(5) {
		for _, since := range distinct(m, "a", block138+n, 9) {
			ask(m, "a", block138+n, since, noon)
		}
	}
	flood(m, "a", 86_139_0000_0000, 600_000, longAgo, noon)
	if m.Suspicion("a", noon).Halving {
		t.Error("five numbers of 600,000 are suspected")
	}
}

func TestClientsThatStoppedAreDroppedAndSuspectsStay(t *testing.T) {
	m := New(Config{MaxClients: 50})
	observe(m, "enumerator", progression(5000, 1), 1000, 0, noon)
	for i := range 5000 {
		observe(m, strconv.Itoa(i), []uint64{block138}, 1, 0, noon.Add(time.Second))
	}
	if n := len(m.watches.clients); n > 50 {
		t.Errorf("%d clients are watched, of at most 50", n)
	}
	if !m.Suspicion("enumerator", noon).Enumerating || m.Figures(noon).EnumeratingClients != 1 {
		t.Error("the one suspect was forgotten")
	}
	later := noon.Add(watchedFor + time.Second)
	if s := m.Suspicion("enumerator", later); s != (Suspicion{}) {
		t.Errorf("a client that stopped ten days ago: %+v", s)
	}
	observe(m, "new", []uint64{block138}, 1, 0, later)
	if n := len(m.watches.clients); n != 1 {
		t.Errorf("%d clients are watched, of one that checks", n)
	}
}

func TestTheWindowIsAnExponentialOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(Config{})
		var total, unseen, inRuns float64 // decayed check by check
		var numbers []uint64
		fade := math.Exp(-1.0 / Window)
		for range rapid.IntRange(1, 10).Draw(t, "batches") {
			n := rapid.IntRange(1, 5000).Draw(t, "checks")
			percent := rapid.IntRange(0, 100).Draw(t, "never seen, percent")
			part := progression(n, rapid.SampledFrom([]int64{-5, -1, 1, 2}).Draw(t, "stride"))
			if rapid.Bool().Draw(t, "shuffled") {
				part = shuffled(part)
			}
			observe(m, "a", part, n, percent, noon)
			for i := range part {
				total = total*fade + 1
				unseen *= fade
				if i*percent%100 < percent {
					unseen++
				}
			}
			numbers = append(numbers, part...)
		}
		for i, in := range runs(numbers) {
			if in {
				inRuns += math.Exp(-float64(len(numbers)-1-i) / Window)
			}
		}
		s := m.Suspicion("a", noon)
		if d := math.Abs(s.NeverSeenShare - unseen/total); d > 0.06 {
			t.Fatalf("never seen are %f, want %f", s.NeverSeenShare, unseen/total)
		}
		w := m.watches.clients["a"]
		if d := math.Abs(w.inRuns/w.total - inRuns/total); d > 0.06 {
			t.Fatalf("in runs are %f, want %f", w.inRuns/w.total, inRuns/total)
		}
		if s.SequentialShare != max(w.inRuns, w.dense)/w.total {
			t.Fatalf("the share %f is that of neither runs nor dense blocks", s.SequentialShare)
		}
	})
}

// runs says of each number whether it is in a run, by looking at every stretch of RunLength numbers.
func runs(numbers []uint64) []bool {
	in := make([]bool, len(numbers))
	for i := 0; i+RunLength <= len(numbers); i++ {
		stride, even := numbers[i+1]-numbers[i], true
		for j := i + 1; j < i+RunLength; j++ {
			even = even && numbers[j]-numbers[j-1] == stride
		}
		for j := i; even && j < i+RunLength; j++ {
			in[j] = true
		}
	}
	return in
}

func TestABlockIsDenseFrom56NumbersOnWhateverTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks recentBlockTable
		asked := map[uint64]map[uint64]bool{}
		for _, n := range rapid.SliceOfN(rapid.Uint64Range(64, 3*64-1), 0, 600).Draw(t, "numbers") {
			b := asked[n/64]
			if b == nil {
				b = map[uint64]bool{}
				asked[n/64] = b
			}
			before := len(b)
			b[n] = true
			want := 0
			switch {
			case len(b) == DenseBlock && before < DenseBlock:
				want = DenseBlock
			case len(b) >= DenseBlock:
				want = 1
			}
			if got := blocks.mark(n); got != want {
				t.Fatalf("with %d numbers of its block asked, one more adds %d, want %d", before, got, want)
			}
		}
	})
	var blocks recentBlockTable
	for n := range uint64(DenseBlock - 1) {
		blocks.mark(6400 + n)
	}
	blocks.mark(6400 + 64*recentBlocks) // takes the place
	if got := blocks.mark(6400 + 60); got != 0 {
		t.Errorf("a block whose place was taken goes on: %d", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New(Config{})
	const batch = 4096
	numbers := base(batch, 0.3)
	outcomes, neverSeen := make([]huanxin.CheckOutcome, batch), make([]bool, batch)
	for i := range outcomes {
		outcomes[i] = huanxin.Unchanged
	}
	for b.Loop() {
		m.Observe("a", numbers, outcomes, neverSeen, noon)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/check")
}
