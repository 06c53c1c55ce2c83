package catalogue

import (
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"
)

func TestTheSameSeedInventsTheSamePeople(t *testing.T) {
	type person struct {
		name Name
		nick string
		fen  int64
	}
	invent := func(seed, stream uint64) (out []person) {
		p := NewPeople(seed, stream)
		for range 50 {
			out = append(out, person{p.Name(), p.Nickname(), p.Amount("payment")})
		}
		return out
	}
	if !slices.Equal(invent(1, 2), invent(1, 2)) {
		t.Error("one seed, two worlds")
	}
	if slices.Equal(invent(1, 2), invent(1, 3)) || slices.Equal(invent(1, 2), invent(2, 2)) {
		t.Error("two seeds, one world")
	}
}

func TestNamesAreWellFormedAndVaried(t *testing.T) {
	p, seen := NewPeople(7, 0), map[string]bool{}
	zh, latin := regexp.MustCompile(`^\p{Han}{3,4}$`), regexp.MustCompile(`^[A-Z][a-z]+ [A-Z][a-z]+$`)
	nick := regexp.MustCompile(`^\p{Han}{4,10}\d{0,2}$`)
	for range 2000 {
		n, k := p.Name(), p.Nickname()
		if !zh.MatchString(n.Zh) || !latin.MatchString(n.Latin) || !nick.MatchString(k) || utf8.RuneCountInString(k) > 20 {
			t.Fatalf("%q, %q, called %q", n.Zh, n.Latin, k)
		}
		seen[n.Zh] = true
	}
	if len(seen) < 1900 {
		t.Errorf("%d names for 2000 people", len(seen))
	}
}

func TestTablesOfNamesHoldNothingTwice(t *testing.T) {
	for name, table := range map[string][]syllable{"surnames": surnames, "first": givenFirst, "second": givenSecond} {
		seen := map[string]bool{}
		for _, s := range table {
			if seen[s.zh] || s.latin == "" || s.zh == "" {
				t.Errorf("%s: %q %q", name, s.zh, s.latin)
			}
			seen[s.zh] = true
		}
	}
}

func TestAmountsGoWithTheClass(t *testing.T) {
	p := NewPeople(8, 0)
	for _, class := range classes {
		filled, most := 0, int64(0)
		for range 1000 {
			fen := p.Amount(class)
			if fen < 0 {
				t.Fatalf("%s: %d", class, fen)
			}
			if fen > 0 {
				filled++
			}
			most = max(most, fen)
		}
		want := purses[class].filled
		if filled < want-60 || filled > want+60 || most >= 100_000_000 {
			t.Errorf("%s: %d of 1000 accounts hold money, at most ¥%d", class, filled, most/100)
		}
	}
}
