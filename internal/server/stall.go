package server

import (
	"io"
	"net/http"
	"time"
)

// A body may take so long, and longer by a second for each KiB of it that came: whoever drips one holds a place for little
// more than bodyGrace, and a file of any length has its time.
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
			body := &movingBody{ReadCloser: r.Body, c: c, limit: limit, began: time.Now()}
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
	c     *http.ResponseController
	limit time.Duration
	until time.Time // the deadline that is set
	began time.Time
	bytes int64
}

// extend moves the deadline, but not past what the bytes that came have earned.
func (b *movingBody) extend() {
	earned := time.Until(b.began.Add(bodyGrace + time.Duration(b.bytes)*time.Second/bodyRate))
	if earned < b.limit {
		b.until = time.Time{}
	}
	b.until = extend(b.until, min(b.limit, earned), b.c.SetReadDeadline)
}

func (b *movingBody) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(p)
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

// writePiece is how much of an answer is written under one deadline: a client that takes a long answer slowly, but takes it,
// has its time, whatever is written at once.
const writePiece = 16 << 10

func (w *movingWriter) Write(p []byte) (n int, err error) {
	for {
		w.until = extend(w.until, w.limit, w.c.SetWriteDeadline)
		some := p[n:min(n+writePiece, len(p))]
		m, err := w.ResponseWriter.Write(some)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
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
