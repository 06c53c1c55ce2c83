package httpapi

import (
	"net/http"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// streamConfig is a stream's configuration (SSF 1.0 §8.1.1).
type streamConfig struct {
	StreamID        string         `json:"stream_id"`
	Issuer          string         `json:"iss"`
	Audience        string         `json:"aud" doc:"The client's id."`
	Delivery        streamDelivery `json:"delivery"`
	Supported       []string       `json:"events_supported"`
	Requested       []string       `json:"events_requested,omitzero" doc:"As the receiver gave it, types that nobody knows too."`
	Delivered       []string       `json:"events_delivered" doc:"The types of event that come, beside verification and stream-updated."`
	MinVerification int64          `json:"min_verification_interval" doc:"Seconds."`
	Idle            int64          `json:"inactivity_timeout" doc:"Seconds. A stream whose receiver is not heard of for so long is paused. A poll, a push that was taken and every call here that names the stream count."`
	Retention       int64          `json:"huanxin_retention_seconds" doc:"Ours. How long a notification is kept for the stream; tasks are kept as long as they are open."`
	Description     string         `json:"description,omitempty"`
	WakeUp          string         `json:"huanxin_wake_up,omitempty" doc:"Ours. Where a webhook goes when there is something to poll."`
}

type streamDelivery struct {
	Method   string `json:"method" enum:"urn:ietf:rfc:8935,urn:ietf:rfc:8936" doc:"Push or poll."`
	Endpoint string `json:"endpoint_url,omitempty" doc:"Of a push the receiver's to say: public https. Of a poll the hub's."`
	Header   string `json:"authorization_header,omitempty" doc:"Of a push: the value of the Authorization header of every one."`
}

// streamAsked and streamChange are what a receiver may say, for the documents; members reads it.
type streamAsked struct {
	Delivery    *streamDelivery `json:"delivery" doc:"Without it: poll."`
	Requested   []string        `json:"events_requested,omitzero" max:"100" doc:"Without it: all that are supported. Those that are not known are ignored."`
	Description string          `json:"description,omitempty" doc:"Cut after 1,000 characters."`
	WakeUp      string          `json:"huanxin_wake_up,omitempty" doc:"Ours. A public https URL for a webhook that says that there is something to poll."`
}

type streamChange struct {
	StreamID string `json:"stream_id"`
	streamAsked
}

// streamStatus is a stream's status (SSF 1.0 §8.1.2).
type streamStatus struct {
	StreamID string `json:"stream_id"`
	Status   string `json:"status" enum:"enabled,paused,disabled"`
	Reason   string `json:"reason,omitempty" doc:"Why whoever set it did so; cut after 1,000 characters."`
}

func statusOf(s core.Stream) streamStatus {
	return streamStatus{StreamID: s.ID, Status: s.Status.String(), Reason: s.Reason}
}

type verification struct {
	StreamID string `json:"stream_id"`
	State    string `json:"state,omitempty" doc:"Comes back in the event; at most 1,024 bytes."`
}

func (a *api) streamConfig(s core.Stream) streamConfig {
	if s.ID == "" {
		return streamConfig{}
	}
	out := streamConfig{StreamID: s.ID, Issuer: a.issuer, Audience: s.Client,
		Delivery:  streamDelivery{Method: s.Method.String(), Endpoint: s.Endpoint, Header: s.Header},
		Supported: mapped(huanxin.SupportedEvents(), huanxin.EventType.String), Requested: s.Requested,
		Delivered:       mapped(s.Delivered(), huanxin.EventType.String),
		MinVerification: int64(huanxin.MinVerificationInterval.Seconds()), Idle: int64(huanxin.StreamInactivity.Seconds()),
		Retention: int64(huanxin.FeedRetention.Seconds()), Description: s.Description, WakeUp: s.WakeUp}
	if s.Method == huanxin.DeliverByPoll {
		out.Delivery.Endpoint = s.PollURL
	}
	return out
}

// oneOrMany is a stream, or a list of streams.
type oneOrMany struct {
	one  *streamConfig
	many []streamConfig
}

// MarshalJSONTo writes either.
func (o oneOrMany) MarshalJSONTo(to *jsontext.Encoder) error {
	if o.one != nil {
		return json.MarshalEncode(to, o.one)
	}
	return json.MarshalEncode(to, o.many)
}

// SchemaYAML describes it in the OpenAPI document.
func (oneOrMany) SchemaYAML() string {
	return `{oneOf: [{$ref: '#/components/schemas/StreamConfig'}, {type: array, items: {$ref: '#/components/schemas/StreamConfig'}}]}`
}

// members are those of a JSON object, to be read one by one: whether one is not there or null makes a difference.
type members map[string]jsontext.Value

// readMembers reads a request's JSON body, which is an object.
func readMembers(w http.ResponseWriter, r *http.Request) (members, error) {
	x := exchangeFrom(r.Context())
	limit := int64(DefaultLimit)
	if x.route != nil && x.route.Limit > 0 {
		limit = x.route.Limit
	}
	data, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	x.body = data
	return parseMembers(data)
}

func parseMembers(data []byte) (members, error) {
	var in members
	if err := json.Unmarshal(data, &in, lenient); err != nil {
		return nil, decodeError(data, err)
	}
	if in == nil {
		return nil, badField("", "wrong_type", "must be an object")
	}
	return in, nil
}

// memberReader reads members one after the other, and keeps the first error.
type memberReader struct {
	in  members
	of  string // the member that they are members of
	err error
}

// readAs reads one member.
func readAs[T any](r *memberReader, name string) (g huanxin.Given[T]) {
	text, there := r.in[name]
	if g.There = there; !there || text.Kind() == 'n' {
		return g
	}
	var v T
	if err := json.Unmarshal(text, &v, lenient); err != nil {
		if r.err == nil {
			r.err = badField(joined(r.of, name), "wrong_type", "must be "+expected(reflect.TypeFor[T]()))
		}
		return g
	}
	g.Value = &v
	return g
}

// needed reads a member that must be a string that is not empty.
func (r *memberReader) needed(name string) string {
	g := readAs[string](r, name)
	if r.err == nil && valueOf(g) == "" {
		r.err = badField(joined(r.of, name), "required", "must be given")
	}
	return valueOf(g)
}

func valueOf[T any](g huanxin.Given[T]) (v T) {
	if g.Value != nil {
		v = *g.Value
	}
	return v
}

// streamDoc reads what a document says of a stream. Of one that creates a stream told is false: the hub has said nothing of it yet.
func (in members) streamDoc(told bool) (d huanxin.StreamDoc, err error) {
	r := memberReader{in: in}
	if delivery := readAs[members](&r, "delivery"); delivery.There {
		d.Delivery.There = true
		if delivery.Value != nil {
			of := memberReader{in: *delivery.Value, of: "delivery"}
			d.Delivery.Value = &huanxin.DeliveryDoc{Method: readAs[string](&of, "method"), Endpoint: readAs[string](&of, "endpoint_url"),
				Header: readAs[string](&of, "authorization_header")}
			r.err = of.err
		}
	}
	d.Requested = readAs[[]string](&r, "events_requested")
	d.Description = readAs[string](&r, "description")
	d.WakeUp = readAs[string](&r, "huanxin_wake_up")
	if !told {
		return d, r.err
	}
	if aud := in["aud"]; aud.Kind() == '"' { // one string stands for a list of one (RFC 7519 §4.1.3)
		in["aud"] = slices.Concat([]byte("["), aud, []byte("]"))
	}
	d.Issuer, d.Audience = readAs[string](&r, "iss"), readAs[[]string](&r, "aud")
	d.Supported, d.Delivered = readAs[[]string](&r, "events_supported"), readAs[[]string](&r, "events_delivered")
	d.MinVerification, d.Idle = readAs[float64](&r, "min_verification_interval"), readAs[float64](&r, "inactivity_timeout")
	d.Retention = readAs[float64](&r, "huanxin_retention_seconds")
	return d, r.err
}
