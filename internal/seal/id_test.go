package seal

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var allKinds = []IDKind{RequestID, TaskID, TenureID, ReceiptID, EventID, StepID, LotID, NoticeID, CaseID, MessageID, StreamID}

func TestAnIDComesBackForItsKindOnly(t *testing.T) {
	k := Generate()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		kind := rapid.SampledFrom(allKinds).Draw(t, "kind")
		s := k.ID(kind, n)
		for _, other := range allKinds {
			got, ok := k.ParseID(other, s)
			if ok != (other == kind) || ok && got != n {
				t.Fatalf("%s of kind %c, asked as kind %c: %d, %v", s, kind, other, got, ok)
			}
			// The prefix alone does not make it another kind's id.
			if swapped := other.Prefix() + s[len(kind.Prefix()):]; other != kind {
				if _, ok := k.ParseID(other, swapped); ok {
					t.Fatalf("%s passes as kind %c", swapped, other)
				}
			}
		}
	})
}

func TestEveryKindHasAPrefixOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range allKinds {
		p := kind.Prefix()
		if p == "" || seen[p] || strings.Index(p, "_") != len(p)-1 {
			t.Errorf("kind %c has the prefix %q", kind, p)
		}
		seen[p] = true
	}
}

func TestAnIDIsAPrefixAnd26LowerCaseCharacters(t *testing.T) {
	k := Generate()
	for _, n := range []int64{0, 1, 2, -1, math.MaxInt64, math.MinInt64} {
		s := k.ID(RequestID, n)
		body, found := strings.CutPrefix(s, "req_")
		if !found || len(body) != 26 || strings.Trim(body, alphabet) != "" {
			t.Errorf("%d has the id %q", n, s)
		}
	}
}

func TestNeighboursHaveNothingInCommon(t *testing.T) {
	k := Generate()
	seen := map[string]bool{}
	for n := range int64(10_000) {
		// 10 characters are 50 bits: two equal beginnings among 10,000 are not to be expected.
		head := k.ID(TaskID, n)[:len("task_")+10]
		if seen[head] {
			t.Fatalf("two ids begin with %s", head)
		}
		seen[head] = true
	}
}

func TestNoOtherSpellingOfAnIDIsTaken(t *testing.T) {
	k := Generate()
	s := k.ID(RequestID, 42)
	bad := []string{"", "req_", s[:len(s)-1], s + "0", " " + s, s + "=", strings.ToUpper(s),
		"REQ_" + s[4:], "task_" + s[4:], s[4:], "req_" + strings.Repeat("0", 26), "req_" + strings.Repeat("é", 13)}
	// The last character carries three bits; its two low bits must be zero.
	last := alphabetValue[s[len(s)-1]]
	for low := byte(1); low < 4; low++ {
		bad = append(bad, s[:len(s)-1]+string(alphabet[last|low]))
	}
	for i := 4; i < len(s); i++ {
		for _, c := range []byte(alphabet + "ilouILOU-_ \x00\xff") {
			if c != s[i] {
				bad = append(bad, s[:i]+string([]byte{c})+s[i+1:])
			}
		}
	}
	for _, s := range bad {
		if n, ok := k.ParseID(RequestID, s); ok {
			t.Errorf("%q is taken for %d", s, n)
		}
	}
}

func TestAnIDOfAnotherHubIsNoID(t *testing.T) {
	if n, ok := Generate().ParseID(RequestID, Generate().ID(RequestID, 1)); ok {
		t.Errorf("it is taken for %d", n)
	}
}

func TestAnUnknownKindPanicsWhenMadeAndIsFalseWhenRead(t *testing.T) {
	k := Generate()
	if _, ok := k.ParseID('?', "req_"+strings.Repeat("0", 26)); ok {
		t.Error("an id of an unknown kind is taken")
	}
	defer func() {
		if recover() == nil {
			t.Error("an id of an unknown kind is made")
		}
	}()
	k.ID('?', 1)
}

func FuzzParseID(f *testing.F) {
	k := Generate()
	f.Add(k.ID(RequestID, 1))
	f.Add("req_00000000000000000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range allKinds {
			if n, ok := k.ParseID(kind, s); ok && k.ID(kind, n) != s {
				t.Errorf("%q is a second spelling of id %d", s, n)
			}
		}
		if len(s) == idChars {
			if hi, lo, ok := decodeID(s); ok {
				var back [idChars]byte
				if encodeID(back[:], hi, lo); string(back[:]) != s {
					t.Errorf("%q decodes, but is written %q", s, back)
				}
			}
		}
	})
}

func BenchmarkID(b *testing.B) {
	k := Generate()
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n++ {
		k.ID(RequestID, n)
	}
}

func BenchmarkParseID(b *testing.B) {
	k := Generate()
	s := k.ID(RequestID, 12345)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := k.ParseID(RequestID, s); !ok {
			b.Fatal("no id")
		}
	}
}
