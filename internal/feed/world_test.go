package feed_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
)

const issuer = "https://hub.example.test"

// world is a hub with one app, of which every algorithm is asked for, and its writer.
type world struct {
	testing.TB
	*core.Hub
	*feed.Writer
	ring *auth.KeyRing
	keys *seal.Keys
	app  huanxin.PartyNo
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "hub.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	w := &world{TB: t, keys: seal.Generate()}
	w.Hub, err = core.New(ctx, core.Options{Store: s, Keys: w.keys, Calendar: huanxin.ChinaCalendar(), Durations: huanxin.DefaultDurations(),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	must(t, err)
	t.Cleanup(func() { must(t, w.Hub.Close()) })
	must(t, w.PutParty(ctx, core.Operator(), huanxin.Party{ID: "cmcc", Kind: huanxin.CarrierParty, CoolingDays: 90, NameZh: "c", NameEn: "c"}, false))
	must(t, w.PutParty(ctx, core.Operator(), huanxin.Party{ID: "chat", Kind: huanxin.AppParty, Kinds: []huanxin.TaskKind{huanxin.Unbind},
		NameZh: "c", NameEn: "c"}, false))
	w.app = w.Party("chat").No
	for _, alg := range auth.HubAlgs {
		_, err := w.AddClient(ctx, core.Operator(), core.NewClient{ID: client(alg), Party: "chat", Secret: true})
		must(t, err)
		must(t, w.SignFeedBy(ctx, core.Operator(), client(alg), alg))
	}
	keys, err := w.SigningKeys(ctx)
	must(t, err)
	w.ring, err = auth.NewKeyRing(keys...)
	must(t, err)
	w.Writer = feed.NewWriter(w.Hub, w.ring, issuer)
	return w
}

// client gives the id of the client that asked for an algorithm.
func client(alg string) string {
	return map[string]string{"ES256": "chat-es", "EdDSA": "chat-ed", "RS256": "chat-rs"}[alg]
}

// stream gives the facts of a stream of the client of an algorithm.
func (w *world) stream(id huanxin.StreamID, alg string) feed.StreamFacts {
	w.Helper()
	c, err := w.Client(context.Background(), client(alg))
	must(w, err)
	return feed.FactsOf(id, c)
}

var (
	began    = time.Date(2026, 11, 20, 2, 0, 0, 123_456_000, time.UTC)
	recorded = time.Date(2026, 11, 23, 4, 0, 0, 999_999_000, time.UTC)
)

// entries is one of every kind of entry, by what it says.
func (w *world) entries() map[string]*core.FeedEntry {
	number := huanxin.NumberOf(8610000000017)
	task := core.FeedTask{ID: 77, Kind: huanxin.Unbind, Origin: huanxin.OriginReassigned, DueAt: recorded.AddDate(0, 0, 5)}
	return map[string]*core.FeedEntry{
		"recycled": {No: huanxin.FeedNoAt(41, 0), Type: huanxin.IdentifierRecycled, Number: number, At: began, RecordedAt: recorded, Cause: 9,
			Reason: "reassigned", StartedAt: began},
		"released": {No: huanxin.FeedNoAt(40, 0), Type: huanxin.NumberReleased, Number: number, At: began, RecordedAt: recorded, Cause: 8},
		"requested": {No: huanxin.FeedNoAt(42, 0), Type: huanxin.UnbindRequested, App: w.app, Number: number, At: recorded, RecordedAt: recorded,
			Cause: 9, StartedAt: began, Task: task},
		"cancelled": {No: huanxin.FeedNoAt(43, 0), Type: huanxin.UnbindCancelled, App: w.app, Number: number, At: recorded, RecordedAt: recorded,
			Cause: 9, Reason: "aborted", StartedAt: began, Task: task},
		"retracted": {No: huanxin.FeedNoAt(44, 1), Type: huanxin.RecycleRetracted, Number: number, At: began, RecordedAt: recorded, Cause: 9,
			Retracts: huanxin.FeedNoAt(41, 0)},
		"task retracted": {No: huanxin.FeedNoAt(45, 0), Type: huanxin.RecycleRetracted, App: w.app, Number: number, At: recorded, RecordedAt: recorded,
			Cause: 9, Retracts: huanxin.FeedNoAt(42, 0), Task: task},
		"verification":      {No: huanxin.SignalNo(3), Type: huanxin.StreamVerification, At: recorded, RecordedAt: recorded, State: "VGhpcyBpcw"},
		"own verification":  {No: huanxin.SignalNo(4), Type: huanxin.StreamVerification, At: recorded, RecordedAt: recorded},
		"paused":            {No: huanxin.SignalNo(5), Type: huanxin.StreamUpdated, At: recorded, RecordedAt: recorded, State: "paused", Reason: "401 三次"},
		"enabled, no words": {No: huanxin.SignalNo(6), Type: huanxin.StreamUpdated, At: recorded, RecordedAt: recorded, State: "enabled"},
	}
}

// sorted gives the names of entries in a fixed order.
func sorted(entries map[string]*core.FeedEntry) (names []string) {
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
