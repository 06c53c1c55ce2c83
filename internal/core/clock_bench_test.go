package core_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// BenchmarkTakeSteps takes a step that comes to many requests of 200 apps in one instant, as each end of a working day does:
// to all their tasks, or to a few of each request's. Meanwhile SQLite has no other writer: "ms-longest" is for how long.
func BenchmarkTakeSteps(b *testing.B) {
	const requests, apps = 300, 200
	for _, due := range []int{apps, 10} {
		for engine, dsn := range map[string]func() string{
			"sqlite":   func() string { return "sqlite:" + b.TempDir() + "/hub.db" },
			"postgres": func() string { return migrated.Database(b) },
		} {
			b.Run(fmt.Sprintf("%s/%d-of-%d", engine, due, apps), func(b *testing.B) {
				longest := time.Duration(0)
				for range b.N {
					b.StopTimer()
					w := newWorld(b, dsn())
					queueTasks(b, w, requests, apps, due)
					b.StartTimer()
					for moved := 0; moved < requests*due; {
						began := time.Now()
						n, err := w.TakeSteps(context.Background())
						must(b, err)
						if n == 0 {
							b.Fatalf("%d of %d tasks have moved", moved, requests*due)
						}
						longest = max(longest, time.Since(began))
						moved += n
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*requests*due), "ns/task")
				b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
			})
		}
	}
}

// queueTasks makes requests of a number of apps; due tasks of each have a step to take.
func queueTasks(b *testing.B, w *world, requests, apps, due int) {
	b.Helper()
	nos := make([]huanxin.PartyNo, apps)
	for i := range nos {
		id := fmt.Sprint("app-", i)
		must(b, w.PutParty(context.Background(), core.Operator(), huanxin.Party{ID: id, NameZh: id, NameEn: id, Kind: huanxin.AppParty,
			Kinds: []huanxin.TaskKind{huanxin.Unbind}}, false))
		nos[i] = w.Party(id).No
	}
	at := time.Now().Add(-16 * time.Minute).Truncate(time.Microsecond)
	for i := range requests {
		must(b, w.store.Write(context.Background(), func(tx *store.Tx) error {
			tenure := huanxin.TenureID(i + 1)
			id, err := tx.InsertRequest(nil, huanxin.Request{Lookup: []byte("lookup"), Tenure: tenure, StartedAt: at, Origin: huanxin.OriginReassigned,
				Carrier: 1, AskedBy: 1, SubmittedAt: at}, 0, func(huanxin.RequestID) []byte { return []byte("sealed") })
			if err != nil {
				return err
			}
			tasks := make([]huanxin.Task, apps)
			for k := range tasks {
				step := at.Add(15 * time.Minute)
				if k >= due {
					step = step.Add(24 * time.Hour)
				}
				tasks[k] = huanxin.Task{Request: id, App: nos[(i+k)%apps], Kind: huanxin.Unbind, Tenure: tenure, CreatedAt: at, Release: at.Add(time.Hour),
					DueAt: at.Add(5 * 24 * time.Hour), StepAt: step}
			}
			return tx.InsertTasks(tasks)
		}))
	}
}
