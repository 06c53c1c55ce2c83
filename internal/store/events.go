package store

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// batchBits is how much of an event's id is its place in its batch.
const batchBits = 20

// MaxBatch bounds the events of one batch.
const MaxBatch = 1 << batchBits

// BeginBatch makes the caller the only writer of number events until the transaction ends, and gives the number of the
// batch's first event. Because batches come one after the other, a number's events are in the order of their ids.
func (t *Tx) BeginBatch() (huanxin.EventNo, error) {
	if t.dialect.name() == "postgres" {
		if _, err := t.exec(lockLog); err != nil {
			return 0, err
		}
	}
	id, err := t.nextID("batch", 1)
	return huanxin.EventNo(id << batchBits), err
}

// Batch is what a batch of number events is judged by.
type Batch struct {
	First     huanxin.EventNo // the number of its first event
	Known     map[string]huanxin.Event
	Standings map[huanxin.Number]NumberRow
}

// AskBatch is BeginBatch, KnownEvents and Standings in one round trip. The Batch is there after the next Await.
func (t *Tx) AskBatch(carrier huanxin.PartyNo, ids []string, numbers []huanxin.Number) (*Batch, error) {
	b := &Batch{Known: map[string]huanxin.Event{}, Standings: make(map[huanxin.Number]NumberRow, len(numbers))}
	if t.dialect.name() != "postgres" {
		var err error
		if b.First, err = t.BeginBatch(); err == nil {
			b.Known, err = t.KnownEvents(carrier, ids)
		}
		if err == nil {
			b.Standings, err = t.Standings(numbers)
		}
		return b, err
	}
	// Statements of their own: those after the lock see what was committed before it was had.
	err := t.later(lockLog, nil, nil, nil)
	if err == nil {
		err = t.later("SELECT nextval('batch_ids')", nil, func(r scanner) error {
			err := r.Scan(&b.First)
			b.First <<= batchBits
			return err
		}, nil)
	}
	if err == nil && len(ids) > 0 {
		err = t.each(knownEvents, []any{int64(carrier)}, []column{texts("event_id", ids)}, func(q string, args []any) error {
			return t.later(q, args, func(r scanner) error {
				e, err := scanEvent(r)
				b.Known[e.ID] = e
				return err
			}, nil)
		})
	}
	if err == nil && len(numbers) > 0 {
		err = t.each(standings, nil, []column{ints("number", digits(numbers))}, func(q string, args []any) error {
			return t.later(q, args, func(r scanner) error {
				n, err := scanNumber(r)
				b.Standings[n.Number] = n
				return err
			}, nil)
		})
	}
	return b, err
}

const (
	// Batches of history take their time, and one comes after the other: they wait longer than others do (patience).
	lockLog     = "SELECT set_config('lock_timeout', '30s', true), pg_advisory_xact_lock(7203), set_config('lock_timeout', '5s', true)"
	knownEvents = "SELECT " + eventColumns + " FROM {rows} {join} events e ON e.carrier = $1 AND e.event_id = r.event_id"
	standings   = "SELECT " + numberColumns + " FROM {rows} {join} numbers n ON n.number = r.number"
)

const eventColumns = "e.id, e.carrier, e.event_id, e.number, e.kind, e.at, e.origin, e.corrects"

// onDay is added to the origin of an event or a standing whose time is known only to the day.
const onDay = 1 << 6

func packedOrigin(origin int64, isOnDay bool) int64 {
	if isOnDay {
		origin += onDay
	}
	return origin
}

func scanEvent(r scanner, more ...any) (huanxin.Event, error) {
	var e huanxin.Event
	var number, at, origin int64
	err := r.Scan(append([]any{&e.No, &e.Carrier, &e.ID, &number, &e.Kind, &at, &origin, &e.Corrects}, more...)...)
	if err == nil {
		e.Number, e.At = huanxin.NumberOf(uint64(number)), fromMicros(at)
		e.Origin, e.OnDay = huanxin.ActivationOrigin(origin%onDay), origin >= onDay
	}
	return e, err
}

