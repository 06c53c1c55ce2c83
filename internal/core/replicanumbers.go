package core

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// ReplicaLine is one line of a body of numbers, or why the line is none.
type ReplicaLine struct {
	Line   int64
	Number huanxin.Number
	Err    error // a *huanxin.Error
}

// defaultReplicaNumbers is how many numbers an app may upload where nothing is configured: one in a hundred of China's.
const defaultReplicaNumbers = 20_000_000

// UploadReplicaNumbers takes numbers that an app wants in its replica; see ReportEvents for what the receipt says. A number
// that was uploaded before is taken again and changes nothing. The list is bounded: what would make it too long is refused
// line by line with the code "too_many_numbers". An app without a contract is refused with "no_contract".
func (h *Hub) UploadReplicaNumbers(ctx context.Context, who huanxin.Caller, lines iter.Seq2[ReplicaLine, error]) (Receipt, error) {
	return h.changeReplica(ctx, who, "replica.upload", false, lines)
}

// RemoveReplicaNumbers takes numbers out again. One that is not in the list is taken and changes nothing.
func (h *Hub) RemoveReplicaNumbers(ctx context.Context, who huanxin.Caller, lines iter.Seq2[ReplicaLine, error]) (Receipt, error) {
	return h.changeReplica(ctx, who, "replica.remove", true, lines)
}

func mayReplicate(who huanxin.Caller) error {
	return who.May(huanxin.AppParty, huanxin.ScopeNumbersCheck)
}

func (h *Hub) changeReplica(ctx context.Context, who huanxin.Caller, action string, remove bool, lines iter.Seq2[ReplicaLine, error]) (Receipt, error) {
	c := &replicaChange{h: h, who: who, action: action, remove: remove}
	var id int64
	err := h.act(ctx, who, action+".begin", mayReplicate(who), func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		grant, err := tx.ReplicaGrant(who.Party.No)
		if err != nil {
			return err
		}
		if err := grant.MayReplicate(); err != nil {
			return err
		}
		id, err = tx.BeginReport(who.Party.No, who.Client, now, false)
		c.receipt.ID = h.keys.ID(seal.ReceiptID, id)
		entry.Subject = c.receipt.ID
		return err
	})
	if err != nil {
		return c.receipt, err
	}
	broken := inChunks(lines, h.replicas.row, func(chunk []ReplicaLine) error { return c.take(ctx, chunk) })
	err = h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return tx.FinishReport(store.Report{ID: id, Carrier: who.Party.No, FinishedAt: now(), Accepted: c.receipt.Accepted,
			Duplicates: c.receipt.Duplicates, Rejected: c.receipt.RejectedTotal}, false)
	})
	if err := h.tidyReplica(ctx, who.Party.No); err != nil && ctx.Err() == nil {
		h.log.Error("the numbers for a replica could not be put together", "party", who.Party.ID, "error", err)
	}
	if broken != nil {
		return c.receipt, broken
	}
	return c.receipt, err
}

// replicaChange is one call that uploads numbers or takes them out.
type replicaChange struct {
	h       *Hub
	who     huanxin.Caller
	action  string
	remove  bool
	receipt Receipt
	full    bool // the list has no room: the rest is refused unseen
}

// take writes the numbers of one chunk in one row.
func (c *replicaChange) take(ctx context.Context, lines []ReplicaLine) error {
	var out Receipt
	digits := make([]uint64, 0, len(lines))
	for _, l := range lines {
		if err := c.judge(&l); err != nil {
			out.reject(l.Line, "", err)
			continue
		}
		digits = append(digits, l.Number.Digits())
	}
	good := len(digits)
	slices.Sort(digits)
	digits = slices.Compact(digits)
	for range replicaTries {
		err := c.write(ctx, digits, int64(good), out.RejectedTotal)
		if errors.Is(err, errListFull) {
			if digits, err = c.fitting(ctx, lines, digits, &out); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		c.receipt.Accepted += int64(len(digits))
		c.receipt.RejectedTotal += out.RejectedTotal
		c.receipt.Duplicates += int64(len(lines)-len(digits)) - out.RejectedTotal
		room := min(maxRejections-len(c.receipt.Rejected), len(out.Rejected))
		c.receipt.Rejected = append(c.receipt.Rejected, out.Rejected[:room]...)
		return nil
	}
	return &huanxin.Error{Kind: huanxin.Unavailable, Code: "overloaded", RetryAfter: 5 * time.Second,
		Detail: "too many uploads of this app at once; send it again"}
}

// replicaTries is how often a chunk is tried when others fill the list at the same time.
const replicaTries = 10

func (c *replicaChange) judge(l *ReplicaLine) error {
	switch {
	case l.Err != nil:
		return l.Err
	case !l.Number.Kind().Served() || !replica.Takes(l.Number):
		return huanxin.Errorf(huanxin.Refused, "number_kind_unsupported", "numbers of this kind are not served")
	case c.full:
		return errTooManyNumbers()
	}
	return nil
}

func errTooManyNumbers() error {
	return huanxin.Errorf(huanxin.Refused, "too_many_numbers", "the app's list for its replica is as long as it may be; the rest of this body was not looked at")
}

// errListFull says that the rows might hold more numbers than the app may have: they must be looked into.
var errListFull = errors.New("the list for a replica may be full")

func (c *replicaChange) write(ctx context.Context, digits []uint64, good, rejected int64) error {
	party := c.who.Party.No
	return c.h.act(ctx, c.who, c.action, nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		entry.Subject = c.receipt.ID
		grant, err := tx.ReplicaGrant(party)
		if err != nil {
			return err
		}
		if err := grant.MayReplicate(); err != nil { // withdrawn meanwhile
			return err
		}
		entry.Detail = detail(map[string]any{"accepted": len(digits), "duplicates": good - int64(len(digits)), "rejected": rejected})
		if len(digits) == 0 {
			return nil
		}
		uploaded, all, err := tx.ReplicaSize(party)
		if err != nil {
			return err
		}
		// What was taken out is kept, too, until the rows are put together.
		most, n := c.h.replicas.most, int64(len(digits))
		if !c.remove && uploaded+n > most || all+n > 2*max(most, int64(c.h.replicas.row)) {
			return errListFull
		}
		id, err := tx.NextReplicaRow()
		if err != nil {
			return err
		}
		return tx.InsertReplicaRow(party, c.h.sealReplicaRow(party, store.ReplicaRow{ID: id, Removed: c.remove, At: now}, digits))
	})
}

// fitting puts the rows together and gives those of digits that are not in the list and fit into it; lines of others are refused.
func (c *replicaChange) fitting(ctx context.Context, lines []ReplicaLine, digits []uint64, out *Receipt) ([]uint64, error) {
	select { // it takes 8 bytes for each number of the list
	case c.h.replicas.looking <- struct{}{}:
		defer func() { <-c.h.replicas.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	list, err := c.h.compactReplica(ctx, c.who.Party.No, 0)
	if err != nil || c.remove {
		return digits, err
	}
	fresh := slices.DeleteFunc(slices.Clone(digits), func(d uint64) bool {
		_, in := slices.BinarySearch(list, d)
		return in
	})
	room := int(max(c.h.replicas.most-int64(len(list)), 0))
	if len(fresh) <= room {
		return fresh, nil
	}
	c.full = true
	over := fresh[room:]
	for i := range lines {
		if _, refused := slices.BinarySearch(over, lines[i].Number.Digits()); refused && lines[i].Err == nil {
			out.reject(lines[i].Line, "", errTooManyNumbers())
		}
	}
	return fresh[:room], nil
}
