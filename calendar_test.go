package huanxin_test

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// shanghai reads "2006-01-02 15:04" or "2006-01-02 15:04:05" as a time in China.
func shanghai(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05", s, huanxin.China)
	if err != nil {
		at, err = time.ParseInLocation("2006-01-02 15:04", s, huanxin.China)
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func dateOn(t testing.TB, s string) huanxin.Date {
	t.Helper()
	d, err := huanxin.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func daysBetween(t testing.TB, first, last string) (days []string) {
	for d := dateOn(t, first); !dateOn(t, last).Before(d); d = d.AddDays(1) {
		days = append(days, d.String())
	}
	return days
}

// The notices of the State Council, read once more and written as intervals: 国办发明电〔2024〕12号, 国办发明电〔2025〕7号.
var chinaNotices = []struct {
	year     int
	holidays [][2]string
	working  map[string]time.Weekday
}{
	{2025, [][2]string{
		{"2025-01-01", "2025-01-01"}, {"2025-01-28", "2025-02-04"}, {"2025-04-04", "2025-04-06"},
		{"2025-05-01", "2025-05-05"}, {"2025-05-31", "2025-06-02"}, {"2025-10-01", "2025-10-08"},
	}, map[string]time.Weekday{
		"2025-01-26": time.Sunday, "2025-02-08": time.Saturday, "2025-04-27": time.Sunday,
		"2025-09-28": time.Sunday, "2025-10-11": time.Saturday,
	}},
	{2026, [][2]string{
		{"2026-01-01", "2026-01-03"}, {"2026-02-15", "2026-02-23"}, {"2026-04-04", "2026-04-06"},
		{"2026-05-01", "2026-05-05"}, {"2026-06-19", "2026-06-21"}, {"2026-09-25", "2026-09-27"},
		{"2026-10-01", "2026-10-07"},
	}, map[string]time.Weekday{
		"2026-01-04": time.Sunday, "2026-02-14": time.Saturday, "2026-02-28": time.Saturday, "2026-05-09": time.Saturday,
		"2026-09-20": time.Sunday, "2026-10-10": time.Saturday,
	}},
}

func TestChinaCalendarSaysOfEveryDayWhatTheNoticesSay(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	for _, notice := range chinaNotices {
		off := map[string]bool{}
		for _, h := range notice.holidays {
			for _, d := range daysBetween(t, h[0], h[1]) {
				off[d] = true
			}
		}
		for d := (huanxin.Date{Year: notice.year, Month: 1, Day: 1}); d.Year == notice.year; d = d.AddDays(1) {
			wd := d.Weekday()
			worked, moved := notice.working[d.String()]
			if moved && worked != wd {
				t.Errorf("the notice calls %s a %s, it is a %s", d, worked, wd)
			}
			want := moved || !off[d.String()] && wd != time.Saturday && wd != time.Sunday
			if got, known := cal.Working(d); got != want || !known {
				t.Errorf("%s (%s): working %t known %t, want %t", d, wd, got, known, want)
			}
		}
	}
}

func TestEveryShippedYearNamesItsSource(t *testing.T) {
	for _, name := range []string{"calendars/cn-2025.csv", "calendars/cn-2026.csv"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		comments := ""
		for lines := bufio.NewScanner(f); lines.Scan() && strings.HasPrefix(lines.Text(), "#"); {
			comments += lines.Text()
		}
		if !strings.Contains(comments, "Source: 国务院办公厅") || !strings.Contains(comments, "国办发明电〔") {
			t.Errorf("%s does not name its notice: %s", name, comments)
		}
	}
}

func TestAYearNotLoadedCountsMondayToFridayAndSaysSo(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	if diff := cmp.Diff([]int{2025, 2026}, cal.Years()); diff != "" {
		t.Error(diff)
	}
	if cal.Knows(2027) || !cal.Knows(2026) {
		t.Error("2026 is loaded, 2027 is not")
	}
	for day, want := range map[string]bool{"2027-10-01": true, "2027-10-02": false, "2027-10-03": false, "2027-10-04": true} {
		if got, known := cal.Working(dateOn(t, day)); got != want || known {
			t.Errorf("%s: working %t known %t", day, got, known)
		}
	}
	if _, _, known := huanxin.NewCalendar(huanxin.China).WorkingDay(shanghai(t, "2026-03-02 09:00"), 1); known {
		t.Error("a calendar without years knows nothing")
	}
}

func TestWorkingDaysAreCountedFromTheDayAfter(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	for _, c := range []struct {
		story, from string
		n           int
		start, end  string
		known       bool
	}{
		{"an ordinary Monday", "2026-11-16 10:00", 1, "2026-11-17", "2026-11-18", true},
		{"a Friday", "2026-11-20 10:00", 1, "2026-11-23", "2026-11-24", true},
		{"a Saturday", "2026-11-21 10:00", 1, "2026-11-23", "2026-11-24", true},
		{"the last minute of a Sunday", "2026-11-22 23:59", 1, "2026-11-23", "2026-11-24", true},
		{"the first instant of a Monday", "2026-11-23 00:00", 1, "2026-11-24", "2026-11-25", true},
		{"a Friday before a Saturday that is worked (调休)", "2026-10-09 10:00", 1, "2026-10-10", "2026-10-11", true},
		{"the eve of National Day", "2026-09-30 10:00", 1, "2026-10-08", "2026-10-09", true},
		{"National Day 2025 joined with Mid-Autumn", "2025-09-30 10:00", 1, "2025-10-09", "2025-10-10", true},
		{"Spring Festival 2025, from the Sunday that is worked", "2025-01-26 10:00", 2, "2025-02-05", "2025-02-06", true},
		{"over the end of a year that is loaded into one that is not", "2026-12-30 10:00", 2, "2027-01-01", "2027-01-02", false},
	} {
		start, end, known := cal.WorkingDay(shanghai(t, c.from), c.n)
		if !start.Equal(shanghai(t, c.start+" 00:00")) || !end.Equal(shanghai(t, c.end+" 00:00")) || known != c.known {
			t.Errorf("%s: day %d after %s is %s to %s, known %t", c.story, c.n, c.from, start, end, known)
		}
	}
	utc := time.Date(2026, 11, 16, 16, 30, 0, 0, time.UTC) // already the 17th in Shanghai
	if start, _, _ := cal.WorkingDay(utc, 1); !start.Equal(shanghai(t, "2026-11-18 00:00")) {
		t.Errorf("the date is the calendar's zone's: %s", start)
	}
}

func TestAFurtherYearComesFromAFile(t *testing.T) {
	cal := huanxin.ChinaCalendar()
	file := "\ufeff# 2027, made up\r\n\r\ndate,kind,name\r\n2027-10-01,holiday,国庆节\r\n# and a Sunday\r\n2027-10-03,working,国庆节\r\n"
	if err := cal.LoadYear(2027, strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]bool{"2027-10-01": false, "2027-10-02": false, "2027-10-03": true, "2027-10-04": true} {
		if got, known := cal.Working(dateOn(t, day)); got != want || !known {
			t.Errorf("%s: working %t known %t", day, got, known)
		}
	}
	if err := cal.LoadYear(2027, strings.NewReader("date,kind,name\n2027-10-04,holiday,国庆节\n")); err != nil {
		t.Fatal(err)
	}
	if got, _ := cal.Working(dateOn(t, "2027-10-01")); !got {
		t.Error("loading a year again replaces it")
	}
}

func TestABadFileIsRefusedByItsLineAndNothingIsHalfLoaded(t *testing.T) {
	const head = "# 2027\ndate,kind,name\n2027-01-01,holiday,元旦\n"
	for _, c := range []struct{ file, want string }{
		{head + "2027-02-30,holiday,x\n", `line 4: "2027-02-30" is not a real day`},
		{head + "2027-2-3,holiday,x\n", `line 4: "2027-2-3" is not a real day`},
		{head + "2026-12-31,holiday,x\n", "line 4: 2026-12-31 is not a day of that year"},
		{head + "2027-01-01,holiday,x\n", "line 4: 2027-01-01 stands there twice"},
		{head + "2027-01-02,working,x\n2027-01-02,holiday,x\n", "line 5: 2027-01-02 stands there twice"},
		{head + "2027-01-04,working,x\n", "line 4: 2027-01-04 is a Monday, which is worked anyway"},
		{head + "2027-01-04,Holiday,x\n", `line 4: the kind is "Holiday": it must be holiday or working`},
		{head + "2027-01-04,holiday\n", "line 4: a line has three columns"},
		{head + "2027-01-04,holiday,x,y\n", "line 4: a line has three columns"},
		{head + "\"2027-01-04,holiday,x\n", "line 4:"},
		{"2027-01-01,holiday,元旦\n", "line 1: the header must be date,kind,name"},
		{"# nothing\ndate,kind,name\n", "the file holds no day"},
		{"", "the file holds no day"},
	} {
		cal := huanxin.ChinaCalendar()
		err := cal.LoadYear(2027, strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "2027") {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
			continue
		}
		if huanxin.KindOf(err) != huanxin.Invalid || huanxin.CodeOf(err) != "calendar_invalid" {
			t.Errorf("%v: kind %d, code %s", err, huanxin.KindOf(err), huanxin.CodeOf(err))
		}
		if works, known := cal.Working(dateOn(t, "2027-01-01")); cal.Knows(2027) || known || !works {
			t.Errorf("%q: half loaded", c.file)
		}
	}
}

func TestOnlyRealDatesInOneFormAreRead(t *testing.T) {
	for _, good := range []string{"2026-02-28", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"} {
		if d, err := huanxin.ParseDate(good); err != nil || d.String() != good {
			t.Errorf("%s: %v, %v", good, d, err)
		}
	}
	for _, bad := range []string{"", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "2026-04-31", "0000-01-01",
		"2026-1-01", "20260101", "2026/01/01", "2026-01-01 ", " 2026-01-01", "2026-01-01T00:00:00Z", "-026-01-01", "+026-01-01",
		"２026-01-0", "2026-0a-01"} {
		if d, err := huanxin.ParseDate(bad); err == nil {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
}

func TestADayIsTheInstantsThatFallOnIt(t *testing.T) {
	var zones []*time.Location
	for _, name := range []string{"UTC", "Asia/Shanghai", "America/Sao_Paulo", "America/Havana", "Asia/Amman", "Asia/Beirut",
		"America/Toronto", "Pacific/Apia", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	zones = append(zones, huanxin.China)
	check := func(t interface {
		Fatalf(string, ...any)
	}, d huanxin.Date, zone *time.Location) {
		first, next := d.In(zone)
		if next.Before(first) || next.Sub(first) > 49*time.Hour { // Apia had 4 July 1892 twice
			t.Fatalf("%s in %s: %s to %s", d, zone, first, next)
		}
		if got := huanxin.DateOf(first.Add(-time.Nanosecond), zone); !got.Before(d) {
			t.Fatalf("%s in %s begins at %s, and a moment before it is %s", d, zone, first, got)
		}
		if got := huanxin.DateOf(first, zone); next.After(first) && got != d || got.Before(d) {
			t.Fatalf("%s in %s begins at %s, which is on %s", d, zone, first, got)
		}
	}
	for _, zone := range zones { // the days around every change of a clock
		for at := time.Date(1880, 1, 1, 0, 0, 0, 0, time.UTC).In(zone); at.Year() < 2037; {
			d := huanxin.DateOf(at, zone)
			for n := -2; n <= 2; n++ {
				check(t, d.AddDays(n), zone)
			}
			_, change := at.ZoneBounds()
			if change.IsZero() {
				break
			}
			at = change
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-3e9, 3e9).Draw(t, "at"), 0)
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		d := huanxin.DateOf(at, zone)
		if first, next := d.In(zone); at.Before(first) || !at.Before(next) && huanxin.DateOf(next, zone) != d {
			t.Fatalf("%s is on %s in %s, which is %s to %s", at, d, zone, first, next)
		}
	})
}

func TestChinaIsAsiaShanghaiSinceDaylightSavingEnded(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	for at := time.Date(1992, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2040; at = at.Add(12 * time.Hour) {
		if _, offset := at.In(zone).Zone(); offset != 8*60*60 {
			t.Fatalf("%s: %d", at, offset)
		}
	}
}
