package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/huanxin-platform/huanxin/internal/core"
)

// streamReplay has a stream told of something once more, with the jti that it had.
func streamReplay(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("stream replay", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	dead := f.Bool("dead", false, "the dead letters: what the receiver refused, or could not be brought for 72 hours")
	from := f.String("from", "", "what the hub learned from this time on (2026-11-27T08:00:00+08:00); of tasks, those that are open")
	words, err := parse(f, args, 1, "stream replay ID --dead | --from TIME")
	if err != nil {
		return err
	}
	if *dead == (*from != "") {
		return usageError("stream replay: give --dead or --from TIME")
	}
	var at time.Time
	if *from != "" {
		if at, err = time.Parse(time.RFC3339, *from); err != nil {
			return usageError("stream replay: --from is a time such as 2026-11-27T08:00:00+08:00")
		}
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		if *dead {
			done, err := hub.ReplayDead(ctx, core.Operator(), words[0])
			if err == nil {
				fmt.Printf("%d are told again, %d are left for the next time\n", done.Again, done.Left)
			}
			return err
		}
		_, err := hub.ReplayFrom(ctx, core.Operator(), words[0], at)
		if err == nil {
			fmt.Println("all since then is told again")
		}
		return err
	})
}

// listDead lists the dead letters of all streams, the first thousand of each.
func listDead(ctx context.Context, hub *core.Hub, w io.Writer) error {
	streams, err := hub.AllStreams(ctx, core.Operator())
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tJTI\tTYPE\tERR\tTRIED\tAT\tDESCRIPTION")
	for _, s := range streams {
		letters, err := hub.DeadLetters(ctx, core.Operator(), s.ID, core.FirstFeedNo)
		if err != nil {
			return err
		}
		for _, l := range letters {
			kind := "-"
			if l.Type != 0 {
				kind = l.Type.String()[strings.LastIndexAny(l.Type.String(), ":/")+1:]
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.ID, l.JTI, kind, plain(l.Err), l.Attempts, l.At.Format(time.RFC3339), plain(l.Description))
		}
	}
	return t.Flush()
}
