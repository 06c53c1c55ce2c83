// Command bench measures the main path through HTTP, on SQLite and on PostgreSQL, and prints what it saw beside what the
// machine does without us: it syncs, inserts bare rows, and answers bare requests.
//
// The hub is the one that `huanxin serve` runs, with all its loops, on a listener of its own. The load comes from
// the same process over real connections; it builds and reads JSON by hand, so that most of the time goes to the hub.
//
//	go run ./bench                     everything, some minutes
//	go run ./bench -short              seconds each: that it runs, not how fast
//	go run ./bench -engine sqlite -only tasks -profile cpu.out
//	go run ./bench -only checks        what is asked of memory, beside Redis and PostgreSQL
//	go run ./bench -only guard         the login guard with a local replica
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
)

// options say what is measured.
type options struct {
	short   bool
	engine  string // sqlite, postgres or all
	only    string // parts, comma-separated, or all
	profile string
	repeat  int
	tasks   int   // in one round, a multiple of appCount
	events  int   // in one round
	history int   // lines in one round
	fill    int   // tasks that lie in the table before the round "full"
	numbers int64 // in the index of checks
	rows    int   // that are matched
	agent   int   // tasks of a round of the agent
	feed    int   // events that every receiver of the feed is told of
}

func main() {
	var o options
	flag.BoolVar(&o.short, "short", false, "few rows: to see that it runs")
	flag.StringVar(&o.engine, "engine", "all", "sqlite, postgres or all")
	flag.StringVar(&o.only, "only", "all", "some of tasks, events, history, streams (of checks), camara, feed, full (PostgreSQL with -fill tasks in the table), "+
		"index, redis, match, follow, checks (the last four), guard, agent or all, comma-separated")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of this process to `FILE`")
	flag.IntVar(&o.repeat, "repeat", 5, "how often each is measured")
	flag.IntVar(&o.tasks, "tasks", 128_000, "tasks a round")
	flag.IntVar(&o.events, "events", 400_000, "number events a round")
	flag.IntVar(&o.history, "history", 1_000_000, "lines of history a round")
	flag.IntVar(&o.fill, "fill", 2_000_000, "tasks in the table before full")
	flag.Int64Var(&o.numbers, "numbers", 1_000_000_000, "numbers in the index of checks; 10^9 take 7 GB of memory and 2 GB on disk")
	flag.IntVar(&o.rows, "rows", 10_000_000, "rows that are matched, and bindings in the agent's database")
	flag.IntVar(&o.agent, "agent", 60_000, "tasks a round of the agent")
	flag.IntVar(&o.feed, "feed", 10_000, "events that 239 receivers are told of")
	flag.Parse()
	if addr := os.Getenv(waiterEnv); addr != "" {
		if err := wait(addr, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer, args string) (err error) {
	if o.short {
		o.repeat, o.tasks, o.events, o.history, o.fill = 1, 20*appCount, 4_000, 4_000, 100*appCount
		o.numbers, o.rows, o.feed, o.agent = 50_000, 20_000, 200, 2_000
	}
	if err := o.known(); err != nil {
		return err
	}
	o.tasks -= o.tasks % appCount
	o.fill -= o.fill % appCount
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	fmt.Fprintf(out, "go run ./bench %s\n%s\n", args, hardware())
	if o.engine == "all" || o.only != "all" { // no part of an engine
		if err := checks(ctx, o, out); err != nil {
			return fmt.Errorf("checks: %w", err)
		}
	}
	if (o.engine == "all" || o.engine == "postgres") && o.wants("agent") {
		if err := agents(ctx, o, out); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if o.wants("guard") && (o.engine == "all" || o.only != "all") {
		if err := guarded(ctx, o, out); err != nil {
			return fmt.Errorf("guard: %w", err)
		}
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		if !o.wantsEngine() || o.engine != "all" && o.engine != engine {
			continue
		}
		if err := onEngine(ctx, o, engine, out); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	return nil
}

// wants reports whether a part is to be measured.
func (o options) wants(what string) bool {
	if o.only == "all" {
		return true
	}
	parts := strings.Split(o.only, ",")
	return slices.Contains(parts, what) || slices.Contains(checkParts, what) && slices.Contains(parts, "checks")
}

// checkParts are the parts that need no hub.
var checkParts = []string{"index", "redis", "match", "follow"}

var engineParts = []string{"tasks", "events", "history", "streams", "camara", "feed", "full"}

func (o options) wantsEngine() bool { return slices.ContainsFunc(engineParts, o.wants) }

// known refuses parts that there are not.
func (o options) known() error {
	for part := range strings.SplitSeq(o.only, ",") {
		if part != "all" && part != "checks" && part != "guard" && part != "agent" && !slices.Contains(checkParts, part) && !slices.Contains(engineParts, part) {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	return nil
}

// onEngine measures everything on one engine.
func onEngine(ctx context.Context, o options, engine string, out io.Writer) (err error) {
	w, err := newWorld(ctx, engine, o.short)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	fmt.Fprintf(out, "\n%s\n", w.about)
	if err := w.yardsticks(ctx, o, out); err != nil {
		return err
	}
	if o.wants("events") {
		if err := w.rounds(ctx, o, out, "number events", w.eventRound); err != nil {
			return err
		}
	}
	if o.wants("history") {
		if err := w.rounds(ctx, o, out, "history", w.historyRound); err != nil {
			return err
		}
	}
	if o.wants("tasks") {
		if err := w.rounds(ctx, o, out, "tasks, one step after the other", w.taskRound); err != nil {
			return err
		}
		if err := w.rounds(ctx, o, out, "tasks, all at once", w.mixedRound); err != nil {
			return err
		}
	}
	if o.wants("streams") {
		if err := w.streams(ctx, o, out); err != nil {
			return fmt.Errorf("streams: %w", err)
		}
	}
	if o.wants("camara") {
		if err := w.camara(ctx, o, out); err != nil {
			return fmt.Errorf("camara: %w", err)
		}
	}
	if o.wants("feed") {
		if err := w.feed(ctx, o, out); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
	}
	if engine == "postgres" && o.wants("full") {
		return w.full(ctx, o, out)
	}
	return nil
}

// full measures tasks in a table that holds many already, before and after ANALYZE.
func (w *world) full(ctx context.Context, o options, out io.Writer) error {
	if err := w.fill(ctx, o.fill); err != nil {
		return err
	}
	for _, analysed := range []bool{false, true} {
		what := fmt.Sprintf("tasks, with %d in the table, never analysed", o.fill)
		if analysed {
			if err := w.sql(ctx, "ANALYZE"); err != nil {
				return err
			}
			what = fmt.Sprintf("tasks, with %d in the table, analysed", o.fill)
		}
		if err := w.rounds(ctx, o, out, what, w.taskRound); err != nil {
			return err
		}
	}
	return nil
}

// rounds repeats a measurement and prints the best and the median of every phase.
func (w *world) rounds(ctx context.Context, o options, out io.Writer, what string, round func(context.Context, options) ([]phase, error)) error {
	var all [][]phase
	for range o.repeat {
		phases, err := round(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, phases)
	}
	fmt.Fprintf(out, "  %s\n", what)
	for i, p := range all[0] {
		var rates, hub, db, others []float64
		for _, r := range all {
			rates, hub, db = append(rates, r[i].rate()), append(hub, r[i].cpu.process/float64(r[i].n)*1e6), append(db, r[i].cpu.database/float64(r[i].n)*1e6)
			others = append(others, r[i].others())
		}
		fmt.Fprintf(out, "    %-22s best %8.0f/s   median %8.0f/s   CPU µs each: %5.1f hub and load", p.name, slices.Max(rates), median(rates), median(hub))
		if w.cluster != nil {
			fmt.Fprintf(out, ", %5.1f PostgreSQL", median(db))
		}
		fmt.Fprintf(out, "; others took %.0f %% of the machine\n", median(others))
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
