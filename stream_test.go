package huanxin

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const pollsAt = "https://hub.example/ssf/poll/st_1"

// drawnMember draws a member that is absent, null or has a value.
func drawnMember[T any](t *rapid.T, name string, value *rapid.Generator[T]) (g Given[T]) {
	switch rapid.IntRange(0, 2).Draw(t, name+" is there") {
	case 1:
		g.There = true
	case 2:
		g = Give(value.Draw(t, name))
	}
	return g
}

func drawnDoc(t *rapid.T) (d StreamDoc) {
	words := rapid.SampledFrom([]string{"", "a", "b"})
	d.Delivery = drawnMember(t, "delivery", rapid.Custom(func(t *rapid.T) DeliveryDoc {
		return DeliveryDoc{Method: drawnMember(t, "method", rapid.SampledFrom([]string{DeliverByPush.String(), DeliverByPoll.String(), "x"})),
			Endpoint: drawnMember(t, "endpoint_url", rapid.SampledFrom([]string{"", "https://a.example/", pollsAt})),
			Header:   drawnMember(t, "authorization_header", words)}
	}))
	d.Requested = drawnMember(t, "events_requested", rapid.SliceOf(rapid.SampledFrom([]string{IdentifierRecycled.String(), UnbindRequested.String(), "urn:x"})))
	d.Description = drawnMember(t, "description", words)
	d.WakeUp = drawnMember(t, "huanxin_wake_up", words)
	return d
}

// asDoc writes a configuration as its receiver reads it.
func (c *StreamConfig) asDoc() (d StreamDoc) {
	delivery := DeliveryDoc{Method: Give(c.Method.String()), Endpoint: Give(c.Endpoint)}
	if c.Method == DeliverByPoll {
		delivery.Endpoint = Give(pollsAt)
	}
	text := func(s string) (g Given[string]) { // what is empty does not show
		if s != "" {
			g = Give(s)
		}
		return g
	}
	delivery.Header = text(c.Header)
	d.Delivery, d.Description, d.WakeUp = Give(delivery), text(c.Description), text(c.WakeUp)
	if c.Requested != nil {
		d.Requested = Give(c.Requested)
	}
	return d
}

// drawnConfig draws a configuration that a document can make.
func drawnConfig(t *rapid.T) StreamConfig {
	c, err := NewStreamConfig(drawnDoc(t), pollsAt)
	if err != nil {
		c = StreamConfig{Method: DeliverByPush, Endpoint: "https://a.example/", Header: "a", Requested: []string{}, Description: "a", WakeUp: "b"}
	}
	return c
}

func TestAConfigurationThatIsReadAndWrittenBackIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawnConfig(t)
		put, err := NewStreamConfig(c.asDoc(), pollsAt)
		if err != nil || !reflect.DeepEqual(put, c) {
			t.Fatalf("put back, %+v is %+v, %v", c, put, err)
		}
		patched, err := c.Patched(c.asDoc(), pollsAt)
		if err != nil || !reflect.DeepEqual(patched, c) {
			t.Fatalf("patched with itself, %+v is %+v, %v", c, patched, err)
		}
	})
}

func TestAPatchChangesWhatIsThereAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, d := drawnConfig(t), drawnDoc(t)
		got, err := c.Patched(d, pollsAt)
		if err != nil {
			return
		}
		is := func(what string, got, old any, there bool, value any) {
			want := old
			if there {
				want = value
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s of %+v patched with %+v is %v, want %v", what, c, d, got, want)
			}
		}
		is("description", got.Description, c.Description, d.Description.There, d.Description.or(""))
		is("wake_up", got.WakeUp, c.WakeUp, d.WakeUp.There, d.WakeUp.or(""))
		is("events", got.Requested, c.Requested, d.Requested.There, d.Requested.or(nil))
		delivery := d.Delivery.or(DeliveryDoc{Method: Give(DeliverByPoll.String())})
		is("method", got.Method.String(), c.Method.String(), d.Delivery.There && (delivery.Method.There || d.Delivery.Value == nil), delivery.Method.or(DeliverByPoll.String()))
		if got.Method == DeliverByPoll && (got.Endpoint != "" || got.Header != "") || got.Method == DeliverByPush && got.Endpoint == "" {
			t.Fatalf("%+v patched with %+v is %+v", c, d, got)
		}
		if got.Method == c.Method && got.Method == DeliverByPush {
			is("URL", got.Endpoint, c.Endpoint, delivery.Endpoint.There, delivery.Endpoint.or(""))
			is("header", got.Header, c.Header, delivery.Header.There, delivery.Header.or(""))
		}
	})
}

