package core

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// EventLine is one line of a report: an event, or why the line is none.
type EventLine struct {
	Line  int64
	Event huanxin.Event // Carrier and No are not set yet
	Err   error         // a *huanxin.Error

	// Of a line of history: how the tenure began (0: an event as its carrier named it), and what the event was named under keys
	// that are not the current one any more.
	origin huanxin.TenureOrigin
	older  []string
}

// Rejection is one refused line of a line-wise body.
type Rejection struct {
	Line   int64
	ID     string // as the sender named it; may be empty
	Code   string
	Detail string
}

// maxRejections is how many refused lines are listed; all are counted.
const maxRejections = 10_000

// Receipt is the answer to a line-wise body.
type Receipt struct {
	ID            string
	Accepted      int64
	Duplicates    int64
	Rejected      []Rejection
	RejectedTotal int64
	// Flagged counts accepted events of numbers on segments that the number plan does not know.
	Flagged int64
	// CompleteUntil is until when the carrier has told everything, as the hub now takes it; zero: it never said.
	CompleteUntil time.Time
	// CoveredSince is since when the carrier's changes of holder are known, as the hub now takes it; zero: it never said.
	CoveredSince time.Time
	untold       bool // a line was refused that the carrier may yet tell right
}

func (r *Receipt) reject(line int64, id string, err error) {
	r.RejectedTotal++
	code, text := huanxin.CodeOf(err), ""
	if e, ok := err.(*huanxin.Error); ok {
		text = e.Detail
		if len(e.Fields) == 1 && e.Code == "invalid" {
			code = e.Fields[0].Code
		}
	}
	r.untold = r.untold || code != "number_kind_unsupported"
	if len(r.Rejected) < maxRejections {
		r.Rejected = append(r.Rejected, Rejection{Line: line, ID: id, Code: code, Detail: text})
	}
}

// reportChunk is how many lines go into one transaction: enough to make its cost small, little enough to keep others
// waiting for some tens of milliseconds at most.
const reportChunk = 4096

// ReportEvents takes a carrier's report. Each good line is accepted or known already when it returns; a bad one is refused
// with its number and stops nothing. An error of lines itself (a body that breaks off) ends the report after what was
// accepted; sending it again is harmless. completeUntil, unless zero, is the carrier's word that it has now told
// everything until then: it is taken when no line was refused but for its number's kind, for then something is still untold.
func (h *Hub) ReportEvents(ctx context.Context, who huanxin.Caller, lines iter.Seq2[EventLine, error], completeUntil time.Time) (Receipt, error) {
	r := &reporter{h: h, who: who, what: "events", completeUntil: completeUntil}
	return r.run(ctx, lines)
}

// run takes a report from its begin to its end.
func (r *reporter) run(ctx context.Context, lines iter.Seq2[EventLine, error]) (Receipt, error) {
	started := now()
	if err := r.begin(ctx); err != nil {
		return r.receipt, err
	}
	broken := inChunks(lines, reportChunk, func(chunk []EventLine) error { return r.take(ctx, chunk) })
	return r.finish(ctx, started, broken)
}

func (r *reporter) begin(ctx context.Context) error {
	may := r.who.May(huanxin.CarrierParty, huanxin.ScopeNumbersReport)
	return r.h.act(ctx, r.who, r.what+".begin", may, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (err error) {
		if r.completeUntil.After(now.Add(huanxin.MaxAhead)) {
			return huanxin.BadField("complete_until", "in_future", "must not be more than 5 minutes ahead of the hub's clock")
		}
		r.report, err = tx.BeginReport(r.who.Party.No, r.who.Client, now, r.history)
		r.receipt.ID = r.h.keys.ID(seal.ReceiptID, r.report)
		entry.Subject = r.receipt.ID
		return err
	})
}

