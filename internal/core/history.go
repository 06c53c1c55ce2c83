package core

import (
	"context"
	"iter"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// HistoryLine is one line of history: since when the present holder of a number has it, and how they came by it.
type HistoryLine struct {
	Line   int64
	Number huanxin.Number
	// StartedAt is the tenure's start, with OriginUnknown the earliest proven day. Day stands in its place where only that is known.
	StartedAt time.Time
	Day       huanxin.Date
	Origin    huanxin.TenureOrigin
	Err       error // a *huanxin.Error
}

// HistoryTold is what a carrier states with its history; zero: it does not.
type HistoryTold struct {
	// CoveredSince is the first day from which it knows every change of holder of its numbers.
	CoveredSince  huanxin.Date
	CompleteUntil time.Time
}

// ImportHistory takes what a carrier knew before it took part: the present tenure of each of its numbers. Each line becomes
// events of the number log, under the rules and with the guarantees of ReportEvents; the events bear names of the hub's, the
// same for the same number and carrier, so that a line sent again is a duplicate, and another about the same number an id_conflict.
// A line that says only what the log says already is a duplicate, too. What was told is taken when no line was refused but for
// its number's kind.
//
// A start that is known only to the day is kept as that: see huanxin.Standing.StartedOnDay.
func (h *Hub) ImportHistory(ctx context.Context, who huanxin.Caller, lines iter.Seq2[HistoryLine, error], told HistoryTold) (Receipt, error) {
	r := &reporter{h: h, who: who, what: "history", history: true, completeUntil: told.CompleteUntil}
	if told.CoveredSince != (huanxin.Date{}) {
		if err := h.checkCoveredSince(told.CoveredSince); err != nil {
			return r.receipt, err
		}
		r.coveredSince, _ = told.CoveredSince.In(h.calendar.Zone())
	}
	return r.run(ctx, func(yield func(EventLine, error) bool) {
		for l, err := range lines {
			if !yield(h.pastOf(&l), err) {
				return
			}
		}
	})
}

func (h *Hub) checkCoveredSince(day huanxin.Date) error {
	zone := h.calendar.Zone()
	switch {
	case day.Before(huanxin.DateOf(huanxin.EarliestEvent, zone)):
		return huanxin.BadField("covered_since", "too_early", "must not be before November 1987, when mobile numbers began")
	case huanxin.DateOf(now(), zone).Before(day):
		return huanxin.BadField("covered_since", "in_future", "must not be after today")
	}
	return nil
}

// secondSuffix ends the name of the second event of a line.
const secondSuffix = ":transferred"

// pastOf makes the first event of a line of history. Where it is of a transfer another one follows.
func (h *Hub) pastOf(l *HistoryLine) EventLine {
	out := EventLine{Line: l.Line, Err: l.Err}
	if out.Err == nil && l.Origin == 0 {
		out.Err = huanxin.BadField("origin", "required", "first, reassigned, transferred or unknown")
	}
	if l.Number.IsZero() {
		if out.Err == nil {
			out.Err = huanxin.BadField("number", "required", "history is of a number")
		}
		return out
	}
	out.origin = l.Origin
	out.Event = huanxin.Event{ID: huanxin.HistoryPrefix + h.keys.History(l.Number), Number: l.Number, Kind: huanxin.Activated, At: l.StartedAt}
	for _, name := range h.keys.OlderHistory(l.Number) {
		out.older = append(out.older, huanxin.HistoryPrefix+name)
	}
	if l.Day != (huanxin.Date{}) {
		out.Event.At, _ = l.Day.In(h.calendar.Zone())
		out.Event.OnDay = true
	}
	switch l.Origin {
	case huanxin.OriginFirst:
		out.Event.Origin = huanxin.ActivatedFirst
	case huanxin.OriginReassigned:
		out.Event.Origin = huanxin.ActivatedReassigned
	default: // of a transferred number nobody says since when it was held before, only that it was
		out.Event.Origin = huanxin.ActivatedUnknown
	}
	return out
}

// appendNames adds the names, beside its event's id, under which events of the line may be known.
func (l *EventLine) appendNames(names []string) []string {
	names = append(names, l.older...)
	if l.origin != huanxin.OriginTransferred && l.origin != huanxin.OriginUnknown {
		return names // their first events differ from that of a transfer
	}
	names = append(names, l.Event.ID+secondSuffix)
	for _, name := range l.older {
		names = append(names, name+secondSuffix)
	}
	return names
}

// findPast gives what was accepted before under a line's names, and the name.
func (c *chunk) findPast(l *EventLine) (first, second huanxin.Event, name string) {
	name = l.Event.ID
	first = c.find(name)
	for i := 0; first.No == 0 && i < len(l.older); i++ {
		name = l.older[i]
		first = c.find(name)
	}
	if first.No != 0 {
		second = c.find(name + secondSuffix)
	}
	return first, second, name
}

// takePast judges a line of history, of which e is the first event. Only a fault of ours is an error.
func (c *chunk) takePast(l *EventLine, e huanxin.Event) error {
	moved := l.origin == huanxin.OriginTransferred
	if first, second, name := c.findPast(l); first.No != 0 {
		if e.Same(&first) && moved == (second.No != 0) {
			c.out.Duplicates++
			return nil
		}
		c.out.reject(l.Line, name, huanxin.Errorf(huanxin.Refused, "id_conflict",
			"the number's history was told otherwise before: correct the event of this id, and report what is true"))
		return nil
	}
	if err := e.Check(c.now); err != nil {
		c.out.reject(l.Line, e.ID, aboutStart(err))
		return nil
	}
	row := c.standings[e.Number]
	if c.saysSo(l.origin, &e, &row) {
		c.out.Duplicates++
		return nil
	}
	after, err := c.judge(e, row)
	second, afterSecond := e, after
	if err == nil && moved {
		second.No, second.ID, second.Kind, second.Origin = e.No+1, e.ID+secondSuffix, huanxin.Transferred, 0
		afterSecond, err = c.judge(second, store.NumberRow{Number: row.Number, Head: row.Head, Standing: after}, e)
	}
	switch {
	case err != nil && huanxin.KindOf(err) == huanxin.Internal:
		return err
	case err != nil: // of both events
		c.out.reject(l.Line, e.ID, err)
		return nil
	}
	if err := c.accept(e, row, after); err != nil {
		return err
	}
	c.count(&e)
	if moved {
		return c.accept(second, c.standings[e.Number], afterSecond)
	}
	return nil
}

// saysSo reports whether the log says already what a line of history says: the carrier serves the number, and the
// tenure that runs began then and so; or, of an unknown start, no later.
func (c *chunk) saysSo(origin huanxin.TenureOrigin, e *huanxin.Event, row *store.NumberRow) bool {
	switch {
	case !row.Held() || row.Carrier != c.carrier:
		return false
	case origin == huanxin.OriginUnknown:
		by := e.At
		if e.OnDay { // at its end at the latest
			by = by.Add(24*time.Hour - time.Microsecond)
		}
		return !by.Before(row.StartedAt)
	case origin != row.Origin:
		return false
	case e.OnDay:
		return huanxin.DayOf(row.StartedAt, c.zone) == huanxin.DayOf(e.At, c.zone)
	}
	return row.StartedAt.Equal(e.At) && !row.StartedOnDay
}

// aboutStart says of a line's start what was said of its event's time.
func aboutStart(err error) error {
	switch huanxin.CodeOf(err) {
	case "in_future":
		return huanxin.Errorf(huanxin.Refused, "in_future", "tenure_started_at is more than 5 minutes ahead of the hub's clock")
	case "number_kind_unsupported":
		return err
	}
	return huanxin.BadField("tenure_started_at", "too_early", "must not be before November 1987, when mobile numbers began")
}
