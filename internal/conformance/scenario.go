package conformance

import (
	"context"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// stage is when a scenario runs.
type stage uint8

const (
	together stage = iota // with others
	alone                 // it disturbs others
	atLast                // it looks at what all others left behind
)

// scenario is one thing that is looked at.
type scenario struct {
	code  string
	rule  string // its place in DOMAIN.md
	title Text
	why   Text
	fix   Text
	stage stage
	line  *line // whose accounts the report names; nil: none
	run   func(ctx context.Context) finding
}

// finding is what a scenario saw.
type finding struct {
	outcome        Outcome
	expected, seen Text
	fix            Text // in place of the scenario's
	tasks          []string
}

func passed(expected, seen Text) finding {
	return finding{outcome: Passed, expected: expected, seen: seen}
}
func failed(expected, seen Text) finding {
	return finding{outcome: Failed, expected: expected, seen: seen}
}
func skipped(expected, why Text) finding {
	return finding{outcome: Skipped, expected: expected, seen: why}
}

func (f finding) of(a *asking) finding {
	if a != nil {
		f.tasks = append(f.tasks, a.task)
	}
	return f
}

func (f finding) mend(fix Text) finding {
	f.fix = fix
	return f
}

func (s *scenario) result(f finding, took time.Duration) Result {
	out := Result{Code: s.code, Title: s.title, Rule: s.rule, Why: s.why, Outcome: f.outcome, Expected: f.expected, Seen: f.seen, Tasks: f.tasks,
		Took: took.Round(time.Millisecond).Seconds()}
	if s.line != nil {
		for _, a := range s.line.accounts {
			out.Accounts = append(out.Accounts, a.Name)
		}
	}
	if f.outcome == Failed {
		fix := s.fix
		if !f.fix.empty() {
			fix = f.fix
		}
		out.Fix = &fix
	}
	return out
}

// scenarios are all of them, in the order of the report. Their accounts are in the plan when it returns.
func scenarios(r *run) []*scenario {
	return slices.Concat(deliveryScenarios(r), rowScenarios(r), mixedScenarios(r), forgedScenarios(r), endedScenarios(r), highScenarios(r),
		restoreScenarios(r), numberScenarios(r), kindScenarios(r), disturbingScenarios(r), lastScenarios(r))
}

// hubFailed is what is said where the run's own hub refuses what it must not refuse: nothing was found out, so nothing is passed.
func hubFailed(expected Text, err error) finding {
	return failed(expected, say("检验用的枢纽出错:%s", "the hub of the run fails: %s", err.Error())).
		mend(say("这一项没有检验成:公司的请求太多、太密时先减少,再运行一次;仍这样,请告诉焕新项目",
			"this was not found out: have the company ask less if it asks without pause, and run again; if it stays so, tell the huanxin project"))
}

// notSeen is what is said where looking at an account fails: what nobody saw is not right.
func notSeen(expected Text, a *Account, failure string) finding {
	return failed(expected, say("看不到账号 %s:%s", "the account %s cannot be inspected: %s", a.Name, failure)).mend(say("改正 --inspect", "mend --inspect"))
}

var (
	noStream = say("公司没有建立事件流,只列任务", "the company makes no stream, and lists tasks only")
	noLook   = say("没有给 --inspect,看不到账号", "without --inspect nobody sees the accounts")
)

// want is what a task is to be answered with, and what is to become of the accounts.
type want struct {
	huanxin.Verdict
	// held: a binding of high value is to be unbound, which is final a day later; there is no answer until then.
	held bool
	// orDone: unbound, which of another kind of task means done, is as good.
	orDone bool
	keys   map[*Account]bool
}

func (r *run) high(a *Account) bool {
	class := r.o.Class
	if a.Class != "" && !r.without[FactClass] {
		class = a.Class
	}
	p := huanxin.Party{Class: class}
	return p.HighValue()
}

// wanted works out by the table of DOMAIN.md §6 what is right for a line.
func (r *run) wanted(l *line) want {
	w := want{keys: map[*Account]bool{}}
	var all []huanxin.Verdict
	for _, a := range l.accounts {
		outcome, reason, _ := huanxin.Decide(l.claim(), a.binding(r.without))
		all = append(all, huanxin.Verdict{Outcome: outcome, Reason: reason})
		w.keys[a] = outcome != huanxin.Unbound
		w.held = w.held || outcome == huanxin.Unbound && r.high(a)
	}
	w.Outcome, w.Reason = huanxin.Combine(all)
	w.held = w.held && w.Outcome.Final()
	return w
}

func (w *want) text() Text {
	t := say("答 %s", "answers %s", verdictWords(w.Verdict))
	if w.held {
		t = say("号码立刻不再能用,满 24 小时才算解绑:此前不答 unbound", "the number stops being a key at once and is unbound 24 hours later: no unbound before")
	}
	kept, gone := 0, 0
	for _, key := range w.keys {
		if key {
			kept++
		} else {
			gone++
		}
	}
	if gone > 0 {
		t = t.and(say("%d 个账号不再认这个号码", "no longer a key (accounts: %d)", gone))
	}
	if kept > 0 {
		t = t.and(say("%d 个账号仍认这个号码", "still a key (accounts: %d)", kept))
	}
	return t
}

func verdictWords(v huanxin.Verdict) string { return v.Outcome.String() + " " + v.Reason.String() }

// matches reports whether an answer is what is wanted. The company may know more than was seeded where that does no harm.
func (w *want) matches(h heard) bool {
	if w.orDone && h.Outcome == huanxin.Unbound.String() {
		return true
	}
	if h.Outcome != w.Outcome.String() {
		return false
	}
	switch w.Reason {
	case huanxin.Removed, huanxin.NoneFound: // moved_to_other_contact and already_cleared are as good
		return true
	}
	return h.Reason == w.Reason.String()
}

// judge asks for a line and judges the answer and the accounts.
func (r *run) judge(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(w.text(), err)
	}
	a.silent = w.held
	return r.judgeAsked(ctx, a, w).of(a)
}

