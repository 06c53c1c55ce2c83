package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"pgregory.net/rapid"
)

func number(t testing.TB, s string) huanxin.Number {
	t.Helper()
	n, err := huanxin.ParseNumber(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestASealedNumberOpensWithTheSameBindingOnly(t *testing.T) {
	k := Generate()
	n := number(t, "+8613800000001")
	sealed := k.Seal(n, []byte("request 1"))
	if len(sealed) != SealedSize {
		t.Errorf("a sealed number is %d bytes long, not %d", len(sealed), SealedSize)
	}
	got, err := k.Unseal(sealed, []byte("request 1"))
	if err != nil || got != n {
		t.Fatalf("the number does not come back: %v", err)
	}
	for _, binding := range []string{"request 2", "", "request 1\x00", "equest 1"} {
		if _, err := k.Unseal(sealed, []byte(binding)); !errors.Is(err, ErrDamaged) {
			t.Errorf("with the binding %q the error is %v", binding, err)
		}
	}
}

func TestNoByteOfASealedNumberCanBeChanged(t *testing.T) {
	k := Generate()
	sealed := k.Seal(number(t, "+8613800000001"), []byte("b"))
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := k.Unseal(bad, []byte("b")); err == nil {
				t.Errorf("bit %d of byte %d can be changed", bit, i)
			}
		}
	}
	for size := range sealed {
		if _, err := k.Unseal(sealed[:size], []byte("b")); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes, the error is %v", size, err)
		}
	}
	if _, err := k.Unseal(append(bytes.Clone(sealed), 0), []byte("b")); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a byte more, the error is %v", err)
	}
}

func TestSealingTwiceGivesDifferentBytes(t *testing.T) {
	k := Generate()
	n := number(t, "+8613800000001")
	if bytes.Equal(k.Seal(n, nil), k.Seal(n, nil)) {
		t.Error("equal numbers can be told from their sealed form")
	}
}

func TestTheBytesAfterASealedValueBelongToNobody(t *testing.T) {
	k := Generate()
	sealed := k.Seal(number(t, "+8613800000001"), []byte("binding"))
	if cap(sealed) != len(sealed) {
		t.Error("an append would show the binding's bytes")
	}
}

func TestANumberIsNotOpenedAsBytesNorBytesAsANumber(t *testing.T) {
	k := Generate()
	eight := make([]byte, 8)
	binary.BigEndian.PutUint64(eight, 8613800000001)
	if _, err := k.Unseal(k.SealBytes(eight, nil), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("bytes open as a number: %v", err)
	}
	sealed := k.Seal(number(t, "+8613800000001"), nil)
	if _, err := k.UnsealBytes(sealed, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a number opens as bytes: %v", err)
	}
	sealed[0] = versionBytes
	if _, err := k.UnsealBytes(sealed, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a number under another version opens as bytes: %v", err)
	}
}

func TestAZeroNumberDoesNotComeBack(t *testing.T) {
	k := Generate()
	if _, err := k.Unseal(k.Seal(huanxin.Number{}, nil), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("the error is %v", err)
	}
}

func TestBytesOfAnyLengthComeBack(t *testing.T) {
	k := Generate()
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		binding := rapid.SliceOf(rapid.Byte()).Draw(t, "binding")
		got, err := k.UnsealBytes(k.SealBytes(plain, binding), binding)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%v comes back as %v, %v", plain, got, err)
		}
	})
}

func TestAnotherKeyFileOpensNothing(t *testing.T) {
	a, b := Generate(), Generate()
	if _, err := b.Unseal(a.Seal(number(t, "+8613800000001"), nil), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("the error is %v", err)
	}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("two key files have one fingerprint")
	}
}

