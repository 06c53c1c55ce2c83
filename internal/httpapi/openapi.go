package httpapi

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/huanxin-platform/huanxin"
)

// The document is emitted here and not by a library: swaggest/openapi-go, the closest, wants parameters as structs
// with tags, sorts what we order, knows no lines, and brings the frozen yaml.v2.

var scopeTexts = []struct {
	scope huanxin.Scope
	text  string
}{
	{huanxin.ScopeNumbersReport, "Report number events (carriers)"},
	{huanxin.ScopeNumbersCheck, "Check whether the holder of a number has changed (apps)"},
	{huanxin.ScopeNumberRecycling, "The same by CAMARA Number Recycling (apps)"},
	{huanxin.ScopeRequestsCreate, "Ask for a customer (carriers)"},
	{huanxin.ScopeRequestsRead, "Read one's requests (carriers)"},
	{huanxin.ScopeTasksWork, "List and answer tasks (apps)"},
	{huanxin.ScopeLotsReport, "Announce numbers about to be sold again (carriers)"},
	{huanxin.ScopeLotsWork, "Work on lots (apps)"},
	{huanxin.ScopeCasesWork, "Work on cases"},
	{huanxin.ScopeStatisticsRead, "Read the statistics (regulator)"},
	{huanxin.ScopeSSFRead, "Receive the event feed (apps)"},
	{huanxin.ScopeSSFManage, "Manage one's event streams (apps)"},
	{huanxin.ScopeAdmin, "Run the hub"},
}

const apiDescription = "Numbers are E.164 strings, times RFC 3339 with an offset, dates in the national time zone. All JSON is UTF-8; " +
	"unknown members are refused except where a foreign standard says otherwise; null is taken for a missing member. Errors are " +
	"problem documents (RFC 9457).\n\n" +
	"Line-wise bodies, NDJSON and CSV, are streamed and may have any length. A bad line is refused with its physical number from 1 " +
	"and never stops the good ones. CSV names its columns in a header. Bodies may be compressed with gzip or zstd (Content-Encoding)."

const idempotencyText = "At most 128 characters of the client's choice, kept at least 24 hours. The same key and body give the first " +
	"answer again, the same key with another body 409 idempotency_conflict, one still in flight 409 in_flight."

// OpenAPI emits the document of a route table: OpenAPI 3.1 as YAML, the same bytes for the same table.
func OpenAPI(title, version string, routes []Route) ([]byte, error) {
	s := newSchemas()
	if _, err := s.of(reflect.TypeFor[Problem]()); err != nil {
		return nil, err
	}
	paths := mapping()
	var tags []*yaml.Node
	seen := map[string]bool{}
	byPath := map[string]*yaml.Node{}
	for i := range routes {
		rt := &routes[i]
		op, err := operation(s, rt)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", rt.Method, rt.Path, err)
		}
		p := documentPath(rt.Path)
		if byPath[p] == nil {
			byPath[p] = mapping()
			put(paths, p, byPath[p])
		}
		put(byPath[p], strings.ToLower(rt.Method), op)
		if rt.Tag != "" && !seen[rt.Tag] {
			seen[rt.Tag] = true
			tags = append(tags, mapping("name", rt.Tag))
		}
	}
	doc := mapping("openapi", "3.1.0",
		"info", mapping("title", title, "version", version, "description", apiDescription),
		"servers", sequence(mapping("url", "/")),
		"tags", sequence(tags...), "paths", paths,
		"components", mapping("schemas", components(s), "parameters", mapping("IdempotencyKey",
			mapping("name", "Idempotency-Key", "in", "header", "required", false, "description", idempotencyText,
				"schema", mapping("type", "string", "maxLength", 128))),
			"securitySchemes", securitySchemes()))
	out, err := yaml.Dump(doc, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("httpapi: the OpenAPI document: %w", err)
	}
	return out, nil
}

