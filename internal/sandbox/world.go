package sandbox

import (
	"fmt"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// World is what a seed and a first day make: every number, who had it and who has it. It never changes; what happens later
// is in the journal.
type World struct {
	Seed  uint64
	Epoch time.Time // midnight in China of the day on which the world was made: all stories end before it
	// People are the carriers' customers. Things happen to them while the world runs.
	People []Story
	// Showcase are the holders whose requests are shown: bound at 14 of the 25 common apps.
	Showcase []Story
	// Visitors are the holders of sandbox.json: nothing happens to them by itself.
	Visitors []Story
	Named    Named
}

// Named are the numbers of sandbox.json that always behave as they are called.
type Named struct {
	Unchanged, Changed, NoHolder, Unknown Story
	NeverSeen, NotSupported               huanxin.Number
}

// Stories are numbered from these on.
const (
	firstVisitor  = 90_000
	firstShowcase = 95_000
	firstNamed    = 99_000

	showcases = 8
)

// visitors says how many holders of which plot are in sandbox.json.
var visitors = []struct {
	plot Plot
	n    int
}{{PlotRecycled, 24}, {PlotTransferred, 8}, {PlotPortedIn, 8}, {PlotMoved, 6}, {PlotTwice, 4}, {PlotFirst, 6}}

// NewWorld makes the world of a seed with so many people. The same arguments give the same world.
func NewWorld(seed uint64, epoch time.Time, people int) *World {
	w := &World{Seed: seed, Epoch: epoch}
	numbers := &numbering{seed: seed, taken: map[huanxin.Number]bool{}}
	w.name(numbers)
	add := func(to *[]Story, no int, plot Plot) {
		s := tellStory(seed, no, plot, epoch)
		numbers.next(&s)
		*to = append(*to, s)
	}
	for no := firstVisitor; len(w.Visitors) < visitorCount(); no++ {
		add(&w.Visitors, no, visitorPlot(no-firstVisitor))
	}
	for i := range showcases {
		add(&w.Showcase, firstShowcase+i, PlotRecycled)
	}
	for no := range people {
		add(&w.People, no, plotOf(no))
	}
	return w
}

func visitorCount() (n int) {
	for _, v := range visitors {
		n += v.n
	}
	return n
}

func visitorPlot(i int) Plot {
	for _, v := range visitors {
		if i < v.n {
			return v.plot
		}
		i -= v.n
	}
	panic("sandbox: no such visitor")
}

// The days for which the named numbers are to be checked.
const (
	sinceUnchanged = "2020-01-01"
	sinceChanged   = "2019-08-08"
	sinceNoHolder  = "2020-01-01"
	sinceUnknown   = "2021-01-01"
)

// name makes the named numbers. Their history is the same in every world.
func (w *World) name(numbers *numbering) {
	day := func(s string) time.Time {
		d, err := time.ParseInLocation("2006-01-02 15:04", s+" 10:00", huanxin.China)
		if err != nil {
			panic(err)
		}
		return d
	}
	fixed := func(i int, tell func(t *teller)) Story {
		t := &teller{s: Story{No: firstNamed + i, Plot: "named", Carrier: i % 3}}
		tell(t)
		numbers.next(&t.s)
		return t.s
	}
	w.Named.Unchanged = fixed(0, func(t *teller) { t.begin(day("2016-05-20"), huanxin.OriginFirst) })
	w.Named.Changed = fixed(1, func(t *teller) {
		t.begin(day("2014-03-10"), huanxin.OriginFirst)
		t.disconnect(day("2021-06-01"))
		t.begin(day("2021-11-15"), huanxin.OriginReassigned)
	})
	w.Named.NoHolder = fixed(2, func(t *teller) {
		t.begin(day("2013-09-01"), huanxin.OriginFirst)
		t.disconnect(day("2025-02-01"))
	})
	w.Named.Unknown = fixed(3, func(t *teller) { t.begin(day("2023-04-01"), huanxin.OriginUnknown) })
	r := draws(w.Seed, streamNumber, firstNamed+10)
	w.Named.NeverSeen = onSegment(r, catalogue.Carriers()[0].Segments[0])
	numbers.taken[w.Named.NeverSeen] = true
	w.Named.NotSupported = mustNumber(fmt.Sprintf("+861440%09d", r.IntN(1_000_000_000))) // 13 digits: IoT
}

// listed gives the numbers of sandbox.json, by their digits: anyone may ask about them with as many times as they like.
func (w *World) listed() map[uint64]bool {
	out := map[uint64]bool{}
	for _, n := range []huanxin.Number{w.Named.Unchanged.Number, w.Named.Changed.Number, w.Named.NoHolder.Number, w.Named.Unknown.Number,
		w.Named.NeverSeen, w.Named.NotSupported} {
		out[n.Digits()] = true
	}
	for i := range w.Visitors {
		out[w.Visitors[i].Number.Digits()] = true
	}
	return out
}

// All gives every story that has a history to report.
func (w *World) All() []*Story {
	out := []*Story{&w.Named.Unchanged, &w.Named.Changed, &w.Named.NoHolder, &w.Named.Unknown}
	for _, list := range [][]Story{w.Visitors, w.Showcase, w.People} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}

// CoveredSince is the first day from which every change of holder of a story is in the log: the day after the last one that nobody
// reported. Such are the changes before a number of unknown start was ported in. It is one day for all carriers, because numbers
// go from one to the other while the world runs.
func (w *World) CoveredSince() huanxin.Date {
	var last time.Time
	for _, s := range w.All() {
		if s.Tenures[0].Origin != huanxin.OriginUnknown {
			continue
		}
		for _, h := range timesOf(s, w.Epoch) {
			if h.from.Before(s.Tenures[0].From) && h.from.After(last) {
				last = h.from
			}
		}
	}
	return huanxin.DateOf(last.AddDate(0, 0, 1), huanxin.China)
}

// Carriers' numbers in this package count from 0 in the order of the catalogue; a huanxin.PartyNo in a story is one more.
func carrierID(i int) string { return catalogue.Carriers()[i].ID }
