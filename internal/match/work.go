package match

import (
	"bytes"
	"cmp"
	"context"

	"github.com/huanxin-platform/huanxin"
)

// result is what became of a block's rows.
type result struct {
	changed, unknown []byte // rows for the outputs
	counts           counts
	bad              []badLine // maxBad at most, unless all are wanted
	allBad           bool
	first, last      int64 // positions in the number log; 0: nothing was asked
}

// counts are those of a block.
type counts struct {
	rows, unchanged, changed, noHolder, unknown, bad, otherDates int64
	reasons                                                      []reasonCount // of unknown; few
}

type reasonCount struct {
	reason string
	n      int64
}

func (c *counts) because(reason string) {
	c.unknown++
	for i := range c.reasons {
		if c.reasons[i].reason == reason {
			c.reasons[i].n++
			return
		}
	}
	c.reasons = append(c.reasons, reasonCount{reason, 1})
}

func (r *result) reset() {
	r.changed, r.unknown, r.bad = r.changed[:0], r.unknown[:0], r.bad[:0]
	r.counts = counts{reasons: r.counts.reasons[:0]}
	r.first, r.last = 0, 0
}

func (r *result) isBad(line int64, code string, otherDate bool) {
	r.counts.rows++
	r.counts.bad++
	if otherDate {
		r.counts.otherDates++
	}
	if r.allBad || len(r.bad) < maxBad {
		r.bad = append(r.bad, badLine{Bad{line, code}, otherDate})
	}
}

// asked widens the positions by those of a batch.
func (r *result) asked(b *Batch) {
	if r.first == 0 || b.First < r.first {
		r.first = b.First
	}
	r.last = max(r.last, b.Last)
}

// ref is a row whose answer is being waited for.
type ref struct {
	start, end, line uint32 // its text with its ending in the block's data, and its line in the block
	asked            bool   // in the batch; else there is no T to ask with
	otherDate        bool   // bad, but for its date's form
}

// later is a row that the source could not decide, with what it was asked, and where the outputs were then.
type later struct {
	ref
	changed, unknown int
}

// worker works on one block at a time.
type worker struct {
	*table
	batch   Batch
	refs    []ref
	later   []later
	second  Batch // what the fallback is asked
	fields  [][]byte
	changed []byte // takes the place of a block's, when rows are put between others
	unknown []byte
}

// table is what is the same for all rows.
type table struct {
	columns           int
	number, boundAt   int  // their places
	replace           bool // the last two columns are outcome and reason of an earlier run
	china             bool // national numbers are taken
	limit             int  // of a row
	batchRows         int
	allBad            bool // all bad lines are wanted
	times             *times
	source, undecided Source // undecided may be nil
}

// do answers the rows of a block.
func (w *worker) do(ctx context.Context, b *block) error {
	b.reset()
	b.allBad = w.allBad
	if b.long {
		b.isBad(b.line, lineTooLong, false)
		return nil
	}
	for pos, line := 0, uint32(0); pos < len(b.data); {
		r := ref{start: uint32(pos), line: line}
		code, quoted := "", b.quotes
		if !quoted {
			pos, line = lineEnd(b.data, pos), line+1
		} else {
			found, _ := nextRow(b.data[pos:], w.limit, false)
			pos, code, quoted = pos+found.end, found.code, found.quoted
			line++
			if found.end > 0 && quoted {
				line += uint32(bytes.Count(b.data[r.start:pos-1], newline))
			}
		}
		r.end = uint32(pos)
		text := trimEnding(b.data[r.start:pos])
		switch {
		case code != "":
		case len(text) == 0:
			continue
		case len(text) > w.limit:
			code = lineTooLong
		default:
			code = w.read(text, quoted, &r)
		}
		if code != "" {
			b.isBad(b.line+int64(r.line), code, r.otherDate)
			continue
		}
		if w.refs = append(w.refs, r); len(w.refs) >= w.batchRows {
			if err := w.answer(ctx, b); err != nil {
				return err
			}
		}
	}
	if err := w.answer(ctx, b); err != nil {
		return err
	}
	return w.answerLater(ctx, b)
}

func lineEnd(data []byte, pos int) int {
	if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
		return pos + i + 1
	}
	return len(data)
}

// read puts a row's question into the batch, or gives the code of what is wrong with it.
func (w *worker) read(text []byte, quoted bool, r *ref) (code string) {
	number, boundAt, code := w.pick(text, quoted)
	if code != "" {
		return code
	}
	digits := digitsOf(number, w.china)
	if digits == 0 {
		return malformedN
	}
	switch since, ok := w.times.read(boundAt); {
	case ok && boundAt[0] != '0':
		r.asked = true
		w.batch.add(digits, since)
	case missing(boundAt):
	case !ok:
		r.otherDate = looksLikeDate(boundAt)
		return malformedT
	default:
		r.asked = true
		w.batch.add(digits, since)
	}
	return ""
}

