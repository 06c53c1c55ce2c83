package seal

import (
	"testing"

	"github.com/huanxin-platform/huanxin"
)

func TestATagIsTheNumbersAndTheKeys(t *testing.T) {
	k, other := Generate(), Generate()
	seen := map[uint32]bool{}
	for i := range uint64(1000) {
		n := huanxin.NumberOf(8613800000000 + i)
		tag := k.Tag(n)
		if tag == 0 || tag != k.Tag(n) {
			t.Fatalf("%d has the tag %d, then %d", i, tag, k.Tag(n))
		}
		if tag == other.Tag(n) {
			t.Errorf("%d has the same tag under another key", i)
		}
		seen[tag] = true
	}
	if len(seen) < 999 {
		t.Errorf("1000 numbers have %d tags", len(seen))
	}
}
