package huanxin

import "time"

// View is what the holder sees of a task (DOMAIN.md §7 rule 4).
type View uint8

// The views.
const (
	ViewProcessing View = iota + 1
	ViewClean
	ViewKept
	ViewActionRequired
	ViewRestricted
	ViewOverdue
	ViewExpired
	ViewCancelled
)

var views = enum[View]{what: "view", names: []string{1: "processing", 2: "clean", 3: "kept", 4: "action_required",
	5: "restricted", 6: "overdue", 7: "expired", 8: "cancelled"}}

// String gives the word of the contract.
func (v View) String() string { return views.name(v) }

// Final reports whether nothing more is awaited from the app. A late answer may still change ViewExpired.
func (v View) Final() bool {
	return v == ViewClean || v == ViewKept || v == ViewExpired || v == ViewCancelled
}

// AskAgain reports whether the holder may ask the app again (API.md: after a released view other than clean).
func (v View) AskAgain() bool { return v != ViewClean && v != ViewProcessing }

// viewTexts is what a person reads: Chinese, then English.
var viewTexts = map[View][2]string{
	ViewProcessing:     {"该应用正在处理。", "The app is working on it."},
	ViewClean:          {"已清理:此应用里没有他人的账号再与你的号码绑定。", "Cleared: nobody else's account at this app is tied to your number any more."},
	ViewKept:           {"该应用没有解绑。你可以再次申请,或者投诉。", "The app did not unbind. You can ask again or complain."},
	ViewActionRequired: {"需要你到该应用确认一下,才能继续。", "The app needs you to confirm something before it can go on."},
	ViewRestricted:     {"该应用限制了此号码,正在人工核实。", "The app has restricted this number and is looking into it by hand."},
	ViewOverdue:        {"该应用已超过期限,我们已在催办。", "The app is late. We are pressing it for an answer."},
	ViewExpired:        {"该应用没有在期限内办结,已报告给监管部门。你可以再次申请,或者投诉。", "The app did not finish in time; the regulator has been told. You can ask again or complain."},
	ViewCancelled:      {"已取消。", "Cancelled."},
}

// Text gives the view's text for people, in English if english is set, else in Chinese.
func (v View) Text(english bool) string {
	if english {
		return viewTexts[v][1]
	}
	return viewTexts[v][0]
}

// TaskView is what is released of a task. Everything that a holder, a page or a carrier is shown comes from it.
type TaskView struct {
	Task    TaskID
	App     PartyNo
	Kind    TaskKind
	View    View
	Link    string
	Created time.Time
	Asked   time.Time // when the app was last asked again; zero: never
	Release time.Time // when results are first shown
	// Since is when the task came to be seen as it is now: what is shown later never moves it back.
	Since time.Time
}

// ViewAt works out what is released of a task at now from its answers, oldest first, and its clock. It never tells
// unbound, not_bound and kept bound_by_current_holder apart, nor when the answer came.
func (t *Task) ViewAt(answers []Answer, now time.Time, d Durations, cal *Calendar) TaskView {
	v := TaskView{Task: t.ID, App: t.App, Kind: t.Kind, View: ViewProcessing, Created: t.CreatedAt, Asked: t.AskedAt, Release: t.Release, Since: t.CreatedAt}
	seen, shown := t.lastShown(answers, t.seenUntil(now), d)
	if seen != nil && seen.Outcome.Final() {
		v.View, v.Since = finalView(seen), shown
		return v
	}
	if !t.EndedAt.IsZero() && !t.EndedAt.After(now) {
		v.View, v.Since = ViewCancelled, t.EndedAt
		return v
	}
	if step, at := t.clockAt(now, answers, d, cal); step == StepExpired {
		v.View, v.Since = ViewExpired, at
		return v
	} else if step >= StepOverdue {
		v.View, v.Since = ViewOverdue, at
	}
	switch {
	case seen == nil:
	case seen.Outcome == ActionRequired:
		v.View, v.Link, v.Since = ViewActionRequired, seen.Link, shown
	case seen.Reason == RestrictedNumber:
		v.View, v.Since = ViewRestricted, shown
	case shown.After(v.Since):
		v.Since = shown // the holder sees again what the answer before this one had hidden
	}
	return v
}

// seenUntil stops the view of a task that was ended from outside at that moment, so that what was answered and not yet
// released is never told.
func (t *Task) seenUntil(now time.Time) time.Time {
	if !t.EndedAt.IsZero() && t.EndedAt.Before(now) {
		return t.EndedAt
	}
	return now
}

// lastShown gives the last answer that is released at now, and since when it shows: one that shows as the answer before
// it did, or as none at all, changes nothing and has no time of its own.
func (t *Task) lastShown(answers []Answer, now time.Time, d Durations) (*Answer, time.Time) {
	var last *Answer
	var since time.Time
	for i := range answers {
		a := &answers[i]
		if a.Void {
			continue
		}
		if at := d.ShownAt(t.Release, a.At); !at.After(now) {
			if !a.hidden() || last != nil && !last.hidden() {
				since = at
			}
			last = a
		}
	}
	return last, since
}

// hidden reports whether the answer shows as processing, as if the app had not answered.
func (a *Answer) hidden() bool {
	return a.Outcome == Failed || a.Outcome == InReview && a.Reason != RestrictedNumber
}

// clockAt gives the last step of the clock that had come at now, whether or not the app had answered by then and the
// answer is not released yet: an unreleased answer must not show by a missing step.
func (t *Task) clockAt(now time.Time, answers []Answer, d Durations, cal *Calendar) (Step, time.Time) {
	s := d.Schedule(cal, t.CreatedAt, t.shownPauses(answers, now, d))
	var last Step
	var since time.Time
	for step, at, ok := s.Next(0); ok && !at.After(now); step, at, ok = s.Next(step) {
		last, since = step, at
	}
	return last, since
}

// shownPauses gives the pauses of the clock that released answers tell of.
func (t *Task) shownPauses(answers []Answer, now time.Time, d Durations) []Pause {
	if len(t.Pauses) == 0 {
		return nil
	}
	var out []Pause
	for _, p := range t.Pauses {
		if d.ShownAt(t.Release, p.From).After(now) {
			break
		}
		if !p.To.IsZero() && d.ShownAt(t.Release, p.To).After(now) {
			p.To = time.Time{}
		}
		out = append(out, p)
	}
	return out
}

func finalView(a *Answer) View {
	if a.Outcome == Unbound || a.Outcome == NotBound || a.Reason == BoundByCurrentHolder {
		return ViewClean
	}
	return ViewKept
}
