package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/server"
)

func agentCommand(ctx context.Context, args []string) error {
	verbs := []command{
		{"run", "take tasks, decide, act and answer until it is stopped", agentRun},
		{"check", "say in plain words what is wrong with the configuration, the hub, the clock, the statements", agentCheck},
		{"restore", "restore what was unbound, as far as rule 15 lets it", agentRestore},
		{"review", "list what waits for a person (list), or say what was found (decide)", agentReview},
	}
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "-h" && args[0] != "--help" {
		return agentRun(ctx, args) // huanxin agent --config FILE runs
	}
	return sub(ctx, "agent", args, verbs)
}

func agentConfig(f *flag.FlagSet) (file *string) {
	return f.String("config", "agent.yaml", "`file` of the agent's configuration (YAML)")
}

// beside does something with an agent that is opened beside one that may run.
func beside(file string, do func(*agent.Agent) error) error {
	cfg, err := agent.LoadConfig(file)
	if err != nil {
		return err
	}
	a, err := agent.OpenBeside(cfg, agent.Options{})
	if err != nil {
		return err
	}
	return errors.Join(do(a), a.Close())
}

func agentRun(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("agent run", flag.ContinueOnError)
	file := agentConfig(f)
	dry := f.Bool("dry-run", false, "list what would happen to the tasks that are open now, and why, and do nothing")
	if _, err := parse(f, args, 0, "agent run [--config FILE] [--dry-run]"); err != nil {
		return err
	}
	if *dry {
		return beside(*file, func(a *agent.Agent) error { return agentDryRun(ctx, a) })
	}
	cfg, err := agent.LoadConfig(*file)
	if err != nil {
		return err
	}
	out := server.Gather(os.Stderr)
	defer func() { _ = out.Close() }()
	log, err := server.NewLog(out, cfg.Log)
	if err != nil {
		return err
	}
	a, err := agent.Open(cfg, agent.Options{Log: log})
	if err != nil {
		return err
	}
	for _, i := range a.Examine(ctx).Items { // what is wrong now may be mended while it runs, and may be a database that comes later
		switch i.Grade {
		case agent.Wrong:
			log.Error("something must be mended", "what", i.What, "finding", i.En)
		case agent.Looks:
			log.Warn("something may be wrong", "what", i.What, "finding", i.En)
		}
	}
	log.Info("the agent runs", "app", cfg.Hub.ClientID, "hub", cfg.Hub.URL, "page", cfg.Page)
	return errors.Join(a.Run(ctx), a.Close())
}

func agentDryRun(ctx context.Context, a *agent.Agent) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TASK\tKIND\tBINDING\tACCOUNT\tOUTCOME\tREASON\tROW\tTENURE SINCE\tBOUND\tLAST PROOF\tHELD")
	err := a.DryRun(ctx, func(d agent.Would) error {
		held := ""
		if d.HighValue && d.Outcome == huanxin.Unbound.String() {
			held = "24h"
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", d.Task, d.Kind, d.Binding, d.Account, d.Outcome+d.Problem, d.Reason, d.Row,
			d.TenureStart.Format(time.RFC3339), d.FirstBound, d.LastProof, held)
		return err
	})
	return errors.Join(err, w.Flush())
}

func agentCheck(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("agent check", flag.ContinueOnError)
	file := agentConfig(f)
	lang := f.String("lang", "", "zh or en; default: by $LC_ALL, $LC_MESSAGES, $LANG")
	if _, err := parse(f, args, 0, "agent check [--lang zh|en] [--config FILE]"); err != nil {
		return err
	}
	zh := chinese()
	switch *lang {
	case "":
	case "zh", "en":
		zh = *lang == "zh"
	default:
		return huanxin.BadField("lang", "malformed", "is zh or en")
	}
	r := agent.CheckFile(ctx, *file, agent.Options{})
	if err := r.WriteIn(os.Stdout, zh); err != nil {
		return err
	}
	if !r.OK() {
		return errors.New(sayIn(zh, "有必须改正的地方", "something must be mended"))
	}
	return nil
}

