package core_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"pgregory.net/rapid"
)

// The model is what was acknowledged, by outsiders' names, and nothing else. What the hub shows must follow from it.
type model struct {
	events   map[string]huanxin.Event // accepted, by carrier and id
	requests map[string]*modelRequest // by id
	tasks    map[string]*modelTask    // by id
}

type modelRequest struct {
	number int
	tasks  []string
	ended  bool // cancelled
}

type modelTask struct {
	app, request string
	kind         huanxin.TaskKind
	final        huanxin.Outcome // acknowledged; 0: none
	answers      int             // acknowledged as taken
}

// machine runs the hub and the model side by side.
type machine struct {
	w       *world
	m       model
	serial  int
	numbers int
	listed  map[string]string // by app: the last task it listed
	feed    feedModel
}

const modelNumbers = 3

// TestAnyStoryLosesNothingAndBreaksNoInvariant draws stories of reports, requests, answers, time, cancellations, and asking
// again. rapid and synctest are combined the one way round that works: a bubble for each story.
func TestAnyStoryLosesNothingAndBreaksNoInvariant(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "huanxin-model-") // memory, where there is some: hundreds of files are synced to it
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // -race makes a story cost a second
		must(t, f.Value.Set("30"))
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		stories := rapid.SliceOfN(rapid.Uint64(), 30, 70).Draw(rt, "story")
		n++
		file := filepath.Join(dir, fmt.Sprint(n, ".db"))
		failed := ""
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if r := recover(); r != nil {
					failed = fmt.Sprint(r)
				}
			}()
			time.Sleep(time.Until(morning))
			failed = tell(t, file, stories)
		})
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(file + suffix)
		}
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

// broken is how the machine says that something is wrong.
type broken string

func tell(t *testing.T, file string, story []uint64) (failed string) {
	w := newWorld(t, "sqlite:"+file)
	x := &machine{w: w, numbers: modelNumbers, listed: map[string]string{}, m: model{events: map[string]huanxin.Event{}, requests: map[string]*modelRequest{},
		tasks: map[string]*modelTask{}},
		feed: feedModel{numbers: map[huanxin.Number][]string{}, tasks: map[huanxin.TaskID][]string{}, made: map[huanxin.TaskID]store.TaskRow{},
			events: map[huanxin.Number][]huanxin.Event{}, acts: map[any][]int{}}}
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(broken)
			if !ok {
				panic(r)
			}
			failed = string(b)
		}
	}()
	for n := range x.numbers { // all but the last have a holder to begin with
		if n+1 < x.numbers {
			e := activated(fmt.Sprint("begin-", n), n, huanxin.ActivatedReassigned, ago(48*time.Hour))
			x.watch(func() { x.send("cmcc", e) })
			x.m.events["cmcc "+e.ID] = e
		}
	}
	acts := []func(d uint64){x.report, x.report, x.report, x.create, x.create, x.answer, x.answer, x.answer, x.cancel, x.again, x.wait, x.wait, x.sendAgain,
		x.list, x.list}
	for _, d := range story {
		x.watch(func() { acts[d%uint64(len(acts))](d / uint64(len(acts))) })
		x.oneOpenTask()
	}
	x.watch(x.check)
	x.checkFeed()
	return failed
}

