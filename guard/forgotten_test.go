package guard_test

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/guard"
)

// TestNewsOfANumberGoesBeforeAnOlderReplica: an event said that the number has another holder, and the replica is from before.
func TestNewsOfANumberGoesBeforeAnOlderReplica(t *testing.T) {
	l, g := withReplica(t, guard.Options{}, guard.Replica{Every: time.Hour}, made{asOf: 7})
	l.says(9, "CHANGED", "transferred")
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	expect(t, "before", g.Decide(t.Context(), q), "allow unchanged replica")
	g.Forget(num(t, kept))
	expect(t, "the hub is asked", g.Decide(t.Context(), q), "step_up transferred hub")
	l.gives(l.body(made{asOf: 10, issued: time.Now().Add(-4 * time.Minute), marks: marks(t)}))
	g.Forget(num(t, kept))
	if err := g.Refresh(t.Context()); err == nil { // made before, as far as clocks can tell
		expect(t, "a replica from before the news", g.Decide(t.Context(), q), "step_up transferred hub")
	}
	l.tell(nil)
	g.Forget(num(t, kept))
	if d := g.Decide(t.Context(), q); d.Access.String() != "step_up" {
		t.Error("while the hub is down:", word(d))
	}
}

// TestAReplicaFromTheFutureIsNoReasonToTrustAnOlderOneAgain: if it is our clock that is slow, the one on the disk is older than it seems.
func TestAReplicaFromTheFutureIsNoReasonToTrustAnOlderOneAgain(t *testing.T) {
	l, g := withReplica(t, guard.Options{}, guard.Replica{MaxAge: time.Hour, Every: time.Hour}, made{asOf: 7})
	l.tell(nil)
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	expect(t, "at first", g.Decide(t.Context(), q), "allow unchanged replica")
	good := l.body(made{asOf: 8, marks: marks(t)})
	l.gives(l.body(made{asOf: 8, issued: time.Now().Add(time.Hour), marks: marks(t)}))
	for range 3 { // each looks at the disk first
		if err := g.Refresh(t.Context()); err == nil {
			t.Error("it was taken")
		}
		l.givesBy(nil)
		if d := g.Decide(t.Context(), q); d.Access.String() != "step_up" || g.Status().Vouches {
			t.Error("it is trusted again:", word(d))
		}
	}
	l.gives(good)
	must(t, g.Refresh(t.Context()))
	expect(t, "after one that is of now", g.Decide(t.Context(), q), "allow unchanged replica")
}

func TestANegativeAgeIsRefused(t *testing.T) {
	l := newLiar(t)
	if _, err := guard.Open(t.Context(), guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: t.TempDir() + "/replica", MaxAge: -1}}); err == nil {
		t.Error("it was taken")
	}
}
