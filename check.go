package huanxin

import "time"

// CheckOutcome answers "has the holder of N changed since T?" (DOMAIN.md §5). Unknown is never no.
type CheckOutcome uint8

// The outcomes of a check.
const (
	Unchanged CheckOutcome = iota + 1
	Changed
	NoHolder
	Unknown
)

var checkOutcomes = enum[CheckOutcome]{what: "outcome", names: []string{1: "UNCHANGED", 2: "CHANGED", 3: "NO_HOLDER", 4: "UNKNOWN"}}

// String gives the word of the contract.
func (o CheckOutcome) String() string { return checkOutcomes.name(o) }

// The reasons of an outcome of a check.
const (
	CheckFuture         = "future"
	CheckUnsupported    = "number_kind_unsupported"
	CheckNeverSeen      = "never_seen"
	CheckBeforeCoverage = "before_coverage"
	CheckReassigned     = "reassigned"
	CheckTransferred    = "transferred"
	CheckCarrierLate    = "carrier_late" // the serving carrier has not told for longer than the operator trusts
)

// Answer decides a check of number n by its standing, in the order of DOMAIN.md §5's table. since is exact: for a date,
// the caller gives its last instant in the national time zone, and for today's date now. Of a start known only to the day, an
// instant within that day is before_coverage: it may have been the former holder's, and unknown is never no.
func (s *Standing) Answer(n Number, since, now time.Time) (CheckOutcome, string) {
	switch {
	case since.After(now.Add(MaxAhead)):
		return Unknown, CheckFuture
	case !n.Kind().Served():
		return Unknown, CheckUnsupported
	case s.Phase == PhaseUnseen:
		return Unknown, CheckNeverSeen
	case s.Phase == PhaseDisconnected:
		return NoHolder, ""
	case s.Origin == OriginUnknown && since.Before(s.StartedAt):
		return Unknown, CheckBeforeCoverage
	case s.StartedOnDay && !since.Before(s.StartedAt) && since.Before(s.startedBy(now)):
		return Unknown, CheckBeforeCoverage
	case !since.Before(s.StartedAt):
		return Unchanged, ""
	case s.Origin == OriginTransferred:
		return Changed, CheckTransferred
	default:
		return Changed, CheckReassigned
	}
}

// startedBy is the first instant at which a tenure that began on a day has begun for certain: the day's last microsecond,
// which is what its date stands for as a T, or now. A day of China is 24 hours.
func (s *Standing) startedBy(now time.Time) time.Time {
	end := s.StartedAt.Add(24*time.Hour - time.Microsecond)
	if end.After(now) {
		return now
	}
	return end
}
