package huanxin

// Caller is who asks: a client of a party, with the scopes of the token it showed, or a holder who signed in. Every use case takes one.
type Caller struct {
	Party  *Party
	Holder *Holder // nil: a client of a party; else there is no Party
	Client string
	Scopes Scopes
	// Bound is what the token is bound to; the zero Bound: nothing, as nearly all are.
	Bound Bound
	// RequestID ties an audit entry to one line of the access log.
	RequestID string
}

// May refuses the caller unless it is a party of kind k whose token carries s. A token that is bound to a number may be used for
// a CAMARA check of that number, and for nothing else.
func (c Caller) May(k PartyKind, s Scope) error {
	if c.Party == nil {
		return Errorf(Unauthenticated, "unauthenticated", "a bearer token is needed")
	}
	if c.Party.Kind != k || !c.Scopes.Has(s) || !c.Bound.IsZero() && s != ScopeNumberRecycling {
		return &Error{Kind: Forbidden, Code: "insufficient_scope",
			Detail: "this needs the scope " + string(s) + " of a party of kind " + k.String(), Reason: string(s)}
	}
	return nil
}

// Bound is what a token can be bound to: a number in the hands of one holder, for whom one carrier gave its word.
type Bound struct {
	Number  Number
	Tenure  TenureID
	Carrier PartyNo
}

// IsZero reports whether there is nothing that a token is bound to.
func (b Bound) IsZero() bool { return b.Number.IsZero() }

// BoundTo gives what a token may be bound to at the word of a carrier; ok is false if the carrier does not serve the number, or
// nobody holds it.
func (s *Standing) BoundTo(n Number, carrier PartyNo) (b Bound, ok bool) {
	if !s.Held() || s.Carrier != carrier {
		return Bound{}, false
	}
	return Bound{Number: n, Tenure: s.Tenure, Carrier: carrier}, true
}

// Holds reports whether the number, which stands as s, is still in the hands that the token was bound to: of the same holder and
// served by the same carrier. Another holder never agreed to anything, and another carrier gave no word.
func (b Bound) Holds(s *Standing) bool {
	now, ok := s.BoundTo(b.Number, b.Carrier)
	return ok && now == b
}
