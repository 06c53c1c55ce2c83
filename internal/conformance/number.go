package conformance

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

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
		r.plan.account(l, "kind-"+k.String()[:1]) // one that a task of the kind unbind would take
		out = append(out, &scenario{code: "kind-" + strings.ReplaceAll(k.String(), "_", "-"), rule: "§6", title: say("任务种类 %s", "Tasks of kind %s", k), line: l,
			why: say("任务不只有解绑;不办的种类也要答复,不能当作解绑", "tasks are not only about unbinding; what is not served is answered all the same, and never taken for unbind"),
			fix: say("看任务的 kind:不办的答 kept not_in_scope;办的,没有可清的答 not_bound none_found,清了的答 unbound;号码仍是账号的钥匙", "look at the task's kind: answer kept not_in_scope where it is not served, not_bound none_found where there is nothing, and unbound where it is done; the number stays a key of the account"),
			run: func(ctx context.Context) finding { return r.ofKind(ctx, l, k) }})
	}
	return out
}

func (r *run) ofKind(ctx context.Context, l *line, k huanxin.TaskKind) finding {
	w := want{Verdict: huanxin.Verdict{Outcome: huanxin.Kept, Reason: huanxin.NotInScope}}
	if slices.Contains(r.o.Kinds, k) {
		w.Verdict, w.orDone = huanxin.Verdict{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}, true
	}
	expected := w.text().and(say("号码仍是账号的钥匙", "the number stays a key of the account"))
	a, err := r.ask(ctx, l, k)
	if err != nil {
		return hubFailed(expected, err)
	}
	f := r.judgeAsked(ctx, a, w).of(a)
	f.expected = expected
	if f.outcome == Failed {
		return f
	}
	client.Pause(ctx, r.o.Quiet)
	return r.untouched(ctx, l, expected).of(a)
}
