package client

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Receive polls a stream until ctx is done and gives every SET to take, which may see one again: the hub repeats what was not
// acknowledged. What take returned nil for is acknowledged with the next poll; a *SetError refuses the SET for good; after any other
// error it comes again. SETs of one number come one after the other, in their order. failed is told of what went wrong on the way, after
// which Receive waits and goes on; nil: nobody is.
func (c *Client) Receive(ctx context.Context, s Stream, take func(context.Context, SET) error, failed func(error)) error {
	if failed == nil {
		failed = func(error) {}
	}
	var in PollRequest
	for wait := firstWait; ctx.Err() == nil; {
		answer, err := c.Poll(ctx, s, in)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			failed(err)
			if !rest(ctx, wait) {
				break
			}
			wait = min(2*wait, lastWait)
			continue // with the same acknowledgements: they may be lost
		}
		wait, in = firstWait, PollRequest{}
		for jti, token := range answer.Sets {
			var refusal *SetError
			switch err := c.deliver(ctx, token, take); {
			case err == nil:
				in.Ack = append(in.Ack, jti)
			case errors.As(err, &refusal):
				if in.Refused == nil {
					in.Refused = map[string]SetError{}
				}
				in.Refused[jti] = *refusal
			default:
				failed(err)
			}
		}
	}
	if len(in.Ack)+len(in.Refused) > 0 { // so that it does not come again
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

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (c *Client) deliver(ctx context.Context, token string, take func(context.Context, SET) error) error {
	set, err := c.Verify(ctx, token)
	if err != nil {
		return err
	}
	return take(ctx, set)
}

const maxSET = 64 << 10

// Pushes is the endpoint that the hub pushes a stream's SETs to (RFC 8935): each is verified and given to take, which may see one
// again. It answers 202 when take returns nil, so what take did must be on stable storage; a *SetError refuses the SET for good; after any
// other error the hub tries again later. Only requests with the given authorization header are listened to.
func (c *Client) Pushes(authorization string, take func(context.Context, SET) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(authorization)) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSET))
		if err != nil {
			refuseSET(w, &SetError{"invalid_request", "the body is too long, or broke off"})
			return
		}
		var refusal *SetError
		switch err := c.deliver(r.Context(), string(body), take); {
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
