package huanxin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func TestARequestIsRefusedWithAReasonOfRuleTwelve(t *testing.T) {
	reassigned := told(t, "1 activated/first; 300 disconnected; 400 activated/reassigned").now
	transferred := told(t, "1 activated/first; 400 transferred").now
	unknown := told(t, "400 activated/ported_in").now
	good := huanxin.Ask{Carrier: 1, Number: number(t, "+8613800000001"), StartedAt: day(400, "10:00"), Origin: huanxin.OriginReassigned,
		AllApps: true, Kinds: []huanxin.TaskKind{huanxin.Unbind},
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityCRM, VerifiedAt: today}}
	with := func(change func(*huanxin.Ask)) huanxin.Ask {
		a := good
		change(&a)
		return a
	}
	ofKind := func(n string) huanxin.Ask {
		return with(func(a *huanxin.Ask) { a.Number = number(t, n) })
	}
	stating := func(origin huanxin.TenureOrigin, start time.Time) huanxin.Ask {
		return with(func(a *huanxin.Ask) { a.Origin, a.StartedAt, a.AllApps = origin, start, false })
	}
	first := told(t, "400 activated/first").now
	ofFirst := func(kinds ...huanxin.TaskKind) huanxin.Ask {
		return with(func(a *huanxin.Ask) { a.Origin, a.Kinds = huanxin.OriginFirst, kinds })
	}
	proven := func(ago time.Duration) huanxin.Ask {
		return with(func(a *huanxin.Ask) { a.Proof.VerifiedAt = today.Add(-ago) })
	}
	for _, c := range []struct {
		rule   string
		ask    huanxin.Ask
		s      huanxin.Standing
		reason string
	}{
		// "Eligible: the registered holder of a number in normal state, of an 11-digit mobile kind (MVNO included)."
		{"a number that was re-assigned", good, reassigned, ""},
		{"a virtual operator's", ofKind("+8617100000001"), reassigned, ""},
		{"an unknown segment", ofKind("+8619400000001"), reassigned, ""},
		// "`number_kind_unsupported` (IoT, privacy 700, satellite, emergency)"
		{"IoT", ofKind("+861064123456789"), reassigned, "number_kind_unsupported"},
		{"privacy", ofKind("+86700123456789012"), reassigned, "number_kind_unsupported"},
		{"satellite", ofKind("+8617490000001"), reassigned, "number_kind_unsupported"},
		{"emergency", ofKind("+8617406000001"), reassigned, "number_kind_unsupported"},
		// "`not_in_use`"; "Only the serving carrier may ask for a number"
		{"never seen", good, huanxin.Standing{}, "not_in_use"},
		{"suspended", good, told(t, "400 activated/reassigned; 500 suspended").now, "not_in_use"},
		{"disconnected", good, told(t, "400 activated/reassigned; 500 disconnected").now, "not_in_use"},
		{"another carrier serves it", good, told(t, "400 activated/reassigned; 500 ported by2").now, "not_in_use"},
		{"the new one does after `ported`", with(func(a *huanxin.Ask) { a.Carrier = 2 }), told(t, "400 activated/reassigned; 500 ported by2").now, ""},
		// "`first_use` (only for `unbind`)"
		{"nobody had it before", ofFirst(huanxin.Unbind), first, "first_use"},
		{"not even among others", ofFirst(huanxin.ClearLabel, huanxin.Unbind), first, "first_use"},
		{"a label can stick to a new number", ofFirst(huanxin.ClearLabel, huanxin.StopContact, huanxin.LiftRestriction), first, ""},
		{"the log says it is the first, whatever the carrier says", with(func(a *huanxin.Ask) { a.Origin, a.AllApps = huanxin.OriginUnknown, false }), first, "first_use"},
		// "`tenure_mismatch`"
		{"another start", stating(huanxin.OriginReassigned, day(400, "10:01")), reassigned, "tenure_mismatch"},
		{"the same instant in another zone", stating(huanxin.OriginReassigned, day(400, "10:00").UTC()), reassigned, ""},
		{"another origin", stating(huanxin.OriginTransferred, day(400, "10:00")), reassigned, "tenure_mismatch"},
		{"the tenure before", stating(huanxin.OriginFirst, day(1, "10:00")), reassigned, "tenure_mismatch"},
		{"a known start where the log knows none", stating(huanxin.OriginReassigned, day(400, "10:00")), unknown, "tenure_mismatch"},
		// "`unknown` (then `started_at` is the earliest proven day, here and in tasks)" (API.md)
		{"the earliest proven day lies in the tenure", stating(huanxin.OriginUnknown, day(600, "00:00")), reassigned, ""},
		{"it is the tenure's first day", stating(huanxin.OriginUnknown, day(400, "00:00")), reassigned, ""},
		{"it lies before: somebody else had it then", stating(huanxin.OriginUnknown, day(399, "23:59")), reassigned, "tenure_mismatch"},
		{"a proven day is not to come", stating(huanxin.OriginUnknown, day(1001, "00:00")), reassigned, "tenure_mismatch"},
		{"neither knows the start", stating(huanxin.OriginUnknown, day(400, "10:00")), unknown, ""},
		// "A reinstated number is judged by the tenure it continues."
		{"reinstated", good, told(t, "1 activated/first; 300 disconnected; 400 activated/reassigned; 500 disconnected; 510 reinstated").now, ""},
		{"reinstated to the first", ofFirst(huanxin.Unbind), told(t, "400 activated/first; 500 disconnected; 510 reinstated").now, "first_use"},
		// Rule 11: "proof of control at most 10 minutes old, and an identity factor"
		{"10 minutes old", proven(10 * time.Minute), reassigned, ""},
		{"a moment older", proven(10*time.Minute + 1), reassigned, "proof_stale"},
		{"a little ahead", proven(-5 * time.Minute), reassigned, ""},
		{"too far ahead", proven(-5*time.Minute - 1), reassigned, "proof_stale"},
		{"no time at all", with(func(a *huanxin.Ask) { a.Proof.VerifiedAt = time.Time{} }), reassigned, "proof_stale"},
		{"no control", with(func(a *huanxin.Ask) { a.Proof.Control = 0 }), reassigned, "proof_stale"},
		{"no identity", with(func(a *huanxin.Ask) { a.Proof.Identity = 0 }), reassigned, "identity_missing"},
		{"proven by the holder before", with(func(a *huanxin.Ask) {
			a.StartedAt = today.Add(-time.Minute)
			a.Proof.VerifiedAt = today.Add(-2 * time.Minute)
		}),
			huanxin.Standing{Phase: huanxin.PhaseInUse, Carrier: 1, Origin: huanxin.OriginReassigned, StartedAt: today.Add(-time.Minute)}, "proof_stale"},
		// "A tenure by transfer or of unknown start: apps are named one by one (`choose_apps`), never "all"."
		{"all apps after a transfer", with(func(a *huanxin.Ask) { a.Origin = huanxin.OriginTransferred }), transferred, "choose_apps"},
		{"named apps after a transfer", stating(huanxin.OriginTransferred, day(400, "10:00")), transferred, ""},
		{"all apps, start unknown", with(func(a *huanxin.Ask) { a.Origin = huanxin.OriginUnknown }), unknown, "choose_apps"},
		{"the carrier's `unknown` is no way around it", with(func(a *huanxin.Ask) { a.Origin = huanxin.OriginUnknown }), transferred, "choose_apps"},
		{"all apps where the log knows the start, and the carrier does not", with(func(a *huanxin.Ask) { a.Origin = huanxin.OriginUnknown }), reassigned, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			wantIneligible(t, c.ask.Eligible(c.s, nil, today, huanxin.DefaultDurations()), c.reason)
		})
	}
}

