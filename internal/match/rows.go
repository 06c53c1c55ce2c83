package match

import (
	"bytes"
)

// What a row is stands in package lines, and holds here, too: RFC 4180, and a row whose quoting is not sound is its first line
// alone, so that one stray quote never swallows the good rows below it. A row with an even number of quotes in its first line
// therefore ends with that line, sound or not; only the others have to be looked at more closely.

// DefaultRowLimit is how long a row may be in bytes, as in package lines.
const DefaultRowLimit = 64 << 10

// Codes of bad lines.
const (
	lineTooLong = "line_too_long"
	badQuote    = "bad_quote"
	raggedRow   = "ragged_row"
	malformedN  = "number_malformed"
	malformedT  = "malformed_time"
)

// row is where a row ends, and what is wrong with it as a row.
type row struct {
	end    int  // behind its ending
	quoted bool // there is a quote in it
	code   string
}

// nextRow finds the row at the beginning of data, which is not empty. Whether the quoting of a row of one line is sound is left
// to the caller. With more to come behind data it gives ok false if that may matter; the row is then shorter than limit+2 so
// far, or has no line end yet.
func nextRow(data []byte, limit int, more bool) (r row, ok bool) {
	end := bytes.IndexByte(data, '\n') + 1
	if end == 0 {
		if more {
			return row{}, false
		}
		end = len(data)
	}
	switch odd := bytes.Count(data[:end], quote)&1 == 1; {
	case len(trimEnding(data[:end])) > limit:
		return row{end: end, code: lineTooLong}, true
	case odd:
		return longRow(data, end, limit, more)
	}
	return row{end: end, quoted: bytes.IndexByte(data[:end], '"') >= 0}, true
}

// longRow finds the end of a row whose first line, up to first, has an odd number of quotes: it goes on as long as they are odd.
func longRow(data []byte, first, limit int, more bool) (row, bool) {
	bad := row{end: first, quoted: true, code: badQuote}
	for end, odd := first, true; ; {
		n := bytes.IndexByte(data[end:], '\n') + 1
		if n == 0 {
			if more && len(data) < limit+2 {
				return row{}, false
			}
			n = len(data) - end
		}
		if n == 0 || end+n > limit+2 {
			return bad, true
		}
		odd = odd != (bytes.Count(data[end:end+n], quote)&1 == 1)
		end += n
		if more && end == len(data) && data[end-1] != '\n' {
			return bad, true // as long as a row may be, and still without an ending
		}
		if !odd {
			if text := trimEnding(data[:end]); len(text) > limit || !sound(text) {
				return bad, true
			}
			return row{end: end, quoted: true}, true
		}
	}
}

var quote = []byte{'"'}

// trimEnding cuts LF, CRLF, or the CR that a truncated CRLF leaves at the end of the input.
func trimEnding(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// ending gives a row's ending; that of a last row without one is LF.
func ending(line []byte) []byte {
	end := line[len(trimEnding(line)):]
	if len(end) == 0 || end[len(end)-1] != '\n' {
		return newline
	}
	return end
}

// fieldEnd gives where the field at the beginning of text ends: at a comma or the end of text. It is -1 where quoting is not sound.
func fieldEnd(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		end := bytes.IndexByte(text, ',')
		if end < 0 {
			end = len(text)
		}
		if bytes.IndexByte(text[:end], '"') >= 0 {
			return -1
		}
		return end
	}
	for i := 1; ; i++ {
		j := bytes.IndexByte(text[i:], '"')
		if j < 0 {
			return -1
		}
		i += j + 1
		switch {
		case i == len(text) || text[i] == ',':
			return i
		case text[i] != '"':
			return -1
		}
	}
}

// sound reports whether a row's quoting is.
func sound(text []byte) bool {
	for {
		end := fieldEnd(text)
		if end < 0 {
			return false
		}
		if end == len(text) {
			return true
		}
		text = text[end+1:]
	}
}

// split appends the fields of a row, quotes and all, and reports whether its quoting is sound.
func split(fields [][]byte, text []byte) ([][]byte, bool) {
	for {
		end := fieldEnd(text)
		if end < 0 {
			return fields, false
		}
		fields = append(fields, text[:end])
		if end == len(text) {
			return fields, true
		}
		text = text[end+1:]
	}
}

// plain gives what a field says, without its quotes. The result may share the field's memory.
func plain(field []byte) []byte {
	if len(field) < 2 || field[0] != '"' {
		return field
	}
	field = field[1 : len(field)-1]
	if bytes.IndexByte(field, '"') < 0 {
		return field
	}
	return bytes.ReplaceAll(field, []byte(`""`), quote)
}
