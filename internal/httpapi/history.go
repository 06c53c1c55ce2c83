package httpapi

import (
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func (a *api) historyRoutes() []Route {
	return []Route{
		{Method: "POST", Path: "/v1/history", Tag: "Carriers", Summary: "Load what was known before taking part",
			Description: "Any number of lines, each the present tenure of a number. Sending a file again changes nothing; a refused line stops no other. " +
				"It is no news: nobody is told of it. A number's line that says otherwise than the one before is refused as id_conflict under the id that the hub gave its event, " +
				"by which a corrected event voids it; what is true is then reported as an event.",
			Scope: huanxin.ScopeNumbersReport, Party: huanxin.CarrierParty,
			Query: []Param{
				{Name: "covered_since", Type: date{}, Doc: "The first day from which the carrier knows every change of holder of its numbers. It moves only to earlier days."},
				{Name: "complete_until", Type: Time{}, Doc: "Until when the carrier has now told everything. Both are taken when no line was refused but for its number's kind; an empty body counts."}},
			Body: NDJSONOrCSV(historyLine{}), Answer: JSON(historyReceipt{}),
			Codes: []string{"out_of_order", "in_future", "id_conflict", "cooling_too_short", "not_serving", "too_many_events",
				"number_kind_unsupported", "unknown_origin", "too_early", "malformed_time", "date_malformed", "number_malformed"},
			Handler: a.importHistory},
	}
}

// historyLine is the present tenure of one number.
type historyLine struct {
	Number    Number `json:"number"`
	StartedAt start  `json:"tenure_started_at"`
	Origin    string `json:"origin" enum:"first,reassigned,transferred,unknown"`
}

type historyReceipt struct {
	receipt
	Flagged       int64 `json:"flagged" doc:"Accepted lines of numbers on segments that the number plan does not know."`
	CoveredSince  *date `json:"covered_since,omitempty" doc:"Since when the carrier's changes of holder are known, as the hub now takes it."`
	CompleteUntil *Time `json:"complete_until,omitempty" doc:"Until when the carrier has told everything, as the hub now takes it."`
}

// start is when a tenure began: a date-time with an offset, to the microsecond, or where only that is known a date.
type start struct {
	at    time.Time
	day   huanxin.Date
	given bool
}

// UnmarshalText reads either form and refuses anything else with the code malformed_time.
func (s *start) UnmarshalText(text []byte) error {
	malformed := huanxin.Errorf(huanxin.Invalid, "malformed_time",
		"must be a time such as 2026-03-01T08:00:00+08:00 (RFC 3339, with an offset), or a date such as 2026-03-01")
	s.given = true
	if len(text) == len(time.DateOnly) {
		day, err := huanxin.ParseDate(string(text))
		if s.day = day; err != nil {
			return malformed
		}
		return nil
	}
	since, err := huanxin.ParseSince(text)
	if err != nil {
		return malformed
	}
	s.at = since.At(&huanxin.Present{}) // it is exact: the present says nothing to it
	return nil
}

// SchemaYAML describes it in the OpenAPI document.
func (start) SchemaYAML() string {
	return `{type: string, description: "A date-time with an offset, or a date where only the day is known: then the tenure began at some moment of that day, and checks with an exact time on it are UNKNOWN. With origin unknown: the earliest proven moment or day.", examples: ["2026-03-01T08:00:00+08:00", "2026-03-01"]}`
}

// date is a day on the wire.
type date struct{ huanxin.Date }

// MarshalText writes YYYY-MM-DD.
func (d date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads YYYY-MM-DD and refuses anything else with the code date_malformed.
func (d *date) UnmarshalText(text []byte) (err error) {
	d.Date, err = huanxin.ParseDate(string(text))
	return err
}

// SchemaYAML describes it in the OpenAPI document.
func (date) SchemaYAML() string { return `{type: string, format: date, examples: ["2026-03-01"]}` }

func (a *api) importHistory(w http.ResponseWriter, r *http.Request) error {
	var told core.HistoryTold
	if text := r.URL.Query().Get("covered_since"); text != "" {
		var err error
		if told.CoveredSince, err = huanxin.ParseDate(text); err != nil {
			return badField("covered_since", "date_malformed", "must be a date such as 2026-03-01")
		}
	}
	if text := r.URL.Query().Get("complete_until"); text != "" {
		var until Time
		if err := until.UnmarshalText([]byte(text)); err != nil {
			return badField("complete_until", "malformed_time", "must be a time such as 2026-03-01T08:00:00+08:00, percent-encoded")
		}
		told.CompleteUntil = until.Time()
	}
	body := iter.Seq2[Line[historyLine], error](func(func(Line[historyLine], error) bool) {})
	if !bodyless(r) { // without lines it states what it is told, whatever its content type
		var err error
		if body, err = readLines[historyLine](r); err != nil {
			return err
		}
	}
	got, err := a.hub.ImportHistory(r.Context(), CallerFrom(r.Context()), each(body, tenureOf), told)
	if err != nil {
		return err
	}
	out := historyReceipt{receipt: receiptOf(got), Flagged: got.Flagged, CompleteUntil: a.optionalTime(got.CompleteUntil)}
	if !got.CoveredSince.IsZero() {
		out.CoveredSince = &date{huanxin.DateOf(got.CoveredSince, a.zone)}
	}
	return writeJSON(w, http.StatusOK, out)
}

// bodyless reports whether nothing was sent. Of a body of unknown length and without a content type it reads a byte, for with
// one it is refused anyway.
func bodyless(r *http.Request) bool {
	if r.ContentLength >= 0 || r.Header.Get("Content-Type") != "" {
		return r.ContentLength == 0
	}
	_, err := io.ReadFull(r.Body, make([]byte, 1))
	return err == io.EOF
}

func tenureOf(l *Line[historyLine]) core.HistoryLine {
	v := &l.Value
	out := core.HistoryLine{Line: l.Line, Number: v.Number.Number, StartedAt: v.StartedAt.at, Day: v.StartedAt.day}
	if l.Err != nil {
		out.Err = l.Err
		return out
	}
	out.Origin, out.Err = huanxin.ParseTenureOrigin(v.Origin)
	return out
}
