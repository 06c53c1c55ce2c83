package index_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

// FuzzOpen opens what is perhaps a snapshot: one that was edited, or the edits alone, with its checksums made right or not.
// It never panics and allocates no more than a few times what it reads. What answered before verification answers the same after it.
// What is verified is exactly what WriteTo writes of it: nothing but a snapshot passes for one.
func FuzzOpen(f *testing.F) {
	x := index.NewOnHeap()
	bases := [][]byte{snapshot(f, x, []byte("meta"), true)}
	x.Set(85290000000, 7, 8)
	x.Set(1, 7, 8)
	bases = append(bases, snapshot(f, x, nil, false), snapshot(f, x, []byte("position 42"), true), smallSnapshot(f))
	for i := range uint64(10) {
		x.Set(8613800000000+i, 9, uint16(i/2))
		x.Set(8613800010000+i, 9, 1)
	}
	bases = append(bases, snapshot(f, x, nil, true))
	for i, b := range bases {
		f.Add(uint8(i), []byte{}, true)
		f.Add(uint8(i), []byte{20, 0, 1, byte(len(b) - 61), byte((len(b) - 61) >> 8), 1, 66, 0, 3}, true)
		f.Add(uint8(i), []byte{70, 0, 1}, false)
		f.Add(uint8(len(bases)), b[max(0, len(b)-200):], true)
	}
	path := filepath.Join(f.TempDir(), "index")

	f.Fuzz(func(t *testing.T, base uint8, edits []byte, reseal bool) {
		b := edits
		if int(base) < len(bases) {
			b = edited(bases[base], edits)
		}
		b = bytes.Clone(b)
		if reseal {
			index.Reseal(b)
		}
		write(t, path, b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		opens(t, path, b)
		runtime.ReadMemStats(&after)
		// The index itself, a few leaves, buffers for reading and writing, and what is read.
		if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20+64*uint64(len(b)) {
			t.Fatalf("%d bytes made it allocate %d", len(b), got)
		}
	})
}

// edited changes bytes, three bytes of edits for each: where, and what to xor. A place behind the end cuts.
func edited(b, edits []byte) []byte {
	b = bytes.Clone(b)
	for ; len(edits) >= 3 && len(b) > 0; edits = edits[3:] {
		at := int(edits[0]) | int(edits[1])<<8
		if at < len(b) {
			b[at] ^= edits[2]
		} else {
			b = b[:at%len(b)]
		}
	}
	return b
}

func opens(t *testing.T, path string, b []byte) {
	x, meta, err := index.Open(path)
	if err != nil {
		if !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
			t.Fatal(err)
		}
		return
	}
	defer func() { _ = x.Close() }()
	asked := []uint64{8613800000000, 8613800000001, 8613800000009, 8613800009999, 8610000000000, 8619999999999, 85290000000, 1, index.MaxDigits, 0}
	values, carriers := make([]uint16, len(asked)), make([]uint16, len(asked))
	x.Lookup(asked, values)
	x.Carriers(asked, carriers)
	verified := x.Verify(context.Background())
	if verified != nil && !errors.Is(verified, index.ErrDamaged) {
		t.Fatal(verified)
	}
	for i, n := range asked {
		if v, c := x.Get(n); v != values[i] || c != carriers[i] {
			t.Fatalf("number %d answered %d, %d unverified and %d, %d verified", i, values[i], carriers[i], v, c)
		}
	}
	count := int64(0)
	if err := x.All(func(index.Change) bool { count++; return true }); !errors.Is(err, verified) {
		t.Fatalf("verified with %v, visited with %v", verified, err)
	}
	if count != x.Len() {
		t.Fatalf("visited %d of %d numbers", count, x.Len())
	}
	if verified != nil {
		return
	}
	again := snapshot(t, x, meta, b[20]&1 != 0) // the flag of carriers
	if !bytes.Equal(again, b) {
		t.Fatalf("%d bytes passed for a snapshot; it is written as %d other ones", len(b), len(again))
	}
}
