package huanxin_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// announced is the model: the notices that stand after some events, by the event that is announced.
func announced(events []huanxin.Event) map[huanxin.EventNo]huanxin.EventType {
	out := map[huanxin.EventNo]huanxin.EventType{}
	line := happened(events)
	l, _, _ := relive(events, 0)
	for i, e := range line {
		began := slices.ContainsFunc(l.spells, func(s spell) bool {
			return s.id == e.No && (s.how == "reassigned" || s.how == "transferred")
		})
		undone := i+1 < len(line) && line[i+1].Kind == huanxin.Reinstated
		switch {
		case strings.HasPrefix(e.ID, "history:"):
		case began:
			out[e.No] = huanxin.IdentifierRecycled
		case e.Kind == huanxin.Disconnected && !undone:
			out[e.No] = huanxin.NumberReleased
		}
	}
	return out
}

// tenures is the model's list of tenures that some events began.
func tenures(events []huanxin.Event) (out []huanxin.TenureID) {
	l, _, _ := relive(events, 0)
	for _, s := range l.spells {
		out = append(out, huanxin.TenureID(s.id))
	}
	return out
}

// What streams were told, taken together, is at any time what stands: nothing is told twice, and nothing is taken back that
// was not told.
func TestWhatWasToldOfANumberIsWhatStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var past []huanxin.Event
		var now huanxin.Standing
		heard := map[huanxin.EventNo]huanxin.EventType{}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			e := drawEvent(t, huanxin.NumberOf(8613800000001), past, now)
			if (e.Kind == huanxin.Activated || e.Kind == huanxin.Transferred) && rapid.IntRange(0, 3).Draw(t, "history") == 0 {
				e.ID = "history:e"
			}
			before := now
			after, err := now.Judge(e, func() []huanxin.Event { return slices.Clone(past) }, frozen)
			if err != nil {
				continue
			}
			kept, asked := slices.Clone(past), false
			told, gone := before.Notices(e, func() huanxin.Event { return past[len(past)-1] }, func() []huanxin.Event { asked = true; return kept })
			if late := e.At.Before(before.LastAt); asked && !late && e.Kind != huanxin.Corrected &&
				(e.Kind != huanxin.Reinstated || past[len(past)-1].Kind == huanxin.Disconnected && past[len(past)-1].At.Equal(before.EndedAt)) {
				t.Fatalf("%s asked for the history", e.Kind)
			}
			if !slices.Equal(kept, past) {
				t.Fatal("the history was changed")
			}
			if len(told) > 8 {
				t.Fatalf("%d notices of one event: a FeedNo has room for 8", len(told))
			}
			for _, n := range told {
				_, stood := heard[n.About]
				if retracts := n.Type == huanxin.RecycleRetracted; retracts != stood {
					t.Fatalf("%s of event %d, which was told: %t", n.Type, n.About, stood)
				}
				if heard[n.About] = n.Type; stood {
					delete(heard, n.About)
				}
			}
			was := tenures(past)
			past, now = append(past, e), after
			if want := announced(past); !maps.Equal(heard, want) {
				t.Fatalf("after %s at %v streams have heard %v, and what stands is %v", e.Kind, e.At, heard, want)
			}
			is := tenures(past)
			want := slices.DeleteFunc(was, func(id huanxin.TenureID) bool { return slices.Contains(is, id) })
			if !slices.Equal(gone, want) {
				t.Fatalf("the tenures %v are gone, the model says %v", gone, want)
			}
		}
	})
}

