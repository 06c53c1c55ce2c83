package httpapi_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

type historyReceipt struct {
	receipt
	Flagged      int64  `json:"flagged"`
	CoveredSince string `json:"covered_since"`
}

// history sends history that is taken as a whole.
func (w *world) history(contentType, encoding, query, body string) historyReceipt {
	w.t.Helper()
	a := w.do(call{method: "POST", path: "/v1/history" + query, as: "cmcc", body: body,
		header: map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}})
	if a.status != 200 {
		w.t.Fatalf("status %d: %s", a.status, a.body)
	}
	var r historyReceipt
	a.into(w.t, &r)
	return r
}

// badHistory is history that is refused as a whole; TestBadLinesOfHistoryAreRefusedOneByOne has the lines.
func badHistory(s *stage) []bad {
	load := func(name string, status int, code, at, query, contentType, body string) bad {
		return bad{name, call{method: "POST", path: "/v1/history" + query, as: "cmcc", body: body,
			header: map[string]string{"Content-Type": contentType}}, status, code, at}
	}
	line := `{"number":"` + never + `","tenure_started_at":"2024-03-01","origin":"first"}`
	told := func(parameter, name, code, value string) bad {
		return load(parameter+" "+name, 400, code, parameter, query(parameter, value), "application/x-ndjson", line)
	}
	csv := func(name, at, body string) bad {
		return load("CSV "+name, 400, "bad_header", at, "", "text/csv", body)
	}
	row := never + ",2024-03-01,first\n"
	tomorrow := s.now.Add(24 * time.Hour).In(time.FixedZone("CST", 8*3600)).Format(time.DateOnly)
	return []bad{
		told("complete_until", "in words", "malformed_time", "yesterday"),
		told("complete_until", "a date", "malformed_time", "2026-03-01"),
		told("complete_until", "ahead", "invalid", stamp(s.now.Add(time.Hour))),
		told("covered_since", "in words", "date_malformed", "always"),
		told("covered_since", "a date-time", "date_malformed", "2020-01-01T00:00:00Z"),
		told("covered_since", "on no day", "date_malformed", "2023-02-29"),
		told("covered_since", "a number", "date_malformed", "8613800138000"),
		told("covered_since", "in another script", "date_malformed", "２０２０-01-01"),
		told("covered_since", "to come", "invalid", tomorrow),
		told("covered_since", "in the year 9999", "invalid", "9999-12-31"),
		told("covered_since", "before mobile numbers", "invalid", "1987-10-31"),
		told("covered_since", "in the year 1", "invalid", "0001-01-01"),
		csv("empty", "number", ""),
		csv("of another dialect", "origin", "number;tenure_started_at;origin\n"+row),
		csv("without a header", "number", row),
		csv("with an unknown column", "name", "number,tenure_started_at,origin,name\n"+row),
		csv("with an id", "id", "id,number,tenure_started_at,origin\n1,"+row),
		csv("with a column twice", "origin", "number,tenure_started_at,origin,origin\n"+row),
		csv("without a column", "tenure_started_at", "number,origin\n"+row),
		csv("with a number as a column", "column 1", "+8613800138000,number,tenure_started_at,origin\n"+row),
		csv("in capitals", "NUMBER", "NUMBER,tenure_started_at,origin\n"+row),
		csv("not UTF-8", "line 1", "number,tenure_started_at,origin\xff\n"+row),
		csv("that is a picture", "line 1", "\x89PNG\r\n\x1a\n\x00\x00"),
	}
}

