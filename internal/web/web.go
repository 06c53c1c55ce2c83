// Package web is the pages that holders meet: html/template, one stylesheet, usable without JavaScript. It asks core for everything and holds no
// rules. A number stands in no URL and in no log; nothing is loaded from elsewhere.
package web

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/prometheus/client_golang/prometheus"
)

// Options is what the pages are made of.
type Options struct {
	Hub      *core.Hub
	SignIn   *signin.SignIn
	Ring     *auth.KeyRing
	Issuer   string   // of the hub: its URL
	Carriers []string // origins of the carriers' sign-in pages
	Log      *slog.Logger
	Registry prometheus.Registerer
	// Demo says that this is the demo world; Start is whether / leads to the pages.
	Demo, Start bool
	// Stopping is closed when the server stops: who watches a request's progress is let go.
	Stopping <-chan struct{}
}

// Web serves the pages.
type Web struct {
	o        Options
	mux      *http.ServeMux
	secure   bool
	leading  string // the policy of pages whose forms lead to a carrier
	served   *prometheus.CounterVec
	watchers chan struct{} // places of those who watch
	uploads  chan struct{} // places of certificates that are sent
	photos   chan struct{} // places of pictures that are looked at
	reports  throttle      // of former holders, from everybody together
}

// throttle lets so many through in a minute.
type throttle struct {
	lock   sync.Mutex
	minute int64
	n      int
}

// maxReports is how many reports a minute are taken from everybody: far more than there are honest ones or one machine sends by chance, and too few to fill a disk
// with in a day.
const maxReports = 1200

func (t *throttle) pass(now time.Time) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	if minute := now.Unix() / 60; minute != t.minute {
		t.minute, t.n = minute, 0
	}
	t.n++
	return t.n <= maxReports
}

// The bounds of what is done at once.
const (
	maxWatchers = 2048
	maxUploads  = 32
	maxForm     = 256 << 10
	maxPhoto    = 8 << 20
	maxUpload   = 64 << 20 // of which a picture that is too large is told so
	uploadFor   = 2 * time.Minute
	photoTurn   = 10 * time.Second // that a picture waits to be looked at
)

// maxPhotos leaves half of the cores to everybody else: looking for a code may take seconds.
func maxPhotos() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// policy is the Content-Security-Policy of a page.
const policy = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

// New gives the pages.
func New(o Options) *Web {
	w := &Web{o: o, mux: http.NewServeMux(), secure: strings.HasPrefix(o.Issuer, "https:"), watchers: make(chan struct{}, maxWatchers),
		uploads: make(chan struct{}, maxUploads), photos: make(chan struct{}, maxPhotos())}
	w.leading = strings.Join(append([]string{policy, "https:"}, o.Carriers...), " ")
	w.served = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_pages_total", Help: "Holders' pages served, by path and status."}, []string{"path", "status"})
	o.Registry.MustRegister(w.served)
	w.routes()
	return w
}

// firsts are the first segments of every path of the pages.
var firsts = []string{"home", "sign-in", "sign-out", "sign-out-everywhere", "number", "apps", "confirm", "requests", "certificate", "verify", "cancelling", "former",
	"preferences", "assets"}

