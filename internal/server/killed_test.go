package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// These tests kill the hub with SIGKILL at random moments under load, start it again on the same data, and at the end hold
// what it has against what it acknowledged (DOMAIN.md §7 rule 8). HUANXIN_FAULTS=long makes them run for many minutes.

// rounds calls kill again and again, after random times under load.
func rounds(t *testing.T, l *load, kill func(round int)) {
	t.Helper()
	until := time.Now().Add(10 * time.Minute)
	for round := 0; ; round++ {
		if long := os.Getenv("HUANXIN_FAULTS") == "long"; long && time.Now().After(until) || !long && round == 8 || t.Failed() {
			t.Logf("%d rounds: %s", round, l.sum())
			return
		}
		time.Sleep(50*time.Millisecond + rand.N(700*time.Millisecond))
		kill(round)
	}
}

func TestKilledHubOnSQLiteLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "")
	d.start()
	l := startLoad(d)
	l.awaitAnswers()
	rounds(t, l, func(int) {
		d.kill()
		d.start()
	})
	l.stop()
	l.verify()
	d.logsAreClean()
}

func TestKilledHubOnPostgreSQLLosesNothing(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t, pgtest.Durable)
	url, err := cluster.CreateDatabase("hub")
	must(t, err)
	d := newDeployment(t, url)
	d.start()
	l := startLoad(d)
	l.awaitAnswers()
	rounds(t, l, func(round int) {
		switch round % 4 {
		case 1: // the database alone: the hub goes on with it when it is back
			must(t, cluster.Kill())
			must(t, cluster.Start())
			d.awaitReady()
		case 3: // both
			d.kill()
			must(t, cluster.Kill())
			must(t, cluster.Start())
			d.start()
		default:
			d.kill()
			d.start()
		}
	})
	l.stop()
	l.verify()
	d.logsAreClean()
}

// TestKilledWhileStarting kills a hub while it starts, on data that do not exist yet.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "", fresh)
	for range 6 {
		d.launch()
		time.Sleep(rand.N(150 * time.Millisecond))
		d.kill()
	}
	d.register()
	d.start()
	l := startLoad(d)
	l.awaitAnswers()
	l.stop()
	l.verify()
}

func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "")
	d.start()
	l := startLoad(d)
	for range 2 {
		l.awaitAnswers()
		must(t, d.process.Process.Signal(syscall.SIGTERM))
		if err := d.wait(); err != nil {
			t.Error("the hub stopped badly:", err)
		}
		d.start()
	}
	l.stop()
	l.verify()
	d.logsAreClean()
}

// TestARequestUnderWayEndsBeforeTheHubStops sends half of a report, then SIGTERM, then the other half.
func TestARequestUnderWayEndsBeforeTheHubStops(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "")
	d.start()
	c := d.client("cmcc")
	_, err := c.Token(t.Context()) // so that no other request is under way
	must(t, err)
	body := newFeed()
	answered := make(chan error, 1)
	go func() {
		r, err := c.Report(t.Context(), "application/x-ndjson", body, time.Time{})
		if err == nil && r.Accepted != 2 {
			err = fmt.Errorf("accepted %d of 2: %v", r.Accepted, r.Rejected)
		}
		answered <- err
	}()
	line := func(id string) string {
		return `{"id":"` + id + `","number":"+8613877700001","kind":"` + map[string]string{"a": "activated", "b": "suspended"}[id] +
			`","at":"2024-03-01T08:00:00Z"` + map[string]string{"a": `,"origin":"first"`}[id] + "}\n"
	}
	body.send(line("a"))
	eventually(t, "the hub works on it", func() bool { return bytes.Contains(d.metrics(), []byte("\nhuanxin_http_in_flight 1\n")) })
	must(t, d.process.Process.Signal(syscall.SIGTERM))
	eventually(t, "readyz says that it stops", func() bool { return d.readyz() == "503 stopping\n" })
	body.send(line("b"))
	body.end()
	if err := <-answered; err != nil {
		t.Error("the report under way:", err)
	}
	if err := d.wait(); err != nil {
		t.Error("the hub stopped badly:", err)
	}
}
