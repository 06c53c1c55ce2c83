package measure_test

import (
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/measure"
)

// TestItMeasures measures few numbers, to see that everything still fits together. It asserts no speed.
func TestItMeasures(t *testing.T) {
	asked, then := 0, false
	f, err := measure.Index(measure.Options{Dir: t.TempDir(), Numbers: 30_000,
		Asker: func(*index.Index) func([]uint64) { return func(digits []uint64) { asked += len(digits) } },
		Then: func(x *index.Index, f *measure.Figures) error {
			then = x.Len() == 30_000 && f.Lookups > 0
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.FileBytes < 60_000 || f.Lookups <= 0 || f.Flat <= 0 || f.Apply.Clock <= 0 || f.Cached.First.Clock <= 0 || asked == 0 || !then {
		t.Errorf("not everything was measured: %+v", f)
	}
	for _, want := range []string{"30000 numbers", "saved", "opened", "verified", "looked up", "checks", "carriers"} {
		if !strings.Contains(f.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, f)
		}
	}
}
