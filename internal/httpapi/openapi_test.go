package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/huanxin-platform/huanxin"
)

type sampleApps struct{}

func (sampleApps) SchemaYAML() string {
	return `{description: Ids or all., oneOf: [{type: string, enum: [all]}, {type: array, items: {type: string}}]}`
}

func (*sampleApps) UnmarshalText([]byte) error { return nil }

type samplePage[T any] struct {
	Items []T    `json:"items" doc:"In the order: of \"arrival\"." max:"100"`
	After string `json:"after,omitempty"`
}

type sampleTree struct {
	Name     string             `json:"name" pattern:"^[a-z]+$" max:"64" example:"true"`
	Kind     string             `json:"kind" enum:"yes,no"`
	Kinds    *[]string          `json:"kinds,omitempty" enum:"unbind,keep"`
	Number   Number             `json:"number" doc:"The number."`
	At       *Time              `json:"at"`
	Apps     sampleApps         `json:"apps"`
	Children []*sampleTree      `json:"children,omitempty"`
	Counts   map[string]int     `json:"counts,omitempty"`
	Day      string             `json:"day,omitempty" format:"date"`
	Inline   struct{ X, Y int } `json:"inline"`
	Any      any                `json:"any,omitempty"`
	Share    float64            `json:"share"`
	embedded
	Hidden string `json:"-"`
}

func sampleRoutes() []Route {
	ok := func(http.ResponseWriter, *http.Request) error { return nil }
	return []Route{
		{Method: "POST", Path: "/v1/trees", Tag: "Trees", Summary: "Plant: a tree", Description: "With\ntwo lines.", Scope: huanxin.ScopeAdmin,
			Party: huanxin.OperatorParty, Idempotent: true, Body: JSON(sampleTree{}), Status: 201, Answer: JSON(&sampleTree{}),
			Codes: []string{"ineligible"}, Handler: ok},
		{Method: "GET", Path: "/v1/trees/{id}/leaves/{rest...}", Tag: "Trees", Summary: "Leaves", Scope: anyScope,
			Query:  []Param{{Name: "limit", Type: 0, Doc: "How many."}, {Name: "since", Type: Time{}, Required: true}, {Name: "state", Enum: []string{"open", "no"}}},
			Answer: JSON(samplePage[sampleTree]{}), Handler: ok},
		{Method: "POST", Path: "/v1/lines", Tag: "Lines", Summary: "Lines", Body: NDJSONOrCSV(lineSample{}), Answer: NDJSON(samplePart{}), Handler: ok},
		{Method: "DELETE", Path: "/v1/trees/{id}/leaves/{rest...}", Summary: "Fell", Status: 204, Handler: ok},
	}
}

func emitted(t *testing.T, routes []Route) (string, map[string]any) {
	t.Helper()
	text, err := OpenAPI("Test", "1.2.3", routes)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Load(text, &doc); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return string(text), doc
}

// at walks the parsed document; it gives nil where there is nothing.
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

func TestTheDocumentBeginsWithItsVersionAndIsTheSameEveryTime(t *testing.T) {
	text, _ := emitted(t, sampleRoutes())
	if !strings.HasPrefix(text, "openapi: 3.1.0\n") {
		t.Errorf("begins %q", text[:40])
	}
	for range 5 {
		if again, _ := emitted(t, sampleRoutes()); again != text {
			t.Fatal("two documents of one table differ")
		}
	}
}

func TestTheDocumentIsStructurallySound(t *testing.T) {
	text, doc := emitted(t, sampleRoutes())
	checkDocument(t, doc)
	if t.Failed() {
		t.Log(text)
	}
}

func TestTheDocumentOfTheAPIItselfIsStructurallySound(t *testing.T) {
	_, doc := emitted(t, Routes())
	checkDocument(t, doc)
}

