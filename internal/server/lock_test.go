package server_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/server"
)

func TestASecondHubOnOneDataDirectoryIsRefused(t *testing.T) {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data = "127.0.0.1:0", t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	first, err := server.Open(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := server.Open(t.Context(), cfg, log); err == nil || !strings.Contains(err.Error(), "another hub is running") {
		t.Errorf("the second opens: %v, %v", second, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := server.Open(t.Context(), cfg, log)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
