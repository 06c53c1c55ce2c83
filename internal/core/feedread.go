package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// readFeed decodes the feed log at positions of [from, to), all of which are there.
func (h *Hub) readFeed(ctx context.Context, from, to int64) (*FeedBlock, error) {
	var notices []store.FeedNotice
	var tasks []store.FeedTask
	subjects := map[huanxin.Number][]store.FeedSubject{}
	err := h.store.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.FeedRows(from, to)
		if err != nil {
			return err
		}
		if notices, err = tx.FeedNotices(rows, from, to); err != nil {
			return err
		}
		if tasks, err = tx.FeedTasks(rows, from, to); err != nil {
			return err
		}
		return h.readSubjects(tx, notices, subjects)
	})
	if err != nil {
		return nil, err
	}
	entries := make([]*FeedEntry, 0, len(notices)+len(tasks))
	for i := range notices {
		if e := noticeEntry(&notices[i]); e != nil {
			entries = append(entries, e)
		}
	}
	numbers := map[huanxin.RequestID]huanxin.Number{}
	for i := range tasks {
		e, err := h.taskEntry(&tasks[i], numbers)
		if err != nil {
			return nil, err
		}
		if e != nil {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *FeedEntry) int { return cmp.Compare(a.No, b.No) })
	b := newFeedBlock(from)
	b.To = to
	for _, e := range entries {
		b.add(e, subjects[e.Number])
	}
	return b, nil
}

// readSubjects finds what streams' receivers said last about the numbers of notices.
func (h *Hub) readSubjects(tx *store.Tx, notices []store.FeedNotice, to map[huanxin.Number][]store.FeedSubject) error {
	var lookups [][]byte
	var of []huanxin.Number
	for _, n := range notices {
		if _, seen := to[n.Number]; seen {
			continue
		}
		to[n.Number] = nil
		for _, l := range h.keys.LookupAll(n.Number) {
			lookups, of = append(lookups, l), append(of, n.Number)
		}
	}
	found, err := tx.FeedSubjects(lookups)
	if err != nil {
		return err
	}
	for i, rows := range found {
		for _, r := range rows {
			to[of[i]] = lastWord(to[of[i]], r)
		}
	}
	return nil
}

// lastWord adds what a stream's receiver said, unless it said something else later, under another key for the number.
func lastWord(rows []store.FeedSubject, r store.FeedSubject) []store.FeedSubject {
	i := slices.IndexFunc(rows, func(o store.FeedSubject) bool { return o.Stream == r.Stream })
	if i < 0 {
		return append(rows, r)
	}
	if r.Since > rows[i].Since {
		rows[i] = r
	}
	return rows
}

// noticeEntry gives what streams are told of a number; nil: it takes back what none was told.
func noticeEntry(n *store.FeedNotice) *FeedEntry {
	e := &FeedEntry{No: n.No, Type: n.Type, Number: n.Number, At: n.AboutAt, RecordedAt: n.RecordedAt, Cause: n.About}
	switch n.Type {
	case huanxin.IdentifierRecycled:
		e.StartedAt, e.Reason = n.AboutAt, huanxin.OriginReassigned.String()
		if n.Kind == huanxin.Transferred {
			e.Reason = huanxin.OriginTransferred.String()
		}
	case huanxin.RecycleRetracted:
		if e.At, e.Retracts = n.At, n.Retracts; e.Retracts == 0 {
			return nil
		}
	}
	return e
}

// taskEntry gives what an app is told of a task; nil: it takes back what it was not told. numbers are those that are known already.
func (h *Hub) taskEntry(k *store.FeedTask, numbers map[huanxin.RequestID]huanxin.Number) (*FeedEntry, error) {
	n, known := numbers[k.Request]
	if !known {
		var err error
		if n, err = h.keys.Unseal(k.Sealed, binding(k.Request)); err != nil {
			return nil, err
		}
		numbers[k.Request] = n
	}
	e := &FeedEntry{No: huanxin.FeedNoAt(k.Position, 0), Type: huanxin.UnbindRequested, App: k.App, Number: n, At: k.At, RecordedAt: k.At,
		Cause: huanxin.EventNo(k.Tenure), Task: FeedTask{ID: k.ID, Kind: k.Kind, Origin: k.Origin, DueAt: k.DueAt}}
	if k.DueAt.IsZero() {
		e.Task.DueAt = h.durations.Schedule(h.calendar, k.CreatedAt, nil).Due().UTC().Truncate(time.Microsecond) // as the store gives it
	}
	switch k.Note {
	case huanxin.NoteCancelled:
		e.Type, e.Reason = huanxin.UnbindCancelled, huanxin.TaskCancelled.String()
	case huanxin.NoteAborted:
		e.Type, e.Reason = huanxin.UnbindCancelled, huanxin.TaskAborted.String()
	case huanxin.NoteRetracted:
		if e.Type, e.Retracts = huanxin.RecycleRetracted, huanxin.FeedNoAt(k.Retracts, 0); k.Retracts == 0 {
			return nil, nil
		}
	default:
		e.StartedAt = k.StartedAt
	}
	return e, nil
}
