package guard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// lives tells a hub the lives of this package's numbers.
func lives(t *testing.T, h *hubtest.Hub) {
	t.Helper()
	at := func(day, hour string) time.Time {
		v, err := time.Parse(time.RFC3339, day+"T"+hour+":00:00+08:00")
		must(t, err)
		return v
	}
	events := []client.Event{
		{Number: kept, Kind: "activated", At: at("2016-05-20", "10"), Origin: "first"},
		{Number: recycled, Kind: "activated", At: at("2014-03-10", "10"), Origin: "first"},
		{Number: recycled, Kind: "disconnected", At: at("2021-06-01", "10")},
		{Number: recycled, Kind: "activated", At: at("2021-11-15", "10"), Origin: "reassigned"},
		{Number: handed, Kind: "activated", At: at("2014-03-10", "10"), Origin: "first"},
		{Number: handed, Kind: "transferred", At: at("2022-02-02", "10")},
		{Number: nobodys, Kind: "activated", At: at("2014-03-10", "10"), Origin: "first"},
		{Number: nobodys, Kind: "disconnected", At: at("2025-01-01", "10")},
		{Number: came, Kind: "activated", At: at("2023-04-01", "10"), Origin: "unknown"},
	}
	for i := range events {
		events[i].ID = fmt.Sprint(i)
	}
	r, err := h.Carrier("cmcc").ReportEvents(t.Context(), events, time.Now())
	if err != nil || int(r.Accepted) != len(events) {
		t.Fatal(r, err)
	}
	app := h.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		asOf, a, err := app.Check(t.Context(), kept, "2024-01-01")
		if err == nil && int(asOf) == len(events) && a.FreshAt != nil {
			return
		} else if time.Since(began) > 10*time.Second {
			t.Fatal("checks do not know the events:", err)
		}
	}
}

func TestTheGuardAsksARealHub(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	lives(t, h)
	shop := h.Client("shop")
	if _, err := shop.UploadReplicaNumbers(t.Context(), []string{kept, recycled, handed, nobodys, came, unseen}); err != nil {
		t.Fatal(err)
	}
	ask := open(t, guard.Options{Hub: shop, Deadline: 10 * time.Second, MaxLag: time.Hour})
	both := open(t, guard.Options{Hub: shop, Deadline: 10 * time.Second, Replica: &guard.Replica{Path: t.TempDir() + "/replica"}})
	must(t, both.Refresh(t.Context()))
	today := time.Now().In(huanxin.China).Format(time.DateOnly)
	for _, c := range []struct{ number, bound, proof, want, from string }{
		{kept, "2019-01-01", "", "allow unchanged", "replica"},
		{kept, "2019-01-01T10:00:00+08:00", "", "allow unchanged", "replica"},
		{kept, today, "", "allow unchanged", "replica"},
		{kept, "2016-05-20", "", "step_up ambiguous_day", "hub"},
		{recycled, "2019-01-01", "", "block reassigned", "replica"},
		{recycled, "2019-01-01", "2020-01-01", "block reassigned", "replica"},
		{recycled, "2019-01-01", "2022-01-01", "step_up proved_since", "replica"},
		{recycled, "2021-11-15", "", "step_up ambiguous_day", "hub"},
		{recycled, "2021-11-15T09:59:59+08:00", "", "block reassigned", "hub"},
		{recycled, "2021-11-15T10:00:00+08:00", "", "allow unchanged", "hub"},
		{handed, "2019-01-01", "", "step_up transferred", "hub"},
		{handed, "2022-02-02T11:00:00+08:00", "", "allow unchanged", "hub"},
		{nobodys, "2019-01-01", "", "step_up no_holder", "hub"},
		{came, "2019-01-01", "", "step_up before_coverage", "hub"},
		{came, "2024-01-01", "", "allow unchanged", "replica"},
		{elsewise, "2024-01-01", "", "step_up never_seen", "hub"},
	} {
		q := guard.Question{Number: num(t, c.number), BoundAt: exactly(t, c.bound), LastProof: exactly(t, c.proof)}
		what := c.number + " " + c.bound + " " + c.proof
		d := ask.Decide(t.Context(), q)
		expect(t, what, d, c.want+" hub")
		if d.AsOf != 9 {
			t.Errorf("%s: as of %d", what, d.AsOf)
		}
		expect(t, what+" again", ask.Decide(t.Context(), q), c.want+" cache")
		expect(t, what+" with a replica", both.Decide(t.Context(), q), c.want+" "+c.from)
	}
	h.Stop()
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	expect(t, "without the hub", both.Decide(t.Context(), q), "allow unchanged replica")
	q.Number = num(t, nobodys)
	expect(t, "without the hub", both.Decide(t.Context(), q), "step_up no_holder cache")
	q.BoundAt = exactly(t, "2018-01-01")
	expect(t, "without the hub", both.Decide(t.Context(), q), "step_up no_holder replica")
}

