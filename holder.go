package huanxin

import (
	"strings"
	"time"
)

// Holder is the person at a page: who signed in at their carrier, for the tenure that runs (DOMAIN.md §7 rule 14).
type Holder struct {
	Session int64 // of this sign-in
	Number  Number
	Tenure  TenureID
	Carrier PartyNo
	// The tenure in the carrier's words, which a request states; see Ask.
	StartedAt time.Time
	Origin    TenureOrigin
	// Proof is what stands behind a request: the last proof of control and the identity factor, if one was given.
	Proof Proof
	// IdentityAt is when the identity factor was given; zero: not yet.
	IdentityAt time.Time
}

// MayHold refuses a caller who is not a holder that signed in.
func (c Caller) MayHold() error {
	if c.Holder == nil {
		return Errorf(Unauthenticated, "no_session", "this is for the holder of a number, who signs in at their carrier")
	}
	return nil
}

// How long a holder's session lasts.
const (
	SessionIdle   = 15 * time.Minute // without being used
	SessionLife   = 2 * time.Hour    // all in all
	SessionTurn   = 5 * time.Minute  // of use, after which its token is replaced
	SessionGrace  = 30 * time.Second // in which a token that was replaced still works: other tabs are under way
	DraftLife     = 30 * time.Minute // from choosing apps to pressing the button
	CertificateIn = 7 * 24 * time.Hour
)

// IdentityChecksPerDay is how many failed identity checks a number may have in a day (DOMAIN.md §7 rule 13).
const IdentityChecksPerDay = 5

// Session is a holder's session as it is kept: what stands for its tokens are hashes. Token is the one in use. Next was issued in its place
// at IssuedAt and has not been seen yet; the holder's browser may never have had it. Before is the one that Token replaced at TurnedAt.
type Session struct {
	Token, Next, Before []byte
	TurnedAt, IssuedAt  time.Time
	CreatedAt, SeenAt   time.Time
}

// SessionStep is what becomes of a session when a token is shown.
type SessionStep uint8

// The steps of a session.
const (
	SessionStays   SessionStep = iota // nothing changes
	SessionIssue                      // a new token is issued
	SessionConfirm                    // the issued token is the one in use from now on
	SessionStolen                     // a token came that was replaced long ago: two people have it, and the session ends
	SessionOver                       // its time is up
)

// Show says what becomes of the session when a token is shown at now.
func (s *Session) Show(token []byte, now time.Time) SessionStep {
	switch {
	case now.Sub(s.SeenAt) > SessionIdle || now.Sub(s.CreatedAt) > SessionLife:
		return SessionOver
	case len(s.Next) > 0 && string(token) == string(s.Next):
		return SessionConfirm
	case string(token) == string(s.Token):
		if now.Sub(s.TurnedAt) >= SessionTurn && (len(s.Next) == 0 || now.Sub(s.IssuedAt) >= SessionGrace) {
			return SessionIssue
		}
		return SessionStays
	case len(s.Before) > 0 && string(token) == string(s.Before) && now.Sub(s.TurnedAt) <= SessionGrace:
		return SessionStays
	}
	return SessionStolen
}

// MaySignIn refuses a holder whose number is not eligible, whatever they would ask for (DOMAIN.md §7 rule 12). began says that the carrier
// itself reported the tenure's start, so that it knows it.
func (h *Holder) MaySignIn(s Standing, began bool, now time.Time) error {
	a := h.ask(nil)
	a.Began = began
	switch {
	case !a.Number.Kind().Served():
		return Ineligible(IneligibleKind)
	case s.Phase != PhaseInUse || s.Carrier != h.Carrier:
		return Ineligible(IneligibleNotInUse)
	case !a.statesTenure(s, now):
		return Ineligible(IneligibleTenureMismatch)
	case h.Proof.VerifiedAt.Before(s.StartedAt): // the holder before may have given it
		return Ineligible(IneligibleProofStale)
	}
	return nil
}

// Still refuses a holder whose tenure does not run any more, or whose number another carrier serves by now (rules 12 and 14).
func (h *Holder) Still(s Standing) error {
	if !s.Held() || s.Tenure != h.Tenure || s.Carrier != h.Carrier {
		return Errorf(Unauthenticated, "tenure_ended", "the number is not held through this carrier any more, or by somebody else")
	}
	return nil
}

// ask is what the holder asks for through their carrier.
func (h *Holder) ask(kinds []TaskKind) Ask {
	return Ask{Carrier: h.Carrier, Number: h.Number, StartedAt: h.StartedAt, Origin: h.Origin, Kinds: kinds, Proof: h.Proof}
}

