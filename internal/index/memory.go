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
	taken    int      // bytes of all pages, free or not
	mappings [][]byte // to release
	table    []byte   // the directory, if it is mapped and not on huge pages yet
	heap     []*page  // first pages of what lies on the heap: a directory that does not lie there keeps nothing alive
}

// directory gives the pointers to all pages.
func (m *memory) directory() []atomic.Pointer[page] {
	if b := m.mapped(blocks * int(unsafe.Sizeof(uintptr(0)))); b != nil {
		m.table = b
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
		if size >= hugePage {
			adviseHuge(b)
			// So many pages are worth a directory on huge pages, too.
			adviseHuge(m.table)
			m.table = nil
		}
		m.free = unsafe.Slice((*page)(unsafe.Pointer(&b[0])), size/pageSize)
		return
	}
	m.free = make([]page, size/pageSize)
	m.heap = append(m.heap, &m.free[0])
}

// mapped gives zeroed memory of its own from the system, placed for huge pages if it is big, or nil.
func (m *memory) mapped(size int) []byte {
	if m.onHeap {
		return nil
	}
	slack := 0
	if size >= hugePage {
		slack = hugePage // memory that is never touched costs nothing
	}
	b := mapAnonymous(size + slack)
	if b == nil {
		return nil
	}
	m.mappings = append(m.mappings, b)
	skip := 0
	if slack > 0 {
		skip = int(-uintptr(unsafe.Pointer(&b[0])) & (hugePage - 1))
	}
	return b[skip : skip+size]
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
	m.mappings, m.table, m.free, m.heap, m.taken = nil, nil, nil, nil, 0
	return first
}
