package agent

import (
	"bytes"
	"embed"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

//go:embed page.html page.css
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page.html"))

// words of the page: zh-CN and en.
var pageWords = map[string][2]string{
	"title": {"焕新代理", "huanxin agent"}, "other": {"English", "中文"},
	"held": {"已停手:", "Held:"}, "works": {"正常工作", "It works"},
	"tasks": {"未办结的任务", "Open tasks"}, "waiting": {"待办", "waiting"}, "review": {"人工复核", "in review"},
	"action": {"等机主操作", "waiting for the holder"}, "failing": {"出错待重试", "failing, to be tried again"}, "unsent": {"未送达的答复", "answers to be sent"},
	"oldest": {"最早的一件收到于", "the oldest came"}, "dead": {"被拒、待人查看", "refused, for people to look at"},
	"decisions": {"按理由统计的判定", "Decisions by reason"}, "outcome": {"结果", "outcome"}, "reason": {"理由", "reason"}, "bindings": {"绑定数", "bindings"},
	"hub": {"枢纽", "The hub"}, "contacted": {"最近一次联系", "last contact"}, "skew": {"时钟快了", "the clock is ahead by"}, "errors": {"错误次数", "errors"},
	"last": {"最近的错误", "the last error"},
}

type pageData struct {
	Lang, Other string
	S           Status
	Decisions   []decided
	now         time.Time
}

type decided struct {
	Outcome, Reason string
	N               int64
}

// T gives a word in the reader's language.
func (p *pageData) T(name string) string {
	if p.Lang == "en" {
		return pageWords[name][1]
	}
	return pageWords[name][0]
}

// Time writes a time.
func (p *pageData) Time(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(p.now.Location()).Format("2006-01-02 15:04:05 -07:00")
}

// Page is the live page, its style sheet and /metrics. No number is on it. Only this machine is answered, by whatever name of loopback.
func (a *Agent) Page() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{a})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "page.css")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(strings.Trim(host, "[]")) { // a page of another site's that was made to point here
			http.Error(w, "only for this machine", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (a *Agent) page(w http.ResponseWriter, r *http.Request) {
	s, err := a.Status(r.Context())
	if err != nil {
		http.Error(w, "the state cannot be read", http.StatusServiceUnavailable)
		return
	}
	p := &pageData{Lang: "zh-CN", Other: "en", S: s, now: a.o.Now().In(a.zone)}
	if lang := r.FormValue("lang"); lang == "en" || lang == "" && strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "en") {
		p.Lang, p.Other = "en", "zh"
	}
	for name, n := range s.Counters {
		if words := strings.Fields(name); len(words) == 3 && words[0] == "decided" {
			p.Decisions = append(p.Decisions, decided{words[1], words[2], n})
		}
	}
	slices.SortFunc(p.Decisions, func(x, y decided) int { return strings.Compare(x.Outcome+x.Reason, y.Outcome+y.Reason) })
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		http.Error(w, "the page cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// collector gives an agent's status as metrics, read when they are asked for.
type collector struct{ a *Agent }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("huanxin_agent_"+name, help, labels, nil)
}

var (
	descOpen      = desc("open_tasks", "Tasks that are not ended, by where they stand.", "state")
	descUnsent    = desc("unsent_answers", "Answers that the hub does not have yet.")
	descOldest    = desc("oldest_task_seconds", "Age of the oldest open task; 0: none is open.")
	descContact   = desc("last_contact_timestamp_seconds", "When the hub was last reached; 0: not yet.")
	descHeld      = desc("held", "1 while nothing is done to accounts.")
	descSkew      = desc("clock_skew_seconds", "By how much the clock is ahead of the hub's, at least.")
	descErrors    = desc("errors_total", "Rounds that failed.")
	descDead      = desc("dead_letters", "What could be neither done nor repeated.")
	descDecisions = desc("decisions_total", "Decisions about bindings.", "outcome", "reason")
	descAnswers   = desc("answers_total", "Answers that the hub took.", "outcome")
	descRefused   = desc("answers_refused_total", "Answers that the hub refused.", "code")
	descDeeds     = desc("deeds_total", "What was done to bindings since the agent began.", "deed")
)

// Describe is of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOpen, descUnsent, descOldest, descContact, descHeld, descSkew, descErrors, descDead, descDecisions, descAnswers, descRefused, descDeeds} {
		ch <- d
	}
}

// Collect is of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := contextFor(5 * time.Second)
	defer cancel()
	s, err := c.a.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descOpen, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for state, n := range map[string]int{"waiting": s.Waiting, "in_review": s.Review, "action_required": s.Action, "failing": s.Failing} {
		gauge(descOpen, float64(n), state)
	}
	gauge(descUnsent, float64(s.Unsent))
	gauge(descDead, float64(s.DeadLetters))
	age, contact, held := 0., 0., 0.
	if !s.Oldest.IsZero() {
		age = c.a.now().Sub(s.Oldest).Seconds()
	}
	if !s.Contacted.IsZero() {
		contact = float64(s.Contacted.Unix())
	}
	if s.Held != "" {
		held = 1
	}
	gauge(descOldest, age)
	gauge(descContact, contact)
	gauge(descHeld, held)
	gauge(descSkew, s.Skew.Seconds())
	counter(descErrors, s.Errors)
	for name, n := range s.Counters {
		switch words := strings.Fields(name); {
		case len(words) == 3 && words[0] == "decided":
			counter(descDecisions, n, words[1], words[2])
		case len(words) == 2 && words[0] == "answered":
			counter(descAnswers, n, words[1])
		case len(words) == 2 && words[0] == "refused":
			counter(descRefused, n, words[1])
		}
	}
	for d, n := range s.Deeds {
		counter(descDeeds, n, d)
	}
}
