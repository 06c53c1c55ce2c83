package match_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/match"
)

// marks is an index that is a map.
type marks map[uint64]uint16

func (m marks) Lookup(digits []uint64, out []uint16) {
	for i, d := range digits {
		out[i] = m[d]
	}
}

var (
	now     = time.Date(2026, 3, 2, 10, 30, 0, 0, huanxin.China)
	present = huanxin.PresentAt(now, huanxin.China)
)

// mark gives the mark of a tenure that began on a day.
func mark(origin huanxin.TenureOrigin, date string) uint16 {
	at, err := time.ParseInLocation(time.DateOnly, date, huanxin.China)
	if err != nil {
		panic(err)
	}
	s := huanxin.Standing{Phase: huanxin.PhaseInUse, Origin: origin, StartedAt: at}
	return uint16(s.Mark(huanxin.China))
}

// world holds a number for everything that can be said of one.
var world = marks{
	8613800000001: mark(huanxin.OriginFirst, "2010-01-01"),
	8613800000002: mark(huanxin.OriginReassigned, "2025-06-01"),
	8613800000003: mark(huanxin.OriginTransferred, "2025-06-01"),
	8613800000004: uint16(huanxin.MarkNoHolder),
	8613800000005: mark(huanxin.OriginUnknown, "2025-06-01"),
	8613800000006: uint16(huanxin.MarkUndecided),
	8613800000007: 0xFFFF,
	8613800000008: uint16(huanxin.MarkAbsent),
	447700900123:  mark(huanxin.OriginReassigned, "2025-06-01"),
}

// theHub decides what marks do not: CHANGED for numbers that end in 6, nothing for others but a bad line for 7 on one day.
type theHub struct{}

func (theHub) Answer(_ context.Context, b *match.Batch) error {
	b.First, b.Last = 7, 9
	for i, d := range b.Digits {
		switch b.Answers[i] = (match.Answer{}); {
		case d%10 == 6:
			b.Answers[i] = match.Answer{Outcome: huanxin.Changed, Reason: huanxin.CheckReassigned}
		case d%10 == 7 && string(b.Since[i].Append(nil)) == "2025-06-01":
			b.Answers[i] = match.Answer{Outcome: match.BadLine, Reason: "not_today"}
		}
	}
	return nil
}

// reference is the obvious way to do what Run does.
type reference struct {
	limit            int
	china, hub       bool
	changed, unknown strings.Builder
	s                match.Summary
}

// otherDate is what a malformed_time is that was written as a date of another form.
var otherDate = regexp.MustCompile(`^(?:[12]\d{7}(?:\D|$)|\d{4}(?:/\d{1,2}/\d{1,2}|\.\d{1,2}\.\d{1,2}|-(?:\d-\d{1,2}|\d\d-\d))(?:\D|$)|\d{4}年\d{1,2}月)`)

// bad gives the list of bad lines without its third column.
func (m *reference) bad() string {
	var b strings.Builder
	b.WriteString("line,code\n")
	for _, l := range m.s.BadLines {
		fmt.Fprintf(&b, "%d,%s\n", l.Line, l.Code)
	}
	return b.String()
}

// withoutDetail cuts the third column off a list of bad lines.
func withoutDetail(list string) string {
	return regexp.MustCompile(`(?m)^([^,\n]*,[^,\n]*),[^,\n]*$`).ReplaceAllString(list, "$1")
}