// checkDocument checks what OpenAPI 3.1 asks of any document of ours.
func checkDocument(t *testing.T, doc map[string]any) {
	t.Helper()
	if doc["openapi"] != "3.1.0" || at(doc, "info", "title") == nil || at(doc, "info", "version") == nil {
		t.Errorf("openapi %v, info %v", doc["openapi"], doc["info"])
	}
	checkRefs(t, doc, doc, "#")
	ids := map[any]bool{}
	paths, _ := doc["paths"].(map[string]any)
	if len(paths) == 0 {
		t.Error("no paths")
	}
	for path, item := range paths {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "...") {
			t.Errorf("path %q", path)
		}
		for method, op := range item.(map[string]any) {
			where := method + " " + path
			if !slices.Contains([]string{"get", "put", "post", "delete", "patch"}, method) {
				t.Errorf("%s: no such method", where)
			}
			id := at(op, "operationId")
			if id == nil || ids[id] {
				t.Errorf("%s: operationId %v", where, id)
			}
			ids[id] = true
			checkParameters(t, doc, where, path, op)
			checkResponses(t, where, op)
			checkSecurity(t, doc, where, op)
		}
	}
}

func checkRefs(t *testing.T, doc map[string]any, v any, where string) {
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			if ref, ok := sub.(string); ok && name == "$ref" {
				var target any = doc
				for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					target = at(target, part)
				}
				if target == nil {
					t.Errorf("%s: %s leads nowhere", where, ref)
				}
			}
			checkRefs(t, doc, sub, where+"/"+name)
		}
	case []any:
		for i, sub := range v {
			checkRefs(t, doc, sub, fmt.Sprintf("%s/%d", where, i))
		}
	}
}

func checkParameters(t *testing.T, doc map[string]any, where, path string, op any) {
	declared := map[string]bool{}
	list, _ := at(op, "parameters").([]any)
	for _, p := range list {
		if ref, ok := at(p, "$ref").(string); ok {
			p = at(doc, "components", "parameters", strings.TrimPrefix(ref, "#/components/parameters/"))
		}
		in, name := at(p, "in"), fmt.Sprint(at(p, "name"))
		if at(p, "schema") == nil || declared[fmt.Sprint(in, name)] {
			t.Errorf("%s: parameter %s", where, name)
		}
		declared[fmt.Sprint(in, name)] = true
		if in == "path" && (at(p, "required") != true || !strings.Contains(path, "{"+name+"}")) {
			t.Errorf("%s: path parameter %s is not in the path, or not required", where, name)
		}
	}
	for _, m := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(path, -1) {
		if !declared["path"+m[1]] {
			t.Errorf("%s: {%s} is not declared", where, m[1])
		}
	}
}

func checkResponses(t *testing.T, where string, op any) {
	responses, _ := at(op, "responses").(map[string]any)
	good := 0
	for status, r := range responses {
		if !regexp.MustCompile(`^[2-5][0-9][0-9]$`).MatchString(status) || at(r, "description") == nil {
			t.Errorf("%s: response %q", where, status)
		}
		if status[0] == '2' {
			good++
		} else if own := at(r, "content", "application/json", "schema", "$ref"); own == "#/components/schemas/TokenRefusal" ||
			own == "#/components/schemas/ErrorInfo" || own == "#/components/schemas/SsfError" {
			continue // OAuth's own form, CAMARA's, and that of RFC 8935
		} else if at(r, "content", "application/problem+json", "schema", "$ref") != "#/components/schemas/Problem" {
			t.Errorf("%s: %s is no problem document", where, status)
		}
	}
	if good != 1 {
		t.Errorf("%s: %d good responses", where, good)
	}
}

func checkSecurity(t *testing.T, doc map[string]any, where string, op any) {
	security, ok := at(op, "security").([]any)
	if !ok {
		t.Errorf("%s: says nothing of security", where)
	}
	for _, s := range security {
		for scheme, scopes := range s.(map[string]any) {
			for _, scope := range scopes.([]any) {
				if at(doc, "components", "securitySchemes", scheme, "flows", "clientCredentials", "scopes", scope.(string)) == nil {
					t.Errorf("%s: scope %v of %s is not listed", where, scope, scheme)
				}
			}
		}
	}
}

