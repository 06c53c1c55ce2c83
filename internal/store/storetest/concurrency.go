package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var concurrencyTests = []sentence{
	{"a reader of the log sees each event once and in order while many write", logUnderLoad},
	{"a reader of an app's tasks skips none while many make them", tasksUnderLoad},
	{"transactions that change the same tasks do not lose each other's changes", tasksChangedAtOnce},
	{"of transactions that make the same task one succeeds", sameTaskAtOnce},
	{"a request that gets a task while its tenure ends keeps none open", abortAgainstInsert},
}

// logUnderLoad has writers of batches, a sequencer and readers work at once.
func logUnderLoad(t *testing.T, s *store.Store) {
	const writers, batches, shared = 4, 15, 3
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var background, writing sync.WaitGroup
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			t.Error(err)
			stop()
		}
	}
	for w := range writers {
		writing.Go(func() {
			for b := range batches {
				lines := make([]report, 1+(w+b)%5)
				for i := range lines {
					lines[i] = report{number: (w + i) % shared, id: fmt.Sprintf("%d-%d-%d", w, b, i)}
				}
				fail(s.Write(ctx, func(tx *store.Tx) error {
					first, err := tx.BeginBatch()
					if err != nil {
						return err
					}
					return followHeads(tx, first, lines)
				}))
			}
		})
	}
	background.Go(func() {
		for ctx.Err() == nil {
			fail(s.Write(ctx, func(tx *store.Tx) error { _, err := tx.Sequence(7); return err }))
		}
	})
	total := 0
	for w := range writers {
		for b := range batches {
			total += 1 + (w+b)%5
		}
	}
	logs := make([][]huanxin.Event, 2)
	var reading sync.WaitGroup
	for i := range logs {
		reading.Go(func() {
			for len(logs[i]) < total && ctx.Err() == nil {
				fail(s.Read(ctx, func(tx *store.Tx) error {
					page, err := tx.EventsFrom(int64(len(logs[i]))+1, 5+i*90)
					logs[i] = append(logs[i], page...)
					return err
				}))
			}
		})
	}
	writing.Wait()
	reading.Wait()
	stop()
	background.Wait()
	for _, log := range logs {
		checkLog(t, s, log, total)
	}
}

// followHeads appends a batch whose events follow the stored heads of their numbers.
func followHeads(tx *store.Tx, first huanxin.EventNo, lines []report) error {
	var all []huanxin.Number
	for _, l := range lines {
		all = append(all, number(l.number))
	}
	rows, err := tx.Standings(all)
	if err != nil {
		return err
	}
	changed := map[huanxin.Number]store.NumberRow{}
	var events []store.Accepted
	for i, l := range lines {
		n := number(l.number)
		row := rows[n]
		e := store.Accepted{Event: huanxin.Event{No: first + huanxin.EventNo(i), Carrier: 1, ID: l.id, Number: n, Kind: huanxin.Suspended, At: start}, Prev: row.Head}
		row.Number, row.Head = n, e.No
		rows[n], changed[n] = row, row
		events = append(events, e)
	}
	var put []store.NumberRow
	for _, r := range changed {
		put = append(put, r)
	}
	return tx.AppendBatch(1, start, events, put)
}

// checkLog compares a log that was read while it grew with the histories of its numbers.
func checkLog(t *testing.T, s *store.Store, log []huanxin.Event, total int) {
	t.Helper()
	seen := map[string]bool{}
	last := map[huanxin.Number]huanxin.EventNo{}
	count := map[huanxin.Number]int{}
	for _, e := range log {
		if seen[e.ID] {
			t.Fatalf("%s was read twice", e.ID)
		}
		if e.No <= last[e.Number] {
			t.Fatalf("%s came before an earlier event of its number", e.ID)
		}
		seen[e.ID], last[e.Number] = true, e.No
		count[e.Number]++
	}
	equal(t, "events read", len(seen), total)
	read(t, s, func(tx *store.Tx) error {
		head, err := tx.LogHead()
		must(t, err)
		equal(t, "head", head, total)
		for n, no := range last {
			past, err := tx.History(no)
			must(t, err)
			equal(t, "history", len(past), count[n])
		}
		return nil
	})
}

