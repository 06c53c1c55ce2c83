package metering

import "math/bits"

// entry is what is remembered of one client's number, 128 bits:
//
//	tag 23 │ first day, modulo 32, 5 │ refusals 4 │ eight marks of T's of 12 each, in the order in which they came, 0: none
//
// An entry without marks is empty. The first day is modulo 32 because no entry lives longer: see shard.day.
type entry struct {
	lo, hi uint64
}

const (
	tagBits      = 23
	tagMask      = 1<<tagBits - 1
	dayShift     = tagBits
	dayMask      = 1<<5 - 1
	refusalShift = dayShift + 5
	markShift    = refusalShift + 4
	markBits     = 12
	markMask     = 1<<markBits - 1
	keptMask     = 1<<6 - 1 // of the tag: one of 64 is kept in preference
)

// tagOf takes bits of a pair's hash that take no part in its place, in a table of up to 2⁴¹ buckets.
func tagOf(pair uint64) uint64 { return pair >> (64 - tagBits) }

func newEntry(tag uint64, day int64, mark uint16) entry {
	return entry{lo: tag | uint64(day&dayMask)<<dayShift | uint64(mark)<<markShift}
}

func (e *entry) isEmpty() bool { return e.lo>>markShift&markMask == 0 }

func (e *entry) is(tag uint64) bool { return e.lo&tagMask == tag && !e.isEmpty() }

func (e *entry) kept() bool { return e.lo&keptMask == 0 }

// age is how many days before day the first one was, where that is less than 32.
func (e *entry) age(day int64) int64 { return (day - int64(e.lo>>dayShift)) & dayMask }

func (e *entry) setFirst(day int64) {
	e.lo = e.lo&^(dayMask<<dayShift) | uint64(day&dayMask)<<dayShift
}

func (e *entry) refusals() int { return int(e.lo >> refusalShift & (1<<4 - 1)) }

// refuse counts one refusal, of which there are fewer than maxRefusals yet.
func (e *entry) refuse() { e.lo += 1 << refusalShift }

// mark gives the i-th. A shift by 64 or more, or below zero as an unsigned number, gives 0, so that of the three terms those
// remain that the mark lies in.
func (e *entry) mark(i int) uint16 {
	s := uint(markShift + markBits*i)
	return uint16((e.lo>>s | e.hi<<(64-s) | e.hi>>(s-64)) & markMask)
}

// setMark sets the i-th, which is 0.
func (e *entry) setMark(i int, mark uint16) {
	s, v := uint(markShift+markBits*i), uint64(mark)
	e.lo |= v << s
	e.hi |= v>>(64-s) | v<<(s-64)
}

// times is how many T's are remembered: where the last mark ends, since none is 0 and none is left out.
func (e *entry) times() int {
	end := bits.Len64(e.lo)
	if e.hi != 0 {
		end = 64 + bits.Len64(e.hi)
	}
	return max(0, (end-markShift+markBits-1)/markBits)
}
