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

// Options say what is measured.
type Options struct {
	Dir     string // for the snapshot
	Numbers int64
	// Value gives what number First+i is set to; nil: something.
	Value func(i int64) uint16
	// Asker, unless nil, makes what is asked for the same numbers as Lookup, in the same rounds.
	Asker func(*index.Index) func(digits []uint64)
	// Then, unless nil, is given the index in the end, opened and verified, with what was seen of it.
	Then func(*index.Index, *Figures) error
}

// First is the first number of an index; the others follow without a gap.
const First = 8613000000000

const (
	rounds      = 3  // of everything but filling and saving
	applyRounds = 10 // they are short, and a busy machine hits some of them less
	mostAsked   = 10_000_000
	mostChanges = 1_000_000
)

// Figures are what was seen of an index of so many numbers, 3 of 100 of which are served by another carrier than most of their
// block. Rates are a second of one core's time, the best of three rounds: the clock tells as much of who else uses the machine.
// Of everything else that is repeated, what took least by the clock stays.
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
	Asked        float64 // of Options.Asker
	Flat         float64 // a bare loop over a []uint16 of the same size with the same numbers
	FlatHuge     float64 // the same on huge pages
	Carriers     float64
	Changes      int64 // a million, or as many as there are numbers
	Apply        Took  // of so many random changes
}

// Took is how long something took by the clock, and of how much time of all cores.
type Took struct{ Clock, CPU time.Duration }

// lessen keeps the shorter time of two.
func (t *Took) lessen(other Took) {
	if t.Clock == 0 || other.Clock < t.Clock {
		*t = other
	}
}

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
	if f.Asked > 0 {
		line("asked for checks: %.1f M/s, %.2f of the loop, %.2f of that on huge pages", f.Asked/1e6, f.Asked/f.Flat, f.Asked/f.FlatHuge)
	}
	line("carriers: %.1f M/s; %d random changes: %v", f.Carriers/1e6, f.Changes, f.Apply)
	return b.String()
}

func (m Memory) String() string {
	return fmt.Sprintf("RSS %.3f GB (anonymous %.3f, Go heap %.3f)", float64(m.RSS)/1e9, float64(m.Anon)/1e9, float64(m.Heap)/1e9)
}

// change gives number i of the index.
func (o *Options) change(i int64) index.Change {
	carrier := uint16(i/10_000%4 + 1)
	if mixed := uint64(i) * 0x9E3779B97F4A7C15; mixed>>40%100 < 3 {
		carrier = carrier%4 + 1 + uint16(mixed>>32%2)
	}
	return index.Change{Digits: uint64(First + i), Value: o.Value(i), Carrier: carrier}
}

// Index measures an index.
func Index(o Options) (f Figures, err error) {
	if o.Value == nil {
		o.Value = func(i int64) uint16 { return uint16(i%65_000 + 1) }
	}
	f.Numbers = o.Numbers
	path := filepath.Join(o.Dir, "index")
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if err := f.fill(&o, path); err != nil {
		return f, err
	}
	debug.FreeOSMemory()
	for range rounds {
		if err := f.open(&o, path); err != nil {
			return f, err
		}
	}
	return f, f.use(&o, path)
}

func (f *Figures) fill(o *Options, path string) (err error) {
	x := index.New()
	defer func() { err = errors.Join(err, x.Close()) }()
	f.Fill = took(func() {
		batch := make([]index.Change, 0, 50_000)
		for i := range f.Numbers {
			if batch = append(batch, o.change(i)); len(batch) == cap(batch) || i == f.Numbers-1 {
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

// open measures opening and verifying once, in every way.
func (f *Figures) open(o *Options, path string) error {
	for _, step := range []struct {
		answers        int
		cold           bool
		opened, verify *Took
	}{
		{1, true, &f.Cold.First, &f.Cold.Verify}, {1, false, &f.Cached.First, &f.Cached.Verify},
		{128, true, &f.Cold.First128, nil}, {128, false, &f.Cached.First128, nil},
	} {
		if step.cold && !forget(path) {
			continue
		}
		x, t, err := o.open(path, step.answers)
		if err != nil {
			return err
		}
		step.opened.lessen(t)
		if step.verify != nil {
			step.verify.lessen(took(func() { err = x.Verify(context.Background()) }))
		}
		if err := errors.Join(err, x.Close()); err != nil {
			return err
		}
	}
	return nil
}

// use measures what an opened index does.
func (f *Figures) use(o *Options, path string) (err error) {
	x, _, err := index.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if err := x.Verify(context.Background()); err != nil {
		return err
	}
	f.Opened = memory()
	f.rates(o, x)
	if o.Then == nil {
		return nil
	}
	debug.FreeOSMemory()
	return o.Then(x, f)
}

// open opens the snapshot and asks for so many random numbers.
func (o *Options) open(path string, answers int) (x *index.Index, t Took, err error) {
	asked := o.random(answers)
	values := make([]uint16, len(asked))
	t = took(func() {
		if x, _, err = index.Open(path); err == nil {
			x.Lookup(asked, values)
		}
	})
	if err != nil {
		return nil, t, err
	}
	for i, v := range values {
		if v != o.Value(int64(asked[i]-First)) {
			return nil, t, errors.Join(errors.New("it answers what is not so"), x.Close())
		}
	}
	return x, t, nil
}

// random gives n random numbers of the index.
func (o *Options) random(n int) []uint64 {
	asked := make([]uint64, n)
	for i := range asked {
		asked[i] = First + uint64(rand.Int64N(o.Numbers))
	}
	return asked
}

// rates measures look-ups and changes. Rounds of what is compared take turns.
func (f *Figures) rates(o *Options, x *index.Index) {
	asked := o.random(int(min(mostAsked, f.Numbers)))
	values := make([]uint16, len(asked))
	best := func(rate *float64, round func()) {
		*rate = max(*rate, float64(len(asked))/took(round).CPU.Seconds())
	}
	flat, huge := make([]uint16, f.Numbers), hugeFlat(f.Numbers)
	for i := range flat {
		flat[i], huge[i] = uint16(i), uint16(i)
	}
	var ask func([]uint64)
	if o.Asker != nil {
		ask = o.Asker(x)
	}
	for range rounds {
		best(&f.Lookups, func() { x.Lookup(asked, values) })
		if ask != nil {
			best(&f.Asked, func() { ask(asked) })
		}
		best(&f.Flat, func() { bare(flat, asked, values) })
		best(&f.FlatHuge, func() { bare(huge, asked, values) })
		best(&f.Carriers, func() { x.Carriers(asked, values) })
	}
	f.Changes = min(mostChanges, f.Numbers)
	for range applyRounds {
		changes := make([]index.Change, f.Changes)
		for i := range changes {
			changes[i] = o.change(rand.Int64N(f.Numbers))
			changes[i].Value = o.Value(rand.Int64N(f.Numbers))
			if rand.IntN(100) < 3 { // ported
				changes[i].Carrier = uint16(rand.IntN(4) + 1)
			}
		}
		f.Apply.lessen(took(func() { x.Apply(changes) }))
	}
}

func bare(flat []uint16, asked []uint64, values []uint16) {
	for i, n := range asked {
		values[i] = flat[n-First]
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
