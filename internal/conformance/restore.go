package conformance

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// highScenarios are accounts at which the number stops being a key at once.
func highScenarios(r *run) []*scenario {
	l := r.plan.reassigned(r.plan.segment)
	a := r.plan.account(l, "ha", ofClass("payment"))
	s := &scenario{code: "high-value", rule: "§6", title: say("高价值账号:先停用,24 小时后解绑;其间取消则恢复", "High value: no key at once, unbound after 24 hours; cancelled meanwhile, a key again"), line: l,
		why: say("支付、借贷、云盘、邮箱、通讯、政务:多等一天,误解除还来得及挽回", "payment, lending, cloud storage, mail, messaging, government: a day's wait leaves time to undo a mistake"),
		fix: say("收到任务就让号码不再是登录等的钥匙(suspend_key),24 小时后再读任务、再解绑、再答;取消就恢复(resume_key)", "stop the key when the task comes (suspend_key); 24 hours later read the task again, unbind, answer; cancelled, give the key back (resume_key)")}
	s.run = func(ctx context.Context) finding { return r.suspended(ctx, l, a) }
	return []*scenario{s}
}

func (r *run) suspended(ctx context.Context, l *line, a *Account) finding {
	expected := say("号码立刻不再能用,24 小时内不答 unbound;取消后号码恢复", "no key at once, no unbound within 24 hours; cancelled, it is a key again")
	if !r.high(a) {
		return skipped(expected, say("公司不按账号分类别,应用的类别也不是高价值", "the company keeps no classes of accounts, and the app's is not of high value"))
	}
	t, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	t.silent = true
	if f := r.judgeAsked(ctx, t, r.wanted(l)); f.outcome == Failed {
		return f.of(t)
	}
	if err := r.cancel(ctx)(t); err != nil {
		return hubFailed(expected, err).of(t)
	}
	if r.o.Inspector == nil {
		return skipped(expected, noLook).of(t)
	}
	if failure, ok := r.becomes(ctx, a, true); !ok {
		return failed(expected, say("取消之后号码没有恢复%s", "after the cancellation the number is no key%s", failure)).of(t)
	}
	r.settle(a, true)
	return passed(expected, say("停用了,没有过早答复,取消后恢复", "it was suspended, nothing was answered too early, and it is a key again")).of(t)
}

// restoreScenarios are tenures that are corrected away after the company acted.
func restoreScenarios(r *run) []*scenario {
	p := r.plan
	why := say("运营商也会报错:持号期被更正掉,解绑就成了误伤,要在恢复期内复原;但绝不违反规则十五", "carriers err: where a tenure is corrected away the unbinding was wrong and is undone while it can be, and never against rule 15")
	one := func(code, rule string, title, fix Text, back bool, moved time.Duration, more func(*line)) *scenario {
		l := p.transferred()
		x := p.account(l, code)
		if more != nil {
			more(l)
		}
		return &scenario{code: code, rule: rule, title: title, why: why, fix: fix, line: l,
			run: func(ctx context.Context) finding { return r.retracted(ctx, l, x, back, moved) }}
	}
	return []*scenario{
		one("restore", "§7.15", say("持号期被更正掉:恢复", "The tenure is corrected away: restored"),
			say("订阅 recycle-retracted,保留恢复凭据 72 小时,号码没有绑到别的账号、今天的判定也不会解绑时复原", "ask for recycle-retracted, keep a restore token for 72 hours, and restore where the number is bound to no other account and today's table would not unbind"), true, 0, nil),
		one("restore-taken", "§7.15", say("号码已绑到别的账号:不恢复", "The number is bound to another account: not restored"),
			say("恢复之前看这个号码在本公司有没有绑别的账号:有就不恢复", "look whether the number is bound to another account there before restoring: then do not"), false, 0,
			func(l *line) { p.account(l, "restore-other", boundAt(p.tenure.Add(30*day))) }),
		one("restore-moved", "§7.15", say("持号期只是改了开始时间:不恢复", "The tenure's start has only moved: not restored"),
			say("恢复之前按今天的持号期再判一次(问枢纽 /v1/checks):仍会解绑的不恢复", "decide once more by today's tenure before restoring (ask /v1/checks): what it would unbind stays unbound"), false, 20*day, nil),
	}
}

func (r *run) retracted(ctx context.Context, l *line, x *Account, back bool, moved time.Duration) finding {
	w := r.wanted(l)
	expected := say("账号 %s 重新认这个号码", "the number is a key of the account %s again", x.Name)
	if !back {
		expected = say("账号 %s 不恢复", "the account %s is not restored", x.Name)
	}
	switch {
	case r.front.mode() == "list":
		return skipped(expected, noStream)
	case r.o.Inspector == nil:
		return skipped(expected, noLook)
	case w.held && !back:
		return skipped(expected, say("高价值账号在这次检验里还没有解绑", "of high value, it is not unbound within this run"))
	}
	t, f := r.unbound(ctx, l, x, expected)
	if f != nil {
		return *f
	}
	events := l.events[len(l.events)-1:]
	void := events[0]
	void.ID, void.Kind, void.Corrects, void.At = events[0].ID+"-void", "corrected", events[0].ID, time.Now()
	told := append(events[:0:0], void)
	if moved > 0 {
		again := events[0]
		again.ID, again.At = events[0].ID+"-again", events[0].At.Add(moved)
		told = append(told, again)
	}
	if err := r.report(ctx, told...); err != nil {
		return hubFailed(expected, err).of(t)
	}
	if back {
		if failure, ok := r.becomes(ctx, x, true); !ok {
			return failed(expected, say("%s 内没有恢复%s", "it was not restored within %s%s", r.o.Within, failure)).of(t)
		}
		r.settle(x, true)
		return passed(expected, say("恢复了", "it was restored")).of(t)
	}
	return r.staysUnbound(ctx, l, x, expected).of(t)
}

func (r *run) staysUnbound(ctx context.Context, l *line, x *Account, expected Text) finding {
	heard := r.ear.until(ctx, r.o.Within, func() bool {
		s := r.ear.setOf(l.number.E164(), huanxin.RecycleRetracted)
		return s != nil && !s.acked.IsZero()
	})
	client.Pause(ctx, r.o.Quiet)
	if s, ok, failure := r.see(ctx, x); !ok || s.IsKey {
		return failed(expected, say("恢复了%s", "it was restored%s", failure))
	}
	r.settle(x, false)
	if !heard {
		return passed(expected, say("没有恢复(公司没有订阅 recycle-retracted)", "it was not restored (the company does not ask for recycle-retracted)"))
	}
	return passed(expected, say("没有恢复", "it was not restored"))
}

// unbound has an account unbound, as the first part of a scenario; a finding ends it there.
func (r *run) unbound(ctx context.Context, l *line, x *Account, expected Text) (*asking, *finding) {
	w := r.wanted(l)
	t, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		f := hubFailed(expected, err)
		return nil, &f
	}
	t.silent = w.held
	f := r.judgeAsked(ctx, t, w)
	switch {
	case f.outcome == Passed && w.keys[x]:
		f = skipped(expected, say("按公司记录的事实,这个账号本来就不解绑", "by the facts that the company keeps this account is not unbound"))
	case f.outcome != Failed && !w.keys[x]:
		return t, nil
	}
	f = f.of(t)
	return nil, &f
}
