package feed

import (
	"context"
	"io"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// MaxPoll is how many SETs one poll is answered with at most. A SET has some 1 to 2 KB, so an answer has less than 4 MiB.
const MaxPoll = 1000

// PollRequest is what a receiver says in a poll (RFC 8936 §2.4).
type PollRequest struct {
	Acks   []string
	Errs   map[string]core.SETError
	Max    int           // negative: as many as the hub gives
	AtOnce bool          // the answer is wanted at once, though there is nothing to tell
	Wait   time.Duration // how long to wait at most; 0: the hub's own time
	// Idle is called when the poll begins to wait. It is done when the poll goes on, and false where it may not wait.
	Idle func() (done func(), ok bool)
}

// PollAnswer is what a poll is answered with.
type PollAnswer struct {
	feed  *Feed
	facts StreamFacts
	sets  []core.OutgoingSET
	More  bool
}

// Poll takes what the receiver of a stream says, and answers when there is something to tell, at once if that is asked for, and else
// after a time. A poll for no events (maxEvents 0) only acknowledges: it is answered at once, for there is nothing to wait for.
func (f *Feed) Poll(ctx context.Context, who huanxin.Caller, stream string, in PollRequest) (*PollAnswer, error) {
	if in.Max < 0 || in.Max > MaxPoll {
		in.Max = MaxPoll
	}
	if err := f.ready(ctx, who.Client); err != nil {
		return nil, err
	}
	if in.Wait == 0 {
		in.Wait = f.Times.Wait
	}
	p := &polling{f: f, until: time.Now().Add(min(in.Wait, f.Times.MaxWait)), atOnce: in.AtOnce || in.Max == 0, idle: in.Idle}
	say := core.Poll{Acks: in.Acks, Errs: in.Errs, Max: in.Max, Again: f.Times.Redelivery}
	for {
		news := f.waiting.count()
		out, err := f.Hub.PollStream(ctx, who, stream, say)
		if err != nil {
			return nil, err
		}
		f.metrics.exchanged(&out)
		f.metrics.died(out.Stream.ID, out.Buried)
		if len(out.SETs) > 0 || p.over() {
			return &PollAnswer{feed: f, facts: FactsOf(out.Stream.ID, out.Client), sets: out.SETs, More: out.More}, nil
		}
		say.Acks, say.Errs = nil, nil
		if out.More {
			continue
		}
		if err := p.wait(ctx, &out, news); err != nil {
			return nil, err
		}
	}
}

// ready makes sure that what is taken can be signed.
func (f *Feed) ready(ctx context.Context, client string) error {
	c, err := f.Hub.Client(ctx, client)
	if err != nil || c == nil {
		return err // the hub refuses it
	}
	return f.writer.Ready(ctx, time.Now(), FactsOf(0, c))
}

// polling is one poll that may wait.
type polling struct {
	f      *Feed
	until  time.Time
	atOnce bool
	idle   func() (func(), bool)
}

// over reports whether the poll is answered now, whatever there is.
func (p *polling) over() bool {
	select {
	case <-p.f.Stopping:
		return true
	default:
		return p.atOnce || !time.Now().Before(p.until)
	}
}

// wait returns when there may be something to tell, or the poll is over.
func (p *polling) wait(ctx context.Context, out *core.Exchanged, news uint64) error {
	woken := make(chan struct{}, 1)
	w := &waiter{listener: out.Listener, told: out.Told, polls: true, wake: func(bool) { hint(woken) }}
	if p.idle != nil {
		done, ok := p.idle()
		if p.atOnce = !ok; !ok {
			return nil
		}
		defer done()
	}
	if !p.f.waiting.add(w, news) {
		return nil
	}
	defer p.f.waiting.remove(w)
	until := p.until
	if !out.Wake.IsZero() && out.Wake.Before(until) {
		until = out.Wake.Add(shortly) // what is out comes again
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
	case <-p.f.Stopping:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// shortly is how late something may come again, so that what is out for a poll that goes on at the same moment is not doubled.
const shortly = 10 * time.Millisecond

// Len is how many SETs the answer holds.
func (a *PollAnswer) Len() int { return len(a.sets) }

// signPiece is how many SETs are signed before they are written: an answer takes the memory of so many, however long it is.
const signPiece = 64

// Write writes the answer's document (RFC 8936 §2.3). After an error it is not whole, and what it would have held comes again.
func (a *PollAnswer) Write(w io.Writer) error {
	var text []byte
	text = append(text, `{"sets":{`...)
	for from := 0; from < len(a.sets); from += signPiece {
		signed, err := a.sign(a.sets[from:min(from+signPiece, len(a.sets))])
		if err != nil {
			return err
		}
		for i, s := range signed {
			if from+i > 0 {
				text = append(text, ',')
			}
			text = append(strconv.AppendQuote(text, s.jti), ':', '"')
			text = append(append(text, s.token...), '"')
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		text = text[:0]
	}
	text = append(text, '}')
	if a.More {
		text = append(text, `,"moreAvailable":true`...)
	}
	_, err := w.Write(append(text, '}'))
	return err
}

type signedSET struct {
	jti   string
	token []byte
	err   error
}

// perSigner is how many SETs are worth a goroutine.
const perSigner = 8

// sign signs some SETs, on as many cores as are worth it.
func (a *PollAnswer) sign(sets []core.OutgoingSET) ([]signedSET, error) {
	now, out := time.Now(), make([]signedSET, len(sets))
	signers := min((len(sets)+perSigner-1)/perSigner, runtime.GOMAXPROCS(0))
	work := func(from int) {
		for i := from; i < len(sets); i += signers {
			s := &out[i]
			s.jti, s.token, s.err = a.feed.writer.Write(now, a.facts, sets[i].FeedEntry)
		}
	}
	var wg sync.WaitGroup
	for n := 1; n < signers; n++ {
		wg.Go(func() { work(n) })
	}
	work(0)
	wg.Wait()
	for i := range out {
		if out[i].err != nil {
			return nil, out[i].err
		}
	}
	return out, nil
}
