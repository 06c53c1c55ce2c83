package httpapi

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin/internal/feed"
)

var eventsPage = template.Must(template.ParseFS(docsFiles, "docs/events.html"))

// eventDocuments makes the routes of /docs/events and of the schemas under /schemas/events/.
func eventDocuments() []Route {
	all := feed.Schemas()
	page, err := eventsHTML(all)
	if err != nil {
		panic(err)
	}
	out := []Route{{Method: http.MethodGet, Path: "/docs/events", Lenient: true, Handler: fixed("text/html; charset=utf-8", page)}}
	for _, s := range all {
		out = append(out, Route{Method: http.MethodGet, Path: "/schemas/events/" + s.Name + ".json", Lenient: true,
			Handler: fixed("application/schema+json", s.JSON)})
	}
	return out
}

// The page's own types.
type (
	eventView struct {
		Name, URI, Zh, En string
		Taken             bool // by the hub, and not sent
		Members           []eventMember
		Examples          []string
	}
	eventMember struct {
		Name, Type, Zh, En string
		Required           bool
		Enum               []string
	}
)

// eventSchema is what the page shows of a schema.
type eventSchema struct {
	En         string           `json:"description"`
	Zh         string           `json:"x-zh"`
	Type       string           `json:"type"`
	Format     string           `json:"format"`
	Const      string           `json:"const"`
	Enum       []string         `json:"enum"`
	Required   []string         `json:"required"`
	Properties jsontext.Value   `json:"properties"`
	Examples   []jsontext.Value `json:"examples"`
}

func eventsHTML(all []feed.EventSchema) ([]byte, error) {
	var views []eventView
	for _, s := range all {
		v := eventView{Name: s.Name, URI: s.URI, Taken: s.URI == feed.UnbindResult}
		var doc eventSchema
		err := json.Unmarshal(s.JSON, &doc)
		if err == nil {
			v.Zh, v.En = doc.Zh, doc.En
			v.Members, err = eventMembers("", &doc)
		}
		if err != nil {
			return nil, fmt.Errorf("httpapi: the schema of %s: %w", s.Name, err)
		}
		for _, e := range doc.Examples {
			_ = e.Compact() // it was parsed
			v.Examples = append(v.Examples, string(e))
		}
		views = append(views, v)
	}
	var b bytes.Buffer
	if err := eventsPage.Execute(&b, views); err != nil {
		return nil, fmt.Errorf("httpapi: the page of events: %w", err)
	}
	return b.Bytes(), nil
}

// eventMembers gives the members of an object in the schema's order, those of objects in it behind it.
func eventMembers(path string, doc *eventSchema) (out []eventMember, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(doc.Properties))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		word := name.String()
		var m eventSchema
		if err := json.UnmarshalDecode(dec, &m); err != nil {
			return nil, err
		}
		v := eventMember{Name: joined(path, word), Type: m.Type, Zh: m.Zh, En: m.En, Enum: m.Enum, Required: slices.Contains(doc.Required, word)}
		switch {
		case m.Format != "":
			v.Type += ", " + m.Format
		case m.Const != "":
			v.Type, v.Enum = "string", []string{m.Const}
		case v.Type == "":
			v.Type = "string"
		}
		out = append(out, v)
		if m.Properties != nil {
			inner, err := eventMembers(v.Name, &m)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
		}
	}
	return out, nil
}
