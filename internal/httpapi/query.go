package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// checkQuery refuses a query that is not of the route's form: a misspelt parameter would else be overlooked.
func checkQuery(r *http.Request, rt *Route) error {
	if r.URL.RawQuery == "" && !slices.ContainsFunc(rt.Query, func(p Param) bool { return p.Required }) || rt.Lenient {
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return huanxin.Errorf(huanxin.Invalid, "malformed_query", "the query is not of the form name=value&…, percent-encoded")
	}
	for name, values := range query {
		i := slices.IndexFunc(rt.Query, func(p Param) bool { return p.Name == name })
		switch {
		case i < 0 && lines.Nameable(name):
			return badField(name, "unknown_parameter", "there is no such parameter here")
		case i < 0:
			return badField("?", "unknown_parameter", "there is no such parameter here")
		case len(values) > 1:
			return badField(name, "unknown_parameter", "comes twice")
		case !utf8.ValidString(values[0]):
			return badField(name, "invalid_utf8", "is not valid UTF-8")
		}
	}
	for _, p := range rt.Query {
		if p.Required && query.Get(p.Name) == "" {
			return badField(p.Name, "required", "must be given")
		}
	}
	return nil
}
