package conformance

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// deliveryScenarios are how what is told reaches the company.
func deliveryScenarios(r *run) []*scenario {
	p := r.plan
	first, twice, order, lost, strange := p.reassigned(p.segment), p.reassigned(p.segment), p.reassigned(p.segment), p.reassigned(p.segment), p.reassigned(p.segment)
	p.account(first, "da")
	p.account(twice, "db")
	p.account(order, "dc")
	p.account(lost, "dd")
	p.account(strange, "de")
	return []*scenario{
		{code: "delivery", rule: "§6, §7.8", title: say("任务送达并确认收到", "A task is delivered and acknowledged"), line: first,
			why: say("收到并存好的事件要确认:不确认,枢纽会一直重发;存好之前确认,掉电就丢", "what is on stable storage is acknowledged: else the hub repeats it for ever; what is acknowledged before is lost with the power"),
			fix: say("轮询:下一次的 ack 里写上 jti;推送:存好之后答 202", "poll: name the jti in the next ack; push: answer 202 when it is stored"),
			run: func(ctx context.Context) finding { return r.delivered(ctx, first) }},
		{code: "duplicates", rule: "§7.8", title: say("同一事件再来一次", "The same event once more"), line: twice,
			why: say("网络会重发:同一个 jti 只能起一次作用", "networks repeat: one jti has one effect"),
			fix: say("记住见过的 jti 和做过的任务;再来时照样确认,不再动账号,也不改已给的最终答复", "remember jtis and tasks: acknowledge again, leave accounts alone, and do not change a final answer"),
			run: func(ctx context.Context) finding { return r.repeated(ctx, twice) }},
		{code: "order", rule: "§6", title: say("取消之后同一号码又来申请", "A number is asked for again after a cancellation"), line: order,
			why: say("任务各算各的:旧任务取消不能带走新任务,新任务也不能让旧任务复活", "each task stands alone: cancelling one takes no other with it, and a new one revives none"),
			fix: say("按任务 id 记状态,不按号码", "keep states by task id, not by number"),
			run: func(ctx context.Context) finding { return r.ordered(ctx, order) }},
		{code: "answer-lost", rule: "§7.8", title: say("答复的回执丢了", "The receipt of an answer is lost"), line: lost,
			why: say("没有得到回执的答复可能没到:要再送一次,送几次都是同一个", "an answer without a receipt may not have come: it is sent again, the same each time"),
			fix: say("在得到 2xx 之前保留答复,退避后重送同样的内容", "keep an answer until a 2xx, and send the same again after a while"),
			run: func(ctx context.Context) finding { return r.answersAgain(ctx, lost) }},
		{code: "unknown-event", rule: "§6", title: say("不认识的事件", "An event of a type that is not known"), line: strange,
			why: say("枢纽会有新的事件种类:认不得的要确认并放过(SSF),不能当错误,更不能当任务", "there will be new types: one that is not known is acknowledged and left alone (SSF), and is neither an error nor a task"),
			fix: say("按 events 的键分派;没有处理程序的,确认后忽略", "go by the key of events; what nothing is written for is acknowledged and ignored"),
			run: func(ctx context.Context) finding { return r.strange(ctx, strange) }},
	}
}

func (r *run) delivered(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("%s 内确认收到", "acknowledged within %s", r.o.Within).and(w.text())
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	a.silent = w.held
	seen := noStream
	if r.front.mode() != "list" {
		var s *told
		ok := r.ear.until(ctx, r.o.Within, func() bool {
			s = r.ear.setOf(l.number.E164(), huanxin.UnbindRequested)
			_, answered := r.ear.said(a.task)
			return s != nil && !s.acked.IsZero() || s == nil && answered
		})
		switch {
		case s == nil && ok:
			s = &told{acked: time.Now()} // listing was quicker, and the hub does not tell of what is answered
		case s == nil:
			return failed(expected, say("事件流从未取走这个事件", "the event was never fetched")).mend(say("事件流要求 events_requested 里有 urn:huanxin:event:unbind-requested,并一直轮询", "ask for urn:huanxin:event:unbind-requested in events_requested, and keep polling")).of(a)
		case !ok && s.refused != "":
			return failed(expected, say("公司拒绝了一个真的事件:%s", "the company refuses a genuine event: %s", s.refused)).of(a)
		case !ok:
			return failed(expected, say("没有确认", "it was not acknowledged")).of(a)
		}
		seen = say("%s 后确认", "acknowledged after %s", s.acked.Sub(a.at).Round(time.Millisecond))
	}
	f := r.judgeAsked(ctx, a, w).of(a)
	f.expected = expected
	if f.outcome == Passed {
		f.seen = seen.and(f.seen)
	}
	return f
}

