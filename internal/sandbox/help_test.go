package sandbox

import (
	"testing"

	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

func openApps(t *testing.T, dir string, specs ...catalogue.App) map[string]*appsim.App {
	t.Helper()
	out := map[string]*appsim.App{}
	for _, s := range specs {
		a, err := appsim.Open(dir, s, appsim.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out[s.ID] = a
	}
	return out
}
