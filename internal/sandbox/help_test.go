package sandbox

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func openApps(t *testing.T, dir string, specs ...catalogue.App) map[string]*appsim.App {
	t.Helper()
	out := map[string]*appsim.App{}
	for _, s := range specs {
		a, err := appsim.Open(dir, s, time.Second, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		out[s.ID] = a
	}
	return out
}
