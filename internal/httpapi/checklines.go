package httpapi

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// checkLine is one line on its way through: what comes back of it, to which the answer is added.
type checkLine struct {
	line  int64 // the physical one
	check core.Check
	kept  []byte // NDJSON: the object without its end and without what is added; CSV: the row
	err   *huanxin.Error
}

// checkCodec reads the lines of streamed checks and writes their answers.
type checkCodec interface {
	// next reads a line into l, whose kept is valid for ever. io.EOF is the end; another error is about the whole body.
	next(l *checkLine) error
	// ready reports whether next need not wait.
	ready() bool
	// begin appends what comes before all answers.
	begin(out []byte) []byte
	// answer appends a line with its answer.
	answer(out []byte, l *checkLine, a *core.Checked) []byte
	// broken appends a last line that says why there are no more.
	broken(out []byte, e *huanxin.Error) []byte
}

// added are the members and columns that an answer adds. A line that bears them already, as an answer does that is asked
// about again, gets them anew.
var added = []string{"outcome", "reason", "error"}

// arena keeps copies of lines until their batch is answered.
type arena []byte

func (a *arena) keep(text []byte) []byte {
	if len(*a)+len(text) > cap(*a) {
		*a = make([]byte, 0, max(64<<10, len(text))) // what was kept before stays where it is
	}
	from := len(*a)
	*a = append(*a, text...)
	return (*a)[from:len(*a):len(*a)]
}

// jsonChecks are checks as NDJSON.
type jsonChecks struct {
	lines *lines.NDJSON
	arena arena
}

func newJSONChecks(body io.Reader) *jsonChecks { return &jsonChecks{lines: lines.NewNDJSON(body, 0)} }

func (c *jsonChecks) ready() bool { return c.lines.Ready() }

func (c *jsonChecks) next(l *checkLine) error {
	line, text, err := c.lines.Next()
	*l = checkLine{line: line}
	if bad, ok := errors.AsType[*lines.BadLine](err); ok {
		l.err = huanxin.Errorf(huanxin.Invalid, bad.Code, bad.Detail)
		return nil
	}
	if err != nil {
		return err
	}
	number, since, kept, ok := scanCheck(text)
	if !ok {
		var e *huanxin.Error
		if number, since, kept, e = decodeCheck(text); e != nil {
			l.kept, l.err = kept, e
			return nil
		}
		l.kept = kept
	} else {
		l.kept = c.arena.keep(kept)
	}
	l.check, l.err = readCheck(number, since)
	return nil
}

// scanCheck reads the usual form of a line: an object of strings without escapes, whole numbers, true, false and null. It
// leaves everything else to decodeCheck. kept is the text up to its last brace.
func scanCheck(text []byte) (number, since, kept []byte, ok bool) {
	for len(text) > 0 && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t') {
		text = text[:len(text)-1]
	}
	var names [8][]byte
	i, n := space(text, 0), 0
	if i == len(text) || text[i] != '{' {
		return nil, nil, nil, false
	}
	start := i
	for i++; ; i++ {
		var name, value []byte
		if name, i = plainString(text, space(text, i)); i < 0 || n == len(names) {
			return nil, nil, nil, false
		}
		for _, other := range names[:n] {
			if bytes.Equal(name, other) {
				return nil, nil, nil, false // a duplicate is refused in detail
			}
		}
		names[n] = name
		n++
		if i = space(text, i); i == len(text) || text[i] != ':' {
			return nil, nil, nil, false
		}
		i = space(text, i+1)
		if value, i = plainValue(text, i); i < 0 {
			return nil, nil, nil, false
		}
		switch string(name) {
		case "number":
			number, ok = value, value != nil
		case "since":
			since, ok = value, value != nil
		case "outcome", "reason", "error":
			return nil, nil, nil, false
		default:
			ok = true
		}
		if i = space(text, i); !ok || i == len(text) {
			return nil, nil, nil, false
		}
		if text[i] == '}' {
			break
		}
		if text[i] != ',' {
			return nil, nil, nil, false
		}
	}
	return number, since, text[start:i], i == len(text)-1 && number != nil && since != nil
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	return i
}

