package httpapi

import (
	"strconv"

	"go.yaml.in/yaml/v4"
)

// mapping makes a node of names and values in their order: strings, bools, ints, lists of strings and nodes. What
// is empty, nil or 0 is left out; false is not.
func mapping(kv ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(kv); i += 2 {
		put(n, kv[i].(string), kv[i+1])
	}
	return n
}

func put(n *yaml.Node, name string, value any) {
	var v *yaml.Node
	switch value := value.(type) {
	case string:
		if value == "" {
			return
		}
		v = text(value)
	case int:
		if value == 0 {
			return
		}
		v = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(value)}
	case bool:
		v = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(value)}
	case []string:
		if len(value) == 0 {
			return
		}
		v = sequence(texts(value)...)
	case *yaml.Node:
		if value == nil {
			return
		}
		v = value
	default:
		panic("httpapi: not a value of the OpenAPI document")
	}
	n.Content = append(n.Content, text(name), v)
}

func sequence(items ...*yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
	if len(items) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func texts(ss []string) []*yaml.Node {
	out := make([]*yaml.Node, len(ss))
	for i, s := range ss {
		out[i] = text(s)
	}
	return out
}

// schemaNode writes a schema as JSON Schema.
func schemaNode(s schema) *yaml.Node {
	switch {
	case s.component != "":
		return mapping("$ref", "#/components/schemas/"+s.component)
	case s.yaml != nil:
		return copied(s.yaml)
	}
	n := mapping("type", s.typ, "format", s.format)
	switch {
	case s.typ == "array":
		put(n, "items", schemaNode(*s.items))
	case s.items != nil:
		put(n, "additionalProperties", schemaNode(*s.items))
	case s.typ == "object":
		var required []string
		members := mapping()
		for _, m := range s.members {
			put(members, m.name, memberNode(m))
			if m.required {
				required = append(required, m.name)
			}
		}
		put(n, "properties", members)
		put(n, "required", required)
	}
	return n
}

func memberNode(m schemaMember) *yaml.Node {
	n := schemaNode(m.schema)
	if m.doc != "" {
		drop(n, "description")
		put(n, "description", m.doc)
	}
	put(n, "pattern", m.pattern)
	switch m.schema.typ {
	case "array":
		put(n, "maxItems", m.max)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "items" {
				put(n.Content[i+1], "enum", m.enum)
			}
		}
	case "string":
		put(n, "maxLength", m.max)
		put(n, "enum", m.enum)
	}
	if m.example != "" {
		drop(n, "examples")
		put(n, "examples", []string{m.example})
	}
	return n
}

func drop(n *yaml.Node, name string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content = append(n.Content[:i:i], n.Content[i+2:]...)
			return
		}
	}
}

// copied is a deep copy in block style: a node may stand in the document once only.
func copied(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value}
	for _, c := range n.Content {
		out.Content = append(out.Content, copied(c))
	}
	return out
}

func components(s *schemas) *yaml.Node {
	out := mapping()
	for _, name := range s.names() {
		n := schemaNode(s.components[name])
		if name == "Problem" || name == "ProblemField" {
			n = withCodes(n)
		}
		put(out, name, n)
	}
	return out
}

// withCodes lists every code that there is as the enum of the member code.
func withCodes(n *yaml.Node) *yaml.Node {
	codes := make([]string, len(Codes))
	for i, c := range Codes {
		codes[i] = c.Code
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "properties" {
			continue
		}
		members := n.Content[i+1]
		for j := 0; j+1 < len(members.Content); j += 2 {
			if members.Content[j].Value == "code" {
				put(members.Content[j+1], "enum", codes)
			}
		}
	}
	return n
}

func securitySchemes() *yaml.Node {
	scopes := mapping()
	for _, s := range scopeTexts {
		put(scopes, string(s.scope), s.text)
	}
	return mapping("oauth2", mapping("type", "oauth2",
		"description", "Client credentials; the client authenticates with private_key_jwt (RFC 7523), or with HTTP Basic where it was given a secret.",
		"flows", mapping("clientCredentials", mapping("tokenUrl", "/oauth2/token", "scopes", scopes))))
}