func TestAConfigurationThatIsReplacedHasNothingOfTheOld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawnDoc(t)
		got, err := NewStreamConfig(d, pollsAt)
		if err != nil {
			return
		}
		delivery := d.Delivery.or(DeliveryDoc{Method: Give(DeliverByPoll.String())})
		if d.Delivery.There && d.Delivery.Value == nil {
			delivery.Method = Give(DeliverByPoll.String())
		}
		want := StreamConfig{Requested: d.Requested.or(nil), Description: d.Description.or(""), WakeUp: d.WakeUp.or("")}
		if want.Method, err = ParseDeliveryMethod(delivery.Method.or("")); err != nil {
			t.Fatalf("%+v was taken", d)
		}
		if want.Method == DeliverByPush {
			want.Endpoint, want.Header = delivery.Endpoint.or(""), delivery.Header.or("")
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v makes %+v, want %+v", d, got, want)
		}
	})
}

func TestWhatIsDeliveredIsSupportedAndRequested(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.SliceOf(rapid.SampledFrom([]string{IdentifierRecycled.String(), NumberReleased.String(), UnbindRequested.String(), "urn:x", StreamVerification.String()})).Draw(t, "asked")
		c := StreamConfig{Requested: asked}
		for _, e := range []EventType{IdentifierRecycled, NumberReleased, UnbindRequested, UnbindCancelled, RecycleRetracted} {
			want := asked == nil || slices.Contains(asked, e.String())
			if slices.Contains(c.Delivered(), e) != want || c.Delivers(e) != want {
				t.Errorf("%v asked, %v delivered: %v", asked, e, c.Delivered())
			}
		}
		if !c.Delivers(StreamVerification) || !c.Delivers(StreamUpdated) || slices.Contains(c.Delivered(), StreamVerification) {
			t.Error("what is about the stream itself is told whatever was asked for")
		}
	})
}

func TestAStatusIsSetByWhoeverMay(t *testing.T) {
	for _, c := range []struct {
		from, to StreamStatus
		anew     bool
	}{
		{StreamEnabled, StreamPaused, false}, {StreamPaused, StreamEnabled, false}, {StreamEnabled, StreamDisabled, false}, {StreamPaused, StreamDisabled, false},
		{StreamDisabled, StreamEnabled, true}, {StreamDisabled, StreamPaused, true}, {StreamDisabled, StreamDisabled, false}, {StreamEnabled, StreamEnabled, false},
	} {
		for _, byHub := range []bool{true, false} {
			s := Stream{Status: c.from, Reason: "old", ByHub: !byHub}
			if anew := s.SetStatus(c.to, strings.Repeat("久", 2000), byHub); anew != c.anew || s.Status != c.to || s.ByHub != byHub || s.Reason != strings.Repeat("久", 1000) {
				t.Errorf("from %v to %v: anew %v, %v %v %d", c.from, c.to, anew, s.Status, s.ByHub, len(s.Reason))
			}
		}
	}
}

func TestAVerificationMayBeAskedForEveryMinute(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	s := Stream{Status: StreamEnabled}
	for _, step := range []struct {
		after, wait time.Duration
	}{{0, 0}, {0, time.Minute}, {time.Second, 59 * time.Second}, {time.Minute - 1, 1}, {time.Minute, 0}, {time.Minute + time.Second, 59 * time.Second}, {time.Hour, 0}, {0, time.Minute}} {
		now := at.Add(step.after) // the last one: the clock was set back
		err := s.AskVerification("state", now)
		if step.wait == 0 {
			if err != nil || !s.VerifiedAt.Equal(now) {
				t.Errorf("after %v: %v", step.after, err)
			}
			continue
		}
		if e, ok := err.(*Error); !ok || e.Kind != Limited || e.RetryAfter != step.wait {
			t.Errorf("after %v: %+v, want to wait %v", step.after, err, step.wait)
		}
	}
	for _, status := range []StreamStatus{StreamPaused, StreamDisabled} {
		s := Stream{Status: status}
		if err := s.AskVerification("", at); CodeOf(err) != "stream_not_enabled" || !s.VerifiedAt.IsZero() {
			t.Errorf("%v: %v", status, err)
		}
	}
	if err := (&Stream{Status: StreamEnabled}).AskVerification(strings.Repeat("x", 1025), at); KindOf(err) != Invalid {
		t.Error(err)
	}
}
