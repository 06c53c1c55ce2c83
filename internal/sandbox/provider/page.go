package provider

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

//go:embed page.html page.css
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// The limits of a sign-in at a carrier.
const (
	codeLife = 5 * time.Minute
	maxTries = 5                // of codes for one number
	lockFor  = 10 * time.Minute // after so many
)

// look is what the page shows.
type look struct {
	English bool
	Carrier string
	Request string
	Step    string // number, code, identity, gone
	Tail    string // the last four digits of the number
	Problem string
}

// T picks the words.
func (l look) T(zh, en string) string {
	if l.English {
		return en
	}
	return zh
}

func (p *Provider) render(w http.ResponseWriter, status int, l look) {
	l.Carrier = l.T(p.o.NameZh, p.o.NameEn)
	var b bytes.Buffer
	if err := page.Execute(&b, l); err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	pageHeaders(w)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func pageHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // as the hub's pages
	h.Set("Cache-Control", "no-store")
}

func serveCSS(w http.ResponseWriter, r *http.Request) {
	css, err := files.ReadFile("page.css")
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(css))
}

const cookieName = "carrier-sign-in"

// showPage begins: whoever signed in here lately enough need not show the number again, if nobody else has it since.
func (p *Provider) showPage(w http.ResponseWriter, r *http.Request) {
	q, ok := p.request(r.FormValue("request"))
	if !ok {
		p.render(w, http.StatusNotFound, look{Step: "gone"})
		return
	}
	if c, err := r.Cookie(cookieName); err == nil {
		p.lock.Lock()
		known, ok := p.browsers[c.Value]
		age := time.Since(known.at)
		if ok && q.controls.IsZero() && q.asked.MaxAge != nil && age < time.Duration(*q.asked.MaxAge)*time.Second && q.wantsIdentity() {
			if person, found := p.o.Person(known.number); found && !person.StartedAt.After(known.at) {
				q.number, q.person, q.controls = known.number, person, known.at
			}
		}
		p.lock.Unlock()
	}
	p.next(w, r, q, "")
}

// next shows the step that a sign-in is at, or sends its holder back to the hub.
func (p *Provider) next(w http.ResponseWriter, r *http.Request, q *request, problem string) {
	p.lock.Lock()
	l := look{English: q.english, Request: q.id, Problem: problem, Step: "number"}
	if tail := q.number.E164(); len(tail) > 4 {
		l.Tail = tail[len(tail)-4:]
	}
	switch {
	case q.done():
		l.Step = ""
	case !q.controls.IsZero():
		l.Step = "identity"
	case q.code != "":
		l.Step = "code"
	}
	p.lock.Unlock()
	if l.Step == "" {
		http.Redirect(w, r, p.o.Path+"/authorize/callback?id="+url.QueryEscape(q.id), http.StatusSeeOther)
		return
	}
	p.render(w, http.StatusOK, l)
}

// takePage takes what was typed.
func (p *Provider) takePage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	q, ok := p.request(r.PostFormValue("request"))
	if !ok {
		p.render(w, http.StatusNotFound, look{Step: "gone"})
		return
	}
	t := look{English: q.english}.T
	switch {
	case r.PostFormValue("cancel") != "":
		p.back(w, r, q, "access_denied")
	case r.PostFormValue("again") != "":
		p.lock.Lock()
		q.code, q.number = "", huanxin.Number{}
		p.lock.Unlock()
		p.next(w, r, q, "")
	case r.PostFormValue("number") != "":
		p.next(w, r, q, p.sendCode(q, r.PostFormValue("number"), t))
	case r.PostFormValue("code") != "":
		problem := p.takeCode(w, q, strings.TrimSpace(r.PostFormValue("code")), t)
		p.next(w, r, q, problem)
	case r.PostFormValue("name") != "":
		if !p.takeIdentity(q, r.PostFormValue("name"), r.PostFormValue("last_four")) {
			p.back(w, r, q, "unmet_authentication_requirements")
			return
		}
		p.next(w, r, q, "")
	default:
		p.next(w, r, q, t("请填写。", "Please fill it in."))
	}
}