func (m *reference) run(input string) {
	rest := strings.TrimPrefix(input, "\xef\xbb\xbf")
	bom := strings.TrimSuffix(input, rest)
	var header []string
	for line := int64(1); rest != ""; {
		first, _, _ := strings.Cut(rest, "\n")
		size, code := min(len(first)+1, len(rest)), ""
		var record []string
		switch r := csv.NewReader(strings.NewReader(rest)); {
		case len(strings.TrimSuffix(first, "\r")) > m.limit:
			code = "line_too_long"
		case strings.TrimSuffix(first, "\r") == "":
		default:
			var err error
			if record, err = r.Read(); err == nil && len(withoutEnding(rest[:r.InputOffset()])) <= m.limit {
				size = int(r.InputOffset())
			} else {
				code = "bad_quote"
			}
		}
		text := rest[:size]
		switch {
		case code == "" && record == nil:
		case header == nil:
			header = record
			m.changed.WriteString(bom + added(text, "outcome,reason"))
			m.unknown.WriteString(bom + added(text, "outcome,reason"))
		default:
			m.s.Rows++
			if code == "" {
				code = m.row(text, header, record)
			}
			if code != "" {
				m.s.Bad++
				if code == "malformed_time" && otherDate.MatchString(record[slices.Index(header, "bound_at")]) {
					m.s.OtherDates++
				}
				m.s.BadLines = append(m.s.BadLines, match.Bad{Line: line, Code: code})
			}
		}
		rest = rest[size:]
		line += int64(strings.Count(text, "\n"))
	}
}

func withoutEnding(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
}

func added(text, more string) string {
	plain := withoutEnding(text)
	ending := text[len(plain):]
	if !strings.HasSuffix(ending, "\n") {
		ending = "\n"
	}
	return plain + "," + more + ending
}

func (m *reference) row(text string, header, record []string) (code string) {
	if len(record) != len(header) {
		return "ragged_row"
	}
	number, boundAt := record[slices.Index(header, "number")], record[slices.Index(header, "bound_at")]
	if m.china && !strings.HasPrefix(number, "+") {
		if strings.HasPrefix(number, "86") && len(number) >= 13 {
			number = "+" + number
		} else if strings.HasPrefix(number, "1") && (len(number) == 11 || len(number) == 13) {
			number = "+86" + number
		}
	}
	n, err := huanxin.ParseNumber(number)
	if err != nil {
		return "number_malformed"
	}
	if slices.Contains([]string{"", "NULL", `\N`, "0000-00-00 00:00:00", "0001-01-01"}, boundAt) {
		m.unknownRow(text, "bound_at_unknown")
		return ""
	}
	since, err := huanxin.ParseSince(boundAt)
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05-07"} {
		if t, wrong := time.ParseInLocation(layout, boundAt, huanxin.China); wrong == nil && err != nil {
			since, err = huanxin.SinceInstant(t), nil
		}
	}
	if err != nil {
		return "malformed_time"
	}
	mark := world[n.Digits()]
	outcome, reason, decided := huanxin.Mark(mark).Answer(n, since, &present)
	switch {
	case mark == 0xFFFF || !decided:
		return m.undecided(text, n.Digits()%10, string(since.Append(nil)), "needs_hub")
	case outcome == huanxin.Unchanged:
		m.s.Unchanged++
	case outcome == huanxin.Unknown && reason == "never_seen" && mark == 0:
		return m.undecided(text, n.Digits()%10, string(since.Append(nil)), "not_in_replica")
	case outcome == huanxin.Unknown:
		m.unknownRow(text, reason)
	default:
		m.changedRow(text, outcome, reason)
	}
	return ""
}

func (m *reference) undecided(text string, last uint64, since, reason string) (code string) {
	switch {
	case m.hub && last == 7 && since == "2025-06-01":
		return "not_today"
	case m.hub && last == 6:
		m.changedRow(text, huanxin.Changed, "reassigned")
	case m.hub:
		m.unknownRow(text, "needs_hub")
	default:
		m.unknownRow(text, reason)
	}
	return ""
}

func (m *reference) changedRow(text string, o huanxin.CheckOutcome, reason string) {
	if o == huanxin.Changed {
		m.s.Changed++
	} else {
		m.s.NoHolder++
	}
	m.changed.WriteString(added(text, o.String()+","+reason))
}

func (m *reference) unknownRow(text, reason string) {
	m.s.Unknown++
	if m.s.Reasons == nil {
		m.s.Reasons = map[string]int64{}
	}
	m.s.Reasons[reason]++
	m.unknown.WriteString(added(text, "UNKNOWN,"+reason))
}

