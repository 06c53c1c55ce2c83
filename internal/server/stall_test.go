package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// deadlines is a connection that remembers until when it may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { return nil }

// slow gives one byte at a time, after a pause each.
type slow struct{ pause time.Duration }

func (s slow) Read(p []byte) (int, error) { time.Sleep(s.pause); p[0] = 'x'; return 1, nil }
func (slow) Close() error                 { return nil }

func TestOnlyWaitingForTheClientCountsAgainstABody(t *testing.T) {
	read := func(client, hub time.Duration, times int, live bool) (left time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			h := noStall(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if live {
					r.Body.(interface{ Live() }).Live()
				}
				for range times {
					if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(hub) // the hub's own work
				}
				began := time.Now()
				_, _ = r.Body.Read(make([]byte, 1))
				left = w.read.Sub(began)
			}), time.Minute)
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Body = slow{client}
			h.ServeHTTP(w, r)
		})
		return left
	}
	if left := read(time.Millisecond, time.Minute, 10, false); left < bodyGrace/2 {
		t.Errorf("after ten minutes of the hub's own work a client has %v left", left)
	}
	if left := read(10*time.Second, 0, 10, false); left > 0 {
		t.Errorf("a client that drips for 100 seconds has %v left", left)
	}
	if left := read(10*time.Second, 0, 100, true); left < 20*time.Second {
		t.Errorf("a pipe through which something comes every ten seconds has %v left", left)
	}
}
