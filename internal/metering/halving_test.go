package metering

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

const small = 1 << 20 // bytes: 65,536 entries

// block138 is the first number of 138 0000 0000.
const block138 = 86_138_0000_0000

var longAgo = noon.AddDate(-3, 0, 0).UnixMicro()

// distinct gives T's that do not look alike for one client's number.
func distinct(m *Meter, client string, number uint64, n int) []int64 {
	h := &m.halving
	pair := h.pair(maphash.String(h.pairKey, client), number)
	var times []int64
	seen := map[uint16]bool{}
	for t := longAgo; len(times) < n; t++ {
		if mark := h.mark(pair, t); !seen[mark] {
			seen[mark] = true
			times = append(times, t)
		}
	}
	return times
}

func ask(m *Meter, client string, number uint64, t int64, now time.Time) (refused bool) {
	out := []bool{true}
	m.Seen(client, []uint64{number}, []int64{t}, now, out)
	return out[0]
}

func TestTheNinthDifferentTimeIsRefusedAndNoOther(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	times := distinct(m, "a", block138, 10)
	for round := range 3 {
		for i, since := range times[:8] {
			if ask(m, "a", block138, since, noon) {
				t.Fatalf("round %d: T %d is refused", round, i+1)
			}
		}
		slices.Reverse(times[:8])
	}
	for i, since := range times[8:] {
		if !ask(m, "a", block138, since, noon) {
			t.Errorf("T %d is answered", i+9)
		}
	}
	if ask(m, "a", block138, times[3], noon) {
		t.Error("after a refusal an old T is refused")
	}
	if ask(m, "a", block138+1, times[8], noon) || ask(m, "b", block138, times[8], noon) {
		t.Error("another number or another client is refused")
	}
	if f := m.Figures(noon); f.HalvingRefused != 2 || f.HalvedNumbers != 1 {
		t.Errorf("figures are %+v", f)
	}
}

func TestANumberIsClosedToWhomeverTriesOn(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	times := distinct(m, "a", block138, 8+maxRefusals)
	for i, since := range times {
		if refused := ask(m, "a", block138, since, noon); refused != (i >= 8) {
			t.Fatalf("T %d: refused is %v", i+1, refused)
		}
	}
	if !ask(m, "a", block138, times[0], noon) {
		t.Error("after 15 refusals an old T is answered")
	}
	if later := noon.AddDate(0, 0, HalvingDays); ask(m, "a", block138, times[0], later) {
		t.Error("after 30 days it is still closed")
	}
}

func TestAfterThirtyDaysCountingStartsAnew(t *testing.T) {
	for _, gap := range []int{0, 1, 10, 29} { // between visits of the table
		m := New(Config{HalvingBytes: small})
		times := distinct(m, "a", block138, 17)
		for i, since := range times[:8] {
			ask(m, "a", block138, since, noon.AddDate(0, 0, i)) // the first day counts, not the last
		}
		for day := 8; gap > 0 && day < 29; day += gap {
			ask(m, "b", block138+uint64(day), longAgo, noon.AddDate(0, 0, day))
		}
		if !ask(m, "a", block138, times[8], noon.AddDate(0, 0, HalvingDays-1)) {
			t.Errorf("gap %d: on the 30th day a ninth T is answered", gap)
		}
		for i, since := range times[8:] {
			if refused := ask(m, "a", block138, since, noon.AddDate(0, 0, HalvingDays)); refused != (i >= 8) {
				t.Errorf("gap %d: on the 31st day T %d: refused is %v", gap, i+1, refused)
			}
		}
	}
}

func TestAClockThatIsSetBackForgetsNothingAndEndsWell(t *testing.T) {
	for days := 2; days < 70; days += 3 {
		m := New(Config{HalvingBytes: small})
		times := distinct(m, "a", block138, 10)
		for _, since := range times[:8] {
			ask(m, "a", block138, since, noon)
		}
		back := noon.AddDate(0, 0, -days)
		if !ask(m, "a", block138, times[8], back) || !ask(m, "a", block138, times[8], back.AddDate(0, 0, HalvingDays-1)) {
			t.Errorf("setting the clock back by %d days forgets", days)
		}
		if ask(m, "a", block138, times[8], back.AddDate(0, 0, HalvingDays)) {
			t.Errorf("30 days after the clock was set back by %d the number is still counted", days)
		}
	}
}

