package conformance

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// row is one account on one number, and the row of the table that decides about it.
type row struct {
	code, name string
	title      Text
	line       func(*plan) *line
	facts      []func(*Account)
	needs      string // a fact without which there is nothing to look at
}

var rowWhy = map[byte]Text{
	'1': say("持号期开始之后绑定的是现机主自己的账号,绝不能解绑", "what was bound in the present tenure is the present holder's own, and is never unbound"),
	'2': say("已核实是同一个人:解绑会夺走机主自己的账号", "the owner is verified to be the present holder: unbinding would take their own account"),
	'3': say("不知道何时绑定,不等于早就绑定(规则七)", "an unknown date is not an early one (rule 7)"),
	'4': say("日期挨得太近,分不清是谁的", "the dates are too close to tell whose it is"),
	'5': say("持号期从何时开始都不知道,只有机主自己能确认", "where the tenure's start is unknown only the holder can confirm"),
	'6': say("之后还有人用号码以外的方式证明过自己:也许就是现机主", "somebody proved themselves by something other than the number since: it may be the present holder"),
	'7': say("前机主的绑定:不解除,新机主收到别人的验证码,也能登录别人的账号", "a former holder's binding: while it stands, the new holder gets their codes and into their account"),
}

var rowFix = map[byte]Text{
	'1': say("比较 bound_at 与任务的 tenure.started_at:不早于它的答 kept bound_by_current_holder,什么也不做", "compare bound_at with the task's tenure.started_at: what is not earlier is kept bound_by_current_holder, and left alone"),
	'2': say("核实过是同一个人的答 kept same_person", "where the owner is verified to be the same person answer kept same_person"),
	'3': say("绑定时间为空时答 in_review bound_at_unknown,交人工", "with no time of binding answer in_review bound_at_unknown and have a person look"),
	'4': say("只知道日期的按整天算;与开始日重叠、或早于开始不足 24 小时的答 in_review ambiguous_dates", "a date is the whole of its day; what overlaps the start's, or lies less than 24 hours before it, is in_review ambiguous_dates"),
	'5': say("tenure.origin 为 unknown 时答 action_required confirm_own_account,请机主用号码以外的因素登录确认", "with tenure.origin unknown answer action_required confirm_own_account: the holder signs in with something other than the number"),
	'6': say("开始之后有过(或说不清有没有)非短信的证明时,答 action_required confirm_own_account;验证码不算证明", "with a proof other than a code since the start, or where that is not known, answer action_required confirm_own_account; a code proves nothing"),
	'7': say("让号码不再用于登录、找回、二次验证、通知和发现,结束开始以来经它打开的会话,然后答 unbound removed;账号、数据、钱不动", "end the number's use for login, recovery, second factor, notification and discovery, and the sessions opened through it since the start, then answer unbound removed; account, data and money stay"),
}

