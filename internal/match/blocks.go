package match

import (
	"bytes"
	"errors"
	"io"
)

// block is a piece of the input that begins and ends where a row does, and what became of its rows. Blocks are used again
// and again: nothing is allocated for a good row.
type block struct {
	buf   []byte
	data  []byte // of buf: the rows
	line  int64  // the physical line of data's first byte
	lines int64  // physical lines, of the long one too
	end   int64  // offset in the input behind it
	// quotes: there is a quote in data, so that a row may be more than a line.
	quotes bool
	// long: in place of rows, this block is one line over the limit, of which nothing is kept.
	long bool

	result
	done chan error // has the result when a worker is through; capacity 1
}

// cutter cuts the input into blocks. Offsets and lines count from the beginning of the input, wherever reading began.
type cutter struct {
	r      io.Reader
	size   int // of a block, about
	limit  int // of a row
	rest   []byte
	offset int64 // behind the last block
	line   int64 // the next block's first
	err    error // what r ended with
}

// next fills b with the next block and gives io.EOF when there is none.
func (c *cutter) next(b *block) error {
	b.buf = append(b.buf[:0], c.rest...)
	c.rest = c.rest[:0]
	for want := max(c.size, len(b.buf)+1); ; want = 2 * len(b.buf) {
		if b.buf = c.fill(b.buf, want); c.err != nil && c.err != io.EOF {
			return c.err
		}
		if len(b.buf) == 0 {
			return io.EOF
		}
		cut, quotes := c.cut(b.buf)
		if cut == 0 && len(b.buf) < c.limit+2 {
			continue // a row longer than a block
		}
		b.quotes, b.long = quotes, cut == 0
		if b.long {
			return c.skipLong(b)
		}
		c.rest = append(c.rest, b.buf[cut:]...)
		c.take(b, b.buf[:cut], int64(cut), int64(bytes.Count(b.buf[:cut], newline)))
		if cut == len(b.buf) && b.buf[cut-1] != '\n' {
			b.lines, c.line = b.lines+1, c.line+1
		}
		return nil
	}
}

var newline = []byte{'\n'}

// take makes data the block's, after which so many bytes and lines are behind.
func (c *cutter) take(b *block, data []byte, bytes, lines int64) {
	c.offset += bytes
	b.data, b.line, b.lines, b.end = data, c.line, lines, c.offset
	c.line += lines
}

// fill reads until there are want bytes, or no more.
func (c *cutter) fill(buf []byte, want int) []byte {
	if cap(buf) < want {
		grown := make([]byte, len(buf), want+want/8)
		copy(grown, buf)
		buf = grown
	}
	for stuck := 0; len(buf) < want && c.err == nil; {
		n, err := c.r.Read(buf[len(buf):want])
		buf, c.err = buf[:len(buf)+n], err
		if stuck++; n > 0 {
			stuck = 0
		}
		if stuck == 100 {
			c.err = io.ErrNoProgress
		}
	}
	return buf
}

// cut gives where the last row that is whole ends; 0: there is none.
func (c *cutter) cut(buf []byte) (cut int, quotes bool) {
	quotes = bytes.IndexByte(buf, '"') >= 0
	switch {
	case c.err == io.EOF:
		return len(buf), quotes
	case !quotes:
		return bytes.LastIndexByte(buf, '\n') + 1, false
	}
	for cut < len(buf) {
		r, ok := nextRow(buf[cut:], c.limit, true)
		if !ok {
			break
		}
		cut += r.end
	}
	return cut, true
}

// skipLong drops the line at the beginning of b.buf, of which limit+2 bytes and no ending are there.
func (c *cutter) skipLong(b *block) error {
	dropped := int64(0)
	for {
		if i := bytes.IndexByte(b.buf, '\n'); i >= 0 {
			c.rest = append(c.rest, b.buf[i+1:]...)
			c.take(b, nil, dropped+int64(i)+1, 1)
			return nil
		}
		dropped += int64(len(b.buf))
		if c.err == io.EOF {
			c.take(b, nil, dropped, 1)
			return nil
		}
		if b.buf = c.fill(b.buf[:0], max(c.size, 1)); c.err != nil && c.err != io.EOF {
			return c.err
		}
	}
}

// header reads the first row that is not empty, which names the columns, and gives it with its ending. bom says whether a byte
// order mark came before it.
func (c *cutter) header() (line []byte, bom bool, err error) {
	var b block
	for first := true; ; first = false {
		if err := c.next(&b); err == io.EOF {
			return nil, bom, ErrNoHeader
		} else if err != nil {
			return nil, bom, err
		}
		if first {
			if after, ok := bytes.CutPrefix(b.data, byteOrderMark); ok {
				b.data, bom = after, true
			}
		}
		for data := b.data; len(data) > 0; {
			r, _ := nextRow(data, c.limit, false)
			if r.code != "" {
				return nil, bom, ErrNoHeader
			}
			line, data = data[:r.end], data[r.end:]
			if text := trimEnding(line); len(text) > 0 {
				if !sound(text) {
					return nil, bom, ErrNoHeader
				}
				c.unread(data)
				return line, bom, nil
			}
		}
		if b.long {
			return nil, bom, ErrNoHeader
		}
	}
}

// unread puts the rows of the last block back that come behind the header.
func (c *cutter) unread(data []byte) {
	c.rest = append(bytes.Clone(data), c.rest...)
	c.offset -= int64(len(data))
	c.line -= int64(bytes.Count(data, newline))
	if len(data) > 0 && c.err == io.EOF && data[len(data)-1] != '\n' {
		c.line--
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// ErrNoHeader says that the input does not begin with a line that names columns.
var ErrNoHeader = errors.New("the input has no header: its first line must name the columns, account, number and bound_at among them")
