package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/guard"
)

// What a session's number is proved for.
const (
	toSignIn = "signin"
	toBind   = "bind"
)

const maxTries = 5

func (s *Shop) home(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || x.account == 0 {
		return s.show(w, r, http.StatusOK, view{Page: "signin"})
	}
	a, err := s.store.account(r.Context(), "id", x.account)
	if err != nil {
		return err
	}
	orders, err := s.store.orders(r.Context(), a.ID)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, view{Page: "orders", Account: a, Orders: orders})
}

// e164 gives what somebody typed in E.164: people here write 11 digits.
func e164(typed string) (huanxin.Number, error) {
	typed = strings.NewReplacer(" ", "", "-", "").Replace(typed)
	if len(typed) == 11 && typed[0] == '1' {
		typed = "+86" + typed
	}
	return huanxin.ParseNumber(typed)
}

func (s *Shop) sendCode(w http.ResponseWriter, r *http.Request, x *session) error {
	number, err := e164(r.FormValue("number"))
	if err != nil {
		return s.show(w, r, http.StatusBadRequest, view{Page: "signin", Problem: "number"})
	}
	if x, err = s.begin(w, r, x, 0); err != nil {
		return err
	}
	return s.send(w, r, x, number, toSignIn)
}

// send sends a code to a number, which is kept in the session and never in a URL.
func (s *Shop) send(w http.ResponseWriter, r *http.Request, x *session, number huanxin.Number, purpose string) error {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return err
	}
	x.number, x.purpose, x.code, x.tries, x.proved, x.decided = number.E164(), purpose, fmt.Sprintf("%06d", n), 0, false, ""
	if err := s.store.save(r.Context(), x); err != nil {
		return err
	}
	if err := s.store.sendSMS(r.Context(), x.number, x.code, time.Now()); err != nil {
		return err
	}
	http.Redirect(w, r, "/code", http.StatusSeeOther)
	return nil
}

func (s *Shop) codePage(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || x.code == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	return s.show(w, r, http.StatusOK, view{Page: "code", Masked: mask(x.number)})
}

func (s *Shop) enterCode(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || x.code == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	right := x.tries < maxTries && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(r.FormValue("code"))), []byte(x.code)) == 1
	if !right {
		x.tries++
		if err := s.store.save(r.Context(), x); err != nil {
			return err
		}
		return s.show(w, r, http.StatusForbidden, view{Page: "code", Masked: mask(x.number), Problem: "code"})
	}
	x.code, x.tries, x.proved = "", 0, true
	if err := s.store.save(r.Context(), x); err != nil {
		return err
	}
	if x.purpose == toBind {
		return s.bindNumber(w, r, x)
	}
	return s.signInByNumber(w, r, x)
}

// signInByNumber is the point of it all: whoever has the phone has entered the code, and there may be an account with that number.
func (s *Shop) signInByNumber(w http.ResponseWriter, r *http.Request, x *session) error {
	a, err := s.store.account(r.Context(), "number", x.number)
	if errors.Is(err, errNone) {
		return s.register(w, r, x, nil)
	}
	if err != nil {
		return err
	}
	if s.guard == nil {
		return s.signIn(w, r, x, a.ID) // what many shops do
	}
	d := s.ask(r.Context(), a)
	if d.Access == huanxin.Allow {
		return s.signIn(w, r, x, a.ID)
	}
	x.decided = d.Access.String() + " " + d.Reason.String()
	if err := s.store.save(r.Context(), x); err != nil {
		return err
	}
	http.Redirect(w, r, "/stop", http.StatusSeeOther)
	return nil
}

// ask asks the guard whether the code alone may open an account.
func (s *Shop) ask(ctx context.Context, a *Account) guard.Decision {
	number, err := huanxin.ParseNumber(a.Number)
	if err != nil {
		return guard.Decision{Reason: huanxin.GuardNumberMalformed}
	}
	return s.guard.Decide(ctx, guard.Question{Number: number, BoundAt: huanxin.Exactly(a.BoundAt), ConfirmedAt: huanxin.Exactly(a.confirmedAt),
		LastProof: huanxin.Exactly(a.lastProof)})
}

// mayOpenNew reports whether somebody who has proved a number may have a new account with it: when the one that has it is a former
// holder's, or may be.
func mayOpenNew(decided string) bool {
	access, reason, _ := strings.Cut(decided, " ")
	return access == huanxin.Block.String() || reason == huanxin.GuardProvedSince.String()
}

func (s *Shop) stopped(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || x.decided == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	return s.showStop(w, r, x, http.StatusOK, "")
}

func (s *Shop) showStop(w http.ResponseWriter, r *http.Request, x *session, status int, problem string) error {
	access, reason, _ := strings.Cut(x.decided, " ")
	return s.show(w, r, status, view{Page: access, Reason: reason, Masked: mask(x.number), NewToo: mayOpenNew(x.decided), Problem: problem})
}

