package web

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func (w *Web) home(v *visit) error { return v.show("home", HomePage{v.frame("home-title")}) }

func (w *Web) signIn(v *visit) error {
	p := SignInPage{F: v.frame("signin-title"), Back: "/number"}
	if back := v.r.FormValue("back"); ours(back) {
		p.Back = back
	}
	for _, id := range w.o.SignIn.Carriers() {
		if c := w.o.Hub.Party(id); c != nil && !c.Disabled {
			p.Carriers = append(p.Carriers, Choice{ID: id, Name: v.name(c)})
		}
	}
	v.leads()
	return v.show("signin", p)
}

// transientLife is how long somebody may be at their carrier.
const transientLife = 10 * time.Minute

func (w *Web) toCarrier(v *visit) error {
	back := v.r.PostFormValue("back")
	if !ours(back) {
		back = "/number"
	}
	return v.toSignIn(v.r.PathValue("carrier"), signin.Begin, back)
}

func (v *visit) toSignIn(carrier string, purpose signin.Purpose, back string) error {
	to, keep, err := v.o.SignIn.Leave(v.ctx(), carrier, purpose, back, v.english)
	if err != nil {
		return err
	}
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	if purpose == signin.StepUp {
		if err := v.o.Hub.BeginIdentityCheck(v.ctx(), v.who); err != nil {
			return err
		}
	}
	v.setCookie(leaving(u.Query().Get("state")), keep, transientLife)
	return v.leave(to)
}

// leaving names the cookie of one way to the carrier and back: two tabs may be under way.
func leaving(state string) string {
	return transientCookie + "-" + strings.Map(letters, state[:min(len(state), 8)])
}

func letters(r rune) rune {
	if r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return -1
}

// fromCarrier takes who comes back from their carrier: with a new session, or with a fresh proof for the one that they have.
func (w *Web) fromCarrier(v *visit) error {
	carrier := v.r.PathValue("carrier")
	keep := leaving(v.r.FormValue("state"))
	got, err := w.o.SignIn.Return(v.ctx(), carrier, v.cookie(keep), v.r.URL.Query())
	v.setCookie(keep, "", 0)
	if got.Purpose == signin.StepUp && v.signedIn() {
		v.on = &MenuItem{Path: "/confirm/" + got.Back, Key: "p-back-confirm"}
	}
	if err != nil {
		return err
	}
	in := core.SignedIn{Carrier: carrier, Number: got.Number, StartedAt: got.StartedAt, Origin: got.Origin, Proof: got.Proof, IdentityAt: got.IdentityAt}
	if got.Purpose == signin.StepUp {
		return v.stepUp(in, got.Back)
	}
	s, err := w.o.Hub.SignIn(v.ctx(), v.id, in)
	if err != nil {
		return err
	}
	if v.signedIn() { // whoever signs in again, perhaps with another number, leaves the session before
		if err := w.o.Hub.SignOut(v.ctx(), v.who, false); err != nil {
			return err
		}
	}
	v.setCookie(sessionCookie, s.Token, huanxin.SessionLife)
	return v.leave(got.Back)
}

// stepUp takes a fresh proof into the session, and submits the draft that it was given for.
func (v *visit) stepUp(in core.SignedIn, draft string) error {
	if !v.signedIn() {
		if v.ended != nil {
			return v.ended
		}
		return huanxin.Errorf(huanxin.Unauthenticated, "session_ended", "nobody is signed in any more")
	}
	s, err := v.o.Hub.StepUp(v.ctx(), v.who, in)
	if err != nil {
		return err
	}
	v.who = s.Caller
	v.setCookie(sessionCookie, s.Token, huanxin.SessionLife)
	request, err := v.o.Hub.Submit(v.ctx(), v.who, draft)
	if err != nil {
		return err
	}
	return v.leave("/requests/" + request)
}

func (w *Web) signOut(everywhere bool) func(*visit) error {
	return func(v *visit) error {
		if err := w.o.Hub.SignOut(v.ctx(), v.who, everywhere); err != nil {
			return err
		}
		v.setCookie(sessionCookie, "", 0)
		return v.leave("/home")
	}
}

// needsProof reports whether a refusal to submit is cured by proving once more who one is.
func needsProof(err error) bool {
	var e *huanxin.Error
	return errors.As(err, &e) && e.Code == "ineligible" && (e.Reason == huanxin.IneligibleNoIdentity || e.Reason == huanxin.IneligibleProofStale)
}
