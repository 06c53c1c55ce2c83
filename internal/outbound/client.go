package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Limits of a request. The total is for everything, from the name's resolution to the end of the answer.
const (
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 5 * time.Second
	headerTimeout  = 10 * time.Second
	DefaultTimeout = 15 * time.Second
	idleTimeout    = 30 * time.Second

	maxHeader = 16 << 10
	// MaxBody is how much of an answer is read.
	MaxBody = 64 << 10
)

// userAgent goes with every request that names none.
const userAgent = "huanxin"

// ErrTooLong is what reading an answer gives after MaxBody bytes.
var ErrTooLong = errors.New("outbound: the answer is longer than 64 KiB")

// Options are what Client can be told. The zero Options are right for a hub.
type Options struct {
	// AllowLoopback lets requests reach this machine, with http too: for the sandbox only.
	AllowLoopback bool
	// Timeout of a whole request; zero: DefaultTimeout.
	Timeout time.Duration
	// Deny are further ranges that no request may reach, such as public addresses of the operator's own network.
	Deny []netip.Prefix
	// Resolver finds addresses; nil: the system's.
	Resolver *net.Resolver
	// RootCAs certify receivers; nil: the system's.
	RootCAs *x509.CertPool
	// KeepPerHost is how many connections to one host are kept for further requests; 0: 2.
	KeepPerHost int
}

// Client makes a client for URLs that others gave us. It judges every URL and every address it connects to, uses no
// proxy, follows no redirect (the answer is the redirect itself), keeps no cookies and reads at most MaxBody bytes of
// an answer, after which reading gives ErrTooLong. It is made once and used for everything.
func Client(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: o.Resolver, Control: o.control}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.KeepPerHost <= 0 {
		o.KeepPerHost = 2
	}
	return &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &guard{options: o, next: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    tlsTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			ExpectContinueTimeout:  time.Second,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConns:           128 * o.KeepPerHost,
			MaxIdleConnsPerHost:    o.KeepPerHost,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		}},
	}
}

// control is called with the address that a name stands for, after resolution and right before the connection.
func (o Options) control(network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return huanxin.Errorf(huanxin.Refused, "address_not_allowed", "the receiver is not reached over TCP")
	}
	addr := to.Addr().Unmap()
	if within(addr, o.Deny) || !public(addr) && !(o.AllowLoopback && addr.IsLoopback()) {
		return huanxin.Errorf(huanxin.Refused, "address_not_allowed", "the receiver's name stands for an address that is not allowed")
	}
	return nil
}

// guard judges URLs and limits answers.
type guard struct {
	options Options
	next    *http.Transport
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL, g.options.AllowLoopback); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", userAgent)
	}
	res, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &limited{ReadCloser: res.Body, left: MaxBody}
	return res, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (g *guard) CloseIdleConnections() { g.next.CloseIdleConnections() }

// limited ends an answer that is too long.
type limited struct {
	io.ReadCloser
	left int
	over bool
}

func (l *limited) Read(p []byte) (int, error) {
	if l.over {
		return 0, ErrTooLong
	}
	if len(p) > l.left+1 { // one more, to see whether there is more
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if n <= l.left {
		l.left -= n
		return n, err
	}
	n, l.left, l.over = l.left, 0, true
	return n, ErrTooLong
}

// Answer is what a receiver said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post sends a body and reads the whole answer. Where the answer breaks off or is too long, Status and Header are given
// beside the error. The error holds no part of the URL, which may carry a secret of the receiver's.
func Post(ctx context.Context, c *http.Client, to, contentType string, body []byte) (Answer, error) {
	return PostWith(ctx, c, to, http.Header{"Content-Type": {contentType}}, body)
}

// PostWith is Post with a header.
func PostWith(ctx context.Context, c *http.Client, to string, header http.Header, body []byte) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return Answer{}, refuse("this is no URL")
	}
	r.Header = header
	res, err := c.Do(r)
	if err != nil {
		return Answer{}, withoutURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := Answer{Status: res.StatusCode, Header: res.Header}
	if a.Body, err = io.ReadAll(res.Body); err != nil {
		return a, fmt.Errorf("outbound: reading the answer: %w", err)
	}
	return a, nil
}

// withoutURL takes the URL out of an error of http.Client.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("outbound: %w", err)
}