// stepUp takes the password from who has entered the code already: with both the account is theirs, and the number theirs.
func (s *Shop) stepUp(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || !x.proved || !strings.HasPrefix(x.decided, huanxin.StepUp.String()+" ") {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	a, err := s.store.account(r.Context(), "number", x.number)
	if errors.Is(err, errNone) {
		a = nil
	} else if err != nil {
		return err
	}
	if x.tries++; x.tries > maxTries || !a.passwordIs(r.FormValue("password")) {
		if err := s.store.save(r.Context(), x); err != nil {
			return err
		}
		return s.showStop(w, r, x, http.StatusForbidden, "password")
	}
	if err := s.store.proved(r.Context(), a.ID, time.Now(), true); err != nil {
		return err
	}
	return s.signIn(w, r, x, a.ID)
}

// openNew opens a new account for the number's present holder. The former holder's stays, without the number.
func (s *Shop) openNew(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || !x.proved || !mayOpenNew(x.decided) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	// What was decided was decided of the account that had the number then. It may be another one by now: the holder's own, from another window.
	has, err := s.store.account(r.Context(), "number", x.number)
	if errors.Is(err, errNone) {
		return s.register(w, r, x, nil)
	}
	if err != nil {
		return err
	}
	if !s.ofFormerHolder(r.Context(), has) {
		return s.signInByNumber(w, r, x)
	}
	return s.register(w, r, x, has)
}

// ofFormerHolder reports whether whoever has proved a number may take it from the account that has it.
func (s *Shop) ofFormerHolder(ctx context.Context, has *Account) bool {
	d := s.ask(ctx, has)
	return mayOpenNew(d.Access.String() + " " + d.Reason.String())
}

// register opens an account. The one that has the number, if there is one, loses it.
func (s *Shop) register(w http.ResponseWriter, r *http.Request, x *session, has *Account) error {
	a, err := s.store.openNew(r.Context(), x.number, "顾客 "+x.number[len(x.number)-4:], has, time.Now())
	if errors.Is(err, errNone) { // it has it no longer
		return s.signInByNumber(w, r, x)
	}
	if err != nil {
		return err
	}
	return s.signIn(w, r, x, a.ID)
}

// password is the other way in.
func (s *Shop) password(w http.ResponseWriter, r *http.Request, x *session) error {
	a, err := s.store.account(r.Context(), "login", strings.TrimSpace(r.FormValue("login")))
	if errors.Is(err, errNone) {
		a = nil
	} else if err != nil {
		return err
	}
	if !a.passwordIs(r.FormValue("password")) {
		return s.show(w, r, http.StatusForbidden, view{Page: "signin", Problem: "password"})
	}
	if err := s.store.proved(r.Context(), a.ID, time.Now(), false); err != nil {
		return err
	}
	return s.signIn(w, r, x, a.ID)
}

func (s *Shop) accountPage(w http.ResponseWriter, r *http.Request, x *session) error {
	return s.showAccount(w, r, x, http.StatusOK, "")
}

func (s *Shop) showAccount(w http.ResponseWriter, r *http.Request, x *session, status int, problem string) error {
	if x == nil || x.account == 0 {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	a, err := s.store.account(r.Context(), "id", x.account)
	if err != nil {
		return err
	}
	return s.show(w, r, status, view{Page: "account", Account: a, Problem: problem})
}

func (s *Shop) changeNumber(w http.ResponseWriter, r *http.Request, x *session) error {
	if x == nil || x.account == 0 {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	number, err := e164(r.FormValue("number"))
	if err != nil {
		return s.showAccount(w, r, x, http.StatusBadRequest, "number")
	}
	return s.send(w, r, x, number, toBind)
}

// bindNumber binds the number that was just proved. One that another account has is for its holder to sign in with first.
func (s *Shop) bindNumber(w http.ResponseWriter, r *http.Request, x *session) error {
	has, err := s.store.account(r.Context(), "number", x.number)
	switch {
	case errors.Is(err, errNone):
		has = nil
	case err != nil:
		return err
	case has.ID == x.account:
		has = nil // and binds it anew
	case s.guard == nil || !s.ofFormerHolder(r.Context(), has):
		return s.showAccount(w, r, x, http.StatusConflict, "taken")
	}
	err = s.store.bind(r.Context(), x.account, x.number, has, time.Now())
	if errors.Is(err, errNone) { // it has it no longer
		return s.showAccount(w, r, x, http.StatusConflict, "taken")
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
	return nil
}

func (s *Shop) signOut(w http.ResponseWriter, r *http.Request, x *session) error {
	if x != nil {
		if err := s.store.endSession(r.Context(), x); err != nil {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{Name: "session-" + s.name, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// phone shows every phone of the sandbox: here no SMS leaves the machine.
func (s *Shop) phone(w http.ResponseWriter, r *http.Request, _ *session) error {
	m, err := s.store.messages(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, view{Page: "phone", Phone: m})
}
