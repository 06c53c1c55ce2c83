package replica

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// TestADigestInPiecesIsThatOfTheWhole, whatever comes at once and however long what follows is.
func TestADigestInPiecesIsThatOfTheWhole(t *testing.T) {
	body := make([]byte, 5*longestFooter+17)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(body)
	for _, most := range []int{1 << 12, 1 << 16, longestFooter, 3 * longestFooter, len(body)} {
		for _, footer := range []int{0, 1, 100, longestFooter} {
			p := newPassing()
			for rest := body; len(rest) > 0; {
				n := min(1+rand.IntN(most), len(rest))
				p.add(rest[:n])
				rest = rest[n:]
			}
			size := len(body) - footer
			want := sha256.Sum256(body[:size])
			if got := p.of(int64(size)); got != hex.EncodeToString(want[:]) {
				t.Errorf("pieces of up to %d, a footer of %d: %q", most, footer, got)
			}
		}
	}
	p := newPassing()
	p.add(body)
	if got := p.of(int64(len(body) - 2*longestFooter - 1)); got != "" {
		t.Errorf("a footer that is longer than one can be: %q", got)
	}
	if got := p.of(int64(len(body) + 1)); got != "" {
		t.Errorf("more than came: %q", got)
	}
}
