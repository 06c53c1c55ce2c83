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
// than limit. Deadlines cost, so a small request has none of its own: for the first of its body holds the server's ReadTimeout
// (readTimeout), which net/http sets and takes away in any case, and it has none for writing when a request begins.
func noStall(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := &moving{controller: *http.NewResponseController(w)}
		m.c = &m.controller
		m.writer = movingWriter{ResponseWriter: w, c: m.c, limit: limit}
		if r.Body != http.NoBody {
			m.body = movingBody{ReadCloser: r.Body, c: m.c, limit: limit, start: time.Now()}
			r.Body = &m.body
		}
		defer m.end(limit)
		h.ServeHTTP(&m.writer, r)
	})
}

// soon is well within what readTimeout leaves of the time for a body when its handler begins.
const soon = time.Second

// readTimeout is how long net/http may wait for a header and the first of a body: after the slowest header that is
// allowed, a client still has as long as it may stall.
func readTimeout(header, limit time.Duration) time.Duration {
	return header + max(soon, min(limit, bodyGrace))
}

// moving is a request whose deadlines move.
type moving struct {
	controller http.ResponseController
	c          *http.ResponseController
	body       movingBody
	writer     movingWriter
}

// end bounds what net/http does after the handler has returned: it waits for what is left of the body, and before that
// sends nothing of a small answer; then it writes what is left in the buffer.
func (m *moving) end(limit time.Duration) {
	now := time.Now()
	if m.body.ReadCloser != nil && !m.body.ended {
		m.body.extend(now)
	}
	_ = m.c.SetWriteDeadline(now.Add(2 * limit))
}

type movingBody struct {
	io.ReadCloser
	c      *http.ResponseController
	limit  time.Duration
	start  time.Time     // of the handler
	until  time.Time     // the deadline that is set here
	waited time.Duration // for the client
	bytes  int64
	begun  bool
	ended  bool
	live   bool
}

// Live says that what comes slowly is not too slow: only nothing at all is, for as long as a client may stall.
func (b *movingBody) Live() { b.live = true }

// Cut says that nobody wants the rest: net/http would wait for some of it even before it cuts a connection.
func (b *movingBody) Cut() {
	b.ended = true
	_ = b.c.SetReadDeadline(time.Unix(1, 0))
}

// extend moves the deadline, but not past what the bytes that came have earned.
func (b *movingBody) extend(now time.Time) {
	if b.live {
		b.until = extend(now, b.until, b.limit, b.c.SetReadDeadline)
		return
	}
	earned := bodyGrace + time.Duration(b.bytes)*time.Second/bodyRate - b.waited
	if earned < b.limit {
		b.until = time.Time{}
	}
	b.until = extend(now, b.until, min(b.limit, earned), b.c.SetReadDeadline)
}

func (b *movingBody) Read(p []byte) (int, error) {
	began := time.Now()
	if b.begun || began.Sub(b.start) > soon/2 {
		b.extend(began)
	}
	b.begun = true
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err != io.EOF {
		b.waited += time.Since(began)
		return n, err
	}
	if b.ended = true; !b.until.IsZero() {
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
	bytes int
}

// heldBack is less than net/http keeps of an answer before it writes anything to the connection, unless it is flushed.
const heldBack = 1024

// writePiece is how much of an answer is written under one deadline: a client that takes a long answer slowly, but takes it,
// has its time, whatever is written at once.
const writePiece = 64 << 10

func (w *movingWriter) Write(p []byte) (n int, err error) {
	for {
		some := p[n:min(n+writePiece, len(p))]
		if w.bytes += len(some); w.bytes > heldBack {
			w.until = extend(time.Now(), w.until, w.limit, w.c.SetWriteDeadline)
		}
		m, err := w.ResponseWriter.Write(some)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError writes what was held back.
func (w *movingWriter) FlushError() error {
	w.bytes = heldBack
	w.until = extend(time.Now(), w.until, w.limit, w.c.SetWriteDeadline)
	return w.c.Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *movingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves a deadline once half of it has passed. A connection that knows no deadlines (in a test) has none.
func extend(now, until time.Time, limit time.Duration, set func(time.Time) error) time.Time {
	if until.Sub(now) > limit/2 {
		return until
	}
	until = now.Add(limit)
	_ = set(until)
	return until
}
