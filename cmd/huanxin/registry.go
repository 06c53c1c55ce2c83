package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// withHub runs f on the data of a hub that is there. One that is serving takes over what changed within 5 seconds.
func withHub(ctx context.Context, flags *configFlags, f func(hub *core.Hub) error) error {
	return onHub(ctx, flags, server.OpenHubThere, f)
}

func onHub(ctx context.Context, flags *configFlags, open func(context.Context, server.Config, *slog.Logger) (*core.Hub, func() error, error), f func(hub *core.Hub) error) error {
	cfg, err := flags.load()
	if err != nil {
		return err
	}
	hub, closeHub, err := open(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if errors.Is(err, server.ErrNoHub) {
		return fmt.Errorf(say("%w:%s。用 --data 或 --config 指明枢纽的数据目录;huanxin serve 或 huanxin party add 会新建枢纽",
			"%w; --data or --config says where the hub's data are, in place of %s. huanxin serve and huanxin party add make a hub"), err, cfg.Data)
	}
	if err != nil {
		return err
	}
	if err := f(hub); err != nil {
		_ = closeHub()
		return err
	}
	return closeHub()
}

// sub runs the second word of a command.
func sub(ctx context.Context, name string, args []string, verbs []command) error {
	var words []string
	for _, v := range verbs {
		if len(args) > 0 && args[0] == v.name {
			return v.run(ctx, args[1:])
		}
		words = append(words, v.name)
	}
	asked := len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help")
	w := io.Writer(os.Stderr)
	if asked {
		w = os.Stdout
	}
	fmt.Fprintf(w, "usage: huanxin %s %s …   (add -h for the flags)\n\n", name, strings.Join(words, "|"))
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-8s %s\n", v.name, v.short)
	}
	if asked {
		return flag.ErrHelp
	}
	return errUsage
}

func party(ctx context.Context, args []string) error {
	return sub(ctx, "party", args, []command{
		{"add", "enter a carrier, an app or a regulator into the registry", partyAdd},
		{"disable", "switch a party off: its tokens stop within 5 seconds", func(ctx context.Context, args []string) error {
			return partySwitch(ctx, args, "disable", (*core.Hub).DisableParty, true)
		}},
		{"enable", "switch it on again", func(ctx context.Context, args []string) error {
			return partySwitch(ctx, args, "enable", (*core.Hub).DisableParty, false)
		}},
		{"hold", "set an app's kill switch: its agent does nothing to accounts", func(ctx context.Context, args []string) error {
			return partySwitch(ctx, args, "hold", (*core.Hub).HoldParty, true)
		}},
		{"release", "release it", func(ctx context.Context, args []string) error {
			return partySwitch(ctx, args, "release", (*core.Hub).HoldParty, false)
		}},
		{"feed", "say what an app's contract grants it of the event feed", partyFeed},
		{"list", "list all parties", partyList},
		{"join", "an app that was only listed takes part from now on", func(ctx context.Context, args []string) error {
			return partySwitch(ctx, args, "join", (*core.Hub).JoinParty, true)
		}},
		{"replica", "say which replica of the number index an app's contract grants", partyReplica},
	})
}

