package feed

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin/internal/outbound"
)

// result is what came of a push.
type result uint8

const (
	pushAccepted     result = iota
	pushRefused             // this SET is not taken, and never will be
	pushUnauthorized        // no SET is, until somebody sees to it
	pushThrottled           // the receiver has too much to do
	pushFailed              // it may succeed later
	pushUnsent              // it was not tried
)

var resultNames = [...]string{"accepted", "refused", "unauthorized", "throttled", "failed", "unsent"}

// errUndeliverable is the code of SETs that could not be brought for 72 hours.
const errUndeliverable = "undeliverable"

// told is what a receiver answered.
type told struct {
	result
	err, text string        // the receiver's own of a refusal; else the text says what happened, for the operator
	after     time.Duration // so long the receiver wants to be left alone; 0: it does not say
	slow      bool          // it did not cope
	unlike    bool          // it answered otherwise than RFC 8935 has it
}

// maxRetryAfter bounds for how long a receiver may ask to be left alone.
const maxRetryAfter = 24 * time.Hour

// tellFrom judges the answer to a push (RFC 8935 §2.2, §2.3). Any 2xx is a success, whatever else the answer holds.
func tellFrom(a outbound.Answer, err error, now time.Time) told {
	switch {
	case a.Status == 0:
		var timeout net.Error
		return told{result: pushFailed, text: err.Error(), slow: errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)}
	case a.Status >= 200 && a.Status <= 299:
		return told{result: pushAccepted, unlike: a.Status != http.StatusAccepted || len(a.Body) > 0 || err != nil}
	}
	out := told{result: pushFailed, text: "the receiver answered " + strconv.Itoa(a.Status)}
	switch {
	case a.Status == http.StatusBadRequest:
		var said struct{ Err, Description string }
		if json.Unmarshal(a.Body, &said) == nil && said.Err != "" {
			return told{result: pushRefused, err: said.Err, text: said.Description}
		}
		out.text += " and does not say why"
		out.unlike = true
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		out.result = pushUnauthorized
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable:
		out.result, out.slow, out.after = pushThrottled, true, retryAfter(a.Header.Get("Retry-After"), now)
	case a.Status >= 500:
		out.slow = true
	case a.Status >= 300 && a.Status <= 399:
		out.text += ", and redirects are not followed"
	}
	return out
}

// retryAfter reads the header (RFC 9110 §10.2.3).
func retryAfter(s string, now time.Time) (wait time.Duration) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
