package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin/internal/history"
)

// plainEvery is how often progress is told where nobody watches.
const plainEvery = 10 * time.Second

// progressBar shows how far an import is: a bar on a terminal, else a line now and then.
type progressBar struct {
	statusLine
	words *words
	now   func() time.Time
	first *history.At // where this run began
	began time.Time
	told  time.Time
}

func newProgressBar(w io.Writer, text *words, now func() time.Time) *progressBar {
	return &progressBar{statusLine: newStatusLine(w), words: text, now: now}
}

// tell draws where the import is.
func (b *progressBar) tell(at history.At) {
	now := b.now()
	if b.first == nil {
		b.first, b.began, b.told = &at, now, now
		if n := at.Lines(); n > 0 {
			b.clear()
			fmt.Fprintf(b.w, b.words.resumed+"\n", count(n))
		}
		return
	}
	if !b.terminal && now.Sub(b.told) < plainEvery {
		return
	}
	b.told = now
	b.show(b.line(at, now))
}

// line says how far, how fast and how long it takes yet.
func (b *progressBar) line(at history.At, now time.Time) string {
	took := max(now.Sub(b.began), time.Millisecond)
	perSecond := float64(at.Lines()-b.first.Lines()) / took.Seconds()
	gauge, left := distance{done: at.Offset, from: b.first.Offset, size: at.Size, took: took}.gauge(b.terminal)
	parts := []string{gauge, fmt.Sprintf(b.words.lines, count(at.Lines())), fmt.Sprintf(b.words.rate, count(int64(perSecond)))}
	if left > 0 {
		parts = append(parts, fmt.Sprintf(b.words.left, left))
	}
	return strings.Join(parts, "  ")
}

// waiting tells of a failure that may pass.
func (b *progressBar) waiting(err error, pause time.Duration) {
	b.clear()
	fmt.Fprintf(b.w, b.words.waiting+"\n", pause.Round(100*time.Millisecond), explain(err))
}