func operation(s *schemas, rt *Route) (*yaml.Node, error) {
	op := mapping("operationId", operationID(rt), "summary", rt.Summary, "description", rt.Description)
	if rt.Tag != "" {
		put(op, "tags", []string{rt.Tag})
	}
	switch rt.Scope {
	case "":
		put(op, "security", sequence())
	case anyScope:
		put(op, "security", sequence(mapping("oauth2", sequence())))
	default:
		put(op, "security", sequence(mapping("oauth2", sequence(text(string(rt.Scope))))))
	}
	params, err := parameters(s, rt)
	if err != nil {
		return nil, err
	}
	if len(params) > 0 {
		put(op, "parameters", sequence(params...))
	}
	if rt.Body != nil {
		content, err := contentNode(s, rt.Body)
		if err != nil {
			return nil, err
		}
		put(op, "requestBody", mapping("required", true, "content", content))
	}
	answer := mapping("description", http.StatusText(rt.status()))
	if rt.Answer != nil {
		content, err := contentNode(s, rt.Answer)
		if err != nil {
			return nil, err
		}
		put(answer, "content", content)
	}
	responses := mapping(strconv.Itoa(rt.status()), answer)
	for _, status := range slices.Sorted(maps.Keys(rt.OwnErrors)) {
		content, err := contentNode(s, rt.OwnErrors[status])
		if err != nil {
			return nil, err
		}
		put(responses, strconv.Itoa(status), mapping("description", ownText(rt, status), "content", content))
	}
	byStatus, err := codesByStatus(rt)
	if err != nil {
		return nil, err
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		put(responses, strconv.Itoa(status), problemResponse(byStatus[status]))
	}
	put(op, "responses", responses)
	return op, nil
}

// ownText lists the codes of a status in a form of the route's own.
func ownText(rt *Route, status int) string {
	codes := rt.OwnCodes[status]
	if len(codes) == 0 {
		return http.StatusText(status)
	}
	texts := make([]string, len(codes))
	for i, c := range codes {
		texts[i] = "- `" + c.Code + "`: " + c.Meaning
	}
	return strings.Join(texts, "\n")
}

func (rt *Route) status() int { return cmp.Or(rt.Status, http.StatusOK) }

