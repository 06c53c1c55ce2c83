package lines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// transcript writes what a reader gives as one string a step, so that tests read as tables.
func transcript(next func() (int64, string, error)) []string {
	var out []string
	for {
		line, text, err := next()
		var bad *lines.BadLine
		switch {
		case err == io.EOF:
			return out
		case errors.As(err, &bad):
			out = append(out, fmt.Sprintf("%d! %s", bad.Line, bad.Code))
		case err != nil:
			return append(out, "broken "+huanxin.CodeOf(err))
		default:
			out = append(out, fmt.Sprintf("%d %s", line, text))
		}
	}
}

func ndjson(r io.Reader, limit int) []string {
	d := lines.NewNDJSON(r, limit)
	return transcript(func() (int64, string, error) {
		line, text, err := d.Next()
		return line, string(text), err
	})
}

func csvRows(r io.Reader, limit int, h lines.Header) ([]string, error) {
	c, err := lines.NewCSV(r, limit, h)
	if err != nil {
		return nil, err
	}
	return transcript(func() (int64, string, error) {
		line, row, err := c.Next()
		return line, string(bytes.Join(row, []byte("|"))), err
	}), nil
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
}

// slices of every size must give the same, whatever the network does to the pieces.
func everyPiece(t *testing.T, body string, read func(io.Reader) []string) []string {
	t.Helper()
	whole := read(strings.NewReader(body))
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(strings.NewReader(body)),
		"half":     iotest.HalfReader(strings.NewReader(body)),
		"data+EOF": iotest.DataErrReader(strings.NewReader(body)),
	} {
		if got := read(r); strings.Join(got, "\n") != strings.Join(whole, "\n") {
			t.Errorf("%s reads differ: %q, whole %q", name, got, whole)
		}
	}
	return whole
}

func TestNDJSONLinesAreNumberedAsTheyStandInTheFile(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"nothing":                        {"", nil},
		"one line":                       {"{}\n", []string{"1 {}"}},
		"a last line without an ending":  {"1\n2", []string{"1 1", "2 2"}},
		"empty and blank lines":          {"\n1\n\n \t\n2\n\n", []string{"2 1", "5 2"}},
		"CRLF":                           {"1\r\n\r\n2\r\n", []string{"1 1", "3 2"}},
		"a CR that lost its LF":          {"1\r", []string{"1 1"}},
		"a byte order mark":              {"\xef\xbb\xbf1\n2\n", []string{"1 1", "2 2"}},
		"a byte order mark and no more":  {"\xef\xbb\xbf", nil},
		"half a byte order mark":         {"\xef\xbb", []string{"1! invalid_utf8"}},
		"invalid UTF-8 between":          {"1\n\xff\n3", []string{"1 1", "2! invalid_utf8", "3 3"}},
		"a line over the limit":          {"1\n123456789\n3\n", []string{"1 1", "2! line_too_long", "3 3"}},
		"a line at the limit":            {"12345678\r\n2\n", []string{"1 12345678", "2 2"}},
		"a last line over the limit":     {"1\n123456789", []string{"1 1", "2! line_too_long"}},
		"spaces are kept":                {" 1 \n", []string{"1  1 "}},
		"a mark in the middle is a text": {"1\n\xef\xbb\xbf2\n", []string{"1 1", "2 \xef\xbb\xbf2"}},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, everyPiece(t, tc.body, func(r io.Reader) []string { return ndjson(r, 8) }), tc.want...)
		})
	}
}

