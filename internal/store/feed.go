package store

import (
	"slices"

	"github.com/huanxin-platform/huanxin"
)

// FeedKind is what a row of the feed log stands for.
type FeedKind int64

// The kinds of row.
const (
	FeedOfEvents    FeedKind = iota + 1 // a batch of number events
	FeedOfRequest                       // the tasks that a request began with
	FeedOfTaskNotes                     // a batch of notes about tasks
)

// FeedRow is what one transaction made, in the feed log: its items have the positions from First on.
type FeedRow struct {
	First int64
	Kind  FeedKind
	Ref   int64 // the batch of events, the request, or the batch of notes
	Items int64
}

// feedLater lets something wait for its positions in the feed log, at the latest with the commit.
//
// On PostgreSQL it gets its place among what waits then, and whoever saw it committed a later one: a transaction that calls this when
// it has all its locks comes behind those that had them before.
func (t *Tx) feedLater(kind FeedKind, ref int64, items int) error {
	return t.later("INSERT INTO feed_waiting (kind, ref, items) VALUES ($1, $2, $3)", []any{int64(kind), ref, items}, nil, nil)
}

// feedWaiting gives up to limit of what waits for its positions in the feed log, causes first. It is one look: of what is seen the
// cause is seen, too.
func (t *Tx) feedWaiting(limit int) (out []waitingRow, err error) {
	err = t.queryAll("SELECT seq, kind, ref, items FROM feed_waiting ORDER BY seq LIMIT $1", []any{limit}, func(r scanner) error {
		var w waitingRow
		err := r.Scan(&w.seq, &w.Kind, &w.Ref, &w.Items)
		out = append(out, w)
		return err
	})
	return out, err
}

type waitingRow struct {
	seq int64
	FeedRow
}

// sequenceFeed gives what waits its positions.
func (t *Tx) sequenceFeed(all []waitingRow) error {
	if len(all) == 0 {
		return nil
	}
	head, err := t.FeedHead()
	if err != nil {
		return err
	}
	n := len(all)
	seq, first, kind, ref, items := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, w := range all {
		seq[i], first[i], kind[i], ref[i], items[i] = w.seq, head+1, int64(w.Kind), w.Ref, w.Items
		head += w.Items
	}
	if err := t.eachLater("INSERT INTO feed_positions (first, kind, ref, items) SELECT first, kind, ref, items FROM {rows}", nil,
		ints("first", first), ints("kind", kind), ints("ref", ref), ints("items", items)); err != nil {
		return err
	}
	return t.eachLater("DELETE FROM feed_waiting WHERE seq IN (SELECT seq FROM {rows})", nil, ints("seq", seq))
}

// FeedHead gives the last position of the feed log; 0: it is empty.
func (t *Tx) FeedHead() (int64, error) {
	next, err := t.head("SELECT first + items FROM feed_positions ORDER BY first DESC LIMIT 1")
	return next - 1, err
}

// FeedRows gives the rows of the feed log with items at positions of [from, to), in its order.
func (t *Tx) FeedRows(from, to int64) (out []FeedRow, err error) {
	err = t.queryAll(`SELECT first, kind, ref, items FROM feed_positions
		WHERE first >= (SELECT COALESCE(MAX(first), 0) FROM feed_positions WHERE first <= $1) AND first < $2 ORDER BY first`,
		[]any{from, to}, func(r scanner) error {
			var row FeedRow
			err := r.Scan(&row.First, &row.Kind, &row.Ref, &row.Items)
			if row.First+row.Items > from {
				out = append(out, row)
			}
			return err
		})
	return out, err
}

// feedFirsts gives the first positions of rows of one kind, by what they stand for.
func (t *Tx) feedFirsts(kind FeedKind, refs []int64) (map[int64]int64, error) {
	out := map[int64]int64{}
	if len(refs) == 0 {
		return out, nil
	}
	slices.Sort(refs)
	err := t.queryEach("SELECT p.ref, p.first FROM {rows} {join} feed_positions p ON p.kind = $1 AND p.ref = r.ref", []any{int64(kind)},
		func(r scanner) error {
			var ref, first int64
			err := r.Scan(&ref, &first)
			out[ref] = first
			return err
		}, ints("ref", slices.Compact(refs)))
	return out, err
}

// spans gives of the rows of a kind the first position, and the ids of their items at positions of [from, to).
func spans(rows []FeedRow, kind FeedKind, bits int, from, to int64) (first, low, high []int64) {
	for _, r := range rows {
		if r.Kind == kind {
			first = append(first, r.First)
			low = append(low, r.Ref<<bits+max(from-r.First, 0))
			high = append(high, r.Ref<<bits+min(to-r.First, r.Items))
		}
	}
	return first, low, high
}

// FeedSubject is what a stream's receiver said last about a number: from the position Since on it is added or removed.
type FeedSubject struct {
	Stream huanxin.StreamID
	Added  bool
	Since  int64
}

// FeedSubjects gives what streams' receivers said about numbers, in the order of the numbers' lookups.
func (t *Tx) FeedSubjects(lookups [][]byte) ([][]FeedSubject, error) {
	out := make([][]FeedSubject, len(lookups))
	var one int64
	found, err := t.queryRow("SELECT stream FROM stream_subjects LIMIT 1", nil, &one)
	if err != nil || !found || len(lookups) == 0 {
		return out, err
	}
	nth := make([]int64, len(lookups))
	for i := range nth {
		nth[i] = int64(i)
	}
	err = t.queryEach("SELECT r.nth, s.stream, s.added, s.since FROM {rows} {join} stream_subjects s ON s.lookup = r.lookup", nil, func(r scanner) error {
		var s FeedSubject
		var i, added int64
		err := r.Scan(&i, &s.Stream, &added, &s.Since)
		s.Added = added != 0
		out[i] = append(out[i], s)
		return err
	}, ints("nth", nth), blobs("lookup", lookups))
	return out, err
}
