package agent

import (
	"context"
	"slices"
	"sync"
	"time"
)

// leaseFor is how long an endpoint's lease lasts. It is asked for again when half of it is over.
const leaseFor = time.Minute

// httpLease is the right, given by a company's endpoint, to be the only agent there. It ends by itself: an agent that was killed is
// followed by another within leaseFor. A deed that was sent within it and arrives after it is the endpoint's to refuse, by its holder.
type httpLease struct {
	holder string // this process

	mu    sync.Mutex
	until time.Time // zero: not held
}

func (l *httpLease) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
}

// Wire forms of URL/lease. Zero seconds give it back.
type (
	httpLeaseOrder struct {
		Holder  string `json:"holder"`
		Seconds int    `json:"seconds"`
	}
	httpLeaseAnswer struct {
		// Result is done, or taken: another holder has it.
		Result string `json:"result"`
	}
)

func (c *httpConnector) leases() bool { return slices.Contains(c.cfg.Does, "lease") }

// lease takes the lease, or makes it longer. Who waits for it waits for one request.
func (c *httpConnector) lease(ctx context.Context) error {
	if !c.leases() {
		return nil
	}
	l := &c.right
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := time.Now()
	if asked.Before(l.until.Add(-leaseFor / 2)) {
		return nil
	}
	l.until = time.Time{}
	var answer httpLeaseAnswer
	if err := c.post(ctx, "lease", "", httpLeaseOrder{l.holder, int(leaseFor / time.Second)}, &answer); err != nil {
		return err
	}
	switch answer.Result {
	case "done":
		l.until = asked.Add(leaseFor)
		return nil
	case "taken":
		return errTaken
	}
	return badAnswer("http: the answer to lease is not done or taken")
}

// giveBack lets another agent begin at once. Where it cannot be said, the lease ends by itself.
func (c *httpConnector) giveBack() error {
	l := &c.right
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() {
		return nil
	}
	l.until = time.Time{}
	ctx, cancel := contextFor(min(c.timeout, 5*time.Second))
	defer cancel()
	var answer httpLeaseAnswer
	_ = c.post(ctx, "lease", "", httpLeaseOrder{l.holder, 0}, &answer)
	return nil
}
