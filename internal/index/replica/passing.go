package replica

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
)

// passing is the digest of a body as it comes. How much of its end is footer is known only at the end, so as much as a footer can be is
// held back.
type passing struct {
	sum    hash.Hash
	hashed int64
	held   []byte
}

func newPassing() *passing { return &passing{sum: sha256.New()} }

const longestFooter = maxManifest + footerEnd

func (p *passing) add(b []byte) {
	if n := len(p.held) + len(b) - longestFooter; n > 0 {
		first := min(n, len(p.held))
		p.write(p.held[:first])
		p.held = slices.Delete(p.held, 0, first)
		p.write(b[:n-first])
		b = b[n-first:]
	}
	p.held = append(p.held, b...)
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
