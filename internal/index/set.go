package index

// Change is one number's new value and carrier.
type Change struct {
	Digits  uint64 // E.164, at most 15 digits
	Value   uint16
	Carrier uint16
}

// Set gives a number a value and a carrier. Unseen makes it a number that was never set, without a carrier. A number whose
// page is damaged stays damaged. It panics for what no number, value or carrier is: 0, more than 15 digits, Damaged.
func (x *Index) Set(digits uint64, value, carrier uint16) {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.set(Change{digits, value, carrier})
}

// Apply makes the changes one after the other, as Set does: of several for one number the last one stays. Readers may
// see some of them before the others.
func (x *Index) Apply(changes []Change) {
	x.writing.Lock()
	defer x.writing.Unlock()
	for len(changes) > 0 {
		some := changes[:min(group, len(changes))]
		x.touch(some)
		for _, c := range some {
			x.set(c)
		}
		changes = changes[len(some):]
	}
}

// touch reads what changes will need, so that their cache misses overlap. The caller holds x.writing.
func (x *Index) touch(changes []Change) {
	for _, c := range changes {
		d := c.Digits - denseFirst
		if d >= denseCount {
			continue
		}
		if p := x.pages[d/blockSize].Load(); p != nil {
			x.touched += uint64(p.at(d % blockSize))
		}
		if l := x.leaves[d/blockSize/leafSize].Load(); l != nil {
			if s := l.serving[d/blockSize%leafSize].Load(); s != nil {
				x.touched += uint64(s.carrier) + s.filter[d%blockSize>>10]
			}
		}
	}
}

// set makes one change. The caller holds x.writing.
func (x *Index) set(c Change) {
	if c.Digits == 0 || c.Digits > MaxDigits || c.Value == Damaged || c.Carrier == Damaged {
		panic("index: set to what is no number, no value or no carrier")
	}
	if c.Value == Unseen {
		c.Carrier = 0
	}
	d := c.Digits - denseFirst
	if d >= denseCount {
		x.setOther(c)
		return
	}
	p := x.pageOf(d / blockSize)
	if p == nil {
		if c.Value == Unseen {
			return
		}
		p = x.memory.page()
		defer x.pages[d/blockSize].Store(p)
	}
	if p != damagedPage {
		x.setDense(p, d, c)
	}
}

// setDense changes number d of the dense ones, on its page. The order of stores is what Get relies on: a carrier before
// the value that comes with it, a list without the number after it was cleared.
func (x *Index) setDense(p *page, d uint64, c Change) {
	x.verified.Load()
	offset := d % blockSize
	leaf := x.leafOf(d / blockSize)
	at := &leaf.serving[d/blockSize%leafSize]
	seen := &leaf.seen[d/blockSize%leafSize]
	was, s := p.at(offset), at.Load()

	switch {
	case c.Value == Unseen && was == Unseen:
		return
	case c.Value == Unseen:
		p.put(offset, Unseen)
		*seen--
		x.len.Add(-1)
		if s != nil && s.of(uint16(offset)) != s.carrier {
			at.Store(s.with(uint16(offset), s.carrier))
		}
		return
	case *seen == 0:
		if s == nil && c.Carrier != 0 || s != nil && s.carrier != c.Carrier {
			at.Store(newServing(c.Carrier, nil))
		}
	case was == Unseen && s.rule() == c.Carrier:
		// It is on no list and needs none.
	case s.of(uint16(offset)) != c.Carrier:
		at.Store(s.with(uint16(offset), c.Carrier))
	}
	p.put(offset, c.Value)
	if was == Unseen {
		*seen++
		x.len.Add(1)
	}
	if now := at.Load(); now != s && now.lopsided(int(*seen)) {
		best, _, listed := now.census()
		at.Store(now.ruledBy(best, p, int(*seen)-listed))
	}
}

// setOther changes a number that is not dense.
func (x *Index) setOther(c Change) {
	t := x.table()
	if t == nil {
		return
	}
	was, ok := t.put(c.Digits, uint32(c.Value)|uint32(c.Carrier)<<16)
	if !ok { // no room, and none of it changed
		t = t.grown()
		t.put(c.Digits, uint32(c.Value)|uint32(c.Carrier)<<16)
		x.others.Store(t)
	}
	switch {
	case uint16(was) == Unseen && c.Value != Unseen:
		x.len.Add(1)
	case uint16(was) != Unseen && c.Value == Unseen:
		x.len.Add(-1)
	}
}
