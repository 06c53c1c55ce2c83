package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// statusLine is the line that shows how far a long command is. On a terminal it is written over; elsewhere each text is a
// line of its own.
type statusLine struct {
	w        io.Writer
	terminal bool
	drawn    int // how much of the terminal's line is written on
}

func newStatusLine(w io.Writer) statusLine {
	s := statusLine{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// show shows a text in place of the one before.
func (s *statusLine) show(text string) {
	if !s.terminal {
		fmt.Fprintln(s.w, text)
		return
	}
	fmt.Fprintf(s.w, "\r%-*s", s.drawn, text)
	s.drawn = len(text)
}

// clear wipes the terminal's line.
func (s *statusLine) clear() {
	if s.terminal && s.drawn > 0 {
		fmt.Fprint(s.w, "\r"+strings.Repeat(" ", s.drawn)+"\r")
		s.drawn = 0
	}
}

// distance is how far a command is through bytes: size of them, or an unknown number (not above 0), of which an earlier run did from.
type distance struct {
	done, from, size int64
	took             time.Duration
}

// gauge draws the distance, on a terminal with a bar, and gives the time that is left; 0: nobody knows.
func (d distance) gauge(bar bool) (text string, left time.Duration) {
	text = fmt.Sprintf("%.1f MB", float64(d.done)/1e6)
	if d.size <= 0 {
		return text, 0
	}
	text = fmt.Sprintf("%3d %%  %.1f / %.1f MB", 100*d.done/d.size, float64(d.done)/1e6, float64(d.size)/1e6)
	if bar {
		const width = 24
		full := int(min(width*d.done/d.size, width))
		text = "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + text
	}
	if fresh := d.done - d.from; fresh > 0 {
		left = time.Duration(float64(d.took) / float64(fresh) * float64(d.size-d.done)).Round(time.Second)
	}
	return text, left
}
