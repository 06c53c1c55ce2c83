package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// partyFeed changes what an app's contract grants it of the event feed.
func partyFeed(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("party feed", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	start := f.String("start", "", "yes or no: whether identifier-recycled tells the app when the tenure began")
	words, err := parse(f, args, 1, "party feed ID --start=yes|no")
	if err != nil {
		return err
	}
	if *start != "yes" && *start != "no" {
		return usageError("party feed: give --start=yes or --start=no")
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		return hub.GrantFeedStart(ctx, core.Operator(), words[0], *start == "yes")
	})
}

// clientFeed changes how a client is told of events.
func clientFeed(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("client feed", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	subjects := f.String("subjects", "", "none: its streams hear only of numbers that they add; default: the hub's default_subjects. Not given: stays what it is")
	alg := f.String("alg", "", "ES256, EdDSA or RS256: by which algorithm its SETs are signed. Not given: stays what it is")
	words, err := parse(f, args, 1, "client feed ID [--subjects none|default] [--alg ES256|EdDSA|RS256]")
	if err != nil {
		return err
	}
	switch {
	case *subjects == "" && *alg == "":
		return usageError("client feed: give --subjects none|default, --alg ES256|EdDSA|RS256, or both")
	case *subjects != "" && *subjects != "none" && *subjects != "default":
		return usageError("client feed: --subjects is none or default")
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		if *alg != "" {
			if err := hub.SignFeedBy(ctx, core.Operator(), words[0], *alg); err != nil {
				return err
			}
		}
		if *subjects == "" {
			return nil
		}
		_, err := hub.NarrowFeed(ctx, core.Operator(), words[0], *subjects == "none")
		return err
	})
}

func stream(ctx context.Context, args []string) error {
	return sub(ctx, "stream", args, []command{
		{"enable", "let a stream transmit again", func(ctx context.Context, args []string) error {
			return streamSet(ctx, args, "enable", (*core.Hub).EnableStream)
		}},
		{"list", "list all event streams: of which client, how they are delivered, their status", streamList},
		{"pause", "hold what a stream would transmit; its receiver is told", func(ctx context.Context, args []string) error {
			return streamSet(ctx, args, "pause", (*core.Hub).PauseStream)
		}},
		{"replay", "tell a stream something once more: dead letters, or all since a time", streamReplay},
	})
}

func streamSet(ctx context.Context, args []string, verb string, set func(*core.Hub, context.Context, huanxin.Caller, string, string) error) error {
	f := flag.NewFlagSet("stream "+verb, flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	reason := f.String("reason", "", "why; the receiver is told")
	words, err := parse(f, args, 1, "stream "+verb+" ID [--reason TEXT]")
	if err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error { return set(hub, ctx, core.Operator(), words[0], *reason) })
}

func streamList(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("stream list", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	dead := f.Bool("dead", false, "list what receivers refused, or could not be brought for 72 hours, instead")
	if _, err := parse(f, args, 0, "stream list [--dead]"); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		if *dead {
			return listDead(ctx, hub, os.Stdout)
		}
		streams, err := hub.AllStreams(ctx, core.Operator())
		if err != nil {
			return err
		}
		return listStreams(os.Stdout, streams)
	})
}

func listStreams(w io.Writer, streams []core.OperatorStream) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPARTY\tCLIENT\tBY\tSTATUS\tSUBJECTS\tHEARD OF\tREASON")
	for _, s := range streams {
		by := "poll"
		if s.Endpoint != "" {
			by = "push"
		}
		reason := plain(s.Reason)
		if s.ByHub {
			reason = strings.TrimSpace("(hub) " + reason)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.ID, s.Party, s.Client, by, s.Status, s.Subjects, s.ActiveAt.Format(time.RFC3339), reason)
	}
	return t.Flush()
}

// plain keeps what a receiver wrote from taking a terminal for its own.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 || r >= 0x2028 && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}