func (x *machine) fail(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

func (x *machine) ok(err error) {
	if err != nil {
		x.fail("%v", err)
	}
}

// allowed fails on a fault: everything else is a refusal, which is the hub's right.
func (x *machine) allowed(err error) bool {
	if err != nil && huanxin.KindOf(err) == huanxin.Internal {
		x.fail("a fault: %v", err)
	}
	return err == nil
}

func (x *machine) send(carrier string, events ...huanxin.Event) core.Receipt {
	r, err := x.w.ReportEvents(context.Background(), x.w.as(carrier), eventLines(events...), time.Time{})
	x.ok(err)
	if r.Accepted+r.Duplicates+r.RejectedTotal != int64(len(events)) {
		x.fail("%d lines became %+v", len(events), r)
	}
	return r
}

// report tells one to three events of one number, at times that may be late.
func (x *machine) report(d uint64) {
	carrier := []string{"cmcc", "cmcc", "cmcc", "cucc"}[d%4]
	n := int(d / 4 % uint64(x.numbers))
	var events []huanxin.Event
	for i := range 1 + d/16%3 {
		d := d/64 + i*7
		x.serial++
		at := time.Now().Add(-time.Duration(d%5) * time.Minute).UTC()
		e := line(fmt.Sprint("e", x.serial), n, x.anyKind(n, d/8), at)
		switch e.Kind {
		case huanxin.Activated:
			e.Origin = []huanxin.ActivationOrigin{2, 2, 3, 4}[d/64%4]
		case huanxin.Corrected:
			e.CorrectsID = x.anyEvent(carrier, e.Number, d/64)
		}
		events = append(events, e)
	}
	r := x.send(carrier, events...)
	bad := map[string]bool{}
	for _, j := range r.Rejected {
		bad[j.ID] = true
	}
	for _, e := range events {
		if bad[e.ID] {
			continue
		}
		x.m.events[carrier+" "+e.ID] = e
	}
}

// anyKind gives a kind of event, mostly one that fits a number as it stands.
func (x *machine) anyKind(n int, d uint64) huanxin.EventKind {
	kinds := map[huanxin.Phase][]huanxin.EventKind{
		huanxin.PhaseUnseen: {huanxin.Activated},
		huanxin.PhaseInUse: {huanxin.Suspended, huanxin.Disconnected, huanxin.Disconnected, huanxin.Transferred, huanxin.Transferred, huanxin.Ported,
			huanxin.Corrected, huanxin.Corrected},
		huanxin.PhaseSuspended:    {huanxin.Resumed, huanxin.Disconnected, huanxin.Transferred, huanxin.Corrected},
		huanxin.PhaseDisconnected: {huanxin.Reinstated, huanxin.Reinstated, huanxin.Activated, huanxin.Corrected, huanxin.Corrected},
	}[x.w.standing(n).Phase]
	if d%4 == 0 {
		return huanxin.EventKind(1 + d/4%8)
	}
	return kinds[d/4%uint64(len(kinds))]
}

// anyEvent gives the id of an event that a carrier might correct: often one that was accepted of this number.
func (x *machine) anyEvent(carrier string, n huanxin.Number, d uint64) string {
	var ids []string
	for _, key := range slices.Sorted(maps.Keys(x.m.events)) {
		if e := x.m.events[key]; e.Number == n && key[:4] == carrier {
			ids = append(ids, e.ID)
		}
	}
	if d%4 == 0 || ids == nil {
		return fmt.Sprint("e", 1+int(d/4)%x.serial)
	}
	return ids[d/4%uint64(len(ids))]
}

// sendAgain reports everything that was accepted once more.
func (x *machine) sendAgain(uint64) {
	for _, carrier := range []string{"cmcc", "cucc"} {
		var events []huanxin.Event
		for _, key := range slices.Sorted(maps.Keys(x.m.events)) {
			if key[:4] == carrier {
				events = append(events, x.m.events[key])
			}
		}
		if r := x.send(carrier, events...); r.Duplicates != int64(len(events)) {
			x.fail("an acknowledged event is no duplicate: %+v", r)
		}
	}
}

func (x *machine) create(d uint64) {
	n := int(d % uint64(x.numbers))
	s := x.w.standing(n)
	in := ask(n, s.StartedAt, s.Origin, [][]string{{"chat"}, {"chat", "game"}, {"pay", "label", "chat"}, nil}[d/8%4]...)
	in.Kinds = [][]huanxin.TaskKind{{huanxin.Unbind}, {huanxin.Unbind, huanxin.ClearLabel}}[d/32%2]
	c, err := x.w.CreateRequest(context.Background(), x.w.as([]string{"cmcc", "cucc"}[d/64%8/7]), in)
	if !x.allowed(err) {
		return
	}
	r := &modelRequest{number: n}
	for _, k := range c.Tasks {
		r.tasks = append(r.tasks, k.ID)
		x.m.tasks[k.ID] = &modelTask{app: k.App, request: c.ID, kind: k.Kind}
	}
	x.m.requests[c.ID] = r
}

// answer answers any task that was ever made, open or not.
func (x *machine) answer(d uint64) {
	if len(x.m.tasks) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(x.m.tasks))
	id := ids[d%uint64(len(ids))]
	k := x.m.tasks[id]
	seen, err := x.w.Task(context.Background(), x.w.as(k.app), id)
	x.ok(err) // an acknowledged task is there
	outcome := huanxin.Outcome(1 + d/64%6)
	reasons := outcome.Reasons()
	got, err := x.w.Answer(context.Background(), x.w.as(k.app), answerTo(seen, outcome, reasons[int(d/512)%len(reasons)]))
	if err == nil && !got.Repeated {
		k.answers++
	}
	switch code := huanxin.CodeOf(err); {
	case err == nil:
		if k.final != 0 && k.final != outcome {
			x.fail("a final answer was replaced")
		}
		if outcome.Final() {
			k.final = outcome
		}
	case code == "already_final":
		if k.final == 0 {
			x.fail("already_final of a task that was not")
		}
	case code != "no_effect":
		x.fail("an answer to what was asked: %v", err)
	}
}