func TestLosingEntriesOfManyTimesIsCounted(t *testing.T) {
	for _, c := range []struct {
		times  int
		washed bool
	}{{2, false}, {washedTimes - 1, false}, {MaxTimes, true}} {
		m := New(Config{HalvingBytes: leastTable})
		for n := range uint64(5 * leastTable / 16) {
			for i := range c.times {
				ask(m, "a", block138+n, longAgo+int64(i), noon)
			}
		}
		if got := m.Figures(noon).Washed; got > 0 != c.washed {
			t.Errorf("after five times more numbers than there is room for, with %d T's each, %d are counted", c.times, got)
		}
	}
}

func TestThePresentAndExemptNumbersDoNotCount(t *testing.T) {
	sandbox := func(n uint64) bool { return n == block138+7 }
	m := New(Config{HalvingBytes: small, Exempt: sandbox})
	for i := range int64(100) {
		if ask(m, "a", block138, noon.Add(-Recent).UnixMicro()+i, noon) {
			t.Fatal("a T of the last minutes is refused")
		}
		if ask(m, "a", block138, noon.AddDate(1, 0, 0).UnixMicro()+i, noon) {
			t.Fatal("a T that lies ahead is refused")
		}
		if ask(m, "a", block138+7, longAgo+i, noon) {
			t.Fatal("an exempt number is refused")
		}
	}
	refused := 0
	for i := range int64(20) {
		if ask(m, "a", block138, noon.Add(-Recent).UnixMicro()-1-i, noon) {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("of 20 T's that are six minutes old %d are refused", refused)
	}
}

// remembered is a number of a client in the model.
type remembered struct {
	first   int
	times   map[int64]bool
	refused int
}

func TestHalvingIsThatOfAnExactMapAtSmallLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(Config{HalvingBytes: small})
		type pair struct {
			client string
			number uint64
		}
		model := map[pair]*remembered{}
		pool := map[pair][]int64{}
		day := 0
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			day += rapid.SampledFrom([]int{0, 0, 0, 1, 5, 29, 31, 64}).Draw(t, "days")
			client := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "client")
			var numbers []uint64
			var times []int64
			var want []bool
			for range rapid.SampledFrom([]int{1, 1, 2, 100}).Draw(t, "checks") {
				k := pair{client, block138 + rapid.Uint64Range(0, 4).Draw(t, "number")}
				if pool[k] == nil {
					pool[k] = distinct(m, client, k.number, 30)
				}
				since := pool[k][rapid.IntRange(0, 29).Draw(t, "T")]
				r := model[k]
				if r == nil || day-r.first >= HalvingDays {
					r = &remembered{first: day, times: map[int64]bool{}}
					model[k] = r
				}
				ok := r.refused < maxRefusals && (r.times[since] || len(r.times) < MaxTimes)
				if ok {
					r.times[since] = true
				} else {
					r.refused++
				}
				numbers, times, want = append(numbers, k.number), append(times, since), append(want, !ok)
			}
			got := make([]bool, len(numbers))
			m.Seen(client, numbers, times, noon.AddDate(0, 0, day), got)
			if !slices.Equal(got, want) {
				t.Fatalf("day %d: refused are %v, want %v", day, got, want)
			}
		}
	})
}

