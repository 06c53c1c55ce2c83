package index

import "io"

// NewOnHeap and OpenOnHeap keep pages where the race detector sees them.
func NewOnHeap() *Index { return newIndex(true) }

func OpenOnHeap(path string) (*Index, []byte, error) { return open(path, true) }

// Faulty asks step before each step of replacing a file: "remove", "create", "write", "sync", "close", "rename", "sync dir".
type Faulty struct {
	disk
	Step func(name string) error
}

func (f Faulty) create(path string) (file, error) {
	if err := f.Step("create"); err != nil {
		return nil, err
	}
	real, err := f.disk.create(path)
	return faultyFile{real, f.Step}, err
}

func (f Faulty) rename(from, to string) error {
	if err := f.Step("rename"); err != nil {
		return err
	}
	return f.disk.rename(from, to)
}

func (f Faulty) remove(path string) error {
	if err := f.Step("remove"); err != nil {
		return err
	}
	return f.disk.remove(path)
}

func (f Faulty) syncDir(dir string) error {
	if err := f.Step("sync dir"); err != nil {
		return err
	}
	return f.disk.syncDir(dir)
}

type faultyFile struct {
	file
	step func(string) error
}

func (f faultyFile) Write(b []byte) (int, error) {
	if err := f.step("write"); err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, err
	}
	return f.file.Write(b)
}

func (f faultyFile) Sync() error {
	if err := f.step("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f faultyFile) Close() error {
	err := f.file.Close()
	if e := f.step("close"); e != nil {
		return e
	}
	return err
}

// Replace is what Save does, on other files than the disk's.
func Replace(f Faulty, path string, write func(io.Writer) error) error {
	return replace(f, path, write)
}

// Reseal makes every CRC of a snapshot right, as far as its lengths let them be found: what only a checksum would have
// caught must be caught by what is checked beside it, or be a snapshot.
func Reseal(b []byte) {
	if len(b) < headSize+endSize {
		return
	}
	head := headSize
	if n := int64(le.Uint32(b[24:])); n <= maxMeta && aligned(headSize+int(n)) <= len(b)-endSize {
		head = aligned(headSize + int(n))
		all := append(append([]byte(nil), b[:28]...), b[headSize:head]...)
		le.PutUint32(b[28:], sum(all))
	}
	end := b[len(b)-endSize:]
	copy(end[44:60], endMark[:])
	le.PutUint64(end[24:], uint64(len(b)))
	pages, others := le.Uint64(end), le.Uint64(end[8:])
	if pages <= uint64(len(b)) && others <= uint64(len(b)) {
		othersAt := len(b) - endSize - otherSize*int(others)
		tableAt := othersAt - entrySize*int(pages)
		if tableAt >= head {
			at := head
			for i := range int(pages) {
				raw := b[tableAt+entrySize*i:]
				if e, _ := readEntry(raw); at+e.size() <= tableAt {
					le.PutUint32(raw[4:], sum(b[at:at+e.size()]))
					at += e.size()
				}
			}
			le.PutUint32(end[16:], sum(b[tableAt:othersAt]))
			le.PutUint32(end[20:], sum(b[othersAt:len(b)-endSize]))
		}
	}
	le.PutUint32(end[endSize-4:], sum(end[:endSize-4]))
}

// Exceptions gives how many words the list of a number's page has.
func Exceptions(x *Index, digits uint64) int {
	d := digits - denseFirst
	return len(x.leafOf(d / blockSize).serving[d/blockSize%leafSize].Load().except)
}
