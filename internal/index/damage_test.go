package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/index"
)

// small is an index of three numbers of one block and one that is not dense.
var small = []index.Change{
	{Digits: 8613800000001, Value: 0x1234, Carrier: 1},
	{Digits: 8613800000002, Value: 0x0001, Carrier: 2},
	{Digits: 8613800000003, Value: 0x8000, Carrier: 1},
	{Digits: 85290000000, Value: 0x4321, Carrier: 3},
}

func smallSnapshot(t fataler) []byte {
	t.Helper()
	x := index.NewOnHeap()
	x.Apply(small)
	return snapshot(t, x, []byte("position 42"), true)
}

// served opens a snapshot that is not as it was written and reports how it came out. Whatever answers must be true, or
// Damaged; a number that was never set is Damaged where its page is, and only there.
func served(t *testing.T, path string) (detected bool) {
	t.Helper()
	x, meta, err := index.Open(path)
	if err != nil {
		if x != nil || meta != nil {
			t.Fatal("an index came with an error")
		}
		return true
	}
	defer func() { _ = x.Close() }()
	for range 2 { // unverified first, then verified
		for _, c := range small {
			if v, carrier := x.Get(c.Digits); (v != c.Value || carrier != c.Carrier) && (v != index.Damaged || carrier != index.Damaged) {
				t.Fatalf("%x, %d were set and %x, %d answered", c.Value, c.Carrier, v, carrier)
			}
		}
		v, c := x.Get(8613800009999)
		if of, _ := x.Get(8613800000001); (of == index.Damaged) != (v == index.Damaged) || v != index.Damaged && (v != index.Unseen || c != 0) {
			t.Fatalf("a number that was never set is %x, %d, one of its block is %x", v, c, of)
		}
		if v, c := x.Get(8613900000000); v != index.Unseen || c != 0 {
			t.Fatalf("a number of no page is %x, %d", v, c)
		}
		err = x.Verify(context.Background())
	}
	if err != nil && !errors.Is(err, index.ErrDamaged) {
		t.Fatal(err)
	}
	if (err != nil) != x.Damaged() {
		t.Fatalf("verified with %v, damaged is %v", err, x.Damaged())
	}
	return err != nil
}

// TestEveryFlippedBitIsDetected: in every byte one bit, another each time the test runs; with HUANXIN_FAULTS=long each of its bits.
func TestEveryFlippedBitIsDetected(t *testing.T) {
	b := smallSnapshot(t)
	for half := range 2 {
		t.Run(fmt.Sprintf("half %d", half), func(t *testing.T) {
			t.Parallel()
			flipEvery(t, b, half*len(b)/2, (half+1)*len(b)/2)
		})
	}
}

// flipEvery flips bits from one byte up to another.
func flipEvery(t *testing.T, b []byte, from, to int) {
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, b)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for at := from; at < to; at++ {
		first, bits := rand.IntN(8), 1
		if os.Getenv("HUANXIN_FAULTS") == "long" {
			bits = 8
		}
		for i := range bits {
			bit := (first + i) % 8
			if _, err := f.WriteAt([]byte{b[at] ^ 1<<bit}, int64(at)); err != nil {
				t.Fatal(err)
			}
			if !served(t, path) {
				t.Fatalf("bit %d of byte %d was flipped and nobody noticed", bit, at)
			}
		}
		if _, err := f.WriteAt(b[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if served(t, path) {
		t.Fatal("the snapshot is whole again and is called damaged")
	}
}

func TestEveryCutAndEveryTailIsAnError(t *testing.T) {
	t.Parallel()
	b := smallSnapshot(t)
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, append(b, b...))
	for n := 2 * len(b); n >= 0; n-- {
		if err := os.Truncate(path, int64(n)); err != nil {
			t.Fatal(err)
		}
		if n == len(b) {
			continue
		}
		x, _, err := index.Open(path)
		if !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("%d bytes of %d: %v, %v", n, len(b), x, err)
		}
	}
}

func TestAnotherVersionIsNotRead(t *testing.T) {
	b := smallSnapshot(t)
	b[16]++
	path := filepath.Join(t.TempDir(), "index")
	for _, sealed := range []bool{false, true} {
		if sealed {
			index.Reseal(b)
		}
		write(t, path, b)
		if _, _, err := index.Open(path); !errors.Is(err, index.ErrVersion) {
			t.Errorf("sealed %v: %v", sealed, err)
		}
	}
}

