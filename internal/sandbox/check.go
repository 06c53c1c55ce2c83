package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// deed is what an app did with a task, by its own database.
type deed struct {
	app catalogue.App
	appsim.Worked
}

// verdict is what became of one rule.
type verdict struct {
	rule   int
	zh, en string
	looked int      // at how many things
	broken []string // what is wrong; never with a number
}

// complaints is how many of the things that are wrong are printed for one rule.
const complaints = 8

// judge checks the rules and prints each. An error says that one is broken.
func (p *play) judge(ctx context.Context, out io.Writer) error {
	var broken []string
	fmt.Fprintln(out, "\n规则核对 / The rules of DOMAIN.md §7")
	for _, check := range []func(context.Context) (verdict, error){p.rule1, p.rule2, p.rule3, p.rule4, p.rule6, p.rule8, p.softly} {
		v, err := check(ctx)
		if err != nil {
			return fmt.Errorf("checking the rules: %w", err)
		}
		mark := "✓"
		if len(v.broken) > 0 {
			mark = "✗"
			broken = append(broken, fmt.Sprint(v.rule))
		}
		fmt.Fprintf(out, "  %s %d  %s / %s  (%d)\n", mark, v.rule, v.zh, v.en, v.looked)
		for i, b := range v.broken {
			if i == complaints {
				fmt.Fprintf(out, "       … %d more\n", len(v.broken)-i)
				break
			}
			fmt.Fprintf(out, "       %s\n", b)
		}
	}
	for _, f := range p.facts {
		if !f.ok {
			return errors.New("the scenario did not go as it should: " + f.en)
		}
	}
	if len(broken) > 0 {
		return errors.New("broken rules of DOMAIN.md §7 (0 is §6): " + strings.Join(broken, ", "))
	}
	return nil
}

// looked gives the apps that are looked at: all, unless a test has less time.
func (p *play) looked() []catalogue.App {
	if p.only != nil {
		return p.only
	}
	return catalogue.Apps()
}

// collect reads what the apps did out of their databases, and what their own checks found.
func (p *play) collect(ctx context.Context) error {
	p.worked, p.rows, p.found = map[string]deed{}, map[int]int{}, map[int][]string{}
	for _, a := range p.looked() {
		all, err := p.d.apps[a.ID].Worked(ctx)
		if err != nil {
			return err
		}
		for _, w := range all {
			p.worked[w.Task] = deed{a, w}
		}
		rows, err := p.d.apps[a.ID].Rows(ctx)
		if err != nil {
			return err
		}
		for row, n := range rows {
			p.rows[row] += n
		}
		found, err := p.d.apps[a.ID].Findings(ctx)
		if err != nil {
			return err
		}
		for _, f := range found {
			p.found[f.Rule] = append(p.found[f.Rule], strings.Join(slices.DeleteFunc([]string{a.ID, f.Task, f.Account, f.What},
				func(s string) bool { return s == "" }), " "))
		}
	}
	return nil
}

// rule1: nothing bound at or after the tenure's start is ever unbound. By what was unbound, and by what must still be there.
func (p *play) rule1(ctx context.Context) (verdict, error) {
	v := verdict{rule: 1, zh: "持号期开始之后的绑定从未被解绑", en: "nothing bound since the tenure began was unbound"}
	for _, a := range p.looked() {
		app := p.d.apps[a.ID]
		removed, err := app.Removals(ctx)
		if err != nil {
			return v, err
		}
		corrected := map[string]bool{} // unbound for a tenure that was corrected away when it was too late to restore
		for _, r := range removed {
			if v.looked++; !r.TrueBound.IsZero() && !r.TrueBound.Before(r.Start) {
				v.broken = append(v.broken, a.ID+" "+r.Account+" was bound since the tenure began, and unbound")
				continue
			}
			if l, known := p.d.ledger.find(r.Number); known && slices.ContainsFunc(l.events, func(e huanxin.Event) bool { return e.Kind == huanxin.Corrected }) {
				corrected[r.Account] = true
			}
		}
		for _, acc := range p.stocks()[a.ID].Accounts {
			l, known := p.d.ledger.find(acc.Number)
			if !known || !l.standing.Held() || acc.TrueBound.IsZero() || acc.TrueBound.Before(l.standing.StartedAt) {
				continue
			}
			v.looked++
			open, err := app.Opens(ctx, acc.Number)
			if err != nil {
				return v, err
			}
			if !slices.Contains(open, acc.ID) && !corrected[acc.ID] {
				v.broken = append(v.broken, a.ID+" "+acc.ID+" is the present holder's and no longer bound")
			}
		}
	}
	return p.withFindings(v), nil
}

