package httpapi_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
)

// FuzzRecycling reads anything as a question, and asks the definition's own schema what is one. What the quick reader takes, the
// general one reads as the same.
func FuzzRecycling(f *testing.F) {
	for _, s := range []string{
		`{"phoneNumber":"+8613800000001","specifiedDate":"2024-10-31"}`, `{"specifiedDate":"2024-02-29"}`, `{}`, ``, `null`, `[]`,
		` { "specifiedDate" : "2023-02-29" , "phoneNumber" : "+123456789" } `, `{"specifiedDate":"2024-10-31","x":{"specifiedDate":1}}`,
		`{"phoneNumber":null,"specifiedDate":"2024-10-31"}`, `{"phoneNumber":"\u002b12345","specifiedDate":"2024-10-31"}`,
		`{"specifiedDate":"2024-10-31","specifiedDate":"2024-10-31"}`, `{"specifiedDate":"0000-01-01"}`, `{"specifiedDate":"2024-10-31",}`,
		"{\"specifiedDate\":\"2024-10-31\"}\x00", "\ufeff{}", `{"phoneNumber":"+86700123456789012","specifiedDate":"9999-12-31"}`,
		`{"phoneNumber":"+12345\n","specifiedDate":"2024-10-31"}`, `{"SpecifiedDate":"2024-10-31","specifiedDate":"2024-10-31"}`,
	} {
		f.Add([]byte(s))
	}
	_, schemas := camaraFacts()
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := httpapi.ParseRecycling(body)
		if number, date, usual := httpapi.UsualRecycling(body); usual {
			n, d, err := httpapi.AnyRecycling(body)
			if err != nil || !bytes.Equal(n, number) || !bytes.Equal(d, date) || (n == nil) != (number == nil) {
				t.Errorf("%q: quickly %q %q, else %q %q %v", body, number, date, n, d, err)
			}
		}
		strict := jsontext.Value(body).IsValid() // UTF-8, and no member twice
		v, jsonErr := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		defined := strict && jsonErr == nil && schemas["request"].Validate(v) == nil
		if m, ok := v.(map[string]any); ok && defined && strings.HasPrefix(m["specifiedDate"].(string), "0000") {
			return // there is no such year in the calendar
		}
		if defined != (err == nil) {
			t.Errorf("%q: by the definition %v, here %v", body, defined, err)
		}
		switch {
		case err != nil && (huanxin.CodeOf(err) != "INVALID_ARGUMENT" || strings.Contains(err.Error(), "123")):
			t.Errorf("%q: %v", body, err)
		case err == nil:
			m := v.(map[string]any)
			if n, _ := m["phoneNumber"].(string); n != "" && q.Number.E164() != n || n == "" && !q.Number.IsZero() || q.Since.Exact() {
				t.Errorf("%q: read as another question", body)
			}
		}
	})
}

func TestAUsualQuestionIsReadWithoutAllocations(t *testing.T) {
	body := []byte(`{"phoneNumber": "+8613800000001", "specifiedDate": "2024-10-31"}`)
	if _, _, usual := httpapi.UsualRecycling(body); !usual {
		t.Fatal("it is not usual")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := httpapi.ParseRecycling(body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