func (x *machine) pick(d uint64) (string, *modelRequest) {
	if len(x.m.requests) == 0 {
		return "", nil
	}
	ids := slices.Sorted(maps.Keys(x.m.requests))
	id := ids[d%uint64(len(ids))]
	return id, x.m.requests[id]
}

func (x *machine) cancel(d uint64) {
	id, r := x.pick(d)
	if r == nil || d/8%3 > 0 {
		return
	}
	if _, err := x.w.CancelRequest(context.Background(), x.w.as("cmcc"), id); x.allowed(err) {
		r.ended = true
	}
}

func (x *machine) again(d uint64) {
	id, r := x.pick(d)
	if r == nil {
		return
	}
	k := r.tasks[d/16%uint64(len(r.tasks))]
	c, err := x.w.AskAgain(context.Background(), x.w.as("cmcc"), id, k, core.Once{})
	if x.allowed(err) && x.m.tasks[c.ID] == nil {
		r.tasks = append(r.tasks, c.ID)
		x.m.tasks[c.ID] = &modelTask{app: c.App, request: id, kind: c.Kind}
	}
}

// list has an app list its tasks, from the beginning, from its last one on, or from anywhere: what it sees is what is there,
// and after that it is delivered.
func (x *machine) list(d uint64) {
	if len(x.m.tasks) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(x.m.tasks))
	app := x.m.tasks[ids[d%uint64(len(ids))]].app
	state := []huanxin.TaskState{0, 0, huanxin.TaskQueued, huanxin.TaskDelivered, huanxin.TaskInReview}[d/64%5]
	after := ""
	switch d / 512 % 3 {
	case 1:
		after = x.listed[app]
	case 2:
		after = ids[d/4096%uint64(len(ids))] // perhaps another app's
	}
	from, _ := x.w.keys.ParseID(seal.TaskID, after)
	var want []string // in the order of their ids
	rows := x.rows()
	slices.SortFunc(rows, func(a, b store.TaskRow) int { return int(a.ID - b.ID) })
	for _, r := range rows {
		if x.w.Party(app).No == r.App && r.State.Open() && int64(r.ID) > from && (state == 0 || r.State == state) {
			want = append(want, x.w.keys.ID(seal.TaskID, int64(r.ID)))
		}
	}
	limit := 1 + int(d/65536%4)
	got, err := x.w.Tasks(context.Background(), x.w.as(app), state, after, limit)
	x.ok(err)
	if len(got) != min(limit, len(want)) {
		x.fail("%s listed %d tasks of state %d, and there are %d", app, len(got), state, len(want))
	}
	now := map[string]huanxin.TaskState{}
	for _, r := range x.rows() {
		now[x.w.keys.ID(seal.TaskID, int64(r.ID))] = r.State
	}
	was := map[string]huanxin.TaskState{}
	for _, r := range rows {
		was[x.w.keys.ID(seal.TaskID, int64(r.ID))] = r.State
	}
	for i, k := range got {
		if k.ID != want[i] || k.State == huanxin.TaskQueued || now[k.ID] != k.State {
			x.fail("%s listed a task as %s that is %s", app, k.State, now[k.ID])
		}
		was[k.ID] = k.State
		x.listed[app] = k.ID
	}
	for id, state := range now {
		if was[id] != state {
			x.fail("a task that was not listed went from %s to %s", was[id], state)
		}
	}
}

// wait lets some time pass, and the hub's own loops work.
func (x *machine) wait(d uint64) {
	time.Sleep([]time.Duration{time.Second, 7 * time.Hour, 25 * time.Hour, 100 * time.Hour, 95 * dayLong}[d%5])
	ctx := context.Background()
	for _, move := range []func(context.Context) (int, error){x.w.TakeSteps, x.w.Requeue, func(ctx context.Context) (int, error) { return x.w.Sequence(ctx, 3) }} {
		for {
			n, err := move(ctx)
			x.ok(err)
			if n == 0 {
				break
			}
		}
	}
	x.followFeed()
	for _, r := range x.rows() {
		if r.State.Open() && !r.StepAt.IsZero() && !r.StepAt.After(time.Now()) {
			x.fail("a step that was due at %v is not taken", r.StepAt)
		}
	}
}