func TestLongBatchesAreAnsweredInTheirOrder(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	const numbers = 5000
	var ns []uint64
	var times []int64
	for i := range 10 {
		for n := range uint64(numbers) {
			ns, times = append(ns, block138+n), append(times, longAgo+int64(i))
		}
	}
	refused := make([]bool, len(ns))
	n := m.Seen("a", ns, times, noon, refused)
	sum := 0
	for i, r := range refused {
		if r {
			sum++
		}
		if r && i < 8*numbers {
			t.Fatal("one of the first eight T's of a number is refused")
		}
	}
	if sum != n || n < 2*numbers*98/100 { // some T's look alike
		t.Errorf("%d are refused, it says %d, of %d", sum, n, 2*numbers)
	}
}

func TestAnHonestRunOverMoreNumbersThanThereIsRoomForIsNeverRefused(t *testing.T) {
	m := New(Config{})
	const block = 4096
	pairs := 10_000_000 / slower
	ns, times, refused := make([]uint64, 2*block), make([]int64, 2*block), make([]bool, 2*block)
	for night := range 2 {
		n := uint64(block138)
		for done := 0; done < pairs; done += block {
			for i := range block {
				n += 1 + uint64(i)%9
				ns[2*i], ns[2*i+1] = n, n
				times[2*i] = longAgo + int64(n%1000)*86_400_000_000 // the two ends of a day
				times[2*i+1] = times[2*i] + 86_400_000_000 - 1
			}
			if got := m.Seen("a", ns, times, noon.AddDate(0, 0, night), refused); got != 0 {
				t.Fatalf("night %d: %d are refused", night, got)
			}
		}
	}
	if s := m.Suspicion("a", noon); s.Halving {
		t.Error("an honest run looks like halving")
	}
}

// flood asks one T of each of many other numbers.
func flood(m *Meter, client string, first uint64, numbers int, t int64, now time.Time) (refused int) {
	const block = 4096
	ns, times, out := make([]uint64, block), make([]int64, block), make([]bool, block)
	for done := 0; done < numbers; done += block {
		for i := range block {
			ns[i], times[i] = first+uint64(done+i), t
		}
		refused += m.Seen(client, ns, times, now, out)
	}
	return refused
}

func TestAskingForManyOtherNumbersDoesNotWashOutHalving(t *testing.T) {
	m := New(Config{HalvingBytes: small})
	const targets = 1000
	for n := range uint64(targets) {
		for i := range int64(MaxTimes) {
			ask(m, "a", block138+n, longAgo+i, noon)
		}
	}
	other := uint64(86_139_0000_0000)
	flood(m, "a", other, 4_000_000/slower, longAgo, noon) // 60 times the entries there are
	flood(m, "a", other, 4_000_000/slower, longAgo+1, noon)
	answered := 0
	for n := range uint64(targets) {
		if !ask(m, "a", block138+n, longAgo+8, noon) {
			answered++
		}
	}
	if answered > targets/50 { // T's that look alike: 2 of 1,000
		t.Errorf("a ninth T is answered for %d numbers of %d", answered, targets)
	}
	if !m.Suspicion("a", noon).Halving {
		t.Error("a client that reached the limit at a thousand numbers is not suspected")
	}
}

func TestHalvingAWholeBaseIsNoticedThoughMostOfItIsForgotten(t *testing.T) {
	m := New(Config{HalvingBytes: small / 4}) // 16,384 entries
	const numbers = 400_000                   // 25 for an entry, as 10⁸ are at 64 MiB
	refused := 0
	for i := range int64(12) {
		refused += flood(m, "a", block138, numbers, longAgo+i*86_400_000_000, noon.AddDate(0, 0, int(i)))
	}
	if refused < numbers/64*4/2 { // of one in 64, four T's, and some are lost
		t.Errorf("%d are refused", refused)
	}
	if !m.Suspicion("a", noon.AddDate(0, 0, 11)).Halving {
		t.Error("it is not suspected")
	}
}

func TestHowOftenANinthTimeLooksLikeAnEarlierOne(t *testing.T) {
	m := New(Config{})
	numbers := uint64(100_000)
	answered := 0
	for n := range numbers {
		for i := range int64(MaxTimes + 1) {
			if !ask(m, "a", block138+n, longAgo+i, noon) && i == MaxTimes {
				answered++
			}
		}
	}
	// 8 of 4,095 look like the ninth, and 28 pairs of them like each other: 0.9 %. Five standard deviations are 0.15 %.
	if share := float64(answered) / float64(numbers); share > 0.0105 {
		t.Errorf("a ninth T is answered in %.3f %% of cases", share*100)
	}
}

