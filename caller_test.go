package huanxin

import "testing"

func TestATokenBoundToANumberIsForTheCAMARACheckAlone(t *testing.T) {
	c := Caller{Party: &Party{Kind: AppParty}, Scopes: ScopesOf(AppParty)}
	for _, s := range c.Scopes {
		if err := c.May(AppParty, s); err != nil {
			t.Errorf("unbound, %s: %v", s, err)
		}
	}
	c.Bound = Bound{Number: NumberOf(8613800000001), Tenure: 1, Carrier: 1}
	for _, s := range c.Scopes {
		if err := c.May(AppParty, s); (err == nil) != (s == ScopeNumberRecycling) || err != nil && CodeOf(err) != "insufficient_scope" {
			t.Errorf("bound, %s: %v", s, err)
		}
	}
}

func TestATokenIsBoundToOneHolderAtOneCarrier(t *testing.T) {
	n := NumberOf(8613800000001)
	held := Standing{Phase: PhaseInUse, Carrier: 1, Tenure: 7, Origin: OriginReassigned}
	with := func(f func(*Standing)) Standing {
		s := held
		f(&s)
		return s
	}
	b, ok := held.BoundTo(n, 1)
	if !ok || b != (Bound{n, 7, 1}) || !b.Holds(&held) || b.IsZero() {
		t.Fatal(b, ok)
	}
	for what, c := range map[string]struct {
		s    Standing
		want bool
	}{
		"suspended":               {with(func(s *Standing) { s.Phase = PhaseSuspended }), true},
		"disconnected":            {with(func(s *Standing) { s.Phase = PhaseDisconnected }), false},
		"never seen":              {Standing{}, false},
		"ported to another":       {with(func(s *Standing) { s.Carrier = 2 }), false},
		"in a new holder's hands": {with(func(s *Standing) { s.Tenure = 8 }), false},
	} {
		if got := b.Holds(&c.s); got != c.want {
			t.Errorf("%s: it holds is %v", what, got)
		}
	}
	for what, s := range map[string]Standing{"never seen": {}, "disconnected": with(func(s *Standing) { s.Phase = PhaseDisconnected }),
		"another's": with(func(s *Standing) { s.Carrier = 2 })} {
		if b, ok := s.BoundTo(n, 1); ok || !b.IsZero() {
			t.Errorf("%s: a token could be bound to it", what)
		}
	}
}