func TestALineFarOverTheLimitCostsOnlyItself(t *testing.T) {
	huge := strings.Repeat("x", 3<<20)
	same(t, ndjson(strings.NewReader("1\n"+huge+"\n3\n"+huge), 0), "1 1", "2! line_too_long", "3 3", "4! line_too_long")
	rows, err := csvRows(strings.NewReader("a\n"+huge+"\n3\n"+huge), 0, lines.Header{Required: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, rows, "2! line_too_long", "3 3", "4! line_too_long")
}

func TestABrokenReadIsNotTheEnd(t *testing.T) {
	cut := func(s string) io.Reader {
		return io.MultiReader(strings.NewReader(s), iotest.ErrReader(errors.New("connection reset")))
	}
	same(t, ndjson(cut("1\n2\nhalf"), 0), "1 1", "2 2", "broken broken_body")
	same(t, ndjson(cut(""), 0), "broken broken_body")
	same(t, ndjson(cut("12345678901"), 8), "1! line_too_long", "broken broken_body")
	rows, err := csvRows(cut("a\n1\n\"open\n"), 0, lines.Header{Required: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, rows, "2 1", "broken broken_body")
	if _, err := csvRows(cut("a"), 0, lines.Header{Required: []string{"a"}}); huanxin.CodeOf(err) != "broken_body" {
		t.Errorf("a header that breaks off: %v", err)
	}
	same(t, ndjson(iotest.ErrReader(huanxin.Errorf(huanxin.TooLarge, "body_too_large", "")), 0), "broken body_too_large")
	same(t, ndjson(stuck{}, 0), "broken broken_body")
}

// stuck never gives anything, which io.Reader discourages and some readers do.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestCSVRowsAreNamedByTheLineOnWhichTheyBegin(t *testing.T) {
	h := lines.Header{Required: []string{"a", "b"}}
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"the header is line 1":              {"a,b\n1,2\n", []string{"2 1|2"}},
		"a byte order mark":                 {"\xef\xbb\xbfa,b\n1,2\n", []string{"2 1|2"}},
		"a byte order mark before a quote":  {"\xef\xbb\xbf\"a\",b\n1,2\n", []string{"2 1|2"}},
		"columns in another order":          {"b,a\n1,2\n", []string{"2 2|1"}},
		"CRLF":                              {"a,b\r\n1,2\r\n\r\n3,4\r\n", []string{"2 1|2", "4 3|4"}},
		"no ending on the last line":        {"a,b\n1,2", []string{"2 1|2"}},
		"empty lines":                       {"\n\na,b\n\n1,2\n\n", []string{"5 1|2"}},
		"empty fields":                      {"a,b\n,\n\"\",\n", []string{"2 |", "3 |"}},
		"a header and nothing else":         {"a,b\n", nil},
		"a quoted comma":                    {"a,b\n\"1,1\",2\n", []string{"2 1,1|2"}},
		"doubled quotes":                    {"a,b\n\"say \"\"hi\"\"\",\"\"\"\"\n", []string{"2 say \"hi\"|\""}},
		"a line break inside quotes":        {"a,b\n\"1\n1\",2\n3,4\n", []string{"2 1\n1|2", "4 3|4"}},
		"an empty line inside quotes":       {"a,b\n\"\r\n\n\",2\n3,4\n", []string{"2 \r\n\n|2", "5 3|4"}},
		"too few columns":                   {"a,b\n1\n3,4\n", []string{"2! ragged_row", "3 3|4"}},
		"too many columns":                  {"a,b\n1,2,3\n\"1\",2,3\n3,4\n", []string{"2! ragged_row", "3! ragged_row", "4 3|4"}},
		"ragged over several lines":         {"a,b\n\"1\n1\"\n3,4\n", []string{"2! ragged_row", "4 3|4"}},
		"a quote in a bare field":           {"a,b\n1\"1,2\n3,4\n", []string{"2! bad_quote", "3 3|4"}},
		"text behind a closing quote":       {"a,b\n\"1\"1,2\n3,4\n", []string{"2! bad_quote", "3 3|4"}},
		"a blank before a quote":            {"a,b\n1, \"2\"\n3,4\n", []string{"2! bad_quote", "3 3|4"}},
		"a quote that is never closed":      {"a,b\n1,\"2\n3,4\n5,6", []string{"2! bad_quote", "3 3|4", "4 5|6"}},
		"a stray quote, a sound row below":  {"a,b\n1,\"2\n3,\"4\"\n", []string{"2! bad_quote", "3 3|4"}},
		"a quote not closed in time":        {"a,b\n1,\"2\n" + strings.Repeat("3,4\n", 20) + "5,\"\n", append(append([]string{"2! bad_quote"}, numbered(3, 20, "3|4")...), "23! bad_quote")},
		"a row over the limit":              {"a,b\n1," + strings.Repeat("2", 40) + "\n3,4\n", []string{"2! line_too_long", "3 3|4"}},
		"a quoted row over the limit":       {"a,b\n\"1\"," + strings.Repeat("2", 40) + "\n3,4\n", []string{"2! line_too_long", "3 3|4"}},
		"a quoted row at the limit":         {"a,b\n\"1\n\"," + strings.Repeat("2", 27) + "\r\n3,4\n", []string{"2 1\n|" + strings.Repeat("2", 27), "4 3|4"}},
		"a quoted row just over the limit":  {"a,b\n\"1\n\"," + strings.Repeat("2", 28) + "\r\n3,4\n", []string{"2! bad_quote", "3! bad_quote", "4 3|4"}},
		"invalid UTF-8":                     {"a,b\n\xff,2\n\"\xff\",2\n3,4\n", []string{"2! invalid_utf8", "3! invalid_utf8", "4 3|4"}},
		"invalid UTF-8 over several lines":  {"a,b\n\"\xff\n\",2\n3,4\n", []string{"2! invalid_utf8", "4 3|4"}},
		"a bare CR is a character":          {"a,b\n1\r1,2\n", []string{"2 1\r1|2"}},
		"a row of blanks is a ragged row":   {"a,b\n  \n3,4\n", []string{"2! ragged_row", "3 3|4"}},
		"a quote that opens on a last line": {"a,b\n1,\"", []string{"2! bad_quote"}},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(r io.Reader) []string {
				rows, err := csvRows(r, 32, h)
				if err != nil {
					t.Fatal(err)
				}
				return rows
			}
			same(t, everyPiece(t, tc.body, read), tc.want...)
		})
	}
}

