// Package match reconciles an account base: it asks of each row of a CSV file (account, number, bound_at) whether the
// number's holder has changed since, and sorts the rows by the answers.
//
// The input is cut into blocks at ends of rows, workers parse blocks and have them answered in batches, and what becomes of them is
// written in the order of the input. What a row is follows package lines; only the encoding of text does not matter here, since
// rows are handed on as they are. Behind every block the run could stop and another go on from its State, with the same bytes in
// the outputs in the end.
package match

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what is to be matched and how. In, Source, Changed and Unknown are needed.
type Options struct {
	In     io.Reader // from the beginning of the input, or from State.Offset on where Resume is given
	Source Source
	// Undecided, unless nil, answers what Source cannot decide. Without it that is UNKNOWN with NeedsHub.
	Undecided Source

	Changed io.Writer // CHANGED and NO_HOLDER
	Unknown io.Writer // UNKNOWN
	Bad     io.Writer // all bad lines as CSV: line, code, detail; nil: nobody wants them

	// Zone is that of times without an offset. nil: UTC.
	Zone *time.Location
	// China takes numbers in national form, and with 86 but no plus, too.
	China bool

	BlockSize int // bytes, about; 0: 1 MiB
	RowLimit  int // bytes; 0: DefaultRowLimit
	BatchRows int // how many rows Source is asked at once, at most a block's; 0: 128
	Workers   int // blocks that are worked on at once; 0: as many as processors

	// Resume goes on from where another run stopped. The outputs then end where they ended after that block.
	Resume *State
	// Block, unless nil, is called after what became of a block was written, in order. The State is good for the time of the call.
	Block func(State) error
	// Progress, unless nil, is kept up to date for others to read.
	Progress *Progress
}

// Progress is how far a run is: bytes of the input, rows of it, and rows since this run began.
type Progress struct{ Bytes, Rows, Fresh atomic.Int64 }

// State is where a run stands behind a block.
type State struct {
	Header  Header  `json:"header"`
	Offset  int64   `json:"offset"` // in the input
	Line    int64   `json:"line"`   // the next one
	Summary Summary `json:"summary"`
}

// Header is what the first line of the input says.
type Header struct {
	Columns int  `json:"columns"`
	Number  int  `json:"number"` // places from 0
	BoundAt int  `json:"bound_at"`
	Replace bool `json:"replace"` // the last two columns are of an earlier run, and are replaced
}

// Summary is what became of all rows: Rows = Unchanged + Changed + NoHolder + Unknown + Bad.
type Summary struct {
	Rows      int64            `json:"rows"`
	Unchanged int64            `json:"unchanged"`
	Changed   int64            `json:"changed"`
	NoHolder  int64            `json:"no_holder"`
	Unknown   int64            `json:"unknown"`
	Reasons   map[string]int64 `json:"unknown_by_reason"`
	Bad       int64            `json:"bad_lines"`
	BadLines  []Bad            `json:"listed_bad_lines"` // the first of them
	// OtherDates is how many of them are bad because their date is written in another way, such as 2019/8/8.
	OtherDates int64 `json:"bad_dates"`
	// FirstAsOf and LastAsOf are the positions in the number log between which the answers were true.
	FirstAsOf int64 `json:"first_as_of"`
	LastAsOf  int64 `json:"last_as_of"`
}

func (s *Summary) add(r *result) {
	c := &r.counts
	s.Rows += c.rows
	s.Unchanged += c.unchanged
	s.Changed += c.changed
	s.NoHolder += c.noHolder
	s.Unknown += c.unknown
	s.Bad += c.bad
	for _, because := range c.reasons {
		if s.Reasons == nil {
			s.Reasons = make(map[string]int64)
		}
		s.Reasons[because.reason] += because.n
	}
	s.OtherDates += c.otherDates
	for _, l := range r.bad[:min(len(r.bad), maxBad-len(s.BadLines))] {
		s.BadLines = append(s.BadLines, l.Bad)
	}
	if r.first > 0 && (s.FirstAsOf == 0 || r.first < s.FirstAsOf) {
		s.FirstAsOf = r.first
	}
	s.LastAsOf = max(s.LastAsOf, r.last)
}

// clone gives a state that further blocks do not change.
func (s State) clone() State {
	reasons := make(map[string]int64, len(s.Summary.Reasons))
	for k, v := range s.Summary.Reasons {
		reasons[k] = v
	}
	s.Summary.Reasons, s.Summary.BadLines = reasons, slices.Clip(s.Summary.BadLines)
	return s
}

