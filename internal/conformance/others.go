package conformance

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
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
	expected := say("账号 %s 重新认这个号码", "the number is a key of the account %s again", x.Name)
	if !back {
		expected = say("账号 %s 不恢复", "the account %s is not restored", x.Name)
	}
	switch {
	case r.front.mode() == "list":
		return skipped(expected, noStream)
	case r.o.Inspector == nil:
		return skipped(expected, noLook)
	}
	t, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	w := r.wanted(l)
	t.silent = w.held
	if f := r.judgeAsked(ctx, t, w); f.outcome == Failed || w.keys[x] {
		if f.outcome == Passed {
			return skipped(expected, say("按公司记录的事实,这个账号本来就不解绑", "by the facts that the company keeps this account is not unbound")).of(t)
		}
		return f.of(t)
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
		return passed(expected, say("恢复了", "it was restored")).of(t)
	}
	return r.staysUnbound(ctx, l, x, expected).of(t)
}

func (r *run) staysUnbound(ctx context.Context, l *line, x *Account, expected Text) finding {
	heard := r.ear.until(ctx, r.o.Within, func() bool {
		s := r.ear.setOf(l.number.E164(), huanxin.RecycleRetracted)
		return s != nil && !s.acked.IsZero()
	})
	pause(ctx, r.o.Quiet)
	if s, ok, failure := r.see(ctx, x); !ok || s.IsKey {
		return failed(expected, say("恢复了%s", "it was restored%s", failure))
	}
	if !heard {
		return passed(expected, say("没有恢复(公司没有订阅 recycle-retracted)", "it was not restored (the company does not ask for recycle-retracted)"))
	}
	return passed(expected, say("没有恢复", "it was not restored"))
}

// segments are prefixes that numbers really have, and one that nobody was allotted (DOMAIN.md §8).
var segments = []string{"166", "162", "165", "167", "171", "172", "173", "175", "176", "177", "178", "17400", "180", "189", "190", "191", "192", "193", "195",
	"196", "197", "198", "199", "145", "147", "149", "150", "1700", "1703", "1704", "1707", "164"}

func numberScenarios(r *run) []*scenario {
	var lines []*line
	for _, s := range segments {
		l := r.plan.reassigned(s)
		r.plan.account(l, "seg-"+s)
		lines = append(lines, l)
	}
	return []*scenario{{code: "segments", rule: "§8", title: say("新号段、虚商号段、不认识的号段", "New segments, those of virtual operators, and an unknown one"),
		why: say("形式正确的号码,不认识号段也要接受:自己的号段表总是过时的", "a well-formed number on an unknown segment is accepted: a table of segments is always out of date"),
		fix: say("按位数和首位判断,不按号段表拒绝;导入和查找都不要过滤这些号段", "judge by length and first digit; refuse nothing by a table of segments, neither when importing nor when looking up"),
		run: func(ctx context.Context) finding { return r.onSegments(ctx, lines) }}}
}

func (r *run) onSegments(ctx context.Context, lines []*line) finding {
	expected := say("%d 个号段都照常办理", "numbers on %d segments are worked like all others", len(lines))
	found := make([]finding, len(lines))
	var wg sync.WaitGroup
	for i, l := range lines {
		wg.Go(func() { found[i] = r.judge(ctx, l) })
	}
	wg.Wait()
	var bad []string
	var seen, fix Text
	for i, f := range found {
		if f.outcome == Failed {
			bad = append(bad, segments[i])
			seen, fix = f.seen, f.fix
		}
	}
	if len(bad) == 0 {
		return passed(expected, expected)
	}
	if len(bad) < len(lines) {
		fix = Text{}
	}
	return failed(expected, say("这些号段不行:%s", "not on these: %s", strings.Join(bad, " ")).and(seen)).mend(fix)
}

func kindScenarios(r *run) []*scenario {
	var out []*scenario
	for _, k := range []huanxin.TaskKind{huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction} {
		l := r.plan.reassigned(r.plan.segment)
		out = append(out, &scenario{code: "kind-" + strings.ReplaceAll(k.String(), "_", "-"), rule: "§6", title: say("任务种类 %s", "Tasks of kind %s", k),
			why: say("任务不只有解绑;不办的种类也要答复,不能当作解绑", "tasks are not only about unbinding; what is not served is answered all the same, and never taken for unbind"),
			fix: say("看任务的 kind:不办的答 kept not_in_scope;办的,没有可清的答 not_bound none_found", "look at the task's kind: answer kept not_in_scope where it is not served, and not_bound none_found where there is nothing"),
			run: func(ctx context.Context) finding { return r.ofKind(ctx, l, k) }})
	}
	return out
}

func (r *run) ofKind(ctx context.Context, l *line, k huanxin.TaskKind) finding {
	w := want{Verdict: huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}}
	if slices.Contains(r.o.Kinds, k) {
		w.Verdict = huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}
	}
	a, err := r.ask(ctx, l, k)
	if err != nil {
		return hubFailed(w.text(), err)
	}
	return r.judgeAsked(ctx, a, w).of(a)
}

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

