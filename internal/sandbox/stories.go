package sandbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Plot is the kind of a number's life story.
type Plot string

// The plots. Those that the running world goes on with say so.
const (
	PlotFirst       Plot = "first use"
	PlotRecycled    Plot = "recycled"
	PlotTransferred Plot = "transferred"
	PlotPorted      Plot = "ported"
	PlotMoved       Plot = "recycled, then ported"
	PlotReinstated  Plot = "reinstated"
	PlotTwice       Plot = "recycled twice"
	PlotPortedIn    Plot = "ported in, start unknown"
	PlotSuspended   Plot = "suspended and resumed"
	PlotCorrected   Plot = "transfer corrected away"
	PlotFrozen      Plot = "cancelled, still frozen"
	PlotResting     Plot = "cancelled, free to be sold again" // the running world sells it
)

// shares says how many of 1,000 numbers have which plot, in the order in which they are dealt.
var shares = []struct {
	plot  Plot
	share int
}{
	{PlotRecycled, 340}, {PlotFirst, 200}, {PlotTransferred, 90}, {PlotResting, 80}, {PlotTwice, 60}, {PlotMoved, 60},
	{PlotPorted, 50}, {PlotPortedIn, 40}, {PlotReinstated, 30}, {PlotSuspended, 20}, {PlotFrozen, 20}, {PlotCorrected, 10},
}

// Tenure is the time in which one person holds a number. To is zero while it lasts.
type Tenure struct {
	From, To time.Time
	Origin   huanxin.TenureOrigin
}

// Story is the life of one number until the world began.
type Story struct {
	// No names the story, and is the stream of its random numbers: no story depends on another one.
	No      int
	Plot    Plot
	Number  huanxin.Number
	Carrier int // index of the carrier that serves it at last
	// Events are what its carriers report, in order; the Carrier of each is its index and 1. Tenures are what comes of them.
	Events  []huanxin.Event
	Tenures []Tenure
}

// Now gives the tenure that runs when the world begins; held is false where nobody holds the number.
func (s *Story) Now() (t Tenure, held bool) {
	if len(s.Tenures) == 0 {
		return Tenure{}, false
	}
	t = s.Tenures[len(s.Tenures)-1]
	return t, t.To.IsZero()
}

// Streams of random numbers, so that a change in one part of the world leaves the others as they are.
const (
	streamStory   = 1 << 40
	streamNumber  = 2 << 40
	streamBinding = 3 << 40
	streamPerson  = 4 << 40
	streamLive    = 5 << 40
)

func draws(seed, stream uint64, no int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream+uint64(no)))
}

// plotOf deals the plots so that any thousand numbers in a row have all of them in their shares, well mixed.
func plotOf(no int) Plot {
	at := no * 619 % 1000 // 619 and 1000 have no common factor
	for _, s := range shares {
		if at < s.share {
			return s.plot
		}
		at -= s.share
	}
	panic("sandbox: the shares do not make 1,000")
}

// teller makes one story up, from its end backwards: dates are days before the world began.
type teller struct {
	r     *rand.Rand
	epoch time.Time // a midnight in China
	s     Story
}

// tellStory makes up the story no of a seed.
func tellStory(seed uint64, no int, plot Plot, epoch time.Time) Story {
	t := &teller{r: draws(seed, streamStory, no), epoch: epoch, s: Story{No: no, Plot: plot}}
	t.tell()
	return t.s
}

// The frozen time of the demo's carriers, and the range of what else is drawn, in days.
const coolingDays = 90

// ago gives a moment of a day that was n days before the world began, in the hours in which shops are open.
func (t *teller) ago(n int) time.Time {
	return t.epoch.AddDate(0, 0, -n).Add(8*time.Hour + time.Duration(t.r.IntN(12*3600))*time.Second)
}

func (t *teller) between(least, most int) int { return least + t.r.IntN(most-least+1) }

// event adds what the story's present carrier reports.
func (t *teller) event(kind huanxin.EventKind, at time.Time, origin huanxin.ActivationOrigin) *huanxin.Event {
	n := len(t.s.Events) + 1
	t.s.Events = append(t.s.Events, huanxin.Event{No: huanxin.EventNo(n), ID: fmt.Sprintf("demo-%05d-%d", t.s.No, n),
		Carrier: huanxin.PartyNo(t.s.Carrier + 1), Kind: kind, At: at, Origin: origin})
	return &t.s.Events[n-1]
}

func (t *teller) begin(at time.Time, origin huanxin.TenureOrigin) {
	t.s.Tenures = append(t.s.Tenures, Tenure{From: at, Origin: origin})
	switch origin {
	case huanxin.OriginFirst:
		t.event(huanxin.Activated, at, huanxin.ActivatedFirst)
	case huanxin.OriginReassigned:
		t.event(huanxin.Activated, at, huanxin.ActivatedReassigned)
	case huanxin.OriginTransferred:
		t.event(huanxin.Transferred, at, 0)
	case huanxin.OriginUnknown:
		t.event(huanxin.Activated, at, huanxin.ActivatedPortedIn)
	}
}

func (t *teller) end(at time.Time) { t.s.Tenures[len(t.s.Tenures)-1].To = at }

func (t *teller) disconnect(at time.Time) {
	t.end(at)
	t.event(huanxin.Disconnected, at, 0)
}

// recycled tells of a first holder and of the next one, whose tenure began start days ago.
func (t *teller) recycled(start int) {
	sold := t.ago(start)
	cancelled := start + coolingDays + t.between(5, 200)
	first := cancelled + t.between(100, 3000)
	t.carrier(first)
	t.begin(t.ago(first), huanxin.OriginFirst)
	t.disconnect(t.ago(cancelled))
	t.begin(sold, huanxin.OriginReassigned)
}

