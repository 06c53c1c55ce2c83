//go:build !race

package index

const offHeap = true