// Serves reports whether a path is one of the pages'.
func (w *Web) Serves(path string) bool {
	if path == "/" {
		return w.o.Start
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains(firsts, first)
}

func (w *Web) routes() {
	w.mux.Handle("GET "+stylesheet.path, stylesheet)
	w.mux.Handle("GET "+script.path, script)
	for pattern, h := range map[string]func(*visit) error{
		"GET /{$}":                        func(v *visit) error { return v.leave("/home") },
		"GET /home":                       w.home,
		"GET /sign-in":                    w.signIn,
		"POST /sign-in/{carrier}":         w.toCarrier,
		"GET /sign-in/{carrier}/callback": w.fromCarrier,
		"POST /sign-out":                  holders(w.signOut(false)),
		"POST /sign-out-everywhere":       holders(w.signOut(true)),
		"GET /number":                     holders(w.number),
		"GET /apps":                       holders(w.chooseApps),
		"POST /apps":                      holders(w.takeApps),
		"GET /confirm/{draft}":            holders(w.confirm),
		"POST /confirm/{draft}":           holders(w.agree),
		"GET /requests":                   holders(w.requests),
		"GET /requests/{id}":              holders(w.request),
		"POST /requests/{id}":             holders(w.actOnTask),
		"POST /requests/{id}/cancel":      holders(w.cancel),
		"GET /requests/{id}/events":       holders(w.events),
		"GET /certificate":                holders(w.askCertificate),
		"POST /certificate":               holders(w.makeCertificate),
		"GET /verify":                     w.askVerify,
		"POST /verify":                    w.verify,
		"GET /cancelling":                 w.cancelling,
		"GET /former":                     w.askFormer,
		"POST /former":                    w.former,
		"POST /preferences":               w.preferences,
	} {
		w.mux.Handle(pattern, w.handle(pattern, h))
	}
}

// visit is one request of a browser.
type visit struct {
	*Web
	w       http.ResponseWriter
	r       *http.Request
	id      string
	english bool
	large   bool
	who     huanxin.Caller // Holder nil: nobody is signed in
	ended   error          // why a session that the browser had is none
	status  int
	on      *MenuItem // where a problem's page leads; nil: as its kind says
}

func (v *visit) ctx() context.Context { return v.r.Context() }
func (v *visit) signedIn() bool       { return v.who.Holder != nil }

// ServeHTTP serves one of the pages. Requests that another site makes a browser send change nothing (http.CrossOriginProtection).
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // and not no-referrer: browsers that send no Sec-Fetch-Site would send our own forms with Origin: null
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if w.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		v := w.visit(rw, r)
		v.problem(huanxin.Errorf(huanxin.Forbidden, "another_site", "another site sent this"))
		return
	}
	if _, pattern := w.mux.Handler(r); pattern == "" {
		v := w.visit(rw, r)
		v.problem(huanxin.Errorf(huanxin.NotFound, "not_found", "no page"))
		return
	}
	w.mux.ServeHTTP(rw, r)
}

func (w *Web) visit(rw http.ResponseWriter, r *http.Request) *visit {
	v := &visit{Web: w, w: rw, r: r, id: strings.ToLower(rand.Text()[:16]), status: http.StatusOK}
	v.english = wantsEnglish(r)
	if c, err := r.Cookie("large"); err == nil {
		v.large = c.Value == "yes"
	}
	return v
}

// wantsEnglish is what the holder chose, or else whether the first language that the browser names of ours is English.
func wantsEnglish(r *http.Request) bool {
	if c, err := r.Cookie("lang"); err == nil {
		return c.Value == "en"
	}
	for tag := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Language")), ",") {
		switch tag = strings.TrimSpace(tag); {
		case strings.HasPrefix(tag, "zh"):
			return false
		case strings.HasPrefix(tag, "en"):
			return true
		}
	}
	return false
}

func (w *Web) handle(pattern string, h func(*visit) error) http.Handler {
	_, path, _ := strings.Cut(pattern, " ")
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		v := w.visit(rw, r)
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				w.o.Log.Error("a page panicked", "path", path, "request_id", v.id, "panic", p)
				v.problem(errors.New("panic"))
			}
			w.served.WithLabelValues(path, itoa(v.status)).Inc()
			w.o.Log.Info("page", "method", r.Method, "path", path, "status", v.status, "ms", time.Since(began).Milliseconds(), "request_id", v.id)
		}()
		if r.Method == http.MethodPost && path != "/verify" {
			r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				v.problem(huanxin.Errorf(huanxin.Invalid, "bad", "no form"))
				return
			}
		}
		if err := v.session(); err != nil {
			v.problem(err)
			return
		}
		if err := h(v); err != nil {
			v.problem(err)
		}
	})
}

// holders lets only who is signed in see a page. Who is not is sent to sign in, and comes back afterwards.
func holders(h func(*visit) error) func(*visit) error {
	return func(v *visit) error {
		if v.signedIn() {
			return h(v)
		}
		if v.ended != nil {
			return v.ended
		}
		if v.r.Method != http.MethodGet {
			return huanxin.Errorf(huanxin.Unauthenticated, "no_session", "nobody is signed in")
		}
		return v.leave("/sign-in?back=" + url.QueryEscape(v.r.URL.Path))
	}
}

