package outbound

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// names is a name server in memory: each name has a list of answers, one for each time it is asked, of which the last stays.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   map[question]int
}

type question struct {
	name string
	kind uint16 // 1 is A, 28 AAAA; a resolver asks for both at once
}

// resolver asks n over a pipe, as over TCP (RFC 7766).
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go n.serve(theirs)
		return ours, nil
	}}
}

func (n *names) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := n.reply(query)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// reply answers one question (RFC 1035 §4.1) of type A or AAAA.
func (n *names) reply(query []byte) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	q := question{strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(query[at+1:])}
	n.mu.Lock()
	var answers []string
	if all := n.answers[q.name]; len(all) > 0 {
		answers = all[min(n.asked[q], len(all)-1)]
	}
	n.asked[q]++
	n.mu.Unlock()
	var records []byte
	count := uint16(0)
	for _, s := range answers {
		a := netip.MustParseAddr(s)
		if a.Is4() != (q.kind == 1) {
			continue
		}
		count++
		records = append(records, 0xC0, 12) // the question's name
		records = binary.BigEndian.AppendUint16(records, q.kind)
		records = append(records, 0, 1, 0, 0, 0, 0, 0, byte(a.BitLen()/8))
		records = append(records, a.AsSlice()...)
	}
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1}, byte(count>>8), byte(count), 0, 0, 0, 0)
	return append(append(out, query[12:at+5]...), records...)
}

func name(host string, answers ...[]string) *net.Resolver {
	return (&names{answers: map[string][][]string{host: answers}, asked: map[question]int{}}).resolver()
}

// receiver is a TLS server for example.com; the URL has its port. It counts requests.
func receiver(t *testing.T, h http.HandlerFunc) (url string, roots *x509.CertPool, count *atomic.Int64) {
	t.Helper()
	count = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		h(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "https://example.com:" + port + "/hook?secret=s3cret", roots, count
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }

func TestARequestReachesItsReceiverAsItIs(t *testing.T) {
	var got *http.Request
	var body []byte
	url, roots, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Retry-After", "7")
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "v"})
		_, _ = w.Write([]byte("thanks"))
	})
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
	for range 2 {
		a, err := Post(t.Context(), c, url, "text/plain", []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusOK || string(a.Body) != "thanks" || a.Header.Get("Retry-After") != "7" {
			t.Errorf("the answer is %+v", a)
		}
		if string(body) != "hello" || got.Method != http.MethodPost || got.Header.Get("Content-Type") != "text/plain" || got.Header.Get("User-Agent") != "huanxin" {
			t.Errorf("the receiver got %s %v %q", got.Method, got.Header, body)
		}
		for _, h := range []string{"Referer", "Cookie", "Accept-Encoding"} {
			if got.Header.Get(h) != "" {
				t.Errorf("%s is %q", h, got.Header.Get(h))
			}
		}
	}
}

func TestANameThatStandsForAnInnerAddressIsNotDialled(t *testing.T) {
	url, roots, count := receiver(t, ok)
	for _, s := range notPublic {
		if s == "::ffff:8.8.8.8" {
			continue // is a public address when it is dialled
		}
		c := Client(Options{RootCAs: roots, Resolver: name("example.com", []string{s})})
		_, err := Post(t.Context(), c, url, "text/plain", nil)
		if huanxin.CodeOf(err) != "address_not_allowed" {
			t.Errorf("%s: %v", s, err)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "hook")) {
			t.Errorf("the error holds the URL: %v", err)
		}
	}
	if count.Load() != 0 {
		t.Errorf("%d requests arrived", count.Load())
	}
}

func TestANameThatChangesItsAddressAfterwardsGainsNothing(t *testing.T) {
	url, roots, count := receiver(t, ok)
	c := Client(Options{AllowLoopback: true, RootCAs: roots,
		Resolver: name("example.com", []string{"127.0.0.1"}, []string{"10.0.0.1"})})
	if _, err := Post(t.Context(), c, url, "text/plain", nil); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	if _, err := Post(t.Context(), c, url, "text/plain", nil); huanxin.CodeOf(err) != "address_not_allowed" {
		t.Errorf("after the change: %v", err)
	}
	if count.Load() != 1 {
		t.Errorf("%d requests arrived", count.Load())
	}
}

func TestOfSeveralAddressesOnlyTheAllowedAreDialled(t *testing.T) {
	url, roots, _ := receiver(t, ok)
	c := Client(Options{AllowLoopback: true, RootCAs: roots,
		Resolver: name("example.com", []string{"10.0.0.1", "169.254.169.254", "fd00:ec2::254", "127.0.0.1"})})
	if _, err := Post(t.Context(), c, url, "text/plain", nil); err != nil {
		t.Error(err)
	}
}

