package index_test

import (
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

func TestANumberIsWhatItWasLastSetTo(t *testing.T) {
	x := index.New()
	defer func() { _ = x.Close() }()
	for _, n := range []uint64{8610000000000, 8613800000001, 8619999999999, 8609999999999, 8620000000000, 1, index.MaxDigits} {
		if v, c := x.Get(n); v != index.Unseen || c != 0 {
			t.Errorf("before: %d, %d", v, c)
		}
		x.Set(n, 1, 2)
		x.Set(n, 0xFFFE, 7)
		if v, c := x.Get(n); v != 0xFFFE || c != 7 {
			t.Errorf("set: %d, %d", v, c)
		}
	}
	if x.Len() != 7 {
		t.Errorf("len %d", x.Len())
	}
}

// TestAnIndexGrowsOverManyMappings crosses the point at which the directory moves to huge pages.
func TestAnIndexGrowsOverManyMappings(t *testing.T) {
	x := index.New()
	defer func() { _ = x.Close() }()
	const count = 2000
	number := func(i int) uint64 { return 8610000000000 + uint64(i)*4_999_999 }
	asked := make([]uint64, count)
	for i := range count {
		x.Set(number(i), uint16(i+1), uint16(i%5))
		asked[i] = number(i)
		if i%100 != 99 {
			continue
		}
		values, carriers := make([]uint16, i+1), make([]uint16, i+1)
		x.Lookup(asked[:i+1], values)
		x.Carriers(asked[:i+1], carriers)
		for j := range i + 1 {
			if values[j] != uint16(j+1) || carriers[j] != uint16(j%5) {
				t.Fatalf("number %d of %d is %d, %d", j, i+1, values[j], carriers[j])
			}
		}
	}
}

// TestOtherNumbersGrow fills the table of numbers that are not dense many times over.
func TestOtherNumbersGrow(t *testing.T) {
	x := index.New()
	defer func() { _ = x.Close() }()
	const count = 20_000
	for i := range uint64(count) {
		x.Set(442000000000+i*7, uint16(i%60000+1), uint16(i%3))
		if i%2 == 1 {
			x.Set(442000000000+(i-1)*7, index.Unseen, 0)
		}
	}
	if x.Len() != count/2 {
		t.Errorf("len %d", x.Len())
	}
	for i := range uint64(count) {
		v, c := x.Get(442000000000 + i*7)
		if i%2 == 0 && (v != index.Unseen || c != 0) || i%2 == 1 && (v != uint16(i%60000+1) || c != uint16(i%3)) {
			t.Fatalf("number %d is %d, %d", i, v, c)
		}
	}
}

func TestWhatMostNumbersHaveIsTheRule(t *testing.T) {
	x := index.NewOnHeap()
	x.Set(8613800000000, 1, 1)
	for i := range uint64(1000) {
		x.Set(8613800000001+i, 1, 2)
	}
	if n := index.Exceptions(x, 8613800000000); n > 3 {
		t.Errorf("one number of 1,001 has another carrier and the list has %d words", n)
	}
}
