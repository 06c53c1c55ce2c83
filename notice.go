package huanxin

import "slices"

// Notice is what streams that hear of a number are told because one of its events was accepted (DOMAIN.md §4).
type Notice struct {
	// Type is IdentifierRecycled where a tenure began by re-assignment or transfer, NumberReleased at a disconnection, or
	// RecycleRetracted, which takes one of these back.
	Type EventType
	// About is the event that is announced, or whose notice is taken back.
	About EventNo
}

// Notices says what follows when an event is accepted that s let pass: what streams are told, and which tenures there never
// were after all, because their start was voided or moved. Told is what came to stand and what stands no more. A notice
// stands while its event is not void and took effect as what is told, and a release until it is undone by a reinstatement;
// one that stands again is told again. History is no news: its events are never told, and so never taken back.
//
// The number's events before this one are asked for only when the event is late or a correction. Of a reinstatement it is nearly always
// enough to know the one accepted last, which is asked for first: however long a number's history is, this costs no more.
func (s Standing) Notices(e Event, last func() Event, history func() []Event) (told []Notice, gone []TenureID) {
	late := s.late(&e)
	if e.Kind == Reinstated && !late {
		// Nothing was accepted since, so that it is not void, and no other one comes behind it at the same time.
		if l := last(); l.Kind == Disconnected && l.At.Equal(s.EndedAt) {
			return []Notice{{RecycleRetracted, l.No}}, nil
		}
	}
	if late || e.Kind == Reinstated {
		past := history()
		before := recount(past)
		after := recount(append(slices.Clip(past), e))
		return before.notices(&after), without(before.tenures, after.tenures)
	}
	if t := e.announced(); t != 0 {
		told = []Notice{{t, e.No}}
	}
	return told, nil
}

// announced gives what an event that fits is told as; 0: it is not told.
func (e *Event) announced() EventType {
	switch {
	case e.OfHistory():
		return 0
	case e.Kind == Disconnected:
		return NumberReleased
	case e.Kind == Transferred, e.Kind == Activated && e.Origin == ActivatedReassigned: // which begins a tenure, or does not fit
		return IdentifierRecycled
	}
	return 0
}

// account is what a number's events add up to in words of notices, in the order in which the events happened.
type account struct {
	standing []Notice
	tenures  []TenureID
}

// recount goes through all events of a number that were accepted, in any order.
func recount(events []Event) account {
	var a account
	var s Standing
	var released EventNo
	for _, e := range timeline(events) {
		next, err := s.next(e, noCooling)
		if err != nil {
			continue // it would not have been accepted
		}
		if t := e.announced(); t != 0 {
			a.standing = append(a.standing, Notice{t, e.No})
		}
		switch {
		case next.Tenure != s.Tenure:
			a.tenures = append(a.tenures, next.Tenure)
		case e.Kind == Disconnected:
			released = e.No
		case e.Kind == Reinstated:
			a.standing = slices.DeleteFunc(a.standing, func(n Notice) bool { return n.About == released })
		}
		s = next
	}
	return a
}

// notices gives what is told when a becomes after: first what is taken back.
func (a *account) notices(after *account) []Notice {
	var told []Notice
	for _, n := range without(a.standing, after.standing) {
		told = append(told, Notice{RecycleRetracted, n.About})
	}
	return append(told, without(after.standing, a.standing)...)
}

func without[T comparable](all, some []T) (rest []T) {
	for _, v := range all {
		if !slices.Contains(some, v) {
			rest = append(rest, v)
		}
	}
	return rest
}

// TaskNote is what became of a task, beside being made with its request and answered, as far as its app is told.
type TaskNote uint8

// The notes.
const (
	NoteRequested TaskNote = iota + 1 // it is to be worked once more, or was made because the holder asked again
	NoteCancelled                     // it was open, and its request was cancelled
	NoteAborted                       // it was open, and its tenure ended
	NoteRetracted                     // its tenure was voided or its start moved, and the app may have acted
)
