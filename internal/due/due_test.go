package due_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/due"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/prometheus/client_golang/prometheus"
)

const digits = "13800000001"

var number = huanxin.NumberOf(8613800000001)

// submitted is a Monday, 10:00 in China.
var submitted = time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)

// clock holds when the steps of a task of submitted come (DOMAIN.md §6): working days of March 2026, which has no holiday.
var clock = []struct {
	step huanxin.Step
	at   time.Time
}{
	{huanxin.StepDelivery, submitted.Add(15 * time.Minute)},
	{huanxin.StepWarning, time.Date(2026, 3, 5, 0, 0, 0, 0, huanxin.China)},    // day 3 begins
	{huanxin.StepOverdue, time.Date(2026, 3, 10, 0, 0, 0, 0, huanxin.China)},   // day 5 is over
	{huanxin.StepCompany, time.Date(2026, 3, 11, 0, 0, 0, 0, huanxin.China)},   // day 7 begins
	{huanxin.StepRegulator, time.Date(2026, 3, 16, 0, 0, 0, 0, huanxin.China)}, // day 10 begins
	{huanxin.StepExpired, time.Date(2026, 3, 24, 0, 0, 0, 0, huanxin.China)},   // day 15 is over
}

// world is a hub in a bubble of synctest with two carriers' worth less than it needs: one of each.
type world struct {
	*testing.T
	*core.Hub
	store *store.Store
	ring  *auth.KeyRing
	hooks *receiver
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T, d huanxin.Durations) *world {
	t.Helper()
	time.Sleep(time.Until(submitted)) // the bubble's clock begins in 2000
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "hub.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	h, err := core.New(ctx, core.Options{Store: s, Keys: seal.Generate(), Calendar: huanxin.ChinaCalendar(), Durations: d, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	keys, err := h.SigningKeys(ctx)
	must(t, err)
	ring, err := auth.NewKeyRing(keys...)
	must(t, err)
	unbind := []huanxin.TaskKind{huanxin.Unbind}
	for _, p := range []huanxin.Party{
		{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90},
		{ID: "chat", Kind: huanxin.AppParty, Kinds: unbind, Contact: huanxin.Contact{Webhook: "https://hook.chat.example/"}},
		{ID: "game", Kind: huanxin.AppParty, Kinds: unbind}, // has no webhook
		{ID: "mail", Kind: huanxin.AppParty, Kinds: unbind, Contact: huanxin.Contact{Webhook: "https://hook.mail.example/"}},
		{ID: "miit", Kind: huanxin.RegulatorParty, Contact: huanxin.Contact{Webhook: "https://hook.miit.example/"}},
	} {
		p.NameZh, p.NameEn = p.ID, p.ID
		must(t, h.PutParty(ctx, core.Operator(), p, false))
	}
	return &world{T: t, Hub: h, store: s, ring: ring, hooks: &receiver{t: t, ring: ring, failFirst: map[string]bool{}}}
}

func (w *world) as(id string) huanxin.Caller {
	p := w.Party(id)
	return huanxin.Caller{Party: p, Client: id, Scopes: huanxin.ScopesOf(p.Kind)}
}

// begin reports the holder and asks for all apps.
func (w *world) begin() core.Created {
	w.Helper()
	ctx, at := context.Background(), time.Now().Add(-48*time.Hour)
	_, err := w.ReportEvents(ctx, w.as("cmcc"), func(yield func(core.EventLine, error) bool) {
		yield(core.EventLine{Line: 1, Event: huanxin.Event{ID: "a", Number: number, Kind: huanxin.Activated, Origin: huanxin.ActivatedReassigned, At: at}}, nil)
	}, time.Time{})
	must(w, err)
	c, err := w.CreateRequest(ctx, w.as("cmcc"), core.NewRequest{Ask: huanxin.Ask{Number: number, StartedAt: at, Origin: huanxin.OriginReassigned,
		AllApps: true, Kinds: []huanxin.TaskKind{huanxin.Unbind}, Proof: huanxin.Proof{Control: 1, Identity: 1, VerifiedAt: time.Now()}}})
	must(w, err)
	return c
}

func (w *world) loops() *due.Loops {
	return due.New(due.Options{Hub: w.Hub, Ring: w.ring, Client: &http.Client{Transport: w.hooks}, Issuer: "https://hub.example",
		Log: slog.New(slog.NewTextHandler(testWriter{w}, nil)), Registry: prometheus.NewRegistry()})
}

// testWriter fails the test with what the loops log: they log only what went wrong.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) { w.t.Errorf("%s", b); return len(b), nil }

// run runs loops for a while.
func run(l *due.Loops, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	l.Run(ctx)
}

// receiver stands for all contacts' webhooks.
type receiver struct {
	t         testing.TB
	ring      *auth.KeyRing
	lock      sync.Mutex
	failFirst map[string]bool // hosts whose next message is answered with 503
	tries     int
	got       map[string][]message // taken, by host
}