func rowScenarios(r *run) []*scenario {
	p := r.plan
	a := p.tenure
	own := func(p *plan) *line { return p.reassigned(p.segment) }
	rows := []row{
		{"row-1", "1a", say("第 1 行:开始之后绑定", "Row 1: bound after the start"), own, []func(*Account){boundAt(a.Add(40 * day))}, ""},
		{"row-1-instant", "1b", say("第 1 行:恰在开始的那一刻绑定", "Row 1: bound at the very start"), own, []func(*Account){boundAt(a)}, ""},
		{"row-1-day", "1c", say("第 1 行:只知道日期,在开始的次日", "Row 1: known to the day, the day after the start"), own, []func(*Account){boundOn(a.Add(day))}, FactDay},
		{"row-1-before-row-2", "1d", say("第 1 行先于其他行", "Row 1 comes before all others"), own, []func(*Account){boundAt(a.Add(day)), samePerson(huanxin.No), provedAt(a.Add(2 * day))}, ""},
		{"row-2", "2a", say("第 2 行:核实过是同一个人", "Row 2: verified to be the same person"), own, []func(*Account){samePerson(huanxin.Yes)}, FactSame},
		{"row-3", "3a", say("第 3 行:绑定时间不明", "Row 3: nobody knows when it was bound"), own, []func(*Account){boundUnknown}, ""},
		{"row-4-hours", "4a", say("第 4 行:早于开始 23 小时", "Row 4: 23 hours before the start"), own, []func(*Account){boundAt(a.Add(-23 * time.Hour))}, ""},
		{"row-4-same-day", "4b", say("第 4 行:只知道日期,与开始同一天", "Row 4: known to the day, that of the start"), own, []func(*Account){boundOn(a)}, FactDay},
		{"row-4-day-before", "4c", say("第 4 行:只知道日期,开始的前一天", "Row 4: known to the day, the one before"), own, []func(*Account){boundOn(a.Add(-day))}, FactDay},
		{"row-5", "5a", say("第 5 行:持号期的开始不明", "Row 5: the tenure's start is unknown"), (*plan).unknown, nil, ""},
		{"row-6", "6a", say("第 6 行:开始之后证明过本人,不知是不是同一个人", "Row 6: a proof since the start, by nobody knows whom"), own, []func(*Account){provedAt(a.Add(10 * day))}, FactProof},
		{"row-6-unknown", "6b", say("第 6 行:不知道有没有证明过", "Row 6: nobody knows of a proof"), own, []func(*Account){proofUnknown}, ""},
		{"row-7", "7a", say("第 7 行:早就绑定,解绑", "Row 7: bound long before, unbound"), own, nil, ""},
		{"row-7-proved-before", "7b", say("第 7 行:最后一次证明在开始之前", "Row 7: the last proof lies before the start"), own, []func(*Account){provedAt(a.Add(-300 * day))}, FactProof},
		{"row-7-other-person", "7c", say("第 7 行:核实过是别人", "Row 7: verified to be somebody else"), own, []func(*Account){samePerson(huanxin.No), provedAt(a.Add(10 * day))}, FactSame},
		{"row-7-24h", "7d", say("第 7 行:早于开始 25 小时", "Row 7: 25 hours before the start"), own, []func(*Account){boundAt(a.Add(-25 * time.Hour))}, ""},
		{"row-7-two-days", "7e", say("第 7 行:只知道日期,开始的前两天", "Row 7: known to the day, two days before"), own, []func(*Account){boundOn(a.Add(-2 * day))}, FactDay},
		{"row-7-transferred", "7f", say("第 7 行:过户得来的号码", "Row 7: the number was transferred"), (*plan).transferred, nil, ""},
	}
	var out []*scenario
	for _, x := range rows {
		out = append(out, r.rowScenario(x))
	}
	return out
}

func (r *run) rowScenario(x row) *scenario {
	no := x.code[len("row-")]
	s := &scenario{code: x.code, rule: "§6, " + string(no), title: x.title, why: rowWhy[no], fix: rowFix[no]}
	if x.needs != "" && r.without[x.needs] {
		s.run = func(context.Context) finding {
			return skipped(Text{"—", "—"}, say("公司说它不记录 %s", "the company says that it does not keep %s", x.needs))
		}
		return s
	}
	s.line = x.line(r.plan)
	r.plan.account(s.line, x.name, x.facts...)
	s.run = func(ctx context.Context) finding { return r.judge(ctx, s.line) }
	return s
}

// mixedScenarios are numbers with none or several accounts.
func mixedScenarios(r *run) []*scenario {
	p := r.plan
	oneAnswer := say("几个绑定合成一个答复,每个绑定仍按自己的那一行处理", "several bindings give one answer, and each is treated by its own row all the same")
	fix := say("按次序取第一个:action_required、in_review、failed、unbound、kept、not_bound", "take the first of action_required, in_review, failed, unbound, kept, not_bound")
	on := func(code string, title Text, accounts func(l *line)) *scenario {
		l := p.reassigned(p.segment)
		accounts(l)
		return &scenario{code: code, rule: "§6", title: title, why: oneAnswer, fix: fix, line: l, run: func(ctx context.Context) finding { return r.judge(ctx, l) }}
	}
	none := on("none", say("没有绑定", "No binding"), func(*line) {})
	none.why = say("没有绑定也要答复:机主在等", "there is an answer although there is nothing: the holder waits")
	none.fix = say("找不到绑定时答 not_bound none_found", "where nothing is found answer not_bound none_found")
	return []*scenario{none,
		on("several-unbound", say("一个该解,一个是现机主的", "One to unbind, one of the present holder"), func(l *line) {
			p.account(l, "ma")
			p.account(l, "mb", boundAt(p.tenure.Add(day)))
		}),
		on("several-review", say("一个该解,一个拿不准", "One to unbind, one that is not certain"), func(l *line) {
			p.account(l, "mc")
			p.account(l, "md", boundUnknown)
		}),
		on("several-action", say("一个拿不准,一个等机主确认", "One not certain, one for the holder to confirm"), func(l *line) {
			p.account(l, "me", boundUnknown)
			p.account(l, "mf", proofUnknown)
		}),
	}
}
