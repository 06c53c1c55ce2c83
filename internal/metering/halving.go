package metering

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

const (
	// MaxTimes is about how many different T's one client may ask for one number in HalvingDays. An app has as many as it has
	// bindings and proofs of control for the number; a tenure's start in ten years of days is found with twelve.
	MaxTimes = 8
	// HalvingDays is for how many days, the first one included, the T's of a number are remembered.
	HalvingDays = 30
	// Recent is how far back a T is taken to be the present. "Has the holder changed since just now?" tells nothing about
	// when the tenure began, and the guard of an app asks it with another T at every login on the day of the binding.
	Recent = 5 * time.Minute
	// maxRefusals closes a number to a client: see Seen.
	maxRefusals = 15
	// washedTimes is from how many T's on an entry is a loss.
	washedTimes = 5
)

// Seen is told of checks before they are answered and says in refused, of the same length, which of them are the ninth or a
// further different T (MaxTimes) of this client for that number within HalvingDays of the first. times are T's in microseconds
// since 1970 UTC; the same instant is the same T, however often and in whatever order it comes. T's that are Recent or lie
// ahead do not count, nor do numbers that are exempt. It returns how many are refused. Answers do not depend on what the
// number's holder did, so a refusal tells nothing.
//
// The memory is bounded and the process's own, so this is approximate. What that gives to whom:
//
//   - An honest client is refused too early only where numbers look alike: two pairs of client and number have one entry with
//     a chance of 2⁻⁴³ at the default size. With up to four T's a number three or more must meet, which 10⁸ numbers do with a
//     chance of 2·10⁻³; with five to eight T's two must, which befalls about one number in a million of so many. Beside another
//     client at its limits, a number is refused with a chance of 5·10⁻⁷ if that one has filled the whole table, else of less.
//   - A further T looks like one of the eight with a chance of 1/512, and is answered. So that nobody tries T's until one passes,
//     a number is closed to the client at the 15th refusal: whatever T, it is refused until the 30 days are over. That takes
//     the answers to old T's too, from someone who did what only halving does. Their guard steps up, and nobody is unbound.
//   - Where a client asks about more numbers than there are entries, entries are lost, those with the fewest T's first. Who asks
//     one T of each of 10⁸ numbers, and then the next, could halve them all, were not one number of 64, chosen by the key, kept
//     in preference: these meet the limit, and Suspicion says so. Who lets others' traffic wash out a single number between
//     questions gains questions at the price of days.
//   - Who fills the table with entries of eight T's can wash out any. That takes 3·10⁷ checks, and Suspicion and Figures.Washed say so.
//   - Eight T's are allowed: they find the start of a tenure within ten years to two weeks. Suspicion counts numbers at the eighth.
//   - Each hub, and each start of a hub, begins anew: h hubs let 8·h T's through.
//
// No number and no T can be read from the memory: an entry holds 23 bits of a hash of both client and number, and 12 bits of
// a hash for each T, under a random key of the process.
func (m *Meter) Seen(client string, numbers []uint64, times []int64, now time.Time, refused []bool) int {
	times, refused = times[:len(numbers)], refused[:len(numbers)]
	h := &m.halving
	h.once.Do(h.allocate)
	q := questions{
		meter: m, client: maphash.String(h.pairKey, client), day: dayNumber(now, m.zone),
		recent: now.Add(-Recent).UnixMicro(),
	}
	if len(numbers) == 1 {
		q.one(numbers[0], times[0], &refused[0])
	} else {
		q.many(numbers, times, refused)
	}
	m.counted.halvingRefused.Add(int64(q.refused))
	m.counted.halvedNumbers.Add(int64(q.halved))
	m.counted.washed.Add(int64(q.washed))
	m.watches.halving(client, len(numbers), q.halved, now)
	return q.refused
}

// dayNumber counts the days of a zone, however long they are.
func dayNumber(now time.Time, zone *time.Location) int64 {
	_, offset := now.In(zone).Zone()
	const day = 24 * 60 * 60
	s := now.Unix() + int64(offset)
	return (s - (s%day+day)%day) / day
}

