package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/due"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
	"github.com/huanxin-platform/huanxin/internal/outbound"
	"github.com/huanxin-platform/huanxin/internal/seal"
	"github.com/huanxin-platform/huanxin/internal/store"
	"github.com/huanxin-platform/huanxin/internal/web"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server is one hub with its listeners open.
type Server struct {
	Hub *core.Hub
	// URL is the hub's public URL and issuer.
	URL string

	cfg      Config
	log      *slog.Logger
	store    *store.Store
	loops    *due.Loops
	feed     *feed.Feed
	api      http.Handler
	ops      http.Handler
	pages    *web.Web // nil: holders have none here
	lock     *os.File // of the data directory
	listener net.Listener
	opsLn    net.Listener
	cert     tls.Certificate // with TLS
	stopping atomic.Bool
	stop     chan struct{} // closed when stopping
}

// Open opens listeners, database and keys. A Server that was opened is either Run or Closed.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, stop: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return err
	}
	if s.cfg.OpsListen != "" {
		if s.opsLn, err = net.Listen("tcp", s.cfg.OpsListen); err != nil {
			return err
		}
	}
	if s.cfg.TLS.CertFile != "" {
		if s.cert, err = tls.LoadX509KeyPair(s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if s.lock, err = lockData(s.cfg.Data); err != nil {
		return err
	}
	if s.URL = s.cfg.PublicURL; s.URL == "" {
		s.URL = "http://" + s.listener.Addr().String()
	}
	if s.Hub, err = s.hub(ctx); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	keys, err := s.Hub.SigningKeys(ctx)
	if err != nil {
		return err
	}
	ring, err := auth.NewKeyRing(keys...)
	if err != nil {
		return err
	}
	alone := s.Hub.Engine() == "sqlite" // by the lock of the data directory
	// Events are pushed to one host over several connections.
	client := outbound.Client(outbound.Options{AllowLoopback: s.cfg.AllowLoopback, RootCAs: s.cfg.ReceiverCAs, KeepPerHost: 32})
	s.loops = due.New(due.Options{Hub: s.Hub, Ring: ring, Issuer: s.URL, Alone: alone, Log: s.log, Registry: registry, Client: client})
	s.feed = feed.New(feed.Options{Hub: s.Hub, Ring: ring, Issuer: s.URL, Alone: alone, Log: s.log, Registry: registry, Client: client,
		Times: s.cfg.Feed.times(), Stopping: s.stop})
	s.api = httpapi.New(httpapi.Options{Hub: s.Hub, Ring: ring, Feed: s.feed, Issuer: s.URL, Log: s.log, Registry: registry,
		InFlight: s.cfg.Limits.InFlight, Stopping: s.stop})
	if s.pages, err = s.holderPages(ring, registry); err != nil {
		return err
	}
	s.ops = s.opsHandler(registry)
	return nil
}

// holderPages makes the pages of holders; nil where no carrier lets them in.
func (s *Server) holderPages(ring *auth.KeyRing, registry prometheus.Registerer) (*web.Web, error) {
	carriers, err := s.cfg.Holders.carriers(s.URL)
	if err != nil || len(carriers) == 0 {
		return nil, err
	}
	var origins []string
	for _, c := range carriers {
		if issuer, err := url.Parse(c.Issuer); err == nil {
			origins = append(origins, issuer.Scheme+"://"+issuer.Host)
		}
	}
	in := signin.New(signin.Options{Carriers: carriers, RedirectURL: func(party string) string { return s.URL + "/sign-in/" + party + "/callback" },
		Seal: s.Hub.SealTransient, Open: s.Hub.OpenTransient, Log: s.log})
	return web.New(web.Options{Hub: s.Hub, SignIn: in, Ring: ring, Issuer: s.URL, Carriers: origins, Log: s.log, Registry: registry, Demo: s.cfg.Holders.Demo,
		Start: !s.cfg.Holders.Demo, Stopping: s.stop}), nil
}

// hub opens the database and the keys.
func (s *Server) hub(ctx context.Context) (*core.Hub, error) {
	return openHub(ctx, &s.cfg, s.log, &s.store)
}

func openHub(ctx context.Context, cfg *Config, log *slog.Logger, db **store.Store) (*core.Hub, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	cal, err := cfg.calendar()
	if err != nil {
		return nil, err
	}
	keys, err := seal.Open(cfg.keyFile())
	if err != nil {
		return nil, err
	}
	dsn, err := cfg.database()
	if err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		// The number log holds plain numbers: whatever the directory's mode, only the owner reads it. SQLite's other files take the mode of this one.
		f, err := os.OpenFile(path, os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		_ = f.Close()
	}
	if *db, err = store.Open(ctx, dsn); err != nil {
		return nil, err
	}
	return core.New(ctx, core.Options{Store: *db, Keys: keys, Calendar: cal, Durations: cfg.durations(), Log: log, Checks: cfg.checks(),
		ReplicaNumbers: cfg.Limits.ReplicaNumbers, Feed: cfg.feed()})
}

// ErrNoHub says that there is no hub where one was to be opened.
var ErrNoHub = errors.New("there is no hub")

// OpenHubThere is OpenHub, but for a hub that is there already: its keys, and its database unless that is a server's. Nothing is made. The
// error is ErrNoHub where there is none.
func OpenHubThere(ctx context.Context, cfg Config, log *slog.Logger) (hub *core.Hub, close func() error, err error) {
	files := []string{cfg.keyFile()}
	if cfg.PostgresURLFile == "" {
		files = append(files, cfg.sqliteFile())
	}
	for _, path := range files {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, nil, fmt.Errorf("%w in %s (no %s)", ErrNoHub, cfg.Data, path)
		} else if err != nil {
			return nil, nil, err
		}
	}
	return OpenHub(ctx, cfg, log)
}

