package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// maxChecks is how many checks one JSON document may hold; lines are unlimited.
const maxChecks = 10_000

// headerAsOf bears the position in the number log that streamed answers are true for.
const headerAsOf = "Huanxin-As-Of"

// packedFrom is how long a JSON answer is at least before it is worth packing.
const packedFrom = 4 << 10

func (a *api) checkRoutes() []Route {
	return []Route{
		{Method: "POST", Path: "/v1/checks", Tag: "Checks", Summary: "Has the holder of each number changed since a time?",
			Description: "One JSON document of up to 10,000 checks, or lines without limit, NDJSON or CSV, in both directions at once: " +
				"each line comes back in order with outcome, reason and error added at its end, and what else it bears is passed through. " +
				"A line that is no check has no outcome and an error, and stops nothing. The header " + headerAsOf + " bears the position " +
				"that all lines are true for at least. Read while you send: answers that nobody takes are kept up to 64 MB. " +
				"A date means its last instant in the national time zone, today's date now; a date-time is exact. " +
				"UNKNOWN is never no: an SMS alone must then not open an account. The answer is packed by Accept-Encoding (gzip, zstd).",
			Scope: huanxin.ScopeNumbersCheck, Party: huanxin.AppParty, Limit: 4 << 20,
			Body:   &Content{Value: checksIn{}, Line: checkIn{}, Types: []string{typeJSON, typeNDJSON, typeCSV}},
			Answer: &Content{Value: checksOut{}, Line: checkOut{}, Types: []string{typeJSON, typeNDJSON, typeCSV}},
			Codes: []string{"too_many", "number_malformed", "malformed_time", "rate_limited", "quota_exceeded", "too_many_times",
				"read_while_sending", "too_slow"},
			Handler: a.checks},
		{Method: "GET", Path: "/v1/coverage", Tag: "Checks", Summary: "What each carrier has told, and until when",
			Scope: huanxin.ScopeNumbersCheck, Party: huanxin.AppParty, Answer: JSON(coverageOut{}),
			Handler: jsonHandler(http.StatusOK, a.coverage)},
	}
}

// checkIn is one check, for the documents; askedCheck reads it.
type checkIn struct {
	Number string `json:"number" doc:"In E.164 form."`
	Since  string `json:"since" doc:"T: a date YYYY-MM-DD, or a date-time with an offset (RFC 3339). When the account was bound to the number, or when the person was last made sure of by something other than this number."`
}

type checksIn struct {
	Checks []checkIn `json:"checks" doc:"At most 10,000."`
}

// askedCheck is one check as it came: what is wrong with its members concerns no other.
type askedCheck struct {
	Number jsontext.Value `json:"number,omitempty"`
	Since  jsontext.Value `json:"since,omitempty"`
}

type askedChecks struct {
	Checks []askedCheck `json:"checks"`
}

func (c *askedCheck) read() (core.Check, *huanxin.Error) {
	number, e := stringOf(c.Number, "number")
	if e != nil {
		return core.Check{}, e
	}
	since, e := stringOf(c.Since, "since")
	if e != nil {
		return core.Check{}, e
	}
	return readCheck(number, since)
}

// stringOf reads a member that must be a string with something in it.
func stringOf(v jsontext.Value, name string) ([]byte, *huanxin.Error) {
	switch {
	case len(v) == 0 || v.Kind() == 'n':
		return nil, huanxin.Errorf(huanxin.Invalid, "required", name+": must be given")
	case v.Kind() != '"':
		return nil, huanxin.Errorf(huanxin.Invalid, "wrong_type", name+": must be a string")
	}
	plain, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil, refusal(decodeError(v, err))
	}
	if len(plain) == 0 {
		return nil, huanxin.Errorf(huanxin.Invalid, "required", name+": must be given")
	}
	return plain, nil
}

type checkOut struct {
	Outcome string      `json:"outcome,omitempty" enum:"UNCHANGED,CHANGED,NO_HOLDER,UNKNOWN"`
	Reason  string      `json:"reason,omitempty" enum:"future,number_kind_unsupported,never_seen,before_coverage,carrier_late,reassigned,transferred"`
	FreshAt *Time       `json:"fresh_at,omitempty" doc:"Until when the carrier that serves the number has told everything. Not in lines."`
	Error   *checkError `json:"error,omitempty" doc:"Why there is no outcome. In CSV the code alone."`
}

type checkError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Line   int64  `json:"line,omitzero" doc:"In lines: the physical one, from 1."`
}

type checksOut struct {
	AsOf    int64      `json:"as_of" doc:"The position in the number log that the answers are true for: every event up to it is in them."`
	Results []checkOut `json:"results" doc:"In the order of the checks."`
}