func question(t testing.TB, number string) guard.Question {
	return guard.Question{Number: num(t, number), BoundAt: huanxin.Exactly(time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC))}
}

func TestAHubThatCannotBeReliedOnNeverAllows(t *testing.T) {
	t.Parallel()
	write := func(text string) func(http.ResponseWriter, *http.Request, []client.Check) {
		return func(w http.ResponseWriter, _ *http.Request, _ []client.Check) { _, _ = w.Write([]byte(text)) }
	}
	status := func(code int, text string) func(http.ResponseWriter, *http.Request, []client.Check) {
		return func(w http.ResponseWriter, _ *http.Request, _ []client.Check) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(text))
		}
	}
	good := `{"as_of":7,"results":[{"outcome":"UNCHANGED"}]}`
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request, []client.Check){
		"nothing":                 write(""),
		"a page":                  write("<html>UNCHANGED</html>"),
		"half an answer":          write(good[:len(good)-3]),
		"no results":              write(`{"as_of":7,"results":[]}`),
		"too many results":        write(`{"as_of":7,"results":[{"outcome":"UNCHANGED"},{"outcome":"UNCHANGED"}]}`),
		"an outcome of its own":   write(`{"as_of":7,"results":[{"outcome":"unchanged"}]}`),
		"no outcome":              write(`{"as_of":7,"results":[{}]}`),
		"an outcome and an error": write(`{"as_of":7,"results":[{"outcome":"UNCHANGED","error":{"code":"too_many_times"}}]}`),
		"unchanged for a reason":  write(`{"as_of":7,"results":[{"outcome":"UNCHANGED","reason":"reassigned"}]}`),
		"changed without one":     write(`{"as_of":7,"results":[{"outcome":"CHANGED"}]}`),
		"a position below zero":   write(`{"as_of":-7,"results":[{"outcome":"UNCHANGED"}]}`),
		"a position that is none": write(`{"as_of":"` + kept + `","results":[{"outcome":"UNCHANGED"}]}`),
		"a long answer":           write(`{"as_of":7,"results":[{"outcome":"UNCHANGED","reason":"` + strings.Repeat("x", 1<<20) + `"}]}`),
		"good, with another code": status(500, good),
		"good, for others":        status(403, good),
		"a failure":               status(503, `{"code":"overloaded","detail":"`+kept+`"}`),
		"a code that is a number": status(422, `{"code":"`+kept+`"}`),
		"a broken connection": func(http.ResponseWriter, *http.Request, []client.Check) {
			panic(http.ErrAbortHandler)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request, _ []client.Check) { <-r.Context().Done() },
		"a drip": func(w http.ResponseWriter, r *http.Request, _ []client.Check) {
			for i := 0; r.Context().Err() == nil; i++ {
				_, _ = w.Write([]byte{good[i%10]})
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			l := newLiar(t)
			l.tell(answer)
			g := open(t, guard.Options{Hub: l.client(), Deadline: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
			for range 6 {
				began := time.Now()
				d := g.Decide(t.Context(), question(t, kept))
				if d.Access != huanxin.StepUp {
					t.Errorf("it is %s", word(d))
				}
				if time.Since(began) > 5*time.Second {
					t.Error("it waited", time.Since(began))
				}
			}
			g.Close()
			if strings.Contains(log.String(), kept[3:]) {
				t.Errorf("the log tells the number: %s", log.String())
			}
		})
	}
}

func TestAHubThatFailsIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	g := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second, CacheFor: -1})
	for range 20 {
		expect(t, "it fails", g.Decide(t.Context(), question(t, kept)), "step_up hub_down none")
	}
	if n := len(l.questions()); n != 5 {
		t.Errorf("it was asked %d times", n)
	}
	if !g.Status().HubDown {
		t.Error("the guard does not say that the hub is down")
	}
	l.says(7, "UNCHANGED", "")
	eventually(t, func() bool { return g.Decide(t.Context(), question(t, kept)).Access == huanxin.Allow })
	expect(t, "it is back", g.Decide(t.Context(), question(t, kept)), "allow unchanged hub")
}

func TestTheHubSaysHowLongItIsToBeLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.tell(func(w http.ResponseWriter, _ *http.Request, _ []client.Check) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(429)
		_, _ = w.Write([]byte(`{"code":"rate_limited"}`))
	})
	g := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second})
	expect(t, "first", g.Decide(t.Context(), question(t, kept)), "step_up hub_refused none")
	expect(t, "then", g.Decide(t.Context(), question(t, kept)), "step_up hub_down none")
	if n := len(l.questions()); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestOneQuestionIsOnItsWayOnce(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	release := make(chan struct{})
	l.tell(func(w http.ResponseWriter, r *http.Request, _ []client.Check) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = w.Write([]byte(`{"as_of":7,"results":[{"outcome":"UNCHANGED"}]}`))
	})
	g := open(t, guard.Options{Hub: l.client(), Deadline: 10 * time.Second})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if d := g.Decide(t.Context(), question(t, kept)); d.Access != huanxin.Allow {
				t.Error(word(d))
			}
		})
	}
	eventually(t, func() bool { return len(l.questions()) == 1 })
	// Who gives up does not take the answer from the others.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expect(t, "given up", g.Decide(ctx, question(t, kept)), "step_up hub_silent none")
	close(release)
	wg.Wait()
	if n := len(l.questions()); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestAnAnswerIsUsedAgainUntilSomethingIsHeardOfItsNumber(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.says(7, "UNCHANGED", "")
	g := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second})
	expect(t, "first", g.Decide(t.Context(), question(t, kept)), "allow unchanged hub")
	expect(t, "again", g.Decide(t.Context(), question(t, kept)), "allow unchanged cache")
	expect(t, "another number", g.Decide(t.Context(), question(t, recycled)), "allow unchanged hub")

	l.says(8, "CHANGED", "reassigned")
	g.Forget(num(t, kept))
	expect(t, "forgotten", g.Decide(t.Context(), question(t, kept)), "block reassigned hub")
	expect(t, "the other one", g.Decide(t.Context(), question(t, recycled)), "allow unchanged cache")
	// An answer about other times outdates what was known.
	other := question(t, recycled)
	other.BoundAt = exactly(t, "2020-02-02T00:00:00Z")
	expect(t, "with another T", g.Decide(t.Context(), other), "block reassigned hub")
	expect(t, "with the first T", g.Decide(t.Context(), question(t, recycled)), "block reassigned hub")

	short := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second, CacheFor: time.Nanosecond})
	expect(t, "kept no time", short.Decide(t.Context(), question(t, kept)), "block reassigned hub")
	expect(t, "kept no time", short.Decide(t.Context(), question(t, kept)), "block reassigned hub")
}

func TestAnAnswerThatAnEventOvertookIsNotKept(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	l.tell(func(w http.ResponseWriter, _ *http.Request, _ []client.Check) {
		arrived <- struct{}{}
		<-release
		_, _ = w.Write([]byte(`{"as_of":7,"results":[{"outcome":"UNCHANGED"}]}`))
	})
	g := open(t, guard.Options{Hub: l.client(), Deadline: 10 * time.Second})
	first := make(chan guard.Decision, 1)
	go func() { first <- g.Decide(t.Context(), question(t, kept)) }()
	<-arrived
	g.Forget(num(t, kept))
	close(release)
	expect(t, "on its way", <-first, "allow unchanged hub")
	l.says(8, "CHANGED", "reassigned")
	expect(t, "afterwards", g.Decide(t.Context(), question(t, kept)), "block reassigned hub")
}

