package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/huanxin-platform/huanxin/internal/history"
)

// historyRound loads a file of fresh numbers as huanxin import-history does, and loads it again.
func (w *world) historyRound(ctx context.Context, o options) ([]phase, error) {
	path := filepath.Join(w.dir, "history.csv")
	if err := writeHistory(path, w.number, o.history); err != nil {
		return nil, err
	}
	w.number += o.history
	load := func(accepted, known int64) func() error {
		return func() error {
			res, err := history.Import(ctx, history.Options{Client: w.carriers[0], In: path, Restart: true})
			if err == nil && (res.Accepted != accepted || res.Duplicates != known) {
				err = fmt.Errorf("%d lines were accepted, %d known and %d refused", res.Accepted, res.Duplicates, res.Rejected)
			}
			return err
		}
	}
	n := int64(o.history)
	first, err := w.timed("history imported", o.history, load(n, 0))
	if err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	again, err := w.timed("history known already", o.history, load(0, n))
	return []phase{first, again}, err
}

// writeHistory writes a file of n lines. A tenth of the tenures began by transfer, which is two events.
func writeHistory(path string, first, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriter(f)
	fmt.Fprintln(b, "number,tenure_started_at,origin")
	for i := range n {
		at, origin := started.AddDate(0, 0, -(i*7919)%3000).Format("2006-01-02T15:04:05-07:00"), "reassigned"
		switch i % 10 {
		case 0:
			origin = "transferred"
		case 1, 2, 3:
			origin = "first"
		case 4:
			at, origin = at[:len("2006-01-02")], "unknown"
		}
		fmt.Fprintf(b, "%s,%s,%s\n", numberAt(first+i), at, origin)
	}
	return b.Flush()
}
