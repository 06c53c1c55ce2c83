package server

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// NewLog gives the hub's log: JSON, a line a record. Numbers and keys redact themselves by their types.
func NewLog(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	h := &lineHandler{level: l, out: &lineWriter{w: w}}
	h.any = slog.NewJSONHandler(h.out, &slog.HandlerOptions{Level: l})
	return slog.New(h), nil
}

// lineHandler writes what slog.JSONHandler writes. Records of strings, whole numbers, durations and bools, as that of every
// request, it writes itself, which takes a third of the time.
type lineHandler struct {
	level slog.Level
	out   *lineWriter
	any   slog.Handler // writes all other records
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) WithAttrs(a []slog.Attr) slog.Handler { return h.any.WithAttrs(a) }

func (h *lineHandler) WithGroup(name string) slog.Handler { return h.any.WithGroup(name) }

var lineBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	buf := lineBuffers.Get().(*[]byte)
	defer lineBuffers.Put(buf)
	line, flat := flatLine((*buf)[:0], &r)
	*buf = line
	var err error
	if flat {
		_, err = h.out.Write(line)
	} else {
		err = h.any.Handle(ctx, r)
	}
	if r.Level >= slog.LevelWarn {
		h.out.flush()
	}
	return err
}

// flatLine appends a record's line; flat is false if it has anything that needs more than that.
func flatLine(b []byte, r *slog.Record) (line []byte, flat bool) {
	if r.Time.IsZero() || r.Time.Year() > 9999 || !plainText(r.Message) {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.Round(0).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":"`...)
	b = append(b, r.Message...)
	b = append(b, '"')
	flat = true
	r.Attrs(func(a slog.Attr) bool {
		if flat = a.Key != "" && plainText(a.Key); !flat {
			return false
		}
		b = append(b, `,"`...)
		b = append(b, a.Key...)
		b = append(b, `":`...)
		b, flat = flatValue(b, a.Value)
		return flat
	})
	return append(b, "}\n"...), flat
}

func flatValue(b []byte, v slog.Value) (out []byte, flat bool) {
	switch v.Kind() {
	case slog.KindString:
		if !plainText(v.String()) {
			return b, false
		}
		b = append(b, '"')
		b = append(b, v.String()...)
		return append(b, '"'), true
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10), true
	case slog.KindDuration:
		return strconv.AppendInt(b, int64(v.Duration()), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool()), true
	}
	return b, false
}

// plainText reports whether a text stands in JSON as it is: printable ASCII without quotes and backslashes.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// lineWriter writes one line at a time, whichever handler made it.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *lineWriter) flush() {
	if g, ok := l.w.(*Gathered); ok {
		g.Flush()
	}
}

// Gathered writes what it is given together with what comes soon after: a hub that answers thousands of requests a second need not
// write thousands of times. NewLog flushes it with every record of a warning or an error. Whoever kills the program loses what was
// written within the last gatherFor.
type Gathered struct {
	mu     sync.Mutex
	w      io.Writer
	held   []byte
	timer  *time.Timer
	closed bool
}

const (
	gatherFor  = 20 * time.Millisecond
	gatherSize = 64 << 10
)

// Gather makes a Gathered, which is Closed at the end.
func Gather(w io.Writer) *Gathered { return &Gathered{w: w} }

// Write keeps p for at most 20 ms. Errors of writing are lost: there is nobody to tell.
func (g *Gathered) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 && !g.closed {
		if g.timer == nil {
			g.timer = time.AfterFunc(gatherFor, g.Flush)
		} else {
			g.timer.Reset(gatherFor)
		}
	}
	g.held = append(g.held, p...)
	if g.closed || len(g.held) >= gatherSize {
		g.write()
	}
	return len(p), nil
}

// Flush writes what is held.
func (g *Gathered) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.write()
}

func (g *Gathered) write() {
	if len(g.held) > 0 {
		_, _ = g.w.Write(g.held)
		g.held = g.held[:0]
	}
}

// Close writes what is held, and from then on everything at once.
func (g *Gathered) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.write()
	return nil
}
