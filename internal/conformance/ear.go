package conformance

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// ear remembers what the company said and what was said to it.
type ear struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, whenever something was heard

	first     time.Time // contact
	lists     []time.Time
	answers   map[string][]heard // by task
	reads     map[string][]time.Time
	sets      map[string]*told
	order     []string // jtis as they were first delivered
	selfs     []selfSeen
	badBodies int
}

// heard is an answer to a task, and what the hub said to it.
type heard struct {
	At       time.Time
	Outcome  string
	Reason   string
	TenureID string
	Digest   string
	Link     string
	Code     string // why the hub refused it; "": it did not
	Lost     bool   // the company was told that it failed
}

// told is a SET that was delivered.
type told struct {
	jti    string
	token  string
	number string
	task   string
	uri    string
	times  []time.Time
	acks   int
	acked  time.Time
	// refused is its err of setErrs, or of the answer to a push; status that answer's.
	refused string
	status  int
}

type selfSeen struct {
	at   time.Time
	hold bool
}

func newEar() *ear {
	return &ear{changed: make(chan struct{}), answers: map[string][]heard{}, reads: map[string][]time.Time{}, sets: map[string]*told{}}
}

// hear changes what is remembered and wakes those who wait for it.
func (e *ear) hear(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	close(e.changed)
	e.changed = make(chan struct{})
}

// until waits until something is so of what was heard. It says whether it became so.
func (e *ear) until(ctx context.Context, d time.Duration, so func() bool) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		e.mu.Lock()
		ok, changed := so(), e.changed
		e.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			e.mu.Lock()
			defer e.mu.Unlock()
			return so()
		case <-changed:
		}
	}
}

// of gives the answers to a task that the hub was given.
func (e *ear) of(task string) []heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.answers[task])
}

// said is what stands of answers to a task: the last one that the hub took. The ear is held.
func (e *ear) said(task string) (h heard, ok bool) {
	for _, a := range e.answers[task] {
		if a.Code == "" {
			h, ok = a, true
		}
	}
	return h, ok
}

// setOf gives a copy of the first SET of a type about a number. The ear is held.
func (e *ear) setOf(number string, t huanxin.EventType) *told {
	for _, jti := range e.order {
		if s := e.sets[jti]; s.number == number && s.uri == t.String() {
			c := *s
			return &c
		}
	}
	return nil
}

// handedOut notes that a SET goes to the company.
func (e *ear) handedOut(s *told) {
	e.hear(func() {
		if e.sets[s.jti] == nil {
			e.sets[s.jti] = s
			e.order = append(e.order, s.jti)
		}
		e.sets[s.jti].times = append(e.sets[s.jti].times, time.Now())
	})
}

// settled notes what the company said to SETs.
func (e *ear) settled(jti, refused string, status int) {
	e.hear(func() {
		s := e.sets[jti]
		switch {
		case s == nil:
		case refused != "":
			s.refused, s.status = refused, status
		default:
			s.acks++
			s.status = status
			if s.acked.IsZero() {
				s.acked = time.Now()
			}
		}
	})
}

// acks is how often a SET was acknowledged.
func (e *ear) acks(jti string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.sets[jti]; s != nil {
		return s.acks
	}
	return 0
}