func (r *run) onHold(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("开关按下时不动账号,松开后照常", "nothing is done to accounts while it is set, and all as usual afterwards")
	if err := r.hub.hold(ctx, r.o.ClientID, true); err != nil {
		return hubFailed(expected, err)
	}
	set := time.Now()
	told := func(hold bool) bool {
		return r.ear.until(ctx, max(r.o.Within, time.Minute), func() bool {
			return slices.ContainsFunc(r.ear.selfs, func(s selfSeen) bool { return s.hold == hold && s.at.After(set) })
		})
	}
	if !told(true) {
		_ = r.hub.hold(ctx, r.o.ClientID, false)
		return failed(expected, say("没有来问 /v1/apps/self", "it never asks for /v1/apps/self"))
	}
	pause(ctx, time.Second) // whoever asked reads the answer
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err == nil {
		pause(ctx, r.o.Quiet)
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
	told(false)
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
	if err := r.o.Restart(ctx); err != nil {
		return failed(expected, say("重启失败:%s", "the restart fails: %s", err)).of(a)
	}
	f := r.judgeAsked(ctx, a, w).of(a)
	f.expected = expected
	if f.outcome == Passed {
		f = cmpFinding(r.actedOnce(ctx, a, expected), f).of(a)
	}
	return f
}

func cmpFinding(a, b finding) finding {
	if a.outcome == Failed {
		return a
	}
	return b
}

// lastScenarios look at what all others left behind.
func lastScenarios(r *run) []*scenario {
	return []*scenario{
		{code: "answers", rule: "§6, §7.6", stage: atLast, title: say("答复合乎规定", "Answers are well-formed"),
			why: say("答复绑定任务 id、持号期 id 和 digest,只用规定的结果和理由", "an answer is bound to task, tenure and digest, with the outcomes and reasons of the contract alone"),
			fix: say("tenure_id 和 digest 原样带回;结果与理由用规定的词,没有\"其他\";链接在登记的域名上", "send tenure_id and digest back as they are; outcomes and reasons are those of the contract, there is no \"other\"; links lie on registered domains"), run: r.wellFormed},
		{code: "read-again", rule: "§6", stage: atLast, title: say("动手之前再读任务", "Tasks are read again right before acting"),
			why: say("从送达到动手之间,机主可能取消,持号期可能结束", "between delivery and acting the holder may cancel and the tenure may end"),
			fix: say("动账号之前 GET /v1/tasks/{id}", "GET /v1/tasks/{id} before touching an account"), run: r.readAgain},
		{code: "clock", rule: "§6", stage: atLast, title: say("按时答复", "Answers in time"),
			why: say("五个工作日内答复,之后升级;in_review 不停钟", "due within five working days, then escalated; in_review does not stop the clock"),
			fix: say("收到就办;要人工看的当天就答 in_review 或 action_required", "work tasks as they come, and answer in_review or action_required at once where a person must look"), run: r.inTime},
		{code: "rule-1", rule: "§7.1", stage: atLast, title: say("规则一:现机主的绑定一个没少", "Rule 1: no binding of a present holder was lost"),
			why: say("持号期开始之后绑定的绝不解绑,没有例外", "what was bound at or after the tenure's start is never unbound, without any exception"), fix: rowFix['1'],
			run: r.ruleOne},
		{code: "rule-2", rule: "§7.2", stage: atLast, title: say("规则二:账号都还在", "Rule 2: every account is still there"),
			why: say("解绑不动账号、数据和钱", "unbinding leaves account, data and money alone"), fix: say("只去掉号码与账号的关系,不删账号", "take the number off the account, and delete nothing"),
			run: r.ruleTwo},
	}
}

func (r *run) wellFormed(context.Context) finding {
	expected := say("枢纽没有拒绝任何答复", "the hub refuses no answer")
	r.ear.mu.Lock()
	defer r.ear.mu.Unlock()
	codes := map[string]int{}
	n := 0
	for task, all := range r.ear.answers {
		if r.asked[task] == nil {
			continue
		}
		for _, h := range all {
			n++
			if h.Code != "" && h.Code != "no_effect" && h.Code != "status 503" {
				codes[h.Code]++
			}
		}
	}
	switch {
	case r.ear.badBodies > 0:
		return failed(expected, say("%d 个答复不是 JSON", "%d answers are no JSON", r.ear.badBodies))
	case len(codes) > 0:
		var words []string
		for _, c := range slices.Sorted(maps.Keys(codes)) {
			words = append(words, fmt.Sprintf("%s × %d", c, codes[c]))
		}
		return failed(expected, say("被拒绝:%s", "refused: %s", strings.Join(words, ", ")))
	case n == 0:
		return failed(expected, say("一个答复也没有", "there is no answer at all"))
	}
	return passed(expected, say("%d 个答复", "%d answers", n))
}

func (r *run) readAgain(context.Context) finding {
	expected := say("每个答了 unbound 的任务,答复之前都读过", "every task answered unbound was read before")
	r.ear.mu.Lock()
	defer r.ear.mu.Unlock()
	var not []string
	n := 0
	for task, all := range r.ear.answers {
		a := r.asked[task]
		i := slices.IndexFunc(all, func(h heard) bool { return h.Outcome == huanxin.Unbound.String() })
		if a == nil || i < 0 {
			continue
		}
		n++
		read := func(t time.Time) bool { return t.After(a.at) && t.Before(all[i].At) }
		if !slices.ContainsFunc(r.ear.reads[task], read) {
			not = append(not, task)
		}
	}
	switch {
	case n == 0:
		return skipped(expected, say("没有任务答了 unbound", "no task was answered unbound"))
	case len(not) > 0:
		f := failed(expected, say("%d 个任务中 %d 个没有再读", "of %d tasks, %d were not read again", n, len(not)))
		f.tasks = not
		return f
	}
	return passed(expected, say("%d 个任务都再读过", "all %d tasks were", n))
}

func (r *run) inTime(ctx context.Context) finding {
	expected := say("每个任务 %s 内有答复", "every task is answered within %s", r.o.Within)
	var late []string
	slowest := time.Duration(0)
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.asked))
	r.mu.Unlock()
	n := 0
	for _, a := range all {
		if a.silent {
			continue
		}
		n++
		answers := r.ear.of(a.task)
		i := slices.IndexFunc(answers, func(h heard) bool { return h.Code == "" })
		if i < 0 || answers[i].At.Sub(a.at) > r.o.Within {
			late = append(late, a.task)
			continue
		}
		slowest = max(slowest, answers[i].At.Sub(a.at))
	}
	switch {
	case n == 0:
		return skipped(expected, say("没有任务等答复", "no task waited for an answer"))
	case len(late) > 0:
		f := failed(expected, say("%d 个任务中 %d 个没有", "of %d tasks, %d were not", n, len(late)))
		f.tasks = late
		return f
	}
	return passed(expected, say("最慢的 %s", "the slowest took %s", slowest.Round(time.Millisecond)))
}

