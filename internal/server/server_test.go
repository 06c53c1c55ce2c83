package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/server"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// running serves a configuration until the test ends.
func running(t *testing.T, change func(*server.Config)) *server.Server {
	t.Helper()
	s, err := opened(t, change)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx, s.Handler()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error("the hub stopped badly:", err)
		}
	})
	return s
}

// get gives a status and the beginning of the body.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return fmt.Sprintf("%d %.60s", resp.StatusCode, body)
}

func wants(t *testing.T, what, got, prefix string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) {
		t.Errorf("%s: %q, want %q", what, got, prefix)
	}
}

func TestTheOperatorsPagesShareALoopbackListener(t *testing.T) {
	s := running(t, func(*server.Config) {})
	c := plain(t)
	wants(t, "health", get(t, c, s.URL+"/healthz"), "200 ok")
	wants(t, "ready", get(t, c, s.URL+"/readyz"), "200 ready")
	wants(t, "metrics", get(t, c, s.URL+"/metrics"), "200 # HELP")
	wants(t, "the API beside them", get(t, c, s.URL+"/jwks.json"), `200 {"keys":`)
	wants(t, "what is not there", get(t, c, s.URL+"/metrics/x"), `404 {"type":"urn:huanxin:problem:not_found"`)
	resp, err := c.Post(s.URL+"/metrics", "text/plain", nil)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != 404 && resp.StatusCode != 405 {
		t.Errorf("POST /metrics: %d", resp.StatusCode)
	}
}

// plain is an HTTP client whose connections end with the test, before the hub stops.
func TestHoldersHavePagesWhereACarrierLetsThemIn(t *testing.T) {
	c := plain(t)
	wants(t, "without a carrier", get(t, c, running(t, func(*server.Config) {}).URL+"/home"), `404 {"type":"urn:huanxin:problem:not_found"`)
	secret := file(t, "secret", "s\n")
	s := running(t, func(cfg *server.Config) {
		withCarrier(func(h *server.HolderCarrier) { h.ClientSecretFile = secret })(cfg)
	})
	wants(t, "the start", get(t, c, s.URL+"/"), "200 <!doctype html>")
	wants(t, "the pages", get(t, c, s.URL+"/home"), "200 <!doctype html>")
	wants(t, "a page that is not there", get(t, c, s.URL+"/requests/x/y"), "404 <!doctype html>")
	wants(t, "the API beside them", get(t, c, s.URL+"/jwks.json"), `200 {"keys":`)
	wants(t, "what the API does not have", get(t, c, s.URL+"/nothing"), `404 {"type":"urn:huanxin:problem:not_found"`)
	if _, err := opened(t, withCarrier(func(h *server.HolderCarrier) { h.ClientSecretFile = secret + "x" })); err == nil || !strings.Contains(err.Error(), "client_secret_file") {
		t.Errorf("without the secret it starts: %v", err)
	}
}

func plain(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func TestTheOperatorsPagesHaveAListenerOfTheirOwn(t *testing.T) {
	ops := freeAddress(t)
	s := running(t, func(c *server.Config) { c.OpsListen = ops })
	c := plain(t)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		wants(t, path+" for the operator", get(t, c, "http://"+ops+path), "200 ")
		wants(t, path+" for all", get(t, c, s.URL+path), "404 ")
	}
	wants(t, "the API for the operator", get(t, c, "http://"+ops+"/jwks.json"), "404 ")
}

func TestOutsidersDoNotSeeTheMetrics(t *testing.T) {
	s := running(t, func(c *server.Config) { c.BehindProxy, c.PublicURL = true, "https://hub.example" })
	c := plain(t)
	wants(t, "metrics", get(t, c, "http://"+s.Addr()+"/metrics"), "404 ")
	wants(t, "health", get(t, c, "http://"+s.Addr()+"/healthz"), "200 ok")
}

func TestTheHubSpeaksTLS(t *testing.T) {
	cert, key, pool := selfSigned(t)
	address := freeAddress(t)
	s := running(t, func(c *server.Config) {
		c.Listen, c.TLS, c.PublicURL = address, server.TLS{CertFile: cert, KeyFile: key}, "https://"+address
	})
	for _, h2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
		wants(t, "over TLS", get(t, &http.Client{Transport: transport}, s.URL+"/jwks.json"), `200 {"keys":`)
		transport.CloseIdleConnections()
	}
	old := &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", address, old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was taken")
	}
	wants(t, "without TLS", get(t, plain(t), "http://"+address+"/jwks.json"), "400 ")
	_, err := opened(t, func(c *server.Config) {
		c.TLS, c.PublicURL = server.TLS{CertFile: cert, KeyFile: cert}, "https://hub.example"
	})
	if err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("a key that is none: %v", err)
	}
}

func TestAnAddressThatIsTakenEndsTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	for _, change := range []func(*server.Config){
		func(c *server.Config) { c.Listen = l.Addr().String() },
		func(c *server.Config) { c.OpsListen = l.Addr().String() },
	} {
		if _, err := opened(t, change); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Error(err)
		}
	}
}

func TestReadyzSaysWhenTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t, pgtest.Fast)
	url, err := cluster.CreateDatabase("hub")
	must(t, err)
	h := hubtest.Start(t, hubtest.Postgres(url), hubtest.Log(io.Discard))
	c := h.HTTP()
	wants(t, "before", get(t, c, h.URL+"/readyz"), "200 ready")
	must(t, cluster.Stop())
	wants(t, "while it is gone", get(t, c, h.URL+"/readyz"), "503 the database does not answer")
	wants(t, "health is the process's alone", get(t, c, h.URL+"/healthz"), "200 ok")
	must(t, cluster.Start())
	eventually(t, "ready again", func() bool { return strings.HasPrefix(get(t, c, h.URL+"/readyz"), "200 ready") })
}

// TestAClientThatStallsIsCutOff says how long a body is and does not send it. It is answered all the same, and not kept.
func TestAClientThatStallsIsCutOff(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, hubtest.Stall(300*time.Millisecond))
	h.Carrier("cmcc")
	token, err := h.Client("cmcc").Token(t.Context())
	must(t, err)
	for name, c := range map[string]struct {
		token, sent string
		status      int
	}{
		"in the middle":                   {token, "{", 400},
		"at the start":                    {token, "", 400},
		"where nobody would have read it": {"x", "", 401},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "POST /v1/number-events HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n%s", c.token, c.sent)
		must(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v %v", name, resp, err)
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection is kept: %v", name, err)
		}
		_ = conn.Close()
	}
}

// TestASlowBodyIsNotCutOff sends for much longer than a client may stall, a little at a time.
func TestASlowBodyIsNotCutOff(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, hubtest.Stall(400*time.Millisecond))
	c := h.Carrier("cmcc")
	body := newFeed()
	go func() {
		for i := range 12 {
			body.send(fmt.Sprintf(`{"id":"e%d","number":"+861380000%04d","kind":"activated","at":"2024-03-01T08:00:00Z","origin":"first"}`+"\n", i, i))
			time.Sleep(100 * time.Millisecond)
		}
		body.end()
	}()
	r, err := c.Report(t.Context(), "application/x-ndjson", body, time.Time{})
	if err != nil || r.Accepted != 12 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestAnIdleConnectionIsGoodForABodyThatWaitsForALeave comes back to a connection later than a client may stall, and waits
// for 100 Continue before it sends.
func TestAnIdleConnectionIsGoodForABodyThatWaitsForALeave(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, hubtest.Stall(200*time.Millisecond))
	h.Carrier("cmcc")
	token, err := h.Client("cmcc").Token(t.Context())
	must(t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	r := bufio.NewReader(conn)
	_, err = io.WriteString(conn, "GET /jwks.json HTTP/1.1\r\nHost: hub\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	time.Sleep(500 * time.Millisecond)
	const line = `{"id":"e","number":"+8613800000077","kind":"activated","at":"2024-03-01T08:00:00Z","origin":"first"}`
	_, err = fmt.Fprintf(conn, "POST /v1/number-events HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", token, len(line))
	must(t, err)
	status, err := r.ReadString('\n')
	must(t, err)
	wants(t, "the leave", status, "HTTP/1.1 100 Continue")
	_, err = r.ReadString('\n')
	must(t, err)
	_, err = io.WriteString(conn, line)
	must(t, err)
	resp, err = http.ReadResponse(r, nil)
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 200 || !strings.Contains(string(text), `"accepted":1`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestTooManyAtOnceAreToldToComeAgain(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t, hubtest.InFlight(1))
	c := h.Carrier("cmcc")
	_, err := c.Token(t.Context())
	must(t, err)
	body := newFeed()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Report(t.Context(), "application/x-ndjson", body, time.Time{})
		answered <- err
	}()
	body.send("\n")
	resp := (*http.Response)(nil)
	eventually(t, "the hub is full", func() bool {
		if resp, err = h.HTTP().Get(h.URL + "/jwks.json"); err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 503
	})
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wants(t, "health is not part of it", get(t, h.HTTP(), h.URL+"/healthz"), "200 ok")
	body.end()
	must(t, <-answered)
	wants(t, "then there is room again", get(t, h.HTTP(), h.URL+"/jwks.json"), "200 ")
}

func TestTheHubGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	first := hubtest.Start(t)
	events := []client.Event{{ID: "e", Number: "+8613800000088", Kind: "activated", At: days(10), Origin: "first"}}
	_, err := first.Carrier("cmcc").ReportEvents(t.Context(), events, time.Time{})
	must(t, err)
	first.Stop()
	second := hubtest.Start(t, hubtest.Data(first.Data))
	r, err := second.Carrier("cmcc").ReportEvents(t.Context(), events, time.Time{})
	if err != nil || r.Duplicates != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestADatabaseIsOpenedWithItsOwnKeysOnly keeps a hub from sealing with keys that its database does not know.
func TestADatabaseIsOpenedWithItsOwnKeysOnly(t *testing.T) {
	first := hubtest.Start(t)
	first.Stop()
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.KeyFile = "127.0.0.1:0", first.Data, t.TempDir()+"/other.json"
	if s, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		_ = s.Close()
		t.Error("other keys were taken")
	}
}
