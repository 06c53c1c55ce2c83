package huanxin

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
)

// Number is a phone number in E.164 form. It redacts itself wherever a value is
// printed by habit (fmt, slog, JSON, text): only E164 and Digits give the number away,
// and each use of them is a decision. The zero Number is no number.
type Number struct {
	// masked is the digits xor mask. fmt asks no method of an unexported field, nor for a wrong verb: it would print
	// this integer.
	masked uint64
}

// mask is of this process. Its highest bit, which no digits have, keeps a masked number from being zero.
var mask = rand.Uint64() | 1<<63

// A number has at least 5 digits after the plus and at most 15 (E.164). China's privacy
// numbers (+86 700…) have two more; they are parsed so that they can be refused by name.
const (
	minDigits        = 5
	maxDigits        = 15
	maxPrivacyDigits = 17
)

// ParseNumber reads "+" and digits, nothing else: no blanks, no dashes, no national form.
// The error is Invalid with the code "number_malformed" and never repeats the input.
func ParseNumber(s string) (Number, error) {
	if len(s) < 1+minDigits || len(s) > 1+maxPrivacyDigits || s[0] != '+' || s[1] == '0' {
		return Number{}, errMalformedNumber()
	}
	var v uint64
	for i := 1; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 {
			return Number{}, errMalformedNumber()
		}
		v = v*10 + uint64(d)
	}
	if len(s) > 1+maxDigits && s[1:6] != "86700" {
		return Number{}, errMalformedNumber()
	}
	return Number{v ^ mask}, nil
}

func errMalformedNumber() error {
	return BadField("number", "number_malformed",
		"a number is written in E.164 form: a plus sign and 5 to 15 digits, such as +8613800000001")
}

// NumberOf makes a Number of the digits that Digits gave. It panics on what no Number gives:
// such a value in the store is damage.
func NumberOf(digits uint64) Number {
	const first, end, privacy = 10_000, 1_000_000_000_000_000, 86_700 // 5 digits, 16 digits
	if digits < first || digits >= end && digits/(end/10_000) != privacy && digits/(end/1_000) != privacy {
		panic("huanxin: the store holds digits that are no number")
	}
	return Number{digits ^ mask}
}

// Digits gives the digits after the plus as an integer: the form the number log keeps.
func (n Number) Digits() uint64 {
	if n.IsZero() {
		return 0
	}
	return n.masked ^ mask
}

// E164 gives the number in full. Never let its result reach a log, an error, a metric or a URL.
func (n Number) E164() string { return "+" + strconv.FormatUint(n.Digits(), 10) }

// IsZero reports whether n is no number.
func (n Number) IsZero() bool { return n.masked == 0 }

const redacted = "[number]"

// String gives "[number]".
func (n Number) String() string { return redacted }

// Format writes "[number]" for every verb.
func (n Number) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue gives "[number]".
func (n Number) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives "[number]": interfaces that must show a number call E164.
func (n Number) MarshalText() ([]byte, error) { return []byte(redacted), nil }
