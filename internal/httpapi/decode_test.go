package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/klauspost/compress/gzip"

	"github.com/huanxin-platform/huanxin"
)

type sample struct {
	Number Number       `json:"number"`
	Apps   []string     `json:"apps"`
	Proof  sampleProof  `json:"proof"`
	Note   *string      `json:"note"`
	Count  *int32       `json:"count" required:"true"`
	Parts  []samplePart `json:"parts,omitempty"`
	More   samplePart   `json:"more,omitzero"`
	Flag   bool         `json:"flag,omitempty"`
	embedded
}

type embedded struct {
	Place string `json:"place"`
}

type sampleProof struct {
	VerifiedAt Time `json:"verified_at"`
}

type samplePart struct {
	Name string `json:"name"`
}

const good = `{"number":"+8613912345678","apps":["a"],"proof":{"verified_at":"2026-03-02T09:00:00+08:00"},"count":0,"place":"x"}`

// with changes one thing in a good body.
func with(old, fresh string) string { return strings.Replace(good, old, fresh, 1) }

func complaints(err error) string {
	var e *huanxin.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	out := e.Code
	for _, f := range e.Fields {
		out += "; " + f.Field + " " + f.Code
	}
	return out
}

func TestAGoodBodyIsDecodedWhole(t *testing.T) {
	var v sample
	if err := Decode([]byte(good), &v); err != nil {
		t.Fatal(err)
	}
	if v.Number.E164() != "+8613912345678" || v.Place != "x" || *v.Count != 0 || v.Note != nil ||
		!v.Proof.VerifiedAt.Time().Equal(time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", v)
	}
}

func TestEveryKindOfBadBodyHasItsCodeAndNamesTheMember(t *testing.T) {
	for body, want := range map[string]string{
		``:                                             "malformed_json",
		` `:                                            "malformed_json",
		`{`:                                            "malformed_json",
		`{"apps":["a",]}`:                              "malformed_json; apps malformed_json",
		`{"number":+8613912345678}`:                    "malformed_json; number malformed_json",
		`{'number':1}`:                                 "malformed_json",
		good + `x`:                                     "malformed_json",
		good + `{}`:                                    "malformed_json",
		with(`"a"`, `"\ud800"`):                        "malformed_json; apps[0] malformed_json",
		with(`"count":0`, `"count":01`):                "malformed_json",
		with(`"apps"`, `"colour":1,"apps"`):            "unknown_member; colour unknown_member",
		with(`"apps"`, `"Apps"`):                       "unknown_member; Apps unknown_member",
		with(`"verified_at"`, `"by":1,"x"`):            "unknown_member; proof.by unknown_member",
		with(`"apps"`, `"+8613912345678"`):             "unknown_member; ? unknown_member",
		with(`"apps"`, `"3"`):                          "unknown_member; ? unknown_member",
		with(`"count"`, `"embedded":1,"c"`):            "unknown_member; embedded unknown_member",
		with(`"apps"`, `"number":"x","apps"`):          "duplicate_member; number duplicate_member",
		with(`["a"]`, `["a",13912345678]`):             "wrong_type; apps[1] wrong_type",
		with(`["a"]`, `"a"`):                           "wrong_type; apps wrong_type",
		with(`["a"]`, `{}`):                            "wrong_type; apps wrong_type",
		with(`"count":0`, `"count":1.5`):               "wrong_type; count wrong_type",
		with(`"count":0`, `"count":"0"`):               "wrong_type; count wrong_type",
		with(`"count":0`, `"count":99999999999`):       "wrong_type; count wrong_type",
		with(`"count"`, `"flag":"yes","count"`):        "wrong_type; flag wrong_type",
		with(`"+8613912345678"`, `8613912345678`):      "wrong_type; number wrong_type",
		with(`"2026-03-02T09:00:00+08:00"`, `1740877`): "wrong_type; proof.verified_at wrong_type",
		with(`{"verified_at":`, `[{"v":`) + `]`:        "wrong_type; proof wrong_type",
		`[]`:                                           "wrong_type",
		`"+8613912345678"`:                             "wrong_type",
		`null`:                                         "required; number required; apps required; proof required; count required; place required",
		`{}`:                                           "required; number required; apps required; proof required; count required; place required",
		with(`"a"`, "\"\xff\""):                        "invalid_utf8; apps[0] invalid_utf8",
		with(`"apps"`, "\"\xff\":1,\"apps\""):          "invalid_utf8",
		"\xff\xfe{\x00":                                "invalid_utf8",
		with(`"+8613912345678"`, `"13912345678"`):      "number_malformed; number number_malformed",
		with(`"+8613912345678"`, `"+86139123456781111111"`):       "number_malformed; number number_malformed",
		with(`2026-03-02T09:00:00+08:00`, `2026-03-02`):           "malformed_time; proof.verified_at malformed_time",
		with(`"number":"+8613912345678",`, ``):                    "required; number required",
		with(`"+8613912345678"`, `null`):                          "required; number required",
		with(`["a"]`, `null`):                                     "required; apps required",
		with(`{"verified_at":"2026-03-02T09:00:00+08:00"}`, `{}`): "required; proof required",
		with(`"count":0`, `"count":null`):                         "required; count required",
		with(`"place":"x"`, `"place":""`):                         "required; place required",
		with(`"count"`, `"parts":[{"name":"a"},{}],"count"`):      "required; parts[1].name required",
	} {
		var v sample
		err := Decode([]byte(body), &v)
		if got := complaints(err); got != want || huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("%q:\n got %s\nwant %s", body, got, want)
		}
		if err != nil && (strings.Contains(err.Error(), "391234") || strings.Contains(fmt.Sprintf("%+v", errors.Unwrap(err)), "391234")) {
			t.Errorf("%q: the error repeats the number: %v", body, err)
		}
	}
}

