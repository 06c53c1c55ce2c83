package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// These tests kill the hub while it tells four receivers of what happens, two by poll and two by push, and hold what each of them saw
// against a model: of every number that a report was acknowledged for, that it was given up and then that somebody else has it; each at
// least once, in this order, with one jti; and never again what the hub confirmed as acknowledged.

// listeners is carriers at work and receivers that listen.
type listeners struct {
	*load
	all     []*listener
	web     []*httptest.Server
	silence chan struct{} // closed when nothing more is reported
	silent  chan struct{} // closed when that is so
}

// listener is one receiver and what it saw.
type listener struct {
	t      *testing.T
	c      *client.Client
	name   string
	stream client.Stream

	mu        sync.Mutex
	seen      map[string]int    // jti → how often it came
	taken     map[string]string // jti → what it says
	of        map[string]string // what it says → jti
	confirmed map[string]bool   // jti's whose acknowledgement the hub has confirmed
	pushes    int
	repeats   int
}

// told is what a SET says, in words.
func told(s client.SET) string { return fmt.Sprintf("%d %s", s.Type, s.Number.E164()) }

// before is what must have been taken before: of one number it was given up first.
func before(s client.SET) string {
	if s.Type == huanxin.IdentifierRecycled {
		return fmt.Sprintf("%d %s", huanxin.NumberReleased, s.Number.E164())
	}
	return ""
}

// take notes a SET, and does not take every one.
func (l *listener) take(s client.SET) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	words := told(s)
	if l.confirmed[s.JTI] {
		l.t.Errorf("%s: %s comes again though its acknowledgement was confirmed", l.name, words)
	}
	if known, ok := l.of[words]; ok && known != s.JTI {
		l.t.Errorf("%s: %s came as %s and as %s", l.name, words, known, s.JTI)
	}
	if known, ok := l.taken[s.JTI]; ok && known != words {
		l.t.Errorf("%s: %s says %s, and then %s", l.name, s.JTI, known, words)
	}
	if l.seen[s.JTI]++; l.seen[s.JTI] > 1 {
		l.repeats++
	}
	if first := before(s); first != "" && l.of[first] == "" {
		l.t.Errorf("%s: %s comes before the number was given up", l.name, words)
	}
	if rand.N(20) == 0 {
		return errors.New("not now")
	}
	l.taken[s.JTI], l.of[words] = words, s.JTI
	return nil
}

// poll polls once, with acknowledgements that the hub may or may not have got before, and gives those of the next poll.
func (l *listener) poll(ctx context.Context, acks []string) (next []string, err error) {
	most := 1 + rand.N(60)
	out, err := l.c.Poll(ctx, l.stream, client.PollRequest{Ack: acks, MaxEvents: &most, AtOnce: rand.N(2) == 0})
	if err != nil {
		return acks, err
	}
	l.mu.Lock()
	for _, jti := range acks {
		l.confirmed[jti] = true
	}
	l.mu.Unlock()
	for jti, token := range out.Sets {
		s, err := l.c.Verify(ctx, token)
		if err != nil {
			if huanxin.KindOf(err) != huanxin.Internal {
				continue // the hub's keys cannot be read now: it is not acknowledged
			}
			l.t.Errorf("%s: a SET cannot be verified: %v", l.name, err)
			continue
		}
		if s.JTI != jti {
			l.t.Errorf("%s: %s is given as %s", l.name, s.JTI, jti)
		}
		if l.take(s) == nil {
			next = append(next, jti)
		}
	}
	return next, nil
}

// push takes pushes, and fails in many ways.
func (l *listener) push(ctx context.Context, s client.SET) error {
	l.mu.Lock()
	l.pushes++
	l.mu.Unlock()
	switch rand.N(40) {
	case 0:
		return errors.New("too much to do")
	case 1:
		if err := l.take(s); err != nil {
			return err
		}
		panic(http.ErrAbortHandler) // taken, and the hub does not learn it
	}
	return l.take(s)
}

// listen makes the streams, and begins to report.
func listen(d *deployment) *listeners {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &listeners{load: &load{d: d, t: d.t, end: cancel, numbers: make(chan string, 1), asked: map[string]*ask{},
		answers: map[string]client.Answer{}, unsure: map[string]bool{}}}
	for i, party := range []string{"shop", "bank", "shop", "bank"} {
		one := &listener{t: d.t, c: d.client(party), name: fmt.Sprint(party, " ", i), seen: map[string]int{}, taken: map[string]string{}, of: map[string]string{}, confirmed: map[string]bool{}}
		config := client.StreamConfig{Events: []huanxin.EventType{huanxin.NumberReleased, huanxin.IdentifierRecycled}}
		if i >= 2 {
			web := httptest.NewServer(one.c.Pushes("Bearer of "+one.name, one.push, nil))
			l.web = append(l.web, web)
			config.PushTo, config.Authorization = web.URL, "Bearer of "+one.name
		}
		var err error
		one.stream, err = one.c.CreateStream(ctx, config)
		must(d.t, err)
		l.all = append(l.all, one)
		if i < 2 {
			var acks []string
			l.run(ctx, party, func(ctx context.Context, _ *client.Client) (err error) {
				acks, err = one.poll(ctx, acks)
				return err
			})
		}
	}
	l.silence, l.silent = make(chan struct{}), make(chan struct{})
	c := d.client("cmcc")
	l.done.Go(func() {
		defer close(l.silent)
		for {
			select {
			case <-l.silence:
				return
			case <-time.After(rand.N(30 * time.Millisecond)):
			}
			one, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			if err := l.report(one, c); err != nil {
				l.expected(err)
			}
			cancel()
		}
	})
	return l
}

