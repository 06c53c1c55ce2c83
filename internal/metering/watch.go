package metering

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

const (
	// Window is about how many recent checks the shares of Suspicion are of: the one Window checks ago weighs 1/e of the last.
	Window = 10_000
	// LeastChecks is from how many checks in the window a client is judged: fewer say too little about an app that just
	// began, and tell an enumerator too little.
	LeastChecks = 1_000
	// NeverSeenLimit is the share of never-seen numbers at which a client enumerates. An app asks about numbers that were in
	// use when they were bound, so the hub has seen nearly all of them; of numbers made up inside the allotted segments (some
	// 6 billion for 1.8 billion subscriptions, DOMAIN.md §2 and §8) two thirds are not in use.
	NeverSeenLimit = 0.5
	// RunLength is from how many numbers on, each the same distance from the one before, they are a run. In the sorted base of
	// an app that has a share p of a block, a number is in a run of neighbours with a chance of p⁷·(8-7p): 0.1 % at p = 0.3 and
	// 3.5 % at one half. Runs of other strides are rarer still.
	RunLength = 8
	// DenseBlock is from how many different numbers of 64 that follow each other a block of them is dense: asked number by
	// number, in whatever order, as over several connections. Of the blocks of a base that has half of the numbers, one in
	// 10⁹ is dense; with four fifths 9 %.
	DenseBlock = 56
	// SequentialLimit is the share of numbers in runs, or in dense blocks, at which a client enumerates. A sorted base comes
	// there when it holds four fifths of a block; nobody's does. An enumeration is at 1, and at one half if it is mixed with as
	// many honest checks.
	SequentialLimit = 0.5
	// HalvedLimit is the number of numbers at which a client halves, if it is also at least HalvedShare of its checks: numbers
	// of which it asked MaxTimes different T's, those of a day ago counting half. So it takes three within six hours. One or
	// two are shared numbers of shops and test phones; of an app's 10⁸ checks a day a thousand may be.
	HalvedLimit = 2.5
	// HalvedShare: see HalvedLimit.
	HalvedShare = 1e-5
	// halvedHalfLife is how long it takes until what HalvedLimit counts counts half.
	halvedHalfLife = 24 * time.Hour
	// watchedFor is how long a client that does not check stays suspected: over a long holiday.
	watchedFor = 10 * 24 * time.Hour
)

// Suspicion is what a client's recent checks look like. It is a reason to look, not a verdict. Numbers asked in random order
// over more than some 10,000, or spread over many hubs, show only by the share of never-seen ones.
type Suspicion struct {
	NeverSeenShare  float64 // of the checks in the window, 0 to 1
	SequentialShare float64 // of the checks in the window, 0 to 1: in runs up, down or by a fixed stride, or in dense blocks
	Enumerating     bool    // one of the shares is at its limit, of at least LeastChecks
	Halving         bool    // see HalvedLimit
}

// watch is what is remembered of one client. All counts decay.
type watch struct {
	mu   sync.Mutex
	last time.Time

	total, neverSeen, inRuns, dense float64           // by checks
	previous, stride                uint64            // of two numbers, modulo 2⁶⁴
	run                             int               // numbers that lie stride apart, ending with previous
	blocks                          *recentBlockTable // nil until there are half of LeastChecks

	checks, halved float64 // by time
	decayed        time.Time
}

// recentBlock is which of the 64 numbers that begin with first·64 were asked, since the block last took its place.
type recentBlock struct{ first, asked uint64 }

// recentBlocks is how many of them a client has: room for 16,384 numbers in a row, in 4 KiB.
const recentBlocks = 256

type recentBlockTable [recentBlocks]recentBlock

type watches struct {
	mu             sync.RWMutex
	most           int
	neverSeenLimit float64
	clients        map[string]*watch
	swept          time.Time
}

func (ws *watches) init(most int, neverSeenLimit float64) {
	ws.most, ws.neverSeenLimit, ws.clients = most, neverSeenLimit, map[string]*watch{}
}

