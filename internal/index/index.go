package index

import (
	"sync"
	"sync/atomic"
)

// Values that the index gives a meaning. All others are the user's.
const (
	// Unseen is the value of a number that was never set, or was set to it.
	Unseen uint16 = 0
	// Damaged is the value, and the carrier, of a number about which the snapshot that was opened holds nothing
	// trustworthy: ask elsewhere. It is never a number's own value or carrier.
	Damaged uint16 = 0xFFFF
)

// MaxDigits is the greatest number there is: E.164 numbers have at most 15 digits.
const MaxDigits uint64 = 999_999_999_999_999

const (
	denseFirst uint64 = 8610000000000 // +86 1 and ten digits
	denseCount uint64 = 10_000_000_000
	blockSize  uint64 = 10_000
	blocks            = int(denseCount / blockSize)
	leafSize          = 1000 // blocks to a leaf
)

// page holds the values of one block, the even number's in a word's low half. Its words are read and written
// atomically, and written by one writer at a time.
type page [blockSize / 2]uint32

// damagedPage answers for every block whose page failed verification. Nobody writes to it.
var damagedPage = func() *page {
	p := new(page)
	for i := range p {
		p[i] = uint32(Damaged)<<16 | uint32(Damaged)
	}
	return p
}()

func (p *page) at(offset uint64) uint16 {
	return uint16(atomic.LoadUint32(&p[offset>>1]) >> (offset & 1 * 16))
}

// put stores a value. Only the writer calls it.
func (p *page) put(offset uint64, value uint16) {
	shift := offset & 1 * 16
	w := &p[offset>>1]
	atomic.StoreUint32(w, *w&^(0xFFFF<<shift)|uint32(value)<<shift)
}

// leaf holds what is asked for less often of a thousand blocks. seen counts the numbers of a block that are not Unseen;
// it belongs to whoever publishes the page, and to the writer from then on.
type leaf struct {
	serving [leafSize]atomic.Pointer[serving]
	seen    [leafSize]uint16
}

// Index is the index of all numbers. Get one from New or Open.
type Index struct {
	pages  []atomic.Pointer[page] // by block; nil: no number of it was ever set, or its page in the snapshot is not verified yet
	leaves [blocks / leafSize]atomic.Pointer[leaf]
	others atomic.Pointer[table] // every number that is not dense
	len    atomic.Int64
	// source is the snapshot while something of it is not verified yet.
	source atomic.Pointer[source]
	damage chan struct{} // closed when damage is first found
	broken sync.Once     // closes damage

	writing sync.Mutex // held by the writer, and while a page is copied
	touched uint64     // a sum that nobody asks for: reads for it are not left out; under writing
	saving  sync.Mutex // held by Save
	memory  memory

	// verified counts pages that were verified. It orders what belongs to them for the race detector, which does not see that the
	// directory does: that lies off Go's heap. Written before a page is published, read after one was found.
	verified atomic.Int64
}

// New gives an empty index.
func New() *Index { return newIndex(false) }

// newIndex gives an empty index, off the Go heap or, so that the race detector sees its pages, on it.
func newIndex(onHeap bool) *Index {
	x := &Index{damage: make(chan struct{}), memory: memory{onHeap: onHeap}}
	x.pages = x.memory.directory()
	x.others.Store(newTable(0))
	return x
}

// Close gives the memory back. No other call may be under way then, nor follow.
func (x *Index) Close() error {
	var err error
	if s := x.source.Swap(nil); s != nil {
		err = s.file.Close()
	}
	x.pages = nil
	if e := x.memory.release(); err == nil {
		err = e
	}
	return err
}

// Len gives how many numbers are set to another value than Unseen. Those of damaged pages do not count.
func (x *Index) Len() int64 { return x.len.Load() }

// leafOf gives the leaf of a block, made when there is none. Anybody may call it.
func (x *Index) leafOf(block uint64) *leaf {
	at := &x.leaves[block/leafSize]
	if l := at.Load(); l != nil {
		return l
	}
	at.CompareAndSwap(nil, new(leaf))
	return at.Load()
}

// pageOf gives the page of a block, verified first if that is still to be done, and nil if none of its numbers was
// ever set.
func (x *Index) pageOf(block uint64) *page {
	if p := x.pages[block].Load(); p != nil {
		return p
	}
	if s := x.source.Load(); s != nil {
		s.need(x, block)
	}
	// Without a source, too: its last page may have been published since the first look.
	return x.pages[block].Load()
}

// table gives the numbers that are not dense, verified first if that is still to be done, and nil if they are damaged.
func (x *Index) table() *table {
	if s := x.source.Load(); s != nil {
		s.needTable(x)
	}
	return x.others.Load()
}

func (x *Index) foundDamage() { x.broken.Do(func() { close(x.damage) }) }

// Damaged reports whether damage was found so far.
func (x *Index) Damaged() bool {
	select {
	case <-x.damage:
		return true
	default:
		return false
	}
}

// Damage gives a channel that is closed when damage is first found.
func (x *Index) Damage() <-chan struct{} { return x.damage }
