package httpapi

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// subject is a subject identifier (RFC 9493), for the documents.
type subject struct{}

// SchemaYAML describes it in the OpenAPI document.
func (subject) SchemaYAML() string {
	return `{type: object, required: [format], properties: {format: {type: string, examples: [phone_number]}, phone_number: {type: string, pattern: '^\+[1-9][0-9]{3,14}$', examples: ['+8613800000001']}}, description: "A subject identifier (RFC 9493)."}`
}

// subjectNamed and subjectAdded are for the documents.
type subjectNamed struct {
	StreamID string  `json:"stream_id"`
	Subject  subject `json:"subject"`
}

type subjectAdded struct {
	subjectNamed
	Verified *bool `json:"verified" doc:"Whether the receiver has made sure that the subject is right. The hub makes no difference."`
}

func (a *api) changeSubject(remove bool, status int) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := readMembers(w, r)
		if err != nil {
			return err
		}
		m := memberReader{in: in}
		id, of := m.needed("stream_id"), readAs[map[string]any](&m, "subject")
		if !remove {
			readAs[bool](&m, "verified")
		}
		switch {
		case m.err != nil:
			return m.err
		case of.Value == nil:
			return badField("subject", "required", "must be given")
		}
		n, err := huanxin.SubjectNumber(*of.Value)
		if err != nil {
			return err
		}
		if err := a.hub.ChangeSubject(r.Context(), CallerFrom(r.Context()), id, n, remove); err != nil {
			return err
		}
		return writeJSON(w, status, None{})
	}
}

// subjectLine is a line of many subjects: what was written, which subjectOf reads.
type subjectLine struct{ text jsontext.Value }

// UnmarshalJSONFrom keeps the line.
func (l *subjectLine) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	v, err := from.ReadValue()
	l.text = v.Clone()
	return err
}

// MarshalJSONTo gives it back.
func (l subjectLine) MarshalJSONTo(to *jsontext.Encoder) error { return to.WriteValue(l.text) }

// SchemaYAML describes it in the OpenAPI document.
func (subjectLine) SchemaYAML() string {
	return `{oneOf: [` + subject{}.SchemaYAML() + `, {type: object, required: [subject], properties: {op: {type: string, enum: [add, remove], default: add}, subject: ` +
		subject{}.SchemaYAML() + `}}]}`
}

func (a *api) changeSubjects(w http.ResponseWriter, r *http.Request) error {
	id, err := neededStream(r)
	if err != nil {
		return err
	}
	body, err := readLines[subjectLine](r)
	if err != nil {
		return err
	}
	got, err := a.hub.ChangeSubjects(r.Context(), CallerFrom(r.Context()), id, each(body, subjectOf))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, receiptOf(got))
}

func subjectOf(l *Line[subjectLine]) core.SubjectLine {
	out := core.SubjectLine{Line: l.Line}
	if l.Err != nil {
		out.Err = l.Err
		return out
	}
	out.Number, out.Remove, out.Err = readSubjectLine(l.Value.text)
	if own, ok := errors.AsType[*huanxin.Error](out.Err); ok {
		out.Err = own
	}
	return out
}

// readSubjectLine reads a subject, or an object that says what is to be done with one.
func readSubjectLine(text []byte) (n huanxin.Number, remove bool, err error) {
	var line map[string]any
	if err := json.Unmarshal(text, &line, lenient); err != nil || line == nil {
		return n, false, badField("", "wrong_type", "must be an object")
	}
	_, told := line["op"]
	inner, wrapped := line["subject"]
	if !told && !wrapped {
		n, err = huanxin.SubjectNumber(line)
		return n, false, err
	}
	op, _ := line["op"].(string)
	if told && op != "add" && op != "remove" {
		return n, false, badField("op", "unknown_op", "must be add or remove")
	}
	subject, ok := inner.(map[string]any)
	if !ok {
		return n, false, badField("subject", "required", "must be given, as an object")
	}
	n, err = huanxin.SubjectNumber(subject)
	return n, op == "remove", err
}
