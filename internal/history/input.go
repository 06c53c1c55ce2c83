package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine is how long a line may be for the hub to take it. Of a longer one only so much is sent that the hub refuses it.
const maxLine = 64 << 10

// headerLines is how many physical lines the header is in every piece.
const headerLines = 1

// input cuts a CSV file into pieces at the ends of physical lines. No good row of history runs over two of them.
type input struct {
	file   *os.File // nil: not a file of ours
	size   int64    // -1: unknown
	r      *bufio.Reader
	offset int64 // behind what was read
	line   int64 // how many physical lines that is
	header []byte
}

func newInput(r io.Reader) *input { return &input{r: bufio.NewReaderSize(r, 256<<10), size: -1} }

func (in *input) close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// next reads a physical line, ending included, onto b. Of a line that is too long the middle is left out.
func (in *input) next(b []byte) ([]byte, error) {
	from := len(b)
	for {
		part, err := in.r.ReadSlice('\n')
		in.offset += int64(len(part))
		if room := maxLine + 3 - (len(b) - from); len(part) > room {
			part = part[max(0, len(part)-1):] // its last byte may be the line's end
			if part[0] != '\n' {
				part = nil
			}
			b = append(b, bytes.Repeat([]byte("?"), room)...)
		}
		b = append(b, part...)
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(b) > from, err == nil:
			in.line++
			return b, nil
		default:
			return b, err
		}
	}
}

var bom = []byte("\xef\xbb\xbf")

func blank(line []byte) bool { return len(bytes.TrimRight(line, "\r\n")) == 0 }

// readHeader reads up to the first line that is not empty.
func (in *input) readHeader() error {
	for in.header == nil {
		line, err := in.next(nil)
		if err == io.EOF {
			return errors.New("the input is empty: it begins with the header number,tenure_started_at,origin")
		}
		if err != nil {
			return err
		}
		if in.line == 1 {
			line = bytes.TrimPrefix(line, bom)
		}
		if !blank(line) {
			in.header = append(bytes.TrimRight(line, "\r\n"), '\n')
		}
	}
	return nil
}

// skipTo goes on where an earlier run had got to; 0: behind the header.
func (in *input) skipTo(offset, line int64) error {
	if offset == 0 {
		return nil
	}
	if _, err := in.file.Seek(offset, io.SeekStart); err != nil {
		return fmt.Errorf("going on in the input: %w", err)
	}
	in.r.Reset(in.file)
	in.offset, in.line = offset, line
	return nil
}

// piece is some lines under the header.
type piece struct {
	text  []byte // valid until the next piece
	lines int    // that are not empty
	first int64  // the physical line of the first one
	last  int64  // the physical line of the last one
	end   int64  // the offset behind it
}

// piece reads the next one; io.EOF: there is none.
func (in *input) piece(maxLines, maxBytes int) (piece, error) {
	p := piece{text: append([]byte(nil), in.header...), first: in.line + 1}
	for n := 0; n < maxLines && len(p.text) < maxBytes; n++ {
		from := len(p.text)
		var err error
		if p.text, err = in.next(p.text); err == io.EOF {
			break
		} else if err != nil {
			return p, err
		}
		if !blank(p.text[from:]) {
			p.lines++
		}
	}
	if p.last, p.end = in.line, in.offset; p.last < p.first {
		return p, io.EOF
	}
	return p, nil
}

// behindLine gives a piece's text without its first n lines under the header.
func behindLine(text []byte, n int64) []byte {
	header := bytes.IndexByte(text, '\n') + 1
	at := header
	for ; n > 0; n-- {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return text[:header]
		}
		at += i + 1
	}
	return append(text[:header:header], text[at:]...)
}
