package index

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// table is an open-addressing hash table from digits to value | carrier<<16, for one writer and readers who take no lock.
// It never grows: the writer makes a bigger one. A number stays in its slot; one that was cleared has a zero there.
type table struct {
	buckets []bucket
	used    int // slots with a number; the writer's
}

// bucket is one cache line, filled from its first slot on. The value of a slot is written before its number.
type bucket struct {
	digits [slots]atomic.Uint64
	both   [slots]atomic.Uint32
	_      uint32
}

const (
	slots = 5
	// A table is full when 4 of 5 slots are used, and half as big again as it needs to be when new: 16 to 24
	// bytes a number.
	fullOf10 = 8
)

// seed keeps outsiders from choosing numbers that collide.
var seed = rand.Uint64()

// newTable gives a table with room for n numbers and half as many again.
func newTable(n int) *table {
	return &table{buckets: make([]bucket, (n+n/2)*10/(fullOf10*slots)+2)}
}

// room gives how many numbers the table takes.
func (t *table) room() int { return len(t.buckets) * slots * fullOf10 / 10 }

func (t *table) home(digits uint64) int {
	h := (digits ^ seed) * 0x9E3779B97F4A7C15
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	at, _ := bits.Mul64(h, uint64(len(t.buckets)))
	return int(at)
}

// get gives what is kept for a number, 0 if nothing is.
func (t *table) get(digits uint64) uint32 {
	if digits == 0 {
		return 0
	}
	for i := t.home(digits); ; {
		b := &t.buckets[i]
		for s := range b.digits {
			switch b.digits[s].Load() {
			case digits:
				return b.both[s].Load()
			case 0:
				return 0
			}
		}
		if i++; i == len(t.buckets) {
			i = 0
		}
	}
}

// put stores what is kept for a number and gives what was. It stores nothing and gives false if that takes a slot more
// than there is room for.
func (t *table) put(digits uint64, both uint32) (was uint32, ok bool) {
	for i := t.home(digits); ; {
		b := &t.buckets[i]
		for s := range b.digits {
			switch b.digits[s].Load() {
			case digits:
				return b.both[s].Swap(both), true
			case 0:
				if both == 0 {
					return 0, true
				}
				if t.used >= t.room() {
					return 0, false
				}
				t.used++
				b.both[s].Store(both)
				b.digits[s].Store(digits)
				return 0, true
			}
		}
		if i++; i == len(t.buckets) {
			i = 0
		}
	}
}

// grown gives a table of the same content, without the numbers that were cleared, with room for half as many again.
func (t *table) grown() *table {
	n := 0
	t.each(func(uint64, uint32) { n++ })
	g := newTable(n)
	t.each(func(digits uint64, both uint32) { g.put(digits, both) })
	return g
}

// each visits every number that is set, in no order.
func (t *table) each(visit func(digits uint64, both uint32)) {
	for i := range t.buckets {
		b := &t.buckets[i]
		for s := range b.digits {
			digits := b.digits[s].Load()
			if digits == 0 {
				break
			}
			if both := b.both[s].Load(); both != 0 {
				visit(digits, both)
			}
		}
	}
}
