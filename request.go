package huanxin

import (
	"strconv"
	"time"
)

// Control is how the holder proved to have the number in their hands.
type Control uint8

// The proofs of control.
const (
	ControlSMS Control = iota + 1
	ControlNetwork
	ControlSIM
)

var controls = enum[Control]{what: "control", names: []string{1: "sms_otp", 2: "network", 3: "sim"}}

// String gives the word of the contract.
func (c Control) String() string { return controls.name(c) }

// ParseControl reads a proof of control's word.
func ParseControl(s string) (Control, error) { return controls.parse(s) }

// Identity is how the holder's identity was verified. Identity data itself is never stored.
type Identity uint8

// The identity factors.
const (
	IdentityCRM Identity = iota + 1
	IdentityIDCard
	IdentityFace
	IdentityNationalEID
)

var identities = enum[Identity]{what: "identity", names: []string{1: "carrier_crm", 2: "id_card", 3: "face", 4: "national_eid"}}

// String gives the word of the contract.
func (i Identity) String() string { return identities.name(i) }

// ParseIdentity reads an identity factor's word.
func ParseIdentity(s string) (Identity, error) { return identities.parse(s) }

// Proof is the carrier's word that the holder stood behind the request (DOMAIN.md §7 rule 11).
type Proof struct {
	Control    Control
	Identity   Identity // 0: none was given
	VerifiedAt time.Time
}

// MaxProofAge is how old a proof of control may be.
const MaxProofAge = 10 * time.Minute

// Ask is what a carrier asks on behalf of its customer: a request before it is accepted.
type Ask struct {
	Carrier   PartyNo
	Number    Number
	StartedAt time.Time // of the tenure, as the carrier knows it
	Origin    TenureOrigin
	AllApps   bool
	Kinds     []TaskKind
	Proof     Proof
	// Began says that the carrier itself reported the tenure's start, so that it knows it.
	Began bool
}

// Reasons why a number is not eligible (DOMAIN.md §7 rule 12).
const (
	IneligibleKind           = "number_kind_unsupported"
	IneligibleNotInUse       = "not_in_use"
	IneligibleFirstUse       = "first_use"
	IneligibleTenureMismatch = "tenure_mismatch"
	IneligibleProofStale     = "proof_stale"
	IneligibleNoIdentity     = "identity_missing"
	IneligibleTooMany        = "too_many"
	IneligibleChooseApps     = "choose_apps"
)

var ineligibleTexts = map[string]string{
	IneligibleKind:           "numbers of this kind are not served",
	IneligibleNotInUse:       "the number is not in normal use with this carrier",
	IneligibleFirstUse:       "nobody had the number before: there is nothing to unbind",
	IneligibleTenureMismatch: "the number log knows another tenure than the one stated",
	IneligibleProofStale:     "the proof of control is more than 10 minutes old, or ahead of the hub's clock",
	IneligibleNoIdentity:     "an identity factor is needed",
	IneligibleTooMany:        "too many requests for this tenure: one a day and three in 30 days are accepted",
	IneligibleChooseApps:     "for a tenure by transfer or of unknown start the apps are named one by one",
}

// Ineligible is the refusal of a request with one of the reasons of rule 12.
func Ineligible(reason string) *Error {
	return &Error{Kind: Refused, Code: "ineligible", Reason: reason, Detail: ineligibleTexts[reason]}
}

// Eligible says whether the request may be accepted (DOMAIN.md §7 rules 11 to 13). accepted holds when the earlier
// accepted requests of the same tenure were made.
func (a *Ask) Eligible(s Standing, accepted []time.Time, now time.Time, d Durations) error {
	switch {
	case !a.Number.Kind().Served():
		return Ineligible(IneligibleKind)
	case s.Phase != PhaseInUse || s.Carrier != a.Carrier:
		return Ineligible(IneligibleNotInUse)
	case !a.statesTenure(s, now):
		return Ineligible(IneligibleTenureMismatch)
	case s.Origin == OriginFirst && a.wants(Unbind):
		return Ineligible(IneligibleFirstUse)
	case a.Proof.Identity == 0:
		return Ineligible(IneligibleNoIdentity)
	case a.Proof.Control == 0 || a.Proof.VerifiedAt.Before(now.Add(-MaxProofAge)) || a.Proof.VerifiedAt.After(now.Add(MaxAhead)) ||
		a.Proof.VerifiedAt.Before(s.StartedAt):
		return Ineligible(IneligibleProofStale)
	case a.AllApps && (s.Origin == OriginTransferred || s.Origin == OriginUnknown):
		return Ineligible(IneligibleChooseApps)
	case tooMany(accepted, now, d):
		return Ineligible(IneligibleTooMany)
	}
	return nil
}

func (a *Ask) wants(k TaskKind) bool {
	for _, w := range a.Kinds {
		if w == k {
			return true
		}
	}
	return false
}

