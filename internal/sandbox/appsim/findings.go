package appsim

import (
	"context"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Finding is a rule of DOMAIN.md §7 that was broken, as this app's own database shows.
type Finding struct {
	Rule    int
	Task    string // "" where none is to blame
	Account string
	What    string
}

// Findings checks rules 1, 2 and 8, that what was answered is what was done, and that acting was soft. None is good.
func (a *App) Findings(ctx context.Context) ([]Finding, error) { return nil, nil }

// Rows counts by row of the decision table, 1 to 7, what was decided first of each binding for each task.
func (a *App) Rows(ctx context.Context) (map[int]int, error) { return nil, nil }

// Worked is what became of one task here.
type Worked struct {
	Task    string
	Kind    string
	Tenure  string
	Number  huanxin.Number
	Start   time.Time // the tenure's start, as the task said
	Origin  string
	Phase   string // waiting, standing, done, closed
	SeenAt  time.Time
	SentAt  time.Time // when the hub took the last answer; zero: not yet
	Outcome string    // of the last answer that was decided; "" none
	Reason  string
	Refused string // the hub's code, where it refused the last answer
	Rows    []int  // of the decision table, one a binding
	Unbound int    // bindings, or marks removed
	Ended   int    // sessions
	Told    int    // notices to former holders
	Tokens  int    // restore tokens that were made
}

// Worked tells of every task that the app has seen, in the order in which it saw them.
func (a *App) Worked(ctx context.Context) ([]Worked, error) { return nil, nil }

// Removal is one binding that was unbound, with the truth about it, so that the world can check rule 1 by the true start.
type Removal struct {
	Task      string
	Account   string
	Owner     string
	Number    huanxin.Number
	TrueBound time.Time // zero: nobody knows
	Start     time.Time
	Origin    string
	At        time.Time
	Restored  bool
}

// Removals lists every binding that was ever unbound.
func (a *App) Removals(ctx context.Context) ([]Removal, error) { return nil, nil }

// Sent counts what the app of nonsense sent that must be refused, and what of it was taken all the same.
func (a *App) Sent(ctx context.Context) (sent, taken int, err error) { return 0, 0, nil }

// Opens reports whether a code to the number still opens an account here: the question of the login page.
func (a *App) Opens(ctx context.Context, n huanxin.Number) (accounts []string, err error) { return nil, nil }
