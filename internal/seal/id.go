package seal

import "encoding/binary"

// IDKind is what an id stands for. An id of one kind is never taken for one of another.
type IDKind byte

// The kinds of id. A kind's letter never changes and is never used again: ids are valid for ever.
const (
	RequestID IDKind = 'r'
	TaskID    IDKind = 't'
	TenureID  IDKind = 'n'
	ReceiptID IDKind = 'c'
	EventID   IDKind = 'e'
	StepID    IDKind = 's'
	LotID     IDKind = 'l'
	NoticeID  IDKind = 'o'
	CaseID    IDKind = 'k'
	MessageID IDKind = 'm'
	StreamID  IDKind = 'f'
	DraftID   IDKind = 'd'
	SessionID IDKind = 'h'
	setID     IDKind = 'j' // see SETID
)

// prefixes are what ids of each kind begin with. They hold no underscore but the last.
var prefixes = [256]string{
	RequestID: "req_",
	TaskID:    "task_",
	TenureID:  "ten_",
	ReceiptID: "rcp_",
	EventID:   "evt_",
	StepID:    "stp_",
	LotID:     "lot_",
	NoticeID:  "ntc_",
	CaseID:    "case_",
	MessageID: "msg_",
	StreamID:  "st_",
	DraftID:   "drf_",
	SessionID: "ses_",
}

// Prefix gives what every id of the kind begins with.
func (kind IDKind) Prefix() string { return prefixes[kind] }

// An id is one AES-256 block
//
//	kind (1) ‖ the bytes "huanxin" (7) ‖ the database id (8, big-endian)
//
// encrypted, as 26 characters of Crockford's base32 in lower case. What was not made here decrypts to
// the right first half with probability 2^-64.
const (
	idFill  = "huanxin"
	idChars = 26
)

// idBlock is scratch space: what is given to a cipher.Block escapes.
type idBlock [16]byte

func (b *idBlock) head(kind IDKind) {
	b[0] = byte(kind)
	copy(b[1:8], idFill)
}

// ID gives the opaque text of a database id: "req_" and 26 characters.
//
// The same id always has the same text. The text hides how many there are, in which order they came
// and what the neighbours are called; it protects nothing else: who may see a thing is decided
// when it is asked for. The id key never rotates.
func (k *Keys) ID(kind IDKind, n int64) string {
	prefix := prefixes[kind]
	if prefix == "" {
		panic("seal: an id of unknown kind")
	}
	b := k.blocks.Get().(*idBlock)
	b.head(kind)
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	k.ids.Encrypt(b[:], b[:])
	var text [8 + idChars]byte
	size := copy(text[:], prefix)
	encodeID(text[size:size+idChars], binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]))
	k.blocks.Put(b)
	return string(text[:size+idChars])
}

// ParseID gives the database id back. It is false for anything that ID did not make for this kind with
// this key, every other spelling of an id included.
func (k *Keys) ParseID(kind IDKind, s string) (int64, bool) {
	prefix := prefixes[kind]
	if prefix == "" || len(s) != len(prefix)+idChars || s[:len(prefix)] != prefix {
		return 0, false
	}
	hi, lo, ok := decodeID(s[len(prefix):])
	if !ok {
		return 0, false
	}
	b := k.blocks.Get().(*idBlock)
	binary.BigEndian.PutUint64(b[:], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	k.ids.Decrypt(b[:], b[:])
	ok = b[0] == byte(kind) && string(b[1:8]) == idFill
	n := int64(binary.BigEndian.Uint64(b[8:]))
	k.blocks.Put(b)
	if !ok {
		return 0, false
	}
	return n, true
}

// alphabet is Crockford's: without i, l, o and u. Only lower case is read.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var alphabetValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xFF
	}
	for i, c := range []byte(alphabet) {
		t[c] = byte(i)
	}
	return t
}()

// encodeID writes 128 bits and two zero bits, most significant first.
func encodeID(dst []byte, hi, lo uint64) {
	dst[idChars-1] = alphabet[lo<<2&31]
	hi, lo = hi>>3, lo>>3|hi<<61
	for i := idChars - 2; i >= 0; i-- {
		dst[i] = alphabet[lo&31]
		hi, lo = hi>>5, lo>>5|hi<<59
	}
}

// decodeID reads what encodeID wrote, and nothing else: the last two bits must be zero.
func decodeID(s string) (hi, lo uint64, ok bool) {
	for i := range idChars - 1 {
		v := alphabetValue[s[i]]
		if v == 0xFF {
			return 0, 0, false
		}
		hi, lo = hi<<5|lo>>59, lo<<5|uint64(v)
	}
	v := alphabetValue[s[idChars-1]]
	if v == 0xFF || v&3 != 0 {
		return 0, 0, false
	}
	return hi<<3 | lo>>61, lo<<3 | uint64(v>>2), true
}
