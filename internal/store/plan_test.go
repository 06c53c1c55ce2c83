package store_test

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// Of tables that were just filled PostgreSQL knows nothing. Every hot statement must find its rows by an index all the
// same, and by the one that leads straight to them. PLAN_TASKS=2000000 tries it at full size.
func TestHotStatementsUseTheirIndexesRightAfterABulkLoad(t *testing.T) {
	const perRequest = 64
	tasks := 64_000
	if v, err := strconv.Atoi(os.Getenv("PLAN_TASKS")); err == nil {
		tasks = v
	}
	c := pgtest.New(t, pgtest.Fast, "autovacuum=off", "shared_buffers=512MB")
	url, err := c.CreateDatabase("plans")
	must(t, err)
	made, err := store.Open(t.Context(), url)
	must(t, err)
	must(t, made.Close()) // so that it has reported what making the tables took
	db := raw(t, url)
	for _, q := range []string{
		fmt.Sprintf(`INSERT INTO requests SELECT i, 'sealed', ('lookup ' || i)::bytea, i, 1, 2, 1, 1, 1, 1, 1, 1, 0, 0 FROM generate_series(1, %d) i`, tasks/perRequest),
		fmt.Sprintf(`INSERT INTO tasks SELECT i, (i - 1) / %d + 1, i %% %d + 1, 1, (i - 1) / %[1]d + 1, CASE WHEN i %% 3 = 0 THEN 0 ELSE 9 END,
			CASE WHEN i %% 3 = 0 THEN 1 ELSE 0 END, 1, 1, 1, 0, 1000000 + i, '', CASE WHEN i %% 1000 = 0 THEN i ELSE 0 END, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, %[3]d) i`, perRequest, perRequest, tasks),
		`INSERT INTO clocks SELECT request, MIN(step_at) FROM tasks WHERE open = 1 GROUP BY request`,
		fmt.Sprintf(`INSERT INTO answers SELECT i, 1, 4, 1, '', '', '', 1, 0, 0 FROM generate_series(1, %d) i WHERE i %% 3 <> 0`, tasks),
		fmt.Sprintf(`INSERT INTO events SELECT i, i %% 4 + 1, 'event-' || i, 8613800000000 + i %% (%d / 2 + 1), 1, 1, 1, 0, GREATEST(i - %[1]d / 2 - 1, 0) FROM generate_series(1, %[1]d) i`, tasks),
		fmt.Sprintf(`INSERT INTO numbers SELECT 8613800000000 + i, 1, 1, i, 1, 1, 0, 1, %d / 2 + i FROM generate_series(1, %[1]d / 2) i`, tasks),
		`INSERT INTO streams SELECT i, 'client-' || i, 2, '', ''::bytea, 'null', '', '', 1, '', 0, 1, 0, 0 FROM generate_series(1, 100) i`,
		fmt.Sprintf(`INSERT INTO stream_subjects SELECT ('lookup ' || i)::bytea, s, 1, i FROM generate_series(1, %d) i, generate_series(1, 3) s`, tasks),
		`INSERT INTO stream_remains SELECT 3`,
		`INSERT INTO stream_states SELECT i, 0, 1, ''::bytea, 1 FROM generate_series(1, 100) i`,
		fmt.Sprintf(`INSERT INTO stream_signals SELECT i, i %% 100 + 1, 1, '', '', 1 FROM generate_series(1, %d) i`, tasks),
		fmt.Sprintf(`INSERT INTO dead_letters SELECT i %% 100 + 1, i, '', '', 1, 1 FROM generate_series(1, %d) i`, tasks),
		fmt.Sprintf(`UPDATE counters SET value = %d WHERE name = 'task'`, tasks),
		// In the feed log stand the requests, then one batch of all events, most of which are told, then a batch of notes of all tasks.
		fmt.Sprintf(`INSERT INTO feed_positions SELECT (i - 1) * %d + 1, 2, i, %[1]d FROM generate_series(1, %d) i`, perRequest, tasks/perRequest),
		fmt.Sprintf(`INSERT INTO feed_positions VALUES (%d + 1, 1, 8, %[1]d + 1), (2 * %[1]d + 2, 3, 1000, %[1]d)`, tasks),
		fmt.Sprintf(`INSERT INTO events SELECT 8 * 1048576 + i, 9, 'told-' || i, 8613900000000 + i, 4, 1, 0, 0, 0, (i %% 4)::bigint << 60 FROM generate_series(0, %d) i`, tasks),
		`INSERT INTO event_batches VALUES (8, 1, 1, 1)`,
		fmt.Sprintf(`INSERT INTO notices SELECT 8 * 1048576 + i, 0, 5, 8 * 1048576 + i - 1 FROM generate_series(1, %d) i WHERE i %% 4 = 3`, tasks),
		fmt.Sprintf(`INSERT INTO task_notes SELECT 1000 * 1048576 + i - 1, i, 1 + i %% 4, 1 FROM generate_series(1, %d) i`, tasks),
		fmt.Sprintf(`INSERT INTO feed_waiting (kind, ref, items) SELECT 2, 1000000 + i, 1 FROM generate_series(1, %d) i`, tasks),
	} {
		_, err := db.ExecContext(t.Context(), q)
		must(t, err)
	}
	now := time.UnixMicro(1_000_000 + int64(tasks))
	some := make([]huanxin.TaskID, 1000)
	lookups := make([][]byte, 2000)
	for i := range lookups {
		lookups[i] = []byte(fmt.Sprint("lookup ", 1+i*(tasks/1000))) // half of them are there
	}
	eventIDs, numbers := make([]string, 4096), make([]huanxin.Number, 4096)
	for i := range some {
		some[i] = huanxin.TaskID(1 + i*(tasks/1000))
	}
	for i := range eventIDs {
		eventIDs[i], numbers[i] = fmt.Sprint("event-", 1+i*(tasks/4096)), huanxin.NumberOf(uint64(8613800000001+i))
	}
	for _, h := range []struct {
		name string
		rows int64 // how many index entries one call may read
		do   func(tx *store.Tx, i int) error
	}{
		{"OpenTasks", 3000, func(tx *store.Tx, i int) error {
			_, err := tx.OpenTasks(huanxin.PartyNo(1+i*3), 0, huanxin.TaskID(tasks/2), 500)
			return err
		}},
		{"OpenTasks, queued", 3000, func(tx *store.Tx, i int) error {
			_, err := tx.OpenTasks(huanxin.PartyNo(1+i*3), huanxin.TaskQueued, 0, 500)
			return err
		}},
		{"TasksByID", 5000, func(tx *store.Tx, i int) error { _, err := tx.TasksByID(some); return err }},
		{"one TasksByID", 10, func(tx *store.Tx, i int) error { _, err := tx.TasksByID(some[i : i+1]); return err }},
		{"Task", 10, func(tx *store.Tx, i int) error { _, _, err := tx.Task(some[i]); return err }},
		{"DeliverPage", 3000, func(tx *store.Tx, i int) error {
			page, err := tx.OpenTasks(huanxin.PartyNo(2+i*3), 0, 0, 500)
			must(t, err)
			return tx.DeliverPage(store.Page{App: huanxin.PartyNo(2 + i*3), Tasks: page})
		}},
		{"CloseTasks", 9000, func(tx *store.Tx, i int) error {
			rows, err := tx.TasksByID(some)
			must(t, err)
			return tx.CloseTasks(slices.Collect(maps.Values(rows)))
		}},
		{"Deliver", 5000, func(tx *store.Tx, i int) error { return tx.Deliver(some) }},
		{"UpdateTasks", 9000, func(tx *store.Tx, i int) error {
			rows, err := tx.TasksByID(some)
			var all []store.TaskRow
			for _, r := range rows {
				all = append(all, r)
			}
			must(t, err)
			return tx.UpdateTasks(all)
		}},
		{"TasksDue", 9000, func(tx *store.Tx, i int) error {
			requests, err := tx.DueClocks(now, 20)
			must(t, err)
			_, requests, err = tx.TasksDue(requests, now, 500)
			must(t, err)
			_, err = tx.WindClocks(requests, now)
			return err
		}},
		{"TasksToRetry", 3000, func(tx *store.Tx, i int) error { _, err := tx.TasksToRetry(now, 500); return err }},
		{"TasksOfRequest", 200, func(tx *store.Tx, i int) error { _, err := tx.TasksOfRequest(huanxin.RequestID(i + 5)); return err }},
		{"AnswersOfRequest", 300, func(tx *store.Tx, i int) error { _, err := tx.AnswersOfRequest(huanxin.RequestID(i + 5)); return err }},
		{"KnownEvents", 9000, func(tx *store.Tx, i int) error { _, err := tx.KnownEvents(2, eventIDs); return err }},
		{"one KnownEvents", 10, func(tx *store.Tx, i int) error { _, err := tx.KnownEvents(2, eventIDs[i:i+1]); return err }},
		{"Standings", 9000, func(tx *store.Tx, i int) error { _, err := tx.Standings(numbers); return err }},
		{"History", 50, func(tx *store.Tx, i int) error { _, err := tx.History(huanxin.EventNo(tasks - i)); return err }},
		{"LockStanding", 10, func(tx *store.Tx, i int) error { _, err := tx.LockStanding(numbers[i]); return err }},
		{"EndTasks", 500, func(tx *store.Tx, i int) error { return tx.EndTasks([]int64{int64(i + 9)}, huanxin.TaskCancelled, now) }},
		{"AbortTenures", 1000, func(tx *store.Tx, i int) error {
			_, err := tx.AbortTenures([]huanxin.TenureID{huanxin.TenureID(i + 50)}, now)
			return err
		}},
		{"MoveRequests", 100, func(tx *store.Tx, i int) error {
			return tx.MoveRequests(map[huanxin.TenureID]huanxin.PartyNo{huanxin.TenureID(i + 50): 2})
		}},
		{"AddSubjects", 9000, func(tx *store.Tx, i int) error { _, err := tx.AddSubjects(1, lookups, false); return err }},
		{"one AddSubjects", 20, func(tx *store.Tx, i int) error { _, err := tx.AddSubjects(1, lookups[i:i+1], false); return err }},
		{"RemoveSubjects", 9000, func(tx *store.Tx, i int) error { _, err := tx.RemoveSubjects(2, lookups, true); return err }},
		{"KnownSubjects", 3000, func(tx *store.Tx, i int) error { _, err := tx.KnownSubjects(1, lookups); return err }},
		{"RenameSubjects", 9000, func(tx *store.Tx, i int) error { return tx.RenameSubjects(1, lookups[1000:], lookups[1000:]) }},
		{"ClearStreams", 9000, func(tx *store.Tx, i int) error { _, err := tx.ClearStreams(1000); return err }},
		{"StreamsOf", 10, func(tx *store.Tx, i int) error { _, err := tx.StreamsOf(fmt.Sprint("client-", i+1)); return err }},
		{"RequestsOfNumber", 50, func(tx *store.Tx, i int) error {
			_, err := tx.RequestsOfNumber([]byte(fmt.Sprint("lookup ", i+1)))
			return err
		}},
		{"FeedTasks, of requests", 9000, func(tx *store.Tx, i int) error { return readFeed(tx, 1+i*2048) }},
		{"FeedNotices", 9000, func(tx *store.Tx, i int) error { return readFeed(tx, tasks+1+i*2048) }},
		{"FeedTasks, of notes", 15_000, func(tx *store.Tx, i int) error { return readFeed(tx, 2*tasks+2+i*1024) }},
		{"FeedSubjects", 9000, func(tx *store.Tx, i int) error {
			lookups := make([][]byte, 2000)
			for j := range lookups {
				lookups[j] = fmt.Append(nil, "lookup ", 1+j*(tasks/2000))
			}
			_, err := tx.FeedSubjects(lookups)
			return err
		}},
		{"an exchange", 7000, func(tx *store.Tx, i int) error {
			id := huanxin.StreamID(i + 10)
			_, _, err := tx.LockStreamState(id)
			must(t, err)
			signals, err := tx.Signals(id)
			must(t, err)
			must(t, tx.DeleteSignals(id, []int64{signals[0].ID}))
			_, err = tx.StillOpen(some)
			must(t, err)
			return tx.SaveOutbox(id, []byte{1})
		}},
		{"SignalsAfter", 1200, func(tx *store.Tx, i int) error { _, err := tx.SignalsAfter(int64(tasks-1000), 1000); return err }},
		{"DeadLetters", 500, func(tx *store.Tx, i int) error {
			letters, err := tx.DeadLetters(huanxin.StreamID(i+10), 0, 100)
			must(t, err)
			must(t, tx.InsertDeadLetters(huanxin.StreamID(i+10), letters[:50]))
			return tx.DeleteDeadLetters(huanxin.StreamID(i+10), []huanxin.FeedNo{letters[0].No})
		}},
		{"PushStreams", 500, func(tx *store.Tx, i int) error { _, err := tx.PushStreams(); return err }},
		{"Sequence", 9000, func(tx *store.Tx, i int) error { _, err := tx.Sequence(1000); return err }},
		{"RetractTasks", 1000, func(tx *store.Tx, i int) error {
			return tx.RetractTasks([]huanxin.TenureID{huanxin.TenureID(i + 80)}, now)
		}},
	} {
		t.Run(h.name, func(t *testing.T) {
			const calls = 12 // after five PostgreSQL considers one plan for all arguments
			s, err := store.Open(t.Context(), url)
			must(t, err)
			scans, reads := work(t, db)
			began := time.Now()
			for i := range calls {
				must(t, s.Write(t.Context(), func(tx *store.Tx) error { return h.do(tx, i) }))
			}
			took := time.Since(began)
			must(t, s.Close()) // then its sessions report what they did
			var scanned, read int64
			for wait := 0; wait < 50; wait++ {
				nowScans, nowReads := work(t, db)
				scanned, read = nowScans-scans, nowReads-reads
				if read > 0 || scanned > 0 {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("%d index entries and %v a call, %d whole tables", read/calls, (took / calls).Round(10*time.Microsecond), scanned)
			if scanned > 0 || read > calls*h.rows {
				t.Errorf("%d whole tables and %d index entries were read in %d calls", scanned, read, calls)
			}
		})
	}
}

// readFeed reads 2,048 positions of the feed log.
func readFeed(tx *store.Tx, from int) error {
	rows, err := tx.FeedRows(int64(from), int64(from+2048))
	if err != nil {
		return err
	}
	notices, err := tx.FeedNotices(rows, int64(from), int64(from+2048))
	if err != nil {
		return err
	}
	told, err := tx.FeedTasks(rows, int64(from), int64(from+2048))
	if err == nil && len(notices)+len(told) < 1000 {
		err = fmt.Errorf("the feed log tells of %d notices and %d tasks", len(notices), len(told))
	}
	return err
}

const hot = `'tasks', 'requests', 'answers', 'events', 'numbers', 'clocks', 'listed', 'feed_positions', 'notices', 'task_notes', 'feed_waiting', 'stream_subjects', 'streams', 'stream_remains', 'stream_states', 'stream_signals', 'dead_letters'`

// work gives how often a large table was read as a whole, and how many index entries were read.
func work(t *testing.T, db *sql.DB) (scans, reads int64) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), `SELECT COALESCE(SUM(seq_scan), 0) FROM pg_stat_user_tables
		WHERE relname IN (`+hot+`)`).Scan(&scans))
	must(t, db.QueryRowContext(t.Context(), `SELECT COALESCE(SUM(idx_tup_read), 0) FROM pg_stat_user_indexes
		WHERE relname IN (`+hot+`)`).Scan(&reads))
	return scans, reads
}