func TestSchemasSayWhatTheWireTypesSay(t *testing.T) {
	_, doc := emitted(t, sampleRoutes())
	tree := at(doc, "components", "schemas", "SampleTree")
	for name, want := range map[string]string{
		"name":     "map[examples:[true] maxLength:64 pattern:^[a-z]+$ type:string]",
		"kind":     "map[enum:[yes no] type:string]",
		"kinds":    "map[items:map[enum:[unbind keep] type:string] type:array]",
		"number":   `map[description:The number. examples:[+8613800000001] pattern:^\+[1-9][0-9]{4,16}$ type:string]`,
		"at":       "map[examples:[2026-03-01T08:00:00+08:00] format:date-time type:string]",
		"apps":     "map[description:Ids or all. oneOf:[map[enum:[all] type:string] map[items:map[type:string] type:array]]]",
		"children": "map[items:map[$ref:#/components/schemas/SampleTree] type:array]",
		"counts":   "map[additionalProperties:map[type:integer] type:object]",
		"day":      "map[format:date type:string]",
		"inline":   "map[properties:map[X:map[type:integer] Y:map[type:integer]] required:[X Y] type:object]",
		"any":      "map[]",
		"share":    "map[type:number]",
		"place":    "map[type:string]",
	} {
		if got := fmt.Sprint(at(tree, "properties", name)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	if got := fmt.Sprint(at(tree, "required")); got != "[name kind number apps inline share place]" {
		t.Errorf("required: %s", got)
	}
	if members := at(tree, "properties").(map[string]any); len(members) != 13 {
		t.Errorf("%d members", len(members))
	}
	for _, m := range []any{at(tree, "properties", "kind", "enum", 0), at(tree, "properties", "name", "examples", 0)} {
		if _, ok := m.(string); !ok {
			t.Errorf("%v is not a string", m)
		}
	}
	page := at(doc, "components", "schemas", "SamplePageSampleTree", "properties", "items")
	if at(page, "items", "$ref") != "#/components/schemas/SampleTree" || at(page, "maxItems") != 100 ||
		at(page, "description") != `In the order: of "arrival".` {
		t.Errorf("a generic page: %v", page)
	}
}

func TestOperationsSayWhatTheRouteSays(t *testing.T) {
	_, doc := emitted(t, sampleRoutes())
	plant := at(doc, "paths", "/v1/trees", "post")
	for _, tc := range []struct {
		got  any
		want string
	}{
		{at(plant, "operationId"), "postV1Trees"},
		{at(plant, "summary"), "Plant: a tree"},
		{at(plant, "description"), "With\ntwo lines."},
		{at(plant, "tags"), "[Trees]"},
		{at(plant, "security"), "[map[oauth2:[admin]]]"},
		{at(plant, "parameters", 0, "$ref"), "#/components/parameters/IdempotencyKey"},
		{at(plant, "requestBody", "required"), "true"},
		{at(plant, "requestBody", "content", "application/json", "schema", "$ref"), "#/components/schemas/SampleTree"},
		{at(plant, "responses", "201", "content", "application/json", "schema", "$ref"), "#/components/schemas/SampleTree"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "delete", "security"), "[]"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "delete", "responses", "204", "content"), "<nil>"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "get", "security"), "[map[oauth2:[]]]"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "get", "parameters", 2, "schema", "type"), "integer"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "get", "parameters", 3, "required"), "true"},
		{at(doc, "paths", "/v1/trees/{id}/leaves/{rest}", "get", "parameters", 4, "schema", "enum"), "[open no]"},
		{at(doc, "paths", "/v1/lines", "post", "requestBody", "content", "application/x-ndjson", "schema", "x-line", "$ref"), "#/components/schemas/LineSample"},
		{at(doc, "paths", "/v1/lines", "post", "requestBody", "content", "text/csv", "schema", "description"),
			"RFC 4180 with a header. Columns, in any order: id, number; optional: at, note."},
		{at(doc, "tags"), "[map[name:Trees] map[name:Lines]]"},
		{at(doc, "components", "securitySchemes", "oauth2", "flows", "clientCredentials", "tokenUrl"), "/oauth2/token"},
	} {
		if fmt.Sprint(tc.got) != tc.want {
			t.Errorf("got %v, want %s", tc.got, tc.want)
		}
	}
}