// withFindings adds what the apps' own checks found about a rule.
func (p *play) withFindings(v verdict) verdict {
	v.broken = append(v.broken, p.found[v.rule]...)
	return v
}

// stocks gives what each app was seeded with.
func (p *play) stocks() map[string]*Stock {
	if p.stocked == nil {
		p.stocked = p.d.world.Bindings()
	}
	return p.stocked
}

// rule2: a task never transfers, shows or deletes an account, its contents or its money.
func (p *play) rule2(context.Context) (verdict, error) {
	v := verdict{rule: 2, zh: "账号、主人、余额都没有变", en: "accounts, their owners and their money are as they were"}
	for _, s := range p.stocks() {
		v.looked += len(s.Accounts)
	}
	return p.withFindings(v), nil
}

// rule3: what the holder was shown, in every poll, holds nothing of the former holder.
func (p *play) rule3(context.Context) (verdict, error) {
	v := verdict{rule: 3, zh: "机主没有看到前机主的任何信息", en: "the holder saw nothing of the former one"}
	for _, c := range p.cases {
		v.looked += c.polls
		v.broken = append(v.broken, c.leaks...)
	}
	return v, nil
}

// seenRequest is every member that a request may show. Another one is a leak.
type seenRequest struct {
	ID       string     `json:"id"`
	State    string     `json:"state"`
	TenureID string     `json:"tenure_id"`
	DueAt    time.Time  `json:"due_at"`
	Tasks    []seenTask `json:"tasks"`
}

type seenTask struct {
	ID   string `json:"id"`
	App  string `json:"app"`
	Kind string `json:"kind"`
	View string `json:"view"`
	Text string `json:"text"`
	Link string `json:"link,omitempty"`
}

// leaksOf says what in an answer about a request is more than a word of the contract, a fixed text, an id of the hub's or a
// link of the app's. So no account, nickname, amount, date or note can be in it.
func leaksOf(body []byte, d *demo) (leaks []string) {
	var v seenRequest
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return []string{"a request shows more than it may: " + err.Error()}
	}
	for _, t := range v.Tasks {
		app := d.apps[t.App]
		if app == nil || !slices.ContainsFunc(viewWords, func(w viewWord) bool { return w.view == t.View && w.fixed(t.Text) }) {
			leaks = append(leaks, t.App+" shows a text that is not its view's")
			continue
		}
		if u, err := url.Parse(t.Link); t.Link != "" &&
			(err != nil || u.Scheme != "https" || u.Host != app.Spec.Domain() || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Path, "0123456789")) {
			leaks = append(leaks, t.App+" shows a link that tells more than where to go")
		}
	}
	for _, secret := range []string{"u-", lateNote, "¥"} {
		if bytes.Contains(body, []byte(`"`+secret)) {
			leaks = append(leaks, "a request shows an account or a note")
		}
	}
	return leaks
}

// rule4: unbound, not_bound and kept bound_by_current_holder are one view, shown at the release time and never before it.
func (p *play) rule4(context.Context) (verdict, error) {
	v := verdict{rule: 4, zh: "已解绑、无绑定、本人绑定看起来一样,只在放行时刻显示", en: "unbound, not bound and one's own look alike, and show at the release time only"}
	for _, c := range p.cases {
		p.early(c, &v)
		p.alike(c, &v)
		p.together(c, &v)
	}
	return v, nil
}

// release gives the earliest time at which a task's results may show: the request was submitted after it was asked for.
func (p *play) release(c *playCase, app string) time.Time {
	s := p.d.hub.Hub.Durations()
	return s.ReleaseAt(c.asked, s.ReleaseDelayOf(p.d.hub.Hub.Party(app)))
}

