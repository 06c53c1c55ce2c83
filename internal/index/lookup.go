package index

import "sync/atomic"

// group is how many look-ups are under way at once: their cache misses overlap, which makes them eight times faster than
// one after the other.
const group = 128

// Lookup gives the values of any count of numbers, each in the place of its number: Unseen for one that was never set (or
// is no number at all), Damaged for one about which nothing trustworthy is known. Numbers are E.164 digits. It panics if out is
// shorter than digits.
func (x *Index) Lookup(digits []uint64, out []uint16) {
	out = out[:len(digits)]
	for len(digits) > group {
		x.lookup(digits[:group], out[:group])
		digits, out = digits[group:], out[group:]
	}
	x.lookup(digits, out)
}

func (x *Index) lookup(digits []uint64, out []uint16) {
	var words [group]*uint32
	for i, d := range digits {
		d -= denseFirst
		block := d / blockSize
		if block >= uint64(len(x.pages)) {
			continue
		}
		if p := x.pages[block].Load(); p != nil {
			words[i&(group-1)] = &p[(d-block*blockSize)>>1]
		}
	}
	out = out[:len(digits)]
	for i, d := range digits {
		if w := words[i&(group-1)]; w != nil {
			out[i] = uint16(atomic.LoadUint32(w) >> ((d - denseFirst) & 1 * 16)) // a block begins with an even number
		} else {
			out[i] = x.value(d)
		}
	}
}

// Value is Lookup of one number, for who has only one.
func (x *Index) Value(digits uint64) uint16 { return x.value(digits) }

// value gives one number's value, wherever it lies.
func (x *Index) value(digits uint64) uint16 {
	d := digits - denseFirst
	if d >= denseCount {
		t := x.table()
		if t == nil {
			return Damaged
		}
		return uint16(t.get(digits))
	}
	if p := x.pageOf(d / blockSize); p != nil {
		return p.at(d % blockSize)
	}
	return Unseen
}

// Get gives a number's value and its carrier: Unseen and 0 for one that was never set, Damaged twice for one about which
// nothing trustworthy is known. Beside a writer that changes this very number, the carrier may be newer than the value,
// and is never older.
func (x *Index) Get(digits uint64) (value, carrier uint16) {
	d := digits - denseFirst
	if d >= denseCount {
		t := x.table()
		if t == nil {
			return Damaged, Damaged
		}
		both := t.get(digits)
		return uint16(both), uint16(both >> 16)
	}
	p := x.pageOf(d / blockSize)
	if p == nil {
		return Unseen, 0
	}
	if p == damagedPage {
		return Damaged, Damaged
	}
	at := &x.leafOf(d / blockSize).serving[d/blockSize%leafSize]
	for {
		// The writer may clear a number and then drop it from the exceptions. A value belongs to the list that was there
		// before and after it.
		s := at.Load()
		value = p.at(d % blockSize)
		if at.Load() != s {
			continue
		}
		if value == Unseen {
			return Unseen, 0
		}
		return value, s.of(uint16(d % blockSize))
	}
}

// Carriers gives the carriers of any count of numbers, each in the place of its number: 0 where there is none, as for
// every number that was never set, Damaged where nothing trustworthy is known. It panics if out is shorter than digits.
func (x *Index) Carriers(digits []uint64, out []uint16) {
	out = out[:len(digits)]
	for len(digits) > group {
		x.carriers(digits[:group], out[:group])
		digits, out = digits[group:], out[group:]
	}
	x.carriers(digits, out)
}

func (x *Index) carriers(digits []uint64, out []uint16) {
	var found [group]*page
	var lists [group]*serving
	for i, d := range digits {
		block := (d - denseFirst) / blockSize
		if block >= uint64(len(x.pages)) {
			continue
		}
		if l := x.leaves[block/leafSize].Load(); l != nil {
			lists[i&(group-1)] = l.serving[block%leafSize].Load()
			found[i&(group-1)] = x.pages[block].Load()
		}
	}
	out = out[:len(digits)]
	for i, d := range digits {
		p, s := found[i&(group-1)], lists[i&(group-1)]
		if p == nil || s == nil {
			_, out[i] = x.Get(d)
			continue
		}
		d -= denseFirst
		value := p.at(d % blockSize)
		switch l := x.leaves[d/blockSize/leafSize].Load(); {
		case l.serving[d/blockSize%leafSize].Load() != s: // changed meanwhile
			_, out[i] = x.Get(d + denseFirst)
		case value == Unseen:
			out[i] = 0
		default:
			out[i] = s.of(uint16(d % blockSize))
		}
	}
}
