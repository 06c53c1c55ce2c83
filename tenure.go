package huanxin

import (
	"cmp"
	"slices"
	"time"
)

// TenureID names a tenure: it is the event that began it, so that a voided or moved start ends it under its id.
type TenureID EventNo

// TenureOrigin is how a tenure began.
type TenureOrigin uint8

// The origins of a tenure.
const (
	OriginFirst TenureOrigin = iota + 1
	OriginReassigned
	OriginTransferred
	OriginUnknown // its start is only "at latest this day"
)

var tenureOrigins = enum[TenureOrigin]{what: "origin", names: []string{1: "first", 2: "reassigned", 3: "transferred", 4: "unknown"}}

// String gives the word of the contract.
func (o TenureOrigin) String() string { return tenureOrigins.name(o) }

// ParseTenureOrigin reads a tenure origin's word.
func ParseTenureOrigin(s string) (TenureOrigin, error) { return tenureOrigins.parse(s) }

// Phase is where a number stands in its life.
type Phase uint8

// The phases that events alone tell. Cooling, refreshing and clean are parts of PhaseDisconnected.
const (
	PhaseUnseen Phase = iota
	PhaseInUse
	PhaseSuspended
	PhaseDisconnected
)

// Standing is what the number log says of one number: the sum of its events. The zero Standing is a number never seen.
type Standing struct {
	Phase   Phase
	Carrier PartyNo // serves the number, or served it last
	// The running tenure, or in PhaseDisconnected the one that ended last, which a reinstatement continues.
	Tenure    TenureID
	StartedAt time.Time
	// StartedOnDay says that the tenure began at some instant of the day whose first one StartedAt is: the earliest start that
	// can be, so that nothing of the holder's is taken for the former holder's (DOMAIN.md §7 rule 1).
	StartedOnDay bool
	Origin       TenureOrigin
	EndedAt      time.Time // in PhaseDisconnected
	LastAt       time.Time // when the last event happened that counts
}

// Held reports whether somebody holds the number now.
func (s *Standing) Held() bool { return s.Phase == PhaseInUse || s.Phase == PhaseSuspended }

// Cooling gives how long a carrier freezes a cancelled number; at least 90 days. It is compared with dates in data,
// so that the demo never divides it.
type Cooling func(PartyNo) time.Duration

// Judge says what a number's standing becomes with one more event, or refuses it with a code of DOMAIN.md §4. The event
// has its No already. The number's history is asked for only when the event is late or a correction. With an error the
// standing is s, unchanged.
func (s Standing) Judge(e Event, history func() []Event, cooling Cooling) (Standing, error) {
	if !s.late(&e) {
		return s.next(e, cooling)
	}
	events := history()
	if e.Kind == Corrected {
		if err := checkCorrection(e, events); err != nil {
			return s, err
		}
	}
	after, err := Replay(append(events, e), e.No, cooling)
	if err != nil {
		return s, err
	}
	return after, nil
}

// late reports whether an event changes what came before it: it is earlier than the last one, or a correction.
func (s *Standing) late(e *Event) bool { return e.Kind == Corrected || e.At.Before(s.LastAt) }

func checkCorrection(e Event, events []Event) error {
	i := slices.IndexFunc(events, func(o Event) bool { return o.No == e.Corrects && o.Carrier == e.Carrier })
	if i < 0 {
		return Errorf(Refused, "unknown_event", "corrects names no event of this number that this carrier reported")
	}
	if events[i].Kind == Corrected {
		return Errorf(Refused, "out_of_order", "a correction cannot be corrected: report the event again under a new id")
	}
	if slices.ContainsFunc(events, func(o Event) bool { return o.Kind == Corrected && o.Corrects == e.Corrects }) {
		return Errorf(Refused, "out_of_order", "the event that corrects names is void already")
	}
	return nil
}

// Replay works a number's standing out anew from all its events, in any order. Void events do not count; the others are
// ordered by when they happened, ties by acceptance. The event judged is refused with its own code; a later one that no
// longer fits refuses it with out_of_order, naming that one. With judged 0 the first misfit is the error.
func Replay(events []Event, judged EventNo, cooling Cooling) (Standing, error) {
	var judgedCarrier PartyNo
	if i := slices.IndexFunc(events, func(e Event) bool { return e.No == judged }); i >= 0 {
		judgedCarrier = events[i].Carrier
	}
	var s Standing
	for _, e := range timeline(events) {
		freeze := leastCooling // an event that was accepted is not judged again by what its carrier has set since
		if e.No == judged {
			freeze = cooling
		}
		next, err := s.next(e, freeze)
		if err != nil && e.No != judged && judged != 0 {
			return s, misfit(e, judgedCarrier)
		}
		if err != nil {
			return s, err
		}
		s = next
	}
	return s, nil
}