// early looks for answers that were shown before they may be.
func (p *play) early(c *playCase, v *verdict) {
	s := p.d.hub.Hub.Durations()
	for _, t := range c.last.Tasks {
		seen := c.sighting(t.ID)
		for _, view := range []string{"clean", "kept", "action_required", "restricted"} {
			at, ok := seen.first[view]
			if !ok {
				continue
			}
			v.looked++
			earliest := p.release(c, t.App)
			if sent, late := seen.first["sent late"]; late {
				earliest = s.ShownAt(earliest, sent)
			}
			if at.Before(earliest) {
				v.broken = append(v.broken, fmt.Sprintf("%s showed %s %s before the release time", t.App, view, earliest.Sub(at)))
			}
		}
	}
}

// alike compares the views of what must look alike.
func (p *play) alike(c *playCase, v *verdict) {
	var first []byte
	for _, t := range c.last.Tasks {
		w, ok := p.worked[t.ID]
		if !ok || w.SentAt.IsZero() || w.Refused != "" || t.View == "cancelled" ||
			w.Outcome != "unbound" && w.Outcome != "not_bound" && w.Reason != "bound_by_current_holder" {
			continue
		}
		if t.View == "processing" {
			continue // answered late, and not shown yet
		}
		t.ID, t.App = "", ""
		text, err := json.Marshal(t)
		if err != nil {
			text = nil
		}
		v.looked++
		if first == nil {
			first = text
		}
		if !bytes.Equal(first, text) {
			v.broken = append(v.broken, w.app.ID+" "+w.Outcome+" looks different: "+string(text))
		}
	}
}

// together looks whether all that was answered in time shows in one and the same poll, so that nobody can tell by the time.
func (p *play) together(c *playCase, v *verdict) {
	polls := map[time.Duration]map[int]string{}
	margin := p.d.hub.Hub.Durations().SlotLength() / 4 // of what comes just before, the hub decides when it came
	for _, t := range c.last.Tasks {
		w, ok := p.worked[t.ID]
		poll, clean := c.sighting(t.ID).poll["clean"]
		if !ok || !clean || w.SentAt.IsZero() || !w.SentAt.Before(p.release(c, t.App).Add(-margin)) {
			continue
		}
		delay := p.d.hub.Hub.Durations().ReleaseDelayOf(p.d.hub.Hub.Party(t.App))
		if polls[delay] == nil {
			polls[delay] = map[int]string{}
		}
		polls[delay][poll] = t.App
		v.looked++
	}
	for _, at := range polls {
		if len(at) > 1 {
			v.broken = append(v.broken, fmt.Sprintf("what was answered in time showed in %d different polls", len(at)))
		}
	}
}

// rule6: an answer is bound to what was asked. See tampering; the app of nonsense tried, too.
func (p *play) rule6(ctx context.Context) (verdict, error) {
	v := verdict{rule: 6, zh: "答复只对所问的任务有效,胡乱的答复都被拒绝", en: "answers count only for what was asked; nonsense was refused"}
	for _, a := range catalogue.Apps() {
		if a.Behaviour != catalogue.Nonsense {
			continue
		}
		sent, taken, err := p.d.apps[a.ID].Nonsense(ctx)
		if err != nil {
			return v, err
		}
		v.looked += sent
		if taken > 0 || sent == 0 {
			v.broken = append(v.broken, fmt.Sprintf("%s sent nonsense %d times, and %d were taken", a.ID, sent, taken))
		}
	}
	for _, f := range p.facts {
		if strings.Contains(f.en, "rule 6") {
			if v.looked++; !f.ok {
				v.broken = append(v.broken, f.en)
			}
		}
	}
	return p.withFindings(v), nil
}

// rule8: what was acknowledged is there exactly once: said again, all of it is known already.
func (p *play) rule8(ctx context.Context) (verdict, error) {
	v := verdict{rule: 8, zh: "确认过的事件、申请、答复都在,而且只有一份", en: "every acknowledged event, request and answer is there once"}
	for _, f := range []func(context.Context, *verdict) error{p.eventsOnce, p.requestsOnce, p.answersOnce} {
		if err := f(ctx, &v); err != nil {
			return v, err
		}
	}
	return p.withFindings(v), nil
}

