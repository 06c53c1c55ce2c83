package match_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/match"
)

// go test ./internal/match -run - -bench Match -numbers 1000000000 -rows 20000000
var (
	benchNumbers = flag.Int("numbers", 10_000_000, "how many numbers the index of BenchmarkMatch has")
	benchRows    = flag.Int("rows", 2_000_000, "how many rows are matched")
)

// fullIndex holds n numbers that are next to each other, as all numbers of the segments in use are: 97 of 100 changed hands before 2024.
func fullIndex(n int) *index.Index {
	x := index.New()
	changes := make([]index.Change, 0, 10_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		day := r.IntN(8700)
		if r.IntN(100) < 3 {
			day = 8767 + r.IntN(900) // changed since 2024-01-01
		}
		changes = append(changes, index.Change{Digits: 8613000000000 + uint64(i), Value: uint16(day<<2 | 1), Carrier: 1})
		if len(changes) == cap(changes) || i == n-1 {
			x.Apply(changes)
			changes = changes[:0]
		}
	}
	return x
}

// accounts writes rows with random numbers of the index.
func accounts(rows, numbers int, format string) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	b.WriteString("account,number,bound_at\n")
	for i := range rows {
		number := "+" + strconv.Itoa(8613000000000+r.IntN(numbers))
		day := time.Date(2024, 1, 1+r.IntN(300), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)
		fmt.Fprintf(&b, format, 10_000_000_000+i, number, day.Format(map[string]string{plainRows: time.DateOnly,
			quotedRows: "2006-01-02T15:04:05+08:00", timeRows: time.DateTime}[format]))
	}
	return b.Bytes()
}

const (
	plainRows  = "%d,%s,%s\n"
	quotedRows = `"%d","%s","%s"` + "\n"
	timeRows   = "%d,%s,%s\r\n"
)

func BenchmarkMatch(b *testing.B) {
	x := fullIndex(*benchNumbers)
	defer func() { _ = x.Close() }()
	for _, c := range []struct{ name, format string }{{"dates", plainRows}, {"times", timeRows}, {"quoted", quotedRows}} {
		b.Run(c.name, func(b *testing.B) {
			input := accounts(*benchRows, *benchNumbers, c.format)
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			var s match.State
			before := cpu(b)
			for b.Loop() {
				var err error
				s, err = match.Run(context.Background(), match.Options{In: bytes.NewReader(input), Changed: io.Discard, Unknown: io.Discard,
					Zone: huanxin.China, Source: &match.Replica{Marks: x, Present: huanxin.PresentAt(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), huanxin.China)}})
				if err != nil || s.Summary.Rows != int64(*benchRows) || s.Summary.Bad > 0 {
					b.Fatal(err, s.Summary)
				}
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			// What the machine does for a row, however many others it works for: 2 cores do 2e9 over this a second.
			b.ReportMetric(float64(cpu(b)-before)/float64(*benchRows)/float64(b.N), "cpu-ns/row")
			b.ReportMetric(float64(s.Summary.Changed)/float64(*benchRows)*100, "%changed")
		})
	}
}

// cpu gives the processor time that this process has taken.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