func (s *stage) badHistoryLines() []badLine {
	of := func(number, at, origin string) string {
		return fmt.Sprintf(`{"number":%s,"tenure_started_at":%s,"origin":%s}`, number, at, origin)
	}
	const first, day = `"first"`, `"2024-03-01"`
	none := strconv.Quote(never)
	with := func(at string) string { return of(none, at, first) }
	long := stamp(s.ago(2000))
	return []badLine{
		{"malformed_json", `{`},
		{"malformed_json", `nonsense`},
		{"malformed_json", of(none, day, first) + of(none, day, first)},
		{"wrong_type", `[]`},
		{"wrong_type", none},
		{"required", `{}`},
		{"required", `null`},
		{"unknown_member", strings.TrimSuffix(of(none, day, first), "}") + `,"id":"x"}`},
		{"unknown_member", strings.Replace(of(none, day, first), `"number"`, `"Number"`, 1)},
		{"duplicate_member", strings.TrimSuffix(of(none, day, first), "}") + `,"origin":"first"}`},
		{"line_too_long", of(none, day, strconv.Quote(strings.Repeat("x", 70<<10)))},
		{"invalid_utf8", of(none, day, "\"\xff\"")},
		{"required", of("null", day, first)},
		{"required", of(none, "null", first)},
		{"required", of(none, day, "null")},
		{"required", of(none, day, `""`)},
		{"wrong_type", of("8613800138000", day, first)},
		{"wrong_type", of(none, "20240301", first)},
		{"wrong_type", of(none, day, "1")},
		{"wrong_type", of(none, `{"day":"2024-03-01"}`, first)},
		{"number_malformed", of(`"13800138000"`, day, first)},
		{"number_malformed", of(`"+86 138 0013 8000"`, day, first)},
		{"number_malformed", of(`"+861380013800013800138"`, day, first)},
		{"number_kind_unsupported", of(`"+861440012345678"`, day, first)},   // IoT
		{"number_kind_unsupported", of(`"+8617491234567"`, day, first)},     // satellite
		{"number_kind_unsupported", of(`"+8617406123456"`, day, first)},     // emergency
		{"number_kind_unsupported", of(`"+86700123456789012"`, day, first)}, // privacy
		{"number_kind_unsupported", of(`"+861012345678"`, day, first)},      // fixed
		{"unknown_origin", of(none, day, `"FIRST"`)},
		{"unknown_origin", of(none, day, `"ported_in"`)}, // of events only
		{"unknown_origin", of(none, day, `"过户"`)},
		{"malformed_time", with(`""`)},
		{"malformed_time", with(`"yesterday"`)},
		{"malformed_time", with(`"2024-02-30"`)},
		{"malformed_time", with(`"2024-3-1"`)},
		{"malformed_time", with(`"2024/03/01"`)},
		{"malformed_time", with(`"20240301"`)},
		{"malformed_time", with(`"0000-01-01"`)},
		{"malformed_time", with(`"2024-03-01T08:00:00"`)},
		{"malformed_time", with(`"2024-03-01 08:00:00+08:00"`)},
		{"malformed_time", with(`"2024-03-01T24:00:00Z"`)},
		{"malformed_time", with(`"2024-03-01T08:00:00+24:00"`)},
		{"malformed_time", with(strconv.Quote("2024-03-01T08:00:00." + strings.Repeat("0", 70) + "Z"))},
		{"in_future", with(strconv.Quote(stamp(s.now.Add(time.Hour))))},
		{"in_future", with(strconv.Quote(s.now.Add(48 * time.Hour).Format(time.DateOnly)))},
		{"in_future", with(`"9999-12-31"`)},
		{"in_future", with(`"9999-12-31T23:59:59Z"`)},
		{"too_early", with(`"1987-10-31"`)},
		{"too_early", with(`"1970-01-01"`)},
		{"too_early", with(`"0001-01-01"`)},
		{"too_early", with(`"0001-01-01T00:00:00Z"`)},
		{"too_early", with(`"1969-12-31T23:59:59Z"`)},
		{"out_of_order", of(strconv.Quote(fresh), strconv.Quote(long), first)},
		{"out_of_order", of(strconv.Quote(fresh), strconv.Quote(stamp(s.ago(50))), `"reassigned"`)},
		{"out_of_order", of(strconv.Quote(foreign), strconv.Quote(stamp(s.ago(50))), `"unknown"`)},
		{"out_of_order", of(strconv.Quote(firstUse), strconv.Quote(stamp(s.ago(50))), `"transferred"`)},
		{"cooling_too_short", of(strconv.Quote(ended), strconv.Quote(stamp(s.ago(1))), `"reassigned"`)},
		{"cooling_too_short", of(strconv.Quote(ended), strconv.Quote(stamp(s.ago(1))), `"transferred"`)},
	}
}

func TestBadLinesOfHistoryAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		bad := s.badHistoryLines()
		var body strings.Builder
		for _, l := range bad {
			body.WriteString("\n" + l.line + "\n")
		}
		s.linesRefused(t, w.history("application/x-ndjson", "", "?covered_since=2020-01-01&complete_until=2026-01-01T00:00:00Z", body.String()).receipt, bad, 2)
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
		good := `{"number":"+8613800100010","tenure_started_at":"2024-03-01","origin":"transferred"}` + "\n"
		r := w.history("application/x-ndjson", "", "", body.String()+good+body.String())
		if r.Accepted != 1 || r.RejectedTotal != int64(2*len(bad)) {
			t.Errorf("accepted %d, rejected %d", r.Accepted, r.RejectedTotal)
		}
	})
}

func TestBadRowsOfHistoryAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		bad := []badLine{
			{"ragged_row", never + ",2024-03-01"},
			{"ragged_row", never + ",2024-03-01,first,"},
			{"bad_quote", `"` + never + `"x,2024-03-01,first`},
			{"bad_quote", never + `,2024-03-01,fi"rst`},
			{"invalid_utf8", never + ",2024-03-01,first\xff"},
			{"required", ",2024-03-01,first"},
			{"required", never + ",,first"},
			{"required", never + ",2024-03-01,"},
			{"required", ",,"},
			{"number_malformed", "8.6138E+12,2024-03-01,first"},
			{"number_malformed", `"` + never + "\r\n\",2024-03-01,first"},
			{"malformed_time", never + ",2024/3/1,first"},
			{"malformed_time", never + ", 2024-03-01,first"},
			{"unknown_origin", never + ",2024-03-01,First"},
			{"line_too_long", never + ",2024-03-01," + strings.Repeat("x", 70<<10)},
			{"in_future", never + ",2999-01-01,first"},
		}
		body := "number,tenure_started_at,origin\r\n"
		for _, l := range bad {
			body += l.line + "\r\n"
		}
		r := w.history("text/csv", "", "", body)
		for i := range r.Rejected {
			r.Rejected[i].Line-- // the header
			if i > 10 {
				r.Rejected[i].Line-- // a row of two lines
			}
		}
		s.linesRefused(t, r.receipt, bad, 1)
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
	})
}

func TestHistoryComesAsNDJSONAndCSVPlainAndCompressed(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop")
		csv := "\ufefforigin,\"number\",tenure_started_at\r\nfirst,+8613800010001,2020-03-01T10:00:00+08:00\r\n\r\nreassigned,+8613800010002,2020-03-01\r\n" +
			"\"transferred\",+8613800010003,\"2020-03-01T10:00:00.123456789+08:00\"\r\nunknown,+8619400010004,2020-03-01" // a segment that the plan does not know
		r := w.history("text/csv; charset=utf-8", "", "", csv)
		if r.Accepted != 4 || r.Duplicates != 0 || r.RejectedTotal != 0 || r.Flagged != 1 || !strings.HasPrefix(r.Receipt, "rcp_") || r.CoveredSince != "" || r.CompleteUntil != "" {
			t.Errorf("CSV: %+v", r)
		}
		nd := `{"number":"+8613800010001","tenure_started_at":"2020-03-01T02:00:00Z","origin":"first"}` + "\n" +
			`{"number":"+8613800010002","tenure_started_at":"2020-03-01","origin":"reassigned"}` + "\n" +
			`{"number":"+8613800010003","tenure_started_at":"2020-03-01T02:00:00.123456Z","origin":"transferred"}` + "\n" +
			`{"number":"+8619400010004","tenure_started_at":"2020-03-01","origin":"unknown"}` + "\n"
		for _, encoding := range []string{"", "gzip", "zstd"} {
			body := nd
			if encoding != "" {
				body = compressed(t, encoding, nd)
			}
			if r := w.history("application/x-ndjson", encoding, "", body); r.Accepted != 0 || r.Duplicates != 4 || r.RejectedTotal != 0 {
				t.Errorf("NDJSON, %q: %+v", encoding, r)
			}
		}
		// The same number told otherwise, and a name of the hub's in a carrier's mouth.
		r = w.history("text/csv", "", "", "number,tenure_started_at,origin\n+8613800010001,2020-03-02,first\n")
		if r.RejectedTotal != 1 || r.Rejected[0].Code != "id_conflict" || !strings.HasPrefix(r.Rejected[0].ID, "history:") || r.Rejected[0].Line != 2 {
			t.Fatalf("told otherwise: %+v", r)
		}
		name := r.Rejected[0].ID
		own := w.report("application/x-ndjson", "", "", `{"id":"`+name+`","number":"+8613800010001","kind":"activated","at":"2020-03-01T02:00:00Z","origin":"first"}`)
		if own.RejectedTotal != 1 || own.Rejected[0].Code != "not_allowed" {
			t.Errorf("a name of the hub's: %+v", own)
		}
		own = w.report("application/x-ndjson", "", "", `{"id":"c-1","number":"+8613800010001","kind":"corrected","at":"2020-03-01T02:00:00Z","corrects":"`+name+`"}`+"\n"+
			`{"id":"c-2","number":"+8613800010001","kind":"activated","at":"2020-03-02T02:00:00Z","origin":"first"}`)
		if own.Accepted != 2 {
			t.Errorf("a correction: %+v", own)
		}
		w.holds("+8613800010001", "2020-03-01", "CHANGED reassigned")
		w.holds("+8613800010002", "2020-03-01T09:00:00+08:00", "UNKNOWN before_coverage")
		w.holds("+8613800010002", "2020-02-29", "CHANGED reassigned")
		w.holds("+8613800010003", "2020-03-01T09:00:00+08:00", "CHANGED transferred")
		w.holds("+8613800010003", "2020-03-01", "UNCHANGED")
		w.holds("+8619400010004", "2020-02-29", "UNKNOWN before_coverage")
	})
}

