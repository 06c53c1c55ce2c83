package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Grade is how bad a finding of check is.
type Grade string

// The grades of findings. What is wrong must be mended before the agent can run; what looks wrong may be.
const (
	Good  Grade = "ok"
	Looks Grade = "warning"
	Wrong Grade = "wrong"
)

// CheckItem is one finding of check, in plain words.
type CheckItem struct {
	Grade  Grade
	What   string // configuration, hub, clock, accounts, permissions, state
	Zh, En string
}

// Report is what check found, in the order in which it looked.
type Report struct{ Items []CheckItem }

// OK reports whether nothing is wrong.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Items, func(i CheckItem) bool { return i.Grade == Wrong })
}

func (r *Report) add(g Grade, what, zh, en string, args ...any) {
	if len(args) > 0 {
		zh, en = fmt.Sprintf(zh, chineseArgs(args)...), fmt.Sprintf(en, args...)
	}
	r.Items = append(r.Items, CheckItem{g, what, zh, en})
}

func (r *Report) good(what, zh, en string, args ...any)  { r.add(Good, what, zh, en, args...) }
func (r *Report) looks(what, zh, en string, args ...any) { r.add(Looks, what, zh, en, args...) }
func (r *Report) wrong(what, zh, en string, args ...any) { r.add(Wrong, what, zh, en, args...) }

var gradeMarks = map[Grade]string{Good: "✓", Looks: "!", Wrong: "✗"}

// whatWords are the Chinese for CheckItem.What.
var whatWords = map[string]string{"configuration": "配置", "hub": "枢纽", "clock": "时钟", "accounts": "账号", "permissions": "权限", "state": "状态"}

// Write writes the report in both languages, Chinese first.
func (r *Report) Write(w io.Writer) error {
	for _, i := range r.Items {
		if _, err := fmt.Fprintf(w, "%s %-13s %s\n  %-13s %s\n", gradeMarks[i.Grade], i.What, i.Zh, "", i.En); err != nil {
			return err
		}
	}
	return nil
}

// WriteIn writes the report in one language, Chinese or English.
func (r *Report) WriteIn(w io.Writer, chinese bool) error {
	for _, i := range r.Items {
		text := fmt.Sprintf("%s %-13s %s\n", gradeMarks[i.Grade], i.What, i.En)
		if chinese {
			text = gradeMarks[i.Grade] + " " + whatWords[i.What] + " " + i.Zh + "\n"
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// CheckFile is Check of a configuration file; one that cannot be read is a finding.
func CheckFile(ctx context.Context, path string, o Options) *Report {
	cfg, err := LoadConfig(path)
	if err != nil {
		r := &Report{}
		r.wrong("configuration", "配置文件不可读:%s", "the configuration file cannot be read: %s", err)
		return r
	}
	return Check(ctx, cfg, o)
}

// Check looks at everything that an agent needs, without changing anything: configuration, credentials, clock, statements, permissions.
// It does not need the state's lock, so that it can be run beside an agent.
func Check(ctx context.Context, cfg Config, o Options) *Report {
	r := &Report{}
	if err := cfg.check(&o); err != nil {
		for _, e := range unjoin(err) {
			r.wrong("configuration", "配置有误:%s", "the configuration is wrong: %s", e)
		}
		return r
	}
	a, err := prepare(cfg, o)
	if err != nil {
		for _, e := range unjoin(err) {
			r.wrong("configuration", "不能按配置启动:%s", "the agent cannot be made ready: %s", e)
		}
		return r
	}
	defer func() { _ = errors.Join(a.conn.close(), a.state.close()) }()
	r.good("configuration", "配置可读且完整", "the configuration can be read and is complete")
	a.checkHub(ctx, r)
	a.conn.check(ctx, r)
	if _, err := a.state.open(ctx); err != nil {
		r.wrong("state", "状态目录不能用:%s", "the state cannot be used: %s", err)
	} else {
		r.good("state", "状态目录可用", "the state can be used")
	}
	return r
}

// Examine has the database prepare and explain every statement, or asks the endpoint for a number that nobody has, and says what is
// wrong. It changes nothing, but that it takes the lease, which Run needs, too.
func (a *Agent) Examine(ctx context.Context) *Report {
	r := &Report{}
	a.conn.check(ctx, r)
	return r
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

func (a *Agent) checkHub(ctx context.Context, r *Report) {
	err := a.askSelf(ctx)
	switch {
	case huanxin.KindOf(err) == huanxin.Unauthenticated:
		r.wrong("hub", "枢纽不认这个客户端或它的凭据:请检查 hub.client_id 和密钥", "the hub does not know this client, or its credentials: check hub.client_id and the key or secret")
		return
	case huanxin.KindOf(err) == huanxin.Forbidden:
		r.wrong("hub", "这个客户端没有 tasks.work 权限", "this client lacks the scope tasks.work")
		return
	case err != nil:
		r.wrong("hub", "连不上枢纽:%s", "the hub cannot be reached: %s", err)
		return
	}
	self := a.self.Load()
	r.good("hub", "枢纽认得应用 %s", "the hub knows the app %s", self.ID)
	for _, k := range self.Kinds {
		if !slices.Contains(a.cfg.Kinds, k) {
			r.looks("hub", "登记处说本应用办理 %s,而配置的 kinds 里没有:这类任务会答 kept not_in_scope",
				"the registry says that this app works %s, which kinds does not list: such tasks are answered kept not_in_scope", k)
		}
	}
	if self.Hold {
		r.looks("hub", "枢纽已按下本应用的停止开关:不会动任何账号", "the hub's kill switch for this app is set: nothing will be done to accounts")
	}
	a.checkLinks(self.Domains, r)
	if skew, seen := a.clock.off(); seen && skew.Abs() > time.Duration(a.cfg.ClockTolerance) {
		r.wrong("clock", "本机时钟与枢纽相差 %s:请校时(NTP),在此之前不会动任何账号",
			"this machine's clock differs from the hub's by %s: set it (NTP); until then nothing is done to accounts", skew.Round(time.Second))
	} else {
		r.good("clock", "时钟与枢纽一致", "the clock agrees with the hub's")
	}
	if a.cfg.Delivery.Mode == "list" {
		return
	}
	err = a.call(ctx, func(ctx context.Context) error {
		_, err := a.hub.Streams(ctx)
		return err
	})
	if err != nil {
		r.looks("hub", "不能用事件流(%s):任务只能靠定时列出得知", "the feed cannot be used (%s): tasks are only learnt of by listing", huanxin.CodeOf(err))
	} else {
		r.good("hub", "可以接收事件流", "the feed can be received")
	}
}

func (a *Agent) checkLinks(domains []string, r *Report) {
	for reason, link := range a.cfg.Links {
		answer := huanxin.Answer{Outcome: huanxin.ActionRequired, Link: link}
		answer.Reason, _ = huanxin.ParseReason(reason)
		if err := answer.Check(domains); err != nil {
			r.wrong("hub", "links 的 %s 不在本应用登记的域名上,答复会被拒绝", "the link of %s is not on a domain that the app registered: answers with it would be refused", reason)
		}
	}
	if len(a.cfg.Links) == 0 {
		r.looks("configuration", "没有 links:机主不知道去哪里确认账号", "there are no links: a holder is not told where to confirm an account")
	}
}
