package huanxin

import "time"

// Access is the guard's decision at a login or registration by SMS (DOMAIN.md §5). The zero Access is StepUp: whoever knows nothing
// asks for more than a code.
type Access uint8

// The decisions.
const (
	StepUp Access = iota // a code alone is not enough: ask for another factor
	Allow                // the code is enough
	Block                // the account is a former holder's: offer a new one, and the former holder another way in
)

var accesses = enum[Access]{what: "decision", names: []string{1: "step_up", 2: "allow", 3: "block"}}

// String gives the word of the contract.
func (a Access) String() string { return accesses.name(a + 1) }

// GuardReason says why the guard decided so. The zero GuardReason is GuardNoAnswer.
type GuardReason uint8

// The reasons. The first group comes of an answer, the second of a question that could not be asked well, the third of no answer that
// can be relied on.
const (
	GuardNoAnswer       GuardReason = iota
	GuardUnchanged                  // allow
	GuardReassigned                 // block
	GuardTransferred                // the number was handed over to somebody: perhaps within the family
	GuardNoHolder                   // nobody holds the number, so who has received a code?
	GuardFuture                     // T lies ahead: look at the clocks
	GuardUnsupported                // a kind of number that is not served
	GuardNeverSeen                  // no carrier ever reported the number
	GuardBeforeCoverage             // T is before the tenure's earliest proven day
	GuardCarrierLate                // the carrier's word is too old
	GuardUnknown                    // unknown for a reason that this version does not know

	GuardBoundAtUnknown  // there is no T
	GuardAmbiguousDay    // only the day of T is known, and it makes a difference when it was
	GuardProvedSince     // re-assigned, but the account was proved to be somebody's since: the holder's own, or the former holder's
	GuardNumberMalformed // it is no number

	GuardStale        // the replica is older than may be relied on, or how old it is cannot be told
	GuardNotInReplica // the number was not uploaded, and there is no hub to ask
	GuardUndecided    // a day cannot decide it, and there is no hub to ask
	GuardHubSilent    // the hub did not answer in time
	GuardHubDown      // the hub failed just before: it is not asked for a moment
	GuardHubBusy      // too many questions are on their way already
	GuardHubRefused   // the hub refused the question
	GuardHubBehind    // the hub knows less than it, or the replica, knew before
	GuardClosed       // the guard has ended
)

var guardReasons = enum[GuardReason]{what: "reason", names: []string{1: "no_answer", 2: "unchanged", 3: CheckReassigned, 4: CheckTransferred,
	5: "no_holder", 6: CheckFuture, 7: CheckUnsupported, 8: CheckNeverSeen, 9: CheckBeforeCoverage, 10: CheckCarrierLate, 11: "unknown",
	12: "bound_at_unknown", 13: "ambiguous_day", 14: "proved_since", 15: "number_malformed", 16: "stale", 17: "not_in_replica", 18: "undecided",
	19: "hub_silent", 20: "hub_down", 21: "hub_busy", 22: "hub_refused", 23: "hub_behind", 24: "closed"}}

// GuardReasons is how many reasons there are: they are the integers below it.
const GuardReasons = int(GuardClosed) + 1

// String gives the word of the contract.
func (r GuardReason) String() string { return guardReasons.name(r + 1) }

// CheckAnswer is the answer to a check. The zero CheckAnswer is none.
type CheckAnswer struct {
	Outcome CheckOutcome
	Reason  string
}

// ParseCheckOutcome reads an outcome's word.
func ParseCheckOutcome(s string) (CheckOutcome, error) { return checkOutcomes.parse(s) }

// Guard is the guard's decision of DOMAIN.md §5. first and last are the answers for the first and the last instant that T may be
// (GuardTimes), the same one twice where T is exact. Nothing but two answers UNCHANGED allows.
func Guard(first, last CheckAnswer) (Access, GuardReason) {
	if first != last && first.Outcome != 0 && last.Outcome != 0 {
		return StepUp, GuardAmbiguousDay
	}
	if first != last {
		return StepUp, GuardNoAnswer
	}
	switch first.Outcome {
	case Unchanged:
		if first.Reason == "" { // there is none; with one it is something else
			return Allow, GuardUnchanged
		}
	case Changed:
		switch first.Reason {
		case CheckReassigned:
			return Block, GuardReassigned
		case CheckTransferred:
			return StepUp, GuardTransferred
		}
	case NoHolder:
		return StepUp, GuardNoHolder
	case Unknown:
		return StepUp, guardUnknown(first.Reason)
	}
	return StepUp, GuardNoAnswer
}

func guardUnknown(reason string) GuardReason {
	for r := GuardFuture; r < GuardUnknown; r++ {
		if r.String() == reason {
			return r
		}
	}
	return GuardUnknown
}

// GuardProved is what becomes of a decision to block when the answer is known for the last proof that the account is somebody's by
// anything but the number (V of DOMAIN.md §6): where the holder has not changed since then for certain, it is not known
// whose account it is (row 6), and a code alone neither opens it nor is answered with a new account only.
func GuardProved(proof CheckAnswer) (Access, GuardReason) {
	if proof.Outcome == Changed {
		return Block, GuardReassigned
	}
	return StepUp, GuardProvedSince
}

// GuardTimes gives the first and the last instant that T may be: T is the later one of bound, when the account was bound to the number, and
// confirmed, when the app last made sure, by something other than the number, that the person who had just received a code at it owns the
// account. A day counts from its first instant to its last, today until now. ok is false where there is no T.
//
// A proof of the account alone, such as a password, is no confirmation: the former holder gives it too, after they lost the number.
func GuardTimes(bound, confirmed Moment, now time.Time) (first, last time.Time, ok bool) {
	first, last = bound.span(now)
	f, l := confirmed.span(now)
	if !bound.Known() {
		return f, l, confirmed.Known()
	}
	if f.After(first) {
		first = f
	}
	if l.After(last) {
		last = l
	}
	return first, last, true
}

// ProofTime gives the last instant of a last proof that is after first, the first instant that T may be; ok is false where it cannot
// be.
func ProofTime(proof Moment, first, now time.Time) (last time.Time, ok bool) {
	_, last = proof.span(now)
	return last, proof.Known() && last.After(first)
}

// span gives the first and the last instant of a moment, to the microsecond, both zero where it is not known.
func (m Moment) span(now time.Time) (first, last time.Time) {
	if m.from.Equal(m.to) {
		return m.from, m.to
	}
	last = m.to.Add(-time.Microsecond)
	if last.After(now) && !m.from.After(now) {
		last = now
	}
	return m.from, last
}
