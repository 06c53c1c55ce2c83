package measure_test

import (
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index/measure"
)

// TestItMeasures measures few numbers, to see that everything still fits together. It asserts no speed.
func TestItMeasures(t *testing.T) {
	f, err := measure.Index(t.TempDir(), 30_000)
	if err != nil {
		t.Fatal(err)
	}
	if f.FileBytes < 60_000 || f.Lookups <= 0 || f.Flat <= 0 || f.Apply.Clock <= 0 || f.Cached.First.Clock <= 0 {
		t.Errorf("not everything was measured: %+v", f)
	}
	for _, want := range []string{"30000 numbers", "saved", "opened", "verified", "looked up", "carriers"} {
		if !strings.Contains(f.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, f)
		}
	}
}
