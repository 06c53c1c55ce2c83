package server

import (
	"io"
	"net/http"
	"time"
)

// So long a body may be waited for, and longer by a second for each KiB of it that came: whoever drips one holds a place for
// little more than bodyGrace, and a file of any length has its time. How long the hub itself takes with what came does not count.
const (
	bodyGrace = 15 * time.Second
	bodyRate  = 1024 // bytes a second
)

// noStall cuts off a client that sends its body too slowly, or sends nothing of it or takes nothing of its answer for longer
// than limit.
func noStall(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		// The last request's deadline may be over by now, and "100 Continue" is written before any answer.
		_ = c.SetWriteDeadline(time.Time{})
		if r.Body != http.NoBody {
			body := &movingBody{ReadCloser: r.Body, c: c, limit: limit}
			// From the start: net/http reads what a handler left of a body, and before that sends no answer.
			body.extend()
			r.Body = body
		}
		// What is left in the buffer is written after the handler has returned, and after what is left of the body was waited for.
		defer func() { _ = c.SetWriteDeadline(time.Now().Add(2 * limit)) }()
		h.ServeHTTP(&movingWriter{ResponseWriter: w, c: c, limit: limit}, r)
	})
}

type movingBody struct {
	io.ReadCloser
	c      *http.ResponseController
	limit  time.Duration
	until  time.Time     // the deadline that is set
	waited time.Duration // for the client
	bytes  int64
}

// extend moves the deadline, but not past what the bytes that came have earned.
func (b *movingBody) extend() {
	earned := bodyGrace + time.Duration(b.bytes)*time.Second/bodyRate - b.waited
	if earned < b.limit {
		b.until = time.Time{}
	}
	b.until = extend(b.until, min(b.limit, earned), b.c.SetReadDeadline)
}

func (b *movingBody) Read(p []byte) (int, error) {
	b.extend()
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(began)
	b.bytes += int64(n)
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
