package appsim

import (
	"context"

	"github.com/huanxin-platform/huanxin"
)

// Restore undoes, within the restore time, what was unbound for a task, as far as rule 15 lets it, and says how many
// bindings. The caller says why, and who holds the number now; BoundElsewhere and Binding are filled in here.
func (a *App) Restore(ctx context.Context, task string, why huanxin.Restoration) (int, error) { return 0, nil }
