package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// once plays one full scenario, prints what happened, and checks the rules of DOMAIN.md §7.
func (d *demo) once(ctx context.Context) error {
	p := &play{d: d}
	err := p.run(ctx)
	d.stopActs() // the checks look at a world that stands still
	d.actors.Wait()
	if err != nil {
		return err
	}
	if err := p.collect(ctx); err != nil {
		return err
	}
	p.print(d.o.Out)
	return p.judge(ctx, d.o.Out)
}

// play is the scenario of --once.
type play struct {
	d     *demo
	cases []*playCase
	// facts are what happened beside the requests: each is true and printed, or the play has failed.
	facts  []fact
	worked map[string]deed  // by task
	rows   map[int]int      // of the decision table: how often each was decided first
	found  map[int][]string // by the apps' own checks, by rule

	stocked map[string]*Stock
	only    []catalogue.App // see looked
}

type fact struct {
	ok     bool
	zh, en string
}

// playCase is one request of the scenario, followed by polling from its beginning.
type playCase struct {
	title   [2]string
	no      int
	carrier int
	ask     client.NewRequest
	asked   time.Time // right before the request was sent
	created client.CreatedRequest
	end     ending
	polls   int
	last    client.Request // as it was read last
	bodies  int
	seen    map[string]*sighting // by task
	leaks   []string             // what a holder must not see, and saw
	ended   time.Time
}

// ending is what happens to a request of the scenario before it is settled.
type ending uint8

const (
	toTheEnd     ending = iota // nothing
	byTransfer                 // the number goes to somebody else
	byHolder                   // the holder takes it back
	byCorrection               // its tenure never was
)

func (e ending) endsTenure() bool { return e == byTransfer || e == byCorrection }

// sighting is when the polls saw a view of a task first.
type sighting struct {
	first map[string]time.Time // by view: when the answer to the poll had come
	poll  map[string]int       // by view: which poll
}

const playPoll = 50 * time.Millisecond

func (p *play) day() time.Duration { return p.d.hub.Hub.Durations().Day() }

// run plays until every request has ended.
func (p *play) run(ctx context.Context) error {
	if err := p.d.subscribe(ctx); err != nil {
		return err
	}
	steps := []func(context.Context) error{p.refusals, p.everything, p.afterTransfer, p.ofUnknown, p.abandoned, p.tampering}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	mistaken, err := p.mistaken(ctx)
	if err != nil {
		return err
	}
	p.d.outage = outage{time.Now(), time.Now().Add(outageDays * p.day())}
	if err := p.d.resume(ctx); err != nil {
		return err
	}
	p.d.work() // not before: 239 apps at work make a slow machine too slow for what must happen on the first day
	begun := time.Now()
	late, interrupted, corrected := false, false, false
	for {
		if err := p.poll(ctx); err != nil {
			return err
		}
		switch day := float64(time.Since(begun)) / float64(p.day()); {
		case !interrupted && day > 1.3:
			interrupted = true
			err = p.interrupt(ctx)
		case !corrected && day > 2.2:
			corrected = true
			err = p.correct(ctx, mistaken)
		case !late && p.expired(catalogue.Yours):
			late, err = p.answerLate(ctx)
		case late && corrected && p.over():
			return p.feedStory(ctx)
		}
		if err != nil {
			return err
		}
		p.status()
		if !pause(ctx, playPoll) {
			return ctx.Err()
		}
	}
}

func (p *play) status() {
	c := p.cases[0]
	views := map[string]int{}
	for _, t := range c.last.Tasks {
		views[t.View]++
	}
	p.d.say.now(fmt.Sprintf("第 %d 天 day %d: %s", int(time.Since(c.asked)/p.day()), int(time.Since(c.asked)/p.day()), viewCounts(views)))
}

// story gives the n-th visitor's story of a plot: with --once nobody else needs it.
func (p *play) story(plot Plot, n int) *Story {
	for i := range p.d.world.Visitors {
		if s := &p.d.world.Visitors[i]; s.Plot == plot {
			if n == 0 {
				return s
			}
			n--
		}
	}
	panic("sandbox: no such visitor")
}