// The cases of DOMAIN.md §4, each a story whose last event is looked at.
func TestANumbersNotices(t *testing.T) {
	for _, c := range []struct{ story, told, gone string }{
		{"1 activated/first", "", ""},
		{"1 activated/reassigned", "recycled 1", ""},
		{"1 activated/ported_in", "", ""},
		{"1 activated/unknown", "", ""},
		{"1 activated/first; 9 suspended", "", ""},
		{"1 activated/first; 9 ported by2", "", ""},
		{"1 activated/first; 9 transferred", "recycled 2", ""},
		{"1 activated/first; 9 disconnected", "released 2", ""},
		{"1 activated/first; 9 disconnected; 200 activated/reassigned", "recycled 3", ""},
		{"1 activated/first; 9 activated/ported_in by2", "", ""},
		{"1 activated/first; 9 disconnected; 20 reinstated", "retracted 2", ""},
		// Corrections.
		{"1 activated/first; 9 disconnected; 20 corrected/2", "retracted 2", ""},
		{"1 activated/first; 9 transferred; 20 corrected/2", "retracted 2", "2"},
		{"1 activated/reassigned; 20 corrected/1", "retracted 1", "1"},
		{"1 activated/first; 20 corrected/1", "", "1"},
		{"1 activated/first; 9 transferred; 20 corrected/2; 8 transferred", "recycled 4", ""}, // the start has moved
		// A notice that stands again is told again.
		{"1 activated/first; 9 disconnected; 20 reinstated; 30 corrected/3", "released 2", ""},
		{"1 activated/first; 9 disconnected; 20 reinstated; 30 corrected/3; 40 reinstated", "retracted 2", ""},
		{"1 activated/first; 9 disconnected; 20 reinstated; 30 disconnected; 40 corrected/4", "retracted 4", ""},
		{"1 activated/first; 200 activated/ported_in by2; 300 disconnected by2; 100 disconnected; 310 reinstated by2", "retracted 3", ""},
		// Late events.
		{"1 activated/first; 400 suspended; 300 transferred", "recycled 3", ""},
		{"500 activated/ported_in; 100 activated/first", "", "1"},
		{"500 activated/ported_in; 100 activated/reassigned", "recycled 2", "1"},
		{"1 activated/first; 400 activated/ported_in by2; 300 disconnected", "released 3", ""},
	} {
		lines := strings.Split(c.story, ";")
		r := told(t, strings.Join(lines[:len(lines)-1], ";"))
		e, before, past := r.event(strings.TrimSpace(lines[len(lines)-1])), r.now, slices.Clone(r.events)
		if _, err := before.Judge(e, func() []huanxin.Event { return slices.Clone(past) }, frozen); err != nil {
			t.Errorf("%s: %v", c.story, err)
			continue
		}
		notices, gone := before.Notices(e, func() huanxin.Event { return past[len(past)-1] }, func() []huanxin.Event { return past })
		var words, ids []string
		for _, n := range notices {
			what := map[huanxin.EventType]string{huanxin.IdentifierRecycled: "recycled", huanxin.NumberReleased: "released", huanxin.RecycleRetracted: "retracted"}
			words = append(words, fmt.Sprint(what[n.Type], " ", n.About))
		}
		for _, id := range gone {
			ids = append(ids, fmt.Sprint(id))
		}
		if got := strings.Join(words, ", "); got != c.told || strings.Join(ids, ", ") != c.gone {
			t.Errorf("%s: told %q, gone %q", c.story, got, ids)
		}
	}
}

func TestHistoryIsNeverToldNorTakenBack(t *testing.T) {
	r := told(t, "1 activated/reassigned; 9 transferred")
	for i := range r.events {
		r.events[i].ID = fmt.Sprint("history:", i)
	}
	var s huanxin.Standing
	for i, e := range r.events {
		told, _ := s.Notices(e, nil, func() []huanxin.Event { return r.events[:i] })
		if told != nil {
			t.Errorf("%s of history is told: %v", e.Kind, told)
		}
	}
	told, gone := r.now.Notices(r.event("20 corrected/2"), nil, func() []huanxin.Event { return r.events })
	if told != nil || !slices.Equal(gone, []huanxin.TenureID{2}) {
		t.Errorf("a correction of history tells %v, gone are %v", told, gone)
	}
}
