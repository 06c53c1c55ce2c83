package feed

import (
	"embed"

	"github.com/huanxin-platform/huanxin"
)

//go:embed schemas/*.json
var schemas embed.FS

// UnbindResult is the type of event by which an app answers a task with a SET of its own.
const UnbindResult = "urn:huanxin:event:unbind-result"

// EventSchema is the JSON Schema (2020-12) of one type of event.
type EventSchema struct {
	Name string // "unbind-requested"
	URI  string // the type
	JSON []byte
}

// Schemas gives the schemas of all events that hold something of ours, in the order in which they are shown: those that the hub
// sends, and behind them the one that it takes. Texts in a schema are English, and Chinese beside it as x-zh.
func Schemas() []EventSchema {
	var out []EventSchema
	for _, t := range huanxin.SupportedEvents() {
		out = append(out, eventSchema(t.String()))
	}
	return append(out, eventSchema(UnbindResult))
}

func eventSchema(uri string) EventSchema {
	name := uri
	for i, c := range uri {
		if c == ':' || c == '/' {
			name = uri[i+1:]
		}
	}
	text, err := schemas.ReadFile("schemas/" + name + ".json")
	if err != nil {
		panic("feed: " + err.Error()) // it was embedded
	}
	return EventSchema{Name: name, URI: uri, JSON: text}
}
