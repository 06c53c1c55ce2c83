package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// The cookies: the session, what is kept while a holder is at their carrier, of which each way there has one, and what the next page says was done. Over https their names say that they come from this host alone.
const (
	sessionCookie   = "holder"
	transientCookie = "leaving"
	doneCookie      = "done"
)

func (w *Web) cookieName(name string) string {
	if w.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie that no script reads and that other sites' requests do not carry, but for following a link here; value "" deletes it.
func (v *visit) setCookie(name, value string, life time.Duration) {
	c := &http.Cookie{Name: v.cookieName(name), Value: value, Path: "/", MaxAge: int(life / time.Second), HttpOnly: true, Secure: v.secure,
		SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}

func (v *visit) cookie(name string) string {
	if c, err := v.r.Cookie(v.cookieName(name)); err == nil {
		return c.Value
	}
	return ""
}

// session finds out who is signed in. A session that is over takes its cookie along; why it is over the pages of holders tell.
func (v *visit) session() error {
	token := v.cookie(sessionCookie)
	if token == "" {
		return nil
	}
	s, err := v.o.Hub.HolderSession(v.ctx(), v.id, token)
	switch {
	case huanxin.KindOf(err) == huanxin.Unauthenticated:
		v.setCookie(sessionCookie, "", 0)
		if huanxin.CodeOf(err) != "no_session" {
			v.ended = err
		}
		return nil
	case err != nil:
		return err
	}
	v.who = s.Caller
	if s.Token != "" {
		v.setCookie(sessionCookie, s.Token, huanxin.SessionLife)
	}
	return nil
}

// ours reports whether a path is one of this host's, so that nothing leads elsewhere. Browsers drop tabs and line breaks from a URL before they read it (WHATWG
// URL §4.4), so that a path with one may name another host.
func ours(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.ContainsFunc(path, foreign) && len(path) < 200
}

func foreign(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`\?#`, r) }

// preferences takes language and size of print, and goes back.
func (w *Web) preferences(v *visit) error {
	for name, allowed := range map[string][]string{"lang": {"zh", "en"}, "large": {"yes", "no"}} {
		for _, value := range allowed {
			if v.r.PostFormValue(name) == value {
				http.SetCookie(v.w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: w.secure, SameSite: http.SameSiteLaxMode})
			}
		}
	}
	back := v.r.PostFormValue("back")
	if !ours(back) {
		back = "/home"
	}
	return v.leave(back)
}