// reaction is what the company made of a SET.
type reaction struct {
	taken   bool
	refused string
	status  int // of a push
}

// handAgain is after how long a SET is given once more that was neither taken nor refused; handFor is how long that is tried at least:
// a company may look for a new key of the hub's only so often.
const (
	handAgain = 1500 * time.Millisecond
	handFor   = 12 * time.Second
)

// hand gives the company a SET as the hub would, and waits for what it makes of it. forged: the hub knows nothing of it.
func (r *run) hand(ctx context.Context, s *told, forged bool) (out reaction) {
	for end := time.Now().Add(max(r.o.Within, handFor)); ; {
		out = r.handOnce(ctx, s, forged)
		if out.taken || out.refused != "" && out.status < 500 && out.refused != noAnswer || time.Now().After(end) || !client.Pause(ctx, handAgain/2) {
			return out
		}
	}
}

func (r *run) handOnce(ctx context.Context, s *told, forged bool) reaction {
	if r.front.mode() == "push" {
		r.ear.handedOut(s)
		p := r.front.relay.again(ctx, s.token, r.front.relay.authorization())
		r.ear.settled(s.jti, p.refused, p.status)
		return reaction{p.refused == "" && p.status < 300, p.refused, p.status}
	}
	before := r.ear.acks(s.jti)
	r.front.addToPoll(s, forged)
	var out reaction
	r.ear.until(ctx, 2*handAgain, func() bool {
		known := r.ear.sets[s.jti]
		if known == nil {
			return false
		}
		out = reaction{taken: known.acks > before, refused: known.refused}
		return out.taken || out.refused != ""
	})
	return out
}

func (r *run) repeated(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("再次确认,不再起作用", "acknowledged again, without any effect")
	if r.front.mode() == "list" {
		return skipped(expected, noStream)
	}
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	a.silent = w.held
	if f := r.judgeAsked(ctx, a, w); f.outcome == Failed {
		return f.of(a)
	}
	var s *told
	r.ear.until(ctx, r.o.Within, func() bool {
		s = r.ear.setOf(l.number.E164(), huanxin.UnbindRequested)
		return s != nil && !s.acked.IsZero()
	})
	if s == nil {
		return skipped(expected, say("任务没有经事件流送到", "the task did not come by the stream")).of(a)
	}
	again := r.hand(ctx, &told{jti: s.jti, token: s.token, number: s.number, task: s.task, uri: s.uri}, false)
	client.Pause(ctx, r.o.Quiet)
	if !again.taken {
		return failed(expected, say("再来时没有确认(%s)", "it is not acknowledged again (%s)", again.refused)).of(a)
	}
	if f := r.actedOnce(ctx, a, expected); f.outcome == Failed {
		return f.of(a)
	}
	f := r.judgeKeys(ctx, w).of(a)
	f.expected = expected
	return f
}

// strange tells the company something in the hub's name that it cannot know.
func (r *run) strange(ctx context.Context, l *line) finding {
	expected := say("确认,什么也不做", "it is acknowledged and nothing is done")
	if r.front.mode() == "list" {
		return skipped(expected, noStream)
	}
	claims, task, jti := r.claims(l)
	const uri = "urn:huanxin:event:conformance-strange"
	claims["events"] = map[string]any{uri: map[string]any{"event_timestamp": time.Now().Unix(), "id": task, "kind": "unbind"}}
	token, err := r.signed(claims, setType)
	if err != nil {
		return hubFailed(expected, err)
	}
	got := r.hand(ctx, &told{jti: jti, token: token, number: l.number.E164(), task: task, uri: uri}, true)
	client.Pause(ctx, r.o.Quiet)
	switch f := r.untouched(ctx, l, expected); {
	case f.outcome == Failed:
		return f
	case len(r.ear.of(task)) > 0:
		return failed(expected, say("当作任务答复了", "it is answered like a task"))
	case !got.taken:
		return failed(expected, say("没有确认(%s)", "it is not acknowledged (%s)", got.refused))
	}
	return passed(expected, say("确认了", "it was acknowledged"))
}

// actedOnce fails where a task has two final answers, or where an account was unbound more than once.
func (r *run) actedOnce(ctx context.Context, a *asking, expected Text) finding {
	if first, other, twice := twoFinal(r.ear.of(a.task)); twice {
		return failed(expected, say("又做了一遍:先答 %s,后答 %s", "it acts twice: first it answers %s, then %s", first, other))
	}
	for _, x := range a.line.accounts {
		switch s, ok, failure := r.see(ctx, x); {
		case failure != "":
			return notSeen(expected, x, failure)
		case ok && s.Unbound != nil && *s.Unbound > 1:
			return failed(expected, say("账号 %s 被解绑了 %d 次", "the account %s was unbound %d times", x.Name, *s.Unbound))
		}
	}
	return passed(expected, say("只起了一次作用", "it had one effect"))
}

