package appsim

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// fast makes the hub's day a second long.
func fast(o *office) { o.hub = hubtest.Start(o.t, hubtest.Speed(86400)) }

func TestEachBehaviourHasItsTime(t *testing.T) {
	p := Options{Day: time.Hour}
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
		if p.ready(catalogue.Nonsense, string(rune('a'+i)), seen, due).After(due.AddDate(1, 0, 0)) {
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
			o := working(t, behaves(b), class("payment"))
			n, later := o.number(), o.number()
			o.account(n)
			o.account(later, bound(tenure.Add(-400*day), When{}))
			_, first := o.ask(n)
			eventually(t, "the first task is answered", func() bool { return o.final(first) })
			_, second := o.ask(later)
			eventually(t, "the second task is answered", func() bool {
				o.clean() // the world looks while the app works
				return o.final(second)
			})
			o.stop()
			o.answered(first, "unbound", "removed")
			o.answered(second, "unbound", "removed")
			o.clean()
		})
	}
}

func TestALateAppAnswersAfterItWasDueAndIsTaken(t *testing.T) {
	t.Parallel()
	o := working(t, fast, behaves(catalogue.Late))
	o.numberOf("reassigned")
	n := o.number()
	o.account(n)
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
		o.start()
		sleep(t.Context(), 100*time.Millisecond)
		o.stop()
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
	o.start()
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
	o.stop()
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
				if fails[nameOf(r)]++; fails[nameOf(r)] == 1 {
					return trouble()
				}
				return nil, nil
			}, nil)
			o.start()
			eventually(t, "the task is answered", func() bool { return o.final(task) })
			o.stop()
			if len(fails) != 7 { // the token, the app itself, the streams, the list, the poll, the task read again, the answers
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
