package huanxin

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What the hub says of its streams.
const (
	// MaxStreams is how many streams a client may have.
	MaxStreams = 5
	// MinVerificationInterval is the time between two verifications that a receiver asks for (SSF 1.0 §8.1.1).
	MinVerificationInterval = time.Minute
	// StreamInactivity is after how long the hub pauses a stream whose receiver is not heard of.
	StreamInactivity = 30 * 24 * time.Hour
	// FeedRetention is how long what a stream was not told yet is kept for it. Tasks are kept until they are answered or over.
	FeedRetention = 30 * 24 * time.Hour
)

// Bounds of what a receiver writes.
const (
	maxDescription = 1000 // characters; what is longer is cut (SSF 1.0 §8.1.1)
	maxReason      = 1000 // characters; what is longer is cut
	maxState       = 1024 // bytes: it is given back as it came, so it cannot be cut
	maxRequested   = 100
	maxEventURI    = 512  // bytes
	maxHeader      = 8192 // bytes
)

// HiddenHeader stands for an authorization header that is not shown. It is none itself: whoever writes back what it read would else
// replace a secret by it.
const HiddenHeader = "********"

// Given is a member of a JSON document: not there, there as null, or there with a value.
type Given[T any] struct {
	There bool
	Value *T // nil: null
}

// Give makes a member with a value.
func Give[T any](v T) Given[T] { return Given[T]{true, &v} }

// or gives the member's value: what was given, nothing if that is null, and old if it is not there.
func (g Given[T]) or(old T) (v T) {
	switch {
	case !g.There:
		return old
	case g.Value != nil:
		return *g.Value
	}
	return v
}

// StreamDoc is what a receiver's document says of a stream (SSF 1.0 §8.1.1).
type StreamDoc struct {
	// These are the receiver's to say.
	Delivery    Given[DeliveryDoc]
	Requested   Given[[]string]
	Description Given[string]
	WakeUp      Given[string]

	// These are the hub's to say. A document may repeat them.
	Issuer                Given[string]
	Audience              Given[[]string]
	Supported, Delivered  Given[[]string]
	MinVerification, Idle Given[float64] // seconds
	Retention             Given[float64]
}

// DeliveryDoc is the member delivery of a document.
type DeliveryDoc struct {
	Method   Given[string]
	Endpoint Given[string]
	Header   Given[string]
}

// StreamFacts is what the hub says of a stream.
type StreamFacts struct{ Issuer, Audience, PollURL string }

// NewStreamConfig makes a stream's configuration of a document that says everything: one that creates a stream or replaces its
// configuration. Without delivery it is polled (SSF 1.0 §8.1.1.1). PollURL is where; of a stream that is not there yet it is empty. URLs are
// the caller's to judge.
func NewStreamConfig(d StreamDoc, pollURL string) (StreamConfig, error) {
	return StreamConfig{Method: DeliverByPoll}.changed(d, pollURL, true)
}

// Patched gives the configuration with the members changed that are there in the document (SSF 1.0 §8.1.1.3). null takes a member away.
// Of delivery, too, what is not there stays, unless its method changes.
func (c StreamConfig) Patched(d StreamDoc, pollURL string) (StreamConfig, error) {
	return c.changed(d, pollURL, false)
}

func (c StreamConfig) changed(d StreamDoc, pollURL string, whole bool) (StreamConfig, error) {
	switch {
	case d.Delivery.Value != nil:
		var err error
		if c, err = c.delivered(*d.Delivery.Value, pollURL, whole); err != nil {
			return c, err
		}
	case d.Delivery.There:
		c.Method, c.Endpoint, c.Header = DeliverByPoll, "", ""
	}
	if d.Requested.There {
		c.Requested = d.Requested.or(nil)
		if err := checkRequested(c.Requested); err != nil {
			return c, err
		}
	}
	c.Description = cut(d.Description.or(c.Description), maxDescription)
	c.WakeUp = d.WakeUp.or(c.WakeUp)
	return c, nil
}

// delivered gives the configuration with what a document says of delivery; whole says that it says all.
func (c StreamConfig) delivered(d DeliveryDoc, pollURL string, whole bool) (StreamConfig, error) {
	if whole || d.Method.There {
		m, err := ParseDeliveryMethod(d.Method.or(""))
		if err != nil {
			return c, BadField("delivery.method", "unknown_method", "must be "+DeliverByPush.String()+" or "+DeliverByPoll.String())
		}
		if m != c.Method {
			c.Method, c.Endpoint, c.Header = m, "", ""
		}
	}
	if c.Method == DeliverByPoll {
		return c, checkPoll(d, pollURL)
	}
	c.Endpoint, c.Header = d.Endpoint.or(c.Endpoint), d.Header.or(c.Header)
	if c.Endpoint == "" {
		return c, BadField("delivery.endpoint_url", "required", "pushes need a URL to go to")
	}
	return c, checkHeader(c.Header)
}

// checkPoll refuses what goes with a push alone, and an endpoint that is not the hub's: that is the hub's to say.
func checkPoll(d DeliveryDoc, pollURL string) error {
	if u := d.Endpoint.or(""); u != "" && u != pollURL {
		return BadField("delivery.endpoint_url", "not_as_told", "where a stream is polled is the hub's to say")
	}
	if d.Header.or("") != "" {
		return BadField("delivery.authorization_header", "not_allowed", "it goes with pushes; a poll bears the receiver's own token")
	}
	return nil
}

