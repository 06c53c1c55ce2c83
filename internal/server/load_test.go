package server_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// load is several carriers' and apps' programs at work on a hub that dies under them. They write down what was
// acknowledged, and what may or may not have been done because its answer was lost.
type load struct {
	d    *deployment
	t    *testing.T
	end  context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	serial  int
	numbers chan string // reported, and not asked for yet

	reported []batch
	lost     []batch // nobody knows
	asked    map[string]*ask
	answers  map[string]client.Answer // by task, acknowledged
	unsure   map[string]bool          // tasks of which an answer was lost
}

// batch is one report: three events a number.
type batch []client.Event

// ask is one request.
type ask struct {
	in      client.NewRequest
	got     client.CreatedRequest
	settled bool // acknowledged
}

const perReport = 8 // numbers

// startLoad sets programs to work, until stop.
func startLoad(d *deployment) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{d: d, t: d.t, end: cancel, numbers: make(chan string, 10_000), asked: map[string]*ask{},
		answers: map[string]client.Answer{}, unsure: map[string]bool{}}
	for range 2 {
		l.run(ctx, "cmcc", l.report)
		l.run(ctx, "cmcc", l.ask)
	}
	l.run(ctx, "shop", l.answerOne)
	l.run(ctx, "bank", l.answerMany)
	return l
}

// run repeats step. One that fails waits a moment: the hub may be down.
func (l *load) run(ctx context.Context, party string, step func(context.Context, *client.Client) error) {
	c := l.d.client(party)
	l.done.Go(func() {
		for ctx.Err() == nil {
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			err := step(one, c)
			cancel()
			if err != nil {
				l.expected(err)
				time.Sleep(rand.N(20 * time.Millisecond))
			}
		}
	})
}

// expected fails the test if an error is not that of a hub that is gone, or whose database is.
func (l *load) expected(err error) {
	e, ok := errors.AsType[*huanxin.Error](err)
	if ok && e.Kind != huanxin.Internal && e.Kind != huanxin.Unavailable {
		l.t.Errorf("refused: %v", err)
	}
}

// stop lets the programs finish what they are at.
func (l *load) stop() {
	l.end()
	l.done.Wait()
}

// awaitAnswers waits until the load has come through the whole way, and a moment more.
func (l *load) awaitAnswers() {
	l.t.Helper()
	eventually(l.t, "tasks are answered", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.answers) > 0
	})
	time.Sleep(rand.N(300 * time.Millisecond))
}

func (l *load) sum() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d reports acknowledged, %d lost, %d requests, %d answers", len(l.reported), len(l.lost), len(l.asked), len(l.answers))
}

func days(n int) time.Time {
	return time.Now().Add(-time.Duration(n) * 24 * time.Hour).Truncate(time.Second)
}

// report reports numbers that one person had and another has. One whose answer was lost is sent again half of the time.
func (l *load) report(ctx context.Context, c *client.Client) error {
	var b batch
	l.mu.Lock()
	for range perReport {
		l.serial++
		number, id := fmt.Sprintf("+86138%08d", l.serial), fmt.Sprintf("event-%d", l.serial)
		b = append(b, client.Event{ID: id + "-a", Number: number, Kind: "activated", At: days(900), Origin: "first"},
			client.Event{ID: id + "-b", Number: number, Kind: "disconnected", At: days(300)},
			client.Event{ID: id + "-c", Number: number, Kind: "activated", At: days(100), Origin: "reassigned"})
	}
	l.mu.Unlock()
	r, err := c.ReportEvents(ctx, b, time.Time{})
	if err != nil && rand.N(2) == 0 {
		time.Sleep(rand.N(100 * time.Millisecond))
		r, err = c.ReportEvents(ctx, b, time.Time{})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.lost = append(l.lost, b)
		return err
	}
	if n := int64(len(b)); r.Accepted != n && r.Duplicates != n {
		l.t.Errorf("a report was taken by half: %+v", r)
	}
	l.reported = append(l.reported, b)
	for i := 0; i < len(b); i += 3 {
		select {
		case l.numbers <- b[i].Number:
		default:
		}
	}
	return nil
}

// ask makes a request, half of the time under a key; then, if its answer was lost, it is sent again until there is one.
func (l *load) ask(ctx context.Context, c *client.Client) error {
	var number string
	select {
	case number = <-l.numbers:
	case <-time.After(20 * time.Millisecond):
		return nil
	}
	started := l.startOf(number)
	a := &ask{in: client.NewRequest{Number: number, StartedAt: started, Origin: "reassigned", Control: "sim", Identity: "face",
		Verified: time.Now().Truncate(time.Second)}}
	if rand.N(2) == 0 {
		a.in.Key = "key-of-" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, number[1:])
	}
	l.mu.Lock()
	l.asked[number] = a
	l.mu.Unlock()
	var err error
	for range 200 {
		var got client.CreatedRequest
		if got, err = c.CreateRequest(ctx, a.in); err == nil {
			if len(got.Tasks) != 2 {
				l.t.Errorf("a request with %d tasks instead of 2: %+v", len(got.Tasks), got)
			}
			l.mu.Lock()
			a.got, a.settled = got, true
			l.mu.Unlock()
			return nil
		}
		l.expected(unlessInFlight(err))
		if a.in.Key == "" || ctx.Err() != nil {
			break
		}
		time.Sleep(rand.N(50 * time.Millisecond))
	}
	return unlessInFlight(err)
}

