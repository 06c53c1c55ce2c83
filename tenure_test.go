package huanxin_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// day gives a time of a numbered day: the stories of DOMAIN.md §5 count from day 1, and day 1000 is today.
func day(n int, clock string) time.Time {
	at, err := time.Parse("15:04", clock)
	if err != nil {
		panic(err)
	}
	return time.Date(2024, 1, n, at.Hour(), at.Minute(), 0, 0, huanxin.China)
}

// frozen is the least cooling for every carrier, and 120 days for carrier 3: "≥ 90 days, a carrier may set more".
func frozen(c huanxin.PartyNo) time.Duration {
	if c == 3 {
		return 120 * 24 * time.Hour
	}
	return huanxin.MinCoolingDays * 24 * time.Hour
}

// record is a number's log as it grows.
type record struct {
	t      testing.TB
	events []huanxin.Event
	now    huanxin.Standing
	asked  int // how often the history was asked for
}

// tell reports events in the order in which they arrive: "1 activated/first", "400@09:00 transferred by2",
// "450 corrected/2", where 2 is the number of an event in that order. Each must be accepted.
func told(t testing.TB, story string) *record {
	t.Helper()
	r := &record{t: t}
	for line := range strings.SplitSeq(story, ";") {
		if line = strings.TrimSpace(line); line != "" {
			if err := r.report(line); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	return r
}

func (r *record) event(line string) huanxin.Event {
	r.t.Helper()
	words := strings.Fields(line)
	e := huanxin.Event{No: huanxin.EventNo(len(r.events) + 1), Carrier: 1, ID: "e" + strconv.Itoa(len(r.events)+1), Number: number(r.t, "+8613800000001")}
	when, clock, exact := strings.Cut(words[0], "@")
	if !exact {
		clock = "10:00"
	}
	n, err := strconv.Atoi(when)
	if err != nil {
		r.t.Fatal(err)
	}
	e.At = day(n, clock)
	kind, more, _ := strings.Cut(words[1], "/")
	if e.Kind, err = huanxin.ParseEventKind(kind); err != nil {
		r.t.Fatal(err)
	}
	switch e.Kind {
	case huanxin.Activated:
		e.Origin, err = huanxin.ParseActivationOrigin(more)
	case huanxin.Corrected:
		e.CorrectsID = "e" + more
		n, err = strconv.Atoi(more)
		e.Corrects = huanxin.EventNo(n)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if len(words) > 2 {
		n, err := strconv.Atoi(strings.TrimPrefix(words[2], "by"))
		if err != nil {
			r.t.Fatal(err)
		}
		e.Carrier = huanxin.PartyNo(n)
	}
	return e
}

// report tells one event, and checks on the way what holds of every report.
func (r *record) report(line string) error {
	r.t.Helper()
	e := r.event(line)
	after, err := r.now.Judge(e, func() []huanxin.Event { r.asked++; return append([]huanxin.Event(nil), r.events...) }, frozen)
	if err != nil {
		if after != r.now {
			r.t.Errorf("%s was refused and changed the standing", line)
		}
		if huanxin.KindOf(err) != huanxin.Refused {
			r.t.Errorf("%s: %v is no refusal by the rules", line, err)
		}
		return err
	}
	r.events, r.now = append(r.events, e), after
	if again, err := huanxin.Replay(r.events, 0, frozen); err != nil || again != after {
		r.t.Errorf("%s: replayed %+v (%v), judged %+v", line, again, err, after)
	}
	return nil
}

// is compares a standing with "phase carrier tenure origin start", such as "in use 1 t1 first 1".
func (r *record) is(want string) {
	r.t.Helper()
	s := r.now
	got := s.Phase.String()
	if s.Phase != huanxin.PhaseUnseen {
		days := int(s.StartedAt.Sub(day(1, "00:00"))/(24*time.Hour)) + 1
		got += fmt.Sprintf(" %d t%d %v %d", s.Carrier, s.Tenure, s.Origin, days)
	}
	if got != want {
		r.t.Errorf("the number is %q, want %q", got, want)
	}
	if (s.Phase == huanxin.PhaseDisconnected) == s.EndedAt.IsZero() {
		r.t.Errorf("a tenure has an end if it is over: %+v", s)
	}
}

func TestEventsMoveANumberAsSectionFourSays(t *testing.T) {
	for _, c := range []struct{ rule, story, want string }{
		{"a number of which nothing is known", "", "never seen"},
		{"activated with origin first begins a tenure", "1 activated/first", "in use 1 t1 first 1"},
		{"activated with origin reassigned begins one", "1 activated/reassigned", "in use 1 t1 reassigned 1"},
		{"transferred begins one and ends the one before", "1 activated/first; 400 transferred", "in use 1 t2 transferred 400"},
		{"and so does a transfer to the third", "1 activated/first; 400 transferred; 500 transferred", "in use 1 t3 transferred 500"},
		{"disconnected ends it", "1 activated/first; 300 disconnected", "disconnected 1 t1 first 1"},
		{"reinstated continues the old tenure as if it had never ended", "1 activated/first; 300 disconnected; 320 reinstated", "in use 1 t1 first 1"},
		{"more than once", "1 activated/first; 300 disconnected; 320 reinstated; 330 disconnected; 340 reinstated", "in use 1 t1 first 1"},
		{"a transferred tenure is continued too", "1 activated/first; 50 transferred; 300 disconnected; 320 reinstated", "in use 1 t2 transferred 50"},
		{"suspend and resume never begin or end one", "1 activated/first; 5 suspended", "suspended 1 t1 first 1"},
		{"resumed", "1 activated/first; 5 suspended; 9 resumed", "in use 1 t1 first 1"},
		{"a suspended number can be disconnected", "1 activated/first; 5 suspended; 9 disconnected", "disconnected 1 t1 first 1"},
		{"ported never begins or ends one", "1 activated/first; 100 ported by2; 200 ported by3", "in use 3 t1 first 1"},
		{"ported of a suspended number leaves it suspended", "1 activated/first; 5 suspended; 100 ported by2", "suspended 2 t1 first 1"},
		{"activated ported_in is a ported where a tenure is running", "1 activated/first; 100 activated/ported_in by2", "in use 2 t1 first 1"},
		{"of a suspended one too", "1 activated/first; 9 suspended; 100 activated/ported_in by2", "suspended 2 t1 first 1"},
		{"ported from the carrier that already serves is accepted and changes nothing", "1 activated/first; 100 ported", "in use 1 t1 first 1"},
		{"ported_in begins a tenure of unknown start where nothing is known", "500 activated/ported_in by2", "in use 2 t1 unknown 500"},
		{"unknown begins a tenure of unknown start", "500 activated/unknown", "in use 1 t1 unknown 500"},
		{"ported_in never continues an ended one", "1 activated/first; 300 disconnected; 500 activated/ported_in by2", "in use 2 t3 unknown 500"},
		{"unknown never continues an ended one", "1 activated/first; 300 disconnected; 500 activated/unknown", "in use 1 t3 unknown 500"},
		{"any carrier may report activated after disconnected", "1 activated/first; 300 disconnected; 400 activated/reassigned by2", "in use 2 t3 reassigned 400"},
		{"ported back", "1 activated/first; 100 ported by2; 200 ported by1", "in use 1 t1 first 1"},
		{"the new carrier reports what comes after", "1 activated/first; 100 ported by2; 150 suspended by2; 160 resumed by2; 300 disconnected by2", "disconnected 2 t1 first 1"},
		{"the one that served last reinstates", "1 activated/first; 100 ported by2; 300 disconnected by2; 310 reinstated by2", "in use 2 t1 first 1"},
		{"ties go by position in the log", "1 activated/first; 300 disconnected; 300 reinstated; 300 suspended", "suspended 1 t1 first 1"},
		{"a transfer at the instant of activation", "1 activated/first; 1 transferred", "in use 1 t2 transferred 1"},
		// "Late events are accepted and the timeline is worked out anew."
		{"a late transfer", "1 activated/first; 500 suspended; 400 transferred", "suspended 1 t3 transferred 400"},
		{"a late port, to itself, before nothing that the old carrier told", "1 activated/first; 300 ported by3; 200 ported by2", "in use 3 t1 first 1"},
		{"a late pair between two others, once the later ones are voided", "1 activated/first; 9 suspended; 20 resumed; 21 corrected/3; 22 corrected/2; 3 suspended; 5 resumed; 9 suspended", "suspended 1 t1 first 1"},
		{"a late activation turns what was thought a start into a port", "500 activated/ported_in by2; 1 activated/first", "in use 2 t2 first 1"},
		{"a late end turns a port into a start", "1 activated/first; 500 activated/ported_in by2; 300 disconnected", "in use 2 t2 unknown 500"},
		// "`corrected`, which voids one earlier event of the same carrier"
		{"a transfer that was voided", "1 activated/first; 400 transferred; 450 corrected/2", "in use 1 t1 first 1"},
		{"the replacement is a new event, and begins another tenure", "1 activated/first; 400 transferred; 450 corrected/2; 410 transferred", "in use 1 t4 transferred 410"},
		{"a voided activation leaves nothing", "1 activated/first; 2 corrected/1", "never seen"},
		{"and another may come, of any carrier", "1 activated/first; 2 corrected/1; 1 activated/reassigned by2", "in use 2 t3 reassigned 1"},
		{"a voided end", "1 activated/first; 300 disconnected; 305 corrected/2", "in use 1 t1 first 1"},
		{"a voided port goes back to the old carrier", "1 activated/first; 100 ported by2; 200 corrected/2 by2", "in use 1 t1 first 1"},
		{"a correction may be dated before what it voids", "1 activated/first; 400 transferred; 3 corrected/2", "in use 1 t1 first 1"},
		{"after a correction an event may come earlier than the voided one", "1 activated/first; 400 disconnected; 401 corrected/2; 200 transferred", "in use 1 t4 transferred 200"},
		{"the old carrier corrects what it reported before the port", "1 activated/first; 5 suspended; 9 resumed; 100 ported by2; 101 corrected/3; 102 corrected/2", "in use 2 t1 first 1"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			told(t, c.story).is(c.want)
		})
	}
}

func TestEventsThatDoNotFitAreRefusedWithACode(t *testing.T) {
	const running, ended, suspended = "1 activated/first", "1 activated/first; 300 disconnected", "1 activated/first; 5 suspended"
	for _, c := range []struct{ rule, story, event, code string }{
		// "a kind that does not fit the state (`out_of_order`)"
		{"nothing fits a number never seen but an activation", "", "1 suspended", "out_of_order"},
		{"resumed", "", "1 resumed", "out_of_order"},
		{"disconnected", "", "1 disconnected", "out_of_order"},
		{"reinstated", "", "1 reinstated", "out_of_order"},
		{"transferred", "", "1 transferred", "out_of_order"},
		{"ported: its carrier reports activated ported_in", "", "1 ported", "out_of_order"},
		{"first where a tenure is running", running, "9 activated/first", "out_of_order"},
		{"reassigned where a tenure is running", running, "9 activated/reassigned", "out_of_order"},
		{"unknown where a tenure is running", running, "9 activated/unknown", "out_of_order"},
		{"reassigned where a tenure is running, by another carrier", running, "9 activated/reassigned by2", "out_of_order"},
		{"resumed where nothing was suspended", running, "9 resumed", "out_of_order"},
		{"reinstated where nothing has ended", running, "9 reinstated", "out_of_order"},
		{"suspended twice", suspended, "9 suspended", "out_of_order"},
		{"reinstated where it is suspended", suspended, "9 reinstated", "out_of_order"},
		{"disconnected twice", ended, "301 disconnected", "out_of_order"},
		{"suspended after the end", ended, "301 suspended", "out_of_order"},
		{"resumed after the end", ended, "301 resumed", "out_of_order"},
		{"transferred after the end", ended, "301 transferred", "out_of_order"},
		{"ported after the end", ended, "301 ported by2", "out_of_order"},
		{"first after an end: somebody had it before", ended, "900 activated/first", "out_of_order"},
		{"first after an end, by another carrier", ended, "900 activated/first by2", "out_of_order"},
		{"an event before the first", running, "0 suspended", "out_of_order"},
		// "an activation before cooling is over (`cooling_too_short`)": "COOLING (≥ 90 days, a carrier may set more)"
		{"the 89th day", ended, "389 activated/reassigned", "cooling_too_short"},
		{"a minute before the 90 days are over", ended, "390@09:59 activated/reassigned by2", "cooling_too_short"},
		{"90 days", ended, "390 activated/reassigned by2", ""},
		{"ported_in is an activation too", ended, "389 activated/ported_in by2", "cooling_too_short"},
		{"unknown too", ended, "389 activated/unknown", "cooling_too_short"},
		{"the cooling is that of the carrier that cancelled", "1 activated/first; 2 ported by3; 300 disconnected by3", "419 activated/reassigned by1", "cooling_too_short"},
		{"and not that of the new one", ended, "390 activated/reassigned by3", ""},
		{"120 days where the carrier set more", "1 activated/first; 2 ported by3; 300 disconnected by3", "420 activated/reassigned by1", ""},
		// "Only the carrier that served the number at the event's `at` reports it"; "another carrier's number (`not_serving`)"
		{"suspended by another", running, "9 suspended by2", "not_serving"},
		{"resumed by another", suspended, "9 resumed by2", "not_serving"},
		{"disconnected by another", running, "9 disconnected by2", "not_serving"},
		{"transferred by another", running, "9 transferred by2", "not_serving"},
		{"reinstated by another", ended, "301 reinstated by2", "not_serving"},
		{"by the old one after the port", "1 activated/first; 100 ported by2", "101 suspended", "not_serving"},
		{"a late one of the old carrier from before the port", "1 activated/first; 100 ported by2", "50 transferred", ""},
		{"a late one of the new carrier from before the port", "1 activated/first; 100 ported by2", "50 transferred by2", "not_serving"},
		{"another carrier does not learn the state from the refusal", running, "9 resumed by2", "not_serving"},
		{"nor of an ended one", ended, "301 suspended by2", "not_serving"},
		// "a correction of an unknown event (`unknown_event`)"; "`corrected` comes from the carrier of the event it voids"
		{"a correction of what is not there", running, "9 corrected/7", "unknown_event"},
		{"of nothing ever told", "", "9 corrected/7", "unknown_event"},
		{"of no event", running, "9 corrected/0", "unknown_event"},
		{"of another carrier's", running, "9 corrected/1 by2", "unknown_event"},
		{"of another carrier's, by the one that serves now", "1 activated/first; 100 ported by2", "101 corrected/1 by2", "unknown_event"},
		{"of an event that is void", "1 activated/first; 400 transferred; 450 corrected/2", "451 corrected/2", "out_of_order"},
		{"of a correction: nothing is ever erased", "1 activated/first; 400 transferred; 450 corrected/2", "451 corrected/3", "out_of_order"},
		// "an event after which a later one no longer fits (`out_of_order`, naming it)"
		{"a late end before what was told", "1 activated/first; 500 suspended", "400 disconnected", "out_of_order"},
		{"a late suspension", "1 activated/first; 9 suspended", "5 suspended", "out_of_order"},
		{"even where its late resumption would come next", "1 activated/first; 9 suspended; 20 resumed", "3 suspended", "out_of_order"},
		{"a late end with too short a cooling before a port", "1 activated/first; 500 activated/ported_in by2", "450 disconnected", "out_of_order"},
		{"a late port before what the old carrier told", "1 activated/first; 50 suspended", "20 ported by2", "out_of_order"},
		{"voiding the activation that a port needs", "1 activated/first; 100 ported by2", "101 corrected/1", "out_of_order"},
		{"voiding the end before a re-assignment", ended + "; 400 activated/reassigned by2", "401 corrected/2", "out_of_order"},
		{"a late activation before another", "400 activated/reassigned", "1 activated/first", "out_of_order"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := told(t, c.story)
			err := r.report(c.event)
			if got := codeOf(err); got != c.code {
				t.Errorf("%s after %q: %q (%v), want %q", c.event, c.story, got, err, c.code)
			}
		})
	}
}

func TestAMisfitIsNamedToItsOwnCarrierOnly(t *testing.T) {
	// "an event after which a later one no longer fits (`out_of_order`, naming it)"; rule 5: "The tenure's start leaves the
	// hub only inside a task or a recycled-number event"
	own := told(t, "1 activated/first; 400 transferred; 500 suspended; 600 resumed").report("550 disconnected")
	if !strings.Contains(own.Error(), "resumed e4 of ") {
		t.Errorf("its own event is named: %v", own)
	}
	other := told(t, "1 activated/first; 400 transferred").report("300 ported by2")
	if s := other.Error(); !strings.Contains(s, "another carrier's transferred") || strings.Contains(s, "e2") || strings.Contains(s, "2025") {
		t.Errorf("another's event keeps its id and time: %v", other)
	}
	first := told(t, "1 activated/first; 9 suspended; 20 resumed; 30 suspended").report("10 resumed")
	if !strings.Contains(first.Error(), "resumed e3 of ") {
		t.Errorf("the first that does not fit is named: %v", first)
	}
}

func TestHistoryIsReadOnlyWhenItIsNeeded(t *testing.T) {
	r := told(t, "1 activated/first; 5 suspended; 5 resumed; 300 disconnected; 400 activated/reassigned; 401 ported by2")
	if r.asked != 0 {
		t.Error("events in order are judged by the standing alone")
	}
	if err := r.report("300 corrected/9"); err == nil || r.asked != 1 {
		t.Error("a correction needs the history")
	}
}

func TestATenureThatMovesOrIsVoidedEndsUnderItsID(t *testing.T) {
	// "When a start moves or a tenure is voided: it ends under its id, its open tasks abort"
	for _, c := range []struct {
		what, story, then string
		ends              bool
	}{
		{"disconnected", "1 activated/first", "300 disconnected", true},
		{"transferred", "1 activated/first", "300 transferred", true},
		{"voided", "1 activated/first; 400 transferred", "450 corrected/2", true},
		{"its start is older than was thought", "500 activated/ported_in by2", "1 activated/first", true},
		{"its start was no port", "1 activated/first; 500 activated/ported_in by2", "300 disconnected", true},
		{"ported", "1 activated/first", "300 ported by2", false},
		{"suspended", "1 activated/first", "300 suspended", false},
		{"another event is corrected", "1 activated/first; 5 suspended", "6 corrected/2", false},
		{"nobody held it", "1 activated/first; 300 disconnected", "400 activated/reassigned", false},
		{"never seen", "", "1 activated/first", false},
	} {
		r := told(t, c.story)
		before := r.now
		if err := r.report(c.then); err != nil {
			t.Fatal(err)
		}
		if before.EndedBy(&r.now) != c.ends {
			t.Errorf("%s: ended %v", c.what, !c.ends)
		}
	}
}