// rows gives every task of the store.
func (x *machine) rows() (all []store.TaskRow) {
	x.ok(x.w.store.Read(context.Background(), func(tx *store.Tx) error {
		for id := huanxin.RequestID(1); int(id) <= len(x.m.requests); id++ {
			rows, err := tx.TasksOfRequest(id)
			if err != nil {
				return err
			}
			all = append(all, rows...)
		}
		return nil
	}))
	return all
}

func (x *machine) oneOpenTask() {
	open := map[string]bool{}
	for _, r := range x.rows() {
		if !r.State.Open() {
			continue
		}
		key := fmt.Sprint(r.Tenure, r.App, r.Kind)
		if open[key] {
			x.fail("two open tasks for tenure, app and kind %s", key)
		}
		open[key] = true
	}
}

// check compares everything with the model at the end of a story.
func (x *machine) check() {
	x.sendAgain(0)
	x.wait(0)
	rows := x.rows()
	if len(rows) != len(x.m.tasks) {
		x.fail("%d tasks were acknowledged, %d are there", len(x.m.tasks), len(rows))
	}
	ctx := context.Background()
	x.ok(x.w.store.Read(ctx, func(tx *store.Tx) error {
		events, err := tx.EventsFrom(1, 100_000)
		x.ok(err)
		if len(events) != len(x.m.events) {
			x.fail("%d events were acknowledged, the log has %d", len(x.m.events), len(events))
		}
		x.checkNumbers(tx, events)
		head, err := tx.LogHead()
		x.ok(err)
		if head != int64(len(events)) {
			x.fail("the log has a gap: %d positions, %d events", head, len(events))
		}
		x.checkOpen(tx, rows)
		return nil
	}))
	for i, e := range x.w.audit(1) {
		if e.Action == "" || e.At.IsZero() {
			x.fail("audit position %d is %+v", i+1, e)
		}
	}
	for _, r := range rows {
		id := x.w.keys.ID(seal.TaskID, int64(r.ID))
		k := x.m.tasks[id]
		if k.final != 0 && r.State != huanxin.TaskAnswered {
			x.fail("an acknowledged final answer is lost: the task is %s", r.State)
		}
		seen, err := x.w.Task(ctx, x.w.as(k.app), id)
		x.ok(err)
		over := seen.State == huanxin.TaskCancelled || seen.State == huanxin.TaskAborted
		if over == r.EndedAt.IsZero() {
			x.fail("a task that ended at %v is seen as %s", r.EndedAt, seen.State)
		}
	}
}

// checkNumbers works every number out from the log.
func (x *machine) checkNumbers(tx *store.Tx, log []huanxin.Event) {
	of := map[huanxin.Number][]huanxin.Event{}
	var all []huanxin.Number
	for _, e := range log {
		of[e.Number] = append(of[e.Number], e)
		all = append(all, e.Number)
	}
	stored, err := tx.Standings(all)
	x.ok(err)
	cooling := func(huanxin.PartyNo) time.Duration { return huanxin.MinCoolingDays * dayLong }
	for n, events := range of {
		want, err := huanxin.Replay(events, 0, cooling)
		x.ok(err)
		if stored[n].Standing != want {
			x.fail("a number stands at %+v, its log says %+v", stored[n].Standing, want)
		}
		past, err := tx.History(stored[n].Head)
		x.ok(err)
		if len(past) != len(events) {
			x.fail("a history has %d events, the log %d", len(past), len(events))
		}
	}
}

// checkOpen holds open tasks against the standings: none outlives its tenure. The answers are as many as were taken.
func (x *machine) checkOpen(tx *store.Tx, rows []store.TaskRow) {
	var all []huanxin.Number
	for i := range x.numbers {
		all = append(all, number(i))
	}
	stored, err := tx.Standings(all)
	x.ok(err)
	running := map[huanxin.TenureID]bool{}
	for _, s := range stored {
		if s.Held() {
			running[s.Tenure] = true
		}
	}
	taken, recorded := 0, 0
	for _, k := range x.m.tasks {
		taken += k.answers
	}
	for _, r := range rows {
		if r.State.Open() && !running[r.Tenure] {
			x.fail("an open task of an ended tenure")
		}
	}
	for id := huanxin.RequestID(1); int(id) <= len(x.m.requests); id++ {
		answers, err := tx.AnswersOfRequest(id)
		x.ok(err)
		for _, list := range answers {
			for _, a := range list {
				if !a.Void {
					recorded++
				}
			}
		}
	}
	if taken != recorded {
		x.fail("%d answers were acknowledged, %d are recorded", taken, recorded)
	}
}
