package seal

import (
	"math"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"pgregory.net/rapid"
)

func aStream() *rapid.Generator[huanxin.StreamID] {
	return rapid.Map(rapid.Int64Range(0, 1<<streamBits-1), func(n int64) huanxin.StreamID { return huanxin.StreamID(n) })
}

func TestASETsIDComesBackForItsStreamOnly(t *testing.T) {
	k := Generate()
	rapid.Check(t, func(t *rapid.T) {
		stream, other := aStream().Draw(t, "stream"), aStream().Draw(t, "other")
		no := huanxin.FeedNo(rapid.Int64().Draw(t, "no"))
		s := k.SETID(stream, no)
		if again := k.SETID(stream, no); again != s {
			t.Fatalf("%s, then %s", s, again)
		}
		if got, ok := k.ParseSETID(stream, s); !ok || got != no {
			t.Fatalf("%d of stream %d comes back as %d, %v", no, stream, got, ok)
		}
		if got, ok := k.ParseSETID(other, s); ok && other != stream {
			t.Fatalf("another stream takes it for %d", got)
		}
		if next := k.SETID(stream, no+1); next == s {
			t.Fatal("two places have one id")
		}
	})
}

func TestASETsIDIs26LowerCaseCharactersAndNoOtherID(t *testing.T) {
	k := Generate()
	// The bytes in which an id of another kind says "huanxin" are a stream's number here.
	const disguised = 'h'<<48 | 'u'<<40 | 'a'<<32 | 'n'<<24 | 'x'<<16 | 'i'<<8 | 'n'
	for _, no := range []huanxin.FeedNo{0, 1, huanxin.FeedNoAt(1, 7), huanxin.SignalNo(1), math.MaxInt64, math.MinInt64} {
		s := k.SETID(disguised, no)
		if len(s) != 26 || strings.Trim(s, alphabet) != "" {
			t.Errorf("%d has the id %q", no, s)
		}
		for _, kind := range allKinds {
			if n, ok := k.ParseID(kind, kind.Prefix()+s); ok {
				t.Errorf("it passes as %d of kind %c", n, kind)
			}
		}
	}
	for _, kind := range allKinds {
		if _, ok := k.ParseSETID(disguised, strings.TrimPrefix(k.ID(kind, 1), kind.Prefix())); ok {
			t.Errorf("an id of kind %c passes as a SET's", kind)
		}
	}
}

func TestNoOtherSpellingOfASETsIDIsTaken(t *testing.T) {
	k := Generate()
	s := k.SETID(3, 42)
	bad := []string{"", s[1:], s + "0", " " + s[1:], strings.ToUpper(s), strings.Repeat("0", 26), strings.Repeat("é", 13)}
	last := alphabetValue[s[len(s)-1]]
	for low := byte(1); low < 4; low++ {
		bad = append(bad, s[:len(s)-1]+string(alphabet[last|low]))
	}
	for i := range len(s) {
		for _, c := range []byte(alphabet + "ilou-_ \x00\xff") {
			if c != s[i] {
				bad = append(bad, s[:i]+string([]byte{c})+s[i+1:])
			}
		}
	}
	for _, s := range bad {
		if no, ok := k.ParseSETID(3, s); ok {
			t.Errorf("%q is taken for %d", s, no)
		}
	}
	if no, ok := Generate().ParseSETID(3, s); ok {
		t.Errorf("another hub takes it for %d", no)
	}
}

func TestAStreamOutOfRangePanicsWhenAnIDIsMadeAndHasNone(t *testing.T) {
	k := Generate()
	for _, stream := range []huanxin.StreamID{-1, 1 << streamBits, math.MinInt64} {
		if _, ok := k.ParseSETID(stream, k.SETID(1, 1)); ok {
			t.Errorf("stream %d has an id", stream)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("stream %d is given an id", stream)
				}
			}()
			k.SETID(stream, 1)
		}()
	}
}

func FuzzParseSETID(f *testing.F) {
	k := Generate()
	f.Add(k.SETID(1, 1))
	f.Add("00000000000000000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		for stream := range huanxin.StreamID(3) {
			if no, ok := k.ParseSETID(stream, s); ok && k.SETID(stream, no) != s {
				t.Errorf("%q is a second spelling of %d", s, no)
			}
		}
	})
}

func BenchmarkSETID(b *testing.B) {
	k := Generate()
	b.ReportAllocs()
	for n := huanxin.FeedNo(0); b.Loop(); n++ {
		k.SETID(1, n)
	}
}