// plainString reads a string without escapes at text[i], and gives where it ends; -1 where there is none.
func plainString(text []byte, i int) ([]byte, int) {
	if i >= len(text) || text[i] != '"' {
		return nil, -1
	}
	for j := i + 1; j < len(text); j++ {
		switch c := text[j]; {
		case c == '"':
			return text[i+1 : j : j], j + 1
		case c == '\\' || c < ' ':
			return nil, -1
		}
	}
	return nil, -1
}

// plainValue reads a string (its value), a whole number or a word (nil), and gives where it ends; -1 where there is none.
func plainValue(text []byte, i int) ([]byte, int) {
	if i < len(text) && text[i] == '"' {
		return plainString(text, i)
	}
	j := i
	for j < len(text) && ('0' <= text[j] && text[j] <= '9' || 'a' <= text[j] && text[j] <= 'z' || text[j] == '-') {
		j++
	}
	switch word := text[i:j]; {
	case string(word) == "true", string(word) == "false", string(word) == "null", wholeNumber(word):
		return nil, j
	}
	return nil, -1
}

// wholeNumber reports whether a text is a whole number as JSON writes it.
func wholeNumber(word []byte) bool {
	if len(word) > 0 && word[0] == '-' {
		word = word[1:]
	}
	if len(word) == 0 || word[0] == '0' && len(word) > 1 {
		return false
	}
	for _, c := range word {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// decodeCheck reads any line: kept is what it bears, or nothing if it is no JSON object.
func decodeCheck(text []byte) (number, since, kept []byte, e *huanxin.Error) {
	var members map[string]jsontext.Value
	if err := decode(text, &members, lenient); err != nil {
		return nil, nil, nil, refusal(err)
	}
	if members == nil {
		return nil, nil, nil, huanxin.Errorf(huanxin.Invalid, "wrong_type", "must be an object")
	}
	kept = []byte{'{'}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	_, _ = d.ReadToken() // the brace; the text was decoded before
	for d.PeekKind() != '}' {
		name, _ := d.ReadValue()
		quoted := slices.Clone(name)
		plain, _ := jsontext.AppendUnquote(nil, name)
		value, err := d.ReadValue()
		if err != nil {
			return nil, nil, nil, refusal(decodeError(text, err))
		}
		if slices.Contains(added, string(plain)) {
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(append(append(kept, quoted...), ':'), value...)
	}
	if number, e = stringOf(members["number"], "number"); e != nil {
		return nil, nil, kept, e
	}
	since, e = stringOf(members["since"], "since")
	return number, since, kept, e
}

func (c *jsonChecks) begin(out []byte) []byte { return out }

func (c *jsonChecks) answer(out []byte, l *checkLine, a *core.Checked) []byte {
	if len(l.kept) == 0 {
		out = append(out, '{')
	} else if out = append(out, l.kept...); len(l.kept) > 1 {
		out = append(out, ',')
	}
	if e := cmpErr(l.err, a.Err); e != nil {
		return appendJSONError(out, e, l.line)
	}
	out = append(append(out, `"outcome":"`...), a.Outcome.String()...)
	if a.Reason != "" {
		out = append(append(out, `","reason":"`...), a.Reason...)
	}
	return append(out, "\"}\n"...)
}

// cmpErr gives what is wrong with a line, by its own form or by its answer.
func cmpErr(line, answer *huanxin.Error) *huanxin.Error {
	if line != nil {
		return line
	}
	return answer
}

func appendJSONError(out []byte, e *huanxin.Error, line int64) []byte {
	told := checkErrorOf(e)
	told.Line = line
	text, err := json.Marshal(told)
	if err != nil {
		text = []byte(`{"code":"internal","detail":""}`)
	}
	return append(append(append(out, `"error":`...), text...), "}\n"...)
}

func (c *jsonChecks) broken(out []byte, e *huanxin.Error) []byte {
	return appendJSONError(append(out, '{'), e, 0)
}

// csvChecks are checks as CSV.
type csvChecks struct {
	lines *lines.CSV
	arena arena
	kept  []int // the columns that are passed through; nil: all of them
	width int   // how many columns are passed through
}

func newCSVChecks(body io.Reader) (*csvChecks, error) {
	rows, err := lines.NewCSV(body, 0, lines.Header{Required: []string{"number", "since"}, Extra: true})
	if err != nil {
		return nil, err
	}
	c := &csvChecks{lines: rows, width: len(rows.Names())}
	if slices.ContainsFunc(rows.Names(), func(n string) bool { return slices.Contains(added, n) }) {
		c.kept = []int{}
		for i, n := range rows.Names() {
			if !slices.Contains(added, n) {
				c.kept = append(c.kept, i)
			}
		}
		c.width = len(c.kept)
	}
	return c, nil
}

func (c *csvChecks) ready() bool { return c.lines.Ready() }

func (c *csvChecks) next(l *checkLine) error {
	_, row, err := c.lines.Next()
	*l = checkLine{}
	if bad, ok := errors.AsType[*lines.BadLine](err); ok {
		l.err = huanxin.Errorf(huanxin.Invalid, bad.Code, bad.Detail)
		l.kept = bytes.Repeat([]byte{','}, c.width-1)
		if bad.Code == "ragged_row" { // its cells are sound, only too few or too many
			l.kept = c.cells(c.lines.All())
		}
		return nil
	}
	if err != nil {
		return err
	}
	if c.kept == nil {
		l.kept = c.arena.keep(c.lines.Raw())
	} else {
		l.kept = c.cells(c.lines.All())
	}
	switch {
	case len(row[0]) == 0:
		l.err = huanxin.Errorf(huanxin.Invalid, "required", "number: must be given")
	case len(row[1]) == 0:
		l.err = huanxin.Errorf(huanxin.Invalid, "required", "since: must be given")
	default:
		l.check, l.err = readCheck(row[0], row[1])
	}
	return nil
}

// cells writes the columns that are passed through, as many as there are in the header.
func (c *csvChecks) cells(all [][]byte) (out []byte) {
	for i := range c.width {
		at := i
		if c.kept != nil {
			at = c.kept[i]
		}
		if i > 0 {
			out = append(out, ',')
		}
		if at < len(all) {
			out = appendCell(out, all[at])
		}
	}
	return out
}

// appendCell quotes a cell where it must be (RFC 4180).
func appendCell(out, cell []byte) []byte {
	if !bytes.ContainsAny(cell, "\",\r\n") {
		return append(out, cell...)
	}
	out = append(out, '"')
	out = append(out, bytes.ReplaceAll(cell, []byte{'"'}, []byte(`""`))...)
	return append(out, '"')
}

func (c *csvChecks) begin(out []byte) []byte {
	names := make([][]byte, len(c.lines.Names()))
	for i, n := range c.lines.Names() {
		names[i] = []byte(n)
	}
	return append(append(out, c.cells(names)...), ",outcome,reason,error\n"...)
}

func (c *csvChecks) answer(out []byte, l *checkLine, a *core.Checked) []byte {
	out = append(append(out, l.kept...), ',')
	if e := cmpErr(l.err, a.Err); e != nil {
		return append(append(append(out, ",,"...), checkErrorOf(e).Code...), '\n')
	}
	out = append(append(out, a.Outcome.String()...), ',')
	return append(append(out, a.Reason...), ",\n"...)
}

func (c *csvChecks) broken(out []byte, e *huanxin.Error) []byte {
	return append(append(append(out, bytes.Repeat([]byte{','}, c.width+2)...), checkErrorOf(e).Code...), '\n')
}
