package huanxin

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// TaskState is where a task stands (DOMAIN.md §6).
type TaskState uint8

// The states of a task. Those up to TaskEscalated are open.
const (
	TaskQueued TaskState = iota + 1
	TaskDelivered
	TaskInReview
	TaskActionRequired
	TaskFailed
	TaskOverdue
	TaskEscalated
	TaskExpired
	TaskAnswered
	TaskCancelled
	TaskAborted
)

var taskStates = enum[TaskState]{what: "state", names: []string{1: "queued", 2: "delivered", 3: "in_review", 4: "action_required",
	5: "failed", 6: "overdue", 7: "escalated", 8: "expired", 9: "answered", 10: "cancelled", 11: "aborted"}}

// String gives the word of the contract.
func (s TaskState) String() string { return taskStates.name(s) }

// ParseTaskState reads a task state's word.
func ParseTaskState(s string) (TaskState, error) { return taskStates.parse(s) }

// Open reports whether the app still has to answer.
func (s TaskState) Open() bool { return s >= TaskQueued && s <= TaskEscalated }

// TaskID is a task's number inside the hub; outsiders see a sealed form.
type TaskID int64

// Task is one app's part of a request.
type Task struct {
	ID        TaskID
	Request   RequestID
	App       PartyNo
	Kind      TaskKind
	Tenure    TenureID
	State     TaskState
	CreatedAt time.Time
	Release   time.Time // when results are first shown to the holder (rule 4)
	DueAt     time.Time
	Last      Step      // the last step of the clock that was taken
	StepAt    time.Time // when the next step is due; zero: none
	Pauses    []Pause
	RetryAt   time.Time // in TaskFailed: when it is queued again
	Failures  int       // answered failed so often
	Outcome   Outcome   // of the last answer that had an effect; 0: none
	Reason    Reason
	Late      bool
	AskedAt   time.Time // when the holder last asked again while it was open
	EndedAt   time.Time // when it was cancelled or aborted
}

// Answer is what an app says of a task.
type Answer struct {
	Outcome Outcome
	Reason  Reason
	Link    string // for action_required: an https URL on a domain that the app registered
	Note    string // for the app and the operator; never reaches the holder
	At      time.Time
	Late    bool
	Void    bool // recorded and without effect
}

const (
	maxLink = 2048
	maxNote = 2000 // bytes
)

// Check refuses an answer whose outcome and reason are no pair, or whose link or note cannot be taken.
// domains are those that the app registered (rule 3).
func (a *Answer) Check(domains []string) error {
	if !a.Outcome.Fits(a.Reason) {
		return &Error{Kind: Refused, Code: "unknown_reason", Detail: "this outcome does not have this reason",
			Fields: []FieldError{{Field: "reason", Code: "unknown_reason", Detail: "goes not with " + a.Outcome.String()}}}
	}
	if len(a.Note) > maxNote || !utf8.ValidString(a.Note) {
		return BadField("note", "too_long", "a note has at most 2,000 bytes of UTF-8")
	}
	if a.Link == "" {
		return nil
	}
	if a.Outcome != ActionRequired {
		return BadField("link", "not_allowed", "only action_required has a link")
	}
	u, err := url.Parse(a.Link)
	if err != nil || len(a.Link) > maxLink || u.Scheme != "https" || u.User != nil || u.Host == "" {
		return BadField("link", "bad_link", "a link is an https URL without credentials, of at most 2,048 characters")
	}
	host := strings.ToLower(u.Hostname())
	for _, d := range domains {
		if d != "" && plainHost(host) && (host == d || strings.HasSuffix(host, "."+d)) {
			return nil
		}
	}
	return &Error{Kind: Refused, Code: "link_not_registered", Detail: "link is not on a domain that the app registered",
		Fields: []FieldError{{Field: "link", Code: "link_not_registered", Detail: "not on a domain that the app registered"}}}
}

// plainHost refuses a host of more than ASCII letters, digits, hyphens and dots: some browsers read other characters
// ("evil.test／.bank.example") as the end of the host.
func plainHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// Effect is what became of an answer.
type Effect uint8

// The effects of an answer.
const (
	Took     Effect = iota + 1 // recorded, and the task moved
	Repeated                   // said before: harmless, nothing recorded
	NoEffect                   // recorded without effect: 409 no_effect
	Clashes                    // not recorded: 409 already_final
)