func tasksUnderLoad(t *testing.T, s *store.Store) {
	const writers, each = 4, 25
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				err := s.Write(ctx, func(tx *store.Tx) error {
					id, err := tx.InsertRequest(nil, request(huanxin.TenureID(w*1000+i+1)), 2, func(huanxin.RequestID) []byte { return []byte{1} })
					if err != nil {
						return err
					}
					tasks := []huanxin.Task{task(id, huanxin.TenureID(w*1000+i+1), 1), task(id, huanxin.TenureID(w*1000+i+1), 2)}
					if err := tx.InsertTasks(tasks); err != nil {
						return err
					}
					if i%5 == 4 {
						return tx.EndTasks([]int64{int64(id)}, huanxin.TaskCancelled, start)
					}
					if i%2 == w%2 { // stay open for a moment after the ids are given
						_, err = tx.Setting(fmt.Sprint(w, i), "x")
					}
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen, after := map[huanxin.TaskID]bool{}, huanxin.TaskID(0)
	want := writers * each * 4 / 5
	for len(seen) < want && ctx.Err() == nil {
		read(t, s, func(tx *store.Tx) error {
			page, err := tx.OpenTasks(2, 0, after, 3)
			for _, k := range page {
				seen[k.ID], after = true, k.ID
			}
			return err
		})
	}
	writing.Wait()
	equal(t, "tasks seen", len(seen), want)
}

func tasksChangedAtOnce(t *testing.T, s *store.Store) {
	var tasks []huanxin.Task
	write(t, s, func(tx *store.Tx) error { tasks = makeTasks(t, tx, 8, 1); return nil })
	ids := taskIDs(tasks)
	const workers, rounds = 4, 8
	together(t, workers, func(w int) error {
		for i := range rounds {
			if err := s.Write(t.Context(), func(tx *store.Tx) error {
				if w == 0 {
					return tx.Deliver(ids)
				}
				rows, err := tx.TasksByID(ids[i%4 : 4+i%4])
				if err != nil {
					return err
				}
				var update []store.TaskRow
				var answers []store.AnswerRow
				for _, row := range rows {
					row.Answers++
					update = append(update, row)
					answers = append(answers, store.AnswerRow{Task: row.ID, N: row.Answers, Answer: huanxin.Answer{Outcome: 1, Reason: 1, At: start}})
				}
				if err := tx.InsertAnswers(answers); err != nil {
					return err
				}
				return tx.UpdateTasks(update)
			}); err != nil {
				return err
			}
		}
		return nil
	})
	total := 0
	for _, row := range rowsOf(t, s, ids) {
		total += row.Answers
		equal(t, "the state", row.State, huanxin.TaskDelivered)
	}
	equal(t, "answers", total, (workers-1)*rounds*4)
}

func sameTaskAtOnce(t *testing.T, s *store.Store) {
	var made []huanxin.Task
	write(t, s, func(tx *store.Tx) error { made = makeTasks(t, tx, 1, 1); return nil })
	errs := make([]error, 4)
	together(t, 4, func(i int) error {
		errs[i] = s.Write(t.Context(), func(tx *store.Tx) error { return tx.InsertTasks([]huanxin.Task{task(made[0].Request, 2, 1)}) })
		return nil
	})
	ok := 0
	for _, err := range errs {
		if err == nil {
			ok++
		}
	}
	equal(t, "succeeded", ok, 1)
}

// abortAgainstInsert is AskAgain against a report that ends the tenure: whoever comes second must see what the first did.
func abortAgainstInsert(t *testing.T, s *store.Store) {
	for i := range 6 {
		tenure := huanxin.TenureID(i + 1)
		var first []huanxin.Task
		write(t, s, func(tx *store.Tx) error { first = makeTasks(t, tx, 1, tenure); return nil })
		locked := make(chan struct{})
		together(t, 2, func(who int) error {
			if who == 0 {
				if i%2 == 0 {
					<-locked
				}
				return s.Write(t.Context(), func(tx *store.Tx) error {
					_, err := tx.AbortTenures([]huanxin.TenureID{tenure}, start)
					return err
				})
			}
			return s.Write(t.Context(), func(tx *store.Tx) error {
				r, _, err := tx.LockRequest(first[0].Request)
				close(locked)
				if err != nil || !r.AbortedAt.IsZero() {
					return err
				}
				time.Sleep(10 * time.Millisecond) // the other waits for the lock by now, or sees what we do
				return tx.InsertTasks([]huanxin.Task{task(r.ID, tenure, 2)})
			})
		})
		read(t, s, func(tx *store.Tx) error {
			rows, err := tx.TasksOfRequest(first[0].Request)
			for _, row := range rows {
				if row.State.Open() {
					t.Errorf("round %d: a task of an ended tenure is %s", i, row.State)
				}
			}
			return err
		})
	}
}
