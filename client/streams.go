package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/huanxin-platform/huanxin"
)

// Stream is an SSF stream as the hub gives it (SSF 1.0 §8.1.1).
type Stream struct {
	ID        string   `json:"stream_id"`
	Issuer    string   `json:"iss"`
	Audience  string   `json:"aud"`
	Delivery  Delivery `json:"delivery"`
	Supported []string `json:"events_supported"`
	Requested []string `json:"events_requested"`
	// Delivered are the types of event that will come, and no others.
	Delivered   []string `json:"events_delivered"`
	Description string   `json:"description,omitempty"`
	// WakeUp is where the hub posts a webhook without any number when there is something to poll.
	WakeUp string `json:"huanxin_wake_up,omitempty"`
}

// Delivery says how a stream's events come: by poll, from an endpoint of the hub's, or by push to one of the receiver's.
type Delivery struct {
	Method        string `json:"method"`
	EndpointURL   string `json:"endpoint_url,omitempty"`
	Authorization string `json:"authorization_header,omitempty"`
}

// StreamConfig is what a receiver says of a stream that it makes.
type StreamConfig struct {
	// PushTo is the https URL that events are pushed to, with Authorization as their authorization header; empty: they are polled.
	PushTo, Authorization string
	// Events are the types asked for; nil: all that the hub supports.
	Events      []huanxin.EventType
	Description string
	WakeUp      string
}

// CreateStream makes a stream. It begins at the head of the feed: it tells of what happens from now on.
func (c *Client) CreateStream(ctx context.Context, s StreamConfig) (out Stream, err error) {
	events := make([]string, len(s.Events))
	for i, t := range s.Events {
		events[i] = t.String()
	}
	in := struct {
		Delivery    *Delivery `json:"delivery,omitempty"`
		Requested   []string  `json:"events_requested,omitempty"`
		Description string    `json:"description,omitempty"`
		WakeUp      string    `json:"huanxin_wake_up,omitempty"`
	}{Requested: events, Description: s.Description, WakeUp: s.WakeUp}
	if s.PushTo != "" {
		in.Delivery = &Delivery{Method: huanxin.DeliverByPush.String(), EndpointURL: s.PushTo, Authorization: s.Authorization}
	}
	return out, c.manage(ctx, http.MethodPost, "/ssf/streams", in, &out)
}

// Streams gives every stream of the client.
func (c *Client) Streams(ctx context.Context) (out []Stream, err error) {
	return out, c.manage(ctx, http.MethodGet, "/ssf/streams", nil, &out)
}

// ChangeStream changes members of a stream, by the names of the contract; the others stay.
func (c *Client) ChangeStream(ctx context.Context, id string, members map[string]any) (out Stream, err error) {
	in := map[string]any{"stream_id": id}
	for k, v := range members {
		in[k] = v
	}
	return out, c.manage(ctx, http.MethodPatch, "/ssf/streams", in, &out)
}

// DeleteStream deletes a stream.
func (c *Client) DeleteStream(ctx context.Context, id string) error {
	return c.manage(ctx, http.MethodDelete, "/ssf/streams?"+url.Values{"stream_id": {id}}.Encode(), nil, nil)
}

