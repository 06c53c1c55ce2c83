package huanxin_test

import (
	"errors"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"pgregory.net/rapid"
)

func TestWhatBecomesOfASessionWhenATokenIsShown(t *testing.T) {
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	fresh := huanxin.Session{Token: []byte("a"), TurnedAt: began, CreatedAt: began, SeenAt: began}
	issued := fresh
	issued.Next, issued.IssuedAt, issued.SeenAt = []byte("b"), at(5*time.Minute), at(5*time.Minute)
	turned := huanxin.Session{Token: []byte("b"), Before: []byte("a"), TurnedAt: at(6 * time.Minute), CreatedAt: began, SeenAt: at(6 * time.Minute)}
	old := turned
	old.SeenAt = at(119 * time.Minute)
	for _, c := range []struct {
		what  string
		s     huanxin.Session
		token string
		after time.Duration
		want  huanxin.SessionStep
	}{
		{"its token, soon", fresh, "a", 4 * time.Minute, huanxin.SessionStays},
		{"its token after five minutes of use", fresh, "a", 5 * time.Minute, huanxin.SessionIssue},
		{"after fifteen minutes without use", fresh, "a", 15*time.Minute + 1, huanxin.SessionOver},
		{"a token that it never had", fresh, "x", time.Minute, huanxin.SessionStolen},
		{"the old token while the new one is on its way", issued, "a", 5*time.Minute + 10*time.Second, huanxin.SessionStays},
		{"the old token when the new one seems to be lost", issued, "a", 5*time.Minute + 30*time.Second, huanxin.SessionIssue},
		{"the new token", issued, "b", 5*time.Minute + 1, huanxin.SessionConfirm},
		{"the replaced token in another tab", turned, "a", 6*time.Minute + 30*time.Second, huanxin.SessionStays},
		{"the replaced token later", turned, "a", 6*time.Minute + 31*time.Second, huanxin.SessionStolen},
		{"after two hours, though it is used", old, "b", 2*time.Hour + 1, huanxin.SessionOver},
	} {
		if got := c.s.Show([]byte(c.token), at(c.after)); got != c.want {
			t.Errorf("%s: %d, not %d", c.what, got, c.want)
		}
	}
}

// The rule of theft: of two who have one token only one gets the next, and from half a minute after that one is used the other's ends the session.
func TestOfTwoWhoHaveOneTokenNotBothKeepTheSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		s := huanxin.Session{Token: []byte{0}, TurnedAt: now, CreatedAt: now, SeenAt: now}
		has := [2]byte{} // holder and thief: which token each has
		issued, lastTurn := byte(0), time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "shows") {
			now = now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "seconds")) * time.Second)
			who := rapid.IntRange(0, 1).Draw(t, "who")
			switch s.Show([]byte{has[who]}, now) {
			case huanxin.SessionIssue:
				issued++
				s.Next, s.IssuedAt, s.SeenAt = []byte{issued}, now, now
				if rapid.Bool().Draw(t, "arrives") {
					has[who] = issued
				}
			case huanxin.SessionConfirm:
				s.Before, s.Token, s.Next, s.TurnedAt, s.SeenAt = s.Token, s.Next, nil, now, now
				lastTurn = now
			case huanxin.SessionStays:
				if has[who] != s.Token[0] && now.Sub(lastTurn) > huanxin.SessionGrace {
					t.Fatalf("a token that was replaced %v ago still works", now.Sub(lastTurn))
				}
				s.SeenAt = now
			case huanxin.SessionStolen, huanxin.SessionOver:
				return
			}
		}
	})
}

func TestWhoMaySignIn(t *testing.T) {
	started := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	now := started.Add(48 * time.Hour)
	stands := huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: 1, Tenure: 7, StartedAt: started, Origin: huanxin.OriginReassigned}
	holder := huanxin.Holder{Number: huanxin.NumberOf(8613800000001), Carrier: 1, StartedAt: started, Origin: huanxin.OriginReassigned,
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, VerifiedAt: now}}
	for _, c := range []struct {
		what, reason string
		change       func(h *huanxin.Holder, s *huanxin.Standing)
	}{
		{"the holder", "", func(*huanxin.Holder, *huanxin.Standing) {}},
		{"the first holder, who has other wishes than unbinding", "", func(h *huanxin.Holder, s *huanxin.Standing) {
			h.Origin, s.Origin = huanxin.OriginFirst, huanxin.OriginFirst
		}},
		{"of a privacy number", "number_kind_unsupported", func(h *huanxin.Holder, _ *huanxin.Standing) { h.Number = huanxin.NumberOf(86700000000001) }},
		{"of a suspended number", "not_in_use", func(_ *huanxin.Holder, s *huanxin.Standing) { s.Phase = huanxin.PhaseSuspended }},
		{"at a carrier that does not serve it", "not_in_use", func(h *huanxin.Holder, _ *huanxin.Standing) { h.Carrier = 2 }},
		{"with another start", "tenure_mismatch", func(h *huanxin.Holder, _ *huanxin.Standing) { h.StartedAt = started.Add(time.Second) }},
		{"with a proof of the very start", "", func(h *huanxin.Holder, _ *huanxin.Standing) { h.Proof.VerifiedAt = started }},
		{"with a proof from before", "proof_stale", func(h *huanxin.Holder, _ *huanxin.Standing) { h.Proof.VerifiedAt = started.Add(-time.Second) }},
	} {
		h, s := holder, stands
		c.change(&h, &s)
		err := h.MaySignIn(s, false, now)
		var e *huanxin.Error
		if reason := ""; errors.As(err, &e) {
			reason = e.Reason
			if reason != c.reason {
				t.Errorf("%s: %s, not %q", c.what, reason, c.reason)
			}
		} else if c.reason != "" {
			t.Errorf("%s is let in", c.what)
		}
	}
}

