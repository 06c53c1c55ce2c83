package agent

import (
	"context"
	"sync"
	"time"
)

// status is what an agent knows of itself beside its state.
type status struct {
	mu        sync.Mutex
	held      string
	contacted time.Time
	lastError string
	errorAt   time.Time
	errors    int64
	deeds     [len(deedWords)]int64
}

func (s *status) setHeld(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = why
}

func (s *status) contact(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contacted = at
}

func (s *status) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors++
	s.lastError, s.errorAt = err.Error(), time.Now()
}

func (s *status) did(d deed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deeds[d]++
}

// Status is how an agent stands.
type Status struct {
	App  string
	Held string // why nothing is done to accounts; empty: it is
	// Open are tasks that are not ended, by where they stand; Unsent answers that the hub does not have yet.
	Waiting, Review, Action, Failing, Unsent int
	Oldest                                   time.Time // when the oldest open task came; zero: none is open
	Contacted                                time.Time
	Skew                                     time.Duration // by which the clock is ahead of the hub's, at least
	LastError                                string
	ErrorAt                                  time.Time
	Errors                                   int64
	// Counters are "decided OUTCOME REASON", "answered OUTCOME", "refused CODE", and "row N": bindings by the row of the decision table that
	// held of them first.
	Counters    map[string]int64
	DeadLetters int              // answers and SETs
	RefusedSETs int              // that were none of the hub's for this client
	Deeds       map[string]int64 // done since the agent began
}

// Status tells how the agent stands.
func (a *Agent) Status(ctx context.Context) (Status, error) {
	s := Status{App: a.cfg.Hub.ClientID, Counters: map[string]int64{}, Deeds: map[string]int64{}}
	if held := a.held(); held != nil {
		s.Held = held.Error()
	}
	a.about.mu.Lock()
	if s.Held == "" {
		s.Held = a.about.held
	}
	s.Contacted, s.LastError, s.ErrorAt, s.Errors = a.about.contacted, a.about.lastError, a.about.errorAt, a.about.errors
	for d, n := range a.about.deeds {
		if d > 0 {
			s.Deeds[deedWords[d]] = n
		}
	}
	a.about.mu.Unlock()
	s.Skew, _ = a.clock.off()
	return s, a.state.status(ctx, &s)
}

func (s *state) status(ctx context.Context, out *Status) error {
	return s.read(ctx, func(q querySQL) error {
		var oldest int64
		if err := q.QueryRowContext(ctx, `SELECT coalesce(sum(phase = 1), 0), coalesce(sum(phase = 2 AND outcome = 'in_review'), 0),
				coalesce(sum(phase = 2 AND outcome = 'action_required'), 0), coalesce(sum(problem <> ''), 0), coalesce(min(seen_at), 0)
				FROM tasks WHERE phase <= 2`).Scan(&out.Waiting, &out.Review, &out.Action, &out.Failing, &oldest); err != nil {
			return err
		}
		out.Oldest = instant(oldest)
		if err := q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM tasks WHERE outcome <> '' AND sent_at IS NULL),
				(SELECT count(*) FROM dead_letters), (SELECT count(*) FROM dead_letters WHERE what = 'set')`).Scan(&out.Unsent, &out.DeadLetters,
			&out.RefusedSETs); err != nil {
			return err
		}
		rows, err := q.QueryContext(ctx, `SELECT name, n FROM counters`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var n int64
			if err := rows.Scan(&name, &n); err != nil {
				return err
			}
			out.Counters[name] = n
		}
		return rows.Err()
	})
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
