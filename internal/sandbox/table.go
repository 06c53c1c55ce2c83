package sandbox

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// print tells a person what happened.
func (p *play) print(out io.Writer) {
	p.d.say.now("")
	fmt.Fprintf(out, "\n二次号码焕新:一个完整的故事 / One full story  (一天 a day = %s)\n", p.day())
	for i, c := range p.cases {
		p.printCase(out, i+1, c)
	}
	fmt.Fprintln(out, "\n其余 / And besides")
	for _, f := range p.facts {
		mark := "✓"
		if !f.ok {
			mark = "✗"
		}
		fmt.Fprintf(out, "  %s %s / %s\n", mark, f.zh, f.en)
	}
	p.printRows(out)
	p.printHook(out)
}

func (p *play) printCase(out io.Writer, no int, c *playCase) {
	carrier := catalogue.Carriers()[c.carrier]
	days := float64(c.ended.Sub(c.asked)) / float64(p.day())
	fmt.Fprintf(out, "\n%d. %s / %s\n", no, c.title[0], c.title[1])
	fmt.Fprintf(out, "   %s %s 的机主,持号期 tenure %s 始于 since %s,%d 个任务 tasks\n", carrier.NameZh, carrier.NameEn, c.ask.Origin,
		c.ask.StartedAt.In(huanxin.China).Format(time.DateOnly), len(c.created.Tasks))
	fmt.Fprintf(out, "   %s %s,历时 %.1f 天 / after %.1f days\n", stateText(c.last.State, false), c.last.State, days, days)
	rows := p.rowsOf(c)
	table := [][]string{{"机主看到 shown", "应用的答复 answered", "应用 apps", "第几天 day", "例如 such as"}}
	for _, r := range rows {
		table = append(table, []string{r.view, r.answer, fmt.Sprint(len(r.apps)), r.days(), strings.Join(r.apps[:min(3, len(r.apps))], "、")})
	}
	align(out, "   ", table)
}

// tableRow is the apps of a case that did the same and show the same.
type tableRow struct {
	view, answer string
	apps         []string
	first, last  float64 // days until the answer; 0: none came
}

func (r *tableRow) days() string {
	switch {
	case r.last == 0:
		return "—"
	case r.last-r.first < 0.05:
		return fmt.Sprintf("%.1f", r.last)
	}
	return fmt.Sprintf("%.1f–%.1f", r.first, r.last)
}

func (p *play) rowsOf(c *playCase) []*tableRow {
	rows := map[string]*tableRow{}
	for _, t := range c.last.Tasks {
		answer, at := "没有答复 none", time.Time{}
		if w, ok := p.worked[t.ID]; ok && w.Outcome != "" {
			answer, at = w.Outcome+" "+w.Reason, w.SentAt
			if w.Refused != "" {
				answer += "(" + w.Refused + ")"
			}
		} else if _, late := c.sighting(t.ID).first["sent late"]; late {
			answer, at = "not_bound none_found(迟到 late)", c.sighting(t.ID).first["sent late"]
		}
		key := t.View + "\n" + answer
		r := rows[key]
		if r == nil {
			r = &tableRow{view: pickView(t.View), answer: answer}
			rows[key] = r
		}
		r.apps = append(r.apps, p.d.apps[t.App].Spec.NameZh)
		if at.IsZero() {
			continue
		}
		day := float64(at.Sub(c.asked)) / float64(p.day())
		if r.last == 0 {
			r.first = day
		}
		r.first, r.last = min(r.first, day), max(r.last, day)
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b *tableRow) int {
		return cmp.Or(cmp.Compare(a.view, b.view), -cmp.Compare(len(a.apps), len(b.apps)), cmp.Compare(a.answer, b.answer))
	})
}

func pickView(view string) string {
	for _, w := range viewWords {
		if w.view == view {
			return w.zh + " " + view
		}
	}
	return view
}

// printRows says which rows of the decision table occurred.
func (p *play) printRows(out io.Writer) {
	var parts []string
	for row := 1; row <= 7; row++ {
		parts = append(parts, fmt.Sprintf("%d: %d", row, p.rows[row]))
	}
	fmt.Fprintf(out, "\n决定表各行的绑定数 / bindings by row of the decision table: %s\n", strings.Join(parts, "  "))
}

func (p *play) printHook(out io.Writer) {
	h := p.d.hook.counted()
	var parts []string
	for _, step := range slices.Sorted(maps.Keys(h.Steps)) {
		parts = append(parts, fmt.Sprintf("%s %d", step, h.Steps[step]))
	}
	fmt.Fprintf(out, "联系人收到的签名通知 / signed messages to contacts: %d (%s)\n", h.Messages, strings.Join(parts, ", "))
}

// align writes rows in columns. A Chinese character is as wide as two others.
func align(out io.Writer, indent string, rows [][]string) {
	wide := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			wide[i] = max(wide[i], width(cell))
		}
	}
	for _, r := range rows {
		line := indent
		for i, cell := range r {
			line += cell
			if i < len(r)-1 {
				line += strings.Repeat(" ", wide[i]-width(cell)+2)
			}
		}
		fmt.Fprintln(out, line)
	}
}

func width(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r >= 0x2E80 {
			n++
		}
	}
	return n
}
