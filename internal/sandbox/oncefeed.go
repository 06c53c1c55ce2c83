package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// outageDays is for how many days of the story the app that is down at times is down, from when the apps begin to work.
const outageDays = 3

// hearPatience is how long the end of the story waits for what apps have not heard yet: the hub's pauses between two pushes to the app
// that was down grow.
const hearPatience = 30 * time.Second

// told is what came to the apps by the feed, by their own databases.
type told struct {
	heard      map[string][]appsim.Heard // by app
	untold     int
	unverified int
	dead       int // letters of the app of nonsense, at the hub
	removed    map[string][]appsim.Removal
}

// feedStory waits until the apps have heard everything, and notes what of it is as it should be.
func (p *play) feedStory(ctx context.Context) error {
	for end := time.Now().Add(hearPatience); ; {
		t, err := p.listenIn(ctx)
		if err != nil {
			return err
		}
		facts := []fact{p.bothWays(t), p.lostNothing(t), p.wasDown(t), p.refusedSome(t), p.oneCause(t), p.gaveBack(t), p.tookBack(t)}
		whole := true
		for _, f := range facts {
			whole = whole && f.ok
		}
		if whole || time.Now().After(end) {
			p.facts = append(p.facts, facts...)
			return nil
		}
		if !pause(ctx, 10*playPoll) {
			return ctx.Err()
		}
	}
}

