package conformance_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/conformance"
)

// blind looks at accounts until one of a name was seen without its number; from then on looking at some of them fails.
type blind struct {
	conformance.Inspector
	after string
	what  func(name string) bool

	mu   sync.Mutex
	dark bool
}

func (b *blind) Inspect(ctx context.Context, a *conformance.Account) (conformance.Sight, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dark && b.what(a.Name) {
		return conformance.Sight{}, errors.New("the database is gone")
	}
	s, err := b.Inspector.Inspect(ctx, a)
	b.dark = b.dark || err == nil && !s.IsKey && strings.HasSuffix(a.Name, b.after)
	return s, err
}

// TestWhatCannotBeInspectedIsNotRight however right the answers are.
func TestWhatCannotBeInspectedIsNotRight(t *testing.T) {
	t.Parallel()
	r, o := newReceiver(t, false)
	o.Inspector = &blind{Inspector: r, after: "-ka", what: func(name string) bool { return !strings.HasSuffix(name, "-kb") }}
	_, by := judged(t, o)
	for _, code := range []string{"rule-1", "rule-2"} {
		if x := by[code]; x.Outcome != conformance.Failed || !strings.Contains(x.Seen.En, "cannot be inspected: the database is gone") || x.Fix == nil {
			t.Errorf("%s %s: %s", code, x.Outcome, x.Seen.En)
		}
	}
}

// TestWhatWasDoneTwiceIsNotSeenWhereLookingFails and is not taken for done once.
func TestWhatWasDoneTwiceIsNotSeenWhereLookingFails(t *testing.T) {
	t.Parallel()
	r, o := newReceiver(t, false)
	b := &blind{Inspector: r, after: "-dd", what: func(name string) bool { return strings.HasSuffix(name, "-dd") }}
	o.Inspector = b
	o.Start = func(context.Context) error { // the accounts were seen
		b.mu.Lock()
		defer b.mu.Unlock()
		b.dark = true
		return r.start(o, false)
	}
	_, by := judged(t, o)
	if x := by["answer-lost"]; x.Outcome != conformance.Failed || !strings.Contains(x.Seen.En, "cannot be inspected") {
		t.Errorf("%s: %s", x.Outcome, x.Seen.En)
	}
}