// timeline gives the events that are not void, in the order in which they happened, ties by acceptance.
func timeline(events []Event) []Event {
	void := map[EventNo]bool{}
	for _, e := range events {
		if e.Kind == Corrected {
			void[e.Corrects] = true
		}
	}
	line := make([]Event, 0, len(events))
	for _, e := range events {
		if e.Kind != Corrected && !void[e.No] {
			line = append(line, e)
		}
	}
	slices.SortFunc(line, func(a, b Event) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.No, b.No))
	})
	return line
}

func noCooling(PartyNo) time.Duration { return 0 }

func leastCooling(PartyNo) time.Duration { return MinCoolingDays * 24 * time.Hour }

// misfit names the event that would no longer fit. Another carrier's own id for it stays with that carrier, and so does
// its time, which may be a tenure's start (DOMAIN.md §7 rule 5).
func misfit(e Event, asker PartyNo) error {
	name := "another carrier's " + e.Kind.String()
	if e.Carrier == asker {
		name = e.Kind.String() + " " + e.ID + " of " + e.At.In(China).Format(time.RFC3339)
	}
	return Errorf(Refused, "out_of_order", "a later event would no longer fit: "+name)
}

// next is the state machine of DOMAIN.md §4 for an event that is not earlier than those before it.
func (s Standing) next(e Event, cooling Cooling) (Standing, error) {
	if err := s.fits(e, cooling); err != nil {
		return s, err
	}
	s.LastAt = e.At
	switch e.Kind {
	case Activated:
		s.Carrier = e.Carrier
		if s.Held() { // ported_in where a tenure is running is a ported
			return s, nil
		}
		s.begin(e, tenureOriginOf(e.Origin))
	case Transferred:
		s.begin(e, OriginTransferred)
	case Ported:
		s.Carrier = e.Carrier
	case Suspended:
		s.Phase = PhaseSuspended
	case Resumed:
		s.Phase = PhaseInUse
	case Disconnected:
		s.Phase, s.EndedAt = PhaseDisconnected, e.At
	case Reinstated:
		s.Phase, s.EndedAt = PhaseInUse, time.Time{}
	}
	return s, nil
}

func (s *Standing) begin(e Event, origin TenureOrigin) {
	s.Phase, s.Tenure, s.StartedAt, s.StartedOnDay, s.Origin, s.EndedAt = PhaseInUse, TenureID(e.No), e.At, e.OnDay, origin, time.Time{}
}

func tenureOriginOf(o ActivationOrigin) TenureOrigin {
	switch o {
	case ActivatedFirst:
		return OriginFirst
	case ActivatedReassigned:
		return OriginReassigned
	default: // ported_in and unknown begin a tenure of unknown start, "at latest this day"
		return OriginUnknown
	}
}

// fits refuses an event whose kind does not fit the state, whose carrier does not serve the number, or that comes before
// cooling is over.
func (s *Standing) fits(e Event, cooling Cooling) error {
	anyCarrier := e.Kind == Activated || e.Kind == Ported // the first report, to itself, or after disconnected
	if s.Phase != PhaseUnseen && e.Carrier != s.Carrier && !anyCarrier {
		return Errorf(Refused, "not_serving", "another carrier served the number at that time") // and nothing of its state
	}
	ok := false
	switch e.Kind {
	case Activated:
		ok = s.Phase == PhaseUnseen ||
			s.Phase == PhaseDisconnected && e.Origin != ActivatedFirst ||
			s.Held() && e.Origin == ActivatedPortedIn
	case Suspended:
		ok = s.Phase == PhaseInUse
	case Resumed:
		ok = s.Phase == PhaseSuspended
	case Disconnected, Transferred, Ported:
		ok = s.Held()
	case Reinstated:
		ok = s.Phase == PhaseDisconnected
	}
	if !ok {
		return Errorf(Refused, "out_of_order", e.Kind.String()+" does not fit a number that is "+s.Phase.String()+" at that time")
	}
	if e.Kind == Activated && s.Phase == PhaseDisconnected && e.At.Before(s.EndedAt.Add(cooling(s.Carrier))) {
		return Errorf(Refused, "cooling_too_short", "the number was still frozen at that time")
	}
	return nil
}

// String says the phase as part of a sentence.
func (p Phase) String() string {
	return [...]string{"never seen", "in use", "suspended", "disconnected"}[p]
}

// EndedBy reports whether the tenure that ran before is over in the standing after: its open tasks abort.
func (s *Standing) EndedBy(after *Standing) bool {
	return s.Held() && !(after.Held() && after.Tenure == s.Tenure)
}
