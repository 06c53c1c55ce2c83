package huanxin_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// spell is one person's time with a number, in the model: DOMAIN.md §4 read a second time, as a list of spells.
type spell struct {
	id         huanxin.EventNo
	from, till time.Time // till is zero while it lasts
	how        string
}

// life is what the model makes of a number's events.
type life struct {
	spells  []spell
	carrier huanxin.PartyNo
	silent  bool // suspended
	last    time.Time
}

func (l *life) current() *spell {
	if n := len(l.spells); n > 0 && l.spells[n-1].till.IsZero() {
		return &l.spells[n-1]
	}
	return nil
}

// live takes one event in order, or says with which code it is refused. Only the event judged is held to what its carrier
// sets as cooling: what was accepted before keeps to the 90 days of everybody.
func (l *life) live(e huanxin.Event, judged huanxin.EventNo) string {
	run := l.current()
	stranger := len(l.spells) > 0 && e.Carrier != l.carrier
	switch k := e.Kind.String(); k {
	case "activated":
		how := e.Origin.String()
		if run != nil {
			if how != "ported_in" {
				return "out_of_order"
			}
			l.carrier = e.Carrier
			break
		}
		if n := len(l.spells); n > 0 {
			if how == "first" {
				return "out_of_order"
			}
			freeze := frozen(l.carrier)
			if e.No != judged {
				freeze = huanxin.MinCoolingDays * 24 * time.Hour
			}
			if e.At.Sub(l.spells[n-1].till) < freeze {
				return "cooling_too_short"
			}
		}
		if how == "ported_in" {
			how = "unknown"
		}
		l.spells, l.carrier, l.silent = append(l.spells, spell{id: e.No, from: e.At, how: how}), e.Carrier, false
	case "ported":
		if run == nil {
			return "out_of_order"
		}
		l.carrier = e.Carrier
	default:
		if stranger {
			return "not_serving"
		}
		if code := l.byItsOwn(k, e, run); code != "" {
			return code
		}
	}
	l.last = e.At
	return ""
}

// byItsOwn takes what only the serving carrier reports.
func (l *life) byItsOwn(kind string, e huanxin.Event, run *spell) string {
	if (run == nil) != (kind == "reinstated") || len(l.spells) == 0 {
		return "out_of_order"
	}
	switch kind {
	case "suspended", "resumed":
		if l.silent == (kind == "suspended") {
			return "out_of_order"
		}
		l.silent = kind == "suspended"
	case "disconnected":
		run.till, l.silent = e.At, false
	case "reinstated":
		l.spells[len(l.spells)-1].till = time.Time{}
	case "transferred":
		run.till = e.At
		l.spells, l.silent = append(l.spells, spell{id: e.No, from: e.At, how: "transferred"}), false
	}
	return ""
}

// happened takes out what is voided, and sorts the rest by when it happened.
func happened(events []huanxin.Event) (kept []huanxin.Event) {
	for _, e := range events {
		voided := slices.ContainsFunc(events, func(c huanxin.Event) bool { return c.CorrectsID != "" && c.Corrects == e.No })
		if e.CorrectsID != "" || voided {
			continue
		}
		at := len(kept) // insertion, after all that are not later
		for at > 0 && kept[at-1].At.After(e.At) {
			at--
		}
		kept = slices.Insert(kept, at, e)
	}
	return kept
}

// relive replays events from scratch. It gives the code of the first that does not fit, and which that is.
func relive(events []huanxin.Event, judged huanxin.EventNo) (life, string, huanxin.EventNo) {
	var l life
	for _, e := range happened(events) {
		if code := l.live(e, judged); code != "" {
			return l, code, e.No
		}
	}
	return l, "", 0
}

// judge is what the model says of one more event.
func judge(past []huanxin.Event, e huanxin.Event) (life, string) {
	if e.CorrectsID != "" {
		i := slices.IndexFunc(past, func(o huanxin.Event) bool { return o.No == e.Corrects && o.Carrier == e.Carrier })
		if i < 0 {
			return life{}, "unknown_event"
		}
		again := slices.ContainsFunc(past, func(o huanxin.Event) bool { return o.CorrectsID != "" && o.Corrects == e.Corrects })
		if past[i].CorrectsID != "" || again {
			return life{}, "out_of_order"
		}
	}
	l, code, which := relive(append(slices.Clone(past), e), e.No)
	if code != "" && which != e.No {
		code = "out_of_order"
	}
	return l, code
}

// standing is the model's life in the words of a Standing.
func (l *life) standing() huanxin.Standing {
	if len(l.spells) == 0 {
		return huanxin.Standing{}
	}
	last := l.spells[len(l.spells)-1]
	s := huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: l.carrier, Tenure: huanxin.TenureID(last.id), StartedAt: last.from,
		EndedAt: last.till, LastAt: l.last}
	s.Origin, _ = huanxin.ParseTenureOrigin(last.how)
	if !last.till.IsZero() {
		s.Phase = huanxin.PhaseDisconnected
	} else if l.silent {
		s.Phase = huanxin.PhaseSuspended
	}
	return s
}

