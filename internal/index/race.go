//go:build race

package index

// offHeap: the race detector does not see that atomic operations on memory of our own order anything, so it gets an index on Go's heap.
const offHeap = false
