// Package measure takes the figures of the index, for its own benchmark and for bench.
package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin/internal/index"
)

// Figures are what was seen of an index of so many numbers, 3 of 100 of which are served by another carrier than most of their
// block. Rates are of one goroutine, a second; the best of three rounds.
type Figures struct {
	Numbers int64
	// Memory of the process with nothing but the index, after a garbage collection and at its highest, in bytes.
	Filled, FilledPeak Memory
	FillSeconds        float64
	SaveSeconds        float64
	FileBytes          int64
	// From nothing to the first 128 answers: of a file in the page cache, and of one that is not, if that could be dropped.
	FirstAnswer, FirstAnswerCold     time.Duration
	VerifySeconds, VerifyColdSeconds float64
	Opened                           Memory // after Verify
	Lookups                          float64
	Flat                             float64 // a bare loop over a []uint16 of the same size with the same numbers
	FlatHuge                         float64 // the same on huge pages
	Carriers                         float64
	ApplySeconds                     float64 // a million random changes
}

// Memory is what the system says of this process.
type Memory struct{ RSS, Anon, Heap int64 }

// String gives the figures as lines.
func (f Figures) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%d numbers, filled in %.1f s: %s; highest %s; %.2f bytes a number", f.Numbers, f.FillSeconds, f.Filled, f.FilledPeak,
		float64(f.FilledPeak.RSS)/float64(f.Numbers))
	line("saved in %.2f s, %.3f GB", f.SaveSeconds, float64(f.FileBytes)/1e9)
	line("opened, to the first 128 answers: %v cached, %v cold", f.FirstAnswer, f.FirstAnswerCold)
	line("verified in %.2f s cached, %.2f s cold: %s", f.VerifySeconds, f.VerifyColdSeconds, f.Opened)
	line("looked up: %.1f M/s; a bare loop over a flat []uint16: %.1f M/s (%.2f of it), on huge pages %.1f M/s (%.2f of it)",
		f.Lookups/1e6, f.Flat/1e6, f.Lookups/f.Flat, f.FlatHuge/1e6, f.Lookups/f.FlatHuge)
	line("carriers: %.1f M/s; a million random changes: %.3f s", f.Carriers/1e6, f.ApplySeconds)
	return b.String()
}

func (m Memory) String() string {
	return fmt.Sprintf("RSS %.3f GB (anonymous %.3f, Go heap %.3f)", float64(m.RSS)/1e9, float64(m.Anon)/1e9, float64(m.Heap)/1e9)
}

const first = 8613000000000

// change gives number i of the index.
func change(i int64) index.Change {
	carrier := uint16(i/10_000%4 + 1)
	if mixed := uint64(i) * 0x9E3779B97F4A7C15; mixed>>40%100 < 3 {
		carrier = carrier%4 + 1 + uint16(mixed>>32%2)
	}
	return index.Change{Digits: uint64(first + i), Value: uint16(i%65_000 + 1), Carrier: carrier}
}

// Index measures an index of so many numbers, with its snapshot in dir.
func Index(dir string, numbers int64) (f Figures, err error) {
	f.Numbers = numbers
	path := filepath.Join(dir, "index")
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if err := f.fill(path); err != nil {
		return f, err
	}
	debug.FreeOSMemory()
	if f.FirstAnswerCold, f.VerifyColdSeconds, err = f.cold(path); err != nil {
		return f, err
	}
	x, took, err := open(path, numbers)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	f.FirstAnswer = took
	if f.VerifySeconds, err = seconds(func() error { return x.Verify(context.Background()) }); err != nil {
		return f, err
	}
	f.Opened = memory()
	f.rates(x)
	return f, nil
}

func (f *Figures) fill(path string) (err error) {
	x := index.New()
	defer func() { err = errors.Join(err, x.Close()) }()
	f.FillSeconds, _ = seconds(func() error {
		batch := make([]index.Change, 0, 50_000)
		for i := range f.Numbers {
			if batch = append(batch, change(i)); len(batch) == cap(batch) || i == f.Numbers-1 {
				x.Apply(batch)
				batch = batch[:0]
			}
		}
		return nil
	})
	f.FilledPeak = memory()
	debug.FreeOSMemory()
	f.Filled = memory()
	if f.SaveSeconds, err = seconds(func() error { return x.Save(path, nil) }); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f.FileBytes = info.Size()
	return nil
}

// cold opens and verifies a file that is not in the page cache.
func (f *Figures) cold(path string) (firstAnswer time.Duration, verify float64, err error) {
	if !forget(path) {
		return 0, 0, nil
	}
	x, took, err := open(path, f.Numbers)
	if err != nil {
		return 0, 0, err
	}
	verify, err = seconds(func() error { return x.Verify(context.Background()) })
	return took, verify, errors.Join(err, x.Close())
}

// open opens an index and has it answer for 128 random numbers.
func open(path string, numbers int64) (*index.Index, time.Duration, error) {
	asked := make([]uint64, 128)
	for i := range asked {
		asked[i] = change(rand.Int64N(numbers)).Digits
	}
	values := make([]uint16, len(asked))
	start := time.Now()
	x, _, err := index.Open(path)
	if err != nil {
		return nil, 0, err
	}
	x.Lookup(asked, values)
	took := time.Since(start)
	for i, v := range values {
		if v != change(int64(asked[i]-first)).Value {
			return nil, 0, errors.New("it answers what is not so")
		}
	}
	return x, took, nil
}

// rates measures look-ups and changes. Rounds of what is compared take turns.
func (f *Figures) rates(x *index.Index) {
	asked := make([]uint64, min(10_000_000, max(f.Numbers, 1_000_000)))
	for i := range asked {
		asked[i] = first + uint64(rand.Int64N(f.Numbers))
	}
	values := make([]uint16, len(asked))
	best := func(rate *float64, round func()) {
		took, _ := seconds(func() error { round(); return nil })
		*rate = max(*rate, float64(len(asked))/took)
	}
	flat, huge := make([]uint16, f.Numbers), hugeFlat(f.Numbers)
	for i := range flat {
		flat[i], huge[i] = uint16(i), uint16(i)
	}
	for range 3 {
		best(&f.Lookups, func() { x.Lookup(asked, values) })
		best(&f.Flat, func() { bare(flat, asked, values) })
		best(&f.FlatHuge, func() { bare(huge, asked, values) })
		best(&f.Carriers, func() { x.Carriers(asked, values) })
	}
	runtime.KeepAlive(flat)
	for round := range 3 {
		changes := make([]index.Change, 1_000_000)
		for i := range changes {
			changes[i] = change(rand.Int64N(f.Numbers))
			changes[i].Value = uint16(i%60_000 + 1)
			if rand.IntN(100) < 3 { // ported
				changes[i].Carrier = uint16(rand.IntN(4) + 1)
			}
		}
		took, _ := seconds(func() error { x.Apply(changes); return nil })
		if round == 0 || took < f.ApplySeconds {
			f.ApplySeconds = took
		}
	}
}

func bare(flat []uint16, asked []uint64, values []uint16) {
	for i, n := range asked {
		values[i] = flat[n-first]
	}
}

func seconds(work func() error) (float64, error) {
	start := time.Now()
	err := work()
	return time.Since(start).Seconds(), err
}

// memory gives what the process uses now; zeros where /proc does not say.
func memory() Memory {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := Memory{Heap: int64(stats.HeapAlloc)}
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			m.RSS = kb << 10
		}
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
			m.Anon = kb << 10
		}
	}
	return m
}
