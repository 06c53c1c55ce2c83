package index

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// source is a snapshot of which something is not verified yet. Its parts are the pages and all other numbers together.
//
// A page is read, checked and published by whoever needs it first, holding the lock of its entry; the directory's pointer says that
// it is done. It is read into memory of ours and checked there: a file that changes or vanishes later harms nothing, as
// it would if it were mapped.
type source struct {
	file     *os.File
	carriers bool
	entries  []entry // ascending by block
	locks    [64]sync.Mutex
	left     atomic.Int64 // parts that are not done; who does the last one closes the file

	others     sync.Mutex
	othersDone atomic.Bool
	count      int64 // of other numbers
	othersAt   int64
	othersCRC  uint32
}

// Open opens a snapshot and gives it as an index, with the meta it was written with. It reads head, table and end only, so
// it takes milliseconds for 10^9 numbers; a number's first look-up then reads its page, the first one of a number that
// is not dense all of those. Nothing answers before it is verified. Call Verify to have it all in memory.
//
// The error is ErrDamaged or ErrVersion if it is no whole snapshot as far as that was read, else what the file system said.
// The file may be replaced (by Save) or removed at any time.
func Open(path string) (*Index, []byte, error) { return open(path, false) }

func open(path string, onHeap bool) (*Index, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	s, meta, err := newSource(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	x := newIndex(onHeap)
	x.len.Store(s.count)
	for _, e := range s.entries {
		x.len.Add(int64(e.seen))
	}
	s.left.Store(int64(len(s.entries)) + 1)
	x.source.Store(s)
	if s.count == 0 {
		s.needTable(x)
	}
	return x, meta, nil
}

// newSource reads what stands about the parts of a snapshot, and bounds every length by the file's before it relies on it.
func newSource(f *os.File) (*source, []byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	length := info.Size()
	if !info.Mode().IsRegular() || length < alignment+endSize {
		return nil, nil, ErrDamaged
	}
	flags, meta, err := readHead(f, length)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, endSize)
	if err := readAt(f, b, length-endSize); err != nil {
		return nil, nil, err
	}
	end, ok := readEnding(b, length)
	if !ok {
		return nil, nil, ErrDamaged
	}
	s := &source{file: f, carriers: flags&flagCarriers != 0, count: int64(end.others), othersCRC: end.othersCRC}
	s.othersAt = length - endSize - otherSize*s.count
	if err := s.readTable(end, int64(aligned(headSize+len(meta)))); err != nil {
		return nil, nil, err
	}
	return s, meta, nil
}

func readHead(f *os.File, length int64) (flags uint32, meta []byte, err error) {
	head := make([]byte, headSize)
	if err := readAt(f, head, 0); err != nil {
		return 0, nil, err
	}
	if !bytes.Equal(head[:16], magic[:]) {
		return 0, nil, ErrDamaged
	}
	if le.Uint32(head[16:]) != version {
		return 0, nil, ErrVersion
	}
	flags = le.Uint32(head[20:])
	n := int64(le.Uint32(head[24:]))
	if n > maxMeta || int64(aligned(headSize+int(n))) > length-endSize || flags&^flagCarriers != 0 {
		return 0, nil, ErrDamaged
	}
	rest := make([]byte, aligned(headSize+int(n))-headSize)
	if err := readAt(f, rest, headSize); err != nil {
		return 0, nil, err
	}
	if crc32.Update(sum(head[:28]), castagnoli, rest) != le.Uint32(head[28:]) || !zeros(rest[n:]) {
		return 0, nil, ErrDamaged
	}
	return flags, rest[:n:n], nil
}

// readTable reads the table, which must account for every byte between the head and the other numbers.
func (s *source) readTable(end ending, at int64) error {
	from := s.othersAt - entrySize*int64(end.pages)
	if from < at {
		return ErrDamaged
	}
	b := make([]byte, entrySize*end.pages)
	if err := readAt(s.file, b, from); err != nil {
		return err
	}
	if sum(b) != end.tableCRC {
		return ErrDamaged
	}
	s.entries = make([]entry, end.pages)
	last := int64(-1)
	for i := range s.entries {
		e, ok := readEntry(b[entrySize*i:])
		if !ok || int64(e.block) <= last {
			return ErrDamaged
		}
		last = int64(e.block)
		e.at = at
		at += int64(e.size())
		s.entries[i] = e
	}
	if at != from {
		return ErrDamaged
	}
	return nil
}

// readAt fills b. A file that ends before is damaged.
func readAt(f *os.File, b []byte, at int64) error {
	_, err := f.ReadAt(b, at)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDamaged
	}
	return err
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// records holds buffers for one record.
var records = sync.Pool{New: func() any { return new([maxRecordSize]byte) }}