// newRequest is what the carrier of a number asks for its present holder.
func (p *play) newRequest(no int, apps []string) (client.NewRequest, int) {
	l := p.d.ledger.now(no)
	return client.NewRequest{Number: l.number.E164(), StartedAt: l.standing.StartedAt, Origin: l.standing.Origin.String(), Apps: apps,
		Control: "sms_otp", Identity: "carrier_crm", Verified: time.Now()}, l.carrier()
}

// begin makes a request under an idempotency key, so that it can be sent again to see that it is there once.
func (p *play) begin(ctx context.Context, zh, en string, no int, apps []string) (*playCase, error) {
	ask, carrier := p.newRequest(no, apps)
	ask.Key = fmt.Sprintf("once-%d", len(p.cases))
	c := &playCase{title: [2]string{zh, en}, no: no, carrier: carrier, ask: ask, asked: time.Now(), seen: map[string]*sighting{}}
	var err error
	if c.created, err = p.d.clients[carrierID(carrier)].CreateRequest(ctx, ask); err != nil {
		return nil, fmt.Errorf("%s: %w", en, err)
	}
	p.cases = append(p.cases, c)
	return c, nil
}

// boundAt gives the apps at which a number is bound, and the visitor's.
func (p *play) boundAt(no int) []string {
	out := []string{}
	number := p.d.ledger.now(no).number
	for _, a := range catalogue.Apps() {
		for _, acc := range p.stocks()[a.ID].Accounts {
			if acc.Number == number && !slices.Contains(out, a.ID) && a.Behaviour != catalogue.Nobody && a.Behaviour != catalogue.Dead {
				out = append(out, a.ID)
			}
		}
	}
	return out
}

func (p *play) everything(ctx context.Context) error {
	_, err := p.begin(ctx, "新机主,全部应用", "a new holder asks all apps", p.d.world.Showcase[0].No, nil)
	if err != nil {
		return err
	}
	again, carrier := p.newRequest(p.d.world.Showcase[0].No, nil)
	_, err = p.d.clients[carrierID(carrier)].CreateRequest(ctx, again)
	code := huanxin.CodeOf(err) // on a slow machine the day, which is short, may be over: then the tasks are open still
	p.note(code == "ineligible" || code == "task_open", "同一天第二个申请:拒绝 "+code, "a second request on the same day: refused, "+code)
	return nil
}

func (p *play) afterTransfer(ctx context.Context) error {
	no := p.story(PlotTransferred, 0).No
	_, err := p.begin(ctx, "过户后,逐个点名", "after a transfer, apps named one by one", no, p.boundAt(no))
	return err
}

func (p *play) ofUnknown(ctx context.Context) error {
	no := p.story(PlotPortedIn, 0).No
	_, err := p.begin(ctx, "携入,起点不明", "ported in, start unknown", no, p.boundAt(no))
	return err
}

// many are the apps that somebody ticks who has the patience: the common ones, every fifth of the others, and the visitor's.
func many() []string {
	var out []string
	for _, a := range catalogue.Common() {
		out = append(out, a.ID)
	}
	for i, a := range catalogue.Apps() {
		if (i%5 == 0 || a.ID == catalogue.Yours) && !slices.Contains(out, a.ID) {
			out = append(out, a.ID)
		}
	}
	return out
}

// abandoned begins the requests that will not be seen to their end.
func (p *play) abandoned(ctx context.Context) error {
	c, err := p.begin(ctx, "处理中被过户", "transferred while open", p.story(PlotRecycled, 0).No, many())
	if err != nil {
		return err
	}
	c.end = byTransfer
	if c, err = p.begin(ctx, "处理中被撤回", "taken back while open", p.story(PlotRecycled, 1).No, many()); err != nil {
		return err
	}
	c.end = byHolder
	return nil
}

