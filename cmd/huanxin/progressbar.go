package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin/internal/history"
)

// plainEvery is how often progress is told where nobody watches.
const plainEvery = 10 * time.Second

// progressBar shows how far an import is: a bar on a terminal, else a line now and then.
type progressBar struct {
	w        io.Writer
	say      *words
	now      func() time.Time
	terminal bool
	first    *history.At // where this run began
	began    time.Time
	told     time.Time
	drawn    int // width of what stands in the terminal's line
}

func newProgressBar(w io.Writer, say *words, now func() time.Time) *progressBar {
	b := &progressBar{w: w, say: say, now: now}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

// show draws where the import is.
func (b *progressBar) show(at history.At) {
	now := b.now()
	if b.first == nil {
		b.first, b.began, b.told = &at, now, now
		if n := at.Lines(); n > 0 {
			b.clear()
			fmt.Fprintf(b.w, b.say.resumed+"\n", count(n))
		}
		return
	}
	if !b.terminal {
		if now.Sub(b.told) >= plainEvery {
			b.told = now
			fmt.Fprintln(b.w, b.line(at, now))
		}
		return
	}
	text := b.line(at, now)
	if at.Size > 0 {
		const width = 24
		full := int(width * at.Offset / at.Size)
		text = "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + text
	}
	b.clear()
	b.drawn = len(text)
	fmt.Fprint(b.w, text)
}

// line says how far, how fast and how long it takes yet.
func (b *progressBar) line(at history.At, now time.Time) string {
	took := max(now.Sub(b.began), time.Millisecond)
	perSecond := float64(at.Lines()-b.first.Lines()) / took.Seconds()
	parts := []string{fmt.Sprintf("%.1f MB", float64(at.Offset)/1e6), fmt.Sprintf(b.say.lines, count(at.Lines())), fmt.Sprintf(b.say.rate, count(int64(perSecond)))}
	if bytes := at.Offset - b.first.Offset; at.Size > 0 && bytes > 0 {
		left := time.Duration(float64(took) / float64(bytes) * float64(at.Size-at.Offset))
		parts[0] = fmt.Sprintf("%3d %%  %.1f / %.1f MB", 100*at.Offset/at.Size, float64(at.Offset)/1e6, float64(at.Size)/1e6)
		parts = append(parts, fmt.Sprintf(b.say.left, left.Round(time.Second)))
	}
	return strings.Join(parts, "  ")
}

// waiting tells of a failure that may pass.
func (b *progressBar) waiting(err error, pause time.Duration) {
	b.clear()
	fmt.Fprintf(b.w, b.say.waiting+"\n", pause.Round(100*time.Millisecond), err)
}

// clear wipes the terminal's line.
func (b *progressBar) clear() {
	if b.terminal && b.drawn > 0 {
		fmt.Fprint(b.w, "\r"+strings.Repeat(" ", b.drawn+8)+"\r")
		b.drawn = 0
	}
}

func (b *progressBar) end() { b.clear() }
