package httpapi_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// facts is what the definition says, as testdata/camara keeps it.
type facts struct {
	Version    string
	Path       string
	Method     string
	Scope      string
	Correlator map[string]any
	Request    map[string]any
	Responses  map[string]response
}

type response struct {
	Schema   map[string]any
	Examples []errorInfo
}

// errorInfo is ErrorInfo.
type errorInfo struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// camaraFacts reads them, and compiles their schemas: "request" and "correlator", and each response by its status.
var camaraFacts = sync.OnceValues(func() (facts, map[string]*jsonschema.Schema) {
	text, err := os.ReadFile("testdata/camara/number-recycling-0.2.0.yaml")
	if err != nil {
		panic(err)
	}
	var f facts
	if err := yaml.Load(text, &f); err != nil {
		panic(err)
	}
	schemas := map[string]map[string]any{"request": f.Request, "correlator": f.Correlator}
	for status, r := range f.Responses {
		schemas[status] = r.Schema
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	out := map[string]*jsonschema.Schema{}
	for name, s := range schemas {
		text, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			panic(err)
		}
		if err := compiler.AddResource("camara:"+name, doc); err != nil {
			panic(err)
		}
		out[name] = compiler.MustCompile("camara:" + name)
	}
	return f, out
})

// conforms fails if a JSON text is not of a schema of the definition.
func conforms(t *testing.T, schema, text string) {
	t.Helper()
	_, schemas := camaraFacts()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil && schemas[schema] == nil {
		t.Errorf("the definition has no %s: %s", schema, text)
		return
	}
	if err == nil {
		err = schemas[schema].Validate(v)
	}
	if err != nil {
		t.Errorf("%s is not of the definition's %s: %v", text, schema, err)
	}
}

// definition is where the whole of it lies beside the repository, for those who have it.
const definition = "../../../shared/specs/camara/number-recycling-0.2.0.yaml"

func TestTheFactsAreThoseOfTheDefinition(t *testing.T) {
	text, err := os.ReadFile(definition)
	if os.IsNotExist(err) {
		t.Skip("the definition is not at hand: the facts stand for it")
	}
	must(t, err)
	var doc map[string]any
	must(t, yaml.Load(text, &doc))
	f, _ := camaraFacts()
	server := at(doc, "servers", 0, "url").(string)
	path := slices.Sorted(maps.Keys(at(doc, "paths").(map[string]any)))
	equal(t, "paths", len(path), 1)
	equal(t, "path", strings.TrimPrefix(server, "{apiRoot}")+path[0], f.Path)
	equal(t, "version", at(doc, "info", "version").(string), f.Version)
	op := at(doc, "paths", path[0], f.Method)
	equal(t, "scope", at(op, "security", 0, "openId", 0).(string), f.Scope)
	same := func(what string, got, want any) {
		t.Helper()
		if got = bare(doc, got); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the definition has %v, the facts %v", what, got, want)
		}
	}
	same("request", at(op, "requestBody", "content", "application/json", "schema"), f.Request)
	same("correlator", at(bare(doc, at(op, "parameters", 0)), "schema"), f.Correlator)
	responses := bare(doc, at(op, "responses")).(map[string]any)
	equal(t, "responses", strings.Join(slices.Sorted(maps.Keys(responses)), " "), strings.Join(slices.Sorted(maps.Keys(f.Responses)), " "))
	for status, r := range responses {
		same(status, at(r, "content", "application/json", "schema"), f.Responses[status].Schema)
		same(status+"'s header", at(r, "headers", "x-correlator", "schema"), f.Correlator)
		var got []errorInfo
		examples, _ := at(r, "content", "application/json", "examples").(map[string]any)
		for _, e := range examples {
			v, err := json.Marshal(at(e, "value"))
			must(t, err)
			var info errorInfo
			must(t, json.Unmarshal(v, &info))
			got = append(got, info)
		}
		byCode := func(a, b errorInfo) int { return strings.Compare(a.Code, b.Code) }
		slices.SortFunc(got, byCode)
		if want := slices.SortedFunc(slices.Values(f.Responses[status].Examples), byCode); !slices.Equal(got, want) {
			t.Errorf("%s: the definition's examples are %v, the facts' %v", status, got, want)
		}
	}
}

// bare follows references and drops what is for people.
func bare(doc, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			target := any(doc)
			for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				target = at(target, part)
			}
			return bare(doc, target)
		}
		out := map[string]any{}
		for name, sub := range v {
			if name != "description" && name != "example" {
				out[name] = bare(doc, sub)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, sub := range v {
			out[i] = bare(doc, sub)
		}
		return out
	}
	return v
}

// at walks a parsed document; it gives nil where there is nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}
