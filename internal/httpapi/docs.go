package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

//go:embed docs/api.html docs/api.css docs/events.html
var docsFiles embed.FS

var docsPage = template.Must(template.ParseFS(docsFiles, "docs/api.html"))

// documents makes the routes of /openapi.yaml, /docs/api, /docs/api.css and of what there is to read about events. What they answer is made once, here.
func documents(routes []Route, cfg Config) []Route {
	title := cmp.Or(cfg.Title, "Huanxin")
	spec, err := OpenAPI(title, cmp.Or(cfg.Version, "0"), routes)
	if err != nil {
		panic(err)
	}
	page, err := docsHTML(title, cfg.Version, routes)
	if err != nil {
		panic(err)
	}
	css, err := docsFiles.ReadFile("docs/api.css")
	if err != nil {
		panic(err)
	}
	return append([]Route{
		{Method: http.MethodGet, Path: "/openapi.yaml", Lenient: true, Handler: fixed(typeYAML, spec)},
		{Method: http.MethodGet, Path: "/docs/api", Lenient: true, Handler: fixed("text/html; charset=utf-8", page)},
		{Method: http.MethodGet, Path: "/docs/api.css", Lenient: true, Handler: fixed("text/css; charset=utf-8", css)},
	}, eventDocuments()...)
}

// fixed serves bytes that never change, with an ETag.
func fixed(contentType string, body []byte) Handler {
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("ETag", etag)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		return nil
	}
}

// The page's own types: what the template shows, in its order.
type (
	docsView struct {
		Title, Version, Intro string
		Sections              []docsSection
		Types                 []docsType
		Codes                 []docsCode
		Scopes                []docsScope
	}
	docsSection struct {
		Name, ID string
		Ops      []docsOp
	}
	docsOp struct {
		ID, Method, Path, Summary, Description string
		Scope, Party                           string
		Idempotent                             bool
		Params                                 []docsMember
		Body, Answer                           *docsContent
		Status                                 int
		StatusText                             string
		Codes                                  []docsCode
	}
	docsContent struct {
		Types string
		Type  docsRef
		Lines bool
	}
	docsRef  struct{ Text, Component string }
	docsType struct {
		Name    string
		Members []docsMember
	}
	docsMember struct {
		Name     string
		In       string
		Type     docsRef
		Required bool
		Doc      string
		Enum     []string
		Example  string
	}
	docsCode struct {
		Code, Meaning string
		Status        int
	}
	docsScope struct{ Scope, Text string }
)

func docsHTML(title, version string, routes []Route) ([]byte, error) {
	s := newSchemas()
	v := docsView{Title: title, Version: version, Intro: apiDescription}
	for i := range routes {
		rt := &routes[i]
		op, err := docsOperation(s, rt)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", rt.Method, rt.Path, err)
		}
		name := cmp.Or(rt.Tag, "API")
		at := slices.IndexFunc(v.Sections, func(s docsSection) bool { return s.Name == name })
		if at < 0 {
			at = len(v.Sections)
			v.Sections = append(v.Sections, docsSection{Name: name, ID: fmt.Sprintf("section-%d", at+1)})
		}
		v.Sections[at].Ops = append(v.Sections[at].Ops, op)
	}
	if _, err := s.of(reflect.TypeFor[Problem]()); err != nil {
		return nil, err
	}
	for _, name := range s.names() {
		v.Types = append(v.Types, docsType{name, docsMembers(s.components[name].members)})
	}
	for _, c := range Codes {
		v.Codes = append(v.Codes, docsCode{c.Code, c.Meaning, StatusOf(c.Kind)})
	}
	for _, s := range scopeTexts {
		v.Scopes = append(v.Scopes, docsScope{string(s.scope), s.text})
	}
	var b bytes.Buffer
	if err := docsPage.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("httpapi: the documentation page: %w", err)
	}
	return b.Bytes(), nil
}

func docsOperation(s *schemas, rt *Route) (docsOp, error) {
	op := docsOp{ID: operationID(rt), Method: rt.Method, Path: documentPath(rt.Path), Summary: rt.Summary, Description: rt.Description,
		Scope: string(rt.Scope), Idempotent: rt.Idempotent, Status: rt.status(), StatusText: http.StatusText(rt.status())}
	if rt.Party != 0 {
		op.Party = rt.Party.String()
	}
	for _, m := range wildcard.FindAllStringSubmatch(rt.Path, -1) {
		op.Params = append(op.Params, docsMember{Name: m[1], In: "path", Type: docsRef{Text: "string"}, Required: true})
	}
	for _, p := range rt.Query {
		ref := docsRef{Text: "string"}
		if p.Type != nil {
			sc, err := s.of(reflect.TypeOf(p.Type))
			if err != nil {
				return op, err
			}
			ref = refOf(sc)
		}
		op.Params = append(op.Params, docsMember{Name: p.Name, In: "query", Type: ref, Required: p.Required, Doc: p.Doc, Enum: p.Enum})
	}
	for _, p := range rt.Header {
		op.Params = append(op.Params, docsMember{Name: p.Name, In: "header", Type: docsRef{Text: "string"}, Required: p.Required, Doc: p.Doc})
	}
	var err error
	if op.Body, err = docsBody(s, rt.Body); err != nil {
		return op, err
	}
	if op.Answer, err = docsBody(s, rt.Answer); err != nil {
		return op, err
	}
	codes, err := codesOf(rt)
	for _, c := range codes {
		op.Codes = append(op.Codes, docsCode{c.Code, c.Meaning, StatusOf(c.Kind)})
	}
	for _, status := range slices.Sorted(maps.Keys(rt.OwnErrors)) {
		for _, c := range rt.OwnCodes[status] {
			op.Codes = append(op.Codes, docsCode{c.Code, c.Meaning, status})
		}
	}
	return op, err
}

func docsBody(s *schemas, c *Content) (*docsContent, error) {
	if c == nil {
		return nil, nil
	}
	out := &docsContent{Types: strings.Join(c.Types, " or "), Lines: slices.Contains(c.Types, typeNDJSON)}
	if c.Value != nil {
		sc, err := s.of(reflect.TypeOf(c.Value))
		if err != nil {
			return nil, err
		}
		out.Type = refOf(sc)
	}
	return out, nil
}

func refOf(s schema) docsRef {
	switch {
	case s.component != "":
		return docsRef{s.component, s.component}
	case s.typ == "array":
		r := refOf(*s.items)
		return docsRef{"array of " + r.Text, r.Component}
	case s.items != nil:
		r := refOf(*s.items)
		return docsRef{"object of " + r.Text, r.Component}
	case s.format != "":
		return docsRef{Text: s.typ + ", " + s.format}
	case s.typ == "":
		return docsRef{Text: "any"}
	}
	return docsRef{Text: s.typ}
}

func docsMembers(members []schemaMember) []docsMember {
	out := make([]docsMember, len(members))
	for i, m := range members {
		out[i] = docsMember{Name: m.name, Type: refOf(m.schema), Required: m.required, Doc: m.doc, Enum: m.enum, Example: m.example}
	}
	return out
}