// statesTenure compares the carrier's word with the log. A carrier that took the number over only knows an earliest proven
// day (origin unknown); it states the truth when that day lies in the tenure, and the task carries the log's start.
func (a *Ask) statesTenure(s Standing, now time.Time) bool {
	if a.Origin == OriginUnknown {
		return (!a.Began || s.Origin == OriginUnknown) && !DateOf(a.StartedAt, China).Before(DateOf(s.StartedAt, China)) && !a.StartedAt.After(now.Add(MaxAhead))
	}
	return a.Origin == s.Origin && a.StartedAt.Equal(s.StartedAt)
}

// tooMany is rule 13: one accepted request a day and three in 30 days per tenure.
func tooMany(accepted []time.Time, now time.Time, d Durations) bool {
	day, month := 0, 0
	for _, t := range accepted {
		if t.After(now.Add(-d.Day())) {
			day++
		}
		if t.After(now.Add(-d.Month())) {
			month++
		}
	}
	return day >= d.RequestsPerDay || month >= d.RequestsPerMonth
}

// RequestState is a request's state (DOMAIN.md §6). What is stored says only how it was ended from outside; the rest is
// worked out from released views.
type RequestState uint8

// The states of a request.
const (
	RequestVerifying RequestState = iota + 1
	RequestSubmitted
	RequestInProgress
	RequestSettled
	RequestSettledWithExceptions
	RequestIneligible
	RequestCancelled
	RequestAborted
)

var requestStates = enum[RequestState]{what: "state", names: []string{1: "VERIFYING", 2: "SUBMITTED", 3: "IN_PROGRESS", 4: "SETTLED",
	5: "SETTLED_WITH_EXCEPTIONS", 6: "INELIGIBLE", 7: "CANCELLED", 8: "ABORTED"}}

// String gives the word of the contract.
func (s RequestState) String() string { return requestStates.name(s) }

// RequestID is a request's number inside the hub; outsiders see a sealed form.
type RequestID int64

// Request is one holder's wish to clear one number at some apps, once accepted.
type Request struct {
	ID          RequestID
	Sealed      []byte // the number, sealed
	Lookup      []byte // the number, as a keyed hash
	Tenure      TenureID
	StartedAt   time.Time
	Origin      TenureOrigin
	Carrier     PartyNo // who may read it: serves the number, or served it last
	AskedBy     PartyNo
	SubmittedAt time.Time
	Proof       Proof
	CancelledAt time.Time
	AbortedAt   time.Time
}

// State works the request's state out from what is released of its tasks (DOMAIN.md §7 rule 4). views holds the newest
// task of each app and kind.
func (r *Request) State(views []TaskView, now time.Time) RequestState {
	if !r.CancelledAt.IsZero() {
		return RequestCancelled
	}
	final, clean, released := 0, 0, false
	for _, v := range views {
		released = released || !v.Release.After(now)
		if v.View.Final() {
			final++
		}
		if v.View == ViewClean {
			clean++
		}
		if !r.AbortedAt.IsZero() && (v.View == ViewCancelled || !v.View.Final()) {
			return RequestAborted // what had settled before the tenure ended stays settled
		}
	}
	switch {
	case clean == len(views):
		return RequestSettled
	case final == len(views):
		return RequestSettledWithExceptions
	case released:
		return RequestInProgress
	default:
		return RequestSubmitted
	}
}

// MaxApps bounds how many apps a request may name.
const MaxApps = 10_000

// AppField names what is wrong with the i-th app of a request.
func AppField(i int, code, detail string) FieldError {
	return FieldError{Field: "apps[" + strconv.Itoa(i) + "]", Code: code, Detail: detail}
}

// MayAskAgain says whether the task whose view is views[i] may be asked again: after a released view other than clean, and
// only the newest task of its app and kind, at most once a day. For one that ended a new task is made. Of a request that was
// cancelled or aborted nothing is asked.
func MayAskAgain(r *Request, views []TaskView, i int, now time.Time, d Durations) error {
	if !r.AbortedAt.IsZero() {
		return Errorf(Conflict, "request_ended", "the tenure is over")
	}
	if !r.CancelledAt.IsZero() {
		return Errorf(Conflict, "request_ended", "the request was cancelled: make a new one")
	}
	v := views[i]
	for _, o := range views[i+1:] {
		if o.App == v.App && o.Kind == v.Kind {
			return Errorf(Conflict, "asked_again", "the app was asked again already: look at the newer task")
		}
	}
	if !v.View.AskAgain() {
		return Errorf(Conflict, "not_released", "an app can be asked again after a released view other than clean")
	}
	day := now.Add(-d.Day())
	if v.View.Final() && v.Created.After(day) || v.Asked.After(day) {
		return Ineligible(IneligibleTooMany)
	}
	return nil
}
