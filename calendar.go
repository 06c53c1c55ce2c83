package huanxin

import (
	"bufio"
	"cmp"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// China is the national time zone, Asia/Shanghai. It is fixed at UTC+8, so that a machine without a zone database
// has it too: China has had no daylight saving time since 1991.
var China = time.FixedZone("Asia/Shanghai", 8*60*60)

// Date is a day of the Gregorian calendar, in no zone until In gives it one. The zero Date is no day.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads a real day, written YYYY-MM-DD and nothing else, of the years 1 to 9999.
func ParseDate(s string) (Date, error) {
	malformed := BadField("date", "date_malformed", "a date is a real day, written YYYY-MM-DD")
	if len(s) != len("2006-01-02") || s[4] != '-' || s[7] != '-' {
		return Date{}, malformed
	}
	digits := s[:4] + s[5:7] + s[8:]
	v := 0
	for i := range len(digits) {
		c := digits[i] - '0'
		if c > 9 {
			return Date{}, malformed
		}
		v = v*10 + int(c)
	}
	d := Date{v / 10000, time.Month(v / 100 % 100), v % 100}
	if !d.real() {
		return Date{}, malformed
	}
	return d, nil
}

// real reports whether the day exists: no February 30, no year 0.
func (d Date) real() bool { return d.Year > 0 && d.AddDays(0) == d }

// DateOf gives the day on which t falls in a zone.
func DateOf(t time.Time, loc *time.Location) Date {
	y, m, d := t.In(loc).Date()
	return Date{y, m, d}
}

// String writes the date as YYYY-MM-DD.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// AddDays gives the day n days later, or earlier where n is negative.
func (d Date) AddDays(n int) Date {
	y, m, day := time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC).Date()
	return Date{y, m, day}
}

// Weekday gives the day of the week.
func (d Date) Weekday() time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// Compare is -1, 0 or 1 as d is before, the same as or after o.
func (d Date) Compare(o Date) int {
	return cmp.Or(cmp.Compare(d.Year, o.Year), cmp.Compare(d.Month, o.Month), cmp.Compare(d.Day, o.Day))
}

// Before reports whether d is an earlier day than o.
func (d Date) Before(o Date) bool { return d.Compare(o) < 0 }

// In gives the day as an interval of a zone: its first instant, and the first instant of the next day, which is not
// part of it. A day that a zone skipped is empty: both are the same.
func (d Date) In(loc *time.Location) (first, next time.Time) {
	return d.start(loc), d.AddDays(1).start(loc)
}

// start gives the day's first instant: 00:00, or what the clock showed instead where it was changed around midnight.
func (d Date) start(loc *time.Location) time.Time {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
	change, nextChange := t.ZoneBounds()
	if DateOf(t, loc).Before(d) { // put forward over midnight, and time.Date went back
		return nextChange
	}
	if change.IsZero() {
		return t
	}
	_, oldOffset := change.Add(-1).Zone()
	_, offset := t.Zone()
	if twice := t.Add(time.Duration(offset-oldOffset) * time.Second); twice.Before(change) && twice.Before(t) {
		return twice // put back over midnight: 00:00 comes twice
	}
	return t
}

//go:embed calendars/cn-*.csv
var chinaYears embed.FS

// Calendar knows which days are worked. A day of a year that was loaded is a holiday, a worked weekend day (调休) or
// what its weekday says; of another year only its weekday is known. It is safe for concurrent use once loaded.
type Calendar struct {
	zone  *time.Location
	years map[int]map[Date]bool // the exceptions of each year loaded: false a holiday, true a worked weekend day
}

// NewCalendar makes a calendar of a zone that knows no year: Monday to Friday are worked.
func NewCalendar(zone *time.Location) *Calendar {
	return &Calendar{zone: zone, years: map[int]map[Date]bool{}}
}

// ChinaCalendar makes the calendar of China with every year that ships with the program (calendars/cn-*.csv).
func ChinaCalendar() *Calendar {
	c := NewCalendar(China)
	entries, err := chinaYears.ReadDir("calendars")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		f, err := chinaYears.Open("calendars/" + e.Name())
		if err != nil {
			panic(err)
		}
		year, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "cn-"), ".csv"))
		if err == nil {
			err = c.LoadYear(year, f)
		}
		if err != nil {
			panic("huanxin: calendars/" + e.Name() + ": " + err.Error())
		}
	}
	return c
}