// Ask is what the holder asks for: the proof behind it is the session's, with the identity factor only while that is fresh.
func (h *Holder) Ask(all bool, kinds []TaskKind, now time.Time) Ask {
	a := h.ask(kinds)
	a.AllApps = all
	if h.IdentityAt.Before(now.Add(-MaxProofAge)) {
		a.Proof.Identity = 0
	}
	return a
}

// TryOut is Ask with the proof that is still to be given: what it is refused for the holder can be told before they prove anything.
func (h *Holder) TryOut(all bool, kinds []TaskKind, now time.Time) Ask {
	a := h.ask(kinds)
	a.AllApps, a.Proof = all, Proof{Control: ControlSMS, Identity: IdentityCRM, VerifiedAt: now}
	return a
}

// ErrTooManyChecks refuses a sixth failed identity check within a day (rule 13).
func ErrTooManyChecks(retry time.Duration) *Error {
	return &Error{Kind: Limited, Code: "too_many_checks", Detail: "five identity checks of this number failed within a day", RetryAfter: retry}
}

// NextStep says who has to do something next about a task, as far as it is shown.
type NextStep uint8

// Who has the next step.
const (
	NextNobody NextStep = iota
	NextApp
	NextHolder
	NextRegulator
)

// Next says who has the next step, worked out from what is released alone (rule 4).
func (v View) Next() NextStep {
	switch v {
	case ViewProcessing, ViewRestricted, ViewOverdue:
		return NextApp
	case ViewActionRequired:
		return NextHolder
	case ViewExpired:
		return NextRegulator
	}
	return NextNobody
}

// MayComplain reports whether a complaint can be made about a task that is seen so: the app did not do what it was asked, or not in time.
func (v View) MayComplain() bool { return v.AskAgain() && v != ViewCancelled }

// FormerReport is what somebody who had a number before tells of it. It opens nothing: only the companies' other ways in do.
type FormerReport struct {
	Number Number
	Apps   []string
	What   FormerTrouble
}

// FormerTrouble is what befell a former holder.
type FormerTrouble uint8

// What befell a former holder.
const (
	FormerLockedOut FormerTrouble = iota + 1 // cannot sign in any more
	FormerUsed                               // somebody else uses the account
	FormerUndone                             // an account was unbound that should not have been
)

var formerTroubles = enum[FormerTrouble]{what: "what", names: []string{1: "locked_out", 2: "used_by_other", 3: "unbound_wrongly"}}

// String gives the word of the contract.
func (t FormerTrouble) String() string { return formerTroubles.name(t) }

// ParseFormerTrouble reads a trouble's word.
func ParseFormerTrouble(s string) (FormerTrouble, error) { return formerTroubles.parse(s) }

// CertificatePrecision is how much a certificate tells; the holder chooses it.
type CertificatePrecision struct {
	WholeNumber bool // else its last four digits
	Since       CertifyPrecision
}

// CertifyPrecision is how exactly a certificate says since when.
type CertifyPrecision uint8

// How exactly a certificate says since when.
const (
	CertifyDay CertifyPrecision = iota + 1
	CertifyMonth
	CertifyYear
)

var certifyPrecisions = enum[CertifyPrecision]{what: "since", names: []string{1: "day", 2: "month", 3: "year"}}

// String gives the precision's word.
func (p CertifyPrecision) String() string { return certifyPrecisions.name(p) }

// ParseCertifyPrecision reads a precision's word.
func ParseCertifyPrecision(s string) (CertifyPrecision, error) { return certifyPrecisions.parse(s) }

// Certificate says that a number has had its holder since a date at the latest. It tells nothing of the present: only what was so when it was issued.
type Certificate struct {
	Number   string // E.164, or only the last four digits after an ellipsis
	Since    string // 2026-03-01, 2026-03 or 2026
	AtLatest bool   // the tenure's start is not known: it may have begun earlier
	IssuedAt time.Time
	Expires  time.Time
}

// Certify makes a certificate of a tenure that runs (rule 5: the holder of the tenure may put its start into one).
func (s *Standing) Certify(n Number, p CertificatePrecision, zone *time.Location, now time.Time) Certificate {
	c := Certificate{Number: n.E164(), AtLatest: s.Origin == OriginUnknown, IssuedAt: now.Truncate(time.Second)}
	if !p.WholeNumber {
		c.Number = "…" + c.Number[max(len(c.Number)-4, 0):]
	}
	c.Since = s.StartedAt.In(zone).Format(time.DateOnly)
	if p.Since != CertifyDay {
		parts := strings.Split(c.Since, "-")
		c.Since = strings.Join(parts[:map[CertifyPrecision]int{CertifyMonth: 2, CertifyYear: 1}[p.Since]], "-")
	}
	c.Expires = c.IssuedAt.Add(CertificateIn)
	return c
}
