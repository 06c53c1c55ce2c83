package replica

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// passing is the digest of a body as it comes. How much of its end is footer is known only at the end, so as much as a footer can be is
// held back.
type passing struct {
	sum    hash.Hash
	hashed int64
	held   []byte
}

const longestFooter = maxManifest + footerEnd

func newPassing() *passing {
	return &passing{sum: sha256.New(), held: make([]byte, 0, 2*longestFooter)}
}

func (p *passing) add(b []byte) {
	for len(b) > 0 {
		n := min(len(b), cap(p.held)-len(p.held))
		p.held = append(p.held, b[:n]...)
		b = b[n:]
		if len(p.held) == cap(p.held) {
			p.write(p.held[:len(p.held)-longestFooter])
			p.held = p.held[:copy(p.held, p.held[len(p.held)-longestFooter:])]
		}
	}
}

func (p *passing) write(b []byte) {
	_, _ = p.sum.Write(b) // never fails
	p.hashed += int64(len(b))
}

// of gives the digest of the first so many bytes, in hex; "" if the footer would be longer than one can be. It is asked once.
func (p *passing) of(size int64) string {
	n := size - p.hashed
	if n < 0 || n > int64(len(p.held)) {
		return ""
	}
	p.write(p.held[:n])
	return hex.EncodeToString(p.sum.Sum(nil))
}
