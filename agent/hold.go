package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

// hubClock compares the machine's clock with the Date of the hub's answers, which is cut to the second.
type hubClock struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	skew time.Duration // by which this clock is ahead at least; negative: behind
	seen bool
}

func (c *hubClock) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := c.now()
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.compare(sent, c.now(), date)
	}
	return resp, nil
}

func (c *hubClock) compare(sent, received, date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = true
	switch {
	case date.Add(time.Second).Before(sent):
		c.skew = sent.Sub(date.Add(time.Second))
	case date.After(received):
		c.skew = received.Sub(date)
	default:
		c.skew = 0
	}
}

// off says by how much this clock is ahead of the hub's at least.
func (c *hubClock) off() (skew time.Duration, seen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew, c.seen
}

// heldError says why nothing is done to accounts. Tasks are taken in all the same.
type heldError struct{ Why string }

func (e *heldError) Error() string { return "nothing is done to accounts: " + e.Why }

// Why nothing is done to accounts.
const (
	heldByHub     = "the hub's operator holds this app"
	heldByFile    = "the kill switch file is there"
	heldByClock   = "the clock differs from the hub's"
	heldByOther   = "another agent works on these accounts"
	heldUnheardOf = "the hub has not been reached yet"
)

// held reports why nothing may be done to accounts now; nil: it may.
func (a *Agent) held() error {
	if a.cfg.KillSwitch != "" {
		if _, err := os.Lstat(a.cfg.KillSwitch); !errors.Is(err, os.ErrNotExist) {
			return &heldError{heldByFile} // also where it cannot be told
		}
	}
	self := a.self.Load()
	skew, seen := a.clock.off()
	switch {
	case self == nil:
		return &heldError{heldUnheardOf}
	case self.Hold:
		return &heldError{heldByHub}
	case seen && skew.Abs() > time.Duration(a.cfg.ClockTolerance):
		return &heldError{fmt.Sprintf("%s by %s", heldByClock, skew.Round(time.Second))}
	}
	return nil
}

// mayAct is held with the lease, which is made sure of.
func (a *Agent) mayAct(ctx context.Context) error {
	if err := a.held(); err != nil {
		return err
	}
	if err := a.conn.lease(ctx); errors.Is(err, errTaken) {
		return &heldError{heldByOther}
	} else if err != nil {
		return fmt.Errorf("the lease on the accounts: %w", err)
	}
	return nil
}

// askSelf reads how the hub sees the app, and its kill switch.
func (a *Agent) askSelf(ctx context.Context) error {
	var self client.Self
	err := a.call(ctx, func(ctx context.Context) (err error) {
		self, err = a.hub.Self(ctx)
		return err
	})
	if err == nil {
		a.self.Store(&self)
	}
	return err
}

// keepAsking has the hub's kill switch seen however long it takes to work what is due. It ends with stop.
func (a *Agent) keepAsking(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for client.Pause(ctx, time.Duration(a.cfg.Timings.HoldEvery)) {
			if err := a.askSelf(ctx); err != nil && ctx.Err() == nil {
				a.about.failed(err)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
