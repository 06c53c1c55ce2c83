package guard

import (
	"math/rand/v2"
	"sync/atomic"
)

// places is how many places what everybody counts is spread over.
const places = 32

// place is a counter on a cache line of its own.
type place struct {
	n atomic.Int64
	_ [120]byte
}

// somewhere gives a place at random, which costs less than two cores meeting at one.
func somewhere() int { return int(rand.Uint32() % places) }
