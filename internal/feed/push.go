package feed

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/outbound"
)

const (
	// pushAgain is after how long what was handed out for a push may be handed out again if nothing is known of it: this hub, or
	// another one, was killed. It is longer than a push may take. Whoever begins to push knows that nobody else does, and does not wait.
	pushAgain = 2 * outbound.DefaultTimeout
	// saveAfter and saveMany are when results are saved together.
	saveAfter = 20 * time.Millisecond
	saveMany  = 256
	// ahead is by how many times its window a pusher takes SETs in advance.
	ahead = 8
	// lookAgain is how often a pusher looks though nothing wakes it: another process may have changed something.
	lookAgain = 30 * time.Second
	// downAfter is after how many failures in a row a receiver is taken to be down. Then one push at a time finds out whether it still is.
	downAfter = 3
	// buriedInRow is after how many refusals in a row a stream is paused.
	buriedInRow = 20
	// lastPushes is how long pushes under way may take when pushing ends.
	lastPushes = 3 * time.Second
)

// pusher pushes one stream. Everything of it belongs to the goroutine of run.
type pusher struct {
	f     *Feed
	hosts *hosts
	id    huanxin.StreamID
	name  string

	stream huanxin.Stream
	facts  StreamFacts
	queue  []core.OutgoingSET
	hand   map[huanxin.FeedNo]bool // queued, under way, or with a result that is not saved
	flying int
	done   chan pushed
	window window

	unsaved core.Exchange // of which the results count
	since   time.Time     // of the first of them
	retry   time.Time     // nothing is saved before
	saving  bool
	saved   chan savedPushes

	look, more bool
	recall     bool      // what was handed out before and is not in hand is in nobody's
	wake       time.Time // when something comes again; zero: nothing does
	looked     time.Time
	notBefore  time.Time // the receiver wants to be left alone until then
	probeAt    time.Time // it is down, and not asked before
	failures   int       // in a row
	buried     int       // in a row
	probes     int
	rekeyed    map[huanxin.FeedNo]bool // tried once more because the receiver did not know the key
	suspend    string                  // why the stream is to be paused; empty: it is not
	gone       bool                    // nothing is pushed to the stream any more
	kicked     chan struct{}
	changed    atomic.Bool // something was changed about the stream: it is worth a try
	waiter     *waiter
}

// pushed is what came of one push.
type pushed struct {
	set core.OutgoingSET
	told
}

// savedPushes is what came of saving.
type savedPushes struct {
	in  core.Exchange
	out core.Exchanged
	err error
}

func newPusher(f *Feed, h *hosts, id huanxin.StreamID) *pusher {
	p := &pusher{f: f, hosts: h, id: id, name: f.Hub.StreamName(id), hand: map[huanxin.FeedNo]bool{}, done: make(chan pushed, mostWindow),
		window: window{size: firstWindow}, saved: make(chan savedPushes, 1), look: true, recall: true, rekeyed: map[huanxin.FeedNo]bool{}, kicked: make(chan struct{}, 1)}
	p.waiter = &waiter{listener: core.FeedListener{Stream: id}, wake: func(changed bool) {
		if changed {
			p.changed.Store(true)
		}
		hint(p.kicked)
	}}
	return p
}

// run pushes until ctx is done or nothing is pushed to the stream any more.
func (p *pusher) run(ctx context.Context) {
	for !p.f.waiting.add(p.waiter, p.f.waiting.count()) {
	}
	defer p.f.waiting.remove(p.waiter)
	pushes, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !(p.gone && p.flying == 0 && !p.saving) {
		p.launch(pushes)
		p.save(ctx)
		timer.Reset(time.Until(p.next()))
		select {
		case <-ctx.Done():
			p.finish(ctx, cut)
			return
		case d := <-p.done:
			p.take(d)
		case s := <-p.saved:
			p.absorb(s)
		case <-p.kicked:
			if p.look = true; p.changed.Swap(false) {
				p.probeAt = time.Time{}
			}
		case <-timer.C:
		}
	}
}

func (p *pusher) down() bool { return p.failures >= downAfter }

// rests is until when nothing is pushed.
func (p *pusher) rests() time.Time { return later(p.notBefore, p.probeAt) }

// room is how many more SETs may be taken.
func (p *pusher) room(now time.Time) int {
	switch {
	case p.gone || now.Before(p.rests()):
		return 0
	case p.down():
		return max(1-p.flying-len(p.queue), 0)
	}
	return max(ahead*p.window.size-len(p.queue), 0)
}

