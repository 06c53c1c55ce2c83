package huanxin

import "slices"

// TaskKind is what a task asks an app to do with a number (DOMAIN.md §6).
type TaskKind uint8

// The kinds of task.
const (
	Unbind          TaskKind = iota + 1 // 解绑
	StopContact                         // stop collection and marketing calls meant for the former holder
	ClearLabel                          // 号码标记
	LiftRestriction                     // a ban inherited with the number
)

var taskKinds = enum[TaskKind]{what: "kind", names: []string{1: "unbind", 2: "stop_contact", 3: "clear_label", 4: "lift_restriction"}}

// Outcome is what an app answers (DOMAIN.md §6). There is no "other".
type Outcome uint8

// The outcomes, in the order in which one of them answers for several bindings of a number:
// the first that occurs (DOMAIN.md §6).
const (
	ActionRequired Outcome = iota + 1
	InReview
	Failed
	Unbound
	Kept
	NotBound
)

var outcomes = enum[Outcome]{what: "outcome", names: []string{
	1: "action_required", 2: "in_review", 3: "failed", 4: "unbound", 5: "kept", 6: "not_bound"}}

// Final reports whether the outcome ends a task.
func (o Outcome) Final() bool { return o == Unbound || o == Kept || o == NotBound }

// Reason narrows an outcome. Which go with which stands in Reasons.
type Reason uint8

// The reasons of DOMAIN.md §6.
const (
	Removed Reason = iota + 1
	MovedToOtherContact
	NoneFound
	AlreadyCleared
	BoundByCurrentHolder
	SamePerson
	LegalHold
	NotInScope
	KindUnsupported
	SuspectedAbuse
	BoundAtUnknown
	AmbiguousDates
	AssetsHeld
	BusinessAccount
	RestrictedNumber
	ConfirmOwnAccount
	ExtraVerification
	EvidenceNeeded
	Temporary
	NotSynced
)

var reasons = enum[Reason]{what: "reason", names: []string{
	Removed: "removed", MovedToOtherContact: "moved_to_other_contact",
	NoneFound: "none_found", AlreadyCleared: "already_cleared",
	BoundByCurrentHolder: "bound_by_current_holder", SamePerson: "same_person", LegalHold: "legal_hold",
	NotInScope: "not_in_scope", KindUnsupported: "number_kind_unsupported", SuspectedAbuse: "suspected_abuse",
	BoundAtUnknown: "bound_at_unknown", AmbiguousDates: "ambiguous_dates", AssetsHeld: "assets_held",
	BusinessAccount: "business_account", RestrictedNumber: "restricted_number",
	ConfirmOwnAccount: "confirm_own_account", ExtraVerification: "extra_verification", EvidenceNeeded: "evidence_needed",
	Temporary: "temporary", NotSynced: "not_synced",
}}

var reasonsOf = map[Outcome][]Reason{
	Unbound:        {Removed, MovedToOtherContact},
	NotBound:       {NoneFound, AlreadyCleared},
	Kept:           {BoundByCurrentHolder, SamePerson, LegalHold, NotInScope, KindUnsupported, SuspectedAbuse},
	InReview:       {BoundAtUnknown, AmbiguousDates, AssetsHeld, BusinessAccount, RestrictedNumber},
	ActionRequired: {ConfirmOwnAccount, ExtraVerification, EvidenceNeeded},
	Failed:         {Temporary, NotSynced},
}

// Reasons gives the reasons that an outcome may have. The caller must not change the slice.
func (o Outcome) Reasons() []Reason { return reasonsOf[o] }

// Fits reports whether r is one of o's reasons.
func (o Outcome) Fits(r Reason) bool { return slices.Contains(reasonsOf[o], r) }

// String gives the word of the contract.
func (k TaskKind) String() string { return taskKinds.name(k) }

// String gives the word of the contract.
func (o Outcome) String() string { return outcomes.name(o) }

// String gives the word of the contract.
func (r Reason) String() string { return reasons.name(r) }

// ParseTaskKind reads a task kind's word. Anything else is Invalid, as for ParseOutcome and ParseReason.
func ParseTaskKind(s string) (TaskKind, error) { return taskKinds.parse(s) }

// ParseOutcome reads an outcome's word.
func ParseOutcome(s string) (Outcome, error) { return outcomes.parse(s) }

// ParseReason reads a reason's word.
func ParseReason(s string) (Reason, error) { return reasons.parse(s) }
