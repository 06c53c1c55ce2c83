package match

import (
	"encoding/binary"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// times reads bound_at. Times without an offset are of its zone.
type times struct {
	zone *time.Location
	// Seconds since 1970 on the zone's clocks between these are steady ahead of UTC by offset seconds.
	first, last, offset int64
}

// newTimes makes a reader; now is a time near most of those that will be read.
func newTimes(zone *time.Location, now time.Time) *times {
	const never, day = 1 << 60, 86400
	t := &times{zone: zone, first: -never, last: never}
	_, offset := now.In(zone).Zone()
	t.offset = int64(offset)
	start, end := now.In(zone).ZoneBounds()
	if !start.IsZero() {
		t.first = start.Unix() + 2*day
	}
	if !end.IsZero() {
		t.last = end.Unix() - 2*day
	}
	return t
}

// months gives for each month from 1970 on the number of its first day, and of how many days it has.
var months = func() (m [130 * 12]struct {
	first huanxin.Day
	days  int8
}) {
	for i := range m {
		first := time.Date(1970, time.Month(1+i), 1, 0, 0, 0, 0, time.UTC)
		m[i].first = huanxin.DayOf(first, time.UTC)
		m[i].days = int8(first.AddDate(0, 1, -1).Day())
	}
	return m
}()

// date reads YYYY-MM-DD at the start of b, which is long enough, if it lies in the years of months.
func date(b []byte) (huanxin.Day, bool) {
	x := binary.LittleEndian.Uint64(b) ^ 0x2d30302d30303030 // "0000-00-"
	d1, d0 := b[8]-'0', b[9]-'0'
	if x&0xff0000ff00000000|((x+0x7676767676767676)|x)&0x8080808080808080 != 0 || d1 > 9 || d0 > 9 {
		return 0, false
	}
	y := int(x&0xff)*1000 + int(x>>8&0xff)*100 + int(x>>16&0xff)*10 + int(x>>24&0xff)
	m := int(x>>40&0xff)*10 + int(x>>48&0xff)
	d := int8(d1*10 + d0)
	i := uint((y-1970)*12 + m - 1)
	if m-1 > 11 || m < 1 || i >= uint(len(months)) || d < 1 || d > months[i].days {
		return 0, false
	}
	return months[i].first + huanxin.Day(d-1), true
}

// clock reads hh:mm:ss at the start of b, which is long enough, as seconds.
func clock(b []byte) (int64, bool) {
	x := binary.LittleEndian.Uint64(b) ^ 0x30303a30303a3030 // "00:00:00"
	h := x&0xff*10 + x>>8&0xff
	m := x>>24&0xff*10 + x>>32&0xff
	s := x>>48&0xff*10 + x>>56
	if x&0x0000ff0000ff0000|((x+0x7676767676767676)|x)&0x8080808080808080 != 0 || h > 23 || m > 59 || s > 59 {
		return 0, false
	}
	return int64(h*3600 + m*60 + s), true
}

// missing reports whether a bound_at says that nothing is known: it is empty, or what databases and programs write for that.
func missing(b []byte) bool {
	switch string(b) {
	case "", "NULL", "null", `\N`:
		return true
	}
	return len(b) >= len(time.DateOnly) && b[0] == '0' && (string(b[:10]) == "0000-00-00" || string(b[:10]) == "0001-01-01")
}

// read reads a date, a date-time of RFC 3339, or YYYY-MM-DD hh:mm:ss with an optional fraction and an optional offset, also
// one of hours alone; without an offset it is of the zone.
func (t *times) read(b []byte) (huanxin.Since, bool) {
	switch {
	case len(b) == len(time.DateOnly):
		if day, ok := date(b); ok {
			return huanxin.SinceDay(day), true
		}
	case len(b) >= len(time.DateTime) && (b[10] == ' ' || b[10] == 'T'):
		day, ok1 := date(b)
		seconds, ok2 := clock(b[11:])
		micros, rest, ok3 := fraction(b[19:])
		if !ok1 || !ok2 || !ok3 {
			break
		}
		seconds += int64(day) * 86400
		if len(rest) == 0 && b[10] == ' ' {
			seconds -= t.ahead(seconds)
		} else if ahead, ok := offset(rest, b[10] == ' '); ok {
			seconds -= ahead
		} else {
			break
		}
		return huanxin.SinceInstant(time.UnixMicro(seconds*1_000_000 + micros)), true
	}
	since, err := huanxin.ParseSince(b) // other years, and what RFC 3339 allows beside what is always written
	return since, err == nil
}

// fraction reads a point and digits, if there are any, as microseconds, and gives the rest.
func fraction(b []byte) (micros int64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' {
		return 0, b, true
	}
	i, unit := 1, int64(100_000)
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		micros += int64(b[i]-'0') * unit
		unit /= 10
	}
	return micros, b[i:], i > 1
}

// offset reads Z or ±hh:mm, or with short ±hh, as seconds ahead of UTC.
func offset(b []byte, short bool) (int64, bool) {
	if len(b) == 1 && b[0] == 'Z' {
		return 0, true
	}
	if len(b) != 6 && (len(b) != 3 || !short) || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	h, m, ok := two(b[1:]), int64(0), true
	if len(b) == 6 {
		m, ok = two(b[4:]), b[3] == ':'
	}
	if !ok || h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	ahead := h*3600 + m*60
	if b[0] == '-' {
		ahead = -ahead
	}
	return ahead, true
}

// two reads two digits; -1: there are none.
func two(b []byte) int64 {
	d1, d0 := b[0]-'0', b[1]-'0'
	if d1 > 9 || d0 > 9 {
		return -1
	}
	return int64(d1)*10 + int64(d0)
}

// ahead gives by how many seconds the zone's clocks are ahead of UTC when they show a time. A time that they show twice is the later
// one, and one that they skip counts as before the skip: as with a date, what is not known must not make a change of holder of
// what was none.
func (t *times) ahead(shown int64) int64 {
	if t.first <= shown && shown <= t.last {
		return t.offset
	}
	const day = 86400
	before, after := t.at(shown-day), t.at(shown+day)
	later, earlier := min(before, after), max(before, after) // the less ahead, the later
	if t.at(shown-later) == later || t.at(shown-earlier) != earlier {
		return later
	}
	return earlier
}

func (t *times) at(unix int64) int64 {
	_, offset := time.Unix(unix, 0).In(t.zone).Zone()
	return int64(offset)
}