// launch begins pushes as far as the window has room.
func (p *pusher) launch(ctx context.Context) {
	now := time.Now()
	most := p.window.size
	if p.down() {
		most = 1
	}
	for len(p.queue) > 0 && p.flying < most && !now.Before(p.rests()) {
		set := p.queue[0]
		p.queue = p.queue[1:]
		p.flying++
		to := target{p.stream.Endpoint, p.stream.Header, p.facts}
		go func() { p.done <- pushed{set, p.push(ctx, to, set.FeedEntry)} }()
	}
}

// target is where a SET is pushed, and for whom it is written.
type target struct {
	url, authorization string
	facts              StreamFacts
}

// push signs a SET and posts it.
func (p *pusher) push(ctx context.Context, to target, e *core.FeedEntry) told {
	leave, err := p.hosts.enter(ctx, to.url)
	if err != nil {
		return told{result: pushUnsent}
	}
	defer leave()
	_, token, err := p.f.writer.Write(time.Now(), to.facts, e)
	if err != nil {
		p.f.Log.Error("a SET could not be written", "stream", p.name, "error", err)
		return told{result: pushUnsent, after: time.Second}
	}
	header := http.Header{"Content-Type": {"application/secevent+jwt"}, "Accept": {"application/json"}}
	if to.authorization != "" {
		header["Authorization"] = []string{to.authorization}
	}
	a, err := outbound.PostWith(ctx, p.f.Client, to.url, header, token)
	if err != nil && a.Status == 0 && ctx.Err() != nil {
		return told{result: pushUnsent} // we cut it off; that it may have come does no harm
	}
	return tellFrom(a, err, time.Now())
}

// take notes what came of a push, to be saved.
func (p *pusher) take(d pushed) {
	p.flying--
	p.f.metrics.pushes.WithLabelValues(p.name, resultNames[d.result]).Inc()
	if d.unlike {
		p.f.Log.Debug("a receiver answered otherwise than RFC 8935 has it", "stream", p.name)
	}
	now := time.Now()
	if p.unsavedLen() == 0 {
		p.since = now
	}
	if d.slow {
		p.window.trouble()
	}
	switch d.result {
	case pushAccepted:
		p.failures, p.buried = 0, 0
		p.window.success()
		delete(p.rekeyed, d.set.No)
		p.unsaved.Acks = append(p.unsaved.Acks, d.set.No)
	case pushRefused:
		p.refused(d, now)
	case pushUnsent:
		p.postpone(d.set.No, now.Add(d.after), true)
	case pushUnauthorized:
		if p.stream.Status == huanxin.StreamEnabled {
			p.suspend = d.text
			p.postpone(d.set.No, now, false)
			return
		}
		p.failed(d, now)
	default:
		p.failed(d, now)
	}
}

// refused makes a dead letter of a SET. One whose key the receiver does not know is tried once more: it may just have read the keys.
func (p *pusher) refused(d pushed, now time.Time) {
	p.failures = 0
	if d.err == "invalid_key" && !p.rekeyed[d.set.No] {
		p.rekeyed[d.set.No] = true
		p.postpone(d.set.No, now.Add(time.Second), true)
		return
	}
	delete(p.rekeyed, d.set.No)
	p.unsaved.Refused = append(p.unsaved.Refused, core.RefusedSET{No: d.set.No, Err: d.err, Description: d.text})
	if p.buried++; p.buried >= buriedInRow && p.stream.Status == huanxin.StreamEnabled {
		p.suspend, p.buried = "the receiver refused 20 events in a row, the last as "+known(d.err), 0
	}
}

// failed has a SET tried again, or makes a dead letter of it when it was tried for long enough.
func (p *pusher) failed(d pushed, now time.Time) {
	p.failures++
	wait := huanxin.PushRetry(d.set.Attempts, p.f.Hub.JTI(p.id, d.set.No))
	if d.after > 0 {
		wait = d.after
		p.notBefore = now.Add(wait)
	}
	if p.down() {
		p.probeAt = now.Add(huanxin.PushRetry(p.failures-downAfter+1, p.name))
		for _, s := range p.queue { // others may be tried then
			p.postpone(s.No, now, true)
		}
		p.queue = nil
	}
	if again := now.Add(wait); again.Before(d.set.First.Add(huanxin.PushFor)) {
		p.postpone(d.set.No, again, false)
		return
	}
	p.unsaved.Refused = append(p.unsaved.Refused, core.RefusedSET{No: d.set.No, Err: errUndeliverable, Description: d.text, Expired: true})
}

func (p *pusher) postpone(no huanxin.FeedNo, again time.Time, untried bool) {
	p.unsaved.Failed = append(p.unsaved.Failed, core.FailedSET{No: no, Again: again, Untried: untried})
}

func (p *pusher) unsavedLen() int {
	return len(p.unsaved.Acks) + len(p.unsaved.Refused) + len(p.unsaved.Failed)
}
