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
	progress *match.Progress
	began    time.Time
	size     int64        // of the input; 0: not known
	from     atomic.Int64 // bytes that an earlier run has done
	line     statusLine
	end      chan struct{}
	ended    sync.WaitGroup
}

// startMeter begins to measure, and to show where somebody looks.
func startMeter(m *matchFlags) *meter {
	p := &meter{progress: m.job.Options.Progress, began: time.Now(), line: newStatusLine(os.Stderr), end: make(chan struct{})}
	if info, err := os.Stat(m.job.In); err == nil && info.Mode().IsRegular() {
		p.size = info.Size()
	}
	if m.quiet || !p.line.terminal && !m.show {
		return p
	}
	every := 5 * time.Second
	if p.line.terminal {
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
				if p.line.terminal {
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
	done, from := max(p.progress.Bytes.Load(), p.from.Load()), p.from.Load()
	gauge, left := distance{done: done, from: from, size: p.size, took: time.Since(p.began)}.gauge(p.line.terminal)
	text := fmt.Sprintf("%s  %d rows  %.2f M rows/s", gauge, p.progress.Rows.Load(), p.rate()/1e6)
	if left > 0 {
		text += "  ETA " + left.String()
	}
	p.line.show(text)
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
