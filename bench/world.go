package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/server"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

const (
	appCount     = 64
	carrierCount = 4
	parallel     = 16 // connections that ask at once
)

// world is a hub that serves on loopback, with carriers and apps that are known to it.
type world struct {
	about    string
	dir      string
	dsn      string
	cluster  *pgtest.Cluster // nil on SQLite
	peer     int             // process of another server that is measured instead; 0: none
	hub      *core.Hub
	url      string
	stop     context.CancelFunc
	stopped  chan error
	log      *os.File
	lines    *server.Gathered
	http     *http.Client
	carriers []*client.Client
	apps     []*client.Client
	after    []string // of each app: what it has listed
	number   int      // numbers that were used so far
}

// pgSettings are what an operator of a machine of this size would set; everything else is PostgreSQL's default, fsync too.
var pgSettings = []string{"shared_buffers=1GB", "max_wal_size=4GB", "min_wal_size=1GB"}

// walFiles is how many files of 16 MB for its log PostgreSQL has made before anything is measured. A server in service uses
// old ones again; a fresh one would write each twice, the first time with zeros.
const walFiles = 60

// useOldLogFiles has PostgreSQL make its log's files.
func (w *world) useOldLogFiles(ctx context.Context) error {
	return errors.Join(w.cluster.Admin(ctx, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
			PERFORM pg_logical_emit_message(false, 'bench', 'so that there is something in the file'); PERFORM pg_switch_wal();
		END LOOP; END $$`, walFiles)), w.cluster.Admin(ctx, "CHECKPOINT"))
}

// newWorld opens a hub on a fresh database on the disk under /var/tmp (/tmp may be memory).
func newWorld(ctx context.Context, engine string, short bool) (w *world, err error) {
	w = &world{after: make([]string, appCount)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("/var/tmp", "huanxin-bench-"); err != nil {
		return w, err
	}
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data = "127.0.0.1:0", w.dir
	cfg.Feed.DefaultSubjects = "ALL"
	cfg.Checks.PerSecond, cfg.Checks.PerDay = -1, -1 // a contract that suits the load
	w.dsn = "sqlite:" + filepath.Join(w.dir, "huanxin.db")
	if engine == "postgres" {
		if w.cluster, err = pgtest.Open(pgtest.Durable, pgSettings...); err != nil {
			return w, err
		}
		if w.dsn, err = w.cluster.CreateDatabase("bench"); err != nil {
			return w, err
		}
		if !short {
			if err := w.useOldLogFiles(ctx); err != nil {
				return w, err
			}
		}
		cfg.PostgresURLFile = filepath.Join(w.dir, "url")
		if err := os.WriteFile(cfg.PostgresURLFile, []byte(w.dsn), 0o600); err != nil {
			return w, err
		}
	}
	// The log is written as in service, to a file.
	if w.log, err = os.Create(filepath.Join(w.dir, "log")); err != nil {
		return w, err
	}
	w.lines = server.Gather(w.log)
	log, err := server.NewLog(w.lines, "info")
	if err != nil {
		return w, err
	}
	server.CollectLess()
	s, err := server.Open(ctx, cfg, log)
	if err != nil {
		return w, err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.hub, w.url, w.stop, w.stopped = s.Hub, s.URL, stop, make(chan error, 1)
	go func() { w.stopped <- s.Run(serving, s.Handler()) }()
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.DisableCompression = 2*parallel, true
	w.http = &http.Client{Transport: t}
	if err := w.register(ctx); err != nil {
		return w, err
	}
	return w, w.describe(ctx)
}

func (w *world) close() error {
	var errs []error
	if w.stop != nil {
		w.http.CloseIdleConnections()
		w.stop()
		errs = append(errs, <-w.stopped)
	}
	if w.log != nil {
		if w.lines != nil {
			errs = append(errs, w.lines.Close())
		}
		errs = append(errs, w.log.Close())
	}
	if w.cluster != nil {
		errs = append(errs, w.cluster.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// register makes the carriers and the apps, and their clients.
func (w *world) register(ctx context.Context) error {
	add := func(p huanxin.Party) (*client.Client, error) {
		p.NameZh, p.NameEn = p.ID, p.ID
		if err := w.hub.PutParty(ctx, core.Operator(), p, true); err != nil {
			return nil, err
		}
		secret, err := w.hub.AddClient(ctx, core.Operator(), core.NewClient{ID: p.ID, Party: p.ID, Secret: true})
		return client.New(client.Options{URL: w.url, ID: p.ID, Secret: secret, HTTP: w.http}), err
	}
	for i := range carrierCount {
		c, err := add(huanxin.Party{ID: fmt.Sprintf("carrier-%d", i), Kind: huanxin.CarrierParty, CoolingDays: huanxin.MinCoolingDays})
		if err != nil {
			return err
		}
		w.carriers = append(w.carriers, c)
	}
	for i := range appCount {
		c, err := add(huanxin.Party{ID: appID(i), Kind: huanxin.AppParty, Class: "shopping", Kinds: []huanxin.TaskKind{huanxin.Unbind}})
		if err != nil {
			return err
		}
		w.apps = append(w.apps, c)
	}
	return nil
}

func appID(i int) string { return fmt.Sprintf("app-%02d", i) }

// describe finds out the versions.
func (w *world) describe(ctx context.Context) error {
	db, err := w.open()
	if err != nil {
		return err
	}
	defer db.Close()
	q, form := "SELECT sqlite_version()", "SQLite %s, WAL, synchronous=FULL"
	if w.cluster != nil {
		q, form = "SHOW server_version", "PostgreSQL %s, fsync on"
	}
	var version string
	if err := db.QueryRowContext(ctx, q).Scan(&version); err != nil {
		return err
	}
	w.about = fmt.Sprintf(form, version)
	if w.cluster != nil {
		w.about += fmt.Sprintf(", %v", pgSettings)
	}
	w.about += fmt.Sprintf("; hub and load in one process, %d connections, %d carriers, %d apps", parallel, carrierCount, appCount)
	return nil
}

// open connects to the hub's database beside the hub.
func (w *world) open() (*sql.DB, error) {
	if w.cluster != nil {
		return sql.Open("pgx", w.dsn)
	}
	return sql.Open("sqlite", w.dsn[len("sqlite:"):])
}

// sql runs statements beside the hub.
func (w *world) sql(ctx context.Context, statements ...string) error {
	db, err := w.open()
	if err != nil {
		return err
	}
	defer db.Close()
	for _, q := range statements {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a request and gives the answer's body, which must have the status.
func (w *world) ask(ctx context.Context, c *client.Client, method, path, contentType, key string, body []byte, status int) ([]byte, error) {
	token, err := c.Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return send(w.http, req, status)
}

func send(c *http.Client, req *http.Request, status int) ([]byte, error) {
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if resp.ContentLength > 0 {
		b.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err := io.Copy(&b, resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s %s: status %d: %.500s", req.Method, req.URL.Path, resp.StatusCode, b.Bytes())
	}
	return b.Bytes(), nil
}

// parallelly runs f for 0 to n-1 on some goroutines, and gives the first error.
func parallelly(n, width int, f func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	for range width {
		wg.Go(func() {
			for {
				mu.Lock()
				i, stop := next, first != nil || next >= n
				next++
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					first = errors.Join(first, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// settle waits until the sequencer has caught up, so that one round does not pay for another.
func (w *world) settle(ctx context.Context) error {
	for {
		n, err := w.hub.Unsequenced(ctx)
		if err != nil || n == 0 {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
