package huanxin_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

// number reads a number that a test knows to be good.
func number(t testing.TB, s string) huanxin.Number {
	t.Helper()
	n, err := huanxin.ParseNumber(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestANumberIsWrittenInE164AndNothingElse(t *testing.T) {
	// "number: an E.164 phone number" (§3); "Privacy numbers 700 (15 digits in use)" (§8)
	for _, good := range []string{"+8613800000001", "+85212345678", "+12025550100", "+12345", "+123456789012345",
		"+861064812345678", "+86700123456789012", "+8670012345678901"} {
		n, err := huanxin.ParseNumber(good)
		if err != nil || n.E164() != good || n.IsZero() {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if again := huanxin.NumberOf(n.Digits()); again != n {
			t.Errorf("%s: Digits and NumberOf are not each other's inverse", good)
		}
		if want := good[1:]; strconv.FormatUint(n.Digits(), 10) != want {
			t.Errorf("%s: Digits gives other digits", good)
		}
	}
	for _, bad := range []string{"", "+", "13911112222", "8613911112222", "+86 13911112222", "+86-139-0000-0001", "+1234",
		"+0123456789", "+1234567890123456", "+86701123456789012", "+867001234567890123", "+861390000000a", " +8613911112222",
		"+8613911112222\n", "++8613911112222", "+８６13911112222", "tel:+8613911112222", "+861390000000٣", "+86139\x0000000001"} {
		n, err := huanxin.ParseNumber(bad)
		if huanxin.KindOf(err) != huanxin.Invalid || !n.IsZero() {
			t.Errorf("%q: %v, want Invalid", bad, err)
			continue
		}
		if f := err.(*huanxin.Error).Fields; len(f) != 1 || f[0].Code != "number_malformed" {
			t.Errorf("%q: fields %v", bad, f)
		}
		if len(bad) > 3 && strings.Contains(err.Error(), strings.TrimSpace(bad)) {
			t.Errorf("%q: the error repeats the input", bad)
		}
	}
}

func TestTheZeroNumberIsNoNumber(t *testing.T) {
	var n huanxin.Number
	if !n.IsZero() || n.Digits() != 0 {
		t.Error("the zero Number has digits")
	}
	for _, digits := range []uint64{0, 1234, 1 << 63, 1234567890123456} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NumberOf(%d) took what no Number gives", digits)
				}
			}()
			huanxin.NumberOf(digits)
		}()
	}
}

func TestNumbersCompareByTheirDigits(t *testing.T) {
	a, b := number(t, "+8613800000001"), number(t, "+8613800000001")
	if a != b || a == number(t, "+8613800000002") {
		t.Error("equal numbers are one value, others are not")
	}
	if len(map[huanxin.Number]int{a: 1, b: 2}) != 1 {
		t.Error("a number is one key of a map")
	}
}

var e164Model = regexp.MustCompile(`^\+([1-9][0-9]{4,14}|86700[0-9]{11,12})$`)

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"+8613800000001", "+86700123456789012", "+1234", "+0", "", "+86 138", "+999999999999999999999", "+8670112345678901"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := huanxin.ParseNumber(s)
		if want := e164Model.MatchString(s) && !strings.HasSuffix(s, "\n"); (err == nil) != want {
			t.Fatalf("ParseNumber(%q): %v, want good %v", s, err, want)
		}
		if err != nil {
			if !n.IsZero() || huanxin.KindOf(err) != huanxin.Invalid {
				t.Fatalf("%q: refused with %v and a number", s, err)
			}
			return
		}
		if n.E164() != s || huanxin.NumberOf(n.Digits()) != n || n.IsZero() {
			t.Fatalf("%q does not come back", s)
		}
		_ = n.Kind() // never panics
		if out := fmt.Sprintf("%v %p %+v %#v", n, []any{n}[0], bearer{hidden: n}, struct{ a any }{n}); shows(out, n) != "" {
			t.Fatalf("the number shows: %q", out)
		}
	})
}

// shows looks for a number's digits in a text, in any base that a verb of fmt writes, and gives what it found.
func shows(out string, n huanxin.Number) string {
	d := n.Digits()
	dec := strconv.FormatUint(d, 10)
	forms := []string{dec, dec[2:], fmt.Sprintf("%x", d), fmt.Sprintf("%X", d), fmt.Sprintf("%o", d), fmt.Sprintf("%b", d),
		fmt.Sprintf("%x", dec), fmt.Sprintf("%X", dec), fmt.Sprintf("% x", dec)}
	for _, f := range forms {
		if len(f) >= 5 && strings.Contains(out, f) { // fewer digits than a number has may be there by chance
			return f
		}
	}
	return ""
}

