// Command huanxin is the hub of a service that refreshes recycled phone numbers, and everything that goes with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/resume"
)

// The exit codes that scripts rely on (API.md).
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitBadLines = 3
)

// command is one word after huanxin.
type command struct {
	name  string
	short string
	run   func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "run the hub", serve},
		{"demo", "run a whole world to look at: the hub, four carriers, 239 apps, people", demo},
		{"import-history", "load the present tenures that a carrier knows", importHistory},
		{"check", "ask whether the holder of one number has changed since a time", check},
		{"match", "reconcile an account base: which numbers changed hands since they were bound", reconcile},
		{"guard", "decide beside a company's programs whether an SMS code alone may open an account", guardCommand},
		{"party", "add, list or disable carriers, apps and regulators", party},
		{"case", "list complaints of holders and reports of former holders", caseCommand},
		{"client", "add the programs of a party, or rotate their credentials", client},
		{"key", "rotate the hub's signing key", key},
		{"stream", "list, pause or enable the event streams of apps", stream},
		{"replica", "an app's local copy of the number index: upload numbers, pull, verify", replicaCommand},
		{"agent", "run beside an app's accounts: take tasks, find bindings, decide, act, answer", agentCommand},
		{"conformance", "play the hub against a company's agent or own receiver, and say what to mend", conform},
		{"version", "say which version this is", version},
	}
}

// errUsage is a wrong use of a command, already explained.
var errUsage = errors.New("usage")

// errBadLines is work that is done but for bad lines, which are listed already.
var errBadLines = errors.New("bad lines")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second signal ends at once
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		usage(os.Stderr)
		return exitUsage
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(os.Stdout)
		return exitDone
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		switch err := c.run(ctx, args[1:]); {
		case err == nil:
			return exitDone
		case errors.Is(err, flag.ErrHelp):
			return exitDone
		case errors.Is(err, errUsage):
			return exitUsage
		case errors.Is(err, errBadLines):
			return exitBadLines
		default:
			fmt.Fprintln(os.Stderr, "huanxin "+c.name+":", explain(err))
			if _, ours := errors.AsType[*huanxin.Error](err); ours && huanxin.KindOf(err) == huanxin.Invalid {
				return exitUsage // what was given is not of the form that is asked for
			}
			if _, wrong := errors.AsType[*resume.UseError](err); wrong {
				return exitUsage // files that cannot be what they were named for
			}
			return exitFailed
		}
	}
	fmt.Fprintf(os.Stderr, "huanxin: there is no command %q\n\n", args[0])
	usage(os.Stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "huanxin 焕新: refreshes recycled phone numbers\n\nusage: huanxin COMMAND [flags]   (huanxin COMMAND -h for its flags)")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.name, c.short)
	}
}

// parse reads flags, and the words before, between and after them, of which there must be at least want.
func parse(f *flag.FlagSet, args []string, want int, form string) ([]string, error) {
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: huanxin %s\n\n", form)
		f.PrintDefaults()
	}
	var words []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	if len(words) != want {
		f.Usage()
		return nil, errUsage
	}
	return words, nil
}

func version(_ context.Context, args []string) error {
	if _, err := parse(flag.NewFlagSet("version", flag.ContinueOnError), args, 0, "version"); err != nil {
		return err
	}
	v, rev := "devel", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		v = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = " " + s.Value
			}
		}
		fmt.Printf("huanxin %s%s %s\n", v, rev, info.GoVersion)
		return nil
	}
	fmt.Println("huanxin", v)
	return nil
}
