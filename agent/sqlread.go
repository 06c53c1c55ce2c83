package agent

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// columnKind is how a column's values are to be taken where their Go type does not say it.
type columnKind uint8

const (
	anyColumn   columnKind = iota
	dateColumn             // a day
	localColumn            // a time without an offset: in the company's zone
)

type column struct {
	name string
	kind columnKind
}

// findColumns are those that find may give. Times may also be whole numbers, with one of the suffixes of units.
var findColumns = []string{"binding", "account", "bound_at", "bound_day", "last_proof", "last_proof_day", "last_proof_never", "same_person",
	"class", "hold_back"}

var timeColumns = []string{"bound_at", "last_proof"}

// judgeColumns says what is wrong with the columns of a statement that finds.
func judgeColumns(cols []column, marks bool) (errs []error) {
	has := func(name string) bool {
		return slices.ContainsFunc(cols, func(c column) bool { base, u := cutUnit(c.name); return c.name == name || u != 0 && base == name })
	}
	for i, c := range cols {
		base, u := cutUnit(c.name)
		if !slices.Contains(findColumns, c.name) && (u == 0 || !slices.Contains(timeColumns, base)) {
			errs = append(errs, tell("there is no use for a column %s", c.name))
		}
		if slices.ContainsFunc(cols[:i], func(o column) bool { return o.name == c.name }) {
			errs = append(errs, tell("the column %s is there twice", c.name))
		}
	}
	if !has("binding") {
		errs = append(errs, tell("the column binding is missing"))
	}
	if !has("account") && !marks {
		errs = append(errs, tell("the column account is missing"))
	}
	if !has("bound_at") && !has("bound_day") {
		errs = append(errs, tell("the column bound_at (or bound_day) is missing: without it everything would be reviewed"))
	}
	return errs
}

// factReader reads rows of a statement that finds.
type factReader struct {
	cols []column
	zone *time.Location
}

func (r *factReader) read(values []any) (f Facts, err error) {
	var boundDay, proofDay When
	for i, c := range r.cols {
		base, u := cutUnit(c.name)
		if u == 0 {
			base = c.name
		}
		var text string
		switch base {
		case "bound_at":
			f.FirstBound, err = r.when(values[i], c.kind, u)
		case "bound_day":
			boundDay, err = r.when(values[i], dateColumn, 0)
		case "last_proof":
			f.LastProof, err = r.when(values[i], c.kind, u)
		case "last_proof_day":
			proofDay, err = r.when(values[i], dateColumn, 0)
		default:
			if text, err = textOf(values[i]); err == nil {
				err = f.set(c.name, text)
			}
		}
		if err != nil {
			return f, fmt.Errorf("the column %s: %w", c.name, err)
		}
	}
	if f.FirstBound == (When{}) {
		f.FirstBound = boundDay
	}
	if f.LastProof == (When{}) {
		f.LastProof = proofDay
	}
	if f.ID == "" {
		return f, fmt.Errorf("the column binding is empty")
	}
	if f.FirstBound.never { // no binding was never bound
		f.FirstBound = When{}
	}
	return f, nil
}

func (f *Facts) set(column, text string) (err error) {
	switch column {
	case "binding":
		f.ID = text
	case "account":
		f.Account = text
	case "class":
		f.Class = text
	case "last_proof_never":
		if t, ok := triOf(text); !ok {
			return fmt.Errorf("is neither yes nor no")
		} else if t == huanxin.Yes && f.LastProof == (When{}) {
			f.LastProof = Never()
		}
	case "same_person":
		t, ok := triOf(text)
		if !ok {
			return fmt.Errorf("is not yes, no or empty")
		}
		f.SamePerson = t
	case "hold_back":
		if text == "" {
			return nil
		}
		if f.HoldBack, err = huanxin.ParseReason(text); err != nil {
			return fmt.Errorf("is no reason of in_review or kept")
		}
	}
	return nil
}

// when reads a time of any form that databases have. What is no time is an error, never an unknown time: a column of another
// meaning must not send every binding to review.
func (r *factReader) when(v any, kind columnKind, u unit) (When, error) {
	switch v := v.(type) {
	case nil:
		return When{}, nil
	case time.Time:
		switch {
		case v.Year() <= 1:
			return When{}, nil
		case kind == dateColumn:
			y, m, d := v.Date()
			return OnDay(huanxin.Date{Year: y, Month: m, Day: d}), nil
		case kind == localColumn:
			return At(later(time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), r.zone))), nil
		}
		return At(v), nil
	case int64:
		if u == 0 {
			return When{}, fmt.Errorf("is a whole number: name it with _s, _ms or _us to say what it counts")
		}
		return u.when(v), nil
	case int32:
		return r.when(int64(v), kind, u)
	case []byte:
		return r.when(string(v), kind, u)
	case string:
		if u != 0 {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return When{}, fmt.Errorf("is no whole number")
			}
			return u.when(n), nil
		}
		if v == "-infinity" {
			return When{}, nil
		}
		w, err := ParseWhen(v, r.zone)
		if err == nil && kind == dateColumn && w.Exact() {
			return When{}, fmt.Errorf("is no day")
		}
		return w, err
	}
	return When{}, fmt.Errorf("is no time (%T)", v)
}

// textOf reads an id or a word.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case int32:
		return strconv.FormatInt(int64(v), 10), nil
	case int16:
		return strconv.FormatInt(int64(v), 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case bool:
		if v {
			return "yes", nil
		}
		return "no", nil
	case [16]byte:
		h := hex.EncodeToString(v[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
	}
	return "", fmt.Errorf("cannot be read (%T): cast it to text", v)
}