// checkHeader refuses what cannot be sent word for word as the value of a header (RFC 9110 §5.5).
func checkHeader(h string) error {
	switch {
	case h == HiddenHeader:
		return BadField("delivery.authorization_header", "hidden_value", "this stands for the value in answers to tokens that may not see it; send the value, or leave it out of a PATCH")
	case len(h) > maxHeader:
		return BadField("delivery.authorization_header", "too_long", "at most "+strconv.Itoa(maxHeader)+" bytes")
	case h != strings.Trim(h, " \t"), strings.ContainsFunc(h, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return BadField("delivery.authorization_header", "bad_character", "is visible ASCII, without blanks around it")
	}
	return nil
}

func checkRequested(uris []string) error {
	if len(uris) > maxRequested {
		return BadField("events_requested", "too_many", "at most "+strconv.Itoa(maxRequested)+" event types")
	}
	for i, u := range uris {
		if u == "" || len(u) > maxEventURI {
			return BadField("events_requested["+strconv.Itoa(i)+"]", "out_of_range", "is a URI of 1 to "+strconv.Itoa(maxEventURI)+" bytes")
		}
	}
	return nil
}

// cut gives at most so many characters of a text.
func cut(s string, most int) string {
	if len(s) <= most || utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

// Delivered gives the types of event that a stream is told of: those of the requested ones that are supported.
func (c *StreamConfig) Delivered() []EventType {
	all := SupportedEvents()
	if c.Requested == nil {
		return all
	}
	return slices.DeleteFunc(all, func(t EventType) bool { return !slices.Contains(c.Requested, t.String()) })
}

// Delivers reports whether a stream is told of events of a type. What concerns itself it is always told (SSF 1.0 §8.1.4, §8.1.5).
func (c *StreamConfig) Delivers(t EventType) bool {
	return t == StreamVerification || t == StreamUpdated || slices.Contains(c.Delivered(), t)
}

// Repeats refuses a document that says otherwise than the hub what is the hub's to say. c is the configuration before any change
// (SSF 1.0 §8.1.1.3, §8.1.1.4).
func (d *StreamDoc) Repeats(c *StreamConfig, f StreamFacts) error {
	for _, m := range []struct {
		name string
		same bool
	}{
		{"iss", same(d.Issuer, f.Issuer)},
		{"aud", sameSet(d.Audience, []string{f.Audience})},
		{"events_supported", sameSet(d.Supported, uris(SupportedEvents()))},
		{"events_delivered", sameSet(d.Delivered, uris(c.Delivered()))},
		{"min_verification_interval", same(d.MinVerification, MinVerificationInterval.Seconds())},
		{"inactivity_timeout", same(d.Idle, StreamInactivity.Seconds())},
		{"huanxin_retention_seconds", same(d.Retention, FeedRetention.Seconds())},
	} {
		if !m.same {
			return BadField(m.name, "not_as_told", "is the hub's to say, and it says otherwise")
		}
	}
	return nil
}

// same reports whether a member that is the hub's is left out (or null), or as the hub says.
func same[T comparable](g Given[T], told T) bool { return g.Value == nil || *g.Value == told }

func sameSet(g Given[[]string], told []string) bool {
	if g.Value == nil {
		return true
	}
	given := slices.Clone(*g.Value)
	slices.Sort(given)
	told = slices.Sorted(slices.Values(told))
	return slices.Equal(slices.Compact(given), told)
}

func uris(types []EventType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = t.String()
	}
	return out
}

// SetStatus gives a stream a status, and reports whether the stream begins anew at the feed's head: a disabled one holds nothing (SSF 1.0
// §8.1.2). Whatever set the status before, its receiver may set another.
func (s *Stream) SetStatus(to StreamStatus, reason string, byHub bool) (anew bool) {
	anew = s.Status == StreamDisabled && to != StreamDisabled
	s.Status, s.Reason, s.ByHub = to, cut(reason, maxReason), byHub
	return anew
}

// AskVerification notes that the receiver asks for a verification that echoes state. The error is of kind Limited where it asked less
// than MinVerificationInterval ago, and says when to ask again.
func (s *Stream) AskVerification(state string, now time.Time) error {
	if len(state) > maxState {
		return BadField("state", "too_long", "at most "+strconv.Itoa(maxState)+" bytes")
	}
	if s.Status != StreamEnabled {
		return Errorf(Invalid, "stream_not_enabled", "the stream is "+s.Status.String()+" and transmits nothing; enable it first")
	}
	if wait := s.VerifiedAt.Add(MinVerificationInterval).Sub(now); !s.VerifiedAt.IsZero() && wait > 0 {
		return &Error{Kind: Limited, Code: "rate_limited", RetryAfter: min(wait, MinVerificationInterval),
			Detail: "a verification may be asked for every " + strconv.Itoa(int(MinVerificationInterval/time.Second)) + " seconds"}
	}
	s.VerifiedAt = now
	return nil
}
