package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
)

const (
	// maxPollBody and maxPollAcks bound what a receiver says in one poll: several times what it can have got and not settled.
	maxPollBody = 1 << 20
	maxPollAcks = 10_000
)

func (a *api) ssfPollRoutes() []Route {
	rt := Route{Method: "POST", Path: core.PollPath + "{stream_id}", Tag: "Event feed", Summary: "Poll a stream (RFC 8936)",
		Description: "With the scope ssf.read or ssf.manage, by the stream's own client. Acknowledges SETs, refuses some, and gets others: signals of the stream first, then new ones, then those that were " +
			"handed out a minute ago or longer and not acknowledged. Of one number the next SET comes when the one before is acknowledged or refused. " +
			"Without returnImmediately the answer comes when there is something to tell, or with no SETs after 30 seconds; the header Prefer: wait=SECONDS (RFC 7240) asks for another time, at most 60. " +
			"With maxEvents 0 it comes at once. An answer has at most " + strconv.Itoa(feed.MaxPoll) + " SETs. Acknowledging again, or what the stream never had, is harmless.",
		Scope: anyScope, Limit: maxPollBody, Body: JSON(pollRequest{}), Answer: JSON(pollAnswer{}), Handler: a.poll}
	return []Route{inSSFsForm(rt, "not_found")}
}

// pollRequest is what a receiver says (RFC 8936 §2.2).
type pollRequest struct {
	MaxEvents *int64              `json:"maxEvents,omitempty" doc:"0 only acknowledges. Without it, as many as the hub gives."`
	AtOnce    bool                `json:"returnImmediately,omitempty" doc:"Answer at once, though there is nothing to tell."`
	Ack       []string            `json:"ack,omitempty" doc:"The jti of SETs that are on the receiver's own stable storage. At most 10,000, with setErrs."`
	SetErrs   map[string]setError `json:"setErrs,omitempty" doc:"By jti, SETs that the receiver does not take. They do not come again unless the operator sends them."`
}

type setError struct {
	Err         string `json:"err,omitempty" doc:"One of IANA's Security Event Token Error Codes."`
	Description string `json:"description,omitempty"`
}

// pollAnswer documents what feed.PollAnswer writes (RFC 8936 §2.3).
type pollAnswer struct {
	Sets map[string]string `json:"sets" doc:"SETs by jti, in compact form; empty: there is nothing to tell."`
	More bool              `json:"moreAvailable,omitempty" doc:"There are more."`
}

func (a *api) poll(w http.ResponseWriter, r *http.Request) error {
	if err := a.hub.MayPoll(r.Context(), CallerFrom(r.Context())); err != nil {
		return err
	}
	in, err := readPoll(w, r)
	if err != nil {
		return err
	}
	in.Wait = preferredWait(r.Header.Values("Prefer"))
	in.Idle = func() (func(), bool) { return Waiting(r.Context()) }
	out, err := a.feed.Poll(r.Context(), CallerFrom(r.Context()), r.PathValue("stream_id"), in)
	if err != nil {
		if r.Context().Err() != nil { // the receiver is gone
			panic(http.ErrAbortHandler)
		}
		return err
	}
	w.Header()["Content-Type"] = contentJSON
	to := &answered{ResponseWriter: w}
	if err := out.Write(to); err != nil {
		if to.failed {
			panic(http.ErrAbortHandler)
		}
		return err
	}
	return nil
}

// answered notes whether it was the connection that failed.
type answered struct {
	http.ResponseWriter
	failed bool
}

func (w *answered) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.failed = w.failed || err != nil
	return n, err
}

// readPoll reads what a receiver says. It keeps nothing of the body, because a poll may wait.
func readPoll(w http.ResponseWriter, r *http.Request) (out feed.PollRequest, err error) {
	body, err := readBody(w, r, maxPollBody)
	if err != nil {
		return out, err
	}
	var in pollRequest
	if err := decode(body, &in, lenient); err != nil {
		return out, err
	}
	if len(in.Ack)+len(in.SetErrs) > maxPollAcks {
		return out, badField("ack", "out_of_range", "ack and setErrs have at most "+strconv.Itoa(maxPollAcks)+" entries together")
	}
	out = feed.PollRequest{Acks: in.Ack, Max: -1, AtOnce: in.AtOnce}
	if in.MaxEvents != nil {
		if *in.MaxEvents < 0 {
			return out, badField("maxEvents", "out_of_range", "must be 0 or more")
		}
		out.Max = int(min(*in.MaxEvents, feed.MaxPoll))
	}
	if len(in.SetErrs) > 0 {
		out.Errs = make(map[string]core.SETError, len(in.SetErrs))
		for jti, e := range in.SetErrs {
			out.Errs[jti] = core.SETError(e)
		}
	}
	return out, nil
}

// preferredWait reads the preference wait (RFC 7240 §4.3); 0: there is none.
func preferredWait(all []string) time.Duration {
	for _, p := range strings.Split(strings.Join(all, ","), ",") {
		p, _, _ = strings.Cut(p, ";")
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "wait") {
			if n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 16); err == nil && n > 0 {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}
