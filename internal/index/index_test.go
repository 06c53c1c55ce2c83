package index_test

import (
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

func TestANumberIsWhatItWasLastSetTo(t *testing.T) {
	x := index.New()
	defer func() { _ = x.Close() }()
	for _, n := range []uint64{8610000000000, 8613800000001, 8619999999999, 8609999999999, 8620000000000, 1, index.MaxDigits} {
		if v, c := x.Get(n); v != index.Unseen || c != 0 {
			t.Errorf("before: %d, %d", v, c)
		}
		x.Set(n, 1, 2)
		x.Set(n, 0xFFFE, 7)
		if v, c := x.Get(n); v != 0xFFFE || c != 7 {
			t.Errorf("set: %d, %d", v, c)
		}
	}
	if x.Len() != 7 {
		t.Errorf("len %d", x.Len())
	}
}