// check answers from the spells: who had it at T, and who has it now.
func (l *life) check(at time.Time) string {
	if len(l.spells) == 0 {
		return "UNKNOWN never_seen"
	}
	now := l.current()
	if now == nil {
		return "NO_HOLDER "
	}
	if now.how == "unknown" && at.Before(now.from) {
		return "UNKNOWN before_coverage"
	}
	for i := range l.spells {
		if s := &l.spells[i]; s == now && !at.Before(s.from) {
			return "UNCHANGED "
		}
	}
	if now.how == "transferred" {
		return "CHANGED transferred"
	}
	return "CHANGED reassigned"
}

// drawEvent draws an event that often fits: what a carrier would tell next, or late, or of something else.
func drawEvent(t *rapid.T, n huanxin.Number, past []huanxin.Event, s huanxin.Standing) huanxin.Event {
	e := huanxin.Event{No: huanxin.EventNo(len(past) + 1), ID: "e", Number: n, Carrier: s.Carrier}
	if s.Carrier == 0 || rapid.IntRange(0, 4).Draw(t, "stranger") == 0 {
		e.Carrier = huanxin.PartyNo(rapid.IntRange(1, 3).Draw(t, "carrier"))
	}
	e.At = s.LastAt.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 5, 50, 89, 90, 91, 119, 120, 150}).Draw(t, "days")) * 24 * time.Hour)
	if s.LastAt.IsZero() || rapid.IntRange(0, 3).Draw(t, "anyDay") == 0 {
		e.At = day(rapid.IntRange(0, 60).Draw(t, "day")*10, "10:00")
	}
	kinds := map[huanxin.Phase][]huanxin.EventKind{
		huanxin.PhaseUnseen: {huanxin.Activated},
		huanxin.PhaseInUse: {huanxin.Suspended, huanxin.Disconnected, huanxin.Disconnected, huanxin.Transferred, huanxin.Ported,
			huanxin.Activated, huanxin.Corrected},
		huanxin.PhaseSuspended:    {huanxin.Resumed, huanxin.Disconnected, huanxin.Transferred, huanxin.Ported, huanxin.Corrected},
		huanxin.PhaseDisconnected: {huanxin.Reinstated, huanxin.Activated, huanxin.Activated, huanxin.Corrected},
	}[s.Phase]
	if rapid.IntRange(0, 3).Draw(t, "anyKind") == 0 {
		kinds = []huanxin.EventKind{1, 2, 3, 4, 5, 6, 7, 8}
	}
	e.Kind = rapid.SampledFrom(kinds).Draw(t, "kind")
	switch e.Kind {
	case huanxin.Activated:
		e.Origin = rapid.SampledFrom([]huanxin.ActivationOrigin{1, 2, 2, 3, 3, 4}).Draw(t, "origin")
	case huanxin.Corrected:
		e.CorrectsID, e.Corrects = "some", huanxin.EventNo(rapid.IntRange(0, len(past)+1).Draw(t, "corrects"))
		if i := int(e.Corrects) - 1; i >= 0 && i < len(past) && rapid.IntRange(0, 4).Draw(t, "another's") > 0 {
			e.Carrier = past[i].Carrier
		}
	}
	return e
}

func TestANumbersStandingIsWhatReplayingItsEventsFromScratchGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := huanxin.NumberOf(8613800000001)
		var past []huanxin.Event
		var now huanxin.Standing
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			e := drawEvent(t, n, past, now)
			kept := slices.Clone(past)
			after, err := now.Judge(e, func() []huanxin.Event { return kept }, frozen)
			model, code := judge(past, e)
			if codeOf(err) != code {
				t.Fatalf("%v of %v by %d after %d events: %v, the model says %q", e.Kind, e.At, e.Carrier, len(past), err, code)
			}
			if !slices.Equal(kept, past) {
				t.Fatal("the history was changed")
			}
			if err != nil {
				if after != now {
					t.Fatal("a refused event changes nothing")
				}
				continue
			}
			past, now = append(past, e), after
			if want := model.standing(); after != want {
				t.Fatalf("judged %+v, the model says %+v", after, want)
			}
			shuffled := rapid.Permutation(past).Draw(t, "shuffled")
			if again, err := huanxin.Replay(shuffled, 0, frozen); err != nil || again != after {
				t.Fatalf("replayed in another order %+v, %v, judged %+v", again, err, after)
			}
			at := day(rapid.IntRange(0, 3000).Draw(t, "T"), "10:00")
			outcome, reason := now.Answer(n, at, day(9999, "12:00"))
			if got, want := outcome.String()+" "+reason, model.check(at); got != want {
				t.Fatalf("T %v: %s, the model says %s", at, got, want)
			}
		}
	})
}