func TestAskingForADayOfTodayIsAnsweredFromTheCacheToo(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.says(7, "UNCHANGED", "")
	g := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second})
	q := question(t, kept)
	q.BoundAt = huanxin.OnDay(huanxin.DateOf(time.Now(), huanxin.China), huanxin.China)
	expect(t, "first", g.Decide(t.Context(), q), "allow unchanged hub")
	expect(t, "again", g.Decide(t.Context(), q), "allow unchanged cache")
	last := l.questions()[0][1]
	if at, err := time.Parse(time.RFC3339Nano, last.Since); err != nil || time.Since(at) > time.Minute || time.Since(at) < 0 {
		t.Errorf("the last instant of today is %v", last.Since)
	}
}

func TestTheWordOfACarrierThatIsTooOldIsNotEnough(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	fresh := time.Now().Add(-2 * time.Hour)
	l.tell(func(w http.ResponseWriter, _ *http.Request, _ []client.Check) {
		_ = json.NewEncoder(w).Encode(map[string]any{"as_of": 7, "results": []map[string]any{{"outcome": "UNCHANGED", "fresh_at": fresh}}})
	})
	expect(t, "3 hours are enough", open(t, guard.Options{Hub: l.client(), MaxLag: 3 * time.Hour, Deadline: 5 * time.Second}).Decide(t.Context(), question(t, kept)), "allow unchanged hub")
	g := open(t, guard.Options{Hub: l.client(), MaxLag: time.Hour, Deadline: 5 * time.Second})
	expect(t, "one hour is not", g.Decide(t.Context(), question(t, kept)), "step_up carrier_late hub")
	l.says(7, "UNCHANGED", "")
	expect(t, "no word at all", g.Decide(t.Context(), question(t, recycled)), "step_up carrier_late hub")
}

func TestNothingIsLeftBehind(t *testing.T) {
	// Not parallel: it counts goroutines.
	l := newLiar(t)
	l.gives(l.body(made{asOf: 7, marks: marks(t)}))
	l.tell(func(_ http.ResponseWriter, r *http.Request, _ []client.Check) { <-r.Context().Done() })
	hub := l.client()
	if _, err := hub.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	for range 3 { // and the metrics can be registered again
		g, err := guard.Open(t.Context(), guard.Options{Hub: hub, Replica: &guard.Replica{Path: t.TempDir() + "/replica"}, Registerer: reg})
		must(t, err)
		must(t, g.Refresh(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		g.Decide(ctx, question(t, elsewise))
		cancel()
		g.Close()
		g.Close()
		if stacks := stacksOf("huanxin/guard."); stacks != "" {
			t.Fatal(stacks)
		}
		if err := g.Refresh(t.Context()); err == nil {
			t.Error("a closed guard refreshes")
		}
	}
}

// stacksOf gives the goroutines that run code of a package, not of its tests.
func stacksOf(name string) (found string) {
	buf := make([]byte, 1<<20)
	for one := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(one, name) && !strings.Contains(one, "testing.tRunner") && !strings.Contains(one, "guard_test") {
			found += one + "\n\n"
		}
	}
	return found
}

func TestTheMetricsCountDecisions(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.gives(l.body(made{asOf: 7, marks: marks(t)}))
	reg := prometheus.NewRegistry()
	g := open(t, guard.Options{Hub: l.client(), Deadline: 5 * time.Second, Replica: &guard.Replica{Path: t.TempDir() + "/replica"}, Registerer: reg})
	must(t, g.Refresh(t.Context()))
	for range 3 {
		g.Decide(t.Context(), question(t, kept))
	}
	g.Decide(t.Context(), question(t, recycled))
	g.Decide(t.Context(), question(t, elsewise))
	got := map[string]float64{}
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"huanxin_guard_decisions_total allow unchanged replica":  3,
		"huanxin_guard_decisions_total block reassigned replica": 1,
		"huanxin_guard_decisions_total step_up hub_down none":    1,
		"huanxin_guard_hub_failures_total hub_down":              1,
		"huanxin_guard_replica_vouches":                          1,
		"huanxin_guard_replica_numbers":                          6,
		"huanxin_guard_replica_position":                         7,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v of %v", name, got[name], want, got)
		}
	}
}
