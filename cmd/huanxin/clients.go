package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func client(ctx context.Context, args []string) error {
	return sub(ctx, "client", args, []command{
		{"add", "add a client to a party, with a secret or a public key set", clientAdd},
		{"feed", "say which numbers a client's event streams hear of, and how its events are signed", clientFeed},
		{"keygen", "make a key pair for a client, which needs no hub", clientKeygen},
		{"limit", "change how many checks a client's contract allows", clientLimit},
		{"list", "list all clients: scopes, how they authenticate, limits", clientList},
		{"rotate", "give a client a new secret or key set; the old one stops", clientRotate},
	})
}

func clientAdd(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("client add", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	in := core.NewClient{}
	f.StringVar(&in.Party, "party", "", "the party it belongs to")
	scopes := f.String("scopes", "", "what it may ask tokens for, separated by commas; empty: all that its party may have")
	jwks := f.String("jwks", "", "`file` with its public keys (JSON Web Key Set), for private_key_jwt")
	f.BoolVar(&in.Secret, "secret", false, "make a secret instead, shown this once")
	words, err := parse(f, args, 1, "client add ID --party PARTY (--jwks FILE | --secret) [--scopes LIST]")
	if err != nil {
		return err
	}
	in.ID = words[0]
	in.Scopes = huanxin.ParseScopes(strings.Join(split(*scopes), " "))
	if in.JWKS, err = readKeys(*jwks); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		secret, err := hub.AddClient(ctx, core.Operator(), in)
		return showSecret(secret, err)
	})
}

func clientRotate(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("client rotate", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	jwks := f.String("jwks", "", "`file` with its new public keys; without it a new secret is made")
	words, err := parse(f, args, 1, "client rotate ID [--jwks FILE]")
	if err != nil {
		return err
	}
	set, err := readKeys(*jwks)
	if err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		secret, err := hub.RotateClient(ctx, core.Operator(), words[0], set)
		return showSecret(secret, err)
	})
}

func clientLimit(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("client limit", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	perSecond := f.Int64("checks-per-second", 0, "checks a second in the long run; 0: the hub's default, -1: no limit. Not given: stays what it is")
	perDay := f.Int64("checks-per-day", 0, "checks a day; 0: the hub's default, -1: no limit. Not given: stays what it is")
	words, err := parse(f, args, 1, "client limit ID [--checks-per-second N] [--checks-per-day N]")
	if err != nil {
		return err
	}
	var limits core.Limits
	f.Visit(func(given *flag.Flag) {
		switch given.Name {
		case "checks-per-second":
			limits.PerSecond = perSecond
		case "checks-per-day":
			limits.PerDay = perDay
		}
	})
	if limits == (core.Limits{}) {
		return usageError("client limit: give --checks-per-second N, --checks-per-day N, or both")
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		c, err := hub.LimitClient(ctx, core.Operator(), words[0], limits)
		if err == nil {
			fmt.Printf("%s: checks a second: %s, checks a day: %s\n", c.ID, limit(c.ChecksPerSecond), limit(c.ChecksPerDay))
		}
		return err
	})
}

// limit writes a limit of checks.
func limit(n int64) string {
	switch {
	case n == 0:
		return "default"
	case n < 0:
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func clientList(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("client list", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	if _, err := parse(f, args, 0, "client list"); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error { return listClients(os.Stdout, hub.Clients()) })
}

func listClients(w io.Writer, clients []*huanxin.Client) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPARTY\tSTATE\tBY\tCHECKS/S\tCHECKS/DAY\tFEED\tSCOPES")
	for _, c := range clients {
		state, by := "active", "key"
		switch {
		case c.Disabled:
			state = "disabled"
		case c.Party.Disabled:
			state = "party disabled"
		}
		if len(c.SecretHash) > 0 {
			by = "secret"
		}
		perSecond, perDay := "", ""
		if c.Scopes.Has(huanxin.ScopeNumbersCheck) || c.Scopes.Has(huanxin.ScopeNumberRecycling) {
			perSecond, perDay = limit(c.ChecksPerSecond), limit(c.ChecksPerDay)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.Party.ID, state, by, perSecond, perDay, feedOf(c), c.Scopes)
	}
	return t.Flush()
}

// feedOf writes what is agreed about a client's event streams.
func feedOf(c *huanxin.Client) string {
	if !c.Scopes.Has(huanxin.ScopeSSFManage) {
		return ""
	}
	alg := c.FeedAlg
	if alg == "" {
		alg = "ES256"
	}
	if c.FeedNarrow {
		alg += ",added"
	}
	return alg
}

func readKeys(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	return os.ReadFile(path)
}

func showSecret(secret string, err error) error {
	if err == nil && secret != "" {
		fmt.Println(secret)
	}
	return err
}