// pick gives the two columns that matter.
func (w *worker) pick(text []byte, quoted bool) (number, boundAt []byte, code string) {
	if quoted {
		var ok bool
		if w.fields, ok = split(w.fields[:0], text); !ok {
			return nil, nil, badQuote
		}
		if len(w.fields) != w.columns {
			return nil, nil, raggedRow
		}
		return plain(w.fields[w.number]), plain(w.fields[w.boundAt]), ""
	}
	for column := 0; ; column++ {
		end := bytes.IndexByte(text, ',')
		last := end < 0
		if last {
			end = len(text)
		}
		switch column {
		case w.number:
			number = text[:end]
		case w.boundAt:
			boundAt = text[:end]
		}
		if last != (column == w.columns-1) {
			return nil, nil, raggedRow
		}
		if last {
			return number, boundAt, ""
		}
		text = text[end+1:]
	}
}

// answer has the batch answered and writes what becomes of the rows that wait.
func (w *worker) answer(ctx context.Context, b *block) error {
	w.batch.room()
	if len(w.batch.Digits) > 0 {
		if err := w.source.Answer(ctx, &w.batch); err != nil {
			return err
		}
		b.asked(&w.batch)
	}
	next := 0
	for _, r := range w.refs {
		if !r.asked {
			b.counts.rows++
			b.unknown = w.put(b, b.unknown, r, Answer{huanxin.Unknown, BoundAtUnknown})
			continue
		}
		a := w.batch.Answers[next]
		if a.Outcome == huanxin.Unchanged {
			b.counts.rows++
			b.counts.unchanged++
		} else if a.Outcome == 0 && w.undecided != nil {
			w.later = append(w.later, later{r, len(b.changed), len(b.unknown)})
			w.second.add(w.batch.Digits[next], w.batch.Since[next])
		} else {
			b.changed, b.unknown = w.place(b, b.changed, b.unknown, r, a)
		}
		next++
	}
	w.batch.reset()
	w.refs = w.refs[:0]
	return nil
}

// place writes a row where its answer belongs, and counts it.
func (w *worker) place(b *block, changed, unknown []byte, r ref, a Answer) (_, _ []byte) {
	if a.Outcome == BadLine {
		b.isBad(b.line+int64(r.line), a.Reason, false)
		return changed, unknown
	}
	b.counts.rows++
	switch a.Outcome {
	case huanxin.Unchanged:
		b.counts.unchanged++
	case huanxin.Changed:
		b.counts.changed++
		changed = w.put(b, changed, r, a)
	case huanxin.NoHolder:
		b.counts.noHolder++
		changed = w.put(b, changed, r, a)
	case huanxin.Unknown:
		unknown = w.put(b, unknown, r, a)
	default:
		unknown = w.put(b, unknown, r, Answer{huanxin.Unknown, cmp.Or(a.Reason, NeedsHub)})
	}
	return changed, unknown
}

// put appends a row with its answer and the ending that it had.
func (w *worker) put(b *block, out []byte, r ref, a Answer) []byte {
	if a.Outcome == huanxin.Unknown {
		b.counts.because(a.Reason)
	}
	line := b.data[r.start:r.end]
	out = append(out, w.kept(trimEnding(line))...)
	out = append(out, ',')
	out = append(out, a.Outcome.String()...)
	out = append(out, ',')
	out = append(out, a.Reason...)
	return append(out, ending(line)...)
}

// kept gives a row without the outcome and the reason of an earlier run.
func (w *worker) kept(text []byte) []byte {
	if !w.replace {
		return text
	}
	w.fields, _ = split(w.fields[:0], text)
	n := len(w.fields)
	return text[:len(text)-len(w.fields[n-1])-len(w.fields[n-2])-2]
}

// answerLater asks the other source what the first could not decide, and puts those rows where they belong.
func (w *worker) answerLater(ctx context.Context, b *block) error {
	if len(w.later) == 0 {
		return nil
	}
	w.second.room()
	if err := w.undecided.Answer(ctx, &w.second); err != nil {
		return err
	}
	b.asked(&w.second)
	w.changed, w.unknown = w.changed[:0], w.unknown[:0]
	changed, unknown := 0, 0
	for i, l := range w.later {
		w.changed = append(w.changed, b.changed[changed:l.changed]...)
		w.unknown = append(w.unknown, b.unknown[unknown:l.unknown]...)
		changed, unknown = l.changed, l.unknown
		w.changed, w.unknown = w.place(b, w.changed, w.unknown, l.ref, w.second.Answers[i])
	}
	w.changed = append(w.changed, b.changed[changed:]...)
	w.unknown = append(w.unknown, b.unknown[unknown:]...)
	b.changed, w.changed = w.changed, b.changed
	b.unknown, w.unknown = w.unknown, b.unknown
	w.second.reset()
	w.later = w.later[:0]
	return nil
}
