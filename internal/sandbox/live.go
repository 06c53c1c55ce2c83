package sandbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// live lets everybody act: the apps, and when they have their streams the carriers and their customers.
func (d *demo) live() {
	d.actors.Go(func() {
		err := d.eachApp(d.acting, func(app *appsim.App, _ *client.Client) error {
			_, err := app.Subscribe(d.acting) // before anything happens
			d.employ(app)
			return err
		})
		if err != nil && d.acting.Err() == nil {
			d.say.line("有的应用没能订阅事件流,会再试 / some apps have no stream yet and will try again: %v", err)
		}
		d.actors.Go(func() { d.show(d.acting) })
		f := &fate{d: d, r: draws(d.world.Seed, streamLive, len(d.ledger.made()))}
		f.run(d.acting)
	})
}

// pause waits, and reports whether there is any more to do after it.
func pause(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}

// show makes one request after the other to all apps, each by a holder whose number was bound at many.
func (d *demo) show(ctx context.Context) {
	day := d.hub.Hub.Durations().Day()
	for i := d.shown(); ; i++ {
		no := d.world.Showcase[i%len(d.world.Showcase)].No
		if !d.showing() {
			l := d.ledger.now(no)
			n, err := d.ask(ctx, &l, nil, nil, true)
			if err == nil {
				d.say.line("%s 的一位新机主向全部 %d 个应用申请焕新 / a new holder at %s asks all %d apps",
					catalogue.Carriers()[l.carrier()].NameZh, n, catalogue.Carriers()[l.carrier()].NameEn, n)
			}
		}
		for d.showing() {
			if !pause(ctx, watchEvery) {
				return
			}
		}
		if !pause(ctx, 3*day) {
			return
		}
	}
}

// shown counts the requests for show that were made.
func (d *demo) shown() (n int) {
	for _, e := range d.ledger.made() {
		if e.Shown {
			n++
		}
	}
	return n
}

// showing reports whether a request for show is open.
func (d *demo) showing() bool {
	for _, f := range d.watch.open() {
		if f.Shown {
			return true
		}
	}
	return false
}

// ask makes a request for the present holder of a number through the carrier; apps nil: all. It says how many tasks it made.
func (d *demo) ask(ctx context.Context, l *life, apps, kinds []string, shown bool) (int, error) {
	made, err := d.clients[carrierID(l.carrier())].CreateRequest(ctx, client.NewRequest{Key: ownKey(), Number: l.number.E164(),
		StartedAt: l.standing.StartedAt, Origin: l.standing.Origin.String(), Apps: apps, Kinds: kinds,
		Control: "sms_otp", Identity: "carrier_crm", Verified: time.Now()})
	if err != nil {
		return 0, err
	}
	e := entry{No: l.no, At: time.Now(), Carrier: l.carrier(), Request: made.ID, Shown: shown}
	d.ledger.setBusy(l.no, true)
	d.watch.add(e, len(made.Tasks))
	_, err = d.ledger.happen(e)
	return len(made.Tasks), err
}

// happens makes something happen to a number, and lets its carrier report it.
func (d *demo) happens(ctx context.Context, no, carrier int, kind huanxin.EventKind, origin string) error {
	ev, err := d.ledger.happen(entry{No: no, At: time.Now(), Kind: kind.String(), Origin: origin, Carrier: carrier})
	if err != nil {
		return err
	}
	return d.tell(context.WithoutCancel(ctx), carrier, []client.Event{ev}, time.Now())
}

// fate decides what happens to people while the world runs: something every other day.
type fate struct {
	d       *demo
	r       *rand.Rand
	mistake int // the number of which a transfer was reported by mistake and is still to be corrected; 0: none
}

func (f *fate) run(ctx context.Context) {
	every := max(2*f.d.hub.Hub.Durations().Day(), time.Second)
	deeds := []func(context.Context) error{f.request, f.sell, f.requestAfterTransfer, f.transferWhileOpen, f.request, f.askAgain,
		f.cancel, f.requestOfUnknown, f.portWhileOpen, f.wrongTransfer, f.correct, f.request, f.otherKinds, f.suspendAndResume,
		f.disconnectWhileOpen, f.reinstate}
	for i := 0; pause(ctx, every); i++ {
		err := deeds[i%len(deeds)](ctx)
		var refused *huanxin.Error
		if err != nil && ctx.Err() == nil && !errors.As(err, &refused) { // rules refuse people now and then: that is life
			f.d.say.line("出了点问题 / something went wrong: %v", err)
		}
		if i%5 == 0 {
			_ = f.d.allTold(ctx)
		}
	}
}

// one picks a number of the people for whom want is true.
func (f *fate) one(want func(l *life) bool) (life, bool) {
	var fit []int
	for i := range f.d.world.People {
		if l := f.d.ledger.now(f.d.world.People[i].No); l.no != f.mistake && !f.d.off(l.carrier()) && want(&l) {
			fit = append(fit, l.no)
		}
	}
	if len(fit) == 0 {
		return life{}, false
	}
	return f.d.ledger.now(fit[f.r.IntN(len(fit))]), true
}

// idle is a number in use by a tenure of one of the origins, with no open request.
func idle(origins ...huanxin.TenureOrigin) func(l *life) bool {
	return func(l *life) bool {
		for _, o := range origins {
			if l.standing.Origin == o {
				return l.standing.Phase == huanxin.PhaseInUse && !l.busy
			}
		}
		return false
	}
}

func open(l *life) bool { return l.standing.Phase == huanxin.PhaseInUse && l.busy }

