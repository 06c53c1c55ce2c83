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
// block. Rates are a second of one core's time, the best of three rounds: the clock tells as much of who else uses the machine.
type Figures struct {
	Numbers int64
	// Memory of the process with nothing but the index: right after it was filled, and after a garbage collection.
	FilledPeak, Filled Memory
	Fill, Save         Took
	FileBytes          int64
	// From nothing to the first answer, and to 128 of random numbers: of a file in the page cache, and of one that is
	// not, if it could be dropped.
	Cached, Cold struct{ First, First128, Verify Took }
	Opened       Memory // after Verify
	Lookups      float64
	Flat         float64 // a bare loop over a []uint16 of the same size with the same numbers
	FlatHuge     float64 // the same on huge pages
	Carriers     float64
	Apply        Took // a million random changes, or as many as there are numbers
}

// Took is how long something took by the clock, and of how much time of all cores.
type Took struct{ Clock, CPU time.Duration }

// String gives both.
func (t Took) String() string {
	return fmt.Sprintf("%v (CPU %v)", t.Clock.Round(t.Clock/1000+1), t.CPU.Round(t.CPU/1000+1))
}

// Memory is what the system says of this process.
type Memory struct{ RSS, Anon, Heap int64 }

// String gives the figures as lines.
func (f Figures) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%d numbers, filled in %v: %s, that is %.2f bytes a number; collected: %s", f.Numbers, f.Fill, f.FilledPeak,
		float64(f.FilledPeak.RSS)/float64(f.Numbers), f.Filled)
	line("saved in %v, %.3f GB", f.Save, float64(f.FileBytes)/1e9)
	line("opened, to the first answer: %v cached, %v cold; to 128 random ones: %v cached, %v cold",
		f.Cached.First, f.Cold.First, f.Cached.First128, f.Cold.First128)
	line("verified in %v cached, %v cold: %s", f.Cached.Verify, f.Cold.Verify, f.Opened)
	line("looked up: %.1f M/s; a bare loop over a flat []uint16: %.1f M/s (%.2f of it), on huge pages %.1f M/s (%.2f of it)",
		f.Lookups/1e6, f.Flat/1e6, f.Lookups/f.Flat, f.FlatHuge/1e6, f.Lookups/f.FlatHuge)
	line("carriers: %.1f M/s; %d random changes: %v", f.Carriers/1e6, min(1_000_000, f.Numbers), f.Apply)
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
	for _, step := range []struct {
		answers int
		cold    bool
		opened  *Took
		verify  *Took
	}{
		{1, true, &f.Cold.First, &f.Cold.Verify}, {1, false, &f.Cached.First, &f.Cached.Verify},
		{128, true, &f.Cold.First128, new(Took)}, {128, false, &f.Cached.First128, new(Took)},
	} {
		if step.cold && !forget(path) {
			continue
		}
		x, err := open(path, numbers, step.answers, step.opened)
		if err != nil {
			return f, err
		}
		*step.verify = took(func() { err = x.Verify(context.Background()) })
		if err == nil && step.answers > 1 && !step.cold {
			f.Opened = memory()
			f.rates(x)
		}
		if err := errors.Join(err, x.Close()); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Figures) fill(path string) (err error) {
	x := index.New()
	defer func() { err = errors.Join(err, x.Close()) }()
	f.Fill = took(func() {
		batch := make([]index.Change, 0, 50_000)
		for i := range f.Numbers {
			if batch = append(batch, change(i)); len(batch) == cap(batch) || i == f.Numbers-1 {
				x.Apply(batch)
				batch = batch[:0]
			}
		}
	})
	f.FilledPeak = memory()
	debug.FreeOSMemory()
	f.Filled = memory()
	f.Save = took(func() { err = x.Save(path, nil) })
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f.FileBytes = info.Size()
	return nil
}

// open opens the snapshot and asks for so many random numbers.
func open(path string, numbers int64, answers int, t *Took) (x *index.Index, err error) {
	asked := make([]uint64, answers)
	for i := range asked {
		asked[i] = change(rand.Int64N(numbers)).Digits
	}
	values := make([]uint16, len(asked))
	*t = took(func() {
		if x, _, err = index.Open(path); err == nil {
			x.Lookup(asked, values)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		if v != change(int64(asked[i]-first)).Value {
			return nil, errors.Join(errors.New("it answers what is not so"), x.Close())
		}
	}
	return x, nil
}

// rates measures look-ups and changes. Rounds of what is compared take turns.
func (f *Figures) rates(x *index.Index) {
	asked := make([]uint64, min(10_000_000, f.Numbers))
	for i := range asked {
		asked[i] = first + uint64(rand.Int64N(f.Numbers))
	}
	values := make([]uint16, len(asked))
	best := func(rate *float64, round func()) {
		*rate = max(*rate, float64(len(asked))/took(round).CPU.Seconds())
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
	for round := range 3 {
		changes := make([]index.Change, min(1_000_000, f.Numbers))
		for i := range changes {
			changes[i] = change(rand.Int64N(f.Numbers))
			changes[i].Value = uint16(i%60_000 + 1)
			if rand.IntN(100) < 3 { // ported
				changes[i].Carrier = uint16(rand.IntN(4) + 1)
			}
		}
		if t := took(func() { x.Apply(changes) }); round == 0 || t.CPU < f.Apply.CPU {
			f.Apply = t
		}
	}
}

func bare(flat []uint16, asked []uint64, values []uint16) {
	for i, n := range asked {
		values[i] = flat[n-first]
	}
}

func took(work func()) Took {
	start, used := time.Now(), cpu()
	work()
	return Took{time.Since(start), cpu() - used}
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
