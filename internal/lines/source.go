package lines

import (
	"bytes"
	"errors"
	"io"
)

// minBuffer keeps reads large where the limit of a line is small.
const minBuffer = 128 << 10

var (
	errLong = errors.New("lines: over the limit")
	bom     = []byte("\xef\xbb\xbf")
)

// source is a buffer of fixed size over a reader. Unread bytes are buf[start:end]; offsets count
// from start, so that they stay true when fill moves what is unread to the front.
type source struct {
	r          io.Reader
	buf        []byte
	start, end int
	limit      int
	err        error // what the reader ended with; it is told when everything before it was handed out
	begun      bool
}

func newSource(r io.Reader, limit int) source {
	if limit <= 0 {
		limit = DefaultLimit
	}
	// Twice the longest line, so that what fill moves is at most as much as it then reads.
	return source{r: r, limit: limit, buf: make([]byte, max(minBuffer, 2*(limit+2)))}
}

// unread gives the first n unread bytes.
func (s *source) unread(n int) []byte { return s.buf[s.start : s.start+n] }

// line finds where the physical line that begins off bytes into the unread ends, ending included.
// At the end of the input the rest is the last line, and a line that ends where it begins is none.
// It gives errLong when there is no line end within the limit from start on.
func (s *source) line(off int) (int, error) {
	for {
		if i := bytes.IndexByte(s.buf[s.start+off:s.end], '\n'); i >= 0 {
			return off + i + 1, nil
		}
		off = s.end - s.start
		switch {
		case off >= s.limit+2: // whatever follows, even CRLF would come too late
			return 0, errLong
		case s.err == io.EOF:
			return off, nil
		case s.err != nil:
			return 0, s.err
		}
		s.fill()
	}
}

// ready reports whether the next line can be given without reading.
func (s *source) ready() bool {
	return s.err != nil || bytes.IndexByte(s.buf[s.start:s.end], '\n') >= 0
}

// discard drops the rest of the physical line at start, up to its end or the end of the input.
func (s *source) discard() {
	for {
		if i := bytes.IndexByte(s.buf[s.start:s.end], '\n'); i >= 0 {
			s.start += i + 1
			return
		}
		s.start, s.end = 0, 0
		if s.err != nil {
			return
		}
		s.fill()
	}
}

// fill reads once, making room first. It must not be called when the limit+2 bytes are there already.
func (s *source) fill() {
	if s.end == len(s.buf) || s.start == s.end {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// skipBOM drops a byte order mark at the very beginning. Further calls do nothing.
func (s *source) skipBOM() {
	if s.begun {
		return
	}
	s.begun = true
	for s.end < len(bom) && s.err == nil && bytes.HasPrefix(bom, s.buf[:s.end]) {
		s.fill()
	}
	if bytes.HasPrefix(s.buf[:s.end], bom) {
		s.start = len(bom)
	}
}

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
