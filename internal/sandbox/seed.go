package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// seed reports every number's history and fills the apps' databases.
func (d *demo) seed(ctx context.Context) error {
	var wg sync.WaitGroup
	var stocked error
	wg.Go(func() { stocked = d.stock(ctx) })
	err := d.report(ctx)
	wg.Wait()
	return errors.Join(err, stocked)
}

// report lets the carriers tell the history of their numbers: in rounds, because a number that was ported is first told of
// by the carrier that served it first.
func (d *demo) report(ctx context.Context) error {
	events := 0
	for round := 0; ; round++ {
		told := make([][]client.Event, len(catalogue.Carriers()))
		n := 0
		for _, s := range d.world.All() {
			for _, e := range roundOf(s, round) {
				told[e.Carrier-1] = append(told[e.Carrier-1], wire(&e))
				n++
			}
		}
		if n == 0 {
			break
		}
		for i, lines := range told {
			if err := d.tell(ctx, i, lines, time.Time{}); err != nil {
				return err
			}
		}
		events += n
	}
	d.say.line("运营商报告了 %d 个号码的 %d 个事件 / the carriers reported the history of %d numbers", len(d.world.All()), events, len(d.world.All()))
	return nil
}

// tell reports a carrier's events. A refused one is an error: what the world makes up fits.
func (d *demo) tell(ctx context.Context, carrier int, events []client.Event, completeUntil time.Time) error {
	if len(events) == 0 && completeUntil.IsZero() {
		return nil
	}
	r, err := d.clients[carrierID(carrier)].ReportEvents(ctx, events, completeUntil)
	if err != nil {
		return fmt.Errorf("%s reports: %w", carrierID(carrier), err)
	}
	if r.RejectedTotal > 0 {
		return fmt.Errorf("%s reports: %d of %d events were refused, the first one, %s, with %s", carrierID(carrier),
			r.RejectedTotal, len(events), r.Rejected[0].ID, r.Rejected[0].Code)
	}
	return nil
}

// off reports whether an operator has disabled a carrier: then it tells nothing.
func (d *demo) off(carrier int) bool {
	p := d.hub.Hub.Party(carrierID(carrier))
	return p != nil && p.Disabled
}

// stateCoverage lets every carrier say from which day on every change of holder is in the log, and that it has told everything until
// now. Said again it is the same.
func (d *demo) stateCoverage(ctx context.Context) error {
	for i := range catalogue.Carriers() {
		if d.off(i) {
			continue
		}
		_, err := d.clients[carrierID(i)].ImportHistory(ctx, nil,
			client.HistoryTold{CoveredSince: d.world.CoveredSince().String(), CompleteUntil: time.Now()})
		if err != nil {
			return fmt.Errorf("%s states what it has told: %w", carrierID(i), err)
		}
	}
	return nil
}

// allTold lets every carrier say that it has told everything until now.
func (d *demo) allTold(ctx context.Context) error {
	for i := range catalogue.Carriers() {
		if d.off(i) {
			continue
		}
		if err := d.tell(ctx, i, nil, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// catchUp reports the end of the journal, which the hub may have missed when the world was stopped.
func (d *demo) catchUp(ctx context.Context) error {
	for i, e := range d.ledger.tail {
		if d.off(d.ledger.tailOf[i]) {
			continue
		}
		if err := d.tell(ctx, d.ledger.tailOf[i], []client.Event{e}, time.Time{}); err != nil {
			d.say.line("有一条事件没有被接受 / an event was not taken: %v", err) // a visitor told otherwise
		}
	}
	return nil
}

// stock fills the apps' databases, two at a time.
func (d *demo) stock(ctx context.Context) error {
	all := d.world.Bindings()
	work := make(chan string)
	errs := make(chan error, len(d.apps))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for id := range work {
				errs <- errors.Join(d.apps[id].Seed(ctx, all[id].Accounts), d.apps[id].SeedMarks(ctx, all[id].Marks))
			}
		})
	}
	accounts := 0
	for _, a := range catalogue.Apps() {
		accounts += len(all[a.ID].Accounts)
		work <- a.ID
	}
	close(work)
	wg.Wait()
	close(errs)
	var out error
	for err := range errs {
		out = errors.Join(out, err)
	}
	d.say.line("%d 个应用有了 %d 个账号 / %d apps have %d accounts", len(d.apps), accounts, len(d.apps), accounts)
	return out
}