// inChunks collects lines while the chunk before them is being written: reading and writing overlap.
func inChunks[T any](lines iter.Seq2[T, error], size int, take func([]T) error) error {
	chunks, failed := make(chan []T, 1), make(chan struct{})
	var readErr error
	go func() {
		defer close(chunks)
		defer func() { // nobody else would: this goroutine is not the handler's
			if v := recover(); v != nil {
				readErr = fmt.Errorf("reading lines: %v", v)
			}
		}()
		chunk := make([]T, 0, size)
		for line, err := range lines {
			if err != nil {
				readErr = err
				break
			}
			if chunk = append(chunk, line); len(chunk) == size {
				select {
				case chunks <- chunk:
				case <-failed:
					return
				}
				chunk = make([]T, 0, size)
			}
		}
		if len(chunk) > 0 {
			select {
			case chunks <- chunk:
			case <-failed:
			}
		}
	}()
	for chunk := range chunks {
		if err := take(chunk); err != nil {
			close(failed)
			for range chunks { // until the reader has stopped
			}
			return err
		}
	}
	return readErr
}

type reporter struct {
	h       *Hub
	who     huanxin.Caller
	what    string // its word in the audit log
	history bool
	// What the carrier states beside its lines; zero: it does not.
	coveredSince, completeUntil time.Time

	report  int64
	receipt Receipt
}

// take writes one chunk in one transaction.
func (r *reporter) take(ctx context.Context, lines []EventLine) error {
	var c *chunk
	err := r.h.act(ctx, r.who, r.what+".report", nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		c = &chunk{tx: tx, now: now, carrier: r.who.Party.No, cooling: r.h.snapshot().cooling, zone: r.h.calendar.Zone(), fresh: map[string]huanxin.Event{},
			pending: map[huanxin.Number][]huanxin.Event{}, past: map[huanxin.Number][]huanxin.Event{},
			moved: map[huanxin.TenureID]huanxin.PartyNo{}}
		if err := c.load(lines); err != nil {
			return err
		}
		for i := range lines {
			if err := c.take(&lines[i]); err != nil {
				return err
			}
		}
		aborted, err := c.save(r.report)
		entry.Subject = r.receipt.ID
		entry.Detail = detail(map[string]any{"accepted": c.out.Accepted, "duplicates": c.out.Duplicates,
			"rejected": c.out.RejectedTotal, "aborted": aborted})
		return err
	})
	if err != nil {
		return err
	}
	r.receipt.Accepted += c.out.Accepted
	r.receipt.Duplicates += c.out.Duplicates
	r.receipt.RejectedTotal += c.out.RejectedTotal
	r.receipt.Flagged += c.out.Flagged
	r.receipt.untold = r.receipt.untold || c.out.untold
	room := min(maxRejections-len(r.receipt.Rejected), len(c.out.Rejected))
	r.receipt.Rejected = append(r.receipt.Rejected, c.out.Rejected[:room]...)
	return nil
}

// finish closes the report. What was accepted stays accepted, whatever broke off.
func (r *reporter) finish(ctx context.Context, started time.Time, broken error) (Receipt, error) {
	advance := broken == nil && !r.receipt.untold
	err := r.h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) (err error) {
		if err := tx.FinishReport(store.Report{ID: r.report, Carrier: r.who.Party.No, StartedAt: started, FinishedAt: now(),
			Accepted: r.receipt.Accepted, Duplicates: r.receipt.Duplicates, Rejected: r.receipt.RejectedTotal,
			CoveredSince: r.coveredSince, CompleteUntil: r.completeUntil}, advance); err != nil {
			return err
		}
		told, err := tx.CoverageOf(r.who.Party.No)
		r.receipt.CoveredSince, r.receipt.CompleteUntil = told.CoveredSince, told.CompleteUntil
		return err
	})
	if broken != nil {
		return r.receipt, broken
	}
	return r.receipt, err
}

// cooling gives how long a carrier freezes a cancelled number.
func (s *registrySnapshot) cooling(no huanxin.PartyNo) time.Duration {
	days := huanxin.MinCoolingDays
	if p := s.parties[no]; p != nil {
		days = max(days, p.CoolingDays)
	}
	return time.Duration(days) * 24 * time.Hour
}

