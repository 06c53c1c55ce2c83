package huanxin

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrorKind says what sort of refusal an Error is. Each interface turns kinds
// into its own form (RFC 9457 problem documents, exit codes) in one table.
type ErrorKind uint8

// The kinds of refusal. The HTTP status that each becomes stands beside it.
const (
	Internal        ErrorKind = iota // 500: a fault of ours; its text is never shown to an outsider
	Invalid                          // 400: the input is not of the form that was asked for
	Unauthenticated                  // 401: nobody we know
	Forbidden                        // 403: known, but may not
	NotFound                         // 404: is not there, or belongs to someone else
	Conflict                         // 409: clashes with what is already so
	TooLarge                         // 413: the body is longer than is taken
	Unsupported                      // 415: a content type or encoding that is not taken
	Refused                          // 422: well-formed, and the rules say no
	Limited                          // 429: too often; see Error.RetryAfter
	Unavailable                      // 503: not now
)

// Error is a refusal as a value. Detail is written for the person at the other
// end and never holds a phone number, a key or an internal text.
type Error struct {
	Kind   ErrorKind
	Code   string // stable, for programs: "id_conflict"
	Detail string // for people, one sentence
	// Reason narrows Code where a rule of DOMAIN.md §7 names one: "ineligible" with "proof_stale".
	Reason string
	// Fields lists what is wrong, where several things are.
	Fields []FieldError
	// RetryAfter is how long to wait before asking again; zero says nothing.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

// FieldError is one thing that is wrong with one field or one line of an input.
type FieldError struct {
	Field  string // a JSON member path such as "proof.verified_at"; empty when Line is set
	Line   int64  // a physical line, from 1; zero when Field is set
	Code   string
	Detail string
}

// Error gives code and detail, and the fields, as one line without the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code)
	if e.Reason != "" {
		b.WriteString(" (" + e.Reason + ")")
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, f := range e.Fields {
		where := f.Field
		if where == "" {
			where = "line " + strconv.FormatInt(f.Line, 10)
		}
		b.WriteString("; " + where + " " + f.Code + ": " + f.Detail)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes a refusal of a kind with a stable code and a sentence for people.
func Errorf(kind ErrorKind, code, detail string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail}
}

// BadField makes an Invalid refusal that names one field.
func BadField(field, code, detail string) *Error {
	return &Error{Kind: Invalid, Code: "invalid", Detail: field + ": " + detail,
		Fields: []FieldError{{Field: field, Code: code, Detail: detail}}}
}

// KindOf gives the kind of the first *Error in err's chain, or Internal.
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// CodeOf gives the code of the first *Error in err's chain, or "internal".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return "internal"
}