func TestEveryCodeIsListedAndEachRouteNamesItsOwn(t *testing.T) {
	_, doc := emitted(t, sampleRoutes())
	all, _ := at(doc, "components", "schemas", "Problem", "properties", "code", "enum").([]any)
	if len(all) != len(Codes) {
		t.Errorf("%d codes in the document, %d in the table", len(all), len(Codes))
	}
	responses := at(doc, "paths", "/v1/trees", "post", "responses")
	for status, codes := range map[string][]string{
		"400": {"unknown_member", "malformed_json", "required"}, "401": {"unauthenticated", "invalid_token"}, "403": {"insufficient_scope"},
		"409": {"idempotency_conflict", "in_flight"}, "413": {"body_too_large"}, "415": {"unsupported_media_type"},
		"422": {"ineligible"}, "500": {"internal"}, "503": {"overloaded"},
	} {
		for _, c := range codes {
			if !strings.Contains(fmt.Sprint(at(responses, status, "description")), "`"+c+"`: "+codeIndex[c].Meaning) {
				t.Errorf("%s does not say %s: %v", status, c, at(responses, status, "description"))
			}
		}
	}
}

func TestTwoWireTypesOfOneNameAreAnError(t *testing.T) {
	type Problem struct {
		X int `json:"x"`
	}
	ok := func(http.ResponseWriter, *http.Request) error { return nil }
	if _, err := OpenAPI("t", "1", []Route{{Method: "GET", Path: "/x", Answer: JSON(Problem{}), Handler: ok}}); err == nil {
		t.Error("no error")
	}
}

func TestTheDocumentsAreServedAndRememberedByTheirETag(t *testing.T) {
	w := newWorld()
	for path, want := range map[string]struct{ contentType, begins string }{
		"/openapi.yaml": {"application/yaml", "openapi: 3.1.0\n"},
		"/docs/api":     {"text/html; charset=utf-8", "<!doctype html>"},
		"/docs/api.css": {"text/css; charset=utf-8", ":root"},
	} {
		got := w.do("GET", path, "", "")
		tag := got.Header().Get("ETag")
		if got.Code != 200 || got.Header().Get("Content-Type") != want.contentType || !strings.HasPrefix(got.Body.String(), want.begins) || tag == "" {
			t.Errorf("%s: %d %v", path, got.Code, got.Header())
		}
		if csp := got.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self';") {
			t.Errorf("%s: %s", path, csp)
		}
		again := get(t, w, path, tag)
		if again.StatusCode != 304 {
			t.Errorf("%s with its ETag: %d", path, again.StatusCode)
		}
		if other := get(t, w, path, `"other"`); other.StatusCode != 200 {
			t.Errorf("%s with another ETag: %d", path, other.StatusCode)
		}
	}
}

func TestThePageShowsEveryRouteTypeAndCodeAndRunsNothing(t *testing.T) {
	page, err := docsHTML("Test", "1.2.3", sampleRoutes())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`lang="zh-CN"`, "接口文档", "/v1/trees/{id}/leaves/{rest}", "Plant: a tree", `id="type-SampleTree"`, `href="#type-SampleTree"`,
		"array of SampleTree", "ineligible", "<code>admin</code>", "Any valid token.", "No token needed.", "Takes <code>Idempotency-Key</code>",
		`<link rel="stylesheet" href="/docs/api.css">`, "One of <code>open</code>",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("%q is not on the page", want)
		}
	}
	for _, never := range []string{"<script", "style=", "http://", "https://", "onclick", "<style"} {
		if bytes.Contains(page, []byte(never)) {
			t.Errorf("%q is on the page", never)
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllSubmatch(page, -1) {
		if !bytes.Contains(page, []byte(`id="`+string(m[1])+`"`)) {
			t.Errorf("#%s leads nowhere", m[1])
		}
	}
}

func get(t *testing.T, h http.Handler, path, etag string) *http.Response {
	t.Helper()
	f := front(h, 0)
	r := f.do("GET", path, "If-None-Match", etag)
	return r.Result()
}