func (o *Options) setDefaults() {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.BlockSize <= 0 {
		o.BlockSize = 1 << 20
	}
	if o.RowLimit <= 0 {
		o.RowLimit = DefaultRowLimit
	}
	if o.BatchRows <= 0 {
		o.BatchRows = replicaBatch
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
}

// Run matches until the input ends, and gives the state it reached, with an error too: everything up to there was written. In may
// still be waited for after an error.
func Run(ctx context.Context, o Options) (State, error) {
	o.setDefaults()
	c := &cutter{r: o.In, size: o.BlockSize, limit: o.RowLimit, line: 1}
	var s State
	if o.Resume != nil {
		s = o.Resume.clone()
		c.offset, c.line = s.Offset, s.Line
	} else {
		line, bom, err := c.header()
		if err != nil {
			return s, err
		}
		if s.Header, err = readHeader(trimEnding(line)); err != nil {
			return s, err
		}
		if err := o.writeHeaders(s.Header, line, bom); err != nil {
			return s, err
		}
		s.Offset, s.Line = c.offset, c.line
	}
	p := newPipeline(ctx, &o, c, s)
	err := p.run()
	return p.state.clone(), err
}

// writeHeaders begins the outputs as the input begins, byte order mark and all.
func (o *Options) writeHeaders(h Header, line []byte, bom bool) error {
	w := worker{table: &table{replace: h.Replace}}
	var out []byte
	if bom {
		out = append(out, byteOrderMark...)
	}
	out = append(out, w.kept(trimEnding(line))...)
	out = append(out, ",outcome,reason"...)
	out = append(out, ending(line)...)
	if _, err := o.Changed.Write(out); err != nil {
		return err
	}
	if _, err := o.Unknown.Write(out); err != nil || o.Bad == nil {
		return err
	}
	_, err := io.WriteString(o.Bad, badHeader)
	return err
}

// pipeline is one run: a goroutine cuts, workers answer, and run writes in order.
type pipeline struct {
	o      *Options
	cutter *cutter
	state  State
	line   []byte // that is being written

	ctx   context.Context
	stop  context.CancelCauseFunc
	free  chan *block
	work  chan *block
	order chan *block
}

func newPipeline(ctx context.Context, o *Options, c *cutter, s State) *pipeline {
	n := 2*o.Workers + 2 // while each worker has one, others are being filled, wait, or are being written
	p := &pipeline{o: o, cutter: c, state: s, free: make(chan *block, n), work: make(chan *block, n), order: make(chan *block, n)}
	p.ctx, p.stop = context.WithCancelCause(ctx)
	for range n {
		p.free <- &block{done: make(chan error, 1)}
	}
	return p
}

func (p *pipeline) run() error {
	o, h := p.o, p.state.Header
	t := &table{columns: h.Columns, number: h.Number, boundAt: h.BoundAt, replace: h.Replace, china: o.China, limit: o.RowLimit,
		batchRows: o.BatchRows, allBad: o.Bad != nil, times: newTimes(o.Zone, time.Now()), source: o.Source, undecided: o.Undecided}
	go p.cut() // not waited for where a run ends early: it may wait for a pipe
	var busy sync.WaitGroup
	for range o.Workers {
		busy.Go(func() { p.answer(&worker{table: t}) })
	}
	err := p.write()
	p.stop(err)
	busy.Wait()
	return err
}

// answer lets a worker do what comes, until nothing comes or the run ends early.
func (p *pipeline) answer(w *worker) {
	for {
		select {
		case b, ok := <-p.work:
			if !ok {
				return
			}
			b.done <- w.do(p.ctx, b)
		case <-p.ctx.Done():
			return
		}
	}
}

// cut fills blocks and hands them out, in order to the writer and to any worker.
func (p *pipeline) cut() {
	defer close(p.order)
	defer close(p.work)
	for {
		var b *block
		select {
		case b = <-p.free:
		case <-p.ctx.Done():
			return
		}
		err := p.cutter.next(b)
		if err == io.EOF {
			return
		}
		if err != nil {
			b.data, b.long = nil, false
			b.done <- fmt.Errorf("reading the input: %w", err)
			p.order <- b
			return
		}
		p.order <- b
		p.work <- b
	}
}

// next waits for the next block, and what became of it. It gives ok false when there is none, or the run was ended.
func (p *pipeline) next() (b *block, ok bool, err error) {
	select {
	case b, ok = <-p.order:
	case <-p.ctx.Done():
	}
	if !ok {
		return nil, false, nil
	}
	select {
	case err = <-b.done:
		return b, true, err
	case <-p.ctx.Done():
		return nil, false, nil
	}
}

// writeBad puts a block's bad lines in order, and writes them.
func (p *pipeline) writeBad(b *block) error {
	sortBad(b.bad)
	if p.o.Bad == nil {
		return nil
	}
	for i := range b.bad {
		p.line = b.bad[i].appendTo(p.line[:0])
		if _, err := p.o.Bad.Write(p.line); err != nil {
			return err
		}
	}
	return nil
}

// write writes what becomes of the blocks, in order.
func (p *pipeline) write() error {
	for {
		b, ok, err := p.next()
		if !ok {
			return context.Cause(p.ctx)
		}
		if err != nil {
			if errors.Is(err, context.Canceled) && p.ctx.Err() != nil {
				err = context.Cause(p.ctx)
			}
			return err
		}
		if _, err := p.o.Changed.Write(b.changed); err != nil {
			return err
		}
		if _, err := p.o.Unknown.Write(b.unknown); err != nil {
			return err
		}
		if err := p.writeBad(b); err != nil {
			return err
		}
		p.state.Summary.add(&b.result)
		p.state.Offset, p.state.Line = b.end, b.line+b.lines
		p.o.Progress.Bytes.Store(b.end)
		p.o.Progress.Rows.Store(p.state.Summary.Rows)
		p.o.Progress.Fresh.Add(b.counts.rows)
		if p.o.Block != nil {
			if err := p.o.Block(p.state); err != nil {
				return err
			}
		}
		p.free <- b
	}
}
