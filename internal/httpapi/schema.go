package httpapi

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// schema is what the documents say of a wire type. A named struct is a component; everything else stands in its place.
type schema struct {
	component string // a reference to it, and nothing else is set
	typ       string // object, array, string, integer, number, boolean
	format    string
	members   []schemaMember
	items     *schema // of an array, or the values of a map
	yaml      *yaml.Node
}

type schemaMember struct {
	name     string
	required bool
	schema   schema
	doc      string
	enum     []string
	pattern  string
	example  string
	max      int // of an array's items or a string's characters
}

// schemas collects the components of a route table. A wire type says more about its members with the tags
// doc:"…", enum:"a,b", format:"…", pattern:"…", example:"…" and max:"n", and a type that writes itself says what it
// looks like with a method SchemaYAML() string.
type schemas struct {
	components map[string]schema
	types      map[string]reflect.Type
}

func newSchemas() *schemas { return &schemas{map[string]schema{}, map[string]reflect.Type{}} }

func (s *schemas) names() []string { return slices.Sorted(maps.Keys(s.components)) }

func (s *schemas) of(t reflect.Type) (schema, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Implements(selfSchemas):
		return described(t)
	case opaque(t):
		return schema{typ: "string"}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return schema{typ: "string"}, nil
	case reflect.Bool:
		return schema{typ: "boolean"}, nil
	case reflect.Float32, reflect.Float64:
		return schema{typ: "number"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{typ: "integer"}, nil
	case reflect.Slice, reflect.Array, reflect.Map:
		items, err := s.of(t.Elem())
		typ := "array"
		if t.Kind() == reflect.Map {
			typ = "object"
		}
		return schema{typ: typ, items: &items}, err
	case reflect.Struct:
		return s.ofStruct(t)
	case reflect.Interface:
		return schema{}, nil
	}
	return schema{}, fmt.Errorf("httpapi: %v cannot stand on the wire", t)
}

func described(t reflect.Type) (schema, error) {
	var doc yaml.Node
	text := reflect.New(t).Interface().(interface{ SchemaYAML() string }).SchemaYAML()
	if err := yaml.Load([]byte(text), &doc); err != nil {
		return schema{}, fmt.Errorf("httpapi: the schema of %v: %w", t, err)
	}
	node := &doc
	if doc.Kind == yaml.DocumentNode {
		node = doc.Content[0]
	}
	out := schema{yaml: node}
	for i := 0; i+1 < len(node.Content); i += 2 {
		switch node.Content[i].Value {
		case "type":
			out.typ = node.Content[i+1].Value
		case "format":
			out.format = node.Content[i+1].Value
		}
	}
	return out, nil
}

func (s *schemas) ofStruct(t reflect.Type) (schema, error) {
	name := componentName(t.Name())
	if name != "" {
		if known, ok := s.types[name]; ok && known != t {
			return schema{}, fmt.Errorf("httpapi: two wire types would be the component %s: %v and %v", name, known, t)
		} else if ok {
			return schema{component: name}, nil
		}
		s.types[name] = t // before its members, which may lead back to it
	}
	out := schema{typ: "object"}
	for _, m := range membersOf(t) {
		sub, err := s.of(m.typ)
		if err != nil {
			return schema{}, fmt.Errorf("%w (in %v.%s)", err, t, m.name)
		}
		sm := schemaMember{name: m.name, required: m.required, schema: sub, doc: m.tag.Get("doc"),
			pattern: m.tag.Get("pattern"), example: m.tag.Get("example")}
		if f := m.tag.Get("format"); f != "" {
			sm.schema.format = f
		}
		if e := m.tag.Get("enum"); e != "" {
			sm.enum = strings.Split(e, ",")
		}
		if text := m.tag.Get("max"); text != "" {
			if sm.max, err = strconv.Atoi(text); err != nil {
				return schema{}, fmt.Errorf("httpapi: %v.%s: %w", t, m.name, err)
			}
		}
		out.members = append(out.members, sm)
	}
	if name == "" {
		return out, nil
	}
	s.components[name] = out
	return schema{component: name}, nil
}

var typeWords = regexp.MustCompile(`(?:[^\[\],]*[./])?(\w+)`)

// componentName makes Page of page, and PageTask of page[github.com/…/httpapi.task].
func componentName(goName string) string {
	var b strings.Builder
	for _, m := range typeWords.FindAllStringSubmatch(goName, -1) {
		b.WriteString(strings.ToUpper(m[1][:1]) + m[1][1:])
	}
	return b.String()
}