func (r *run) judgeAsked(ctx context.Context, a *asking, w want) finding {
	if w.held {
		if f := r.judgeKeys(ctx, w); f.outcome == Failed {
			return f
		}
		client.Pause(ctx, r.o.Quiet)
		if h, ok := r.lastOf(a.task); ok && h.Outcome == huanxin.Unbound.String() {
			return failed(w.text(), say("未满 24 小时就答了 unbound", "it answers unbound before 24 hours are over")).
				mend(say("高价值账号:先停用号码,24 小时后再答 unbound", "of high value: stop the key first, answer unbound 24 hours later"))
		}
		return r.judgeKeys(ctx, w)
	}
	h, ok := r.answerTo(ctx, a, w)
	if !ok {
		return failed(w.text(), r.nothing(a)).mend(r.mendSilence(a))
	}
	if !w.matches(h) {
		return failed(w.text(), say("答了 %s", "it answers %s", h.Outcome+" "+h.Reason))
	}
	r.judged(a.task, h)
	return r.judgeKeys(ctx, w)
}

// answerTo waits for the answer that is wanted, or for one that ends the task.
func (r *run) answerTo(ctx context.Context, a *asking, w want) (h heard, ok bool) {
	r.ear.until(ctx, r.o.Within, func() bool {
		h, ok = r.ear.said(a.task)
		o, err := huanxin.ParseOutcome(h.Outcome)
		return ok && (w.matches(h) || err == nil && o.Final())
	})
	return h, ok
}

func (r *run) lastOf(task string) (h heard, ok bool) {
	r.ear.mu.Lock()
	defer r.ear.mu.Unlock()
	return r.ear.said(task)
}

// nothing says what was seen of a task that was not answered.
func (r *run) nothing(a *asking) Text {
	for _, h := range r.ear.of(a.task) {
		if h.Code != "" {
			return say("答复 %s 被枢纽拒绝:%s", "the hub refuses its answer %s: %s", h.Outcome+" "+h.Reason, h.Code)
		}
	}
	return say("%s 内没有答复", "no answer within %s", r.o.Within)
}

// mendSilence says what keeps a company from answering.
func (r *run) mendSilence(a *asking) Text {
	for _, h := range r.ear.of(a.task) {
		if h.Code != "" {
			return say("见 answers 一项:把任务里的 tenure.id 和 digest 原样带回,结果与理由用规定的词", "see answers: send tenure.id and digest of the task back as they are, with the words of the contract")
		}
	}
	return say("看公司的日志:任务有没有收到、语句有没有出错;huanxin agent check 会说明哪里不对", "look at the company's log: did the task come, did a statement fail? huanxin agent check says what is wrong")
}

// judgeKeys looks at the accounts until they are as they should be.
func (r *run) judgeKeys(ctx context.Context, w want) finding {
	if r.o.Inspector == nil {
		return passed(w.text(), say("答复正确(没有查看账号)", "the answer is right (the accounts were not inspected)"))
	}
	for a, key := range w.keys {
		failure, ok := r.becomes(ctx, a, key)
		switch {
		case failure != "":
			return notSeen(w.text(), a, failure)
		case !ok && key:
			return failed(w.text(), say("账号 %s 不再认这个号码", "the number is no key of the account %s any more", a.Name)).
				mend(say("每个绑定按它自己的那一行处理:持号期开始之后绑定的、拿不准的,都不能动(规则一)", "treat each binding by its own row: what was bound in the present tenure, or is not certain, is left alone (rule 1)"))
		case !ok:
			return failed(w.text(), say("账号 %s 仍认这个号码", "the number still is a key of the account %s", a.Name)).
				mend(say("unbind 语句没有让号码失效:登录、找回、二次验证、通知、发现都要停", "unbind does not end the key: login, recovery, second factor, notification and discovery stop"))
		}
		r.settle(a, key)
	}
	return passed(w.text(), say("答复与账号都对", "the answer and the accounts are right"))
}
