package core

import (
	"context"
	"iter"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// defaultSubjects is how many numbers a stream may have added or removed where nothing is configured.
const defaultSubjects = 20_000_000

// SubjectLine is one line of a body of subjects, or why the line is none.
type SubjectLine struct {
	Line   int64
	Number huanxin.Number // zero: a subject that is none of a phone number, which is taken and forgotten
	Remove bool
	Err    error // a *huanxin.Error
}

// hearsOfAll reports whether a client's streams hear of numbers on which they have said nothing.
func (h *Hub) hearsOfAll(client string) bool {
	c := h.snapshot().clients[client]
	return h.feedOptions.AllNumbers && (c == nil || !c.FeedNarrow)
}

// TellsOfAll reports whether streams hear of numbers on which they have said nothing, unless their client's contract narrows them: SSF's
// default_subjects.
func (h *Hub) TellsOfAll() bool { return h.feedOptions.AllNumbers }

// ChangeSubject adds a number to a stream or removes it. The zero Number, of a subject that is none of a phone number, is taken and changes
// nothing. What is known of the number makes no difference (SSF 1.0 §9.1).
func (h *Hub) ChangeSubject(ctx context.Context, who huanxin.Caller, id string, n huanxin.Number, remove bool) error {
	action := "subject.add"
	if remove {
		action = "subject.remove"
	}
	return h.changeStream(ctx, who, action, id, func(tx *store.Tx, _ time.Time, _ *store.AuditEntry, row *store.StreamRow) error {
		c := subjectChange{h: h, row: row}
		c.add(SubjectLine{Number: n, Remove: remove})
		if _, err := c.write(tx); err != nil {
			return err
		}
		if len(c.refused) > 0 {
			return errTooManySubjects()
		}
		return nil
	})
}

func errTooManySubjects() *huanxin.Error {
	return huanxin.Errorf(huanxin.Forbidden, "too_many_subjects", "the stream has as many subjects, added and removed, as it may")
}

// ChangeSubjects adds and removes the numbers of a body of any length, in the order of its lines; see ReportEvents for what the receipt
// says. Sending it again changes nothing, and lines that change nothing are counted as duplicates.
func (h *Hub) ChangeSubjects(ctx context.Context, who huanxin.Caller, id string, lines iter.Seq2[SubjectLine, error]) (Receipt, error) {
	var receipt Receipt
	var report int64
	err := h.changeStream(ctx, who, "subjects.begin", id, func(tx *store.Tx, now time.Time, entry *store.AuditEntry, _ *store.StreamRow) (err error) {
		report, err = tx.BeginReport(who.Party.No, who.Client, now, false)
		receipt.ID = h.keys.ID(seal.ReceiptID, report)
		entry.Detail = detail(map[string]any{"receipt": receipt.ID})
		return err
	})
	if err != nil {
		return receipt, err
	}
	broken := inChunks(lines, reportChunk, func(chunk []SubjectLine) error { return h.takeSubjects(ctx, who, id, chunk, &receipt) })
	err = h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return tx.FinishReport(store.Report{ID: report, Carrier: who.Party.No, FinishedAt: now(), Accepted: receipt.Accepted,
			Duplicates: receipt.Duplicates, Rejected: receipt.RejectedTotal}, false)
	})
	if broken != nil {
		return receipt, broken
	}
	return receipt, err
}