// reportsEnd has nothing more reported.
func (l *listeners) reportsEnd() {
	close(l.silence)
	<-l.silent
}

// hears waits until every receiver has something, and a moment more.
func (l *listeners) hears() {
	l.t.Helper()
	eventually(l.t, "receivers hear of something", func() bool {
		for _, one := range l.all {
			one.mu.Lock()
			n := len(one.taken)
			one.mu.Unlock()
			if n == 0 {
				return false
			}
		}
		return true
	})
}

// verify has what nobody knows of reported again, waits until everything has come, and compares.
func (l *listeners) verify() {
	l.t.Helper()
	c := l.d.client("cmcc")
	for _, b := range l.lost {
		r, err := c.ReportEvents(l.t.Context(), b, time.Time{})
		must(l.t, err)
		if n := int64(len(b)); r.Accepted+r.Duplicates != n {
			l.t.Errorf("a report is taken by half: %+v", r)
		}
	}
	var want []string
	for _, b := range append(l.reported, l.lost...) {
		for _, e := range b {
			switch {
			case e.Kind == "disconnected":
				want = append(want, fmt.Sprintf("%d %s", huanxin.NumberReleased, e.Number))
			case e.Origin == "reassigned":
				want = append(want, fmt.Sprintf("%d %s", huanxin.IdentifierRecycled, e.Number))
			}
		}
	}
	for _, one := range l.all {
		eventually(l.t, one.name+" has everything", func() bool {
			one.mu.Lock()
			defer one.mu.Unlock()
			return len(one.of) >= len(want)
		})
		one.mu.Lock()
		for _, words := range want {
			if one.of[words] == "" {
				l.t.Errorf("%s never heard %s", one.name, words)
			}
		}
		if len(one.of) != len(want) {
			l.t.Errorf("%s heard %d things of %d", one.name, len(one.of), len(want))
		}
		l.t.Logf("%s: %d things, %d repeated, %d pushes", one.name, len(one.of), one.repeats, one.pushes)
		one.mu.Unlock()
	}
	eventually(l.t, "everything is settled", func() bool {
		page := l.d.metrics()
		for _, one := range l.all {
			if !bytes.Contains(page, []byte(`huanxin_feed_unsettled{stream="`+one.stream.ID+`"} 0`+"\n")) {
				return false
			}
		}
		return true
	})
	l.stop()
	for _, web := range l.web {
		web.Close()
	}
}

// listening makes a deployment for receivers on this machine, with short times.
func listening(t *testing.T, postgres string) *deployment {
	d := newDeployment(t, postgres, fresh)
	d.Feed = true
	d.register()
	d.start()
	return d
}

func TestAHubThatIsKilledWhileItTellsLosesNothingOnSQLite(t *testing.T) {
	t.Parallel()
	d := listening(t, "")
	l := listen(d)
	l.hears()
	rounds(t, l.load, func(int) {
		d.kill()
		d.start()
	})
	l.reportsEnd()
	l.verify()
	d.logsAreClean()
}

func TestAHubThatIsKilledWhileItTellsLosesNothingOnPostgreSQL(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t, pgtest.Durable)
	url, err := cluster.CreateDatabase("hub")
	must(t, err)
	d := listening(t, url)
	l := listen(d)
	l.hears()
	rounds(t, l.load, func(round int) {
		switch round % 3 {
		case 1: // the database alone
			must(t, cluster.Kill())
			must(t, cluster.Start())
			d.awaitReady()
		default:
			d.kill()
			d.start()
		}
	})
	l.reportsEnd()
	l.verify()
	d.logsAreClean()
}

func TestAHubThatIsStoppedWhileItTellsLosesNothing(t *testing.T) {
	t.Parallel()
	d := listening(t, "")
	l := listen(d)
	for range 3 {
		l.hears()
		must(t, d.process.Process.Signal(syscall.SIGTERM))
		if err := d.wait(); err != nil {
			t.Error("the hub stopped badly:", err)
		}
		d.start()
	}
	l.reportsEnd()
	l.verify()
	d.logsAreClean()
}
