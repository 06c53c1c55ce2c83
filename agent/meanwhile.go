package agent

import (
	"cmp"
	"errors"
	"maps"
	"sync"
	"time"
)

// putOff is why an order is left for later, which is nobody's failure.
type putOff struct{ error }

func (e *putOff) Unwrap() error { return e.error }

func isPutOff(err error) bool {
	_, later := errors.AsType[*putOff](err)
	_, held := errors.AsType[*heldError](err)
	return later || held
}

var (
	errTold   = errors.New("the hub has told of the task meanwhile")
	errAged   = errors.New("the task was read again too long ago")
	errUndone = errors.New("the accounts cannot be reached")
)

// readLasts is for how long it may be acted upon what the hub said of a task when it was read again.
const readLasts = 10 * time.Second

// meanwhile remembers of which tasks and tenures the hub has told that nothing is to be unbound for them any more, from right before that is written
// down: a batch that was read from the state before goes by it.
type meanwhile struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (m *meanwhile) note(all []notice, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[string]time.Time{}
	}
	for _, n := range all {
		m.at[cmp.Or(n.id, n.tenure)] = now
	}
	maps.DeleteFunc(m.at, func(_ string, at time.Time) bool { return now.Sub(at) > time.Hour }) // no batch takes as long
}

func (m *meanwhile) of(w *want) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, task := m.at[w.task]
	_, tenure := m.at[w.tenure]
	return task || tenure
}

// mayBegin says why an order is not to be begun now.
func (r *round) mayBegin(o *order) error {
	err := r.a.held()
	switch off := o.deed == suspend || o.deed == unbind; {
	case err != nil:
	case off && r.a.told.of(o.want):
		err = errTold
	case off && time.Since(r.readAt) > readLasts:
		err = errAged
	default:
		return nil
	}
	return &putOff{err}
}