// OpenHub opens a hub without serving it, for commands on the hub's machine. close releases it.
func OpenHub(ctx context.Context, cfg Config, log *slog.Logger) (hub *core.Hub, close func() error, err error) {
	var db *store.Store
	hub, err = openHub(ctx, &cfg, log, &db)
	close = func() error {
		var err error
		if hub != nil {
			err = hub.Close()
		}
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return err
	}
	if err != nil {
		return nil, nil, errors.Join(err, close())
	}
	return hub, close, nil
}

// Addr gives the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Handler serves everything that shares the main listener.
func (s *Server) Handler() http.Handler {
	if s.opsLn != nil && s.pages == nil {
		return s.api
	}
	// No ServeMux: it would redirect what the API answers with 404.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := s.api
		if s.pages != nil && s.pages.Serves(r.URL.Path) {
			s.pages.ServeHTTP(w, r)
			return
		}
		if s.opsLn != nil {
			h.ServeHTTP(w, r)
			return
		}
		switch r.URL.Path {
		case "/metrics", "/healthz", "/readyz":
			if outsiders := s.cfg.public() && r.URL.Path == "/metrics"; !outsiders && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
				h = s.ops
			}
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) opsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		switch err := s.Hub.Ping(ctx); {
		case s.stopping.Load():
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		case err != nil:
			s.log.Error("not ready", "error", err)
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ready\n"))
		}
	})
	return mux
}

// Run serves h (Handler, or what wraps it) until ctx is done, then stops: no new requests, those under way end, the loops
// stop, the database is closed. What was acknowledged is on stable storage at any moment, so nothing depends on this.
func (s *Server) Run(ctx context.Context, h http.Handler) error {
	main := s.httpServer(h)
	if s.cfg.TLS.CertFile != "" {
		main.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.cert}}
	}
	failed := make(chan error, 2)
	go func() { failed <- s.serve(main) }()
	ops := s.httpServer(s.ops)
	if s.opsLn != nil {
		go func() { failed <- ops.Serve(s.opsLn) }()
	}
	looping, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	stopped := make(chan struct{})
	go func() {
		var both sync.WaitGroup
		both.Go(func() { s.loops.Run(looping) })
		both.Go(func() { s.feed.Run(looping) })
		both.Wait()
		close(stopped)
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stopping.Store(true)
	close(s.stop)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(s.cfg.Limits.Shutdown))
	defer cancel()
	if stopErr := main.Shutdown(grace); stopErr != nil {
		s.log.Warn("some requests did not end in time and were cut off", "error", stopErr)
		_ = main.Close()
	}
	_ = ops.Close()
	stopLoops()
	<-stopped
	return errors.Join(err, s.Close())
}

func (s *Server) serve(srv *http.Server) error {
	if s.cfg.TLS.CertFile != "" {
		return srv.ServeTLS(s.listener, "", "")
	}
	return srv.Serve(s.listener)
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           noStall(h, time.Duration(s.cfg.Limits.Stall)),
		ReadHeaderTimeout: time.Duration(s.cfg.Limits.ReadHeader),
		ReadTimeout:       readTimeout(time.Duration(s.cfg.Limits.ReadHeader), time.Duration(s.cfg.Limits.Stall)),
		IdleTimeout:       time.Duration(s.cfg.Limits.Idle),
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // broken handshakes and the like
	}
}

// Close releases what Open opened. Closing again does nothing.
func (s *Server) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.listener, s.opsLn} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.Hub != nil {
		errs = append(errs, s.Hub.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
		s.store = nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}
