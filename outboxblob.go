package huanxin

import (
	"encoding/binary"
	"errors"
	"time"
)

// An outbox is kept as
//
//	version (1 byte) ‖ Next ‖ FailingSince, in milliseconds of Unix time; 0: zero ‖ how many are pending ‖ for each:
//	  place, less that of the one before ‖ tag (4 bytes) ‖ attempts, and if there were any:
//	    First and Again, in milliseconds of Unix time, less those of the one before that has them
//
// in varints, signed where a difference is. SETs that were handed out together take some 9 bytes each.
const outboxVersion = 1

// least is how many bytes one that is pending takes at least.
const least = 6

var errOutbox = errors.New("a stream's outbox cannot be read")

// Encode writes an outbox.
func (o *Outbox) Encode() []byte {
	b := make([]byte, 0, 16+12*len(o.Pending))
	b = append(b, outboxVersion)
	b = binary.AppendUvarint(b, uint64(o.Next))
	var failing int64
	if !o.FailingSince.IsZero() {
		failing = o.FailingSince.UnixMilli()
	}
	b = binary.AppendVarint(b, failing)
	b = binary.AppendUvarint(b, uint64(len(o.Pending)))
	var no, first, again int64
	for i := range o.Pending {
		u := &o.Pending[i]
		b = binary.AppendVarint(b, int64(u.No)-no)
		no = int64(u.No)
		b = binary.LittleEndian.AppendUint32(b, u.Tag)
		b = binary.AppendUvarint(b, uint64(u.Attempts))
		if !u.out() {
			continue
		}
		f, a := u.First.UnixMilli(), u.Again.UnixMilli()
		b = binary.AppendVarint(b, f-first)
		b = binary.AppendVarint(b, a-again)
		first, again = f, a
	}
	return b
}

// DecodeOutbox reads an outbox. An empty one is that of a stream which was told nothing yet: it begins at a position.
func DecodeOutbox(b []byte, start int64) (*Outbox, error) {
	if len(b) == 0 {
		return &Outbox{Next: start}, nil
	}
	r := blobReader{rest: b[1:], bad: b[0] != outboxVersion}
	o := &Outbox{Next: int64(r.uvarint())}
	if failing := r.varint(); failing != 0 {
		o.FailingSince = time.UnixMilli(failing).UTC()
	}
	n := r.uvarint()
	if r.bad || o.Next < 0 || n > uint64(len(r.rest)/least) {
		return nil, errOutbox
	}
	o.Pending = make([]Unsettled, n)
	var no, first, again int64
	for i := range o.Pending {
		u := &o.Pending[i]
		no += r.varint()
		u.No, u.Tag = FeedNo(no), r.uint32()
		attempts := r.uvarint()
		if u.Attempts = int(attempts); attempts > 0 {
			first += r.varint()
			again += r.varint()
			u.First, u.Again = time.UnixMilli(first).UTC(), time.UnixMilli(again).UTC()
		}
		if r.bad || attempts > maxAttempts || u.No == 0 || i > 0 && compareNos(o.Pending[i-1].No, u.No) >= 0 {
			return nil, errOutbox
		}
	}
	if len(r.rest) > 0 {
		return nil, errOutbox
	}
	return o, nil
}

// maxAttempts is more than there can be.
const maxAttempts = 1 << 30

// blobReader reads from the front. What is not there is 0, and bad.
type blobReader struct {
	rest []byte
	bad  bool
}

func (r *blobReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *blobReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *blobReader) uint32() (v uint32) {
	if len(r.rest) < 4 {
		r.bad = true
		return 0
	}
	v = binary.LittleEndian.Uint32(r.rest)
	r.skip(4)
	return v
}

func (r *blobReader) skip(n int) {
	if n <= 0 {
		r.bad, n = true, 0
	}
	r.rest = r.rest[n:]
}