func (h *Hub) takeSubjects(ctx context.Context, who huanxin.Caller, id string, lines []SubjectLine, to *Receipt) error {
	var out Receipt
	err := h.changeStream(ctx, who, "subjects.change", id, func(tx *store.Tx, _ time.Time, entry *store.AuditEntry, row *store.StreamRow) error {
		out = Receipt{}
		c := subjectChange{h: h, row: row}
		good := int64(0)
		for _, l := range lines {
			if l.Err != nil {
				out.reject(l.Line, "", l.Err)
				continue
			}
			good++
			c.add(l)
		}
		changed, err := c.write(tx)
		if err != nil {
			return err
		}
		for _, l := range lines {
			if l.Err == nil && !l.Number.IsZero() && c.refused[l.Number] {
				out.reject(l.Line, "", errTooManySubjects())
				good--
			}
		}
		out.Accepted = changed + c.foreign
		out.Duplicates = good - out.Accepted
		entry.Detail = detail(map[string]any{"receipt": to.ID, "changed": changed, "rejected": out.RejectedTotal})
		return nil
	})
	if err != nil {
		return err
	}
	to.Accepted, to.Duplicates, to.RejectedTotal = to.Accepted+out.Accepted, to.Duplicates+out.Duplicates, to.RejectedTotal+out.RejectedTotal
	room := min(maxRejections-len(to.Rejected), len(out.Rejected))
	to.Rejected = append(to.Rejected, out.Rejected[:room]...)
	return nil
}

// subjectChange is what one transaction changes of a stream's subjects. Of each number the last word counts.
type subjectChange struct {
	h       *Hub
	row     *store.StreamRow
	words   map[huanxin.Number]bool // whether it is removed
	order   []huanxin.Number
	lookups [][]byte                // of order
	foreign int64                   // subjects that are none of ours
	refused map[huanxin.Number]bool // for which there is no room
}

func (c *subjectChange) add(l SubjectLine) {
	if l.Number.IsZero() {
		c.foreign++
		return
	}
	if c.words == nil {
		c.words = map[huanxin.Number]bool{}
	}
	if _, there := c.words[l.Number]; !there {
		c.order = append(c.order, l.Number)
	}
	c.words[l.Number] = l.Remove
}

// write says how many numbers are now otherwise than before.
func (c *subjectChange) write(tx *store.Tx) (changed int64, err error) {
	if err := c.rename(tx); err != nil {
		return 0, err
	}
	var lists [2][][]byte // added, removed
	for i, n := range c.order {
		l := c.list(n)
		lists[l] = append(lists[l], c.lookups[i])
	}
	if room := c.h.feedOptions.Subjects - c.row.Subjects; int64(len(c.order)) > room {
		if lists, err = c.fitting(tx, max(room, 0)); err != nil {
			return 0, err
		}
	}
	all := c.h.hearsOfAll(c.row.Client)
	added, err := tx.AddSubjects(c.row.ID, lists[0], all)
	if err != nil {
		return 0, err
	}
	removed, err := tx.RemoveSubjects(c.row.ID, lists[1], all)
	return added + removed, err
}

// list says in which of two lists a number stands: of those added or of those removed.
func (c *subjectChange) list(n huanxin.Number) int {
	if c.words[n] {
		return 1
	}
	return 0
}

// fitting gives the changes for which there is room, with so many rows more at most, and notes for which there is none.
func (c *subjectChange) fitting(tx *store.Tx, room int64) (lists [2][][]byte, err error) {
	known, err := tx.KnownSubjects(c.row.ID, c.lookups)
	if err != nil {
		return lists, err
	}
	c.refused = map[huanxin.Number]bool{}
	all := c.h.hearsOfAll(c.row.Client)
	for i, n := range c.order {
		l := c.list(n)
		if makesRow := !known[string(c.lookups[i])] && (l == 0 || all); makesRow {
			if room == 0 {
				c.refused[n] = true
				continue
			}
			room--
		}
		lists[l] = append(lists[l], c.lookups[i])
	}
	return lists, nil
}

// rename works out the numbers' hashes, and brings rows that stand under keys which are not the current one any more under it.
func (c *subjectChange) rename(tx *store.Tx) error {
	var older, current [][]byte
	c.lookups = make([][]byte, len(c.order))
	for i, n := range c.order {
		all := c.h.keys.LookupAll(n)
		c.lookups[i] = all[0]
		for _, l := range all[1:] {
			older, current = append(older, l), append(current, all[0])
		}
	}
	if older == nil {
		return nil
	}
	return tx.RenameSubjects(c.row.ID, older, current)
}
