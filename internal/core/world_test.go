package core_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

var migrated = pgtest.Template{Migrate: func(url string) error {
	s, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return s.Close()
}}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// world is a hub with two carriers, some apps, a regulator and an operator.
type world struct {
	testing.TB
	*core.Hub
	store *store.Store
	keys  *seal.Keys
}

// onEach runs a test on each engine, in a world of its own.
func onEach(t *testing.T, test func(t *testing.T, w *world)) {
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return sqliteFile(t) },
		"postgres": func() string { return migrated.Database(t) },
	} {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, dsn())) })
	}
}

func sqliteFile(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "hub.db") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB, dsn string) *world {
	t.Helper()
	s, err := store.Open(context.Background(), dsn)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	w := newHub(t, s, seal.Generate())
	for _, p := range []huanxin.Party{
		{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90},
		{ID: "cucc", Kind: huanxin.CarrierParty, CoolingDays: 120},
		{ID: "chat", Kind: huanxin.AppParty, Class: "social", Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel},
			Domains: []string{"chat.example"}, Contact: huanxin.Contact{Webhook: "https://hook.chat.example/clock"}},
		{ID: "game", Kind: huanxin.AppParty, Class: "games", Kinds: []huanxin.TaskKind{huanxin.Unbind}},
		{ID: "pay", Kind: huanxin.AppParty, Class: "payment", Kinds: []huanxin.TaskKind{huanxin.Unbind}},
		{ID: "label", Kind: huanxin.AppParty, Class: "security", Kinds: []huanxin.TaskKind{huanxin.ClearLabel}},
		{ID: "off", Kind: huanxin.AppParty, Class: "games", Kinds: []huanxin.TaskKind{huanxin.Unbind}, Disabled: true},
		{ID: "miit", Kind: huanxin.RegulatorParty, Contact: huanxin.Contact{Webhook: "https://hook.miit.example/clock"}},
		{ID: "ops", Kind: huanxin.OperatorParty},
	} {
		p.NameZh, p.NameEn = p.ID, p.ID
		must(t, w.PutParty(context.Background(), core.Operator(), p, false))
	}
	return w
}

// newHub gives one more hub on a store.
func newHub(t testing.TB, s *store.Store, keys *seal.Keys) *world {
	t.Helper()
	return (&world{TB: t, store: s, keys: keys}).again(core.CheckOptions{})
}

// again gives one more hub on the same store, which checks in its own way.
func (w *world) again(checks core.CheckOptions) *world {
	w.Helper()
	h, err := core.New(context.Background(), core.Options{Store: w.store, Keys: w.keys, Calendar: huanxin.ChinaCalendar(),
		Durations: huanxin.DefaultDurations(), Log: quiet(), Checks: checks})
	must(w, err)
	w.Cleanup(func() { must(w, h.Close()) })
	return &world{TB: w.TB, Hub: h, store: w.store, keys: w.keys}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// as gives a caller of a party with all scopes of its kind, or with those given.
func (w *world) as(party string, scopes ...huanxin.Scope) huanxin.Caller {
	w.Helper()
	p := w.Party(party)
	if p == nil {
		w.Fatalf("no party %s", party)
	}
	all := huanxin.ScopesOf(p.Kind)
	if scopes != nil {
		all = scopes
	}
	return huanxin.Caller{Party: p, Client: party + "-1", Scopes: all, RequestID: "r"}
}

// number gives the i-th number of China Mobile.
func number(i int) huanxin.Number { return huanxin.NumberOf(uint64(8613800000000 + i)) }

// line is an event in short: the number's index, and when it happened before now.
func line(id string, n int, kind huanxin.EventKind, at time.Time) huanxin.Event {
	return huanxin.Event{ID: id, Number: number(n), Kind: kind, At: at}
}

func activated(id string, n int, origin huanxin.ActivationOrigin, at time.Time) huanxin.Event {
	e := line(id, n, huanxin.Activated, at)
	e.Origin = origin
	return e
}

func corrected(id string, n int, corrects string, at time.Time) huanxin.Event {
	e := line(id, n, huanxin.Corrected, at)
	e.CorrectsID = corrects
	return e
}

// eventLines gives events as the lines of a body, from line 1.
func eventLines(events ...huanxin.Event) iter.Seq2[core.EventLine, error] {
	return func(yield func(core.EventLine, error) bool) {
		for i, e := range events {
			if !yield(core.EventLine{Line: int64(i + 1), Event: e}, nil) {
				return
			}
		}
	}
}

func (w *world) report(carrier string, events ...huanxin.Event) core.Receipt {
	w.Helper()
	r, err := w.ReportEvents(context.Background(), w.as(carrier), eventLines(events...), time.Time{})
	must(w, err)
	return r
}

// accepts reports events that must all be accepted.
func (w *world) accepts(carrier string, events ...huanxin.Event) {
	w.Helper()
	if r := w.report(carrier, events...); r.Accepted != int64(len(events)) {
		w.Fatalf("%d of %d accepted: %+v", r.Accepted, len(events), r.Rejected)
	}
}

// refuses reports one event that must be refused with a code.
func (w *world) refuses(carrier, code string, e huanxin.Event) {
	w.Helper()
	r := w.report(carrier, e)
	if r.RejectedTotal != 1 || r.Rejected[0].Code != code || r.Rejected[0].Line != 1 || r.Rejected[0].ID != e.ID {
		w.Errorf("%s %s: wanted %s, got %+v", e.Kind, e.ID, code, r)
	}
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d).UTC().Truncate(time.Second) }

