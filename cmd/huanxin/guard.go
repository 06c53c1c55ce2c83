package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/guard/sidecar"
)

const guardForm = `guard [--listen ADDRESS] [--socket PATH] [--replica FILE] [--hub URL]

Answers on this machine whether an SMS code alone may open an account (docs/guard.md):
  curl -d '{"number":"+8613800000001","bound_at":"2020-01-01"}' -H 'Content-Type: application/json' http://127.0.0.1:8090/decide`

// guardFlags are what huanxin guard is told.
type guardFlags struct {
	hub              hubClient
	listen, socket   string
	cert, key        string
	secretFile       string
	replica          guard.Replica
	deadline, keep   time.Duration
	maxLag           time.Duration
	cacheSize        int
	plainHub, noPull bool
}

func (g *guardFlags) add(f *flag.FlagSet) {
	g.hub.add(f)
	f.StringVar(&g.listen, "listen", "127.0.0.1:8090", "loopback `address` to listen on; empty for the socket alone. Another address needs --tls-cert, --tls-key and --secret-file")
	f.StringVar(&g.socket, "socket", "", "`path` of a Unix socket to listen on, for this user and group")
	f.StringVar(&g.secretFile, "secret-file", "", "`file` with a secret that questions must bring: Authorization: Bearer SECRET")
	f.StringVar(&g.cert, "tls-cert", "", "`file` of the certificate for --listen")
	f.StringVar(&g.key, "tls-key", "", "`file` of its private key")
	f.StringVar(&g.replica.Path, "replica", "", "`file` of a local replica, which is asked first and follows the hub")
	f.DurationVar(&g.replica.Every, "every", 15*time.Minute, "how often the replica is pulled")
	f.DurationVar(&g.replica.MaxAge, "max-age", 24*time.Hour, "how old the replica may be and still vouch for anybody")
	f.BoolVar(&g.noPull, "no-pull", false, "somebody else brings the replica; it is only looked at, and without a hub nobody is asked")
	f.DurationVar(&g.deadline, "deadline", 500*time.Millisecond, "how long the hub is waited for")
	f.DurationVar(&g.keep, "cache", time.Minute, "how long an answer of the hub is used again; 0 for never, at most 10m")
	f.IntVar(&g.cacheSize, "cache-size", 1<<16, "how many numbers' answers are kept")
	f.DurationVar(&g.maxLag, "max-lag", 0, "how old the carrier's word may be; 0 leaves it to the hub")
	f.BoolVar(&g.plainHub, "plain-http", false, "the hub may be asked by http from another machine, over a network that is secured otherwise")
}

func guardCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("guard", flag.ContinueOnError)
	var g guardFlags
	g.add(f)
	if _, err := parse(f, args, 0, guardForm); err != nil {
		return err
	}
	secret, err := g.check()
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o, err := g.options()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	o.Registerer, o.Log = reg, log
	listeners, err := g.listeners()
	if err != nil {
		return err
	}
	decides, err := guard.Open(ctx, o)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	defer decides.Close()
	h := sidecar.Options{Guard: decides, Secret: secret, Metrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{})}
	return g.serve(ctx, listeners, h, log)
}