func unlessInFlight(err error) error {
	if huanxin.CodeOf(err) == "in_flight" {
		return nil
	}
	return err
}

func (l *load) startOf(number string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range slices.Backward(l.reported) {
		for _, e := range b {
			if e.Number == number && e.Origin == "reassigned" {
				return e.At
			}
		}
	}
	return time.Time{}
}

var finals = [][2]string{{"unbound", "removed"}, {"not_bound", "none_found"}, {"kept", "same_person"}}

// choose gives the answer to a task: always the same one, so that it can be repeated.
func (l *load) choose(task client.Task) client.Answer {
	f := finals[int(task.ID[len(task.ID)-1])%len(finals)]
	return client.AnswerTo(task, f[0], f[1])
}

func (l *load) note(err error, answers ...client.Answer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range answers {
		if err != nil {
			l.unsure[a.TaskID] = true
		} else {
			l.answers[a.TaskID] = a
		}
	}
	return err
}

func (l *load) answerOne(ctx context.Context, c *client.Client) error {
	tasks, _, err := c.Tasks(ctx, "", 5)
	if err != nil {
		return err
	}
	for _, task := range tasks {
		a := l.choose(task)
		if _, err := c.Answer(ctx, a); l.note(err, a) != nil {
			return err
		}
	}
	return pauseIf(len(tasks) == 0)
}

func (l *load) answerMany(ctx context.Context, c *client.Client) error {
	tasks, _, err := c.Tasks(ctx, "", 50)
	if err != nil || len(tasks) == 0 {
		return errors.Join(err, pauseIf(true))
	}
	var all []client.Answer
	for _, task := range tasks {
		all = append(all, l.choose(task))
	}
	r, err := c.Answers(ctx, all)
	if err == nil && r.Accepted+r.Duplicates != int64(len(all)) {
		l.t.Errorf("answers refused: %+v", r)
	}
	return l.note(err, all...)
}