var (
	numbers = []string{"+8613800000001", "+8613800000002", "+8613800000003", "+8613800000004", "+8613800000005", "+8613800000006", "+8613800000007",
		"+8613800000008", "+8613800000009", "+447700900123", "+861410123456789", "+8613490000001", "+8670012345678901", "8613800000002", "13800000002", "+86 13800000002",
		"", "+0613800000002", "+861380000000a", "12", "+86138000000021", "861380000000", "+8613800000:02", "1410123456789"}
	boundAts = []string{"2010-01-01", "2025-05-31", "2025-06-01", "2025-06-02", "2026-03-02", "2026-03-03", "2027-01-01", "", "NULL", `\N`, "0000-00-00 00:00:00", "0001-01-01",
		"2025-05-31T23:59:59+08:00", "2025-06-01T10:00:00Z", "2025-05-31T15:59:59.999999Z", "2025-05-31 23:59:59", "2025-06-02 00:00:00", "2025-05-31 23:59:59.5",
		"2025-06-02 00:00:00.123456789", "2025-06-02 00:00:00+08", "2025-06-02 00:00:00-03:30", "2025-06-02t00:00:00z", "1969-12-31", "2025-02-29", "2024-02-29",
		"2025-13-01", "2025-00-01", "2025-06-00", "2025-6-1", "2025-06-01 24:00:00", "2025-06-01 10:60:00", "2025-06-01T10:00:00", "2025-06-01 10:00:00.", "2025/06/01", "2025/6/1 10:00", "2025.6.01", "20250601", "20250601 101010", "2025年6月1日", "2025-06-1", "202506011", "2025/06", "2025-06-01-",
		"tomorrow", "2025-06-01 10:00:00Z", "2025-06-01T10:00:00+24:00", "20250601", "2100-01-01", "2025-06-01 10:00", "2025-06-01 1a:00:00", " 2025-06-01"}
	others = []string{"", "a", "张三", "x,y", `say "hi"`, "two\nlines", "three\r\n\"good\"\nlines", "\xd5\xc5\xc8\xfd", ",", `"`, "a very long field that goes on and on"}
)

// file draws a CSV file with everything in it that people and programs write.
func file(t *rapid.T) string {
	header := []string{"account", "number", "bound_at"}
	for i := range rapid.IntRange(0, 2).Draw(t, "more columns") {
		header = append(header, fmt.Sprint("extra", i))
	}
	header = rapid.Permutation(header).Draw(t, "header")
	var b strings.Builder
	ending := rapid.SampledFrom([]string{"\n", "\r\n"})
	b.WriteString(rapid.SampledFrom([]string{"", "\xef\xbb\xbf", "\n", "\xef\xbb\xbf\r\n"}).Draw(t, "head"))
	b.WriteString(strings.Join(header, ",") + ending.Draw(t, "ending"))
	head := b.Len()
	quoting := rapid.IntRange(0, 2).Draw(t, "quoting")
	for range rapid.IntRange(0, 40).Draw(t, "rows") {
		switch rapid.IntRange(0, 15).Draw(t, "row") {
		case 0:
			b.WriteString(rapid.SampledFrom([]string{"", "a", `a"b,1,2`, `"`, `"a" ,x`, "x,x,x,x,x,x,x", `"never closed`, `""`, "\r", strings.Repeat("long", 20),
				strings.Repeat(`"q"`, 30), `a,"b` + strings.Repeat("c", 50)}).Draw(t, "odd"))
		default:
			for i, name := range header {
				if i > 0 {
					b.WriteByte(',')
				}
				from := map[string][]string{"number": numbers, "bound_at": boundAts}[name]
				if from == nil {
					from = others
				}
				field := rapid.SampledFrom(from).Draw(t, name)
				if quoting == 2 || quoting == 1 && rapid.Bool().Draw(t, "quoted") || strings.ContainsAny(field, "\",\n") && rapid.IntRange(0, 9).Draw(t, "careless") > 0 {
					field = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
				}
				b.WriteString(field)
			}
		}
		b.WriteString(ending.Draw(t, "ending"))
	}
	text := b.String()
	return text[:len(text)-rapid.IntRange(0, min(3, len(text)-head)).Draw(t, "cut off")]
}

func TestMatchingIsWhatTheObviousWayGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		input := file(t)
		m := reference{limit: rapid.SampledFrom([]int{40, 90, 1 << 16}).Draw(t, "limit"), china: rapid.Bool().Draw(t, "china"), hub: rapid.Bool().Draw(t, "hub")}
		m.run(input)
		var changed, unknown, bad bytes.Buffer
		o := match.Options{
			In: strings.NewReader(input), Changed: &changed, Unknown: &unknown, Zone: huanxin.China, China: m.china, RowLimit: m.limit,
			Source:    &match.Replica{Marks: world, Uploaded: true, Present: present, AsOf: 8},
			BlockSize: rapid.SampledFrom([]int{1, 7, 64, 200, 1 << 20}).Draw(t, "block"),
			BatchRows: rapid.SampledFrom([]int{1, 3, 128}).Draw(t, "batch"),
			Workers:   rapid.IntRange(1, 3).Draw(t, "workers"),
		}
		if rapid.Bool().Draw(t, "by bytes") {
			o.In = iotest.OneByteReader(o.In)
		}
		if rapid.Bool().Draw(t, "list bad lines") {
			o.Bad = &bad
		}
		if m.hub {
			o.Undecided = theHub{}
		}
		var states []state
		o.Block = func(s match.State) error {
			s.Summary.BadLines = slices.Clone(s.Summary.BadLines)
			s.Summary.Reasons = clone(s.Summary.Reasons)
			states = append(states, state{s, changed.Len(), unknown.Len()})
			return nil
		}
		end, err := match.Run(t.Context(), o)
		if wrong := m.badHeader(input); wrong != (err != nil) {
			t.Fatal(err)
		} else if wrong {
			return
		}
		s := end.Summary
		if o.Bad != nil {
			if d := cmp.Diff(m.bad(), withoutDetail(bad.String())); d != "" {
				t.Fatalf("bad lines (-want +got):\n%s", d)
			}
		}
		if asked := s.Rows > s.Bad+s.Reasons["bound_at_unknown"]; asked && !m.hub && (s.FirstAsOf != 8 || s.LastAsOf != 8) {
			t.Fatalf("as of %d to %d", s.FirstAsOf, s.LastAsOf)
		}
		m.same(t, "whole", changed.String(), unknown.String(), s)
		if end.Offset != int64(len(input)) {
			t.Fatalf("ended at %d of %d", end.Offset, len(input))
		}
		for _, at := range states {
			// Interrupted behind this block, outputs cut there, and gone on.
			again, more := bytes.NewBufferString(changed.String()[:at.changed]), bytes.NewBufferString(unknown.String()[:at.unknown])
			o.In, o.Changed, o.Unknown, o.Block, o.Resume = strings.NewReader(input[at.Offset:]), again, more, nil, &at.State
			o.BlockSize = rapid.SampledFrom([]int{1, 50, 1 << 20}).Draw(t, "next block")
			end, err := match.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			m.same(t, "resumed", again.String(), more.String(), end.Summary)
		}
	})
}

type state struct {
	match.State
	changed, unknown int
}

