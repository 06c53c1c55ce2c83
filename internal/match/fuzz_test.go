package match

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// FuzzRows cuts an input into blocks of any size, and these into rows, and compares with encoding/csv: a row is what that takes
// from there on if it is no longer than the limit, and else a line.
func FuzzRows(f *testing.F) {
	for _, s := range []string{"", "a,b\n1,2\n", "a\n\"1\n\"\"\",2\r\n", "\"a\",b\n\"1\"1,\"\n3,4", "a\n\"\n\n\n\"\n", "a\n\"x\n1\n2\n3\n", "\r\n\"\r\n\"\r",
		"0123456789012345678901234567890123456789\nx", "\"01234567890123456789012345678901234567\n\"\n", "a\"b\"c\n"} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(20))
	}
	const limit = 32
	f.Fuzz(func(t *testing.T, input string, size uint8) {
		var want []string
		for rest, line := input, 1; rest != ""; {
			first, _, _ := strings.Cut(rest, "\n")
			n, code := min(len(first)+1, len(rest)), ""
			if text := strings.TrimSuffix(first, "\r"); len(text) > limit {
				code = lineTooLong
			} else if text != "" {
				r := csv.NewReader(strings.NewReader(rest))
				if _, err := r.Read(); err == nil && len(trimEnding([]byte(rest[:r.InputOffset()]))) <= limit {
					n = int(r.InputOffset())
				} else {
					code = badQuote
				}
			}
			want = append(want, fmt.Sprintf("%d %q %s", line, dropped(rest[:n], code), code))
			line += strings.Count(rest[:n], "\n")
			rest = rest[n:]
		}
		for _, r := range []io.Reader{strings.NewReader(input), iotest.OneByteReader(strings.NewReader(input))} {
			if got := rowsOf(t, r, int(size), limit, int64(len(input))); !slices.Equal(got, want) {
				t.Fatalf("%q in blocks of %d:\n got %q\nwant %q", input, size, got, want)
			}
		}
	})
}

// dropped is what is kept of a row.
func dropped(text, code string) string {
	if code == lineTooLong {
		return ""
	}
	return text
}

func rowsOf(t *testing.T, r io.Reader, size, limit int, length int64) (rows []string) {
	c := &cutter{r: r, size: size, limit: limit, line: 1}
	var b block
	for {
		if err := c.next(&b); err == io.EOF {
			if c.offset != length {
				t.Fatalf("%d bytes of %d", c.offset, length)
			}
			return rows
		} else if err != nil {
			t.Fatal(err)
		}
		if b.long {
			rows = append(rows, fmt.Sprintf("%d %q %s", b.line, "", lineTooLong))
			continue
		}
		if !b.quotes && bytes.IndexByte(b.data, '"') >= 0 || len(b.data) == 0 {
			t.Fatal("a block is not what it says")
		}
		line := b.line
		for data := b.data; len(data) > 0; {
			r, ok := nextRow(data, limit, false)
			if !ok {
				t.Fatal("a row is not whole")
			}
			if r.code == "" && r.quoted && !sound(trimEnding(data[:r.end])) {
				r.code = badQuote
			}
			rows = append(rows, fmt.Sprintf("%d %q %s", line, dropped(string(data[:r.end]), r.code), r.code))
			line += int64(bytes.Count(data[:r.end], newline))
			data = data[r.end:]
		}
		if end := b.line + b.lines; line != end && (line != end-1 || b.data[len(b.data)-1] == '\n') {
			t.Fatalf("%d lines end at %d", b.lines, line)
		}
	}
}

// FuzzFields compares the fast readers of numbers and times with the rules of the root package.
func FuzzFields(f *testing.F) {
	for _, s := range []string{"+8613800000001", "+86138000000", "8613800000001", "13800000001", "2024-02-29", "2023-02-29", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00.123+08:00",
		"2024-01-01 10:00:00", "2024-01-01 10:00:00.5", "1969-12-31", "2100-12-31", "+0613800000001", "+861380000:001", "2024-01-01T24:00:00Z"} {
		f.Add(s)
	}
	zone := huanxin.China
	read := newTimes(zone, time.Now())
	f.Fuzz(func(t *testing.T, s string) {
		n, err := huanxin.ParseNumber(s)
		if got := digitsOf([]byte(s), false); (err == nil) != (got != 0) || err == nil && got != n.Digits() {
			t.Fatalf("%q is %d, %v", s, got, err)
		}
		got, ok := read.read([]byte(s))
		want, err := huanxin.ParseSince(s)
		if local, e := time.ParseInLocation("2006-01-02 15:04:05", s, zone); e == nil && len(s) >= 19 && s[10] == ' ' && s[13] == ':' && !strings.Contains(s, ",") &&
			1970 <= local.Year() && local.Year() < 2100 {
			want, err = huanxin.SinceInstant(local), nil
		}
		if len(s) > 10 && s[10] == ' ' && err != nil {
			return // offsets behind a blank are ours alone
		}
		if ok != (err == nil) || ok && got != want {
			t.Fatalf("%q is %s %v, want %s %v", s, got.Append(nil), ok, want.Append(nil), err)
		}
	})
}

func TestATimeOfAZoneIsTheLaterWhereItsClocksShowItTwice(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC), time.Date(2040, 7, 1, 0, 0, 0, 0, time.UTC)} {
		read := newTimes(berlin, now)
		for shown, want := range map[string]string{
			"2025-01-15 12:00:00":        "2025-01-15T11:00:00Z",
			"2025-07-15 12:00:00":        "2025-07-15T10:00:00Z",
			"2025-03-30 01:59:59":        "2025-03-30T00:59:59Z",
			"2025-03-30 02:30:00":        "2025-03-30T01:30:00Z", // skipped: as before the skip
			"2025-03-30 03:00:00":        "2025-03-30T01:00:00Z",
			"2025-10-26 01:59:59":        "2025-10-25T23:59:59Z",
			"2025-10-26 02:00:00":        "2025-10-26T01:00:00Z", // twice: the later
			"2025-10-26 02:59:59.999999": "2025-10-26T01:59:59.999999Z",
			"2025-10-26 03:00:00":        "2025-10-26T02:00:00Z",
			"2025-10-26 02:30:00+02":     "2025-10-26T00:30:00Z", // says which
		} {
			got, ok := read.read([]byte(shown))
			if text := string(got.Append(nil)); !ok || text != want {
				t.Errorf("%s is %s, want %s", shown, text, want)
			}
		}
	}
}