func pauseIf(idle bool) error {
	if idle {
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// verify holds what the hub has against what it acknowledged.
func (l *load) verify() {
	l.t.Helper()
	l.t.Log(l.sum())
	if len(l.reported) == 0 || len(l.asked) == 0 || len(l.answers) == 0 {
		l.t.Error("nothing was acknowledged, so nothing is shown")
	}
	l.verifyEvents()
	l.verifyRequests()
	l.verifyAnswers()
	l.verifyDatabase()
}

func (l *load) verifyEvents() {
	l.t.Helper()
	c := l.d.client("cmcc")
	var all batch
	for _, b := range l.reported {
		all = append(all, b...)
	}
	r, err := c.ReportEvents(l.t.Context(), all, time.Time{})
	must(l.t, err)
	if r.Duplicates != int64(len(all)) || r.Accepted != 0 || r.RejectedTotal != 0 {
		l.t.Errorf("of %d acknowledged events %d were known, %d new, %d refused", len(all), r.Duplicates, r.Accepted, r.RejectedTotal)
	}
	for _, b := range l.lost {
		r, err := c.ReportEvents(l.t.Context(), b, time.Time{})
		must(l.t, err)
		if n := int64(len(b)); r.Duplicates != n && r.Accepted != n {
			l.t.Errorf("a report that was not acknowledged was there by half: %+v", r)
		}
	}
}

func (l *load) verifyRequests() {
	l.t.Helper()
	c := l.d.client("cmcc")
	for number, a := range l.asked {
		requests, err := c.FindRequests(l.t.Context(), number)
		must(l.t, err)
		var found []string
		for _, r := range requests {
			found = append(found, r.ID)
		}
		switch {
		case len(found) > 1 || len(found) == 0 && a.settled:
			l.t.Errorf("a request (acknowledged: %v, key: %v) is there %d times", a.settled, a.in.Key != "", len(found))
			continue
		case len(found) == 0:
			continue
		case a.settled && found[0] != a.got.ID:
			l.t.Errorf("the request is another than the one acknowledged")
		case a.in.Key == "":
			continue
		}
		again, err := c.CreateRequest(l.t.Context(), a.in)
		if err != nil || again.ID != found[0] || a.settled && !same(again, a.got) {
			l.t.Errorf("the same key gave another answer: %+v, %v; was %+v", again, err, a.got)
		}
	}
}

func same(a, b client.CreatedRequest) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func (l *load) verifyAnswers() {
	l.t.Helper()
	clients := map[string]*client.Client{"shop": l.d.client("shop"), "bank": l.d.client("bank")}
	for _, a := range l.asked {
		for _, made := range a.got.Tasks {
			c := clients[made.App]
			task, err := c.Task(l.t.Context(), made.ID)
			if err != nil {
				l.t.Errorf("an acknowledged task: %v", err)
				continue
			}
			given, ok := l.answers[made.ID]
			switch {
			case ok && task.State != "answered":
				l.t.Errorf("an acknowledged answer is not there: the task is %s", task.State)
			case ok:
				if _, err := c.Answer(l.t.Context(), given); err != nil {
					l.t.Errorf("an acknowledged answer, repeated: %v", err)
				}
			case !l.unsure[made.ID] && task.State == "answered":
				l.t.Error("a task is answered that nobody answered")
			}
		}
	}
}

// verifyDatabase looks behind the API: positions without a gap, nothing twice, nothing by half.
func (l *load) verifyDatabase() {
	l.t.Helper()
	db := l.d.open(l.t)
	one := func(q string) (n int64) {
		l.t.Helper()
		must(l.t, db.QueryRow(q).Scan(&n))
		return n
	}
	zero := func(what, q string) {
		l.t.Helper()
		if n := one("SELECT COUNT(*) FROM (" + q + ") AS wrong"); n != 0 {
			l.t.Errorf("%s: %d", what, n)
		}
	}
	eventually(l.t, "everything has its position", func() bool { return one("SELECT COUNT(*) FROM unsequenced") == 0 })
	zero("gaps or overlaps in the number log", `SELECT 1 FROM log_positions p
		WHERE p.first <> 1 AND NOT EXISTS (SELECT 1 FROM log_positions b WHERE b.first + b.events = p.first)`)
	zero("batches without a position", "SELECT id FROM event_batches EXCEPT SELECT batch FROM log_positions")
	zero("positions whose count is not that of the batch", `SELECT 1 FROM log_positions p JOIN event_batches b ON b.id = p.batch
		WHERE p.events <> b.events OR b.events <> (SELECT COUNT(*) FROM events e WHERE e.id >= b.id * 1048576 AND e.id < (b.id + 1) * 1048576)`)
	if events, end := one("SELECT COUNT(*) FROM events"), one("SELECT MAX(first + events) - 1 FROM log_positions"); events != end {
		l.t.Errorf("%d events, and the number log ends at %d", events, end)
	}
	if entries, end := one("SELECT COUNT(*) FROM audit"), one("SELECT MAX(position) FROM audit_positions"); entries != end || end != one("SELECT COUNT(*) FROM audit_positions") {
		l.t.Errorf("%d audit entries, and their log ends at %d", entries, end)
	}
	zero("audit entries without a position", "SELECT id FROM audit EXCEPT SELECT audit FROM audit_positions")
	zero("requests by half", "SELECT request FROM tasks GROUP BY request HAVING COUNT(*) <> 2")
	zero("requests without tasks", "SELECT id FROM requests EXCEPT SELECT request FROM tasks")
	zero("tasks without a request", "SELECT request FROM tasks EXCEPT SELECT id FROM requests")
	zero("tasks answered twice", "SELECT task FROM answers GROUP BY task HAVING COUNT(*) > 1")
	zero("answers that their task does not show", `SELECT 1 FROM tasks t LEFT JOIN answers a ON a.task = t.id
		WHERE COALESCE(a.outcome, 0) <> t.outcome OR COALESCE(a.n, 0) <> t.answers OR (t.open = 1) <> (t.outcome = 0)`)
	zero("tenures asked twice", "SELECT tenure FROM requests GROUP BY tenure HAVING COUNT(*) > 1")
	zero("numbers whose standing is not that of their events", `SELECT 1 FROM numbers n
		WHERE n.head <> (SELECT MAX(e.id) FROM events e WHERE e.number = n.number) OR 3 <> (SELECT COUNT(*) FROM events e WHERE e.number = n.number)`)
	accepted := int64(0)
	for _, a := range l.asked {
		if a.settled {
			accepted++
		}
	}
	if n := one("SELECT COUNT(*) FROM requests"); n < accepted || n > int64(len(l.asked)) {
		l.t.Errorf("%d requests, of which %d were acknowledged and %d asked", n, accepted, len(l.asked))
	}
	var created int64
	must(l.t, db.QueryRow("SELECT COUNT(*) FROM audit WHERE action = 'request.create' AND refused = '' AND subject <> ''").Scan(&created))
	if n := one("SELECT COUNT(*) FROM requests"); n != created {
		l.t.Errorf("%d requests, and %d audit entries of them", n, created)
	}
}

// open reads the hub's database behind its back.
func (d *deployment) open(t *testing.T) *sql.DB {
	t.Helper()
	driver, name := "sqlite", "file:"+filepath.Join(d.Data, "huanxin.db")+"?mode=ro&_pragma=busy_timeout(10000)"
	if d.postgres != "" {
		driver, name = "pgx", d.postgres
	}
	db, err := sql.Open(driver, name)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}