const dayLong = 24 * time.Hour

// reassigned begins a tenure of number n at cmcc two days ago, and gives what its holder's carrier would ask.
func (w *world) reassigned(n int, apps ...string) core.NewRequest {
	w.Helper()
	at := ago(48 * time.Hour)
	w.accepts("cmcc", activated(fmt.Sprint("begin-", n), n, huanxin.ActivatedReassigned, at))
	return ask(n, at, huanxin.OriginReassigned, apps...)
}

// ask asks for named apps, or without any for all.
func ask(n int, started time.Time, origin huanxin.TenureOrigin, apps ...string) core.NewRequest {
	return core.NewRequest{Apps: apps, Ask: huanxin.Ask{Number: number(n), StartedAt: started, Origin: origin, AllApps: len(apps) == 0,
		Kinds: []huanxin.TaskKind{huanxin.Unbind},
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityCRM, VerifiedAt: time.Now()}}}
}

func (w *world) creates(in core.NewRequest) core.Created {
	w.Helper()
	out, err := w.CreateRequest(context.Background(), w.as("cmcc"), in)
	must(w, err)
	return out
}

// refused checks a refusal's code, and its reason if it has one.
func (w *world) refused(err error, code, reason string) {
	w.Helper()
	e, ok := err.(*huanxin.Error)
	if !ok || e.Code != code || e.Reason != reason {
		w.Errorf("wanted %s %s, got %v", code, reason, err)
	}
}

func (w *world) tasks(app string) []core.AppTask {
	w.Helper()
	out, err := w.Tasks(context.Background(), w.as(app), 0, "", 1000)
	must(w, err)
	return out
}

// task gives the app's one open task.
func (w *world) task(app string) core.AppTask {
	w.Helper()
	out := w.tasks(app)
	if len(out) != 1 {
		w.Fatalf("%s has %d open tasks", app, len(out))
	}
	return out[0]
}

func answerTo(k core.AppTask, o huanxin.Outcome, r huanxin.Reason) core.TaskAnswer {
	return core.TaskAnswer{Task: k.ID, TenureID: k.TenureID, Digest: k.Digest, Answer: huanxin.Answer{Outcome: o, Reason: r}}
}

func (w *world) answers(app string, k core.AppTask, o huanxin.Outcome, r huanxin.Reason) core.Answered {
	w.Helper()
	out, err := w.Answer(context.Background(), w.as(app), answerTo(k, o, r))
	must(w, err)
	return out
}

func (w *world) request(carrier, id string) core.RequestView {
	w.Helper()
	v, err := w.Request(context.Background(), w.as(carrier), id)
	must(w, err)
	return v
}

// view gives how an app's part of a request shows.
func view(v core.RequestView, app string) huanxin.View {
	for _, k := range v.Tasks {
		if k.App.ID == app {
			return k.View
		}
	}
	return 0
}

// sequence gives everything a position.
func (w *world) sequence() {
	w.Helper()
	for {
		n, err := w.Sequence(context.Background(), 1000)
		must(w, err)
		if n == 0 {
			return
		}
	}
}

// audit gives the audit log from a position on.
func (w *world) audit(from int64) (entries []store.AuditEntry) {
	w.Helper()
	w.sequence()
	must(w, w.store.Read(context.Background(), func(tx *store.Tx) (err error) {
		entries, err = tx.AuditFrom(from, 100_000)
		return err
	}))
	return entries
}

// recorded gives the newest audit entry.
func (w *world) recorded() store.AuditEntry {
	w.Helper()
	all := w.audit(1)
	return all[len(all)-1]
}

// history gives all events of a number.
func (w *world) history(n huanxin.Number) (events []huanxin.Event) {
	w.Helper()
	must(w, w.store.Read(context.Background(), func(tx *store.Tx) error {
		rows, err := tx.Standings([]huanxin.Number{n})
		if err != nil || rows[n].Head == 0 {
			return err
		}
		events, err = tx.History(rows[n].Head)
		return err
	}))
	return events
}

func (w *world) standing(n int) huanxin.Standing {
	w.Helper()
	var row store.NumberRow
	must(w, w.store.Read(context.Background(), func(tx *store.Tx) error {
		rows, err := tx.Standings([]huanxin.Number{number(n)})
		row = rows[number(n)]
		return err
	}))
	return row.Standing
}
