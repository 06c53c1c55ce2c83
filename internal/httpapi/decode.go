package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// DefaultLimit is how many bytes a JSON body may have, as sent and unpacked, where its route does not say.
const DefaultLimit = 1 << 20

// maxFieldErrors bounds the list of what is wrong.
const maxFieldErrors = 100

var (
	lenient = json.DefaultOptionsV2()
	strict  = json.JoinOptions(lenient, json.RejectUnknownMembers(true))
)

// Decode reads one JSON text into a wire struct. Refused, as *huanxin.Error of kind Invalid with the path of
// the member: what is not JSON or has anything behind it (malformed_json), a member that the struct does not
// have or has in another case (unknown_member), one that comes twice (duplicate_member), a value of another
// type (wrong_type) or of the wrong form (malformed_time, number_malformed and what other types say),
// invalid UTF-8 (invalid_utf8) and required members that are missing, null or empty (required; all of them are listed).
// No value, and no name that could be one, is ever repeated.
func Decode(data []byte, v any) error { return decode(data, v, strict) }

func decode(data []byte, v any, how json.Options) error {
	if err := json.Unmarshal(data, v, how); err != nil {
		return decodeError(data, err)
	}
	if wrong := lacking("", reflect.ValueOf(v), nil); len(wrong) > 0 {
		return badFields(wrong)
	}
	return nil
}

// badFields makes the refusal of which the first field gives code and detail.
func badFields(wrong []huanxin.FieldError) error {
	if len(wrong) > maxFieldErrors {
		wrong = wrong[:maxFieldErrors]
	}
	first := wrong[0]
	detail := first.Detail
	if first.Field != "" {
		detail = first.Field + ": " + detail
	}
	return &huanxin.Error{Kind: huanxin.Invalid, Code: first.Code, Detail: detail, Fields: wrong}
}

func badField(field, code, detail string) error {
	if field == "" {
		return huanxin.Errorf(huanxin.Invalid, code, detail)
	}
	return badFields([]huanxin.FieldError{{Field: field, Code: code, Detail: detail}})
}

// decodeError turns the decoder's error into ours. The decoder's own text quotes values, so it is dropped.
func decodeError(data []byte, err error) error {
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at := memberPath(syntax.JSONPointer, errors.Is(syntax.Err, jsontext.ErrDuplicateName))
		switch {
		case errors.Is(syntax.Err, jsontext.ErrDuplicateName):
			return badField(at, "duplicate_member", "comes twice in one object")
		case !utf8.Valid(data[:min(len(data), int(syntax.ByteOffset)+utf8.UTFMax)]):
			return badField(at, "invalid_utf8", "is not valid UTF-8")
		}
		return badField(at, "malformed_json", "not JSON at byte "+strconv.FormatInt(syntax.ByteOffset, 10))
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok { // only an empty or a cut text is left
		return badField("", "malformed_json", "the JSON text is empty or ends too early")
	}
	if errors.Is(err, json.ErrUnknownName) {
		return badField(memberPath(semantic.JSONPointer, true), "unknown_member", "there is no such member here")
	}
	at := memberPath(semantic.JSONPointer, false)
	if own, ok := errors.AsType[*huanxin.Error](err); ok {
		return refusedValue(at, own)
	}
	return badField(at, "wrong_type", "must be "+expected(semantic.GoType))
}

// refusedValue places what a wire type said of its value where the value stands.
func refusedValue(at string, own *huanxin.Error) error {
	if own.Code == "invalid" && len(own.Fields) == 1 {
		return badField(at, own.Fields[0].Code, own.Fields[0].Detail)
	}
	return badField(at, own.Code, own.Detail)
}

func expected(t reflect.Type) string {
	if t == nil {
		return "of another type"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(textReader), t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		return "an object"
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Array:
		return "an array"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Uint64:
		return "a whole number of " + strconv.Itoa(t.Bits()) + " bits"
	}
	return "a number"
}

// memberPath writes a JSON pointer as people write a member: proof.verified_at, apps[3]. A name that could be
// data is given as "?". lastIsName says that the last token is certainly a name.
func memberPath(p jsontext.Pointer, lastIsName bool) string {
	out := ""
	tokens := slices.Collect(p.Tokens())
	for i, token := range tokens {
		n, err := strconv.Atoi(token)
		switch {
		case err == nil && n >= 0 && len(token) <= 6 && !(lastIsName && i == len(tokens)-1):
			out = indexed(out, n)
		case lines.Nameable(token):
			out = joined(out, token)
		default:
			out = joined(out, "?")
		}
	}
	return out
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func joined(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// readJSON reads a request's JSON body into v by Decode's rules, or without minding unknown members where
// the route is Lenient. The body is kept for BodyFrom.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	limit, how := int64(DefaultLimit), strict
	x := exchangeFrom(r.Context())
	if rt := x.route; rt != nil {
		if rt.Limit > 0 {
			limit = rt.Limit
		}
		if rt.Lenient {
			how = lenient
		}
	}
	data, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	x.body = data
	return decode(data, v, how)
}

// readBody reads a JSON body as a whole; see readWhole.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return readWhole(w, r, limit, typeJSON)
}

// readWhole reads a body of a content type as a whole, unpacked. It is TooLarge if it is longer than limit, as sent or unpacked.
func readWhole(w http.ResponseWriter, r *http.Request, limit int64, kind string) ([]byte, error) {
	if _, err := contentType(r, kind); err != nil {
		return nil, err
	}
	body, err := lines.Decompress(strings.Join(r.Header.Values("Content-Encoding"), ","), http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = body.Close() }()
	var b bytes.Buffer
	if 0 < r.ContentLength && r.ContentLength <= limit {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(body, limit+1))
	switch {
	case n > limit:
		return nil, tooLarge(limit)
	case err != nil:
		return nil, readError(err)
	}
	return b.Bytes(), nil
}

// readError makes a refusal of an error of reading a body: TooLarge at the limit, else broken_body.
func readError(err error) error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(over.Limit)
	}
	if _, ok := errors.AsType[*huanxin.Error](err); ok {
		return err
	}
	return &huanxin.Error{Kind: huanxin.Invalid, Code: "broken_body", Detail: "the body broke off", Err: err}
}

func tooLarge(limit int64) error {
	return huanxin.Errorf(huanxin.TooLarge, "body_too_large", "the body may have at most "+strconv.FormatInt(limit, 10)+" bytes")
}

// contentType gives the request's content type if it is one of those taken.
func contentType(r *http.Request, taken ...string) (string, error) {
	t, inUTF8 := mediaType(r.Header.Get("Content-Type"))
	if !inUTF8 || !slices.Contains(taken, t) || len(r.Header.Values("Content-Type")) != 1 {
		return "", huanxin.Errorf(huanxin.Unsupported, "unsupported_media_type", "Content-Type must be "+strings.Join(taken, " or ")+", in UTF-8")
	}
	return t, nil
}
