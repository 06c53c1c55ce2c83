package lines

import (
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/huanxin-platform/huanxin"
)

// Header declares the columns of a CSV body. Their order in the file is free.
type Header struct {
	Required []string // must be there
	Optional []string // may be there
	// Extra takes further columns, too, and leaves them to CSV.All; else they are refused.
	Extra bool
}

// maxColumnErrors bounds an answer: a header that is wrong in more ways is not a header.
const maxColumnErrors = 20

func (c *CSV) readHeader(h Header) error {
	line, err := c.next()
	if bad, ok := errors.AsType[*BadLine](err); ok {
		return badHeader(huanxin.FieldError{Line: line, Code: bad.Code, Detail: bad.Detail})
	}
	if err != nil && err != io.EOF {
		return err
	}
	names := make([]string, len(c.cells))
	for i, cell := range c.cells {
		names[i] = string(cell)
	}
	declared := slices.Concat(h.Required, h.Optional)
	var wrong []huanxin.FieldError
	for i, name := range names {
		known := slices.Contains(declared, name)
		switch {
		case !known && !h.Extra:
			wrong = append(wrong, columnError(i, name, "unknown_column", "there is no such column here"))
		case known && slices.Index(names, name) < i:
			wrong = append(wrong, columnError(i, name, "duplicate_column", "the header has this column twice"))
		}
		if len(wrong) == maxColumnErrors {
			break
		}
	}
	c.place, c.row = make([]int, len(declared)), make([][]byte, len(declared))
	for i, name := range declared {
		c.place[i] = slices.Index(names, name)
		if c.place[i] < 0 && i < len(h.Required) {
			wrong = append(wrong, columnError(i, name, "missing_column", "the header does not have this column"))
		}
	}
	if len(wrong) > 0 {
		return badHeader(wrong...)
	}
	c.names = names
	return nil
}

func columnError(i int, name, code, detail string) huanxin.FieldError {
	if !Nameable(name) {
		name = "column " + strconv.Itoa(i+1)
	}
	return huanxin.FieldError{Field: name, Code: code, Detail: detail}
}

func badHeader(wrong ...huanxin.FieldError) error {
	detail := wrong[0].Detail
	if wrong[0].Field != "" {
		detail = wrong[0].Field + ": " + detail
	}
	return &huanxin.Error{Kind: huanxin.Invalid, Code: "bad_header",
		Detail: "the first line must name the columns: " + detail, Fields: wrong}
}
