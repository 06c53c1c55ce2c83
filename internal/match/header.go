package match

import (
	"strings"

	"github.com/huanxin-platform/huanxin/internal/lines"
)

// HeaderError says what is wrong with the input's first line.
type HeaderError struct {
	Problem HeaderProblem
	Column  string      // of the problem
	Found   []string    // the columns that are there; those that may be data by their place alone
	Cause   lines.Cause // what it probably comes from
}

// HeaderProblem is one of the problems below, as a sentence with the column's name for its star.
type HeaderProblem string

// The problems with headers.
const (
	ColumnMissing HeaderProblem = "there is no column *"
	ColumnTwice   HeaderProblem = "the column * is there twice"
	ColumnTaken   HeaderProblem = "the column * has the name of one that is added: rename it"
	OneTaken      HeaderProblem = "of the columns outcome and reason, which are added, one is there already: rename it"
)

// Error says what is wrong, and which columns are there.
func (e *HeaderError) Error() string {
	return "the header of the input: " + strings.Replace(string(e.Problem), "*", e.Column, 1) + " (its columns are: " + strings.Join(e.Found, ", ") + ")"
}

func readHeader(text []byte) (Header, error) {
	fields, _ := split(nil, text)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = string(plain(f))
	}
	wrong := func(problem HeaderProblem, column string) error {
		return &HeaderError{problem, column, lines.Shown(names), lines.CauseOf(text, "account", "number", "bound_at")}
	}
	h := Header{Columns: len(fields), Number: -1, BoundAt: -1}
	account := -1
	for i, name := range names {
		place := map[string]*int{"account": &account, "number": &h.Number, "bound_at": &h.BoundAt}[name]
		if place == nil {
			continue
		}
		if *place >= 0 {
			return h, wrong(ColumnTwice, name)
		}
		*place = i
	}
	for _, c := range []struct {
		name  string
		place int
	}{{"account", account}, {"number", h.Number}, {"bound_at", h.BoundAt}} {
		if c.place < 0 {
			return h, wrong(ColumnMissing, c.name)
		}
	}
	for i, name := range names {
		if name == "outcome" || name == "reason" {
			if h.Replace = i >= h.Columns-2; !h.Replace {
				return h, wrong(ColumnTaken, name)
			}
		}
	}
	if n := h.Columns; h.Replace && (names[n-2] != "outcome" || names[n-1] != "reason") {
		return h, wrong(OneTaken, "")
	}
	return h, nil
}
