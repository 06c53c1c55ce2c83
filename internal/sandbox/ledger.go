package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// ledger is the truth about every number of the world: its story, and what happened since, as the journal has it. The
// journal is written and on stable storage before a carrier reports what it says, so that after a crash the world and
// the hub agree: reporting the last lines again changes nothing.
type ledger struct {
	w *World

	mu       sync.Mutex
	lives    map[int]*life
	byNumber map[huanxin.Number]*life
	file     *os.File
	events   int
	tail     []client.Event // the last events of the journal
	tailOf   []int          // by which carrier
	requests []entry        // that the world made, oldest first
}

// life is one number now.
type life struct {
	no       int
	number   huanxin.Number
	standing huanxin.Standing
	events   []huanxin.Event
	times    []holder // who had it when; the last one's to means nothing while the number is held
	busy     bool     // has an open request
}

// carrier is who serves the number now.
func (l *life) carrier() int { return int(l.standing.Carrier) - 1 }

// entry is one line of the journal. It names a number by its story.
type entry struct {
	No      int       `json:"no"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind,omitempty"` // of an event
	Origin  string    `json:"origin,omitempty"`
	Carrier int       `json:"carrier"`
	Request string    `json:"request,omitempty"` // the hub's id of a request that was accepted
	Shown   bool      `json:"shown,omitempty"`   // it is one for show
}

const (
	journalName = "journal.jsonl"
	tailLength  = 64
)

func cooling(huanxin.PartyNo) time.Duration { return coolingDays * 24 * time.Hour }

// openLedger reads the journal over the stories. A last line that is torn was never acted upon, and goes.
func openLedger(w *World, dir string) (*ledger, error) {
	g := &ledger{w: w, lives: map[int]*life{}, byNumber: map[huanxin.Number]*life{}}
	for _, s := range w.All() {
		l := &life{no: s.No, number: s.Number, events: slices.Clone(s.Events), times: timesOf(s, w.Epoch)}
		var err error
		if l.standing, err = huanxin.Replay(s.Events, 0, cooling); err != nil {
			return nil, fmt.Errorf("story %d: %w", s.No, err)
		}
		g.lives[s.No], g.byNumber[s.Number] = l, l
	}
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	g.file = f
	good, err := g.read(f)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", journalName, err), f.Close())
	}
	return g, nil
}

// read applies every whole line and says how long they are.
func (g *ledger) read(from io.Reader) (good int64, err error) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		var e entry
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return good, err
		}
		if _, err := g.apply(e); err != nil {
			return good, err
		}
		good += int64(len(line))
	}
}

func (g *ledger) close() error { return g.file.Close() }

// apply takes an entry into the truth.
func (g *ledger) apply(e entry) (client.Event, error) {
	l := g.lives[e.No]
	if l == nil {
		return client.Event{}, fmt.Errorf("there is no story %d", e.No)
	}
	if e.Request != "" {
		g.requests = append(g.requests, e)
		return client.Event{}, nil
	}
	ev := huanxin.Event{No: huanxin.EventNo(len(l.events) + 1), ID: fmt.Sprintf("live-%06d", g.events+1),
		Carrier: huanxin.PartyNo(e.Carrier + 1), Number: l.number, At: e.At}
	var err error
	if ev.Kind, err = huanxin.ParseEventKind(e.Kind); err != nil {
		return client.Event{}, err
	}
	if e.Origin != "" {
		if ev.Origin, err = huanxin.ParseActivationOrigin(e.Origin); err != nil {
			return client.Event{}, err
		}
	}
	if ev.Kind == huanxin.Corrected {
		last := l.events[len(l.events)-1] // what is corrected while the world runs is always the last event
		ev.Corrects, ev.CorrectsID = last.No, last.ID
	}
	after, err := l.standing.Judge(ev, func() []huanxin.Event { return slices.Clone(l.events) }, cooling)
	if err != nil {
		return client.Event{}, err
	}
	g.events++
	l.follow(ev, after)
	out := wire(&ev)
	g.tail, g.tailOf = append(g.tail, out), append(g.tailOf, e.Carrier)
	if n := len(g.tail) - tailLength; n > 0 {
		g.tail, g.tailOf = g.tail[n:], g.tailOf[n:]
	}
	return out, nil
}

// follow brings the truth about holders up to an event.
func (l *life) follow(e huanxin.Event, after huanxin.Standing) {
	before := l.standing
	l.events, l.standing = append(l.events, e), after
	last := len(l.times) - 1
	switch {
	case e.Kind == huanxin.Corrected && after.Tenure != before.Tenure: // the tenure before goes on
		l.times = l.times[:last]
		l.times[last-1].to = e.At
	case after.Held() && after.Tenure != before.Tenure:
		if before.Held() {
			l.times[last].to = e.At
		}
		l.times = append(l.times, holder{person: fmt.Sprintf("person-%05d-live%d", l.no, e.No), from: e.At})
	case before.Held() && !after.Held():
		l.times[last].to = e.At
	}
}

// happen writes what happens to a number into the journal, and gives what its carrier is to report. Where it does not fit
// the number's life nothing is written.
func (g *ledger) happen(e entry) (client.Event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.At = e.At.UTC().Truncate(time.Microsecond)
	line, err := json.Marshal(e)
	if err != nil {
		return client.Event{}, err
	}
	ev, err := g.apply(e)
	if err != nil {
		return ev, err
	}
	if _, err := g.file.Write(append(line, '\n')); err != nil {
		return ev, err
	}
	return ev, g.file.Sync()
}

// Holder gives who really had a number at a time; "": nobody, or nobody knows.
func (g *ledger) Holder(n huanxin.Number, at time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.byNumber[n]
	if l == nil {
		return ""
	}
	for i, h := range slices.Backward(l.times) {
		last := i == len(l.times)-1 && l.standing.Held()
		if !at.Before(h.from) && (last || at.Before(h.to)) {
			return h.person
		}
	}
	return ""
}

// now gives a number's life as it is.
func (g *ledger) now(no int) life {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *g.lives[no]
}

// find gives the life of a number, if the world knows it.
func (g *ledger) find(n huanxin.Number) (life, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.byNumber[n]; l != nil {
		return *l, true
	}
	return life{}, false
}

// carrierOf gives who serves a number now.
func (g *ledger) carrierOf(no int) int {
	l := g.now(no)
	return l.carrier()
}

// setBusy says whether a number has an open request of the world.
func (g *ledger) setBusy(no int, busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives[no].busy = busy
}

// made gives the requests that the world has made.
func (g *ledger) made() []entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests)
}

// wire is an event as its carrier reports it.
func wire(e *huanxin.Event) client.Event {
	out := client.Event{ID: e.ID, Number: e.Number.E164(), Kind: e.Kind.String(), At: e.At.In(huanxin.China), Corrects: e.CorrectsID}
	if e.Origin != 0 {
		out.Origin = e.Origin.String()
	}
	return out
}
