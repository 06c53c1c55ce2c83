// Package lines reads line-wise bodies, NDJSON and CSV, of any length as a stream.
//
// What every reader here guarantees:
//
//   - Lines are physical lines counted from 1, ended by LF or CRLF; the last one may have no
//     ending. Empty lines are counted and skipped. A byte order mark at the beginning is skipped.
//   - A bad line is a *BadLine, returned by Next like a record; the next call goes on behind it.
//     It costs nothing but itself: a line over the limit is dropped as it arrives, up to its end.
//   - Any other error but io.EOF is about the whole body and final: the connection was lost, the
//     compression is damaged. Complete lines before it have been handed out, the piece of a line
//     where it broke has not. io.EOF comes only at a proper end.
//   - What a record refers to is valid until the next call of Next.
//   - Memory is one buffer of a few times the limit, whatever the length of the body, of a line or
//     of a row; no allocation is made for a good line.
//   - A record is valid UTF-8 and at most the limit long. No error repeats what a body holds:
//     it may be a phone number.
//
// A CSV row is RFC 4180: a quoted field may hold commas, doubled quotes and line breaks, and a quote
// anywhere else is a mistake. A row is named by the line on which it begins. When its quoting is
// sound, the row is taken or refused as a whole, with all of its lines. When it is not (a quote at a
// wrong place, one that is never closed, one that is not closed within the limit), where it ends is
// anybody's guess: its first line is refused and reading goes on with the very next line, so that
// one stray quote never swallows the good rows below it. No line is looked at more than twice.
package lines

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/huanxin-platform/huanxin"
)

// DefaultLimit is how long a line, or a CSV row with the line breaks inside it, may be in bytes
// without its ending, where a reader is made with the limit 0.
const DefaultLimit = 64 << 10

// BadLine is one line that is refused. The reader that gave it goes on.
type BadLine struct {
	Line   int64  // physical, from 1
	Code   string // line_too_long, invalid_utf8, bad_quote or ragged_row
	Detail string // for people; holds nothing of the line
}

// Error gives the line, the code and the detail.
func (b *BadLine) Error() string {
	return "line " + strconv.FormatInt(b.Line, 10) + ": " + b.Code + ": " + b.Detail
}

func tooLong(line int64, limit int) *BadLine {
	return &BadLine{line, "line_too_long", fmt.Sprintf("a line has at most %d bytes", limit)}
}

func notUTF8(line int64) *BadLine {
	return &BadLine{line, "invalid_utf8", "the line is not valid UTF-8"}
}

// broken makes the error for the whole body of one that a read gave. A refusal stays what it is.
func broken(after int64, err error) error {
	if _, ok := errors.AsType[*huanxin.Error](err); ok {
		return err
	}
	return &huanxin.Error{Kind: huanxin.Invalid, Code: "broken_body", Err: err,
		Detail: fmt.Sprintf("the body broke off, or could not be decompressed, after line %d", after)}
}

// Nameable reports whether a member or column name from outside may be repeated in an error. Names of
// people's making can be data: a file without a header has a phone number for a column name. So a name
// is a letter or _ and then letters, digits, blanks, _, - or ., at most 64 of them and at most 4 digits.
func Nameable(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	digits := 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i == 0:
			return false
		case '0' <= c && c <= '9':
			digits++
		case c == '-', c == '.', c == ' ':
		default:
			return false
		}
	}
	return digits <= 4
}
