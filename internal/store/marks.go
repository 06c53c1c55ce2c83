package store

import (
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// LedTo is what an event led to, as the number index keeps it: the number's mark and the carrier that serves it.
type LedTo struct {
	Mark    huanxin.Mark
	Carrier huanxin.PartyNo
}

// unmarked stands for what an event led to that was accepted before there were marks.
const unmarked = -1

func (l LedTo) packed() int64 { return int64(l.Carrier)<<16 | int64(l.Mark) }

func unpacked(led int64) LedTo {
	return LedTo{Mark: huanxin.Mark(led & 0xFFFF), Carrier: huanxin.PartyNo(led >> 16 & (1<<(toldShift-16) - 1))}
}

// MarkedEvent is an event of the number log in short: its number and what it led to.
type MarkedEvent struct {
	Number huanxin.Number
	LedTo
	// Unmarked says that only the number's standing tells.
	Unmarked bool
}

// LogBatch is a batch of events in the number log: its first position and how many there are. All events of a batch are of one
// report.
type LogBatch struct {
	First      int64
	Events     int64
	batch      int64
	ReportedAt time.Time
	// History says that a carrier loaded history: what is no news and nobody is told of.
	History bool
}

// Next gives the position behind the batch.
func (b *LogBatch) Next() int64 { return b.First + b.Events }

const batchColumns = `SELECT p.first, p.events, p.batch, b.reported_at, COALESCE(r.history, 0)
	FROM log_positions p JOIN event_batches b ON b.id = p.batch LEFT JOIN reports r ON r.id = b.report`

// LogBatches gives at most limit batches of the number log from the one that begins at a position on.
func (t *Tx) LogBatches(from int64, limit int) ([]LogBatch, error) {
	rows, err := t.query(batchColumns+`
		WHERE p.first >= $1 ORDER BY p.first LIMIT $2`, from, limit)
	if err != nil {
		return nil, err
	}
	return scanBatches(rows)
}

// LogBatchBefore gives the batch of the number log that ends right before a position; found is false where none does.
func (t *Tx) LogBatchBefore(position int64) (b LogBatch, found bool, err error) {
	rows, err := t.query(batchColumns+`
		WHERE p.first < $1 ORDER BY p.first DESC LIMIT 1`, position)
	if err != nil {
		return b, false, err
	}
	all, err := scanBatches(rows)
	if err != nil || len(all) == 0 || all[0].Next() != position {
		return b, false, err
	}
	return all[0], true, nil
}

func scanBatches(rows *sql.Rows) (out []LogBatch, err error) {
	err = scanAll(rows, func(r *sql.Rows) error {
		var b LogBatch
		var at, history int64
		err := r.Scan(&b.First, &b.Events, &b.batch, &at, &history)
		b.ReportedAt, b.History = fromMicros(at), history != 0
		out = append(out, b)
		return err
	})
	return out, err
}

// MarkedEvents appends the events of a batch, in the order of the log.
func (t *Tx) MarkedEvents(b LogBatch, to []MarkedEvent) ([]MarkedEvent, error) {
	rows, err := t.query("SELECT number, led_to FROM events WHERE id >= $1 AND id < $2 ORDER BY id", b.batch<<batchBits, (b.batch+1)<<batchBits)
	if err != nil {
		return to, err
	}
	var number, led int64
	err = scanAll(rows, func(r *sql.Rows) error {
		if err := r.Scan(&number, &led); err != nil {
			return err
		}
		e := MarkedEvent{Number: huanxin.NumberOf(uint64(number)), Unmarked: led == unmarked}
		if !e.Unmarked {
			e.LedTo = unpacked(led)
		}
		to = append(to, e)
		return nil
	})
	return to, err
}

// WaitingBatches gives the first and the last batch that waits for its position in the number log; 0, 0: none does.
// Batches get their positions in the order of these numbers.
func (t *Tx) WaitingBatches() (first, last int64, err error) {
	_, err = t.queryRow("SELECT COALESCE(MIN(id), 0), COALESCE(MAX(id), 0) FROM unsequenced WHERE log = $1", []any{logNumbers}, &first, &last)
	return first, last, err
}

// EachStanding gives the standing of every number that was ever reported, in the order of their digits, until f fails.
func (t *Tx) EachStanding(f func(NumberRow) error) error {
	const page = 10_000
	for after := int64(0); ; {
		rows, err := t.query("SELECT "+numberColumns+" FROM numbers n WHERE n.number > $1 ORDER BY n.number LIMIT $2", after, page)
		if err != nil {
			return err
		}
		n := 0
		if err := scanAll(rows, func(r *sql.Rows) error {
			row, err := scanNumber(r)
			if err != nil {
				return err
			}
			n, after = n+1, int64(row.Number.Digits())
			return f(row)
		}); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

// Coverage is what a carrier has told: since when its changes of holder are known, and until when it has told everything.
// Zero times: it never said.
type Coverage struct {
	Carrier                     huanxin.PartyNo
	CoveredSince, CompleteUntil time.Time
}

// Coverage gives what every carrier that ever said so has told.
func (t *Tx) Coverage() (out []Coverage, err error) {
	rows, err := t.query("SELECT carrier, covered_since, complete_until FROM coverage ORDER BY carrier")
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var c Coverage
		var since, until int64
		err := r.Scan(&c.Carrier, &since, &until)
		c.CoveredSince, c.CompleteUntil = fromMicros(since), fromMicros(until)
		out = append(out, c)
		return err
	})
	return out, err
}
