package agent

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// Would is what an agent would do with one binding, and why. A task without bindings has one without a binding.
type Would struct {
	Task, Kind, Binding, Account string
	Outcome, Reason              string
	Row                          int // of the table of DOMAIN.md §6; 0: none
	TenureStart                  time.Time
	FirstBound, LastProof        string
	HighValue                    bool
	Problem                      string
}

// DryRun lists what would happen to the tasks that are open now, without writing anything, here or in the company's database, and
// without answering. The hub counts a task that is listed as delivered.
func (a *Agent) DryRun(ctx context.Context, tell func(Would) error) error {
	if err := a.askSelf(ctx); err != nil {
		return err
	}
	_, err := a.pages(ctx, func(page []client.Task) error { return a.dryBatch(ctx, page, tell) })
	return err
}

func (a *Agent) dryBatch(ctx context.Context, page []client.Task, tell func(Would) error) error {
	var wants []*want
	for _, t := range page {
		in, err := a.incoming(t, "")
		if err != nil {
			return err
		}
		in.kind, _ = huanxin.ParseTaskKind(in.kindWord)
		wants = append(wants, &in.want)
	}
	for i, f := range a.conn.find(ctx, wants) {
		w := wants[i]
		one := Would{Task: w.task, Kind: page[i].Kind, TenureStart: w.started}
		switch {
		case !a.works(w.kind):
			one.Outcome, one.Reason = huanxin.Kept.String(), huanxin.NotInScope.String()
		case f.err != nil:
			t := task{want: *w}
			t.failed(f.err)
			one.Problem = t.problem
		case len(f.facts) == 0:
			one.Outcome, one.Reason = huanxin.NotBound.String(), huanxin.NoneFound.String()
		default:
			for _, b := range f.facts {
				d := w.decide(&b, nil)
				one.Binding, one.Account, one.Outcome, one.Reason, one.Row = b.ID, b.Account, word(d.Outcome), word(d.Reason), d.row
				one.FirstBound, one.LastProof, one.HighValue = b.FirstBound.String(), b.LastProof.String(), a.highValue(b.Class)
				if err := tell(one); err != nil {
					return err
				}
			}
			continue
		}
		if err := tell(one); err != nil {
			return err
		}
	}
	return nil
}

// OpenBeside opens an agent for what can be done beside one that runs: DryRun, Reviews, Review and Order.
func OpenBeside(cfg Config, o Options) (*Agent, error) {
	if err := cfg.check(&o); err != nil {
		return nil, err
	}
	return prepare(cfg, o)
}

// Order has what was unbound restored, as far as rule 15 lets it, by the agent that runs on this state, or by this one if none does.
func (a *Agent) Order(ctx context.Context, o RestoreOrder) ([]Restored, error) {
	if err := a.state.lock.take(ctx); err != nil {
		return a.state.order(ctx, o, a.now())
	}
	if err := a.askSelf(ctx); err != nil {
		return nil, err
	}
	return a.Restore(ctx, o)
}