// mistaken reports a transfer that never was; who is taken for the new holder asks the apps of the first one.
func (p *play) mistaken(ctx context.Context) (*playCase, error) {
	no := p.story(PlotFirst, 1).No
	if err := p.d.happens(ctx, no, p.d.ledger.carrierOf(no), huanxin.Transferred, ""); err != nil {
		return nil, err
	}
	c, err := p.begin(ctx, "误报的过户,随后更正", "a transfer by mistake, corrected later", no, p.boundAt(no))
	if err == nil {
		c.end = byCorrection
	}
	return c, err
}

func (p *play) interrupt(ctx context.Context) error {
	for _, c := range p.cases {
		var err error
		switch c.end {
		case byTransfer:
			err = p.d.happens(ctx, c.no, c.carrier, huanxin.Transferred, "")
		case byHolder:
			_, err = p.d.clients[carrierID(c.carrier)].CancelRequest(ctx, c.created.ID)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.title[1], err)
		}
	}
	return nil
}

func (p *play) correct(ctx context.Context, c *playCase) error {
	return p.d.happens(ctx, c.no, c.carrier, huanxin.Corrected, "")
}

func (p *play) note(ok bool, zh, en string) { p.facts = append(p.facts, fact{ok, zh, en}) }

// refusals are requests that the rules turn down.
func (p *play) refusals(ctx context.Context) error {
	try := func(zh, en, reason string, no int, change func(*client.NewRequest)) {
		ask, carrier := p.newRequest(no, nil)
		change(&ask)
		p.refused(ctx, zh, en, carrier, ask, reason)
	}
	recycled := p.story(PlotRecycled, 2).No
	try("过户的号码要求“全部应用”", "all apps after a transfer", "choose_apps", p.story(PlotTransferred, 0).No, func(*client.NewRequest) {})
	try("首个机主要求解绑", "a first holder wants to unbind", "first_use", p.story(PlotFirst, 0).No, func(*client.NewRequest) {})
	try("验证已过 10 分钟", "a proof older than 10 minutes", "proof_stale", recycled,
		func(r *client.NewRequest) { r.Verified = time.Now().Add(-11 * time.Minute) })
	try("没有身份要素", "no identity factor", "identity_missing", recycled, func(r *client.NewRequest) { r.Identity = "" })
	try("持号期对不上", "another tenure than the log's", "tenure_mismatch", recycled,
		func(r *client.NewRequest) { r.StartedAt = r.StartedAt.Add(-time.Hour) })
	try("物联网号码", "an IoT number", "number_kind_unsupported", recycled,
		func(r *client.NewRequest) { r.Number = p.d.world.Named.NotSupported.E164() })
	return nil
}

func (p *play) refused(ctx context.Context, zh, en string, carrier int, ask client.NewRequest, reason string) {
	_, err := p.d.clients[carrierID(carrier)].CreateRequest(ctx, ask)
	var e *huanxin.Error
	ok := errors.As(err, &e) && e.Code == "ineligible" && e.Reason == reason
	p.note(ok, zh+":拒绝 "+reason, en+": refused, "+reason)
}

// tampering answers a task of the visitor's app with what it was not asked, and looks whether anything changed.
func (p *play) tampering(ctx context.Context) error {
	yours := p.d.clients[catalogue.Yours]
	tasks, _, err := yours.Tasks(ctx, "", 100)
	if err != nil {
		return err
	}
	if len(tasks) < 2 {
		return fmt.Errorf("the app %s has %d tasks, not 2 or more", catalogue.Yours, len(tasks))
	}
	try := func(en, code string, by *client.Client, change func(*client.Answer)) {
		a := client.AnswerTo(tasks[0], "unbound", "removed")
		change(&a)
		_, err := by.Answer(ctx, a)
		if huanxin.CodeOf(err) != code {
			p.note(false, en+" 未被拒绝", "rule 6: "+en+" was not refused with "+code)
		}
	}
	try("a wrong digest", "wrong_digest", yours, func(a *client.Answer) { a.Digest = strings.Repeat("0", 64) })
	try("another task's digest", "wrong_digest", yours, func(a *client.Answer) { a.Digest = tasks[1].Digest })
	try("another tenure", "wrong_tenure", yours, func(a *client.Answer) { a.TenureID = tasks[1].Tenure.ID })
	try("another app", "not_found", p.d.clients[catalogue.Common()[0].ID], func(*client.Answer) {})
	after, err := yours.Task(ctx, tasks[0].ID)
	if err != nil {
		return err
	}
	p.note(after.State != huanxin.TaskAnswered.String() && after.Digest == tasks[0].Digest, "错误的摘要、持号期或应用的答复被拒绝,任务未变(规则 6)",
		"answers with another digest or tenure, or by another app, were refused and the task did not change (rule 6)")
	return nil
}