// KnownEvents gives those of a carrier's events with these ids that have been accepted before.
func (t *Tx) KnownEvents(carrier huanxin.PartyNo, ids []string) (map[string]huanxin.Event, error) {
	known := map[string]huanxin.Event{}
	if len(ids) == 0 {
		return known, nil
	}
	err := t.queryEach(knownEvents,
		[]any{int64(carrier)}, func(r scanner) error {
			e, err := scanEvent(r)
			known[e.ID] = e
			return err
		}, texts("event_id", ids))
	return known, err
}

// Reporter gives the carrier that reported an event.
func (t *Tx) Reporter(id huanxin.EventNo) (carrier huanxin.PartyNo, err error) {
	_, err = t.queryRow("SELECT carrier FROM events WHERE id = $1", []any{int64(id)}, &carrier)
	return carrier, err
}

// NumberRow is a number's standing as it is stored.
type NumberRow struct {
	Number huanxin.Number
	huanxin.Standing
	Head huanxin.EventNo // the event accepted last; 0: none
	New  bool            // for sure it is not stored yet, which saves looking; never set of one that was read
}

const numberColumns = "n.number, n.phase, n.carrier, n.tenure, n.started_at, n.origin, n.ended_at, n.last_at, n.head"

func scanNumber(r scanner) (NumberRow, error) {
	var n NumberRow
	var number, started, origin, ended, last int64
	err := r.Scan(&number, &n.Phase, &n.Carrier, &n.Tenure, &started, &origin, &ended, &last, &n.Head)
	if err == nil {
		n.Origin, n.StartedOnDay = huanxin.TenureOrigin(origin%onDay), origin >= onDay
		n.Number = huanxin.NumberOf(uint64(number))
		n.StartedAt, n.EndedAt, n.LastAt = fromMicros(started), fromMicros(ended), fromMicros(last)
	}
	return n, err
}

// Standings gives the standing of those numbers that have ever been reported.
func (t *Tx) Standings(numbers []huanxin.Number) (map[huanxin.Number]NumberRow, error) {
	out := make(map[huanxin.Number]NumberRow, len(numbers))
	if len(numbers) == 0 {
		return out, nil
	}
	err := t.queryEach(standings, nil,
		func(r scanner) error {
			n, err := scanNumber(r)
			out[n.Number] = n
			return err
		}, ints("number", digits(numbers)))
	return out, err
}

// LockStanding gives one number's standing, which no event changes until the transaction ends. A number never reported
// has the zero standing and is not locked.
func (t *Tx) LockStanding(n huanxin.Number) (huanxin.Standing, error) {
	rows, err := t.query("SELECT "+numberColumns+" FROM numbers n WHERE n.number = $1 {lock}", int64(n.Digits()))
	if err != nil {
		return huanxin.Standing{}, err
	}
	var row NumberRow
	err = scanAll(rows, func(r *sql.Rows) error {
		row, err = scanNumber(r)
		return err
	})
	return row.Standing, err
}

func digits(numbers []huanxin.Number) []int64 {
	out := make([]int64, len(numbers))
	for i, n := range numbers {
		out[i] = int64(n.Digits())
	}
	return out
}

// History gives all events of a number from the one accepted last.
func (t *Tx) History(head huanxin.EventNo) ([]huanxin.Event, error) {
	rows, err := t.query(`WITH RECURSIVE line (id) AS (
			SELECT CAST($1 AS BIGINT) UNION ALL SELECT e.prev FROM line JOIN events e ON e.id = line.id WHERE e.prev > 0)
		SELECT `+eventColumns+" FROM line JOIN events e ON e.id = line.id", int64(head))
	if err != nil {
		return nil, err
	}
	var out []huanxin.Event
	err = scanAll(rows, func(r *sql.Rows) error {
		e, err := scanEvent(r)
		out = append(out, e)
		return err
	})
	return out, err
}