// some are the apps that a person ticks: the common ones and some more.
func (f *fate) some() []string {
	var out []string
	for _, a := range catalogue.Common() {
		if f.r.IntN(4) > 0 {
			out = append(out, a.ID)
		}
	}
	common := len(out)
	apps := catalogue.Apps()
	for _, i := range f.r.Perm(len(apps))[:5+f.r.IntN(40)] {
		if a := apps[i]; !contains(out[:common], a.ID) {
			out = append(out, a.ID)
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func (f *fate) askFor(ctx context.Context, want func(l *life) bool) error {
	l, ok := f.one(want)
	if !ok {
		return nil
	}
	_, err := f.d.ask(ctx, &l, f.some(), nil, false)
	return err
}

func (f *fate) request(ctx context.Context) error {
	return f.askFor(ctx, idle(huanxin.OriginReassigned))
}

func (f *fate) requestAfterTransfer(ctx context.Context) error {
	return f.askFor(ctx, idle(huanxin.OriginTransferred))
}

func (f *fate) requestOfUnknown(ctx context.Context) error {
	return f.askFor(ctx, idle(huanxin.OriginUnknown))
}

// sell sells a number again whose cooling is over; the new holder asks at once.
func (f *fate) sell(ctx context.Context) error {
	l, ok := f.one(func(l *life) bool {
		return l.standing.Phase == huanxin.PhaseDisconnected && time.Since(l.standing.EndedAt) > cooling(0)
	})
	if !ok {
		return nil
	}
	if err := f.d.happens(ctx, l.no, l.carrier(), huanxin.Activated, "reassigned"); err != nil {
		return err
	}
	l = f.d.ledger.now(l.no)
	_, err := f.d.ask(ctx, &l, f.some(), nil, false)
	return err
}

func (f *fate) during(ctx context.Context, kind huanxin.EventKind) error {
	l, ok := f.one(open)
	if !ok {
		return nil
	}
	carrier := l.carrier()
	if kind == huanxin.Ported {
		carrier = (carrier + 1 + f.r.IntN(len(catalogue.Carriers())-1)) % len(catalogue.Carriers())
		if f.d.off(carrier) {
			return nil
		}
	}
	return f.d.happens(ctx, l.no, carrier, kind, "")
}

func (f *fate) transferWhileOpen(ctx context.Context) error {
	return f.during(ctx, huanxin.Transferred)
}

func (f *fate) portWhileOpen(ctx context.Context) error { return f.during(ctx, huanxin.Ported) }

func (f *fate) disconnectWhileOpen(ctx context.Context) error {
	return f.during(ctx, huanxin.Disconnected)
}

// askAgain asks an app once more that kept a binding or never answered.
func (f *fate) askAgain(ctx context.Context) error {
	f.d.watch.mu.Lock()
	var again *followed
	for _, r := range f.d.watch.list {
		if r.again != "" && !r.asked && !r.Shown {
			again = r
		}
	}
	if again == nil {
		f.d.watch.mu.Unlock()
		return nil
	}
	again.asked = true
	id, task := again.ID, again.again
	f.d.watch.mu.Unlock()
	carrier := f.d.ledger.carrierOf(again.No)
	if _, err := f.d.clients[carrierID(carrier)].AskAgain(ctx, id, task, ""); err != nil {
		return err
	}
	f.d.watch.mu.Lock()
	again.Ended = time.Time{}
	f.d.watch.mu.Unlock()
	return nil
}

// cancel makes a request and takes it back before it is over.
func (f *fate) cancel(ctx context.Context) error {
	l, ok := f.one(idle(huanxin.OriginReassigned))
	if !ok {
		return nil
	}
	if _, err := f.d.ask(ctx, &l, f.some(), nil, false); err != nil {
		return err
	}
	if !pause(ctx, f.d.hub.Hub.Durations().Day()) {
		return nil
	}
	made := f.d.ledger.made()
	for i := len(made) - 1; i >= 0; i-- {
		if made[i].No == l.no {
			_, err := f.d.clients[carrierID(l.carrier())].CancelRequest(ctx, made[i].Request)
			return err
		}
	}
	return nil
}

// otherKinds asks to end calls, labels and bans that were meant for a former holder, which even a first holder may.
func (f *fate) otherKinds(ctx context.Context) error {
	l, ok := f.one(idle(huanxin.OriginReassigned, huanxin.OriginFirst))
	if !ok {
		return nil
	}
	_, err := f.d.ask(ctx, &l, nil, []string{"stop_contact", "clear_label", "lift_restriction"}, false)
	return err
}

func (f *fate) suspendAndResume(ctx context.Context) error {
	if l, ok := f.one(func(l *life) bool { return l.standing.Phase == huanxin.PhaseSuspended }); ok {
		return f.d.happens(ctx, l.no, l.carrier(), huanxin.Resumed, "")
	}
	l, ok := f.one(idle(huanxin.OriginFirst, huanxin.OriginReassigned))
	if !ok {
		return nil
	}
	return f.d.happens(ctx, l.no, l.carrier(), huanxin.Suspended, "")
}

// reinstate gives somebody a number back that is still frozen.
func (f *fate) reinstate(ctx context.Context) error {
	l, ok := f.one(func(l *life) bool {
		return l.standing.Phase == huanxin.PhaseDisconnected && time.Since(l.standing.EndedAt) < cooling(0)
	})
	if !ok {
		return nil
	}
	return f.d.happens(ctx, l.no, l.carrier(), huanxin.Reinstated, "")
}
