package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// lastScenarios look at what all others left behind.
func lastScenarios(r *run) []*scenario {
	return []*scenario{
		{code: "answers", rule: "§6, §7.6", stage: atLast, title: say("答复合乎规定", "Answers are well-formed"),
			why: say("答复绑定任务 id、持号期 id 和 digest,只用规定的结果和理由", "an answer is bound to task, tenure and digest, with the outcomes and reasons of the contract alone"),
			fix: say("tenure_id 和 digest 原样带回;结果与理由用规定的词,没有\"其他\";链接在登记的域名上", "send tenure_id and digest back as they are; outcomes and reasons are those of the contract, there is no \"other\"; links lie on registered domains"), run: r.wellFormed},
		{code: "read-again", rule: "§6", stage: atLast, title: say("动手之前再读任务", "Tasks are read again right before acting"),
			why: say("从送达到动手之间,机主可能取消,持号期可能结束", "between delivery and acting the holder may cancel and the tenure may end"),
			fix: say("动账号之前 GET /v1/tasks/{id}(或 GET /v1/tasks?ids=)", "GET /v1/tasks/{id} (or GET /v1/tasks?ids=) before touching an account"), run: r.readAgain},
		{code: "clock", rule: "§6", stage: atLast, title: say("按时答复", "Answers in time"),
			why: say("五个工作日内答复,之后升级;in_review 不停钟", "due within five working days, then escalated; in_review does not stop the clock"),
			fix: say("收到就办;要人工看的当天就答 in_review 或 action_required", "work tasks as they come, and answer in_review or action_required at once where a person must look"), run: r.inTime},
		{code: "afterwards", rule: "§6, §7.1", stage: atLast, title: say("此后没有变", "Nothing changed afterwards"),
			why: say("答对了,过几秒又动账号或改答复,一样是误伤", "a right answer is worth nothing where the account is taken, or the answer changed, seconds later"),
			fix: say("答复说了什么就做什么,只做一次:之后的清理、同步、重试都不能再动账号和最终答复", "do what the answer says, and once: no clean-up, synchronization or retry touches accounts and final answers later"), run: r.afterwards},
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
			if h.Code != "" && h.Code != "no_effect" && h.Code != hubBusy {
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
			switch s := r.lastLook(ctx)[x]; {
			case s.failure != "":
				return notSeen(expected, x, s.failure)
			case !s.IsKey:
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
	var gone, untold []string
	for _, x := range r.plan.accounts {
		switch s := r.lastLook(ctx)[x]; {
		case s.failure != "":
			return notSeen(expected, x, s.failure)
		case s.Exists == nil:
			untold = append(untold, x.Name)
		case !*s.Exists:
			gone = append(gone, x.Name)
		default:
			told++
		}
	}
	switch {
	case len(gone) > 0:
		return failed(expected, say("不见了:%s", "gone: %s", strings.Join(gone, " ")))
	case told == 0:
		return skipped(expected, say("公司没有说账号在不在(exists)", "the company does not say whether accounts are there (exists)"))
	case len(untold) > 0:
		return failed(expected, say("%d 个账号没有说在不在,例如 %s", "of %d accounts it is not told whether they are there, such as %s", len(untold), untold[0])).
			mend(say("--inspect 对没有绑定的账号也要说 exists:语句从账号表查起", "--inspect tells exists of an account without a binding too: let the statement begin with the table of accounts"))
	}
	return passed(expected, say("%d 个账号都在", "all %d accounts are there", told))
}

// look is what was seen of an account, or why nothing was.
type look struct {
	Sight
	failure string
}

// lastLook gives what became of every account: they are looked at once, when all that is judged by it has happened.
func (r *run) lastLook(ctx context.Context) map[*Account]look {
	if r.last != nil {
		return r.last
	}
	seen := make([]look, len(r.plan.accounts))
	var wg sync.WaitGroup
	for i, x := range r.plan.accounts {
		wg.Go(func() {
			s, ok, failure := r.see(ctx, x)
			if seen[i] = (look{s, failure}); !ok && failure == "" {
				seen[i].failure = "?" // the run ends
			}
		})
	}
	wg.Wait()
	r.last = map[*Account]look{}
	for i, x := range r.plan.accounts {
		r.last[x] = seen[i]
	}
	return r.last
}

// silence is what is found where the company never came.
func (r *run) silence() Result {
	s := scenario{code: "connect", rule: "§6", title: say("公司连上枢纽", "The company connects"), why: say("连不上就没有任务", "without it there are no tasks"),
		fix: say("公司的程序要指向 %s,用 %s 里的凭据;huanxin agent check 会说明哪里不对", "point the company's program to %s with the credentials of %s; huanxin agent check says what is wrong", r.hub.URL, HubFile)}
	seen := say("%s 内没有任何请求", "no request within %s", r.o.Connect)
	switch {
	case r.gone():
		seen = say("程序自己退出了", "the program ended by itself")
	case !r.ear.first.IsZero():
		seen = say("来过,但既没有建立事件流,也没有列任务", "it came, but neither made a stream nor listed tasks")
	}
	return s.result(failed(say("建立事件流,或列任务", "makes a stream, or lists tasks"), seen), r.o.Connect)
}
