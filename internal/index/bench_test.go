package index_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index/measure"
)

// BenchmarkIndex takes all figures of an index of HUANXIN_INDEX_NUMBERS numbers, 2 million unless it is set:
//
//	HUANXIN_INDEX_NUMBERS=1000000000 go test ./internal/index -run '^$' -bench Index -benchtime 1x -v
//
// 10^9 numbers take about 5 GB of memory, most of it for what the index is compared with, 2 GB on disk and a minute.
func BenchmarkIndex(b *testing.B) {
	numbers := int64(2_000_000)
	if s := os.Getenv("HUANXIN_INDEX_NUMBERS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 || n > 7_000_000_000 {
			b.Fatalf("HUANXIN_INDEX_NUMBERS is %q", s)
		}
		numbers = n
	}
	for b.Loop() {
		f, err := measure.Index(measure.Options{Dir: b.TempDir(), Numbers: numbers})
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("\n%s", f)
		b.ReportMetric(f.Lookups, "lookups/s")
		b.ReportMetric(f.Lookups/f.Flat, "of-flat")
		b.ReportMetric(float64(f.FilledPeak.RSS)/float64(numbers), "B/number")
	}
}
