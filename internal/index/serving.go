package index

import (
	"slices"
	"sync/atomic"
)

// serving says which carriers serve the numbers of a page that are set: one for all but a list of exceptions. It never
// changes; the writer publishes another. nil says that no carrier is known of any.
//
// The list is groups, one a carrier, in ascending order of carriers: the carrier, how many offsets follow, the offsets in
// ascending order. That is 2 bytes an exception, where pairs would be 4. It lists numbers only that are set.
type serving struct {
	carrier uint16
	except  []uint16
	// filter has a bit for every 16 offsets: it is zero if none of them is listed, which spares most searches.
	filter [blockSize/16/64 + 1]uint64
}

// newServing gives one with its filter.
func newServing(carrier uint16, except []uint16) *serving {
	s := &serving{carrier: carrier}
	if len(except) == 0 {
		return s
	}
	s.except = except
	for rest := except; len(rest) > 0; {
		var offsets []uint16
		_, offsets, rest = next(rest)
		for _, o := range offsets {
			s.mark(o)
		}
	}
	return s
}

// perhaps reports false if an offset is surely not listed.
func (s *serving) perhaps(offset uint16) bool { return s.filter[offset>>10]>>(offset>>4&63)&1 != 0 }

// mark says of a new list that it has an offset.
func (s *serving) mark(offset uint16) { s.filter[offset>>10] |= 1 << (offset >> 4 & 63) }

// next cuts the first group off a list.
func next(list []uint16) (carrier uint16, offsets, rest []uint16) {
	n := 2 + int(list[1])
	return list[0], list[2:n], list[n:]
}

// of gives the carrier of a number that is set.
func (s *serving) of(offset uint16) uint16 {
	if s == nil {
		return 0
	}
	if !s.perhaps(offset) {
		return s.carrier
	}
	for rest := s.except; len(rest) > 0; {
		var carrier uint16
		var offsets []uint16
		carrier, offsets, rest = next(rest)
		if _, ok := slices.BinarySearch(offsets, offset); ok {
			return carrier
		}
	}
	return s.carrier
}

// with gives the same but for one number. The carrier of all the others may be given too, to take it from the list.
func (s *serving) with(offset, carrier uint16) *serving {
	if s == nil {
		s = new(serving)
	}
	out := make([]uint16, 0, len(s.except)+3)
	placed := carrier == s.carrier
	for rest := s.except; len(rest) > 0; {
		var c uint16
		var offsets []uint16
		c, offsets, rest = next(rest)
		if !placed && carrier < c {
			out, placed = append(out, carrier, 1, offset), true
		}
		at, ok := slices.BinarySearch(offsets, offset)
		switch {
		case c == carrier && !ok:
			out = append(out, c, uint16(len(offsets)+1))
			out = append(append(append(out, offsets[:at]...), offset), offsets[at:]...)
			placed = true
		case c != carrier && ok:
			if len(offsets) > 1 {
				out = append(out, c, uint16(len(offsets)-1))
				out = append(append(out, offsets[:at]...), offsets[at+1:]...)
			}
		default:
			out = append(append(out, c, uint16(len(offsets))), offsets...)
			placed = placed || c == carrier
		}
	}
	if !placed {
		out = append(out, carrier, 1, offset)
	}
	if carrier == s.carrier {
		return newServing(carrier, out)
	}
	longer := &serving{s.carrier, out, s.filter}
	longer.mark(offset)
	return longer
}

// census gives the carrier with the longest list and that length (the lowest carrier of several), and how many numbers
// are listed in all.
func (s *serving) census() (carrier uint16, longest, listed int) {
	if s == nil {
		return 0, 0, 0
	}
	for rest := s.except; len(rest) > 0; {
		var c uint16
		var offsets []uint16
		c, offsets, rest = next(rest)
		listed += len(offsets)
		if len(offsets) > longest {
			carrier, longest = c, len(offsets)
		}
	}
	return carrier, longest, listed
}

// lopsided reports whether the exceptions should be the rule. seen numbers of the page are set. Some slack keeps it from
// tipping to and fro.
func (s *serving) lopsided(seen int) bool {
	_, longest, listed := s.census()
	return longest > 2*(seen-listed)+8
}

// canonical says the same in the one form that a page's content has in a snapshot: the carrier that serves most numbers,
// the lowest one of several, is the rule. seen numbers of p are set, at least one.
func (s *serving) canonical(p *page, seen int) *serving {
	if s == nil {
		return new(serving)
	}
	best, longest, listed := s.census()
	rule := seen - listed
	if rule > longest || rule == longest && s.carrier < best {
		return s
	}
	return s.ruledBy(best, p, rule)
}

// ruledBy makes a carrier that has a list the rule. The numbers of the old rule, so many, get a list instead.
func (s *serving) ruledBy(carrier uint16, p *page, ruled int) *serving {
	out := make([]uint16, 0, len(s.except)+2+ruled)
	placed := ruled == 0
	place := func() {
		out = append(out, s.carrier, uint16(ruled))
		out = s.appendRuled(out, p)
		placed = true
	}
	for rest := s.except; len(rest) > 0; {
		var c uint16
		var offsets []uint16
		c, offsets, rest = next(rest)
		if !placed && s.carrier < c {
			place()
		}
		if c != carrier {
			out = append(append(out, c, uint16(len(offsets))), offsets...)
		}
	}
	if !placed {
		place()
	}
	return newServing(carrier, out)
}

// appendRuled appends the offsets that are set and not listed.
func (s *serving) appendRuled(out []uint16, p *page) []uint16 {
	var listed [blockSize]bool
	for rest := s.except; len(rest) > 0; {
		var offsets []uint16
		_, offsets, rest = next(rest)
		for _, o := range offsets {
			listed[o] = true
		}
	}
	for i := range p {
		w := atomic.LoadUint32(&p[i])
		if w&0xFFFF != 0 && !listed[2*i] {
			out = append(out, uint16(2*i))
		}
		if w>>16 != 0 && !listed[2*i+1] {
			out = append(out, uint16(2*i+1))
		}
	}
	return out
}

// rule gives the carrier of every number that is set and not listed.
func (s *serving) rule() uint16 {
	if s == nil {
		return 0
	}
	return s.carrier
}