func TestWhatIsOptionalMayBeMissingNullOrEmpty(t *testing.T) {
	for _, body := range []string{
		with(`"count"`, `"note":null,"more":null,"parts":null,"flag":null,"count"`),
		with(`"count"`, `"note":"","parts":[],"more":{"name":"n"},"count"`),
	} {
		var v sample
		if err := Decode([]byte(body), &v); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestTheListOfComplaintsIsBounded(t *testing.T) {
	var v sample
	err := Decode([]byte(with(`"count"`, `"parts":[{}`+strings.Repeat(`,{}`, 5000)+`],"count"`)), &v)
	var e *huanxin.Error
	if !errors.As(err, &e) || len(e.Fields) != maxFieldErrors {
		t.Errorf("got %v", err)
	}
}

func TestTimesAreRFC3339WithAnOffsetFrom1970To9999ToTheMicrosecond(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-01T08:00:00+08:00":           "2026-03-01T08:00:00+08:00",
		"2026-03-01T00:00:00Z":                "2026-03-01T00:00:00Z",
		"2026-03-01T00:00:00.123456789Z":      "2026-03-01T00:00:00.123456Z",
		"1970-01-01T00:00:00Z":                "1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z":                "9999-12-31T23:59:59Z",
		"2024-02-29T00:00:00-11:00":           "2024-02-29T00:00:00-11:00",
		"1969-12-31T23:59:59Z":                "",
		"1970-01-01T00:00:00+08:00":           "",
		"9999-12-31T23:59:59-01:00":           "",
		"0001-01-01T00:00:00Z":                "",
		"10000-01-01T00:00:00Z":               "",
		"2026-03-01T08:00:00":                 "",
		"2026-03-01":                          "",
		"2026-03-01 08:00:00+08:00":           "",
		"2026-03-01T08:00:00+0800":            "",
		"2026-03-01T08:00:00,5Z":              "",
		"2026-03-01T8:00:00Z":                 "",
		"2026-02-30T00:00:00Z":                "",
		"2025-02-29T00:00:00Z":                "",
		"2026-03-01T24:00:00Z":                "",
		"2026-03-01T08:00:00+24:00":           "",
		"2026-03-01T08:00:00Z ":               "",
		"":                                    "",
		"1772323200":                          "",
		"２０２６-03-01T08:00:00Z":                "",
		"2026-03-01T08:00:00[Asia/Shanghai]Z": "",
	} {
		var v Time
		err := v.UnmarshalText([]byte(text))
		if want == "" {
			if huanxin.CodeOf(err) != "malformed_time" || !v.IsZero() {
				t.Errorf("%q: %v, %v", text, v.Time(), err)
			}
			continue
		}
		got, _ := v.MarshalText()
		if err != nil || string(got) != want {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestANumberIsWrittenInFullInABodyAndNowhereElse(t *testing.T) {
	n, err := huanxin.ParseNumber("+8613912345678")
	if err != nil {
		t.Fatal(err)
	}
	v := sample{Number: Number{n}}
	body, err := jsonv2.Marshal(v)
	if err != nil || !strings.Contains(string(body), `"number":"+8613912345678"`) {
		t.Errorf("a body of ours: %s, %v", body, err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("x", "n", v.Number, "p", &v.Number, "v", v, "vp", &v)
	}
	old, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{log.String(), string(old), fmt.Sprint(v), fmt.Sprintf("%+v %#v %s %d %x", v, v.Number, v.Number, v.Number, v.Number)} {
		if strings.Contains(text, "391234") || strings.Contains(text, fmt.Sprintf("%x", n.Digits())) {
			t.Errorf("the number is in %s", text)
		}
	}
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func squeezed(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAJSONBodyMustSayThatItIsJSONInUTF8(t *testing.T) {
	for contentType, ok := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, `Application/JSON;charset="UTF-8"`: true,
		"application/json;charset=us-ascii": true, "application/json; profile=x": true,
		"": false, "text/plain": false, "application/x-ndjson": false, "application/problem+json": false,
		"application/json; charset=gbk": false, "application/json, text/plain": false, "json": false,
	} {
		var v sample
		err := readJSON(httptest.NewRecorder(), post(contentType, good), &v)
		if ok != (err == nil) || !ok && (huanxin.CodeOf(err) != "unsupported_media_type" || huanxin.KindOf(err) != huanxin.Unsupported) {
			t.Errorf("%q: %v", contentType, err)
		}
	}
	r := post("application/json", good)
	r.Header.Add("Content-Type", "text/plain")
	if _, err := readBody(httptest.NewRecorder(), r, 1000); huanxin.CodeOf(err) != "unsupported_media_type" {
		t.Errorf("two content types: %v", err)
	}
}

func TestABodyOverTheLimitIsTooLargeAsSentAndUnpacked(t *testing.T) {
	long := `"` + strings.Repeat("x", 5000) + `"`
	packed := squeezed(t, long)
	for name, tc := range map[string]struct {
		body     string
		encoding string
		limit    int64
		code     string
	}{
		"within":              {long, "", 5002, ""},
		"one byte over":       {long, "", 5001, "body_too_large"},
		"packed within":       {packed, "gzip", 5002, ""},
		"a bomb":              {packed, "gzip", 5001, "body_too_large"},
		"packed and too long": {packed, "gzip", int64(len(packed)) - 1, "body_too_large"},
		"damaged":             {packed[:20], "gzip", 5002, "broken_body"},
		"not packed at all":   {long, "gzip", 5002, "broken_body"},
		"unknown encoding":    {long, "br", 5002, "unsupported_encoding"},
	} {
		r := post("application/json", tc.body)
		if tc.encoding != "" {
			r.Header.Set("Content-Encoding", tc.encoding)
		}
		data, err := readBody(httptest.NewRecorder(), r, tc.limit)
		if tc.code == "" && (err != nil || string(data) != long) || tc.code != "" && huanxin.CodeOf(refusal(err)) != tc.code {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

func TestABodyThatBreaksOffIsNotJSONOfTheRest(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(good), errReader{}))
	r.Header.Set("Content-Type", "application/json")
	var v sample
	if err := readJSON(httptest.NewRecorder(), r, &v); huanxin.CodeOf(err) != "broken_body" {
		t.Errorf("got %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzDecode(f *testing.F) {
	f.Add(good)
	f.Add(`{"number":1,"parts":[{"name":"x"}]}`)
	f.Add("{\"+86138\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, body string) {
		var v, again sample
		if err := Decode([]byte(body), &v); err != nil {
			if huanxin.KindOf(err) != huanxin.Invalid || codeIndex[huanxin.CodeOf(err)].Code == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		out, err := jsonv2.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(out, &again); err != nil {
			t.Fatalf("%s, written again as %s: %v", body, out, err)
		}
	})
}