// StreamState is whether a stream transmits, and why not.
type StreamState struct {
	Stream string `json:"stream_id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// StreamStatus reads a stream's status.
func (c *Client) StreamStatus(ctx context.Context, id string) (out StreamState, err error) {
	return out, c.manage(ctx, http.MethodGet, "/ssf/status?"+url.Values{"stream_id": {id}}.Encode(), nil, &out)
}

// SetStreamStatus sets a stream's status: enabled, paused (what comes is held) or disabled (it is not).
func (c *Client) SetStreamStatus(ctx context.Context, s StreamState) (out StreamState, err error) {
	return out, c.manage(ctx, http.MethodPost, "/ssf/status", s, &out)
}

// VerifyStream asks for a verification event that echoes state.
func (c *Client) VerifyStream(ctx context.Context, id, state string) error {
	return c.manage(ctx, http.MethodPost, "/ssf/verify", map[string]string{"stream_id": id, "state": state}, nil)
}

type subject struct {
	Format string `json:"format"`
	Number string `json:"phone_number"`
}

// AddSubject has a stream tell of a number.
func (c *Client) AddSubject(ctx context.Context, stream string, n huanxin.Number) error {
	return c.subject(ctx, "add", stream, n)
}

// RemoveSubject has a stream tell no more of a number.
func (c *Client) RemoveSubject(ctx context.Context, stream string, n huanxin.Number) error {
	return c.subject(ctx, "remove", stream, n)
}

func (c *Client) subject(ctx context.Context, what, stream string, n huanxin.Number) error {
	return c.manage(ctx, http.MethodPost, "/ssf/subjects:"+what,
		map[string]any{"stream_id": stream, "subject": subject{"phone_number", n.E164()}}, nil)
}

// ChangeSubjects has a stream tell of many numbers, and of others no more. Sending them again changes nothing.
func (c *Client) ChangeSubjects(ctx context.Context, stream string, add, remove []huanxin.Number) (out Receipt, err error) {
	type change struct {
		Op      string  `json:"op"`
		Subject subject `json:"subject"`
	}
	all := make([]change, 0, len(add)+len(remove))
	for _, n := range add {
		all = append(all, change{"add", subject{"phone_number", n.E164()}})
	}
	for _, n := range remove {
		all = append(all, change{"remove", subject{"phone_number", n.E164()}})
	}
	body, err := lines(all)
	if err != nil {
		return out, err
	}
	return out, c.callIn(ctx, inSSFsForm, http.MethodPost, "/ssf/subjects:batch?"+url.Values{"stream_id": {stream}}.Encode(), ndjsonBody, body, &out)
}

// SetError is why a receiver does not take a SET; Err is one of IANA's "Security Event Token Error Codes" (RFC 8935 §2.4).
type SetError struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

// Error gives the code and the description.
func (e *SetError) Error() string { return e.Err + ": " + e.Description }

// PollRequest is what a receiver says in a poll (RFC 8936 §2.4).
type PollRequest struct {
	// Ack are the jti's of SETs that are on the receiver's own stable storage, or need not be.
	Ack []string `json:"ack,omitempty"`
	// Refused are SETs that the receiver does not take, by jti. They do not come again.
	Refused map[string]SetError `json:"setErrs,omitempty"`
	// MaxEvents bounds the answer; nil: the hub does.
	MaxEvents *int `json:"maxEvents,omitempty"`
	// AtOnce asks for an answer at once; else the hub waits up to half a minute for something to tell.
	AtOnce bool `json:"returnImmediately,omitempty"`
}

// PollAnswer is what came: SETs by jti, and whether there are more.
type PollAnswer struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable"`
}

// Poll acknowledges and fetches SETs of a poll stream.
func (c *Client) Poll(ctx context.Context, s Stream, in PollRequest) (out PollAnswer, err error) {
	path, ours := strings.CutPrefix(s.Delivery.EndpointURL, c.o.URL)
	if !ours || !strings.HasPrefix(path, "/") { // the token is for nobody else
		return out, huanxin.Errorf(huanxin.Internal, "unexpected_answer", "the stream's poll endpoint is not on its hub")
	}
	return out, c.manage(ctx, http.MethodPost, path, in, &out)
}

// AnswerSET answers a task with a SET that the client signed: urn:huanxin:event:unbind-result. Sending it again is harmless.
func (c *Client) AnswerSET(ctx context.Context, token string) error {
	resp, err := c.do(ctx, http.MethodPost, "/ssf/events", http.Header{"Content-Type": {"application/secevent+jwt"}, "Accept": {"application/json"}},
		strings.NewReader(token))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return ssfRefusal(resp)
	}
	return nil
}

// SignedAnswer makes the SET that answers a task, for AnswerSET to send: signed now with a key whose public part the hub has registered for
// the client under kid. key is one of P-256, Ed25519 or RSA.
func (c *Client) SignedAnswer(a Answer, key crypto.Signer, kid string) (token string, err error) {
	alg := jose.RS256
	switch key.Public().(type) {
	case *ecdsa.PublicKey:
		alg = jose.ES256
	case ed25519.PublicKey:
		alg = jose.EdDSA
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType(typSET))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(map[string]any{"iss": c.o.ID, "aud": c.o.URL, "jti": rand.Text(), "iat": time.Now().Unix(),
		"sub_id": map[string]string{"format": "opaque", "id": a.TaskID}, "events": map[string]Answer{unbindResult: a}}).Serialize()
}

// unbindResult is the event with which an app answers.
const unbindResult = "urn:huanxin:event:unbind-result"

// manage calls a path of SSF with a document.
func (c *Client) manage(ctx context.Context, method, path string, in, out any) error {
	if in == nil {
		return c.callIn(ctx, inSSFsForm, method, path, nil, nil, out)
	}
	body, err := asJSON(in)
	if err != nil {
		return err
	}
	return c.callIn(ctx, inSSFsForm, method, path, jsonBody, body, out)
}

// inSSFsForm is the form of SSF's paths, whose errors are not problem documents.
var inSSFsForm = form{maxAnswer, ssfRefusal}

// ssfRefusal reads an error in SSF's form.
func ssfRefusal(resp *http.Response) error {
	var e SetError
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil || e.Err == "" {
		e = SetError{"unexpected_answer", fmt.Sprintf("the hub answered with status %d", resp.StatusCode)}
	}
	return refused(resp, e.Err, e.Description)
}
