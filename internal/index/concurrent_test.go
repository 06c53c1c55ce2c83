package index_test

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

// TestReadersBesideTheWriterNeverSeeWhatWasNot opens a snapshot and changes its numbers round by round, the
// round being value and carrier, while others look numbers up, verify and write snapshots. What they see of a number only
// goes forward, a carrier is never older than its value, and a number that is never changed stays.
func TestReadersBesideTheWriterNeverSeeWhatWasNot(t *testing.T) {
	const rounds, still = 300, uint16(60000)
	var moving, resting []uint64
	first := index.NewOnHeap()
	for i := range uint64(60) {
		for _, base := range []uint64{8613800000000, 8613800010000 + i*10000, 85290000000} {
			moving, resting = append(moving, base+2*i), append(resting, base+2*i+1) // neighbours share a word
			first.Set(base+2*i, 1, 1)
			first.Set(base+2*i+1, still, still)
		}
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := first.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	x, _, err := index.OpenOnHeap(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()

	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { forward(t, x, moving, &over) })
	}
	readers.Go(func() { unmoved(t, x, resting, still, &over) })
	readers.Go(func() {
		if err := x.Verify(context.Background()); err != nil {
			t.Error(err)
		}
		for !over.Load() {
			holds(t, x, rounds)
		}
	})
	for round := uint16(2); round <= rounds; round++ {
		var all []index.Change
		for i, n := range moving {
			if i%7 == int(round%7) {
				x.Set(n, index.Unseen, 0) // and at once again
			}
			c := index.Change{Digits: n, Value: round, Carrier: round}
			if i%2 == 0 {
				x.Set(c.Digits, c.Value, c.Carrier)
			} else {
				all = append(all, c)
			}
		}
		x.Apply(all)
	}
	over.Store(true)
	readers.Wait()
	for _, n := range moving {
		if v, c := x.Get(n); v != rounds || c != rounds {
			t.Errorf("in the end %d, %d", v, c)
		}
	}
	if x.Len() != int64(len(moving)+len(resting)) {
		t.Errorf("len %d", x.Len())
	}
}

// forward looks numbers up whose value and carrier only grow, but for moments at which they are not set.
func forward(t *testing.T, x *index.Index, numbers []uint64, over *atomic.Bool) {
	latest := make([]uint16, len(numbers))
	values := make([]uint16, len(numbers))
	for !over.Load() {
		x.Lookup(numbers, values)
		for i, v := range values {
			if v != index.Unseen && v < latest[i] {
				t.Errorf("%d after %d", v, latest[i])
				return
			}
			latest[i] = max(latest[i], v)
			v, c := x.Get(numbers[i])
			if v == index.Unseen && c != 0 || v != index.Unseen && (v < latest[i] || c < v) {
				t.Errorf("%d, %d after %d", v, c, latest[i])
				return
			}
			latest[i] = max(latest[i], v)
		}
	}
}

// unmoved looks numbers up that nobody changes.
func unmoved(t *testing.T, x *index.Index, numbers []uint64, is uint16, over *atomic.Bool) {
	values, carriers := make([]uint16, len(numbers)), make([]uint16, len(numbers))
	for !over.Load() {
		x.Lookup(numbers, values)
		x.Carriers(numbers, carriers)
		for i := range numbers {
			if values[i] != is || carriers[i] != is {
				t.Errorf("a number at rest is %d, %d", values[i], carriers[i])
				return
			}
		}
	}
}

// holds writes a snapshot beside the writer and opens it.
func holds(t *testing.T, x *index.Index, rounds uint16) {
	var b bytes.Buffer
	if _, err := x.WriteTo(&b, nil, true); err != nil {
		t.Error(err)
		return
	}
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, b.Bytes())
	y, _, err := index.OpenOnHeap(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = y.Close() }()
	if err := y.All(func(c index.Change) bool {
		if c.Value != c.Carrier || c.Value > rounds && c.Value != 60000 {
			t.Errorf("a snapshot has %d, %d", c.Value, c.Carrier)
			return false
		}
		return true
	}); err != nil {
		t.Error(err)
	}
}

// TestFirstLookUpsMeetOnOnePage has many readers want the same unverified pages at once.
func TestFirstLookUpsMeetOnOnePage(t *testing.T) {
	var numbers []uint64
	first := index.NewOnHeap()
	for i := range uint64(200) {
		numbers = append(numbers, 8615000000000+i*10000, 85290000000+i)
	}
	for _, n := range numbers {
		first.Set(n, 7, 8)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := first.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		x, _, err := index.OpenOnHeap(path)
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				values := make([]uint16, len(numbers))
				x.Lookup(numbers, values)
				for i, v := range values {
					if v != 7 {
						t.Errorf("number %d is %d", i, v)
						return
					}
				}
			})
		}
		readers.Go(func() {
			if err := x.Verify(context.Background()); err != nil {
				t.Error(err)
			}
		})
		for i, n := range numbers {
			x.Set(n+1_000_000_000, 9, 9) // a page that the snapshot has not
			if v, c := x.Get(n); v != 7 || c != 8 {
				t.Errorf("number %d is %d, %d", i, v, c)
			}
		}
		readers.Wait()
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestACarrierIsNeverOlderThanItsValue has the writer change, clear and port one number as fast as it can.
func TestACarrierIsNeverOlderThanItsValue(t *testing.T) {
	const number, rule, rounds = uint64(8613800000000), uint16(60000), uint16(50000)
	x := index.NewOnHeap()
	for i := range uint64(20) {
		x.Set(number+1+i, 1, rule)
	}
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var carrier [1]uint16
			for !over.Load() {
				v, c := x.Get(number)
				if v == index.Unseen && c != 0 || v != index.Unseen && (c < v || c > rounds) {
					t.Errorf("%d, %d", v, c)
					return
				}
				if x.Carriers([]uint64{number}, carrier[:]); carrier[0] > rounds {
					t.Errorf("the others' carrier: %d", carrier[0])
					return
				}
			}
		})
	}
	for range 6 {
		for round := uint16(1); round <= rounds; round++ {
			x.Set(number, round, round)
			if round%2 == 0 {
				x.Set(number, index.Unseen, 0)
			}
		}
	}
	over.Store(true)
	readers.Wait()
}