func (r *run) ruleOne(ctx context.Context) finding {
	expected := say("持号期内绑定的账号都仍认自己的号码", "every account that was bound in a tenure still has its number")
	if r.o.Inspector == nil {
		return skipped(expected, noLook)
	}
	n := 0
	var lost []string
	for _, l := range r.plan.lines {
		for _, x := range l.accounts {
			if _, _, row := huanxin.Decide(l.claim(), x.binding(r.without)); row != 1 {
				continue
			}
			n++
			if s, ok, _ := r.see(ctx, x); ok && !s.IsKey {
				lost = append(lost, x.Name)
			}
		}
	}
	if len(lost) > 0 {
		return failed(expected, say("丢了号码的:%s", "these lost it: %s", strings.Join(lost, " ")))
	}
	return passed(expected, say("%d 个账号", "%d accounts", n))
}

func (r *run) ruleTwo(ctx context.Context) finding {
	expected := say("账号一个没少", "no account is gone")
	if r.o.Inspector == nil {
		return skipped(expected, noLook)
	}
	told := 0
	var gone []string
	for _, x := range r.plan.accounts {
		s, ok, _ := r.see(ctx, x)
		if !ok || s.Exists == nil {
			continue
		}
		told++
		if !*s.Exists {
			gone = append(gone, x.Name)
		}
	}
	switch {
	case told == 0:
		return skipped(expected, say("公司没有说账号在不在(exists)", "the company does not say whether accounts are there (exists)"))
	case len(gone) > 0:
		return failed(expected, say("不见了:%s", "gone: %s", strings.Join(gone, " ")))
	}
	return passed(expected, say("%d 个账号都在", "all %d accounts are there", told))
}

// silence is what is found where the company never came.
func (r *run) silence() Result {
	s := scenario{code: "connect", rule: "§6", title: say("公司连上枢纽", "The company connects"), why: say("连不上就没有任务", "without it there are no tasks"),
		fix: say("公司的程序要指向 %s,用 %s 里的凭据;huanxin agent check 会说明哪里不对", "point the company's program to %s with the credentials of %s; huanxin agent check says what is wrong", r.hub.URL, HubFile)}
	seen := say("%s 内没有任何请求", "no request within %s", r.o.Connect)
	if !r.ear.first.IsZero() {
		seen = say("来过,但既没有建立事件流,也没有列任务", "it came, but neither made a stream nor listed tasks")
	}
	return s.result(failed(say("建立事件流,或列任务", "makes a stream, or lists tasks"), seen), r.o.Connect)
}