// lateNote goes with the late answer and must reach no holder.
const lateNote = "给同事的便条:账号 u-00000-0,余额 ¥8,848.00 / a note for colleagues"

// answerLate answers for the visitor's app after expiry, once the hub's clock has taken that step.
func (p *play) answerLate(ctx context.Context) (done bool, err error) {
	c := p.cases[0]
	for _, t := range c.last.Tasks {
		if t.App != catalogue.Yours {
			continue
		}
		task, err := p.d.clients[t.App].Task(ctx, t.ID)
		if err != nil || task.State != huanxin.TaskExpired.String() {
			return false, err
		}
		a := client.AnswerTo(task, "not_bound", "none_found")
		a.Note = lateNote
		sent := time.Now()
		taken, err := p.d.clients[t.App].Answer(ctx, a)
		if err != nil {
			return false, err
		}
		p.note(taken.Late, "过期后的答复:记录,标为迟到", "an answer after expiry: recorded and marked late")
		c.sighting(t.ID).first["sent late"] = sent
		return true, nil
	}
	return false, nil
}

// expired reports whether the app's task of the first request shows as expired.
func (p *play) expired(app string) bool {
	for _, t := range p.cases[0].last.Tasks {
		if t.App == app {
			return t.View == "expired"
		}
	}
	return false
}

// over reports whether every request has ended, and the late answer shows.
func (p *play) over() bool {
	for _, c := range p.cases {
		if c.ended.IsZero() {
			return false
		}
	}
	return !p.expired(catalogue.Yours)
}

// raw speaks to the hub as one of its clients, and gives the body as it came.
func (d *demo) raw(ctx context.Context, party, method, path, language string, body io.Reader) ([]byte, error) {
	token, err := d.clients[party].Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, d.hub.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept-Language", language)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the hub answered with status %d", resp.StatusCode)
	}
	return text, err
}

// poll reads every request that has not ended; those that have are read now and then, because a late answer may show.
func (p *play) poll(ctx context.Context) error {
	for i, c := range p.cases {
		if !c.ended.IsZero() && i > 0 {
			continue
		}
		c.polls++
		language := [2]string{"zh-CN", "en"}[c.polls%2]
		body, err := p.d.raw(ctx, carrierID(c.carrier), http.MethodGet, "/v1/requests/"+c.created.ID, language, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", c.title[1], err)
		}
		if err := c.read(body, p.d, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// read takes one poll's answer.
func (c *playCase) read(body []byte, d *demo, at time.Time) error {
	c.bodies += len(body)
	c.leaks = append(c.leaks, leaksOf(body, d)...)
	var v client.Request
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	c.last = v
	for _, t := range v.Tasks {
		s := c.sighting(t.ID)
		if _, ok := s.first[t.View]; !ok {
			s.first[t.View], s.poll[t.View] = at, c.polls
		}
	}
	if c.ended.IsZero() && ended(v.State) {
		c.ended = at
	}
	return nil
}

func (c *playCase) sighting(task string) *sighting {
	s := c.seen[task]
	if s == nil {
		s = &sighting{first: map[string]time.Time{}, poll: map[string]int{}}
		c.seen[task] = s
	}
	return s
}
