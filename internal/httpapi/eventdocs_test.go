package httpapi

import (
	"html"
	"log/slog"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/feed"
)

func TestEveryEventHasItsSchemaAndItsPartOfThePage(t *testing.T) {
	w := &world{}
	f := front(Mux(nil, Config{Log: slog.New(slog.NewTextHandler(&w.log, nil))}), 0)
	page := f.do("GET", "/docs/events")
	text := html.UnescapeString(page.Body.String())
	if page.Code != 200 || page.Header().Get("Content-Type") != "text/html; charset=utf-8" ||
		!strings.Contains(page.Header().Get("Content-Security-Policy"), "default-src 'self'") ||
		strings.Contains(text, "<script") || strings.Contains(text, "style=") || !strings.HasPrefix(text, "<!doctype html>\n<html lang=\"zh-CN\">") {
		t.Errorf("%d %v", page.Code, page.Header())
	}
	for _, s := range feed.Schemas() {
		got := f.do("GET", "/schemas/events/"+s.Name+".json")
		if got.Code != 200 || got.Header().Get("Content-Type") != "application/schema+json" || got.Body.String() != string(s.JSON) || got.Header().Get("ETag") == "" {
			t.Errorf("%s: %d %v", s.Name, got.Code, got.Header())
		}
		for _, want := range []string{`id="` + s.Name + `"`, s.URI, `href="/schemas/events/` + s.Name + `.json"`} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not have %s", want)
			}
		}
	}
	for _, want := range []string{"持号期", "tenure.started_at", "integer", "string, date-time", "<code>queued</code>", `"huanxin_reason":"reassigned"`, "应用 → 平台",
		"<code>reassigned</code>, <code>transferred</code>", "<code>retracts</code><sup"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	for _, path := range []string{"/schemas/events/", "/schemas/events/verification.json", "/schemas/events/..%2fset.go"} {
		if got := f.do("GET", path); got.Code != 404 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}
