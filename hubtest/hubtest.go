// Package hubtest runs a real hub for tests, in one call: the whole program on a SQLite file of the test's own, behind a real
// listener on loopback. Nothing in it is a mock, so what works against it works against a hub.
//
//	h := hubtest.Start(t)
//	carrier, app := h.Carrier("cmcc"), h.App("pay", hubtest.Class("payment"))
//	_, err := carrier.ReportEvents(ctx, []client.Event{…}, time.Time{})
//
// The hub stops when the test ends.
package hubtest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// Hub is a running hub. Its methods fail the test rather than give errors, and are for the test's goroutine.
type Hub struct {
	// URL is where the hub is, and its issuer.
	URL string
	// Data is the directory of its key file and, on SQLite, of its database huanxin.db.
	Data string

	t       testing.TB
	core    *core.Hub
	web     *http.Transport
	clients map[string]*Credentials
	stop    func()
}

// Option changes what Start makes.
type Option func(*options)

type options struct {
	speed    float64
	data     string
	database string
	log      io.Writer
	inFlight int
	stall    time.Duration
	replica  int64
	subjects int64
	listen   string
	again    time.Duration
	wait     time.Duration
	all      bool
	public   bool
}

// Speed divides the durations of the service: 86,400 makes a day a second long. Timestamps stay real.
func Speed(n float64) Option { return func(o *options) { o.speed = n } }

// Data keeps the hub's data in a directory, which may hold those of a hub that was stopped.
func Data(dir string) Option { return func(o *options) { o.data = dir } }

// Postgres keeps the hub's data in the database that a postgres:// URL names.
func Postgres(url string) Option { return func(o *options) { o.database = url } }

// Log takes the hub's log, every level of it. Without it the test's output takes warnings and errors.
func Log(w io.Writer) Option { return func(o *options) { o.log = w } }

// InFlight bounds how many requests are answered at once.
func InFlight(n int) Option { return func(o *options) { o.inFlight = n } }

// Stall is how long a client may send nothing of a body or take nothing of an answer.
func Stall(d time.Duration) Option { return func(o *options) { o.stall = d } }

// ReplicaNumbers bounds how many numbers an app may upload for its replica.
func ReplicaNumbers(n int64) Option { return func(o *options) { o.replica = n } }

// StreamSubjects bounds how many numbers a stream may have added or removed.
func StreamSubjects(n int64) Option { return func(o *options) { o.subjects = n } }

// Listen makes the hub listen at an address, such as the one of a hub that was stopped, rather than at any that is free.
func Listen(address string) Option { return func(o *options) { o.listen = address } }

// Redelivery is after how long an event that a poll brought comes again unless it is acknowledged.
func Redelivery(d time.Duration) Option { return func(o *options) { o.again = d } }

// PollWait is how long a poll waits for something to tell.
func PollWait(d time.Duration) Option { return func(o *options) { o.wait = d } }

// AllSubjects has streams hear of every number: default_subjects ALL.
func AllSubjects() Option { return func(o *options) { o.all = true } }

// PublicOnly refuses URLs on this machine, as a hub does that is none for tests.
func PublicOnly() Option { return func(o *options) { o.public = true } }

// Start runs a hub until the test ends, or Stop.
func Start(t testing.TB, opts ...Option) *Hub {
	t.Helper()
	var o options
	for _, set := range opts {
		set(&o)
	}
	if o.data == "" {
		o.data = t.TempDir()
	}
	cfg, log := o.config(t)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.Open(ctx, cfg, log)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx, s.Handler()) }()
	h := &Hub{URL: s.URL, Data: o.data, t: t, core: s.Hub, web: http.DefaultTransport.(*http.Transport).Clone(), clients: map[string]*Credentials{}}
	h.web.MaxIdleConnsPerHost = 64
	h.stop = sync.OnceFunc(func() {
		h.web.CloseIdleConnections()
		cancel()
		if err := <-stopped; err != nil {
			t.Error("the hub stopped badly:", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

func (o *options) config(t testing.TB) (server.Config, *slog.Logger) {
	t.Helper()
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.AllowLoopback = "127.0.0.1:0", o.data, !o.public
	cfg.Service.Speed = o.speed
	cfg.LogLevel = "warn"
	if o.inFlight > 0 {
		cfg.Limits.InFlight = o.inFlight
	}
	if o.stall > 0 {
		cfg.Limits.Stall, cfg.Limits.ReadHeader = server.Duration(o.stall), server.Duration(max(o.stall, 2*time.Second))
	}
	if o.replica > 0 {
		cfg.Limits.ReplicaNumbers = o.replica
	}
	if o.subjects > 0 {
		cfg.Limits.StreamSubjects = o.subjects
	}
	cfg.Feed.Redelivery, cfg.Feed.PollWait = server.Duration(o.again), server.Duration(o.wait)
	if o.all {
		cfg.Feed.DefaultSubjects = "ALL"
	}
	if o.listen != "" {
		cfg.Listen = o.listen
	}
	if o.database != "" {
		cfg.PostgresURLFile = secretFile(t, o.database)
	}
	w := t.Output()
	if o.log != nil {
		w, cfg.LogLevel = o.log, "debug"
	}
	log, err := server.NewLog(w, cfg.LogLevel)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, log
}

// Stop stops the hub in good order before the test ends.
func (h *Hub) Stop() { h.stop() }

// HTTP gives a client for plain requests whose connections end with the hub.
func (h *Hub) HTTP() *http.Client { return &http.Client{Transport: h.web} }

// Client gives the client of a party of the registry that Carrier, App or Regulator made.
func (h *Hub) Client(party string) *client.Client {
	h.t.Helper()
	c := h.Credentials(party)
	return client.New(client.Options{URL: h.URL, ID: c.ID, Secret: c.Secret, HTTP: h.HTTP()})
}
