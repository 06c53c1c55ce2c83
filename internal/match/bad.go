package match

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// Bad is a bad line: its number (physical, from 1, the header included) and what is wrong with it.
type Bad struct {
	Line int64  `json:"line"`
	Code string `json:"code"`
}

// maxBad is how many bad lines a summary lists.
const maxBad = 1000

// badLine is a Bad with more about it.
type badLine struct {
	Bad
	otherDate bool // bound_at looks like a date that is written in another way
}

// badHeader begins the output of bad lines, which are CSV: line, code, detail. They hold nothing of the rows.
const badHeader = "line,code,detail\n"

// details say in a sentence what a code means; without commas, for they stand in CSV.
var details = map[string]string{
	lineTooLong: "the row is longer than 64 KiB",
	badQuote:    "the quotes of the row are not sound",
	raggedRow:   "the row does not have as many columns as the header",
	malformedN:  "the number is not in E.164 form such as +8613800000001; --country 86 also takes 13800000001",
	malformedT:  "bound_at is neither a date such as 2019-08-08 nor a time such as 2019-08-08T10:00:00+08:00",
}

// otherDateDetail is that of a malformed_time which looks like a date.
const otherDateDetail = "bound_at is a date that is written in another way: write 2019-08-08 in place of 2019/8/8"

// appendTo appends the line's row.
func (l *badLine) appendTo(out []byte) []byte {
	out = append(strconv.AppendInt(out, l.Line, 10), ',')
	out = append(append(out, l.Code...), ',')
	if l.otherDate {
		return append(append(out, otherDateDetail...), '\n')
	}
	return append(append(out, details[l.Code]...), '\n')
}

func sortBad(lines []badLine) {
	slices.SortFunc(lines, func(a, b badLine) int { return cmp.Compare(a.Line, b.Line) })
}

// looksLikeDate reports whether what is no bound_at begins as a date of another form does: 2019/8/8, 2019-8-8, 2019.08.08, 20190808
// with a time behind it or without, or 2019年8月8日.
func looksLikeDate(b []byte) bool {
	year := digitsAt(b)
	switch {
	case year == 8 && (b[0] == '1' || b[0] == '2'):
		return true
	case year != 4:
		return false
	}
	b = b[year:]
	for _, separator := range []string{"/", "-", ".", "年"} {
		rest, ok := bytes.CutPrefix(b, []byte(separator))
		if !ok {
			continue
		}
		month := digitsAt(rest)
		if month < 1 || month > 2 {
			return false
		}
		if separator == "年" {
			return bytes.HasPrefix(rest[month:], []byte("月"))
		}
		after, ok := bytes.CutPrefix(rest[month:], []byte(separator))
		day := digitsAt(after)
		return ok && (day == 1 || day == 2) && !(separator == "-" && month == 2 && day == 2)
	}
	return false
}

// digitsAt counts the digits at the beginning.
func digitsAt(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}