func (p *play) eventsOnce(ctx context.Context, v *verdict) error {
	told := make([][]client.Event, len(catalogue.Carriers()))
	for _, s := range p.d.world.All() {
		for i := range s.Events {
			told[s.Events[i].Carrier-1] = append(told[s.Events[i].Carrier-1], wire(&s.Events[i]))
		}
	}
	for i, e := range p.d.ledger.tail {
		told[p.d.ledger.tailOf[i]] = append(told[p.d.ledger.tailOf[i]], e)
	}
	for i, events := range told {
		r, err := p.d.clients[carrierID(i)].ReportEvents(ctx, events, time.Time{})
		if err != nil {
			return err
		}
		v.looked += len(events)
		if r.Accepted > 0 || r.RejectedTotal > 0 || r.Duplicates != int64(len(events)) {
			v.broken = append(v.broken, fmt.Sprintf("%s: of %d events %d were lost and %d changed", carrierID(i), len(events), r.Accepted, r.RejectedTotal))
		}
	}
	return nil
}

func (p *play) requestsOnce(ctx context.Context, v *verdict) error {
	for _, c := range p.cases {
		v.looked++
		again, err := p.d.clients[carrierID(c.carrier)].CreateRequest(ctx, c.ask)
		if err != nil {
			return fmt.Errorf("%s, sent again: %w", c.title[1], err)
		}
		if again.ID != c.created.ID || len(again.Tasks) != len(c.created.Tasks) {
			v.broken = append(v.broken, c.title[1]+": sent again it became another request")
		}
		body, err := json.Marshal(map[string]string{"number": c.ask.Number})
		if err != nil {
			return err
		}
		text, err := p.d.raw(ctx, carrierID(c.carrier), http.MethodPost, "/v1/requests/find", "en", bytes.NewReader(body))
		if err != nil {
			return err
		}
		var found struct{ Requests []client.Request }
		if err := json.Unmarshal(text, &found); err != nil {
			return err
		}
		if c.end.endsTenure() && len(found.Requests) == 0 {
			continue // its tenure has ended, and its history with it (rule 14)
		}
		if len(found.Requests) != 1 || found.Requests[0].ID != c.created.ID || len(found.Requests[0].Tasks) != len(c.created.Tasks) {
			v.broken = append(v.broken, fmt.Sprintf("%s: there are %d requests of the number", c.title[1], len(found.Requests)))
		}
	}
	return nil
}

// answersOnce sends every final answer that the hub took once more: it must be known, and the task as answered.
func (p *play) answersOnce(ctx context.Context, v *verdict) error {
	again := map[string][]client.Answer{}
	for _, c := range p.cases {
		for _, t := range c.created.Tasks {
			w, ok := p.worked[t.ID]
			if !ok || w.SentAt.IsZero() || w.Refused != "" || w.Phase != "done" {
				continue
			}
			task, err := p.d.clients[t.App].Task(ctx, t.ID)
			if err != nil {
				return err
			}
			v.looked++
			if task.State != huanxin.TaskAnswered.String() {
				if c.end == toTheEnd && task.State != huanxin.TaskAborted.String() {
					v.broken = append(v.broken, t.App+": an answer was taken and the task is "+task.State)
				}
				continue
			}
			again[t.App] = append(again[t.App], client.AnswerTo(task, w.Outcome, w.Reason))
		}
	}
	for app, answers := range again {
		r, err := p.d.clients[app].Answers(ctx, answers)
		if err != nil {
			return err
		}
		if r.Accepted > 0 || r.RejectedTotal > 0 || r.Duplicates != int64(len(answers)) {
			v.broken = append(v.broken, fmt.Sprintf("%s: of %d answers %d were lost and %d changed", app, len(answers), r.Accepted, r.RejectedTotal))
		}
	}
	return nil
}

// softly: how a binding is unbound (§6).
func (p *play) softly(context.Context) (verdict, error) {
	v := verdict{rule: 0, zh: "解绑是软的:号码不再是钥匙,账号还在,前机主另有通知(§6)", en: "unbinding is soft: the number is no key, the account stays, the former holder is told (§6)"}
	for _, w := range p.worked {
		v.looked += w.Unbound
	}
	return p.withFindings(v), nil
}
