package huanxin

import "time"

// Mark is what two bytes can say of a number: on which day today's tenure began and how, or that nobody holds the number.
// It decides nearly every check; what a day cannot decide is asked of the store. The zero Mark is a number never seen.
//
// The upper 14 bits are the day, counted from MarkEpoch; day 0 is that day or any before it. The lower 2 bits say how the tenure began, or that
// the upper ones are a word. 0xFFFF is no Mark.
type Mark uint16

// The marks that are no day.
const (
	MarkNeverSeen Mark = iota << markBits
	MarkNoHolder
	MarkUndecided // only the store can tell
	// MarkAbsent stands in replicas for a number that was uploaded and that the hub has never seen; there MarkNeverSeen is a
	// number that was not uploaded.
	MarkAbsent
)

const (
	markBits = 2

	markWord        = 0
	markReassigned  = 1 // or first: to a check they are the same
	markTransferred = 2
	markUnknown     = 3

	maxMarkDay = 1<<(16-markBits) - 2
)

// MarkEpoch is the day from which marks count, 2000-01-01: they reach until 2044.
const MarkEpoch Day = 10957

// Mark gives what two bytes can say of a standing.
func (s *Standing) Mark(zone *time.Location) Mark {
	switch s.Phase {
	case PhaseUnseen:
		return MarkNeverSeen
	case PhaseDisconnected:
		return MarkNoHolder
	}
	day := max(DayOf(s.StartedAt, zone)-MarkEpoch, 0)
	if day > maxMarkDay {
		return MarkUndecided
	}
	how := Mark(markReassigned)
	switch s.Origin {
	case OriginTransferred:
		how = markTransferred
	case OriginUnknown:
		how = markUnknown
	}
	return Mark(day)<<markBits | how
}

// Answer decides a check of number n by its mark, in the order of DOMAIN.md §5's table, exactly as Standing.Answer would.
// It is not decided where T falls on the day that the tenure began and is exact, or that day is today or the epoch.
func (m Mark) Answer(n Number, t Since, p *Present) (outcome CheckOutcome, reason string, decided bool) {
	switch {
	case t.future(p):
		return Unknown, CheckFuture, true
	case !n.Kind().Served():
		return Unknown, CheckUnsupported, true
	}
	if m&(1<<markBits-1) == markWord {
		switch m {
		case MarkNoHolder:
			return NoHolder, "", true
		case MarkNeverSeen, MarkAbsent:
			return Unknown, CheckNeverSeen, true
		}
		return 0, "", false
	}
	began := MarkEpoch + Day(m>>markBits)
	switch day := t.dayIn(p); {
	case day > began:
		return Unchanged, "", true
	case began == MarkEpoch:
		return 0, "", false
	case day == began && !t.exact && day != p.today: // its last instant is not before any instant of the day
		return Unchanged, "", true
	case day == began:
		return 0, "", false
	}
	switch m & (1<<markBits - 1) {
	case markTransferred:
		return Changed, CheckTransferred, true
	case markUnknown:
		return Unknown, CheckBeforeCoverage, true
	}
	return Changed, CheckReassigned, true
}
