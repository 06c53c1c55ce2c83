package core_test

import (
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

func TestALimitThatIsNotGivenStays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		ctx, operator := t.Context(), core.Operator()
		_, err := w.AddClient(ctx, operator, core.NewClient{ID: "chat-1", Party: "chat", Secret: true})
		must(t, err)
		set := func(l core.Limits, perSecond, perDay int64) {
			t.Helper()
			c, err := w.LimitClient(ctx, operator, "chat-1", l)
			if err != nil || c.ChecksPerSecond != perSecond || c.ChecksPerDay != perDay || c.Party.ID != "chat" || len(c.SecretHash) == 0 {
				t.Errorf("%v, %v", c, err)
			}
		}
		refused := func(id string, kind huanxin.ErrorKind, l core.Limits) {
			t.Helper()
			if c, err := w.LimitClient(ctx, operator, id, l); huanxin.KindOf(err) != kind || err == nil || c != nil {
				t.Errorf("%v, %v", c, err)
			}
		}
		set(core.Limits{PerDay: new(int64(5))}, 0, 5)
		set(core.Limits{PerSecond: new(int64(7))}, 7, 5)
		set(core.Limits{PerSecond: new(int64(-1)), PerDay: new(int64(0))}, -1, 0)
		refused("chat-1", huanxin.Invalid, core.Limits{})
		refused("chat-1", huanxin.Invalid, core.Limits{PerSecond: new(int64(3)), PerDay: new(int64(-2))})
		refused("nobody", huanxin.NotFound, core.Limits{PerDay: new(int64(1))})
		set(core.Limits{PerDay: new(int64(9))}, -1, 9)
		if all := w.Clients(); len(all) != 1 || all[0].ID != "chat-1" || all[0].ChecksPerDay != 9 {
			t.Error(all)
		}
	})
}
