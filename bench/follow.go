package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

const (
	dayEvents  = 1_000_000 // in a day
	dayNumbers = 10 * dayEvents
)

// followed measures how long an index takes to follow a day's events from the number log on SQLite. Several hubs follow
// the same log, one after the other, each for itself.
func followed(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "huanxin-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "huanxin.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	keys := seal.Generate()
	var hubs []*core.Hub
	for range min(o.repeat, peerRounds) {
		h, err := core.New(ctx, core.Options{Store: s, Keys: keys, Calendar: huanxin.ChinaCalendar(), Durations: huanxin.DefaultDurations(),
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Close()) }()
		if err := h.Follow(ctx); err != nil { // of nothing: what comes then is followed
			return err
		}
		hubs = append(hubs, h)
	}
	n := dayEvents
	if o.short {
		n = 4_000
	}
	if err := tellDay(ctx, hubs[0], n); err != nil {
		return err
	}
	w := &world{}
	got := series{name: fmt.Sprintf("%d events followed from SQLite", n)}
	for _, h := range hubs {
		p, err := w.timed("followed", n, func() error { return h.Follow(ctx) })
		if err != nil {
			return err
		}
		if h.IndexLen() != int64(n) {
			return fmt.Errorf("%d numbers are known, not %d", h.IndexLen(), n)
		}
		got.add(p)
	}
	fmt.Fprintf(out, "\n%v\n    at the best rate that is %.2f s for 10^6 events, %.2f s of CPU (1 s)\n", &got, dayEvents/got.best(), got.cpuEach()*dayEvents)
	return nil
}

// tellDay reports n events of different numbers, in random order, and gives them their positions.
func tellDay(ctx context.Context, h *core.Hub, n int) error {
	p := huanxin.Party{ID: "carrier", Kind: huanxin.CarrierParty, CoolingDays: huanxin.MinCoolingDays, NameZh: "carrier", NameEn: "carrier"}
	if err := h.PutParty(ctx, core.Operator(), p, false); err != nil {
		return err
	}
	who := huanxin.Caller{Party: h.Party(p.ID), Client: p.ID, Scopes: huanxin.ScopesOf(p.Kind), RequestID: "bench"}
	receipt, err := h.ReportEvents(ctx, who, func(yield func(core.EventLine, error) bool) {
		for i := range n {
			number := 8613000000000 + uint64(i)*7_777_777%dayNumbers // each another one: the factor has no divisor of 10^7
			if !yield(core.EventLine{Line: int64(i + 1), Event: huanxin.Event{ID: fmt.Sprint("day-", i), Number: huanxin.NumberOf(number),
				Kind: huanxin.Activated, Origin: huanxin.ActivatedReassigned, At: started.Add(time.Duration(i) * time.Millisecond)}}, nil) {
				return
			}
		}
	}, time.Time{})
	if err != nil || receipt.Accepted != int64(n) {
		return errors.Join(fmt.Errorf("%d of %d events were accepted", receipt.Accepted, n), err)
	}
	for {
		if n, err := h.Sequence(ctx, 1000); n == 0 || err != nil {
			return err
		}
	}
}
