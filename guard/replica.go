package guard

import (
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// Replica says where the local replica is and how it follows the hub.
type Replica struct {
	// Path is the replica's file; its manifest and keys lie beside it (huanxin replica pull makes the same). Several processes of one app may
	// share it: only one of them pulls at a time, and all take what is there.
	Path string
	// Every is how long after a pull the next one begins. 0: 15 minutes. Negative, or without Options.Hub: nothing is pulled, somebody else
	// brings the file, which is looked at every minute.
	Every time.Duration
	// MaxAge is how old the replica may be for UNCHANGED to be relied on. 0: 24 hours. Beyond it the hub is asked, or it is StepUp.
	MaxAge time.Duration
	// MaxBytes bounds a pull. 0: 4 GiB, twice what all of China's numbers take.
	MaxBytes int64
}

const (
	defaultEvery    = 15 * time.Minute
	lookEvery       = time.Minute
	defaultMaxAge   = 24 * time.Hour
	defaultMaxBytes = 4 << 30
	// clockSkew is how far the hub's clock may be from ours.
	clockSkew = 5 * time.Minute
)

// loaded is a replica in memory, and when it came there. Those who look something up hold it meanwhile, each in one of many places, so that
// they do not disturb each other.
type loaded struct {
	*replica.Replica
	asOf     int64
	issued   time.Time
	at       time.Time     // when it was taken into memory
	wasOld   time.Duration // how old it was then
	freshest time.Time     // until when every carrier that ever told had told everything
	late     time.Duration // how old that may be at this hub; 0: however old
	present  atomic.Pointer[present]
	doubted  atomic.Bool // it is not relied on any more
	holders  [places]place
}

// present is the present in the replica's zone, and how old the replica was then.
type present struct {
	huanxin.Present
	age time.Duration
}

func newLoaded(r *replica.Replica, now time.Time) *loaded {
	l := &loaded{Replica: r, asOf: r.AsOf(), issued: r.IssuedAt(), at: now}
	l.wasOld = now.Round(0).Sub(l.issued)
	l.late = time.Duration(r.Manifest().LateAfter) * time.Second
	for _, until := range r.Fresh() {
		if l.freshest.IsZero() || until.Before(l.freshest) {
			l.freshest = until
		}
	}
	return l
}

// age gives how old it is. A clock that is put back makes it no younger.
func (l *loaded) age(now time.Time) time.Duration {
	return max(time.Duration(now.UnixNano()-l.issued.UnixNano()), max(l.wasOld, 0)+now.Sub(l.at))
}

// presentAt gives the present, at most a second old, at an age of the replica.
func (l *loaded) presentAt(now time.Time, age time.Duration) *huanxin.Present {
	p := l.present.Load()
	if p == nil || age-p.age > time.Second {
		p = &present{huanxin.PresentAt(now, l.Zone()), age}
		l.present.Store(p)
	}
	return &p.Present
}

// hold gives the replica to look something up in, and the place to let go of; nil while there is none.
func (f *follower) hold(place int) (*loaded, *place) {
	for {
		l := f.current.Load()
		if l == nil {
			return nil, nil
		}
		p := &l.holders[place]
		p.n.Add(1)
		if f.current.Load() == l {
			return l, p
		}
		p.n.Add(-1) // it has been put away since: it may be gone
	}
}

// closeWhenFree gives back the memory of a replica that is current no more.
func (l *loaded) closeWhenFree() error {
	for i := range l.holders {
		for l.holders[i].n.Load() != 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return l.Close()
}

// decide answers from the replica what it knows for certain. Of everything else it gives the decision to fall back on, which is StepUp.
func (f *follower) decide(ask *asked, place int, now time.Time) (d Decision, certain bool) {
	l, held := f.hold(place)
	if l == nil {
		return Decision{Reason: huanxin.GuardStale}, false
	}
	defer held.n.Add(-1)
	age := l.age(now)
	if !f.vouches(l, age) || f.news.newer(ask.number, l.issued) {
		return Decision{Reason: huanxin.GuardStale}, false
	}
	found := l.Mark(ask.number.Digits())
	d = Decision{Source: FromReplica, AsOf: l.asOf, Age: max(age, 0)}
	switch mark := huanxin.Mark(found); {
	case found == index.Damaged:
		l.doubted.Store(true)
		f.wake()
		return Decision{Reason: huanxin.GuardStale}, false
	case mark == huanxin.MarkNeverSeen && l.Scope() == huanxin.ReplicaUploaded:
		return Decision{Reason: huanxin.GuardNotInReplica}, false
	default:
		certain = l.judge(&d, mark, ask, now)
	}
	if lag := now.Sub(l.freshest); d.Access == huanxin.Allow && (f.maxLag > 0 && lag > f.maxLag || l.late > 0 && lag > l.late) {
		d.Access, d.Reason, certain = huanxin.StepUp, huanxin.GuardCarrierLate, false
	}
	return d, certain
}

// vouches reports whether a replica of this age is relied on.
func (f *follower) vouches(l *loaded, age time.Duration) bool {
	return age <= f.maxAge && l.wasOld >= -clockSkew && !l.doubted.Load() && !f.clockWrong.Load()
}

// forget has the replica say nothing certain of a number until a newer one is there.
func (f *follower) forget(n huanxin.Number) {
	if !f.news.add(n, time.Now()) {
		f.doubt()
		f.wake()
	}
}

// judge decides by a mark. What is not Allow or Block may be otherwise by now and is not certain.
func (l *loaded) judge(d *Decision, mark huanxin.Mark, ask *asked, now time.Time) (certain bool) {
	p := l.presentAt(now, d.Age)
	first, decided := answerAt(mark, ask.number, ask.first, p)
	last := first
	if decided && !ask.last.Equal(ask.first) {
		last, decided = answerAt(mark, ask.number, ask.last, p)
	}
	if !decided {
		d.Reason = huanxin.GuardUndecided
		return false
	}
	d.Access, d.Reason = huanxin.Guard(first, last)
	if d.Access == huanxin.Block && ask.proved {
		proof, _ := answerAt(mark, ask.number, ask.proof, p) // on the very day: not known, so not certainly before it
		d.Access, d.Reason = huanxin.GuardProved(proof)
		return true
	}
	return d.Access != huanxin.StepUp
}

func answerAt(mark huanxin.Mark, n huanxin.Number, t time.Time, p *huanxin.Present) (huanxin.CheckAnswer, bool) {
	outcome, reason, ok := mark.Answer(n, huanxin.SinceInstant(t), p)
	return huanxin.CheckAnswer{Outcome: outcome, Reason: reason}, ok
}

func (f *follower) status(s *Status) {
	l, held := f.hold(here())
	if l == nil {
		return
	}
	defer held.n.Add(-1)
	now := time.Now()
	s.Replica, s.AsOf, s.Numbers, s.Age = true, l.asOf, l.Len(), max(l.age(now), 0)
	s.Vouches = f.vouches(l, s.Age)
}