func numbered(from, n int, text string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%d %s", from+i, text)
	}
	return out
}

func TestARaggedRowOverSeveralLinesSaysHowFarItRuns(t *testing.T) {
	c, err := lines.NewCSV(strings.NewReader("a,b\n\"1\n1\"\n"), 0, lines.Header{Required: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = c.Next(); err == nil || !strings.Contains(err.Error(), "runs on to line 3") {
		t.Errorf("got %v", err)
	}
}

func TestAWrongHeaderIsRefusedAsAWholeAndNamesTheColumns(t *testing.T) {
	report := lines.Header{Required: []string{"id", "number"}, Optional: []string{"origin"}}
	for name, tc := range map[string]struct {
		body string
		h    lines.Header
		want string
	}{
		"unknown":             {"id,number,colour\n", report, "colour unknown_column"},
		"twice":               {"id,number,id\n", report, "id duplicate_column"},
		"an optional twice":   {"origin,id,number,origin\n", report, "origin duplicate_column"},
		"missing":             {"id,origin\n", report, "number missing_column"},
		"several":             {"id,Number\n", report, "Number unknown_column, number missing_column"},
		"case matters":        {"ID,number\n", report, "ID unknown_column, id missing_column"},
		"no header, but data": {"+8613800000001,2026\n", report, "column 1 unknown_column, column 2 unknown_column, id missing_column, number missing_column"},
		"digits as a name":    {"id,number,n13800000001\n", report, "column 3 unknown_column"},
		"nothing at all":      {"", report, "id missing_column, number missing_column"},
		"only empty lines":    {"\n\r\n", report, "id missing_column, number missing_column"},
		"an unnamed column":   {"id,number,\n", report, "column 3 unknown_column"},
		"bad quoting":         {"\"id,number\n1,2\n", report, "1 bad_quote"},
		"UTF-16":              {"\xff\xfei\x00d\x00\n\x00", report, "1 invalid_utf8"},
		"too long":            {"id,number," + strings.Repeat("x", 100), report, "1 line_too_long"},
		"twice, with extras":  {"id,number,x,x,,,id\n", lines.Header{Required: []string{"id"}, Extra: true}, "id duplicate_column"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lines.NewCSV(strings.NewReader(tc.body), 64, tc.h)
			var e *huanxin.Error
			if !errors.As(err, &e) || e.Kind != huanxin.Invalid || e.Code != "bad_header" {
				t.Fatalf("got %v, want bad_header", err)
			}
			var got []string
			for _, f := range e.Fields {
				where := f.Field
				if f.Line > 0 {
					where = fmt.Sprint(f.Line)
				}
				got = append(got, where+" "+f.Code)
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("got %q, want %q", strings.Join(got, ", "), tc.want)
			}
			if strings.Contains(err.Error(), "1380000") {
				t.Errorf("the error repeats the input: %v", err)
			}
		})
	}
}

func TestAnswersToAHeaderOfJunkAreBounded(t *testing.T) {
	_, err := lines.NewCSV(strings.NewReader(strings.Repeat("x,", 30000)+"\n"), 0, lines.Header{Required: []string{"id"}})
	var e *huanxin.Error
	if !errors.As(err, &e) || len(e.Fields) > 21 {
		t.Errorf("got %d complaints", len(e.Fields))
	}
}

func TestOptionalColumnsMayBeMissingAndExtraOnesArePassedThrough(t *testing.T) {
	c, err := lines.NewCSV(strings.NewReader("note,,a\n\"x,\"\"y\",2,1\n"), 0,
		lines.Header{Required: []string{"a"}, Optional: []string{"b"}, Extra: true})
	if err != nil {
		t.Fatal(err)
	}
	line, row, err := c.Next()
	if err != nil || line != 2 || string(row[0]) != "1" || row[1] != nil {
		t.Errorf("got %d %q %v", line, row, err)
	}
	if got := fmt.Sprintf("%q", c.All()); got != `["x,\"y" "2" "1"]` {
		t.Errorf("all columns: %s", got)
	}
	if got := string(c.Raw()); got != `"x,""y",2,1` {
		t.Errorf("raw: %s", got)
	}
	if got := fmt.Sprintf("%q", c.Names()); got != `["note" "" "a"]` {
		t.Errorf("names: %s", got)
	}
}

func TestGoodLinesAreReadWithoutAllocation(t *testing.T) {
	body := "a,b\n" + strings.Repeat("+8613800000001,2026-03-01\n\"1\"\"\n\",2\n", 5000)
	c, err := lines.NewCSV(strings.NewReader(body), 0, lines.Header{Required: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // the first rows make room for the others
		if _, _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(5000, func() {
		if _, _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("CSV: %v allocations a row", n)
	}
	d := lines.NewNDJSON(strings.NewReader(body), 0)
	if n := testing.AllocsPerRun(5000, func() {
		if _, _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("NDJSON: %v allocations a line", n)
	}
}

func packed(t *testing.T, encoding, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpacked(encoding string, body []byte) (string, error) {
	r, err := lines.Decompress(encoding, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(r)
	return string(text), err
}

func TestBodiesMayBeCompressed(t *testing.T) {
	text := strings.Repeat("{\"id\":1}\n", 10000)
	for _, encoding := range []string{"", "identity", "gzip", "GZIP", "x-gzip", "zstd"} {
		body := []byte(text)
		if strings.Contains(strings.ToLower(encoding), "gzip") {
			body = packed(t, "gzip", text)
		} else if encoding == "zstd" {
			body = packed(t, "zstd", text)
		}
		if got, err := unpacked(encoding, body); err != nil || got != text {
			t.Errorf("%q: %d bytes, %v", encoding, len(got), err)
		}
	}
}

func TestDamagedCompressionIsAnErrorForTheWhole(t *testing.T) {
	text := strings.Repeat("{\"id\":1}\n", 10000)
	for _, encoding := range []string{"gzip", "zstd"} {
		good := packed(t, encoding, text)
		flipped := bytes.Clone(good)
		flipped[len(flipped)-3] ^= 0x40 // in the checksum
		for name, body := range map[string][]byte{
			"empty": {}, "no such format": []byte(text), "cut": good[:len(good)/2], "flipped": flipped,
			"trailing junk": append(bytes.Clone(good), "junk junk junk"...),
		} {
			if _, err := unpacked(encoding, body); huanxin.CodeOf(err) != "broken_body" || huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("%s %s: %v", encoding, name, err)
			}
		}
	}
}

func TestUnknownAndStackedEncodingsAreUnsupported(t *testing.T) {
	for _, encoding := range []string{"br", "deflate", "gzip, gzip", "gzip,zstd", "*"} {
		if _, err := lines.Decompress(encoding, strings.NewReader("")); huanxin.KindOf(err) != huanxin.Unsupported ||
			huanxin.CodeOf(err) != "unsupported_encoding" {
			t.Errorf("%q: %v", encoding, err)
		}
	}
}

func TestAZstdWindowOver8MBIsRefused(t *testing.T) {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := w.Write(make([]byte, 10<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unpacked("zstd", b.Bytes()); huanxin.CodeOf(err) != "unsupported_encoding" {
		t.Errorf("got %v", err)
	}
}

func TestOnlyHarmlessNamesMayBeRepeated(t *testing.T) {
	for name, want := range map[string]bool{
		"number": true, "bound_at": true, "Last Name": true, "x-1234": true, "_": true,
		"": false, "13800000001": false, "+8613800000001": false, "n13800": false, " a": false,
		"号码": false, "a\nb": false, strings.Repeat("a", 65): false, "a13 80 00": false,
	} {
		if lines.Nameable(name) != want {
			t.Errorf("Nameable(%q) = %v", name, !want)
		}
	}
}
