package conformance

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Outcome is what came of a scenario.
type Outcome string

// The outcomes. One that is skipped could not be looked at, and why is said.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

var outcomeWords = map[Outcome]Text{Passed: {"通过", "passed"}, Failed: {"未通过", "failed"}, Skipped: {"未检验", "skipped"}}

// Result is what came of one scenario, and what to mend.
type Result struct {
	Code    string  `json:"code"`
	Title   Text    `json:"title"`
	Rule    string  `json:"rule"` // the place in DOMAIN.md
	Why     Text    `json:"why"`
	Outcome Outcome `json:"outcome"`
	// Expected and Seen say what was; Fix is what to mend. No number is in them.
	Expected Text     `json:"expected"`
	Seen     Text     `json:"seen"`
	Fix      *Text    `json:"fix,omitempty"`
	Tasks    []string `json:"tasks,omitempty"`
	Accounts []string `json:"accounts,omitempty"`
	Took     float64  `json:"took_seconds"`
}

func (r *Result) line() Text {
	mark := map[Outcome]string{Passed: "✓", Failed: "✗", Skipped: "–"}[r.Outcome]
	t := say(mark+" %-22s %s", mark+" %-22s %s", r.Code, "")
	t.Zh, t.En = t.Zh+r.Title.Zh, t.En+r.Title.En
	if r.Outcome != Passed {
		t.Zh, t.En = t.Zh+":"+r.Seen.Zh, t.En+": "+r.Seen.En
	}
	return t
}

// Report is everything that a run found.
type Report struct {
	Client    string    `json:"client"`
	Delivery  string    `json:"delivery"` // push, poll or list
	Inspected bool      `json:"inspected"`
	Without   []string  `json:"without,omitempty"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended"`
	Passed    int       `json:"passed"`
	Failed    int       `json:"failed"`
	Skipped   int       `json:"skipped"`
	// Unseen says what the run could not look at as a whole: a run that passes says nothing of it.
	Unseen  []Text   `json:"unseen,omitempty"`
	Results []Result `json:"results"`

	mu sync.Mutex
}

func (r *run) newReport() *Report {
	now := time.Now()
	return &Report{Client: r.o.ClientID, Delivery: r.front.mode(), Inspected: r.o.Inspector != nil, Without: r.o.Without, Began: now, Ended: now, Results: []Result{}}
}

func (rep *Report) add(x Result) {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	switch x.Outcome {
	case Passed:
		rep.Passed++
	case Failed:
		rep.Failed++
	case Skipped:
		rep.Skipped++
	}
	rep.Results = append(rep.Results, x)
}

// unseen says what cannot be found out of a company, however it answers.
func (r *run) unseen() (out []Text) {
	if r.o.Inspector == nil {
		out = append(out, say("没有查看任何账号(没有 --inspect、--inspect-sql):只凭答复判断,号码是不是真的解绑、规则一有没有守住,都没有人看过",
			"no account was inspected (neither --inspect nor --inspect-sql): by answers alone nobody saw whether a number was unbound, nor whether rule 1 was kept"))
	}
	if r.front.mode() == "list" {
		out = append(out, say("公司只列任务,没有事件流:伪造的事件、重发、撤回都没有检验", "the company lists tasks and has no stream: forged events, repeated ones and retractions were not tried"))
	}
	return out
}

// OK reports whether nothing failed, and something was looked at.
func (rep *Report) OK() bool { return rep.Failed == 0 && rep.Passed > 0 }

//go:embed report.html
var reportHTML string

//go:embed report.css
var reportCSS string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"word": func(o Outcome) Text { return outcomeWords[o] },
	"css":  func() template.CSS { return template.CSS(reportCSS) },
	"time": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 -07:00") },
}).Parse(reportHTML))

// The files of a report.
const (
	ReportJSON = "report.json"
	ReportHTML = "report.html"
)

// Write writes a report as JSON and as a page, both for people and programs to keep.
func (rep *Report) Write(dir string) error {
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := reportTemplate.Execute(&page, rep); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ReportJSON), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ReportHTML), page.Bytes(), 0o644)
}
