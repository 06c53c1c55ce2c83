package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// fill writes tasks through the store, half of them open and delivered, half answered; the statistics that the
// planner goes by stay those of an empty table. The apps have listed all of them.
func (w *world) fill(ctx context.Context, n int) error {
	if err := w.sql(ctx, "ALTER TABLE tasks SET (autovacuum_enabled = false)", "ALTER TABLE requests SET (autovacuum_enabled = false)"); err != nil {
		return err
	}
	keys, err := seal.Open(filepath.Join(w.dir, "keys.json"))
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, w.dsn)
	if err != nil {
		return err
	}
	defer s.Close()
	const perWrite = 100 // requests
	now := time.Now().UTC()
	last := huanxin.TaskID(0)
	for from := 0; from < n/appCount; from += perWrite {
		if err := s.Write(ctx, func(tx *store.Tx) error {
			var tasks []huanxin.Task
			for i := from; i < min(from+perWrite, n/appCount); i++ {
				number := huanxin.NumberOf(uint64(8618800000000 + i))
				r := huanxin.Request{Lookup: keys.Lookup(number), Tenure: huanxin.TenureID(-1 - i), StartedAt: now, Origin: huanxin.OriginReassigned,
					Carrier: 1, AskedBy: 1, SubmittedAt: now}
				id, err := tx.InsertRequest(nil, r, 0, func(huanxin.RequestID) []byte { return make([]byte, seal.SealedSize) })
				if err != nil {
					return err
				}
				for app := range appCount {
					tasks = append(tasks, huanxin.Task{Request: id, App: w.hub.Party(appID(app)).No, Kind: huanxin.Unbind, Tenure: r.Tenure,
						CreatedAt: now, Release: now.Add(time.Hour), DueAt: now.AddDate(0, 0, 7), StepAt: now.AddDate(0, 0, 3)})
				}
			}
			if err := tx.InsertTasks(tasks); err != nil {
				return err
			}
			last = tasks[len(tasks)-1].ID
			return nil
		}); err != nil {
			return err
		}
	}
	q := []string{"UPDATE tasks SET state = 9, open = 0 WHERE tenure < 0 AND request % 2 = 1"}
	for app := range w.after {
		w.after[app] = keys.ID(seal.TaskID, int64(last))
		q = append(q, fmt.Sprintf("INSERT INTO listed (app, task) VALUES (%d, %d) ON CONFLICT (app) DO UPDATE SET task = excluded.task",
			w.hub.Party(appID(app)).No, last))
	}
	return w.sql(ctx, q...)
}
