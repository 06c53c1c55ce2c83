package httpapi

import (
	"io"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// CAMARA NumberRecycling 0.2.0 (release r2.2 of github.com/camaraproject/NumberRecycling), to the byte. Where its definition is
// silent, Commonalities 0.6 speaks, to which it refers: the codes beside those of the definition, and what a bad x-correlator is.

const recyclingPath = "/number-recycling/v0.2/check"

// maxRecycling is how long a question may be. It has two short members; others are ignored.
const maxRecycling = 64 << 10

func (a *api) camaraRoutes() []Route {
	own, codes := camaraDocs()
	return []Route{{Method: "POST", Path: recyclingPath, Tag: "CAMARA", Summary: "Check whether the subscriber of the phone number has changed",
		Description: "CAMARA NumberRecycling 0.2.0. With a token of the client's own the number stands in phoneNumber; with one that is bound " +
			"to a number (grant_type urn:ietf:params:oauth:grant-type:jwt-bearer) phoneNumber must be left out. Unknown members are ignored.",
		Scope: huanxin.ScopeNumberRecycling, Party: huanxin.AppParty, Lenient: true, Limit: maxRecycling,
		Header: []Param{{Name: "x-correlator", Doc: "Correlation id for the different services: every answer has it, or one of ours.",
			Type: correlator("")}},
		Body: JSON(recyclingCheck{}), Answer: JSON(recyclingInfo{}),
		Errors: writeCamara, OwnErrors: own, OwnCodes: codes, Handler: a.checkRecycling}}
}

// recyclingCheck is CreateCheckNumRecycling, for the documents; readRecycling reads it.
type recyclingCheck struct {
	PhoneNumber   string `json:"phoneNumber,omitempty" pattern:"^\\+[1-9][0-9]{4,14}$" example:"+8613800000001" doc:"A phone number in E.164 form."`
	SpecifiedDate string `json:"specifiedDate" format:"date" example:"2024-10-31" doc:"The date since which the subscriber may have changed; its last instant counts, and today's the present one."`
}

// recyclingInfo is CheckNumRecyclingInfo, for the documents.
type recyclingInfo struct {
	PhoneNumberRecycled bool `json:"phoneNumberRecycled" doc:"Whether there has been a change in the subscriber associated with the phone number after specifiedDate."`
}

var (
	recycled    = []byte(`{"phoneNumberRecycled":true}`)
	notRecycled = []byte(`{"phoneNumberRecycled":false}`)
)

func (a *api) checkRecycling(w http.ResponseWriter, r *http.Request) error {
	if err := checkCorrelator(r); err != nil {
		return err
	}
	q, err := readRecycling(w, r)
	if err != nil {
		return err
	}
	x := exchangeFrom(r.Context())
	switch bound := x.caller.Bound; {
	case bound.IsZero() && q.Number.IsZero():
		return errMissing
	case !bound.IsZero() && !q.Number.IsZero():
		return errUnnecessary
	case !bound.IsZero():
		q.Number = bound.Number
	}
	checks, err := a.hub.BeginChecks(r.Context(), x.caller, huanxin.ScopeNumberRecycling)
	if err != nil {
		return err
	}
	defer checks.End()
	if err := checks.Take(1); err != nil {
		return err
	}
	in, out := [1]core.Check{q}, [1]core.Checked{}
	if err := checks.Answer(r.Context(), in[:], out[:]); err != nil {
		return err
	}
	if out[0].Err != nil {
		return out[0].Err
	}
	body, err := recyclingAnswer(out[0].Outcome, out[0].Reason)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = contentJSON
	// The definition has neither, no cache keeps what a POST was answered (RFC 9111 §3), and no browser guesses at JSON that a
	// program asked for: on the hottest path each header costs both ends.
	delete(h, "Cache-Control")
	delete(h, "X-Content-Type-Options")
	correlate(h, x, r)
	_, _ = w.Write(body) // the other end is gone, which is its own affair
	return nil
}

// recyclingAnswer says an outcome as DOMAIN.md §5 has it for CAMARA.
func recyclingAnswer(outcome huanxin.CheckOutcome, reason string) ([]byte, error) {
	switch outcome {
	case huanxin.Unchanged:
		return notRecycled, nil
	case huanxin.Changed, huanxin.NoHolder:
		return recycled, nil
	}
	switch reason {
	case huanxin.CheckFuture, huanxin.CheckBeforeCoverage:
		return nil, errRange
	case huanxin.CheckUnsupported, huanxin.CheckCarrierLate:
		return nil, errNotApplicable
	case huanxin.CheckNeverSeen:
		return nil, errNotFound
	}
	return nil, &huanxin.Error{Kind: huanxin.Internal, Code: "internal", Detail: "an outcome without a word in CAMARA"}
}

// question buffers hold a usual body.
var questions = sync.Pool{New: func() any { return new([512]byte) }}

// readRecycling reads the question; its number is zero where none was given.
func readRecycling(w http.ResponseWriter, r *http.Request) (core.Check, error) {
	if n := r.ContentLength; 0 < n && n <= 512 && len(r.Header["Content-Encoding"]) == 0 && onlyJSON(r.Header["Content-Type"]) {
		buf := questions.Get().(*[512]byte)
		defer questions.Put(buf)
		if _, err := io.ReadFull(r.Body, buf[:n]); err != nil {
			return core.Check{}, readError(err)
		}
		return parseRecycling(buf[:n])
	}
	body, err := readBody(w, r, maxRecycling)
	if err != nil {
		return core.Check{}, err
	}
	return parseRecycling(body)
}

func onlyJSON(contentType []string) bool { return len(contentType) == 1 && contentType[0] == typeJSON }

// parseRecycling reads a question by the definition's schema, and refuses one that has a member twice.
func parseRecycling(body []byte) (core.Check, error) {
	number, date, usual := usualRecycling(body)
	if !usual {
		var err error
		if number, date, err = anyRecycling(body); err != nil {
			return core.Check{}, err
		}
	}
	var q core.Check
	var err error
	if number != nil {
		if len(number) > maxE164 {
			return q, errArgument
		}
		if q.Number, err = huanxin.ParseNumber(string(number)); err != nil {
			return q, errArgument
		}
	}
	if len(date) != len("2024-10-31") {
		return q, errArgument
	}
	if q.Since, err = huanxin.ParseSince(date); err != nil {
		return q, errArgument
	}
	return q, nil
}

// maxE164 is the definition's bound: a plus sign and 15 digits. China's longest privacy numbers have two more and are refused here.
const maxE164 = 1 + 15

// anyRecycling reads any JSON object as encoding/json's second version does. What is not given is nil.
func anyRecycling(body []byte) (number, date []byte, err error) {
	var q struct {
		PhoneNumber   jsontext.Value `json:"phoneNumber"`
		SpecifiedDate jsontext.Value `json:"specifiedDate"`
	}
	if json.Unmarshal(body, &q, lenient) != nil || q.SpecifiedDate.Kind() != '"' || q.PhoneNumber != nil && q.PhoneNumber.Kind() != '"' {
		return nil, nil, errArgument
	}
	if q.PhoneNumber != nil {
		if number, err = jsontext.AppendUnquote([]byte{}, q.PhoneNumber); err != nil {
			return nil, nil, errArgument
		}
	}
	if date, err = jsontext.AppendUnquote([]byte{}, q.SpecifiedDate); err != nil {
		return nil, nil, errArgument
	}
	return number, date, nil
}

// usualRecycling reads an object of one or both of the two members, once each, with plain ASCII values: what nearly everybody
// sends. For everything else it is not usual, and says nothing of whether it is right.
func usualRecycling(body []byte) (number, date []byte, usual bool) {
	s := scanner{rest: body}
	if !s.take('{') {
		return nil, nil, false
	}
	for {
		name, ok := s.text()
		if !ok || !s.take(':') {
			return nil, nil, false
		}
		value, ok := s.text()
		switch {
		case !ok:
			return nil, nil, false
		case string(name) == "phoneNumber" && number == nil:
			number = value
		case string(name) == "specifiedDate" && date == nil:
			date = value
		default:
			return nil, nil, false
		}
		if !s.take(',') {
			break
		}
	}
	return number, date, s.take('}') && s.ended() && date != nil
}

// scanner reads the tokens that a usual question is made of.
type scanner struct{ rest []byte }

func (s *scanner) blanks() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\r' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) take(c byte) bool {
	s.blanks()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) ended() bool {
	s.blanks()
	return len(s.rest) == 0
}

// text gives a string of printable ASCII without escapes; never nil.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for i, c := range s.rest {
		switch {
		case c == '"':
			t := s.rest[:i:i]
			s.rest = s.rest[i+1:]
			return t, true
		case c == '\\', c < ' ', c > '~':
			return nil, false
		}
	}
	return nil, false
}