// sendCode sends a code to a number. Whether the number is a customer's is not told: the next page comes in any case.
func (p *Provider) sendCode(q *request, typed string, t func(zh, en string) string) string {
	typed = strings.NewReplacer(" ", "", "-", "").Replace(typed)
	if !strings.HasPrefix(typed, "+") {
		typed = "+86" + typed
	}
	n, err := huanxin.ParseNumber(typed)
	if err != nil {
		return t("这不像一个手机号,请再看一眼。", "This does not look like a phone number. Please look again.")
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	if l := p.locks[n]; l.n >= maxTries && time.Now().Before(l.until) {
		return tooManyCodes(t)
	}
	six, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return t("出错了,请再试一次。", "Something went wrong. Please try again.")
	}
	q.number, q.code, q.sentAt = n, fmt.Sprintf("%06d", six), time.Now()
	if _, found := p.o.Person(n); found {
		p.o.Text(n, t("【"+p.o.NameZh+"】验证码 "+q.code+",5 分钟内有效。不要告诉任何人。", p.o.NameEn+": your code is "+q.code+", good for 5 minutes. Tell it to nobody."))
	}
	return ""
}

func tooManyCodes(t func(zh, en string) string) string {
	return t("验证码错了 5 次。为了保护这个号码,请 10 分钟后再试。", "The code was wrong five times. To protect this number, please try again in 10 minutes.")
}

// takeCode compares a code. After five wrong ones for a number it is locked for a while.
func (p *Provider) takeCode(w http.ResponseWriter, q *request, code string, t func(zh, en string) string) string {
	p.lock.Lock()
	defer p.lock.Unlock()
	l := p.locks[q.number]
	if time.Now().After(l.until) {
		l = bad{}
	}
	if l.n >= maxTries {
		q.code, q.number = "", huanxin.Number{}
		return tooManyCodes(t)
	}
	person, found := p.o.Person(q.number)
	if q.code == "" || time.Since(q.sentAt) > codeLife {
		q.code = ""
		return t("这个验证码过期了,请重新获取。", "This code is too old. Please get a new one.")
	}
	if code != q.code || !found {
		l.n, l.until = l.n+1, time.Now().Add(lockFor)
		if p.locks[q.number] = l; l.n >= maxTries {
			q.code, q.number = "", huanxin.Number{}
			return tooManyCodes(t)
		}
		return t("验证码不对,请再看一眼短信。", "The code is not right. Please look at the text again.")
	}
	delete(p.locks, q.number)
	q.person, q.controls, q.code = person, time.Now(), ""
	cookie := rand.Text()
	p.browsers[cookie] = proof{q.number, q.controls}
	for c, known := range p.browsers {
		if time.Since(known.at) > time.Hour {
			delete(p.browsers, c)
		}
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: cookie, Path: p.o.Path, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: 3600})
	return ""
}

// takeIdentity compares a name and the last four digits of an identity card.
func (p *Provider) takeIdentity(q *request, name, lastFour string) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	if q.controls.IsZero() {
		return false
	}
	q.identity = strings.TrimSpace(name) == q.person.Name && strings.TrimSpace(lastFour) == q.person.IDLastFour
	return q.identity
}

// back sends somebody back to the hub with an error of OpenID Connect.
func (p *Provider) back(w http.ResponseWriter, r *http.Request, q *request, code string) {
	_ = storage{p}.DeleteAuthRequest(r.Context(), q.id)
	to := q.asked.RedirectURI + "?" + url.Values{"error": {code}, "state": {q.asked.State}, "iss": {p.o.Issuer}}.Encode()
	http.Redirect(w, r, to, http.StatusSeeOther)
}