// chunk is the lines of one transaction on their way into the log.
type chunk struct {
	tx      *store.Tx
	now     time.Time
	carrier huanxin.PartyNo
	cooling huanxin.Cooling
	zone    *time.Location
	out     Receipt

	next      huanxin.EventNo
	first     huanxin.EventNo                    // of this chunk
	known     map[string]huanxin.Event           // accepted before, by the carrier's id
	fresh     map[string]huanxin.Event           // accepted here, by the carrier's id
	pending   map[huanxin.Number][]huanxin.Event // accepted here
	past      map[huanxin.Number][]huanxin.Event // accepted before, of numbers with a late event
	standings map[huanxin.Number]store.NumberRow
	accepted  []store.Accepted
	// What follows for requests, event by event, so that it does not depend on how a report is cut into chunks: tenures that
	// ended, those that there never were after all, and those whose number went to another carrier.
	ended, gone []huanxin.TenureID
	moved       map[huanxin.TenureID]huanxin.PartyNo
}

// load reads what the lines are judged against.
func (c *chunk) load(lines []EventLine) error {
	var ids []string
	var numbers []huanxin.Number
	for i := range lines {
		l := &lines[i]
		if l.Err == nil {
			l.Err = l.check()
		}
		if l.Err != nil {
			continue
		}
		ids = l.appendNames(append(ids, l.Event.ID))
		if l.Event.CorrectsID != "" {
			ids = append(ids, l.Event.CorrectsID)
		}
		numbers = append(numbers, l.Event.Number)
	}
	b, err := c.tx.AskBatch(c.carrier, ids, numbers)
	if err == nil {
		err = c.tx.Await()
	}
	if err != nil {
		return err
	}
	c.first, c.next, c.known, c.standings = b.First, b.First, b.Known, b.Standings
	return nil
}

// check refuses what cannot even be looked up, and brings the time to the store's microseconds, so that the same line
// sent again says the same.
func (l *EventLine) check() error {
	e := &l.Event
	e.At = e.At.Truncate(time.Microsecond)
	if err := huanxin.CheckEventID("id", e.ID); err != nil {
		return err
	}
	if l.origin == 0 && strings.HasPrefix(e.ID, huanxin.HistoryPrefix) {
		return huanxin.BadField("id", "not_allowed", "ids that begin with "+huanxin.HistoryPrefix+" are given by the hub, to history")
	}
	if e.CorrectsID != "" {
		if err := huanxin.CheckEventID("corrects", e.CorrectsID); err != nil {
			return err
		}
	}
	if e.Number.IsZero() {
		return huanxin.BadField("number", "required", "every event is about a number")
	}
	return nil
}

// take judges one line. Only a fault of ours is an error.
func (c *chunk) take(l *EventLine) error {
	if l.Err != nil {
		c.out.reject(l.Line, l.Event.ID, l.Err)
		return nil
	}
	e := l.Event
	e.Carrier, e.No = c.carrier, c.next
	if l.origin != 0 {
		return c.takePast(l, e)
	}
	if e.CorrectsID != "" {
		e.Corrects = c.find(e.CorrectsID).No
	}
	if old := c.find(e.ID); old.No != 0 {
		if e.Same(&old) {
			c.out.Duplicates++
		} else {
			c.out.reject(l.Line, e.ID, huanxin.Errorf(huanxin.Refused, "id_conflict", "this id was used for another event"))
		}
		return nil
	}
	if err := e.Check(c.now); err != nil {
		c.out.reject(l.Line, e.ID, err)
		return nil
	}
	row := c.standings[e.Number]
	after, err := c.judge(e, row)
	if err != nil && huanxin.KindOf(err) == huanxin.Internal {
		return err
	}
	if err != nil {
		c.out.reject(l.Line, e.ID, err)
		return nil
	}
	if err := c.accept(e, row, after); err != nil {
		return err
	}
	c.count(&e)
	return nil
}

// count counts an accepted line.
func (c *chunk) count(e *huanxin.Event) {
	c.out.Accepted++
	if e.Number.Kind() == huanxin.KindUnknown {
		c.out.Flagged++
	}
}

// maxHistory bounds how many events of one number a late event is judged against: nobody's number has so many, and each
// late one costs a replay while other writers wait.
const maxHistory = 500