func TestAnEntryKeepsWhatWasPutIntoIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag := rapid.Uint64Range(0, tagMask).Draw(t, "tag")
		day := rapid.Int64Range(-100, 1<<40).Draw(t, "day")
		marks := rapid.SliceOfN(rapid.Uint16Range(1, markMask), 1, MaxTimes).Draw(t, "marks")
		refusals := rapid.IntRange(0, maxRefusals).Draw(t, "refusals")
		e := newEntry(tag, day, marks[0])
		for i, mark := range marks[1:] {
			e.setMark(i+1, mark)
		}
		for range refusals {
			e.refuse()
		}
		age := rapid.Int64Range(0, 31).Draw(t, "age")
		if !e.is(tag) || e.is(tag^1) || e.age(day+age) != age || e.refusals() != refusals || e.times() != len(marks) {
			t.Fatalf("%x %x: tag, day, refusals or number of marks", e.lo, e.hi)
		}
		for i, mark := range marks {
			if e.mark(i) != mark {
				t.Fatalf("%x %x: mark %d is %x, want %x", e.lo, e.hi, i, e.mark(i), mark)
			}
		}
		e.setFirst(day + 40)
		if !e.is(tag) || e.age(day+41) != 1 || e.refusals() != refusals || e.times() != len(marks) {
			t.Fatalf("%x %x: after setting the day", e.lo, e.hi)
		}
	})
}

func TestDaysOfTheTableAreDaysInChina(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(-1e16, 1e16).Draw(t, "at"))
		d := huanxin.DateOf(at, huanxin.China)
		want := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix() / 86400
		if got := dayNumber(at, huanxin.China); got != want {
			t.Fatalf("%v is day %d, want %d", at, got, want)
		}
	})
}

func TestTheTableIsAsBigAsItWasAskedFor(t *testing.T) {
	for _, c := range []struct{ bytes, want int }{
		{0, 64 << 20}, {1, 64 << 10}, {64 << 10, 64 << 10}, {3 << 20, 2 << 20}, {256 << 20, 256 << 20},
	} {
		if got := New(Config{HalvingBytes: c.bytes}).halving.buckets * bucketBytes; got != c.want {
			t.Errorf("%d bytes were asked for: the table has %d, want %d", c.bytes, got, c.want)
		}
	}
}

func benchmarkSeen(b *testing.B, numbers, batch int, timesOf func(i int) int64) {
	m := New(Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	ns := make([]uint64, numbers)
	for i := range ns {
		ns[i] = block138 + rng.Uint64N(5_000_000_000)
	}
	times := make([]int64, numbers)
	for i := range times {
		times[i] = timesOf(i)
	}
	refused := make([]bool, batch)
	run := func(checks int) {
		for done, at := 0, 0; done < checks; done, at = done+batch, at+batch {
			if at+batch > numbers {
				at = 0
			}
			m.Seen("a", ns[at:at+batch], times[at:at+batch], noon, refused)
		}
	}
	run(numbers) // touches the pages
	for b.Loop() {
		run(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch), "ns/check")
}

func BenchmarkSeen(b *testing.B) {
	same := func(int) int64 { return longAgo }
	b.Run("3M numbers fit, batches of 4096", func(b *testing.B) { benchmarkSeen(b, 3<<20, 4096, same) })
	b.Run("20M numbers do not fit, batches of 4096", func(b *testing.B) { benchmarkSeen(b, 20<<20, 4096, same) })
	b.Run("3M numbers, batches of 128", func(b *testing.B) { benchmarkSeen(b, 3<<20, 128, same) })
	b.Run("3M numbers, one by one", func(b *testing.B) { benchmarkSeen(b, 3<<20, 1, same) })
}
