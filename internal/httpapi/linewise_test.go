package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

type lineSample struct {
	ID     string  `json:"id"`
	Number Number  `json:"number"`
	At     *Time   `json:"at"`
	Note   *string `json:"note"`
}

func readAll(t *testing.T, r *http.Request) []string {
	t.Helper()
	seq, err := readLines[lineSample](r)
	if err != nil {
		return []string{"refused " + complaints(err)}
	}
	var out []string
	for l, err := range seq {
		switch {
		case err != nil:
			out = append(out, "broken "+huanxin.CodeOf(err))
		case l.Err != nil:
			out = append(out, fmt.Sprintf("%d %s! %s", l.Line, l.Value.ID, complaints(l.Err)))
		default:
			note := ""
			if l.Value.Note != nil {
				note = " " + *l.Value.Note
			}
			at := ""
			if l.Value.At != nil {
				at = " " + l.Value.At.Time().UTC().Format("15:04")
			}
			out = append(out, fmt.Sprintf("%d %s %s%s%s", l.Line, l.Value.ID, l.Value.Number.E164(), at, note))
		}
	}
	return out
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
}

func TestNDJSONLinesAreDecodedOneByOneAndBadOnesStopNone(t *testing.T) {
	equal(t, readAll(t, post("application/x-ndjson", `{"id":"1","number":"+8613800000001","at":"2026-03-01T08:00:00+08:00","note":"n"}

{"id":"3","number":"+86138"x}
{"id":"4","number":"13800000001"}
{"id":"5","number":"+8613800000005","colour":1}
{"id":"6"}
{"number":"+8613800000001"}
[]
{"id":"9","number":"+8613800000009"} {}
{"id":"`+"\xff"+`"}
`+strings.Repeat("x", 70000)+`
{"id":"12","number":"+8613800000012"}`)),
		"1 1 +8613800000001 00:00 n",
		"3 3! malformed_json",
		"4 4! number_malformed; number number_malformed",
		"5 5! unknown_member; colour unknown_member",
		"6 6! required; number required",
		"7 ! required; id required",
		"8 ! wrong_type",
		"9 9! malformed_json",
		"10 ! invalid_utf8",
		"11 ! line_too_long",
		"12 12 +8613800000012")
}

func TestCSVColumnsBearTheNamesOfTheMembers(t *testing.T) {
	equal(t, readAll(t, post("text/csv; charset=utf-8", "\xef\xbb\xbfnumber,id,at\r\n+8613800000001,1,2026-03-01T08:00:00+08:00\r\n"+
		"+8613800000002,2,\r\n138,3,\r\n+8613800000004,,\r\n,5,\r\n+8613800000006,6,yesterday\r\n+8613800000007\r\n+86138\"0,8,\r\n+8613800000009,9,\r\n")),
		"2 1 +8613800000001 00:00",
		"3 2 +8613800000002",
		"4 3! number_malformed; number number_malformed",
		"5 ! required; id required",
		"6 5! required; number required",
		"7 6! malformed_time; at malformed_time",
		"8 ! ragged_row",
		"9 ! bad_quote",
		"10 9 +8613800000009")
}

func TestWhatIsWrongWithAWholeLinewiseBodyIsSaidBeforeAnyLine(t *testing.T) {
	equal(t, readAll(t, post("application/json", "{}")), "refused unsupported_media_type")
	equal(t, readAll(t, post("text/csv; charset=gb18030", "id,number\n")), "refused unsupported_media_type")
	equal(t, readAll(t, post("text/csv", "id,colour\n")), "refused bad_header; colour unknown_column; number missing_column")
	equal(t, readAll(t, post("text/csv", "")), "refused bad_header; id missing_column; number missing_column")
	equal(t, readAll(t, post("application/x-ndjson", "")))
	r := post("application/x-ndjson", "{}")
	r.Header.Set("Content-Encoding", "gzip")
	equal(t, readAll(t, r), "refused broken_body")
	r.Header.Set("Content-Encoding", "compress")
	equal(t, readAll(t, r), "refused unsupported_encoding")
}

func TestALinewiseBodyThatBreaksGivesItsGoodLinesFirst(t *testing.T) {
	line := `{"id":"1","number":"+8613800000001"}` + "\n"
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(line+line[:9]), errReader{}))
	r.Header.Set("Content-Type", "application/x-ndjson")
	equal(t, readAll(t, r), "1 1 +8613800000001", "broken broken_body")

	packed := squeezed(t, strings.Repeat(line, 10000))
	r = post("application/x-ndjson", packed[:len(packed)-4])
	r.Header.Set("Content-Encoding", "gzip")
	got := readAll(t, r)
	if len(got) < 2 || got[len(got)-1] != "broken broken_body" {
		t.Errorf("a gzip body without its end: %d lines, the last %q", len(got), got[len(got)-1])
	}
}

func TestARouteTakesOnlyItsOwnContentTypes(t *testing.T) {
	r := post("text/csv", "id,number\n")
	x := &exchange{route: &Route{Body: NDJSON(lineSample{})}}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	equal(t, readAll(t, r), "refused unsupported_media_type")
}

func TestTheReaderOfLinesMayStopEarly(t *testing.T) {
	seq, err := readLines[lineSample](post("application/x-ndjson", "{}\n{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range seq {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
}

func BenchmarkNDJSONEvents(b *testing.B) {
	body := strings.Repeat(`{"id":"cmcc-1","number":"+8613800000001","at":"2026-03-01T08:00:00+08:00"}`+"\n", 10000)
	for b.Loop() {
		seq, err := readLines[lineSample](post("application/x-ndjson", body))
		if err != nil {
			b.Fatal(err)
		}
		for l, err := range seq {
			if err != nil || l.Err != nil {
				b.Fatal(err, l.Err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*10000/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkCSVEvents(b *testing.B) {
	body := "id,number,at\n" + strings.Repeat("cmcc-1,+8613800000001,2026-03-01T08:00:00+08:00\n", 10000)
	for b.Loop() {
		seq, err := readLines[lineSample](post("text/csv", body))
		if err != nil {
			b.Fatal(err)
		}
		for l, err := range seq {
			if err != nil || l.Err != nil {
				b.Fatal(err, l.Err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*10000/b.Elapsed().Seconds(), "lines/s")
}
