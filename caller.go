package huanxin

// Caller is who asks: a client of a party, with the scopes of the token it showed. Every use case takes one.
type Caller struct {
	Party  *Party
	Client string
	Scopes Scopes
	// RequestID ties an audit entry to one line of the access log.
	RequestID string
}

// May refuses the caller unless it is a party of kind k whose token carries s.
func (c Caller) May(k PartyKind, s Scope) error {
	if c.Party == nil {
		return Errorf(Unauthenticated, "unauthenticated", "a bearer token is needed")
	}
	if c.Party.Kind != k || !c.Scopes.Has(s) {
		return &Error{Kind: Forbidden, Code: "insufficient_scope",
			Detail: "this needs the scope " + string(s) + " of a party of kind " + k.String(), Reason: string(s)}
	}
	return nil
}