// Event gives an event; where there is none it is zero.
func (t *Tx) Event(no huanxin.EventNo) (e huanxin.Event, err error) {
	err = t.queryAll("SELECT "+eventColumns+" FROM events e WHERE e.id = $1", []any{int64(no)}, func(r scanner) (err error) {
		e, err = scanEvent(r)
		return err
	})
	return e, err
}

// Accepted is an event that has passed the rules, with the event of its number accepted before it.
type Accepted struct {
	huanxin.Event
	Prev    huanxin.EventNo
	LedTo   LedTo
	Notices []huanxin.Notice // what streams are told, at most 8
}

// AppendBatch writes a batch of accepted events, whose numbers count up from what BeginBatch gave, and the standings
// that they led to, at the latest with the commit. The batch waits for its position in the log, and if streams are told of any
// of its events in the feed log.
func (t *Tx) AppendBatch(report int64, now time.Time, events []Accepted, standings []NumberRow) error {
	if len(events) == 0 {
		return nil
	}
	batch := int64(events[0].No) >> batchBits
	n := len(events)
	id, carrier, number, kind := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	at, origin, corrects, prev, eventID := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]string, n)
	led := make([]int64, n)
	var told notices
	for i, e := range events {
		id[i], carrier[i], number[i], kind[i] = int64(e.No), int64(e.Carrier), int64(e.Number.Digits()), int64(e.Kind)
		at[i], origin[i], corrects[i], prev[i], eventID[i] = micros(e.At), packedOrigin(int64(e.Origin), e.OnDay), int64(e.Corrects), int64(e.Prev), e.ID
		led[i] = e.LedTo.packed() | told.code(&events[i])
	}
	if err := t.eachLater(`INSERT INTO events (id, carrier, event_id, number, kind, at, origin, corrects, prev, led_to)
		SELECT id, carrier, event_id, number, kind, at, origin, corrects, prev, led_to FROM {rows}`, nil,
		ints("id", id), ints("carrier", carrier), texts("event_id", eventID), ints("number", number), ints("kind", kind),
		ints("at", at), ints("origin", origin), ints("corrects", corrects), ints("prev", prev), ints("led_to", led)); err != nil {
		return err
	}
	if err := t.later("INSERT INTO event_batches (id, report, reported_at, events) VALUES ($1, $2, $3, $4)",
		[]any{batch, report, micros(now), n}, nil, nil); err != nil {
		return err
	}
	if err := t.enqueue(logNumbers, batch, n); err != nil {
		return err
	}
	var fresh, others []NumberRow
	for _, r := range standings {
		if r.New {
			fresh = append(fresh, r)
		} else {
			others = append(others, r)
		}
	}
	if err := t.putStandings(fresh, ""); err != nil {
		return err
	}
	if err := t.putStandings(others, ` WHERE true
		ON CONFLICT (number) DO UPDATE SET phase = excluded.phase, carrier = excluded.carrier, tenure = excluded.tenure,
			started_at = excluded.started_at, origin = excluded.origin, ended_at = excluded.ended_at,
			last_at = excluded.last_at, head = excluded.head`); err != nil {
		return err
	}
	return t.tell(batch, n, &told)
}

// putStandings writes standings; what is done about those that are there already stands in conflict.
func (t *Tx) putStandings(rows []NumberRow, conflict string) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b NumberRow) int { return cmp.Compare(a.Number.Digits(), b.Number.Digits()) })
	n := len(rows)
	number, phase, carrier, tenure := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	started, origin, ended, last, head := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, r := range rows {
		number[i], phase[i], carrier[i], tenure[i] = int64(r.Number.Digits()), int64(r.Phase), int64(r.Carrier), int64(r.Tenure)
		started[i], origin[i], ended[i], last[i], head[i] = micros(r.StartedAt), packedOrigin(int64(r.Origin), r.StartedOnDay), micros(r.EndedAt), micros(r.LastAt), int64(r.Head)
	}
	return t.eachLater(`INSERT INTO numbers (number, phase, carrier, tenure, started_at, origin, ended_at, last_at, head)
		SELECT number, phase, carrier, tenure, started_at, origin, ended_at, last_at, head FROM {rows}`+conflict, nil,
		ints("number", number), ints("phase", phase), ints("carrier", carrier), ints("tenure", tenure),
		ints("started_at", started), ints("origin", origin), ints("ended_at", ended), ints("last_at", last), ints("head", head))
}

