package core

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// FeedEntry is one thing that streams are told, before it is written as a SET for one of them. Its content never changes: what is
// sent again says the same.
type FeedEntry struct {
	No   huanxin.FeedNo
	Type huanxin.EventType
	// App is whose streams hear of it; 0: those that hear of Number.
	App    huanxin.PartyNo
	Number huanxin.Number // zero: it concerns the stream itself
	// At is when it happened (toe), and RecordedAt when the hub learned of it (iat).
	At, RecordedAt time.Time
	// Cause is the event that all of one cause share (txn): the one that began the tenure, or of a released number its disconnection.
	Cause huanxin.EventNo
	// Reason of identifier-recycled: reassigned or transferred; of unbind-cancelled: cancelled or aborted; of a signal: why.
	Reason string
	// StartedAt is when the tenure began, of identifier-recycled and unbind-requested.
	StartedAt time.Time
	// Retracts is what recycle-retracted takes back.
	Retracts huanxin.FeedNo
	// Task is what unbind-requested asks, and which unbind-cancelled and recycle-retracted are about where Task.ID is not zero.
	Task FeedTask
	// State is what a verification echoes, or the status that a stream was given.
	State string
}

// FeedTask is a task as it was when it was made.
type FeedTask struct {
	ID     huanxin.TaskID
	Kind   huanxin.TaskKind
	Origin huanxin.TenureOrigin
	DueAt  time.Time
}