// holds waits until a check of the app shop is answered as it must.
func (w *world) holds(number, since, want string) {
	w.t.Helper()
	var got string
	eventually(w.t, "the answer about "+since+" is "+want, 10*time.Second, func() bool {
		a := w.do(call{method: "POST", path: "/v1/checks", as: "shop", header: jsonType, body: fmt.Sprintf(`{"checks":[{"number":%q,"since":%q}]}`, number, since)})
		var out struct {
			Results []struct{ Outcome, Reason string }
		}
		a.into(w.t, &out)
		got = strings.TrimSpace(out.Results[0].Outcome + " " + out.Results[0].Reason)
		return got == want
	})
}

func TestHistoryStatesCoverageOverHTTP(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop")
		state := func(since, until string) historyReceipt {
			t.Helper()
			a := w.do(call{method: "POST", path: "/v1/history" + query("covered_since", since, "complete_until", until), as: "cmcc"})
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			var r historyReceipt
			a.into(t, &r)
			return r
		}
		r := state("2015-06-30", "2026-01-01T00:00:00+08:00")
		equal(t, "covered since", r.CoveredSince, "2015-06-30")
		equal(t, "complete until", r.CompleteUntil, "2026-01-01T00:00:00+08:00")
		r = state("2019-01-01", "2025-01-01T00:00:00+08:00")
		equal(t, "covered since, still", r.CoveredSince, "2015-06-30")
		equal(t, "complete until, still", r.CompleteUntil, "2026-01-01T00:00:00+08:00")
		got, err := w.as("cmcc").ImportHistory(t.Context(), &client.HistoryBody{Type: "text/csv",
			Reader: strings.NewReader("number,tenure_started_at,origin\n+8613800010001,2012-01-01,first\n")}, client.HistoryTold{CoveredSince: "2010-01-01"})
		must(t, err)
		equal(t, "accepted", got.Accepted, 1)
		equal(t, "covered since, earlier", got.CoveredSince, "2010-01-01")
		eventually(t, "the coverage shows", 10*time.Second, func() bool {
			a := w.do(call{method: "GET", path: "/v1/coverage", as: "shop"})
			return strings.Contains(string(a.body), `"covered_since":"2010-01-01T00:00:00+08:00"`) && strings.Contains(string(a.body), `"fresh_at":"2026-01-01T00:00:00+08:00"`)
		})
	})
}
