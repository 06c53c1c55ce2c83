package huanxin

import (
	"math"
	"strings"
	"time"
)

// Day is a date as the number of days since 1970-01-01.
type Day int32

// DayOf gives the date of an instant in a zone.
func DayOf(t time.Time, zone *time.Location) Day {
	_, offset := t.In(zone).Zone()
	return dayOf(t.Unix() + int64(offset))
}

// dayOf gives the day of a time in seconds, rounding down.
func dayOf(seconds int64) Day {
	d := seconds / 86400
	if seconds%86400 < 0 {
		d--
	}
	return Day(d)
}

// Date gives the day's date at midnight in a zone.
func (d Day) Date(zone *time.Location) time.Time {
	y, m, day := time.Unix(int64(d)*86400, 0).UTC().Date()
	return time.Date(y, m, day, 0, 0, 0, 0, zone)
}

// String gives the date as YYYY-MM-DD.
func (d Day) String() string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// Since is the T of a check: a date or an exact instant (DOMAIN.md §5). "A date means its last instant in the national time
// zone, today's date the present instant; a date-time is exact."
type Since struct {
	day    Day   // of a date
	micros int64 // of an instant, since 1970 UTC
	exact  bool
}

// SinceDay makes a T of a date.
func SinceDay(d Day) Since { return Since{day: d} }

// SinceInstant makes a T of an instant, to the microsecond.
func SinceInstant(t time.Time) Since { return Since{micros: t.UnixMicro(), exact: true} }

// Exact reports whether T is an instant and not a date.
func (s Since) Exact() bool { return s.exact }

// Micros gives the instant that T stands for in microseconds since 1970 UTC: a date is its last one, today's date too, so that a
// date is the same T on every day on which it is asked. In a zone with summer time it may be off by that.
func (s Since) Micros(p *Present) int64 {
	if s.exact {
		return s.micros
	}
	return (int64(s.day)+1)*86_400_000_000 - 1 - p.offset
}

// Append appends T in the form that ParseSince reads: a date, or an instant in UTC.
func (s Since) Append(b []byte) []byte {
	if !s.exact {
		return time.Unix(int64(s.day)*86400, 0).UTC().AppendFormat(b, time.DateOnly)
	}
	return time.UnixMicro(s.micros).UTC().AppendFormat(b, time.RFC3339Nano)
}

// At gives the instant that T stands for.
func (s Since) At(p *Present) time.Time {
	switch {
	case s.exact:
		return time.UnixMicro(s.micros).UTC()
	case s.day == p.today:
		return p.now
	default:
		return (s.day + 1).Date(p.zone).Add(-time.Microsecond).UTC()
	}
}

// ParseSince reads a date (YYYY-MM-DD) or a date-time with an offset (RFC 3339). The years are 1 to 9999. The error is Invalid
// with the code "malformed_time" for the field "since" and never repeats the input.
func ParseSince[T string | []byte](text T) (Since, error) {
	if len(text) == len(time.DateOnly) {
		if day, ok := parseDate(text); ok {
			return Since{day: day}, nil
		}
		return Since{}, errMalformedSince()
	}
	if len(text) > 64 {
		return Since{}, errMalformedSince()
	}
	if s, ok := parseInstant(text); ok {
		return s, nil
	}
	// What is unusual goes the long way, which also says what RFC 3339 says of case.
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(string(text)))
	if err != nil || t.Year() < 1 || t.Year() > 9999 || !strict(string(text)) {
		return Since{}, errMalformedSince()
	}
	return SinceInstant(t), nil
}

// strict refuses what RFC 3339 does not have and time.Parse takes: an hour of one digit, a decimal comma, +24:00, +08:60.
func strict(text string) bool {
	sign := strings.LastIndexAny(text, "+-Zz")
	if len(text) < len("2006-01-02T15:04:05Z") || text[13] != ':' || strings.ContainsRune(text, ',') {
		return false
	}
	return sign < 0 || len(text)-sign != 6 || text[sign+1:sign+3] <= "23" && text[sign+4:] <= "59"
}

func errMalformedSince() error {
	return BadField("since", "malformed_time", "a date such as 2024-01-31, or a date-time with an offset such as 2024-01-31T10:00:00+08:00")
}

