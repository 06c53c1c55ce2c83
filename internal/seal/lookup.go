package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/huanxin-platform/huanxin"
)

// LookupSize is the length of a look-up value.
const LookupSize = 32

// Lookup gives the value by which a sealed number is found: key id (4 bytes, big-endian) ‖ the first 28
// bytes of HMAC-SHA-256. Equal numbers have equal values under one key, and without the key nothing
// can be told from a value (DOMAIN.md §7 rule 9).
func (k *Keys) Lookup(n huanxin.Number) []byte { return k.lookups[0].sum(n) }

// LookupAll gives the value of n under every key, the current one first: while a rotation runs, a
// row may still stand under an older one.
func (k *Keys) LookupAll(n huanxin.Number) [][]byte {
	all := make([][]byte, len(k.lookups))
	for i, l := range k.lookups {
		all[i] = l.sum(n)
	}
	return all
}

// lookupKey keeps keyed states for reuse: setting one up costs more than the hash itself.
type lookupKey struct {
	id   uint32
	macs sync.Pool // of *mac
}

type mac struct {
	hash.Hash
	in  [9]byte
	out [sha256.Size]byte
}

func newLookupKey(key fileKey) *lookupKey {
	l := &lookupKey{id: key.ID}
	l.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, key.Key)} }
	return l
}

func (l *lookupKey) sum(n huanxin.Number) []byte {
	m := l.macs.Get().(*mac)
	m.Reset()
	m.in[0] = 'n' // a number; whatever else may be looked up one day gets another letter
	binary.BigEndian.PutUint64(m.in[1:], n.Digits())
	m.Write(m.in[:])
	out := make([]byte, LookupSize)
	binary.BigEndian.PutUint32(out, l.id)
	copy(out[4:], m.Sum(m.out[:0]))
	l.macs.Put(m)
	return out
}

// MAC gives a keyed digest of any other bytes that hold a number, such as a request's body, so that they can be compared
// later without being kept. Its form is that of Lookup's.
func (k *Keys) MAC(data []byte) []byte {
	l := k.lookups[0]
	m := l.macs.Get().(*mac)
	m.Reset()
	m.Write([]byte{'b'})
	m.Write(data)
	out := make([]byte, LookupSize)
	binary.BigEndian.PutUint32(out, l.id)
	copy(out[4:], m.Sum(m.out[:0]))
	l.macs.Put(m)
	return out
}

// HistorySize is the length of a history value.
const HistorySize = 32

// History gives the value that names a number's imported history: 16 bytes of HMAC-SHA-256, in the letters a to p, so that
// nothing in it is taken for a number. It shows outside, so it is none by which a sealed number is found.
func (k *Keys) History(n huanxin.Number) string { return k.lookups[0].history(n) }

// OlderHistory gives the values of n under the keys that are not the current one any more.
func (k *Keys) OlderHistory(n huanxin.Number) (older []string) {
	for _, l := range k.lookups[1:] {
		older = append(older, l.history(n))
	}
	return older
}

func (l *lookupKey) history(n huanxin.Number) string {
	m := l.macs.Get().(*mac)
	m.Reset()
	m.in[0] = 'h'
	binary.BigEndian.PutUint64(m.in[1:], n.Digits())
	m.Write(m.in[:])
	var text [HistorySize]byte
	for i, b := range m.Sum(m.out[:0])[:HistorySize/2] {
		text[2*i], text[2*i+1] = 'a'+b>>4, 'a'+b&15
	}
	l.macs.Put(m)
	return string(text[:])
}
