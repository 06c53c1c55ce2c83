package httpapi

import (
	"encoding"
	"errors"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// Line is one line of a line-wise body. Err says what is wrong with it; Value then holds what could be read before that.
type Line[T any] struct {
	Line  int64
	Value T
	Err   *huanxin.Error
}

// readLines opens a line-wise body, NDJSON or CSV by its content type, of those that the route takes. What
// is wrong with the whole (content type, encoding, CSV header) is the error at once; what breaks later comes
// as the error of the sequence and ends it. NDJSON lines are decoded by Decode's rules; CSV columns bear the
// names of the members, which must then be strings or TextUnmarshalers, and an empty cell is a missing one.
// The sequence can be read once, in any one goroutine.
func readLines[T any](r *http.Request) (iter.Seq2[Line[T], error], error) {
	taken := []string{typeNDJSON, typeCSV}
	if rt := exchangeFrom(r.Context()).route; rt != nil && rt.Body != nil {
		taken = rt.Body.Types
	}
	t, err := contentType(r, taken...)
	if err != nil {
		return nil, err
	}
	body, err := lines.Decompress(strings.Join(r.Header.Values("Content-Encoding"), ","), r.Body)
	if err != nil {
		return nil, err
	}
	var next func() (int64, func(*T) error, error)
	if t == typeCSV {
		next, err = csvLines[T](body)
	} else {
		next = jsonLines[T](body)
	}
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	return func(yield func(Line[T], error) bool) {
		defer func() { _ = body.Close() }()
		for {
			number, fill, err := next()
			l := Line[T]{Line: number}
			if bad, ok := errors.AsType[*lines.BadLine](err); ok {
				l.Err = huanxin.Errorf(huanxin.Invalid, bad.Code, bad.Detail)
			} else if err == io.EOF {
				return
			} else if err != nil {
				yield(l, readError(err))
				return
			} else if err := fill(&l.Value); err != nil {
				l.Err, _ = errors.AsType[*huanxin.Error](err)
			}
			if !yield(l, nil) {
				return
			}
		}
	}, nil
}

func jsonLines[T any](body io.Reader) func() (int64, func(*T) error, error) {
	d := lines.NewNDJSON(body, 0)
	var text []byte
	fill := func(v *T) error { return Decode(text, v) }
	return func() (line int64, _ func(*T) error, err error) {
		line, text, err = d.Next()
		return line, fill, err
	}
}

func csvLines[T any](body io.Reader) (func() (int64, func(*T) error, error), error) {
	var h lines.Header
	var required, optional []member
	for _, m := range membersOf(reflect.TypeFor[T]()) {
		if m.required {
			required = append(required, m)
			h.Required = append(h.Required, m.name)
		} else {
			optional = append(optional, m)
			h.Optional = append(h.Optional, m.name)
		}
	}
	c, err := lines.NewCSV(body, 0, h)
	if err != nil {
		return nil, err
	}
	columns := append(required, optional...)
	var row [][]byte
	fill := func(v *T) error { return fromCells(row, columns, reflect.ValueOf(v).Elem()) }
	return func() (line int64, _ func(*T) error, err error) {
		line, row, err = c.Next()
		return line, fill, err
	}, nil
}

// fromCells sets the members of v that have a cell with something in it, and says which ones are missing.
func fromCells(row [][]byte, columns []member, v reflect.Value) error {
	var first error
	for i, m := range columns {
		if len(row[i]) == 0 {
			continue
		}
		f := v.FieldByIndex(m.index)
		if f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
			f = f.Elem()
		}
		if f.Kind() == reflect.String && !f.Addr().Type().Implements(textReader) {
			f.SetString(string(row[i]))
			continue
		}
		if err := f.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(row[i]); err != nil && first == nil {
			own, ok := errors.AsType[*huanxin.Error](err)
			if !ok {
				own = huanxin.Errorf(huanxin.Invalid, "wrong_type", "is not of the right form")
			}
			first = refusedValue(m.name, own)
		}
	}
	if first != nil {
		return first
	}
	if wrong := lacking("", v, nil); len(wrong) > 0 {
		return badFields(wrong)
	}
	return nil
}
