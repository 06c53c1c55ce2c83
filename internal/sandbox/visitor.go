package sandbox

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// ownPrefix begins the idempotency keys of the world's own requests: all others come from visitors.
const ownPrefix = "demo-world-"

func ownKey() string { return ownPrefix + rand.Text() }

// listen lets the hub answer a request, and follows it if a visitor made it, so that the start page shows it too.
func (w *watch) listen(hub http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Idempotency-Key"), ownPrefix) || w.d.o.Once {
			hub.ServeHTTP(rw, r)
			return
		}
		heard := &overheard{ResponseWriter: rw}
		hub.ServeHTTP(heard, r)
		var made struct {
			ID    string `json:"id"`
			Tasks []any  `json:"tasks"`
		}
		if heard.status != http.StatusCreated || json.Unmarshal(heard.body.Bytes(), &made) != nil || made.ID == "" {
			return
		}
		if carrier := carrierOfToken(r.Header.Get("Authorization")); carrier >= 0 {
			w.add(entry{No: -1, At: time.Now(), Carrier: carrier, Request: made.ID}, len(made.Tasks))
		}
	})
}

// carrierOfToken gives which carrier's token the hub has just accepted; -1: none of the catalogue's. It judges nothing.
func carrierOfToken(authorization string) int {
	parts := strings.Split(authorization, ".")
	if len(parts) != 3 {
		return -1
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Client string `json:"client_id"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return -1
	}
	return slices.IndexFunc(catalogue.Carriers(), func(c catalogue.Carrier) bool { return c.ID == claims.Client })
}

// overheard is an answer that is remembered while it goes out.
type overheard struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (o *overheard) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *overheard) Write(p []byte) (int, error) {
	o.body.Write(p)
	return o.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }
