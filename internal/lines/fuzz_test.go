package lines_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin/internal/lines"
)

func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{"", "1\n2", "\r\n\n1\r\n", "\xef\xbb\xbf1\n", "\xff\n1", "123456789012345678\n1", "\r\r\n"} {
		f.Add(s)
	}
	const limit = 16
	f.Fuzz(func(t *testing.T, body string) {
		var want []string
		for i, text := range strings.Split(strings.TrimPrefix(body, "\xef\xbb\xbf"), "\n") {
			text = strings.TrimSuffix(text, "\r")
			switch {
			case len(text) > limit:
				want = append(want, fmt.Sprintf("%d! line_too_long", i+1))
			case strings.Trim(text, " \t\r") == "":
			case !utf8.ValidString(text):
				want = append(want, fmt.Sprintf("%d! invalid_utf8", i+1))
			default:
				want = append(want, fmt.Sprintf("%d %s", i+1, text))
			}
		}
		same(t, ndjson(strings.NewReader(body), limit), want...)
		same(t, ndjson(iotest.OneByteReader(strings.NewReader(body)), limit), want...)
	})
}

// FuzzCSV compares with encoding/csv on what that accepts, and on everything holds the reader to its
// guarantees: it ends, lines only grow, and however the pieces arrive they give the same.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a\n\"1\n\"\"\",2\r\n", "\"a\",b\n\"1\"1,\"\n3,4", "a,b\n1\n2,3\n\n\"\",\"", "a\n\"\xff\"\n\xff\n1",
		"a\n\"\n\n\n\"\n", "a\n\"x\n1\n2\n3\n", "a\n\r\n\"\r\n\"\r", "\xef\xbb\xbf\"a\"\n",
	} {
		f.Add(s)
	}
	any := lines.Header{Extra: true}
	f.Fuzz(func(t *testing.T, body string) {
		got := everyRow(t, strings.NewReader(body), 64, any)
		if one := everyRow(t, iotest.OneByteReader(strings.NewReader(body)), 64, any); strings.Join(got, "\x00") != strings.Join(one, "\x00") {
			t.Fatalf("whole: %q\nbyte by byte: %q", got, one)
		}
		if want, ok := theirs(body); ok {
			if got := everyRow(t, strings.NewReader(body), 0, any); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
				t.Fatalf("%q\nours:   %q\ntheirs: %q", body, got, want)
			}
		}
	})
}

func everyRow(t *testing.T, r io.Reader, limit int, h lines.Header) []string {
	c, err := lines.NewCSV(r, limit, h)
	if err != nil {
		return []string{"refused"}
	}
	last := int64(0)
	return transcript(func() (int64, string, error) {
		line, _, err := c.Next()
		if err == nil && line <= last {
			t.Fatalf("line %d after line %d", line, last)
		}
		last = line
		all := bytes.ReplaceAll(bytes.Join(c.All(), []byte{0}), []byte("\r\n"), []byte("\n")) // as encoding/csv does
		return line, string(all), err
	})
}

// theirs is what encoding/csv makes of the body, if it takes all of it and so do we.
func theirs(body string) ([]string, bool) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(body, "\xef\xbb\xbf")))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil || !utf8.ValidString(body) || len(body) > lines.DefaultLimit {
		return nil, false
	}
	var out []string
	for {
		row, err := r.Read()
		if err == io.EOF {
			return out, true
		}
		if err != nil {
			return nil, false
		}
		line, _ := r.FieldPos(0)
		if len(row) != len(header) {
			out = append(out, fmt.Sprintf("%d! ragged_row", line))
			continue
		}
		out = append(out, fmt.Sprintf("%d %s", line, strings.Join(row, "\x00")))
	}
}
