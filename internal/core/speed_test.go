package core

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

func TestSpeedScratch(t *testing.T) {
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+t.TempDir()+"/x.db")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h, err := New(ctx, Options{Store: s, Keys: seal.Generate(), Calendar: huanxin.ChinaCalendar(), Durations: huanxin.DefaultDurations(), Log: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	op := Operator()
	if err := h.PutParty(ctx, op, huanxin.Party{ID: "c", Kind: huanxin.CarrierParty, NameZh: "c", NameEn: "c", CoolingDays: 90}, true); err != nil {
		t.Fatal(err)
	}
	var apps []string
	for i := range 64 {
		id := fmt.Sprintf("app-%d", i)
		apps = append(apps, id)
		if err := h.PutParty(ctx, op, huanxin.Party{ID: id, Kind: huanxin.AppParty, NameZh: id, NameEn: id, Class: "social", Kinds: []huanxin.TaskKind{huanxin.Unbind}}, true); err != nil {
			t.Fatal(err)
		}
	}
	carrier := huanxin.Caller{Party: h.Party("c"), Client: "c", Scopes: huanxin.ScopesOf(huanxin.CarrierParty)}
	const N = 100000
	at := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	num := func(i int) huanxin.Number {
		return huanxin.NumberOf(uint64(8613800000000 + (i*7919)%100000000))
	}
	var lines iter.Seq2[EventLine, error] = func(y func(EventLine, error) bool) {
		for i := range N {
			if !y(EventLine{Line: int64(i + 1), Event: huanxin.Event{ID: fmt.Sprint("e", i), Number: num(i), Kind: huanxin.Activated, Origin: huanxin.ActivatedReassigned, At: at}}, nil) {
				return
			}
		}
	}
	t0 := time.Now()
	r, err := h.ReportEvents(ctx, carrier, lines, time.Time{})
	t.Log(r.Accepted, r.RejectedTotal, r.Rejected, err, float64(N)/time.Since(t0).Seconds(), "events/s")
	t0 = time.Now()
	const R = 500
	for i := range R {
		c, err := h.CreateRequest(ctx, carrier, NewRequest{Ask: huanxin.Ask{Number: num(i), StartedAt: at, Origin: huanxin.OriginReassigned, Kinds: []huanxin.TaskKind{huanxin.Unbind}, Proof: huanxin.Proof{Control: 1, Identity: 1, VerifiedAt: time.Now()}}, Apps: apps})
		if err != nil || len(c.Tasks) != 64 {
			t.Fatal(err)
		}
	}
	t.Log(64*R/time.Since(t0).Seconds(), "tasks created/s")
	t1 := time.Now()
	var list, ans time.Duration
	for _, id := range apps {
		app := huanxin.Caller{Party: h.Party(id), Client: id, Scopes: huanxin.ScopesOf(huanxin.AppParty)}
		t0 := time.Now()
		tasks, err := h.Tasks(ctx, app, 0, "", 1000)
		if err != nil || len(tasks) != R {
			t.Fatal(err, len(tasks))
		}
		list += time.Since(t0)
		t0 = time.Now()
		rc, err := h.Answers(ctx, app, func(y func(TaskAnswer, error) bool) {
			for _, k := range tasks {
				y(TaskAnswer{Task: k.ID, TenureID: k.TenureID, Digest: k.Digest, Answer: huanxin.Answer{Outcome: huanxin.Unbound, Reason: huanxin.Removed}}, nil)
			}
		})
		if err != nil || rc.Accepted != R {
			t.Fatal(err, rc)
		}
		ans += time.Since(t0)
	}
	t.Log(64*R/time.Since(t1).Seconds(), "listed+answered/s", 64*R/list.Seconds(), 64*R/ans.Seconds())
	n, err := h.Sequence(ctx, 1000)
	t.Log(n, err)
}
