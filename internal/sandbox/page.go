package sandbox

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html page.css phone.html
var pageFiles embed.FS

// The page is parsed once a language: t picks the words.
var pages = map[bool]*template.Template{false: pageIn(false), true: pageIn(true)}

func pageIn(english bool) *template.Template {
	pick := func(zh, en string) string {
		if english {
			return en
		}
		return zh
	}
	return template.Must(template.New("page.html").Funcs(template.FuncMap{"t": pick}).ParseFS(pageFiles, "page.html"))
}

// pageView is what the start page shows. It holds no number.
type pageView struct {
	Lang       string
	English    bool
	Still      bool
	Day, Week  string
	Speed      string
	Made, Open int
	Views      []pageCount
	Latest     []pageRequest
	Hook       HookCount
	Polled     int // SETs that apps took since the world was started
	Pushed     int
	File, Apps string
	Hub        string // the operator's directory
	Begin      string // what a shell needs first
	Tries      []pageTry
}

type pageTry struct{ ID, Title, Text, Shell, Note string }

type pageCount struct {
	Word string
	N    int
}

type pageRequest struct {
	At, Carrier, State, Views string
	Settled, Shown, Yours     bool
}

// page serves the start page at / and its stylesheet; everything else is the hub's.
func (d *demo) page(hub http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", hub)
	mux.Handle("POST /v1/requests", d.watch.listen(hub))
	mux.HandleFunc("GET /{$}", d.startPage)
	d.signIns(mux)
	mux.HandleFunc("GET /demo.css", func(w http.ResponseWriter, r *http.Request) {
		css, err := pageFiles.ReadFile("page.css")
		if err != nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		pageHeaders(w, "text/css; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(css))
	})
	return mux
}

func pageHeaders(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

func (d *demo) startPage(w http.ResponseWriter, r *http.Request) {
	english := wantsEnglish(r)
	var b bytes.Buffer
	if err := pages[english].Execute(&b, d.pageView(english)); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	pageHeaders(w, "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept-Language")
	_, _ = w.Write(b.Bytes())
}

// wantsEnglish is what ?lang says, or whether the first language that the browser names is not Chinese but English.
func wantsEnglish(r *http.Request) bool {
	if lang := r.URL.Query().Get("lang"); lang != "" {
		return lang == "en"
	}
	for tag := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Language")), ",") {
		switch tag, _, _ = strings.Cut(strings.TrimSpace(tag), "-"); {
		case strings.HasPrefix(tag, "zh"):
			return false
		case strings.HasPrefix(tag, "en"):
			return true
		}
	}
	return false
}

func (d *demo) pageView(english bool) pageView {
	f := d.watch.figures()
	day := d.hub.Hub.Durations().Day()
	v := pageView{Lang: "zh-CN", English: english, Still: d.o.Still, Day: short(day), Week: short(7 * day),
		Speed: strconv.FormatFloat(d.o.Speed, 'f', -1, 64), Made: f.Made, Open: f.Open, Hook: d.hook.counted(),
		File: filepath.Join(d.o.Data, fileName), Apps: filepath.Join(d.o.Data, "apps", "*.db"), Hub: filepath.Join(d.o.Data, "hub"), Begin: d.begin()}
	for _, app := range d.apps {
		polled, pushed := app.Counted()
		v.Polled, v.Pushed = v.Polled+polled, v.Pushed+pushed
	}
	for _, t := range tries {
		v.Tries = append(v.Tries, pageTry{t.id, pick(english, t.title[0], t.title[1]), pick(english, t.text[0], t.text[1]), t.shell,
			pick(english, t.note[0], t.note[1])})
	}
	if english {
		v.Lang = "en"
	}
	for _, w := range viewWords {
		if n := f.Views[w.view]; n > 0 {
			v.Views = append(v.Views, pageCount{pick(english, w.zh, w.en), n})
		}
	}
	for _, r := range f.Latest {
		p := d.hub.Hub.Party(r.Carrier)
		row := pageRequest{At: r.At.Format(time.TimeOnly), Carrier: r.Carrier, State: stateText(r.State, english), Shown: r.Shown, Yours: r.Visitor,
			Settled: strings.HasPrefix(r.State, "SETTLED")}
		if p != nil {
			row.Carrier = pick(english, p.NameZh, p.NameEn)
		}
		var parts []string
		for _, w := range viewWords {
			if n := r.Views[w.view]; n > 0 {
				parts = append(parts, pick(english, w.zh, w.en)+" "+strconv.Itoa(n))
			}
		}
		row.Views = strings.Join(parts, " · ")
		v.Latest = append(v.Latest, row)
	}
	return v
}

func pick(english bool, zh, en string) string {
	if english {
		return en
	}
	return zh
}

var stateTexts = map[string][2]string{
	"SUBMITTED": {"已提交", "submitted"}, "IN_PROGRESS": {"处理中", "in progress"}, "SETTLED": {"已办结", "settled"},
	"SETTLED_WITH_EXCEPTIONS": {"已办结,有例外", "settled with exceptions"}, "CANCELLED": {"已取消", "cancelled"},
	"ABORTED": {"已中止:持号期结束", "aborted: the tenure ended"}, "GONE": {"已转出", "went elsewhere"},
}

func stateText(state string, english bool) string {
	t, ok := stateTexts[state]
	if !ok {
		return state
	}
	return pick(english, t[0], t[1])
}

func short(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
