package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
)

// TestTheLogWritesWhatSlogWrites compares every line with slog's own handler.
func TestTheLogWritesWhatSlogWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,20}`), rapid.String(), rapid.SampledFrom([]string{"", `a"b`, `\`, "<&>", "\x7f", "焕新", "\xff"}))
		at := time.Unix(rapid.Int64Range(-1<<33, 1<<36).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).
			In(rapid.SampledFrom([]*time.Location{time.UTC, huanxin.China}).Draw(t, "zone"))
		if rapid.IntRange(0, 9).Draw(t, "no time") == 0 {
			at = time.Time{}
		}
		r := slog.NewRecord(at, slog.Level(rapid.IntRange(-8, 12).Draw(t, "level")), text.Draw(t, "message"), 0)
		for range rapid.IntRange(0, 9).Draw(t, "attrs") {
			key := text.Draw(t, "key")
			r.AddAttrs(rapid.SampledFrom([]slog.Attr{
				slog.String(key, text.Draw(t, "value")), slog.Int64(key, rapid.Int64().Draw(t, "int")), slog.Bool(key, true),
				slog.Duration(key, time.Duration(rapid.Int64().Draw(t, "took"))), slog.Float64(key, 1.5), slog.Uint64(key, math.MaxUint64),
				slog.Any(key, huanxin.NumberOf(8613800000001)), slog.Any(key, errors.New(text.Draw(t, "error"))), slog.Group(key, slog.Int("x", 1)),
				slog.Time(key, at), {},
			}).Draw(t, "attr"))
		}
		var got, want bytes.Buffer
		log, err := NewLog(&got, "debug")
		if err != nil {
			t.Fatal(err)
		}
		slogs := slog.NewJSONHandler(&want, &slog.HandlerOptions{Level: slog.LevelDebug})
		if a, b := log.Handler().Handle(context.Background(), r.Clone()), slogs.Handle(context.Background(), r); a != nil || b != nil {
			t.Fatal(a, b)
		}
		if got.String() != want.String() {
			t.Fatalf("\n got %s\nwant %s", &got, &want)
		}
	})
}

func TestTheLogKeepsItsLevelAndItsAttributes(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLog(&out, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.With("a", 1).WithGroup("g").Warn("loud", "b", 2)
	if s := out.String(); strings.Contains(s, "quiet") || !strings.Contains(s, `"msg":"loud","a":1,"g":{"b":2}`) {
		t.Error(s)
	}
}

// written takes what is written, and says when something was.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
	came chan struct{}
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	select {
	case w.came <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestWhatIsGatheredIsWrittenSoonAndAtOnceWithAWarning(t *testing.T) {
	out := &written{came: make(chan struct{}, 1)}
	g := Gather(out)
	log, err := NewLog(g, "info")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the timer is used again
		log.Info("soon")
		<-out.came
	}
	log.Info("with it")
	log.Warn("now")
	if s := out.String(); !strings.HasSuffix(s, "\n") || strings.Count(s, "soon") != 3 || strings.Index(s, "with it") > strings.Index(s, "now") {
		t.Error(s)
	}
	log.Info("at the end")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	log.Info("after the end")
	if s := out.String(); !strings.Contains(s, "at the end") || !strings.Contains(s, "after the end") {
		t.Error(s)
	}
}

func TestGatheredLinesStayWholeWhoeverWritesThem(t *testing.T) {
	out := &written{came: make(chan struct{}, 1)}
	g := Gather(out)
	log, err := NewLog(g, "info")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				log.Info("flat", "i", i)
				log.Info("not flat", "e", errors.New("x"), "long", strings.Repeat("y", 100))
			}
		})
	}
	wg.Wait()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 8000 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if !strings.HasPrefix(l, `{"time":"`) || !strings.HasSuffix(l, "}") {
			t.Fatalf("a broken line: %s", l)
		}
	}
}
