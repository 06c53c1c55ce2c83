package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huanxin-platform/huanxin/internal/outbound"
)

// hook receives what the hub tells contacts, on a listener of its own: every party's desk in one place. It believes
// nothing that the hub did not sign for that very address. Apps whose SETs are pushed have their endpoints here, too.
type hook struct {
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	feeds func(party string) http.Handler // nil: no app is there yet
	hub   string
	keys  *jose.JSONWebKeySet
	seen  map[string]bool // by jti: the hub sends a message again when it missed the answer
	count HookCount
}

// HookCount says what came.
type HookCount struct {
	Messages, Repeated, Refused int
	Steps                       map[string]int // of the clock, by step
}

func listenHook() (*hook, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &hook{listener: l, seen: map[string]bool{}, count: HookCount{Steps: map[string]int{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /contact/{party}", h.receive)
	mux.HandleFunc("/feed/{party}", h.feed)
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { _ = h.server.Serve(l) }()
	return h, nil
}

// url is where parties' contacts are told; the party's id follows.
func (h *hook) url() string { return "http://" + h.listener.Addr().String() + "/contact/" }

// feedURL is where apps' SETs are pushed to; the app's id follows.
func (h *hook) feedURL() string { return "http://" + h.listener.Addr().String() + "/feed/" }

// serveFeeds says who answers at feedURL. Until then nobody does: the hub will try again.
func (h *hook) serveFeeds(of func(party string) http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.feeds = of
}

func (h *hook) feed(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	feeds := h.feeds
	h.mu.Unlock()
	if feeds == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	app := feeds(r.PathValue("party"))
	if app == nil {
		http.NotFound(w, r)
		return
	}
	app.ServeHTTP(w, r)
}

var hookURL = regexp.MustCompile(`^http://127\.0\.0\.1:[0-9]+/contact/(.+)$`)

// isHook reports whether a webhook of a party is the one of a hook, of this start or an earlier one.
func isHook(webhook, party string) bool {
	m := hookURL.FindStringSubmatch(webhook)
	return m != nil && m[1] == party
}

// trust says whose messages are taken. Until then none are: the hub will try again.
func (h *hook) trust(hub string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hub = hub
}

func (h *hook) close() { _ = h.server.Close() }

func (h *hook) counted() HookCount {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.count
	out.Steps = map[string]int{}
	for k, v := range h.count.Steps {
		out.Steps[k] = v
	}
	return out
}

// message is what the hub tells a contact.
type message struct {
	jwt.Claims
	Type  string `json:"type"`
	Steps []struct {
		Step string `json:"step"`
	} `json:"steps"`
}

func (h *hook) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err == nil {
		err = h.take(r.Context(), string(body), h.url()+r.PathValue("party"))
	}
	if err != nil {
		h.mu.Lock()
		h.count.Refused++
		h.mu.Unlock()
		http.Error(w, "not taken", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *hook) take(ctx context.Context, body, audience string) error {
	token, err := jwt.ParseSigned(body, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	if typ := token.Headers[0].ExtraHeaders[jose.HeaderType]; typ != outbound.TypWebhook {
		return errors.New("this is no message of the hub")
	}
	keys, issuer, err := h.keySet(ctx, token.Headers[0].KeyID)
	if err != nil {
		return err
	}
	var m message
	if err := token.Claims(keys, &m); err != nil {
		return err
	}
	if err := m.Validate(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: time.Now()}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[m.ID] {
		h.count.Repeated++
		return nil
	}
	h.seen[m.ID] = true
	h.count.Messages++
	for _, s := range m.Steps {
		h.count.Steps[s.Step]++
	}
	return nil
}

// keySet gives the hub's published keys, read again when a key is not among them.
func (h *hook) keySet(ctx context.Context, kid string) (*jose.JSONWebKeySet, string, error) {
	h.mu.Lock()
	hub, keys := h.hub, h.keys
	h.mu.Unlock()
	if hub == "" {
		return nil, "", errors.New("no hub is trusted yet")
	}
	if keys != nil && len(keys.Key(kid)) > 0 {
		return keys, hub, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, hub+"/jwks.json", nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/") {
		return nil, "", fmt.Errorf("the hub's keys cannot be read: status %d", resp.StatusCode)
	}
	keys = &jose.JSONWebKeySet{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(keys); err != nil {
		return nil, "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = keys
	return keys, hub, nil
}