// show renders a page.
func (v *visit) show(name string, model any) error {
	page, err := Render(name, v.english, model)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(v.status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(page)
	}
	return nil
}

// leads lets the forms of a page lead to a carrier: some browsers hold every redirection of a form's answer against form-action, and to which hosts a carrier leads
// on from its issuer nobody says beforehand.
func (v *visit) leads() { v.w.Header().Set("Content-Security-Policy", v.leading) }

// leave sends the browser to another page.
func (v *visit) leave(to string) error {
	v.status = http.StatusSeeOther
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

func (v *visit) frame(titleKey string) Frame {
	return newFrame(titleKey, v.r.URL.Path, v.english, v.large, v.signedIn(), v.o.Demo)
}

func (v *visit) t(key string, args ...any) string { return say(v.english, key, args...) }

// name gives a party's name in the visitor's language.
func (v *visit) name(p *huanxin.Party) string {
	if v.english {
		return p.NameEn
	}
	return p.NameZh
}

// day and minute write a time for people, in the national time zone.
func (v *visit) day(t time.Time) string {
	if v.english {
		return t.In(v.o.Hub.Calendar().Zone()).Format("2 January 2006")
	}
	return t.In(v.o.Hub.Calendar().Zone()).Format("2006年1月2日")
}

func (v *visit) minute(t time.Time) string {
	if v.english {
		return t.In(v.o.Hub.Calendar().Zone()).Format("2 January 2006, 15:04")
	}
	return t.In(v.o.Hub.Calendar().Zone()).Format("2006年1月2日 15:04")
}

// statuses are those of HTTP for each kind of refusal.
var statuses = map[huanxin.ErrorKind]int{huanxin.Invalid: 400, huanxin.Unauthenticated: 401, huanxin.Forbidden: 403, huanxin.NotFound: 404, huanxin.Conflict: 409,
	huanxin.TooLarge: 413, huanxin.Unsupported: 415, huanxin.Refused: 422, huanxin.Limited: 429, huanxin.Unavailable: 503}

// problem shows why something is not possible. Of what is no refusal it tells nothing but the request's id.
func (v *visit) problem(err error) {
	var e *huanxin.Error
	key := "unknown"
	v.status = http.StatusInternalServerError
	if errors.As(err, &e) && e.Kind != huanxin.Internal {
		v.status = statuses[e.Kind]
		key = "bad"
		for _, k := range []string{e.Reason, e.Code} {
			if k != "" && known("p-"+k) {
				key = k
				break
			}
		}
		if e.Kind == huanxin.Unavailable && key == "bad" {
			key = "busy"
		}
		if e.RetryAfter > 0 {
			v.w.Header().Set("Retry-After", itoa(int(e.RetryAfter/time.Second)+1))
		}
	} else if v.ctx().Err() == nil {
		v.o.Log.Error("a page failed", "request_id", v.id, "error", err)
	}
	p := ProblemPage{F: v.frame("p-" + key), Key: "p-" + key, Do: "p-" + key + "-do", ID: v.id}
	p.F.Back = "/home"
	if p.Link = v.on; p.Link == nil {
		p.Link = v.wayOn(key)
	}
	page, err := Render("problem", v.english, p)
	if err != nil {
		page = []byte(v.id)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(v.status)
	_, _ = v.w.Write(page)
}

// wayOn is where a problem's page leads.
func (v *visit) wayOn(key string) *MenuItem {
	if key == "proof_stale" && !v.signedIn() {
		key = "no_session"
	}
	switch key {
	case "no_session", "session_ended", "tenure_ended", "declined", "not_vouched", "sign_in_unknown", "carrier_down", "number_kind_unsupported", "not_in_use":
		if !v.signedIn() {
			return &MenuItem{Path: "/sign-in", Key: "sign-in"}
		}
	case "too_many", "task_open", "request_ended", "asked_again", "not_released", "nothing_to_complain":
		return &MenuItem{Path: "/requests", Key: "history"}
	case "choose_apps", "unknown_app", "draft_expired", "first_use", "proof_stale", "identity_missing", "identity_failed", "other_number":
		return &MenuItem{Path: "/apps", Key: "choose"}
	}
	return &MenuItem{Path: "/home", Key: "home"}
}
