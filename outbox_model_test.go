package huanxin

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outboxModel knows of every SET what became of it, and says of each hand-out whether it was right: slowly, by looking at
// everything.
type outboxModel struct {
	t     *rapid.T
	box   []byte // as it was saved
	now   time.Time
	head  int64
	sets  []*modelSET // of the log by place, then signals
	stale []FeedItems // what pollers gathered and did not bring yet
}

type modelSET struct {
	FeedItem
	state    modelState
	gone     bool // nobody wants it any more
	later    bool // it may not be sent just now
	attempts int
	first    time.Time
	again    time.Time
}

type modelState int

const (
	ahead modelState = iota // of the cursor
	pending
	settled
)

func (m *outboxModel) load() *Outbox {
	o, err := DecodeOutbox(m.box, 1)
	if err != nil {
		m.t.Fatal(err)
	}
	return o
}

// save is followed by a crash, each time: the next one begins with what was saved.
func (m *outboxModel) save(o *Outbox) { m.box = o.Encode() }

func (m *outboxModel) set(no FeedNo) *modelSET {
	i := slices.IndexFunc(m.sets, func(s *modelSET) bool { return s.No == no })
	if i < 0 {
		m.t.Fatalf("%d was never made", no)
	}
	return m.sets[i]
}

func (m *outboxModel) judge(no FeedNo) Judgement {
	switch s := m.set(no); {
	case s.gone:
		return SendNever
	case s.later:
		return SendLater
	}
	return SendNow
}

func (m *outboxModel) gather(o *Outbox) FeedItems {
	g := FeedItems{From: o.Next, To: rapid.Int64Range(o.Next, max(m.head+1, o.Next)).Draw(m.t, "to")}
	for _, s := range m.sets {
		if p, log := s.No.Position(); log && p >= g.From && p < g.To {
			g.Items = append(g.Items, s.FeedItem)
		}
	}
	return g
}

func (m *outboxModel) signals() (out []FeedItem) {
	for _, s := range m.sets {
		if s.No < 0 && s.state != settled {
			out = append(out, s.FeedItem)
		}
	}
	return out
}

// keptBack reports whether another SET of the same number stands before one that was not out yet.
func (m *outboxModel) keptBack(s *modelSET) bool {
	return s.Tag != 0 && s.attempts == 0 && slices.ContainsFunc(m.sets, func(x *modelSET) bool {
		return x != s && x.Tag == s.Tag && (x.state == pending && x.attempts > 0 || x.state != settled && !x.gone && compareNos(x.No, s.No) < 0)
	})
}

func (m *outboxModel) mayGo(s *modelSET, l OutboxLimits) bool {
	return s.state == pending && !s.gone && !s.later && !(s.attempts > 0 && m.now.Before(s.again)) && !m.keptBack(s) && (!l.OnlySignals || s.No < 0)
}

func (m *outboxModel) count(f func(*modelSET) bool) (n int) {
	for _, s := range m.sets {
		if f(s) {
			n++
		}
	}
	return n
}

