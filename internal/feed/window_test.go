package feed_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/feed"
)

func TestAWindowOpensSlowlyAndClosesAtOnce(t *testing.T) {
	w := feed.NewWindow()
	for range 49 {
		w.Success()
	}
	if w.Size() != 2 {
		t.Errorf("after 49 successes %d", w.Size())
	}
	if w.Success(); w.Size() != 3 {
		t.Errorf("after 50 successes %d", w.Size())
	}
	for range 10_000 {
		w.Success()
	}
	if w.Size() != 32 {
		t.Errorf("at most %d", w.Size())
	}
	for _, want := range []int{16, 8, 4, 2, 1, 1} {
		if w.Trouble(); w.Size() != want {
			t.Errorf("after trouble %d, not %d", w.Size(), want)
		}
	}
}

func TestOneHostGetsOnlySoManyPushesAtOnce(t *testing.T) {
	var h feed.Hosts
	var leave []func()
	for range feed.PerHost {
		l, err := feed.EnterHost(t.Context(), &h, "https://a.example/x?y")
		must(t, err)
		leave = append(leave, l)
	}
	full, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := feed.EnterHost(full, &h, "https://a.example/other"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("one more enters:", err)
	}
	if _, err := feed.EnterHost(t.Context(), &h, "https://a.example:8443/"); err != nil {
		t.Error("another port is full:", err)
	}
	leave[0]()
	if _, err := feed.EnterHost(t.Context(), &h, "https://a.example/"); err != nil {
		t.Error("there is no place where one was left:", err)
	}
}
