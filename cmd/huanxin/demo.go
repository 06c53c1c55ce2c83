package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/huanxin-platform/huanxin/internal/sandbox"
)

func demo(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	o := sandbox.Options{Out: os.Stdout, Err: os.Stderr}
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "loopback `address` to listen on")
	f.StringVar(&o.Data, "data", "", "`directory` of the world (default demo-data; with --once a temporary one that is removed)")
	f.Uint64Var(&o.Seed, "seed", 0, "makes another world; one that is there already keeps its own (default 1)")
	f.Float64Var(&o.Speed, "speed", 0, "divides the service's durations (default 14400: a day lasts 6 s; with --once 86400)")
	f.BoolVar(&o.Still, "still", false, "nobody acts by themselves")
	f.BoolVar(&o.Once, "once", false, "play one full scenario, check the rules, and end")
	if _, err := parse(f, args, 0, "demo [--listen ADDRESS] [--data DIR] [--seed N] [--speed N] [--still] [--once]"); err != nil {
		return err
	}
	if o.Still && o.Once {
		fmt.Fprintln(os.Stderr, "huanxin demo: --still and --once do not go together")
		return errUsage
	}
	if o.Data == "" && !o.Once {
		o.Data = "demo-data"
	}
	return sandbox.Run(ctx, o)
}