func TestASessionEndsWithItsTenure(t *testing.T) {
	h := huanxin.Holder{Tenure: 7, Carrier: 1}
	for what, s := range map[string]huanxin.Standing{
		"disconnected": {Phase: huanxin.PhaseDisconnected, Tenure: 7, Carrier: 1},
		"another's":    {Phase: huanxin.PhaseInUse, Tenure: 8, Carrier: 1},
		"ported":       {Phase: huanxin.PhaseInUse, Tenure: 7, Carrier: 2},
	} {
		if err := h.Still(s); huanxin.CodeOf(err) != "tenure_ended" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := h.Still(huanxin.Standing{Phase: huanxin.PhaseSuspended, Tenure: 7, Carrier: 1}); err != nil {
		t.Errorf("while it is suspended: %v", err)
	}
}

func TestAnIdentityFactorCountsForTenMinutes(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	h := huanxin.Holder{Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityIDCard, VerifiedAt: now}, IdentityAt: now}
	if a := h.Ask(false, nil, now.Add(10*time.Minute)); a.Proof.Identity != huanxin.IdentityIDCard {
		t.Error("within ten minutes it is gone")
	}
	if a := h.Ask(false, nil, now.Add(10*time.Minute+1)); a.Proof.Identity != 0 {
		t.Error("after ten minutes it still counts")
	}
	h.IdentityAt = time.Time{}
	if a := h.Ask(false, nil, now); a.Proof.Identity != 0 {
		t.Error("one that was never given counts")
	}
}

func TestACertificateTellsWhatItsHolderChose(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	s := huanxin.Standing{Phase: huanxin.PhaseInUse, StartedAt: time.Date(2026, 2, 28, 17, 0, 0, 0, time.UTC), Origin: huanxin.OriginReassigned} // March 1 in China
	n := huanxin.NumberOf(8613800000001)
	for _, c := range []struct {
		p             huanxin.CertificatePrecision
		number, since string
	}{
		{huanxin.CertificatePrecision{WholeNumber: true, Since: huanxin.CertifyDay}, "+8613800000001", "2026-03-01"},
		{huanxin.CertificatePrecision{Since: huanxin.CertifyMonth}, "…0001", "2026-03"},
		{huanxin.CertificatePrecision{Since: huanxin.CertifyYear}, "…0001", "2026"},
	} {
		got := s.Certify(n, c.p, huanxin.China, now)
		if got.Number != c.number || got.Since != c.since || got.AtLatest || !got.Expires.Equal(now.Add(7*24*time.Hour)) {
			t.Errorf("%+v: %+v", c.p, got)
		}
	}
	s.Origin = huanxin.OriginUnknown
	if !s.Certify(n, huanxin.CertificatePrecision{Since: huanxin.CertifyDay}, huanxin.China, now).AtLatest {
		t.Error("a start that is not known is told as if it were")
	}
}

func TestWhoHasTheNextStepFollowsFromTheViewAlone(t *testing.T) {
	for v, want := range map[huanxin.View]huanxin.NextStep{
		huanxin.ViewProcessing: huanxin.NextApp, huanxin.ViewOverdue: huanxin.NextApp, huanxin.ViewRestricted: huanxin.NextApp,
		huanxin.ViewActionRequired: huanxin.NextHolder, huanxin.ViewExpired: huanxin.NextRegulator,
		huanxin.ViewClean: huanxin.NextNobody, huanxin.ViewKept: huanxin.NextNobody, huanxin.ViewCancelled: huanxin.NextNobody,
	} {
		if got := v.Next(); got != want {
			t.Errorf("%s: %d, not %d", v, got, want)
		}
	}
}
