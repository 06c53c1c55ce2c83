package lines

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Cause is why a CSV file's first line probably does not name the columns that are asked for.
type Cause string

// The causes. NoCause: nothing that is seen often.
const (
	NoCause    Cause = ""
	UTF16      Cause = "utf-16"     // the file is not UTF-8 but UTF-16, as spreadsheets write "Unicode text"
	Semicolons Cause = "semicolons" // columns are separated by semicolons
	Tabs       Cause = "tabs"       // or by tabs
	OtherCase  Cause = "case"       // the names are there, with capitals or blanks
	NoHeader   Cause = "no-header"  // the first line is a row already
)

// CauseOf looks at a file's first line, of which the columns have the names wanted.
func CauseOf(line []byte, wanted ...string) Cause {
	found := strings.Split(strings.TrimRight(string(line), "\r\n"), ",")
	for i, name := range found {
		found[i] = strings.ToLower(strings.Trim(name, "\" \ufeff"))
	}
	missing := func(name string) bool { return !slices.Contains(found, name) }
	switch {
	case bytes.HasPrefix(line, []byte("\xff\xfe")), bytes.HasPrefix(line, []byte("\xfe\xff")), bytes.IndexByte(line, 0) >= 0:
		return UTF16
	case !slices.ContainsFunc(wanted, missing):
		return OtherCase
	case bytes.IndexByte(line, ',') < 0 && bytes.IndexByte(line, ';') >= 0:
		return Semicolons
	case bytes.IndexByte(line, ',') < 0 && bytes.IndexByte(line, '\t') >= 0:
		return Tabs
	case slices.ContainsFunc(found, isData):
		return NoHeader
	}
	return NoCause
}

// isData reports whether a name has so many digits that it is a number or a date.
func isData(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r >= '0' && r <= '9' }) >= 0 && len(name) >= 8 && !Nameable(name)
}

// Shown gives the names of columns for an error, with those that may be data by their place alone.
func Shown(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		if out[i] = name; !Nameable(name) {
			out[i] = "column " + strconv.Itoa(i+1)
		}
	}
	return out
}
