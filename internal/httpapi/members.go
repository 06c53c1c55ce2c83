package httpapi

import (
	"encoding"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/huanxin-platform/huanxin"
)

// member is one field of a wire struct: what the decoder requires and what the documents say, from one place.
type member struct {
	name     string
	index    []int
	typ      reflect.Type
	tag      reflect.StructTag
	required bool
}

var memberCache sync.Map // reflect.Type → []member

// membersOf gives the JSON members of a wire struct in the order of its fields; embedded structs count as
// their fields. A member is required unless its field is a pointer, or is tagged omitempty or omitzero; a
// pointer tagged required:"true" is required, too. An empty string, a missing or null value lacks it.
// A number or a bool, which cannot tell false from missing, is only held to it as a pointer.
func membersOf(t reflect.Type) []member {
	if known, ok := memberCache.Load(t); ok {
		return known.([]member)
	}
	var out []member
	for f := range fieldsOf(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct && !opaque(f.Type) {
			for _, m := range membersOf(f.Type) {
				m.index = append([]int{f.Index[0]}, m.index...)
				out = append(out, m)
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		may := f.Type.Kind() == reflect.Pointer && f.Tag.Get("required") != "true" ||
			strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		out = append(out, member{name: name, index: f.Index, typ: f.Type, tag: f.Tag, required: !may})
	}
	memberCache.Store(t, out)
	return out
}

func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

var (
	textReader  = reflect.TypeFor[encoding.TextUnmarshaler]()
	textWriter  = reflect.TypeFor[encoding.TextMarshaler]()
	jsonReader  = reflect.TypeFor[json.UnmarshalerFrom]()
	jsonWriter  = reflect.TypeFor[json.MarshalerTo]()
	selfSchemas = reflect.TypeFor[interface{ SchemaYAML() string }]()
)

// opaque reports whether a type reads or writes itself, so that its fields are its own affair.
func opaque(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(textReader) || p.Implements(textWriter) || p.Implements(jsonReader) || p.Implements(jsonWriter)
}

// lacking lists the required members that v does not have, in the order of the fields.
func lacking(path string, v reflect.Value, out []huanxin.FieldError) []huanxin.FieldError {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out = lacking(path, v.Elem(), out)
		}
	case reflect.Slice, reflect.Array:
		if k := v.Type().Elem().Kind(); k != reflect.Struct && k != reflect.Pointer {
			return out
		}
		for i := range v.Len() {
			out = lacking(indexed(path, i), v.Index(i), out)
		}
	case reflect.Struct:
		if opaque(v.Type()) {
			return out
		}
		for _, m := range membersOf(v.Type()) {
			f := v.FieldByIndex(m.index)
			if m.required && missing(f) {
				out = append(out, huanxin.FieldError{Field: joined(path, m.name), Code: "required", Detail: "must be given"})
				continue
			}
			if !m.required && f.IsZero() {
				continue // not given, so it lacks nothing
			}
			out = lacking(joined(path, m.name), f, out)
		}
	}
	return out
}

func missing(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String, reflect.Struct:
		return v.IsZero()
	}
	return false
}
