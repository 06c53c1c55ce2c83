package huanxin

import "time"

// EventType is what a SET of the feed says (RFC 8417; DOMAIN.md §4 and §6).
type EventType uint8

// The types of event. The last two are about the stream itself and need not be asked for (SSF 1.0 §8.1.4, §8.1.5).
const (
	IdentifierRecycled EventType = iota + 1 // RISC 1.0 §2.6: a tenure began by re-assignment or transfer
	NumberReleased                          // its holder gave the number up
	UnbindRequested                         // a task, or a task that is to be worked once more
	UnbindCancelled                         // a task is over: it was cancelled, or its tenure ended
	RecycleRetracted                        // takes an earlier event back: its tenure was voided, or the number reinstated
	StreamVerification
	StreamUpdated
)

var eventTypes = enum[EventType]{what: "event type", names: []string{
	1: "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled",
	2: "urn:huanxin:event:number-released",
	3: "urn:huanxin:event:unbind-requested",
	4: "urn:huanxin:event:unbind-cancelled",
	5: "urn:huanxin:event:recycle-retracted",
	6: "https://schemas.openid.net/secevent/ssf/event-type/verification",
	7: "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"}}

// String gives the type's URI.
func (t EventType) String() string { return eventTypes.name(t) }

// ParseEventType reads an event type's URI.
func ParseEventType(s string) (EventType, error) { return eventTypes.parse(s) }

// SupportedEvents are the types that a stream may ask for, in the order in which they are shown.
func SupportedEvents() []EventType {
	return []EventType{IdentifierRecycled, NumberReleased, UnbindRequested, UnbindCancelled, RecycleRetracted}
}

// FeedNo is the place of one SET in what a stream may be told. Of the feed log it is the position times 8 and, since one event may
// have more than one consequence, a count from 0; what concerns the stream alone (its signals) has negative ones and comes
// first. With the stream it makes the SET's jti: a SET that is sent again has the same.
type FeedNo int64

const feedNoBits = 3

// FeedNoAt gives the place of the n-th SET of a position of the feed log. n is below 8.
func FeedNoAt(position int64, n int) FeedNo { return FeedNo(position<<feedNoBits | int64(n)) }

// SignalNo gives the place of a stream's signal.
func SignalNo(id int64) FeedNo { return FeedNo(-id) }

// Position gives the position in the feed log; ok is false for a signal.
func (n FeedNo) Position() (position int64, ok bool) { return int64(n) >> feedNoBits, n > 0 }

// Signal gives a signal's id; ok is false for what stands in the feed log.
func (n FeedNo) Signal() (id int64, ok bool) { return -int64(n), n < 0 }

// StreamID is a stream's number inside the hub.
type StreamID int64

// DeliveryMethod is how a stream's SETs reach its receiver.
type DeliveryMethod uint8

// The methods of delivery.
const (
	DeliverByPush DeliveryMethod = iota + 1 // RFC 8935
	DeliverByPoll                           // RFC 8936
)

var deliveryMethods = enum[DeliveryMethod]{what: "delivery method", names: []string{1: "urn:ietf:rfc:8935", 2: "urn:ietf:rfc:8936"}}

// String gives the method's URN.
func (m DeliveryMethod) String() string { return deliveryMethods.name(m) }

// ParseDeliveryMethod reads a delivery method's URN.
func ParseDeliveryMethod(s string) (DeliveryMethod, error) { return deliveryMethods.parse(s) }

// StreamStatus is whether a stream transmits (SSF 1.0 §8.1.2).
type StreamStatus uint8

// The statuses of a stream. Paused holds what comes and sends it later; disabled does not hold it.
const (
	StreamEnabled StreamStatus = iota + 1
	StreamPaused
	StreamDisabled
)

var streamStatuses = enum[StreamStatus]{what: "status", names: []string{1: "enabled", 2: "paused", 3: "disabled"}}

// String gives the status's word.
func (s StreamStatus) String() string { return streamStatuses.name(s) }

// ParseStreamStatus reads a status's word.
func ParseStreamStatus(s string) (StreamStatus, error) { return streamStatuses.parse(s) }

// Stream is an SSF stream as its receiver configured it (SSF 1.0 §8.1.1).
type Stream struct {
	ID     StreamID
	Client string
	StreamConfig
	Status StreamStatus
	Reason string
	// ByHub says that the hub set the status, and not the receiver.
	ByHub      bool
	CreatedAt  time.Time
	VerifiedAt time.Time // when a verification was asked for last; zero: never
}

// StreamConfig is what a receiver may set of a stream.
type StreamConfig struct {
	Method   DeliveryMethod
	Endpoint string // of push
	// Header is the value of the authorization header that every push carries; empty: none.
	Header string
	// Requested are the event types asked for, as they were written, those that nobody knows too; nil: all that are supported.
	Requested   []string
	Description string
	// WakeUp is where a webhook without any number goes when there is something to poll (ours); empty: nowhere.
	WakeUp string
}