// of gives the client's watch, a new one where there is none.
func (ws *watches) of(client string, now time.Time) *watch {
	ws.mu.RLock()
	w, ok := ws.clients[client]
	due := now.Sub(ws.swept)
	ws.mu.RUnlock()
	if ok && due < watchSweepEvery && due > -clockStep {
		return w
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if d := now.Sub(ws.swept); d >= watchSweepEvery || d < -clockStep {
		ws.sweep(now)
	}
	if w, ok = ws.clients[client]; ok {
		return w
	}
	if len(ws.clients) >= ws.most {
		ws.makeRoom()
	}
	w = &watch{last: now, decayed: now}
	ws.clients[client] = w
	return w
}

// watchSweepEvery is how often clients are dropped that have not checked for watchedFor.
const watchSweepEvery = time.Hour

func (ws *watches) sweep(now time.Time) {
	ws.swept = now
	for client, w := range ws.clients {
		w.mu.Lock()
		if now.Sub(w.last) >= watchedFor {
			delete(ws.clients, client)
		}
		w.mu.Unlock()
	}
}

// makeRoom drops the client that checked longest ago of a few taken at random, unsuspected ones first.
func (ws *watches) makeRoom() {
	const few = 8
	seen, victim := 0, ""
	var worst struct {
		suspected bool
		last      time.Time
	}
	for client, w := range ws.clients {
		w.mu.Lock()
		s, last := w.suspicion(ws.neverSeenLimit), w.last
		w.mu.Unlock()
		suspected := s.Enumerating || s.Halving
		if seen == 0 || worst.suspected && !suspected || worst.suspected == suspected && last.Before(worst.last) {
			victim, worst.suspected, worst.last = client, suspected, last
		}
		if seen++; seen == few {
			break
		}
	}
	delete(ws.clients, victim)
}

// each gives the suspicion of every client.
func (ws *watches) each(now time.Time, do func(Suspicion)) {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	for _, w := range ws.clients {
		w.mu.Lock()
		w.decay(now)
		s := w.suspicion(ws.neverSeenLimit)
		w.mu.Unlock()
		do(s)
	}
}

// halving takes in what Seen found.
func (ws *watches) halving(client string, checks, halved int, now time.Time) {
	w := ws.of(client, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seenAt(now)
	w.checks += float64(checks)
	w.halved += float64(halved)
}

// Observe is told of checks that were answered: the numbers' digits in the order in which they were asked, the outcomes, and
// which numbers the hub never saw, all of one length. It counts the outcomes for the client's Usage and what Suspicion looks at.
func (m *Meter) Observe(client string, numbers []uint64, outcomes []huanxin.CheckOutcome, neverSeen []bool, now time.Time) {
	outcomes, neverSeen = outcomes[:len(numbers)], neverSeen[:len(numbers)]
	if len(numbers) == 0 {
		return
	}
	var sums Outcomes
	for _, o := range outcomes {
		if int(o) >= len(sums) {
			o = 0
		}
		sums[o]++
	}
	m.count(client, &sums, now)

	w := m.watches.of(client, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seenAt(now)
	const step = Window / 10 // within which no decay is felt
	for len(numbers) > 0 {
		n := min(len(numbers), step)
		w.observe(numbers[:n], neverSeen[:n], m.exempt)
		numbers, neverSeen = numbers[n:], neverSeen[n:]
	}
}

// observe takes in a few checks.
func (w *watch) observe(numbers []uint64, neverSeen []bool, exempt func(uint64) bool) {
	if w.blocks == nil && w.total >= LeastChecks/2 {
		w.blocks = new(recentBlockTable)
	}
	total, unseen, inRuns, dense := 0, 0, 0, 0
	for i, n := range numbers {
		if exempt != nil && exempt(n) {
			continue
		}
		total++
		if neverSeen[i] {
			unseen++
		}
		inRuns += w.follow(n)
		if w.blocks != nil {
			dense += w.blocks.mark(n)
		}
	}
	fade := math.Exp(-float64(total) / Window)
	w.total = w.total*fade + float64(total)
	w.neverSeen = w.neverSeen*fade + float64(unseen)
	// What becomes a run or dense brings in numbers from before, which may have been of an earlier call.
	w.inRuns = min(w.inRuns*fade+float64(inRuns), w.total)
	w.dense = min(w.dense*fade+float64(dense), w.total)
}

// mark takes in the next number and gives how many numbers it adds to those in dense blocks.
func (bs *recentBlockTable) mark(n uint64) int {
	b := &bs[n/64%recentBlocks]
	if b.first != n/64 {
		*b = recentBlock{first: n / 64}
	}
	before := b.asked
	b.asked |= 1 << (n % 64)
	switch count := bits.OnesCount64(b.asked); {
	case count < DenseBlock:
		return 0
	case count == DenseBlock && b.asked != before:
		return DenseBlock
	default:
		return 1
	}
}

// follow takes in the next number and gives how many numbers it adds to those in runs. A number that is asked twice in a row,
// as for the two ends of a day, neither breaks a run nor makes one.
func (w *watch) follow(n uint64) int {
	switch stride := n - w.previous; {
	case stride == 0:
	case stride == w.stride:
		w.run++
		w.previous = n
		if w.run == RunLength {
			return RunLength
		}
	default:
		w.previous, w.stride, w.run = n, stride, 2
	}
	if w.run >= RunLength {
		return 1
	}
	return 0
}

// seenAt notes that the client is there. w.mu is held.
func (w *watch) seenAt(now time.Time) {
	w.decay(now)
	if now.After(w.last) {
		w.last = now
	}
}

// decay brings what decays by time to now. w.mu is held.
func (w *watch) decay(now time.Time) {
	passed := now.Sub(w.decayed)
	if passed >= -clockStep && passed < time.Second {
		return // too little to be worth a power, or calls that overtook each other
	}
	if passed > 0 {
		f := math.Exp2(-float64(passed) / float64(halvedHalfLife))
		w.checks, w.halved = w.checks*f, w.halved*f
	}
	w.decayed = now
}

// suspicion judges. w.mu is held.
func (w *watch) suspicion(neverSeenLimit float64) Suspicion {
	s := Suspicion{Halving: w.halved >= HalvedLimit && w.halved >= HalvedShare*w.checks}
	if w.total > 0 {
		s.NeverSeenShare, s.SequentialShare = w.neverSeen/w.total, max(w.inRuns, w.dense)/w.total
	}
	s.Enumerating = w.total >= LeastChecks && (s.NeverSeenShare >= neverSeenLimit || s.SequentialShare >= SequentialLimit)
	return s
}

// Suspicion gives what the client's recent checks look like. Of a client that has not checked for some days, or of whom too many
// others took the place (Config.MaxClients), nothing is known: the zero Suspicion.
func (m *Meter) Suspicion(client string, now time.Time) Suspicion {
	m.watches.mu.RLock()
	w, ok := m.watches.clients[client]
	m.watches.mu.RUnlock()
	if !ok {
		return Suspicion{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.last) >= watchedFor {
		return Suspicion{}
	}
	w.decay(now)
	return w.suspicion(m.watches.neverSeenLimit)
}
