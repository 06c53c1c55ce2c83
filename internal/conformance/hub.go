package conformance

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/server"
)

const carrierID = "conformance-carrier"

// hub is a real one, with a front before it, and the parties of a run.
type hub struct {
	*server.Server
	front   *front
	ear     *ear
	ring    *auth.KeyRing
	carrier *client.Client
	secret  string // of the company's client; "": it has keys
	stop    func() error
}

// openHub runs a hub on a new database until stop is called.
func openHub(ctx context.Context, o *Options) (h *hub, err error) {
	data, err := os.MkdirTemp("", "huanxin-conformance-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(data))
		}
	}()
	h = &hub{ear: newEar()}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if h.Server, err = server.Open(ctx, o.config(data), log); err != nil {
		return nil, err
	}
	h.front = newFront(h.Handler(), h.ear)
	pushes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	web := http.DefaultTransport.(*http.Transport).Clone()
	h.front.relay = &relay{url: "http://" + pushes.Addr().String() + "/", f: h.front,
		web: &http.Client{Transport: web, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	passing := &http.Server{Handler: h.front.relay, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = passing.Serve(pushes) }()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(running, h.front) }()
	h.stop = func() error {
		cancel()
		_ = passing.Close()
		err := <-ended
		web.CloseIdleConnections()
		return errors.Join(err, os.RemoveAll(data))
	}
	if err := h.register(ctx, o); err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return h, nil
}

func (o *Options) config(data string) server.Config {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.PublicURL, cfg.AllowLoopback, cfg.LogLevel = o.Listen, data, o.PublicURL, true, "warn"
	cfg.TLS = server.TLS{CertFile: o.TLSCert, KeyFile: o.TLSKey}
	cfg.BehindProxy = o.PublicURL != "" && o.TLSCert == ""
	cfg.Limits.Shutdown = server.Duration(2 * time.Second)
	cfg.Service.Speed = day.Seconds() / o.Day.Seconds()
	cfg.Service.RequestsPerDay, cfg.Service.RequestsPerMonth = 100, 1000
	cfg.Feed.Redelivery, cfg.Feed.PollWait = server.Duration(10*time.Second), server.Duration(2*time.Second)
	return cfg
}

// register puts the parties and the company's client into the registry.
func (h *hub) register(ctx context.Context, o *Options) error {
	all := []huanxin.TaskKind{huanxin.Unbind, huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction}
	for _, p := range []huanxin.Party{
		{ID: carrierID, Kind: huanxin.CarrierParty, NameZh: "检验运营商", NameEn: "The carrier of the run", CoolingDays: huanxin.MinCoolingDays},
		{ID: o.ClientID, Kind: huanxin.AppParty, NameZh: "被检验的应用", NameEn: "The app under test", Class: o.Class, Kinds: all, Domains: o.Domains},
	} {
		if err := h.Hub.PutParty(ctx, core.Operator(), p, true); err != nil {
			return err
		}
	}
	secrets := map[string]string{}
	for _, id := range []string{carrierID, o.ClientID} {
		in := core.NewClient{ID: id, Party: id, Secret: true}
		if id == o.ClientID && o.JWKS != nil {
			in.Secret, in.JWKS = false, o.JWKS
		}
		var err error
		if secrets[id], err = h.Hub.AddClient(ctx, core.Operator(), in); err != nil {
			return err
		}
	}
	h.secret = secrets[o.ClientID]
	within := &http.Client{Transport: inside{h.Handler()}}
	h.carrier = client.New(client.Options{URL: h.URL, ID: carrierID, Secret: secrets[carrierID], HTTP: within})
	keys, err := h.Hub.SigningKeys(ctx)
	if err != nil {
		return err
	}
	h.ring, err = auth.NewKeyRing(keys...)
	return err
}

// inside asks the hub without the network, and past the front.
type inside struct{ h http.Handler }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:1", r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	k := &kept{header: http.Header{}}
	i.h.ServeHTTP(k, in)
	k.WriteHeader(http.StatusOK)
	return &http.Response{Status: http.StatusText(k.status), StatusCode: k.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: k.header, Body: io.NopCloser(strings.NewReader(k.body.String())), ContentLength: int64(k.body.Len()), Request: r}, nil
}

// hold sets the company's kill switch, or releases it.
func (h *hub) hold(ctx context.Context, app string, on bool) error {
	return h.Hub.HoldParty(ctx, core.Operator(), app, on)
}