// digitsAt reads n decimal digits at text[i:].
func digitsAt[T string | []byte](text T, i, n int) (v int, ok bool) {
	for ; n > 0; i, n = i+1, n-1 {
		d := text[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + int(d)
	}
	return v, true
}

// parseDate reads YYYY-MM-DD at the start of text, which is long enough.
func parseDate[T string | []byte](text T) (Day, bool) {
	y, ok1 := digitsAt(text, 0, 4)
	m, ok2 := digitsAt(text, 5, 2)
	d, ok3 := digitsAt(text, 8, 2)
	if !ok1 || !ok2 || !ok3 || text[4] != '-' || text[7] != '-' || y < 1 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return 0, false
	}
	return civil(y, m, d), true
}

func daysIn(y, m int) int {
	switch {
	case m == 2 && y%4 == 0 && (y%100 != 0 || y%400 == 0):
		return 29
	case m == 2:
		return 28
	case m == 4 || m == 6 || m == 9 || m == 11:
		return 30
	}
	return 31
}

// civil counts the days from 1970-01-01 to a date of the Gregorian calendar. Years begin with March here, so that the leap
// day is a year's last.
func civil(y, m, d int) Day {
	if m <= 2 {
		y, m = y-1, m+12
	}
	return Day(365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468)
}

// parseInstant reads the common forms YYYY-MM-DDThh:mm:ssZ and ±hh:mm, without a fraction.
func parseInstant[T string | []byte](text T) (Since, bool) {
	if len(text) != 20 && len(text) != 25 || text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return Since{}, false
	}
	day, ok := parseDate(text)
	h, ok1 := digitsAt(text, 11, 2)
	m, ok2 := digitsAt(text, 14, 2)
	s, ok3 := digitsAt(text, 17, 2)
	if !ok || !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || s > 59 {
		return Since{}, false
	}
	offset := 0
	if len(text) == 25 {
		oh, ok1 := digitsAt(text, 20, 2)
		om, ok2 := digitsAt(text, 23, 2)
		if !ok1 || !ok2 || text[22] != ':' || oh > 23 || om > 59 || text[19] != '+' && text[19] != '-' {
			return Since{}, false
		}
		if offset = oh*3600 + om*60; text[19] == '-' {
			offset = -offset
		}
	} else if text[19] != 'Z' {
		return Since{}, false
	}
	return Since{micros: (int64(day)*86400 + int64(h*3600+m*60+s-offset)) * 1_000_000, exact: true}, true
}

// Present is the moment at which checks are answered, in the national time zone.
type Present struct {
	now    time.Time
	zone   *time.Location
	today  Day
	latest int64 // microseconds: T beyond it lies in the future
	// From first to last, microseconds, the zone has the same offset, in microseconds, as now.
	first, last, offset int64
}

// PresentAt makes the present of an instant.
func PresentAt(now time.Time, zone *time.Location) Present {
	p := Present{now: now, zone: zone, today: DayOf(now, zone), latest: now.Add(MaxAhead).UnixMicro(),
		first: math.MinInt64, last: math.MaxInt64}
	start, end := now.In(zone).ZoneBounds()
	if !start.IsZero() {
		p.first = start.UnixMicro()
	}
	if !end.IsZero() {
		p.last = end.UnixMicro() - 1
	}
	_, offset := now.In(zone).Zone()
	p.offset = int64(offset) * 1_000_000
	return p
}

// Now gives the present instant.
func (p *Present) Now() time.Time { return p.now }

// future reports whether T lies more than 5 minutes ahead.
func (s Since) future(p *Present) bool {
	if s.exact {
		return s.micros > p.latest
	}
	return s.day > p.today
}

// dayIn gives the day that T lies in.
func (s Since) dayIn(p *Present) Day {
	if !s.exact {
		return s.day
	}
	if p.first <= s.micros && s.micros <= p.last { // nearly all: a zone's rules are not looked up again
		const day = 86400 * 1_000_000
		d := (s.micros + p.offset) / day
		if (s.micros+p.offset)%day < 0 {
			d--
		}
		return Day(d)
	}
	return DayOf(time.UnixMicro(s.micros), p.zone)
}