func (m *outboxModel) take(g FeedItems, l OutboxLimits) {
	o := m.load()
	before := o.Next
	g.Signals = m.signals()
	for _, no := range o.Due(m.now, l) {
		if s := m.set(no); s.state != pending || m.now.Before(s.again) {
			m.t.Fatalf("%d is asked for: %+v", no, s)
		}
	}
	inLog := func(s *modelSET) bool { return s.state == pending && s.No > 0 }
	pendingBefore := m.count(inLog)
	out, more := o.Take(g, m.now, l, m.judge)
	m.save(o)
	for _, s := range m.sets { // what nobody wants is settled where Take came by
		if p, log := s.No.Position(); log && s.state == ahead && p < o.Next || !log && s.state == ahead {
			s.state = pending
		}
		if s.state == pending && s.gone && !(s.attempts > 0 && m.now.Before(s.again)) {
			s.state = settled
		}
	}
	if len(out) > l.Max {
		m.t.Fatalf("%d are handed out at once", len(out))
	}
	if o.Next < before || o.Next > max(before, g.To) || o.Next > before && (g.From > before || l.OnlySignals) {
		m.t.Fatalf("the cursor moves from %d to %d (gathered from %d to %d)", before, o.Next, g.From, g.To)
	}
	if n := m.count(inLog); n > max(pendingBefore, l.Pending+1) { // a position is taken wholly, and has two here at most
		m.t.Fatalf("%d are pending, %d were", n, pendingBefore)
	}
	again := 0
	for i, no := range out {
		s := m.set(no)
		if slices.Contains(out[:i], no) || !m.mayGo(s, l) {
			m.t.Fatalf("%d may not be handed out: %+v of %v", no, s, out)
		}
		if s.attempts > 0 && no > 0 {
			again++
		}
		if s.attempts++; s.attempts == 1 {
			s.first = m.now
		}
		s.again = m.now.Add(l.Again)
		if no > 0 && slices.ContainsFunc(m.sets, func(x *modelSET) bool { return x.No < 0 && m.mayGo(x, l) }) {
			m.t.Fatalf("%d is handed out before a signal", no)
		}
	}
	left := m.count(func(s *modelSET) bool { return m.mayGo(s, l) })
	if left > 0 && (!more || len(out) < l.Max) {
		m.t.Fatalf("%d are handed out of at most %d, %d are left that could be, and more is %v", len(out), l.Max, left, more)
	}
	untaken := o.Next < g.To && m.count(inLog) < l.Pending && g.From <= before
	if untaken && !more && !l.OnlySignals {
		m.t.Fatalf("the cursor stops at %d before %d and there is no more", o.Next, g.To)
	}
	if again > l.Reserve && (untaken || m.count(func(s *modelSET) bool { return m.mayGo(s, l) && s.attempts == 0 }) > 0) {
		m.t.Fatalf("%d come again before new ones", again)
	}
	if len(out) == 0 && o.Next == before && g.From <= before && g.To > before && !l.OnlySignals && l.Max > 0 && m.count(inLog) < l.Pending {
		m.t.Fatal("nothing is handed out and nothing taken, though there is room")
	}
	m.same(o, l)
}

// same checks that what is pending is what should be.
func (m *outboxModel) same(o *Outbox, l OutboxLimits) {
	n := 0
	for _, s := range m.sets {
		u, ok := o.Find(s.No)
		if ok != (s.state == pending) {
			m.t.Fatalf("%d is pending: %v; the model: %+v", s.No, ok, s)
		}
		if p, log := s.No.Position(); s.state == ahead && log && p < o.Next {
			m.t.Fatalf("%d was skipped: the cursor is at %d", s.No, o.Next)
		}
		if !ok {
			continue
		}
		if n++; u.Attempts != s.attempts || s.attempts > 0 && (!u.First.Equal(s.first) || !u.Again.Equal(s.again)) || u.Tag != s.Tag {
			m.t.Fatalf("%+v; the model: %+v", u, s)
		}
	}
	if n != len(o.Pending) {
		m.t.Fatalf("%d are pending, %d in the model", len(o.Pending), n)
	}
}

func (m *outboxModel) drawSET() *modelSET { return rapid.SampledFrom(m.sets).Draw(m.t, "set") }

