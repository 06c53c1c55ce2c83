package conformance

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// disturbingScenarios are about the whole company, and run alone.
func disturbingScenarios(r *run) []*scenario {
	p := r.plan
	held, killed := p.reassigned(p.segment), p.reassigned(p.segment)
	p.account(held, "ka")
	p.account(killed, "kb")
	return []*scenario{
		{code: "kill-switch", rule: "§6", stage: alone, title: say("枢纽按下停止开关", "The hub's kill switch"), line: held,
			why: say("出了事,运营者要能让一家公司立刻停手", "when something goes wrong the operator can have a company stop at once"),
			fix: say("至少每分钟读一次 GET /v1/apps/self;hold 为 true 时收任务而不动账号", "read GET /v1/apps/self once a minute; while hold is true take tasks and leave accounts alone"),
			run: func(ctx context.Context) finding { return r.onHold(ctx, held) }},
		{code: "restart", rule: "§7.8", stage: alone, title: say("确认之后立刻被杀死", "Killed right after it acknowledged"), line: killed,
			why: say("确认过的枢纽不再发:只记在内存里,重启就丢了机主的申请", "what is acknowledged does not come again: kept in memory alone, a restart loses the holder's request"),
			fix: say("先写入稳定存储,再确认;启动时从存储和 GET /v1/tasks 接着办", "write to stable storage, then acknowledge; go on from there and from GET /v1/tasks when starting"),
			run: func(ctx context.Context) finding { return r.killed(ctx, killed) }},
	}
}

// asksWithin is how long a company that asks for the kill switch every minute may take to have asked: its minutes need not be ours.
const asksWithin = 90 * time.Second

// toldHold waits until the company was told since then whether it is on hold.
func (r *run) toldHold(ctx context.Context, hold bool, since time.Time) bool {
	return r.ear.until(ctx, max(r.o.Within, asksWithin), func() bool {
		return slices.ContainsFunc(r.ear.selfs, func(s selfSeen) bool { return s.hold == hold && s.at.After(since) })
	})
}

func (r *run) onHold(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("开关按下时不动账号,松开后照常", "nothing is done to accounts while it is set, and all as usual afterwards")
	if err := r.hub.hold(ctx, r.o.ClientID, true); err != nil {
		return hubFailed(expected, err)
	}
	set := time.Now()
	if !r.toldHold(ctx, true, set) {
		_ = r.hub.hold(ctx, r.o.ClientID, false)
		return failed(expected, say("%s 内没有来问 /v1/apps/self", "it does not ask for /v1/apps/self within %s", max(r.o.Within, asksWithin)))
	}
	client.Pause(ctx, time.Second) // whoever asked reads the answer
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err == nil {
		client.Pause(ctx, r.o.Quiet)
		if said, ok := r.actedFor(a); ok {
			_ = r.hub.hold(ctx, r.o.ClientID, false)
			return failed(expected, say("照样答了 %s", "it answers %s all the same", said)).of(a)
		}
		if f := r.untouched(ctx, l, expected); f.outcome == Failed {
			_ = r.hub.hold(ctx, r.o.ClientID, false)
			return f.of(a)
		}
	}
	if off := r.hub.hold(ctx, r.o.ClientID, false); off != nil || err != nil {
		return hubFailed(expected, cmp.Or(err, off))
	}
	set = time.Now()
	r.toldHold(ctx, false, set)
	a.silent = true // it had to wait
	f := r.judgeAsked(ctx, a, w).of(a)
	f.expected = expected
	return f
}

func (r *run) killed(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("重启后照常办完", "worked to its end after the restart")
	if r.o.Restart == nil {
		return skipped(expected, say("没有给 --company,检验方不能重启公司的程序", "without --company nobody here can restart the company's program"))
	}
	h, release := r.front.holdBack(l.number)
	defer release()
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	a.silent = true
	hear := r.front.deafen(a.task) // so that after the kill there is what was stored, and nothing else
	defer hear()
	select {
	case <-h.caught:
	case <-ctx.Done():
	case <-time.After(r.o.Within):
	}
	release()
	if r.front.mode() != "list" {
		r.ear.until(ctx, r.o.Within, func() bool {
			s := r.ear.setOf(l.number.E164(), huanxin.UnbindRequested)
			return s != nil && !s.acked.IsZero()
		})
	}
	done := false // without reading the task again: its work did not outlive the kill, it came before it
	for _, x := range l.accounts {
		s, ok, failure := r.see(ctx, x)
		if failure != "" {
			return notSeen(expected, x, failure).of(a)
		}
		done = done || ok && !s.IsKey
	}
	if err := r.o.Restart(ctx); err != nil {
		return failed(expected, say("重启失败:%s", "the restart fails: %s", err)).of(a)
	}
	hear()
	f := r.judgeAsked(ctx, a, w).of(a)
	f.expected = expected
	if once := r.actedOnce(ctx, a, expected); once.outcome == Failed {
		return once.of(a)
	}
	if f.outcome == Passed && done {
		return skipped(expected, say("不能定论:杀死之前已经动过账号;请再运行一次", "inconclusive, run again: the account was touched before the kill")).of(a)
	}
	return f
}
