package lines

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// CSV reads a body of rows under a header. See the package comment for what a row is.
type CSV struct {
	src   source
	line  int64 // the last physical line that was consumed
	names []string
	place []int    // of each declared column, its place in the file, or -1
	row   [][]byte // the declared columns, in the order of declaration
	cells [][]byte // all columns, in the order of the file
	raw   []byte
	plain []byte // what fields with doubled quotes say, without the doubling
}

// NewCSV reads the header and refuses it as a whole, naming each column that is unknown, there twice or
// missing; limit 0 is DefaultLimit. The header is the first line that is not empty.
func NewCSV(r io.Reader, limit int, h Header) (*CSV, error) {
	c := &CSV{src: newSource(r, limit)}
	c.src.skipBOM()
	if err := c.readHeader(h); err != nil {
		return nil, err
	}
	return c, nil
}

// Next gives the next row's declared columns, those of Header.Required and then those of
// Header.Optional, and the line on which the row begins. A column that the file does not have is nil.
// See the package comment for *BadLine, io.EOF and other errors.
func (c *CSV) Next() (int64, [][]byte, error) {
	line, err := c.next()
	if err != nil {
		return line, nil, err
	}
	if len(c.cells) != len(c.names) {
		return line, nil, c.ragged(line)
	}
	for i, p := range c.place {
		if p >= 0 {
			c.row[i] = c.cells[p]
		}
	}
	return line, c.row, nil
}

// Ready reports whether Next need not wait for the other end to send more, or hardly.
func (c *CSV) Ready() bool { return c.src.ready() }

// Names gives the header's columns in the order of the file.
func (c *CSV) Names() []string { return c.names }

// All gives every column of the row that Next gave, in the order of the file.
func (c *CSV) All() [][]byte { return c.cells }

// Raw gives the text of the row that Next gave, quotes and all, without its ending.
func (c *CSV) Raw() []byte { return c.raw }

func (c *CSV) ragged(line int64) *BadLine {
	detail := fmt.Sprintf("the header has %d columns, this row has %d", len(c.names), len(c.cells))
	if len(c.cells) > len(c.names) {
		detail = fmt.Sprintf("the header has %d columns, this row has more", len(c.names))
	}
	if c.line > line {
		detail += fmt.Sprintf("; the row runs on to line %d inside quotes", c.line)
	}
	return &BadLine{line, "ragged_row", detail}
}

// next splits the next row into cells and raw.
func (c *CSV) next() (int64, error) {
	for {
		end, err := c.src.line(0)
		switch {
		case err == errLong:
			c.line++
			c.src.discard()
			return c.line, tooLong(c.line, c.src.limit)
		case err != nil:
			return c.line, broken(c.line, err)
		case end == 0:
			return c.line, io.EOF
		}
		c.line++
		text := trimEnding(c.src.unread(end))
		switch {
		case len(text) > c.src.limit:
			c.src.start += end
			return c.line, tooLong(c.line, c.src.limit)
		case len(text) == 0:
			c.src.start += end
		case bytes.IndexByte(text, '"') >= 0:
			return c.quoted(end)
		default:
			c.src.start += end
			c.raw, c.cells = text, c.cells[:0]
			c.split(text)
			return c.line, c.checkUTF8(c.line)
		}
	}
}

// split adds the cells of a text without quotes: one more than there are commas. It stops at one cell
// more than there are columns, which says ragged.
func (c *CSV) split(text []byte) {
	for c.names == nil || len(c.cells) <= len(c.names) {
		i := bytes.IndexByte(text, ',')
		if i < 0 {
			c.cells = append(c.cells, text)
			return
		}
		c.cells = append(c.cells, text[:i])
		text = text[i+1:]
	}
}

func (c *CSV) checkUTF8(line int64) error {
	if !utf8.Valid(c.raw) {
		return notUTF8(line)
	}
	return nil
}

// quoted reads a row whose first line, c.line, ends at end and has a quote in it. The row goes on as
// long as the quotes in it are odd in number: for sound quoting that is exactly inside a field.
func (c *CSV) quoted(end int) (int64, error) {
	first, firstEnd := c.line, end
	odd := oddQuotes(c.src.unread(end))
	for odd {
		next, err := c.src.line(end)
		if err != nil && err != errLong {
			return first, broken(first-1, err)
		}
		if err == errLong || next == end || next > c.src.limit+2 {
			break
		}
		c.line++
		odd = !oddQuotes(c.src.unread(next)[end:])
		end = next
	}
	if text := trimEnding(c.src.unread(end)); !odd && len(text) <= c.src.limit && c.unquote(text) {
		c.src.start += end
		c.raw = text
		return first, c.checkUTF8(first)
	}
	c.src.start += firstEnd
	c.line = first
	return first, &BadLine{first, "bad_quote",
		fmt.Sprintf("a quote is at a wrong place, or is not closed within the %d bytes that a row may have", c.src.limit)}
}

func oddQuotes(text []byte) bool { return bytes.Count(text, quote)&1 == 1 }

var quote = []byte{'"'}

// unquote splits a text in which some fields are quoted, and reports whether the quoting is sound.
// It goes on to the end even where there are too many columns: soundness decides where the row ends.
func (c *CSV) unquote(text []byte) bool {
	c.cells = c.cells[:0]
	c.plain = c.plain[:0]
	if cap(c.plain) < len(text) { // never grows below, since cells point into it
		c.plain = make([]byte, 0, len(text))
	}
	for {
		var field []byte
		rest := -1 // where the text goes on behind a comma
		if len(text) > 0 && text[0] == '"' {
			n := 0
			if field, n = c.quotedField(text); n < 0 {
				return false
			}
			if n < len(text) {
				if text[n] != ',' {
					return false
				}
				rest = n + 1
			}
		} else {
			field = text
			if i := bytes.IndexByte(text, ','); i >= 0 {
				field, rest = text[:i], i+1
			}
			if bytes.IndexByte(field, '"') >= 0 {
				return false
			}
		}
		if c.names == nil || len(c.cells) <= len(c.names) {
			c.cells = append(c.cells, field)
		}
		if rest < 0 {
			return true
		}
		text = text[rest:]
	}
}

// quotedField reads the field that begins with the quote at text[0] and gives what it says and where
// it ends, behind the closing quote; -1 when there is none.
func (c *CSV) quotedField(text []byte) ([]byte, int) {
	from := len(c.plain)
	start, i := 1, 1
	for {
		j := bytes.IndexByte(text[i:], '"')
		if j < 0 {
			return nil, -1
		}
		i += j
		if i+1 == len(text) || text[i+1] != '"' {
			break
		}
		c.plain = append(c.plain, text[start:i+1]...)
		i += 2
		start = i
	}
	if start == 1 {
		return text[1:i], i + 1
	}
	c.plain = append(c.plain, text[start:i]...)
	return c.plain[from:], i + 1
}
