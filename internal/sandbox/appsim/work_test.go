package appsim

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// fast makes the hub's day a second long.
func fast(o *office) { o.hub = hubtest.Start(o.t, hubtest.Speed(86400)) }

func TestEachBehaviourHasItsTime(t *testing.T) {
	p := Pace{Day: time.Hour}
	seen, due := today, today.Add(6*time.Hour)
	for _, c := range []struct {
		behaviour    catalogue.Behaviour
		from, before time.Duration // after it was seen
	}{
		{catalogue.Quick, 0, 1},
		{catalogue.Steady, 10 * time.Minute, 2 * time.Hour},
		{catalogue.Slow, 2 * time.Hour, 4 * time.Hour},
		{catalogue.Late, 6*time.Hour + 1, 16 * time.Hour}, // it expires 10 days after it was due
	} {
		for _, id := range []string{"a", "b", "c", "task_1", "task_2", "task_3"} {
			if got := p.ready(c.behaviour, id, seen, due).Sub(seen); got < c.from || got >= c.before {
				t.Errorf("%s: %v", c.behaviour, got)
			}
		}
	}
	never := 0
	for i := range 100 {
		if p.ready(catalogue.Nonsense, string(rune('a'+i)), seen, due).IsZero() {
			never++
		}
	}
	if never < 30 || never > 70 {
		t.Errorf("of 100 tasks nonsense never answers %d rightly", never)
	}
}

func TestAnAppWorksUntilItIsStopped(t *testing.T) {
	for _, b := range []catalogue.Behaviour{catalogue.Quick, catalogue.Steady, catalogue.Slow} {
		t.Run(string(b), func(t *testing.T) {
			o := newOffice(t, behaves(b), class("payment"))
			n, later := o.number(), o.number()
			o.account(n)
			o.account(later, bound(tenure.Add(-400*day), When{}))
			stop := o.running()
			_, first := o.ask(n)
			eventually(t, "the first task is answered", func() bool { return o.final(first) })
			_, second := o.ask(later)
			eventually(t, "the second task is answered", func() bool {
				o.clean() // the world looks while the app works
				return o.final(second)
			})
			stop()
			o.answered(first, "unbound", "removed")
			o.answered(second, "unbound", "removed")
			o.clean()
		})
	}
}

func TestALateAppAnswersAfterItWasDueAndIsTaken(t *testing.T) {
	t.Parallel()
	o := newOffice(t, fast, behaves(catalogue.Late))
	o.numberOf("reassigned")
	n := o.number()
	o.account(n)
	o.running()
	_, task := o.ask(n)
	due, err := o.hub.Client(o.spec.ID).Task(t.Context(), task)
	o.must(err)
	eventually(t, "the task is answered", func() bool { return o.final(task) })
	if w := o.worked(task); !w.SentAt.After(due.DueAt) {
		t.Errorf("sent %v, due %v", w.SentAt, due.DueAt)
	}
	o.clean()
}

func TestNobodyWorksForTheDeadAndForTheVisitor(t *testing.T) {
	for _, b := range []catalogue.Behaviour{catalogue.Dead, catalogue.Nobody} {
		o := newOffice(t, behaves(b))
		o.ask(o.number())
		stop := o.running()
		sleep(t.Context(), 100*time.Millisecond)
		stop()
		if calls := o.faults.count("GET /v1") + o.faults.count("POST /ssf/poll"); calls != 0 {
			t.Errorf("%s: %d calls", b, calls)
		}
	}
}

func TestNonsenseIsRefusedAndARightAnswerStandsAgainstIt(t *testing.T) {
	o := newOffice(t, behaves(catalogue.Nonsense))
	right := 0
	for range 8 {
		n := o.number()
		o.account(n)
		if _, task := o.ask(n); part("ready", task) < rightInTheEnd {
			right++
		}
	}
	stop := o.running()
	eventually(t, "all of it is said, and what will be is answered", func() bool {
		all, err := o.Worked(t.Context())
		o.must(err)
		answered := 0
		for _, w := range all {
			if !w.SentAt.IsZero() {
				answered++
			}
		}
		sent, _, err := o.Nonsense(t.Context())
		o.must(err)
		return answered == right && sent > 2*len(repertoire)+right
	})
	stop()
	if _, taken, err := o.Nonsense(t.Context()); err != nil || taken != 0 {
		t.Errorf("%d of it was taken, %v", taken, err)
	}
	db, err := o.App.open(t.Context())
	o.must(err)
	var kinds int
	o.must(db.QueryRowContext(t.Context(), `SELECT count(DISTINCT what) FROM nonsense WHERE what <> ?`, contrary).Scan(&kinds))
	if kinds != len(repertoire) {
		t.Errorf("%d kinds of nonsense were said, not %d", kinds, len(repertoire))
	}
	o.clean()
}

