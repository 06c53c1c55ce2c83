package huanxin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

// segments is DOMAIN.md §8, as written there and spelled out by hand.
var segments = map[huanxin.NumberKind][]string{
	huanxin.KindMobile: {
		// "China Mobile 134(0–8) 135–139 147 150–152 157–159 172 178 182–184 187 188 195 197 198"
		"1340", "1341", "1342", "1343", "1344", "1345", "1346", "1347", "1348", "135", "136", "137", "138", "139", "147",
		"150", "151", "152", "157", "158", "159", "172", "178", "182", "183", "184", "187", "188", "195", "197", "198",
		// "China Unicom 130–132 145 155 156 166 175 176 185 186 196"
		"130", "131", "132", "145", "155", "156", "166", "175", "176", "185", "186", "196",
		// "China Telecom 133 149 153 173 17400–17405 177 180 181 189 190 191 193 199"
		"133", "149", "153", "173", "17400", "17401", "17402", "17403", "17404", "17405", "177", "180", "181", "189",
		"190", "191", "193", "199",
		// "China Broadnet 192, 1610"
		"192", "1610",
	},
	// "MVNO 165, 1703/5/6", "MVNO 167, 1704/7/8/9, 171", "MVNO 162, 1700/1/2"
	huanxin.KindMVNO: {"165", "1703", "1705", "1706", "167", "1704", "1707", "1708", "1709", "171", "162", "1700", "1701", "1702"},
	// "Satellite 1349, 1749."
	huanxin.KindSatellite: {"1349", "1749"},
	// "Emergency 17406–17412"
	huanxin.KindEmergency: {"17406", "17407", "17408", "17409", "17410", "17411", "17412"},
	// "Not allotted in 2022: 142 143 154 161 (but 1610) 164 194", and what is not in the table at all
	huanxin.KindUnknown: {"142", "143", "154", "1611", "1612", "1619", "164", "194", "1411", "1419", "1442", "1449", "160",
		"163", "168", "169", "179", "17413", "17419", "1742", "1743", "1748", "174130", "146", "148", "1410", "1440", "1441"},
}

// onSegment gives the first, a middle and the last number of a segment with so many national digits.
func onSegment(t testing.TB, prefix string, digits int) []huanxin.Number {
	rest := digits - len(prefix)
	var out []huanxin.Number
	for _, fill := range []string{"0", "5", "9"} {
		out = append(out, number(t, "+86"+prefix+strings.Repeat(fill, rest)))
	}
	return out
}

func TestEveryPrefixOfThePlanHasItsKind(t *testing.T) {
	for kind, prefixes := range segments {
		for _, p := range prefixes {
			for _, n := range onSegment(t, p, 11) {
				if got := n.Kind(); got != kind {
					t.Errorf("%s (11 digits): %v, want %v", n.E164()[:8], got, kind)
				}
			}
		}
	}
}

func TestThePlanKnowsNoOtherElevenDigitSegment(t *testing.T) {
	want := func(five string) huanxin.NumberKind {
		kind, longest := huanxin.KindUnknown, 0
		for k, prefixes := range segments {
			for _, p := range prefixes {
				if strings.HasPrefix(five, p) && len(p) > longest {
					kind, longest = k, len(p)
				}
			}
		}
		return kind
	}
	for five := 10_000; five < 20_000; five++ {
		n := number(t, fmt.Sprintf("+86%d000001", five))
		if got, want := n.Kind(), want(fmt.Sprint(five)); got != want {
			t.Errorf("%d: %v, want %v", five, got, want)
		}
	}
}

func TestIoTNumbersHaveThirteenDigits(t *testing.T) {
	// "IoT with 13 digits: 1410, 146, 148, 1440, 1441, 1064x"
	for _, p := range []string{"1410", "146", "148", "1440", "1441", "1064", "10640", "10649"} {
		for _, n := range onSegment(t, p, 13) {
			if n.Kind() != huanxin.KindIoT {
				t.Errorf("%s…: %v", p, n.Kind())
			}
		}
	}
}

func TestPrivacyNumbersAreKnownByTheirPrefix(t *testing.T) {
	// "Privacy numbers 700 (15 digits in use)"
	for _, s := range []string{"+86700123456789012", "+8670012345678901", "+867001234567", "+8670000000000"} {
		if k := number(t, s).Kind(); k != huanxin.KindPrivacy {
			t.Errorf("%s: %v", s, k)
		}
	}
}

func TestWhatIsNoMobileNumberInChinaIsFixed(t *testing.T) {
	for _, s := range []string{"+861012345678", "+862112345678", "+8675512345678", "+8695588", "+8610086", "+864001234567",
		"+8601380000000", "+86013800000001", "+8600000", "+86138000000012", "+861380000000"} {
		if k := number(t, s).Kind(); k != huanxin.KindFixed || k.Served() {
			t.Errorf("%s: %v", s, k)
		}
	}
}

func TestForeignNumbersAreUnknownAndNeverChinese(t *testing.T) {
	for _, s := range []string{"+85213800000", "+85313800000", "+886912345678", "+12025550100", "+8801712345678", "+34938500000", "+85586700"} {
		if k := number(t, s).Kind(); k != huanxin.KindUnknown {
			t.Errorf("%s: %v", s, k)
		}
	}
}

func TestOnlyMobileMVNOAndUnknownNumbersAreServed(t *testing.T) {
	// "a well-formed number on an unknown segment is accepted and flagged, never rejected"
	for kind, served := range map[huanxin.NumberKind]bool{huanxin.KindUnknown: true, huanxin.KindMobile: true, huanxin.KindMVNO: true,
		huanxin.KindSatellite: false, huanxin.KindEmergency: false, huanxin.KindIoT: false, huanxin.KindPrivacy: false, huanxin.KindFixed: false} {
		if kind.Served() != served {
			t.Errorf("%v: served %v", kind, kind.Served())
		}
		if strings.Contains(kind.String(), "(") {
			t.Errorf("kind %d has no word", kind)
		}
	}
	if huanxin.NumberKind(0).Served() || huanxin.NumberKind(9).Served() {
		t.Error("no kind is no kind")
	}
}