func wantIneligible(t *testing.T, err error, reason string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	e, ok := err.(*huanxin.Error)
	if !ok || e.Code != "ineligible" || e.Kind != huanxin.Refused || e.Reason != reason || e.Detail == "" {
		t.Errorf("%v, want ineligible (%s)", err, reason)
	}
}

func TestSoManyRequestsAreAccepted(t *testing.T) {
	// Rule 13: "one accepted request a day and three in 30 days per tenure"
	const day1 = 24 * time.Hour
	s := told(t, "400 activated/reassigned").now
	ask := huanxin.Ask{Carrier: 1, Number: number(t, "+8613800000001"), StartedAt: day(400, "10:00"), Origin: huanxin.OriginReassigned,
		Proof: huanxin.Proof{Control: huanxin.ControlSIM, Identity: huanxin.IdentityFace, VerifiedAt: today}}
	for _, c := range []struct {
		rule   string
		ago    []time.Duration
		reason string
	}{
		{"none before", nil, ""},
		{"one now", []time.Duration{0}, "too_many"},
		{"one less than a day ago", []time.Duration{day1 - 1}, "too_many"},
		{"one a day ago", []time.Duration{day1}, ""},
		{"two in 30 days", []time.Duration{29 * day1, 2 * day1}, ""},
		{"three in 30 days", []time.Duration{30*day1 - 1, 20 * day1, 2 * day1}, "too_many"},
		{"three, one of them 30 days ago", []time.Duration{30 * day1, 20 * day1, 2 * day1}, ""},
		{"many long ago", []time.Duration{90 * day1, 80 * day1, 70 * day1, 60 * day1}, ""},
	} {
		var accepted []time.Time
		for _, ago := range c.ago {
			accepted = append(accepted, today.Add(-ago))
		}
		t.Run(c.rule, func(t *testing.T) {
			wantIneligible(t, ask.Eligible(s, accepted, today, huanxin.DefaultDurations()), c.reason)
			fast := huanxin.DefaultDurations()
			fast.Speed = 86400 // "rule 13's days" are divided in the demo
			for i := range accepted {
				accepted[i] = today.Add(-(c.ago[i] / 86400).Round(time.Microsecond))
			}
			if len(c.ago) > 0 && c.ago[0]%day1 == 0 {
				wantIneligible(t, ask.Eligible(s, accepted, today, fast), c.reason)
			}
		})
	}
}