func TestAURLThatWasNeverCheckedIsCheckedWhenItIsUsed(t *testing.T) {
	var count atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { count.Add(1) }))
	t.Cleanup(s.Close)
	for _, u := range []string{s.URL, "http://example.com/", "https://user:password@example.com/", "https://10.0.0.1/", "https://localhost/", "gopher://x/", ":"} {
		_, err := Post(t.Context(), Client(Options{}), u, "text/plain", []byte("x"))
		if huanxin.CodeOf(err) != "url_not_allowed" {
			t.Errorf("%s: %v", u, err)
		}
	}
	if count.Load() != 0 {
		t.Errorf("%d requests arrived", count.Load())
	}
	// In the sandbox, plain http reaches this machine, and this machine only.
	c := Client(Options{AllowLoopback: true, Resolver: name("app.localhost", []string{"10.0.0.1"})})
	if _, err := Post(t.Context(), c, s.URL, "text/plain", nil); err != nil || count.Load() != 1 {
		t.Errorf("in the sandbox: %v, %d requests", err, count.Load())
	}
	if _, err := Post(t.Context(), c, "http://app.localhost/", "text/plain", nil); huanxin.CodeOf(err) != "address_not_allowed" {
		t.Errorf("a local name of another machine: %v", err)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		url, roots, count := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", status)
		})
		c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
		a, err := Post(t.Context(), c, url, "text/plain", nil)
		if err != nil || a.Status != status || count.Load() != 1 {
			t.Errorf("%d: %v, status %d, %d requests", status, err, a.Status, count.Load())
		}
	}
}

func TestAnAnswerIsReadUpToItsLimit(t *testing.T) {
	for _, c := range []struct {
		size int
		good bool
	}{{0, true}, {MaxBody - 1, true}, {MaxBody, true}, {MaxBody + 1, false}, {10 * MaxBody, false}} {
		url, roots, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), c.size))
		})
		client := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
		a, err := Post(t.Context(), client, url, "text/plain", nil)
		if a.Status != http.StatusOK || len(a.Body) != min(c.size, MaxBody) || c.good != (err == nil) || !c.good && !errors.Is(err, ErrTooLong) {
			t.Errorf("%d bytes: status %d, %d bytes read, %v", c.size, a.Status, len(a.Body), err)
		}
	}
}

func TestAnAnswerThatNeverEndsIsGivenUp(t *testing.T) {
	url, roots, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
	if _, err := Post(t.Context(), c, url, "text/plain", nil); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

func TestLongHeadersAreRefused(t *testing.T) {
	url, roots, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 64 {
			w.Header().Set("X-"+string(rune('A'+i%26))+strings.Repeat("x", i), strings.Repeat("v", 4096))
		}
	})
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
	if _, err := Post(t.Context(), c, url, "text/plain", nil); err == nil {
		t.Error("256 KiB of headers are taken")
	}
}

func TestAReceiverThatHangsIsGivenUp(t *testing.T) {
	headers, roots, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	body, bodyRoots, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	// A listener whose connections nobody accepts: TCP connects, TLS hangs.
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	_, port, err := net.SplitHostPort(silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		url    string
		roots  *x509.CertPool
		status int
	}{
		"before the headers": {headers, roots, 0},
		"within the body":    {body, bodyRoots, 200},
		"in the handshake":   {"https://example.com:" + port + "/", roots, 0},
	} {
		client := Client(Options{AllowLoopback: true, RootCAs: c.roots, Timeout: 300 * time.Millisecond, Resolver: name("example.com", []string{"127.0.0.1"})})
		a, err := Post(t.Context(), client, c.url, "text/plain", nil)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || a.Status != c.status {
			t.Errorf("%s: status %d, %v", what, a.Status, err)
		}
	}
	// A name server that never answers.
	mute := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	if _, err := Post(t.Context(), Client(Options{Timeout: 100 * time.Millisecond, Resolver: mute}), "https://example.com/", "text/plain", nil); err == nil {
		t.Error("a mute name server answers")
	}
}

func TestAReceiverWithAnotherCertificateIsNotSpokenTo(t *testing.T) {
	url, roots, count := receiver(t, ok)
	url = strings.Replace(url, "example.com", "example.net", 1)
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.net", []string{"127.0.0.1"})})
	if _, err := Post(t.Context(), c, url, "text/plain", nil); err == nil || count.Load() != 0 {
		t.Errorf("%v, %d requests", err, count.Load())
	}
}

func TestNoProxyAndNoCookiesAreUsed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	url, roots, count := receiver(t, ok)
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
	if c.Jar != nil {
		t.Error("there is a cookie jar")
	}
	if _, err := Post(t.Context(), c, url, "text/plain", nil); err != nil || count.Load() != 1 {
		t.Errorf("%v, %d requests", err, count.Load())
	}
}
