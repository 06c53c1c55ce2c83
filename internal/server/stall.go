package server

import (
	"io"
	"net/http"
	"time"
)

// noStall cuts off a client that sends nothing of its body, or takes nothing of its answer, for longer than limit. Bodies and
// answers may be of any length, so their whole time is not bounded.
func noStall(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		// The last request's deadline may be over by now, and "100 Continue" is written before any answer.
		_ = c.SetWriteDeadline(time.Time{})
		if r.Body != http.NoBody {
			body := &movingBody{ReadCloser: r.Body, c: c, limit: limit}
			// From the start: net/http reads what a handler left of a body, and before that sends no answer.
			body.until = extend(body.until, limit, c.SetReadDeadline)
			r.Body = body
		}
		// What is left in the buffer is written after the handler has returned.
		defer func() { _ = c.SetWriteDeadline(time.Now().Add(limit)) }()
		h.ServeHTTP(&movingWriter{ResponseWriter: w, c: c, limit: limit}, r)
	})
}

type movingBody struct {
	io.ReadCloser
	c     *http.ResponseController
	limit time.Duration
	until time.Time // the deadline that is set
}

func (b *movingBody) Read(p []byte) (int, error) {
	b.until = extend(b.until, b.limit, b.c.SetReadDeadline)
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		// net/http goes on reading to notice that the client is gone: a deadline there would look like that.
		b.until = time.Time{}
		_ = b.c.SetReadDeadline(time.Time{})
	}
	return n, err
}

type movingWriter struct {
	http.ResponseWriter
	c     *http.ResponseController
	limit time.Duration
	until time.Time
}

func (w *movingWriter) Write(p []byte) (int, error) {
	w.until = extend(w.until, w.limit, w.c.SetWriteDeadline)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *movingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves a deadline once half of it has passed. A connection that knows no deadlines (in a test) has none.
func extend(until time.Time, limit time.Duration, set func(time.Time) error) time.Time {
	now := time.Now()
	if until.Sub(now) > limit/2 {
		return until
	}
	until = now.Add(limit)
	_ = set(until)
	return until
}
