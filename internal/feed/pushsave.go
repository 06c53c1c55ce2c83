package feed

import (
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// wants reports whether it is time to save what came of pushes, or to take more.
func (p *pusher) wants(now time.Time) bool {
	if p.saving || p.gone || now.Before(p.retry) {
		return false
	}
	unsaved := p.unsavedLen()
	idle := p.flying == 0 && len(p.queue) == 0
	switch {
	case unsaved >= saveMany, unsaved > 0 && (idle || p.suspend != "" || now.Sub(p.since) >= saveAfter):
		return true
	case p.look, now.Sub(p.looked) >= lookAgain:
		return true
	}
	room := p.room(now)
	return room > 0 && (!p.wake.IsZero() && !now.Before(p.wake) || p.more && len(p.queue) <= ahead*p.window.size/2)
}

// next is when to look again whether something is to be done.
func (p *pusher) next() time.Time {
	at := p.looked.Add(lookAgain)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if p.unsavedLen() > 0 {
		sooner(p.since.Add(saveAfter))
	}
	if len(p.queue) > 0 || p.more {
		sooner(later(p.rests(), time.Now().Add(saveAfter)))
	}
	if !p.wake.IsZero() {
		sooner(later(p.rests(), p.wake))
	}
	if p.look {
		sooner(p.retry)
	}
	return later(later(at, p.retry), time.Now().Add(time.Millisecond))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// save saves what came of pushes and takes more, in the background, if it is time to.
func (p *pusher) save(ctx context.Context) {
	now := time.Now()
	if !p.wants(now) {
		return
	}
	in := p.unsaved
	p.unsaved = core.Exchange{}
	in.Again = pushAgain
	if in.Max = p.room(now); in.Max > 0 {
		in.Reserve = in.Max / 4
		in.Recall, p.recall = p.recall, false
		if p.down() { // by turns: one SET may be the trouble
			p.probes++
			in.Reserve = p.probes % 2
		}
	}
	suspend := p.suspend
	p.suspend, p.saving, p.look, p.looked = "", true, false, now
	go func() {
		out, err := p.exchange(context.WithoutCancel(ctx), suspend, in)
		p.saved <- savedPushes{in, out, err}
	}()
}

// saveTime bounds one attempt to save.
const saveTime = 30 * time.Second

func (p *pusher) exchange(ctx context.Context, suspend string, in core.Exchange) (out core.Exchanged, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	if suspend != "" {
		if err := p.f.Hub.SuspendStream(ctx, p.id, suspend); err != nil {
			return out, err
		}
		p.f.Log.Warn("a stream is paused: its receiver does not take what is pushed", "stream", p.name, "reason", suspend)
	}
	if p.facts.ClientID != "" && in.Max > 0 {
		if err := p.f.writer.Ready(ctx, time.Now(), p.facts); err != nil {
			return out, err
		}
	}
	return p.f.Hub.ExchangePushes(ctx, p.id, in)
}

// absorb takes note of what was saved and handed out. What could not be saved is saved with the next.
func (p *pusher) absorb(s savedPushes) {
	p.saving = false
	if s.err != nil {
		p.unsaved.Acks = slices.Concat(s.in.Acks, p.unsaved.Acks)
		p.unsaved.Refused = slices.Concat(s.in.Refused, p.unsaved.Refused)
		p.unsaved.Failed = slices.Concat(s.in.Failed, p.unsaved.Failed)
		p.retry, p.look, p.recall = time.Now().Add(time.Second), true, true
		if huanxin.KindOf(s.err) == huanxin.NotFound {
			p.gone = true
			return
		}
		p.f.Log.Error("what came of pushes could not be saved and will be again", "stream", p.name, "error", s.err)
		return
	}
	for _, no := range s.in.Acks {
		delete(p.hand, no)
	}
	for _, r := range s.in.Refused {
		delete(p.hand, r.No)
	}
	for _, f := range s.in.Failed {
		delete(p.hand, f.No)
	}
	p.f.metrics.exchanged(&s.out)
	p.f.metrics.died(p.id, s.out.Buried)
	p.stand(&s.out)
	for _, set := range s.out.SETs {
		if !p.hand[set.No] {
			p.hand[set.No] = true
			p.queue = append(p.queue, set)
		}
	}
}

// stand takes note of how the stream stands.
func (p *pusher) stand(out *core.Exchanged) {
	was, is := p.stream, out.Stream
	p.stream, p.facts = is, FactsOf(p.id, out.Client)
	p.more, p.wake = out.More, out.Wake
	p.f.waiting.change(p.waiter, out.Listener, out.Told)
	if was.Status != is.Status && is.Status == huanxin.StreamEnabled || was.Endpoint != is.Endpoint || was.Header != is.Header {
		p.failures, p.buried, p.notBefore, p.probeAt = 0, 0, time.Time{}, time.Time{} // somebody has seen to it
	}
	now := time.Now()
	if is.Status != huanxin.StreamEnabled {
		p.queue = slices.DeleteFunc(p.queue, func(s core.OutgoingSET) bool {
			if s.No > 0 {
				p.postpone(s.No, now, true)
			}
			return s.No > 0
		})
		return
	}
	if !out.FailingSince.IsZero() && p.down() && now.Sub(out.FailingSince) >= huanxin.PushFor && p.suspend == "" {
		p.suspend, p.look = "nothing could be delivered for 72 hours", true
	}
}

// finish waits for the pushes under way, for a time, and saves what came of them. What was not sent may be sent by another hub at once.
func (p *pusher) finish(ctx context.Context, cut context.CancelFunc) {
	late := time.AfterFunc(lastPushes, cut)
	defer late.Stop()
	for p.flying > 0 || p.saving {
		select {
		case d := <-p.done:
			p.take(d)
		case s := <-p.saved:
			p.absorb(s)
		}
	}
	now := time.Now()
	for _, s := range p.queue {
		p.postpone(s.No, now, true)
	}
	if p.unsavedLen() == 0 || p.gone {
		return
	}
	in := p.unsaved
	in.Again = pushAgain
	if _, err := p.exchange(context.WithoutCancel(ctx), p.suspend, in); err != nil {
		p.f.Log.Error("what came of the last pushes could not be saved: they come again", "stream", p.name, "error", err)
	}
}
