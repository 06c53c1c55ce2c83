package core_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// awkward gives, for each story of docs/checks.md, how carriers tell it of number n.
func awkward(w *world, n int) map[string]func() {
	first, again, portedIn := huanxin.ActivatedFirst, huanxin.ActivatedReassigned, huanxin.ActivatedPortedIn
	at := func(day int) time.Time { return instantOf(day, 10*time.Hour) }
	id := func(what string) string { return fmt.Sprintf("%d-%s", n, what) }
	begin := func(day int, o huanxin.ActivationOrigin) huanxin.Event {
		return activated(id(fmt.Sprint("begin", day)), n, o, at(day))
	}
	end := func(day int) huanxin.Event { return line(id(fmt.Sprint("end", day)), n, huanxin.Disconnected, at(day)) }
	return map[string]func(){
		"A from day 1": func() { w.accepts("cmcc", begin(1, first)) },
		"A from 1, ported on 100 and 200": func() {
			w.accepts("cmcc", begin(1, first))
			w.accepts("cucc", line(id("p1"), n, huanxin.Ported, at(100)))
			w.accepts("cmcc", line(id("p2"), n, huanxin.Ported, at(200)))
		},
		"A 1–300, B from 400":     func() { w.accepts("cmcc", begin(1, first), end(300), begin(400, again)) },
		"A 1–300, reinstated 320": func() { w.accepts("cmcc", begin(1, first), end(300), line(id("back"), n, huanxin.Reinstated, at(320))) },
		"A from 1, transferred to B on 400 at 10:00": func() {
			w.accepts("cmcc", begin(1, first), line(id("t"), n, huanxin.Transferred, at(400)))
		},
		"A 1–300, B 400–600, A from 700": func() {
			w.accepts("cmcc", begin(1, first), end(300), begin(400, again), end(600), begin(700, again))
		},
		"A 1–300, nobody since":                  func() { w.accepts("cmcc", begin(1, first), end(300)) },
		"ported in on 500, nothing known before": func() { w.accepts("cucc", begin(500, portedIn)) },
		"A from 1, transferred to B on 400, voided by a correction on 450": func() {
			w.accepts("cmcc", begin(1, first), line(id("t"), n, huanxin.Transferred, at(400)), corrected(id("c"), n, id("t"), at(450)))
		},
		"the end on 300 is told on 450; B's start on 400, refused before, is sent again": func() {
			w.accepts("cmcc", begin(1, first))
			w.refuses("cmcc", "out_of_order", begin(400, again))
			w.accepts("cmcc", end(300))
			w.accepts("cmcc", begin(400, again))
		},
		"never reported": func() {},
	}
}

// instantOf gives a time on a day of the stories, of which today is day 1000.
func instantOf(day int, clock time.Duration) time.Time {
	y, m, d := time.Now().In(huanxin.China).Date()
	return time.Date(y, m, d+day-1000, 0, 0, 0, 0, huanxin.China).Add(clock)
}

// sinceOf reads the T of the table: "400" is a date, "400 09:00" a date-time.
func sinceOf(t *testing.T, text string) huanxin.Since {
	day, clock, exact := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(day)
	must(t, err)
	if !exact {
		return huanxin.SinceDay(huanxin.DayOf(instantOf(n, 12*time.Hour), huanxin.China))
	}
	at, err := time.Parse("15:04", clock)
	must(t, err)
	return huanxin.SinceInstant(instantOf(n, time.Duration(at.Hour())*time.Hour+time.Duration(at.Minute())*time.Minute))
}

var awkwardRow = regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| ([0-9:; ]+) \\| `([A-Z_]+)`(?: `([a-z_]+)`)? \\|$")

func TestEveryRowOfTheTableOfAwkwardCasesIsAnsweredAsItSays(t *testing.T) {
	doc, err := os.ReadFile("../../docs/checks.md")
	must(t, err)
	rows := awkwardRow.FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 15 {
		t.Fatalf("the table has %d rows that can be read", len(rows))
	}
	onEach(t, func(t *testing.T, w *world) {
		told := map[string]int{}
		for _, r := range rows {
			if _, known := told[r[1]]; !known {
				n := 100 + len(told)
				told[r[1]] = n
				tell := awkward(w, n)[r[1]]
				if tell == nil {
					t.Fatalf("nobody tells the story %q", r[1])
				}
				tell()
			}
		}
		look := func(how string) {
			for _, r := range rows {
				for T := range strings.SplitSeq(r[2], ";") {
					got, _ := w.checks(number(told[r[1]]), sinceOf(t, T))
					if want := r[3] + " " + r[4]; says(got) != want {
						t.Errorf("%s: %s, T %s: %s, want %s", how, r[1], T, says(got), want)
					}
				}
			}
		}
		look("from the store")
		w.follows()
		look("from the index")
	})
}
