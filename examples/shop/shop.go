package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/guard"
)

// Shop is a small shop. Without a guard it trusts an SMS code alone, as many do.
type Shop struct {
	store *store
	guard *guard.Guard // nil: none
	name  string       // of its cookies, for two shops on one machine
	log   *slog.Logger
}

//go:embed pages
var pageFiles embed.FS

// The pages are parsed once a language: t picks the words.
var pages = map[bool]*template.Template{false: pagesIn(false), true: pagesIn(true)}

func pagesIn(english bool) *template.Template {
	pick := func(zh, en string) string {
		if english {
			return en
		}
		return zh
	}
	when := func(t time.Time, form string) string { return t.In(huanxin.China).Format(form) }
	return template.Must(template.New("").Funcs(template.FuncMap{"t": pick, "when": when, "mask": mask}).ParseFS(pageFiles, "pages/*.html"))
}

// mask shows of a number what its owner knows it by.
func mask(number string) string {
	if len(number) < 8 {
		return number
	}
	return number[:len(number)-8] + "****" + number[len(number)-4:]
}

// view is what the pages show.
type view struct {
	Page    string
	English bool
	Guarded bool
	Account *Account
	Orders  []Order
	Masked  string // the number that is being proved
	Problem string
	Reason  string // why the guard decided so
	NewToo  bool   // a new account is offered
	Phone   []Message
}

// Handler serves the shop.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, h func(w http.ResponseWriter, r *http.Request, x *session) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
			x, err := s.sessionOf(r)
			if err == nil {
				err = h(w, r, x)
			}
			if err != nil {
				s.log.Error("a page failed", "path", r.URL.Path, "error", err)
				http.Error(w, "抱歉,出错了 / sorry, something went wrong", http.StatusInternalServerError)
			}
		})
	}
	on("GET /{$}", s.home)
	on("POST /sms", s.sendCode)
	on("GET /code", s.codePage)
	on("POST /code", s.enterCode)
	on("GET /stop", s.stopped)
	on("POST /step-up", s.stepUp)
	on("POST /new", s.openNew)
	on("POST /password", s.password)
	on("GET /account", s.accountPage)
	on("POST /number", s.changeNumber)
	on("POST /sign-out", s.signOut)
	on("GET /phone", s.phone)
	mux.HandleFunc("GET /shop.css", func(w http.ResponseWriter, r *http.Request) {
		css, err := pageFiles.ReadFile("pages/shop.css")
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(css))
	})
	return http.NewCrossOriginProtection().Handler(headers(mux))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // so that forms name their origin in browsers without Sec-Fetch-Site
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sessionOf gives the browser's session, nil if it has none.
func (s *Shop) sessionOf(r *http.Request) (*session, error) {
	c, err := r.Cookie("session-" + s.name)
	if err != nil {
		return nil, nil
	}
	x, err := s.store.session(r.Context(), c.Value, time.Now())
	if errors.Is(err, errNone) {
		return nil, nil
	}
	return x, err
}

// begin gives the browser a new session, of an account or of nobody yet. An old one ends: nobody knows the new one's name.
func (s *Shop) begin(w http.ResponseWriter, r *http.Request, old *session, account int64) (*session, error) {
	if old != nil {
		if err := s.store.endSession(r.Context(), old); err != nil {
			return nil, err
		}
	}
	token, err := s.store.newSession(r.Context(), account, time.Now())
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, &http.Cookie{Name: "session-" + s.name, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
		MaxAge: int(sessionLife.Seconds())})
	return &session{token: digest(token), account: account}, nil
}

// signIn opens an account.
func (s *Shop) signIn(w http.ResponseWriter, r *http.Request, x *session, account int64) error {
	if _, err := s.begin(w, r, x, account); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (s *Shop) show(w http.ResponseWriter, r *http.Request, status int, v view) error {
	v.English, v.Guarded = wantsEnglish(w, r), s.guard != nil
	var b bytes.Buffer
	if err := pages[v.English].ExecuteTemplate(&b, "layout.html", v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	if err != nil {
		s.log.Debug("the browser went away", "error", err)
	}
	return nil
}

// wantsEnglish is what ?lang said last, else the first language that the browser names of the two.
func wantsEnglish(w http.ResponseWriter, r *http.Request) bool {
	if lang := r.URL.Query().Get("lang"); lang == "en" || lang == "zh" {
		http.SetCookie(w, &http.Cookie{Name: "lang", Value: lang, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		return lang == "en"
	}
	if c, err := r.Cookie("lang"); err == nil {
		return c.Value == "en"
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