// halving is a hash table of 4-way buckets, each one cache line. The highest bits of a bucket's number are its shard's.
type halving struct {
	once    sync.Once
	buckets int // a power of two, at least shards
	pairKey maphash.Seed
	timeKey maphash.Seed
	shards  [shards]shard
}

const (
	ways        = 4
	bucketBytes = ways * 16
	shardBits   = 6
	shards      = 1 << shardBits
	leastTable  = 64 << 10
)

type shard struct {
	mu      sync.Mutex
	day     int64 // the last one on which it was touched, 0: none; every entry is younger than HalvingDays on it
	touched uint64
	buckets []bucket4
	_       [64]byte // the next one's lock is on another cache line
}

type bucket4 [ways]entry

func (h *halving) init(bytes int) {
	h.buckets = leastTable / bucketBytes
	for h.buckets*2*bucketBytes <= bytes {
		h.buckets *= 2
	}
	h.pairKey, h.timeKey = maphash.MakeSeed(), maphash.MakeSeed()
}

func (h *halving) allocate() {
	all := make([]bucket4, h.buckets)
	each := h.buckets / shards
	for i := range h.shards {
		h.shards[i].buckets = all[i*each : (i+1)*each : (i+1)*each]
	}
}

// place gives the shard and the bucket in it of a pair's hash.
func (h *halving) place(pair uint64) (shard, bucket int) {
	i := int(pair) & (h.buckets - 1)
	return i & (shards - 1), i >> shardBits
}

// pair is the hash of a client and a number.
func (h *halving) pair(client, number uint64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], client)
	binary.LittleEndian.PutUint64(b[8:], number)
	return maphash.Bytes(h.pairKey, b[:])
}

// mark is the 12-bit hash of a pair's T, never zero. It depends on the pair: T's that look alike for one number do not for
// another.
func (h *halving) mark(pair uint64, t int64) uint16 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], pair)
	binary.LittleEndian.PutUint64(b[8:], uint64(t))
	return uint16(1 + (maphash.Bytes(h.timeKey, b[:])>>32*4095)>>32)
}

// questions is one call of Seen.
type questions struct {
	meter  *Meter
	client uint64
	day    int64
	recent int64 // T's from here on do not count

	refused, halved, washed int
}

func (q *questions) counts(number uint64, t int64) bool {
	return t < q.recent && (q.meter.exempt == nil || !q.meter.exempt(number))
}

func (q *questions) one(number uint64, t int64, refused *bool) {
	*refused = false
	if !q.counts(number, t) {
		return
	}
	h := &q.meter.halving
	pair := h.pair(q.client, number)
	mark := h.mark(pair, t)
	i, bucket := h.place(pair)
	s := &h.shards[i]
	s.mu.Lock()
	s.turn(q.day)
	*refused = q.ask(&s.buckets[bucket], pair, mark, s.day)
	s.mu.Unlock()
}

// blockSize is how many questions are sorted by shard at once: enough for a good many under each lock, and few enough for
// the stack.
const blockSize = 1024

func (q *questions) many(numbers []uint64, times []int64, refused []bool) {
	var b block
	for len(numbers) > 0 {
		n := min(len(numbers), blockSize)
		b.fill(q, numbers[:n], times[:n], refused[:n])
		b.run(q, refused[:n])
		numbers, times, refused = numbers[n:], times[n:], refused[n:]
	}
}

// block holds questions that count, sorted by shard, those of one shard in the order in which they came.
type block struct {
	pairs [blockSize]uint64
	marks [blockSize]uint16
	row   [blockSize]uint16 // by position here, the position in the call
	order [blockSize]uint16
	ends  [shards]uint16 // in order
	n     int
}

