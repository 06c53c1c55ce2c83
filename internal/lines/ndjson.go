package lines

import (
	"io"
	"unicode/utf8"
)

// NDJSON reads a body of one JSON text a line. It finds the lines and leaves the JSON to the caller.
type NDJSON struct {
	src  source
	line int64
}

// NewNDJSON makes a reader; limit 0 is DefaultLimit. Nothing is read before the first Next.
func NewNDJSON(r io.Reader, limit int) *NDJSON { return &NDJSON{src: newSource(r, limit)} }

// Next gives the next line that is not blank, without its ending, and its number.
// See the package comment for *BadLine, io.EOF and other errors.
func (d *NDJSON) Next() (int64, []byte, error) {
	d.src.skipBOM()
	for {
		end, err := d.src.line(0)
		switch {
		case err == errLong:
			d.line++
			d.src.discard()
			return d.line, nil, tooLong(d.line, d.src.limit)
		case err != nil:
			return d.line, nil, broken(d.line, err)
		case end == 0:
			return d.line, nil, io.EOF
		}
		text := trimEnding(d.src.unread(end))
		d.src.start += end
		d.line++
		switch {
		case len(text) > d.src.limit:
			return d.line, nil, tooLong(d.line, d.src.limit)
		case blank(text):
		case !utf8.Valid(text):
			return d.line, nil, notUTF8(d.line)
		default:
			return d.line, text, nil
		}
	}
}

// Ready reports whether Next need not wait for the other end to send more, or hardly.
func (d *NDJSON) Ready() bool { return d.src.ready() }

// blank reports whether there is nothing but the white space of JSON.
func blank(text []byte) bool {
	for _, c := range text {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