type message struct {
	ID    string `json:"jti"`
	Aud   string `json:"aud"`
	Iss   string `json:"iss"`
	Exp   int64  `json:"exp"`
	Steps []struct{ ID, Task, App, Step, Kind string }
	at    time.Time
}

func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.tries++
	answer := &http.Response{StatusCode: 204, Header: http.Header{}, Body: io.NopCloser(&bytes.Buffer{}), Request: q}
	if r.failFirst[q.URL.Host] {
		delete(r.failFirst, q.URL.Host)
		answer.StatusCode = 503
		return answer, nil
	}
	m, err := r.read(body)
	if err != nil {
		r.t.Error(err)
		return nil, err
	}
	if m.Aud != q.URL.String() || m.Iss != "https://hub.example" || m.Exp < time.Now().Unix() || q.Header.Get("Content-Type") != "application/jwt" {
		r.t.Errorf("to %s: %+v", q.URL, m)
	}
	if r.got == nil {
		r.got = map[string][]message{}
	}
	r.got[q.URL.Host] = append(r.got[q.URL.Host], m)
	return answer, nil
}

// read checks the signature against the published keys, and that nothing in the message is a number.
func (r *receiver) read(body []byte) (m message, err error) {
	signed, err := jose.ParseSignedCompact(string(body), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return m, err
	}
	published := r.ring.JWKS(time.Now())
	keys := published.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return m, errors.New("the key is not published")
	}
	text, err := signed.Verify(keys[0])
	if err != nil {
		return m, err
	}
	if strings.Contains(string(text), digits) || strings.Contains(string(body), digits) {
		return m, errors.New("the message holds the number")
	}
	m.at = time.Now()
	return m, json.Unmarshal(text, &m)
}

func (w *world) steps(who string) (out []core.Escalation) {
	w.Helper()
	after := ""
	for {
		page, err := w.Escalations(context.Background(), w.as(who), after, 2)
		must(w, err)
		if len(page) == 0 {
			return out
		}
		out = append(out, page...)
		after = page[len(page)-1].ID
	}
}

func TestTheWholeClockOfFifteenWorkingDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, huanxin.DefaultDurations())
		w.begin()
		ctx := context.Background()
		game, err := w.Tasks(ctx, w.as("game"), 0, "", 10) // delivered in time, and then nothing
		must(t, err)
		mail, err := w.Tasks(ctx, w.as("mail"), 0, "", 10)
		must(t, err)
		w.hooks.failFirst["hook.chat.example"] = true // the first try of its first message
		l := w.loops()
		for i, c := range clock {
			time.Sleep(time.Until(c.at.Add(-20 * time.Second)))
			run(l, 15*time.Second)
			if n := len(w.steps("chat")); n != i {
				t.Errorf("%d steps just before %s", n, c.step)
			}
			run(l, 45*time.Second)
			if c.step == huanxin.StepWarning { // mail answers late, but in time
				_, err := w.Answer(ctx, w.as("mail"), core.TaskAnswer{Task: mail[0].ID, TenureID: mail[0].TenureID, Digest: mail[0].Digest,
					Answer: huanxin.Answer{Outcome: huanxin.Unbound, Reason: huanxin.Removed}})
				must(t, err)
			}
		}
		run(l, time.Minute) // and nothing more

		chat := w.steps("chat")
		if len(chat) != len(clock) {
			t.Fatalf("%d steps: %+v", len(chat), chat)
		}
		for i, s := range chat {
			if s.Step != clock[i].step || !s.DueAt.Equal(clock[i].at) || s.At.Before(s.DueAt) || s.At.After(s.DueAt.Add(2*time.Second)) ||
				s.App.ID != "chat" || s.SentAt.Before(s.At) || s.SentAt.After(s.At.Add(10*time.Second)) {
				t.Errorf("%s: due %s, taken %s, sent %s", s.Step, s.DueAt, s.At, s.SentAt)
			}
		}
		if n := len(w.steps("mail")); n != 1 {
			t.Errorf("mail, warned once, has %d steps", n)
		}
		if s := w.steps("game"); len(s) != 5 || s[0].Step != huanxin.StepWarning || !s[0].SentAt.IsZero() {
			t.Errorf("game, delivered in time and without a webhook: %+v", s)
		}
		if n := len(w.steps("miit")); n != 6+5+1 {
			t.Errorf("the regulator sees %d", n)
		}
		w.checkMessages(chat)

		late, err := w.Answer(ctx, w.as("game"), core.TaskAnswer{Task: game[0].ID, TenureID: game[0].TenureID, Digest: game[0].Digest,
			Answer: huanxin.Answer{Outcome: huanxin.NotBound, Reason: huanxin.NoneFound}})
		if err != nil || !late.Late || late.State != huanxin.TaskAnswered {
			t.Errorf("after expiry: %+v %v", late, err)
		}
	})
}