// held tells of a first holder of today.
func (t *teller) held(since int) {
	t.carrier(since)
	t.begin(t.ago(since), huanxin.OriginFirst)
}

func (t *teller) tell() {
	switch t.s.Plot {
	case PlotFirst:
		t.held(t.between(30, 4000))
	case PlotRecycled:
		t.recycled(t.between(2, 700))
	case PlotTransferred:
		t.transferred()
	case PlotPorted:
		since := t.between(600, 4000)
		t.held(since)
		t.port(t.ago(t.between(20, since/2)))
	case PlotMoved:
		since := t.between(60, 700)
		t.recycled(since)
		t.port(t.ago(t.between(5, since-2)))
	case PlotReinstated:
		since := t.between(300, 4000)
		t.held(since)
		gone := t.between(100, since-10)
		t.event(huanxin.Disconnected, t.ago(gone), 0)
		t.event(huanxin.Reinstated, t.ago(gone-t.between(2, 60)), 0)
	case PlotTwice:
		t.twice()
	case PlotPortedIn:
		since := t.between(10, 1500)
		t.carrier(since)
		t.begin(t.ago(since), huanxin.OriginUnknown)
	case PlotSuspended:
		since := t.between(200, 700)
		t.recycled(since)
		gone := t.between(20, since-10)
		t.event(huanxin.Suspended, t.ago(gone), 0)
		t.event(huanxin.Resumed, t.ago(gone-t.between(1, 15)), 0)
	case PlotCorrected:
		t.corrected()
	case PlotFrozen:
		t.held(t.between(400, 3000))
		t.disconnect(t.ago(t.between(1, 60)))
	case PlotResting:
		t.held(t.between(900, 3000))
		t.disconnect(t.ago(t.between(coolingDays+3, 400)))
	}
}

func (t *teller) transferred() {
	start := t.between(3, 900)
	t.held(start + t.between(30, 2500))
	at := t.ago(start)
	t.end(at)
	t.begin(at, huanxin.OriginTransferred)
}

func (t *teller) twice() {
	start := t.between(2, 300)
	last := t.ago(start)
	t.recycled(start + coolingDays + t.between(5, 60) + t.between(60, 900))
	gone := t.s.Tenures[1].From.AddDate(0, 0, 30)
	latest := t.epoch.AddDate(0, 0, -start-coolingDays-4)
	gone = gone.Add(time.Duration(t.r.Int64N(int64(latest.Sub(gone))))).Truncate(time.Second)
	t.disconnect(gone)
	t.begin(last, huanxin.OriginReassigned)
}

// corrected tells of a transfer that was reported by mistake and voided: the first holder never lost the number.
func (t *teller) corrected() {
	since := t.between(400, 3000)
	t.held(since)
	wrong := t.between(50, 300)
	id := t.event(huanxin.Transferred, t.ago(wrong), 0).ID
	e := t.event(huanxin.Corrected, t.ago(wrong-t.between(1, 40)), 0)
	e.CorrectsID, e.Corrects = id, 2
}

// Who of a hundred customers each carrier has, in the order of the catalogue.
var marketShare = []int{52, 22, 22, 4}

// cbnBegan is when the fourth carrier began to sell numbers: none of its stories is older.
var cbnBegan = time.Date(2022, time.June, 27, 0, 0, 0, 0, huanxin.China)

// carrier draws who serves the number first, since so many days ago.
func (t *teller) carrier(since int) {
	at := t.r.IntN(100)
	for i, share := range marketShare {
		if at < share {
			t.s.Carrier = i
			break
		}
		at -= share
	}
	if t.s.Carrier == 3 && t.epoch.AddDate(0, 0, -since).Before(cbnBegan) {
		t.s.Carrier = t.r.IntN(3)
	}
}

// port moves the number to another carrier, which reports it.
func (t *teller) port(at time.Time) {
	to := t.r.IntN(3)
	if to >= t.s.Carrier {
		to++
	}
	if to == 3 && at.Before(cbnBegan) {
		to = (t.s.Carrier + 1) % 3
	}
	t.s.Carrier = to
	t.event(huanxin.Ported, at, 0)
}

// numbering gives out numbers, each once.
type numbering struct {
	seed  uint64
	taken map[huanxin.Number]bool
}

// next draws the number of a story on a segment of the carrier that served it first; one of twenty on an MVNO's.
func (g *numbering) next(s *Story) {
	r := draws(g.seed, streamNumber, s.No)
	c := catalogue.Carriers()[s.Events[0].Carrier-1]
	segments := c.Segments
	if len(c.MVNOSegments) > 0 && r.IntN(20) == 0 {
		segments = c.MVNOSegments
	}
	for s.Number.IsZero() || g.taken[s.Number] {
		s.Number = onSegment(r, segments[r.IntN(len(segments))])
	}
	g.taken[s.Number] = true
	for i := range s.Events {
		s.Events[i].Number = s.Number
	}
}

func onSegment(r *rand.Rand, segment string) huanxin.Number {
	var b strings.Builder
	b.WriteString("+86" + segment)
	for range 11 - len(segment) {
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	return mustNumber(b.String())
}

func mustNumber(s string) huanxin.Number {
	n, err := huanxin.ParseNumber(s)
	if err != nil {
		panic("sandbox: the world has a number that is none")
	}
	return n
}

// roundOf gives the events of a story until it went to another carrier, from then until the next time, and so on.
func roundOf(s *Story, round int) []huanxin.Event {
	at, from := 0, 0
	for i := 1; i <= len(s.Events); i++ {
		if i < len(s.Events) && s.Events[i].Carrier == s.Events[i-1].Carrier {
			continue
		}
		if at == round {
			return s.Events[from:i]
		}
		at, from = at+1, i
	}
	return nil
}