func TestATaskThatTheHolderAsksForAgainIsAnsweredAgain(t *testing.T) {
	o := newOffice(t, fast)
	n := o.number()
	account := o.account(n, func(c *Account) { c.LastProof = At(tenure.Add(day)) })
	request, task := o.ask(n)
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	eventually(t, "the holder may ask again", func() bool {
		_, err := o.carrier.AskAgain(t.Context(), request, task, "")
		return err == nil
	})
	if got := o.state(task); got != "delivered" {
		t.Fatalf("the task is %s", got)
	}
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
	o.opens(n, account)
	o.clean()
}

func TestAHubInTroubleIsWaitedFor(t *testing.T) {
	for name, trouble := range map[string]func() (*http.Response, error){
		"no network": func() (*http.Response, error) { return nil, errNetwork },
		"too busy":   func() (*http.Response, error) { return problem(http.StatusServiceUnavailable, "busy"), nil },
		"too fast":   func() (*http.Response, error) { return problem(http.StatusTooManyRequests, "too_fast"), nil },
		"a fault":    func() (*http.Response, error) { return problem(http.StatusInternalServerError, "internal"), nil },
		"logged out": func() (*http.Response, error) { return problem(http.StatusUnauthorized, "invalid_token"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			n := o.number()
			o.account(n)
			_, task := o.ask(n)
			var lock sync.Mutex
			fails := map[string]int{}
			o.faults.set(func(r *http.Request) (*http.Response, error) { // every call once, when it is made first
				lock.Lock()
				defer lock.Unlock()
				if fails[r.URL.Path]++; fails[r.URL.Path] == 1 {
					return trouble()
				}
				return nil, nil
			}, nil)
			stop := o.running()
			eventually(t, "the task is answered", func() bool { return o.final(task) })
			stop()
			if len(fails) != 6 { // the token, the streams, the list, the poll, the task read again, the answers
				t.Errorf("calls: %v", fails)
			}
			if w := o.worked(task); w.Unbound != 1 {
				t.Errorf("unbound %d times", w.Unbound)
			}
			o.clean()
		})
	}
}

func problem(status int, code string) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.WriteString(`{"code":"` + code + `","detail":"for a test"}`)
	return w.Result()
}

func TestBackoffGrowsAndHeedsTheHub(t *testing.T) {
	last := time.Duration(0)
	for n := 1; n < 40; n++ {
		d := backoff(n, errNetwork)
		if d < firstBackoff || d > lastBackoff*3/2 || n < 4 && d < last/2 {
			t.Errorf("after %d failures: %v", n, d)
		}
		last = d
	}
	if d := backoff(1, errors.Join(&huanxin.Error{RetryAfter: time.Minute})); d < time.Minute {
		t.Errorf("told to come in a minute: %v", d)
	}
}

func TestAnIdleAppLeavesItsDatabaseAlone(t *testing.T) {
	o := newOffice(t)
	o.poll() // what a former process left
	o.must(o.worker.Close())
	for range 3 {
		o.poll()
	}
	if o.db != nil {
		t.Error("the database was opened for nothing")
	}
	if o.faults.count("GET /v1/tasks") != 4 {
		t.Error("it did not poll")
	}
}

func TestAllTasksAreListedAndAnsweredPageByPage(t *testing.T) {
	o := newOffice(t)
	o.page = 5
	const tasks = 13
	for range tasks {
		o.ask(o.number())
	}
	o.poll()
	all, err := o.Worked(t.Context())
	o.must(err)
	if len(all) != tasks {
		t.Errorf("%d tasks were seen, not %d", len(all), tasks)
	}
	for _, w := range all {
		o.answered(w.Task, "not_bound", "none_found")
	}
	if o.faults.count("GET /v1/tasks") != 3 || o.faults.count("POST /v1/answers") != 3 {
		t.Error("it was not done page by page")
	}
}