func clone(m map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// badHeader reports whether what the input begins with can be no header: with a small limit its line is too long.
func (m *reference) badHeader(input string) bool {
	first := strings.TrimLeft(strings.TrimPrefix(input, "\xef\xbb\xbf"), "\r\n")
	first, _, _ = strings.Cut(first, "\n")
	return len(strings.TrimSuffix(first, "\r")) > m.limit
}

func (m *reference) same(t *rapid.T, what, changed, unknown string, s match.Summary) {
	t.Helper()
	if d := cmp.Diff(m.changed.String(), changed); d != "" {
		t.Fatalf("%s, changed (-want +got):\n%s", what, d)
	}
	if d := cmp.Diff(m.unknown.String(), unknown); d != "" {
		t.Fatalf("%s, unknown (-want +got):\n%s", what, d)
	}
	s.FirstAsOf, s.LastAsOf = 0, 0
	if len(s.Reasons) == 0 {
		s.Reasons = nil
	}
	if len(s.BadLines) == 0 {
		s.BadLines = nil
	}
	if d := cmp.Diff(m.s, s); d != "" {
		t.Fatalf("%s, summary (-want +got):\n%s", what, d)
	}
	if s.Rows != s.Unchanged+s.Changed+s.NoHolder+s.Unknown+s.Bad {
		t.Fatalf("the counts do not add up: %+v", s)
	}
}

func TestAFileWithoutTheColumnsIsRefused(t *testing.T) {
	for header, want := range map[string]string{
		"":                                     "no header",
		"\n\n":                                 "no header",
		"account,number":                       "there is no column bound_at",
		"number,bound_at\n":                    "there is no column account",
		"account,bound_at,Number":              "there is no column number",
		"account,number,bound_at,number":       "the column number is there twice",
		"account,number,bound_at,reason":       "one is there already",
		"account,outcome,number,bound_at":      "the column outcome has the name of one that is added",
		`account,"number,bound_at`:             "no header",
		"account,number,bound_at,reason,other": "one is there already",
	} {
		_, err := match.Run(t.Context(), match.Options{In: strings.NewReader(header), Changed: io.Discard, Unknown: io.Discard, Source: theHub{}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", header, err, want)
		}
	}
}

func TestTheOutputOfAnEarlierRunIsTakenAgain(t *testing.T) {
	var changed, unknown bytes.Buffer
	in := "number,account,\"bound_at\",outcome,reason\r\n+8613800000002,\"a,b\",2020-01-01,UNKNOWN,\"needs,hub\"\r\n+8613800000009,c,2020-01-01,UNKNOWN,needs_hub\n"
	_, err := match.Run(t.Context(), match.Options{In: strings.NewReader(in), Changed: &changed, Unknown: &unknown, Source: &match.Replica{Marks: world, Present: present}})
	if want := "number,account,\"bound_at\",outcome,reason\r\n+8613800000002,\"a,b\",2020-01-01,CHANGED,reassigned\r\n"; err != nil || changed.String() != want {
		t.Errorf("changed %q: %v", changed.String(), err)
	}
	if want := "number,account,\"bound_at\",outcome,reason\r\n+8613800000009,c,2020-01-01,UNKNOWN,never_seen\n"; unknown.String() != want {
		t.Errorf("unknown %q", unknown.String())
	}
}

// failing answers nothing.
type failing struct{}

var errGone = errors.New("gone")

func (failing) Answer(context.Context, *match.Batch) error { return errGone }

func TestARunThatFailsSaysWhyAndLeavesNothingBehind(t *testing.T) {
	in := "account,number,bound_at\n" + strings.Repeat("a,+8613800000001,2020-01-01\n", 1000)
	o := match.Options{Changed: io.Discard, Unknown: io.Discard, BlockSize: 100, Workers: 3, Source: &match.Replica{Marks: world, Present: present}}

	o.In = io.MultiReader(strings.NewReader(in), iotest.ErrReader(errGone))
	if s, err := match.Run(t.Context(), o); !errors.Is(err, errGone) || s.Summary.Rows == 0 {
		t.Error("reading:", err, s.Summary.Rows)
	}
	o.In = strings.NewReader(in)
	o.Source = failing{}
	if _, err := match.Run(t.Context(), o); !errors.Is(err, errGone) {
		t.Error("answering:", err)
	}
	o.In, o.Source = strings.NewReader(in), &match.Replica{Marks: world, Present: present}
	o.Block = func(match.State) error { return errGone }
	if _, err := match.Run(t.Context(), o); !errors.Is(err, errGone) {
		t.Error("writing:", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	o.In = strings.NewReader(in)
	o.Block = func(match.State) error { cancel(errGone); return nil }
	if s, err := match.Run(ctx, o); !errors.Is(err, errGone) || s.Summary.Rows == 0 {
		t.Error("cancelled:", err, s.Summary.Rows)
	}
	stuck, _ := io.Pipe()
	if _, err := match.Run(ctx, match.Options{In: stuck, Changed: io.Discard, Unknown: io.Discard, Source: failing{}, Resume: &match.State{}}); !errors.Is(err, errGone) {
		t.Error("waiting for a pipe:", err)
	}
}
