package agent

import (
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// When is a time as a company knows it: exactly, to the day, never, or, the zero When, not at all.
type When struct {
	at    time.Time
	day   huanxin.Date
	never bool
}

// At is known exactly. What databases keep instead of nothing (1970-01-01, 1900-01-01) is not known.
func At(t time.Time) When {
	if t.Before(huanxin.EarliestEvent) {
		return When{}
	}
	return When{at: t.UTC().Truncate(time.Microsecond)}
}

// OnDay is known to the day, in the company's zone.
func OnDay(d huanxin.Date) When { return When{day: d} }

// Never says for certain that it did not happen.
func Never() When { return When{never: true} }

// Exact reports whether the instant is known.
func (w When) Exact() bool { return !w.at.IsZero() }

// Moment gives w as the rules take it.
func (w When) Moment(zone *time.Location) huanxin.Moment {
	switch {
	case w.never:
		return huanxin.Never()
	case !w.at.IsZero():
		return huanxin.Exactly(w.at)
	case w.day != huanxin.Date{}:
		return huanxin.OnDay(w.day, zone)
	}
	return huanxin.Moment{}
}

// span gives the first and the last instant that w may be; ok is false where it is not known.
func (w When) span(zone *time.Location) (first, last time.Time, ok bool) {
	if !w.Moment(zone).Known() {
		return first, last, false
	}
	if w.Exact() {
		return w.at, w.at, true
	}
	first, next := w.day.In(zone)
	return first, next.Add(-time.Microsecond), true
}

// certainlyBefore reports that w < t whatever w is exactly.
func (w When) certainlyBefore(t time.Time, zone *time.Location) bool {
	_, last, ok := w.span(zone)
	return ok && last.Before(t)
}

// String writes w as ParseWhen reads it: "" is not known.
func (w When) String() string {
	switch {
	case w.never:
		return "never"
	case !w.at.IsZero():
		return w.at.Format(time.RFC3339Nano)
	case w.day != huanxin.Date{}:
		return w.day.String()
	}
	return ""
}

// ParseWhen reads a date (YYYY-MM-DD), an instant (RFC 3339), a time of day in the zone (YYYY-MM-DD hh:mm:ss), "never", or nothing.
func ParseWhen(s string, zone *time.Location) (When, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return When{}, nil
	case s == "never":
		return Never(), nil
	case strings.HasPrefix(s, "0000-00-00"), strings.HasPrefix(s, "0001-01-01"):
		return When{}, nil // no time, but what stands for none
	case len(s) == len(time.DateOnly):
		d, err := huanxin.ParseDate(s)
		return OnDay(d), err
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return At(t), nil
	}
	for _, layout := range [...]string{"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return At(t), nil
		}
	}
	if len(s) > 10 && (s[10] == ' ' || s[10] == 'T') {
		if t, err := time.ParseInLocation("2006-01-02 15:04:05.999999999", s[:10]+" "+s[11:], zone); err == nil {
			return At(later(t)), nil
		}
	}
	return When{}, huanxin.BadField("time", "malformed_time", "a time is a date such as 2024-01-31, or 2024-01-31T10:00:00+08:00")
}

// later gives, of a time that the zone's clocks show twice, the later one: it must not make a binding older than it may be (rule 1).
func later(t time.Time) time.Time {
	_, offset := t.Zone()
	_, end := t.ZoneBounds()
	if end.IsZero() {
		return t
	}
	_, next := end.Zone()
	if again := t.Add(time.Duration(offset-next) * time.Second); next < offset && !again.Before(end) {
		return again
	}
	return t
}

// unit is what a whole number of a time column counts.
type unit time.Duration

// units are the suffixes of columns and parameters that hold times as whole numbers since 1970 UTC.
var units = map[string]unit{"_s": unit(time.Second), "_ms": unit(time.Millisecond), "_us": unit(time.Microsecond)}

// cutUnit splits a name such as bound_at_ms.
func cutUnit(name string) (base string, u unit) {
	for suffix, u := range units {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base, u
		}
	}
	return name, 0
}

func (u unit) of(t time.Time) int64 { return t.UnixMicro() / int64(time.Duration(u)/time.Microsecond) }

// when gives the instant that a count stands for.
func (u unit) when(n int64) When {
	if n <= 0 || n > (1<<62)/(int64(u)/1000) {
		return When{}
	}
	micros := n * (int64(u) / 1000)
	return At(time.UnixMicro(micros))
}

// triOf reads a column that says yes, no or nothing.
func triOf(s string) (huanxin.Tri, bool) {
	switch strings.ToLower(s) {
	case "":
		return huanxin.NotKnown, true
	case "yes", "true", "t", "1":
		return huanxin.Yes, true
	case "no", "false", "f", "0":
		return huanxin.No, true
	}
	return huanxin.NotKnown, false
}

func triWord(t huanxin.Tri) string { return [...]string{huanxin.Yes: "yes", huanxin.No: "no"}[t] }

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// earlier gives the earlier of two times; the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