// late has a task reach the company after the world has changed. It gives the task, and false if it was never fetched.
func (r *run) late(ctx context.Context, l *line, meanwhile func(*asking) error) (a *asking, caught bool, err error) {
	h, release := r.front.holdBack(l.number)
	defer release()
	if a, err = r.ask(ctx, l, huanxin.Unbind); err != nil {
		return nil, false, err
	}
	a.silent = true
	select {
	case <-h.caught:
		caught = true
	case <-ctx.Done():
		return a, false, ctx.Err()
	case <-time.After(r.o.Within):
	}
	return a, caught, meanwhile(a)
}

func (r *run) cancel(ctx context.Context) func(*asking) error {
	return func(a *asking) error {
		_, err := r.hub.carrier.CancelRequest(ctx, a.request)
		return err
	}
}

func (r *run) ordered(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("旧任务不动,新任务 %s", "nothing for the old task; for the new one: %s", "")
	expected = Text{expected.Zh + w.text().Zh, expected.En + w.text().En}
	var second *asking
	first, _, err := r.late(ctx, l, func(a *asking) (err error) {
		if err = r.cancel(ctx)(a); err == nil {
			second, err = r.ask(ctx, l, huanxin.Unbind)
		}
		return err
	})
	if err != nil {
		return hubFailed(expected, err)
	}
	second.silent = w.held
	f := r.judgeAsked(ctx, second, w).of(second).of(first)
	f.expected = expected
	if h, ok := r.actedFor(first); ok {
		return failed(expected, say("给取消了的任务答了 %s", "it answers %s for the task that was cancelled", h)).of(first)
	}
	return f
}

// actedFor says whether the company claims to have done something for a task, taken by the hub or not.
func (r *run) actedFor(a *asking) (said string, ok bool) {
	for _, h := range r.ear.of(a.task) {
		if h.Outcome == huanxin.Unbound.String() {
			return h.Outcome + " " + h.Reason, true
		}
	}
	return "", false
}

func (r *run) answersAgain(ctx context.Context, l *line) finding {
	w := r.wanted(l)
	expected := say("同样的答复再送一次", "the same answer is sent again")
	if w.held {
		return skipped(expected, say("高价值应用一天后才答", "an app of high value answers a day later"))
	}
	h, release := r.front.holdBack(l.number)
	defer release()
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	r.front.loseAnswer(a.task)
	select {
	case <-h.caught:
	case <-ctx.Done():
	case <-time.After(r.o.Within):
	}
	release()
	var all []heard
	r.ear.until(ctx, r.o.Within, func() bool { all = r.ear.answers[a.task]; return len(all) > 1 })
	switch {
	case len(all) == 0:
		return failed(expected, r.nothing(a)).mend(r.mendSilence(a)).of(a)
	case len(all) == 1:
		return failed(expected, say("没有再送", "it is not sent again")).of(a)
	case all[0].Outcome != all[1].Outcome || all[0].Reason != all[1].Reason:
		return failed(expected, say("第二次答了别的:%s", "the second is another one: %s", all[1].Outcome+" "+all[1].Reason)).of(a)
	}
	if f := r.actedOnce(ctx, a, expected); f.outcome == Failed {
		return f.of(a)
	}
	return passed(expected, say("又送了一次", "it was sent again")).of(a)
}

// endedScenarios are tasks that are over when they reach the company.
func endedScenarios(r *run) []*scenario {
	p := r.plan
	cancelled, aborted, read := p.reassigned(p.segment), p.reassigned(p.segment), p.reassigned(p.segment)
	p.account(cancelled, "ca")
	p.account(aborted, "cb")
	p.account(read, "cc")
	why := say("动手之前再读一次任务:已取消、已中止或不同的,什么也不做", "right before acting the task is read again: cancelled, aborted or stale means do nothing")
	fix := say("动账号之前 GET /v1/tasks/{id}(或 GET /v1/tasks?ids=),比较状态、持号期和 digest", "GET /v1/tasks/{id} (or GET /v1/tasks?ids=) before touching an account, and compare state, tenure and digest")
	return []*scenario{
		{code: "cancelled", rule: "§6", title: say("送达时已经取消", "Cancelled before it arrives"), line: cancelled, why: why, fix: fix,
			run: func(ctx context.Context) finding { return r.ended(ctx, cancelled, r.cancel(ctx)) }},
		{code: "aborted", rule: "§6", title: say("送达时号码已经销户", "The number is given up before it arrives"), line: aborted, why: why, fix: fix,
			run: func(ctx context.Context) finding {
				return r.ended(ctx, aborted, func(*asking) error { return r.giveUp(ctx, aborted) })
			}},
		{code: "cancelled-meanwhile", rule: "§6", title: say("再读任务时才取消", "Cancelled while it is read again"), line: read, why: why,
			fix: say("先读,读到的还是开着的同一个任务,才动账号;读不到就等", "read first, and act only when what was read is the same open task; wait where it cannot be read"),
			run: func(ctx context.Context) finding { return r.whileRead(ctx, read) }},
	}
}

