package guard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// sealed is a number under a key that this process made for itself: one AES block, so that two numbers never share one.
type sealed [aes.BlockSize]byte

type sealer struct{ block cipher.Block }

func newSealer() sealer {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // of 16 bytes it does not fail
	}
	return sealer{block}
}

func (s sealer) seal(n huanxin.Number) (out sealed) {
	binary.LittleEndian.PutUint64(out[:], n.Digits())
	s.block.Encrypt(out[:], out[:])
	return out
}

// times are the T's of a question, as they are compared: of a day its first instant and its last, today's too.
type times struct{ first, last, proof int64 }

// verdict is an answer of the hub, judged.
type verdict struct {
	access huanxin.Access
	reason huanxin.GuardReason
	asOf   int64
	at     time.Time // when it was asked for
}

// cache remembers the newest verdict of each number, for the times it was asked with. An answer takes the place of all that
// was known of its number: what is asked with other times later also throws away what an earlier answer said.
type cache struct {
	keep time.Duration
	size int

	mu      sync.Mutex
	entries map[sealed]*entry
	ring    []sealed // in the order in which they came; from next on the oldest
	next    int
	era     uint64 // counts forget
	seal    sealer
}

type entry struct {
	times times
	verdict
}

func newCache(keep time.Duration, size int, s sealer) *cache {
	if keep <= 0 {
		return nil
	}
	return &cache{keep: keep, size: size, entries: map[sealed]*entry{}, seal: s}
}

// get gives what is known of a number for the same times, if it is young enough.
func (c *cache) get(n sealed, t times, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[n]
	if e == nil || e.times != t || elapsed(now, e.at) > c.keep {
		return verdict{}, false
	}
	return e.verdict, true
}

// begin gives what put wants of an answer that is about to be asked for.
func (c *cache) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.era
}

// put keeps an answer, unless something was forgotten since it was asked for, or a newer one is there.
func (c *cache) put(n sealed, t times, v verdict, era uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.era != era {
		delete(c.entries, n)
		return
	}
	e := c.entries[n]
	if e != nil && e.asOf > v.asOf {
		delete(c.entries, n) // of two that overtook each other neither
		return
	}
	if e != nil {
		e.times, e.verdict = t, v
		return
	}
	c.entries[n] = &entry{t, v}
	if len(c.ring) < c.size {
		c.ring = append(c.ring, n)
		return
	}
	delete(c.entries, c.ring[c.next])
	c.ring[c.next] = n
	c.next = (c.next + 1) % c.size
}

func (c *cache) forget(number huanxin.Number) {
	n := c.seal.seal(number)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	delete(c.entries, n)
}