// LoadYear makes a year known, or replaces what was known of it, from CSV with the header date,kind,name. A kind is
// holiday, or working for a Saturday or Sunday that is worked; the name is for people. Lines that begin with # are
// comments. The file holds days of that year only, each once, and at least one. On an error, which names the line, the
// calendar is unchanged.
func (c *Calendar) LoadYear(year int, file io.Reader) error {
	in := bufio.NewReader(file)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	rows := csv.NewReader(in)
	rows.Comment, rows.FieldsPerRecord, rows.ReuseRecord = '#', -1, true
	exceptions := map[Date]bool{}
	for header := true; ; header = false {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return unreadableCalendar(year, err)
		}
		if problem := readException(row, header, year, exceptions); problem != "" {
			line, _ := rows.FieldPos(0)
			return badCalendar(year, line, problem)
		}
	}
	if len(exceptions) == 0 {
		return Errorf(Invalid, "calendar_invalid", fmt.Sprintf("calendar of %d: the file holds no day", year))
	}
	c.years[year] = exceptions
	return nil
}

// readException adds one row to a year's exceptions, or says what is wrong with it.
func readException(row []string, header bool, year int, into map[Date]bool) (problem string) {
	if header {
		if !slices.Equal(row, []string{"date", "kind", "name"}) {
			return "the header must be date,kind,name"
		}
		return ""
	}
	if len(row) != 3 {
		return "a line has three columns: date,kind,name"
	}
	d, err := ParseDate(row[0])
	if err != nil {
		return strconv.Quote(row[0]) + " is not a real day, written YYYY-MM-DD"
	}
	if d.Year != year {
		return row[0] + " is not a day of that year"
	}
	if _, twice := into[d]; twice {
		return row[0] + " stands there twice"
	}
	switch row[1] {
	case "holiday":
		into[d] = false
	case "working":
		if !weekend(d) {
			return row[0] + " is a " + d.Weekday().String() + ", which is worked anyway"
		}
		into[d] = true
	default:
		return "the kind is " + strconv.Quote(row[1]) + ": it must be holiday or working"
	}
	return ""
}

func badCalendar(year, line int, problem string) error {
	return Errorf(Invalid, "calendar_invalid", fmt.Sprintf("calendar of %d, line %d: %s", year, line, problem))
}

func unreadableCalendar(year int, err error) error {
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		return badCalendar(year, bad.Line, bad.Err.Error())
	}
	return fmt.Errorf("calendar of %d: %w", year, err)
}

// Zone gives the zone whose midnights divide the days.
func (c *Calendar) Zone() *time.Location { return c.zone }

// Years gives the years loaded, in order.
func (c *Calendar) Years() []int { return slices.Sorted(maps.Keys(c.years)) }

// Knows reports whether the year is loaded.
func (c *Calendar) Knows(year int) bool {
	_, ok := c.years[year]
	return ok
}

// Working reports whether the day is worked. known is false where the year is not loaded: then Monday to Friday are
// taken to be, and the operator is to be told.
func (c *Calendar) Working(d Date) (working, known bool) {
	exceptions, known := c.years[d.Year]
	if works, ok := exceptions[d]; ok {
		return works, known
	}
	return !weekend(d), known
}

func weekend(d Date) bool {
	w := d.Weekday()
	return w == time.Saturday || w == time.Sunday
}

// WorkingDay gives the n-th working day after from, n ≥ 1: day 1 is the first working day whose date is later than that
// of from in the calendar's zone. start is its first instant, end the first instant of the date after it. known is false
// where a year had to be looked at that is not loaded.
func (c *Calendar) WorkingDay(from time.Time, n int) (start, end time.Time, known bool) {
	known = true
	for d := DateOf(from, c.zone).AddDays(1); ; d = d.AddDays(1) {
		works, loaded := c.Working(d)
		known = known && loaded
		if works {
			n--
		}
		if works && n <= 0 {
			start, end = d.In(c.zone)
			return start, end, known
		}
	}
}
