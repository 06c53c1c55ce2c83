package feed_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

// compiled gives the schemas by type of event.
func compiled(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	out := map[string]*jsonschema.Schema{}
	for _, s := range feed.Schemas() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.JSON))
		must(t, err)
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		must(t, c.AddResource(s.Name+".json", doc))
		out[s.URI], err = c.Compile(s.Name + ".json")
		must(t, err)
	}
	return out
}

// valid holds a payload against the schema of a type.
func valid(t testing.TB, all map[string]*jsonschema.Schema, uri string, payload []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	must(t, err)
	if all[uri] == nil {
		t.Fatalf("%s has no schema", uri)
	}
	return all[uri].Validate(v)
}

// examples gives the examples that a schema shows.
func examples(t testing.TB, s feed.EventSchema) (out []map[string]any) {
	t.Helper()
	var doc struct{ Examples []map[string]any }
	must(t, json.Unmarshal(s.JSON, &doc))
	return doc.Examples
}

func TestEverySchemaIsOneOf2020AndItsExamplesFit(t *testing.T) {
	all := compiled(t)
	ids := map[any]bool{}
	for _, s := range feed.Schemas() {
		var doc map[string]any
		must(t, json.Unmarshal(s.JSON, &doc))
		if doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" || doc["title"] != s.URI || ids[doc["$id"]] ||
			doc["$id"] != "urn:huanxin:schema:event:"+s.Name || doc["description"] == "" || doc["x-zh"] == "" {
			t.Errorf("%s: %v %v %v", s.Name, doc["$schema"], doc["$id"], doc["title"])
		}
		ids[doc["$id"]] = true
		if len(examples(t, s)) == 0 {
			t.Errorf("%s has no example", s.Name)
		}
		for _, e := range examples(t, s) {
			payload, err := json.Marshal(e)
			must(t, err)
			if err := valid(t, all, s.URI, payload); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	if len(ids) != len(huanxin.SupportedEvents())+1 {
		t.Errorf("%d schemas", len(ids))
	}
}

// TestASchemaTakesNothingMoreAndNothingLess damages each example in every way of one step.
func TestASchemaTakesNothingMoreAndNothingLess(t *testing.T) {
	all := compiled(t)
	optional := []string{"event_timestamp", "huanxin_tenure_started_at", "task_id"} // of some types
	for _, s := range feed.Schemas() {
		for _, example := range examples(t, s) {
			refuses := func(what string, changed map[string]any) {
				t.Helper()
				payload, err := json.Marshal(changed)
				must(t, err)
				if valid(t, all, s.URI, payload) == nil {
					t.Errorf("%s, %s: taken is %s", s.Name, what, payload)
				}
			}
			with := func(name string, value any) map[string]any {
				changed := maps.Clone(example)
				if changed[name] = value; value == nil {
					delete(changed, name)
				}
				return changed
			}
			refuses("a number in it", with("number", "+8613800000001"))
			refuses("a subject in it", with("subject", map[string]any{"format": "phone_number", "phone_number": "+8613800000001"}))
			for name, value := range example {
				for _, wrong := range []any{"+8613800000001", true, []any{}, map[string]any{"x": 1}, -1} {
					refuses(name, with(name, wrong))
				}
				if !slices.Contains(optional, name) || s.Name == "unbind-result" {
					refuses("without "+name, with(name, nil))
				}
				if tenure, ok := value.(map[string]any); ok {
					for inner := range tenure {
						changed := maps.Clone(tenure)
						changed[inner] = "+8613800000001"
						refuses(name+"."+inner, with(name, changed))
						delete(changed, inner)
						refuses("without "+name+"."+inner, with(name, changed))
					}
					changed := maps.Clone(tenure)
					changed["number"] = "+8613800000001"
					refuses("a number in "+name, with(name, changed))
				}
			}
		}
	}
	const recycled = "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled"
	for _, half := range []string{`{"huanxin_reason":"reassigned","event_timestamp":1}`,
		`{"huanxin_reason":"reassigned","huanxin_tenure_started_at":"2026-11-20T10:00:00+08:00"}`} {
		if valid(t, all, recycled, []byte(half)) == nil {
			t.Errorf("half a start is taken: %s", half)
		}
	}
}

func TestTheSchemaOfAnAnswerKnowsWhichReasonsGoWithAnOutcome(t *testing.T) {
	all := compiled(t)
	var example map[string]any
	for _, s := range feed.Schemas() {
		if s.URI == feed.UnbindResult {
			example = examples(t, s)[0]
		}
	}
	for o := huanxin.ActionRequired; o <= huanxin.NotBound; o++ {
		for r := huanxin.Removed; r <= huanxin.NotSynced; r++ {
			for _, link := range []string{"", "https://chat.example/confirm"} {
				answer := maps.Clone(example)
				answer["outcome"], answer["reason"] = o.String(), r.String()
				rule := huanxin.Answer{Outcome: o, Reason: r, Link: link}
				if link != "" {
					answer["link"] = link
				}
				payload, err := json.Marshal(answer)
				must(t, err)
				if got, want := valid(t, all, feed.UnbindResult, payload), rule.Check([]string{"chat.example"}); (got == nil) != (want == nil) {
					t.Errorf("%s %s %s: the schema says %v, the rule %v", o, r, link, got, want)
				}
			}
		}
	}
}