func (m *outboxModel) actions(l OutboxLimits) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"an event": func(t *rapid.T) {
			m.head += rapid.Int64Range(1, 3).Draw(t, "later")
			for n := range rapid.IntRange(1, 2).Draw(t, "consequences") {
				at := slices.IndexFunc(m.sets, func(s *modelSET) bool { return s.No < 0 })
				if at < 0 {
					at = len(m.sets)
				}
				m.sets = slices.Insert(m.sets, at, &modelSET{FeedItem: FeedItem{FeedNoAt(m.head, n), rapid.Uint32Range(0, 3).Draw(t, "tag")}})
			}
		},
		"a signal": func(t *rapid.T) {
			m.sets = append(m.sets, &modelSET{FeedItem: FeedItem{SignalNo(int64(len(m.sets) + 1)), rapid.Uint32Range(0, 1).Draw(t, "tag") * 9}})
		},
		"time": func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
		},
		"a poll": func(t *rapid.T) {
			l.Max, l.Reserve = rapid.IntRange(0, 4).Draw(t, "max"), rapid.IntRange(0, 2).Draw(t, "reserve")
			l.OnlySignals = rapid.IntRange(0, 5).Draw(t, "paused") == 0
			m.take(m.gather(m.load()), l)
		},
		"a poll begins elsewhere": func(*rapid.T) { m.stale = append(m.stale, m.gather(m.load())) },
		"and goes on": func(t *rapid.T) {
			if len(m.stale) == 0 {
				t.Skip("none began")
			}
			g := m.stale[0]
			m.stale = m.stale[1:]
			l.Max, l.OnlySignals = 3, false
			m.take(g, l)
		},
		"settled": func(*rapid.T) {
			if len(m.sets) == 0 {
				return
			}
			s, o := m.drawSET(), m.load()
			got := o.Settle([]FeedNo{s.No, s.No})
			if (len(got) == 1) != (s.state == pending) {
				m.t.Fatalf("settling gave %+v; the model: %+v", got, s)
			}
			if s.state == pending {
				s.state = settled
			}
			m.save(o)
			m.same(o, l)
		},
		"postponed": func(t *rapid.T) {
			if len(m.sets) == 0 {
				return
			}
			s, o := m.drawSET(), m.load()
			to := m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			o.Postpone(s.No, to)
			if s.state == pending && s.attempts > 0 {
				s.again = to
			}
			m.save(o)
			m.same(o, l)
		},
		"recalled": func(t *rapid.T) {
			o, within := m.load(), time.Duration(rapid.IntRange(0, 70).Draw(t, "within"))*time.Second
			o.Recall(m.now, within)
			for _, s := range m.sets {
				if s.state == pending && s.attempts > 0 && m.now.Before(s.again) && s.again.Sub(m.now) <= within {
					s.again = m.now
				}
			}
			m.save(o)
			m.same(o, l)
		},
		"repeated": func(*rapid.T) {
			if len(m.sets) == 0 {
				return
			}
			s, o := m.drawSET(), m.load()
			if s.state != settled || s.No < 0 || s.gone {
				return
			}
			o.Repeat(s.FeedItem)
			s.state, s.attempts, s.first, s.again = pending, 0, time.Time{}, time.Time{}
			m.save(o)
			m.same(o, l)
		},
		"rewound": func(t *rapid.T) {
			o := m.load()
			to := rapid.Int64Range(1, m.head+2).Draw(t, "to")
			if to >= o.Next {
				return
			}
			o.Rewind(to)
			for _, s := range m.sets {
				if p, log := s.No.Position(); log && p >= to {
					s.state, s.attempts, s.first, s.again = ahead, 0, time.Time{}, time.Time{}
				}
			}
			m.save(o)
			m.same(o, l)
		},
		"unwanted": func(*rapid.T) {
			if len(m.sets) > 0 {
				m.drawSET().gone = true
			}
		},
		"not now": func(*rapid.T) {
			if len(m.sets) > 0 {
				s := m.drawSET()
				s.later = !s.later
			}
		},
	}
}

func TestAnOutboxHandsOutEverythingInOrderUntilItIsSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outboxModel{t: t, now: outboxStart}
		l := OutboxLimits{Pending: rapid.IntRange(1, 6).Draw(t, "pending"), Again: again}
		t.Repeat(m.actions(l))
		// In the end a receiver that settles what it gets has everything.
		for _, s := range m.sets {
			s.later = false
		}
		l.Max = 3
		for round := 0; m.count(func(s *modelSET) bool { return s.state != settled && !s.gone }) > 0; round++ {
			if round > 10*len(m.sets)+10 {
				t.Fatalf("it does not come to an end: %d of %d are left", m.count(func(s *modelSET) bool { return s.state != settled }), len(m.sets))
			}
			m.now = m.now.Add(2 * again)
			o := m.load()
			g := FeedItems{From: o.Next, To: m.head + 1}
			for _, s := range m.sets {
				if p, log := s.No.Position(); log && p >= g.From {
					g.Items = append(g.Items, s.FeedItem)
				}
			}
			m.take(g, l)
			o = m.load()
			for _, s := range m.sets {
				if s.state == pending && s.attempts > 0 {
					o.Settle([]FeedNo{s.No})
					s.state = settled
				}
			}
			m.save(o)
		}
	})
}
