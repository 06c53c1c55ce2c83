package index_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin/internal/index"
)

// known is what the model knows of a number: its latest change.
type known struct{ value, carrier uint16 }

// world is an index and, beside it, a plain map of the same.
type world struct {
	dir  string
	x    *index.Index
	is   map[uint64]known
	meta []byte
	// heap keeps pages where the race detector sees them.
	heap bool
}

// numbers draws one of a few thousand numbers: in a few blocks of Chinese mobile numbers, at their edges, and others.
func numbers() *rapid.Generator[uint64] {
	return rapid.OneOf(
		rapid.Uint64Range(8613800000000, 8613800000040),
		rapid.Uint64Range(8613800009990, 8613800010005),
		rapid.Uint64Range(8617712340000, 8617712341000),
		rapid.SampledFrom([]uint64{1, 8609999999999, 8610000000000, 8619999999999, 8620000000000, index.MaxDigits}),
		rapid.Uint64Range(85290000000, 85290000300),
	)
}

func changes() *rapid.Generator[index.Change] {
	return rapid.Custom(func(t *rapid.T) index.Change {
		return index.Change{
			Digits:  numbers().Draw(t, "number"),
			Value:   rapid.OneOf(rapid.Uint16Range(0, 3), rapid.Uint16Range(0, 0xFFFE)).Draw(t, "value"),
			Carrier: rapid.OneOf(rapid.Uint16Range(0, 4), rapid.Uint16Range(0, 0xFFFE)).Draw(t, "carrier"),
		}
	})
}

func (w *world) take(c index.Change) {
	if c.Value == index.Unseen {
		delete(w.is, c.Digits)
	} else {
		w.is[c.Digits] = known{c.Value, c.Carrier}
	}
}

func (w *world) set(t *rapid.T) {
	c := changes().Draw(t, "change")
	w.x.Set(c.Digits, c.Value, c.Carrier)
	w.take(c)
}

func (w *world) apply(t *rapid.T) {
	all := rapid.SliceOfN(changes(), 0, 300).Draw(t, "changes")
	w.x.Apply(all)
	for _, c := range all {
		w.take(c)
	}
}

// fill sets a stretch of numbers at once, so that exceptions become the rule and the other way round.
func (w *world) fill(t *rapid.T) {
	first := rapid.SampledFrom([]uint64{8617712340000, 85290000000}).Draw(t, "first")
	n := rapid.Uint64Range(1, 1000).Draw(t, "count")
	c := changes().Draw(t, "change")
	all := make([]index.Change, n)
	for i := range all {
		c.Digits = first + uint64(i)
		all[i] = c
		w.take(c)
	}
	w.x.Apply(all)
}

func (w *world) lookUp(t *rapid.T) {
	asked := rapid.SliceOfN(rapid.OneOf(numbers(), rapid.Uint64()), 0, 400).Draw(t, "asked")
	values, carriers := make([]uint16, len(asked)+1), make([]uint16, len(asked)+1)
	values[len(asked)], carriers[len(asked)] = 77, 78
	w.x.Lookup(asked, values)
	w.x.Carriers(asked, carriers)
	for i, n := range asked {
		if is := w.is[n]; is != (known{values[i], carriers[i]}) {
			t.Fatalf("number %d of %d: %d, %d; it was set to %v", i, len(asked), values[i], carriers[i], is)
		}
		if v, c := w.x.Get(n); (known{v, c}) != w.is[n] {
			t.Fatalf("alone: %d, %d; it was set to %v", v, c, w.is[n])
		}
	}
	if values[len(asked)] != 77 || carriers[len(asked)] != 78 {
		t.Fatal("it wrote behind the last number")
	}
}

// isChineseMobile says which part of the index a number belongs to, in words of DOMAIN.md §8.
func isChineseMobile(digits uint64) bool { return digits/10_000_000_000 == 861 }

func (w *world) all(t *rapid.T) {
	want := slices.SortedFunc(maps.Keys(w.is), func(a, b uint64) int {
		if isChineseMobile(a) != isChineseMobile(b) {
			if isChineseMobile(a) {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	stop := rapid.IntRange(0, len(want)).Draw(t, "stop")
	for _, upTo := range []int{stop, len(want) + 1} {
		var got []uint64
		if err := w.x.All(func(c index.Change) bool {
			if (known{c.Value, c.Carrier}) != w.is[c.Digits] {
				t.Fatalf("visited as %d, %d; it was set to %v", c.Value, c.Carrier, w.is[c.Digits])
			}
			got = append(got, c.Digits)
			return len(got) < upTo
		}); err != nil {
			t.Fatal(err)
		}
		if n := min(max(upTo, 1), len(want)); !slices.Equal(got, want[:n]) {
			t.Fatalf("visited %d numbers, want the first %d of %d in order", len(got), n, len(want))
		}
	}
}

// sameBytes holds the snapshot to be that of an index of the same content that came about in another way.
func (w *world) sameBytes(t *rapid.T) {
	carriers := rapid.Bool().Draw(t, "carriers")
	fresh := index.NewOnHeap()
	var all []index.Change
	for _, n := range slices.Sorted(maps.Keys(w.is)) {
		all = append(all, index.Change{Digits: n, Value: w.is[n].value, Carrier: w.is[n].carrier})
	}
	order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
	order.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	fresh.Apply(all)
	a, b := snapshot(t, w.x, w.meta, carriers), snapshot(t, fresh, w.meta, carriers)
	if !bytes.Equal(a, b) {
		t.Fatalf("the same content gives %d bytes and %d other ones", len(a), len(b))
	}
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func snapshot(t fataler, x *index.Index, meta []byte, carriers bool) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := x.WriteTo(&b, meta, carriers)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Fatal(fmt.Sprintf("%d bytes were said and %d written", n, b.Len()))
	}
	return b.Bytes()
}

// restart saves the index and goes on with what that opens as.
func (w *world) restart(t *rapid.T) {
	path := filepath.Join(w.dir, "index")
	w.meta = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "meta")
	if err := w.x.Save(path, w.meta); err != nil {
		t.Fatal(err)
	}
	if err := w.x.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, path)
}

func (w *world) open(t *rapid.T, path string) {
	open := index.Open
	if w.heap {
		open = index.OpenOnHeap
	}
	x, meta, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(meta, w.meta) {
		t.Fatalf("meta %q came back as %q", w.meta, meta)
	}
	w.x = x
}

func (w *world) verify(t *rapid.T) {
	if err := w.x.Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) counts(t *rapid.T) {
	if w.x.Len() != int64(len(w.is)) {
		t.Fatalf("it counts %d numbers of %d", w.x.Len(), len(w.is))
	}
	if w.x.Damaged() {
		t.Fatal("it says that it is damaged")
	}
}

func TestTheIndexIsAMapOfLatestChanges(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{dir: dir, x: index.New(), is: make(map[uint64]known), heap: rapid.Bool().Draw(t, "heap")}
		if w.heap {
			w.x = index.NewOnHeap()
		}
		defer func() { _ = w.x.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"": w.counts, "set": w.set, "apply": w.apply, "fill": w.fill, "look up": w.lookUp, "all": w.all,
			"same bytes": w.sameBytes, "restart": w.restart, "verify": w.verify,
		})
	})
}