// check refuses what would let others in, and reads the secret.
func (g *guardFlags) check() (secret string, err error) {
	if g.listen == "" && g.socket == "" {
		return "", usageError(say("guard: 在哪里听?请给出 --listen 或 --socket", "guard: where to listen? Give --listen or --socket"))
	}
	if (g.cert == "") != (g.key == "") {
		return "", usageError(say("guard: --tls-cert 与 --tls-key 要一起给出", "guard: --tls-cert and --tls-key go together"))
	}
	if g.replica.MaxAge <= 0 {
		return "", usageError(say("guard: --max-age 必须大于 0", "guard: --max-age must be more than 0"))
	}
	if g.secretFile != "" {
		text, err := os.ReadFile(g.secretFile)
		if err != nil {
			return "", err
		}
		if secret = strings.TrimSpace(string(text)); len(secret) < 16 {
			return "", usageError(say("guard: 密钥太短,至少 16 个字符", "guard: the secret is too short: at least 16 characters"))
		}
	}
	if g.listen == "" {
		return secret, nil
	}
	host, _, err := net.SplitHostPort(g.listen)
	if err != nil {
		return "", usageError("guard: --listen " + g.listen + say(" 不是地址:写作 127.0.0.1:8090", " is no address: write 127.0.0.1:8090"))
	}
	if !isLoopback(host) && (g.cert == "" || secret == "") {
		return "", usageError("guard: --listen " + g.listen + say(" 会放别的机器进来:只听 127.0.0.1,或同时给出 --tls-cert、--tls-key 与 --secret-file",
			" would let other machines in: listen on 127.0.0.1, or give --tls-cert, --tls-key and --secret-file"))
	}
	return secret, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (g *guardFlags) options() (guard.Options, error) {
	o := guard.Options{Deadline: g.deadline, CacheFor: g.keep, CacheSize: g.cacheSize, MaxLag: g.maxLag}
	if g.keep <= 0 {
		o.CacheFor = -1
	}
	if g.replica.Path != "" {
		o.Replica = &g.replica
	}
	if g.noPull {
		g.replica.Every = -1
		if g.hub.url == "" && os.Getenv("HUANXIN_URL") == "" {
			return o, nil
		}
	}
	c, err := g.hub.open()
	if err != nil {
		return o, err
	}
	u, err := url.Parse(c.URL())
	if err != nil || u.Scheme != "https" && !g.plainHub && !isLoopback(u.Hostname()) {
		return o, usageError("guard: " + say("枢纽的地址须是 https;网络另有保护时可用 --plain-http", "the hub's URL must be https; --plain-http where the network is secured otherwise"))
	}
	o.Hub = c
	return o, nil
}

// listeners opens what is listened on. Only who may open the socket's file may ask.
func (g *guardFlags) listeners() (ls []net.Listener, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(ls))
		}
	}()
	if g.listen != "" {
		l, err := net.Listen("tcp", g.listen)
		if err != nil {
			return ls, err
		}
		if g.cert != "" {
			pair, err := tls.LoadX509KeyPair(g.cert, g.key)
			if err != nil {
				return append(ls, l), err
			}
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
		}
		ls = append(ls, l)
	}
	if g.socket != "" {
		l, err := listenUnix(g.socket)
		if err != nil {
			return ls, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// listenUnix listens on a socket, in place of one that nobody listens on any more. It is made under another name first: nobody
// opens it before its mode is right.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: another process listens on it", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("%s: there is something else", path)
	}
	fresh := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(fresh, 0o660)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(fresh))
	}
	return &removed{l, path}, nil
}

// removed is a socket whose file goes with it.
type removed struct {
	net.Listener
	path string
}

func (r *removed) Close() error {
	err := r.Listener.Close()
	_ = os.Remove(r.path)
	return err
}

func closeAll(ls []net.Listener) (err error) {
	for _, l := range ls {
		err = errors.Join(err, l.Close())
	}
	return err
}

// serve answers until ctx is done, then what is under way.
func (g *guardFlags) serve(ctx context.Context, ls []net.Listener, o sidecar.Options, log *slog.Logger) error {
	var servers []*http.Server
	failed := make(chan error, len(ls))
	for _, l := range ls {
		_, isSocket := l.(*removed)
		o.AnyHost = isSocket || g.cert != ""
		s := &http.Server{Handler: sidecar.Handler(o), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
			IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		servers = append(servers, s)
		go func() { failed <- s.Serve(l) }()
		name := l.Addr().String()
		if isSocket {
			name = g.socket
		}
		fmt.Println("ready " + name)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(ctx))
	}
	return err
}
