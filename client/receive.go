package client

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Take is what a receiver does with a SET. It may see one again: the hub repeats what was not acknowledged. After nil the SET is
// acknowledged, so what was done must be on stable storage. A *SetError refuses the SET for good: it comes no more. After any other
// error it comes again.
type Take func(ctx context.Context, s SET) error

// Receive polls a stream and gives every SET to take, until ctx is done or the stream is gone, and says which by its error. SETs of one
// number come one after the other, in their order. It waits out whatever else goes wrong on the way and tells failed of it: of polls that
// failed, of SETs that are none of the hub's for this client, which it refuses, and of take's errors. failed may be nil.
func (c *Client) Receive(ctx context.Context, s Stream, take Take, failed func(error)) error {
	if failed == nil {
		failed = func(error) {}
	}
	var in PollRequest
	for wait := firstWait; ctx.Err() == nil; {
		answer, err := c.Poll(ctx, s, in)
		switch {
		case err == nil:
			wait = firstWait
			in = c.takeAll(ctx, answer.Sets, take, failed)
			continue
		case ctx.Err() != nil:
			continue
		case huanxin.KindOf(err) == huanxin.NotFound:
			return err
		}
		failed(err) // and poll with the same acknowledgements: they may be lost
		if !Pause(ctx, max(wait, retryAfter(err))) {
			break
		}
		wait = min(2*wait, lastWait)
	}
	if len(in.Ack)+len(in.Refused) > 0 { // so that they do not come again
		none := 0
		in.MaxEvents, in.AtOnce = &none, true
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
		defer cancel()
		if _, err := c.Poll(last, s, in); err != nil {
			failed(err)
		}
	}
	return ctx.Err()
}

const (
	firstWait = 250 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Pause waits, as before a call is repeated, and reports whether it waited to the end: it is false where ctx was done first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func retryAfter(err error) time.Duration {
	var e *huanxin.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// takeAll gives SETs to take, and gives what the next poll says of them. Of what it is too late for, it says nothing.
func (c *Client) takeAll(ctx context.Context, sets map[string]string, take Take, failed func(error)) (next PollRequest) {
	for jti, token := range sets {
		if ctx.Err() != nil {
			return next
		}
		err := c.deliver(ctx, jti, token, take)
		if err == nil {
			next.Ack = append(next.Ack, jti)
			continue
		}
		failed(err)
		var refusal *SetError
		if errors.As(err, &refusal) {
			if next.Refused == nil {
				next.Refused = map[string]SetError{}
			}
			next.Refused[jti] = *refusal
		}
	}
	return next
}

// deliver verifies a SET and gives it to take. jti, if not empty, is under which name it came.
func (c *Client) deliver(ctx context.Context, jti, token string, take Take) error {
	set, err := c.Verify(ctx, token)
	if err != nil {
		return err
	}
	if jti != "" && jti != set.JTI {
		return &SetError{"invalid_request", "the SET came under another jti"}
	}
	return take(ctx, set)
}

const maxSET = 64 << 10

// Pushes is the endpoint that the hub pushes a stream's SETs to (RFC 8935): each is verified and given to take, and acknowledged,
// refused or left to come again as take says. Only requests with the given authorization header, which must not be empty, are listened
// to. failed is told of SETs that are none of the hub's for this client, which are refused, and of take's errors; nil: nobody is.
func (c *Client) Pushes(authorization string, take Take, failed func(error)) http.Handler {
	if failed == nil {
		failed = func(error) {}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if authorization == "" || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(authorization)) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSET))
		var long *http.MaxBytesError
		switch {
		case errors.As(err, &long):
			refuseSET(w, &SetError{"invalid_request", "the body is too long for a SET"})
			return
		case err != nil:
			w.WriteHeader(http.StatusBadRequest) // it broke off; the hub does not read this
			return
		}
		if err = c.deliver(r.Context(), "", string(body), take); err != nil {
			failed(err)
		}
		var refusal *SetError
		switch {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case errors.As(err, &refusal):
			refuseSET(w, refusal)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

func refuseSET(w http.ResponseWriter, e *SetError) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(e) // whoever went away does not read it
}
