package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/measure"
	"github.com/huanxin-platform/huanxin/internal/match"
)

// The checks in memory: an index of -numbers numbers, what is asked of it in process, and the same work done by peers
// from Debian's packages, which hold as many numbers as they can without taking all day: that is to their advantage.

const (
	peerNumbers = 10_000_000 // that the peers hold
	peerRounds  = 3
)

// checks measures what is wanted of them and frees what it took.
func checks(ctx context.Context, o options, out io.Writer) (err error) {
	if o.wants("index") || o.wants("redis") || o.wants("match") {
		if err := indexed(ctx, o, out); err != nil {
			return err
		}
		debug.FreeOSMemory()
	}
	if !o.wants("follow") {
		return nil
	}
	if err := followed(ctx, o, out); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	return nil
}

// indexed measures the index, and what is measured with it.
func indexed(ctx context.Context, o options, out io.Writer) (err error) {
	w := &world{}
	if w.dir, err = os.MkdirTemp("/var/tmp", "huanxin-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir)) }()
	before, began := w.cpuSeconds(), time.Now()
	_, err = measure.Index(measure.Options{Dir: w.dir, Numbers: o.numbers, Value: lives().mark, Asker: asker,
		Then: func(x *index.Index, f *measure.Figures) error {
			p := phase{n: 1, took: time.Since(began), cpu: w.cpuSeconds().minus(before)}
			sayIndex(out, f, p)
			if o.wants("redis") {
				if err := w.besideRedis(ctx, o, out, x); err != nil {
					return fmt.Errorf("redis: %w", err)
				}
			}
			if o.wants("match") {
				if err := w.besidePostgreSQL(ctx, o, out, x); err != nil {
					return fmt.Errorf("match: %w", err)
				}
			}
			return nil
		}})
	return err
}

func sayIndex(out io.Writer, f *measure.Figures, p phase) {
	fmt.Fprintf(out, "\nchecks in memory, %d numbers, 3 of 100 ported; others took %.0f %% of the machine\n", f.Numbers, p.others())
	row := func(what, goal, format string, args ...any) {
		fmt.Fprintf(out, "    %-40s %-16s "+format+"\n", append([]any{what, goal}, args...)...)
	}
	row("memory, filled (10^9: 2.2 GB)", "", "%v; %.2f bytes a number", f.FilledPeak, float64(f.FilledPeak.RSS)/float64(f.Numbers))
	row("memory, opened and verified", "", "%v", f.Opened)
	row("from opening to the first answer", "50 ms", "%v; from disk %v", f.Cached.First, f.Cold.First)
	row("verified in the background", "5 s", "%v; from disk %v", f.Cached.Verify, f.Cold.Verify)
	row(fmt.Sprint(f.Changes, " random changes applied"), "1 s for 10^6", "%v", f.Apply)
	row("looked up, random, one core", "", "%.1f M/s, %.2f of a bare loop (%.1f M/s), %.2f of one on huge pages (%.1f M/s)",
		f.Lookups/1e6, f.Lookups/f.Flat, f.Flat/1e6, f.Lookups/f.FlatHuge, f.FlatHuge/1e6)
	row("checks, random, one core", "15 M/s, 0.5", "%.1f M/s, %.2f of a bare loop, %.2f of one on huge pages",
		f.Asked/1e6, f.Asked/f.Flat, f.Asked/f.FlatHuge)
}

// asker makes what answers checks as `huanxin match` does: of numbers and T's that were just read, 128 at once, through
// huanxin.Mark.Answer. Three of four T's are dates.
func asker(x *index.Index) func(digits []uint64) {
	const batch, different = 128, 4096
	since := make([]huanxin.Since, different)
	for i := range since {
		since[i] = huanxin.SinceDay(firstBound + huanxin.Day(i%boundDays))
		if i%4 == 0 {
			since[i] = huanxin.SinceInstant(since[i].At(&checkedAt).Add(-time.Duration(i) * time.Minute))
		}
	}
	source := match.Replica{Marks: x, Present: checkedAt}
	answers := make([]match.Answer, batch)
	at := 0
	return func(digits []uint64) {
		b := new(match.Batch)
		for len(digits) > 0 {
			n := min(batch, len(digits))
			b.Digits, b.Since, b.Answers = digits[:n], since[at:at+n], answers[:n]
			_ = source.Answer(context.Background(), b) // an index beside us does not fail
			digits, at = digits[n:], (at+batch)%different
		}
	}
}

// checkedAt is the present of all checks here.
var checkedAt = huanxin.PresentAt(time.Date(2026, 11, 1, 4, 0, 0, 0, time.UTC), huanxin.China)

// firstBound is 2024-01-01, the first day on which accounts were bound.
const firstBound huanxin.Day = 19723

const (
	boundDays = 300
	// Most numbers began their tenures before that day, those that changed hands since on one of so many days.
	oldDays, newDays = 8700, 900
)

// lifeTable has the mark of every life, which is how today's tenure of a number began: by origin and day.
// Of 100 numbers two have no holder, one has an unknown beginning, three changed hands since firstBound.
type lifeTable [4][oldDays + newDays + 1]uint16

// lives makes the marks of all lives.
func lives() *lifeTable {
	t := new(lifeTable)
	for origin := range t {
		for i := range t[origin] {
			s := huanxin.Standing{Phase: huanxin.PhaseInUse, Origin: origins[origin], StartedAt: lifeDay(i).Date(huanxin.China)}
			if origin == noOrigin {
				s = huanxin.Standing{Phase: huanxin.PhaseDisconnected}
			}
			t[origin][i] = uint16(s.Mark(huanxin.China))
		}
	}
	return t
}

const noOrigin = 0

var origins = [4]huanxin.TenureOrigin{noOrigin, huanxin.OriginReassigned, huanxin.OriginTransferred, huanxin.OriginUnknown}

func lifeDay(i int) huanxin.Day { return firstBound - oldDays + huanxin.Day(i) }

// place gives where number i's life stands.
func place(i int64) (origin, day int) {
	r := uint64(i) * 0x9E3779B97F4A7C15
	r = (r ^ r>>29) * 0xBF58476D1CE4E5B9
	r ^= r >> 32
	old, recent := int(r>>8%oldDays), oldDays+int(r>>8%newDays)
	switch share := r & 0xff * 100 >> 8; {
	case share < 2:
		return noOrigin, 0
	case share < 3:
		return 3, old
	case share < 4:
		return 2, recent
	case share < 6:
		return 1, recent
	}
	return 1, old
}

func (t *lifeTable) mark(i int64) uint16 {
	origin, day := place(i)
	return t[origin][day]
}

// series is one thing measured several times.
type series struct {
	name   string
	rounds []phase
}

func (s *series) add(p phase) { s.rounds = append(s.rounds, p) }

// best gives the greatest rate by the clock.
func (s *series) best() float64 {
	return slices.MaxFunc(s.rounds, func(a, b phase) int { return cmp.Compare(a.rate(), b.rate()) }).rate()
}

// cpuEach gives the least CPU time that one took, in seconds: ours, or a server's alone where there is one.
func (s *series) cpuEach() float64 {
	least := 0.0
	for _, p := range s.rounds {
		c := p.cpu.process
		if p.cpu.database > 0 {
			c = p.cpu.database
		}
		if c /= float64(p.n); least == 0 || c < least {
			least = c
		}
	}
	return least
}

func (s *series) String() string {
	var rates, others []float64
	for _, p := range s.rounds {
		rates, others = append(rates, p.rate()), append(others, p.others())
	}
	return fmt.Sprintf("    %-62s best %6.2f M/s   median %6.2f M/s   CPU %6.1f ns each; others took %.0f %% of the machine",
		s.name, s.best()/1e6, median(rates)/1e6, s.cpuEach()*1e9, median(others))
}
