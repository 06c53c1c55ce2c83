package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A snapshot, all integers little-endian:
//
//	head     magic, version, flags, length of meta, CRC of all that and of meta; meta; zeros up to a multiple of 64
//	pages    one record each, ascending by block: 10,000 values, the exceptions as serving.except, zeros up to a multiple of 64
//	table    one entry a page: block, CRC of its record, carrier, how many of its numbers are set, length of exceptions
//	others   digits, value, carrier of every number that is not dense, ascending by digits
//	end      lengths and CRCs of table and others, length of the file, mark, CRC of all that
//
// The same content has one form only, so a snapshot that is not in that form is damaged.
const (
	version       = 1
	flagCarriers  = 1 // else every carrier is 0
	headSize      = 32
	alignment     = 64
	entrySize     = 16
	otherSize     = 12
	endSize       = 64
	valuesSize    = 2 * int(blockSize)
	maxMeta       = 1 << 20
	maxRecordSize = valuesSize + 2*3*int(blockSize) + alignment
)

var (
	magic   = [16]byte{'h', 'u', 'a', 'n', 'x', 'i', 'n', ' ', 'i', 'n', 'd', 'e', 'x', '\r', '\n', 0x1A}
	endMark = [16]byte{'e', 'n', 'd', ' ', 'o', 'f', ' ', 'i', 'n', 'd', 'e', 'x', '\r', '\n', 0x1A, 0}

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

var (
	// ErrDamaged says that a snapshot is not what was written: cut off, changed, or no snapshot at all.
	ErrDamaged = errors.New("index: the snapshot is damaged")
	// ErrVersion says that a snapshot has a form that this program does not read. Build the index anew.
	ErrVersion = errors.New("index: the snapshot is of another version")
	// ErrMeta says that meta has more than 1 MiB.
	ErrMeta = errors.New("index: meta is longer than a snapshot takes")
)

// sum is the CRC-32C.
func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func aligned(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// entry is a page's place in the table.
type entry struct {
	block   uint32
	crc     uint32
	carrier uint16 // serving.carrier
	seen    uint16
	list    uint16 // the length of serving.except
	at      int64  // where its record begins; not written, it follows from the entries before
}

// size is how long the page's record is.
func (e entry) size() int { return aligned(valuesSize + 2*int(e.list)) }

func (e entry) append(b []byte) []byte {
	b = le.AppendUint32(b, e.block)
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint16(b, e.carrier)
	b = le.AppendUint16(b, e.seen)
	b = le.AppendUint16(b, e.list)
	return le.AppendUint16(b, 0)
}

func readEntry(b []byte) (e entry, ok bool) {
	e = entry{block: le.Uint32(b), crc: le.Uint32(b[4:]), carrier: le.Uint16(b[8:]), seen: le.Uint16(b[10:]), list: le.Uint16(b[12:])}
	ok = e.block < uint32(blocks) && 0 < e.seen && uint64(e.seen) <= blockSize && uint64(e.list) <= 3*blockSize && le.Uint16(b[14:]) == 0
	return e, ok
}

// appendHead gives the head, meta with it.
func appendHead(b, meta []byte, flags uint32) []byte {
	b = append(b, magic[:]...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, uint32(len(meta)))
	rest := make([]byte, aligned(headSize+len(meta))-headSize)
	copy(rest, meta)
	b = le.AppendUint32(b, crc32.Update(sum(b), castagnoli, rest))
	return append(b, rest...)
}

// ending is what the end of a snapshot says.
type ending struct {
	pages, others       uint64
	tableCRC, othersCRC uint32
	length              uint64
}

func (e ending) append(b []byte) []byte {
	from := len(b)
	b = le.AppendUint64(b, e.pages)
	b = le.AppendUint64(b, e.others)
	b = le.AppendUint32(b, e.tableCRC)
	b = le.AppendUint32(b, e.othersCRC)
	b = le.AppendUint64(b, e.length)
	b = append(b, make([]byte, 12)...)
	b = append(b, endMark[:]...)
	return le.AppendUint32(b, sum(b[from:]))
}

// readEnding reads the end of a file so long.
func readEnding(b []byte, length int64) (e ending, ok bool) {
	e = ending{le.Uint64(b), le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint64(b[24:])}
	ok = sum(b[:endSize-4]) == le.Uint32(b[endSize-4:]) && [16]byte(b[44:60]) == endMark && [12]byte(b[32:44]) == [12]byte{} &&
		e.length == uint64(length) && e.pages <= uint64(blocks) && e.others <= uint64(length)/otherSize
	return e, ok
}

// appendRecord appends a page's record and gives its entry but for the block. s is canonical.
func appendRecord(b []byte, p *page, s *serving, seen uint16) ([]byte, entry) {
	from := len(b)
	for _, w := range p {
		b = le.AppendUint32(b, w)
	}
	for _, w := range s.except {
		b = le.AppendUint16(b, w)
	}
	b = append(b, make([]byte, aligned(len(b)-from)-(len(b)-from))...)
	return b, entry{crc: sum(b[from:]), carrier: s.carrier, seen: seen, list: uint16(len(s.except))}
}

// readRecord fills a page from a record that has passed its check, and gives its carriers: nil if all are 0. It
// is false for what no index writes. The page is of no use then.
func readRecord(record []byte, e entry, p *page, carriers bool) (*serving, bool) {
	// Four values at a time: each lane counts how many were not zero, or not 0xFFFF.
	const ones = 0x0001_0001_0001_0001
	notZero := func(w uint64) uint64 { return (w&(ones*0x7FFF) + ones*0x7FFF | w) >> 15 & ones }
	var set, sound uint64
	values := record[:valuesSize]
	for i := 0; i < len(p); i += 2 {
		w := le.Uint64(values[4*i:])
		p[i], p[i+1] = uint32(w), uint32(w>>32)
		set += notZero(w)
		sound += notZero(^w)
	}
	seen := lanes(set)
	if lanes(sound) != int(blockSize) || seen != int(e.seen) {
		return nil, false
	}
	rest := record[valuesSize:]
	except := make([]uint16, e.list)
	for i := range except {
		except[i] = le.Uint16(rest[2*i:])
	}
	for _, b := range rest[2*int(e.list):] {
		if b != 0 {
			return nil, false
		}
	}
	if !carriers {
		return nil, e.carrier == 0 && e.list == 0
	}
	if e.carrier == 0 && e.list == 0 {
		return nil, true
	}
	if e.carrier == Damaged || !wellFormed(except, e.carrier, p) {
		return nil, false
	}
	s := newServing(e.carrier, except)
	return s, s.canonical(p, seen) == s
}

// lanes adds up the four 16-bit numbers of w.
func lanes(w uint64) int {
	return int(w&0xFFFF + w>>16&0xFFFF + w>>32&0xFFFF + w>>48)
}

// wellFormed reports whether a list, of which nothing is known, is one of exceptions from a carrier for a page.
func wellFormed(list []uint16, carrier uint16, p *page) bool {
	var listed [blockSize]bool
	last := -1
	for rest := list; len(rest) > 0; {
		if len(rest) < 3 || rest[1] == 0 || len(rest) < 2+int(rest[1]) {
			return false
		}
		var c uint16
		var offsets []uint16
		c, offsets, rest = next(rest)
		if int(c) <= last || c == carrier || c == Damaged {
			return false
		}
		last = int(c)
		for i, o := range offsets {
			if uint64(o) >= blockSize || i > 0 && o <= offsets[i-1] || listed[o] || p.at(uint64(o)) == Unseen {
				return false
			}
			listed[o] = true
		}
	}
	return true
}
