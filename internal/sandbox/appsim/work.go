package appsim

import (
	"context"

	"github.com/huanxin-platform/huanxin/client"
)

// Work polls the hub and works the app's tasks by its behaviour until ctx is done. Nothing that the hub does ends it: it waits
// and goes on. What it decided and did is in the database before the hub is told, so a crash repeats an answer, never an act.
func (a *App) Work(ctx context.Context, hub *client.Client, pace Pace) {}