// rotated is a key file before and after new sealing and look-up keys were added and made current.
func rotated(t *testing.T) (before, after, forgotten *Keys) {
	t.Helper()
	f := freshFile()
	keys := func() *Keys {
		k, err := newKeys(f)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	before = keys()
	for _, l := range []*keyList{&f.Sealing, &f.Lookup} {
		l.Keys = append(l.Keys, fileKey{ID: 7, Key: freshKey()})
		l.Current = 7
	}
	after = keys()
	f.Sealing.Keys = f.Sealing.Keys[1:]
	f.Lookup.Keys = f.Lookup.Keys[1:]
	return before, after, keys()
}

func TestAfterARotationOldValuesOpenAndNewOnesUseTheNewKey(t *testing.T) {
	before, after, forgotten := rotated(t)
	n := number(t, "+8613800000001")
	old, fresh := before.Seal(n, nil), after.Seal(n, nil)
	if got, err := after.Unseal(old, nil); err != nil || got != n {
		t.Errorf("what was sealed before does not open: %v", err)
	}
	if got, err := forgotten.Unseal(fresh, nil); err != nil || got != n {
		t.Errorf("what was sealed after does not use the new key: %v", err)
	}
	if _, err := forgotten.Unseal(old, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("with the old key gone the error is %v", err)
	}
	if id := before.ID(RequestID, 5); after.ID(RequestID, 5) != id {
		t.Error("an id has changed")
	}
	if before.Fingerprint() != after.Fingerprint() {
		t.Error("the fingerprint has changed")
	}
	all := after.LookupAll(n)
	if len(all) != 2 || !bytes.Equal(all[0], after.Lookup(n)) || !bytes.Equal(all[1], before.Lookup(n)) {
		t.Errorf("look-up values are not the current one and the old one: %x", all)
	}
}

func TestALookupValueIsTheSameForTheSameNumberOnly(t *testing.T) {
	k, other := Generate(), Generate()
	a, b := number(t, "+8613800000001"), number(t, "+8613800000002")
	v := k.Lookup(a)
	if len(v) != LookupSize {
		t.Errorf("a look-up value is %d bytes long, not %d", len(v), LookupSize)
	}
	if !bytes.Equal(v, k.Lookup(a)) {
		t.Error("the value changes")
	}
	if bytes.Equal(v, k.Lookup(b)) {
		t.Error("two numbers have one value")
	}
	if bytes.Equal(v, other.Lookup(a)) {
		t.Error("the value does not depend on the key")
	}
}

func TestLookupsAtTheSameTimeDoNotMix(t *testing.T) {
	k := Generate()
	done := make(chan error)
	for g := range 4 {
		n := number(t, fmt.Sprintf("+861380000000%d", g))
		want := k.Lookup(n)
		go func() {
			for range 1000 {
				if !bytes.Equal(k.Lookup(n), want) {
					done <- errors.New("a look-up gave another number's value")
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	f := freshFile()
	k, err := newKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %s %x", k, k, k, k), log.String()} {
		if strings.Contains(s, "sealing") || !strings.Contains(s, redacted) {
			t.Errorf("keys print as %s", s)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	k := Generate()
	n, err := huanxin.ParseNumber("+8613800000001")
	if err != nil {
		f.Fatal(err)
	}
	genuine := k.Seal(n, []byte("b"))
	f.Add(genuine, []byte("b"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, binding []byte) {
		if got, err := k.Unseal(sealed, binding); err == nil && (got != n || !bytes.Equal(sealed, genuine)) {
			t.Errorf("a forgery opens: %x", sealed)
		}
		if _, err := k.UnsealBytes(sealed, binding); err == nil {
			t.Errorf("a forgery opens as bytes: %x", sealed)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k, n, binding := Generate(), number(b, "+8613800000001"), []byte("request 1234")
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(n, binding)
	}
}

func BenchmarkLookup(b *testing.B) {
	k, n := Generate(), number(b, "+8613800000001")
	b.ReportAllocs()
	for b.Loop() {
		k.Lookup(n)
	}
}

// The budget of ARCHITECTURE.md: about 290 ns for sealing and look-up of a number.
func BenchmarkSealAndLookup(b *testing.B) {
	k, n, binding := Generate(), number(b, "+8613800000001"), []byte("request 1234")
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(n, binding)
		k.Lookup(n)
	}
}

func BenchmarkUnseal(b *testing.B) {
	k, binding := Generate(), []byte("request 1234")
	sealed := k.Seal(number(b, "+8613800000001"), binding)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Unseal(sealed, binding); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheNameOfANumbersHistoryIsKeyedAndNoLookUpValue(t *testing.T) {
	k, other := Generate(), Generate()
	a, b := number(t, "+8613800000001"), number(t, "+8613800000002")
	if first, again := k.History(a), k.History(a); first != again || len(first) != HistorySize {
		t.Errorf("%q, then %q", first, again)
	}
	if k.History(a) == k.History(b) || k.History(a) == other.History(a) {
		t.Error("two numbers, or two keys, have one value")
	}
	if strings.Trim(k.History(a), "abcdefghijklmnop") != "" {
		t.Error("it may be taken for a number")
	}
	letters := strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j",
		"a", "k", "b", "l", "c", "m", "d", "n", "e", "o", "f", "p")
	if strings.Contains(letters.Replace(fmt.Sprintf("%x", k.Lookup(a))), k.History(a)[:16]) {
		t.Error("it gives the look-up value away")
	}
	if len(k.OlderHistory(a)) != 0 {
		t.Error("there is no older key")
	}
}
