package core

import (
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
)

// What outsiders see of a FeedEntry: opaque ids, and a task as its app gets it from everywhere else.

// JTI gives the id of the SET at a place of a stream; it is the same whenever it is sent.
func (h *Hub) JTI(stream huanxin.StreamID, no huanxin.FeedNo) string { return h.keys.SETID(stream, no) }

// ParseJTI gives back the place in a stream; ok is false for an id that the hub did not give to a SET of that stream.
func (h *Hub) ParseJTI(stream huanxin.StreamID, jti string) (no huanxin.FeedNo, ok bool) {
	return h.keys.ParseSETID(stream, jti)
}

// StreamName gives the id of a stream that outsiders see.
func (h *Hub) StreamName(stream huanxin.StreamID) string {
	return h.keys.ID(seal.StreamID, int64(stream))
}

// FeedTxn gives what all SETs of one cause share (RFC 8417 §2.2, txn); empty for what has no cause but the stream.
func (h *Hub) FeedTxn(e *FeedEntry) string {
	if e.Cause == 0 {
		return ""
	}
	return h.keys.ID(seal.TenureID, int64(e.Cause))
}

// FeedTaskName gives the id that outsiders see of the task that an entry is about; empty: it is about none.
func (h *Hub) FeedTaskName(e *FeedEntry) string {
	if e.Task.ID == 0 {
		return ""
	}
	return h.keys.ID(seal.TaskID, int64(e.Task.ID))
}

// FeedTask gives the task that unbind-requested asks for, as its app gets it elsewhere: its digest is what an answer must send back. It
// is queued, whatever became of it since: what is sent again says the same.
func (h *Hub) FeedTask(e *FeedEntry) AppTask {
	t := AppTask{ID: h.FeedTaskName(e), App: h.party(e.App).ID, Kind: e.Task.Kind, Number: e.Number, TenureID: h.FeedTxn(e),
		StartedAt: e.StartedAt, Origin: e.Task.Origin, DueAt: e.Task.DueAt, State: huanxin.TaskQueued}
	t.Digest = t.digest()
	return t
}

// digest binds an answer to what the task asks (DOMAIN.md §7 rule 6).
func (t *AppTask) digest() string {
	return huanxin.TaskDigest(t.ID, t.App, t.Kind, t.Number, t.TenureID, t.StartedAt, t.Origin)
}