func (b *block) fill(q *questions, numbers []uint64, times []int64, refused []bool) {
	h := &q.meter.halving
	clear(refused)
	clear(b.ends[:])
	b.n = 0
	for i, number := range numbers {
		if !q.counts(number, times[i]) {
			continue
		}
		pair := h.pair(q.client, number)
		b.pairs[b.n], b.marks[b.n], b.row[b.n] = pair, h.mark(pair, times[i]), uint16(i)
		b.ends[pair&(shards-1)]++
		b.n++
	}
	var starts [shards]uint16
	for s, sum := 0, uint16(0); s < shards; s++ {
		starts[s] = sum
		sum += b.ends[s]
		b.ends[s] = sum
	}
	for i, pair := range b.pairs[:b.n] {
		s := pair & (shards - 1)
		b.order[starts[s]] = uint16(i)
		starts[s]++
	}
}

func (b *block) run(q *questions, refused []bool) {
	h := &q.meter.halving
	start := uint16(0)
	for i := range h.shards {
		mine := b.order[start:b.ends[i]]
		start = b.ends[i]
		if len(mine) == 0 {
			continue
		}
		s := &h.shards[i]
		s.mu.Lock()
		s.turn(q.day)
		var touched uint64
		for _, k := range mine { // these wait for memory all at once
			_, bucket := h.place(b.pairs[k])
			touched ^= s.buckets[bucket][0].lo
		}
		s.touched = touched
		for _, k := range mine {
			_, bucket := h.place(b.pairs[k])
			refused[b.row[k]] = q.ask(&s.buckets[bucket], b.pairs[k], b.marks[k], s.day)
		}
		s.mu.Unlock()
	}
}

// turn makes day the shard's. What is HalvingDays old goes. The shard's lock is held.
func (s *shard) turn(day int64) {
	if passed := day - s.day; passed > 0 || passed < -1 { // one day back is calls that overtake each other at midnight
		s.sweep(day)
	}
}

func (s *shard) sweep(day int64) {
	passed := day - s.day
	if s.day == 0 || passed >= HalvingDays { // never touched, or not since all of it grew old
		if s.day != 0 {
			clear(s.buckets)
		}
		s.day = day
		return
	}
	for i := range s.buckets {
		for j := range s.buckets[i] {
			switch e := &s.buckets[i][j]; {
			case e.isEmpty():
			case passed < 0: // the clock was set back: too old is better than too young, but no entry is to stay for ever
				e.setFirst(day)
			case e.age(s.day)+passed >= HalvingDays:
				*e = entry{}
			}
		}
	}
	s.day = day
}

// ask puts one question to its bucket. day is the shard's.
func (q *questions) ask(b *bucket4, pair uint64, mark uint16, day int64) (refuse bool) {
	tag := tagOf(pair)
	for i := range b {
		if e := &b[i]; e.is(tag) {
			return q.askEntry(e, mark)
		}
	}
	victim := victimOf(b, pair)
	if victim.times() >= washedTimes {
		q.washed++
	}
	*victim = newEntry(tag, day, mark)
	return false
}

func (q *questions) askEntry(e *entry, mark uint16) (refuse bool) {
	if e.refusals() < maxRefusals {
		for i := range MaxTimes {
			switch e.mark(i) {
			case mark:
				return false
			case 0:
				e.setMark(i, mark)
				if i == MaxTimes-1 {
					q.halved++
				}
				return false
			}
		}
		e.refuse()
	}
	q.refused++
	return true
}

// keptBonus is what one number of 64 counts for beyond its T's, when one has to go: more than the two T's that an honest run
// over an app's whole base leaves at most others.
const keptBonus = 3

// victimOf gives the entry to write a new one over: an empty one, else one of the fewest T's, by chance where several are.
func victimOf(b *bucket4, pair uint64) *entry {
	best, least := (*entry)(nil), 1<<30
	for i := range uint64(ways) {
		e := &b[(pair>>28+i)%ways]
		n := e.times()
		if n == 0 {
			return e
		}
		if e.kept() {
			n += keptBonus
		}
		if n < least {
			best, least = e, n
		}
	}
	return best
}