// judge asks the rules. before are events of the number that are about to be accepted.
func (c *chunk) judge(e huanxin.Event, row store.NumberRow, before ...huanxin.Event) (huanxin.Standing, error) {
	var failed error
	after, err := row.Judge(e, func() []huanxin.Event {
		past, err := c.history(row)
		past = append(past, before...)
		if failed = err; err == nil && len(past) > maxHistory {
			failed = huanxin.Errorf(huanxin.Refused, "too_many_events", "the number has too many events for a late one or a correction")
		}
		return past
	}, c.cooling)
	if failed != nil {
		return row.Standing, failed
	}
	return after, err
}

// history gives all events of a number, those of this chunk too; what is stored is read once a chunk.
func (c *chunk) history(row store.NumberRow) (past []huanxin.Event, err error) {
	past, read := c.past[row.Number]
	if !read && row.Head != 0 {
		head := row.Head
		if p := c.pending[row.Number]; len(p) > 0 {
			head = c.accepted[p[0].No-c.first].Prev
		}
		if head != 0 {
			if past, err = c.tx.History(head); err != nil {
				return nil, err
			}
		}
		c.past[row.Number] = past
	}
	return slices.Concat(past, c.pending[row.Number]), nil
}

// last gives the event of a number that was accepted last.
func (c *chunk) last(row store.NumberRow) (huanxin.Event, error) {
	if p := c.pending[row.Number]; len(p) > 0 {
		return p[len(p)-1], nil
	}
	return c.tx.Event(row.Head)
}

func (c *chunk) find(id string) huanxin.Event {
	if e, ok := c.fresh[id]; ok {
		return e
	}
	return c.known[id]
}

// accept takes an event that the rules have let pass. Only a fault of ours is an error.
func (c *chunk) accept(e huanxin.Event, row store.NumberRow, after huanxin.Standing) error {
	told, err := c.notices(e, row)
	if err != nil {
		return err
	}
	if before := &row.Standing; before.Held() && huanxin.EventNo(before.Tenure) < c.first { // else nothing was asked for it yet
		if before.EndedBy(&after) {
			c.ended = append(c.ended, before.Tenure)
		}
		if before.Carrier != after.Carrier && before.Tenure == after.Tenure {
			c.moved[before.Tenure] = after.Carrier
		}
	}
	c.accepted = append(c.accepted, store.Accepted{Event: e, Prev: row.Head,
		LedTo: store.LedTo{Mark: after.Mark(c.zone), Carrier: after.Carrier}, Notices: told})
	c.fresh[e.ID] = e
	c.pending[e.Number] = append(c.pending[e.Number], e)
	c.standings[e.Number] = store.NumberRow{Number: e.Number, Standing: after, Head: e.No, New: row.New || row.Head == 0}
	c.next++
	return nil
}

// notices says what streams are told because of an event, and takes note of tenures that there never were after all.
func (c *chunk) notices(e huanxin.Event, row store.NumberRow) (told []huanxin.Notice, err error) {
	told, gone := row.Notices(e, func() (last huanxin.Event) {
		last, err = c.last(row)
		return last
	}, func() (past []huanxin.Event) {
		if err == nil {
			past, err = c.history(row)
		}
		return past
	})
	for _, id := range gone {
		if huanxin.EventNo(id) < c.first { // else nothing was asked for it yet
			c.gone = append(c.gone, id)
		}
	}
	return told, err
}

// save writes what was accepted, and what follows from it: requests of tenures that ended are aborted, tasks of those that never
// were are taken back, requests of numbers that were ported go to the new carrier. It says how many were aborted.
func (c *chunk) save(report int64) (aborted int64, err error) {
	rows := make([]store.NumberRow, 0, len(c.pending))
	for n := range c.pending {
		rows = append(rows, c.standings[n])
	}
	if err := c.tx.AppendBatch(report, c.now, c.accepted, rows); err != nil {
		return 0, err
	}
	if err := c.tx.MoveRequests(c.moved); err != nil {
		return 0, err
	}
	if aborted, err = c.tx.AbortTenures(c.ended, c.now); err != nil {
		return 0, err
	}
	return aborted, c.tx.RetractTasks(c.gone, c.now)
}