type coverageOut struct {
	AsOf     int64             `json:"as_of"`
	Carriers []carrierCoverage `json:"carriers"`
}

type carrierCoverage struct {
	Carrier      string `json:"carrier"`
	CoveredSince *Time  `json:"covered_since,omitempty" doc:"Since when its changes of holder are known."`
	FreshAt      *Time  `json:"fresh_at,omitempty" doc:"Until when it has told everything."`
	Lag          *int64 `json:"lag_seconds,omitempty" doc:"How long ago that is."`
}

func (a *api) coverage(ctx context.Context, _ *http.Request, _ None) (coverageOut, error) {
	asOf, got, err := a.hub.Coverage(ctx, CallerFrom(ctx))
	if err != nil {
		return coverageOut{}, err
	}
	now := time.Now()
	return coverageOut{AsOf: asOf, Carriers: mapped(got, func(c core.CarrierCoverage) carrierCoverage {
		out := carrierCoverage{Carrier: c.Carrier.ID, CoveredSince: a.optionalTime(c.CoveredSince), FreshAt: a.optionalTime(c.FreshAt)}
		if !c.FreshAt.IsZero() {
			lag := int64(max(now.Sub(c.FreshAt), 0) / time.Second)
			out.Lag = &lag
		}
		return out
	})}, nil
}

func (a *api) checks(w http.ResponseWriter, r *http.Request) error {
	t, err := contentType(r, typeJSON, typeNDJSON, typeCSV)
	if err != nil {
		return err
	}
	if t != typeJSON {
		return a.streamChecks(w, r, t)
	}
	var in askedChecks
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	if len(in.Checks) > maxChecks {
		return badField("checks", "too_many", "at most 10,000 checks in a document; lines are unlimited")
	}
	out, err := a.answerChecks(r.Context(), in.Checks)
	if err != nil {
		return err
	}
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON)
	h.Set("Vary", "Accept-Encoding")
	if e := lines.Encoding(r.Header.Get("Accept-Encoding")); e != "" && len(body) >= packedFrom {
		h.Set("Content-Encoding", e)
		z := lines.Compress(e, w)
		_, _ = z.Write(body) // the other end is gone, which is its own affair
		_ = z.Close()
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
	return nil
}

// answerChecks answers those checks of a document that are checks, and says of the others what is wrong with them.
func (a *api) answerChecks(ctx context.Context, in []askedCheck) (checksOut, error) {
	out := checksOut{Results: make([]checkOut, len(in))}
	good := make([]core.Check, 0, len(in))
	place := make([]int, 0, len(in))
	for i := range in {
		c, err := in[i].read()
		if err != nil {
			out.Results[i].Error = checkErrorOf(err)
			continue
		}
		good, place = append(good, c), append(place, i)
	}
	call, err := a.hub.BeginChecks(ctx, CallerFrom(ctx), huanxin.ScopeNumbersCheck)
	if err != nil {
		return out, err
	}
	defer call.End()
	if err := call.Take(len(good)); err != nil {
		return out, err
	}
	call.Fresh = true
	answers := make([]core.Checked, len(good))
	if err := call.Answer(ctx, good, answers); err != nil {
		return out, err
	}
	out.AsOf = call.AsOf()
	refused := 0
	for i := range answers {
		if answers[i].Err != nil {
			refused++
		}
	}
	if refused > 0 && refused == len(in) { // nothing in it is an answer
		return out, answers[0].Err
	}
	for i := range answers {
		r := &out.Results[place[i]]
		if c := &answers[i]; c.Err != nil {
			r.Error = checkErrorOf(c.Err)
		} else {
			r.Outcome, r.Reason, r.FreshAt = c.Outcome.String(), c.Reason, a.optionalTime(c.FreshAt)
		}
	}
	return out, nil
}

// readCheck reads the two members of a check.
func readCheck[T string | []byte](number, since T) (c core.Check, err *huanxin.Error) {
	var e error
	if c.Number, e = huanxin.ParseNumber(string(number)); e == nil {
		c.Since, e = huanxin.ParseSince(since)
	}
	if e != nil {
		err = refusal(e)
	}
	return c, err
}

// checkErrorOf says what is wrong with one check, naming the member.
func checkErrorOf(e *huanxin.Error) *checkError {
	if len(e.Fields) == 1 {
		f := e.Fields[0]
		return &checkError{Code: f.Code, Detail: f.Field + ": " + f.Detail}
	}
	return &checkError{Code: e.Code, Detail: e.Detail}
}
