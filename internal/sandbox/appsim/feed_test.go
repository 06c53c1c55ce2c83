package appsim

import (
	"testing"

	"github.com/huanxin-platform/huanxin/client"
)

func (o *office) subscribed(pushTo string) client.Stream {
	o.t.Helper()
	s, err := o.Subscribe(o.t.Context(), o.worker.hub, pushTo)
	o.must(err)
	return s
}

// kept is what the app keeps of its stream.
func (o *office) kept() subscription {
	o.t.Helper()
	s, err := o.subscription(o.t.Context())
	o.must(err)
	return s
}

func TestAnAppHasOneStreamAndFindsItAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hub := o.worker.hub
	_, err := hub.CreateStream(t.Context(), client.StreamConfig{Description: "a visitor's"})
	o.must(err)
	first := o.subscribed("")
	if !o.kept().listed {
		t.Error("there was nothing before the stream, and it is to be listed")
	}
	o.ask(o.number())
	o.start()
	if again := o.subscribed(""); again.ID != first.ID || !o.kept().listed {
		t.Errorf("started again it has the stream %s, not %s", again.ID, first.ID)
	}
	o.exec(`UPDATE stream SET id = ''`) // killed after the stream was made and before that was written down
	if again := o.subscribed(""); again.ID != first.ID || o.kept().listed {
		t.Errorf("after a crash it has the stream %s, not %s; it must list what it may have missed", again.ID, first.ID)
	}
	o.must(o.listed(t.Context()))
	o.must(hub.DeleteStream(t.Context(), first.ID))
	if anew := o.subscribed(""); anew.ID == first.ID || o.kept().listed {
		t.Errorf("its stream was deleted, and it has %s", anew.ID)
	}
	if all, err := hub.Streams(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d streams: %v", len(all), err)
	}
}

func TestAStreamComesToWhereItsAppIsNow(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	hub := o.worker.hub
	first := o.subscribed("http://127.0.0.1:1/feed/chat")
	header := o.kept().authorization
	if d := first.Delivery; d.Method != "urn:ietf:rfc:8935" || d.EndpointURL != "http://127.0.0.1:1/feed/chat" || d.Authorization != header || len(header) < 20 {
		t.Errorf("%+v", d)
	}
	_, err := hub.SetStreamStatus(t.Context(), client.StreamState{Stream: first.ID, Status: "paused", Reason: "it was nowhere"})
	o.must(err)
	o.start()
	moved := o.subscribed("http://127.0.0.1:2/feed/chat")
	if d := moved.Delivery; moved.ID != first.ID || d.EndpointURL != "http://127.0.0.1:2/feed/chat" || d.Authorization != header {
		t.Errorf("%+v", moved)
	}
	if s, err := hub.StreamStatus(t.Context(), first.ID); err != nil || s.Status != "enabled" {
		t.Errorf("%+v %v", s, err)
	}
	if polled := o.subscribed(""); polled.ID != first.ID || polled.Delivery.Method != "urn:ietf:rfc:8936" || polled.Delivery.EndpointURL == "" {
		t.Errorf("%+v", polled)
	}
}
