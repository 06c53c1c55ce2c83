package core

import (
	"maps"
	"regexp"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// write is the transaction of an exchange. It may run more than once.
func (x *exchanging) write(tx *store.Tx) error {
	if err := x.read(tx, x.row.ID, tx.LockStreamState); err != nil {
		return err
	}
	if err := x.settle(tx); err != nil {
		return err
	}
	if err := x.bury(tx); err != nil {
		return err
	}
	x.postpone()
	x.enterSignals()
	judge, err := x.judge(tx)
	if err != nil {
		return err
	}
	handed, more := x.box.Take(x.items, x.now, x.limits, judge)
	if err := tx.SaveOutbox(x.row.ID, x.box.Encode()); err != nil {
		return err
	}
	x.handOut(handed)
	x.out.More = more || x.scanning && !x.limits.OnlySignals
	x.tell()
	return x.record(tx)
}

// postpone notes what could not be brought, and whether anything could.
func (x *exchanging) postpone() {
	tried, reached := false, len(x.in.Acks) > 0
	for _, f := range x.in.Failed {
		x.box.Postpone(f.No, f.Again)
		tried = tried || !f.Untried
	}
	for _, r := range x.in.Refused {
		tried, reached = true, reached || !r.Expired
	}
	switch {
	case x.limits.OnlySignals:
		x.box.Brought(true, x.now) // it begins anew when it transmits again
	case tried || reached:
		x.box.Brought(reached, x.now)
	}
}

// tell gives how the stream stands after an exchange.
func (x *exchanging) tell() {
	x.out.Stream.Status, x.out.Stream.Reason = x.row.Status, x.row.Reason
	x.out.Wake, _ = x.box.Wake(x.limits.OnlySignals)
	x.out.FailingSince = x.box.FailingSince
}

func (x *exchanging) handOut(nos []huanxin.FeedNo) {
	x.out.SETs = make([]OutgoingSET, len(nos))
	for i, no := range nos {
		u, _ := x.box.Find(no)
		x.out.SETs[i] = OutgoingSET{x.entries[no], u.Attempts, u.First}
	}
}

// settle takes out what was acknowledged. A task whose event was is delivered (DOMAIN.md §6).
func (x *exchanging) settle(tx *store.Tx) error {
	var tasks []huanxin.TaskID
	var heard []int64
	acked := x.box.Settle(x.in.Acks)
	x.out.Settled = x.settled + len(acked)
	for _, u := range acked {
		if id, ok := u.No.Signal(); ok {
			heard = append(heard, id)
			continue
		}
		e, known := x.entries[u.No]
		if !known {
			return errLookAgain
		}
		if e != nil && e.Type == huanxin.UnbindRequested {
			tasks = append(tasks, e.Task.ID)
		}
	}
	if err := x.forget(tx, heard); err != nil {
		return err
	}
	return tx.Deliver(tasks)
}

// forget takes signals away that were settled.
func (x *exchanging) forget(tx *store.Tx, ids []int64) error {
	x.signals = slices.DeleteFunc(x.signals, func(s store.Signal) bool { return slices.Contains(ids, s.ID) })
	return tx.DeleteSignals(x.row.ID, ids)
}

// bury makes dead letters of what was refused.
func (x *exchanging) bury(tx *store.Tx) error {
	var letters []store.DeadLetter
	var gone []int64
	for _, r := range x.in.Refused {
		for _, u := range x.box.Settle([]huanxin.FeedNo{r.No}) {
			letters = append(letters, store.DeadLetter{No: u.No, Err: printable(r.Err, maxErrCode), Description: printable(r.Description, maxErrText),
				Attempts: u.Attempts, At: x.now})
			if id, ok := u.No.Signal(); ok {
				gone = append(gone, id)
			}
		}
	}
	x.out.Buried = slices.Clip(x.buried)
	for _, l := range letters {
		x.out.Buried = append(x.out.Buried, l.Err)
	}
	if err := x.forget(tx, gone); err != nil {
		return err
	}
	return tx.InsertDeadLetters(x.row.ID, letters)
}

// judge says what may be handed out: what is known here, and of tasks what is open.
func (x *exchanging) judge(tx *store.Tx) (func(huanxin.FeedNo) huanxin.Judgement, error) {
	var tasks []huanxin.TaskID
	for _, e := range x.entries {
		if e != nil && e.Type == huanxin.UnbindRequested {
			tasks = append(tasks, e.Task.ID)
		}
	}
	slices.Sort(tasks)
	open, err := tx.StillOpen(tasks)
	return func(no huanxin.FeedNo) huanxin.Judgement {
		e, known := x.entries[no]
		switch {
		case !known && no > 0:
			return huanxin.SendLater
		case e == nil, // of a signal: it is gone
			!x.wants(e), e.Type == huanxin.UnbindRequested && !open[e.Task.ID]:
			return huanxin.SendNever
		}
		return huanxin.SendNow
	}, err
}

// record writes down that numbers were told (DOMAIN.md §7 rule 10). A task's number is told to whoever works the task, and needs no entry.
func (x *exchanging) record(tx *store.Tx) error {
	told := 0
	for _, s := range x.out.SETs {
		if s.Task.ID == 0 && !s.Number.IsZero() {
			told++
		}
	}
	if told == 0 {
		return nil
	}
	return tx.Audit(store.AuditEntry{At: x.now, Party: x.listener.App, Client: x.row.Client, Action: "feed.tell",
		Subject: x.h.keys.ID(seal.StreamID, int64(x.row.ID)), Detail: detail(map[string]any{"numbers": told})})
}

// updatedTag keeps a stream's own changes of status in order. That it may be some number's tag too does no harm.
const updatedTag = 1

// enterSignals makes the stream's signals known, and no others.
func (x *exchanging) enterSignals() {
	maps.DeleteFunc(x.entries, func(no huanxin.FeedNo, _ *FeedEntry) bool { return no < 0 })
	x.items.Signals = x.items.Signals[:0]
	for i := range x.signals {
		e := signalEntry(&x.signals[i])
		item := huanxin.FeedItem{No: e.No}
		if e.Type == huanxin.StreamUpdated {
			item.Tag = updatedTag
		}
		x.entries[e.No] = e
		x.items.Signals = append(x.items.Signals, item)
	}
}

func signalEntry(s *store.Signal) *FeedEntry {
	e := &FeedEntry{No: huanxin.SignalNo(s.ID), Type: huanxin.StreamVerification, At: s.At, RecordedAt: s.At, State: s.State, Reason: s.Reason}
	if s.Kind == store.SignalUpdated {
		e.Type = huanxin.StreamUpdated
	}
	return e
}

// What a receiver may say about a SET that it refuses, in bytes.
const (
	maxErrCode = 64
	maxErrText = 500
)

// digits finds what may be a number, also one that is written in groups or with the digits of another script.
var digits = regexp.MustCompile(`\p{Nd}(?:[\s\p{Zs}\p{Pd}._()/]{0,3}\p{Nd}){6,}|\p{Nd}{5,}`)

// printable gives what may be kept of a text of somebody else's: a line, not too long, without what controls a terminal and without
// what may be a number.
func printable(s string, most int) string {
	s = digits.ReplaceAllString(s[:min(len(s), 4*most)], "[digits]")
	out := make([]rune, 0, min(len(s), most))
	n := 0
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' '
		}
		if n += len(string(r)); n > most {
			break
		}
		out = append(out, r)
	}
	return string(out)
}
