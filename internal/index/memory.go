package index

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	hugePage = 2 << 20
	pageSize = int(unsafe.Sizeof(page{}))
	// Pages are taken from the system in mappings that double in size up to this: an index of few numbers is small, a
	// big one has few mappings.
	maxMapping = 32 * hugePage
	minMapping = hugePage / 8
)

// memory gives out pages, from mappings where the system gives them and from the Go heap where not. None is ever given
// back but all at once.
type memory struct {
	onHeap bool

	mu       sync.Mutex
	free     []page
	taken    int      // bytes of all mappings and heap together
	mappings [][]byte // to release
	heap     []*page  // the first pages of what lies on the heap, which the directory, itself not on it, would not keep alive
}

// directory gives the pointers to all pages.
func (m *memory) directory() []atomic.Pointer[page] {
	if b := m.mapped(blocks * int(unsafe.Sizeof(uintptr(0)))); b != nil {
		return unsafe.Slice((*atomic.Pointer[page])(unsafe.Pointer(&b[0])), blocks)
	}
	return make([]atomic.Pointer[page], blocks)
}

// page gives a page of zeros.
func (m *memory) page() *page {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) == 0 {
		m.more()
	}
	p := &m.free[0]
	m.free = m.free[1:]
	return p
}

func (m *memory) more() {
	size := min(max(m.taken, minMapping), maxMapping)
	m.taken += size
	if b := m.mapped(size); b != nil {
		m.free = unsafe.Slice((*page)(unsafe.Pointer(&b[0])), size/pageSize)
		return
	}
	m.free = make([]page, size/pageSize)
	m.heap = append(m.heap, &m.free[0])
}

// mapped gives zeroed memory of its own from the system, on huge pages if it is big, or nil.
func (m *memory) mapped(size int) []byte {
	if m.onHeap {
		return nil
	}
	slack := 0
	if size >= hugePage {
		slack = hugePage // to begin where a huge page does; memory that is never touched costs nothing
	}
	b := mapAnonymous(size + slack)
	if b == nil {
		return nil
	}
	m.mappings = append(m.mappings, b)
	if slack > 0 {
		skip := -uintptr(unsafe.Pointer(&b[0])) & (hugePage - 1)
		b = b[skip : int(skip)+size]
		adviseHuge(b)
	}
	return b
}

// release gives all mappings back.
func (m *memory) release() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first error
	for _, b := range m.mappings {
		if err := unmap(b); first == nil {
			first = err
		}
	}
	m.mappings, m.free, m.heap, m.taken = nil, nil, nil, 0
	return first
}
