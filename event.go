package huanxin

import (
	"strings"
	"time"
)

// EventKind is what a carrier reports of a number (DOMAIN.md §4).
type EventKind uint8

// The kinds of number event.
const (
	Activated    EventKind = iota + 1 // 开户
	Suspended                         // 停机
	Resumed                           // 复机
	Disconnected                      // 销户
	Reinstated                        // the same person gets it back while frozen
	Transferred                       // 过户
	Ported                            // 携号转网
	Corrected                         // voids one earlier event of the same carrier
)

var eventKinds = enum[EventKind]{what: "kind", names: []string{1: "activated", 2: "suspended", 3: "resumed",
	4: "disconnected", 5: "reinstated", 6: "transferred", 7: "ported", 8: "corrected"}}

// String gives the word of the contract.
func (k EventKind) String() string { return eventKinds.name(k) }

// ParseEventKind reads an event kind's word.
func ParseEventKind(s string) (EventKind, error) { return eventKinds.parse(s) }

// ActivationOrigin says how an activation came about.
type ActivationOrigin uint8

// The origins of an activation.
const (
	ActivatedFirst ActivationOrigin = iota + 1
	ActivatedReassigned
	ActivatedPortedIn
	ActivatedUnknown
)

var activationOrigins = enum[ActivationOrigin]{what: "origin", names: []string{1: "first", 2: "reassigned", 3: "ported_in", 4: "unknown"}}

// String gives the word of the contract.
func (o ActivationOrigin) String() string { return activationOrigins.name(o) }

// ParseActivationOrigin reads an activation origin's word.
func ParseActivationOrigin(s string) (ActivationOrigin, error) { return activationOrigins.parse(s) }

// EventNo is an event's place in the order of acceptance, which for any one number is the order of the log.
type EventNo int64

// Event is one number event as a carrier reported it.
type Event struct {
	No      EventNo // 0 until it is accepted
	Carrier PartyNo
	ID      string // the carrier's own, unique per carrier: 1 to 128 printable ASCII characters
	Number  Number
	Kind    EventKind
	At      time.Time // when it happened
	// OnDay says that it happened on the day whose first instant At is, nobody knows when: "a value known only to the day is
	// the whole of that day" (DOMAIN.md §6). Only history has such events.
	OnDay  bool
	Origin ActivationOrigin
	// Corrects is the event that a correction voids, and CorrectsID the name it was given by its carrier.
	Corrects   EventNo
	CorrectsID string
}

// HistoryPrefix begins the ids of events that tell a carrier's history: they are given by the hub, and no id of a carrier's begins so.
const HistoryPrefix = "history:"

// OfHistory reports whether the event tells history: what is no news and nobody is told of.
func (e *Event) OfHistory() bool { return strings.HasPrefix(e.ID, HistoryPrefix) }

// MaxAhead is how far ahead of the hub's clock a reported time may be (DOMAIN.md §4).
const MaxAhead = 5 * time.Minute

// EarliestEvent bounds how ancient a reported time may be: China's first mobile numbers were sold in November 1987.
var EarliestEvent = time.Date(1987, time.November, 1, 0, 0, 0, 0, time.UTC)

const maxEventID = 128

// Check refuses an event that is not of the form of a report, whatever its number's history:
// Invalid for the form, Refused with in_future or number_kind_unsupported for the content.
func (e *Event) Check(now time.Time) error {
	if err := CheckEventID("id", e.ID); err != nil {
		return err
	}
	switch {
	case e.Kind == Activated && e.Origin == 0:
		return BadField("origin", "required", "an activation says where it comes from: first, reassigned, ported_in or unknown")
	case e.Kind != Activated && e.Origin != 0:
		return BadField("origin", "not_allowed", "only an activation has an origin")
	case e.Kind == Corrected && e.CorrectsID == "":
		return BadField("corrects", "required", "a correction names the event that it voids")
	case e.Kind != Corrected && e.CorrectsID != "":
		return BadField("corrects", "not_allowed", "only a correction voids another event")
	case e.At.Before(EarliestEvent):
		return BadField("at", "too_early", "must not be before November 1987, when mobile numbers began")
	case e.At.After(now.Add(MaxAhead)):
		return Errorf(Refused, "in_future", "at is more than 5 minutes ahead of the hub's clock")
	case !e.Number.Kind().Served():
		return Errorf(Refused, "number_kind_unsupported", "numbers of this kind are not served: "+e.Number.Kind().String())
	}
	return nil
}

// CheckEventID refuses what cannot be an event's id: it is 1 to 128 printable ASCII characters.
func CheckEventID(field, id string) error {
	if id == "" {
		return BadField(field, "required", "every event has an id")
	}
	if len(id) > maxEventID {
		return BadField(field, "too_long", "an id has at most 128 characters")
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return BadField(field, "bad_character", "an id is made of printable ASCII characters without blanks")
		}
	}
	return nil
}

// Same reports whether two reports under one id say the same: then the second is harmless (DOMAIN.md §4).
func (e *Event) Same(o *Event) bool {
	return e.Number == o.Number && e.Kind == o.Kind && e.At.Equal(o.At) && e.OnDay == o.OnDay && e.Origin == o.Origin && e.Corrects == o.Corrects
}