func partyAdd(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("party add", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	kind := f.String("kind", "", "carrier, app, regulator or admin")
	p := huanxin.Party{}
	f.StringVar(&p.NameZh, "name-zh", "", "Chinese name")
	f.StringVar(&p.NameEn, "name-en", "", "English name")
	f.StringVar(&p.Class, "class", "", "an app's class; payment, lending, cloud_storage, mail, messaging and government are of high value")
	kinds := f.String("kinds", "unbind", "an app's kinds of task, separated by commas")
	domains := f.String("domains", "", "an app's registered domains, separated by commas: its links lie on them")
	f.DurationVar(&p.ReleaseDelay, "release-delay", 0, "from the first slot to the first showing of an app's results, if longer than the service's")
	replica := f.String("replica", "none", "which replica of the number index an app's contract grants: none, uploaded (of numbers that it uploaded) or whole")
	f.IntVar(&p.CoolingDays, "cooling-days", huanxin.MinCoolingDays, "how long a carrier freezes a cancelled number")
	f.BoolVar(&p.NotJoined, "not-joined", false, "people see the app listed and can say that they want it; nothing is asked of it yet")
	f.BoolVar(&p.OnePerNumber, "one-per-number", false, "the app lets one number have one account, so that a stale binding blocks registration")
	f.StringVar(&p.Contact.Name, "contact", "", "name of the person in charge")
	f.StringVar(&p.Contact.Email, "contact-email", "", "their e-mail address")
	f.StringVar(&p.Contact.Webhook, "contact-webhook", "", "https URL that is told of every step of the clock")
	words, err := parse(f, args, 1, "party add ID --kind KIND --name-zh NAME --name-en NAME [flags]")
	if err != nil {
		return err
	}
	p.ID = words[0]
	if p.Kind, err = huanxin.ParsePartyKind(*kind); err != nil {
		return err
	}
	if p.Replica, err = huanxin.ParseReplicaGrant(*replica); err != nil {
		return err
	}
	if p.Kind == huanxin.AppParty {
		for _, w := range split(*kinds) {
			k, err := huanxin.ParseTaskKind(w)
			if err != nil {
				return err
			}
			p.Kinds = append(p.Kinds, k)
		}
		p.Domains = split(*domains)
	}
	return onHub(ctx, &flags, server.OpenHub, func(hub *core.Hub) error { // a new hub begins with its parties
		if hub.Party(p.ID) != nil {
			return fmt.Errorf("there is a party %s already", p.ID)
		}
		return hub.PutParty(ctx, core.Operator(), p, false)
	})
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func partyList(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("party list", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	if _, err := parse(f, args, 0, "party list"); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error { return listParties(os.Stdout, hub.Parties()) })
}

func listParties(w io.Writer, parties []*huanxin.Party) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tSTATE\tCLASS\tTASKS\tREPLICA\tFEED\tRELEASE AFTER\tACCOUNTS\tNAME")
	for _, p := range parties {
		state := "active"
		if p.Disabled {
			state = "disabled"
		} else if p.Hold {
			state = "held"
		} else if p.NotJoined {
			state = "not joined"
		}
		var kinds []string
		for _, k := range p.Kinds {
			kinds = append(kinds, k.String())
		}
		delay := ""
		if p.ReleaseDelay > 0 {
			delay = p.ReleaseDelay.Round(time.Second).String()
		}
		replica, feed := "", ""
		if p.Kind == huanxin.AppParty {
			replica = p.Replica.String()
		}
		if p.FeedStart {
			feed = "start"
		}
		accounts := ""
		if p.OnePerNumber {
			accounts = "one per number"
		}
		fmt.Fprintln(t, strings.Join([]string{p.ID, p.Kind.String(), state, p.Class, strings.Join(kinds, ","), replica, feed, delay, accounts, p.NameZh + " / " + p.NameEn}, "\t"))
	}
	return t.Flush()
}

// partySwitch sets one of a party's switches.
func partySwitch(ctx context.Context, args []string, verb string, set func(*core.Hub, context.Context, huanxin.Caller, string, bool) error, on bool) error {
	f := flag.NewFlagSet("party "+verb, flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	words, err := parse(f, args, 1, "party "+verb+" ID")
	if err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		return set(hub, ctx, core.Operator(), words[0], on)
	})
}

func partyReplica(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("party replica", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	words, err := parse(f, args, 2, "party replica ID none|uploaded|whole")
	if err != nil {
		return err
	}
	grant, err := huanxin.ParseReplicaGrant(words[1])
	if err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error {
		return hub.GrantReplica(ctx, core.Operator(), words[0], grant)
	})
}

func key(ctx context.Context, args []string) error {
	return sub(ctx, "key", args, []command{{"rotate", "make a new signing key: published now, used in an hour", keyRotate}})
}

func keyRotate(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("key rotate", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	if _, err := parse(f, args, 0, "key rotate"); err != nil {
		return err
	}
	return withHub(ctx, &flags, func(hub *core.Hub) error { return hub.RotateSigningKey(ctx, core.Operator()) })
}
