package huanxin

import (
	_ "embed"
	"encoding/csv"
	"strconv"
	"strings"
	"sync"
)

// NumberKind is what a number is, by the number plan (DOMAIN.md §8).
type NumberKind uint8

// The number kinds. Only mobile, MVNO and unknown ones are served.
const (
	KindUnknown   NumberKind = iota + 1 // well-formed on a segment that the plan does not know: accepted and flagged
	KindMobile                          // 11-digit mobile of one of the four carriers
	KindMVNO                            // 11-digit mobile of a virtual operator
	KindSatellite                       // 1349, 1749
	KindEmergency                       // 17406–17412
	KindIoT                             // 13 digits
	KindPrivacy                         // 700: numbers that stand in for another
	KindFixed                           // not a mobile number at all
)

var numberKinds = enum[NumberKind]{what: "number_kind", names: []string{1: "unknown", 2: "mobile", 3: "mvno",
	4: "satellite", 5: "emergency", 6: "iot", 7: "privacy", 8: "fixed"}}

// String gives the kind's word.
func (k NumberKind) String() string { return numberKinds.name(k) }

// Served reports whether numbers of this kind have holders whose accounts can be refreshed.
func (k NumberKind) Served() bool { return k == KindUnknown || k == KindMobile || k == KindMVNO }

//go:embed plans/cn.csv
var chinaPlan string

// segmentKinds maps the first five digits of an 11-digit Chinese mobile number to its kind; 0 is unknown.
var segmentKinds = sync.OnceValue(func() *[100_000]NumberKind {
	r := csv.NewReader(strings.NewReader(chinaPlan))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		panic("huanxin: plans/cn.csv: " + err.Error())
	}
	var table [100_000]NumberKind
	for length := 3; length <= 5; length++ { // the longest prefix is written last and wins
		for _, row := range rows[1:] {
			if prefix := row[0]; len(prefix) == length && row[1] == "11" {
				fillSegment(&table, prefix, row[2])
			}
		}
	}
	return &table
})

func fillSegment(table *[100_000]NumberKind, prefix, word string) {
	kind, err := numberKinds.parse(word)
	if err != nil {
		panic("huanxin: plans/cn.csv: " + prefix + ": " + err.Error())
	}
	width := 1
	for range 5 - len(prefix) {
		width *= 10
	}
	first, err := strconv.Atoi(prefix)
	if err != nil {
		panic("huanxin: plans/cn.csv: " + err.Error())
	}
	for i := first * width; i < (first+1)*width; i++ {
		table[i] = kind
	}
}

// Kind says what a number is. A prefix never tells the carrier: numbers port.
// Numbers of countries without a plan are KindUnknown.
func (n Number) Kind() NumberKind {
	if d := n.Digits(); 86_1_0000000000 <= d && d < 86_2_0000000000 { // nearly all: 11 digits that begin with 1
		if k := segmentKinds()[(d-86_0_0000000000)/1_000_000]; k != 0 {
			return k
		}
		return KindUnknown
	}
	national, chinese := n.chinese()
	switch {
	case !chinese:
		return KindUnknown
	case strings.HasPrefix(national, "700"):
		return KindPrivacy
	case national[0] != '1':
		return KindFixed
	case len(national) == 13:
		return KindIoT
	default:
		return KindFixed // short codes and service numbers
	}
}

// chinese splits off the country code 86. No other country code begins with these digits.
func (n Number) chinese() (national string, ok bool) {
	return strings.CutPrefix(strconv.FormatUint(n.Digits(), 10), "86")
}
