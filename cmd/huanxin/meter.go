package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin/internal/match"
)

// meter shows how far a run of match is.
type meter struct {
	progress  *match.Progress
	began     time.Time
	size      int64        // of the input; 0: not known
	from      atomic.Int64 // bytes that an earlier run has done
	terminal  bool
	end       chan struct{}
	ended     sync.WaitGroup
	lastWidth int
}

// startMeter begins to measure, and to show where somebody looks.
func startMeter(m *matchFlags) *meter {
	p := &meter{progress: m.job.Options.Progress, began: time.Now(), end: make(chan struct{})}
	if info, err := os.Stat(m.job.In); err == nil && info.Mode().IsRegular() {
		p.size = info.Size()
	}
	if info, err := os.Stderr.Stat(); err == nil {
		p.terminal = info.Mode()&os.ModeCharDevice != 0
	}
	if m.quiet || !p.terminal && !m.show {
		return p
	}
	every := 5 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	p.ended.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.show()
			case <-p.end:
				p.show()
				if p.terminal {
					fmt.Fprintln(os.Stderr)
				}
				return
			}
		}
	})
	return p
}

// resumed says where a run goes on.
func (p *meter) resumed(offset int64) { p.from.Store(offset) }

func (p *meter) stop() {
	close(p.end)
	p.ended.Wait()
}

// rate gives the rows a second of this run.
func (p *meter) rate() float64 {
	return float64(p.progress.Fresh.Load()) / max(time.Since(p.began).Seconds(), 1e-6)
}

func (p *meter) show() {
	done := max(p.progress.Bytes.Load(), p.from.Load())
	text := fmt.Sprintf("%.1f MB  %d rows  %.2f M rows/s", float64(done)/1e6, p.progress.Rows.Load(), p.rate()/1e6)
	if p.size > 0 {
		bytesPerSecond := float64(done-p.from.Load()) / max(time.Since(p.began).Seconds(), 1e-6)
		text = fmt.Sprintf("%3.0f %%  %s", 100*float64(done)/float64(p.size), text)
		if bytesPerSecond > 0 {
			text += "  ETA " + time.Duration(float64(p.size-done)/bytesPerSecond*1e9).Round(time.Second).String()
		}
	}
	if p.terminal {
		fmt.Fprintf(os.Stderr, "\r%-*s", p.lastWidth, text)
		p.lastWidth = len(text)
		return
	}
	fmt.Fprintln(os.Stderr, text)
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