// Take says what an answer does to a task, without changing t. A task that was ended from outside (cancelled, or its
// tenure is over) takes no effect.
func (t Task) Take(a Answer, d Durations, cal *Calendar) (Task, Effect) {
	switch {
	case t.State == TaskCancelled || t.State == TaskAborted || !t.EndedAt.IsZero():
		return t, NoEffect
	case t.State == TaskAnswered && a.Outcome == t.Outcome && a.Reason == t.Reason:
		return t, Repeated
	case t.State == TaskAnswered:
		return t, Clashes
	case !t.EndedAt.IsZero():
		return t, NoEffect
	case t.repeats(a):
		return t, Repeated
	}
	t.Outcome, t.Reason = a.Outcome, a.Reason
	if t.State == TaskExpired {
		t.Late = true
		if a.Outcome.Final() {
			t.State = TaskAnswered
		}
		return t, Took
	}
	t.resume(a.At, d, cal)
	t.RetryAt = time.Time{} // the back-off is that of the answer before
	switch {
	case a.Outcome.Final():
		t.State, t.StepAt = TaskAnswered, time.Time{}
	case a.Outcome == Failed:
		t.Failures++
		t.RetryAt = a.At.Add(Backoff(t.Failures))
		t.unlessLate(TaskFailed)
	case a.Outcome == ActionRequired:
		t.unlessLate(TaskActionRequired)
		t.pause(a.At, d, cal)
	default:
		t.unlessLate(TaskInReview)
	}
	return t, Took
}

// repeats reports whether the task already stands where the answer would take it.
func (t *Task) repeats(a Answer) bool {
	if t.Outcome != a.Outcome || t.Reason != a.Reason {
		return false
	}
	switch t.State {
	case TaskInReview, TaskActionRequired, TaskFailed:
		return true
	case TaskExpired:
		return t.Late // what was said in time and is said again after expiry is recorded, marked late
	case TaskOverdue, TaskEscalated:
		return a.Outcome != Failed || !t.RetryAt.IsZero()
	default:
		return false
	}
}

func (t *Task) unlessLate(s TaskState) {
	if t.State != TaskOverdue && t.State != TaskEscalated {
		t.State = s
	}
}

// pause stops the clock: action_required waits for the holder, for at most 7 days.
func (t *Task) pause(at time.Time, d Durations, cal *Calendar) {
	t.Pauses = append(t.Pauses[:len(t.Pauses):len(t.Pauses)], Pause{From: at})
	t.reschedule(d, cal)
}

// resume lets the clock run again if it was stopped.
func (t *Task) resume(at time.Time, d Durations, cal *Calendar) {
	n := len(t.Pauses)
	if n == 0 || !t.Pauses[n-1].To.IsZero() {
		return
	}
	t.Pauses = append([]Pause(nil), t.Pauses...)
	t.Pauses[n-1].To = at
	t.reschedule(d, cal)
}

func (t *Task) reschedule(d Durations, cal *Calendar) {
	s := d.Schedule(cal, t.CreatedAt, t.Pauses)
	t.DueAt = s.Due()
	_, t.StepAt, _ = s.Next(t.Last)
}

// Advance takes the next step of the clock, which must be due, and says which it was.
func (t Task) Advance(d Durations, cal *Calendar) (Task, Step) {
	s := d.Schedule(cal, t.CreatedAt, t.Pauses)
	step, _, _ := s.Next(t.Last)
	t.Last = step
	switch step {
	case StepOverdue:
		t.State = TaskOverdue
	case StepCompany, StepRegulator:
		t.State = TaskEscalated
	case StepExpired:
		t.State, t.RetryAt = TaskExpired, time.Time{}
	}
	_, t.StepAt, _ = s.Next(step)
	return t, step
}

// Requeue puts a failed task in the queue again once its back-off is over. A late one keeps its state.
func (t Task) Requeue() Task {
	t.RetryAt = time.Time{}
	t.unlessLate(TaskQueued)
	return t
}

// Reopen puts an open task back into the app's queue because the holder asks again, say after having done what
// action_required asked for. The clock runs on. One that was answered, which nobody was shown yet, only notes the asking.
func (t Task) Reopen(now time.Time, d Durations, cal *Calendar) Task {
	t.AskedAt = now
	if !t.State.Open() {
		return t
	}
	t.resume(now, d, cal)
	t.Outcome, t.Reason, t.RetryAt = 0, 0, time.Time{}
	t.unlessLate(TaskQueued)
	return t
}

// Backoff is how long a task that failed n times waits: a minute, doubling to six hours.
func Backoff(n int) time.Duration {
	return min(time.Minute<<min(max(n-1, 0), 9), 6*time.Hour)
}

// TaskDigest is SHA-256, in hex, over what a task asks: the members that never change. An answer sends it back,
// which binds the answer to what was asked (rule 6). The ids are those that the app sees.
func TaskDigest(id, app string, k TaskKind, n Number, tenure string, started time.Time, origin TenureOrigin) string {
	b := make([]byte, 0, 256)
	for _, s := range [...]string{"huanxin task 1", id, app, k.String(), n.E164(), tenure} {
		b = append(append(b, s...), '\n')
	}
	b = append(started.UTC().AppendFormat(b, time.RFC3339Nano), '\n')
	b = append(append(b, origin.String()...), '\n')
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// SaysAgain reports whether an answer without effect was recorded already.
func (t *Task) SaysAgain(a Answer) bool { return t.Outcome == a.Outcome && t.Reason == a.Reason }