func (r *run) giveUp(ctx context.Context, l *line) error {
	e := l.events[len(l.events)-1]
	e.ID, e.Kind, e.Origin, e.At = e.ID+"-end", "disconnected", "", time.Now()
	return r.report(ctx, e)
}

func (r *run) ended(ctx context.Context, l *line, end func(*asking) error) finding {
	expected := say("什么也不做", "nothing is done")
	a, caught, err := r.late(ctx, l, end)
	if err != nil {
		return hubFailed(expected, err).of(a)
	}
	if !caught {
		return failed(expected, say("%s 内没有取走任务", "the task was not fetched within %s", r.o.Within)).mend(r.mendSilence(a)).of(a)
	}
	client.Pause(ctx, r.o.Quiet)
	if said, ok := r.actedFor(a); ok {
		return failed(expected, say("仍答了 %s", "it answers %s all the same", said)).of(a)
	}
	return r.untouched(ctx, l, expected).of(a)
}

// whileRead keeps the first reading back. Until it is answered nothing may be done, and its answer is that the task is cancelled.
func (r *run) whileRead(ctx context.Context, l *line) finding {
	expected := say("读到之前什么也不做;读到已取消,也什么都不做", "nothing is done before the task was read, and nothing when it is read to be cancelled")
	switch w := r.wanted(l); {
	case w.held:
		return skipped(expected, say("高价值账号在送达时就停用号码", "of high value, the key is stopped when the task is delivered"))
	case w.Outcome != huanxin.Unbound:
		return skipped(expected, say("按公司记录的事实,这个账号本来就不解绑", "by the facts that the company keeps this account is not unbound"))
	}
	told, tell := r.front.holdBack(l.number) // until the task is known here
	defer tell()
	a, err := r.ask(ctx, l, huanxin.Unbind)
	if err != nil {
		return hubFailed(expected, err)
	}
	a.silent = true
	h, release := r.front.holdReads(a.task)
	defer release()
	select {
	case <-told.caught:
	case <-ctx.Done():
	case <-time.After(r.o.Within):
		return failed(expected, say("%s 内没有取走任务", "the task was not fetched within %s", r.o.Within)).mend(r.mendSilence(a)).of(a)
	}
	tell()
	read := false
	r.ear.until(ctx, r.o.Within, func() bool {
		select {
		case <-h.caught:
			read = true
		default:
		}
		return read || len(r.ear.answers[a.task]) > 0
	})
	if read {
		client.Pause(ctx, r.o.Quiet)
	}
	if said, ok := r.actedFor(a); ok {
		return failed(expected, say("没有读到就答了 %s", "it answers %s before the task was read", said)).of(a)
	}
	if f := r.untouched(ctx, l, expected); f.outcome == Failed {
		f.seen = say("没有读到就动了手", "it acts before the task was read").and(f.seen)
		return f.of(a)
	}
	if !read {
		return failed(expected, say("%s 内没有再读任务", "the task was not read again within %s", r.o.Within)).of(a)
	}
	if err := r.cancel(ctx)(a); err != nil {
		return hubFailed(expected, err).of(a)
	}
	release()
	client.Pause(ctx, r.o.Quiet)
	if said, ok := r.actedFor(a); ok {
		return failed(expected, say("仍答了 %s", "it answers %s all the same", said)).of(a)
	}
	return r.untouched(ctx, l, expected).of(a)
}

// untouched fails where an account of a line lost its number.
func (r *run) untouched(ctx context.Context, l *line, expected Text) finding {
	for _, x := range l.accounts {
		s, ok, failure := r.see(ctx, x)
		switch {
		case failure != "":
			return notSeen(expected, x, failure)
		case ok && !s.IsKey:
			return failed(expected, say("账号 %s 失去了号码", "the account %s lost its number", x.Name))
		case ok:
			r.settle(x, true)
		}
	}
	if r.o.Inspector == nil {
		return passed(expected, say("没有答复说做过什么(没有查看账号)", "no answer says that anything was done (the accounts were not inspected)"))
	}
	return passed(expected, say("账号没有动", "the accounts are as they were"))
}