// Report is one carrier's report of number events, or of history.
type Report struct {
	ID                             int64
	Carrier                        huanxin.PartyNo
	Client                         string
	StartedAt, FinishedAt          time.Time
	Accepted, Duplicates, Rejected int64
	CoveredSince, CompleteUntil    time.Time // as they were stated; zero: they were not
}

// BeginReport gives a report its id. A report of history is no news: see LogBatch.
func (t *Tx) BeginReport(carrier huanxin.PartyNo, client string, now time.Time, history bool) (int64, error) {
	id, err := t.nextID("report", 1)
	if err != nil {
		return 0, err
	}
	return id, t.later(`INSERT INTO reports (id, carrier, client, started_at, finished_at, accepted, duplicates, rejected, complete_until, history)
		VALUES ($1, $2, $3, $4, 0, 0, 0, 0, 0, $5)`, []any{id, int64(carrier), client, micros(now), bit(history)}, nil, nil)
}

// FinishReport writes what became of a report. With advance its CompleteUntil and CoveredSince are the carrier's word that it has
// told everything until then, and every change of holder since then. What is known stays known: CompleteUntil never moves
// back and CoveredSince never moves on.
func (t *Tx) FinishReport(r Report, advance bool) error {
	if err := t.later(`UPDATE reports SET finished_at = $1, accepted = $2, duplicates = $3, rejected = $4, complete_until = $5
		WHERE id = $6`, []any{micros(r.FinishedAt), r.Accepted, r.Duplicates, r.Rejected, micros(r.CompleteUntil), r.ID}, nil, nil); err != nil {
		return err
	}
	if !advance || r.CompleteUntil.IsZero() && r.CoveredSince.IsZero() {
		return nil
	}
	return t.later(`INSERT INTO coverage (carrier, covered_since, complete_until) VALUES ($1, $2, $3)
		ON CONFLICT (carrier) DO UPDATE SET
			covered_since = CASE WHEN coverage.covered_since = 0 OR excluded.covered_since <> 0 AND excluded.covered_since < coverage.covered_since
				THEN excluded.covered_since ELSE coverage.covered_since END,
			complete_until = CASE WHEN excluded.complete_until > coverage.complete_until
				THEN excluded.complete_until ELSE coverage.complete_until END`,
		[]any{int64(r.Carrier), micros(r.CoveredSince), micros(r.CompleteUntil)}, nil, nil)
}

// CoverageOf gives what one carrier has told.
func (t *Tx) CoverageOf(carrier huanxin.PartyNo) (Coverage, error) {
	var since, until int64
	_, err := t.queryRow("SELECT covered_since, complete_until FROM coverage WHERE carrier = $1", []any{int64(carrier)}, &since, &until)
	return Coverage{carrier, fromMicros(since), fromMicros(until)}, err
}

// EventsFrom gives at most limit events of the number log from a position on, in its order. Only sequenced events are seen.
func (t *Tx) EventsFrom(position int64, limit int) ([]huanxin.Event, error) {
	rows, err := t.query(`SELECT `+eventColumns+`
		FROM log_positions p JOIN events e ON e.id >= p.batch * 1048576 AND e.id < (p.batch + 1) * 1048576
		WHERE p.first > (SELECT COALESCE(MAX(first), 0) FROM log_positions WHERE first <= $1) - 1
			AND p.first + (e.id - p.batch * 1048576) >= $1
		ORDER BY p.first, e.id LIMIT $2`, position, limit)
	if err != nil {
		return nil, err
	}
	var out []huanxin.Event
	err = scanAll(rows, func(r *sql.Rows) error {
		e, err := scanEvent(r)
		out = append(out, e)
		return err
	})
	return out, err
}
