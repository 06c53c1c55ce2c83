package guard

import (
	"sync"
	"sync/atomic"
)

// places is how many places what everybody counts is spread over.
const places = 32

// place is a counter on a cache line of its own.
type place struct {
	n atomic.Int64
	_ [120]byte
}

// spots lends each core the place that it used last, so that cores seldom meet at one: a cache line that two of them write to by turns
// costs more than all else of a decision.
var (
	spots    = sync.Pool{New: func() any { return &numbered[nextSpot.Add(1)%places] }}
	nextSpot atomic.Uint32
	numbered = func() (all [places]int) {
		for i := range all {
			all[i] = i
		}
		return all
	}()
)

// here gives the place of the core that this runs on, more or less.
func here() int {
	s := spots.Get().(*int)
	i := *s
	spots.Put(s)
	return i
}