func agentRestore(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("agent restore", flag.ContinueOnError)
	file := agentConfig(f)
	token := f.String("token", "", "restore token of one binding, in place of a task")
	owner := f.Bool("owner-verified", false, "the present holder, freshly verified, owns the account (rule 15)")
	words := 1
	for _, a := range args {
		if name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "="); name == "token" && a[0] == '-' {
			words = 0
		}
	}
	got, err := parse(f, args, words, "agent restore TASK|--token TOKEN [--owner-verified] [--config FILE]")
	if err != nil {
		return err
	}
	o := agent.RestoreOrder{Token: *token, OwnerVerified: *owner, By: whoAmI()}
	if words == 1 {
		o.Task = got[0]
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return beside(*file, func(a *agent.Agent) error {
		said, err := a.Order(ctx, o)
		for _, s := range said {
			fmt.Printf("%s %s: %s\n", s.Task, s.Binding, s.Said)
			if s.Failed() && err == nil {
				err = errors.New("not everything was restored")
			}
		}
		return err
	})
}

// whoAmI names the person at the terminal, for the agent's record.
func whoAmI() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

func agentReview(ctx context.Context, args []string) error {
	return sub(ctx, "agent review", args, []command{
		{"list", "list the bindings that wait for a person or the holder", agentReviewList},
		{"decide", "say what was found out about one", agentReviewDecide},
	})
}

func agentReviewList(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("agent review list", flag.ContinueOnError)
	file := agentConfig(f)
	asJSON := f.Bool("json", false, "one JSON object a line")
	if _, err := parse(f, args, 0, "agent review list [--json] [--config FILE]"); err != nil {
		return err
	}
	var all []agent.InReview
	if err := beside(*file, func(a *agent.Agent) (err error) {
		all, err = a.Reviews(ctx)
		return err
	}); err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		for _, r := range all {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	return writeReviews(os.Stdout, all)
}

func writeReviews(out io.Writer, all []agent.InReview) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TASK\tBINDING\tACCOUNT\tOUTCOME\tREASON\tTENURE SINCE\tBOUND\tLAST PROOF\tSAME PERSON\tDUE")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Task, r.Binding, r.Account, r.Outcome, r.Reason, r.TenureStart.Format(time.RFC3339),
			r.FirstBound, r.LastProof, r.SamePerson, r.Due.Format(time.RFC3339))
	}
	return w.Flush()
}

func agentReviewDecide(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("agent review decide", flag.ContinueOnError)
	file := agentConfig(f)
	outcome := f.String("outcome", "", "unbound or kept; what was bound in the present tenure is kept whatever is said here")
	reason := f.String("reason", "", "one of the outcome's reasons, such as removed, same_person, legal_hold, not_in_scope")
	bound := f.String("bound-at", "", "when the number was first bound, as far as was found out: a date, or a time with an offset")
	same := f.String("same-person", "", "yes or no: is the account's owner the present holder?")
	words, err := parse(f, args, 2, "agent review decide TASK BINDING --outcome unbound|kept --reason REASON [flags]")
	if err != nil {
		return err
	}
	found := agent.Finding{By: whoAmI(), At: time.Now()}
	if found.Outcome, err = huanxin.ParseOutcome(*outcome); err != nil {
		return err
	}
	if found.Reason, err = huanxin.ParseReason(*reason); err != nil {
		return err
	}
	if found.FirstBound, err = agent.ParseWhen(*bound, huanxin.China); err != nil {
		return err
	}
	switch *same {
	case "":
	case "yes":
		found.SamePerson = huanxin.Yes
	case "no":
		found.SamePerson = huanxin.No
	default:
		return huanxin.BadField("same-person", "malformed", "is yes or no")
	}
	return beside(*file, func(a *agent.Agent) error { return a.Review(ctx, words[0], words[1], found) })
}