// operationID is the method and the words of the path: stable as long as the path is.
func operationID(rt *Route) string {
	var b strings.Builder
	b.WriteString(strings.ToLower(rt.Method))
	for _, word := range regexp.MustCompile(`[A-Za-z0-9]+`).FindAllString(rt.Path, -1) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

var wildcard = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// documentPath writes a ServeMux pattern as OpenAPI does.
func documentPath(p string) string {
	return wildcard.ReplaceAllString(strings.TrimSuffix(p, "{$}"), "{$1}")
}

func parameters(s *schemas, rt *Route) ([]*yaml.Node, error) {
	var out []*yaml.Node
	for _, m := range wildcard.FindAllStringSubmatch(rt.Path, -1) {
		out = append(out, mapping("name", m[1], "in", "path", "required", true, "schema", mapping("type", "string")))
	}
	for _, in := range []struct {
		place  string
		params []Param
	}{{"query", rt.Query}, {"header", rt.Header}} {
		for _, p := range in.params {
			sc := schema{typ: "string"}
			if p.Type != nil {
				var err error
				if sc, err = s.of(reflect.TypeOf(p.Type)); err != nil {
					return nil, err
				}
			}
			n := schemaNode(sc)
			if len(p.Enum) > 0 {
				n = mapping("type", "string", "enum", p.Enum)
			}
			out = append(out, mapping("name", p.Name, "in", in.place, "required", p.Required, "description", p.Doc, "schema", n))
		}
	}
	if rt.Idempotent {
		out = append(out, mapping("$ref", "#/components/parameters/IdempotencyKey"))
	}
	return out, nil
}

func contentNode(s *schemas, c *Content) (*yaml.Node, error) {
	out := mapping()
	document := schema{typ: "string"}
	if c.Value != nil {
		var err error
		if document, err = s.of(reflect.TypeOf(c.Value)); err != nil {
			return nil, err
		}
	}
	line := document
	if c.Line != nil {
		var err error
		if line, err = s.of(reflect.TypeOf(c.Line)); err != nil {
			return nil, err
		}
	}
	for _, t := range c.Types {
		sc := document
		if t == typeNDJSON || t == typeCSV {
			sc = line
		}
		n := schemaNode(sc)
		switch t {
		case typeNDJSON: // OpenAPI has no schema of lines before 3.2
			n = mapping("type", "string", "description", "One JSON object a line, each as x-line says.", "x-line", n)
		case typeCSV:
			n = mapping("type", "string", "description", csvText(s, sc), "x-line", n)
		}
		put(out, t, mapping("schema", n))
	}
	return out, nil
}

func csvText(s *schemas, sc schema) string {
	var must, may []string
	for _, m := range s.components[sc.component].members {
		if m.required {
			must = append(must, m.name)
		} else {
			may = append(may, m.name)
		}
	}
	out := "RFC 4180 with a header. Columns, in any order: " + strings.Join(must, ", ")
	if len(may) > 0 {
		out += "; optional: " + strings.Join(may, ", ")
	}
	return out + "."
}

// codesOf gives the codes of a route, with those that follow from its row, in the order of Codes.
func codesOf(rt *Route) ([]CodeDoc, error) {
	if rt.Errors != nil {
		return nil, nil
	}
	codes := append([]string{"internal", "overloaded", "timeout"}, rt.Codes...)
	if rt.Scope != "" {
		codes = append(codes, "unauthenticated", "invalid_token", "insufficient_scope")
	}
	if wildcard.MatchString(rt.Path) {
		codes = append(codes, "not_found")
	}
	if rt.Idempotent {
		codes = append(codes, "idempotency_conflict", "in_flight", "too_long", "bad_character")
	}
	if !rt.Lenient {
		codes = append(codes, "unknown_parameter", "malformed_query")
	}
	if rt.Body != nil && slices.ContainsFunc(rt.Body.Types, func(t string) bool { return t == typeJSON || t == typeNDJSON }) {
		codes = append(codes, "unsupported_media_type", "unsupported_encoding", "broken_body", "malformed_json", "unknown_member",
			"duplicate_member", "wrong_type", "invalid_utf8", "required", "invalid")
		if slices.Contains(rt.Body.Types, typeJSON) {
			codes = append(codes, "body_too_large")
		}
		if slices.Contains(rt.Body.Types, typeNDJSON) {
			codes = append(codes, "line_too_long")
		}
		if slices.Contains(rt.Body.Types, typeCSV) {
			codes = append(codes, "bad_header", "unknown_column", "duplicate_column", "missing_column", "bad_quote", "ragged_row")
		}
	}
	var out []CodeDoc
	for _, c := range Codes {
		if slices.Contains(codes, c.Code) {
			out = append(out, c)
		}
	}
	for _, c := range rt.Codes {
		if _, ok := codeIndex[c]; !ok {
			return nil, fmt.Errorf("httpapi: the code %q is not in Codes", c)
		}
	}
	return out, nil
}

func codesByStatus(rt *Route) (map[int][]CodeDoc, error) {
	codes, err := codesOf(rt)
	out := map[int][]CodeDoc{}
	for _, c := range codes {
		out[StatusOf(c.Kind)] = append(out[StatusOf(c.Kind)], c)
	}
	return out, err
}

func problemResponse(codes []CodeDoc) *yaml.Node {
	var b strings.Builder
	for i, c := range codes {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("- `" + c.Code + "`: " + c.Meaning)
	}
	return mapping("description", b.String(), "content",
		mapping(typeProblem, mapping("schema", mapping("$ref", "#/components/schemas/Problem"))))
}