// TestWhatIsDamagedStaysDamaged goes through every call with one page damaged, and then with the other numbers damaged.
func TestWhatIsDamagedStaysDamaged(t *testing.T) {
	whole := smallSnapshot(t)
	for _, c := range []struct {
		name    string
		at      int // the byte that is not as it was
		damaged []index.Change
		sound   []index.Change
	}{
		{"a page", 64, small[:3], small[3:]},
		{"all other numbers", len(whole) - 70, small[3:], small[:3]},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			b[c.at] ^= 0x10
			path := filepath.Join(t.TempDir(), "index")
			write(t, path, b)
			x, _, err := index.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = x.Close() }()
			if x.Damaged() || x.Len() != int64(len(small)) {
				t.Errorf("before anything was read: damaged %v, len %d", x.Damaged(), x.Len())
			}
			for _, d := range c.damaged {
				x.Set(d.Digits, 5, 6)
				x.Set(d.Digits, index.Unseen, 0)
				if v, carrier := x.Get(d.Digits); v != index.Damaged || carrier != index.Damaged {
					t.Errorf("%x, %x", v, carrier)
				}
			}
			select {
			case <-x.Damage():
			default:
				t.Error("nobody was told")
			}
			if err := x.Verify(context.Background()); !errors.Is(err, index.ErrDamaged) {
				t.Error(err)
			}
			if x.Len() != int64(len(c.sound)) {
				t.Errorf("len %d", x.Len())
			}
			var left []index.Change
			if err := x.All(func(c index.Change) bool { left = append(left, c); return true }); !errors.Is(err, index.ErrDamaged) {
				t.Error(err)
			}
			if len(left) != len(c.sound) || left[0] != c.sound[0] {
				t.Errorf("left are %v", left)
			}
			var out bytes.Buffer
			if n, err := x.WriteTo(&out, nil, true); n != 0 || !errors.Is(err, index.ErrDamaged) || out.Len() != 0 {
				t.Errorf("written: %d bytes, %v", n, err)
			}
			if err := x.Save(path, nil); !errors.Is(err, index.ErrDamaged) {
				t.Error(err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b) {
				t.Error("the file was replaced by that of a damaged index")
			}
		})
	}
}

func TestAFileThatShrinksAfterItWasOpenedIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, smallSnapshot(t))
	x, _, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	for _, c := range small {
		if v, _ := x.Get(c.Digits); v != index.Damaged {
			t.Errorf("%x", v)
		}
	}
}

func TestAFileMayBeReplacedOrRemovedWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, smallSnapshot(t))
	x, _, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	y := index.NewOnHeap()
	if err := y.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, c := range small {
		if v, carrier := x.Get(c.Digits); v != c.Value || carrier != c.Carrier {
			t.Errorf("%x, %d", v, carrier)
		}
	}
	if err := x.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAVerificationThatIsStoppedCanBeFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	write(t, path, smallSnapshot(t))
	x, _, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := x.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	if v, _ := x.Get(small[0].Digits); v != small[0].Value {
		t.Errorf("%x", v)
	}
}

func write(t fataler, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhatNoIndexWritesIsDamaged changes a snapshot and makes its checksums right again: each content has one form.
func TestWhatNoIndexWritesIsDamaged(t *testing.T) {
	const record, list, entry, other, end = 64, 64 + 20000, 64 + 20032, 64 + 20032 + 16, 64 + 20032 + 16 + 12
	for name, edits := range map[string]map[int]byte{
		"a flag that has no meaning":        {20: 3},
		"something behind meta":             {63: 1},
		"more meta than there is":           {27: 1},
		"a value that is Damaged":           {record: 0xFF, record + 1: 0xFF, entry + 10: 4},
		"a number more than the table says": {record: 1},
		"a number fewer":                    {record + 2: 0, record + 3: 0},
		"something behind the list":         {list + 6: 1},
		"a list with the rule in it":        {list: 1},
		"a list with carrier Damaged":       {list: 0xFF, list + 1: 0xFF},
		"a list of nobody":                  {list + 2: 0},
		"a list that is cut off":            {list + 2: 2},
		"a list with a number not set":      {list + 4: 9},
		"a list with no number":             {list + 4: 0xFF, list + 5: 0xFF},
		"a list of most numbers":            {list + 2: 2, list + 6: 3, entry + 12: 4},
		"a number in two lists":             {list + 6: 3, list + 8: 1, list + 10: 2, entry + 12: 6},
		"a list out of order":               {record + 10: 1, record + 14: 1, entry + 10: 5, list + 2: 2, list + 4: 3, list + 6: 2, entry + 12: 4},
		"lists out of order":                {record + 10: 1, record + 14: 1, entry + 10: 5, list: 3, list + 6: 2, list + 8: 1, list + 10: 3, entry + 12: 6},
		"a list twice as long":              {entry + 12: 6},
		"the rule Damaged":                  {entry + 8: 0xFF, entry + 9: 0xFF},
		"a block that is none":              {entry + 3: 1},
		"something in the table's gap":      {entry + 14: 1},
		"nobody seen":                       {entry + 10: 0},
		"an other number that is dense":     {other: 0, other + 1: 0x3A, other + 2: 0x7D, other + 3: 0x8E, other + 4: 0xD5, other + 5: 0x07},
		"an other number that is none":      {other + 7: 1},
		"another number 0":                  {other: 0, other + 1: 0, other + 2: 0, other + 3: 0, other + 4: 0, other + 5: 0},
		"an other number not set":           {other + 8: 0, other + 9: 0},
		"an other value Damaged":            {other + 8: 0xFF, other + 9: 0xFF},
		"an other carrier Damaged":          {other + 10: 0xFF, other + 11: 0xFF},
		"carriers in one without":           {20: 0},
		"more others than there are":        {end + 8: 2},
		"far more":                          {end + 15: 0x80},
		"more pages than there are":         {end: 2},
		"far more pages":                    {end + 7: 0x80},
		"something in the end's gap":        {end + 32: 1},
	} {
		b := smallSnapshot(t)
		for at, c := range edits {
			b[at] = c
		}
		index.Reseal(b)
		path := filepath.Join(t.TempDir(), "index")
		write(t, path, b)
		x, _, err := index.Open(path)
		if err == nil {
			err = x.Verify(t.Context())
			if e := x.Close(); e != nil {
				t.Error(e)
			}
		}
		if !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := smallSnapshot(t)
	index.Reseal(b)
	if !bytes.Equal(b, smallSnapshot(t)) {
		t.Error("the checksums of a whole snapshot are made other ones")
	}
}
