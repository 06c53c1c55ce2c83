package huanxin

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestASubjectOfAPhoneNumberIsItsNumber(t *testing.T) {
	for text, want := range map[string]string{
		`{"format":"phone_number","phone_number":"+8613800000001"}`:                                      "+8613800000001",
		`{"format":"phone_number","phone_number":"+12065550100","x":1}`:                                  "+12065550100",
		`{"format":"phone_number","phone_number":"+999123456789012"}`:                                    "+999123456789012",
		`{"format":"phone_number","phone_number":"+1206"}`:                                               "", // well-formed, and of nobody
		`{"format":"opaque","id":"+8613800000001"}`:                                                      "",
		`{"format":"email","email":"+8613800000001@example.com"}`:                                        "",
		`{"format":"uri","uri":"tel:+8613800000001"}`:                                                    "",
		`{"format":"ip-addresses","ip-addresses":["::1"]}`:                                               "",
		`{"format":"complex","user":{"format":"iss_sub","iss":"a","sub":"b"}}`:                           "",
		`{"format":"aliases","identifiers":[{"format":"phone_number","phone_number":"+8613800000001"}]}`: "",
	} {
		n, err := SubjectNumber(decoded(t, text))
		if err != nil || n.IsZero() != (want == "") || want != "" && n.E164() != want {
			t.Errorf("%s: %v %v", text, n.IsZero(), err)
		}
	}
}

func decoded(t testing.TB, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestARefusedSubjectHasACodeAndIsNotRepeated(t *testing.T) {
	for text, code := range map[string]string{
		`{}`: "malformed_subject", `{"format":"phone","phone_number":"+8613800000001"}`: "unknown_format", `{"format":"x8613800000001"}`: "unknown_format",
		`{"format":"phone_number","phone_number":"8613800000001"}`: "number_malformed", `{"format":"phone_number","phone_number":"+8670012345678901"}`: "number_malformed",
		`{"format":"complex","user":{"format":"phone_number","phone_number":"8613800000001"}}`: "number_malformed",
		`{"format":"complex","user":{"format":"complex"}}`:                                     "malformed_subject", `{"format":"aliases","identifiers":[{}]}`: "malformed_subject",
	} {
		_, err := SubjectNumber(decoded(t, text))
		e, ok := err.(*Error)
		if !ok || e.Kind != Invalid || len(e.Fields) != 1 || e.Fields[0].Code != code || strings.Contains(e.Error(), "8613800") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever comes, a number is given only for what RFC 9493 §3.2.5 has.
func FuzzSubjectNumber(f *testing.F) {
	for _, seed := range []string{`{"format":"phone_number","phone_number":"+8613800000001"}`, `{"format":"phone_number","phone_number":"+86700123456789012"}`,
		`{"format":"aliases","identifiers":[{"format":"opaque","id":"x"}]}`, `{"format":"complex","a":{"format":"aliases","identifiers":[]}}`, `{"format":"ip-addresses","ip-addresses":[""]}`} {
		f.Add(seed)
	}
	strict := regexp.MustCompile(`^\+[1-9][0-9]{3,14}$`)
	f.Fuzz(func(t *testing.T, text string) {
		var v map[string]any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		n, err := SubjectNumber(v)
		phone, _ := v["phone_number"].(string)
		well := v["format"] == "phone_number" && strict.MatchString(phone)
		switch {
		case err != nil && (KindOf(err) != Invalid || well || !n.IsZero()):
			t.Fatalf("%q: %v", text, err)
		case !n.IsZero() && (!well || n.E164() != phone):
			t.Fatalf("%q is taken for a number", text)
		case well && n.IsZero() && len(phone) > 5:
			t.Fatalf("%q is taken for none", text)
		}
	})
}
