package httpapi

import (
	"bytes"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
)

// The content types of the API.
const (
	typeJSON    = "application/json"
	typeNDJSON  = "application/x-ndjson"
	typeCSV     = "text/csv"
	typeProblem = "application/problem+json"
	typeYAML    = "application/yaml"
)

// None is the In or Out of a handler that has no body.
type None struct{}

// Time is an instant on the wire: RFC 3339 with an offset, from 1970 to 9999, to the microsecond. What is finer
// is cut off, for the store keeps no more. It is written in the zone that its time.Time has.
type Time time.Time

// Time gives the instant.
func (t Time) Time() time.Time { return time.Time(t) }

// IsZero reports whether no time was given.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

// MarshalText writes RFC 3339 with as many digits of a second as are needed.
func (t Time) MarshalText() ([]byte, error) {
	return time.Time(t).Truncate(time.Microsecond).AppendFormat(nil, time.RFC3339Nano), nil
}

// UnmarshalText reads RFC 3339 and refuses anything else with the code malformed_time.
func (t *Time) UnmarshalText(text []byte) error {
	v, err := time.Parse(time.RFC3339, string(text))
	if err != nil || !strictTime(text) || v.Unix() < 0 || v.UTC().Year() > 9999 {
		return huanxin.Errorf(huanxin.Invalid, "malformed_time",
			"must be a time such as 2026-03-01T08:00:00+08:00 (RFC 3339, with an offset), from 1970 to 9999")
	}
	*t = Time(v.Truncate(time.Microsecond))
	return nil
}

// strictTime refuses what time.Parse takes beyond RFC 3339: an hour of one digit, a decimal comma, an offset of 24 hours.
func strictTime(text []byte) bool {
	const date = len("2006-01-02T15:04:05")
	if len(text) <= date || text[13] != ':' || bytes.IndexByte(text, ',') >= 0 {
		return false
	}
	offset := text[len(text)-1:]
	if offset[0] != 'Z' {
		offset = text[len(text)-len("+08:00"):]
		return string(offset[1:3]) < "24" && string(offset[4:6]) < "60"
	}
	return true
}

// SchemaYAML describes a Time in the OpenAPI document.
func (Time) SchemaYAML() string {
	return `{type: string, format: date-time, examples: ["2026-03-01T08:00:00+08:00"]}`
}

// Number is a phone number on the wire. In a body of ours it is written in full; everywhere else, logs
// and encoding/json among them, it redacts itself as huanxin.Number does.
type Number struct{ huanxin.Number }

// UnmarshalText reads E.164 and refuses anything else with the code number_malformed.
func (n *Number) UnmarshalText(text []byte) (err error) {
	n.Number, err = huanxin.ParseNumber(string(text))
	return err
}

// MarshalJSONTo writes E.164. Only this package's writer calls it: encoding/json knows MarshalText alone.
func (n Number) MarshalJSONTo(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.String(n.E164()))
}

// SchemaYAML describes a Number in the OpenAPI document.
func (Number) SchemaYAML() string {
	return `{type: string, pattern: '^\+[1-9][0-9]{4,16}$', description: A phone number in E.164 form., examples: ["+8613800000001"]}`
}

// mediaType gives a header's content type without parameters, and whether its charset, if it has one, is UTF-8.
func mediaType(header string) (string, bool) {
	t, params, _ := strings.Cut(header, ";")
	utf8 := true
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "charset") {
			value = strings.Trim(value, `"`)
			utf8 = strings.EqualFold(value, "utf-8") || strings.EqualFold(value, "utf8") || strings.EqualFold(value, "us-ascii")
		}
	}
	return strings.ToLower(strings.TrimSpace(t)), utf8
}