// checkMessages compares what the webhooks took with the steps that are listed: each told once.
func (w *world) checkMessages(chat []core.Escalation) {
	w.Helper()
	took := w.hooks.got
	if len(took["hook.chat.example"]) != 6 || len(took["hook.miit.example"]) != 2 || len(took["hook.mail.example"]) != 1 || w.hooks.tries != 10 {
		w.Errorf("chat %d, miit %d, mail %d, tries %d", len(took["hook.chat.example"]), len(took["hook.miit.example"]),
			len(took["hook.mail.example"]), w.hooks.tries)
	}
	ids := map[string]bool{}
	for i, m := range took["hook.chat.example"] {
		if len(m.Steps) != 1 || i < len(chat) && (m.Steps[0].ID != chat[i].ID || m.Steps[0].Task != chat[i].Task || m.Steps[0].Step != chat[i].Step.String()) {
			w.Errorf("message %d: %+v", i, m)
		}
		ids[m.ID] = true
	}
	if len(ids) != 6 {
		w.Errorf("%d ids", len(ids))
	}
	for i, m := range took["hook.miit.example"] {
		var apps []string
		for _, s := range m.Steps {
			apps = append(apps, s.App+" "+s.Step)
		}
		slices.Sort(apps)
		if want := []string{"[chat escalated_regulator game escalated_regulator]", "[chat expired game expired]"}[i]; fmt.Sprint(apps) != want {
			w.Errorf("to the regulator: %v", apps)
		}
	}
}

func TestOfTwoHubsOneTakesTheStepsAndTheOtherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := huanxin.DefaultDurations()
		d.Speed = 14400 // a day lasts 6 seconds
		w := newWorld(t, d)
		w.begin()
		first, second := w.loops(), w.loops()
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { first.Run(ctx) })
		wg.Go(func() { run(second, 4*time.Minute) })
		time.Sleep(20 * time.Second)
		before := len(w.steps("miit"))
		stop() // the first hub is gone, and its lease runs out
		wg.Wait()
		after := w.steps("miit")
		if before == 0 || len(after) != 3*6 {
			t.Errorf("%d steps by the first, %d in all", before, len(after))
		}
		seen := map[string]bool{}
		for _, host := range []string{"hook.chat.example", "hook.mail.example"} {
			for _, m := range w.hooks.got[host] {
				for _, s := range m.Steps {
					if seen[s.ID] {
						t.Errorf("%s of %s was told twice", s.Step, s.App)
					}
					seen[s.ID] = true
				}
			}
		}
		if len(seen) != 12 {
			t.Errorf("%d steps were told", len(seen))
		}
		if n, err := w.Unsequenced(context.Background()); n != 0 || err != nil {
			t.Errorf("%d wait for a position, %v", n, err)
		}
	})
}

func TestAFailedTaskIsQueuedAgainAfterItsBackOffAndOldKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, huanxin.DefaultDurations())
		w.begin()
		ctx := context.Background()
		tasks, err := w.Tasks(ctx, w.as("game"), 0, "", 10)
		must(t, err)
		_, err = w.Answer(ctx, w.as("game"), core.TaskAnswer{Task: tasks[0].ID, TenureID: tasks[0].TenureID, Digest: tasks[0].Digest,
			Answer: huanxin.Answer{Outcome: huanxin.Failed, Reason: huanxin.Temporary}})
		must(t, err)
		must(t, w.store.Write(ctx, func(tx *store.Tx) error {
			return tx.Remember("c", "k", store.Remembered{Digest: []byte{1}}, time.Now().Add(-49*time.Hour))
		}))
		queued := func() int {
			n, err := w.Tasks(ctx, w.as("game"), huanxin.TaskQueued, "", 10)
			must(t, err)
			return len(n)
		}
		l := w.loops()
		run(l, 55*time.Second)
		if queued() != 0 {
			t.Error("it is queued before its back-off is over")
		}
		run(l, 10*time.Second)
		if queued() != 1 {
			t.Error("it is not queued again")
		}
		must(t, w.store.Read(ctx, func(tx *store.Tx) error {
			_, found, err := tx.Recall("c", "k")
			if found {
				t.Error("an old key is still there")
			}
			return err
		}))
	})
}

func TestALeaseThatAKilledHubLeftBehindHoldsNothingUpWhereNoOtherCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, huanxin.DefaultDurations())
		w.begin()
		ctx := context.Background()
		for _, alone := range []bool{false, true} {
			if mine, err := w.Lease(ctx, "due", "a killed hub", 3*time.Second); err != nil || !mine {
				t.Fatal(mine, err)
			}
			l := w.loops()
			l.Alone = alone
			run(l, time.Second)
			waiting, err := w.Unsequenced(ctx)
			must(t, err)
			if (waiting == 0) != alone {
				t.Errorf("alone %v: %d wait for a position", alone, waiting)
			}
		}
	})
}