// bearer holds a number in every place that reflection treats in its own way.
type bearer struct {
	Open   huanxin.Number
	hidden huanxin.Number
	ptr    *huanxin.Number
	in     struct{ n huanxin.Number }
	list   []huanxin.Number
	set    map[huanxin.Number]huanxin.Number
	any    any
	event  huanxin.Event
}

// bearers are values that hold a number.
func bearers(n huanxin.Number) map[string]any {
	b := bearer{Open: n, hidden: n, ptr: &n, list: []huanxin.Number{n}, set: map[huanxin.Number]huanxin.Number{n: n},
		any: n, event: huanxin.Event{Number: n}}
	b.in.n = n
	return map[string]any{
		"alone": n, "pointer": &n, "slice": []huanxin.Number{n}, "array": [2]huanxin.Number{n, n},
		"map": map[string]huanxin.Number{"n": n}, "key": map[huanxin.Number]int{n: 1}, "any": []any{n, &n},
		"struct": b, "pointer to struct": &b, "slice of structs": []bearer{b},
		"event": huanxin.Event{Number: n, ID: "x"}, "ask": &huanxin.Ask{Number: n},
	}
}

// printed is a number written by everything that writes by habit.
func printed(n huanxin.Number) map[string]string {
	out := map[string]string{}
	for what, v := range bearers(n) {
		for _, verb := range "vdsqxXobOceEfFgGtTpUwzZ!" {
			for _, flags := range []string{"", "+", "#", "-20", "020", " ", ".3", "+#", "[1]"} {
				format := "%" + flags + string(verb)
				out[what+" "+format] = fmt.Sprintf(format, v)
			}
		}
		out[what+" Sprint"] = fmt.Sprint(v) + fmt.Sprintln(v) + fmt.Sprintf("%d", 1) + fmt.Sprintf("x%%", []any{v}...)
		out[what+" width"] = fmt.Sprintf("%*d", v, 1)
		out[what+" error"] = fmt.Errorf("number %v: %w", v, errors.New("no")).Error()
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).With("with", v).WithGroup("g").Error("m", "n", v, slog.Any("m", v), slog.Group("h", "v", v))
		slog.New(slog.NewJSONHandler(&js, nil)).With("with", v).WithGroup("g").Error("m", "n", v, slog.Any("m", v), slog.Group("h", "v", v))
		out[what+" slog text"], out[what+" slog JSON"] = withoutTime(text.String()), withoutTime(js.String())
		if b, err := json.Marshal(v); err == nil {
			out[what+" JSON"] = string(b)
		}
		if b, err := xml.Marshal(v); err == nil {
			out[what+" XML"] = string(b)
		}
	}
	err := huanxin.BadField("number", "x", fmt.Sprint(n))
	err.Err = fmt.Errorf("cause %v", n)
	out["error"] = err.Error() + fmt.Sprintf("%v %+v %s", err, err, errors.Unwrap(err))
	return out
}

var clockTime = regexp.MustCompile(`"?time"?[=:]"?[^ ,"]*`)

func withoutTime(s string) string { return clockTime.ReplaceAllString(s, "") }

func TestNothingThatPrintsByHabitShowsANumber(t *testing.T) {
	// "huanxin.Number redacts itself in logs"; rule 9: "A plain number is kept only while it is needed."
	for _, s := range []string{"+8613800000001", "+86700123456789012", "+99999"} {
		n := number(t, s)
		for how, out := range printed(n) {
			if shown := shows(out, n); shown != "" {
				t.Errorf("%s: %s shows %q: %s", s, how, shown, out)
			}
		}
	}
}

func TestARedactedNumberSaysThatItIsOne(t *testing.T) {
	n := number(t, "+8613800000001")
	for _, got := range []string{fmt.Sprint(n), n.String(), fmt.Sprintf("%#v", n), fmt.Sprintf("%d", n), n.LogValue().String()} {
		if got != "[number]" {
			t.Errorf("got %q", got)
		}
	}
	if b, err := json.Marshal(map[string]any{"n": n}); err != nil || string(b) != `{"n":"[number]"}` {
		t.Errorf("JSON %s, %v", b, err)
	}
}