// listenIn reads the apps' databases.
func (p *play) listenIn(ctx context.Context) (*told, error) {
	t := &told{heard: map[string][]appsim.Heard{}, removed: map[string][]appsim.Removal{}}
	for _, a := range catalogue.Apps() {
		app := p.d.apps[a.ID]
		heard, err := app.Heard(ctx)
		if err != nil {
			return nil, err
		}
		untold, err := app.Untold(ctx)
		if err != nil {
			return nil, err
		}
		t.heard[a.ID] = heard
		t.untold += untold
		unverified, err := app.Unverified(ctx)
		if err != nil {
			return nil, err
		}
		t.unverified += unverified
		if a.Behaviour == catalogue.Nonsense {
			if t.dead, err = p.deadLetters(ctx, a.ID); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range p.cases {
		for _, k := range c.created.Tasks {
			if c.end == byCorrection && t.removed[k.App] == nil {
				removed, err := p.d.apps[k.App].Removals(ctx)
				if err != nil {
					return nil, err
				}
				t.removed[k.App] = removed
			}
		}
	}
	return t, nil
}

// deadLetters counts what an app refused, as the hub's operator sees it.
func (p *play) deadLetters(ctx context.Context, app string) (n int, err error) {
	streams, err := p.d.clients[app].Streams(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range streams {
		letters, err := p.d.hub.Hub.DeadLetters(ctx, core.Operator(), s.ID, 0)
		if err != nil {
			return 0, err
		}
		n += len(letters)
	}
	return n, nil
}

// hears reports whether an app hears the feed, and takes all of it.
func hears(a catalogue.App) bool {
	return a.Behaviour != catalogue.Dead && a.Behaviour != catalogue.Nobody && a.Behaviour != catalogue.Nonsense
}

// of counts what an app heard of a type that want is true for.
func (t *told) of(app string, what huanxin.EventType, want func(h *appsim.Heard) bool) (n int) {
	for i := range t.heard[app] {
		if h := &t.heard[app][i]; h.Type == what && want(h) {
			n++
		}
	}
	return n
}

// about is true for what was heard about a task, and of which all that follows was done.
func about(task string) func(h *appsim.Heard) bool {
	return func(h *appsim.Heard) bool { return h.Task == task && h.Done }
}

func (p *play) bothWays(t *told) fact {
	var polled, pushed, again int
	for _, heard := range t.heard {
		for i := range heard {
			if heard[i].Pushed {
				pushed++
			} else {
				polled++
			}
			again += heard[i].Times - 1
		}
	}
	return fact{polled > 0 && pushed > 0 && t.unverified == 0,
		fmt.Sprintf("事件流:轮询收到 %d 个 SET,推送收到 %d 个,重复 %d 次都只算一次,签名个个属实", polled, pushed, again),
		fmt.Sprintf("the feed: %d SETs came by poll, %d by push; %d repeats counted once; every signature held", polled, pushed, again)}
}

// lostNothing: every task of a request that was not interrupted was told, and no app found one in its list that was not.
func (p *play) lostNothing(t *told) fact {
	tasks, missing := 0, 0
	for _, c := range p.cases {
		for _, k := range c.created.Tasks {
			if c.end == toTheEnd && hears(p.d.apps[k.App].Spec) {
				tasks++
				if t.of(k.App, huanxin.UnbindRequested, about(k.ID)) != 1 {
					missing++
				}
			}
		}
	}
	return fact{tasks > 0 && missing == 0 && t.untold == 0,
		fmt.Sprintf("%d 个任务都由事件流送到,任务列表里没有一个是它漏掉的(%d)", tasks, missing+t.untold),
		fmt.Sprintf("the feed told of all %d tasks; no app found one in its list that it had missed (%d)", tasks, missing+t.untold)}
}

// wasDown: what came while an app was down came to it afterwards.
func (p *play) wasDown(t *told) fact {
	spec := p.d.apps[downApp].Spec
	late := t.of(downApp, huanxin.UnbindRequested, func(h *appsim.Heard) bool { return h.At.After(p.d.outage.until) })
	missing := 0
	for _, c := range p.cases {
		for _, k := range c.created.Tasks {
			if k.App == downApp && c.end == toTheEnd && t.of(downApp, huanxin.UnbindRequested, about(k.ID)) == 0 {
				missing++
			}
		}
	}
	return fact{late > 0 && missing == 0,
		fmt.Sprintf("%s停机 %d 天,恢复后补收了期间的全部任务(%d 个)", spec.NameZh, outageDays, late),
		fmt.Sprintf("%s was down for %d days and got all of its tasks afterwards (%d)", spec.NameEn, outageDays, late)}
}

// refusedSome: what the app of nonsense answered with 400 lies at the hub as dead letters, and its tasks were in its list all the same.
func (p *play) refusedSome(t *told) fact {
	seen := 0
	for _, a := range catalogue.Apps() {
		if a.Behaviour == catalogue.Nonsense {
			seen = len(t.heard[a.ID])
		}
	}
	return fact{t.dead > 0 && seen > 0,
		fmt.Sprintf("胡乱应用用 400 拒收了 %d 个 SET:枢纽记为死信,其余照收(%d 个),任务仍在它的任务列表里", t.dead, seen),
		fmt.Sprintf("the app of nonsense answered 400 to %d SETs: dead letters at the hub; it took %d others, and its tasks are in its list", t.dead, seen)}
}

// corrected is the case of the tenure that never was.
func (p *play) corrected() *playCase {
	for _, c := range p.cases {
		if c.end == byCorrection {
			return c
		}
	}
	panic("sandbox: no such case")
}

// oneCause: everybody heard of the transfer that never was, and that it was taken back, with the txn that its tasks have.
func (p *play) oneCause(t *told) fact {
	c := p.corrected()
	same := func(h *appsim.Heard) bool { return h.Txn == c.created.TenureID }
	apps, told, taken, tasks, others := 0, 0, 0, 0, 0
	for _, a := range catalogue.Apps() {
		if !hears(a) {
			continue
		}
		apps++
		told += t.of(a.ID, huanxin.IdentifierRecycled, same)
		taken += t.of(a.ID, huanxin.RecycleRetracted, func(h *appsim.Heard) bool { return h.Task == "" && same(h) })
	}
	for _, k := range c.created.Tasks {
		tasks += t.of(k.App, huanxin.UnbindRequested, func(h *appsim.Heard) bool { return h.Task == k.ID && same(h) })
		others += t.of(k.App, huanxin.UnbindRequested, func(h *appsim.Heard) bool { return h.Task == k.ID && !same(h) })
	}
	return fact{told == apps && taken == apps && tasks > 0 && others == 0,
		fmt.Sprintf("误报的过户:%d 个应用收到通知,%d 个收到撤回;通知与 %d 个任务同一个 txn", told, taken, tasks),
		fmt.Sprintf("the transfer that never was: %d apps were notified, and %d of its retraction; the %d tasks share its txn", told, taken, tasks)}
}

// gaveBack: whoever had unbound for the tenure that never was heard of it by recycle-retracted, and gave back what rule 15 lets it. On a
// slow machine, where the 72 hours are 3 seconds, it may be too late for all of it.
func (p *play) gaveBack(t *told) fact {
	c := p.corrected()
	restored, late, kept, missing := 0, 0, 0, 0
	for _, k := range c.created.Tasks {
		var heard time.Time
		for _, h := range t.heard[k.App] {
			if h.Type == huanxin.RecycleRetracted && h.Txn == c.created.TenureID && h.Done {
				heard = h.At
			}
		}
		for _, r := range t.removed[k.App] {
			switch {
			case r.Task != k.ID:
			case heard.IsZero():
				missing++
			case r.Restored:
				restored++
			case heard.Add(time.Second).After(r.At.Add(p.d.hub.Hub.Durations().RestoreFor())):
				late++
			default:
				kept++
			}
		}
	}
	f := fact{missing == 0 && restored+late > 0, fmt.Sprintf("更正后凭 recycle-retracted 恢复了 %d 个绑定(规则 15)", restored),
		fmt.Sprintf("after the correction %d bindings were given back on recycle-retracted (rule 15)", restored)}
	if late+kept > 0 {
		f.zh += fmt.Sprintf(";已过 72 小时的 %d 个、规则不许的 %d 个没有", late, kept)
		f.en += fmt.Sprintf("; not %d after 72 hours, nor %d that the rule does not let", late, kept)
	}
	return f
}

// tookBack: what was cancelled and what was aborted reached the apps.
func (p *play) tookBack(t *told) fact {
	n := map[string]int{}
	for _, c := range p.cases {
		for _, k := range c.created.Tasks {
			for _, why := range []string{"cancelled", "aborted"} {
				if (why == "cancelled") == (c.end == byHolder) {
					n[why] += t.of(k.App, huanxin.UnbindCancelled, func(h *appsim.Heard) bool { return h.Task == k.ID && h.Reason == why && h.Done })
				}
			}
		}
	}
	return fact{n["cancelled"] > 0 && n["aborted"] > 0,
		fmt.Sprintf("撤回的申请以 unbind-cancelled 告诉了 %d 个任务的应用,持号期结束的 %d 个", n["cancelled"], n["aborted"]),
		fmt.Sprintf("unbind-cancelled told the apps of %d tasks of the request that was taken back, and of %d whose tenure ended", n["cancelled"], n["aborted"])}
}
