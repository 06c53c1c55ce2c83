package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/huanxin-platform/huanxin/internal/core"
)

func caseCommand(ctx context.Context, args []string) error {
	return sub(ctx, "case", args, []command{{"list", "list them, oldest first; none holds a number", caseList}})
}

func caseList(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("case list", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	after := f.String("after", "", "only those after this one")
	if _, err := parse(f, args, 0, "case list [--after ID]"); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tOPENED\tKIND\tAPP\tABOUT\tTASK")
		for from := *after; ; {
			page, err := hub.Cases(ctx, core.Operator(), from, core.MaxTasks)
			if err != nil {
				return err
			}
			for _, c := range page {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.OpenedAt.In(hub.Calendar().Zone()).Format("2006-01-02 15:04"), c.Kind, c.App, c.View+c.What, c.Task)
				from = c.ID
			}
			if len(page) < core.MaxTasks {
				return t.Flush()
			}
		}
	})
}