// seen makes released views of a request, each released at a time.
func seen(at time.Time, views ...huanxin.View) []huanxin.TaskView {
	out := make([]huanxin.TaskView, len(views))
	for i, v := range views {
		out[i] = huanxin.TaskView{Task: huanxin.TaskID(i + 1), App: huanxin.PartyNo(i + 1), Kind: huanxin.Unbind, View: v, Release: at, Since: at}
	}
	return out
}

func TestARequestsStateIsWorkedOutFromReleasedViewsOnly(t *testing.T) {
	// "States, counts, order, ETags, live events and refusals of a second request are worked out from released views only."
	const (
		processing, clean, kept = huanxin.ViewProcessing, huanxin.ViewClean, huanxin.ViewKept
		overdue, expired        = huanxin.ViewOverdue, huanxin.ViewExpired
	)
	before, after := today.Add(time.Hour), today.Add(-time.Hour)
	for _, c := range []struct {
		what  string
		views []huanxin.TaskView
		want  string
	}{
		{"nothing is released", seen(before, processing, processing), "SUBMITTED"},
		{"one app's release time has come", append(seen(after, processing), seen(before, processing)...), "IN_PROGRESS"},
		{"some are clean", seen(after, clean, processing), "IN_PROGRESS"},
		{"all are clean", seen(after, clean, clean), "SETTLED"},
		{"one was kept", seen(after, clean, kept), "SETTLED_WITH_EXCEPTIONS"},
		{"one expired", seen(after, clean, expired), "SETTLED_WITH_EXCEPTIONS"},
		{"one is overdue", seen(after, clean, overdue), "IN_PROGRESS"},
		{"one waits for the holder", seen(after, clean, huanxin.ViewActionRequired), "IN_PROGRESS"},
		{"one is restricted", seen(after, kept, huanxin.ViewRestricted), "IN_PROGRESS"},
	} {
		var r huanxin.Request
		if got := r.State(c.views, today).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		r.CancelledAt = today
		if got := r.State(c.views, today); got != huanxin.RequestCancelled {
			t.Errorf("%s, cancelled: %s", c.what, got)
		}
		r = huanxin.Request{AbortedAt: today}
		ended := "ABORTED"
		if strings.HasPrefix(c.want, "SETTLED") {
			ended = c.want // what had settled before its tenure ended stays settled
		}
		if got := r.State(c.views, today); got.String() != ended {
			t.Errorf("%s, aborted: %s", c.what, got)
		}
	}
}

func TestAnAppIsAskedAgainAfterAReleasedViewOtherThanClean(t *testing.T) {
	// API.md: "`POST /v1/requests/{id}/tasks/{task}/again` after a released view other than `clean`"
	long := today.Add(-48 * time.Hour)
	d := huanxin.DefaultDurations()
	for view, code := range map[huanxin.View]string{
		huanxin.ViewProcessing: "not_released", huanxin.ViewClean: "not_released", huanxin.ViewKept: "", huanxin.ViewActionRequired: "",
		huanxin.ViewRestricted: "", huanxin.ViewOverdue: "", huanxin.ViewExpired: "",
	} {
		if got := codeOf(huanxin.MayAskAgain(&huanxin.Request{}, seen(long, view), 0, today, d)); got != code {
			t.Errorf("%v: %q, want %q", view, got, code)
		}
	}
	twice := seen(long, huanxin.ViewKept, huanxin.ViewProcessing)
	twice[1].App = twice[0].App
	if got := codeOf(huanxin.MayAskAgain(&huanxin.Request{}, twice, 0, today, d)); got != "asked_again" {
		t.Errorf("the newest task of an app and kind counts: %q", got)
	}
	twice[1].Kind = huanxin.ClearLabel
	if err := huanxin.MayAskAgain(&huanxin.Request{}, twice, 0, today, d); err != nil {
		t.Errorf("another kind is another matter: %v", err)
	}
	for _, ended := range []huanxin.Request{{CancelledAt: today}, {AbortedAt: today}} {
		if got := codeOf(huanxin.MayAskAgain(&ended, seen(long, huanxin.ViewKept), 0, today, d)); got != "request_ended" {
			t.Errorf("an ended request asks nothing: %q", got)
		}
	}
}

func TestEveryReasonOfRefusalHasAText(t *testing.T) {
	for _, r := range strings.Fields("number_kind_unsupported not_in_use first_use tenure_mismatch proof_stale identity_missing too_many choose_apps") {
		wantIneligible(t, huanxin.Ineligible(r), r)
	}
}