// need publishes the page of a block if there is one.
func (s *source) need(x *Index, block uint64) {
	i, ok := slices.BinarySearchFunc(s.entries, block, func(e entry, b uint64) int { return cmp.Compare(uint64(e.block), b) })
	if !ok {
		return
	}
	buf := records.Get().(*[maxRecordSize]byte)
	defer records.Put(buf)
	s.publish(x, i, func(e entry) []byte {
		b := buf[:e.size()]
		if readAt(s.file, b, e.at) != nil {
			return nil
		}
		return b
	})
}

// publish puts a page into the directory unless it is there: the one that record gives, or damagedPage if that is nil or
// fails its check. Until it is done the file is open.
func (s *source) publish(x *Index, i int, record func(entry) []byte) {
	lock := &s.locks[i%len(s.locks)]
	lock.Lock()
	defer lock.Unlock()
	e := s.entries[i]
	if x.pages[e.block].Load() != nil {
		return
	}
	if p := s.check(x, e, record(e)); p != nil {
		x.verified.Add(1)
		x.pages[e.block].Store(p)
	} else {
		x.pages[e.block].Store(damagedPage)
		x.len.Add(-int64(e.seen))
		x.foundDamage()
	}
	s.done(x)
}

// check makes a page of its record, and what belongs to it, or gives nil.
func (s *source) check(x *Index, e entry, record []byte) *page {
	if record == nil || sum(record) != e.crc {
		return nil
	}
	p := x.memory.page()
	serving, ok := readRecord(record, e, p, s.carriers)
	if !ok {
		return nil
	}
	l := x.leafOf(uint64(e.block))
	l.serving[e.block%leafSize].Store(serving)
	l.seen[e.block%leafSize] = e.seen
	return p
}

// needTable publishes the other numbers, or that they are damaged.
func (s *source) needTable(x *Index) {
	if s.othersDone.Load() {
		return
	}
	s.others.Lock()
	defer s.others.Unlock()
	if s.othersDone.Load() {
		return
	}
	t := s.readOthers()
	x.others.Store(t)
	if t == nil {
		x.len.Add(-s.count)
		x.foundDamage()
	}
	s.othersDone.Store(true)
	s.done(x)
}

func (s *source) readOthers() *table {
	t := newTable(int(s.count))
	r := io.NewSectionReader(s.file, s.othersAt, otherSize*s.count)
	buf := make([]byte, min(otherSize<<12, r.Size()))
	var crc uint32
	var last uint64
	for left := r.Size(); left > 0; {
		b := buf[:min(left, int64(len(buf)))]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil
		}
		left -= int64(len(b))
		crc = crc32.Update(crc, castagnoli, b)
		for ; len(b) > 0; b = b[otherSize:] {
			digits, both := le.Uint64(b), le.Uint32(b[8:])
			value, carrier := uint16(both), uint16(both>>16)
			if digits <= last || digits > MaxDigits || digits-denseFirst < denseCount || value == Unseen ||
				value == Damaged || carrier == Damaged || carrier != 0 && !s.carriers {
				return nil
			}
			last = digits
			t.put(digits, both)
		}
	}
	if crc != s.othersCRC {
		return nil
	}
	return t
}

// done counts a part that was published. After the last one nobody reads the file any more: whoever still holds s finds every
// part published.
func (s *source) done(x *Index) {
	if s.left.Add(-1) == 0 {
		x.source.Store(nil)
		_ = s.file.Close()
	}
}

// verifyRange is how much of a snapshot is read at once.
const verifyRange = 1 << 20

// Verify verifies what is not verified yet and takes it into memory, on every core, while look-ups and changes go on. The
// error is ErrDamaged if anything is damaged, whenever it was found, or the context's: what was verified until then stays so.
// What the file system fails to read is damaged, too.
func (x *Index) Verify(ctx context.Context) error {
	if s := x.source.Load(); s != nil {
		var from atomic.Int64 // the first entry that nobody works on
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() { s.verify(ctx, x, &from) })
		}
		workers.Wait()
		if err := ctx.Err(); err != nil {
			return err
		}
		s.needTable(x)
	}
	if x.Damaged() {
		return ErrDamaged
	}
	return nil
}

// verify works through entries in ranges until none is left.
func (s *source) verify(ctx context.Context, x *Index, from *atomic.Int64) {
	step := verifyRange / valuesSize
	var buf []byte
	for ctx.Err() == nil {
		first := int(from.Add(int64(step)) - int64(step))
		if first >= len(s.entries) {
			return
		}
		some := s.entries[first:min(first+step, len(s.entries))]
		if !slices.ContainsFunc(some, func(e entry) bool { return x.pages[e.block].Load() == nil }) {
			continue
		}
		last := some[len(some)-1]
		size := int(last.at-some[0].at) + last.size()
		buf = slices.Grow(buf[:0], size)[:size]
		if readAt(s.file, buf, some[0].at) != nil {
			// Some record of the range cannot be read, or others published all of it and closed the file.
			for _, e := range some {
				s.need(x, uint64(e.block))
			}
			continue
		}
		for i, e := range some {
			s.publish(x, first+i, func(entry) []byte { return buf[e.at-some[0].at:][:e.size()] })
		}
	}
}
