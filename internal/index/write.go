package index

import (
	"bufio"
	"cmp"
	"context"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// WriteTo writes a snapshot that Open reads, with carriers or with 0 for each, and gives how long it is. meta, at most
// 1 MiB, is the caller's: Open gives it back. The same content and meta give the same bytes. Memory is one page, 16 bytes
// for each page and 16 for each number that is not dense.
//
// The writer may go on meanwhile; a change made after the call began may be in the snapshot or not. So meta should name a
// position in the number log that was applied before, and the changes after it are applied again to what Open gives.
//
// What is not verified yet is verified first. Of a damaged index nothing is written: ErrDamaged.
func (x *Index) WriteTo(w io.Writer, meta []byte, withCarriers bool) (int64, error) {
	if len(meta) > maxMeta {
		return 0, ErrMeta
	}
	if err := x.Verify(context.Background()); err != nil {
		return 0, err
	}
	out := &counted{w: bufio.NewWriterSize(w, 1<<20)}
	x.writeParts(out, meta, withCarriers)
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.n, out.err
}

// counted counts what is written, until the first error.
type counted struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (c *counted) write(b []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(b)
		c.n += int64(n)
	}
}

func (x *Index) writeParts(out *counted, meta []byte, withCarriers bool) {
	var flags uint32
	if withCarriers {
		flags = flagCarriers
	}
	out.write(appendHead(nil, meta, flags))
	var end ending
	var entries []byte
	buf := make([]byte, 0, maxRecordSize)
	var p page
	for block := range x.published() {
		s, seen := x.copyPage(block, &p)
		if seen == 0 {
			continue
		}
		if out.err != nil {
			return
		}
		if !withCarriers {
			s = nil
		}
		record, e := appendRecord(buf[:0], &p, s.canonical(&p, seen), uint16(seen))
		out.write(record)
		e.block = uint32(block)
		entries = e.append(entries)
		end.pages++
	}
	out.write(entries)
	end.tableCRC = sum(entries)
	for _, o := range x.sortedOthers() {
		if !withCarriers {
			o.both &= 0xFFFF
		}
		b := le.AppendUint32(le.AppendUint64(buf[:0], o.digits), o.both)
		end.othersCRC = crc32.Update(end.othersCRC, castagnoli, b)
		end.others++
		out.write(b)
	}
	end.length = uint64(out.n) + endSize
	out.write(end.append(nil))
}

// published gives the blocks, ascending, that have a page which is not damaged.
func (x *Index) published() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for l := range x.leaves {
			if x.leaves[l].Load() == nil {
				continue // a page is published after its leaf
			}
			for b := range leafSize {
				block := l*leafSize + b
				if p := x.pages[block].Load(); p != nil && p != damagedPage && !yield(uint64(block)) {
					return
				}
			}
		}
	}
}

// copyPage copies a page between two changes and gives its carriers and how many of its numbers are set.
func (x *Index) copyPage(block uint64, p *page) (*serving, int) {
	x.writing.Lock()
	defer x.writing.Unlock()
	*p = *x.pages[block].Load()
	x.verified.Load()
	l := x.leafOf(block)
	return l.serving[block%leafSize].Load(), int(l.seen[block%leafSize])
}

type other struct {
	digits uint64
	both   uint32 // value | carrier<<16
}

// sortedOthers gives the numbers that are set and not dense, ascending. They are not damaged.
func (x *Index) sortedOthers() []other {
	var all []other
	x.others.Load().each(func(digits uint64, both uint32) { all = append(all, other{digits, both}) })
	slices.SortFunc(all, func(a, b other) int { return cmp.Compare(a.digits, b.digits) })
	return all
}

// All visits every number that is set, the Chinese mobile ones in ascending order and then all others in ascending order,
// until visit gives false. Each value is that of some moment of the call. Damaged parts are left out, and then the error is ErrDamaged.
func (x *Index) All(visit func(Change) bool) error {
	damage := x.Verify(context.Background())
	var p page
	for block := range x.published() {
		s, _ := x.copyPage(block, &p)
		for i, word := range p {
			for half := range 2 {
				value, offset := uint16(word>>(16*half)), 2*i+half
				if value != Unseen && !visit(Change{denseFirst + block*blockSize + uint64(offset), value, s.of(uint16(offset))}) {
					return damage
				}
			}
		}
	}
	if x.others.Load() == nil {
		return damage
	}
	for _, o := range x.sortedOthers() {
		if !visit(Change{o.digits, uint16(o.both), uint16(o.both >> 16)}) {
			break
		}
	}
	return damage
}

// Save writes a snapshot with carriers to a file, mode 0600. On return without an error it is on stable storage; until
// then, and after any error or crash, the file that was at path before is there in full. What a crash leaves is path with
// ".new" behind it, which the next Save replaces. One process at a time saves to a path.
func (x *Index) Save(path string, meta []byte) error {
	x.saving.Lock()
	defer x.saving.Unlock()
	return replace(disk{}, path, func(w io.Writer) error {
		_, err := x.WriteTo(w, meta, true)
		return err
	})
}

// files is what of a file system decides whether a file is whole; tests make each step fail.
type files interface {
	create(path string) (file, error)
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// replace writes a new file beside path and puts it there when it is on stable storage.
func replace(fs files, path string, write func(io.Writer) error) error {
	beside := path + ".new"
	if err := fs.remove(beside); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := fs.create(beside)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = fs.rename(beside, path)
	}
	if err != nil {
		_ = fs.remove(beside)
		return err
	}
	return fs.syncDir(filepath.Dir(path))
}

// disk is the file system of the machine.
type disk struct{}

func (disk) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }
func (disk) remove(path string) error     { return os.Remove(path) }

func (disk) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
