package store

import (
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// What streams are told because of an event stands in the upper bits of its led_to: nothing, as nearly always the event
// itself, or what is in the table "notices". So that reading the feed log asks no rule again, and writing costs no row more.
const (
	toldShift = 60

	toldRecycled = iota << toldShift
	toldReleased
	toldMore
)

// notices collects what streams are told because of a batch of events.
type notices struct {
	told                    bool
	event, nth, kind, about []int64
}

// code gives what led_to says of an event's notices, and collects those that it cannot say.
func (c *notices) code(e *Accepted) int64 {
	if len(e.Notices) == 0 {
		return 0
	}
	c.told = true
	if n := e.Notices[0]; len(e.Notices) == 1 && n.About == e.No {
		switch n.Type {
		case huanxin.IdentifierRecycled:
			return toldRecycled
		case huanxin.NumberReleased:
			return toldReleased
		}
	}
	for i, n := range e.Notices {
		c.event, c.nth = append(c.event, int64(e.No)), append(c.nth, int64(i))
		c.kind, c.about = append(c.kind, int64(n.Type)), append(c.about, int64(n.About))
	}
	return toldMore
}

// tell writes what streams are told because of a batch of events.
func (t *Tx) tell(batch int64, events int, c *notices) error {
	if !c.told {
		return nil
	}
	if len(c.event) > 0 {
		if err := t.eachLater("INSERT INTO notices (event, n, type, about) SELECT event, n, type, about FROM {rows}", nil,
			ints("event", c.event), ints("n", c.nth), ints("type", c.kind), ints("about", c.about)); err != nil {
			return err
		}
	}
	return t.feedLater(FeedOfEvents, batch, events)
}

// noteBits is how much of a note's id is its place in its batch.
const noteBits = 20

// notesPerBatch bounds a batch of notes.
const notesPerBatch = 10_000

// InsertNotes writes down what became of tasks, at the latest with the commit. The notes wait for their positions in the
// feed log.
//
// On PostgreSQL their ids are taken last, when the tasks' or their request's locks are held: of one task they are in order.
func (t *Tx) InsertNotes(note huanxin.TaskNote, tasks []huanxin.TaskID, now time.Time) error {
	for some := range slices.Chunk(tasks, notesPerBatch) {
		n := len(some)
		nth, task := make([]int64, n), make([]int64, n)
		for i, id := range some {
			nth[i], task[i] = int64(i), int64(id)
		}
		if err := t.insertNotes(note, now, ints("nth", nth), ints("task", task)); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) insertNotes(note huanxin.TaskNote, now time.Time, cols ...column) error {
	n := cols[0].len()
	if t.dialect.name() == "postgres" { // in one round trip
		return t.eachLater(`WITH batch AS (SELECT nextval('task_note_ids') AS id), made AS (
				INSERT INTO task_notes (id, task, kind, at) SELECT batch.id * 1048576 + r.nth, r.task, $1, $2 FROM batch, {rows})
			INSERT INTO feed_waiting (kind, ref, items) SELECT $3, batch.id, $4 FROM batch`, []any{int64(note), micros(now), int64(FeedOfTaskNotes), n}, cols...)
	}
	batch, err := t.nextID("task_note", 1)
	if err != nil {
		return err
	}
	if err := t.eachLater("INSERT INTO task_notes (id, task, kind, at) SELECT $1 + nth, task, $2, $3 FROM {rows}",
		[]any{batch << noteBits, int64(note), micros(now)}, cols...); err != nil {
		return err
	}
	return t.feedLater(FeedOfTaskNotes, batch, n)
}

// RetractTasks notes of the tasks of tenures that there never were after all, because their start was voided or moved, that
// they are taken back: of those whose app may have acted. It may have where it answered otherwise than that there was nothing to
// unbind, or has let the task expire.
func (t *Tx) RetractTasks(tenures []huanxin.TenureID, now time.Time) error {
	if len(tenures) == 0 {
		return nil
	}
	ids := make([]int64, len(tenures))
	for i, id := range tenures {
		ids[i] = int64(id)
	}
	slices.Sort(ids)
	var acted []huanxin.TaskID
	if err := t.queryEach(`SELECT t.id FROM {rows} {join} requests q ON q.tenure = r.tenure {join} tasks t ON t.request = q.id
		WHERE t.state = 8 OR t.answers > 0 AND t.outcome NOT IN (5, 6)`, nil, func(r scanner) error {
		var id huanxin.TaskID
		err := r.Scan(&id)
		acted = append(acted, id)
		return err
	}, ints("tenure", slices.Compact(ids))); err != nil {
		return err
	}
	slices.Sort(acted)
	return t.InsertNotes(huanxin.NoteRetracted, acted, now)
}
