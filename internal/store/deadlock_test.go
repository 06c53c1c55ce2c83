package store_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Reports end tenures in the order of their events, which is not that of anybody's answers. A transaction that PostgreSQL
// gives up for a deadlock is tried again, after a second in which it and others stood still.
func TestReportsAnswersAndDeliveriesNeverWaitForEachOtherInACircle(t *testing.T) {
	t.Parallel()
	dsn := engines[1].dsn(t)
	s, db := open(t, dsn), raw(t, dsn)
	const rounds, tenures, apps = 12, 120, 3
	for round := range rounds {
		ids := make([][]huanxin.TaskID, apps)
		ended := make([]huanxin.TenureID, 0, tenures)
		must(t, s.Write(t.Context(), func(tx *store.Tx) error {
			ids, ended = make([][]huanxin.TaskID, apps), ended[:0]
			for i := range tenures {
				tenure := huanxin.TenureID(1 + round*tenures + i)
				ended = append(ended, tenure)
				id, err := tx.InsertRequest(nil, huanxin.Request{Lookup: []byte("lookup"), Tenure: tenure, StartedAt: day, Origin: 1, Carrier: 1, AskedBy: 1, SubmittedAt: day}, apps,
					func(huanxin.RequestID) []byte { return []byte("sealed") })
				if err != nil {
					return err
				}
				var tasks []huanxin.Task
				for app := range apps {
					tasks = append(tasks, huanxin.Task{Request: id, App: huanxin.PartyNo(app + 1), Kind: huanxin.Unbind, Tenure: tenure,
						CreatedAt: day, Release: day, DueAt: day, StepAt: day})
				}
				if err := tx.InsertTasks(tasks); err != nil {
					return err
				}
				for app := range apps {
					ids[app] = append(ids[app], tasks[app].ID)
				}
			}
			return nil
		}))
		slices.Reverse(ended)
		var at sync.WaitGroup
		begin := make(chan struct{})
		do := func(f func(tx *store.Tx) error) {
			at.Go(func() {
				<-begin
				if err := s.Write(t.Context(), f); err != nil {
					t.Error(err)
				}
			})
		}
		do(func(tx *store.Tx) error { _, err := tx.AbortTenures(ended, day); return err })
		for app := range apps {
			do(func(tx *store.Tx) error {
				rows, err := tx.TasksByID(ids[app])
				if err != nil {
					return err
				}
				var closed, moved []store.TaskRow
				for _, k := range rows {
					k.Answers++
					switch {
					case !k.EndedAt.IsZero():
					case k.ID%2 == 0:
						closed = append(closed, k)
					default:
						k.State = huanxin.TaskInReview
						moved = append(moved, k)
					}
				}
				if err := tx.CloseTasks(closed); err != nil {
					return err
				}
				return tx.UpdateTasks(moved)
			})
			do(func(tx *store.Tx) error {
				mine := slices.Clone(ids[app])
				slices.Reverse(mine)
				return tx.Deliver(mine)
			})
		}
		close(begin)
		at.Wait()
	}
	must(t, s.Close()) // then its sessions have reported what they did
	var deadlocks, open int
	must(t, db.QueryRowContext(t.Context(), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&deadlocks))
	must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tasks WHERE open = 1").Scan(&open))
	if deadlocks > 0 || open > 0 {
		t.Errorf("%d deadlocks, and %d tasks of ended tenures are open", deadlocks, open)
	}
}
